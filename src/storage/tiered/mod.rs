mod change;
mod climb;
mod forget;
mod handle;
mod hearing;
mod look;
mod seen;
mod writer;

use std::{fmt, ops::Range, sync::Arc, time::Duration};

use self::{
    forget::AtEnd,
    handle::{At, Through, with},
    hearing::Hearing,
    look::now,
    seen::Seen,
};
pub use self::{handle::TieredHandle, writer::TieredWriter};
use super::{CacheManager, Entry, Error, Fences, Found, StoredBody, Usage, Visitor};
use crate::{
    Clock, SystemClock,
    clock::within,
    policy::{CacheKey, Placement, Secret, StoredHead, VariantKey, Wanted},
    purge::PurgeLog,
};

/// Memory before a slower store: what is asked for often is answered from memory, and all of it
/// survives in the slow tier.
///
/// Clones are the same store.
///
/// - A look-up asks the fast tier first, and if that has nothing the slow one, for at most
///   [`slow_timeout`](Self::slow_timeout). A hit in memory asks the slow tier nothing.
/// - A response is written to both as it comes. One that is large goes to the slow tier alone
///   ([`fast_entry_bytes`](Self::fast_entry_bytes)). A tier that fails is left behind; the response is
///   stored if one of them has it.
/// - What is read whole from the slow tier for the second time in a while is copied into the fast one
///   on its way to the client. Nobody waits for that, and nothing is copied if the client leaves.
/// - [`update`](CacheManager::update), [`remove`](CacheManager::remove),
///   [`delete`](CacheManager::delete) and [`clear`](CacheManager::clear) change both. Whatever makes
///   it doubtful that the fast tier has what the slow one has empties the resource in the fast one.
/// - Secret and log of purges are the slow tier's; those of the fast one are not used.
///
/// ```no_run
/// # #[cfg(feature = "disk")] {
/// use larder::{CacheLayer, DiskManager, MemoryManager, storage::Tiered};
///
/// let disk = DiskManager::open("/var/cache/site")?;
/// let cache = CacheLayer::new(Tiered::new(MemoryManager::new(64 << 20), disk));
/// # }
/// # Ok::<(), larder::Error>(())
/// ```
///
/// [`storage`](super#a-small-server) has a recipe with `stale-while-revalidate`.
///
/// # Which tiers
///
/// The fast tier has to answer when it is first asked, as [`MemoryManager`](crate::MemoryManager)
/// does: one that has to be waited for is given nothing to keep. Both have to tell what their entries are
/// ([`CacheManager::locate`]), as the stores of this crate do: from a slow tier that does not nothing
/// is copied, and in a fast one that does not a change finds only its own entry, so that an update is
/// refused there and falls to the slow tier's.
///
/// # Time limits
///
/// [`CacheLayer::store_timeout`](crate::CacheLayer::store_timeout) bounds every call to a store, so
/// a request waits for the shorter of both; it is served from the origin then, with the detail
/// `store-timeout`. `slow_timeout` bounds beyond that what a response that is being stored waits for
/// the slow tier, while the fast one can still take it. `delete`, `clear` and `sync` have no limit but the
/// caller's: they are not done before the slow tier has done them.
///
/// # Several processes over one slow tier
///
/// What one of them purges or invalidates the others' memory serves for 10 milliseconds more at
/// most: so often a hit in memory sees whether the slow tier's log has moved. Over Redis it is as long
/// as the message takes, and `RedisOptions::max_purge_lag` bounds it. In the process
/// that purges it is gone at once. A newer response that another process has stored is seen when the
/// older one is no longer fresh, or has left memory.
///
/// # Where one resource has several sets of `Vary`
///
/// A hit in memory is served without asking whether the slow tier has another response that the
/// request selects by another set of names. One that is newer can be hidden so if it was too large for
/// memory, or has left it; what is served is fresh all the same.
///
/// # When the slow tier fails
///
/// Requests go on: from memory what is there, from the origin what is not. A response that only the
/// fast tier could take is lost when that lets it go, and the one that it replaced may then be found in
/// the slow tier again, as in any store that could not take a newer one. A `delete` that
/// fails is an error, for which the layer makes a record in the log of purges.
pub struct Tiered<M, D> {
    inner: Arc<Inner<M, D>>,
}

