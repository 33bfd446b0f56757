//! The client's own conditions (RFC 9111 §4.3.2; RFC 9110 §13).

use larder::Policy;

use crate::support::{Cache, cache, ok, read, status};

const MODIFIED: &str = "Wed, 31 Dec 2025 00:00:00 GMT";

/// A cache whose origin has `"1"` and answers conditions.
fn tagged() -> Cache {
    let cache = cache(Policy::shared());
    cache.origin.on(|request| match request.headers().get("if-none-match") {
        Some(tag) if tag == "\"1\"" => status(304).header("etag", "\"1\"").text(""),
        _ => ok()
            .cache_control("max-age=60")
            .header("etag", "\"1\"")
            .header("last-modified", MODIFIED)
            .header("content-location", "/here")
            .header("vary", "accept")
            .header("expires", "Thu, 01 Jan 2026 00:01:00 GMT")
            .header("content-type", "text/plain")
            .header("x-other", "1")
            .text("hello"),
    });
    cache
}

/// Scenario 2.2; behaviour 24; RFC 9110 §15.4.5.
#[tokio::test]
async fn a_fresh_entry_answers_conditions_with_exactly_the_fields_of_a_304() {
    let cache = tagged();
    cache.get("/").await;
    let conditions = [
        ("if-none-match", "\"1\""),
        ("if-none-match", "W/\"1\""),
        ("if-none-match", "\"0\", \"1\""),
        ("if-none-match", "*"),
        ("if-modified-since", MODIFIED),
    ];
    for turn in 0..1000 {
        cache.clock.set_secs(turn / 20);
        let response = {
            let request =
                crate::support::with(crate::support::get("/"), &[conditions[turn as usize % 5]]);
            tower::Service::call(&mut cache.service.clone(), request).await.unwrap()
        };
        assert_eq!(response.status(), 304);
        let mut names: Vec<_> = response.headers().keys().map(|name| name.as_str()).collect();
        names.sort_unstable();
        let expected = [
            "age",
            "cache-control",
            "cache-status",
            "content-location",
            "date",
            "etag",
            "expires",
            "vary",
        ];
        assert_eq!(names, expected);
        assert_eq!(response.headers()["age"], (turn / 20).to_string());
        assert_eq!(read(response).await.unwrap().len(), 0);
    }
    assert_eq!(cache.origin.calls(), 1);
}

/// RFC 9110 §13.1.2, §13.1.3: a client whose copy is another gets the whole.
#[tokio::test]
async fn a_client_with_another_copy_gets_the_body() {
    let cache = tagged();
    cache.get("/").await;
    for fields in [
        &[("if-none-match", "\"2\"")][..],
        &[("if-modified-since", "Tue, 30 Dec 2025 00:00:00 GMT")],
        &[("if-none-match", "\"2\""), ("if-modified-since", MODIFIED)],
        &[("if-modified-since", "yesterday")],
    ] {
        let answer = cache.get_with("/", fields).await;
        assert_eq!((answer.status.as_u16(), answer.assert_hit().text()), (200, "hello"));
    }
}

/// RFC 9111 §4.3.2: nothing is stored, so the condition is the origin's to answer, and its 304
/// tells the cache nothing.
#[tokio::test]
async fn a_clients_condition_goes_through_a_cold_cache() {
    let cache = tagged();
    for _ in 0..2 {
        let answer = cache.get_with("/", &[("if-none-match", "\"1\"")]).await;
        assert_eq!((answer.status.as_u16(), answer.text()), (304, ""));
        assert_eq!(cache.origin.last().field("if-none-match"), Some("\"1\""));
    }
    let plain = cache.get("/").await;
    assert_eq!((plain.status.as_u16(), plain.assert_forwarded().text()), (200, "hello"));
    cache.get("/").await.assert_hit();
    assert_eq!(cache.origin.calls(), 3);
}

/// RFC 9111 §4.3.2: what the origin sends to a condition that failed is a whole response.
#[tokio::test]
async fn the_200_to_a_clients_condition_is_stored() {
    let cache = tagged();
    let answer = cache.get_with("/", &[("if-none-match", "\"0\"")]).await;
    assert_eq!(answer.assert_forwarded().text(), "hello");
    assert_eq!(cache.get("/").await.assert_hit().text(), "hello");
}

/// Behaviours 23 and 25; RFC 9111 §4.3.1: ours go out, the client's is answered here.
#[tokio::test]
async fn a_clients_condition_on_a_stale_entry_is_answered_after_ours() {
    for (theirs, expected, body) in [
        (("if-none-match", "\"1\""), 304, ""),
        (("if-none-match", "\"0\", W/\"1\""), 304, ""),
        (("if-modified-since", "Thu, 01 Jan 2026 00:00:00 GMT"), 304, ""),
        (("if-none-match", "\"0\""), 200, "hello"),
        (("if-modified-since", "Tue, 30 Dec 2025 00:00:00 GMT"), 200, "hello"),
    ] {
        let cache = tagged();
        cache.get("/").await;
        cache.clock.set_secs(60);
        let answer = cache.get_with("/", &[theirs]).await;
        assert_eq!((answer.status.as_u16(), answer.text()), (expected, body), "{theirs:?}");
        answer.assert_revalidated();
        let sent = cache.origin.last();
        assert_eq!(sent.field("if-none-match"), Some("\"1\""), "{theirs:?}");
        assert_eq!(sent.field("if-modified-since"), Some(MODIFIED), "{theirs:?}");
        cache.get("/").await.assert_hit();
    }
}

/// RFC 9110 §13.1.3, §15.4.5: without validators of its own a response is compared by its date.
#[tokio::test]
async fn a_stale_entry_without_validators_leaves_the_clients_condition_to_the_origin() {
    let cache = cache(Policy::private());
    cache.origin.on(|_| ok().cache_control("max-age=10").text("hello"));
    cache.get("/").await;
    cache.clock.set_secs(10);
    cache.origin.on(|_| status(304).text(""));
    let answer = cache.get_with("/", &[("if-none-match", "\"7\"")]).await;
    assert_eq!(answer.status, 304);
    assert_eq!(cache.origin.last().field("if-none-match"), Some("\"7\""));
    cache.get("/").await.assert_forwarded();
}

/// RFC 9110 §13.2.1: conditions are about success.
#[tokio::test]
async fn a_stored_error_is_no_304() {
    let cache = cache(Policy::shared());
    cache
        .origin
        .on(|_| status(404).cache_control("max-age=60").header("etag", "\"1\"").text("not here"));
    cache.get("/").await;
    let answer = cache.get_with("/", &[("if-none-match", "\"1\"")]).await;
    assert_eq!((answer.status.as_u16(), answer.assert_hit().text()), (404, "not here"));
}
