//! What an observer hears of requests: one event per decision, of the same status as everybody else is
//! told.

use std::{
    collections::BTreeSet,
    future::pending,
    panic::{AssertUnwindSafe, catch_unwind},
    time::Duration,
};

use http::Response;
use larder::{
    Policy,
    observe::{Event, Observer, OriginId, Wait},
    policy::Served,
};
use tower::Service;

use super::{
    gate::{begin, gated},
    notes::{Notes, observed},
};
use crate::support::{
    OriginError, TestBody, cache, get, later::Later, now_or_never, ok, read, request, status, with,
};

/// Scenario 4.11: one request, one `answered`; and what it took of the origin and of the store, in its
/// order.
#[tokio::test]
async fn each_decision_is_an_event() {
    let (cache, notes) = observed(cache(Policy::shared()));
    cache.origin.on(|request| match request.uri().path() {
        "/cookie" => ok().cache_control("max-age=10").header("set-cookie", "a=b").text("x"),
        _ if request.headers().contains_key("if-none-match") => status(304).text(""),
        _ => {
            let reply = ok().cache_control("max-age=10, stale-if-error=60");
            reply.header("etag", "\"1\"").text("hello")
        }
    });
    let miss = [
        "origin asked: uri-miss",
        "origin answered 200",
        "answered miss 200 5",
        "stored 5",
        "origin done",
    ];
    cache.get("/").await;
    assert_eq!(notes.take(), miss);
    cache.get("/").await;
    assert_eq!(notes.take(), ["answered hit 200 5"]);
    cache.send(request("HEAD", "/")).await;
    assert_eq!(notes.take(), ["answered hit 200 0"]);
    cache.get_with("/", &[("range", "bytes=1-2")]).await;
    assert_eq!(notes.take(), ["answered hit 206 2"]);
    cache.get_with("/", &[("if-none-match", "\"1\"")]).await;
    assert_eq!(notes.take(), ["answered hit 304 0"]);
    cache.clock.advance_secs(10);
    cache.get_with("/", &[("cache-control", "only-if-cached")]).await;
    assert_eq!(notes.take(), ["answered generated 504 0"]);
    cache.get("/").await;
    let validated =
        ["origin asked: stale", "origin answered 304", "origin done", "answered validated 200 5"];
    assert_eq!(notes.take(), validated);
    cache.clock.advance_secs(10);
    cache.origin.try_on(|_| Err(OriginError("down")));
    cache.get("/").await;
    let stale = [
        "origin asked: stale",
        "origin answered error",
        "origin done",
        "answered stale-on-error 200 5",
    ];
    assert_eq!(notes.take(), stale);
    assert!(cache.service.clone().call(get("/other")).await.is_err());
    let failed = ["origin asked: uri-miss", "origin answered error", "origin done", "failed"];
    assert_eq!(notes.take(), failed);
    for (request, reason) in [
        (request("POST", "/"), "unsafe-method"),
        (with(get("/"), &[("if-match", "\"1\"")]), "precondition"),
    ] {
        cache.origin.on(|_| ok().text("done"));
        cache.send(request).await;
        let asked = format!("origin asked: {reason}");
        let bypass = [&*asked, "origin answered 200", "origin done", "answered bypass 200 4"];
        assert_eq!(notes.take(), bypass);
    }
    cache.origin.on(|_| ok().cache_control("max-age=10").header("set-cookie", "a=b").text("x"));
    cache.get("/cookie").await;
    let unstored = [
        "origin asked: uri-miss",
        "origin answered 200",
        "not stored: set-cookie",
        "origin done",
        "answered miss 200 1",
    ];
    assert_eq!(notes.take(), unstored);
}

/// Scenario 2.7: how long each took is by the layer's own clock.
#[tokio::test]
async fn latencies_are_those_of_the_clock() {
    let (cache, notes) = observed(cache(Policy::shared()));
    let clock = cache.clock.clone();
    cache.origin.on_later(move |_| {
        clock.advance(Duration::from_millis(800));
        async { Ok(ok().cache_control("max-age=10").text("x")) }
    });
    cache.get("/").await;
    let expected = [
        "origin asked: uri-miss",
        "origin answered 200 0.8 s",
        "answered miss 200 1 0.8 s",
        "stored 1",
        "origin done 0.8 s",
    ];
    assert_eq!(notes.take(), expected);
    cache.get("/").await;
    assert_eq!(notes.take(), ["answered hit 200 1"]);
}

