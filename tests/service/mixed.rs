//! One store under several policies, and heads that say two things at once.

use std::time::Duration;

use larder::{
    Cached, MemoryManager, Policy,
    policy::{Reason, SetCookie},
};

use crate::support::{OriginError, cache, cache_over, ok, request, status};

/// What a private cache has stored, a shared one over the same store must not show: neither the
/// fields that it would not have kept, nor what `Connection` took away.
#[tokio::test]
async fn a_shared_policy_shows_nothing_that_a_private_one_has_kept() {
    let table: [&[(&str, &str)]; 4] = [
        &[("cache-control", "max-age=60, private=\"x-user\""), ("x-user", "alice")],
        &[("cache-control", "max-age=60"), ("set-cookie", "sid=alice")],
        &[("cache-control", "private, max-age=60"), ("connection", "cache-control")],
        &[("cache-control", "private, max-age=60")],
    ];
    for fields in table {
        for set_cookie in [SetCookie::Bypass, SetCookie::Strip] {
            let manager = MemoryManager::new(1 << 20);
            let private = cache_over(manager.clone(), Policy::private());
            let shared = cache_over(manager, Policy::shared().set_cookie(set_cookie));
            private.origin.on(move |_| {
                let modified = ("last-modified", "Thu, 01 Jan 2015 00:00:00 GMT");
                let fields = fields.iter().chain([&modified]);
                fields.fold(ok(), |reply, (name, value)| reply.header(name, value)).text("alice")
            });
            shared.origin.on(|_| ok().text("nobody"));
            private.get("/").await;
            assert_eq!(shared.get("/").await.text(), "nobody", "{fields:?}");
        }
    }
}

/// The other way round, and with rules that keep the same fields, one store serves both.
#[tokio::test]
async fn policies_that_keep_the_same_fields_share_a_store() {
    let manager = MemoryManager::new(1 << 20);
    let one = cache_over(manager.clone(), Policy::shared());
    one.origin.on(|_| ok().cache_control("max-age=60").header("x-a", "1").text("hello"));
    one.get("/").await;
    for policy in [Policy::private(), Policy::shared().default_ttl(std::time::Duration::MAX)] {
        cache_over(manager.clone(), policy).get("/").await.assert_hit();
    }
}

/// RFC 9110 §7.6.1: without the field that `Connection` takes away the response would mean something
/// else.
#[tokio::test]
async fn a_response_that_nominates_what_caching_goes_by_is_not_stored() {
    for name in ["cache-control", "Vary", "expires", "set-cookie", "etag"] {
        let cache = cache(Policy::shared());
        cache
            .origin
            .on(move |_| ok().cache_control("max-age=60").header("connection", name).text("hello"));
        let answer = cache.get("/").await;
        assert_eq!(answer.cache.reason(), Some(Reason::ConnectionOption), "{name}");
        cache.get("/").await.assert_forwarded();
    }
    let cache = cache(Policy::shared());
    cache.origin.on(|request| {
        match request.headers().get("if-none-match") {
            Some(_) => status(304).cache_control("private").header("connection", "cache-control"),
            None => ok().cache_control("max-age=10").header("etag", "\"1\""),
        }
        .text("hello")
    });
    cache.get("/").await;
    cache.clock.set_secs(10);
    assert_eq!(cache.get("/").await.assert_revalidated().text(), "hello");
    assert!(cache.get("/").await.cache.forward_status().is_none(), "it is gone");
}

/// RFC 9111 §4.3.4: a 304 that says `no-store` or `private` ends a response, also one that a handler
/// had marked.
#[tokio::test]
async fn a_304_stands_above_what_the_handler_once_said() {
    for directive in ["no-store", "private", "max-age=0, private"] {
        let cache = cache(Policy::shared());
        cache.origin.on(move |request| match request.headers().get("if-none-match") {
            Some(_) => status(304).cache_control(directive).text(""),
            None => ok().header("etag", "\"1\"").extension(Cached::for_secs(10)).text("hello"),
        });
        cache.get("/").await;
        cache.get("/").await.assert_hit();
        cache.clock.set_secs(10);
        cache.get("/").await.assert_revalidated();
        assert!(!cache.get("/").await.cache.is_hit(), "{directive}");
    }
    let cache = cache(Policy::shared());
    cache.origin.on(|request| match request.headers().get("if-none-match") {
        Some(_) => status(304).text(""),
        None => ok().header("etag", "\"1\"").extension(Cached::for_secs(10)).text("hello"),
    });
    cache.get("/").await;
    cache.clock.set_secs(10);
    cache.get("/").await.assert_revalidated();
    cache.get("/").await.assert_hit();
}

