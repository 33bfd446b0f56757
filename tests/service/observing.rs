//! What an observer hears: one event per decision, of the same status as everybody else is told.

use std::{
    future::{Future, pending},
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::{Arc, Mutex},
    time::Duration,
};

use http::Response;
use larder::{
    BoxFuture, CacheBody, CacheManager, Disconnect, Executor, MemoryManager, NoExecutor, Policy,
    Purge, PurgeEvent,
    observe::{Event, Observer, OriginId, Refreshing, Wait},
    policy::Served,
};
use tower::Service;

use super::spy::{Call, Fault, Spy};
use crate::support::{
    Cache, OriginError, TestBody, cache, cache_over, channel, get, now_or_never, ok, request,
    status, with,
};

/// Writes down what it hears.
#[derive(Clone, Default)]
struct Notes(Arc<Mutex<Vec<String>>>);

impl Notes {
    fn push(&self, note: impl Into<String>) {
        self.0.lock().unwrap().push(note.into());
    }

    /// What was heard since the last time.
    fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }

    /// The same, of one kind of event.
    fn of(&self, kind: &str) -> Vec<String> {
        self.take().into_iter().filter(|note| note.starts_with(kind)).collect()
    }
}

fn seconds(took: Duration) -> String {
    if took.is_zero() { String::new() } else { format!(" {} s", took.as_secs_f64()) }
}

impl Observer for Notes {
    fn observe(&self, event: &Event<'_>) {
        self.push(match *event {
            Event::Answered { status, code, bytes, took, .. } => {
                let bytes = bytes.map_or("?".to_owned(), |bytes| bytes.to_string());
                format!("answered {} {} {bytes}{}", status.served(), code.as_u16(), seconds(took))
            }
            Event::Failed { took, .. } => format!("failed{}", seconds(took)),
            Event::Left { took, .. } => format!("left{}", seconds(took)),
            Event::OriginAsked { reason, is_refresh, .. } => {
                format!("origin asked: {reason}{}", if is_refresh { ", refresh" } else { "" })
            }
            Event::OriginAnswered { code, took, .. } => {
                let code = code.map_or("error".to_owned(), |code| code.as_str().to_owned());
                format!("origin answered {code}{}", seconds(took))
            }
            Event::OriginDone { took, .. } => format!("origin done{}", seconds(took)),
            Event::Waited { outcome, took, .. } => {
                format!("waited: {}{}", outcome.as_str(), seconds(took))
            }
            Event::Stored { bytes, .. } => format!("stored {bytes}"),
            Event::NotStored { reason, .. } => format!("not stored: {reason}"),
            Event::BodyFailed => "body failed".to_owned(),
            Event::StoreFailed { operation, error, .. } => {
                let how = if error.is_timed_out() { "late" } else { "failed" };
                format!("store {how}: {}", operation.as_str())
            }
            Event::Refresh { step, .. } => {
                let took = match step {
                    Refreshing::Done { took, .. }
                    | Refreshing::Failed { took, .. }
                    | Refreshing::TimedOut { took, .. } => took,
                    _ => Duration::ZERO,
                };
                format!("refresh {}{}", step.as_str(), seconds(took))
            }
            Event::Purge(PurgeEvent::Purged(record)) => format!("purge {}", record.purge()),
            Event::Purge(PurgeEvent::Swept { record, count, .. }) => {
                format!("swept {}: {count}", record.purge())
            }
            // Told where something has gone.
            Event::Usage { evicted: 0, variants_evicted: 0, variants_refused: 0, .. } => return,
            Event::Usage { evicted, variants_evicted, variants_refused, .. } => {
                format!("gone {evicted} {variants_evicted} {variants_refused}")
            }
            _ => "something else".to_owned(),
        });
    }
}

/// A cache that is observed.
fn observed<M: CacheManager>(cache: Cache<M>) -> (Cache<M>, Notes) {
    let notes = Notes::default();
    let observer = notes.clone();
    (cache.layered(|layer| layer.observer(observer)), notes)
}

type Open = Pin<Box<dyn Future<Output = Result<Response<CacheBody<TestBody>>, OriginError>>>>;

