//! Purging by hand.

use http::HeaderMap;
use larder::{MemoryManager, Policy, Purge};

use crate::support::{Cache, cache, cache_over, channel, ok, read, request};

const URLS: [&str; 6] = [
    "http://a.example/x",
    "http://a.example/x?q",
    "http://a.example/y",
    "http://a.example:8080/x",
    "http://b.example/x",
    "https://a.example/x",
];

async fn filled(policy: Policy) -> Cache {
    let cache = cache(policy);
    cache.origin.on(|_| ok().cache_control("max-age=60").header("vary", "accept").text("hello"));
    for url in URLS {
        cache.send(request("GET", url)).await;
    }
    cache
}

/// Each selector takes out what it names, all variants, and nothing else.
/// Features purge-url, purge-selectors.
#[tokio::test]
async fn a_purge_takes_out_what_it_selects() {
    let table = [
        (Purge::url("http://a.example/x").unwrap(), [true, false, false, false, false, false]),
        (Purge::url("HTTP://A.example:80/x").unwrap(), [true, false, false, false, false, false]),
        (Purge::url("http://a.example/x?q").unwrap(), [false, true, false, false, false, false]),
        (Purge::url("http://a.example:8080/x").unwrap(), [false, false, false, true, false, false]),
        (Purge::url("http://c.example/x").unwrap(), [false; 6]),
        (Purge::host("a.example"), [true, true, true, false, false, true]),
        (Purge::host("A.EXAMPLE:8080"), [false, false, false, true, false, false]),
        (Purge::host("example"), [false; 6]),
        (Purge::namespace("mine"), [true; 6]),
        (Purge::namespace("min"), [false; 6]),
        (Purge::everything(), [true; 6]),
    ];
    for (purge, expected) in table {
        let cache = filled(Policy::shared().namespace("mine")).await;
        cache.layer.handle().purge(purge.clone()).await.unwrap();
        for (url, is_gone) in URLS.into_iter().zip(expected) {
            let answer = cache.send(request("GET", url)).await;
            assert_eq!(answer.cache.is_hit(), !is_gone, "{purge} {url}");
            cache.send(request("GET", url)).await.assert_hit();
        }
    }
}

/// A purged response is not served to those that take stale ones, nor validated.
#[tokio::test]
async fn a_purged_response_is_gone_for_everybody() {
    let cache = cache(Policy::private());
    cache.origin.on(|_| ok().cache_control("max-age=60").header("etag", "\"1\"").text("hello"));
    cache.get("/").await;
    cache.layer.handle().purge(Purge::everything()).await.unwrap();
    let only = [("cache-control", "only-if-cached, max-stale")];
    assert_eq!(cache.get_with("/", &only).await.status, 504);
    cache.get_with("/", &[("cache-control", "max-stale")]).await.assert_forwarded();
    assert_eq!(cache.origin.last().field("if-none-match"), None);
}

/// Scenario 0.4: what was on its way when the purge came is given to whoever waits, and not kept.
#[tokio::test]
async fn a_purge_beats_a_fill_under_way() {
    let purges = [
        Purge::url("http://a.example/").unwrap(),
        Purge::host("a.example"),
        Purge::namespace("mine"),
        Purge::tag("t"),
        Purge::prefix("http://a.example/").unwrap(),
        Purge::matching(|_, head| head.tags().any(|tag| tag == "t")),
        Purge::variant("http://a.example/", HeaderMap::new()).unwrap(),
        Purge::everything(),
    ];
    for purge in purges {
        let cache = cache(Policy::shared().namespace("mine"));
        let (sender, body) = channel();
        let mut body = Some(body);
        cache.origin.on(move |_| {
            let reply = ok().cache_control("max-age=60").header("cache-tag", "t");
            match body.take() {
                Some(body) => reply.body(body),
                None => reply.text("new"),
            }
        });
        let under_way = cache.open("/").await;
        sender.data("old");
        cache.layer.handle().purge(purge.clone()).await.unwrap();
        drop(sender);
        assert_eq!(read(under_way).await.unwrap(), "old");
        assert!(cache.layer.handle().manager().is_empty(), "{purge}: it is not even stored");
        assert_eq!(cache.get("/").await.assert_forwarded().text(), "new", "{purge}");
        assert_eq!(cache.get("/").await.assert_hit().text(), "new", "{purge}");
    }
}

/// `clear` gives the memory back, and fences what is on its way.
/// Feature flush.
#[tokio::test]
async fn clearing_frees_the_store() {
    let manager = MemoryManager::new(1 << 20);
    let cache = cache_over(manager.clone(), Policy::shared());
    let (sender, body) = channel();
    let mut body = Some(body);
    cache.origin.on(move |request| {
        let reply = ok().cache_control("max-age=60");
        match (request.uri().path(), body.take()) {
            ("/slow", Some(body)) => reply.body(body),
            (_, rest) => {
                body = rest;
                reply.text("hello")
            }
        }
    });
    cache.get("/").await;
    let under_way = cache.open("/slow").await;
    assert!(manager.weight() > 0);
    cache.layer.handle().clear().await.unwrap();
    assert_eq!((manager.len(), manager.weight()), (0, 0));
    sender.data("old");
    drop(sender);
    assert_eq!(read(under_way).await.unwrap(), "old");
    for path in ["/", "/slow"] {
        cache.get(path).await.assert_forwarded();
        cache.get(path).await.assert_hit();
    }
}

/// A purge counts upward, and is shared by all layers over a store.
#[tokio::test]
async fn a_purge_reaches_every_layer_of_a_store() {
    let manager = MemoryManager::new(1 << 20);
    let one = cache_over(manager.clone(), Policy::shared());
    let two = cache_over(manager, Policy::shared());
    one.origin.on(|_| ok().cache_control("max-age=60").text("hello"));
    one.get("/").await;
    two.get("/").await.assert_hit();
    let first = two.layer.handle().purge(Purge::host("a.example")).await.unwrap();
    one.get("/").await.assert_forwarded();
    let second = one.layer.handle().purge(Purge::host("b.example")).await.unwrap();
    assert!(second.seq() > first.seq());
    two.get("/").await.assert_hit();
}

#[test]
fn a_relative_url_is_no_selector() {
    for url in ["/x", "a.example", "http://", "x y", ""] {
        assert!(Purge::url(url).unwrap_err().is_invalid(), "{url}");
    }
}
