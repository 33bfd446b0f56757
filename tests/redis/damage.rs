//! What others do to the keys, and servers that are not as they should be: a miss, or a clear error,
//! and never wrong bytes.

use std::time::Duration;

use larder::{CacheManager, Purge, RedisManager, storage::EntryWriter};

use crate::{
    cut::Way,
    nodes::eventually,
    page::{Ask, collect, next, noise},
    server::{keys, namespace, options, own, say, shared, user},
};

/// Of each kind: in its record, in one piece, in several.
const SIZES: [usize; 3] = [8 << 10, 100 << 10, 700 << 10];

fn open(url: &str, namespace: &str) -> RedisManager {
    options(namespace).open(url).unwrap()
}

/// What is found is the body, or nothing, or an error; and it can be stored again.
async fn never_wrong(store: &RedisManager, body: &[u8], what: &str) {
    let ask = Ask::new("/");
    let Ok(Some(entry)) = ask.try_find(store).await else { return };
    let read = collect(store.read(&entry, 0..entry.response().length())).await;
    assert!(read.is_err() || read.unwrap() == body, "{what}: wrong bytes");
    // What failed once is not found again.
    let again = ask.body(store).await;
    assert!(again.is_none_or(|again| again.unwrap() == body), "{what}: found again");
}

/// Each key that a response has is overwritten by rubbish of several kinds, cut short, or gone: also
/// half of a body.
#[tokio::test]
async fn keys_that_were_overwritten_are_misses() {
    let Some(url) = shared() else { return };
    for size in SIZES {
        let body = noise(1, size);
        for rubbish in [&b""[..], b"rubbish", &[0xff; 300], &noise(2, 300 << 10)] {
            let namespace = namespace();
            let (store, ask) = (open(url, &namespace), Ask::new("/"));
            ask.put(&store, &[], body.clone()).await.unwrap();
            for key in keys(url, &namespace, "{????????????????????????????????}:b:*") {
                say(url, &[b"SET", key.as_bytes(), rubbish]);
                never_wrong(&store, &body, "a piece").await;
                ask.put(&store, &[], body.clone()).await.unwrap();
            }
            let [record] = &keys(url, &namespace, "{*}:i")[..] else { panic!("one record") };
            for field in [&b"p"[..], b"i"] {
                say(url, &[b"HSET", record.as_bytes(), field, rubbish]);
                assert!(ask.find(&store).await.is_none(), "{size} {field:?}");
                ask.put(&store, &[], body.clone()).await.unwrap();
                assert!(ask.body(&store).await.unwrap().unwrap() == body);
            }
            say(url, &[b"SET", record.as_bytes(), rubbish]);
            assert!(ask.find(&store).await.is_none(), "a key of another kind");
            assert!(ask.put(&store, &[], body.clone()).await.is_err());
            say(url, &[b"DEL", record.as_bytes()]);
            ask.put(&store, &[], body.clone()).await.unwrap();
            assert!(ask.body(&store).await.unwrap().unwrap() == body);
            assert_eq!(store.state().to_string(), "connected", "none of it was Redis's failure");
        }
    }
}

/// Any bit of a body or record: the sums are looked at before bytes leave.
#[tokio::test]
async fn flipped_bits_are_found() {
    let Some(url) = shared() else { return };
    let namespace = namespace();
    let (store, ask) = (open(url, &namespace), Ask::new("/"));
    for size in SIZES {
        let body = noise(3, size);
        ask.put(&store, &[], body.clone()).await.unwrap();
        for key in keys(url, &namespace, "{????????????????????????????????}:b:*") {
            for at in [0, 8 * 65_535, 8 * 65_536 + 3, 8 * 99_999] {
                let at = at.to_string();
                let bit = say(url, &[b"GETBIT", key.as_bytes(), at.as_bytes()]);
                let other = if bit == "1" { b"0" } else { b"1" };
                say(url, &[b"SETBIT", key.as_bytes(), at.as_bytes(), other]);
                never_wrong(&store, &body, "a bit of a body").await;
                say(url, &[b"SETBIT", key.as_bytes(), at.as_bytes(), bit.as_bytes()]);
                let _ = ask.put(&store, &[], body.clone()).await;
            }
        }
    }
    assert!(store.damaged() > 0);
}

