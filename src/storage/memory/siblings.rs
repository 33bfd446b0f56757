use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use crate::policy::{Index, Placement, VariantBound, VariantId, VariantKey};

/// What the variants of a resource have in common.
#[derive(Clone)]
pub(super) struct Siblings {
    index: Index,
    /// Made when the first response counts there.
    budget: Option<Budget>,
    /// The variants that the index counts.
    counted: Vec<(VariantId, VariantKey)>,
}

impl Siblings {
    pub(super) fn new(generation: u64) -> Self {
        Self { index: Index::new(generation), budget: None, counted: Vec::new() }
    }

    pub(super) fn index(&self) -> &Index {
        &self.index
    }

    /// Where the bytes of a response at `placement` count, if they do.
    pub(super) fn budget(&mut self, placement: &Placement) -> Option<Budget> {
        let is_counted =
            placement.bound() == VariantBound::Share && !placement.variant().is_plain();
        is_counted.then(|| self.budget.get_or_insert_default().clone())
    }

    /// Enters the response that is being stored, and names the variants that have to go for it.
    pub(super) fn admit(&mut self, placement: &Placement) -> Vec<VariantKey> {
        let evicted = self.index.admit(placement);
        let evicted = evicted.into_iter().filter_map(|id| self.forget(id)).collect();
        self.remember(placement);
        evicted
    }

    /// Whether the index can still lead to a response without `Vary`.
    pub(super) fn has_plain(&self) -> bool {
        self.index.sets().iter().any(|names| names.is_empty())
    }

    pub(super) fn weight(&self) -> usize {
        let counted: usize = self
            .counted
            .iter()
            .map(|(_, key)| size_of::<(VariantId, VariantKey)>() + key.as_bytes().len())
            .sum();
        let budget = self.budget.as_ref().map_or(0, |_| Budget::WEIGHT);
        // What the index says of itself contains its own size, as whoever owns this has counted it.
        self.index.weight() - size_of::<Index>() + budget + counted
    }

    fn remember(&mut self, placement: &Placement) {
        if matches!(placement.bound(), VariantBound::Count(_)) && !placement.variant().is_plain() {
            let id = placement.variant().id();
            if !self.counted.iter().any(|(other, _)| *other == id) {
                self.counted.push((id, placement.variant().clone()));
            }
        }
    }

    fn forget(&mut self, id: VariantId) -> Option<VariantKey> {
        let at = self.counted.iter().position(|(other, _)| *other == id)?;
        Some(self.counted.swap_remove(at).1)
    }
}

/// The bytes that the variants of one resource take.
#[derive(Clone, Default)]
pub(super) struct Budget(Arc<AtomicU64>);

impl Budget {
    const WEIGHT: usize = size_of::<AtomicU64>() + 2 * size_of::<usize>();

    pub(super) fn taken(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    pub(super) fn take(self, weight: u64) -> Share {
        self.0.fetch_add(weight, Ordering::Relaxed);
        Share { budget: self, weight }
    }
}

/// What a variant takes of a [`Budget`]. Given back when it is gone.
pub(super) struct Share {
    budget: Budget,
    weight: u64,
}

impl Share {
    pub(super) fn budget(&self) -> &Budget {
        &self.budget
    }

    pub(super) fn weight(&self) -> u64 {
        self.weight
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.budget.0.fetch_sub(self.weight, Ordering::Relaxed);
    }
}
