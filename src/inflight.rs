//! Who is asking the origin for what.

use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use crate::{
    flight::{Flight, Landing, Passenger, Sharing},
    memo::Memo,
    policy::{CacheKey, NameSet, Role, Timestamp, VariantKey},
    positions::{Place, Positions},
    sync::{Mutex, MutexGuard, lock},
};

/// The requests that are on their way, by what they ask for.
pub(crate) struct Inflight {
    shards: [Mutex<Shard>; SHARDS],
    hasher: RandomState,
    ids: AtomicU64,
    /// How many have ended, so that a look-up can tell whether one did meanwhile.
    ended: AtomicU64,
    positions: Positions,
}

const SHARDS: usize = 16;
/// So many requests for the same thing may be waited for before everybody asks for himself.
const MAX_LEADERS: usize = 3;
/// For so long everybody then does.
const SILENCE: Duration = Duration::from_secs(10);

/// For so long nobody waits for an answer to what was answered for one client alone,
const FOR_ONE: Duration = Duration::from_secs(10);
/// or not at all.
const FAILED: Duration = Duration::from_secs(1);

/// A refresh that fails is tried again after a second, then after twice as long, up to this.
const MAX_BACK_OFF: Duration = Duration::from_secs(60);

/// Why an answer was of no use to others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lapse {
    /// It was for the one who asked.
    ForOne,
    /// There was none.
    Failed,
}

#[derive(Default)]
struct Shard {
    groups: HashMap<CacheKey, Group>,
    /// What nobody waits for.
    memo: Memo,
    /// What is not refreshed for a while.
    refreshes: Memo,
}

#[derive(Default)]
struct Group {
    fetches: usize,
    invalidations: u64,
    /// Those that others may wait for.
    flights: Vec<Listed>,
    /// What `Vary` named in the newest answer.
    names: Option<NameSet>,
}

struct Listed {
    id: u64,
    flight: Arc<Flight>,
    /// The variant that it is for, as far as that is known.
    variant: Option<VariantKey>,
}

/// How often a request may still look into the store again because another has come back.
pub(crate) struct Rechecks(usize);

impl Default for Rechecks {
    fn default() -> Self {
        Self(3)
    }
}

impl Rechecks {
    pub(crate) fn are_left(&self) -> bool {
        self.0 > 0
    }

    pub(crate) fn spend(&mut self) {
        self.0 = self.0.saturating_sub(1);
    }
}

/// Somebody who is about to ask.
pub(crate) struct Asker<'a> {
    pub(crate) key: &'a CacheKey,
    /// Where the purge log was when the request came.
    pub(crate) began: u64,
    pub(crate) role: Role,
    pub(crate) now: Timestamp,
    /// Whose answer was no use.
    pub(crate) tried: &'a [u64],
    /// Who has given no sign of life for `patience`.
    pub(crate) waited_for: &'a [u64],
    pub(crate) patience: Duration,
    /// How many had ended when the store was asked, if it was.
    pub(crate) ended: Option<u64>,
    /// What `Vary` named when this was last seen.
    pub(crate) names: Option<NameSet>,
    pub(crate) variant: &'a dyn Fn(&NameSet) -> VariantKey,
}

/// What somebody does who was about to ask.
pub(crate) enum Entered {
    /// Ask.
    Asking(Fetching, Passenger),
    /// Wait for this one.
    Waiting(u64, Passenger),
    /// Read what is all there already, and not yet in the store.
    Arrived(u64, Arc<Sharing>),
    /// Go on waiting.
    KeepWaiting,
    /// Look into the store again: somebody has come back since.
    LookAgain,
}

impl Default for Inflight {
    fn default() -> Self {
        Self {
            shards: std::array::from_fn(|_| Mutex::default()),
            hasher: RandomState::new(),
            ids: AtomicU64::new(0),
            ended: AtomicU64::new(0),
            positions: Positions::default(),
        }
    }
}

impl Inflight {
    /// Where those began that are at work.
    pub(crate) fn positions(&self) -> &Positions {
        &self.positions
    }

    /// How many requests have ended so far.
    pub(crate) fn ended(&self) -> u64 {
        self.ended.load(Ordering::Acquire)
    }

