//! Targeted fields (RFC 9213).

use larder::{Cached, Policy, policy::Reason};

use crate::support::{Fate, cache, fate, ok, status};

const CDN: &str = "cdn-cache-control";
const APP: &str = "my-app-cache-control";

fn targeting() -> Policy {
    Policy::shared().targets(["My-App-Cache-Control", "CDN-Cache-Control"])
}

/// Behaviour 37; RFC 9213 §2.2, §3.1; scenario 4.9: the first valid field of the list counts, and
/// `Cache-Control` and `Expires` do not.
#[tokio::test]
async fn the_first_valid_target_counts() {
    type Fields = &'static [(&'static str, &'static str)];
    const PAST: (&str, &str) = ("expires", "0");
    const LATER: (&str, &str) = ("expires", "Fri, 01 Jan 2027 00:00:00 GMT");
    let table: [(Fields, Fate); 27] = [
        (&[(CDN, "max-age=60"), ("cache-control", "max-age=1")], Fate::Fresh),
        (&[(CDN, "max-age=1"), ("cache-control", "max-age=60")], Fate::Unstored),
        (&[(CDN, "max-age=60"), ("cache-control", "no-store")], Fate::Fresh),
        (&[(CDN, "max-age=60"), ("cache-control", "private, no-cache")], Fate::Fresh),
        (&[(CDN, "max-age=60"), ("cache-control", "s-maxage=0")], Fate::Fresh),
        (&[(CDN, "max-age=60"), PAST], Fate::Fresh),
        (&[(CDN, "none"), LATER], Fate::Unstored),
        (&[(CDN, "none"), ("cache-control", "max-age=60")], Fate::Unstored),
        (&[(CDN, "no-store"), ("cache-control", "max-age=60")], Fate::Unstored),
        (&[(CDN, "private, max-age=60"), ("cache-control", "public, max-age=60")], Fate::Unstored),
        (&[(CDN, "no-cache, max-age=60"), ("etag", "\"1\"")], Fate::Validated),
        (&[(CDN, "max-age=60"), (CDN, "must-revalidate")], Fate::Fresh),
        (&[(CDN, "max-age=60;x=\"no-store\"")], Fate::Fresh),
        (&[(CDN, "x=\"no-store, private\", max-age=60")], Fate::Fresh),
        (&[(CDN, "max-age=60"), ("age", "60")], Fate::Unstored),
        (&[(CDN, "max-age=999999999999999"), ("age", "1000")], Fate::Fresh),
        // What does not parse is not there.
        (&[(CDN, ""), ("cache-control", "max-age=60")], Fate::Fresh),
        (&[(CDN, "no-store,"), ("cache-control", "max-age=60")], Fate::Fresh),
        (&[(CDN, "max-age=60, &"), ("cache-control", "no-store")], Fate::Unstored),
        (&[(CDN, "max-age=1000000000000000"), ("cache-control", "max-age=60")], Fate::Fresh),
        (&[(CDN, "Max-Age=60"), ("cache-control", "no-store")], Fate::Unstored),
        (&[(CDN, "max-age=\"60\""), ("cache-control", "max-age=60")], Fate::Unstored),
        // The order is that of the list.
        (&[(CDN, "max-age=60"), (APP, "no-store")], Fate::Unstored),
        (&[(CDN, "no-store"), (APP, "max-age=60")], Fate::Fresh),
        (&[(CDN, "max-age=60"), (APP, "")], Fate::Fresh),
        (&[("surrogate-control", "max-age=60")], Fate::Unstored),
        (&[("other-cache-control", "no-store"), ("cache-control", "max-age=60")], Fate::Fresh),
    ];
    for (fields, expected) in table {
        let reply = move || {
            fields.iter().fold(ok(), |reply, (name, value)| reply.header(name, value)).text("")
        };
        assert_eq!(fate(targeting(), &[], reply).await, expected, "{fields:?}");
    }
}

/// "A cache that is not addressed ignores CDN-Cache-Control."
#[tokio::test]
async fn without_a_list_no_field_is_targeted() {
    for policy in [Policy::shared(), Policy::private()] {
        let long = || ok().header(CDN, "max-age=60").cache_control("max-age=1").text("");
        assert_eq!(fate(policy.clone(), &[], long).await, Fate::Unstored);
        let none = || ok().header(CDN, "no-store").cache_control("max-age=60").text("");
        assert_eq!(fate(policy, &[], none).await, Fate::Fresh);
    }
}

/// Behaviour 38; RFC 9213 §3.1: it goes on unchanged, and so does `Cache-Control`.
#[tokio::test]
async fn targeted_fields_go_through_to_the_byte() {
    let cache = cache(targeting());
    cache.origin.on(|_| {
        let reply = ok().header(CDN, "max-age=60 ,no-transform").header(CDN, "x=( a  b )");
        reply.cache_control("No-Store").text("")
    });
    for _ in 0..2 {
        let answer = cache.get("/").await;
        assert_eq!(answer.lines(CDN), [&b"max-age=60 ,no-transform"[..], b"x=( a  b )"]);
        assert_eq!(answer.lines("cache-control"), [b"No-Store"]);
    }
    assert_eq!(cache.origin.calls(), 1);
}

/// RFC 9111 §3.5 by a targeted field; `Connection` may not take it away (RFC 9110 §7.6.1).
#[tokio::test]
async fn a_target_is_held_to_the_same_rules() {
    for (directives, is_shared) in [
        ("max-age=60", false),
        ("max-age=60, public", true),
        ("max-age=60, must-revalidate", true),
        ("max-age=60, must-revalidate=1", false),
        ("s-maxage=60", true),
        ("s-maxage=\"60\"", false),
    ] {
        let reply = move || ok().header(CDN, directives).cache_control("public").text("");
        let expected = if is_shared { Fate::Fresh } else { Fate::Unstored };
        assert_eq!(
            fate(targeting(), &[("authorization", "x")], reply).await,
            expected,
            "{directives}"
        );
    }
    let cache = cache(targeting());
    cache.origin.on(|_| ok().header(CDN, "max-age=60").header("connection", CDN).text(""));
    assert_eq!(cache.get("/").await.cache.reason(), Some(Reason::ConnectionOption));
}

/// RFC 9213 §2.2 on a freshened response, and the rank of a handler's word.
#[tokio::test]
async fn a_304_may_bring_a_target() {
    let cache = cache(targeting());
    cache.origin.on(|request| match request.headers().get("if-none-match") {
        Some(_) => status(304).header(CDN, "max-age=60").text(""),
        None => ok().extension(Cached::for_secs(1)).header("etag", "\"1\"").text("hello"),
    });
    cache.get("/").await;
    cache.clock.advance_secs(1);
    cache.get("/").await.assert_revalidated();
    cache.clock.advance_secs(59);
    assert_eq!(cache.get("/").await.assert_hit().text(), "hello");

    let handler = || ok().extension(Cached::for_secs(60)).header(CDN, "no-store").text("");
    assert_eq!(fate(targeting(), &[], handler).await, Fate::Fresh);
}
