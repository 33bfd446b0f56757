use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use crate::{Clock, policy::Timestamp, purge::PurgeLog};

/// Whether what other processes have purged is known here. To look costs a system call, which is as
/// much as a hit in memory: it is done once in a while.
pub(super) struct Hearing {
    began: Timestamp,
    /// When the log was last seen to have moved no further, in nanoseconds since then, and one.
    heard: AtomicU64,
}

pub(super) const HEARS_EVERY: Duration = Duration::from_millis(10);

impl Hearing {
    pub(super) fn new(clock: &dyn Clock) -> Self {
        Self { began: clock.now(), heard: AtomicU64::new(0) }
    }

    /// Whether `log` had all records a moment ago.
    pub(super) fn is_current(&self, log: &PurgeLog, clock: &dyn Clock) -> bool {
        if !log.is_kept() {
            return true;
        }
        let nanos = |duration: Duration| u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        let now = nanos(clock.now().since(self.began)).saturating_add(1);
        let heard = self.heard.load(Ordering::Relaxed);
        if heard != 0 && now.saturating_sub(heard) < nanos(HEARS_EVERY) {
            return true;
        }
        let is_current = log.is_current();
        self.heard.store(if is_current { now } else { 0 }, Ordering::Relaxed);
        is_current
    }
}
