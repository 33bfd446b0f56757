//! A store that counts what it is asked, and that fails or hangs where it is told to.

use std::{
    cell::Cell,
    future::pending,
    ops::{ControlFlow, Range},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use bytes::Bytes;
use http::HeaderMap;
use larder::{
    CacheKey, CacheManager, MemoryManager, PurgeLog,
    policy::{Placement, Secret, StoredHead, VariantKey, Wanted},
    storage::{Entry, EntryWriter, Error, Found, Scanned, StoredBody, Usage, Visitor},
};

type Handle = <MemoryManager as CacheManager>::Handle;

#[derive(Clone)]
pub struct Spy {
    pub inner: MemoryManager,
    shared: Arc<Shared>,
    answers_at_once: bool,
    is_slow: bool,
    is_in_memory: bool,
}

#[derive(Default)]
struct Shared {
    counts: Counts,
    fault: Mutex<Option<(Call, Fault)>>,
    between: Mutex<Option<Between>>,
}

type Between = Box<dyn FnOnce() + Send>;

#[derive(Default)]
struct Counts {
    lookups: AtomicUsize,
    heads: AtomicUsize,
    body_bytes: AtomicUsize,
    deletes: AtomicUsize,
    writes: AtomicUsize,
    scanned: AtomicUsize,
}

/// What a store was asked: index look-ups, heads that they read, bytes of bodies read, changes, and
/// entries shown on walks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    pub lookups: usize,
    pub heads: usize,
    pub body_bytes: usize,
    pub deletes: usize,
    pub writes: usize,
    pub scanned: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    Get,
    Put,
    Write,
    Finish,
    Update,
    Remove,
    Delete,
    Clear,
    Scan,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    Fail,
    /// Cannot do this at all.
    #[cfg(feature = "admin")]
    Refuse,
    /// Never answers.
    Hang,
    /// Answers when it is asked again.
    Wait,
}

impl Spy {
    /// A store that answers look-ups at once, as memory does.
    pub fn new() -> Self {
        let inner = MemoryManager::new(256 << 20);
        let (answers_at_once, is_slow, is_in_memory) = (true, false, false);
        Self { inner, shared: Arc::default(), answers_at_once, is_slow, is_in_memory }
    }

    /// A store that has to be waited for.
    pub fn waiting() -> Self {
        Self { answers_at_once: false, ..Self::new() }
    }

    /// A store that makes whoever asks wait before and after each call.
    pub fn slow() -> Self {
        Self { is_slow: true, ..Self::waiting() }
    }

    /// Says that what is being written is held in memory, slow or not.
    pub fn in_memory(self) -> Self {
        Self { is_in_memory: true, ..self }
    }

    async fn pause(&self) {
        if self.is_slow {
            tokio::task::yield_now().await;
        }
    }

    pub fn breaks(&self, call: Call, fault: Fault) {
        *self.shared.fault.lock().unwrap() = Some((call, fault));
    }

    /// The next response is stored without waiting, and this comes when it has been admitted and is not
    /// there yet.
    pub fn between(&self, between: impl FnOnce() + Send + 'static) {
        *self.shared.between.lock().unwrap() = Some(Box::new(between));
    }

    pub fn mend(&self) {
        *self.shared.fault.lock().unwrap() = None;
    }

    /// What was asked since the last time.
    pub fn asked(&self) -> Asked {
        let counts = &self.shared.counts;
        let take = |count: &AtomicUsize| count.swap(0, Ordering::Relaxed);
        Asked {
            lookups: take(&counts.lookups),
            heads: take(&counts.heads),
            body_bytes: take(&counts.body_bytes),
            deletes: take(&counts.deletes),
            writes: take(&counts.writes),
            scanned: take(&counts.scanned),
        }
    }

    fn found(&self, found: &Result<Found<Handle>, Error>) {
        let heads = found.as_ref().map_or(0, |found| found.responses().len());
        self.shared.counts.lookups.fetch_add(1, Ordering::Relaxed);
        self.shared.counts.heads.fetch_add(heads, Ordering::Relaxed);
    }
}

