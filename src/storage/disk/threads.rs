use std::{
    sync::Arc,
    thread::{self, JoinHandle},
};

use super::{keeper, pool::Queue, store::Store};
use crate::Error;

/// The threads of a store. Dropped, they do what was asked for, and end.
pub(super) struct Threads {
    store: Arc<Store>,
    queue: Arc<Queue>,
    io: Vec<JoinHandle<()>>,
    keeper: Option<JoinHandle<()>>,
}

const IO_THREADS: usize = 2;

impl Threads {
    pub(super) fn start(store: Arc<Store>, queue: Arc<Queue>) -> Result<Self, Error> {
        let mut threads = Self { store, queue, io: Vec::new(), keeper: None };
        for n in 0..IO_THREADS {
            let (store, queue) = (threads.store.clone(), threads.queue.clone());
            threads.io.push(spawn(format!("larder-io-{n}"), move || queue.work(&store))?);
        }
        let store = threads.store.clone();
        threads.keeper = Some(spawn("larder-keeper".into(), move || keeper::keep(&store))?);
        Ok(threads)
    }
}

fn spawn(name: String, run: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, Error> {
    thread::Builder::new().name(name).spawn(run).map_err(Error::other)
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.queue.close();
        self.io.drain(..).for_each(join);
        // Last: it writes down what the others have done.
        self.store.bell.close();
        self.keeper.take().into_iter().for_each(join);
    }
}

fn join(thread: JoinHandle<()>) {
    // A task may drop the last clone when one of the threads wakes it.
    if thread.thread().id() != thread::current().id() {
        let _ = thread.join();
    }
}