/// Redis may evict any key at any time: a piece that is gone before the first byte is a miss, later
/// it ends the body with an error, and the response is not found again.
#[tokio::test]
async fn what_was_evicted_halfway_is_a_miss_or_an_error() {
    let Some(url) = shared() else { return };
    let namespace = namespace();
    let (store, ask) = (open(url, &namespace), Ask::new("/"));
    let body = noise(4, 3 << 20);
    let piece = |number: usize| {
        let pattern = format!("{{????????????????????????????????}}:b:*:{number}");
        keys(url, &namespace, &pattern)
    };
    for number in [0, 5, 11] {
        ask.put(&store, &[], body.clone()).await.unwrap();
        for key in piece(number) {
            say(url, &[b"DEL", key.as_bytes()]);
        }
        assert!(ask.find(&store).await.is_none(), "{number}");
    }
    ask.put(&store, &[], body.clone()).await.unwrap();
    let entry = ask.find(&store).await.unwrap();
    let mut reading = store.read(&entry, 0..3 << 20);
    assert!(next(&mut reading).await.unwrap().unwrap() == body[..256 << 10]);
    for key in piece(9) {
        say(url, &[b"DEL", key.as_bytes()]);
    }
    let error = collect(reading).await.unwrap_err();
    assert!(error.is_corrupt(), "{error}");
    assert!(ask.find(&store).await.is_none());
    // While it is being written, too.
    let (placement, head) = ask.place(&store, &[]);
    let mut writer = store.put(placement, head).await.unwrap();
    writer.write(body.clone().into()).await.unwrap();
    eventually(async || {
        let keys = piece(2);
        keys.iter().for_each(|key| drop(say(url, &[b"DEL", key.as_bytes()])));
        !keys.is_empty()
    })
    .await;
    assert!(writer.finish(None).await.is_err());
    assert!(ask.find(&store).await.is_none());
}

/// A server that takes nothing more serves what it has.
#[tokio::test]
async fn a_full_server_serves_what_it_has() {
    let Some(server) = own(&[("maxmemory", "8mb"), ("maxmemory-policy", "noeviction")]) else {
        return;
    };
    let store = open(&server.url(), &namespace());
    let body = noise(5, 1 << 20);
    let mut stored = Vec::new();
    let mut refused = 0;
    for n in 0..16 {
        let path = format!("/{n}");
        match Ask::new(&path).put(&store, &[], body.clone()).await {
            Ok(()) => stored.push(path),
            Err(_) => refused += 1,
        }
    }
    assert!(!stored.is_empty() && refused > 0, "{} stored, {refused} refused", stored.len());
    for path in &stored {
        assert!(Ask::new(path).body(&store).await.unwrap().unwrap() == body);
    }
    assert_eq!(store.state().to_string(), "connected");
    say(&server.url(), &[b"CONFIG", b"SET", b"maxmemory", b"0"]);
    Ask::new("/after").put(&store, &[], body.clone()).await.unwrap();
}

/// What a full server has can be purged and invalidated, for all nodes: the log makes its own room.
#[tokio::test]
async fn a_full_server_can_be_purged() {
    let Some(server) = own(&[("maxmemory", "0"), ("maxmemory-policy", "noeviction")]) else {
        return;
    };
    let namespace = namespace();
    let (a, b) = (open(&server.url(), &namespace), open(&server.url(), &namespace));
    for path in ["/deleted", "/kept"] {
        Ask::new(path).put(&a, &[], "x").await.unwrap();
        assert!(Ask::new(path).find(&b).await.is_some());
    }
    say(&server.url(), &[b"CONFIG", b"SET", b"maxmemory", b"1mb"]);
    assert!(Ask::new("/more").put(&a, &[], "x").await.is_err(), "it takes nothing more");
    a.purge_log().append(larder::Purge::host("b.example"));
    a.purge_log().sync().await.unwrap();
    assert!(Ask::new("/kept").find(&b).await.is_some());
    assert_eq!(b.purge_log().position(), a.purge_log().position(), "it has heard of the purge");
    let entry = Ask::new("/deleted").find(&a).await.unwrap();
    a.delete(&a.locate(&entry).unwrap().0).await.unwrap();
    assert!(Ask::new("/deleted").find(&b).await.is_none());
    assert_eq!(b.purge_log().position(), a.purge_log().position(), "and of the deletion");
}

/// One that evicts by itself, under more than it can hold: what is found is whole.
#[tokio::test]
async fn a_server_that_evicts_is_a_cache_still() {
    let Some(server) = own(&[("maxmemory", "6mb"), ("maxmemory-policy", "allkeys-random")]) else {
        return;
    };
    let store = open(&server.url(), &namespace());
    for n in 0..60 {
        let (ask, body) = (Ask::new(&format!("/{}", n % 7)), noise(n % 7, 700 << 10));
        let _ = ask.put(&store, &[], body.clone()).await;
        for n in 0..7 {
            if let Ok(Some(entry)) = Ask::new(&format!("/{n}")).try_find(&store).await {
                let read = collect(store.read(&entry, 0..entry.response().length())).await;
                assert!(read.is_err() || read.unwrap() == noise(n, 700 << 10));
            }
        }
    }
}

