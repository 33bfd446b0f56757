use std::{
    collections::HashSet,
    hash::{BuildHasher, RandomState},
    sync::{Mutex, PoisonError},
};

use crate::policy::Placement;

/// What was read once from the slow tier, a while ago at most.
///
/// Known by 64 bits: who is taken for another is copied one reading too early.
#[derive(Default)]
pub(super) struct Seen {
    hasher: RandomState,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    newer: HashSet<u64>,
    older: HashSet<u64>,
}

/// Twice as many are known, in 150 KiB.
const MAX_NEWER: usize = 4096;

impl Seen {
    /// Whether it is there already, and not for the first time.
    pub(super) fn again(&self, placement: &Placement) -> bool {
        let hash =
            self.hasher.hash_one((placement.key().as_bytes(), placement.variant().as_bytes()));
        let known = &mut *self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.newer.remove(&hash) || known.older.remove(&hash) {
            return true;
        }
        if known.newer.len() >= MAX_NEWER {
            known.older = std::mem::take(&mut known.newer);
        }
        known.newer.insert(hash);
        false
    }
}
