//! The store that survives restarts.
//!
//! # Files
//!
//! Every response is a file, and a resource without `Vary` is nothing more. Files are named by 128
//! bits of BLAKE3 over their key; the full key is in the file, and compared. All numbers are little
//! endian.
//!
//! ```text
//! header    magic 8, version 2, kind 2, lengths of key 4, variant 4, slot 4, id 8, generation 8,
//!           CRC-32 over all of this and both keys 4
//! keys      CacheKey, VariantKey
//! slots     two, each: number 8, length 4, CRC-32 4, head (see the codec)
//! body
//! table     a CRC-32 for each 64 KiB of the body, begun with the id and the number of the piece
//! trailers
//! footer    length of the body 8, of the trailers 4, version 2, kind 2, id 8, CRC-32 4, magic 8
//! ```
//!
//! What is known only at the end of a body stands behind it, so that nothing has to be held back. A
//! 304 overwrites the older of the two slots. A file appears by a rename when it is whole, and is not
//! changed afterwards but for its slots. Each piece of a body is checked before it is handed out; a
//! file whose length is not what its footer says is not looked at further.
//!
//! A resource that has `Vary` has a file of another kind under its name: its index, with the header
//! and the key of any other file. Its responses, also one without `Vary`, have names made of
//! resource, generation and variant. A new index has a new generation, so that nothing of an older
//! one is found again.
//!
//! # Who does what
//!
//! What the system has in memory is read where it is asked for, on Linux; that never waits for the
//! disk. Else two threads read and write; they take jobs from a bounded queue. A look-up or a write that finds
//! it full fails, which is a miss; nobody waits for a place. A third thread sees what is there after
//! a start, makes room, removes and syncs.

#[cfg(not(unix))]
compile_error!("the feature `disk` needs a Unix system");

mod cached;
mod commit;
mod directory;
mod draft;
mod entry;
mod fence;
mod keeper;
mod layout;
mod name;
mod options;
mod pending;
mod pool;
#[cfg(feature = "test-suite")]
pub mod probe;
mod purges;
mod records;
mod scan;
mod spare;
mod store;
mod writer;

use std::{
    fmt,
    fs::File,
    ops::Range,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
};

use self::{
    commit::only_plain,
    directory::Directory,
    entry::{Record, Response, entry},
    fence::Fences,
    keeper::Bell,
    name::Name,
    pending::Pending,
    pool::{Need, Queue, lock},
    purges::{Keeper, PurgeFile},
    records::Records,
    spare::Spares,
    store::Store,
    writer::DiskReader,
};
pub use self::{
    entry::DiskHandle,
    options::{DiskOptions, Durability},
    writer::DiskWriter,
};
use super::{CacheManager, Entry, Error, Found, StoredBody, Usage, Visitor};
use crate::{
    policy::{CacheKey, Placement, Secret, StoredHead, VariantKey, Wanted},
    purge::PurgeLog,
};

/// A store on disk: for what must survive a restart, or is larger than memory. Unix only.
///
/// Clones are the same store. A directory belongs to one process at a time. It is private (0700),
/// and so are its files: they hold responses as they came. They are checked against damage, not
/// against somebody who can write them.
///
/// A restart loses nothing that was stored, and takes no time that depends on how much that is: what
/// is there is found at once, and counted in the background. Wrong bytes are never served, also after
/// `kill -9` or a power failure; what the latter may lose is [`Durability`]'s choice. Purges are on
/// disk before [`CacheHandle::purge`](crate::CacheHandle::purge) returns.
///
/// A full disk stops writing until there is space again, which the store makes by giving up what was
/// used longest ago; what is left is served on.
///
/// ```no_run
/// use larder::{CacheLayer, DiskManager};
///
/// let cache = CacheLayer::new(DiskManager::open("/var/cache/site")?);
/// # Ok::<(), larder::Error>(())
/// ```
///
/// [`storage`](super#a-small-server) has a recipe for a small server: sizes, durability, and what a full
/// disk does.
///
/// # In a short program
///
/// A response is stored when its body has been read to the end. [`sync`](Self::sync) waits for what
/// is still being written:
///
/// ```no_run
/// # async fn example() -> Result<(), larder::Error> {
/// use larder::DiskManager;
///
/// let store = DiskManager::open("/home/me/.cache/tool")?;
/// // … requests …
/// store.sync().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct DiskManager {
    inner: Arc<Inner>,
}

