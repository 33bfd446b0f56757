//! Concurrent requests for the same thing (RFC 9111 §4): one goes to the origin, and each client gets
//! what it may have.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderValue, Request, Uri};
use larder::{
    Policy, Uncollapsed,
    policy::{Forward, Reason},
};

use super::{
    gate::{begin, end, gated},
    spy::{Call, Fault, Spy},
};
use crate::support::{Answer, cache, cache_over, get, now_or_never, ok, request, status, with};

/// Concurrent misses are one request; each client gets the whole of it.
/// Scenario 3.11.
#[tokio::test]
async fn a_thousand_misses_are_one_request() {
    let (cache, gate) =
        gated(cache(Policy::shared()), |_| Ok(ok().cache_control("max-age=60").text("hello")));
    let all: Vec<_> = (0..1000).map(|_| begin(&cache, get("/"))).collect();
    gate.open(1000);
    let mut collapsed = 0;
    for pending in all {
        let answer = end(pending).await;
        assert_eq!(answer.text(), "hello");
        assert_eq!(answer.cache.forward(), Some(Forward::UriMiss));
        collapsed += usize::from(answer.cache.is_collapsed());
        let shown = answer.field("cache-status").unwrap();
        assert_eq!(shown.contains("; collapsed"), answer.cache.is_collapsed(), "{shown}");
    }
    assert_eq!((cache.origin.calls(), collapsed), (1, 999));
    cache.get("/").await.assert_hit();
}

/// Scenario 2.10: the look-up is collapsed, too.
#[tokio::test]
async fn a_thousand_misses_are_one_look_up() {
    let spy = Spy::waiting();
    spy.breaks(Call::Get, Fault::Wait);
    let (cache, gate) = gated(cache_over(spy.clone(), Policy::shared()), |_| {
        Ok(ok().cache_control("max-age=60").text("hello"))
    });
    let all: Vec<_> = (0..1000).map(|_| begin(&cache, get("/"))).collect();
    gate.open(1000);
    for pending in all {
        assert_eq!(end(pending).await.text(), "hello");
    }
    assert_eq!(cache.origin.calls(), 1);
    let asked = spy.asked();
    assert!(asked.lookups <= 2, "{asked:?}");
}

/// A validation is shared like a miss, be it answered by 304 or by 200 (scenario 4.7 beside others).
#[tokio::test]
async fn concurrent_validations_are_one() {
    for changed in [false, true] {
        let (cache, gate) = gated(cache(Policy::shared()), move |request| {
            let is_asked = request.headers().contains_key("if-none-match");
            let reply = match is_asked && !changed {
                true => status(304),
                false => ok(),
            };
            let text = if is_asked { "new" } else { "old" };
            let text = if is_asked && !changed { "" } else { text };
            Ok(reply.cache_control("max-age=10").header("etag", "\"1\"").text(text))
        });
        gate.open(1);
        cache.get("/").await;
        cache.clock.set_secs(10);
        let all: Vec<_> = (0..100).map(|_| begin(&cache, get("/"))).collect();
        gate.open(100);
        for pending in all {
            assert_eq!(end(pending).await.text(), if changed { "new" } else { "old" });
        }
        assert_eq!(cache.origin.calls(), 2, "changed: {changed}");
    }
}

/// security.md, "Collapse leak": what is for one user is for nobody who waits, and those who wait go on
/// in parallel. Afterwards nobody waits for a while.
/// Scenario 3.11.
#[tokio::test]
async fn what_may_not_be_shared_releases_all_who_wait() {
    let replies: [(&str, bool); 8] = [
        ("private, max-age=60", false),
        ("no-store", false),
        ("max-age=60", false),
        ("no-cache, public", false),
        ("public, max-age=0", false),
        ("public, max-age=60", true),
        ("s-maxage=60", true),
        ("must-revalidate, max-age=60", true),
    ];
    for (cache_control, is_shared) in replies {
        let (cache, gate) = gated(cache(Policy::shared()), move |request| {
            let token = request.headers()["authorization"].to_str().unwrap().to_owned();
            Ok(ok().cache_control(cache_control).header("etag", "\"1\"").text(token))
        });
        let user = |n: usize| with(get("/"), &[("authorization", &format!("token-{n}"))]);
        let all: Vec<_> = (0..500).map(|n| begin(&cache, user(n))).collect();
        assert_eq!(cache.origin.calls(), 1);
        gate.open(1);
        let mut all = all.into_iter();
        let first = end(all.next().unwrap()).await;
        assert_eq!(first.text(), "token-0");
        let mut rest: Vec<_> = all.collect();
        if is_shared {
            for pending in rest {
                assert_eq!(end(pending).await.text(), "token-0", "{cache_control}");
            }
            assert_eq!(cache.origin.calls(), 1, "{cache_control}");
            continue;
        }
        for pending in &mut rest {
            assert!(now_or_never(pending.as_mut()).is_none());
        }
        assert_eq!(cache.origin.calls(), 500, "all at once: {cache_control}");
        gate.open(499);
        for (n, pending) in rest.into_iter().enumerate() {
            assert_eq!(end(pending).await.text(), format!("token-{}", n + 1), "{cache_control}");
        }
        // The key is remembered, so nobody waits now.
        let again: Vec<_> = (0..10).map(|n| begin(&cache, user(n))).collect();
        assert_eq!(cache.origin.calls(), 510, "{cache_control}");
        gate.open(10);
        for (n, pending) in again.into_iter().enumerate() {
            assert_eq!(end(pending).await.text(), format!("token-{n}"));
        }
        cache.clock.advance_secs(10);
        let calls = cache.origin.calls();
        let _later: Vec<_> = (0..10).map(|n| begin(&cache, user(n))).collect();
        assert_eq!(cache.origin.calls(), calls + 1, "tried again: {cache_control}");
    }
}

