use std::{
    future::{Future, poll_fn},
    panic,
    pin::pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, Waker},
    thread,
};

/// Runs `future` to its end on this thread.
///
/// On a tokio runtime of one thread if the feature `tokio` is on, else without any.
///
/// # Panics
///
/// If `future` does, or if no runtime can be made.
#[cfg(feature = "tokio")]
pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime can be made")
        .block_on(future)
}

/// Runs `future` to its end on this thread.
///
/// On a tokio runtime of one thread if the feature `tokio` is on, else without any.
///
/// # Panics
///
/// If `future` does, or if no runtime can be made.
#[cfg(not(feature = "tokio"))]
pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    struct Unpark(thread::Thread);

    impl std::task::Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }

    let waker = Arc::new(Unpark(thread::current())).into();
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(value) => return value,
            Poll::Pending => thread::park(),
        }
    }
}

/// Runs `future` on a thread of its own. To wait for it blocks nothing: a store may have tasks on
/// the runtime of the thread that made it.
pub(super) fn spawn<T: Send + 'static>(
    future: impl Future<Output = T> + Send + 'static,
) -> impl Future<Output = T> {
    let end = End::default();
    let at_end = Ended(end.clone());
    let thread = thread::spawn(move || {
        let _at_end = at_end;
        block_on(future)
    });
    async move {
        poll_fn(|cx| end.poll(cx)).await;
        thread.join().unwrap_or_else(|panicked| panic::resume_unwind(panicked))
    }
}

#[derive(Clone, Default)]
struct End(Arc<Mutex<(bool, Option<Waker>)>>);

impl End {
    fn poll(&self, cx: &Context<'_>) -> Poll<()> {
        let (has_ended, waker) = &mut *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if *has_ended {
            return Poll::Ready(());
        }
        *waker = Some(cx.waker().clone());
        Poll::Pending
    }
}

struct Ended(End);

impl Drop for Ended {
    fn drop(&mut self) {
        let (has_ended, waker) = &mut *self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        *has_ended = true;
        if let Some(waker) = waker.take() {
            waker.wake();
        }
    }
}

/// Polls once and drops. `None`: it was not ready.
pub(super) fn cancel<T>(future: impl Future<Output = T>) -> Option<T> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => Some(value),
        Poll::Pending => None,
    }
}
