use std::{sync::Arc, time::Duration};

use http::Extensions;
use smallvec::SmallVec;

use super::{
    Asker, Entered, Fetching,
    fetching::{Kind, Within},
    group::{Group, Seen},
};
use crate::{
    flight::Passenger,
    hashed::{Hashed, Map, RandomState},
    memo::{Latest, Memo},
    policy::{CacheKey, Role},
    positions::Positions,
    sync::{AtomicU64, Mutex, MutexGuard, Ordering, lock},
};

/// The requests that are on their way, by what they ask for.
pub(crate) struct Inflight {
    shards: [Mutex<Shard>; SHARDS],
    hasher: RandomState,
    ids: AtomicU64,
    /// How many have ended, so that a look-up can tell whether one of its own did meanwhile.
    pub(super) ended: AtomicU64,
    positions: Positions,
}

const SHARDS: usize = 16;
/// For so long everybody then does.
const SILENCE: Duration = Duration::from_secs(10);

#[derive(Default)]
pub(super) struct Shard {
    pub(super) groups: Map<Group>,
    /// What nobody waits for.
    pub(super) memo: Memo,
    /// What is not refreshed for a while.
    pub(super) refreshes: Memo,
    /// How many had ended when one did.
    pub(super) ended: Latest,
}

impl Default for Inflight {
    fn default() -> Self {
        Self {
            shards: std::array::from_fn(|_| Mutex::default()),
            hasher: RandomState::default(),
            ids: AtomicU64::new(0),
            ended: AtomicU64::new(0),
            positions: Positions::default(),
        }
    }
}

impl Inflight {
    /// Whether `request` is itself what is asked for `key`.
    pub(crate) fn is_within(self: &Arc<Self>, request: &Extensions, key: &CacheKey) -> bool {
        request
            .get()
            .is_some_and(|Within(inflight, asked)| Arc::ptr_eq(inflight, self) && asked == key)
    }

    /// Where those began that are at work.
    pub(crate) fn positions(&self) -> &Positions {
        &self.positions
    }

    /// How many requests have ended so far.
    pub(crate) fn ended(&self) -> u64 {
        self.ended.load(Ordering::Acquire)
    }

    /// Whether anybody asks for `key` whom others may wait for.
    pub(crate) fn is_asked(&self, key: &CacheKey) -> bool {
        let key = Hashed::new(&self.hasher, key);
        self.shard(&key).groups.get(&key).is_some_and(|group| !group.flights.is_empty())
    }

    /// Enters somebody who is about to ask: as one of those who wait, or as one who asks.
    pub(crate) fn enter(
        self: &Arc<Self>,
        asker: &Asker<'_>,
        begin: impl FnOnce() -> Passenger,
    ) -> Entered {
        let key = Hashed::new(&self.hasher, asker.key);
        let hash = key.hash();
        let mut shard = self.shard(&key);
        let Shard { groups, memo, ended, .. } = &mut *shard;
        let mut role = asker.role;
        if memo.is_known(hash, asker.now) {
            role = Role::Alone;
        }
        let id = self.ids.fetch_add(1, Ordering::Relaxed);
        let group = groups.get(&key);
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
        if role == Role::Either && asker.has_missed(ended.of(hash)) {
            return Entered::LookAgain;
        }
        let kind = if role == Role::Either { Kind::Listed } else { Kind::Unlisted };
        let group = groups.entry(key.clone()).or_default();
        if group.names.is_none() {
            group.names = names;
        }
        let passenger = begin();
        let seen = group.begin(kind, id, &passenger, variant);
        let place = self.positions.enter(asker.began);
        let inflight = self.clone();
        let fetching = Fetching { inflight, key, id, seen, kind, _place: place };
        Entered::Asking(fetching, passenger)
    }

    /// Enters a refresh; `None` if it is under way, or has been just now, or has failed too often.
    pub(crate) fn enter_refresh(
        self: &Arc<Self>,
        asker: &Asker<'_>,
        begin: impl FnOnce() -> Passenger,
    ) -> Option<(Fetching, Passenger)> {
        let key = Hashed::new(&self.hasher, asker.key);
        let hash = key.hash();
        let mut shard = self.shard(&key);
        let Shard { groups, refreshes, ended, .. } = &mut *shard;
        let variant = asker.names.as_ref().map(asker.variant);
        let is_under_way = groups.get(&key).and_then(|group| {
            group.flights.iter().find(|listed| !listed.is_other(variant.as_ref()))
        });
        if is_under_way.is_some()
            || refreshes.is_known(hash, asker.now)
            || asker.has_missed(ended.of(hash))
        {
            return None;
        }
        let id = self.ids.fetch_add(1, Ordering::Relaxed);
        let group = groups.entry(key.clone()).or_default();
        let passenger = begin();
        let kind = Kind::Refresh;
        let seen = group.begin(kind, id, &passenger, variant);
        let (inflight, place) = (self.clone(), self.positions.enter(asker.began));
        Some((Fetching { inflight, key, id, seen, kind, _place: place }, passenger))
    }

    /// Enters a request that writes, and whose response may be stored; nobody waits for it.
    /// It came when the purge log was where it `began`.
    pub(crate) fn enter_write(self: &Arc<Self>, key: &CacheKey, began: u64) -> Fetching {
        let key = Hashed::new(&self.hasher, key);
        let mut shard = self.shard(&key);
        let id = self.ids.fetch_add(1, Ordering::Relaxed);
        let group = shard.groups.entry(key.clone()).or_default();
        group.fetches += 1;
        let (kind, seen) = (Kind::Unlisted, group.invalidations);
        let (inflight, place) = (self.clone(), self.positions.enter(began));
        Fetching { inflight, key, id, seen, kind, _place: place }
    }

    /// Marks the fetches that are on their way: what they bring may be older than the change that
    /// an unsafe request has just made. Nobody waits for them from now on.
    pub(crate) fn invalidate(&self, key: &CacheKey) {
        let key = Hashed::new(&self.hasher, key);
        let unlisted = match self.shard(&key).groups.get_mut(&key) {
            Some(group) => {
                group.invalidations += 1;
                std::mem::take(&mut group.flights)
            }
            None => SmallVec::new(),
        };
        // Not under the lock: the last of a flight takes its fetch with it, which wants the lock.
        drop(unlisted);
    }

    pub(super) fn shard(&self, key: &Hashed) -> MutexGuard<'_, Shard> {
        lock(&self.shards[key.part(SHARDS)])
    }

    /// All of its locks.
    #[cfg(all(test, feature = "memory"))]
    pub(crate) fn hold(&self) -> Vec<impl Sized> {
        self.shards.iter().map(lock).collect()
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.shards.iter().map(|shard| lock(shard).groups.len()).sum()
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::SystemTime};

    use bytes::Bytes;

    use super::{super::Fetching, *};
    use crate::{Disconnect, NoExecutor, flight::Flight, policy::Timestamp};

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
