//! What several threads may do to one request on its way, in every order.
//!
//! `RUSTFLAGS="--cfg larder_loom" cargo test --release --lib loom_` tries all orders, by loom. In the
//! normal run the same models run a few hundred times on real threads.

mod flight;
mod host;
mod inflight;
mod log;
#[cfg(feature = "memory")]
mod place;

use std::{
    future::poll_fn,
    sync::Arc,
    task::{Poll, Waker},
    time::{Duration, SystemTime},
};

use self::host::{block_on, model, spawn};
use crate::{
    clock::BoxFuture,
    executor::Executor,
    flight::{Disconnect, Flight, Passenger},
    policy::Timestamp,
    sync::{Mutex, lock},
};

/// What a future waits for that another thread does.
#[derive(Default)]
struct Signal(Mutex<(bool, Option<Waker>)>);

impl Signal {
    fn give(&self) {
        let waker = {
            let mut state = lock(&self.0);
            state.0 = true;
            state.1.take()
        };
        waker.into_iter().for_each(Waker::wake);
    }

    async fn given(&self) {
        poll_fn(|cx| {
            let mut state = lock(&self.0);
            if state.0 {
                return Poll::Ready(());
            }
            state.1 = Some(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }
}

/// Keeps what it is given until it is told to run it.
#[derive(Default)]
struct Later(Mutex<Vec<BoxFuture>>);

impl Later {
    fn run(&self) {
        let tasks = std::mem::take(&mut *lock(&self.0));
        tasks.into_iter().for_each(block_on);
    }
}

impl Executor for Later {
    fn execute(&self, task: BoxFuture) -> Result<(), BoxFuture> {
        lock(&self.0).push(task);
        Ok(())
    }
}

fn now() -> Timestamp {
    Timestamp::from_wall(SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000))
}

fn flight(executor: Arc<dyn Executor>, disconnect: Disconnect) -> Passenger {
    Flight::prepare(executor, disconnect, now())
}
