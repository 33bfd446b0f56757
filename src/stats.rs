use std::{
    fmt,
    sync::atomic::{AtomicU64, Ordering},
};

use http::StatusCode;

use crate::{policy::CacheStatus, purge::PurgeLog, storage::Usage, stripe};

/// What has become of the requests of one layer and its clones.
pub(crate) struct Counters {
    /// One for each thread, so that no two of them write to the same place.
    stripes: Box<[Counts]>,
}

#[derive(Default)]
#[repr(align(128))]
struct Counts {
    hits: AtomicU64,
    stale: AtomicU64,
    validated: AtomicU64,
    forwarded: AtomicU64,
    generated: AtomicU64,
}

impl Default for Counters {
    fn default() -> Self {
        Self { stripes: (0..stripe::count()).map(|_| Counts::default()).collect() }
    }
}

impl Counters {
    #[inline]
    pub(crate) fn count(&self, status: CacheStatus) {
        let own = &self.stripes[stripe::of(self.stripes.len())];
        let counter = match status.forward() {
            None if !status.is_hit() => &own.generated,
            None if status.ttl().is_some_and(|ttl| ttl <= 0) => &own.stale,
            None => &own.hits,
            Some(_) if status.forward_status() == Some(StatusCode::NOT_MODIFIED) => &own.validated,
            Some(_) => &own.forwarded,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn stats(&self, usage: Option<Usage>, log: &PurgeLog) -> Stats {
        let read = |counter: fn(&Counts) -> &AtomicU64| {
            self.stripes.iter().map(|counts| counter(counts).load(Ordering::Relaxed)).sum()
        };
        Stats {
            usage,
            hits: read(|counts| &counts.hits),
            stale: read(|counts| &counts.stale),
            validated: read(|counts| &counts.validated),
            forwarded: read(|counts| &counts.forwarded),
            generated: read(|counts| &counts.generated),
            purges: log.position(),
            selectors: log.len(),
        }
    }
}

impl fmt::Debug for Counters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Counters")
    }
}

/// What a cache holds, and what has become of the requests to one layer and its clones. Reading it
/// costs next to nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stats {
    usage: Option<Usage>,
    hits: u64,
    stale: u64,
    validated: u64,
    forwarded: u64,
    generated: u64,
    purges: u64,
    selectors: usize,
}

impl Stats {
    /// What the store holds, if it knows.
    pub fn usage(&self) -> Option<Usage> {
        self.usage
    }

    /// Answered with a fresh stored response.
    pub fn hits(&self) -> u64 {
        self.hits
    }

    /// Answered with a stale stored response, without waiting for the origin (RFC 9111 §4.2.4).
    pub fn stale(&self) -> u64 {
        self.stale
    }

    /// Answered with a stored response after the origin had said that it is good (RFC 9111 §4.3).
    pub fn validated(&self) -> u64 {
        self.validated
    }

    /// Answered by the origin, stored or not.
    pub fn forwarded(&self) -> u64 {
        self.forwarded
    }

    /// Answered by the cache itself: `only-if-cached`, and nothing suited (RFC 9111 §5.2.1.7).
    pub fn generated(&self) -> u64 {
        self.generated
    }

    /// The position of the log of purges: how many there have been since the store was made.
    pub fn purges(&self) -> u64 {
        self.purges
    }

    /// The selectors that the log holds: purges that are not swept yet, and soft ones.
    pub fn selectors(&self) -> usize {
        self.selectors
    }
}
