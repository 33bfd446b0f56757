use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard},
};

use super::{name::Name, pool::lock};
use crate::Error;

/// Who is writing which resource, and the locks under which resources change.
///
/// The locks are held while the disk is written, and only by the threads that do that. The table of
/// writers is never held so long: a writer may come and go on any thread.
pub(super) struct Fences {
    locks: Box<[Mutex<()>]>,
    writers: Mutex<HashMap<Name, Writing>>,
}

/// The writers of one resource: how many, and how often it was deleted under them.
#[derive(Default)]
struct Writing {
    writers: usize,
    fence: u64,
}

const LOCKS: usize = 64;

impl Fences {
    pub(super) fn new() -> Self {
        Self { locks: (0..LOCKS).map(|_| Mutex::default()).collect(), writers: Mutex::default() }
    }

    /// Locks out all other changes of the resource.
    pub(super) fn lock(&self, resource: Name) -> MutexGuard<'_, ()> {
        lock(&self.locks[resource.number() as usize % LOCKS])
    }

    /// Locks out all changes.
    pub(super) fn lock_all(&self) -> Vec<MutexGuard<'_, ()>> {
        self.locks.iter().map(lock).collect()
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
}

impl Ticket {
    pub(super) fn new(fences: Arc<Fences>, resource: Name) -> Self {
        let mut writers = lock(&fences.writers);
        let writing = writers.entry(resource).or_default();
        writing.writers += 1;
        let fence = writing.fence;
        drop(writers);
        Self { fences, resource, fence }
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
