//! What goes out to validate, and what the answer does (RFC 9111 §4.3).

use larder::{MemoryManager, Policy, policy::Reason};

use crate::support::{Answer, Cache, Reply, TestBody, cache, cache_over, ok, request, status};

/// A cache that holds a stale `/` with tag `"1"`; the origin answers conditions with `changed`.
async fn stale(
    policy: Policy,
    changed: impl Fn() -> http::Response<TestBody> + Send + 'static,
) -> Cache {
    let cache = cache(policy);
    cache.origin.on(|_| fresh().text("hello"));
    cache.get("/").await;
    cache.clock.set_secs(10);
    cache.origin.on(move |request| match request.headers().get("if-none-match") {
        Some(_) => changed(),
        None => fresh().header("x-whole", "1").text("whole"),
    });
    cache
}

fn fresh() -> Reply {
    ok().cache_control("max-age=10").header("etag", "\"1\"").header("x-old", "1")
}

/// Behaviour 23; RFC 9111 §4.3.1: as received, with the rest of the request.
#[tokio::test]
async fn stored_validators_go_out_as_they_came() {
    const MODIFIED: &str = "Wednesday, 31-Dec-25 00:00:00 GMT";
    for (tag, modified) in [
        (Some("\"1\""), None),
        (Some("W/\"a b\""), None),
        (Some("unquoted"), None),
        (None, Some(MODIFIED)),
        (Some("\"1\""), Some(MODIFIED)),
    ] {
        let cache = cache(Policy::private());
        cache.origin.on(move |_| {
            let reply = ok().cache_control("max-age=10").header("vary", "accept, x-b");
            let reply = tag.into_iter().fold(reply, |reply, tag| reply.header("etag", tag));
            let reply =
                modified.into_iter().fold(reply, |reply, at| reply.header("last-modified", at));
            reply.text("hello")
        });
        let fields = [("accept", "text/plain"), ("x-b", "2"), ("x-rest", "3")];
        cache.get_with("/?q=1", &fields).await;
        assert_eq!(cache.origin.last().field("if-none-match"), None);
        cache.clock.set_secs(10);
        cache.get_with("/?q=1", &fields).await;
        let sent = cache.origin.last();
        assert_eq!(sent.field("if-none-match"), tag);
        assert_eq!(sent.field("if-modified-since"), modified);
        for (name, value) in fields {
            assert_eq!(sent.field(name), Some(value));
        }
        assert_eq!((sent.path(), sent.method.as_str()), ("/?q=1", "GET"));
    }
}

/// Scenario 4.7: a 304 costs nothing at many an origin.
/// Feature keep-expired.
#[tokio::test]
async fn whoever_is_stale_asks_with_validators() {
    let cache = cache(Policy::private());
    cache.origin.on(|request| match request.headers().get("if-none-match") {
        Some(_) => status(304).text(""),
        None => ok().cache_control("max-age=1").header("etag", "\"1\"").text("a long body"),
    });
    cache.get("/user").await;
    for second in 1..=500 {
        cache.clock.set_secs(second);
        assert_eq!(cache.get("/user").await.assert_revalidated().text(), "a long body");
    }
    let seen = cache.origin.seen();
    let is_conditional = |name| seen.iter().filter(|seen| seen.field(name).is_some()).count();
    assert_eq!((seen.len(), is_conditional("if-none-match")), (501, 500));
}

/// Behaviour 26; RFC 9111 §3.2.
/// Scenario 3.11.
#[tokio::test]
async fn a_304_replaces_every_field_that_it_carries() {
    let cache = stale(Policy::private(), || {
        status(304)
            .cache_control("max-age=20")
            .header("x-old", "2")
            .header("x-old", "3")
            .header("content-type", "text/html")
            .header("content-length", "0")
            .header("transfer-encoding", "chunked")
            .header("connection", "x-hop")
            .header("x-hop", "1")
            .header("set-cookie", "a=b")
            .header("age", "5")
            .text("")
    })
    .await;
    let validated = cache.get("/").await;
    validated.assert_revalidated();
    let hit = cache.get("/").await;
    hit.assert_hit();
    for answer in [&validated, &hit] {
        assert_eq!(answer.lines("x-old"), [b"2", b"3"]);
        assert_eq!(answer.field("content-type"), Some("text/html"));
        assert_eq!(answer.field("content-length"), Some("5"));
        assert_eq!(answer.field("set-cookie"), Some("a=b"));
        assert_eq!(answer.field("etag"), Some("\"1\""));
        assert_eq!((answer.age(), answer.text()), (Some(5), "hello"));
        for name in ["transfer-encoding", "connection", "x-hop"] {
            assert_eq!(answer.field(name), None, "{name}");
        }
    }
    cache.clock.advance_secs(14);
    assert_eq!(cache.get("/").await.assert_hit().age(), Some(19));
    cache.clock.advance_secs(1);
    cache.get("/").await.assert_forwarded();
}

