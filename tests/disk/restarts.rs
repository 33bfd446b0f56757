use std::{
    fs,
    time::{Duration, Instant},
};

use larder::{
    CacheManager, DiskManager,
    storage::{DiskOptions, Durability, EntryWriter, suite::block_on},
};

use crate::site::{Ask, eventually, files, noise, scratch};

/// A response, its variants, an updated head, and what was removed: all as they were.
#[test]
fn a_store_that_is_opened_again_has_what_it_had() {
    for durability in
        [Durability::Relaxed, Durability::Strict, Durability::Periodic(Duration::from_millis(10))]
    {
        let path = scratch();
        let open = || DiskOptions::new().durability(durability).open(&path).unwrap();
        let speaker = |language| Ask::new("/vary").with("accept-language", language);
        let vary = ("vary", "accept-language");
        let large = noise(1, 3 << 20);
        let store = open();
        block_on(async {
            Ask::new("/plain").put(&store, &[("x-name", "old")], "plain").await.unwrap();
            Ask::new("/large").put(&store, &[], large.clone()).await.unwrap();
            Ask::new("/vary").put(&store, &[], "no variant").await.unwrap();
            for language in ["en", "de", "fr"] {
                speaker(language).put(&store, &[vary], language).await.unwrap();
            }
            Ask::new("/deleted").put(&store, &[], "deleted").await.unwrap();
            store.delete(Ask::new("/deleted").lookup().key()).await.unwrap();
            let entry = Ask::new("/plain").find(&store).await.unwrap();
            let head = Ask::new("/plain").place(&store, &[("x-name", "new")]).1;
            assert!(store.update(&entry, head).await.unwrap());
            let entry = speaker("fr").find(&store).await.unwrap();
            assert!(store.remove(&entry).await.unwrap());
        });
        drop(store);
        let store = open();
        block_on(async {
            let entry = Ask::new("/plain").find(&store).await.unwrap();
            assert_eq!(entry.response().head().headers()["x-name"], "new");
            assert_eq!(Ask::new("/plain").body(&store).await.unwrap().unwrap(), "plain");
            assert!(Ask::new("/large").body(&store).await.unwrap().unwrap() == large);
            for language in ["en", "de"] {
                assert_eq!(speaker(language).body(&store).await.unwrap().unwrap(), language);
            }
            assert_eq!(speaker("fr").body(&store).await.unwrap().unwrap(), "no variant");
            assert!(Ask::new("/deleted").find(&store).await.is_none());
        });
    }
}

/// A head that outgrows its slots is written with the file; the body stays.
#[test]
fn heads_of_any_size_replace_each_other() {
    let path = scratch();
    let ask = Ask::new("/");
    let body = noise(1, 300_000);
    let mut store = DiskManager::open(&path).unwrap();
    block_on(ask.put(&store, &[], body.clone())).unwrap();
    for (n, size) in [0, 10, 5000, 100, 20_000, 0].into_iter().enumerate() {
        let text = "x".repeat(size);
        let (number, fields) = (n.to_string(), ("x-text", text.as_str()));
        block_on(async {
            let entry = ask.find(&store).await.unwrap();
            let head = ask.place(&store, &[fields, ("x-number", &number)]).1;
            assert!(store.update(&entry, head.clone()).await.unwrap());
            assert!(!store.update(&entry, head).await.unwrap(), "it is another entry now");
        });
        drop(store);
        store = DiskManager::open(&path).unwrap();
        block_on(async {
            let entry = ask.find(&store).await.unwrap();
            let headers = entry.response().head().headers();
            assert_eq!(headers["x-text"], text);
            assert_eq!(headers["x-number"], number);
            assert!(ask.body(&store).await.unwrap().unwrap() == body);
        });
    }
}

/// What was being written when a process ended is swept at the next start.
#[test]
fn leftovers_are_swept() {
    let path = scratch();
    let store = DiskManager::open(&path).unwrap();
    block_on(Ask::new("/").put(&store, &[], "hello")).unwrap();
    drop(store);
    fs::write(path.join("tmp/77"), "half a response").unwrap();
    fs::create_dir_all(path.join("old-1/ab")).unwrap();
    fs::write(path.join("old-1/ab/cd"), "forgotten").unwrap();
    let store = DiskManager::open(&path).unwrap();
    eventually(|| !path.join("old-1").exists() && files(&path.join("tmp")).is_empty());
    assert_eq!(block_on(Ask::new("/").body(&store)).unwrap().unwrap(), "hello");
}

/// What a start finds is counted in the background.
#[test]
fn what_is_there_is_counted() {
    let path = scratch();
    let store = DiskManager::open(&path).unwrap();
    block_on(async {
        for n in 0..50 {
            Ask::new(&format!("/{n}")).put(&store, &[], noise(n, 5000)).await.unwrap();
        }
    });
    let (bytes, len) = (store.bytes(), store.len());
    assert_eq!((bytes, len), (50 * 8192, 50));
    drop(store);
    let store = DiskManager::open(&path).unwrap();
    eventually(|| (store.bytes(), store.len()) == (bytes, len));
}

/// A start does not wait for what is there to be counted. `LARDER_ENTRIES=100000` for more.
#[test]
fn a_start_serves_at_once() {
    let entries = std::env::var("LARDER_ENTRIES").ok().and_then(|text| text.parse().ok());
    let entries = entries.unwrap_or(500);
    let path = scratch();
    let store = DiskManager::open(&path).unwrap();
    block_on(async {
        for n in 0..entries {
            Ask::new(&format!("/{n}")).put(&store, &[], n.to_string()).await.unwrap();
        }
    });
    drop(store);
    let start = Instant::now();
    let store = DiskManager::open(&path).unwrap();
    let last = Ask::new(&format!("/{}", entries - 1));
    let body = block_on(last.body(&store)).unwrap().unwrap();
    let served = start.elapsed();
    assert_eq!(body, (entries - 1).to_string());
    // A stalled disk is no failure of ours, but where the figures are asked for.
    let limit = if std::env::var_os("LARDER_ENTRIES").is_some() { 1 } else { 30 };
    assert!(served < Duration::from_secs(limit), "{served:?}");
    eventually(|| store.len() == entries);
    println!("served after {served:?}, all {entries} counted after {:?}", start.elapsed());
}

/// `sync` waits for what is being written, and for nothing that is not.
#[test]
fn sync_waits_for_writers() {
    let store = DiskManager::open(scratch()).unwrap();
    let ask = Ask::new("/");
    block_on(async {
        store.sync().await.unwrap();
        let (placement, head) = ask.place(&store, &[]);
        let mut writer = store.put(placement, head).await.unwrap();
        writer.write("hello".into()).await.unwrap();
        let finish = tokio::spawn(writer.finish(None));
        // It has been called, and is not waited for.
        tokio::task::yield_now().await;
        store.sync().await.unwrap();
        assert_eq!(ask.body(&store).await.unwrap().unwrap(), "hello");
        finish.await.unwrap().unwrap();
    });
}
