use std::{
    fmt,
    sync::{
        Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use super::{
    events::{Callback, PurgeEvent, PurgeRecord, PurgeStream, Ring},
    selector::Purge,
    sweeps::{Counting, Expected, Outcome, Sweeps, Tally, Turn},
    table::{Table, Verdict},
};
use crate::{
    Error,
    clock::{BoxFuture, Clock, SystemClock},
    inflight::Inflight,
    policy::{CacheKey, StoredHead},
};

/// The ordered log of purges. Every stored response carries the position at which its fill began:
/// what a later record selects is not served.
///
/// Clones are the same log. It holds the newest record of each selector: a hit looks up its own
/// selectors, whatever the number of others, and only if there are records that it has not been
/// compared with. In memory a record leaves when the sweeper has taken out what it selects; a soft one
/// stays. Of URLs, hosts, tags and the like there are at most 65 536, of prefixes and predicates 1 000;
/// beyond that the oldest become "everything older". The log also knows what is on its way from the origin, for all layers over one
/// store.
#[derive(Clone, Default)]
pub struct PurgeLog(pub(super) Arc<Log>);

#[derive(Default)]
pub(super) struct Log {
    pub(super) newest: AtomicU64,
    pub(super) inflight: Arc<Inflight>,
    pub(super) table: Apart,
    pub(super) ring: Arc<Ring>,
    pub(super) sweeps: Arc<Sweeps>,
    /// How many records were predicates.
    pub(super) predicates: AtomicU64,
    /// Whether what is swept leaves the table: then an entry must keep what it was found good for.
    pub(super) forgets: bool,
    pub(super) keeper: Option<Box<dyn Persist>>,
}

/// The table and its lock, in no line of the processor's caches that a hit reads: a walk takes the lock
/// for each entry, and so does the first hit of an entry after a purge.
#[derive(Default)]
#[repr(align(128))]
pub(super) struct Apart(pub(super) RwLock<Table>);

/// Keeps a log's records where they outlive the process.
pub(crate) trait Persist: Send + Sync {
    /// Is ready when all that is in `log` now is kept.
    fn persist(&self, log: &PurgeLog) -> BoxFuture<Result<(), Error>>;

    /// Whether nobody else has kept a record there that the log does not have.
    fn is_current(&self) -> bool;

    /// If not: whether what it may have taken out may be served when the origin says that it is good.
    fn allows_validation(&self) -> bool {
        false
    }

    /// Hears of a record that was appended then.
    fn note(&self, purge: &Purge, at: SystemTime) {
        let _ = (purge, at);
    }
}

impl PurgeLog {
    /// An empty log.
    pub fn new() -> Self {
        Self::default()
    }

    /// The log of a store whose heads stay the same as long as they are there: then a record can leave
    /// the log when it has been swept.
    #[cfg(feature = "memory")]
    pub(crate) fn forgetting() -> Self {
        Self(Arc::new(Log { forgets: true, ..Log::default() }))
    }

    /// The position of the newest record.
    #[inline]
    pub fn position(&self) -> u64 {
        self.0.newest.load(Ordering::Acquire)
    }

    /// Appends a record, and gives its position. When this returns, nothing that it selects is served
    /// to a request that comes later, and what is being fetched now will not be served to one either. A
    /// log that outlives the process has the record when [`sync`](Self::sync) has returned.
    ///
    /// A tag or group without a namespace is that of the responses that have none. A
    /// [dry run](Purge::dry_run) and a single [variant](Purge::variant) are not for a log: they change
    /// nothing.
    pub fn append(&self, purge: Purge) -> u64 {
        self.enter_record(purge, SystemClock.now().wall()).seq
    }

    /// The same, of which the sweeper is to say how many went.
    pub(crate) fn append_counted(&self, purge: Purge, at: SystemTime) -> Arc<Tally> {
        let tally = Arc::new(Tally::new(self.enter_record(purge, at)));
        self.0.sweeps.add(tally.clone());
        tally
    }

    /// The same, of which nothing is left to be swept.
    pub(crate) fn append_done(&self, purge: Purge, at: SystemTime, count: u64) -> u64 {
        let record = self.enter_record(purge, at);
        let (seq, took) = (record.seq, Duration::ZERO);
        self.0.ring.push(PurgeEvent::Swept { record, count, took });
        self.0.ring.tell();
        seq
    }

    fn enter_record(&self, purge: Purge, at: SystemTime) -> PurgeRecord {
        let mut table = self.table_mut();
        let seq = self.position() + 1;
        table.append(seq, &purge, at);
        self.0.predicates.fetch_add(u64::from(purge.is_closure()), Ordering::AcqRel);
        // Under the lock and last: who sees the position sees the record.
        self.0.newest.store(seq, Ordering::Release);
        if let Some(keeper) = &self.0.keeper {
            keeper.note(&purge, at);
        }
        let record = PurgeRecord { seq, purge: Arc::new(purge), at };
        self.0.ring.push(PurgeEvent::Purged(record.clone()));
        drop(table);
        self.0.ring.tell();
        record
    }

    pub(crate) fn inflight(&self) -> &Arc<Inflight> {
        &self.0.inflight
    }

    /// Waits until all records are where they outlive the process, if they have such a place.
    ///
    /// # Errors
    ///
    /// If they could not be put there. They hold for as long as the process runs.
    pub async fn sync(&self) -> Result<(), Error> {
        match &self.0.keeper {
            Some(keeper) => keeper.persist(self).await,
            None => Ok(()),
        }
    }

    /// Whether it has all records that others have kept where it is kept. If not, a look into the
    /// store takes them in.
    pub(crate) fn is_current(&self) -> bool {
        self.0.keeper.as_ref().is_none_or(|keeper| keeper.is_current())
    }

    /// Whether what is kept elsewhere may be served while that cannot be done, if the origin says
    /// that it is good.
    pub(crate) fn allows_validation(&self) -> bool {
        self.0.keeper.as_ref().is_some_and(|keeper| keeper.allows_validation())
    }

    /// Whether records outlive the process.
    pub(crate) fn is_kept(&self) -> bool {
        self.0.keeper.is_some()
    }

    /// Whether a response that is stored under `key` may still be served.
    #[inline]
    pub(crate) fn judge(&self, key: &CacheKey, head: &StoredHead) -> Verdict {
        match head.good_at() >= self.position() {
            true => Verdict::Good,
            false => self.judge_anew(key, head),
        }
    }

    fn judge_anew(&self, key: &CacheKey, head: &StoredHead) -> Verdict {
        let (newest, good_at) = (self.position(), head.good_at());
        let table = self.table();
        if good_at.max(head.spared_at()) < table.retired() {
            // What selected it may have been forgotten.
            return Verdict::Gone;
        }
        let verdict = table.judge(key, head, good_at);
        match verdict {
            Verdict::Good => head.found_good_at(newest),
            Verdict::Stale(_) => head.was_spared_at(newest),
            Verdict::Gone => {}
        }
        verdict
    }

    /// Whether a response that is being stored may be. What a soft purge selects is stored, and stale.
    pub(crate) fn admits(&self, key: &CacheKey, head: &StoredHead) -> bool {
        self.judge(key, head) != Verdict::Gone
    }

    /// What the records behind `position` say of a response.
    pub(crate) fn judge_since(&self, key: &CacheKey, head: &StoredHead, position: u64) -> Verdict {
        match self.position() > position {
            true => self.table().judge(key, head, position),
            false => Verdict::Good,
        }
    }

    /// Whether a hard record newer than `position` selects the resource, whatever is stored there.
    #[cfg(feature = "disk")]
    pub(crate) fn has_taken(&self, key: &CacheKey, position: u64) -> bool {
        self.position() > position && self.table().has_taken(key, position)
    }

    /// Whether so many records have come since the last walk that it is time for one, although nobody
    /// waits to have them counted.
    pub(crate) fn is_crowded(&self) -> bool {
        const CROWD: u64 = 1024;
        self.0.forgets && self.position() - self.table().retired() >= CROWD
    }

    /// How many predicates there have been.
    pub(crate) fn predicates(&self) -> u64 {
        self.0.predicates.load(Ordering::Acquire)
    }

    /// How many selectors are held.
    pub(crate) fn len(&self) -> usize {
        self.table().len()
    }

    /// Calls `callback` at each event from now on, as long as what this gives is there. What other
    /// processes have purged it hears when somebody has [asked the store](Self::tell).
    pub(crate) fn on_event(
        &self,
        callback: impl Fn(&PurgeEvent) + Send + Sync + 'static,
    ) -> Arc<Callback> {
        let callback: Arc<Callback> = Arc::new(callback);
        self.0.ring.call(&callback);
        callback
    }

    /// Tells what has come from elsewhere. No lock is held meanwhile.
    pub(crate) fn tell(&self) {
        self.0.ring.tell();
    }

    pub(crate) fn follow(&self) -> PurgeStream {
        self.0.ring.follow()
    }

    /// Whether the caller has to have somebody sweep in the background.
    pub(crate) fn expect_sweep(&self) -> Option<Expected> {
        self.0.sweeps.expect()
    }

    /// Waits to be the one who sweeps.
    pub(crate) async fn turn(&self) -> Turn {
        self.0.sweeps.turn().await
    }

    /// Up to where a walk that begins now makes records superfluous: what began before, and is not in
    /// the store yet, is still to be compared with them.
    pub(crate) fn swept_by_now(&self) -> u64 {
        let newest = self.position();
        self.0.inflight.positions().oldest().map_or(newest, |oldest| oldest.min(newest))
    }

    /// Ends a walk that found all there is, and that began when `swept_by_now` was `seq`: each entry
    /// that was there has been judged since.
    pub(crate) fn end_walk(&self, turn: &Turn, counting: &Counting, seq: u64, now: SystemTime) {
        turn.done(counting);
        for (tally, count) in counting.tallies() {
            tally.end(Outcome::Counted(count));
            let record = tally.record.clone();
            let took = now.duration_since(record.at).unwrap_or(Duration::ZERO);
            self.0.ring.push(PurgeEvent::Swept { record, count, took });
        }
        if self.0.forgets {
            self.table_mut().retire(seq);
        }
        self.0.ring.tell();
    }

    /// Ends a walk that came to nothing.
    pub(crate) fn fail_walk(&self, turn: &Turn, counting: &Counting, error: &Error) {
        turn.done(counting);
        for (tally, _) in counting.tallies() {
            tally.end(match error.is_unsupported() {
                true => Outcome::Unsupported,
                false => Outcome::Failed(error.to_string()),
            });
        }
    }

    pub(super) fn table(&self) -> RwLockReadGuard<'_, Table> {
        self.0.table.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn table_mut(&self) -> RwLockWriteGuard<'_, Table> {
        self.0.table.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for PurgeLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PurgeLog").field("position", &self.position()).finish_non_exhaustive()
    }
}
