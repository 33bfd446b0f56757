use std::{
    collections::BTreeSet,
    future::poll_fn,
    sync::{Arc, Mutex},
    task::{Poll, Waker},
};

use super::pool::lock;

/// The responses that are being written, so that a program can wait for them before it ends.
#[derive(Clone, Default)]
pub(super) struct Pending(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    next: u64,
    open: BTreeSet<u64>,
    waiting: Vec<Waker>,
}

impl Pending {
    pub(super) fn enter(&self) -> Entered {
        let mut state = lock(&self.0);
        let number = state.next;
        state.next += 1;
        state.open.insert(number);
        Entered { pending: self.clone(), number }
    }

    /// Waits until all that have entered before have left.
    pub(super) async fn drain(&self) {
        let end = lock(&self.0).next;
        poll_fn(|cx| {
            let mut state = lock(&self.0);
            if state.open.first().is_none_or(|first| *first >= end) {
                return Poll::Ready(());
            }
            state.waiting.push(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }
}

pub(super) struct Entered {
    pending: Pending,
    number: u64,
}

impl Drop for Entered {
    fn drop(&mut self) {
        let mut state = lock(&self.pending.0);
        state.open.remove(&self.number);
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        waiting.into_iter().for_each(Waker::wake);
    }
}
