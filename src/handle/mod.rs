//! A way into a cache from outside of its requests.

mod inspect;
mod list;
mod put;
mod variant;

use std::{fmt, sync::Arc};

#[cfg(feature = "admin")]
pub(crate) use self::variant::get;
pub use self::{
    inspect::{Inspected, Inspection},
    list::{Cursor, List, Listed, Page},
};
use crate::{
    BoxFuture, Error,
    purge::{Purge, PurgeStream, Purged},
    shared::Core,
    stats::Stats,
    storage::CacheManager,
};

/// A way into a cache from outside of its requests. Clones are the same handle; it outlives the
/// layer that gave it, and its services.
///
/// ```
/// # async fn example() -> Result<(), larder::Error> {
/// use larder::{CacheLayer, MemoryManager, Purge};
///
/// let cache = CacheLayer::new(MemoryManager::new(64 << 20));
/// let handle = cache.handle();
/// handle.purge(Purge::url("https://a.example/report")?).await?;
///
/// let purged = handle.purge(Purge::tag("reports").by("upload")).await?;
/// println!("{} responses have gone", purged.swept().await?);
/// # Ok(())
/// # }
/// ```
pub struct CacheHandle<M> {
    pub(crate) core: Arc<Core<M>>,
}

impl<M: CacheManager> CacheHandle<M> {
    pub(crate) fn new(core: Arc<Core<M>>) -> Self {
        Self { core }
    }

    /// Takes out what `purge` selects. When this returns, no later request sees it, and nothing that
    /// was on its way from the origin will be served to one: at once, whatever the number of entries.
    /// Their room is freed afterwards, in the background where an executor runs it;
    /// [`Purged::swept`] waits for that and says how many there were.
    ///
    /// Where the log of purges outlives the process (as that of `DiskManager`) it is written
    /// before this returns, and a [predicate](Purge::matching), which cannot be written, takes as long
    /// as the walk through the store.
    ///
    /// Dropped before it returns, the purge has taken place if this was polled, but may be forgotten by
    /// a restart.
    ///
    /// # Errors
    ///
    /// If the store could not be told. Even then nothing of it is served while the process runs.
    /// [`Error::is_unpublished`] if the layer is attached to a [bus](crate::CacheLayer::bus) that has not
    /// taken it: others may not hear of it before the next attempt, which the executor makes.
    /// [`Error::is_unsupported`] for a [soft](Purge::soft) predicate where the log outlives the
    /// process, and [`Error::is_invalid`] for a [variant](Purge::variant) whose requests pass by the
    /// cache, and for a predicate that others should hear of: then nothing has happened.
    pub async fn purge(&self, purge: Purge) -> Result<Purged, Error> {
        self.core.follow(true);
        let purge = purge.resolved(&self.core.policy);
        let shared = self.to_share(&purge)?;
        if purge.as_variant().is_some() {
            let purged = self.purge_variant(purge).await?;
            self.tell_others(shared).await?;
            return Ok(purged);
        }
        let (log, sweeper) = (&self.core.purges, self.core.sweeper());
        if purge.is_dry_run() {
            let count =
                move || -> BoxFuture<_> { Box::pin(sweeper.clone().count_only(purge.clone())) };
            return Ok(Purged::new(log.position(), count));
        }
        let must_be_swept = purge.is_closure() && log.is_kept();
        if must_be_swept && purge.is_soft() {
            return Err(Error::unsupported());
        }
        let tally = log.append_counted(purge, self.core.clock.now().wall());
        let (counting, counted) = (sweeper.clone(), tally.clone());
        let count = move || -> BoxFuture<_> { Box::pin(counting.clone().count(counted.clone())) };
        let purged = Purged::new(tally.seq(), count);
        let (kept, told) = (log.sync().await, self.tell_others(shared).await);
        kept?;
        if must_be_swept {
            sweeper.count(tally).await?;
        } else {
            self.core.sweep();
        }
        told.map(|()| purged)
    }

