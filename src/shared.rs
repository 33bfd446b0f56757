use std::{ops::Range, sync::Arc, time::Duration};

use crate::{
    Clock, Error, Executor, Policy,
    admission::Uses,
    background::{Background, Limits},
    bus::{Attached, CutOff, Sink, Trust},
    clock::within,
    emit::Emit,
    fill::Means,
    flight::Disconnect,
    log::Budget,
    observe::{Event, Operation},
    pending::Pending,
    purge::{Purge, PurgeLog},
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
    /// The same, for what a shutdown does not wait for.
    pub(crate) uncounted: Arc<dyn Executor>,
    pub(crate) emit: Arc<Emit>,
    pub(crate) store_timeout: Duration,
    pub(crate) waits: Waits,
    pub(crate) budget: Arc<Budget>,
    pub(crate) background: Arc<Background>,
    pub(crate) pending: Pending,
    pub(crate) uses: Arc<Uses>,
    pub(crate) bus: Option<Arc<Attached>>,
    pub(crate) cut_off: CutOff,
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
    #[inline]
    pub(crate) fn read(&self, entry: &Entry<M::Handle>, range: Range<u64>) -> StoredBody {
        let mut body = self.manager.read(entry, range);
        // Not returned by itself: a hit feels each time that it is moved.
        if !body.is_in_memory() {
            let witness = self.emit.witness.clone();
            body = body.on_error(move |error| witness.store_failed(Operation::Read, error));
        }
        body
    }

    /// Sweeps in the background, for as long as anybody is left to sweep for.
    pub(crate) fn sweep(self: &Arc<Self>) {
        let core = Arc::downgrade(self);
        let sweeper = move || Some(core.upgrade()?.sweeper());
        Sweeper::in_background(&self.purges, &*self.executor, sweeper);
    }

    /// Has the bus followed, if nobody does. Where no executor can, what there is is heard now, if the
    /// caller `polls`.
    pub(crate) fn follow(&self, polls: bool) {
        if let Some(bus) = self.bus.as_ref().filter(|bus| bus.is_parked()) {
            bus.drive(|| self.sink(), &*self.uncounted, polls);
        }
    }

    /// Whether what is stored can be vouched for.
    pub(crate) fn trust(&self) -> Trust {
        let Some(bus) = &self.bus else { return Trust::Full };
        self.follow(true);
        bus.trust(self.cut_off, &*self.clock)
    }

    /// Tells other caches what the origin has purged here.
    pub(crate) async fn announce(&self, purges: impl Iterator<Item = Purge>) {
        let Some(bus) = &self.bus else { return };
        if purges.map(|purge| bus.post(purge)).max().is_some() {
            bus.announce(&self.clock, &*self.uncounted, self.cut_off.max_lag).await;
        }
    }

    /// Where purges of others take effect, for as long as the bus is followed.
    fn sink(&self) -> Sink {
        let (log, executor, sweeper) = (self.purges.clone(), self.executor.clone(), self.sweeper());
        let sweep = move || {
            let sweeper = sweeper.clone();
            Sweeper::in_background(&log, &*executor, || Some(sweeper));
        };
        Sink {
            log: self.purges.clone(),
            policy: self.policy.clone(),
            clock: self.clock.clone(),
            sweep: Box::new(sweep),
        }
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
