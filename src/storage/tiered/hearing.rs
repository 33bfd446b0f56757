use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, Instant},
};

use crate::{Clock, policy::Timestamp, purge::PurgeLog};

/// Whether what other processes have purged is known here. To look costs a system call, which is as
/// much as a hit in memory: it is done once in a while.
pub(super) struct Hearing {
    /// Whose time it is, and from when on it is counted. Without one it is the system's monotonic
    /// time, which every hit in memory reads.
    by: Option<(Arc<dyn Clock>, Timestamp)>,
    /// When the log was last seen to have moved no further, in nanoseconds.
    heard: AtomicI64,
}

pub(super) const HEARS_EVERY: Duration = Duration::from_millis(10);
const HEARS_EVERY_NANOS: i64 = HEARS_EVERY.as_nanos() as i64;
/// Before any time.
const NEVER: i64 = i64::MIN;

impl Hearing {
    pub(super) fn new() -> Self {
        Self { by: None, heard: AtomicI64::new(NEVER) }
    }

    pub(super) fn by(clock: Arc<dyn Clock>) -> Self {
        let began = clock.now();
        Self { by: Some((clock, began)), ..Self::new() }
    }

    /// Whether `log` had all records a moment ago.
    #[inline]
    pub(super) fn is_current(&self, log: &PurgeLog) -> bool {
        if !log.is_kept() {
            return true;
        }
        let now = match &self.by {
            None => Timestamp::ticks(Instant::now()),
            Some((clock, began)) => {
                i64::try_from(clock.now().since(*began).as_nanos()).unwrap_or(i64::MAX)
            }
        };
        let passed = now.saturating_sub(self.heard.load(Ordering::Relaxed));
        passed < HEARS_EVERY_NANOS || self.hear(log, now)
    }

    #[cold]
    fn hear(&self, log: &PurgeLog, now: i64) -> bool {
        let is_current = log.is_current();
        self.heard.store(if is_current { now } else { NEVER }, Ordering::Relaxed);
        is_current
    }
}
