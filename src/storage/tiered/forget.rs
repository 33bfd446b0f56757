//! The fast tier lets go of what may be another one in the slow tier.

use super::{Inner, now};
use crate::{policy::CacheKey, storage::CacheManager};

impl<M: CacheManager, D: CacheManager> Inner<M, D> {
    /// Takes a resource out of the fast tier, and refuses whoever is bringing some of it there.
    pub(super) fn forget(&self, key: &CacheKey) {
        self.fences.delete(key, || now(self.fast.delete(key)));
    }

    /// The same at the end of the scope, also if that comes because nobody waits any more.
    pub(super) fn forgetting<'a>(&'a self, key: &'a CacheKey) -> AtEnd<impl FnOnce() + 'a> {
        AtEnd::new(move || self.forget(key))
    }
}

/// What is done at the end of a scope.
pub(super) struct AtEnd<F: FnOnce()>(Option<F>);

impl<F: FnOnce()> AtEnd<F> {
    pub(super) fn new(work: F) -> Self {
        Self(Some(work))
    }

    /// It is not done.
    pub(super) fn give_up(&mut self) {
        self.0 = None;
    }
}

impl<F: FnOnce()> Drop for AtEnd<F> {
    fn drop(&mut self) {
        if let Some(work) = self.0.take() {
            work();
        }
    }
}
