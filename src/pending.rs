//! What is still being written, so that a program can wait for it before it ends.

use std::{
    collections::BTreeSet,
    future::poll_fn,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Poll, Waker},
};

/// The responses that are whole, and not yet in place.
#[derive(Clone, Default)]
pub(crate) struct Pending(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    next: u64,
    open: BTreeSet<u64>,
    waiting: Vec<Waker>,
}

impl Pending {
    pub(crate) fn enter(&self) -> Entered {
        let mut state = self.lock();
        let number = state.next;
        state.next += 1;
        state.open.insert(number);
        Entered { pending: self.clone(), number }
    }

    /// Waits until all that have entered before have left.
    pub(crate) async fn drain(&self) {
        let end = self.lock().next;
        poll_fn(|cx| {
            let mut state = self.lock();
            if state.open.first().is_none_or(|first| *first >= end) {
                return Poll::Ready(());
            }
            state.waiting.push(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One of them. Leaves when it is dropped.
pub(crate) struct Entered {
    pending: Pending,
    number: u64,
}

impl Entered {
    pub(crate) fn leave(&self) {
        let mut state = self.pending.lock();
        state.open.remove(&self.number);
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        waiting.into_iter().for_each(Waker::wake);
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        self.leave();
    }
}
