//! Two stores over one namespace, as two nodes have them, taken for one.

use std::{
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use larder::{
    CacheKey, CacheManager, Error, PurgeLog, RedisManager,
    policy::{Placement, Secret, StoredHead, Wanted},
    storage::{Entry, Found, RedisHandle, RedisWriter, StoredBody, Visitor},
};

use crate::server::{namespace, options, shared};

/// Asks two nodes by turns.
#[derive(Clone)]
pub(crate) struct Pair {
    stores: [RedisManager; 2],
    turn: Arc<AtomicUsize>,
}

impl Pair {
    pub(crate) fn new() -> Option<Self> {
        let (url, namespace) = (shared()?, namespace());
        let open = || options(&namespace).open(url).expect("the URL is fine");
        Some(Self { stores: [open(), open()], turn: Arc::default() })
    }

    fn next(&self) -> &RedisManager {
        &self.stores[self.turn.fetch_add(1, Ordering::Relaxed) % 2]
    }
}

impl CacheManager for Pair {
    type Handle = RedisHandle;
    type Writer = RedisWriter;

    fn secret(&self) -> &Secret {
        self.next().secret()
    }

    fn max_entry_bytes(&self) -> u64 {
        self.next().max_entry_bytes()
    }

    async fn get(&self, wanted: &Wanted<'_>) -> Result<Found<RedisHandle>, Error> {
        self.next().get(wanted).await
    }

    fn read(&self, entry: &Entry<RedisHandle>, range: Range<u64>) -> StoredBody {
        self.next().read(entry, range)
    }

    async fn put(&self, placement: Placement, head: StoredHead) -> Result<RedisWriter, Error> {
        self.next().put(placement, head).await
    }

    async fn update(&self, entry: &Entry<RedisHandle>, head: StoredHead) -> Result<bool, Error> {
        self.next().update(entry, head).await
    }

    async fn remove(&self, entry: &Entry<RedisHandle>) -> Result<bool, Error> {
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

    async fn scan(&self, visitor: &mut impl Visitor<RedisHandle>) -> Result<(), Error> {
        self.next().scan(visitor).await
    }
}