struct Inner {
    store: Arc<Store>,
    queue: Arc<Queue>,
    pending: Pending,
    secret: Secret,
    threads: Mutex<Vec<JoinHandle<()>>>,
    /// Keeps the directory, until all is done.
    held: File,
}

const IO_THREADS: usize = 2;

impl DiskManager {
    /// Opens the store in `directory` with the defaults of [`DiskOptions`].
    ///
    /// # Errors
    ///
    /// See [`DiskOptions::open`].
    pub fn open(directory: impl AsRef<Path>) -> Result<Self, Error> {
        DiskOptions::new().open(directory)
    }

    fn with_options(path: &Path, options: DiskOptions) -> Result<Self, Error> {
        let (bell, queue) = (Arc::new(Bell::default()), Arc::new(Queue::default()));
        let (directory, held) = Directory::open(path, bell.clone())?;
        let directory = Arc::new(directory);
        let secret = directory.secret()?;
        let (file, kept) = PurgeFile::open(directory.clone()).map_err(Error::other)?;
        let purge_file = Arc::new(file);
        let keeper = Keeper { file: purge_file.clone(), queue: queue.clone() };
        let store = Arc::new(Store {
            spares: Spares::new(directory.clone()),
            directory,
            fences: Arc::new(Fences::new()),
            records: Records::default(),
            options,
            purges: PurgeLog::restored(kept, keeper),
            purge_file,
            bell,
            reserved: Arc::new(AtomicU64::new(0)),
            is_paused: AtomicBool::new(false),
            damaged: AtomicU64::new(0),
            recent: Mutex::default(),
        });
        let inner = Arc::new(Inner {
            store: store.clone(),
            queue: queue.clone(),
            pending: Pending::default(),
            secret,
            threads: Mutex::default(),
            held,
        });
        for n in 0..IO_THREADS {
            let (store, queue) = (store.clone(), queue.clone());
            inner.start(format!("larder-io-{n}"), move || queue.work(&store))?;
        }
        inner.start("larder-keeper".into(), move || keeper::keep(&store))?;
        Ok(Self { inner })
    }

    /// What the files take of the file system. After a start this grows until all have been seen.
    pub fn bytes(&self) -> u64 {
        self.inner.store.records.bytes()
    }

    /// The number of files: one for a resource without `Vary`, else an index and one for each
    /// response.
    pub fn len(&self) -> u64 {
        self.inner.store.records.len()
    }

    /// Whether nothing is stored, as far as is known.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many damaged files have been found, and removed.
    pub fn damaged(&self) -> u64 {
        self.inner.store.damaged.load(Ordering::Relaxed)
    }

    /// Waits until every response that is being written now is in place, or given up. Drop bodies
    /// that you do not read on before.
    ///
    /// With [`Durability::Periodic`] what was written is also synced.
    ///
    /// # Errors
    ///
    /// If the disk could not be asked.
    pub async fn sync(&self) -> Result<(), Error> {
        self.inner.pending.drain().await;
        let work = self.inner.queue.run(Need::Required, |store, _| {
            keeper::sync_recent(store);
            Ok(())
        });
        work.await
    }
}

/// What was found of a resource without `Vary`.
fn plain(wanted: &Wanted<'_>, response: Response) -> Result<Found<DiskHandle>, Error> {
    let index = only_plain(response.generation)?;
    let variant = wanted.select(&index).next();
    Ok(Found::entries(variant.map(|variant| entry(wanted.key(), variant, response))))
}

impl Inner {
    fn start(&self, name: String, run: impl FnOnce() + Send + 'static) -> Result<(), Error> {
        let thread = thread::Builder::new().name(name).spawn(run).map_err(Error::other)?;
        lock(&self.threads).push(thread);
        Ok(())
    }
}

/// Ends the threads when they have done what was asked for, so that the directory is free.
impl Drop for Inner {
    fn drop(&mut self) {
        self.queue.close();
        self.store.bell.close();
        for thread in lock(&self.threads).drain(..) {
            // A task may drop the last clone when one of the threads wakes it.
            if thread.thread().id() != thread::current().id() {
                let _ = thread.join();
            }
        }
        // Not only closed: a child process may have been forked, and not have closed it yet.
        let _ = self.held.unlock();
    }
}

impl fmt::Debug for DiskManager {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DiskManager")
            .field("directory", &self.inner.store.directory.files())
            .field("bytes", &self.bytes())
            .finish_non_exhaustive()
    }
}

