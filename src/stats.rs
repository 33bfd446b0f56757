use std::{
    fmt,
    sync::atomic::{AtomicU64, Ordering},
};

use crate::{
    observe::{Event, Refreshing},
    policy::Served,
    purge::PurgeLog,
    storage::Usage,
    stripe,
};

/// What has become of the requests of one layer and its clones.
pub(crate) struct Counters {
    /// One for each thread, so that no two hits write to the same place.
    stripes: Box<[Stripe]>,
    counts: [AtomicU64; COUNTS],
}

#[derive(Default)]
#[repr(align(128))]
struct Stripe {
    served: [AtomicU64; Served::ALL.len()],
}

impl Default for Counters {
    fn default() -> Self {
        let stripes = (0..stripe::count()).map(|_| Stripe::default()).collect();
        Self { stripes, counts: Default::default() }
    }
}

/// What is counted beside the answers.
#[derive(Clone, Copy)]
enum Count {
    OriginRequests,
    Waits,
    Stored,
    NotStored,
    BodyFailures,
    StoreFailures,
    StoreTimeouts,
    Refreshes,
    RefreshesRefused,
    RefreshesFailed,
}

const COUNTS: usize = Count::RefreshesFailed as usize + 1;

impl Counters {
    /// All that a hit pays for being counted.
    #[inline]
    pub(crate) fn served(&self, served: Served) {
        let own = &self.stripes[stripe::of(self.stripes.len())];
        own.served[served as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn count(&self, event: &Event<'_>) {
        let count = match event {
            Event::OriginAsked { .. } => Count::OriginRequests,
            Event::Waited { .. } => Count::Waits,
            Event::Stored { .. } => Count::Stored,
            Event::NotStored { .. } => Count::NotStored,
            Event::BodyFailed => Count::BodyFailures,
            Event::StoreFailed { error, .. } if error.is_timed_out() => Count::StoreTimeouts,
            Event::StoreFailed { .. } => Count::StoreFailures,
            Event::Refresh { step } => match step {
                Refreshing::Begun => Count::Refreshes,
                Refreshing::Refused => Count::RefreshesRefused,
                Refreshing::Failed { .. } | Refreshing::TimedOut { .. } => Count::RefreshesFailed,
                Refreshing::Done { .. } => return,
            },
            Event::Answered { .. }
            | Event::Failed { .. }
            | Event::Left { .. }
            | Event::OriginAnswered { .. }
            | Event::OriginDone { .. }
            | Event::Purge(_)
            | Event::Usage { .. } => return,
        };
        self.counts[count as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn stats(&self, usage: Option<Usage>, log: &PurgeLog) -> Stats {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Stats {
            usage,
            served: Served::ALL.map(|served| {
                let stripes = self.stripes.iter();
                stripes.map(|stripe| read(&stripe.served[served as usize])).sum()
            }),
            counts: self.counts.each_ref().map(read),
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
///
/// The counts are those of the events that an [`Observer`](crate::observe::Observer) hears.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Stats {
    usage: Option<Usage>,
    served: [u64; Served::ALL.len()],
    counts: [u64; COUNTS],
    purges: u64,
    selectors: usize,
}

impl Stats {
    /// What the store holds, and what has gone from it to make room, if it knows.
    pub fn usage(&self) -> Option<Usage> {
        self.usage
    }

    /// How many requests were answered like this.
    pub fn served(&self, served: Served) -> u64 {
        self.served[served as usize]
    }

    /// Answered with a fresh stored response.
    pub fn hits(&self) -> u64 {
        self.served(Served::Hit)
    }

    /// Answered with a stale stored response, without waiting for the origin (RFC 9111 §4.2.4).
    pub fn stale(&self) -> u64 {
        self.served(Served::Stale)
    }

    /// Answered with a stored response after the origin had said that it is good (RFC 9111 §4.3).
    pub fn validated(&self) -> u64 {
        self.served(Served::Validated)
    }

    /// Answered with what another request has brought (RFC 9211 §2.6).
    pub fn collapsed(&self) -> u64 {
        self.served(Served::Collapsed)
    }

    /// Answered by the origin, stored or not.
    pub fn forwarded(&self) -> u64 {
        self.served(Served::Miss) + self.served(Served::Bypass)
    }

    /// Answered by the cache itself: `only-if-cached`, and nothing suited (RFC 9111 §5.2.1.7).
    pub fn generated(&self) -> u64 {
        self.served(Served::Generated)
    }

    /// How often the inner service was asked: by requests, and by refreshes behind them.
    pub fn origin_requests(&self) -> u64 {
        self.read(Count::OriginRequests)
    }

    /// How often a request waited for another one to bring the same.
    pub fn waits(&self) -> u64 {
        self.read(Count::Waits)
    }

    /// Responses that were stored.
    pub fn stored(&self) -> u64 {
        self.read(Count::Stored)
    }

    /// Responses of the origin that were not stored, for whatever reason.
    pub fn not_stored(&self) -> u64 {
        self.read(Count::NotStored)
    }

    /// Bodies that broke off while they were being stored.
    pub fn body_failures(&self) -> u64 {
        self.read(Count::BodyFailures)
    }

    /// How often the store failed.
    pub fn store_failures(&self) -> u64 {
        self.read(Count::StoreFailures)
    }

    /// How often it took too long.
    pub fn store_timeouts(&self) -> u64 {
        self.read(Count::StoreTimeouts)
    }

    /// Refreshes that were begun in the background (RFC 5861 §3).
    pub fn refreshes(&self) -> u64 {
        self.read(Count::Refreshes)
    }

    /// Refreshes that were not begun, since too many waited already or the cache was shut down.
    pub fn refreshes_refused(&self) -> u64 {
        self.read(Count::RefreshesRefused)
    }

    /// Refreshes that failed or took too long.
    pub fn refreshes_failed(&self) -> u64 {
        self.read(Count::RefreshesFailed)
    }

    /// The position of the log of purges: how many there have been since the store was made.
    pub fn purges(&self) -> u64 {
        self.purges
    }

    /// The selectors that the log holds: purges that are not swept yet, and soft ones.
    pub fn selectors(&self) -> usize {
        self.selectors
    }

    fn read(&self, count: Count) -> u64 {
        self.counts[count as usize]
    }
}

impl fmt::Debug for Stats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Stats");
        shown.field("usage", &self.usage);
        for served in Served::ALL {
            shown.field(served.as_str(), &self.served(served));
        }
        shown
            .field("origin_requests", &self.origin_requests())
            .field("waits", &self.waits())
            .field("stored", &self.stored())
            .field("not_stored", &self.not_stored())
            .field("body_failures", &self.body_failures())
            .field("store_failures", &self.store_failures())
            .field("store_timeouts", &self.store_timeouts())
            .field("refreshes", &self.refreshes())
            .field("refreshes_refused", &self.refreshes_refused())
            .field("refreshes_failed", &self.refreshes_failed())
            .field("purges", &self.purges)
            .field("selectors", &self.selectors)
            .finish()
    }
}
