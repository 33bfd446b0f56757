//! Two stores over the same place, as two processes or nodes have them, taken for one.

use std::{
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use larder::{
    CacheKey, CacheManager, Error, PurgeLog,
    policy::{Placement, Secret, StoredHead, Wanted},
    storage::{Entry, Found, StoredBody, Visitor},
};

/// Asks the two by turns.
#[derive(Clone)]
pub(crate) struct Pair<M> {
    stores: [M; 2],
    turn: Arc<AtomicUsize>,
}

impl<M> Pair<M> {
    pub(crate) fn of(stores: [M; 2]) -> Self {
        Self { stores, turn: Arc::default() }
    }

    fn next(&self) -> &M {
        &self.stores[self.turn.fetch_add(1, Ordering::Relaxed) % 2]
    }
}

impl<M: CacheManager> CacheManager for Pair<M> {
    type Handle = M::Handle;
    type Writer = M::Writer;

    fn secret(&self) -> &Secret {
        self.next().secret()
    }

    fn max_entry_bytes(&self) -> u64 {
        self.next().max_entry_bytes()
    }

    fn get_now(&self, wanted: &Wanted<'_>) -> Option<Result<Found<M::Handle>, Error>> {
        self.next().get_now(wanted)
    }

    async fn get(&self, wanted: &Wanted<'_>) -> Result<Found<M::Handle>, Error> {
        self.next().get(wanted).await
    }

    fn read(&self, entry: &Entry<M::Handle>, range: Range<u64>) -> StoredBody {
        self.next().read(entry, range)
    }

    async fn put(&self, placement: Placement, head: StoredHead) -> Result<M::Writer, Error> {
        self.next().put(placement, head).await
    }

    async fn update(&self, entry: &Entry<M::Handle>, head: StoredHead) -> Result<bool, Error> {
        self.next().update(entry, head).await
    }

    async fn remove(&self, entry: &Entry<M::Handle>) -> Result<bool, Error> {
        self.next().remove(entry).await
    }

    async fn delete(&self, key: &CacheKey) -> Result<(), Error> {
        self.next().delete(key).await
    }

    async fn clear(&self) -> Result<(), Error> {
        self.next().clear().await
    }

    async fn sync(&self) -> Result<(), Error> {
        self.next().sync().await
    }

    fn purge_log(&self) -> &PurgeLog {
        self.stores[0].purge_log()
    }

    async fn scan(&self, visitor: &mut impl Visitor<M::Handle>) -> Result<(), Error> {
        self.next().scan(visitor).await
    }
}
