use std::{
    collections::HashMap,
    fmt,
    hash::{BuildHasher, Hash, Hasher, RandomState},
    ops::Range,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use http::HeaderMap;
use quick_cache::{Equivalent, OptionsBuilder, Weighter, sync::Cache};

use super::{CacheManager, Entry, EntryWriter, Error, Found, StoredBody};
use crate::{
    policy::{
        CacheKey, Index, Placement, Secret, StoredHead, StoredResponse, VariantBound, VariantId,
        VariantKey, Wanted,
    },
    purge::PurgeLog,
};

/// The default store: in memory, bounded by bytes of body, head and key, and scan-resistant
/// (S3-FIFO, by quick_cache).
///
/// Clones are the same store. Everything that it keeps is copied into memory of exact size when a
/// response is whole; nothing holds on to a connection's buffers.
///
/// ```
/// use larder::{CacheLayer, MemoryManager};
///
/// let cache = CacheLayer::new(MemoryManager::new(256 << 20));
/// ```
#[derive(Clone)]
pub struct MemoryManager {
    inner: Arc<Inner>,
}

struct Inner {
    cache: Cache<RecordKey, Record, ByWeight>,
    capacity: u64,
    max_entry: u64,
    secret: Secret,
    purges: PurgeLog,
    generations: AtomicU64,
    /// Who is writing which resource. Each part is also the lock under which its resources change.
    writing: Box<[Mutex<HashMap<CacheKey, Writing>>]>,
    hasher: RandomState,
    variants_evicted: AtomicU64,
    variants_refused: AtomicU64,
}

const PARTS: usize = 16;
/// Of the store's bytes that the variants of one resource may take where they are not counted.
const SHARE: u64 = 4;

impl MemoryManager {
    /// A store of at most `capacity` bytes, that takes bodies of up to an eighth of it.
    pub fn new(capacity: u64) -> Self {
        Self::with_max_entry_bytes(capacity, capacity / 8)
    }

    /// A store of at most `capacity` bytes, that takes bodies of up to `max_entry` bytes, at most
    /// half of the capacity.
    pub fn with_max_entry_bytes(capacity: u64, max_entry: u64) -> Self {
        let max_entry = max_entry.min(capacity / 2);
        // The cache admits nothing larger than a shard, and each shard evicts by itself.
        let shards = (capacity / (8 * max_entry.max(1))).clamp(1, 64);
        let shards = 1 << shards.ilog2();
        let options = OptionsBuilder::new()
            .shards(shards)
            // For its ghosts only: nothing is allocated ahead.
            .estimated_items_capacity(
                usize::try_from(capacity / 4096).unwrap_or(usize::MAX).max(64),
            )
            .weight_capacity(capacity)
            .build();
        let cache = match options {
            Ok(options) => {
                Cache::with_options(options, ByWeight, Default::default(), Default::default())
            }
            Err(_) => Cache::with_weighter(64, capacity, ByWeight),
        };
        Self {
            inner: Arc::new(Inner {
                cache,
                capacity,
                max_entry,
                secret: Secret::random(),
                purges: PurgeLog::new(),
                generations: AtomicU64::new(1),
                writing: (0..PARTS).map(|_| Mutex::default()).collect(),
                hasher: RandomState::new(),
                variants_evicted: AtomicU64::new(0),
                variants_refused: AtomicU64::new(0),
            }),
        }
    }

    /// The bytes that all records take now.
    pub fn weight(&self) -> u64 {
        self.inner.cache.weight()
    }

    /// The number of records: one for a resource without `Vary`, else an index and one for each
    /// variant.
    pub fn len(&self) -> usize {
        self.inner.cache.len()
    }

    /// Whether nothing is stored.
    pub fn is_empty(&self) -> bool {
        self.inner.cache.is_empty()
    }

    /// How many variants have gone because their resource had too many.
    pub fn variants_evicted(&self) -> u64 {
        self.inner.variants_evicted.load(Ordering::Relaxed)
    }

    /// How many variants were not stored because those of their resource took a quarter of the
    /// store.
    pub fn variants_refused(&self) -> u64 {
        self.inner.variants_refused.load(Ordering::Relaxed)
    }
}

impl fmt::Debug for MemoryManager {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryManager")
            .field("capacity", &self.inner.capacity)
            .field("weight", &self.weight())
            .finish_non_exhaustive()
    }
}

impl CacheManager for MemoryManager {
    type Handle = MemoryHandle;
    type Writer = MemoryWriter;

    fn secret(&self) -> &Secret {
        &self.inner.secret
    }