    /// Enters somebody who is about to ask: as one of those who wait, or as one who asks.
    pub(crate) fn enter(
        self: &Arc<Self>,
        asker: &Asker<'_>,
        begin: impl FnOnce() -> Passenger,
    ) -> Entered {
        let hash = self.hasher.hash_one(asker.key);
        let mut shard = self.shard(hash);
        let Shard { groups, memo, .. } = &mut *shard;
        let mut role = asker.role;
        if memo.is_known(hash, asker.now) {
            role = Role::Alone;
        }
        let id = self.ids.fetch_add(1, Ordering::Relaxed);
        let group = groups.get(asker.key);
        let names = group.and_then(|group| group.names.clone()).or_else(|| asker.names.clone());
        let variant = names.as_ref().map(asker.variant);
        if let Some(group) = group.filter(|_| role != Role::Alone) {
            match group.find(asker, variant.as_ref()) {
                Some(Seen::Waiting(id, passenger)) => return Entered::Waiting(id, passenger),
                Some(Seen::Arrived(id, sharing)) => return Entered::Arrived(id, sharing),
                Some(Seen::KeepWaiting) => return Entered::KeepWaiting,
                Some(Seen::TooMany) => {
                    memo.remember(hash, asker.now, SILENCE);
                    role = Role::Alone;
                }
                None => {}
            }
        }
        // Under the lock: who was in the table when we looked is in it still, or has left it by now.
        if role == Role::Either && self.has_changed(asker) {
            return Entered::LookAgain;
        }
        let kind = if role == Role::Either { Kind::Listed } else { Kind::Unlisted };
        let group = groups.entry(asker.key.clone()).or_default();
        if group.names.is_none() {
            group.names = names;
        }
        let passenger = begin();
        let seen = group.begin(kind, id, &passenger, variant);
        let (key, place) = (asker.key.clone(), self.positions.enter(asker.began));
        let inflight = self.clone();
        let fetching = Fetching { inflight, key, hash, id, seen, kind, _place: place };
        Entered::Asking(fetching, passenger)
    }

    /// Enters a refresh; `None` if it is under way, or has been just now, or has failed too often.
    pub(crate) fn enter_refresh(
        self: &Arc<Self>,
        asker: &Asker<'_>,
        begin: impl FnOnce() -> Passenger,
    ) -> Option<(Fetching, Passenger)> {
        let hash = self.hasher.hash_one(asker.key);
        let mut shard = self.shard(hash);
        let Shard { groups, refreshes, .. } = &mut *shard;
        let variant = asker.names.as_ref().map(asker.variant);
        let is_under_way = groups.get(asker.key).and_then(|group| {
            group.flights.iter().find(|listed| !listed.is_other(variant.as_ref()))
        });
        if is_under_way.is_some() || refreshes.is_known(hash, asker.now) || self.has_changed(asker)
        {
            return None;
        }
        let id = self.ids.fetch_add(1, Ordering::Relaxed);
        let group = groups.entry(asker.key.clone()).or_default();
        let passenger = begin();
        let (kind, key) = (Kind::Refresh, asker.key.clone());
        let seen = group.begin(kind, id, &passenger, variant);
        let (inflight, place) = (self.clone(), self.positions.enter(asker.began));
        Some((Fetching { inflight, key, hash, id, seen, kind, _place: place }, passenger))
    }

    /// Enters a request that writes, and whose response may be stored; nobody waits for it.
    /// It came when the purge log was where it `began`.
    pub(crate) fn enter_write(self: &Arc<Self>, key: &CacheKey, began: u64) -> Fetching {
        let hash = self.hasher.hash_one(key);
        let mut shard = self.shard(hash);
        let id = self.ids.fetch_add(1, Ordering::Relaxed);
        let group = shard.groups.entry(key.clone()).or_default();
        group.fetches += 1;
        let (kind, seen) = (Kind::Unlisted, group.invalidations);
        let (inflight, place) = (self.clone(), self.positions.enter(began));
        Fetching { inflight, key: key.clone(), hash, id, seen, kind, _place: place }
    }

    fn has_changed(&self, asker: &Asker<'_>) -> bool {
        asker.ended.is_some_and(|ended| ended != self.ended())
    }

    /// Marks the fetches that are on their way: what they bring may be older than the change that
    /// an unsafe request has just made. Nobody waits for them from now on.
    pub(crate) fn invalidate(&self, key: &CacheKey) {
        let hash = self.hasher.hash_one(key);
        let unlisted = match self.shard(hash).groups.get_mut(key) {
            Some(group) => {
                group.invalidations += 1;
                std::mem::take(&mut group.flights)
            }
            None => Vec::new(),
        };
        // Not under the lock: the last of a flight takes its fetch with it, which wants the lock.
        drop(unlisted);
    }

