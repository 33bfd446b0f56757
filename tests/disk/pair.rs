//! Two stores over one directory, as two processes have them, taken for one.

use std::{
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use larder::{
    CacheKey, CacheManager, DiskManager, Error, PurgeLog,
    policy::{Placement, Secret, StoredHead, Wanted},
    storage::{DiskOptions, Entry, Found, StoredBody},
};

use crate::site::scratch;

type Handle = <DiskManager as CacheManager>::Handle;

/// Asks the owner of a directory and a guest by turns.
#[derive(Clone)]
pub(crate) struct Pair {
    stores: [DiskManager; 2],
    turn: Arc<AtomicUsize>,
}

impl Pair {
    pub(crate) fn new() -> Self {
        let path = scratch();
        let open = || DiskOptions::new().max_bytes(8 << 20).open(&path).expect("the store opens");
        let stores = [open(), open()];
        assert!(!stores[0].is_guest() && stores[1].is_guest());
        Self { stores, turn: Arc::default() }
    }

    fn next(&self) -> &DiskManager {
        &self.stores[self.turn.fetch_add(1, Ordering::Relaxed) % 2]
    }
}

impl CacheManager for Pair {
    type Handle = Handle;
    type Writer = <DiskManager as CacheManager>::Writer;

    fn secret(&self) -> &Secret {
        self.next().secret()
    }

    fn max_entry_bytes(&self) -> u64 {
        self.next().max_entry_bytes()
    }

    fn get_now(&self, wanted: &Wanted<'_>) -> Option<Result<Found<Handle>, Error>> {
        self.next().get_now(wanted)
    }

    async fn get(&self, wanted: &Wanted<'_>) -> Result<Found<Handle>, Error> {
        self.next().get(wanted).await
    }

    fn read(&self, entry: &Entry<Handle>, range: Range<u64>) -> StoredBody {
        self.next().read(entry, range)
    }

    async fn put(&self, placement: Placement, head: StoredHead) -> Result<Self::Writer, Error> {
        self.next().put(placement, head).await
    }

    async fn update(&self, entry: &Entry<Handle>, head: StoredHead) -> Result<bool, Error> {
        self.next().update(entry, head).await
    }

    async fn remove(&self, entry: &Entry<Handle>) -> Result<bool, Error> {
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
}
