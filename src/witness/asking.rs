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

impl Asking {
    pub(crate) fn begin(
        witness: &Witness,
        clock: &Arc<dyn Clock>,
        key: Option<&CacheKey>,
        reason: Reason,
        is_refresh: bool,
    ) -> Self {
        let id = OriginId::next();
        witness.tell(&Event::OriginAsked { id, key, reason, is_refresh });
        Self(witness.observer().is_some().then(|| {
            let (witness, clock) = (witness.clone(), clock.clone());
            Box::new(Told { witness, began: clock.now(), clock, id })
        }))
    }

    /// Drives a piece of it. An observer that forgets to does not hold it up.
    pub(crate) fn poll<T>(&self, mut work: impl FnMut() -> T) -> T {
        let Some(told) = &self.0 else { return work() };
        let mut done = None;
        if let Some(observer) = told.witness.observer() {
            observer.within(told.id, &mut || {
                if done.is_none() {
                    done = Some(work());
                }
            });
        }
        match done {
            Some(done) => done,
            None => work(),
        }
    }

    /// Drives all of it.
    pub(crate) async fn run<T>(&self, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        poll_fn(|cx| self.poll(|| work.as_mut().poll(cx))).await
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
