//! The weight that the store in memory reports is the memory that it holds.

use bytes::Bytes;
use http::response;
use larder::{MemoryManager, storage::suite::block_on};

use crate::{
    counting::live,
    exchange::{Visitor, ok},
};

const COUNT: usize = 2000;

fn page() -> response::Builder {
    ok().header("content-type", "text/html; charset=utf-8")
        .header("etag", "\"5e0b2a-400-61a2b3c4d5e6f\"")
        .header("last-modified", "Thu, 01 Jan 2026 00:00:00 GMT")
        .header("server", "origin/1.0")
        .header("accept-ranges", "bytes")
        .header("x-request-id", "1d3b6f0e-7a52-4e0c-9d4f-3f8a1c2b5e6d")
        .header("strict-transport-security", "max-age=31536000")
}

fn redirect() -> response::Builder {
    ok().status(301).header("location", "http://a.example/elsewhere")
}

/// Heap held by a store of responses that `store` puts there, and the weight that it reports.
#[track_caller]
fn assert_honest(what: &str, mut put: impl AsyncFnMut(&MemoryManager, usize)) {
    let before = live();
    let manager = MemoryManager::new(256 << 20);
    block_on(async {
        for n in 0..COUNT {
            put(&manager, n).await;
        }
    });
    let (held, weight) = ((live() - before) as f64, manager.weight() as f64);
    println!(
        "{what}: {:.0} bytes held, {:.0} reported",
        held / COUNT as f64,
        weight / COUNT as f64
    );
    assert!(manager.len() >= COUNT);
    assert!(held <= 1.3 * weight, "{what}: {held} bytes held, {weight} reported");
    assert!(weight <= 1.3 * held, "{what}: {held} bytes held, {weight} reported");
}

#[test]
fn small_responses_weigh_what_they_hold() {
    assert_honest("1 KiB", async |manager, n| {
        let body = Bytes::from(vec![b'x'; 1024]);
        Visitor::of(&format!("/page/{n}")).put(manager, page(), body).await.unwrap();
    });
}

/// What is kept of a response beside its body is small: a floor of a `HeaderMap` and the `Bytes` of the
/// body in a cache, all values owned, takes 2 105 bytes.
#[test]
fn a_response_takes_less_than_a_map_of_its_fields() {
    const MANY: usize = 100_000;
    let before = live();
    let manager = MemoryManager::new(1 << 30);
    block_on(async {
        for n in 0..MANY {
            let body = Bytes::from(vec![b'x'; 1024]);
            Visitor::of(&format!("/page/{n}")).put(&manager, page(), body).await.unwrap();
        }
    });
    assert_eq!(manager.len(), MANY);
    let each = (live() - before) as usize / MANY;
    let weight = manager.weight() as usize / MANY;
    println!("1 KiB and 8 fields, {MANY} of them: {each} bytes each, {weight} reported");
    assert!(each <= 2105, "{each}");
    assert!(each.abs_diff(weight) * 10 <= each, "{each} bytes each, {weight} reported");
}

#[test]
fn redirects_weigh_what_they_hold() {
    assert_honest("redirect", async |manager, n| {
        Visitor::of(&format!("/from/{n}")).put(manager, redirect(), "").await.unwrap();
    });
}

#[test]
fn variants_weigh_what_they_hold() {
    assert_honest("variant", async |manager, n| {
        let policy = larder::Policy::private();
        let visitor = Visitor::of("/user").by(policy).with("authorization", &n.to_string());
        let body = Bytes::from(vec![b'x'; 1024]);
        visitor.put(manager, page().header("vary", "authorization"), body).await.unwrap();
    });
}

#[test]
fn resources_with_variants_weigh_what_they_hold() {
    assert_honest("resource with a variant", async |manager, n| {
        let visitor = Visitor::of(&format!("/page/{n}")).with("accept-encoding", "gzip, br");
        let page = page().header("vary", "accept-encoding").header("content-encoding", "br");
        visitor.put(manager, page, vec![b'x'; 1024]).await.unwrap();
    });
}

/// A chunk may be a slice of a connection's buffer, which is many times as large.
#[test]
fn what_is_stored_holds_on_to_no_buffer() {
    assert_honest("slice", async |manager, n| {
        let buffer = Bytes::from(vec![b'x'; 16 << 10]);
        let visitor = Visitor::of(&format!("/page/{n}"));
        visitor.put(manager, page(), buffer.slice(..1024)).await.unwrap();
    });
}

#[test]
fn what_is_cleared_away_holds_nothing() {
    let manager = MemoryManager::new(64 << 20);
    block_on(async {
        let mut held = Vec::new();
        for _ in 0..3 {
            for n in 0..COUNT {
                let visitor = Visitor::of(&format!("/page/{n}"));
                visitor.put(&manager, page(), vec![b'x'; 1024]).await.unwrap();
            }
            larder::CacheManager::clear(&manager).await.unwrap();
            assert!(manager.is_empty() && manager.weight() == 0);
            held.push(live());
        }
        assert!(held[2] <= held[0] + 1024, "{held:?}");
    });
}
