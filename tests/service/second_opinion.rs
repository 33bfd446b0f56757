//! What the oracle in `tests/policy` found: each where the rules and the text of the RFCs parted.

use larder::Policy;

use crate::support::{Cache, Reply, cache, ok, status};

/// A cache with a stale `/`, and an origin that answers conditions with a 304 of these fields.
async fn stale(
    policy: Policy,
    stored: &'static [(&str, &str)],
    unchanged: &'static [(&str, &str)],
) -> Cache {
    let with = |reply: Reply, fields: &[(&str, &str)]| {
        fields.iter().fold(reply, |reply, (name, value)| reply.header(name, value))
    };
    let cache = cache(policy);
    cache.origin.on(move |request| {
        let asks = |name| request.headers().contains_key(name);
        match asks("if-none-match") || asks("if-modified-since") {
            true => with(status(304), unchanged).text(""),
            false => with(ok().cache_control("max-age=10"), stored).text("hello"),
        }
    });
    cache.get("/").await;
    cache.clock.set_secs(10);
    cache
}

/// The clock of the tests starts at `Thu, 01 Jan 2026 00:00:00 GMT`.
const EARLY: &str = "Wed, 31 Dec 2025 00:00:00 GMT";
const LATER: &str = "Wed, 31 Dec 2025 00:00:01 GMT";

/// RFC 9111 §4.3.4, RFC 9110 §8.8.2.2: a strong validator that the stored response does not have
/// freshens nothing, nor does a modification date that it does not have.
#[tokio::test]
async fn a_304_freshens_what_its_validators_identify() {
    const JUST_NOW: &str = "Thu, 01 Jan 2026 00:00:00 GMT";
    type Fields = &'static [(&'static str, &'static str)];
    let table: [(Fields, Fields, bool); 10] = [
        (&[("last-modified", EARLY)], &[], true),
        (&[("last-modified", EARLY)], &[("last-modified", EARLY)], true),
        (&[("last-modified", EARLY)], &[("last-modified", LATER)], false),
        (&[("last-modified", EARLY)], &[("etag", "\"2\"")], false),
        (&[("last-modified", EARLY)], &[("etag", "W/\"2\"")], false),
        (&[("last-modified", EARLY)], &[("etag", "\"2\""), ("last-modified", EARLY)], true),
        // Within the second of its Date it may have changed again.
        (&[("last-modified", JUST_NOW)], &[("etag", "\"2\""), ("last-modified", JUST_NOW)], false),
        (&[("last-modified", JUST_NOW)], &[("last-modified", JUST_NOW)], true),
        (&[("etag", "\"1\"")], &[("last-modified", EARLY)], false),
        (&[("etag", "\"1\""), ("last-modified", EARLY)], &[("last-modified", EARLY)], true),
    ];
    for (stored, unchanged, freshens) in table {
        let cache = stale(Policy::private(), stored, unchanged).await;
        assert_eq!(cache.get("/").await.text(), "hello");
        let next = cache.get("/").await;
        let is_hit = cache.origin.calls() == 2;
        assert_eq!((is_hit, next.text()), (freshens, "hello"), "{stored:?} {unchanged:?}");
    }
}

/// RFC 9111 §4.2.3, Behaviour 18: also what a 304 has ended is as old as its Date and Age say.
#[tokio::test]
async fn the_last_use_of_a_response_has_its_age() {
    for (fields, age) in [
        (&[("cache-control", "no-store"), ("date", "Thu, 01 Jan 2026 00:00:07 GMT")], 3),
        (&[("cache-control", "no-store"), ("age", "5")], 5),
    ] {
        let cache = stale(Policy::private(), &[("etag", "\"1\"")], fields).await;
        let last = cache.get("/").await;
        assert_eq!(last.assert_revalidated().age(), Some(age), "{fields:?}");
    }
}

/// RFC 9110 §6.6.1, Behaviour 16.
#[tokio::test]
async fn an_invalid_date_of_a_304_is_replaced() {
    for control in ["no-store", "max-age=10"] {
        let fields: &'static [_] = match control {
            "no-store" => &[("cache-control", "no-store"), ("date", "0")],
            _ => &[("cache-control", "max-age=10"), ("date", "0")],
        };
        let cache = stale(Policy::private(), &[("etag", "\"1\"")], fields).await;
        let date = cache.clock.date(0);
        assert_eq!(cache.get("/").await.assert_revalidated().field("date"), Some(&*date));
    }
}

/// RFC 9111 §5.2.2.7: a field that turns out to be one user's is not shown to the next, even where
/// the response is used for the last time.
#[tokio::test]
async fn a_field_that_becomes_private_is_withdrawn() {
    for (policy, shown) in [(Policy::shared(), None), (Policy::private(), Some("alice"))] {
        let stored = &[("etag", "\"1\""), ("x-user", "alice")];
        let unchanged = &[("cache-control", "no-store, private=\"x-user\"")];
        let cache = stale(policy, stored, unchanged).await;
        assert_eq!(cache.get("/").await.assert_revalidated().field("x-user"), shown);
    }
    let unchanged = &[("cache-control", "no-store, private=\"x-user\""), ("x-user", "bob")];
    let cache = stale(Policy::shared(), &[("etag", "\"1\""), ("x-user", "alice")], unchanged).await;
    assert_eq!(cache.get("/").await.assert_revalidated().field("x-user"), Some("bob"));
    // A field of this hop brings nothing.
    let unchanged = &[
        ("cache-control", "no-store, private=\"x-user\""),
        ("connection", "x-user"),
        ("x-user", "alice"),
    ];
    let cache = stale(Policy::shared(), &[("etag", "\"1\""), ("x-user", "alice")], unchanged).await;
    assert_eq!(cache.get("/").await.assert_revalidated().field("x-user"), None);
}