    fn shard(&self, hash: u64) -> MutexGuard<'_, Shard> {
        lock(&self.shards[(hash as usize) % SHARDS])
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.shards.iter().map(|shard| lock(shard).groups.len()).sum()
    }
}

enum Seen {
    Waiting(u64, Passenger),
    Arrived(u64, Arc<Sharing>),
    KeepWaiting,
    TooMany,
}

impl Listed {
    fn is_other(&self, variant: Option<&VariantKey>) -> bool {
        matches!((variant, &self.variant), (Some(ours), Some(theirs)) if ours != theirs)
    }
}

impl Group {
    fn begin(
        &mut self,
        kind: Kind,
        id: u64,
        passenger: &Passenger,
        variant: Option<VariantKey>,
    ) -> u64 {
        self.fetches += 1;
        if kind != Kind::Unlisted {
            self.flights.push(Listed { id, flight: passenger.flight().clone(), variant });
        }
        self.invalidations
    }

    fn find(&self, asker: &Asker<'_>, variant: Option<&VariantKey>) -> Option<Seen> {
        let (mut silent, mut is_waiting) = (0, false);
        for listed in &self.flights {
            let Listed { id, flight, .. } = listed;
            if listed.is_other(variant) || asker.tried.contains(id) {
                continue;
            }
            let landing = flight.landing();
            if landing.is_none() && asker.now.since(flight.began()) >= asker.patience {
                silent += 1;
                continue;
            }
            if asker.waited_for.contains(id) {
                is_waiting = true;
                continue;
            }
            match landing {
                Some(Landing::Shared(sharing)) if !sharing.log.is_open() => continue,
                Some(Landing::Shared(sharing)) => match flight.join() {
                    Some(passenger) => return Some(Seen::Waiting(*id, passenger)),
                    None if sharing.log.is_whole() => return Some(Seen::Arrived(*id, sharing)),
                    None => continue,
                },
                Some(_) => continue,
                None => match flight.join() {
                    Some(passenger) => return Some(Seen::Waiting(*id, passenger)),
                    None => continue,
                },
            }
        }
        if is_waiting {
            return Some(Seen::KeepWaiting);
        }
        (silent >= MAX_LEADERS).then_some(Seen::TooMany)
    }
}

/// A fetch on its way. Leaves the table when it is dropped.
pub(crate) struct Fetching {
    inflight: Arc<Inflight>,
    key: CacheKey,
    hash: u64,
    id: u64,
    seen: u64,
    kind: Kind,
    _place: Place,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Others may wait for it.
    Listed,
    /// Nobody waits for it but who makes it.
    Unlisted,
    /// Others may wait for it; nobody asked for it.
    Refresh,
}

impl Fetching {
    /// Marks all others that are on their way to the same resource, as
    /// [`Inflight::invalidate`] does, and not this one.
    pub(crate) fn invalidate_others(&mut self) {
        let unlisted = match self.inflight.shard(self.hash).groups.get_mut(&self.key) {
            Some(group) => {
                // Whoever was marked before stays marked.
                self.seen += u64::from(self.seen == group.invalidations);
                group.invalidations += 1;
                std::mem::take(&mut group.flights)
            }
            None => Vec::new(),
        };
        drop(unlisted);
    }

    /// The resource that is asked for.
    pub(crate) fn key(&self) -> &CacheKey {
        &self.key
    }

    /// Whether an unsafe request has come since this fetch began.
    pub(crate) fn is_invalidated(&self) -> bool {
        let shard = self.inflight.shard(self.hash);
        shard.groups.get(&self.key).is_none_or(|group| group.invalidations != self.seen)
    }

    /// It turned out to be for this variant, and anybody may share it who selects it.
    pub(crate) fn is_shared(&self, names: &NameSet, variant: &VariantKey) {
        let mut shard = self.inflight.shard(self.hash);
        let Shard { groups, memo, refreshes } = &mut *shard;
        memo.forget(self.hash);
        refreshes.forget(self.hash);
        if let Some(group) = groups.get_mut(&self.key) {
            group.names = Some(names.clone());
            if let Some(listed) = group.flights.iter_mut().find(|listed| listed.id == self.id) {
                listed.variant = Some(variant.clone());
            }
        }
    }

