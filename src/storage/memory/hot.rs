//! What is asked for again and again, for each thread by itself.

use std::{
    hash::BuildHasher,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use quick_cache::DefaultHashBuilder;

use super::{
    Holder, MemoryHandle,
    record::{Body, Record, RecordKey, RecordRef},
};
use crate::{
    place::Place,
    policy::{CacheKey, StoredHead, StoredResponse},
    storage::Entry,
    stripe,
};

/// What is stored is packed, and shared by all threads. A response that is asked for twice is unpacked
/// and kept so, for each thread by itself: then no two of them write to the same memory, be it
/// a reference count or the lock of the store, which costs more than the look-up.
///
/// Each stripe is a table with one place for each response. One that is there defends its place
/// against another one for as long as it is asked for more often.
///
/// Whatever leaves the store leaves all tables before anybody can see that it has
/// ([`retire`](Self::retire)). The store evicts what is not looked up in it: so it is asked, too, once in a
/// while ([`Clockwork`]).
pub(super) struct Hot {
    stripes: Box<[OnceLock<Table>]>,
    places: usize,
    hasher: DefaultHashBuilder,
    clockwork: Clockwork,
}

type Table = Box<[Place<Arc<Kept>>]>;

/// A response as one thread keeps it. What others count their references to is next to none of its own
/// counts.
#[repr(align(64))]
pub(super) struct Kept {
    record: RecordKey,
    /// Whether it is all that there is of its resource.
    is_alone: bool,
    head: StoredHead,
    /// The stored bytes, with a count of their own.
    bytes: Bytes,
    body: Arc<Body>,
    /// When it was last looked up in the store.
    turn: AtomicU64,
}

impl Kept {
    pub(super) fn body(&self) -> &Arc<Body> {
        &self.body
    }

    /// All of it: what has trailers is not kept.
    #[inline]
    pub(super) fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    fn entry(self: Arc<Self>) -> Entry<MemoryHandle> {
        let response = StoredResponse::restored(self.head.clone(), self.bytes.len() as u64);
        Entry::new(response, MemoryHandle(Holder::Kept(self)))
    }
}

/// The heaviest head that is kept as a map.
const MAX_HEAD: usize = 4 << 10;

impl Hot {
    /// The maps take at most `bytes`, shared out to all stripes. `capacity` is that of the store.
    pub(super) fn new(bytes: u64, capacity: u64) -> Self {
        let stripes = stripe::count();
        let places = usize::try_from(bytes).unwrap_or(usize::MAX) / (stripes * MAX_HEAD);
        Self {
            stripes: (0..stripes).map(|_| OnceLock::new()).collect(),
            places: 1 << places.clamp(1, 1 << 14).ilog2(),
            hasher: DefaultHashBuilder::default(),
            clockwork: Clockwork::new(capacity),
        }
    }

    /// The response that is all there is of the resource, if this thread has kept it.
    #[inline]
    pub(super) fn find(&self, key: &CacheKey) -> Option<Entry<MemoryHandle>> {
        let own = self.stripes[stripe::of(self.stripes.len())].get()?;
        let (wanted, turn) = (RecordRef::resource(key), self.clockwork.turn());
        let is_it = |kept: &Arc<Kept>| {
            kept.is_alone && kept.turn.load(Ordering::Relaxed) == turn && kept.record.is_of(&wanted)
        };
        Some(own[self.place(self.hash(&wanted))].find(is_it)?.entry())
    }

    /// An entry of what was looked up in the store, to be read by this thread.
    #[inline]
    pub(super) fn entry(&self, body: Arc<Body>, is_alone: bool) -> Entry<MemoryHandle> {
        let stripe = stripe::of(self.stripes.len());
        let places = self.stripes[stripe]
            .get_or_init(|| (0..self.places).map(|_| Place::default()).collect());
        let hash = self.hash(&body.record.as_ref());
        let place = &places[self.place(hash)];
        let turn = self.clockwork.turn();
        if let Some(kept) = place.find(|kept| Arc::ptr_eq(&kept.body, &body)) {
            kept.turn.store(turn, Ordering::Relaxed);
            return kept.entry();
        }
        let make = || {
            let head = body.head.unpack();
            // Weighing it has made the map.
            let is_fit = head.weight() <= MAX_HEAD && body.trailers.is_none();
            (is_fit && body.marks.enter(stripe)).then(|| {
                let (record, turn) = (body.record.clone(), AtomicU64::new(turn));
                let bytes = Bytes::from_owner(Apart(body.bytes.clone()));
                Arc::new(Kept { record, is_alone, head, bytes, body: body.clone(), turn })
            })
        };
        if let Some(kept) = place.keep(hash, make) {
            return kept.entry();
        }
        MemoryHandle::entry(body)
    }

    /// Takes a record out of all tables, for good. Gives what was there, to be dropped when no lock is
    /// held.
    ///
    /// To be called before anybody can see that the store no longer has it.
    #[must_use = "what is dropped under a lock is waited for"]
    pub(super) fn retire(&self, record: &Record) -> Vec<Arc<Kept>> {
        let Some(body) = record.body() else { return Vec::new() };
        let take = |stripe: usize| {
            let places = self.stripes.get(stripe)?.get()?;
            let place = &places[self.place(self.hash(&body.record.as_ref()))];
            place.take(|kept| Arc::ptr_eq(&kept.body, body))
        };
        body.marks.leave().filter_map(take).collect()
    }

    /// So many bytes have come into the store.
    pub(super) fn age(&self, bytes: u64) {
        self.clockwork.add(bytes);
    }

    fn hash(&self, record: &RecordRef<'_>) -> u64 {
        self.hasher.hash_one(RecordRef { generation: 0, ..*record })
    }

    fn place(&self, hash: u64) -> usize {
        hash as usize & (self.places - 1)
    }
}

/// An owner whose count shares no line of the processor's caches with anything else.
#[repr(align(64))]
struct Apart(Bytes);

impl AsRef<[u8]> for Apart {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

/// Counts what comes into a store, in turns of a small part of its capacity: whoever is there for many
/// of them without being looked up is evicted.
struct Clockwork {
    added: Added,
    part: u64,
    turn: AtomicU64,
}

/// Written at each insert, and not to be next to what each hit reads.
#[derive(Default)]
#[repr(align(128))]
struct Added(AtomicU64);

const TURNS: u64 = 64;

impl Clockwork {
    fn new(capacity: u64) -> Self {
        Self { added: Added::default(), part: (capacity / TURNS).max(1), turn: AtomicU64::new(0) }
    }

    #[inline]
    fn turn(&self) -> u64 {
        self.turn.load(Ordering::Relaxed)
    }

    fn add(&self, bytes: u64) {
        let before = self.added.0.fetch_add(bytes, Ordering::Relaxed);
        let turn = before.wrapping_add(bytes) / self.part;
        if turn != before / self.part {
            self.turn.store(turn, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::memory::record::tests::plain;

    fn hot() -> Hot {
        Hot::new(0, 64)
    }

    /// The last of so many.
    fn uses(hot: &Hot, body: &Arc<Body>, count: usize) -> Entry<MemoryHandle> {
        let first = hot.entry(body.clone(), true);
        (1..count).fold(first, |_, _| hot.entry(body.clone(), true))
    }

    /// Whether both are kept in one place.
    fn is_same(one: &Entry<MemoryHandle>, other: &Entry<MemoryHandle>) -> bool {
        one.response().head().is(other.response().head())
    }

    #[test]
    fn a_response_is_kept_from_its_second_use_on() {
        let (hot, (key, body)) = (hot(), plain("/a"));
        let uses: Vec<_> = (0..4).map(|_| hot.entry(body.clone(), true)).collect();
        assert!(!is_same(&uses[0], &uses[1]));
        assert!(is_same(&uses[1], &uses[2]) && is_same(&uses[2], &uses[3]));
        assert!(is_same(&hot.find(&key).unwrap(), &uses[3]));
        let other = plain("/b");
        assert!(hot.find(&other.0).is_none());
        // Nothing else that is stored may be hidden by it.
        let uses: Vec<_> = (0..8).map(|_| hot.entry(other.1.clone(), false)).collect();
        assert!(is_same(&uses[6], &uses[7]) && hot.find(&other.0).is_none());
    }

    #[test]
    fn what_has_gone_is_never_kept_again() {
        let (hot, (key, body)) = (hot(), plain("/a"));
        let kept = uses(&hot, &body, 3);
        assert_eq!(hot.retire(&Record::Plain(body.clone())).len(), 1);
        assert!(hot.find(&key).is_none());
        let uses = [(); 4].map(|()| hot.entry(body.clone(), true));
        assert!(!is_same(&uses[3], &kept) && !is_same(&uses[3], &uses[2]));
        assert!(hot.find(&key).is_none());
    }

    /// A walk over many takes no place from one that is in use.
    #[test]
    fn a_response_in_use_keeps_its_place() {
        let (hot, (_, body)) = (hot(), plain("/a"));
        hot.entry(body.clone(), true);
        let kept = hot.entry(body.clone(), true);
        let others: Vec<_> = (0..100).map(|n| plain(&format!("/{n}")).1).collect();
        for other in &others {
            hot.entry(other.clone(), true);
            assert!(is_same(&hot.entry(body.clone(), true), &kept));
        }
        // It makes room for one that comes again and again.
        let uses: Vec<_> = (0..8).map(|_| hot.entry(others[0].clone(), true)).collect();
        assert!(is_same(&uses[6], &uses[7]));
        assert!(!is_same(&hot.entry(body, true), &kept));
    }

    #[test]
    fn the_store_is_asked_once_in_a_while() {
        let (hot, (key, body)) = (hot(), plain("/a"));
        let kept = uses(&hot, &body, 2);
        hot.age(1);
        assert!(hot.find(&key).is_none());
        assert!(is_same(&hot.entry(body, true), &kept));
        assert!(is_same(&hot.find(&key).unwrap(), &kept));
    }

    #[test]
    fn threads_share_no_head() {
        let (hot, (_, body)) = (hot(), plain("/a"));
        let twice = || uses(&hot, &body, 2);
        let (here, there) = std::thread::scope(|scope| {
            let there = scope.spawn(twice);
            (twice(), there.join().unwrap())
        });
        assert_eq!(here.response().head().headers(), there.response().head().headers());
        assert!(stripe::count() == 1 || !is_same(&here, &there));
    }
}