    fn max_entry_bytes(&self) -> u64 {
        self.inner.max_entry
    }

    fn get_now(&self, wanted: &Wanted<'_>) -> Option<Result<Found<MemoryHandle>, Error>> {
        Some(Ok(self.inner.get(wanted)))
    }

    async fn get(&self, wanted: &Wanted<'_>) -> Result<Found<MemoryHandle>, Error> {
        Ok(self.inner.get(wanted))
    }

    fn read(&self, entry: &Entry<MemoryHandle>, range: Range<u64>) -> StoredBody {
        let MemoryHandle(stored) = entry.handle();
        let length = stored.body.len();
        let end = usize::try_from(range.end).unwrap_or(length).min(length);
        let start = usize::try_from(range.start).unwrap_or(end).min(end);
        let trailers = if end == length { stored.trailers.clone() } else { None };
        StoredBody::from_bytes(stored.body.slice(start..end), trailers)
    }

    async fn put(&self, placement: Placement, head: StoredHead) -> Result<MemoryWriter, Error> {
        let ticket = Ticket::new(self.inner.clone(), placement.key().clone());
        Ok(MemoryWriter { ticket, placement, head, chunks: Vec::new(), length: 0 })
    }

    async fn update(&self, entry: &Entry<MemoryHandle>, head: StoredHead) -> Result<bool, Error> {
        let MemoryHandle(old) = entry.handle();
        Ok(self.inner.replace(old, || {
            let response = StoredResponse::new(head, old.body.len() as u64);
            let (body, trailers) = (old.body.clone(), old.trailers.clone());
            let budget = old.share.as_ref().map(|share| share.budget.clone());
            Some(Body::new(old.record.clone(), response, body, trailers, budget))
        }))
    }

    async fn remove(&self, entry: &Entry<MemoryHandle>) -> Result<bool, Error> {
        Ok(self.inner.replace(&entry.handle().0, || None))
    }

    async fn delete(&self, key: &CacheKey) -> Result<(), Error> {
        let mut writing = self.inner.part(key);
        if let Some(writing) = writing.get_mut(key) {
            writing.fence += 1;
        }
        self.inner.cache.remove(&RecordRef::resource(key));
        Ok(())
    }

    async fn clear(&self) -> Result<(), Error> {
        let mut parts: Vec<_> = self.inner.writing.iter().map(lock).collect();
        for writing in parts.iter_mut().flat_map(|part| part.values_mut()) {
            writing.fence += 1;
        }
        self.inner.cache.clear();
        Ok(())
    }

    fn purge_log(&self) -> Option<PurgeLog> {
        Some(self.inner.purges.clone())
    }
}

impl Inner {
    fn get(&self, wanted: &Wanted<'_>) -> Found<MemoryHandle> {
        let Some(resource) = self.resource(wanted.key()) else { return Found::nothing() };
        let found = |stored: Arc<Body>| Entry::new(stored.response.clone(), MemoryHandle(stored));
        if let (Some(stored), [_]) = (&resource.plain, resource.siblings.index.sets()) {
            return Found::entries([found(stored.clone())]);
        }
        let index = &resource.siblings.index;
        Found::entries(wanted.select(index).filter_map(|variant| {
            if variant.is_plain() {
                return resource.plain.clone().map(found);
            }
            let key = RecordRef {
                generation: index.generation(),
                resource: wanted.key().as_bytes(),
                variant: variant.as_bytes(),
            };
            match self.cache.get(&key) {
                Some(Record::Variant(stored)) => Some(found(stored)),
                _ => None,
            }
        }))
    }

    fn resource(&self, key: &CacheKey) -> Option<Arc<Resource>> {
        match self.cache.get(&RecordRef::resource(key)) {
            Some(Record::Resource(resource)) => Some(resource),
            _ => None,
        }
    }

