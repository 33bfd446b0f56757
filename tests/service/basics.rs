use std::time::Duration;

use larder::Policy;

use crate::support::{cache, ok, request, status};

/// RFC 9111 §4: what is fresh is reused, with its age, and what is stale is not.
#[tokio::test]
async fn a_fresh_response_is_reused_with_its_age() {
    let cache = cache(Policy::shared());
    cache.origin.on(|_| ok().cache_control("max-age=60").text("hello"));
    let first = cache.get("/").await;
    first.assert_forwarded();
    assert_eq!(first.field("cache-status"), Some("larder; fwd=uri-miss; ttl=60; stored"));
    cache.clock.advance(Duration::from_secs(59));
    let second = cache.get("/").await;
    second.assert_hit();
    assert_eq!((second.text(), second.age()), ("hello", Some(59)));
    assert_eq!(second.field("cache-status"), Some("larder; hit; ttl=1"));
    assert_eq!(second.field("content-length"), Some("5"));
    cache.clock.advance(Duration::from_secs(1));
    cache.get("/").await.assert_forwarded();
    assert_eq!(cache.origin.calls(), 2);
}

/// RFC 9111 §4.3: a stale response is validated, and a 304 makes it fresh again.
#[tokio::test]
async fn a_304_makes_a_stored_response_fresh_again() {
    let cache = cache(Policy::private());
    cache.origin.on(|request| match request.headers().get("if-none-match") {
        Some(tag) if tag == "\"1\"" => {
            status(304).cache_control("max-age=10").header("x-new", "2").text("")
        }
        _ => ok().cache_control("max-age=60").header("etag", "\"1\"").text("hello"),
    });
    cache.get("/").await.assert_forwarded();
    cache.clock.advance_secs(60);
    let validated = cache.get("/").await;
    validated.assert_revalidated();
    assert_eq!((validated.status.as_u16(), validated.text()), (200, "hello"));
    assert_eq!(validated.field("x-new"), Some("2"));
    cache.clock.advance_secs(9);
    let hit = cache.get("/").await;
    assert_eq!((hit.assert_hit().age(), hit.field("x-new")), (Some(9), Some("2")));
    cache.clock.advance_secs(1);
    cache.get("/").await.assert_revalidated();
}

/// RFC 9111 §4.4: the answer to an unsafe request invalidates before the client has it.
#[tokio::test]
async fn an_unsafe_request_invalidates() {
    let cache = cache(Policy::shared());
    cache.origin.on(|_| ok().cache_control("max-age=60").text("hello"));
    cache.get("/").await;
    cache.get("/").await.assert_hit();
    cache.send(request("POST", "/")).await.assert_forwarded();
    cache.get("/").await.assert_forwarded();
    cache.get("/").await.assert_hit();
}

/// RFC 9111 §4.1.
#[tokio::test]
async fn variants_live_side_by_side() {
    let cache = cache(Policy::shared());
    cache.origin.on(|request| {
        let language = request.headers()["accept-language"].to_str().unwrap();
        ok().cache_control("max-age=60").header("vary", "accept-language").text(language)
    });
    for round in 0..3 {
        for language in ["en", "de"] {
            let answer = cache.get_with("/", &[("accept-language", language)]).await;
            assert_eq!(answer.text(), language);
            assert_eq!(answer.cache.is_hit(), round > 0);
        }
    }
}
