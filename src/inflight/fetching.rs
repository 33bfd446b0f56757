use std::{collections::hash_map::Entry, sync::Arc, time::Duration};

use http::Extensions;
use smallvec::SmallVec;

use super::table::{Inflight, Shard};
use crate::{
    hashed::Hashed,
    policy::{CacheKey, NameSet, Timestamp, VariantKey},
    positions::Place,
    sync::Ordering,
};

/// For so long nobody waits for an answer to what was answered for one client alone,
const FOR_ONE: Duration = Duration::from_secs(10);
/// or not at all.
const FAILED: Duration = Duration::from_secs(1);

/// A refresh that fails is tried again after a second, then after twice as long, up to this.
const MAX_BACK_OFF: Duration = Duration::from_secs(60);

/// Why an answer was of no use to others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lapse {
    /// It was for the one who asked.
    ForOne,
    /// There was none.
    Failed,
}

/// A fetch on its way. Leaves the table when it is dropped.
pub(crate) struct Fetching {
    pub(super) inflight: Arc<Inflight>,
    pub(super) key: Hashed,
    pub(super) id: u64,
    /// How many invalidations there had been.
    pub(super) seen: u64,
    pub(super) kind: Kind,
    pub(super) _place: Place,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Others may wait for it.
    Listed,
    /// Nobody waits for it but who makes it.
    Unlisted,
    /// Others may wait for it; nobody asked for it.
    Refresh,
}

/// Request extension: which fetch it is for.
#[derive(Clone)]
pub(super) struct Within(pub(super) Arc<Inflight>, pub(super) CacheKey);

impl Fetching {
    /// Marks all others that are on their way to the same resource, as
    /// [`Inflight::invalidate`] does, and not this one.
    pub(crate) fn invalidate_others(&mut self) {
        let unlisted = match self.inflight.shard(&self.key).groups.get_mut(&self.key) {
            Some(group) => {
                // Whoever was marked before stays marked.
                self.seen += u64::from(self.seen == group.invalidations);
                group.invalidations += 1;
                std::mem::take(&mut group.flights)
            }
            None => SmallVec::new(),
        };
        drop(unlisted);
    }

    /// Marks what is asked for by `request`, so that a cache that it comes to further inside does not
    /// wait for it.
    pub(crate) fn mark(&self, request: &mut Extensions) {
        request.insert(Within(self.inflight.clone(), self.key.key().clone()));
    }

    /// Whether nobody has asked for it.
    pub(crate) fn is_refresh(&self) -> bool {
        self.kind == Kind::Refresh
    }

    /// Whether others may wait for it.
    pub(crate) fn is_listed(&self) -> bool {
        self.kind != Kind::Unlisted
    }

    /// The resource that is asked for.
    pub(crate) fn key(&self) -> &CacheKey {
        self.key.key()
    }

    /// Whether an unsafe request has come since this fetch began.
    pub(crate) fn is_invalidated(&self) -> bool {
        let shard = self.inflight.shard(&self.key);
        shard.groups.get(&self.key).is_none_or(|group| group.invalidations != self.seen)
    }

    /// It turned out to be for this variant, and anybody may share it who selects it.
    pub(crate) fn is_shared(&self, names: &NameSet, variant: &VariantKey) {
        let mut shard = self.inflight.shard(&self.key);
        let Shard { groups, memo, refreshes, .. } = &mut *shard;
        memo.forget(self.key.hash());
        refreshes.forget(self.key.hash());
        if let Some(group) = groups.get_mut(&self.key) {
            group.names = Some(names.clone());
            if let Some(listed) = group.flights.iter_mut().find(|listed| listed.id == self.id) {
                listed.variant = Some(variant.clone());
            }
        }
    }

    /// It turned out to be for nobody else: for a while nobody waits for the likes of it.
    pub(crate) fn is_not_shared(&self, lapse: Lapse, now: Timestamp) {
        let mut shard = self.inflight.shard(&self.key);
        if self.kind == Kind::Refresh && lapse == Lapse::Failed {
            shard.refreshes.back_off(self.key.hash(), now, FAILED, MAX_BACK_OFF);
        }
        if self.kind != Kind::Unlisted {
            let how_long = match lapse {
                Lapse::ForOne => FOR_ONE,
                Lapse::Failed => FAILED,
            };
            shard.memo.remember(self.key.hash(), now, how_long);
        }
    }
}

impl Drop for Fetching {
    fn drop(&mut self) {
        let ended = self.inflight.ended.fetch_add(1, Ordering::AcqRel) + 1;
        let mut shard = self.inflight.shard(&self.key);
        shard.ended.note(self.key.hash(), ended);
        let mut unlisted = None;
        let mut empty = None;
        if let Entry::Occupied(mut entry) = shard.groups.entry(self.key.clone()) {
            let group = entry.get_mut();
            group.fetches -= 1;
            if let Some(at) = group.flights.iter().position(|listed| listed.id == self.id) {
                unlisted = Some(group.flights.swap_remove(at));
            }
            if group.fetches == 0 {
                empty = Some(entry.remove());
            }
        }
        drop(shard);
        drop((unlisted, empty));
    }
}