fn begin<M: CacheManager>(cache: &Cache<M>, path: &str) -> Open {
    Box::pin(cache.service.clone().call(get(path)))
}

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
        "stored 5",
        "origin done",
        "answered miss 200 5",
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
        "stored 1",
        "origin done 0.8 s",
        "answered miss 200 1 0.8 s",
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
    let mut all: Vec<_> = (0..20).map(|_| begin(&cache, "/")).collect();
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
        let gate = Arc::new(tokio::sync::Semaphore::new(0));
        let at_origin = gate.clone();
        cache.origin.on_later(move |_| {
            let gate = at_origin.clone();
            async move {
                gate.acquire().await.unwrap().forget();
                Ok(status(code).cache_control(cache_control).text("x"))
            }
        });
        let mut all: Vec<_> = (0..3).map(|_| begin(&cache, "/")).collect();
        all.iter_mut().for_each(|one| assert!(now_or_never(one.as_mut()).is_none()));
        gate.add_permits(3);
        for one in all {
            crate::support::read(one.await.unwrap()).await.unwrap();
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
    let gate = Arc::new(tokio::sync::Semaphore::new(0));
    let at_origin = gate.clone();
    cache.origin.on_later(move |_| {
        let gate = at_origin.clone();
        async move {
            gate.acquire().await.unwrap().forget();
            Ok(status(304).cache_control("max-age=10").text(""))
        }
    });
    let mut all: Vec<_> = (0..3).map(|_| begin(&cache, "/")).collect();
    all.iter_mut().for_each(|one| assert!(now_or_never(one.as_mut()).is_none()));
    notes.take();
    gate.add_permits(1);
    for one in all {
        one.await.unwrap();
    }
    assert_eq!(notes.of("waited"), ["waited: stored", "waited: stored"]);
}

/// Why a response that was to be stored is not: one event, whatever happens on its way.
#[tokio::test]
async fn what_is_not_stored_has_a_reason() {
    let small = || cache_over(MemoryManager::with_max_entry_bytes(1 << 20, 1000), Policy::shared());
    let (cache, notes) = observed(small());
    cache.origin.on(|_| ok().cache_control("max-age=60").text("x".repeat(2000)));
    cache.get("/").await;
    assert_eq!(notes.of("not stored"), ["not stored: too-large"], "by its length");
    let sending = |length: Option<&'static str>| {
        let (cache, notes) = observed(small());
        let (sender, body) = channel();
        let mut body = Some(body);
        cache.origin.on(move |_| {
            let reply = ok().cache_control("max-age=60");
            let reply =
                length.into_iter().fold(reply, |reply, n| reply.header("content-length", n));
            reply.body(body.take().unwrap())
        });
        (cache, notes, sender)
    };
    for (length, sent, expected) in [
        (None, 2000, vec!["not stored: too-large"]),
        (Some("9"), 8, vec!["not stored: incomplete", "body failed"]),
        (Some("9"), 10, vec!["not stored: content-length", "body failed"]),
    ] {
        let (cache, notes, sender) = sending(length);
        let response = cache.open("/").await;
        sender.data(vec![b'x'; sent]);
        drop(sender);
        let _ = crate::support::read(response).await;
        let told = notes.take();
        let told: Vec<_> = told
            .iter()
            .filter(|note| note.contains("not stored") || note.contains("body"))
            .collect();
        assert_eq!(told, expected, "{length:?} {sent}");
    }
    let (cache, notes, sender) = sending(None);
    let response = cache.open("/").await;
    sender.data("x");
    sender.error("reset");
    crate::support::read(response).await.unwrap_err();
    let told = notes.take();
    assert!(told.contains(&"not stored: incomplete".to_owned()), "{told:?}");
    assert!(told.contains(&"body failed".to_owned()), "{told:?}");

    let (cache, notes, sender) = sending(None);
    let cache = cache.layered(|layer| layer.on_disconnect(Disconnect::Abandon));
    drop(cache.open("/").await);
    assert_eq!(notes.of("not stored"), ["not stored: abandoned"]);
    assert!(sender.is_closed());

    let (cache, notes, sender) = sending(None);
    let response = cache.open("/").await;
    cache.layer.handle().purge(Purge::everything()).await.unwrap();
    sender.data("x");
    drop(sender);
    crate::support::read(response).await.unwrap();
    assert_eq!(notes.of("not stored"), ["not stored: invalidated"]);
}

