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
const HEARS_EVERY_NANOS: u64 = HEARS_EVERY.as_nanos() as u64;
const SECOND: u64 = 1_000_000_000;

impl Hearing {
    pub(super) fn new(clock: &dyn Clock) -> Self {
        Self { began: clock.now(), heard: AtomicU64::new(0) }
    }

    /// Whether `log` had all records a moment ago.
    #[inline]
    pub(super) fn is_current(&self, log: &PurgeLog, clock: &dyn Clock) -> bool {
        if !log.is_kept() {
            return true;
        }
        // Every hit in memory asks, and 64 bits are enough for each process.
        let passed = clock.now().since(self.began);
        let nanos = passed.as_secs().saturating_mul(SECOND);
        let now = nanos.saturating_add(u64::from(passed.subsec_nanos()) + 1);
        let heard = self.heard.load(Ordering::Relaxed);
        if heard != 0 && now.saturating_sub(heard) < HEARS_EVERY_NANOS {
            return true;
        }
        self.hear(log, now)
    }

    #[cold]
    fn hear(&self, log: &PurgeLog, now: u64) -> bool {
        let is_current = log.is_current();
        self.heard.store(if is_current { now } else { 0 }, Ordering::Relaxed);
        is_current
    }
}