    /// It turned out to be for nobody else: for a while nobody waits for the likes of it.
    pub(crate) fn is_not_shared(&self, lapse: Lapse, now: Timestamp) {
        let mut shard = self.inflight.shard(self.hash);
        if self.kind == Kind::Refresh && lapse == Lapse::Failed {
            shard.refreshes.back_off(self.hash, now, FAILED, MAX_BACK_OFF);
        }
        if self.kind != Kind::Unlisted {
            let how_long = match lapse {
                Lapse::ForOne => FOR_ONE,
                Lapse::Failed => FAILED,
            };
            shard.memo.remember(self.hash, now, how_long);
        }
    }
}

impl Drop for Fetching {
    fn drop(&mut self) {
        self.inflight.ended.fetch_add(1, Ordering::AcqRel);
        let mut shard = self.inflight.shard(self.hash);
        let mut unlisted = None;
        if let Some(group) = shard.groups.get_mut(&self.key) {
            group.fetches -= 1;
            if let Some(at) = group.flights.iter().position(|listed| listed.id == self.id) {
                unlisted = Some(group.flights.swap_remove(at));
            }
            if group.fetches == 0 {
                shard.groups.remove(&self.key);
            }
        }
        drop(shard);
        drop(unlisted);
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::SystemTime};

    use bytes::Bytes;

    use super::*;
    use crate::{Disconnect, NoExecutor};

    fn key(path: &'static [u8]) -> CacheKey {
        let mut bytes = vec![1, 0, 0, 0, 0, path.len() as u8];
        bytes.extend_from_slice(path);
        CacheKey::from_bytes(Bytes::from(bytes)).unwrap()
    }

    fn enter(inflight: &Arc<Inflight>, key: &CacheKey, role: Role) -> Entered {
        let now = Timestamp::from_wall(SystemTime::UNIX_EPOCH);
        let asker = Asker {
            key,
            began: 0,
            role,
            now,
            tried: &[],
            waited_for: &[],
            patience: Duration::from_secs(10),
            ended: None,
            names: None,
            variant: &|_| unreachable!("nothing varies"),
        };
        let prepare = || Flight::prepare(Arc::new(NoExecutor), Disconnect::Abandon, now);
        inflight.enter(&asker, prepare)
    }

    fn ask(inflight: &Arc<Inflight>, key: &CacheKey, role: Role) -> (Fetching, Passenger) {
        match enter(inflight, key, role) {
            Entered::Asking(fetching, passenger) => (fetching, passenger),
            _ => panic!("not asking"),
        }
    }

    /// RFC 9111 §4.4: marked are those on their way and nobody else, and who comes later does not wait
    /// for them.
    #[test]
    fn an_invalidation_marks_those_that_are_on_their_way_and_nobody_else() {
        let inflight = Arc::new(Inflight::default());
        let (before, _leader) = ask(&inflight, &key(b"/a"), Role::Either);
        assert!(matches!(enter(&inflight, &key(b"/a"), Role::Either), Entered::Waiting(..)));
        let (other, _other) = ask(&inflight, &key(b"/b"), Role::Either);
        inflight.invalidate(&key(b"/a"));
        inflight.invalidate(&key(b"/c"));
        let (after, _after) = ask(&inflight, &key(b"/a"), Role::Either);
        assert!(before.is_invalidated());
        assert!(!after.is_invalidated());
        assert!(!other.is_invalidated());
        drop((before, after, other));
        assert_eq!((inflight.len(), inflight.ended()), (0, 3));
    }

    /// Who has to ask for himself is there to be marked, and nobody waits for him.
    #[test]
    fn nobody_waits_for_those_who_ask_alone() {
        let inflight = Arc::new(Inflight::default());
        let alone: Vec<_> = (0..3).map(|_| ask(&inflight, &key(b"/"), Role::Alone)).collect();
        let follower = ask(&inflight, &key(b"/"), Role::Follow);
        let (leader, _passenger) = ask(&inflight, &key(b"/"), Role::Either);
        assert!(matches!(enter(&inflight, &key(b"/"), Role::Follow), Entered::Waiting(..)));
        inflight.invalidate(&key(b"/"));
        assert!(leader.is_invalidated() && alone.iter().all(|(one, _)| one.is_invalidated()));
        drop((alone, follower, leader));
        assert_eq!(inflight.len(), 0);
    }
}