/// RFC 9111 §3, §4.3.4: a 304 that makes the response unfit is its last use.
/// Feature forbidding-304.
#[tokio::test]
async fn a_304_may_end_what_is_stored() {
    let table = [
        (("cache-control", "no-store"), true, true),
        (("cache-control", "private, max-age=10"), true, false),
        (("set-cookie", "a=b"), true, false),
        (("vary", "*"), true, true),
        (("vary", "cookie"), true, false),
        (("cache-control", "max-age=10"), false, false),
    ];
    for ((name, value), ends_shared, ends_private) in table {
        for (policy, ends) in [(Policy::shared(), ends_shared), (Policy::private(), ends_private)] {
            let cache = stale(policy, move || status(304).header(name, value).text("")).await;
            let last = cache.get("/").await;
            last.assert_revalidated();
            assert_eq!((last.text(), last.field(name)), ("hello", Some(value)));
            let next = cache.get("/").await;
            if ends {
                assert_eq!(next.assert_forwarded().text(), "whole", "{name}: {value}");
            } else if name != "vary" {
                assert_eq!(next.assert_hit().text(), "hello", "{name}: {value}");
            }
        }
    }
}

/// RFC 9111 §3.2, §4.1: a `Vary` that comes with a 304 counts from then on.
#[tokio::test]
async fn a_304_with_another_vary_is_not_found_by_others() {
    let cache = stale(Policy::shared(), || status(304).header("vary", "accept").text("")).await;
    let with = [("accept", "text/plain")];
    assert_eq!(cache.get_with("/", &with).await.assert_revalidated().text(), "hello");
    cache.get_with("/", &with).await.assert_hit();
    // Others ask, and hear that it is good for them, too.
    let calls = cache.origin.calls();
    let other = cache.get_with("/", &[("accept", "image/png")]).await;
    assert_eq!(other.assert_revalidated().text(), "hello");
    assert_eq!(cache.origin.calls(), calls + 1);
}

/// RFC 9111 §4.3.4: a 304 for another representation freshens nothing.
#[tokio::test]
async fn a_304_with_a_foreign_tag_freshens_nothing() {
    for tag in ["\"2\"", "W/\"2\"", "2"] {
        let cache =
            stale(Policy::private(), move || status(304).header("etag", tag).text("")).await;
        let answer = cache.get("/").await;
        assert_eq!(answer.cache.reason(), Some(Reason::ValidatorMismatch), "{tag}");
        let next = cache.get("/").await;
        assert_eq!(next.assert_forwarded().text(), "whole", "{tag}");
        assert_eq!(cache.origin.last().field("if-none-match"), None, "{tag}");
    }
}

/// RFC 9111 §4.3.4: weak tags select too.
#[tokio::test]
async fn a_304_with_the_same_tag_freshens() {
    for tag in ["\"1\"", "W/\"1\""] {
        let cache =
            stale(Policy::private(), move || status(304).header("etag", tag).text("")).await;
        cache.get("/").await.assert_revalidated();
        assert_eq!(cache.get("/").await.assert_hit().text(), "hello", "{tag}");
    }
}

/// RFC 9110 §15.4.5: a 304 that nobody asked for has no body to go with, and none is invented.
/// Feature unexpected-304.
#[tokio::test]
async fn an_unexpected_304_goes_through_and_is_not_stored() {
    let cache = cache(Policy::shared());
    cache.origin.on(|_| status(304).cache_control("max-age=60").header("etag", "\"1\"").text(""));
    for _ in 0..2 {
        let answer = cache.get("/").await;
        assert_eq!(answer.assert_forwarded().status, 304);
    }
}

