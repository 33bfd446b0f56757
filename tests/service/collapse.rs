//! Concurrent requests for the same thing (RFC 9111 §4): one goes to the origin, and each client gets
//! what it may have.

use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, Uri};
use http_body_util::Full;
use larder::{
    CacheBody, CacheManager, Disconnect, MemoryManager, NoExecutor, Policy, Uncollapsed,
    policy::{Forward, Reason},
};
use tower::{Layer, Service};

use super::spy::{Call, Fault, Spy};
use crate::support::{
    Answer, BodySender, Cache, OriginError, TestBody, cache, cache_over, channel, get,
    now_or_never, ok, read, request, status, with,
};

type Pending = Pin<Box<dyn Future<Output = Result<Response<CacheBody<TestBody>>, OriginError>>>>;

/// An origin whose answers wait for the test.
#[derive(Clone)]
struct Gate(Arc<tokio::sync::Semaphore>);

impl Gate {
    fn new() -> Self {
        Self(Arc::new(tokio::sync::Semaphore::new(0)))
    }

    fn open(&self, answers: usize) {
        self.0.add_permits(answers);
    }

    async fn pass(self) {
        self.0.acquire().await.unwrap().forget();
    }
}

/// A cache whose origin answers by `reply` when the gate is opened for it.
fn gated<M: CacheManager>(
    cache: Cache<M>,
    reply: impl Fn(&Request<()>) -> Result<Response<TestBody>, OriginError> + Send + 'static,
) -> (Cache<M>, Gate) {
    let gate = Gate::new();
    let at_origin = gate.clone();
    cache.origin.on_later(move |request| {
        let (passing, reply) = (at_origin.clone().pass(), reply(request));
        async {
            passing.await;
            reply
        }
    });
    (cache, gate)
}

fn begin<M: CacheManager>(cache: &Cache<M>, request: Request<Full<Bytes>>) -> Pending {
    let mut future: Pending = Box::pin(cache.service.clone().call(request));
    assert!(now_or_never(future.as_mut()).is_none(), "answered before the origin was");
    future
}

async fn end(pending: Pending) -> Answer {
    Answer::of(pending.await.unwrap()).await
}

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

/// Scenario 3.12: after ten seconds without a sign of life one waiter asks as well and the others
/// wait for either; after three all ask for themselves, and for ten seconds nobody waits.
#[tokio::test]
async fn a_silent_leader_is_replaced() {
    let (cache, gate) =
        gated(cache(Policy::shared()), |_| Ok(ok().cache_control("max-age=60").text("hello")));
    let mut all: Vec<_> = (0..20).map(|_| begin(&cache, get("/"))).collect();
    let poll = |all: &mut Vec<Pending>| {
        all.iter_mut().for_each(|one| assert!(now_or_never(one.as_mut()).is_none()));
    };
    for (seconds, calls) in [(9, 1), (10, 2), (19, 2), (20, 3), (29, 3), (30, 20)] {
        cache.clock.set_secs(seconds);
        poll(&mut all);
        assert_eq!(cache.origin.calls(), calls, "at {seconds} s");
    }
    let _more: Vec<_> = (0..5).map(|_| begin(&cache, get("/"))).collect();
    assert_eq!(cache.origin.calls(), 25, "nobody waits");
    gate.open(25);
    for pending in all {
        assert_eq!(end(pending).await.text(), "hello");
    }
}

/// Scenario 3.12: the first of the leaders to land answers all who wait.
#[tokio::test]
async fn whoever_lands_first_answers_those_who_wait() {
    let (cache, gate) =
        gated(cache(Policy::shared()), |_| Ok(ok().cache_control("max-age=60").text("hello")));
    let mut all: Vec<_> = (0..20).map(|_| begin(&cache, get("/"))).collect();
    cache.clock.set_secs(10);
    all.iter_mut().for_each(|one| assert!(now_or_never(one.as_mut()).is_none()));
    gate.open(1);
    let answered = all.iter_mut().filter_map(|one| now_or_never(one.as_mut())).count();
    assert_eq!((cache.origin.calls(), answered), (2, 19), "all but the second leader");
}

