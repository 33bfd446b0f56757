use std::{
    any::Any,
    fmt,
    ops::{ControlFlow, Range},
    pin::Pin,
    sync::Arc,
};

use bytes::Bytes;
use http::HeaderMap;

use super::{CacheManager, Entry, EntryWriter, Error, Found, Scanned, StoredBody, Usage, Visitor};
use crate::{
    policy::{CacheKey, Placement, Secret, StoredHead, VariantKey, Wanted},
    purge::PurgeLog,
};

/// Any [`CacheManager`] as one type, for programs that choose their store at run time.
///
/// A call costs an allocation or two more. Clones are the same store.
///
/// ```
/// use larder::{BoxManager, CacheLayer, MemoryManager};
///
/// let cache = CacheLayer::new(BoxManager::new(MemoryManager::new(64 << 20)));
/// ```
#[derive(Clone)]
pub struct BoxManager(Arc<dyn Erased>);

impl BoxManager {
    /// Hides the type of `manager`.
    pub fn new(manager: impl CacheManager) -> Self {
        Self(Arc::new(manager))
    }
}

impl fmt::Debug for BoxManager {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BoxManager")
    }
}

/// How a [`BoxManager`] finds a body.
#[derive(Clone)]
pub struct BoxHandle(Arc<dyn Any + Send + Sync>);

/// Writes one response through a [`BoxManager`].
pub struct BoxWriter(Box<dyn ErasedWriter>);

type Pending<'a, T> = Pin<Box<dyn Future<Output = Result<T, Error>> + Send + 'a>>;

trait Erased: Send + Sync {
    fn secret(&self) -> &Secret;
    fn max_entry_bytes(&self) -> u64;
    fn is_in_memory(&self) -> bool;
    fn get_now(&self, wanted: &Wanted<'_>) -> Option<Result<Found<BoxHandle>, Error>>;
    fn get<'a>(&'a self, wanted: &'a Wanted<'_>) -> Pending<'a, Found<BoxHandle>>;
    fn locate(&self, entry: &Entry<BoxHandle>) -> Option<(CacheKey, VariantKey)>;
    fn read(&self, entry: &Entry<BoxHandle>, range: Range<u64>) -> StoredBody;
    fn put(&self, placement: Placement, head: StoredHead) -> Pending<'_, BoxWriter>;
    fn put_now(
        &self,
        placement: &Placement,
        head: &StoredHead,
        body: &Bytes,
        admits: &dyn Fn() -> bool,
    ) -> Option<Result<(), Error>>;
    fn update<'a>(&'a self, entry: &'a Entry<BoxHandle>, head: StoredHead) -> Pending<'a, bool>;
    fn remove<'a>(&'a self, entry: &'a Entry<BoxHandle>) -> Pending<'a, bool>;
    fn delete<'a>(&'a self, key: &'a CacheKey) -> Pending<'a, ()>;
    fn clear(&self) -> Pending<'_, ()>;
    fn sync(&self) -> Pending<'_, ()>;
    fn purge_log(&self) -> &PurgeLog;
    fn scan<'a>(&'a self, visitor: &'a mut dyn ErasedVisitor) -> Pending<'a, ()>;
    fn usage(&self) -> Option<Usage>;
}

trait ErasedVisitor: Send {
    fn visit(&mut self, entries: Vec<Scanned<BoxHandle>>) -> Visiting<'_>;
}

type Visiting<'a> = Pin<Box<dyn Future<Output = ControlFlow<()>> + Send + 'a>>;

trait ErasedWriter: Send {
    fn write(&mut self, chunk: Bytes) -> Pending<'_, ()>;
    fn finish(
        self: Box<Self>,
        head: Option<StoredHead>,
        trailers: Option<HeaderMap>,
    ) -> Pending<'static, ()>;
}

impl<M: CacheManager> Erased for M {
    fn secret(&self) -> &Secret {
        CacheManager::secret(self)
    }

