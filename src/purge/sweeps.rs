use std::{
    fmt,
    future::poll_fn,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Poll, Waker},
};

use super::{
    events::{PurgeRecord, wait},
    index::Index,
    selector::Purge,
};
use crate::{
    Error,
    clock::BoxFuture,
    policy::{CacheKey, StoredHead},
};

/// A purge that has taken effect: no later request sees what it selects.
///
/// Dropping it changes nothing. Kept, it keeps the store, too.
#[derive(Clone)]
pub struct Purged {
    seq: u64,
    sweep: Arc<dyn Fn() -> BoxFuture<Result<u64, Error>> + Send + Sync>,
}

impl Purged {
    pub(crate) fn new(
        seq: u64,
        sweep: impl Fn() -> BoxFuture<Result<u64, Error>> + Send + Sync + 'static,
    ) -> Self {
        Self { seq, sweep: Arc::new(sweep) }
    }

    /// Its position in the log; of a dry run the position that the log had.
    pub fn seq(&self) -> u64 {
        self.seq
    }

    /// Waits until the sweeper has been through the store since the purge: how many responses went,
    /// or for a soft purge became stale, or would go.
    ///
    /// What went otherwise before the sweeper came, such as by a newer response in its place, is not
    /// counted. Dropped, the sweeper goes on by itself where an executor runs it.
    ///
    /// # Errors
    ///
    /// If the store cannot be walked ([`Error::is_unsupported`]), or failed. What was purged is gone
    /// all the same.
    pub async fn swept(&self) -> Result<u64, Error> {
        (self.sweep)().await
    }
}

impl fmt::Debug for Purged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Purged").field("seq", &self.seq).finish_non_exhaustive()
    }
}

/// What waits to be swept, and who sweeps.
#[derive(Default)]
pub(super) struct Sweeps(Mutex<State>);

#[derive(Default)]
struct State {
    pending: Vec<Arc<Tally>>,
    is_walking: bool,
    /// Somebody is about to walk in the background.
    is_expected: bool,
    waiting: Vec<Waker>,
}

/// More purges than this are not counted at a time.
const MAX_PENDING: usize = 1 << 16;

impl Sweeps {
    pub(super) fn add(&self, tally: Arc<Tally>) {
        let mut state = self.lock();
        if state.pending.len() >= MAX_PENDING {
            let oldest = state.pending.remove(0);
            oldest.end(Outcome::Failed("too many purges wait to be counted".into()));
        }
        state.pending.push(tally);
    }

    /// Whether the caller has to see to it that somebody sweeps in the background: until the
    /// expectation is dropped, nobody else has to.
    pub(super) fn expect(self: &Arc<Self>) -> Option<Expected> {
        let was = std::mem::replace(&mut self.lock().is_expected, true);
        (!was).then(|| Expected(self.clone()))
    }

