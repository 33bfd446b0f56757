use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use crate::clock::BoxFuture;

/// Runs what has to go on when nobody waits for it: the rest of a write, an
/// invalidation whose client has left.
pub trait Executor: Send + Sync + 'static {
    /// Runs `task` to its end in the background.
    ///
    /// # Errors
    ///
    /// Gives the task back if it cannot be run now. Never panics.
    fn execute(&self, task: BoxFuture) -> Result<(), BoxFuture>;
}

/// Runs nothing: what nobody waits for is given up.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoExecutor;

impl Executor for NoExecutor {
    fn execute(&self, task: BoxFuture) -> Result<(), BoxFuture> {
        Err(task)
    }
}

/// Runs tasks on tokio: on the runtime that the caller is in, else on the one it was made with.
#[cfg(feature = "tokio")]
#[derive(Clone, Debug, Default)]
pub struct TokioExecutor {
    handle: Option<tokio::runtime::Handle>,
}

#[cfg(feature = "tokio")]
impl TokioExecutor {
    /// Uses whatever runtime the caller is in.
    pub fn new() -> Self {
        Self::default()
    }

    /// Uses `handle` where the caller is in no runtime.
    pub fn with_handle(handle: tokio::runtime::Handle) -> Self {
        Self { handle: Some(handle) }
    }
}

#[cfg(feature = "tokio")]
impl Executor for TokioExecutor {
    fn execute(&self, task: BoxFuture) -> Result<(), BoxFuture> {
        match tokio::runtime::Handle::try_current().ok().or_else(|| self.handle.clone()) {
            Some(handle) => {
                handle.spawn(task);
                Ok(())
            }
            None => Err(task),
        }
    }
}

/// A task that whoever waits for it polls, and that goes to the executor when nobody waits any more.
pub(crate) struct Persistent {
    task: Option<BoxFuture>,
    executor: Arc<dyn Executor>,
}

impl Persistent {
    pub(crate) fn new(task: BoxFuture, executor: Arc<dyn Executor>) -> Self {
        Self { task: Some(task), executor }
    }
}

impl Future for Persistent {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(task) = &mut self.task {
            ready!(task.as_mut().poll(cx));
            self.task = None;
        }
        Poll::Ready(())
    }
}

impl Drop for Persistent {
    fn drop(&mut self) {
        if let Some(task) = self.task.take() {
            // Without an executor it ends here, as its docs say.
            let _ = self.executor.execute(task);
        }
    }
}

impl fmt::Debug for dyn Executor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Executor")
    }
}
