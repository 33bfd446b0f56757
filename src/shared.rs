use std::{sync::Arc, time::Duration};

use http::{HeaderName, response};

use crate::{
    Clock, Error, Executor, Policy,
    background::{Background, Limits},
    clock::within,
    fill::Means,
    flight::Disconnect,
    log::Budget,
    pending::Pending,
    policy::CacheStatus,
    purge::PurgeLog,
    stats::Counters,
    storage::CacheManager,
    sweep::Sweeper,
};

/// All that a layer's services share.
#[derive(Clone)]
pub(crate) struct Core<M> {
    pub(crate) policy: Policy,
    pub(crate) manager: M,
    pub(crate) purges: PurgeLog,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) executor: Arc<dyn Executor>,
    pub(crate) emit: Emit,
    pub(crate) store_timeout: Duration,
    pub(crate) waits: Waits,
    pub(crate) budget: Arc<Budget>,
    pub(crate) background: Arc<Background>,
    pub(crate) pending: Pending,
}

/// How long requests wait for each other, and how much of each other they keep.
#[derive(Clone, Debug)]
pub(crate) struct Waits {
    pub(crate) collapse_timeout: Duration,
    pub(crate) slow_reader_timeout: Duration,
    pub(crate) refresh_timeout: Duration,
    pub(crate) kept_bytes: u64,
    pub(crate) disconnect: Disconnect,
    pub(crate) refreshes: Limits,
}

impl Default for Waits {
    fn default() -> Self {
        Self {
            collapse_timeout: Duration::from_secs(10),
            slow_reader_timeout: Duration::from_secs(10),
            refresh_timeout: Duration::from_secs(30),
            kept_bytes: 4 << 20,
            disconnect: Disconnect::Finish,
            refreshes: Limits { in_all: 64, per_authority: 16 },
        }
    }
}

impl<M: CacheManager> Core<M> {
    pub(crate) fn sweeper(&self) -> Sweeper<M> {
        Sweeper::new(self.manager.clone(), self.purges.clone(), self.clock.clone())
    }

    /// Sweeps in the background, for as long as anybody is left to sweep for.
    pub(crate) fn sweep(self: &Arc<Self>) {
        let core = Arc::downgrade(self);
        let sweeper = move || Some(core.upgrade()?.sweeper());
        Sweeper::in_background(&self.purges, &*self.executor, sweeper);
    }
}

impl<M> Core<M> {
    /// Waits for the store, as long as a request may.
    pub(crate) async fn within<T>(
        &self,
        call: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        within(&*self.clock, self.store_timeout, call).await
    }

    pub(crate) fn means(&self) -> Means {
        Means {
            clock: self.clock.clone(),
            executor: self.executor.clone(),
            store_timeout: self.store_timeout,
            slow_reader_timeout: self.waits.slow_reader_timeout,
            pending: self.pending.clone(),
        }
    }
}

/// How a response tells what the cache did.
#[derive(Clone, Debug, Default)]
pub(crate) struct Emit {
    pub(crate) header: Option<Arc<str>>,
    pub(crate) extension: bool,
    pub(crate) counters: Arc<Counters>,
}

impl Emit {
    #[inline]
    pub(crate) fn emit(&self, head: &mut response::Parts, status: CacheStatus) {
        self.counters.count(status);
        if let Some(member) = self.header.as_deref().and_then(|name| status.to_member(name)) {
            head.headers.append(HeaderName::from_static("cache-status"), member);
        }
        if self.extension {
            head.extensions.insert(status);
        }
    }
}
