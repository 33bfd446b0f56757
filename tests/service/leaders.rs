//! What becomes of those who wait for another's request when it is slow, fails or is left.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use larder::{Disconnect, MemoryManager, NoExecutor, Policy, policy::Reason};
use tower::{Layer, Service};

use super::gate::{Pending, begin, end, gated};
use crate::support::{
    BodySender, Cache, OriginError, cache, channel, get, now_or_never, ok, read, status,
};

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

/// Dropped before its first poll, a request asks nobody, in the background neither; not polled yet, it
/// holds up nobody who asks for the same.
#[tokio::test]
async fn who_is_never_polled_asks_for_nothing() {
    let cache = cache(Policy::shared());
    cache.origin.on(|_| ok().cache_control("max-age=60").text("hello"));
    let (leader, follower) =
        (cache.service.clone().call(get("/")), cache.service.clone().call(get("/")));
    drop(leader);
    drop(follower);
    cache.layer.handle().shutdown().await;
    assert_eq!(cache.origin.calls(), 0);
    let leader = cache.service.clone().call(get("/"));
    let follower = now_or_never(cache.service.clone().call(get("/"))).expect("it is held up");
    assert_eq!(read(follower.unwrap()).await.unwrap(), "hello");
    drop(leader);
    cache.layer.handle().shutdown().await;
    cache.get("/").await.assert_hit();
    assert_eq!(cache.origin.calls(), 1);
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

/// It is the origin that is slow, and not who asks it late.
#[tokio::test]
async fn a_slow_origin_is_slow_since_it_was_asked() {
    let second = Duration::from_secs(1);
    let policy = Policy::shared().stale_on_slow_origin(2 * second).stale_on_disconnect(60 * second);
    let (cache, gate) = gated(cache(policy), |_| {
        Ok(ok().cache_control("max-age=10").header("etag", "\"1\"").text("old"))
    });
    gate.open(1);
    cache.get("/").await;
    cache.clock.set_secs(20);
    let mut late = Box::pin(cache.service.clone().call(get("/")));
    for seconds in [25, 26] {
        cache.clock.set_secs(seconds);
        assert!(now_or_never(late.as_mut()).is_none(), "at {seconds} s");
    }
    cache.clock.set_secs(27);
    assert_eq!(end(late).await.cache.reason(), Some(Reason::SlowOrigin));
}