/// A wrong password is told when somebody asks, in the words of the server; requests are misses.
#[tokio::test]
async fn a_wrong_password_is_told() {
    let Some(server) = own(&[("requirepass", "right")]) else { return };
    let url = server.url();
    for (wrong, says) in [(url.clone(), "NOAUTH"), (url.replace("//", "//:wrong@"), "WRONGPASS")] {
        let store = open(&wrong, &namespace());
        let error = store.ready().await.unwrap_err().to_string();
        assert!(error.contains(says) || error.to_lowercase().contains("auth"), "{error}");
        assert!(store.state().to_string().starts_with("away"), "{}", store.state());
        assert!(Ask::new("/").try_find(&store).await.is_err());
        assert!(Ask::new("/").put(&store, &[], "x").await.is_err());
    }
    let store = open(&url.replace("//", "//:right@"), &namespace());
    store.ready().await.unwrap();
    Ask::new("/").put(&store, &[], "x").await.unwrap();
}

/// A user with the rights that the docs name may do what a store does, also where bodies go beside
/// look-ups; and who lacks one is told which.
#[tokio::test]
async fn a_user_needs_the_rights_that_are_named() {
    let Some(server) = own(&[]) else { return };
    let url = server.url();
    let store = open(&user(&url), "site");
    let (small, large, body) = (Ask::new("/small"), Ask::new("/large"), noise(1, 700 << 10));
    small.put(&store, &[], "small").await.unwrap();
    let put = async || {
        let (placement, head) = large.place(&store, &[]);
        let mut writer = store.put(placement, head).await?;
        for part in body.chunks(256 << 10) {
            assert!(small.find(&store).await.is_some());
            writer.write(part.to_vec().into()).await?;
        }
        writer.finish(None).await
    };
    put().await.unwrap();
    assert!(say(&url, &[b"INFO", b"commandstats"]).contains("cmdstat_append:"), "in parts");
    let found = large.find(&store).await.unwrap();
    let mut reading = store.read(&found, 0..700 << 10);
    let mut read = Vec::new();
    while let Some(bytes) = next(&mut reading).await {
        read.extend_from_slice(&bytes.unwrap());
        assert!(small.find(&store).await.is_some());
    }
    assert!(read == body);
    assert!(store.update(&found, found.response().head().clone()).await.unwrap());
    store.purge_log().append(Purge::everything());
    store.purge_log().sync().await.unwrap();
    store.clear().await.unwrap();
    say(&url, &[b"ACL", b"SETUSER", b"node", b"-append"]);
    small.put(&store, &[], "small").await.unwrap();
    let error = put().await.unwrap_err().to_string();
    assert!(error.contains("'append'"), "{error}");
}

/// Settings that make no sense are told when the store is opened.
#[test]
fn what_makes_no_sense_is_told_at_once() {
    for url in ["", "http://a.example/", "redis://host:port:1/", "redis://"] {
        let error = options("site").open(url).unwrap_err();
        assert!(error.is_invalid(), "{url}: {error}");
    }
    let error = options("site").open("rediss://a.example/").unwrap_err();
    assert!(error.is_invalid() && error.to_string().contains("TLS"), "{error}");
    for namespace in ["", "a b", "{a}", "a*", &"x".repeat(65)] {
        let error = options(namespace).open("redis://localhost/").unwrap_err();
        assert!(error.is_invalid(), "{namespace}: {error}");
    }
}

/// Keys of another program are left as they are, also those that look like ours, and by `clear`.
#[tokio::test]
async fn another_programs_keys_are_left_alone() {
    let Some(server) = own(&[]) else { return };
    let (url, store) = (server.url(), open(&server.url(), "site"));
    let hash = "0".repeat(32);
    let theirs = ["site", "site2:{x}:i", "site:{purge}:other", &format!("site:{{{hash}}}:x")];
    for key in theirs {
        say(&url, &[b"SET", key.as_bytes(), b"theirs"]);
    }
    let list = format!("site:{{{hash}}}:i");
    say(&url, &[b"RPUSH", list.as_bytes(), b"theirs"]);
    for size in SIZES {
        Ask::new(&format!("/{size}")).put(&store, &[], noise(6, size)).await.unwrap();
    }
    let other = open(&url, "site2");
    Ask::new("/").put(&other, &[], "other").await.unwrap();
    // A key of ours that is of another kind stands in nobody's way.
    store.clear().await.unwrap();
    assert_eq!(keys(&url, "site", "{*}:i").join(" "), list, "the room of the others is free");
    for key in theirs {
        assert_eq!(say(&url, &[b"GET", key.as_bytes()]), "theirs");
    }
    assert_eq!(say(&url, &[b"LLEN", list.as_bytes()]), "1");
    assert_eq!(Ask::new("/").body(&other).await.unwrap().unwrap(), "other");
    assert!(Ask::new("/8192").find(&store).await.is_none());
}