    fn max_entry_bytes(&self) -> u64 {
        CacheManager::max_entry_bytes(self)
    }
    fn is_in_memory(&self) -> bool {
        CacheManager::is_in_memory(self)
    }

    fn get_now(&self, wanted: &Wanted<'_>) -> Option<Result<Found<BoxHandle>, Error>> {
        Some(CacheManager::get_now(self, wanted)?.map(|found| found.map(|_, handle| wrap(handle))))
    }

    fn get<'a>(&'a self, wanted: &'a Wanted<'_>) -> Pending<'a, Found<BoxHandle>> {
        Box::pin(
            async move { Ok(CacheManager::get(self, wanted).await?.map(|_, handle| wrap(handle))) },
        )
    }

    fn locate(&self, entry: &Entry<BoxHandle>) -> Option<(CacheKey, VariantKey)> {
        CacheManager::locate(self, &unwrap::<M>(entry).ok()?)
    }

    fn read(&self, entry: &Entry<BoxHandle>, range: Range<u64>) -> StoredBody {
        match unwrap::<M>(entry) {
            Ok(entry) => CacheManager::read(self, &entry, range),
            Err(error) => StoredBody::failed(range, error),
        }
    }

    fn put(&self, placement: Placement, head: StoredHead) -> Pending<'_, BoxWriter> {
        Box::pin(
            async move { Ok(BoxWriter(Box::new(CacheManager::put(self, placement, head).await?))) },
        )
    }

    fn put_now(
        &self,
        placement: &Placement,
        head: &StoredHead,
        body: &Bytes,
        admits: &dyn Fn() -> bool,
    ) -> Option<Result<(), Error>> {
        CacheManager::put_now(self, placement, head, body, admits)
    }

    fn update<'a>(&'a self, entry: &'a Entry<BoxHandle>, head: StoredHead) -> Pending<'a, bool> {
        Box::pin(async move { CacheManager::update(self, &unwrap::<M>(entry)?, head).await })
    }

    fn remove<'a>(&'a self, entry: &'a Entry<BoxHandle>) -> Pending<'a, bool> {
        Box::pin(async move { CacheManager::remove(self, &unwrap::<M>(entry)?).await })
    }

    fn delete<'a>(&'a self, key: &'a CacheKey) -> Pending<'a, ()> {
        Box::pin(CacheManager::delete(self, key))
    }

    fn clear(&self) -> Pending<'_, ()> {
        Box::pin(CacheManager::clear(self))
    }

    fn sync(&self) -> Pending<'_, ()> {
        Box::pin(CacheManager::sync(self))
    }

    fn purge_log(&self) -> &PurgeLog {
        CacheManager::purge_log(self)
    }

    fn scan<'a>(&'a self, visitor: &'a mut dyn ErasedVisitor) -> Pending<'a, ()> {
        Box::pin(async move { CacheManager::scan(self, &mut Wrapping(visitor)).await })
    }

    fn usage(&self) -> Option<Usage> {
        CacheManager::usage(self)
    }
}

impl<V: Visitor<BoxHandle>> ErasedVisitor for V {
    fn visit(&mut self, entries: Vec<Scanned<BoxHandle>>) -> Visiting<'_> {
        Box::pin(Visitor::visit(self, entries))
    }
}

/// Shows a visitor of boxed handles the handles of a manager.
struct Wrapping<'a>(&'a mut dyn ErasedVisitor);

impl<H: Send + Sync + 'static> Visitor<H> for Wrapping<'_> {
    async fn visit(&mut self, entries: Vec<Scanned<H>>) -> ControlFlow<()> {
        let wrapped = |entry: Entry<H>| {
            let (response, handle) = entry.into_parts();
            Entry::new(response, wrap(handle))
        };
        self.0.visit(entries.into_iter().map(|entry| entry.map(wrapped)).collect()).await
    }
}

