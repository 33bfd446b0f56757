mod evicted;
mod hot;
mod record;
mod scan;
mod siblings;
mod store;

use std::{fmt, ops::Range, sync::Arc};

use bytes::Bytes;
use http::HeaderMap;

use self::{
    hot::Kept,
    record::Body,
    store::{Limits, Store, Taken},
};
use super::{CacheManager, Entry, EntryWriter, Error, Found, StoredBody, Ticket, Usage, Visitor};
use crate::{
    policy::{
        CacheKey, PackedHead, Placement, Secret, StoredHead, StoredResponse, VariantKey, Wanted,
    },
    purge::PurgeLog,
};

/// The default store: in memory, bounded by bytes of body, head and key, and scan-resistant
/// (S3-FIFO, by quick_cache).
///
/// Clones are the same store. Everything that it keeps is copied into memory of exact size when a
/// response is whole; nothing holds on to a connection's buffers.
///
/// The fields of a stored response are packed, in a quarter of the memory that a `HeaderMap` takes. Those
/// that are asked for again and again are kept as maps, too, for each thread by itself: one byte in
/// 32 of the capacity is for them.
///
/// ```
/// use larder::{CacheLayer, MemoryManager};
///
/// let cache = CacheLayer::new(MemoryManager::new(256 << 20));
/// ```
#[derive(Clone)]
pub struct MemoryManager {
    store: Arc<Store>,
}

impl MemoryManager {
    /// A store of at most `capacity` bytes, that takes bodies of up to an eighth of it. Bodies that
    /// are not whole yet take up to a quarter more; what comes beyond that is not stored.
    pub fn new(capacity: u64) -> Self {
        Self::with_max_entry_bytes(capacity, capacity / 8)
    }

    /// A store of at most `capacity` bytes, that takes bodies of up to `max_entry` bytes, at most
    /// half of the capacity.
    pub fn with_max_entry_bytes(capacity: u64, max_entry: u64) -> Self {
        Self { store: Arc::new(Store::new(Limits::new(capacity, max_entry))) }
    }

    /// The bytes that all records take now.
    pub fn weight(&self) -> u64 {
        self.store.weight()
    }

    /// The number of records: one for a resource without `Vary`, else an index and one for each
    /// variant.
    pub fn len(&self) -> usize {
        self.store.len()
    }

    /// Whether nothing is stored.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many variants have gone because their resource had too many.
    pub fn variants_evicted(&self) -> u64 {
        self.store.variants_evicted()
    }

    /// How many variants were not stored because those of their resource took a quarter of the
    /// store.
    pub fn variants_refused(&self) -> u64 {
        self.store.variants_refused()
    }

    /// How many responses were not stored because their partition had no room left
    /// ([`Policy::partition_quota`](crate::Policy::partition_quota)).
    pub fn quota_refused(&self) -> u64 {
        self.store.quota_refused()
    }
}

impl fmt::Debug for MemoryManager {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryManager")
            .field("capacity", &self.store.limits().capacity)
            .field("weight", &self.weight())
            .finish_non_exhaustive()
    }
}

impl CacheManager for MemoryManager {
    type Handle = MemoryHandle;
    type Writer = MemoryWriter;

    fn secret(&self) -> &Secret {
        self.store.secret()
    }

    fn is_in_memory(&self) -> bool {
        true
    }

    fn max_entry_bytes(&self) -> u64 {
        self.store.limits().body
    }

    #[inline]
    fn get_now(&self, wanted: &Wanted<'_>) -> Option<Result<Found<MemoryHandle>, Error>> {
        Some(Ok(self.store.get(wanted)))
    }

    async fn get(&self, wanted: &Wanted<'_>) -> Result<Found<MemoryHandle>, Error> {
        Ok(self.store.get(wanted))
    }

    fn locate(&self, entry: &Entry<MemoryHandle>) -> Option<(CacheKey, VariantKey)> {
        let record = &entry.handle().body().record;
        Some((record.cache_key(), record.variant_key()))
    }

    #[inline]
    fn read(&self, entry: &Entry<MemoryHandle>, range: Range<u64>) -> StoredBody {
        match &entry.handle().0 {
            Holder::Kept(kept) => StoredBody::from_range(kept.bytes(), range, None),
            Holder::Itself(body) => {
                StoredBody::from_range(&body.bytes, range, body.trailers.as_deref())
            }
        }
    }