impl Shared {
    async fn enter(&self, call: Call) -> Result<(), Error> {
        let fault = *self.fault.lock().unwrap();
        match fault {
            Some((broken, Fault::Fail)) if broken == call => Err(Error::other("out of order")),
            #[cfg(feature = "admin")]
            Some((broken, Fault::Refuse)) if broken == call => Err(Error::unsupported()),
            Some((broken, Fault::Hang)) if broken == call => pending().await,
            Some((broken, Fault::Wait)) if broken == call => {
                tokio::task::yield_now().await;
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

impl CacheManager for Spy {
    type Handle = Handle;
    type Writer = SpyWriter;

    fn secret(&self) -> &Secret {
        self.inner.secret()
    }

    fn max_entry_bytes(&self) -> u64 {
        self.inner.max_entry_bytes()
    }

    fn is_in_memory(&self) -> bool {
        self.is_in_memory
    }

    fn get_now(&self, wanted: &Wanted<'_>) -> Option<Result<Found<Handle>, Error>> {
        if !self.answers_at_once {
            return None;
        }
        let found = self.inner.get_now(wanted)?;
        self.found(&found);
        Some(found)
    }

    async fn get(&self, wanted: &Wanted<'_>) -> Result<Found<Handle>, Error> {
        self.shared.enter(Call::Get).await?;
        self.pause().await;
        let found = self.inner.get(wanted).await;
        self.found(&found);
        self.pause().await;
        found
    }

    fn locate(&self, entry: &Entry<Handle>) -> Option<(CacheKey, VariantKey)> {
        self.inner.locate(entry)
    }

    fn read(&self, entry: &Entry<Handle>, range: Range<u64>) -> StoredBody {
        let bytes = usize::try_from(range.end - range.start).unwrap();
        self.shared.counts.body_bytes.fetch_add(bytes, Ordering::Relaxed);
        self.inner.read(entry, range)
    }

    async fn put(&self, placement: Placement, head: StoredHead) -> Result<SpyWriter, Error> {
        self.shared.enter(Call::Put).await?;
        self.pause().await;
        let inner = self.inner.put(placement, head).await?;
        Ok(SpyWriter { inner, spy: self.clone() })
    }

    fn put_now(
        &self,
        placement: &Placement,
        head: &StoredHead,
        body: &Bytes,
        admits: &dyn Fn() -> bool,
    ) -> Option<Result<(), Error>> {
        let between = Cell::new(Some(self.shared.between.lock().unwrap().take()?));
        self.inner.put_now(placement, head, body, &|| {
            let is_admitted = admits();
            between.take().into_iter().for_each(|between| between());
            is_admitted
        })
    }

    async fn update(&self, entry: &Entry<Handle>, head: StoredHead) -> Result<bool, Error> {
        self.shared.enter(Call::Update).await?;
        self.pause().await;
        let updated = self.inner.update(entry, head).await;
        self.pause().await;
        updated
    }

    async fn remove(&self, entry: &Entry<Handle>) -> Result<bool, Error> {
        self.shared.enter(Call::Remove).await?;
        self.pause().await;
        self.inner.remove(entry).await
    }

    async fn delete(&self, key: &CacheKey) -> Result<(), Error> {
        self.shared.counts.deletes.fetch_add(1, Ordering::Relaxed);
        self.shared.enter(Call::Delete).await?;
        self.pause().await;
        self.inner.delete(key).await
    }

    async fn clear(&self) -> Result<(), Error> {
        self.shared.enter(Call::Clear).await?;
        self.inner.clear().await
    }

    fn purge_log(&self) -> &PurgeLog {
        self.inner.purge_log()
    }

    async fn scan(&self, visitor: &mut impl Visitor<Handle>) -> Result<(), Error> {
        self.shared.enter(Call::Scan).await?;
        self.inner.scan(&mut Counted { visitor, spy: self }).await
    }

    fn usage(&self) -> Option<Usage> {
        self.inner.usage()
    }
}

struct Counted<'a, V> {
    visitor: &'a mut V,
    spy: &'a Spy,
}

impl<V: Visitor<Handle>> Visitor<Handle> for Counted<'_, V> {
    async fn visit(&mut self, entries: Vec<Scanned<Handle>>) -> ControlFlow<()> {
        self.spy.shared.counts.scanned.fetch_add(entries.len(), Ordering::Relaxed);
        for entry in entries {
            self.spy.pause().await;
            self.visitor.visit(vec![entry]).await?;
        }
        ControlFlow::Continue(())
    }
}

pub struct SpyWriter {
    inner: <MemoryManager as CacheManager>::Writer,
    spy: Spy,
}

impl EntryWriter for SpyWriter {
    async fn write(&mut self, chunk: Bytes) -> Result<(), Error> {
        self.spy.shared.counts.writes.fetch_add(1, Ordering::Relaxed);
        self.spy.shared.enter(Call::Write).await?;
        self.inner.write(chunk).await
    }

    async fn finish(self, trailers: Option<HeaderMap>) -> Result<(), Error> {
        self.spy.shared.enter(Call::Finish).await?;
        self.spy.pause().await;
        let finished = self.inner.finish(trailers).await;
        self.spy.pause().await;
        finished
    }

    async fn finish_with(self, head: StoredHead, trailers: Option<HeaderMap>) -> Result<(), Error> {
        self.spy.shared.enter(Call::Finish).await?;
        self.inner.finish_with(head, trailers).await
    }
}
