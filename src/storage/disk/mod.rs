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
//! a start, makes room, removes, syncs, and keeps the catalog.
//!
//! The first store that opens a directory owns it. Others are its guests: they know no more than what
//! they look for by its path, and what they have stored themselves. A resource is changed under a lock
//! on a file, so that compare-and-set holds between processes, too. A purge is in the log before it
//! returns, and every look-up sees whether the log is as it was. A deletion in a directory that has
//! guests is in the log, too: it refuses whoever is writing in another process.

#[cfg(not(unix))]
compile_error!("the feature `disk` needs a Unix system");

mod access;
mod body;
mod cached;
mod catalog;
mod census;
mod claim;
mod commit;
mod directory;
mod draft;
mod entry;
mod fence;
mod keeper;
mod layout;
mod manager;
mod name;
mod news;
mod options;
mod pool;
#[cfg(feature = "test-suite")]
pub mod probe;
mod purges;
mod reader;
mod recent;
mod records;
mod scan;
mod spare;
mod store;
mod table;
mod threads;
mod writer;

use std::{
    fmt,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use self::{
    catalog::Catalog,
    claim::Claim,
    directory::Directory,
    fence::Fences,
    keeper::Bell,
    pool::Queue,
    purges::{Keeper, PurgeFile},
    reader::Buffers,
    recent::Recent,
    records::Records,
    spare::Spares,
    store::Store,
    threads::Threads,
};
pub use self::{
    entry::DiskHandle,
    options::{DiskOptions, Durability},
    writer::DiskWriter,
};
use super::Error;
use crate::{pending::Pending, policy::Secret, purge::PurgeLog};

/// A store on disk: for what must survive a restart, or is larger than memory. Unix only.
///
/// Clones are the same store. The directory is private (0700), and so are its files: they hold
/// responses as they came. They are checked against damage, not against somebody who can write them.
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
/// # What purges cost
///
/// A purge is a record of 17 bytes and its selector in a file of the directory, one for each selector:
/// the same URL purged again takes the place of the record before when the file is next written anew.
/// In memory a record goes when the sweeper has taken out what it selects. Here it stays: a
/// power failure may bring back what was removed, and one process does not know what another one is
/// about to put in place. Only the record refuses both.
///
/// Of URLs, hosts, tags and the like some 65 000 are held. With one more, the older half becomes "all
/// that was stored before": what is stored now is given up when between 32 768 and 65 536 other
/// selectors have been purged. At one new URL a second that is after 9 to 18 hours. A purge by
/// host, prefix or tag instead of many by URL is one record. The file is written anew at 131 072
/// records, which are 10 MB if each is a URL of 60 bytes.
///
/// # In a short program
///
/// A response is stored when its body has been read to the end;
/// [`CacheHandle::sync`](crate::CacheHandle::sync) waits for what is still being written. Such a
/// program needs no owner, and may run several times at once.
///
/// # In several processes
///
/// The first to open a directory owns it: it keeps the directory clean and within its bounds. Whoever
/// opens it meanwhile is a [guest](Self::is_guest), until it is opened again. Both read and write, and
/// all that a store promises holds between them: whole responses, compare-and-set, and after `purge`,
/// `delete` or `clear` has returned in one of them nothing older is found in any. What is weaker than
/// in one process:
///
/// - Two of them may ask the origin for the same response at once; one of both is kept.
/// - The bounds of a guest are about what it has stored itself. The owner counts that within a minute
///   or two, and when its guests have gone; without an owner nobody does.
/// - While there are guests, a deletion by an unsafe method costs a record in the log of purges, and
///   takes the resource in all namespaces and partitions.
/// - A purge may get a later position in the log than [`Purged::seq`](crate::Purged::seq) said, if
///   another process purged at the same moment.
/// - A process that is stopped while it holds a lock lets the others fail, for as long, after two
///   seconds: what they cannot store is a miss.
///
/// All processes must be on the same machine.
#[derive(Clone)]
pub struct DiskManager {
    inner: Arc<Inner>,
}

struct Inner {
    store: Arc<Store>,
    queue: Arc<Queue>,
    pending: Pending,
    buffers: Arc<Buffers>,
    secret: Secret,
    _threads: Threads,
    /// Given up when they have ended.
    _claim: Claim,
}

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
        let (directory, claim) = Directory::open(path, bell.clone())?;
        let (directory, is_owner) = (Arc::new(directory), claim.is_owner());
        let secret = directory.secret()?;
        let catalog = is_owner.then(|| Catalog::open(directory.clone()));
        let known = catalog.as_ref().map_or(0, Catalog::purges);
        let (file, kept) = PurgeFile::open(directory.clone(), known)?;
        let purge_file = Arc::new(file);
        let keeper = Keeper { file: purge_file.clone(), queue: queue.clone() };
        let store = Arc::new(Store {
            spares: Spares::new(directory.clone()),
            fences: Arc::new(Fences::open(&directory).map_err(Error::other)?),
            directory,
            records: if is_owner { Records::cataloged() } else { Records::default() },
            catalog: catalog.map(Mutex::new),
            options,
            purges: PurgeLog::restored(kept, keeper),
            purge_file,
            bell,
            reserved: Arc::new(AtomicU64::new(0)),
            is_paused: AtomicBool::new(false),
            damaged: AtomicU64::new(0),
            recent: Recent::default(),
        });
        let threads = Threads::start(store.clone(), queue.clone())?;
        let inner = Inner {
            store,
            queue,
            pending: Pending::default(),
            buffers: Arc::default(),
            secret,
            _threads: threads,
            _claim: claim,
        };
        Ok(Self { inner: Arc::new(inner) })
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

    /// Whether another store, of this process or another one, owns the directory. A guest stays one
    /// until it is opened again.
    pub fn is_guest(&self) -> bool {
        self.inner.store.catalog.is_none()
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
