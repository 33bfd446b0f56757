use std::{
    fmt,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Waker},
    time::Duration,
};

use super::{
    PurgeBus,
    driver::{Sink, follow},
    erased::AnyBus,
    outbox::Outbox,
    senders::Senders,
};
use crate::{
    clock::{BoxFuture, Clock},
    executor::Executor,
    policy::Timestamp,
};

/// What becomes of requests while a layer cannot hear what others purge, and has not for longer than
/// [`CacheLayer::max_purge_lag`](crate::CacheLayer::max_purge_lag).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum WhenCutOff {
    /// They are answered as always: what was purged elsewhere meanwhile may be served until the bus is
    /// back.
    Serve,
    /// Everything stored is validated before it is used, however fresh (RFC 9111 §4.3): the origin says
    /// whether it is still good. Where it cannot be asked, what
    /// [`stale_if_error`](crate::Policy::stale_if_error) and its like allow is served.
    #[default]
    Revalidate,
    /// They pass by the cache, and nothing is stored.
    Bypass,
}

/// Whether what is stored can be vouched for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trust {
    Full,
    /// It is to be validated.
    Doubt,
    /// Nothing of it is to be used.
    None,
}

/// A bus that a layer and its clones are attached to. The last one to go ends the following.
pub(crate) struct Attached(Arc<Link>);

/// What the layer, what follows the bus, and what publishes have in common.
pub(super) struct Link {
    pub(super) node: u128,
    pub(super) bus: Box<dyn AnyBus>,
    pub(super) outbox: Outbox,
    /// Whether everything that was published has been heard.
    is_current: AtomicBool,
    /// Whether no executor follows the bus: then whoever comes by does.
    is_parked: AtomicBool,
    state: Mutex<State>,
}

#[derive(Default)]
pub(super) struct State {
    pub(super) senders: Senders,
    /// Up to where all is applied.
    pub(super) position: Option<String>,
    /// `None`: nobody has noticed yet.
    cut_since: Option<Timestamp>,
    /// When somebody came by last and heard it all.
    heard_at: Option<Timestamp>,
    is_begun: bool,
    is_closed: bool,
    follower: Option<Waker>,
    parked: Option<BoxFuture>,
}

impl Attached {
    pub(crate) fn new(bus: impl PurgeBus, position: Option<String>) -> Self {
        let mut node = [0; 16];
        getrandom::fill(&mut node).expect("the system gives randomness");
        Self(Arc::new(Link {
            node: u128::from_le_bytes(node),
            bus: Box::new(bus),
            outbox: Outbox::default(),
            is_current: AtomicBool::new(false),
            is_parked: AtomicBool::new(true),
            state: Mutex::new(State { position, ..State::default() }),
        }))
    }

    /// Whether somebody has to [`drive`](Self::drive).
    pub(crate) fn is_parked(&self) -> bool {
        self.0.is_parked.load(Ordering::Acquire)
    }

    /// Has an executor follow the bus. If none does, hears what there is, where `polls`.
    pub(crate) fn drive(&self, sink: impl FnOnce() -> Sink, executor: &dyn Executor, polls: bool) {
        let task: Option<BoxFuture> = {
            let mut state = self.0.lock();
            match std::mem::replace(&mut state.is_begun, true) {
                true => state.parked.take(),
                false => Some(Box::pin(follow(self.0.clone(), sink()))),
            }
        };
        // Else somebody is at it.
        let Some(task) = task else { return };
        // First, since it may be over before this goes on.
        self.0.is_parked.store(false, Ordering::Release);
        let Err(mut task) = executor.execute(task) else { return };
        self.0.is_parked.store(true, Ordering::Release);
        // Whoever comes by next looks again, so nobody need be woken.
        let cx = &mut Context::from_waker(Waker::noop());
        if !polls || Pin::new(&mut task).poll(cx).is_pending() {
            self.0.lock().parked = Some(task);
        }
    }

    pub(crate) fn trust(&self, cut_off: CutOff, clock: &dyn Clock) -> Trust {
        if self.0.is_current.load(Ordering::Acquire) {
            if self.is_parked() {
                self.0.lock().heard_at = Some(clock.now());
            }
            return Trust::Full;
        }
        let (now, mut state) = (clock.now(), self.0.lock());
        let since = *state.cut_since.get_or_insert(now);
        let follower = state.follower.take();
        drop(state);
        // Where nothing else wakes it to try again, requests do.
        follower.into_iter().for_each(Waker::wake);
        match cut_off.when {
            _ if now.since(since) < cut_off.max_lag => Trust::Full,
            WhenCutOff::Serve => Trust::Full,
            WhenCutOff::Revalidate => Trust::Doubt,
            WhenCutOff::Bypass => Trust::None,
        }
    }

    pub(crate) fn position(&self) -> Option<String> {
        self.0.lock().position.clone()
    }

    pub(super) fn link(&self) -> &Arc<Link> {
        &self.0
    }
}

impl Link {
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn is_closed(&self) -> bool {
        self.lock().is_closed
    }

    /// Whether it is over. If not, the follower is woken when it is.
    pub(super) fn is_over(&self, cx: &Context<'_>) -> bool {
        let mut state = self.lock();
        state.follower = Some(cx.waker().clone());
        state.is_closed
    }

    pub(super) fn is_current_now(&self) {
        self.lock().cut_since = None;
        self.is_current.store(true, Ordering::Release);
    }

    /// Nobody follows the bus any more: whoever comes next has it followed again.
    pub(super) fn is_left(&self, now: Timestamp) {
        self.is_cut_off(now);
        self.lock().is_begun = false;
        self.is_parked.store(true, Ordering::Release);
    }

    pub(super) fn is_cut_off(&self, now: Timestamp) {
        let mut state = self.lock();
        let since = state.heard_at.take().unwrap_or(now);
        state.cut_since.get_or_insert(since);
        drop(state);
        self.is_current.store(false, Ordering::Release);
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.is_closed = true;
        let (follower, parked) = (state.follower.take(), state.parked.take());
        drop(state);
        follower.into_iter().for_each(Waker::wake);
        drop(parked);
    }
}

impl fmt::Debug for Attached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Attached").field("position", &self.position()).finish_non_exhaustive()
    }
}

/// What to do where the bus cannot be heard.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CutOff {
    pub(crate) max_lag: Duration,
    pub(crate) when: WhenCutOff,
}

impl Default for CutOff {
    fn default() -> Self {
        Self { max_lag: Duration::from_secs(5), when: WhenCutOff::default() }
    }
}