/// Scenario 3.12: how each wait ends is told: one of twenty takes over after ten seconds, another after
/// twenty, after thirty all give up.
#[tokio::test]
async fn each_wait_has_an_outcome() {
    let (cache, notes) = observed(cache(Policy::shared()));
    cache.origin.on_later(|_| pending::<Result<Response<TestBody>, OriginError>>());
    let mut all: Vec<_> = (0..20).map(|_| begin(&cache, get("/"))).collect();
    let mut waits = |seconds| {
        cache.clock.set_secs(seconds);
        all.iter_mut().for_each(|one| assert!(now_or_never(one.as_mut()).is_none()));
        notes.of("waited")
    };
    assert!(waits(0).is_empty() && waits(9).is_empty());
    assert_eq!(waits(10), ["waited: handed-over 10 s"]);
    assert_eq!(waits(20), ["waited: handed-over 20 s"]);
    assert_eq!(waits(30), vec!["waited: given-up 30 s"; 17]);
    all.truncate(10);
    assert_eq!(notes.of("left").len(), 10, "clients that leave are told");
    assert_eq!(cache.layer.handle().stats().waits(), 19);
}

/// The other ends of a wait.
#[tokio::test]
async fn a_wait_ends_as_the_other_lands() {
    let table =
        [("max-age=60", 200, "shared"), ("no-store", 200, "released"), ("no-store", 503, "failed")];
    for (cache_control, code, outcome) in table {
        let (cache, notes) = observed(cache(Policy::shared()));
        let (cache, gate) =
            gated(cache, move |_| Ok(status(code).cache_control(cache_control).text("x")));
        let all = [(); 3].map(|()| begin(&cache, get("/")));
        gate.open(3);
        for one in all {
            read(one.await.unwrap()).await.unwrap();
        }
        assert_eq!(notes.of("waited"), vec![format!("waited: {outcome}"); 2]);
    }
}

/// Followers of a validation find its result in the store.
#[tokio::test]
async fn a_wait_may_end_in_the_store() {
    let (cache, notes) = observed(cache(Policy::shared()));
    cache.origin.on(|_| ok().cache_control("max-age=10").header("etag", "\"1\"").text("x"));
    cache.get("/").await;
    cache.clock.advance_secs(10);
    let (cache, gate) = gated(cache, |_| Ok(status(304).cache_control("max-age=10").text("")));
    let all = [(); 3].map(|()| begin(&cache, get("/")));
    notes.take();
    gate.open(1);
    for one in all {
        one.await.unwrap();
    }
    assert_eq!(notes.of("waited"), ["waited: stored", "waited: stored"]);
}

/// RFC 5861 §3: a refresh begins and comes to an end, or is refused.
#[tokio::test]
async fn each_refresh_is_told() {
    let (cache, notes) = observed(cache(Policy::shared()));
    let tasks = Later::default();
    let cache = cache.layered(|layer| layer.executor(tasks.clone()));
    let fresh = || ok().cache_control("max-age=10, stale-while-revalidate=1000").text("x");
    cache.origin.on(move |_| fresh());
    cache.get("/").await;
    cache.clock.advance_secs(11);
    notes.take();
    cache.get("/").await;
    tasks.go_on();
    let expected = [
        "refresh begun",
        "answered stale 200 1",
        "origin asked: stale, refresh",
        "origin answered 200",
        "stored 1",
        "origin done",
        "refresh done",
    ];
    assert_eq!(notes.take(), expected);
    cache.origin.try_on(|_| Err(OriginError("down")));
    cache.clock.advance_secs(11);
    cache.get("/").await;
    tasks.go_on();
    assert_eq!(notes.of("refresh"), ["refresh begun", "refresh failed"]);
    cache.origin.on_later(|_| pending::<Result<Response<TestBody>, OriginError>>());
    cache.clock.advance_secs(11);
    cache.get("/").await;
    tasks.go_on();
    cache.clock.advance_secs(30);
    tasks.go_on();
    assert_eq!(notes.of("refresh"), ["refresh begun", "refresh timed-out 30 s"]);
    assert!(now_or_never(cache.layer.handle().shutdown()).is_some());
    cache.clock.advance_secs(61);
    cache.get("/").await;
    assert_eq!(notes.of("refresh"), ["refresh refused"]);
    let stats = cache.layer.handle().stats();
    let counted = (stats.refreshes(), stats.refreshes_failed(), stats.refreshes_refused());
    assert_eq!(counted, (3, 2, 1));
}