/// What clones share.
struct Inner<M, D> {
    fast: M,
    slow: D,
    /// Refuses what would put into the fast tier what the slow one no longer has.
    fences: Fences,
    seen: Arc<Seen>,
    hearing: Arc<Hearing>,
    clock: Arc<dyn Clock>,
    slow_timeout: Duration,
    fast_entry_bytes: u64,
}

impl<M: CacheManager, D: CacheManager> Tiered<M, D> {
    /// `fast` before `slow`.
    pub fn new(fast: M, slow: D) -> Self {
        let inner = Inner {
            fast_entry_bytes: fast.max_entry_bytes(),
            fast,
            slow,
            fences: Fences::new(),
            seen: Arc::default(),
            hearing: Arc::new(Hearing::new()),
            clock: Arc::new(SystemClock),
            slow_timeout: Duration::from_millis(50),
        };
        Self { inner: Arc::new(inner) }
    }

    /// How long the slow tier may take for a look-up, an update, or a part of a response. Late is a
    /// miss. Default: 50 milliseconds, as much as the layer's
    /// [`store_timeout`](crate::CacheLayer::store_timeout).
    pub fn slow_timeout(self, timeout: Duration) -> Self {
        self.set(|inner| inner.slow_timeout = timeout)
    }

    /// The largest body for the fast tier, in bytes; larger ones are in the slow tier alone. Default, and
    /// at most: what the fast tier takes.
    pub fn fast_entry_bytes(self, bytes: u64) -> Self {
        self.set(|inner| inner.fast_entry_bytes = bytes.min(inner.fast.max_entry_bytes()))
    }

    /// Takes the time for these limits from `clock`. Default:
    /// [`SystemClock`].
    pub fn clock(self, clock: impl Clock) -> Self {
        self.set(|inner| {
            inner.clock = Arc::new(clock);
            inner.hearing = Arc::new(Hearing::by(inner.clock.clone()));
        })
    }

    /// The fast tier.
    pub fn fast(&self) -> &M {
        &self.inner.fast
    }

    /// The slow tier.
    pub fn slow(&self) -> &D {
        &self.inner.slow
    }

    fn set(mut self, change: impl FnOnce(&mut Inner<M, D>)) -> Self {
        change(Arc::make_mut(&mut self.inner));
        self
    }
}

impl<M: CacheManager, D: CacheManager> Inner<M, D> {
    /// Waits for the slow tier as long as one may.
    async fn within<T>(&self, call: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        within(&*self.clock, self.slow_timeout, call).await
    }
}

impl<M: CacheManager, D: CacheManager> CacheManager for Tiered<M, D> {
    type Handle = TieredHandle<M::Handle, D::Handle>;
    type Writer = TieredWriter<M, D>;

    fn secret(&self) -> &Secret {
        self.inner.slow.secret()
    }

    fn max_entry_bytes(&self) -> u64 {
        self.inner.slow.max_entry_bytes()
    }

    fn is_in_memory(&self) -> bool {
        // The fast tier bounds what it holds by itself. What is too large for it is not held.
        self.inner.slow.is_in_memory()
    }

    #[inline]
    fn get_now(&self, wanted: &Wanted<'_>) -> Option<Result<Found<Self::Handle>, Error>> {
        if let Some(found) = self.inner.find_fast(wanted) {
            return Some(Ok(found));
        }
        let ticket = self.inner.fences.enter(wanted.key());
        let found = self.inner.slow.get_now(wanted)?;
        Some(found.map(|found| climb::found(&self.inner, wanted, found, ticket)))
    }