/// Behaviour 27; RFC 9111 §4.3.3.
#[tokio::test]
async fn a_whole_response_to_a_validation_replaces_body_and_fields() {
    let cache = stale(Policy::shared(), || {
        ok().cache_control("max-age=30").header("etag", "\"2\"").header("x-new", "1").text("new")
    })
    .await;
    assert_eq!(cache.get("/").await.assert_forwarded().text(), "new");
    cache.clock.advance_secs(29);
    let hit = cache.get("/").await;
    assert_eq!((hit.assert_hit().text(), hit.field("x-new")), ("new", Some("1")));
    assert_eq!((hit.field("x-old"), hit.field("etag")), (None, Some("\"2\"")));
}

/// RFC 9111 §4.3.3: what the origin has replaced is not used again, though its successor may not be
/// stored; an error says nothing about it.
#[tokio::test]
async fn a_whole_response_that_is_not_stored_ends_the_old_one() {
    for (code, ends) in [
        (200, true),
        (204, true),
        (301, true),
        (404, true),
        (410, true),
        (500, false),
        (503, false),
        (429, false),
    ] {
        let cache =
            stale(Policy::shared(), move || status(code).cache_control("no-store").text("")).await;
        assert_eq!(cache.get("/").await.status, code);
        cache.get("/").await;
        let is_conditional = cache.origin.last().field("if-none-match").is_some();
        assert_eq!(is_conditional, !ends, "{code}");
    }
}

/// Behaviours 6 and 28; RFC 9111 §5.2.2.4.
#[tokio::test]
async fn no_cache_is_validated_at_each_use() {
    for cc in ["no-cache, max-age=60", "NO-CACHE, max-age=60", "max-age=60, no-cache=\"\""] {
        for policy in [Policy::shared(), Policy::private()] {
            let cache = cache(policy);
            cache.origin.on(move |request| match request.headers().get("if-none-match") {
                Some(_) => status(304).text(""),
                None => ok().cache_control(cc).header("etag", "\"1\"").text("hello"),
            });
            cache.get("/").await;
            for _ in 0..3 {
                let answer = cache.get("/").await;
                assert_eq!(answer.assert_revalidated().text(), "hello");
                assert_eq!(answer.cache.reason(), Some(Reason::NoCache));
            }
        }
    }
}

/// RFC 9111 §4: of several that match, the most recent; a validation is about that one.
#[tokio::test]
async fn the_store_survives_a_stricter_policy() {
    let manager = MemoryManager::new(1 << 20);
    let lenient = cache_over(manager.clone(), Policy::private());
    let cc = "private, max-age=60";
    lenient.origin.on(move |_| ok().cache_control(cc).text("mine"));
    lenient.get("/").await;
    lenient.get("/").await.assert_hit();
    // Another layer over the same store does not trust what it would not have stored.
    let strict = cache_over(manager, Policy::shared());
    strict.origin.on(|_| ok().cache_control("max-age=60").text("for all"));
    let answer: Answer = strict.get("/").await;
    assert_eq!(answer.assert_forwarded().text(), "for all");
    assert_eq!(strict.send(request("HEAD", "/")).await.assert_hit().status, 200);
}

/// §3.5, §5.2.1.5: an exchange that may not be kept is answered by a validated response, and takes
/// nothing from others.
#[tokio::test]
async fn a_request_that_may_not_be_kept_evicts_nothing() {
    for field in [("cache-control", "no-store"), ("authorization", "token")] {
        let cache = stale(Policy::shared(), || status(304).text("")).await;
        let answer = cache.get_with("/", &[field]).await;
        assert_eq!(answer.assert_revalidated().text(), "hello", "{field:?}");
        assert!(!answer.cache.is_stored());
        // It is still there to be validated, and as stale as it was.
        assert_eq!(cache.get("/").await.assert_revalidated().text(), "hello", "{field:?}");
        cache.get("/").await.assert_hit();
    }
}