    /// Waits until nobody else walks.
    pub(super) async fn turn(self: &Arc<Self>) -> Turn {
        poll_fn(|cx| {
            let mut state = self.lock();
            if state.is_walking {
                wait(&mut state.waiting, cx);
                return Poll::Pending;
            }
            state.is_walking = true;
            Poll::Ready(Turn(self.clone()))
        })
        .await
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// See [`Sweeps::expect`].
pub(crate) struct Expected(Arc<Sweeps>);

impl Drop for Expected {
    fn drop(&mut self) {
        self.0.lock().is_expected = false;
    }
}

/// One walk through the store. Whoever waits for the next one is woken when it is dropped.
pub(crate) struct Turn(Arc<Sweeps>);

impl Turn {
    /// Whether anything waits to be counted.
    pub(crate) fn is_needed(&self) -> bool {
        !self.0.lock().pending.is_empty()
    }

    /// What is to be counted on this walk.
    pub(crate) fn pending(&self) -> Counting {
        let mut tallies = self.0.lock().pending.clone();
        tallies.sort_by_key(|tally| tally.record.seq);
        Counting::of(tallies)
    }

    /// These have been counted.
    pub(super) fn done(&self, counting: &Counting) {
        let tallies = &counting.tallies;
        let is_done = |seq| tallies.binary_search_by_key(&seq, |tally| tally.record.seq).is_ok();
        self.0.lock().pending.retain(|tally| !is_done(tally.record.seq));
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.is_walking = false;
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        waiting.into_iter().for_each(Waker::wake);
    }
}

/// The count of one purge.
pub(crate) struct Tally {
    pub(super) record: PurgeRecord,
    outcome: Mutex<Option<Outcome>>,
}

/// How a walk ended for a purge.
#[derive(Clone, Debug)]
pub(crate) enum Outcome {
    Counted(u64),
    Unsupported,
    Failed(String),
}

impl Tally {
    pub(super) fn new(record: PurgeRecord) -> Self {
        Self { record, outcome: Mutex::default() }
    }

    pub(crate) fn seq(&self) -> u64 {
        self.record.seq
    }

    pub(super) fn end(&self, outcome: Outcome) {
        *self.outcome.lock().unwrap_or_else(PoisonError::into_inner) = Some(outcome);
    }

    pub(crate) fn result(&self) -> Option<Result<u64, Error>> {
        let outcome = self.outcome.lock().unwrap_or_else(PoisonError::into_inner).clone()?;
        Some(match outcome {
            Outcome::Counted(count) => Ok(count),
            Outcome::Unsupported => Err(Error::unsupported()),
            Outcome::Failed(text) => Err(Error::other(text)),
        })
    }
}

/// The purges that have selected an entry.
pub(crate) struct Claim {
    places: Vec<usize>,
    is_hard: bool,
}

impl Claim {
    /// Whether one of them takes it out.
    pub(crate) fn is_hard(&self) -> bool {
        self.is_hard
    }
}

/// The purges that a walk counts for.
pub(crate) struct Counting {
    tallies: Vec<Arc<Tally>>,
    counts: Vec<u64>,
    index: Index<Vec<usize>>,
}

impl Counting {
    fn of(tallies: Vec<Arc<Tally>>) -> Self {
        let mut index = Index::<Vec<usize>>::default();
        for (place, tally) in tallies.iter().enumerate() {
            if let Some(places) = index.entry(&tally.record.purge.selector) {
                places.push(place);
            }
        }
        Self { counts: vec![0; tallies.len()], tallies, index }
    }

    /// A purge that is only counted.
    pub(crate) fn dry(purge: Purge) -> Self {
        let at = std::time::SystemTime::UNIX_EPOCH;
        let record = PurgeRecord { seq: u64::MAX, purge: Arc::new(purge), at };
        Self::of(vec![Arc::new(Tally::new(record))])
    }

    /// Which of the purges have selected an entry: of hard ones the first, of soft ones all before
    /// that.
    pub(crate) fn claim(&self, key: &CacheKey, head: &StoredHead) -> Claim {
        let mut places = Vec::new();
        let began = head.began();
        let is_hard = |place: &usize| !self.tallies[*place].record.purge.is_soft();
        self.index.visit(key, head, |found| {
            // They are in their order, and nothing counts behind the first hard one.
            let first = found.partition_point(|place| self.tallies[*place].record.seq <= began);
            let length = found[first..].iter().position(is_hard).map(|hard| hard + 1);
            places.extend(found[first..].iter().take(length.unwrap_or(usize::MAX)));
        });
        places.sort_unstable();
        let hard = places.iter().position(is_hard);
        places.truncate(hard.map_or(places.len(), |first| first + 1));
        Claim { places, is_hard: hard.is_some() }
    }

    pub(crate) fn count(&mut self, claim: &Claim) {
        for place in &claim.places {
            self.counts[*place] += 1;
        }
    }

    /// Whether any of them selects an entry.
    pub(crate) fn selects(&self, key: &CacheKey, head: &StoredHead) -> bool {
        let mut selects = false;
        self.index.visit(key, head, |found| selects |= !found.is_empty());
        selects
    }

    pub(crate) fn total(&self) -> u64 {
        self.counts.iter().sum()
    }

    pub(super) fn tallies(&self) -> impl Iterator<Item = (&Arc<Tally>, u64)> {
        self.tallies.iter().zip(self.counts.iter().copied())
    }
}