/// Target and fields are slices of the connection's read buffer: whoever waits has copies of them, so
/// that a thousand who wait do not hold a thousand buffers. Released, it asks as it came.
#[tokio::test]
async fn whoever_waits_holds_no_buffer_of_its_connection() {
    struct Buffer(&'static str, #[expect(dead_code)] Arc<()>);
    impl AsRef<[u8]> for Buffer {
        fn as_ref(&self) -> &[u8] {
            self.0.as_bytes()
        }
    }
    for (spy, is_stored) in [(Spy::new(), false), (Spy::new(), true), (Spy::waiting(), false)] {
        let (cache, gate) = gated(cache_over(spy.clone(), Policy::shared()), |request| {
            let is_filling = request.headers().contains_key("x-fill");
            let cache_control = if is_filling { "max-age=1" } else { "private" };
            Ok(ok().cache_control(cache_control).header("etag", "\"1\"").text("hello"))
        });
        if is_stored {
            gate.open(1);
            cache.get_with("/?a", &[("x-fill", "1")]).await;
            cache.clock.set_secs(10);
        }
        spy.breaks(Call::Get, Fault::Wait);
        let leader = begin(&cache, get("/?a"));
        let held = Arc::new(());
        let slice = |text| Bytes::from_owner(Buffer(text, held.clone()));
        let mut request = get("/");
        *request.uri_mut() = Uri::from_maybe_shared(slice("http://a.example/?a")).unwrap();
        for (name, text) in [("x-own", "mine"), ("accept", "text/html")] {
            let value = HeaderValue::from_maybe_shared(slice(text)).unwrap();
            request.headers_mut().insert(name, value);
        }
        assert_eq!(Arc::strong_count(&held), 4);
        let mut follower = begin(&cache, request);
        assert_eq!(Arc::strong_count(&held), 1, "stored: {is_stored}");
        gate.open(1);
        assert_eq!(end(leader).await.text(), "hello");
        let calls = cache.origin.calls();
        // Once for the store, where that has to be waited for.
        (0..2).for_each(|_| assert!(now_or_never(follower.as_mut()).is_none()));
        assert_eq!(cache.origin.calls(), calls + 1);
        let asked = cache.origin.last();
        assert_eq!((asked.path(), asked.field("x-own")), ("/?a", Some("mine")));
        assert_eq!(asked.field("accept"), Some("text/html"));
        assert_eq!(asked.field("if-none-match"), is_stored.then_some("\"1\""));
    }
}

/// What is stored for nobody is finished for nobody: it ends with the one who asked, where a request
/// whose answer may be stored goes on.
#[tokio::test]
async fn what_will_not_be_stored_ends_with_the_one_who_asked() {
    for (name, goes_on) in [("x-any", true), ("cache-control", false)] {
        let (at_origin, reply) = (Arc::new(()), ok().cache_control("max-age=60").text("hello"));
        let (cache, held) = (cache(Policy::shared()), at_origin.clone());
        let mut reply = Some(reply);
        cache.origin.on_later(move |_| {
            let (held, reply) = (held.clone(), reply.take().unwrap());
            async move {
                tokio::task::yield_now().await;
                drop(held);
                Ok(reply)
            }
        });
        let asking = begin(&cache, with(get("/"), &[(name, "no-store")]));
        assert_eq!(Arc::strong_count(&at_origin), 3, "the origin is at work");
        drop(asking);
        assert_eq!(Arc::strong_count(&at_origin), 2 + usize::from(goes_on), "{name}");
    }
}

/// RFC 9111 §4.1: a follower gets only the variant that it selects. Two variants are two requests, whoever
/// came first; once `Vary` is known nobody waits for another variant.
#[tokio::test]
async fn followers_of_two_variants_are_two_requests() {
    let (cache, gate) = gated(cache(Policy::shared()), |request| {
        let language = request.headers()["accept-language"].to_str().unwrap().to_owned();
        Ok(ok().cache_control("max-age=60").header("vary", "accept-language").text(language))
    });
    let ask = |n: usize| {
        let language = ["en", "de", "fr"][n % 3];
        begin(&cache, with(get("/"), &[("accept-language", language)]))
    };
    let all: Vec<_> = (0..300).map(ask).collect();
    assert_eq!(cache.origin.calls(), 1, "nobody knows yet that it varies");
    gate.open(1);
    let mut all: Vec<_> = all.into_iter().enumerate().collect();
    let mut first = None;
    all.retain_mut(|(n, pending)| match now_or_never(pending.as_mut()) {
        Some(answer) => {
            assert_eq!(*n % 3, 0);
            first.get_or_insert(answer.unwrap());
            false
        }
        None => true,
    });
    assert_eq!(cache.origin.calls(), 3, "one for each of the others, side by side");
    gate.open(2);
    for (n, pending) in all {
        assert_eq!(end(pending).await.text(), ["en", "de", "fr"][n % 3]);
    }
    assert_eq!(Answer::of(first.unwrap()).await.text(), "en");
    assert_eq!(cache.origin.calls(), 3);
}

/// A request with conditions of its own, and HEAD, follow a GET and are answered from it; what they
/// would bring themselves is of no use to others.
#[tokio::test]
async fn head_and_conditions_follow_and_do_not_lead() {
    let reply = || ok().cache_control("max-age=60").header("etag", "\"1\"").text("hello");
    let (cache, gate) = gated(cache(Policy::shared()), move |_| Ok(reply()));
    let leader = begin(&cache, get("/"));
    let head = begin(&cache, request("HEAD", "/"));
    let known = begin(&cache, with(get("/"), &[("if-none-match", "\"1\"")]));
    let other = begin(&cache, with(get("/"), &[("if-none-match", "\"2\"")]));
    gate.open(1);
    let (leader, head) = (end(leader).await, end(head).await);
    assert_eq!(
        (leader.text(), head.text(), head.field("content-length")),
        ("hello", "", Some("5"))
    );
    assert_eq!(end(known).await.status, 304);
    assert_eq!(end(other).await.text(), "hello");
    assert_eq!(cache.origin.calls(), 1);

    let _head = begin(&cache, request("HEAD", "/b"));
    let _known = begin(&cache, with(get("/b"), &[("if-none-match", "\"1\"")]));
    let _leader = begin(&cache, get("/b"));
    let _follower = begin(&cache, get("/b"));
    assert_eq!(cache.origin.calls(), 4, "each of the first three for itself");
}

/// The switch of the layer, and that of a single request.
#[tokio::test]
async fn collapsing_can_be_switched_off() {
    let reply = |_: &Request<()>| Ok(ok().cache_control("max-age=60").text("hello"));
    let (without, _gate) = gated(cache(Policy::shared().collapse(false)), reply);
    let _all: Vec<_> = (0..10).map(|_| begin(&without, get("/"))).collect();
    assert_eq!(without.origin.calls(), 10);

    let (with, _gate) = gated(cache(Policy::shared()), reply);
    let _all: Vec<_> = (0..10)
        .map(|_| {
            let mut request = get("/");
            request.extensions_mut().insert(Uncollapsed);
            begin(&with, request)
        })
        .collect();
    assert_eq!(with.origin.calls(), 10);
}

/// RFC 9111 §4.4: who comes after an unsafe request does not get what was asked for before it.
#[tokio::test]
async fn an_unsafe_request_parts_those_before_from_those_after() {
    let (cache, gate) = gated(cache(Policy::shared()), |request| {
        let text = request.method().to_string();
        Ok(ok().cache_control("max-age=60").text(text))
    });
    let before = begin(&cache, get("/"));
    let post = begin(&cache, request("POST", "/"));
    // The gate lets through in the order of arrival: the GET first, its body unread.
    gate.open(1);
    let before = before.await.unwrap();
    gate.open(1);
    end(post).await;
    let _after = begin(&cache, get("/"));
    assert_eq!(cache.origin.calls(), 3);
    assert_eq!(Answer::of(before).await.text(), "GET");
}

/// Scenario 0.4, its first half: a purge parts them likewise, and what began before it is served to
/// those who waited for it and stored for nobody.
#[tokio::test]
async fn a_purge_parts_those_before_from_those_after() {
    let (cache, gate) =
        gated(cache(Policy::shared()), |_| Ok(ok().cache_control("max-age=60").text("old")));
    let (first, second) = (begin(&cache, get("/")), begin(&cache, get("/")));
    let purge = larder::Purge::url("http://a.example/").unwrap();
    cache.layer.handle().purge(purge).await.unwrap();
    // Whoever comes now may wait for the head, and asks for itself when it is seen to be too old.
    let mut after = begin(&cache, get("/"));
    gate.open(1);
    assert_eq!((end(first).await.text(), end(second).await.text()), ("old", "old"));
    assert!(now_or_never(after.as_mut()).is_none());
    assert_eq!(cache.origin.calls(), 2);
    gate.open(1);
    // What was purged on its way is not even stored.
    assert_eq!(end(after).await.cache.reason(), Some(Reason::UriMiss));
    cache.get("/").await.assert_hit();
    assert_eq!(cache.origin.calls(), 2);
}
