//! What an observer hears of the store: what is kept and what is not, what goes, and what fails.

use std::time::Duration;

use larder::{CacheManager, Disconnect, MemoryManager, NoExecutor, Policy, Purge};

use super::{
    notes::observed,
    spy::{Call, Fault, Spy},
};
#[cfg(feature = "disk")]
use crate::support::scratch::Scratch;
use crate::support::{cache, cache_over, channel, ok, read, status};

/// Why a response that was to be stored is not: one event, whatever happens on its way.
#[tokio::test]
async fn what_is_not_stored_has_a_reason() {
    let small = || cache_over(MemoryManager::with_max_entry_bytes(1 << 20, 1000), Policy::shared());
    let (cache, notes) = observed(small());
    cache.origin.on(|_| ok().cache_control("max-age=60").text("x".repeat(2000)));
    cache.get("/").await;
    assert_eq!(notes.of("not stored"), ["not stored: too-large"], "by its length");
    let sending = |length: Option<&'static str>| {
        let (cache, notes) = observed(small());
        let (sender, body) = channel();
        let mut body = Some(body);
        cache.origin.on(move |_| {
            let reply = ok().cache_control("max-age=60");
            let reply =
                length.into_iter().fold(reply, |reply, n| reply.header("content-length", n));
            reply.body(body.take().unwrap())
        });
        (cache, notes, sender)
    };
    for (length, sent, expected) in [
        (None, 2000, vec!["not stored: too-large"]),
        (Some("9"), 8, vec!["not stored: incomplete", "body failed"]),
        (Some("9"), 10, vec!["not stored: content-length", "body failed"]),
    ] {
        let (cache, notes, sender) = sending(length);
        let response = cache.open("/").await;
        sender.data(vec![b'x'; sent]);
        drop(sender);
        let _ = read(response).await;
        let told = notes.take();
        let told: Vec<_> = told
            .iter()
            .filter(|note| note.contains("not stored") || note.contains("body"))
            .collect();
        assert_eq!(told, expected, "{length:?} {sent}");
    }
    let (cache, notes, sender) = sending(None);
    let response = cache.open("/").await;
    sender.data("x");
    sender.error("reset");
    read(response).await.unwrap_err();
    let told = notes.take();
    assert!(told.contains(&"not stored: incomplete".to_owned()), "{told:?}");
    assert!(told.contains(&"body failed".to_owned()), "{told:?}");

    let (cache, notes, sender) = sending(None);
    let cache = cache.layered(|layer| layer.on_disconnect(Disconnect::Abandon));
    drop(cache.open("/").await);
    assert_eq!(notes.of("not stored"), ["not stored: abandoned"]);
    assert!(sender.is_closed());

    let (cache, notes, sender) = sending(None);
    let response = cache.open("/").await;
    cache.layer.handle().purge(Purge::everything()).await.unwrap();
    sender.data("x");
    drop(sender);
    read(response).await.unwrap();
    assert_eq!(notes.of("not stored"), ["not stored: invalidated"]);
}

/// Requirements, Decision 8: what the store cannot do is told, with what it was and whether it failed
/// or was late; the requests do not notice.
#[tokio::test]
async fn each_failure_of_the_store_names_the_operation() {
    let table = [
        (Call::Get, "get"),
        (Call::Put, "put"),
        (Call::Write, "put"),
        (Call::Finish, "put"),
        (Call::Update, "update"),
        (Call::Remove, "remove"),
        (Call::Delete, "delete"),
        (Call::Scan, "scan"),
    ];
    for (call, operation) in table {
        for (fault, how) in [(Fault::Fail, "failed"), (Fault::Hang, "late")] {
            if call == Call::Scan && how == "late" {
                continue; // a walk takes as long as it does
            }
            let spy = if call == Call::Get { Spy::waiting() } else { Spy::new() };
            let (cache, notes) = observed(cache_over(spy.clone(), Policy::shared()));
            let cache = cache.layered(|layer| layer.executor(NoExecutor));
            let is_new = call == Call::Remove;
            cache.origin.on(move |request| match request.headers().get("if-none-match") {
                Some(_) if is_new => ok().cache_control("no-store").text("hello"),
                Some(_) => status(304).text(""),
                None => ok().cache_control("max-age=10").header("etag", "\"1\"").text("hello"),
            });
            if !matches!(call, Call::Put | Call::Write | Call::Finish) {
                cache.get("/").await;
            }
            spy.breaks(call, fault);
            notes.take();
            let method = if call == Call::Delete { "POST" } else { "GET" };
            if call == Call::Scan {
                let purged = cache.layer.handle().purge(Purge::tag("t")).await.unwrap();
                purged.swept().await.unwrap_err();
            } else {
                cache.clock.advance_secs(10);
                cache.send_by_clock(method).await.unwrap();
            }
            let told = notes.of("store ");
            assert_eq!(told, [format!("store {how}: {operation}")], "{call:?} {fault:?}");
            let stats = cache.layer.handle().stats();
            let counted = (stats.store_failures(), stats.store_timeouts());
            assert_eq!(counted, if how == "late" { (0, 1) } else { (1, 0) });
        }
    }
}