/// A leader that fails before its head: who has something stale gets that, the others go on in
/// parallel, once, and for a second nobody waits.
#[tokio::test]
async fn a_leader_that_fails_releases_all_who_wait() {
    let (cache, gate) = gated(cache(Policy::shared()), |_| Err(OriginError("down")));
    let mut all: Vec<_> = (0..10).map(|_| begin(&cache, get("/"))).collect();
    gate.open(1);
    assert!(now_or_never(all.remove(0).as_mut()).unwrap().is_err());
    all.iter_mut().for_each(|one| assert!(now_or_never(one.as_mut()).is_none()));
    assert_eq!(cache.origin.calls(), 10, "in parallel");
    gate.open(9);
    for mut pending in all {
        assert!(now_or_never(pending.as_mut()).unwrap().is_err(), "once");
    }
    let _two = (begin(&cache, get("/")), begin(&cache, get("/")));
    assert_eq!(cache.origin.calls(), 12, "nobody waits");
    cache.clock.advance_secs(1);
    let _two = (begin(&cache, get("/")), begin(&cache, get("/")));
    assert_eq!(cache.origin.calls(), 13);
}

/// The same, where something stale may be used (RFC 5861 §4).
#[tokio::test]
async fn those_who_wait_for_a_leader_that_fails_get_what_is_stale() {
    for fails in [true, false] {
        let (cache, gate) = gated(cache(Policy::shared()), move |request| {
            match (request.headers().contains_key("if-none-match"), fails) {
                (false, _) => Ok(ok()
                    .cache_control("max-age=10, stale-if-error=60")
                    .header("etag", "\"1\"")
                    .text("old")),
                (true, true) => Err(OriginError("down")),
                (true, false) => Ok(status(503).text("down")),
            }
        });
        gate.open(1);
        cache.get("/").await;
        cache.clock.set_secs(11);
        let all: Vec<_> = (0..10).map(|_| begin(&cache, get("/"))).collect();
        gate.open(1);
        for pending in all {
            assert_eq!(end(pending).await.text(), "old");
        }
        assert_eq!(cache.origin.calls(), 2);
    }
}

/// The inner service may panic: the one who asked panics with it, the others go on.
#[tokio::test]
async fn a_panic_of_the_inner_service_is_the_leaders_alone() {
    let (cache, gate) = gated(cache(Policy::shared()), |_| Ok(ok().text("")));
    let gate_of_panic = gate.clone();
    let first = AtomicUsize::new(0);
    cache.origin.on_later(move |_| {
        let panics = first.fetch_add(1, Ordering::SeqCst) == 0;
        let passing = gate_of_panic.clone().pass();
        async move {
            passing.await;
            assert!(!panics, "the handler's own");
            Ok(ok().cache_control("max-age=60").text("hello"))
        }
    });
    let mut all: Vec<_> = (0..5).map(|_| begin(&cache, get("/"))).collect();
    gate.open(5);
    let mut leader = all.remove(0);
    // It is a follower that polls it then.
    assert!(now_or_never(all[0].as_mut()).is_none_or(|answer| answer.is_ok()));
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        now_or_never(leader.as_mut()).is_some()
    }));
    assert!(panicked.is_err());
    for pending in all.drain(1..) {
        assert_eq!(end(pending).await.text(), "hello");
    }
    cache.get("/").await.assert_hit();
}

/// Two layers over one store, one inside the other, as where a route has its own: the inner one does
/// not wait for the request that it is a part of.
#[tokio::test]
async fn a_request_does_not_wait_for_itself() {
    let cache = cache(Policy::shared());
    cache.origin.on(|_| ok().cache_control("max-age=60").text("hello"));
    let mut nested = cache.layer.layer(cache.layer.layer(cache.origin.clone()));
    let answer = now_or_never(nested.call(get("/"))).expect("it waits for itself").unwrap();
    assert_eq!(read(answer).await.unwrap(), "hello");
    assert_eq!(cache.origin.calls(), 1);
}

/// Design, "When the first client leaves": others go on with what it began.
#[tokio::test]
async fn the_first_client_may_leave() {
    for executor in [true, false] {
        let (cache, gate) =
            gated(cache(Policy::shared()), |_| Ok(ok().cache_control("max-age=60").text("hello")));
        let cache = match executor {
            true => cache,
            false => cache.layered(|layer| layer.executor(NoExecutor)),
        };
        let leader = begin(&cache, get("/"));
        let follower = begin(&cache, get("/"));
        drop(leader);
        gate.open(1);
        assert_eq!(end(follower).await.text(), "hello");
        assert_eq!(cache.origin.calls(), 1);
        cache.get("/").await.assert_hit();
    }
}

