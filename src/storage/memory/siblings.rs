use std::collections::HashMap;
use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicU64, Ordering},
};

use super::record::RecordKey;
use crate::policy::{Index, Placement, VariantBound, VariantId};

/// What the variants of a resource have in common.
#[derive(Clone)]
pub(super) struct Siblings {
    index: Index,
    /// Made when the first response counts there. When the last of these goes, so does what leads to
    /// the variants.
    life: Option<Arc<Life>>,
    /// The variants that the index counts. Their keys have one text with the records, of which there
    /// are as many.
    counted: Vec<(VariantId, RecordKey)>,
}

impl Siblings {
    pub(super) fn new(generation: u64) -> Self {
        Self { index: Index::new(generation), life: None, counted: Vec::new() }
    }

    /// Those of a resource that has one response, without `Vary`.
    pub(super) fn plain(generation: u64) -> Self {
        Self { index: Index::plain(generation), life: None, counted: Vec::new() }
    }

    /// Whether they are no more than that.
    pub(super) fn is_plain(&self) -> bool {
        self.index.is_plain() && self.life.is_none() && self.counted.is_empty()
    }

    pub(super) fn index(&self) -> &Index {
        &self.index
    }

    /// Where the bytes of a response at `placement` count, if they do.
    pub(super) fn budget(&mut self, placement: &Placement, owners: &Owners) -> Option<Budget> {
        let has_quota = match placement.bound() {
            VariantBound::Quota(_) => true,
            VariantBound::Share if !placement.variant().is_plain() => false,
            VariantBound::Share | VariantBound::Count(_) => return None,
        };
        let Life(budget) = &**self.life.get_or_insert_default();
        if has_quota {
            budget.belong_to(|| owners.of(placement));
        }
        Some(budget.clone())
    }

    /// Enters the response that is being stored as `record`, and names the variants that have to go
    /// for it.
    pub(super) fn admit(&mut self, placement: &Placement, record: &RecordKey) -> Vec<RecordKey> {
        let evicted = self.index.admit(placement);
        let evicted = evicted.into_iter().filter_map(|id| self.forget(id)).collect();
        self.remember(placement, record);
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
            .map(|(_, record)| size_of::<(VariantId, RecordKey)>() + record.weight())
            .sum();
        let budget = self.life.as_ref().map_or(0, |_| Budget::WEIGHT);
        // What the index says of itself contains its own size, as whoever owns this has counted it.
        self.index.weight() - size_of::<Index>() + budget + counted
    }

    fn remember(&mut self, placement: &Placement, record: &RecordKey) {
        if matches!(placement.bound(), VariantBound::Count(_)) && !placement.variant().is_plain() {
            let id = placement.variant().id();
            self.forget(id);
            self.counted.reserve_exact(1);
            self.counted.push((id, record.clone()));
        }
    }

    fn forget(&mut self, id: VariantId) -> Option<RecordKey> {
        let at = self.counted.iter().position(|(other, _)| *other == id)?;
        Some(self.counted.swap_remove(at).1)
    }
}

/// The bytes that the responses of one resource take.
#[derive(Clone, Default)]
pub(super) struct Budget(Arc<Mutex<Account>>);

#[derive(Default)]
struct Account {
    taken: u64,
    /// Where it counts, too.
    owner: Option<Arc<AtomicU64>>,
}

impl Budget {
    const WEIGHT: usize = size_of::<Mutex<Account>>() + size_of::<Life>() + 4 * size_of::<usize>();

    pub(super) fn taken(&self) -> u64 {
        self.lock().taken
    }

    /// What all of the owner takes.
    pub(super) fn taken_by_owner(&self) -> u64 {
        self.lock().owner.as_ref().map_or(0, |owner| owner.load(Ordering::Relaxed))
    }

    pub(super) fn take(self, weight: u64) -> Share {
        let account = &mut *self.lock();
        account.taken += weight;
        if let Some(owner) = &account.owner {
            owner.fetch_add(weight, Ordering::Relaxed);
        }
        Share { budget: self.clone(), weight }
    }

    fn give_back(&self, weight: u64) {
        let account = &mut *self.lock();
        account.taken = account.taken.saturating_sub(weight);
        if let Some(owner) = &account.owner {
            owner.fetch_sub(weight, Ordering::Relaxed);
        }
    }

    fn belong_to(&self, owner: impl FnOnce() -> Arc<AtomicU64>) {
        let account = &mut *self.lock();
        if account.owner.is_none() {
            let owner = owner();
            owner.fetch_add(account.taken, Ordering::Relaxed);
            account.owner = Some(owner);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Account> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// While there is one, requests find the responses that a budget counts. What nobody finds any more
/// is nobody's, though it may take room for a while.
#[derive(Default)]
struct Life(Budget);

impl Drop for Life {
    fn drop(&mut self) {
        let account = &mut *self.0.lock();
        if let Some(owner) = account.owner.take() {
            owner.fetch_sub(account.taken, Ordering::Relaxed);
        }
    }
}

/// The bytes that the responses of each partition take, for those that have a quota.
#[derive(Default)]
pub(super) struct Owners(Mutex<HashMap<Box<[u8]>, Arc<AtomicU64>>>);

impl Owners {
    fn of(&self, placement: &Placement) -> Arc<AtomicU64> {
        let owners = &mut *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // At most twice as many as have something.
        if owners.len() == owners.capacity() {
            owners.retain(|_, taken| Arc::strong_count(taken) > 1);
            owners.shrink_to_fit();
        }
        owners.entry(placement.key().owner().into()).or_default().clone()
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
        self.budget.give_back(self.weight);
    }
}
