//! What a start knows at once, and what it finds out.

use std::{fs, os::unix::fs::FileExt, path::Path};

use larder::{
    CacheManager, DiskManager, Purge,
    storage::{DiskOptions, suite::block_on},
};

use crate::site::{Ask, eventually, files, noise, scratch};

const PAGES: u64 = 12;

fn page(n: u64) -> (Ask, Vec<u8>) {
    (Ask::new(&format!("/{n}")), noise(n, 1000 * n as usize))
}

/// A store whose catalog has a snapshot and what follows it.
fn filled() -> std::path::PathBuf {
    let path = scratch();
    block_on(async {
        for half in [0..PAGES / 2, PAGES / 2..PAGES + 2] {
            let store = DiskManager::open(&path).unwrap();
            for n in half {
                let (ask, body) = page(n);
                ask.put(&store, &[], body).await.unwrap();
            }
            store.sync().await.unwrap();
            for n in PAGES..PAGES + 2 {
                store.delete(page(n).0.lookup().key()).await.unwrap();
            }
        }
    });
    path
}

/// All is found at once, and counted in the end.
#[track_caller]
fn check(path: &Path, what: &str) {
    let store = DiskManager::open(path).unwrap();
    for n in 0..PAGES {
        let (ask, body) = page(n);
        let found = block_on(ask.body(&store)).unwrap_or_else(|| panic!("{what}: {n} is lost"));
        assert!(found.unwrap() == body, "{what}: wrong bytes of {n}");
    }
    let there = files(&path.join("files"));
    let taken = there.iter().map(|file| fs::metadata(file).unwrap().len().div_ceil(4096) * 4096);
    let (len, bytes) = (there.len() as u64, taken.sum::<u64>());
    eventually(|| (store.len(), store.bytes()) == (len, bytes));
}

/// Truncated at every byte it opens, and nothing is lost that is there. That it loses its
/// tail only is shown beside the code.
#[test]
fn a_catalog_that_was_cut_anywhere_opens() {
    let path = filled();
    let whole = fs::read(path.join("catalog")).unwrap();
    check(&path, "whole");
    for cut in 0..whole.len() {
        fs::write(path.join("catalog"), &whole[..cut]).unwrap();
        check(&path, &format!("cut at {cut} of {}", whole.len()));
    }
    fs::remove_file(path.join("catalog")).unwrap();
    check(&path, "removed");
}

#[test]
fn a_catalog_with_a_flipped_byte_opens() {
    let path = filled();
    let whole = fs::read(path.join("catalog")).unwrap();
    for at in (0..whole.len()).step_by(3) {
        fs::write(path.join("catalog"), &whole).unwrap();
        let file = fs::File::options().write(true).open(path.join("catalog")).unwrap();
        file.write_all_at(&[whole[at] ^ 0x04], at as u64).unwrap();
        check(&path, &format!("flipped at {at}"));
    }
}

/// Another store's catalog, or an older one: it says what is not there, and not what is.
#[test]
fn a_catalog_that_is_wrong_is_put_right() {
    let path = filled();
    let other = scratch();
    let store = DiskManager::open(&other).unwrap();
    block_on(async {
        for n in 100..150 {
            let (ask, body) = page(n);
            ask.put(&store, &[], body).await.unwrap();
        }
    });
    drop(store);
    fs::copy(other.join("catalog"), path.join("catalog")).unwrap();
    check(&path, "exchanged");
    check(&path, "put right");
}

/// What a scan cannot see: which files count towards the share of their resource.
#[test]
fn shares_are_known_after_a_start() {
    let path = scratch();
    let open = || DiskOptions::new().max_bytes(1 << 20).open(&path).unwrap();
    let put = |store: &DiskManager, n: u64| {
        let ask = Ask::new("/").with("accept-language", &n.to_string());
        block_on(ask.put(store, &[("vary", "accept-language")], noise(n, 30_000))).is_ok()
    };
    let store = open();
    let taken = (0..20).filter(|n| put(&store, *n)).count();
    assert!((6..=8).contains(&taken), "a quarter of the store: {taken}");
    drop(store);
    let store = open();
    eventually(|| store.len() > taken as u64);
    assert!((30..40).all(|n| !put(&store, n)), "it is still full");
    drop(store);
    // Without the catalog nobody knows; no more is lost than that.
    fs::remove_file(path.join("catalog")).unwrap();
    let store = open();
    assert!(put(&store, 50));
}

/// What a scan cannot see: which files were used last. Also a program counts that is too short to
/// learn what is there.
#[test]
fn uses_are_known_after_a_start() {
    let path = scratch();
    let store = DiskManager::open(&path).unwrap();
    block_on(async {
        for n in 0..300 {
            let ask = Ask::new(&format!("/{n}"));
            ask.put(&store, &[], noise(n, 3000)).await.unwrap();
        }
    });
    drop(store);
    for n in 0..20 {
        let store = DiskManager::open(&path).unwrap();
        assert!(block_on(Ask::new(&format!("/{n}")).find(&store)).is_some());
    }
    let store = DiskOptions::new().max_entries(150).open(&path).unwrap();
    eventually(|| files(&path.join("files")).len() <= 150);
    let is_there = |n: &u64| block_on(Ask::new(&format!("/{n}")).find(&store)).is_some();
    assert_eq!((0..20).filter(is_there).count(), 20, "what was used last stays");
    assert!((20..160).filter(is_there).count() < 70, "what was not goes");
    assert!((160..300).filter(is_there).count() > 70, "the older first");
}

/// A log of purges that was replaced by an older copy is as good as none, also if no response knows
/// better: it is noticed before anything is served.
#[test]
fn an_older_log_of_purges_is_noticed() {
    let path = scratch();
    let ask = Ask::new("/");
    block_on(async {
        let store = DiskManager::open(&path).unwrap();
        ask.put(&store, &[], "purged").await.unwrap();
        let old = fs::read(path.join("purges")).unwrap();
        store.purge_log().append(Purge::url("http://a.example/").unwrap());
        store.purge_log().sync().await.unwrap();
        drop(store);
        fs::write(path.join("purges"), &old).unwrap();
        let store = DiskManager::open(&path).unwrap();
        assert!(ask.find(&store).await.is_none());
        assert!(store.purge_log().position() >= 1);
        ask.put(&store, &[], "again").await.unwrap();
    });
}