/// A log of purges that is none: nothing is served, and the server is told to be away.
#[tokio::test]
async fn a_log_that_is_none_is_told() {
    let Some(url) = shared() else { return };
    let namespace = namespace();
    say(url, &[b"SET", format!("{namespace}:{{purge}}").as_bytes(), b"theirs"]);
    let store = open(url, &namespace);
    let error = store.ready().await.unwrap_err().to_string();
    assert!(error.contains("WRONGTYPE"), "{error}");
    assert!(Ask::new("/").try_find(&store).await.is_err());
    say(url, &[b"DEL", format!("{namespace}:{{purge}}").as_bytes()]);
    eventually(async || store.ready().await.is_ok()).await;
    Ask::new("/").put(&store, &[], "x").await.unwrap();
}

/// Rubbish in the log counts as a purge of everything, and a log that was evicted as another log.
#[tokio::test]
async fn a_damaged_log_empties_the_store() {
    let Some(url) = shared() else { return };
    let namespace = namespace();
    let (stream, name) = (format!("{namespace}:{{purge}}"), format!("{namespace}:{{purge}}:id"));
    let store = open(url, &namespace);
    let damages: [&[&[u8]]; 3] = [
        &[b"XADD", stream.as_bytes(), b"*", b"rubbish", b"rubbish"],
        &[b"DEL", stream.as_bytes()],
        &[b"DEL", name.as_bytes()],
    ];
    for (n, damage) in damages.into_iter().enumerate() {
        let ask = Ask::new("/");
        ask.put(&store, &[], "x").await.unwrap();
        assert!(ask.find(&store).await.is_some());
        say(url, damage);
        // Who has not heard of it yet knows of nothing that was purged: a new node does.
        let new = open(url, &namespace);
        assert!(ask.find(&new).await.is_none(), "{n}");
        new.purge_log().append(larder::Purge::host("b.example"));
        new.purge_log().sync().await.unwrap();
        eventually(async || ask.try_find(&store).await.is_ok_and(|found| found.is_none())).await;
        eventually(async || ask.put(&store, &[], "y").await.is_ok()).await;
        eventually(async || ask.try_find(&new).await.is_ok_and(|found| found.is_some())).await;
    }
}

/// `CLIENT KILL` in the middle of a body: the pieces do not change, so that they are asked for again.
#[tokio::test]
async fn a_connection_that_is_killed_is_made_again() {
    let Some(server) = own(&[]) else { return };
    let url = server.url();
    let (store, ask) = (open(&url, "site"), Ask::new("/"));
    let body = noise(7, 4 << 20);
    ask.put(&store, &[], body.clone()).await.unwrap();
    let entry = ask.find(&store).await.unwrap();
    let mut reading = store.read(&entry, 0..4 << 20);
    let mut read = Vec::new();
    while let Some(data) = next(&mut reading).await {
        read.extend_from_slice(&data.unwrap());
        if read.len() % (1 << 20) == 0 {
            say(&url, &[b"CLIENT", b"KILL", b"TYPE", b"normal"]);
        }
    }
    assert!(read == body);
    // While it is written: stored whole, or not.
    let (placement, head) = ask.place(&store, &[]);
    if let Ok(mut writer) = store.put(placement, head).await {
        let mut is_fine = true;
        for chunk in body.chunks(300 << 10) {
            say(&url, &[b"CLIENT", b"KILL", b"TYPE", b"normal"]);
            is_fine &= writer.write(bytes::Bytes::copy_from_slice(chunk)).await.is_ok();
            if !is_fine {
                break;
            }
        }
        let _ = writer.finish(None).await;
    }
    // A look-up that met a dead connection is a miss, the next one is not.
    eventually(async || ask.try_find(&store).await.is_ok()).await;
    assert!(ask.body(&store).await.unwrap().unwrap() == body);
}

/// A way that is cut in the middle of a body, and mended: the reader waits.
#[tokio::test]
async fn a_body_waits_for_a_way_that_was_cut() {
    let Some(url) = shared() else { return };
    let way = Way::to(url).await;
    let (store, ask) = (open(&way.url, &namespace()), Ask::new("/"));
    let body = noise(8, 3 << 20);
    ask.put(&store, &[], body.clone()).await.unwrap();
    let entry = ask.find(&store).await.unwrap();
    let mut reading = store.read(&entry, 0..3 << 20);
    let first = next(&mut reading).await.unwrap().unwrap();
    way.cut();
    let rest = tokio::spawn(collect(reading));
    tokio::time::sleep(Duration::from_millis(300)).await;
    way.mend();
    let rest = rest.await.unwrap().unwrap();
    assert!([first, rest].concat() == body);
}