impl<W: EntryWriter> ErasedWriter for W {
    fn write(&mut self, chunk: Bytes) -> Pending<'_, ()> {
        Box::pin(EntryWriter::write(self, chunk))
    }

    fn finish(
        self: Box<Self>,
        head: Option<StoredHead>,
        trailers: Option<HeaderMap>,
    ) -> Pending<'static, ()> {
        Box::pin(async move {
            match head {
                Some(head) => EntryWriter::finish_with(*self, head, trailers).await,
                None => EntryWriter::finish(*self, trailers).await,
            }
        })
    }
}

fn wrap<H: Send + Sync + 'static>(handle: H) -> BoxHandle {
    BoxHandle(Arc::new(handle))
}

/// The entry with the handle that this manager gave. One of another manager is refused.
fn unwrap<M: CacheManager>(entry: &Entry<BoxHandle>) -> Result<Entry<M::Handle>, Error> {
    let handle: &M::Handle = entry
        .handle()
        .0
        .downcast_ref()
        .ok_or_else(|| Error::other("the entry belongs to another store"))?;
    Ok(Entry::new(entry.response().clone(), handle.clone()))
}

impl CacheManager for BoxManager {
    type Handle = BoxHandle;
    type Writer = BoxWriter;

    fn secret(&self) -> &Secret {
        self.0.secret()
    }

    fn max_entry_bytes(&self) -> u64 {
        self.0.max_entry_bytes()
    }

    fn is_in_memory(&self) -> bool {
        self.0.is_in_memory()
    }

    fn get_now(&self, wanted: &Wanted<'_>) -> Option<Result<Found<BoxHandle>, Error>> {
        self.0.get_now(wanted)
    }

    async fn get(&self, wanted: &Wanted<'_>) -> Result<Found<BoxHandle>, Error> {
        self.0.get(wanted).await
    }

    fn locate(&self, entry: &Entry<BoxHandle>) -> Option<(CacheKey, VariantKey)> {
        self.0.locate(entry)
    }

    fn read(&self, entry: &Entry<BoxHandle>, range: Range<u64>) -> StoredBody {
        self.0.read(entry, range)
    }

    async fn put(&self, placement: Placement, head: StoredHead) -> Result<BoxWriter, Error> {
        self.0.put(placement, head).await
    }

    fn put_now(
        &self,
        placement: &Placement,
        head: &StoredHead,
        body: &Bytes,
        admits: &dyn Fn() -> bool,
    ) -> Option<Result<(), Error>> {
        self.0.put_now(placement, head, body, admits)
    }

    async fn update(&self, entry: &Entry<BoxHandle>, head: StoredHead) -> Result<bool, Error> {
        self.0.update(entry, head).await
    }

    async fn remove(&self, entry: &Entry<BoxHandle>) -> Result<bool, Error> {
        self.0.remove(entry).await
    }

    async fn delete(&self, key: &CacheKey) -> Result<(), Error> {
        self.0.delete(key).await
    }

    async fn clear(&self) -> Result<(), Error> {
        self.0.clear().await
    }

    async fn sync(&self) -> Result<(), Error> {
        self.0.sync().await
    }

    fn purge_log(&self) -> &PurgeLog {
        self.0.purge_log()
    }

    async fn scan(&self, visitor: &mut impl Visitor<BoxHandle>) -> Result<(), Error> {
        self.0.scan(visitor).await
    }

    fn usage(&self) -> Option<Usage> {
        self.0.usage()
    }
}

impl EntryWriter for BoxWriter {
    async fn write(&mut self, chunk: Bytes) -> Result<(), Error> {
        self.0.write(chunk).await
    }

    async fn finish(self, trailers: Option<HeaderMap>) -> Result<(), Error> {
        self.0.finish(None, trailers).await
    }

    async fn finish_with(self, head: StoredHead, trailers: Option<HeaderMap>) -> Result<(), Error> {
        self.0.finish(Some(head), trailers).await
    }
}
