use std::{
    hash::BuildHasher,
    sync::{Mutex, PoisonError},
};

use crate::{
    hashed::RandomState,
    inflight::Fetching,
    memo::Tally,
    policy::{CacheKey, StoredHead},
    purge::{PurgeLog, Verdict},
};

/// How often something has to be asked for before it is stored.
pub(crate) struct Uses {
    least: u32,
    tally: Mutex<Tally>,
    hasher: RandomState,
}

impl Uses {
    pub(crate) fn new(least: u32) -> Self {
        Self { least, tally: Mutex::default(), hasher: RandomState::default() }
    }

    /// Counts an answer of the origin for `key`. Whether it is worth keeping by now.
    pub(crate) fn admits(&self, key: &CacheKey) -> bool {
        if self.least <= 1 {
            return true;
        }
        let hash = self.hasher.hash_one(key);
        self.tally.lock().unwrap_or_else(PoisonError::into_inner).count(hash) >= self.least
    }
}

/// What a response has to get past on its way into the store: whatever was invalidated or purged
/// since it was asked for. Made before the store hears of it.
pub(crate) struct Admission {
    fetching: Fetching,
    log: PurgeLog,
    predicates: u64,
}

impl Admission {
    pub(crate) fn new(fetching: Fetching, log: PurgeLog) -> Self {
        let predicates = log.predicates();
        Self { fetching, log, predicates }
    }

    pub(crate) fn fetching(&self) -> &Fetching {
        &self.fetching
    }

    pub(crate) fn key(&self) -> &CacheKey {
        self.fetching.key()
    }

    /// Whether a new response may be stored. From here on it is the store that refuses what was
    /// deleted meanwhile.
    pub(crate) fn admits(&self, head: &StoredHead) -> bool {
        !self.fetching.is_invalidated() && self.log.admits(self.key(), head)
    }

    /// Whether a stored response may go on under another head.
    pub(crate) fn admits_again(&self, stored: &StoredHead, head: &StoredHead) -> bool {
        self.admits(head) && self.log.judge_since(self.key(), stored, head.began()) == Verdict::Good
    }

    /// The fetch, where nothing has come of it.
    pub(crate) fn into_fetching(self) -> Fetching {
        self.fetching
    }

    /// Whether something has come that takes out what it finds, and may not have found this.
    pub(crate) fn has_missed(&self) -> bool {
        self.fetching.is_invalidated() || self.log.predicates() != self.predicates
    }

    /// The same of what has gone on under a head that began then: a purge may have selected it by tags
    /// that it no longer has.
    pub(crate) fn has_missed_again(&self, stored: &StoredHead, began: u64) -> bool {
        self.has_missed() || self.log.judge_since(self.key(), stored, began) == Verdict::Gone
    }
}
