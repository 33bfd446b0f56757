use std::{ops::Range, sync::Arc, time::Duration};

use crate::{
    Clock, Error, Executor, Policy,
    admission::Uses,
    background::{Background, Limits},
    clock::within,
    emit::Emit,
    fill::Means,
    flight::Disconnect,
    log::Budget,
    observe::{Event, Operation},
    pending::Pending,
    purge::PurgeLog,
    storage::{CacheManager, Entry, StoredBody},
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
    pub(crate) emit: Arc<Emit>,
    pub(crate) store_timeout: Duration,
    pub(crate) waits: Waits,
    pub(crate) budget: Arc<Budget>,
    pub(crate) background: Arc<Background>,
    pub(crate) pending: Pending,
    pub(crate) uses: Arc<Uses>,
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
        let (manager, log, clock) = (&self.manager, &self.purges, &self.clock);
        Sweeper::new(manager.clone(), log.clone(), clock.clone(), self.emit.witness.clone())
    }

    /// The bytes of an entry's body.
    pub(crate) fn read(&self, entry: &Entry<M::Handle>, range: Range<u64>) -> StoredBody {
        let body = self.manager.read(entry, range);
        if body.is_in_memory() {
            return body;
        }
        let witness = self.emit.witness.clone();
        body.on_error(move |error| witness.store_failed(Operation::Read, error))
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
        operation: Operation,
        call: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        let result = self.no_longer(call).await;
        if let Err(error) = &result {
            self.emit.witness.store_failed(operation, error);
        }
        result
    }

    /// Waits for something else, as long.
    pub(crate) async fn no_longer<T>(
        &self,
        call: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        within(&*self.clock, self.store_timeout, call).await
    }

    pub(crate) fn tell(&self, event: &Event<'_>) {
        self.emit.witness.tell(event);
    }

    pub(crate) fn means(&self) -> Means {
        Means {
            clock: self.clock.clone(),
            executor: self.executor.clone(),
            store_timeout: self.store_timeout,
            slow_reader_timeout: self.waits.slow_reader_timeout,
            pending: self.pending.clone(),
            witness: self.emit.witness.clone(),
        }
    }
}
