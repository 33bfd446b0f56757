//! What goes on when nobody waits for it: counted, so that a shutdown can wait for it, and the
//! refreshes limited.

use std::{
    collections::{HashMap, VecDeque},
    future::poll_fn,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Poll, Waker},
};

use crate::{clock::BoxFuture, executor::Executor};

/// The tasks of a layer and its clones.
#[derive(Default)]
pub(crate) struct Background {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    tasks: usize,
    waiting: Vec<Waker>,
    is_closed: bool,
    refreshing: usize,
    by_authority: HashMap<Box<str>, usize>,
    queue: VecDeque<Queued>,
    /// Those who end when nothing new may be begun.
    closing: HashMap<u64, Waker>,
    #[cfg(feature = "admin")]
    closings: u64,
}

struct Queued {
    authority: Box<str>,
    task: BoxFuture,
    limits: Limits,
}

/// How many refreshes may run at once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) in_all: usize,
    pub(crate) per_authority: usize,
}

/// So many refreshes wait for others to end; what comes beyond is left to a later request.
const MAX_QUEUED: usize = 4096;

/// What became of a refresh.
pub(crate) enum Refreshing {
    /// It runs, or will.
    Begun,
    /// It does not: there is too much to do, or nothing may be begun any more.
    Dropped,
    /// Nobody can run it.
    Refused(BoxFuture),
}

impl Background {
    /// Runs a refresh as soon as the limits allow.
    pub(crate) fn refresh(
        self: &Arc<Self>,
        authority: &str,
        task: BoxFuture,
        limits: Limits,
        executor: &dyn Executor,
    ) -> Refreshing {
        let mut state = self.lock();
        if state.is_closed || state.queue.len() >= MAX_QUEUED {
            drop(state);
            return Refreshing::Dropped;
        }
        let queued = Queued { authority: authority.into(), task, limits };
        if !state.has_room(&queued) {
            state.queue.push_back(queued);
            return Refreshing::Begun;
        }
        let Queued { authority, task, .. } = queued;
        state.begin(&authority);
        drop(state);
        let begun = Begun { background: self.clone(), authority };
        let worker = async move {
            let mut next = Some((begun, task));
            while let Some((begun, task)) = next {
                task.await;
                next = begun.next();
            }
        };
        // What is given back cannot be told from its worker, so the worker is what is run.
        match executor.execute(Box::pin(worker)) {
            Ok(()) => Refreshing::Begun,
            Err(worker) => Refreshing::Refused(worker),
        }
    }

    /// Begins nothing new, and waits for what has begun.
    pub(crate) async fn shut_down(&self) {
        let dropped = {
            let mut state = self.lock();
            state.is_closed = true;
            (std::mem::take(&mut state.queue), std::mem::take(&mut state.closing))
        };
        let (queue, closing) = dropped;
        drop(queue);
        closing.into_values().for_each(Waker::wake);
        self.drained().await;
    }

    /// For who has to end when nothing new may be begun.
    #[cfg(feature = "admin")]
    pub(crate) fn closing(self: &Arc<Self>) -> Closing {
        let mut state = self.lock();
        state.closings += 1;
        let id = state.closings;
        drop(state);
        Closing { background: self.clone(), id }
    }

    /// Waits until nothing runs.
    pub(crate) async fn drained(&self) {
        poll_fn(|cx| {
            let mut state = self.lock();
            if state.tasks == 0 {
                return Poll::Ready(());
            }
            if !state.waiting.iter().any(|waker| waker.will_wake(cx.waker())) {
                state.waiting.push(cx.waker().clone());
            }
            Poll::Pending
        })
        .await;
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn has_room(&self, queued: &Queued) -> bool {
        let here = self.by_authority.get(&queued.authority).copied().unwrap_or_default();
        self.refreshing < queued.limits.in_all && here < queued.limits.per_authority
    }

    fn begin(&mut self, authority: &str) {
        self.refreshing += 1;
        *self.by_authority.entry(authority.into()).or_default() += 1;
    }

    fn end(&mut self, authority: &str) {
        self.refreshing -= 1;
        if let Some(here) = self.by_authority.get_mut(authority) {
            *here -= 1;
            if *here == 0 {
                self.by_authority.remove(authority);
            }
        }
    }
}

/// See [`Background::closing`].
#[cfg(feature = "admin")]
pub(crate) struct Closing {
    background: Arc<Background>,
    id: u64,
}

#[cfg(feature = "admin")]
impl Closing {
    pub(crate) fn poll(&self, cx: &std::task::Context<'_>) -> Poll<()> {
        let mut state = self.background.lock();
        if state.is_closed {
            return Poll::Ready(());
        }
        state.closing.insert(self.id, cx.waker().clone());
        Poll::Pending
    }
}

#[cfg(feature = "admin")]
impl Drop for Closing {
    fn drop(&mut self) {
        self.background.lock().closing.remove(&self.id);
    }
}

/// A refresh that runs.
struct Begun {
    background: Arc<Background>,
    authority: Box<str>,
}

impl Begun {
    /// Ends, and gives its place to the next in the queue.
    fn next(self) -> Option<(Self, BoxFuture)> {
        let background = self.background.clone();
        drop(self);
        let mut state = background.lock();
        let at = state.queue.iter().position(|queued| state.has_room(queued))?;
        let Queued { authority, task, .. } = state.queue.remove(at)?;
        state.begin(&authority);
        drop(state);
        Some((Self { background, authority }, task))
    }
}

impl Drop for Begun {
    fn drop(&mut self) {
        self.background.lock().end(&self.authority);
    }
}

/// An executor whose tasks are counted.
pub(crate) struct Counted {
    inner: Arc<dyn Executor>,
    background: Arc<Background>,
}

impl Counted {
    pub(crate) fn new(inner: Arc<dyn Executor>, background: Arc<Background>) -> Self {
        Self { inner, background }
    }
}

impl Executor for Counted {
    fn execute(&self, task: BoxFuture) -> Result<(), BoxFuture> {
        self.background.lock().tasks += 1;
        let running = Running(self.background.clone());
        self.inner.execute(Box::pin(async move {
            let _running = running;
            task.await;
        }))
    }
}

struct Running(Arc<Background>);

impl Drop for Running {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.tasks -= 1;
        let woken = if state.tasks == 0 { std::mem::take(&mut state.waiting) } else { Vec::new() };
        drop(state);
        woken.into_iter().for_each(Waker::wake);
    }
}
