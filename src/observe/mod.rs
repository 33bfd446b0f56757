//! What a cache does, told to whoever wants to know: counters, logs, traces, alarms.
//!
//! An [`Observer`] is given to a layer by one call and hears every [`Event`] of it and of its clones:
//! how each request was answered, each request to the origin, each wait for somebody else's, what
//! was stored and why not, what failed in the store, refreshes, purges, evictions. All of it is drawn
//! from the same [`CacheStatus`](crate::CacheStatus) and [`Reason`](crate::policy::Reason) as the
//! `Cache-Status` field, so that what is counted, logged and sent never disagrees. Without an observer
//! a hit pays one comparison.
//!
//! `MetricsObserver` (feature `metrics`) and `TracingObserver` (feature `tracing`) are observers
//! and nothing more; [`CacheHandle::stats`](crate::CacheHandle::stats) has the same counts without
//! either.
//!
//! ```
//! use std::sync::atomic::{AtomicU64, Ordering};
//!
//! use larder::{
//!     CacheLayer, MemoryManager,
//!     observe::{Event, Observer},
//! };
//!
//! /// Counts what the store could not do.
//! #[derive(Default)]
//! struct Failures(AtomicU64);
//!
//! impl Observer for Failures {
//!     fn observe(&self, event: &Event<'_>) {
//!         if let Event::StoreFailed { .. } = event {
//!             self.0.fetch_add(1, Ordering::Relaxed);
//!         }
//!     }
//! }
//!
//! let cache = CacheLayer::new(MemoryManager::new(64 << 20)).observer(Failures::default());
//! ```

mod event;

use std::sync::Arc;

pub use self::event::{Event, Operation, OriginId, Refreshing, Wait};

/// Hears what a cache does.
///
/// It is called where things happen: in the poll of a request, of a body, of a background task, in
/// the call of a handle. So it must not block, nor wait for a lock that somebody holds for long; what
/// takes time belongs behind a channel. No lock of the cache is held meanwhile, and calling a
/// [`CacheHandle`](crate::CacheHandle) is allowed. Events of one request come in their order, those of
/// several in any.
///
/// One that panics is like a handler that does: the request that was being polled ends by it, before
/// its head by the panic and after it by an error of its body. What was already stored or purged stays
/// so, those who wait for the same thing go on by themselves, and nobody else notices. Nothing is told
/// while a panic is unwinding.
pub trait Observer: Send + Sync + 'static {
    /// Hears of an event.
    fn observe(&self, event: &Event<'_>);

    /// Runs `work`, once: a piece of the origin request `id`, between its
    /// [`OriginAsked`](Event::OriginAsked) and its [`OriginDone`](Event::OriginDone). Whoever polls it
    /// is not always the one who asked, so that what goes by the current task or thread is set here.
    /// Default: just that.
    fn within(&self, id: OriginId, work: &mut dyn FnMut()) {
        let _ = id;
        work();
    }
}

impl<O: Observer + ?Sized> Observer for Arc<O> {
    fn observe(&self, event: &Event<'_>) {
        (**self).observe(event);
    }

    fn within(&self, id: OriginId, work: &mut dyn FnMut()) {
        (**self).within(id, work);
    }
}

/// Both hear, the first one first.
impl<A: Observer, B: Observer> Observer for (A, B) {
    fn observe(&self, event: &Event<'_>) {
        self.0.observe(event);
        self.1.observe(event);
    }

    fn within(&self, id: OriginId, work: &mut dyn FnMut()) {
        self.0.within(id, &mut || self.1.within(id, work));
    }
}
