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
}

impl Usage {
    /// So many records in so many bytes.
    pub fn new(records: u64, bytes: u64) -> Self {
        Self { records, bytes }
    }

    /// One for a resource without `Vary`, else an index and one for each variant.
    pub fn records(&self) -> u64 {
        self.records
    }

    /// What they take, in bytes.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}