    fn part(&self, key: &CacheKey) -> MutexGuard<'_, HashMap<CacheKey, Writing>> {
        let part = self.hasher.hash_one(key) as usize % PARTS;
        lock(&self.writing[part])
    }

    /// Makes a response visible. The caller holds the part of its resource.
    fn commit(
        &self,
        placement: &Placement,
        head: StoredHead,
        body: Bytes,
        trailers: Option<HeaderMap>,
    ) -> Result<(), Error> {
        let key = placement.key();
        let (mut siblings, plain) = match self.resource(key) {
            Some(resource) => ((*resource.siblings).clone(), resource.plain.clone()),
            None => {
                let generation = self.generations.fetch_add(1, Ordering::Relaxed);
                (Siblings::new(generation), None)
            }
        };
        let record = RecordKey {
            generation: siblings.index.generation(),
            resource: key.clone(),
            variant: Some(placement.variant().clone()),
        };
        let response = StoredResponse::new(head, body.len() as u64);
        let is_plain = placement.variant().is_plain();
        let counted = placement.bound() == VariantBound::Share && !is_plain;
        let budget = counted.then(|| siblings.budget.clone());
        let stored = Body::new(record.clone(), response, body, trailers, budget);
        if counted {
            let replaced = match self.cache.get(&record) {
                Some(Record::Variant(old)) => old.weight,
                _ => 0,
            };
            // The new share is in the budget already.
            let taken = siblings.budget.load(Ordering::Relaxed).saturating_sub(replaced);
            if taken > self.capacity / SHARE {
                self.variants_refused.fetch_add(1, Ordering::Relaxed);
                return Err(Error::refused());
            }
        }
        for evicted in siblings.index.admit(placement) {
            if let Some(variant) = siblings.forget(evicted) {
                self.cache.remove(&RecordKey { variant: Some(variant), ..record.clone() });
                self.variants_evicted.fetch_add(1, Ordering::Relaxed);
            }
        }
        siblings.remember(placement);
        let stored = Arc::new(stored);
        let plain = if is_plain { Some(stored.clone()) } else { plain };
        if !is_plain {
            self.cache.insert(record, Record::Variant(stored));
        }
        self.insert_resource(key, Arc::new(siblings), plain);
        Ok(())
    }

    /// Puts what `new` makes in the place of `old`, if `old` is still there.
    fn replace(&self, old: &Arc<Body>, new: impl FnOnce() -> Option<Body>) -> bool {
        let key = &old.record.resource;
        let _part = self.part(key);
        if old.is_plain() {
            let Some(resource) = self.resource(key) else { return false };
            if !resource.plain.as_ref().is_some_and(|plain| Arc::ptr_eq(plain, old)) {
                return false;
            }
            self.insert_resource(key, resource.siblings.clone(), new().map(Arc::new));
        } else {
            let is_same = matches!(
                self.cache.peek(&old.record),
                Some(Record::Variant(stored)) if Arc::ptr_eq(&stored, old)
            );
            if !is_same {
                return false;
            }
            match new() {
                Some(new) => self.cache.insert(old.record.clone(), Record::Variant(Arc::new(new))),
                None => {
                    self.cache.remove(&old.record);
                }
            }
        }
        true
    }

    fn insert_resource(&self, key: &CacheKey, siblings: Arc<Siblings>, plain: Option<Arc<Body>>) {
        let record = RecordKey { generation: 0, resource: key.clone(), variant: None };
        self.cache.insert(record, Record::Resource(Arc::new(Resource { siblings, plain })));
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The writers of one resource: how many, and how often it was deleted under them.
#[derive(Default)]
struct Writing {
    writers: usize,
    fence: u64,
}

/// A writer's place among those of its resource.
struct Ticket {
    inner: Arc<Inner>,
    key: CacheKey,
    fence: u64,
}

impl Ticket {
    fn new(inner: Arc<Inner>, key: CacheKey) -> Self {
        let mut part = inner.part(&key);
        let writing = part.entry(key.clone()).or_default();
        writing.writers += 1;
        let fence = writing.fence;
        drop(part);
        Self { inner, key, fence }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut part = self.inner.part(&self.key);
        if let Some(writing) = part.get_mut(&self.key) {
            writing.writers -= 1;
            if writing.writers == 0 {
                part.remove(&self.key);
            }
        }
    }
}

/// Writes one response into a [`MemoryManager`].
pub struct MemoryWriter {
    ticket: Ticket,
    placement: Placement,
    head: StoredHead,
    chunks: Vec<Bytes>,
    length: u64,
}

impl EntryWriter for MemoryWriter {
    async fn write(&mut self, chunk: Bytes) -> Result<(), Error> {
        self.length += chunk.len() as u64;
        if self.length > self.ticket.inner.max_entry {
            return Err(Error::too_large());
        }
        if !chunk.is_empty() {
            self.chunks.push(chunk);
        }
        Ok(())
    }

    async fn finish(self, trailers: Option<HeaderMap>) -> Result<(), Error> {
        let Self { ticket, placement, head, chunks, .. } = self;
        // The only copy of the body, into memory of exact size.
        let body = Bytes::from(chunks.concat());
        drop(chunks);
        let part = ticket.inner.part(&ticket.key);
        if part.get(&ticket.key).is_none_or(|writing| writing.fence != ticket.fence) {
            return Err(Error::refused());
        }
        ticket.inner.commit(&placement, head, body, trailers)
    }
}

/// Finds a body in a [`MemoryManager`].
#[derive(Clone)]
pub struct MemoryHandle(Arc<Body>);

/// A response that is stored.
struct Body {
    record: RecordKey,
    response: StoredResponse,
    body: Bytes,
    trailers: Option<HeaderMap>,
    weight: u64,
    share: Option<Share>,
}

impl Body {
    fn new(
        record: RecordKey,
        response: StoredResponse,
        body: Bytes,
        trailers: Option<HeaderMap>,
        budget: Option<Arc<AtomicU64>>,
    ) -> Self {
        let fields = |trailers: &HeaderMap| {
            128 * trailers.len() + trailers.values().map(|v| v.len()).sum::<usize>()
        };
        let weight = size_of::<Self>()
            + RECORD
            + record.weight()
            + response.head().weight()
            + body.len()
            + trailers.as_ref().map_or(0, fields);
        let weight = weight as u64;
        let share = budget.map(|budget| Share::new(budget, weight));
        Self { record, response, body, trailers, weight, share }
    }

    fn is_plain(&self) -> bool {
        self.record.variant.as_ref().is_none_or(VariantKey::is_plain)
    }
}

/// What a variant takes of the bytes that its resource may have. Given back when it is gone.
struct Share {
    budget: Arc<AtomicU64>,
    weight: u64,
}

impl Share {
    fn new(budget: Arc<AtomicU64>, weight: u64) -> Self {
        budget.fetch_add(weight, Ordering::Relaxed);
        Self { budget, weight }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.budget.fetch_sub(self.weight, Ordering::Relaxed);
    }
}

/// What the cache's own tables take for a record, in bytes.
const RECORD: usize = 112;

#[derive(Clone)]
enum Record {
    Resource(Arc<Resource>),
    Variant(Arc<Body>),
}

/// The record under a resource's key: its index, and the response if it has no `Vary`.
struct Resource {
    siblings: Arc<Siblings>,
    plain: Option<Arc<Body>>,
}

/// What the variants of a resource have in common.
#[derive(Clone)]
struct Siblings {
    index: Index,
    budget: Arc<AtomicU64>,
    /// The variants that the index counts.
    counted: Vec<(VariantId, VariantKey)>,
}

impl Siblings {
    fn new(generation: u64) -> Self {
        Self { index: Index::new(generation), budget: Arc::default(), counted: Vec::new() }
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

    fn weight(&self) -> usize {
        let counted: usize = self.counted.iter().map(|(_, key)| 64 + key.as_bytes().len()).sum();
        size_of::<Self>() + self.index.weight() + counted
    }
}

#[derive(Clone, Copy)]
struct ByWeight;

impl Weighter<RecordKey, Record> for ByWeight {
    fn weight(&self, key: &RecordKey, record: &Record) -> u64 {
        match record {
            Record::Variant(stored) => stored.weight,
            Record::Resource(resource) => {
                let own =
                    RECORD + key.weight() + size_of::<Resource>() + resource.siblings.weight();
                own as u64 + resource.plain.as_ref().map_or(0, |plain| plain.weight)
            }
        }
    }
}

/// The key of a record, compared in full.
#[derive(Clone, PartialEq, Eq)]
struct RecordKey {
    generation: u64,
    resource: CacheKey,
    /// `None` for the resource itself.
    variant: Option<VariantKey>,
}

impl RecordKey {
    fn weight(&self) -> usize {
        size_of::<Self>()
            + self.resource.as_bytes().len()
            + self.variant.as_ref().map_or(0, |variant| variant.as_bytes().len())
    }

    fn as_ref(&self) -> RecordRef<'_> {
        RecordRef {
            generation: self.generation,
            resource: self.resource.as_bytes(),
            variant: self.variant.as_ref().map_or(&[], VariantKey::as_bytes),
        }
    }
}

impl Hash for RecordKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_ref().hash(state);
    }
}

/// A [`RecordKey`] to look up by, without owning its parts.
#[derive(Hash, PartialEq, Eq)]
struct RecordRef<'a> {
    generation: u64,
    resource: &'a [u8],
    variant: &'a [u8],
}

impl<'a> RecordRef<'a> {
    fn resource(key: &'a CacheKey) -> Self {
        Self { generation: 0, resource: key.as_bytes(), variant: &[] }
    }
}

impl Equivalent<RecordKey> for RecordRef<'_> {
    fn equivalent(&self, key: &RecordKey) -> bool {
        *self == key.as_ref()
    }
}
