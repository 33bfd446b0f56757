use std::{
    collections::HashMap,
    fs::File,
    io,
    sync::{Arc, Mutex, MutexGuard},
};

use super::{claim::Exclusive, directory::Directory, name::Name, pool::lock};
use crate::Error;

/// Who is writing which resource, and the locks under which resources change.
///
/// The locks are held while the disk is written, and only by the threads that do that; against other
/// processes too. The table of writers is never held so long: a writer may come and go on any
/// thread.
pub(super) struct Fences {
    locks: Box<[Lock]>,
    writers: Mutex<HashMap<Name, Writing>>,
}

/// The writers of one resource: how many, and how often it was deleted under them.
#[derive(Default)]
struct Writing {
    writers: usize,
    fence: u64,
}

struct Lock {
    threads: Mutex<()>,
    processes: File,
}

/// Locks others out until it is dropped: first it lets go of the file, then of the mutex.
pub(super) struct Locked<'a> {
    _processes: Exclusive<'a>,
    _threads: MutexGuard<'a, ()>,
}

impl Lock {
    fn lock(&self) -> Result<Locked<'_>, Error> {
        let threads = lock(&self.threads);
        Ok(Locked { _processes: Exclusive::lock(&self.processes)?, _threads: threads })
    }
}

const LOCKS: usize = 16;

impl Fences {
    pub(super) fn open(directory: &Directory) -> io::Result<Self> {
        let lock = |n| {
            directory.lock_file(n).map(|processes| Lock { threads: Mutex::default(), processes })
        };
        let locks = (0..LOCKS).map(lock).collect::<io::Result<_>>()?;
        Ok(Self { locks, writers: Mutex::default() })
    }

    /// Locks out all other changes of the resource.
    pub(super) fn lock(&self, resource: Name) -> Result<Locked<'_>, Error> {
        self.locks[resource.number() as usize % LOCKS].lock()
    }

    /// Locks out all changes.
    pub(super) fn lock_all(&self) -> Result<Vec<Locked<'_>>, Error> {
        self.locks.iter().map(Lock::lock).collect()
    }

    /// Refuses whoever is writing the resource.
    pub(super) fn raise(&self, resource: Name) {
        if let Some(writing) = lock(&self.writers).get_mut(&resource) {
            writing.fence += 1;
        }
    }

    /// Refuses whoever is writing.
    pub(super) fn raise_all(&self) {
        for writing in lock(&self.writers).values_mut() {
            writing.fence += 1;
        }
    }
}

/// A writer's place among those of its resource.
pub(super) struct Ticket {
    fences: Arc<Fences>,
    resource: Name,
    fence: u64,
    /// Where the purge log was when it was drawn.
    purges: u64,
}

impl Ticket {
    pub(super) fn new(fences: Arc<Fences>, resource: Name, purges: u64) -> Self {
        let mut writers = lock(&fences.writers);
        let writing = writers.entry(resource).or_default();
        writing.writers += 1;
        let fence = writing.fence;
        drop(writers);
        Self { fences, resource, fence, purges }
    }

    pub(super) fn purges(&self) -> u64 {
        self.purges
    }

    pub(super) fn resource(&self) -> Name {
        self.resource
    }

    /// Refuses if the resource was deleted since this ticket was drawn.
    pub(super) fn check(&self) -> Result<(), Error> {
        let writers = lock(&self.fences.writers);
        match writers.get(&self.resource) {
            Some(writing) if writing.fence == self.fence => Ok(()),
            _ => Err(Error::refused()),
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut writers = lock(&self.fences.writers);
        if let Some(writing) = writers.get_mut(&self.resource) {
            writing.writers -= 1;
            if writing.writers == 0 {
                writers.remove(&self.resource);
            }
        }
    }
}
