use std::{
    future::{Future, poll_fn},
    pin::pin,
    sync::Arc,
};

use http::StatusCode;

use super::Witness;
use crate::{
    clock::Clock,
    observe::{Event, OriginId},
    policy::{CacheKey, Reason, Timestamp},
};

/// A request to the origin. Dropped, nothing more comes of it.
pub(crate) struct Asking(Option<Box<Told>>);

/// With an observer.
struct Told {
    witness: Witness,
    clock: Arc<dyn Clock>,
    id: OriginId,
    began: Timestamp,
}

impl Told {
    /// An observer that forgets to do the work does not hold it up.
    #[inline(never)]
    fn within<T>(&self, work: impl FnOnce() -> T) -> T {
        let (mut work, mut done) = (Some(work), None);
        let mut go_on = || {
            if let Some(work) = work.take() {
                done = Some(work());
            }
        };
        if let Some(observer) = self.witness.observer() {
            observer.within(self.id, &mut go_on);
        }
        go_on();
        done.expect("the work is done, here or there")
    }
}

impl Asking {
    pub(crate) fn begin(
        witness: &Witness,
        clock: &Arc<dyn Clock>,
        key: Option<&CacheKey>,
        reason: Reason,
        is_refresh: bool,
    ) -> Self {
        let id = witness.observer().map_or(OriginId::UNHEARD, |_| OriginId::next());
        witness.tell(&Event::OriginAsked { id, key, reason, is_refresh });
        Self(witness.observer().is_some().then(|| {
            let (witness, clock) = (witness.clone(), clock.clone());
            Box::new(Told { witness, began: clock.now(), clock, id })
        }))
    }

    /// Drives a piece of it.
    #[inline]
    pub(crate) fn drive<T>(&self, work: impl FnOnce() -> T) -> T {
        match &self.0 {
            None => work(),
            Some(told) => told.within(work),
        }
    }

    /// Drives all of it.
    pub(crate) async fn run<T>(&self, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        poll_fn(|cx| self.drive(|| work.as_mut().poll(cx))).await
    }

    /// The origin has answered, or failed.
    pub(crate) fn answered(&self, code: Option<StatusCode>) {
        if let Some(told) = &self.0 {
            let took = told.clock.now().since(told.began);
            told.witness.tell(&Event::OriginAnswered { id: told.id, code, took });
        }
    }
}

impl Drop for Told {
    fn drop(&mut self) {
        let took = self.clock.now().since(self.began);
        self.witness.tell_at_the_end(&Event::OriginDone { id: self.id, took });
    }
}