/// VSV00018: a hook that gives a path does not hide what the request itself says.
#[tokio::test]
async fn a_target_without_authority_keeps_the_requests_own() {
    let policy = Policy::shared()
        .default_authority("default.example")
        .target(|head| head.uri.path().parse().ok());
    let cache = cache(policy);
    cache.origin.on(|request| {
        ok().cache_control("max-age=60").text(request.uri().authority().unwrap().to_string())
    });
    for _ in 0..2 {
        for host in ["a.example", "b.example"] {
            let answer = cache.send(request("GET", &format!("http://{host}/x"))).await;
            assert_eq!(answer.text(), host);
        }
    }
    assert_eq!(cache.origin.calls(), 2);
    let evil =
        crate::support::with(request("GET", "http://evil.example/x"), &[("host", "a.example")]);
    assert_eq!(cache.send(evil).await.cache.reason(), Some(Reason::Authority));
}

/// RFC 9111 §4: of several that match, the most recent by `Date` is used.
/// Feature newest-variant.
#[tokio::test]
async fn the_most_recent_of_those_that_match_is_used() {
    for newer_first in [false, true] {
        let cache = cache(Policy::shared());
        let (old, new) = (cache.clock.date(-20), cache.clock.date(-10));
        cache.origin.on(move |request| {
            let vary = request.headers()["x-vary"].to_str().unwrap();
            let date = if (vary == "x-a") == newer_first { &new } else { &old };
            ok().cache_control("max-age=60").header("vary", vary).header("date", date).text(vary)
        });
        // One after the other under two sets of names that both fit the last request.
        cache.get_with("/", &[("x-vary", "x-a"), ("x-b", "1")]).await;
        cache.get_with("/", &[("x-vary", "x-b"), ("x-a", "1")]).await;
        let answer = cache.get_with("/", &[]).await;
        let expected = if newer_first { "x-a" } else { "x-b" };
        assert_eq!(answer.assert_hit().text(), expected);
    }
}

/// RFC 9110 §8.6: lengths that contradict each other or the body say nothing.
#[tokio::test]
async fn contradicting_lengths_are_not_stored() {
    for lengths in [&["6", "5"][..], &["5", "6"], &["5, 6"], &["x"], &["-5"], &[""], &["6"]] {
        let cache = cache(Policy::shared());
        cache.origin.on(move |_| {
            let reply = ok().cache_control("max-age=60");
            lengths
                .iter()
                .fold(reply, |reply, line| reply.header("content-length", line))
                .text("hello")
        });
        let response = cache.open("/").await;
        assert_eq!(response.body().status().reason(), Some(Reason::ContentLength), "{lengths:?}");
    }
    let cache = cache(Policy::shared());
    cache
        .origin
        .on(|_| ok().cache_control("max-age=60").header("content-length", "5, 5").text("hello"));
    cache.get("/").await;
    cache.get("/").await.assert_hit();
}

/// RFC 9110 §6.6.1: a `Date` that is none is replaced in what is stored and in what is sent on.
#[tokio::test]
async fn a_date_that_is_none_is_replaced() {
    let cache = cache(Policy::shared());
    cache.origin.on(|_| ok().cache_control("max-age=60").header("date", "soon").text("hello"));
    let date = cache.clock.date(0);
    for _ in 0..2 {
        assert_eq!(cache.get("/").await.lines("date"), [date.as_bytes()]);
    }
}

/// Behaviour 41; RFC 9111 §5.5: no `Warning` is made, for stale answers neither; one that came goes on.
#[tokio::test]
async fn no_warning_is_made() {
    let policy = Policy::shared().stale_on_disconnect(Duration::from_secs(1000));
    for warning in [None, Some("299 - \"x\"")] {
        let cache = cache(policy.clone());
        let mut is_up = true;
        cache.origin.try_on(move |_| {
            if !std::mem::take(&mut is_up) {
                return Err(OriginError("down"));
            }
            let reply = ok().cache_control("max-age=10").header("etag", "\"1\"");
            Ok(warning
                .into_iter()
                .fold(reply, |reply, text| reply.header("warning", text))
                .text(""))
        });
        for seconds in [0, 5, 500] {
            cache.clock.set_secs(seconds);
            let answer = cache.get("/").await;
            assert_eq!((answer.status.as_u16(), answer.field("warning")), (200, warning));
        }
    }
}
