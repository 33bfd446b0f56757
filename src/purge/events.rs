use std::{
    collections::VecDeque,
    fmt,
    future::poll_fn,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Waker},
    time::{Duration, SystemTime},
};

use super::selector::Purge;

/// One record of a log: what was purged, by whom, when.
#[derive(Clone, Debug)]
pub struct PurgeRecord {
    pub(super) seq: u64,
    pub(super) purge: Arc<Purge>,
    pub(super) at: SystemTime,
}

impl PurgeRecord {
    /// Its position in the log.
    pub fn seq(&self) -> u64 {
        self.seq
    }

    /// What was purged, how, and by whom. It shows itself as text.
    pub fn purge(&self) -> &Purge {
        &self.purge
    }

    /// When it was appended.
    pub fn at(&self) -> SystemTime {
        self.at
    }
}

/// What happens in a log.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum PurgeEvent {
    /// A purge has taken effect.
    Purged(PurgeRecord),
    /// The sweeper has been through the store.
    Swept {
        /// The purge.
        record: PurgeRecord,
        /// How many responses went, or for a soft purge became stale. What went otherwise before the
        /// sweeper came, such as by a newer response in its place, is not counted.
        count: u64,
        /// From when the purge was appended to when it was swept.
        took: Duration,
    },
    /// So many events have been missed: this stream was not read for too long.
    Lagged(u64),
}

/// Follows a log of purges: see [`CacheHandle::purges`](crate::CacheHandle::purges).
///
/// It has no end. Dropping it ends nothing else.
pub struct PurgeStream {
    ring: Arc<Ring>,
    next: u64,
}

impl PurgeStream {
    /// The next event; ready at once if there is one.
    pub async fn next(&mut self) -> PurgeEvent {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    /// The same for who polls by hand, such as to make a `Stream` of it.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<PurgeEvent> {
        let mut ring = self.ring.lock();
        if self.next < ring.first {
            let missed = ring.first - self.next;
            self.next = ring.first;
            return Poll::Ready(PurgeEvent::Lagged(missed));
        }
        let at = usize::try_from(self.next - ring.first).unwrap_or(usize::MAX);
        if let Some(event) = ring.events.get(at) {
            self.next += 1;
            return Poll::Ready(event.clone());
        }
        wait(&mut ring.waiting, cx);
        Poll::Pending
    }
}

impl fmt::Debug for PurgeStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PurgeStream").field("next", &self.next).finish_non_exhaustive()
    }
}

/// The last events, and who is called at each.
#[derive(Default)]
pub(super) struct Ring {
    events: Mutex<Events>,
    /// Whether there are any, so that who has no news need not ask.
    is_called: AtomicBool,
}

/// Called at each event.
pub(crate) type Callback = dyn Fn(&PurgeEvent) + Send + Sync;

#[derive(Default)]
struct Events {
    /// The number of the oldest that is kept.
    first: u64,
    events: VecDeque<PurgeEvent>,
    waiting: Vec<Waker>,
    callbacks: Vec<Weak<Callback>>,
    /// The number of the first that the callbacks have not seen.
    untold: u64,
}

const MAX_EVENTS: usize = 1024;

impl Events {
    /// What the callbacks have not seen, and those that are still there.
    fn untold(&mut self) -> (Vec<PurgeEvent>, Vec<Arc<Callback>>) {
        let missed = self.first.saturating_sub(self.untold);
        let seen = usize::try_from(self.untold.saturating_sub(self.first)).unwrap_or(usize::MAX);
        let lagged = (missed > 0).then_some(PurgeEvent::Lagged(missed));
        let news = lagged.into_iter().chain(self.events.iter().skip(seen).cloned()).collect();
        self.untold = self.first + self.events.len() as u64;
        (news, self.callbacks.iter().filter_map(Weak::upgrade).collect())
    }
}

impl Ring {
    pub(super) fn push(&self, event: PurgeEvent) {
        let mut ring = self.lock();
        ring.events.push_back(event);
        if ring.events.len() > MAX_EVENTS {
            ring.events.pop_front();
            ring.first += 1;
        }
        let waiting = std::mem::take(&mut ring.waiting);
        drop(ring);
        waiting.into_iter().for_each(Waker::wake);
    }

    /// Calls `callback` at each event from now on, as long as it is there.
    pub(super) fn call(&self, callback: &Arc<Callback>) {
        let mut ring = self.lock();
        ring.callbacks.retain(|callback| callback.strong_count() > 0);
        if ring.callbacks.is_empty() {
            ring.untold = ring.first + ring.events.len() as u64;
        }
        ring.callbacks.push(Arc::downgrade(callback));
        self.is_called.store(true, Ordering::Release);
    }

    /// Tells the callbacks what they have not seen. No lock is held meanwhile, nor may the caller hold
    /// one.
    pub(super) fn tell(&self) {
        if !self.is_called.load(Ordering::Acquire) {
            return;
        }
        let (news, callbacks) = self.lock().untold();
        for event in &news {
            callbacks.iter().for_each(|callback| callback(event));
        }
    }

    pub(super) fn follow(self: &Arc<Self>) -> PurgeStream {
        let ring = self.lock();
        let next = ring.first + ring.events.len() as u64;
        drop(ring);
        PurgeStream { ring: self.clone(), next }
    }

    fn lock(&self) -> MutexGuard<'_, Events> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Remembers whom to wake, once.
pub(super) fn wait(waiting: &mut Vec<Waker>, cx: &Context<'_>) {
    if !waiting.iter().any(|waker| waker.will_wake(cx.waker())) {
        waiting.push(cx.waker().clone());
    }
}