impl CacheManager for DiskManager {
    type Handle = DiskHandle;
    type Writer = DiskWriter;

    fn secret(&self) -> &Secret {
        &self.inner.secret
    }

    fn max_entry_bytes(&self) -> u64 {
        self.inner.store.options.entry_bytes()
    }

    fn get_now(&self, wanted: &Wanted<'_>) -> Option<Result<Found<DiskHandle>, Error>> {
        let (store, key) = (&self.inner.store, wanted.key());
        if store.records.rules_out(Name::resource(key)) {
            return Some(Ok(Found::nothing()));
        }
        let index = match store.find_now(key)? {
            None => return Some(Ok(Found::nothing())),
            Some(Record::Response(response)) => return Some(plain(wanted, *response)),
            Some(Record::Index(index)) => index,
        };
        let mut found = Vec::new();
        for variant in wanted.select(&index) {
            let response = store.find_response_now(key, index.generation(), &variant)?;
            found.extend(response.map(|response| entry(key, variant, *response)));
        }
        Some(Ok(Found::entries(found)))
    }

    async fn get(&self, wanted: &Wanted<'_>) -> Result<Found<DiskHandle>, Error> {
        if let Some(found) = self.get_now(wanted) {
            return found;
        }
        let (own, key) = (wanted.key().clone(), wanted.key());
        let found = self.inner.queue.run(Need::Optional, move |store, _| store.find(&own)).await?;
        let index = match found {
            None => return Ok(Found::nothing()),
            Some(Record::Response(response)) => return plain(wanted, *response),
            Some(Record::Index(index)) => index,
        };
        let variants: Vec<VariantKey> = wanted.select(&index).collect();
        let (own, generation) = (key.clone(), index.generation());
        let found = self.inner.queue.run(Need::Optional, move |store, _| {
            let mut found = Vec::with_capacity(variants.len());
            for variant in variants {
                let response = store.find_response(&own, generation, &variant)?;
                found.extend(response.map(|response| (variant, response)));
            }
            Ok(found)
        });
        let entries = found.await?.into_iter();
        Ok(Found::entries(entries.map(|(variant, response)| entry(key, variant, *response))))
    }

    fn read(&self, entry: &Entry<DiskHandle>, range: Range<u64>) -> StoredBody {
        let DiskHandle(located) = entry.handle();
        if let Some((bytes, trailers)) = located.body.small() {
            return StoredBody::from_range(&bytes, range, trailers.as_ref());
        }
        let end = range.end.min(located.body.length());
        let start = range.start.min(end);
        let reader = DiskReader::new(self.inner.clone(), located.clone(), start..end);
        StoredBody::from_reader(end - start, reader)
    }

    async fn put(&self, placement: Placement, head: StoredHead) -> Result<DiskWriter, Error> {
        DiskWriter::new(self.inner.clone(), placement, &head)
    }

    async fn update(&self, entry: &Entry<DiskHandle>, head: StoredHead) -> Result<bool, Error> {
        let located = entry.handle().0.clone();
        let work =
            self.inner.queue.run(Need::Optional, move |store, _| store.update(&located, &head));
        work.await
    }

    async fn remove(&self, entry: &Entry<DiskHandle>) -> Result<bool, Error> {
        let located = entry.handle().0.clone();
        self.inner.queue.run(Need::Required, move |store, _| store.remove(&located)).await
    }

    async fn delete(&self, key: &CacheKey) -> Result<(), Error> {
        // At once, also if nobody waits for the rest.
        self.inner.store.fences.raise(Name::resource(key));
        let key = key.clone();
        let work =
            self.inner.queue.run(Need::Required, move |store, waiting| store.delete(&key, waiting));
        work.await
    }

    async fn clear(&self) -> Result<(), Error> {
        self.inner.store.fences.raise_all();
        let work =
            self.inner.queue.run(Need::Required, move |store, waiting| store.clear(Some(waiting)));
        work.await
    }

    fn purge_log(&self) -> &PurgeLog {
        &self.inner.store.purges
    }

    async fn scan(&self, visitor: &mut impl Visitor<DiskHandle>) -> Result<(), Error> {
        scan::scan(&self.inner, visitor).await
    }

    fn usage(&self) -> Option<Usage> {
        Some(Usage::new(self.len(), self.bytes()))
    }
}
