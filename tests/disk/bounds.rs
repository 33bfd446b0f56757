use std::{
    thread,
    time::{Duration, Instant},
};

use larder::{
    CacheManager,
    storage::{DiskManager, DiskOptions, suite::block_on},
};

use crate::site::{Ask, eventually, files, noise, scratch};

/// Stores, also where the store must make room first.
async fn put(store: &DiskManager, path: &str, body: Vec<u8>) {
    let start = Instant::now();
    while Ask::new(path).put(store, &[], body.clone()).await.is_err() {
        assert!(start.elapsed() < Duration::from_secs(30), "there is never room");
        thread::yield_now();
    }
}

/// The bound on bytes holds, and what is used stays.
#[test]
fn what_was_not_used_goes_first() {
    let store = DiskOptions::new().max_bytes(2 << 20).open(scratch()).unwrap();
    block_on(async {
        put(&store, "/hot", noise(0, 1000)).await;
        for n in 0..1000 {
            put(&store, &format!("/{n}"), noise(n, 12_000)).await;
            assert!(store.bytes() <= (2 << 20) * 11 / 10 + 16_384);
            assert!(Ask::new("/hot").find(&store).await.is_some(), "after {n}");
        }
        eventually(|| store.bytes() <= 2 << 20);
        assert!(store.bytes() > 1 << 20, "no more goes than has to");
        assert!(Ask::new("/999").find(&store).await.is_some());
        assert!(Ask::new("/0").find(&store).await.is_none());
    });
}

#[test]
fn the_number_of_files_is_bounded() {
    let store = DiskOptions::new().max_entries(100).open(scratch()).unwrap();
    block_on(async {
        for n in 0..500 {
            put(&store, &format!("/{n}"), noise(n, 10)).await;
            assert!(store.len() <= 111);
        }
        eventually(|| store.len() <= 100);
        eventually(|| {
            let usage = store.usage().unwrap();
            usage.records() + usage.evicted() == 500
        });
    });
}

/// The bounds hold for what a start finds, too.
#[test]
fn a_smaller_bound_is_kept_after_a_start() {
    let path = scratch();
    let store = DiskOptions::new().open(&path).unwrap();
    block_on(async {
        for n in 0..200 {
            put(&store, &format!("/{n}"), noise(n, 12_000)).await;
        }
    });
    drop(store);
    let store = DiskOptions::new().max_bytes(1 << 20).open(&path).unwrap();
    eventually(|| (1..=1 << 20).contains(&store.bytes()));
}

/// More must be free than there is: nothing is written, what is stored gives way, no error but that.
#[test]
fn a_disk_that_is_short_of_space_takes_nothing() {
    let path = scratch();
    let store = DiskOptions::new().open(&path).unwrap();
    block_on(Ask::new("/").put(&store, &[], "hello")).unwrap();
    drop(store);
    let store = DiskOptions::new().min_free_bytes(u64::MAX).open(&path).unwrap();
    block_on(async {
        eventually(|| store.is_empty() && files(&path.join("files")).is_empty());
        assert!(Ask::new("/").find(&store).await.is_none());
        assert!(Ask::new("/").put(&store, &[], "again").await.is_err());
        store.delete(Ask::new("/").lookup().key()).await.unwrap();
        store.clear().await.unwrap();
    });
}