    /// What others are to hear of a purge, if anything.
    fn to_share(&self, purge: &Purge) -> Result<Option<Purge>, Error> {
        let is_shared = self.core.bus.is_some() && !purge.is_dry_run() && !purge.is_only_here();
        is_shared.then(|| purge.clone().for_others()).transpose()
    }

    async fn tell_others(&self, shared: Option<Purge>) -> Result<(), Error> {
        let core = &self.core;
        let (Some(bus), Some(purge)) = (&core.bus, shared) else { return Ok(()) };
        let seq = bus.post(purge);
        bus.deliver(seq, &core.clock, &core.uncounted, core.cut_off.max_lag).await
    }

    /// Up to where purges of other caches have taken effect here, and are kept if the store's purges
    /// outlive the process: for [`CacheLayer::bus_after`](crate::CacheLayer::bus_after) of the next one.
    /// `None` without a bus, or before it was heard.
    pub fn bus_position(&self) -> Option<String> {
        self.core.bus.as_ref()?.position()
    }

    /// Takes out everything and frees its memory, without a walk. Gives the position of this purge in
    /// the log.
    ///
    /// # Errors
    ///
    /// If the store failed, or as with [`purge`](Self::purge) others could not be told. Even then nothing
    /// that was stored is served.
    pub async fn clear(&self) -> Result<u64, Error> {
        let seq = self.core.purges.append(Purge::everything());
        let kept = self.core.purges.sync().await;
        let told = self.tell_others(self.to_share(&Purge::everything())?).await;
        self.core.manager.clear().await?;
        kept.and(told).map(|()| seq)
    }

    /// Follows the log from now on: every purge of every layer over this store, what and by whom, and
    /// when it is swept how many went and how long that took.
    ///
    /// Up to 1 024 events are kept for a stream that is not read;
    /// [`PurgeEvent::Lagged`](crate::PurgeEvent::Lagged) tells how many it has missed.
    pub fn purges(&self) -> PurgeStream {
        self.core.purges.follow()
    }

    /// What is stored, and what has become of the requests so far.
    pub fn stats(&self) -> Stats {
        let core = &self.core;
        core.emit.witness.counters().stats(core.manager.usage(), &core.purges)
    }

    /// Waits until everything that was accepted is in place, so that the program may end: each
    /// response whose body has come to its end, also where the executor still writes it, and each
    /// purge. A body that nobody reads to its end is not waited for; [`shutdown`](Self::shutdown)
    /// waits for those that go on in the background.
    ///
    /// ```no_run
    /// # #[cfg(feature = "disk")]
    /// # async fn example() -> Result<(), larder::Error> {
    /// use larder::{CacheLayer, DiskManager};
    ///
    /// let cache = CacheLayer::new(DiskManager::open("/home/me/.cache/tool")?);
    /// // … requests …
    /// cache.handle().sync().await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// Without an executor nothing is written behind a body's back, and there is nothing to wait
    /// for but the store.
    ///
    /// # Errors
    ///
    /// If the store failed, or purges could not be kept.
    pub async fn sync(&self) -> Result<(), Error> {
        self.core.pending.drain().await;
        self.core.manager.sync().await?;
        self.core.purges.sync().await
    }

    /// Begins no new refresh, and waits until all has ended that goes on in the background: refreshes,
    /// writes, bodies whose clients have gone. Requests are served as before, those that would
    /// refresh something are answered stale as long as it may be used. A bus is still followed; streams of
    /// events of the module `admin` end.
    pub async fn shutdown(&self) {
        self.core.background.shut_down().await;
    }

    /// The store.
    pub fn manager(&self) -> &M {
        &self.core.manager
    }
}

impl<M> Clone for CacheHandle<M> {
    fn clone(&self) -> Self {
        Self { core: self.core.clone() }
    }
}

impl<M> fmt::Debug for CacheHandle<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CacheHandle").finish_non_exhaustive()
    }
}
