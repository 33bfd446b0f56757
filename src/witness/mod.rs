//! Who counts what happens, and tells it to an observer.

mod asking;

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

pub(crate) use self::asking::Asking;
use crate::{
    Error,
    observe::{Event, Observer, Operation, OriginId},
    policy::{CacheStatus, Reason},
    purge::Callback,
    stats::Counters,
    storage::{CacheManager, Usage},
};

/// Counts what happens in a layer and its clones, and tells it to the observer, if there is one.
#[derive(Clone, Default)]
pub(crate) struct Witness {
    counters: Arc<Counters>,
    observer: Option<Arc<dyn Observer>>,
    gone: Arc<Gone>,
}

/// An observer as a layer has it.
struct Hearing {
    observer: Arc<dyn Observer>,
    _purges: Arc<Callback>,
}

impl Observer for Hearing {
    fn observe(&self, event: &Event<'_>) {
        self.observer.observe(event);
    }

    fn within(&self, id: OriginId, work: &mut dyn FnMut()) {
        self.observer.within(id, work);
    }
}

/// What a store said last of what has gone from it.
#[derive(Default)]
struct Gone {
    evicted: AtomicU64,
    variants_evicted: AtomicU64,
    variants_refused: AtomicU64,
}

impl Witness {
    #[inline]
    pub(crate) fn counters(&self) -> &Counters {
        &self.counters
    }

    pub(crate) fn observer(&self) -> Option<&Arc<dyn Observer>> {
        self.observer.as_ref()
    }

    /// Has `observer` hear, too, and keeps that by which it hears of `purges`.
    pub(crate) fn add(&mut self, observer: Arc<dyn Observer>, purges: Arc<Callback>) {
        let hearing = Hearing { observer, _purges: purges };
        self.observer = Some(match self.observer.take() {
            Some(first) => Arc::new((first, hearing)),
            None => Arc::new(hearing),
        });
    }

    pub(crate) fn tell(&self, event: &Event<'_>) {
        self.counters.count(event);
        if let Some(observer) = &self.observer {
            observer.observe(event);
        }
    }

    /// The same from a destructor: a panic within a panic would be the end of the process.
    pub(crate) fn tell_at_the_end(&self, event: &Event<'_>) {
        if !std::thread::panicking() {
            self.tell(event);
        }
    }

    /// The store could not do something.
    pub(crate) fn store_failed(&self, operation: Operation, error: &Error) {
        // What was outdated meanwhile, or cannot be done at all, is no failure.
        if !error.is_refused() && !error.is_unsupported() && !error.is_too_large() {
            self.tell(&Event::StoreFailed { operation, error });
        }
    }

    /// A response has been handed on as it is.
    pub(crate) fn is_not_stored(&self, status: CacheStatus) {
        if let Some(reason) = status.reason() {
            self.tell(&Event::NotStored { reason });
        }
    }

    /// The store has taken a response, and may have made room for it.
    pub(crate) fn stored(&self, bytes: u64, manager: &impl CacheManager) {
        self.tell(&Event::Stored { bytes });
        self.tell_usage(manager);
    }

    /// The store has not taken a response.
    pub(crate) fn not_stored(&self, error: &Error, manager: &impl CacheManager) {
        self.store_failed(Operation::Put, error);
        self.tell(&Event::NotStored { reason: reason_of(error) });
        self.tell_usage(manager);
    }

    fn tell_usage(&self, manager: &impl CacheManager) {
        if self.observer.is_none() {
            return;
        }
        let Some(usage) = manager.usage() else { return };
        let Gone { evicted, variants_evicted, variants_refused } = &*self.gone;
        self.tell(&Event::Usage {
            usage,
            evicted: newly(evicted, usage.evicted()),
            variants_evicted: newly(variants_evicted, usage.variants_evicted()),
            variants_refused: newly(variants_refused, usage.variants_refused()),
        });
    }

    /// From here on the store's past is not told.
    pub(crate) fn begin_at(&self, usage: Option<Usage>) {
        let Some(usage) = usage else { return };
        newly(&self.gone.evicted, usage.evicted());
        newly(&self.gone.variants_evicted, usage.variants_evicted());
        newly(&self.gone.variants_refused, usage.variants_refused());
    }
}

/// Why a response is not kept that the store has not taken.
pub(crate) fn reason_of(error: &Error) -> Reason {
    if error.is_timed_out() {
        Reason::StoreTimeout
    } else if error.is_too_large() {
        Reason::TooLarge
    } else if error.is_refused() {
        Reason::Invalidated
    } else {
        Reason::StoreError
    }
}

/// How much a count has grown since somebody asked last. Two who ask at once share it.
fn newly(told: &AtomicU64, count: u64) -> u64 {
    count.saturating_sub(told.fetch_max(count, Ordering::Relaxed))
}

impl fmt::Debug for Witness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Witness")
    }
}
