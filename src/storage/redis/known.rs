use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use crate::policy::{Index, NameSet};

/// The name sets of resources that were looked up a while ago: a look-up guesses by them what it
/// wants, before it has seen the index.
#[derive(Default)]
pub(super) struct Known {
    sets: Mutex<Sets>,
}

#[derive(Default)]
struct Sets {
    newer: HashMap<[u8; 16], Arc<Index>>,
    older: HashMap<[u8; 16], Arc<Index>>,
}

/// Twice as many are known.
const MAX_NEWER: usize = 4096;

impl Known {
    /// What the index of a resource may say. `None`: what one of a resource without `Vary` says.
    pub(super) fn guess(&self, id: &[u8; 16]) -> Option<Arc<Index>> {
        let mut sets = self.sets.lock().unwrap_or_else(PoisonError::into_inner);
        let older = sets.older.remove(id);
        match older {
            Some(index) => {
                sets.enter(*id, index.clone());
                Some(index)
            }
            None => sets.newer.get(id).cloned(),
        }
    }

    /// What it says.
    pub(super) fn learn(&self, id: [u8; 16], index: &Index) {
        let is_plain = index.sets().iter().all(NameSet::is_empty);
        let mut sets = self.sets.lock().unwrap_or_else(PoisonError::into_inner);
        if is_plain {
            sets.newer.remove(&id);
            return;
        }
        let is_known = sets.newer.get(&id).is_some_and(|known| known.sets() == index.sets());
        if is_known {
            return;
        }
        let sets_only = Index::restored(0, index.sets().to_vec(), Vec::new(), Vec::new());
        if let Some(index) = sets_only {
            sets.enter(id, Arc::new(index));
        }
    }
}

impl Sets {
    fn enter(&mut self, id: [u8; 16], index: Arc<Index>) {
        if self.newer.len() >= MAX_NEWER {
            self.older = std::mem::take(&mut self.newer);
        }
        self.newer.insert(id, index);
    }
}
