use std::{fmt, sync::Arc};

use crate::{
    Error,
    purge::{Purge, Purged},
    shared::Core,
    storage::CacheManager,
};

/// A way into a cache from outside of its requests. Clones are the same handle; it outlives the
/// layer that gave it.
///
/// ```
/// # async fn example() -> Result<(), larder::Error> {
/// use larder::{CacheLayer, MemoryManager, Purge};
///
/// let cache = CacheLayer::new(MemoryManager::new(64 << 20));
/// let handle = cache.handle();
/// handle.purge(Purge::url("https://a.example/report")?).await?;
/// # Ok(())
/// # }
/// ```
pub struct CacheHandle<M> {
    core: Arc<Core<M>>,
}

impl<M: CacheManager> CacheHandle<M> {
    pub(crate) fn new(core: Arc<Core<M>>) -> Self {
        Self { core }
    }

    /// Takes out what `purge` selects. When this returns, no later request sees it, and nothing that
    /// was on its way from the origin will be served to one.
    ///
    /// # Errors
    ///
    /// If the store could not be told. Even then nothing of it is served while the process runs.
    pub async fn purge(&self, purge: Purge) -> Result<Purged, Error> {
        let purged = self.core.purges.append(purge.by(&self.core.policy));
        self.core.purges.sync().await?;
        Ok(purged)
    }

    /// Takes out everything and frees its memory.
    ///
    /// # Errors
    ///
    /// If the store failed. Even then nothing that was stored is served.
    pub async fn clear(&self) -> Result<Purged, Error> {
        let purged = self.core.purges.append(Purge::everything());
        let kept = self.core.purges.sync().await;
        self.core.manager.clear().await?;
        kept.map(|()| purged)
    }

    /// Begins no new refresh, and waits until all has ended that goes on in the background: refreshes,
    /// writes, bodies whose clients have gone. Requests are served as before, those that would
    /// refresh something are answered stale as long as it may be used.
    pub async fn shutdown(&self) {
        self.core.background.shut_down().await;
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