    async fn put(&self, placement: Placement, head: StoredHead) -> Result<MemoryWriter, Error> {
        let (store, ticket) = (self.store.clone(), self.store.fences().enter(placement.key()));
        let taken = Taken::new(store.clone());
        let (first, more) = (Bytes::new(), Vec::new());
        Ok(MemoryWriter { store, ticket, placement, head, first, more, taken })
    }

    fn put_now(
        &self,
        placement: &Placement,
        head: &StoredHead,
        body: &Bytes,
        admits: &dyn Fn() -> bool,
    ) -> Option<Result<(), Error>> {
        if body.len() as u64 > self.store.limits().body {
            return Some(Err(Error::too_large()));
        }
        // The only copy of the body, into memory of exact size.
        let body = Bytes::copy_from_slice(body);
        Some(self.store.fences().change(placement.key(), || match admits() {
            true => self.store.commit(placement, head.clone(), body, None),
            false => Err(Error::refused()),
        }))
    }

    async fn update(&self, entry: &Entry<MemoryHandle>, head: StoredHead) -> Result<bool, Error> {
        let old = entry.handle().body();
        self.store.replace(old, || {
            let response = StoredResponse::new(head, old.length());
            let (bytes, trailers) = (old.bytes.clone(), old.trailers.clone());
            let (record, head) = (old.record.clone(), PackedHead::of(response.head()));
            Some(Body::new(record, head, bytes, trailers, old.budget()))
        })
    }

    async fn remove(&self, entry: &Entry<MemoryHandle>) -> Result<bool, Error> {
        self.store.replace(entry.handle().body(), || None)
    }

    async fn delete(&self, key: &CacheKey) -> Result<(), Error> {
        self.store.delete(key);
        Ok(())
    }

    async fn clear(&self) -> Result<(), Error> {
        self.store.clear();
        Ok(())
    }

    fn purge_log(&self) -> &PurgeLog {
        self.store.purges()
    }

    async fn scan(&self, visitor: &mut impl Visitor<MemoryHandle>) -> Result<(), Error> {
        self.store.scan(visitor).await;
        Ok(())
    }

    fn usage(&self) -> Option<Usage> {
        let usage = Usage::new(self.len() as u64, self.weight());
        let (evicted, refused) = (self.variants_evicted(), self.variants_refused());
        Some(usage.with_evicted(self.store.evicted()).with_variants(evicted, refused))
    }
}

/// Finds a body in a [`MemoryManager`].
#[derive(Clone)]
pub struct MemoryHandle(Holder);

/// What holds the body. A look-up gets hold of it once.
#[derive(Clone)]
enum Holder {
    /// What the thread that looked it up keeps by itself.
    Kept(Arc<Kept>),
    Itself(Arc<Body>),
}

impl MemoryHandle {
    /// An entry that no thread keeps by itself.
    #[inline]
    fn entry(body: Arc<Body>) -> Entry<Self> {
        let response = StoredResponse::restored(body.head.unpack(), body.length());
        Entry::new(response, Self(Holder::Itself(body)))
    }

    fn body(&self) -> &Arc<Body> {
        match &self.0 {
            Holder::Kept(kept) => kept.body(),
            Holder::Itself(body) => body,
        }
    }
}

/// Writes one response into a [`MemoryManager`].
pub struct MemoryWriter {
    store: Arc<Store>,
    ticket: Ticket,
    placement: Placement,
    head: StoredHead,
    first: Bytes,
    more: Vec<Bytes>,
    taken: Taken,
}

impl EntryWriter for MemoryWriter {
    async fn write(&mut self, chunk: Bytes) -> Result<(), Error> {
        self.taken.take(chunk.len() as u64)?;
        if self.first.is_empty() {
            self.first = chunk;
        } else if !chunk.is_empty() {
            self.more.push(chunk);
        }
        Ok(())
    }

    async fn finish(self, trailers: Option<HeaderMap>) -> Result<(), Error> {
        self.taken.fits()?;
        let Self { store, ticket, placement, head, first, mut more, taken: _taken } = self;
        // The only copy of the body, into memory of exact size.
        let body = if more.is_empty() {
            Bytes::copy_from_slice(&first)
        } else {
            more.insert(0, first);
            let body = Bytes::from(more.concat());
            drop(more);
            body
        };
        ticket.commit(|| store.commit(&placement, head, body, trailers))
    }

    async fn finish_with(self, head: StoredHead, trailers: Option<HeaderMap>) -> Result<(), Error> {
        Self { head, ..self }.finish(trailers).await
    }
}