/// Every purge of the store is told once, with its count when it is swept, however many clones there
/// are; an observer that is gone is told nothing.
#[tokio::test]
async fn each_purge_is_told_with_its_count() {
    let (cache, notes) = observed(cache(Policy::shared()));
    cache.origin.on(|_| ok().cache_control("max-age=60").header("surrogate-key", "t").text("x"));
    for path in ["/a", "/b", "/c"] {
        cache.get(path).await;
    }
    let other = cache.layer.clone().default_ttl(Duration::from_secs(1));
    notes.take();
    for (handle, purge) in
        [(other.handle(), Purge::tag("t").soft()), (cache.layer.handle(), Purge::host("a.example"))]
    {
        handle.purge(purge).await.unwrap().swept().await.unwrap();
    }
    let told = notes.take();
    assert_eq!(told.len(), 4, "{told:?}");
    assert!(told[0].starts_with("purge ") && told[2].starts_with("purge "), "{told:?}");
    assert!(told[1].starts_with("swept ") && told[1].ends_with(": 3"), "{told:?}");
    assert!(told[3].starts_with("swept ") && told[3].ends_with(": 3"), "{told:?}");
    let log = cache.layer.handle().manager().purge_log().clone();
    drop((cache, other));
    log.append(Purge::everything());
    assert!(notes.take().is_empty());
}

/// Scenario 4.3: of 10 000 variants 9 936 are told to have gone, and the store says the same.
#[tokio::test]
async fn variants_that_go_are_told() {
    let (cache, notes) = observed(cache(Policy::shared().max_variants(64)));
    cache.origin.on(|_| ok().cache_control("max-age=60").header("vary", "accept").text("x"));
    for value in 0..10_000 {
        cache.get_with("/", &[("accept", &value.to_string())]).await.assert_forwarded();
    }
    let gone = notes.of("gone");
    assert!(gone.iter().all(|note| note == "gone 0 1 0"), "one for one");
    assert_eq!(gone.len(), 9936);
    let usage = cache.layer.handle().stats().usage().unwrap();
    assert_eq!((usage.variants_evicted(), usage.variants_refused()), (9936, 0));
    assert_eq!((usage.records(), usage.evicted()), (65, 0));
}

/// What makes room is told, and adds up: all that was stored is there, or has gone.
#[tokio::test]
async fn what_makes_room_is_told() {
    let (cache, notes) = observed(cache_over(MemoryManager::new(1 << 20), Policy::shared()));
    cache.origin.on(|_| ok().cache_control("max-age=60").text("x".repeat(10_000)));
    for n in 0..1000 {
        cache.get(&format!("/{n}")).await;
    }
    let told: u64 = notes
        .of("gone")
        .iter()
        .map(|note| note.split(' ').nth(1).unwrap().parse::<u64>().unwrap())
        .sum();
    let usage = cache.layer.handle().stats().usage().unwrap();
    assert_eq!(told, usage.evicted());
    assert_eq!(usage.records() + usage.evicted(), 1000);
}

/// A store that fails to give a body is told; the client gets an error, and no short body.
#[cfg(feature = "disk")]
#[tokio::test]
async fn a_body_that_cannot_be_read_is_told() {
    let scratch = Scratch::new();
    let manager = larder::DiskManager::open(scratch.path()).unwrap();
    let (cache, notes) = observed(cache_over(manager, Policy::shared()));
    cache.origin.on(|_| ok().cache_control("max-age=60").text("x".repeat(1 << 20)));
    cache.get("/").await;
    cache.layer.handle().sync().await.unwrap();
    let response = cache.open("/").await;
    assert!(response.body().status().is_hit());
    let mut found = 0;
    for file in walk(scratch.path()) {
        if std::fs::metadata(&file).unwrap().len() >= 1 << 20 {
            let bytes = std::fs::read(&file).unwrap();
            let damaged: Vec<_> = bytes.iter().map(|byte| !byte).collect();
            std::fs::write(&file, damaged).unwrap();
            found += 1;
        }
    }
    assert_eq!(found, 1);
    notes.take();
    read(response).await.unwrap_err();
    assert_eq!(notes.of("store "), ["store failed: read"]);
}

/// What another process over the same directory has purged is told as soon as it is heard.
#[cfg(feature = "disk")]
#[tokio::test]
async fn a_purge_of_another_process_is_told() {
    let scratch = Scratch::new();
    let open = || larder::DiskManager::open(scratch.path()).unwrap();
    let (cache, notes) = observed(cache_over(open(), Policy::shared()));
    cache.origin.on(|_| ok().cache_control("max-age=60").text("x"));
    cache.get("/").await;
    let guest = cache_over(open(), Policy::shared());
    for purge in [Purge::host("a.example"), Purge::everything()] {
        let told = format!("purge {purge}");
        guest.layer.handle().purge(purge).await.unwrap();
        cache.get("/").await.assert_forwarded();
        assert_eq!(notes.of("purge"), [told]);
    }
}

#[cfg(feature = "disk")]
fn walk(path: &std::path::Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path());
    let nested = entries.map(|path| if path.is_dir() { walk(&path) } else { vec![path] });
    nested.flatten().collect()
}
