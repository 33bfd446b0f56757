mod commit;

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use quick_cache::{DefaultHashBuilder, OptionsBuilder, sync::Cache};

use super::{
    MemoryHandle,
    evicted::Collect,
    hot::Hot,
    record::{Body, ByWeight, Record, RecordKey, RecordRef, Resource},
    siblings::Owners,
};
use crate::{
    Error,
    policy::{CacheKey, Secret, Wanted},
    purge::PurgeLog,
    storage::{Fences, Found},
};

/// What the clones of a [`MemoryManager`](super::MemoryManager) share.
pub(super) struct Store {
    cache: Cache<RecordKey, Record, ByWeight, DefaultHashBuilder, Collect>,
    hot: Arc<Hot>,
    evicted: AtomicU64,
    limits: Limits,
    /// The heaviest record that the cache admits.
    room: u64,
    fences: Fences,
    secret: Secret,
    purges: PurgeLog,
    generations: AtomicU64,
    /// The bytes of responses that are being written.
    unfinished: AtomicU64,
    variants_evicted: AtomicU64,
    variants_refused: AtomicU64,
    owners: Owners,
    quota_refused: AtomicU64,
}

/// What a writer has taken of the room for responses that are not whole yet. Given back on drop.
pub(super) struct Taken {
    store: Arc<Store>,
    bytes: u64,
    is_over: bool,
}

impl Taken {
    pub(super) fn new(store: Arc<Store>) -> Self {
        Self { store, bytes: 0, is_over: false }
    }

    /// Takes `more`, if one body may be so large, and all that are unfinished together.
    pub(super) fn take(&mut self, more: u64) -> Result<(), Error> {
        let Limits { body, unfinished, .. } = self.store.limits;
        let before = self.store.unfinished.fetch_add(more, Ordering::Relaxed);
        self.bytes = self.bytes.saturating_add(more);
        self.is_over |= self.bytes > body || before.saturating_add(more) > unfinished;
        self.fits()
    }

