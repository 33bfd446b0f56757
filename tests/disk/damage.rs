use std::{fs, io::Write, os::unix::fs::FileExt};

use http_body_util::BodyExt;
use larder::{CacheManager, DiskManager, storage::EntryWriter, storage::suite::block_on};

use crate::site::{Ask, collect, files, noise, scratch};

/// Copies what one store has on disk, so that each damage is done to it anew.
struct Original {
    path: std::path::PathBuf,
    relative: Vec<(std::path::PathBuf, Vec<u8>)>,
}

impl Original {
    /// With a response without `Vary`, two variants, and one that is not read at once.
    fn new() -> Self {
        let path = scratch();
        let store = DiskManager::open(&path).unwrap();
        block_on(async {
            for (ask, fields, body) in pages() {
                let (placement, head) = ask.place(&store, &fields);
                let mut writer = store.put(placement, head).await.unwrap();
                writer.write(body.into()).await.unwrap();
                let mut trailers = http::HeaderMap::new();
                trailers.insert("x-sum", "1".parse().unwrap());
                writer.finish(Some(trailers)).await.unwrap();
            }
        });
        drop(store);
        let kept = files(&path.join("files"));
        let relative = kept.into_iter().map(|file| {
            let bytes = fs::read(&file).unwrap();
            (file, bytes)
        });
        Self { relative: relative.collect(), path }
    }

    /// Whatever is found is one of the pages, whole, or an error.
    fn check(&self, what: &str) -> usize {
        let store = DiskManager::open(&self.path).unwrap();
        let mut found = 0;
        block_on(async {
            for (ask, fields, body) in pages() {
                let Some(entry) = ask.find(&store).await else { continue };
                for (name, value) in &fields {
                    assert_eq!(entry.response().head().headers()[*name], *value, "{what}");
                }
                let read = store.read(&entry, 0..entry.response().length());
                if let Ok(read) = read.collect().await {
                    assert_eq!(read.trailers().unwrap()["x-sum"], "1", "{what}");
                    assert!(read.to_bytes() == body, "{what}: wrong bytes");
                    found += 1;
                }
            }
        });
        found
    }

    fn restore(&self) {
        for (path, bytes) in &self.relative {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        }
    }
}

type Pages = [(Ask, Vec<(&'static str, &'static str)>, Vec<u8>); 4];

fn pages() -> Pages {
    let speaker = |language| Ask::new("/vary").with("accept-language", language);
    [
        (Ask::new("/plain"), vec![("x-name", "plain")], noise(1, 300)),
        (speaker("en"), vec![("vary", "accept-language"), ("x-name", "en")], noise(2, 200)),
        (speaker("de"), vec![("vary", "accept-language"), ("x-name", "de")], noise(3, 100)),
        (Ask::new("/large"), vec![("x-name", "large")], noise(4, 150_000)),
    ]
}

/// Each byte of small files, and of a large one the ends and some of its middle.
fn places(length: usize) -> impl Iterator<Item = usize> {
    let step = if length > 10_000 { 4099 } else { 1 };
    (0..length)
        .filter(move |at| *at < 1000.min(length) && step > 1 || at % step == 0 || at + 200 > length)
}

/// A file that was cut anywhere is a miss, or an error of the body.
#[test]
fn a_file_that_was_cut_is_never_served_wrong() {
    let original = Original::new();
    assert_eq!(original.check("untouched"), 4);
    for (path, bytes) in &original.relative {
        for cut in places(bytes.len()).step_by(7) {
            original.restore();
            fs::write(path, &bytes[..cut]).unwrap();
            let found = original.check(&format!("{path:?} cut to {cut} of {}", bytes.len()));
            assert!(found < 4, "a cut is noticed");
        }
    }
}

/// A byte that was flipped anywhere changes nothing, or is a miss or an error of the body.
#[test]
fn a_file_with_a_flipped_byte_is_never_served_wrong() {
    let original = Original::new();
    for (path, bytes) in &original.relative {
        for at in places(bytes.len()).step_by(5) {
            original.restore();
            let file = fs::File::options().write(true).open(path).unwrap();
            file.write_all_at(&[bytes[at] ^ 0x20], at as u64).unwrap();
            drop(file);
            original.check(&format!("{path:?} flipped at {at} of {}", bytes.len()));
        }
    }
}

/// What a power failure leaves: files of the right length with nothing, or zeros, in them; and what
/// belongs to another.
#[test]
fn a_file_that_was_emptied_or_exchanged_is_a_miss() {
    let original = Original::new();
    let all = &original.relative;
    for n in 0..all.len() {
        let (path, bytes) = &all[n];
        let zeros = vec![0; bytes.len()];
        let mut longer = bytes.clone();
        longer.write_all(b"more").unwrap();
        for content in [&[][..], &zeros, &longer, &all[(n + 1) % all.len()].1] {
            original.restore();
            fs::write(path, content).unwrap();
            assert!(original.check(&format!("{path:?}")) < 4);
        }
    }
}

/// What is damaged is counted and removed, and can be stored again.
#[test]
fn what_is_damaged_is_forgotten() {
    let path = scratch();
    let store = DiskManager::open(&path).unwrap();
    let ask = Ask::new("/");
    let body = noise(1, 200_000);
    block_on(async {
        for at in [0, 60, 100_000] {
            ask.put(&store, &[], body.clone()).await.unwrap();
            let [file] = &files(&path.join("files"))[..] else { panic!("one file") };
            let file = fs::File::options().write(true).open(file).unwrap();
            file.write_all_at(b"damage", at).unwrap();
            let before = store.damaged();
            assert!(ask.body(&store).await.is_none_or(|body| body.is_err()));
            assert!(ask.find(&store).await.is_none(), "damaged at {at}");
            assert_eq!((store.damaged(), store.len()), (before + 1, 0));
        }
        ask.put(&store, &[], body.clone()).await.unwrap();
        assert_eq!(ask.body(&store).await.unwrap().unwrap(), body);
    });
}

/// A directory that goes away takes what is stored with it, and no request fails for it.
#[test]
fn a_directory_that_was_removed_is_empty() {
    let path = scratch();
    let store = DiskManager::open(&path).unwrap();
    let (small, large) = (Ask::new("/small"), Ask::new("/large"));
    let body = noise(1, 1 << 20);
    block_on(async {
        small.put(&store, &[], "hello").await.unwrap();
        large.put(&store, &[], body.clone()).await.unwrap();
        let entry = large.find(&store).await.unwrap();
        fs::remove_dir_all(&path).unwrap();
        let read = store.read(&entry, 0..entry.response().length());
        assert_eq!(collect(read).await.unwrap(), body, "what is open is read on");
        for ask in [&small, &large] {
            assert!(!matches!(ask.try_find(&store).await, Ok(Some(_))));
            assert!(ask.put(&store, &[], body.clone()).await.is_err());
        }
        store.delete(small.lookup().key()).await.unwrap();
        assert!(!store.remove(&entry).await.unwrap());
        store.sync().await.unwrap();
    });
}
