use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::store::Store;
use crate::{Error, policy::CacheKey};

/// Who is writing which resource, in parts. Each part is also the lock under which its resources
/// change.
pub(super) struct Fences {
    parts: Box<[Mutex<Part>]>,
    hasher: RandomState,
}

pub(super) type Part = HashMap<CacheKey, Writing>;

/// The writers of one resource: how many, and how often it was deleted under them.
#[derive(Default)]
pub(super) struct Writing {
    writers: usize,
    fence: u64,
}

const PARTS: usize = 16;

impl Fences {
    pub(super) fn new() -> Self {
        Self { parts: (0..PARTS).map(|_| Mutex::default()).collect(), hasher: RandomState::new() }
    }

    /// Locks out all other changes of the resource.
    pub(super) fn lock(&self, key: &CacheKey) -> MutexGuard<'_, Part> {
        lock(&self.parts[self.hasher.hash_one(key) as usize % PARTS])
    }

    /// Deletes by `delete`, so that those who are writing the resource are refused.
    pub(super) fn raise<T>(&self, key: &CacheKey, delete: impl FnOnce() -> T) -> T {
        let mut part = self.lock(key);
        if let Some(writing) = part.get_mut(key) {
            writing.fence += 1;
        }
        delete()
    }

    /// The same for all resources.
    pub(super) fn raise_all<T>(&self, delete: impl FnOnce() -> T) -> T {
        let mut parts: Vec<_> = self.parts.iter().map(lock).collect();
        for writing in parts.iter_mut().flat_map(|part| part.values_mut()) {
            writing.fence += 1;
        }
        delete()
    }
}

fn lock(part: &Mutex<Part>) -> MutexGuard<'_, Part> {
    part.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A writer's place among those of its resource.
pub(super) struct Ticket {
    store: Arc<Store>,
    key: CacheKey,
    fence: u64,
}

impl Ticket {
    pub(super) fn new(store: Arc<Store>, key: CacheKey) -> Self {
        let mut part = store.fences().lock(&key);
        let writing = part.entry(key.clone()).or_default();
        writing.writers += 1;
        let fence = writing.fence;
        drop(part);
        Self { store, key, fence }
    }

    /// Commits by `commit`, unless the resource was deleted since this ticket was drawn.
    pub(super) fn pass(
        &self,
        commit: impl FnOnce(&Store) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let part = self.store.fences().lock(&self.key);
        if part.get(&self.key).is_none_or(|writing| writing.fence != self.fence) {
            return Err(Error::refused());
        }
        commit(&self.store)
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut part = self.store.fences().lock(&self.key);
        if let Some(writing) = part.get_mut(&self.key) {
            writing.writers -= 1;
            if writing.writers == 0 {
                part.remove(&self.key);
            }
        }
    }
}
