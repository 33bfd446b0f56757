use std::{
    fmt,
    hash::BuildHasher,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::Error;
use crate::{
    hashed::{self, Hashed, Map, RandomState},
    policy::CacheKey,
};

/// Refuses whoever was writing a resource when it was deleted, and lets one change of a resource
/// happen at a time: promises 2 to 4 of the [contract](super), for a store that changes only in this
/// process.
///
/// | the store's | does its work in |
/// |---|---|
/// | [`put`](super::CacheManager::put) | [`enter`](Self::enter); its writer keeps the [`Ticket`] |
/// | [`finish`](super::EntryWriter::finish) | [`Ticket::commit`] |
/// | [`put_now`](super::CacheManager::put_now), [`update`](super::CacheManager::update), [`remove`](super::CacheManager::remove) | [`change`](Self::change) |
/// | [`delete`](super::CacheManager::delete) | [`delete`](Self::delete) |
/// | [`clear`](super::CacheManager::clear) | [`clear`](Self::clear) |
///
/// The work is done under a lock, which other resources may share: it must not ask these fences
/// again, and should not wait for long. There is one small record for each resource that is being
/// written, and no other. Clones are the same fences.
///
/// A store that several processes change, or whose changes have to be awaited, lets its database
/// compare instead: what `put` saw of the resource must still be there when `finish` commits.
///
/// ```
/// use larder::{Error, policy::CacheKey, storage::Fences};
///
/// fn delete_wins(fences: &Fences, key: &CacheKey) -> Result<(), Error> {
///     let ticket = fences.enter(key);
///     fences.delete(key, || { /* … */ });
///     assert!(ticket.commit(|| Ok(())).unwrap_err().is_refused());
///     // What is begun afterwards is another response.
///     fences.enter(key).commit(|| Ok(()))
/// }
/// ```
#[derive(Clone)]
pub struct Fences {
    shared: Arc<Shared>,
}

/// Who is writing what, in parts. Each part is also the lock under which its resources change.
struct Shared {
    parts: [Mutex<Part>; PARTS],
    hasher: RandomState,
}

type Part = Map<Writing>;

/// The writers of one resource: how many, and how often it was deleted under them.
#[derive(Default)]
struct Writing {
    writers: usize,
    fence: u64,
}

const PARTS: usize = 16;

impl Fences {
    /// Nobody is writing yet.
    pub fn new() -> Self {
        let parts = std::array::from_fn(|_| Mutex::default());
        Self { shared: Arc::new(Shared { parts, hasher: RandomState::default() }) }
    }

    /// A place among those who are writing the resource. Dropped, it is given back.
    #[must_use]
    pub fn enter(&self, key: &CacheKey) -> Ticket {
        let key = self.shared.hashed(key);
        let mut part = self.shared.lock(key.hash());
        let writing = part.entry(key.clone()).or_default();
        writing.writers += 1;
        let fence = writing.fence;
        drop(part);
        Ticket { fences: self.clone(), key, fence }
    }

    /// Does `change` while nothing else changes the resource.
    pub fn change<T>(&self, key: &CacheKey, change: impl FnOnce() -> T) -> T {
        let _part = self.shared.lock(self.shared.hasher.hash_one(key));
        change()
    }

    /// The same for `delete`, and refuses whoever is writing the resource.
    pub fn delete<T>(&self, key: &CacheKey, delete: impl FnOnce() -> T) -> T {
        let key = self.shared.hashed(key);
        let mut part = self.shared.lock(key.hash());
        if let Some(writing) = part.get_mut(&key) {
            writing.fence += 1;
        }
        delete()
    }

    /// Does `clear` while nothing else changes, and refuses whoever is writing.
    pub fn clear<T>(&self, clear: impl FnOnce() -> T) -> T {
        let mut parts: Vec<_> = self.shared.parts.iter().map(lock).collect();
        for writing in parts.iter_mut().flat_map(|part| part.values_mut()) {
            writing.fence += 1;
        }
        clear()
    }
}

impl Default for Fences {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Fences {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fences").finish_non_exhaustive()
    }
}

impl Shared {
    fn hashed(&self, key: &CacheKey) -> Hashed {
        Hashed::new(&self.hasher, key)
    }

    fn lock(&self, hash: u64) -> MutexGuard<'_, Part> {
        lock(&self.parts[hashed::part(hash, PARTS)])
    }
}

fn lock(part: &Mutex<Part>) -> MutexGuard<'_, Part> {
    part.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A writer's place in [`Fences`].