/// Counters and events are of the same statuses.
#[tokio::test]
async fn stats_and_events_agree() {
    let (cache, notes) = observed(cache(Policy::shared()));
    cache.origin.on(|request| match request.uri().path() {
        "/no" => ok().cache_control("no-store").text("x"),
        _ if request.headers().contains_key("if-none-match") => status(304).text(""),
        _ => ok().cache_control("max-age=10").header("etag", "\"1\"").text("x"),
    });
    for _ in 0..3 {
        for request in [get("/"), get("/no"), request("HEAD", "/"), request("POST", "/form")] {
            cache.send(request).await;
        }
        cache.clock.advance_secs(6);
    }
    let told = notes.take();
    let count = |kind: &str| told.iter().filter(|note| note.starts_with(kind)).count() as u64;
    let stats = cache.layer.handle().stats();
    for served in Served::ALL {
        assert_eq!(stats.served(served), count(&format!("answered {served} ")), "{served}");
    }
    assert_eq!(stats.hits() + stats.validated() + stats.forwarded(), 12);
    assert_eq!(stats.origin_requests(), count("origin asked"));
    assert_eq!(stats.origin_requests() as usize, cache.origin.calls());
    assert_eq!((stats.stored(), stats.not_stored()), (count("stored"), count("not stored")));
}

/// Two observers hear the same.
#[tokio::test]
async fn a_second_observer_hears_too() {
    let (cache, first) = observed(cache(Policy::shared()));
    let (cache, second) = observed(cache);
    cache.origin.on(|_| ok().cache_control("max-age=60").text("x"));
    cache.get_twice("/", &[]).await;
    let heard = first.take();
    assert_eq!(heard.len(), 6);
    assert_eq!(heard, second.take());
}

/// Panics at events of one kind, and counts how often it was asked to drive the origin.
struct Panicking(&'static str, Notes);

impl Observer for Panicking {
    fn observe(&self, event: &Event<'_>) {
        self.1.observe(event);
        let last = self.1.take().pop().unwrap_or_default();
        assert!(!last.starts_with(self.0), "the observer's own");
    }

    // It forgets what it was asked for.
    fn within(&self, _: OriginId, _: &mut dyn FnMut()) {}
}

/// `Observer`'s docs: one that panics is like a handler that does. Those who wait go on, and what was
/// stored stays.
#[tokio::test]
async fn a_panic_of_the_observer_is_one_requests_own() {
    for kind in ["origin asked", "origin answered", "origin done", "stored", "answered", "waited"] {
        let cache = cache(Policy::shared())
            .layered(|layer| layer.observer(Panicking(kind, Notes::default())));
        cache.origin.on(|_| ok().cache_control("max-age=60").text("hello"));
        let ask = || {
            let answer = catch_unwind(AssertUnwindSafe(|| {
                let response =
                    now_or_never(cache.service.clone().call(get("/"))).expect("nothing waits");
                now_or_never(read(response.unwrap())).expect("nothing waits")
            }));
            answer.ok().and_then(Result::ok)
        };
        let has_panicked = ask().is_none();
        let is_seen = !matches!(kind, "waited" | "origin done");
        assert_eq!(has_panicked, is_seen, "{kind}");
        // The next one is served as if nothing had been, or panics by itself.
        match ask() {
            Some(body) => assert_eq!(body, "hello", "{kind}"),
            None => assert!(has_panicked, "{kind}"),
        }
        assert_eq!(cache.layer.handle().stats().body_failures(), 0);
    }
}

/// All that can come of a wait has a word of its own.
#[test]
fn words_are_different() {
    let words: BTreeSet<_> = Wait::ALL.iter().map(|wait| wait.as_str()).collect();
    assert_eq!(words.len(), Wait::ALL.len());
    let words: BTreeSet<_> = Served::ALL.iter().map(|one| one.as_str()).collect();
    assert_eq!(words.len(), Served::ALL.len());
}
