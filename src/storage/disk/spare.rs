use std::{
    io,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use super::{directory::Directory, draft::Temporary, pool::lock};

/// A file that is made ahead: to make one takes as long as to write a small response into it, and
/// whoever stores the response waits only for the latter.
pub(super) struct Spares {
    directory: Arc<Directory>,
    ready: Mutex<Option<Temporary>>,
    /// Where nothing is written, none is made.
    is_wanted: AtomicBool,
}

impl Spares {
    pub(super) fn new(directory: Arc<Directory>) -> Self {
        Self { directory, ready: Mutex::default(), is_wanted: AtomicBool::new(false) }
    }

    /// A file that nobody finds yet.
    pub(super) fn take(&self) -> io::Result<Temporary> {
        self.is_wanted.store(true, Ordering::Relaxed);
        let ready = lock(&self.ready).take();
        ready.map_or_else(|| Temporary::new(self.directory.clone()), Ok)
    }

    /// Makes the next one, when there is nothing else to do.
    pub(super) fn refill(&self) {
        // Whoever takes one meets the error, if there still is one.
        if self.is_wanted.swap(false, Ordering::Relaxed)
            && let Ok(next) = Temporary::new(self.directory.clone())
        {
            let _before = lock(&self.ready).replace(next);
        }
    }

    /// Removes what was not needed.
    pub(super) fn clear(&self) {
        if let Some(spare) = lock(&self.ready).take() {
            spare.remove();
        }
    }
}
