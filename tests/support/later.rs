use std::{
    sync::{Arc, Mutex},
    task::{Context, Waker},
};

use larder::{BoxFuture, Executor};

/// Keeps what it is given until the test goes on with it.
#[derive(Clone, Default)]
pub struct Later(Arc<Mutex<Vec<BoxFuture>>>);

impl Executor for Later {
    fn execute(&self, task: BoxFuture) -> Result<(), BoxFuture> {
        self.0.lock().unwrap().push(task);
        Ok(())
    }
}

impl Later {
    /// Polls all that is not done once.
    pub fn go_on(&self) {
        let mut tasks = std::mem::take(&mut *self.0.lock().unwrap());
        tasks.retain_mut(|task| {
            task.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending()
        });
        // One may have left another behind.
        self.0.lock().unwrap().append(&mut tasks);
    }

    pub fn is_idle(&self) -> bool {
        self.0.lock().unwrap().is_empty()
    }

    /// To the end of all.
    pub fn run(&self) {
        while !self.is_idle() {
            self.go_on();
        }
    }
}