    /// Whether all that was asked for was there.
    pub(super) fn fits(&self) -> Result<(), Error> {
        if self.is_over { Err(Error::too_large()) } else { Ok(()) }
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.store.unfinished.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// All in bytes.
#[derive(Clone, Copy)]
pub(super) struct Limits {
    pub(super) capacity: u64,
    /// For one body.
    pub(super) body: u64,
    /// For the variants of one resource, where they are not counted.
    share: u64,
    /// For all bodies that are being written, beside those that are stored.
    unfinished: u64,
}

impl Limits {
    pub(super) fn new(capacity: u64, body: u64) -> Self {
        let body = body.min(capacity / 2);
        Self { capacity, body, share: capacity / 4, unfinished: body.max(capacity / 4) }
    }

    /// Each shard evicts by itself, and admits nothing larger than it is.
    fn shards(&self) -> usize {
        let shards = (self.capacity / self.body.max(1).saturating_mul(8)).clamp(1, 64);
        1 << shards.ilog2()
    }
}

/// The part of a shard that is for what was used again. The cache admits no record that would not
/// fit into it.
const HOT: f64 = 0.97;
/// One part in so many of the capacity is for heads that are not packed.
const HOT_HEADS: u64 = 32;

impl Store {
    pub(super) fn new(limits: Limits) -> Self {
        let hot_heads = limits.capacity / HOT_HEADS;
        // For the cache's ghosts only: nothing is allocated ahead.
        let records = usize::try_from(limits.capacity / 4096).unwrap_or(usize::MAX).max(64);
        let options = OptionsBuilder::new()
            .shards(limits.shards())
            .hot_allocation(HOT)
            .estimated_items_capacity(records)
            .weight_capacity(limits.capacity - hot_heads)
            .build();
        let hot = Arc::new(Hot::new(hot_heads, limits.capacity));
        let (hasher, collect) = (DefaultHashBuilder::default(), Collect(hot.clone()));
        let cache = match options {
            Ok(options) => Cache::with_options(options, ByWeight, hasher, collect),
            Err(_) => Cache::with(records, limits.capacity, ByWeight, hasher, collect),
        };
        Self {
            room: (cache.shard_capacity() as f64 * HOT) as u64,
            cache,
            hot,
            evicted: AtomicU64::new(0),
            limits,
            fences: Fences::new(),
            secret: Secret::random(),
            purges: PurgeLog::forgetting(),
            generations: AtomicU64::new(1),
            unfinished: AtomicU64::new(0),
            variants_evicted: AtomicU64::new(0),
            variants_refused: AtomicU64::new(0),
            owners: Owners::default(),
            quota_refused: AtomicU64::new(0),
        }
    }

    #[inline]
    pub(super) fn get(&self, wanted: &Wanted<'_>) -> Found<MemoryHandle> {
        if wanted.takes_plain()
            && let Some(entry) = self.hot.find(wanted.key())
        {
            return Found::one(entry);
        }
        match self.cache.get(&RecordRef::resource(wanted.key())) {
            Some(Record::Plain(body)) if wanted.takes_plain() => {
                Found::one(self.hot.entry(body, true))
            }
            Some(record) => self.select(wanted, record),
            None => Found::nothing(),
        }
    }

    /// What the request selects of a resource.
    fn select(&self, wanted: &Wanted<'_>, record: Record) -> Found<MemoryHandle> {
        let Some(resource) = record.into_resource() else { return Found::nothing() };
        let index = resource.siblings.index();
        let find = |variant: &[u8]| {
            if variant.is_empty() {
                return resource.plain.clone();
            }
            let (generation, resource) = (index.generation(), wanted.key().as_bytes());
            match self.cache.get(&RecordRef { generation, resource, variant }) {
                Some(Record::Variant(stored)) => Some(stored),
                _ => None,
            }
        };
        let selected = wanted.encoded(index).filter_map(|variant| find(&variant));
        let selected = Found::entries(selected.map(|body| self.hot.entry(body, false)));
        if !selected.responses().is_empty() {
            return selected;
        }
        // The origin is asked whether they are good: that is no use of them, for which a thread
        // would keep their fields as maps.
        let others = wanted.others(index).filter_map(|variant| find(variant.as_bytes()));
        Found::others(others.map(MemoryHandle::entry))
    }

    /// Puts what `new` makes in the place of `old`. `false`: it is no longer there.
    pub(super) fn replace(
        &self,
        old: &Arc<Body>,
        new: impl FnOnce() -> Option<Body>,
    ) -> Result<bool, Error> {
        self.fences.change(&old.record.cache_key(), || self.replace_now(old, new))
    }

    fn replace_now(
        &self,
        old: &Arc<Body>,
        new: impl FnOnce() -> Option<Body>,
    ) -> Result<bool, Error> {
        let is_it = |stored: &Arc<Body>| Arc::ptr_eq(stored, old);
        let resource = RecordRef { generation: 0, variant: &[], ..old.record.as_ref() };
        let (key, record) = match self.cache.peek(&resource) {
            Some(Record::Plain(stored)) if is_it(&stored) => {
                (old.record.of_resource(), new().map(|new| Record::Plain(Arc::new(new))))
            }
            Some(Record::Resource(resource)) if resource.plain.as_ref().is_some_and(is_it) => {
                let (siblings, plain) = (resource.siblings.clone(), new().map(Arc::new));
                let is_last = plain.is_none() && siblings.index().sets().len() == 1;
                let record = (!is_last).then(|| Record::of(Resource { siblings, plain }));
                (old.record.of_resource(), record)
            }
            Some(Record::Resource(resource)) => {
                // A variant outlives its resource until the cache evicts it.
                let is_current = resource.siblings.index().generation() == old.record.generation;
                match self.cache.peek(&old.record) {
                    Some(Record::Variant(stored)) if is_current && is_it(&stored) => {}
                    _ => return Ok(false),
                }
                (old.record.clone(), new().map(|new| Record::Variant(Arc::new(new))))
            }
            _ => return Ok(false),
        };
        match record {
            Some(record) => {
                self.allow_weight(&key, &record)?;
                self.insert(key, record);
            }
            None => {
                self.take_out(&key.as_ref());
            }
        }
        Ok(true)
    }

    pub(super) fn delete(&self, key: &CacheKey) {
        self.fences.delete(key, || self.take_out(&RecordRef::resource(key)));
    }

    pub(super) fn clear(&self) {
        self.fences.clear(|| {
            // Nothing comes meanwhile.
            self.records().for_each(|(_, record)| drop(self.hot.retire(&record)));
            self.cache.clear();
        });
    }

    fn take_out(&self, key: &RecordRef<'_>) {
        let mut kept = Vec::new();
        let retire = |record: &Record| {
            kept = self.hot.retire(record);
            true
        };
        drop(self.cache.remove_if(key, retire));
    }

    /// The resource that a record is of. Not a use of it, as far as eviction goes.
    pub(super) fn resource(&self, of: &RecordRef<'_>) -> Option<Arc<Resource>> {
        match self.cache.peek(&RecordRef { generation: 0, variant: &[], ..*of }) {
            Some(record) => record.into_resource(),
            None => None,
        }
    }

    pub(super) fn records(&self) -> impl Iterator<Item = (RecordKey, Record)> {
        self.cache.iter()
    }

    pub(super) fn limits(&self) -> Limits {
        self.limits
    }

    pub(super) fn fences(&self) -> &Fences {
        &self.fences
    }

    pub(super) fn secret(&self) -> &Secret {
        &self.secret
    }

    pub(super) fn purges(&self) -> &PurgeLog {
        &self.purges
    }

    pub(super) fn weight(&self) -> u64 {
        self.cache.weight()
    }

    pub(super) fn len(&self) -> usize {
        self.cache.len()
    }

    pub(super) fn evicted(&self) -> u64 {
        self.evicted.load(Ordering::Relaxed)
    }

    pub(super) fn variants_evicted(&self) -> u64 {
        self.variants_evicted.load(Ordering::Relaxed)
    }

    pub(super) fn quota_refused(&self) -> u64 {
        self.quota_refused.load(Ordering::Relaxed)
    }

    pub(super) fn variants_refused(&self) -> u64 {
        self.variants_refused.load(Ordering::Relaxed)
    }
}
