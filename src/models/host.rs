//! Threads: loom's, or real ones.

#[cfg(larder_loom)]
pub(super) use loom::{future::block_on, thread::spawn};

/// Runs `f` in every order of its threads that has at most two preemptions (`LOOM_MAX_PREEMPTIONS` tries more).
#[cfg(larder_loom)]
pub(super) fn model(f: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = builder.preemption_bound.or(Some(2));
    builder.check(f);
}

#[cfg(not(larder_loom))]
pub(super) use self::real::{block_on, model, spawn};

#[cfg(not(larder_loom))]
mod real {
    use std::{
        pin::pin,
        sync::Arc,
        task::{Context, Poll, Wake, Waker},
        thread::{Thread, current, park_timeout},
        time::{Duration, Instant},
    };

    pub(in crate::models) use std::thread::spawn;

    pub(in crate::models) fn model(f: impl Fn() + Sync + Send + 'static) {
        const ROUNDS: usize = 300;
        (0..ROUNDS).for_each(|_| f());
    }

    struct Unpark(Thread);

    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }

    /// Panics where nobody wakes it.
    pub(in crate::models) fn block_on<F: Future>(future: F) -> F::Output {
        const PATIENCE: Duration = Duration::from_secs(30);
        let waker = Waker::from(Arc::new(Unpark(current())));
        let mut future = pin!(future);
        loop {
            if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
                return output;
            }
            let asleep = Instant::now();
            park_timeout(PATIENCE);
            assert!(asleep.elapsed() < PATIENCE, "nobody woke who waits");
        }
    }
}