pub struct Ticket {
    fences: Fences,
    key: Hashed,
    fence: u64,
}

impl Ticket {
    /// Does `commit` while nothing else changes the resource.
    ///
    /// # Errors
    ///
    /// Those of `commit`. [`Error::is_refused`], without asking it, if the resource was deleted since
    /// this ticket was given out.
    pub fn commit<T>(&self, commit: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
        let part = self.fences.shared.lock(self.key.hash());
        if part.get(&self.key).is_none_or(|writing| writing.fence != self.fence) {
            return Err(Error::refused());
        }
        commit()
    }
}

impl Ticket {
    /// The same, and refuses all others who are writing the resource.
    pub(super) fn commit_alone<T>(
        &mut self,
        commit: impl FnOnce() -> Result<T, Error>,
    ) -> Result<T, Error> {
        let mut part = self.fences.shared.lock(self.key.hash());
        let Some(writing) = part.get_mut(&self.key).filter(|own| own.fence == self.fence) else {
            return Err(Error::refused());
        };
        writing.fence += 1;
        self.fence = writing.fence;
        commit()
    }

    /// Whether nobody has refused this one yet.
    pub(super) fn is_valid(&self) -> bool {
        self.commit(|| Ok(())).is_ok()
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut part = self.fences.shared.lock(self.key.hash());
        if let Some(writing) = part.get_mut(&self.key) {
            writing.writers -= 1;
            if writing.writers == 0 {
                part.remove(&self.key);
            }
        }
    }
}

impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ticket").field("key", self.key.key()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use http::Request;
    use http_body::SizeHint;

    use super::*;
    use crate::policy::{Begin, Policy};

    fn key(path: &str) -> CacheKey {
        let request = Request::get(format!("http://a.example{path}")).body(()).unwrap();
        match Policy::shared().begin(&request.into_parts().0, &SizeHint::with_exact(0)) {
            Begin::Lookup(lookup) => lookup.key().clone(),
            other => panic!("{other:?}"),
        }
    }

    fn passes(ticket: &Ticket) -> bool {
        match ticket.commit(|| Ok(())) {
            Ok(()) => true,
            Err(error) => {
                assert!(error.is_refused());
                false
            }
        }
    }

    fn writing(fences: &Fences) -> usize {
        fences.shared.parts.iter().map(|part| lock(part).len()).sum()
    }

    /// Promise 3: those who were writing when it was deleted, and nobody else.
    #[test]
    fn a_deletion_refuses_who_was_writing() {
        let (fences, a, b) = (Fences::new(), key("/a"), key("/b"));
        let (first, second, other) = (fences.enter(&a), fences.clone().enter(&a), fences.enter(&b));
        assert!(passes(&first));
        fences.delete(&a, || ());
        let after = fences.enter(&a);
        assert_eq!([&first, &second, &other, &after].map(passes), [false, false, true, true]);
        fences.clear(|| ());
        let last = fences.enter(&b);
        assert_eq!([&second, &other, &after, &last].map(passes), [false, false, false, true]);
    }

    /// Nobody is remembered who is not writing, also after deletions of what nobody writes.
    #[test]
    fn what_is_not_written_has_no_record() {
        let fences = Fences::new();
        for n in 0..1000 {
            let key = key(&format!("/{n}"));
            fences.delete(&key, || ());
            let (one, two) = (fences.enter(&key), fences.enter(&key));
            fences.delete(&key, || ());
            drop(one);
            assert_eq!(writing(&fences), 1);
            assert!(!passes(&two), "the fence stays as long as somebody has to meet it");
        }
        assert_eq!(writing(&fences), 0);
    }

    /// What commits and what deletes do not overlap.
    #[test]
    fn changes_of_a_resource_happen_one_at_a_time() {
        let (fences, key, inside) = (Fences::new(), key("/"), Mutex::new(()));
        let alone = || drop(inside.try_lock().expect("nobody else is here"));
        std::thread::scope(|scope| {
            for n in 0..4 {
                let (fences, key) = (&fences, &key);
                scope.spawn(move || {
                    for _ in 0..2000 {
                        match n {
                            0 => fences.delete(key, alone),
                            1 => fences.clear(alone),
                            2 => fences.change(key, alone),
                            _ => drop(fences.enter(key).commit(|| {
                                alone();
                                Ok(())
                            })),
                        }
                    }
                });
            }
        });
    }
}
