//! The threads that touch the disk, and how a future waits for them without a runtime.

use std::{
    collections::VecDeque,
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
    thread,
    time::{Duration, Instant},
};

use super::store::Store;
use crate::Error;

/// What is to be done, first come first served.
#[derive(Default)]
pub(super) struct Queue {
    state: Mutex<State>,
    ready: Condvar,
}

#[derive(Default)]
struct State {
    jobs: VecDeque<Job>,
    is_closed: bool,
    /// A thread that is awake takes the next job.
    is_looked_after: bool,
}

type Job = Box<dyn FnOnce(&Store) + Send>;

/// Whether a job may be refused when there are too many.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Need {
    /// The cache works without: a look-up, a write.
    Optional,
    /// It does not: a deletion, the rest of a body.
    Required,
}

const MAX_JOBS: usize = 256;
/// About as long as it takes to wake a thread.
const LOOK: Duration = Duration::from_micros(20);

impl Queue {
    /// Has `work` done by one of the threads. It can ask whether anybody still waits for it.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        need: Need,
        work: impl FnOnce(&Store, &Waiting) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let slot = Arc::new(Mutex::new(Slot::Empty(None)));
        let (sender, reply) = (Sender(slot.clone()), Reply(slot));
        let job: Job = Box::new(move |store| {
            let result = catch_unwind(AssertUnwindSafe(|| work(store, &Waiting(&sender))));
            sender.send(result.unwrap_or_else(|_| Err(Error::other("an I/O thread panicked"))));
        });
        self.submit(need, job)?;
        reply.await
    }

    fn submit(&self, need: Need, job: Job) -> Result<(), Error> {
        let mut state = lock(&self.state);
        if state.is_closed {
            return Err(Error::other("the store is closed"));
        }
        if need == Need::Optional && state.jobs.len() >= MAX_JOBS {
            return Err(Error::other("too much to do"));
        }
        state.jobs.push_back(job);
        let is_seen = state.is_looked_after && state.jobs.len() == 1;
        drop(state);
        if !is_seen {
            self.ready.notify_one();
        }
        Ok(())
    }

    /// Does what comes, until the queue is closed and empty.
    pub(super) fn work(&self, store: &Store) {
        while let Some(job) = self.next(store) {
            job(store);
        }
        store.spares.clear();
    }

    fn next(&self, store: &Store) -> Option<Job> {
        if !self.has_work() {
            store.spares.refill();
        }
        let mut state = self.look();
        loop {
            match state.jobs.pop_front() {
                Some(job) => return Some(job),
                None if state.is_closed => return None,
                None => state = self.ready.wait(state).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }

    /// Looks for work for a moment, if no other thread does: who comes back with the next job need
    /// not wake anybody then.
    fn look(&self) -> MutexGuard<'_, State> {
        let mut state = lock(&self.state);
        if state.jobs.is_empty() && !state.is_looked_after {
            state.is_looked_after = true;
            drop(state);
            let start = Instant::now();
            while !self.has_work() && start.elapsed() < LOOK {
                thread::yield_now();
            }
            state = lock(&self.state);
            state.is_looked_after = false;
        }
        state
    }

    fn has_work(&self) -> bool {
        let state = lock(&self.state);
        state.is_closed || !state.jobs.is_empty()
    }

    /// Takes no more; what is there is still done.
    pub(super) fn close(&self) {
        lock(&self.state).is_closed = true;
        self.ready.notify_all();
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

enum Slot<T> {
    Empty(Option<Waker>),
    Full(Result<T, Error>),
    /// Nobody waits any more, or it was taken.
    Gone,
}

struct Sender<T>(Arc<Mutex<Slot<T>>>);

impl<T> Sender<T> {
    fn send(&self, result: Result<T, Error>) {
        let mut slot = lock(&self.0);
        let before = match *slot {
            Slot::Empty(_) => std::mem::replace(&mut *slot, Slot::Full(result)),
            _ => return,
        };
        drop(slot);
        if let Slot::Empty(Some(waker)) = before {
            waker.wake();
        }
    }
}

/// A job that was never begun.
impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        self.send(Err(Error::other("the store is closed")));
    }
}

/// Asks whether somebody still waits for a job.
pub(super) struct Waiting<'a>(&'a dyn IsWaiting);

impl Waiting<'_> {
    /// If not, the job must change nothing: what comes after it may be done already.
    pub(super) fn check(&self) -> Result<(), Error> {
        if self.0.is_waiting() { Ok(()) } else { Err(Error::other("cancelled")) }
    }
}

trait IsWaiting {
    fn is_waiting(&self) -> bool;
}

impl<T> IsWaiting for Sender<T> {
    fn is_waiting(&self) -> bool {
        !matches!(*lock(&self.0), Slot::Gone)
    }
}

struct Reply<T>(Arc<Mutex<Slot<T>>>);

impl<T> Future for Reply<T> {
    type Output = Result<T, Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut slot = lock(&self.0);
        match std::mem::replace(&mut *slot, Slot::Gone) {
            Slot::Full(result) => Poll::Ready(result),
            Slot::Gone => Poll::Ready(Err(Error::other("polled after it was ready"))),
            Slot::Empty(_) => {
                *slot = Slot::Empty(Some(cx.waker().clone()));
                Poll::Pending
            }
        }
    }
}

impl<T> Drop for Reply<T> {
    fn drop(&mut self) {
        // What the job gave is dropped without the lock.
        let _left = std::mem::replace(&mut *lock(&self.0), Slot::Gone);
    }
}