/// Requirements, Decision 8: what the store cannot do is told, with what it was and whether it failed
/// or was late; the requests do not notice.
#[tokio::test]
async fn each_failure_of_the_store_names_the_operation() {
    let table = [
        (Call::Get, "get"),
        (Call::Put, "put"),
        (Call::Write, "put"),
        (Call::Finish, "put"),
        (Call::Update, "update"),
        (Call::Remove, "remove"),
        (Call::Delete, "delete"),
        (Call::Scan, "scan"),
    ];
    for (call, operation) in table {
        for (fault, how) in [(Fault::Fail, "failed"), (Fault::Hang, "late")] {
            if call == Call::Scan && how == "late" {
                continue; // a walk takes as long as it does
            }
            let spy = if call == Call::Get { Spy::waiting() } else { Spy::new() };
            let (cache, notes) = observed(cache_over(spy.clone(), Policy::shared()));
            let cache = cache.layered(|layer| layer.executor(NoExecutor));
            let is_new = call == Call::Remove;
            cache.origin.on(move |request| match request.headers().get("if-none-match") {
                Some(_) if is_new => ok().cache_control("no-store").text("hello"),
                Some(_) => status(304).text(""),
                None => ok().cache_control("max-age=10").header("etag", "\"1\"").text("hello"),
            });
            if !matches!(call, Call::Put | Call::Write | Call::Finish) {
                cache.get("/").await;
            }
            spy.breaks(call, fault);
            notes.take();
            let method = if call == Call::Delete { "POST" } else { "GET" };
            if call == Call::Scan {
                let purged = cache.layer.handle().purge(Purge::tag("t")).await.unwrap();
                purged.swept().await.unwrap_err();
            } else {
                cache.clock.advance_secs(10);
                cache.send_by_clock(method).await.unwrap();
            }
            let told = notes.of("store ");
            assert_eq!(told, [format!("store {how}: {operation}")], "{call:?} {fault:?}");
            let stats = cache.layer.handle().stats();
            let counted = (stats.store_failures(), stats.store_timeouts());
            assert_eq!(counted, if how == "late" { (0, 1) } else { (1, 0) });
        }
    }
}

/// Runs in the background what the test polls.
#[derive(Clone, Default)]
struct Tasks(Arc<Mutex<Vec<BoxFuture>>>);

impl Tasks {
    fn poll(&self) {
        let tasks = std::mem::take(&mut *self.0.lock().unwrap());
        let left = tasks
            .into_iter()
            .filter_map(|mut task| now_or_never(task.as_mut()).is_none().then_some(task));
        let left: Vec<_> = left.collect();
        self.0.lock().unwrap().extend(left);
    }
}

impl Executor for Tasks {
    fn execute(&self, task: BoxFuture) -> Result<(), BoxFuture> {
        self.0.lock().unwrap().push(task);
        Ok(())
    }
}

/// RFC 5861 §3: a refresh begins and comes to an end, or is refused.
#[tokio::test]
async fn each_refresh_is_told() {
    let (cache, notes) = observed(cache(Policy::shared()));
    let tasks = Tasks::default();
    let cache = cache.layered(|layer| layer.executor(tasks.clone()));
    let fresh = || ok().cache_control("max-age=10, stale-while-revalidate=1000").text("x");
    cache.origin.on(move |_| fresh());
    cache.get("/").await;
    cache.clock.advance_secs(11);
    notes.take();
    cache.get("/").await;
    tasks.poll();
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
    tasks.poll();
    assert_eq!(notes.of("refresh"), ["refresh begun", "refresh failed"]);
    cache.origin.on_later(|_| pending::<Result<Response<TestBody>, OriginError>>());
    cache.clock.advance_secs(11);
    cache.get("/").await;
    tasks.poll();
    cache.clock.advance_secs(30);
    tasks.poll();
    assert_eq!(notes.of("refresh"), ["refresh begun", "refresh timed-out 30 s"]);
    assert!(now_or_never(cache.layer.handle().shutdown()).is_some());
    cache.clock.advance_secs(61);
    cache.get("/").await;
    assert_eq!(notes.of("refresh"), ["refresh refused"]);
    let stats = cache.layer.handle().stats();
    let counted = (stats.refreshes(), stats.refreshes_failed(), stats.refreshes_refused());
    assert_eq!(counted, (3, 2, 1));
}

/// Every purge of the store is told once, with its count when it is swept, however many clones there
/// are; an observer that is gone is told nothing.
#[tokio::test]
async fn each_purge_is_told_with_its_count() {
    let (cache, notes) = observed(cache(Policy::shared()));
    cache.origin.on(|_| ok().cache_control("max-age=60").header("surrogate-key", "t").text("x"));
    for path in ["/a", "/b", "/c"] {
        cache.get(path).await;
    }
    let other = cache.layer.clone().default_ttl(Duration::from_secs(1));
    notes.take();
    for (handle, purge) in
        [(other.handle(), Purge::tag("t").soft()), (cache.layer.handle(), Purge::host("a.example"))]
    {
        handle.purge(purge).await.unwrap().swept().await.unwrap();
    }
    let told = notes.take();
    assert_eq!(told.len(), 4, "{told:?}");
    assert!(told[0].starts_with("purge ") && told[2].starts_with("purge "), "{told:?}");
    assert!(told[1].starts_with("swept ") && told[1].ends_with(": 3"), "{told:?}");
    assert!(told[3].starts_with("swept ") && told[3].ends_with(": 3"), "{told:?}");
    let log = larder::CacheManager::purge_log(cache.layer.handle().manager()).clone();
    drop((cache, other));
    log.append(Purge::everything());
    assert!(notes.take().is_empty());
}

