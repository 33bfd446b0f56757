//! Cache groups (RFC 9875).

use larder::{MemoryManager, Policy, Purge};

use crate::support::{Cache, cache, cache_over, channel, ok, read, request, status};

/// A cache whose pages are in the groups that their query lists, and whose origin answers POST by
/// invalidating `groups`.
fn grouped(policy: Policy, code: u16, groups: &'static [&'static str]) -> Cache {
    let cache = cache(policy);
    script(&cache, code, groups);
    cache
}

fn script(cache: &Cache, code: u16, groups: &'static [&'static str]) {
    cache.origin.on(move |request| match request.method().as_str() {
        "GET" => {
            let groups = request.uri().query().unwrap_or_default().replace('+', "\", \"");
            let reply = ok().cache_control("max-age=60");
            reply.header("cache-groups", format!("\"{groups}\"")).text("hello")
        }
        _ => groups
            .iter()
            .fold(status(code), |reply, line| reply.header("cache-group-invalidation", line))
            .text(""),
    });
}

/// RFC 9875 §2.1, §3: same string, same origin, at once, from all lines; §2.2.1: nothing cascades.
#[tokio::test]
async fn a_response_to_an_unsafe_request_invalidates_groups() {
    const SCRIPTS: &[&str] = &["\"scripts\""];
    let table: [(u16, &'static [&'static str], [bool; 6]); 8] = [
        (200, SCRIPTS, [true, true, false, false, false, false]),
        (200, &["\"styles\";p=1, \"none\""], [false, true, true, false, false, false]),
        (200, &["\"none\"", "\"scripts\""], [true, true, false, false, false, false]),
        (204, &["\"Scripts\""], [false, false, false, true, false, false]),
        // What is no list of strings is ignored as a whole.
        (200, &["scripts"], [false; 6]),
        (200, &["\"scripts\", 1"], [false; 6]),
        // Named one by one, whatever else went wrong.
        (500, SCRIPTS, [true, true, false, false, false, false]),
        (200, &[], [false; 6]),
    ];
    let pages = [
        "http://a.example/a?scripts",
        "http://a.example/b?scripts+styles",
        "http://a.example/c?styles",
        "http://a.example/d?Scripts",
        "http://a.example:8080/a?scripts",
        "https://a.example/a?scripts",
    ];
    for (code, lines, expected) in table {
        let cache = grouped(Policy::shared(), code, lines);
        for page in pages {
            cache.send(request("GET", page)).await;
            cache.send(request("GET", page)).await.assert_hit();
        }
        cache.send(request("POST", "/form")).await;
        for (page, is_gone) in pages.into_iter().zip(expected) {
            let answer = cache.send(request("GET", page)).await;
            assert_eq!(answer.cache.is_hit(), !is_gone, "{lines:?} {page}");
        }
    }
}

/// RFC 9875 §3: ignored on responses to safe methods.
#[tokio::test]
async fn a_response_to_a_safe_request_invalidates_no_group() {
    let cache = cache(Policy::shared());
    cache.origin.on(|_| {
        let reply = ok().cache_control("max-age=60").header("cache-groups", "\"a\"");
        reply.header("cache-group-invalidation", "\"a\"").text("")
    });
    cache.get("/x").await;
    for method in ["GET", "HEAD", "OPTIONS", "TRACE"] {
        cache.send(request(method, "/y")).await;
    }
    cache.get("/x").await.assert_hit();
}

/// Security, "Cross-tenant groups/tags": another namespace has groups of its own.
#[tokio::test]
async fn groups_are_those_of_a_namespace() {
    let store = MemoryManager::new(1 << 20);
    let [one, two] = ["one", "two"].map(|namespace| {
        let cache = cache_over(store.clone(), Policy::shared().namespace(namespace));
        script(&cache, 200, &["\"g\""]);
        cache
    });
    for cache in [&one, &two] {
        cache.get_twice("/?g", &[]).await.assert_hit();
    }
    one.send(request("POST", "/")).await;
    one.get("/?g").await.assert_forwarded();
    two.get("/?g").await.assert_hit();
    // By hand: in the layer's own namespace, unless it says otherwise.
    let purge = Purge::group("http://a.example", "g").unwrap();
    one.layer.handle().purge(purge.clone()).await.unwrap();
    one.get_twice("/?g", &[]).await.assert_hit();
    two.get("/?g").await.assert_hit();
    one.layer.handle().purge(purge.everywhere()).await.unwrap();
    one.get("/?g").await.assert_forwarded();
    two.get("/?g").await.assert_forwarded();
}

/// What was on its way when the group was invalidated is not kept.
#[tokio::test]
async fn an_invalidated_group_beats_a_fill_under_way() {
    let cache = cache(Policy::shared());
    let (sender, body) = channel();
    let mut body = Some(body);
    cache.origin.on(move |request| {
        let reply = ok().cache_control("max-age=60").header("cache-groups", "\"g\"");
        match (request.method().as_str(), body.take()) {
            ("GET", Some(body)) => reply.body(body),
            ("GET", None) => reply.text("new"),
            (_, rest) => {
                body = rest;
                reply.header("cache-group-invalidation", "\"g\"").text("")
            }
        }
    });
    let under_way = cache.open("/").await;
    sender.data("old");
    cache.send(request("POST", "/form")).await;
    drop(sender);
    assert_eq!(read(under_way).await.unwrap(), "old");
    assert_eq!(cache.get("/").await.assert_forwarded().text(), "new");
    cache.get("/").await.assert_hit();
}

/// Invalidated groups leave the log by themselves, however many there are, and take nothing else.
#[tokio::test]
async fn a_flood_of_groups_is_swept() {
    let cache = cache(Policy::shared());
    let mut number = 0;
    cache.origin.on(move |request| match request.method().as_str() {
        "GET" => ok().cache_control("max-age=60").header("cache-groups", "\"mine\"").text(""),
        _ => {
            number += 1;
            ok().header("cache-group-invalidation", format!("\"{number}\"")).text("")
        }
    });
    cache.get_twice("/", &[]).await.assert_hit();
    for _ in 0..5000 {
        cache.send(request("POST", "/form")).await;
        tokio::task::yield_now().await;
    }
    cache.get("/").await.assert_hit();
    let stats = cache.layer.handle().stats();
    assert_eq!(stats.purges(), 5000);
    assert!(stats.selectors() < 1100, "{}", stats.selectors());
}
