use std::{task::Context, time::Duration};

use crate::{
    clock::{BoxFuture, Clock},
    policy::Timestamp,
};

/// A limit to a wait.
pub(super) struct Timer {
    after: Duration,
    sleep: Option<Option<BoxFuture>>,
}

impl Timer {
    pub(super) fn new(after: Duration) -> Self {
        Self { after, sleep: None }
    }

    pub(super) fn is_over(
        &mut self,
        since: Timestamp,
        clock: &dyn Clock,
        cx: &mut Context<'_>,
    ) -> bool {
        let sleep = self.sleep.get_or_insert_with(|| clock.sleep(self.after));
        let rings = sleep.as_mut().is_some_and(|sleep| sleep.as_mut().poll(cx).is_ready());
        rings || clock.now().since(since) >= self.after
    }
}