/// The last client leaves: `Finish` needs an executor, `Abandon` ends it.
#[tokio::test]
async fn what_the_last_client_leaves_is_finished_or_abandoned() {
    let cases = [
        (Disconnect::Finish, true, true),
        (Disconnect::Finish, false, false),
        (Disconnect::Abandon, true, false),
        (Disconnect::FinishFrom(0.0), true, false),
    ];
    for (disconnect, executor, is_stored) in cases {
        let (cache, gate) =
            gated(cache(Policy::shared()), |_| Ok(ok().cache_control("max-age=60").text("hello")));
        let cache = cache.layered(|layer| match executor {
            true => layer.on_disconnect(disconnect),
            false => layer.on_disconnect(disconnect).executor(NoExecutor),
        });
        drop(begin(&cache, get("/")));
        gate.open(1);
        cache.layer.handle().shutdown().await;
        let calls = cache.origin.calls();
        let pending = cache.service.clone().call(get("/"));
        let hit =
            now_or_never(pending).is_some_and(|answer| answer.unwrap().body().status().is_hit());
        assert_eq!(hit, is_stored, "{disconnect:?}, executor: {executor}");
        assert_eq!(calls, 1);
    }
}

/// `FinishFrom`: if a share of the body is there.
#[tokio::test]
async fn a_body_is_finished_from_a_share_on() {
    for (come, is_stored) in [("hell", true), ("hel", false)] {
        let (cache, sender) = streaming();
        let cache = cache.layered(|layer| layer.on_disconnect(Disconnect::FinishFrom(0.4)));
        let mut body = cache.open("/").await.into_body();
        sender.data(come);
        assert!(now_or_never(http_body_util::BodyExt::frame(&mut body)).is_some());
        drop(body);
        tokio::task::yield_now().await;
        assert_eq!(sender.is_closed(), !is_stored);
        sender.data("0123456789"[come.len()..].to_owned());
        drop(sender);
        cache.layer.handle().shutdown().await;
        let hit = cache.service.clone().call(get("/"));
        let is_hit =
            now_or_never(hit).is_some_and(|answer| answer.unwrap().body().status().is_hit());
        assert_eq!(is_hit, is_stored, "{come}");
    }
}

/// A cache whose origin gives a body of ten bytes by hand, once.
fn streaming() -> (Cache<MemoryManager>, BodySender) {
    let cache = cache(Policy::shared());
    let (sender, body) = channel();
    let mut body = Some(body);
    cache.origin.on_later(move |_| {
        let body = body.take();
        async move {
            match body {
                Some(body) => {
                    let reply = ok().cache_control("max-age=60").header("content-length", "10");
                    Ok(reply.body(body))
                }
                None => std::future::pending().await,
            }
        }
    });
    (cache, sender)
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

/// Stale on a slow origin: after a while the client gets what is stale, and the request goes on.
#[tokio::test]
async fn a_slow_origin_is_not_waited_for() {
    let second = Duration::from_secs(1);
    let policy = Policy::shared().stale_on_slow_origin(2 * second).stale_on_disconnect(60 * second);
    let (cache, gate) = gated(cache(policy), |request| {
        let is_asked = request.headers().contains_key("if-none-match");
        let text = if is_asked { "new" } else { "old" };
        Ok(ok().cache_control("max-age=10").header("etag", "\"1\"").text(text))
    });
    gate.open(1);
    cache.get("/").await;
    cache.clock.set_secs(20);
    let (mut first, mut second) = (begin(&cache, get("/")), begin(&cache, get("/")));
    cache.clock.set_secs(21);
    assert!(now_or_never(first.as_mut()).is_none());
    assert!(now_or_never(second.as_mut()).is_none());
    cache.clock.set_secs(22);
    for pending in [first, second] {
        let answer = end(pending).await;
        assert_eq!((answer.text(), answer.cache.reason()), ("old", Some(Reason::SlowOrigin)));
    }
    gate.open(1);
    cache.layer.handle().shutdown().await;
    assert_eq!(cache.get("/").await.assert_hit().text(), "new");
    assert_eq!(cache.origin.calls(), 2);
}
