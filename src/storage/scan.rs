use std::{future::Future, ops::ControlFlow};

use super::Entry;
use crate::policy::{CacheKey, VariantKey};

/// Takes what a store shows of itself: see [`CacheManager::scan`](super::CacheManager::scan).
pub trait Visitor<H>: Send {
    /// Takes some entries. `Break` ends the walk.
    fn visit(&mut self, entries: Vec<Scanned<H>>) -> impl Future<Output = ControlFlow<()>> + Send;
}

/// An entry that was met on a walk through a store, and where it belongs.
#[derive(Clone, Debug)]
pub struct Scanned<H> {
    key: CacheKey,
    variant: VariantKey,
    entry: Entry<H>,
}

impl<H> Scanned<H> {
    /// An entry at its place.
    pub fn new(key: CacheKey, variant: VariantKey, entry: Entry<H>) -> Self {
        Self { key, variant, entry }
    }

    /// The resource.
    pub fn key(&self) -> &CacheKey {
        &self.key
    }

    /// The variant.
    pub fn variant(&self) -> &VariantKey {
        &self.variant
    }

    /// Its head and length.
    pub fn entry(&self) -> &Entry<H> {
        &self.entry
    }

    pub(super) fn map<T>(self, change: impl FnOnce(Entry<H>) -> Entry<T>) -> Scanned<T> {
        Scanned { key: self.key, variant: self.variant, entry: change(self.entry) }
    }
}

/// What a store holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    records: u64,
    bytes: u64,
    evicted: u64,
    variants_evicted: u64,
    variants_refused: u64,
}

impl Usage {
    /// So many records in so many bytes.
    pub fn new(records: u64, bytes: u64) -> Self {
        Self { records, bytes, ..Self::default() }
    }

    /// So many records have gone so far to make room for others. A store that counts them says so
    /// here, and nowhere else: observers are told how many there were since they were told last.
    #[must_use]
    pub fn with_evicted(self, evicted: u64) -> Self {
        Self { evicted, ..self }
    }

    /// So many variants have gone so far because their resource had too many, and so many were not
    /// stored because those of their resource took too much.
    #[must_use]
    pub fn with_variants(self, evicted: u64, refused: u64) -> Self {
        Self { variants_evicted: evicted, variants_refused: refused, ..self }
    }

    /// One for a resource without `Vary`, else an index and one for each variant.
    pub fn records(&self) -> u64 {
        self.records
    }

    /// What they take, in bytes.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// How many records have gone since the store was opened to make room for others; what no
    /// look-up could find any more, such as the variants of a resource that was purged, goes like this
    /// as well.
    pub fn evicted(&self) -> u64 {
        self.evicted
    }

    /// How many variants have gone because their resource had too many
    /// ([`Policy::max_variants`](crate::Policy::max_variants)).
    pub fn variants_evicted(&self) -> u64 {
        self.variants_evicted
    }

    /// How many variants were not stored because those of their resource took a quarter of the
    /// store.
    pub fn variants_refused(&self) -> u64 {
        self.variants_refused
    }
}