    async fn get(&self, wanted: &Wanted<'_>) -> Result<Found<Self::Handle>, Error> {
        let inner = &*self.inner;
        if let Some(found) = inner.find_fast(wanted) {
            return Ok(found);
        }
        let has_missed_purges = !inner.slow.purge_log().is_current();
        let ticket = inner.fences.enter(wanted.key());
        let found = match inner.within(inner.slow.get(wanted)).await {
            Ok(found) => found,
            Err(error) => return inner.find_unheard(wanted).ok_or(error),
        };
        // The slow tier has heard of all purges now.
        if has_missed_purges
            && found.responses().is_empty()
            && let Some(found) = inner.find_fast(wanted)
        {
            return Ok(found);
        }
        Ok(climb::found(inner, wanted, found, ticket))
    }

    fn locate(&self, entry: &Entry<Self::Handle>) -> Option<(CacheKey, VariantKey)> {
        match &entry.handle().0 {
            At::Fast(entry) => self.inner.fast.locate(entry),
            At::Slow(handle, _) => self.inner.slow.locate(&with(entry, handle)),
        }
    }

    #[inline]
    fn read(&self, entry: &Entry<Self::Handle>, range: Range<u64>) -> StoredBody {
        let (handle, climb) = match &entry.handle().0 {
            At::Fast(entry) => return self.inner.fast.read(entry, range),
            At::Slow(handle, climb) => (handle, climb),
        };
        let is_whole = range == (0..entry.response().length());
        let body = self.inner.slow.read(&with(entry, handle), range);
        match climb {
            Some(climb) if is_whole && self.inner.seen.again(climb.placement()) => {
                climb::copy(&self.inner.fast, climb, entry.response(), body)
            }
            _ => body,
        }
    }

    async fn put(&self, placement: Placement, head: StoredHead) -> Result<Self::Writer, Error> {
        TieredWriter::begin(self.inner.clone(), placement, head).await
    }

    async fn update(&self, entry: &Entry<Self::Handle>, head: StoredHead) -> Result<bool, Error> {
        match &entry.handle().0 {
            At::Fast(entry) => self.inner.update_fast(entry, head).await,
            At::Slow(handle, _) => self.inner.update_slow(&with(entry, handle), head).await,
        }
    }

    async fn remove(&self, entry: &Entry<Self::Handle>) -> Result<bool, Error> {
        match &entry.handle().0 {
            At::Fast(entry) => self.inner.remove_fast(entry).await,
            At::Slow(handle, _) => self.inner.remove_slow(&with(entry, handle)).await,
        }
    }

    async fn delete(&self, key: &CacheKey) -> Result<(), Error> {
        let _forgotten = self.inner.forgetting(key);
        self.inner.slow.delete(key).await
    }

    async fn clear(&self) -> Result<(), Error> {
        let Inner { fences, fast, slow, .. } = &*self.inner;
        let _forgotten = AtEnd::new(|| drop(fences.clear(|| now(fast.clear()))));
        slow.clear().await
    }

    async fn sync(&self) -> Result<(), Error> {
        self.inner.fast.sync().await?;
        self.inner.slow.sync().await
    }

    fn purge_log(&self) -> &PurgeLog {
        self.inner.slow.purge_log()
    }

    /// What the slow tier has: all but what it could not take.
    async fn scan(&self, visitor: &mut impl Visitor<Self::Handle>) -> Result<(), Error> {
        self.inner.slow.scan(&mut Through::new(visitor)).await
    }

    fn usage(&self) -> Option<Usage> {
        self.inner.slow.usage()
    }
}

impl<M, D> Clone for Tiered<M, D> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone() }
    }
}

impl<M: Clone, D: Clone> Clone for Inner<M, D> {
    fn clone(&self) -> Self {
        Self {
            fast: self.fast.clone(),
            slow: self.slow.clone(),
            fences: self.fences.clone(),
            seen: self.seen.clone(),
            hearing: self.hearing.clone(),
            clock: self.clock.clone(),
            slow_timeout: self.slow_timeout,
            fast_entry_bytes: self.fast_entry_bytes,
        }
    }
}

impl<M: fmt::Debug, D: fmt::Debug> fmt::Debug for Tiered<M, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tiered")
            .field("fast", &self.inner.fast)
            .field("slow", &self.inner.slow)
            .finish_non_exhaustive()
    }
}