/// Scenario 4.3: of 10 000 variants 9 936 are told to have gone, and the store says the same.
#[tokio::test]
async fn variants_that_go_are_told() {
    let (cache, notes) = observed(cache(Policy::shared().max_variants(64)));
    cache.origin.on(|_| ok().cache_control("max-age=60").header("vary", "accept").text("x"));
    for value in 0..10_000 {
        cache.get_with("/", &[("accept", &value.to_string())]).await.assert_forwarded();
    }
    let gone = notes.of("gone");
    assert!(gone.iter().all(|note| note == "gone 0 1 0"), "one for one");
    assert_eq!(gone.len(), 9936);
    let usage = cache.layer.handle().stats().usage().unwrap();
    assert_eq!((usage.variants_evicted(), usage.variants_refused()), (9936, 0));
    assert_eq!((usage.records(), usage.evicted()), (65, 0));
}

/// What makes room is told, and adds up: all that was stored is there, or has gone.
#[tokio::test]
async fn what_makes_room_is_told() {
    let (cache, notes) = observed(cache_over(MemoryManager::new(1 << 20), Policy::shared()));
    cache.origin.on(|_| ok().cache_control("max-age=60").text("x".repeat(10_000)));
    for n in 0..1000 {
        cache.get(&format!("/{n}")).await;
    }
    let told: u64 = notes
        .of("gone")
        .iter()
        .map(|note| note.split(' ').nth(1).unwrap().parse::<u64>().unwrap())
        .sum();
    let usage = cache.layer.handle().stats().usage().unwrap();
    assert_eq!(told, usage.evicted());
    assert_eq!(usage.records() + usage.evicted(), 1000);
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
                let response = now_or_never(begin(&cache, "/")).expect("nothing waits");
                now_or_never(crate::support::read(response.unwrap())).expect("nothing waits")
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

/// A store that fails to give a body is told; the client gets an error, and no short body.
#[cfg(feature = "disk")]
#[tokio::test]
async fn a_body_that_cannot_be_read_is_told() {
    let path = std::env::temp_dir().join(format!("larder-observing-{}", std::process::id()));
    let manager = larder::DiskManager::open(&path).unwrap();
    let (cache, notes) = observed(cache_over(manager, Policy::shared()));
    cache.origin.on(|_| ok().cache_control("max-age=60").text("x".repeat(1 << 20)));
    cache.get("/").await;
    cache.layer.handle().sync().await.unwrap();
    let response = cache.open("/").await;
    assert!(response.body().status().is_hit());
    let mut found = 0;
    for file in walk(&path) {
        if std::fs::metadata(&file).unwrap().len() >= 1 << 20 {
            let bytes = std::fs::read(&file).unwrap();
            let damaged: Vec<_> = bytes.iter().map(|byte| !byte).collect();
            std::fs::write(&file, damaged).unwrap();
            found += 1;
        }
    }
    assert_eq!(found, 1);
    notes.take();
    crate::support::read(response).await.unwrap_err();
    assert_eq!(notes.of("store "), ["store failed: read"]);
    drop(cache);
    let _ = std::fs::remove_dir_all(path);
}

/// What another process over the same directory has purged is told as soon as it is heard.
#[cfg(feature = "disk")]
#[tokio::test]
async fn a_purge_of_another_process_is_told() {
    let path = std::env::temp_dir().join(format!("larder-observing-two-{}", std::process::id()));
    let open = || larder::DiskManager::open(&path).unwrap();
    let (cache, notes) = observed(cache_over(open(), Policy::shared()));
    cache.origin.on(|_| ok().cache_control("max-age=60").text("x"));
    cache.get("/").await;
    let guest = cache_over(open(), Policy::shared());
    for purge in [Purge::host("a.example"), Purge::everything()] {
        let told = format!("purge {purge}");
        guest.layer.handle().purge(purge).await.unwrap();
        cache.get("/").await.assert_forwarded();
        assert_eq!(notes.of("purge"), [told]);
    }
    drop((cache, guest));
    let _ = std::fs::remove_dir_all(path);
}

#[cfg(feature = "disk")]
fn walk(path: &std::path::Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path());
    let nested = entries.map(|path| if path.is_dir() { walk(&path) } else { vec![path] });
    nested.flatten().collect()
}

/// All that can come of a wait has a word of its own.
#[test]
fn words_are_different() {
    let words: std::collections::BTreeSet<_> = Wait::ALL.iter().map(|wait| wait.as_str()).collect();
    assert_eq!(words.len(), Wait::ALL.len());
    let words: std::collections::BTreeSet<_> = Served::ALL.iter().map(|one| one.as_str()).collect();
    assert_eq!(words.len(), Served::ALL.len());
}
