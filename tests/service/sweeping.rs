//! What goes after a purge, how it is counted, and how it is seen: scenarios 0.5 and 0.7.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

use larder::{BoxManager, MemoryManager, NoExecutor, Policy, Purge, PurgeEvent, PurgeStream};
use tower::Service;

use crate::{
    spy::{Call, Fault, Spy},
    support::{
        Answer, Cache, cache, cache_over, channel, get, now_or_never, ok, read, request, with,
    },
};

/// A cache with `count` pages of one tag, and one page without.
async fn filled(count: usize) -> Cache {
    let cache = cache(Policy::shared());
    script(&cache, count).await;
    cache
}

async fn script<M: larder::CacheManager>(cache: &Cache<M>, count: usize) {
    cache.origin.on(|request| {
        let reply = ok().cache_control("max-age=60");
        match request.uri().path() {
            "/other" => reply.text("other"),
            _ => reply.header("cache-tag", "p").text("hello"),
        }
    });
    for number in 0..count {
        cache.get(&format!("/{number}")).await;
    }
    cache.get("/other").await;
}

/// Scenario 0.5: a dry run says how many, and takes none; the purge itself takes as many.
#[tokio::test]
async fn a_dry_run_takes_nothing() {
    let cache = filled(37).await;
    let handle = cache.layer.handle();
    for _ in 0..2 {
        let dry = handle.purge(Purge::tag("p").dry_run()).await.unwrap();
        assert_eq!((dry.seq(), dry.swept().await.unwrap()), (0, 37));
    }
    assert_eq!(handle.stats().usage().unwrap().records(), 38);
    let purged = handle.purge(Purge::tag("p")).await.unwrap();
    assert_eq!((purged.seq(), purged.swept().await.unwrap()), (1, 37));
    assert_eq!(handle.stats().usage().unwrap().records(), 1, "their room is free");
    let dry = handle.purge(Purge::tag("p").dry_run()).await.unwrap();
    assert_eq!(dry.swept().await.unwrap(), 0);
    // What is not there is counted, too.
    let purged = handle.purge(Purge::tag("nobody's")).await.unwrap();
    assert_eq!(purged.swept().await.unwrap(), 0);
}

/// Each selector, dry and then hard: as many as are gone. All variants count.
#[tokio::test]
async fn the_sweeper_counts_exactly() {
    let purges: [(fn() -> Purge, u64); 10] = [
        (|| Purge::url("http://a.example/0").unwrap(), 2),
        (|| Purge::prefix("http://a.example/docs").unwrap(), 4),
        (|| Purge::prefix("http://a.example/docs/").unwrap(), 2),
        (|| Purge::host("a.example:80"), 8),
        (|| Purge::namespace("n"), 10),
        (|| Purge::tag("p"), 10),
        (
            || {
                Purge::matching(|key, head| {
                    key.path_and_query() == "/0" && head.tags().count() == 1
                })
            },
            4,
        ),
        (|| Purge::everything(), 10),
        (|| Purge::host("c.example"), 0),
        (|| Purge::group("http://a.example", "g").unwrap(), 0),
    ];
    let urls = ["http://a.example/0", "http://a.example/docs", "http://a.example/docs/x"];
    let urls = urls.into_iter().chain(["http://a.example/docs2", "http://b.example/0"]);
    for (purge, expected) in purges {
        let cache = cache(Policy::shared().namespace("n"));
        cache.origin.on(|_| {
            let reply = ok().cache_control("max-age=60").header("vary", "accept");
            reply.header("cache-tag", "p").text("hello")
        });
        for url in urls.clone() {
            for accept in ["a", "b"] {
                cache.send(with(request("GET", url), &[("accept", accept)])).await;
            }
        }
        let handle = cache.layer.handle();
        let count = async |purge: Purge| {
            let purged = handle.purge(purge).await.unwrap();
            purged.swept().await.unwrap()
        };
        assert_eq!(count(purge().dry_run()).await, expected, "{}", purge());
        assert_eq!(count(purge().soft()).await, expected, "{}", purge());
        assert_eq!(count(purge()).await, expected, "{}", purge());
        assert_eq!(count(purge()).await, 0, "{}", purge());
    }
}

/// An entry that several purges select went with the first.
#[tokio::test]
async fn what_is_gone_counts_once() {
    let cache = filled(5).await;
    let handle = cache.layer.handle();
    let mut purges = Vec::new();
    for purge in [
        Purge::tag("p").soft(),
        Purge::url("http://a.example/0").unwrap(),
        Purge::tag("p"),
        Purge::everything().soft(),
        Purge::everything(),
    ] {
        purges.push(now_or_never(handle.purge(purge)).unwrap().unwrap());
    }
    let mut counts = Vec::new();
    for purged in &purges {
        counts.push(purged.swept().await.unwrap());
    }
    assert_eq!(counts, [5, 1, 4, 1, 1]);
}

/// Many purges in a row are one walk behind them.
#[tokio::test]
async fn purges_are_swept_together() {
    let store = Spy::new();
    let cache = cache_over(store.clone(), Policy::shared());
    script(&cache, 10).await;
    let handle = cache.layer.handle();
    store.asked();
    let purge = |number| Purge::url(&format!("http://a.example/{number}")).unwrap();
    let purges: Vec<_> = (0..1000)
        .map(|number| now_or_never(handle.purge(purge(number))).unwrap().unwrap())
        .collect();
    assert_eq!(store.asked().scanned, 0);
    for (number, purged) in purges.iter().enumerate() {
        assert_eq!(purged.swept().await.unwrap(), u64::from(number < 10));
    }
    assert_eq!(store.asked().scanned, 11, "one walk");
    assert_eq!(handle.stats().selectors(), 0);
}

/// Without an executor whoever waits sweeps; purges are as effective if nobody does.
#[tokio::test]
async fn whoever_waits_may_sweep() {
    let cache = filled(3).await.layered(|layer| layer.executor(NoExecutor));
    let handle = cache.layer.handle();
    let purged = handle.purge(Purge::tag("p")).await.unwrap();
    tokio::task::yield_now().await;
    assert_eq!(handle.stats().usage().unwrap().records(), 4, "nobody has swept");
    cache.get("/0").await.assert_forwarded();
    let (one, two) = (purged.clone(), purged);
    let (one, two) = tokio::join!(one.swept(), two.swept());
    assert_eq!((one.unwrap(), two.unwrap()), (2, 2), "the third was replaced before");
    cache.get("/0").await.assert_hit();
}

/// A sweeper that is dropped half-way leaves the work to the next.
#[tokio::test]
async fn a_sweeper_may_be_dropped() {
    let cache = cache_over(Spy::slow(), Policy::shared()).layered(|l| l.executor(NoExecutor));
    script(&cache, 20).await;
    let purged = cache.layer.handle().purge(Purge::tag("p")).await.unwrap();
    for polls in 0..10 {
        let mut sweeping = Box::pin(purged.swept());
        let mut waiting = Box::pin(purged.swept());
        for _ in 0..polls {
            assert!(now_or_never(&mut sweeping).is_none());
            assert!(now_or_never(&mut waiting).is_none());
        }
    }
    let rest = purged.swept().await.unwrap();
    assert!((1..20).contains(&rest), "{rest}");
}

/// A store that cannot be walked, or fails, says so; the purge holds.
#[tokio::test]
async fn a_walk_may_fail() {
    let store = Spy::new();
    let cache = cache_over(BoxManager::new(store.clone()), Policy::shared());
    script(&cache, 3).await;
    for call in [Call::Scan, Call::Remove] {
        store.breaks(call, Fault::Fail);
        let purged = cache.layer.handle().purge(Purge::tag("p")).await.unwrap();
        let error = purged.swept().await.unwrap_err();
        assert!(error.to_string().contains("out of order"), "{error}");
        store.mend();
        cache.get("/1").await.assert_forwarded();
        cache.get("/1").await.assert_hit();
    }
    let purged = cache.layer.handle().purge(Purge::tag("p")).await.unwrap();
    assert_eq!(purged.swept().await.unwrap(), 3, "nobody else has counted them");
    assert_eq!(cache.layer.handle().stats().usage().unwrap().records(), 1);
}

/// While an older fill is on its way what was swept stays in the log: it beats that fill if it selects
/// it, and only then.
#[tokio::test]
async fn a_selector_stays_while_an_older_fill_runs() {
    let cache = filled(2).await;
    let (sender, body) = channel();
    let mut body = Some(body);
    cache.origin.on(move |_| {
        let reply = ok().cache_control("max-age=60").header("cache-tag", "p");
        match body.take() {
            Some(body) => reply.body(body),
            None => reply.text("new"),
        }
    });
    let under_way = cache.open("/slow").await;
    sender.data("old");
    let handle = cache.layer.handle();
    let purged = handle.purge(Purge::tag("p")).await.unwrap();
    assert_eq!(purged.swept().await.unwrap(), 2);
    assert_eq!(handle.stats().selectors(), 1);
    drop(sender);
    assert_eq!(read(under_way).await.unwrap(), "old");
    assert_eq!(cache.get("/slow").await.assert_forwarded().text(), "new");
    cache.get("/slow").await.assert_hit();
    handle.purge(Purge::tag("nobody's")).await.unwrap().swept().await.unwrap();
    assert_eq!(handle.stats().selectors(), 0);
    cache.get("/other").await.assert_hit();
}

/// A fill that no purge selects is stored, however many purges come and are swept meanwhile.
#[tokio::test]
async fn other_purges_leave_a_fill_alone() {
    let cache = filled(2).await;
    let (sender, body) = channel();
    let mut body = Some(body);
    cache.origin.on(move |_| ok().cache_control("max-age=60").body(body.take().unwrap()));
    let under_way = cache.open("/slow").await;
    sender.data("slow");
    for _ in 0..3 {
        let purged = cache.layer.handle().purge(Purge::tag("p")).await.unwrap();
        purged.swept().await.unwrap();
    }
    drop(sender);
    assert_eq!(read(under_way).await.unwrap(), "slow");
    for path in ["/slow", "/other"] {
        cache.get(path).await.assert_hit();
    }
}

/// A purge that comes while the sweeper walks is left to the next walk, and takes nothing else.
#[tokio::test]
async fn a_purge_during_a_walk_waits_for_the_next() {
    for polls in 0..30 {
        let cache = cache_over(Spy::slow(), Policy::shared()).layered(|l| l.executor(NoExecutor));
        script(&cache, 10).await;
        let handle = cache.layer.handle();
        let first = handle.purge(Purge::url("http://a.example/0").unwrap()).await.unwrap();
        let mut walking = Box::pin(first.swept());
        let mut is_over = false;
        for _ in 0..polls {
            is_over = is_over || now_or_never(&mut walking).is_some();
        }
        let second = handle.purge(Purge::url("http://a.example/1").unwrap()).await.unwrap();
        if !is_over {
            assert_eq!(walking.await.unwrap(), 1, "{polls}");
        }
        assert_eq!(second.swept().await.unwrap(), 1, "{polls}");
        for path in ["/2", "/9", "/other"] {
            cache.get(path).await.assert_hit();
        }
    }
}

/// One variant of a URL, and not the others.
/// Feature purge-variant.
#[tokio::test]
async fn one_variant_goes() {
    let cache = cache(Policy::shared());
    cache.origin.on(|_| ok().cache_control("max-age=60").header("vary", "accept").text("hello"));
    for accept in ["a", "b"] {
        cache.get_twice("/", &[("accept", accept)]).await.assert_hit();
    }
    let handle = cache.layer.handle();
    let purge = |accept: &str| {
        let fields = with(get("/"), &[("accept", accept)]).headers().clone();
        Purge::variant("http://a.example/", fields).unwrap()
    };
    for (accept, count) in [("c", 0), ("a", 1), ("a", 0)] {
        let dry = handle.purge(purge(accept).dry_run()).await.unwrap();
        assert_eq!(dry.swept().await.unwrap(), count, "{accept}");
        let purged = handle.purge(purge(accept)).await.unwrap();
        assert_eq!(purged.swept().await.unwrap(), count, "{accept}");
    }
    cache.get_with("/", &[("accept", "b")]).await.assert_hit();
    cache.get_with("/", &[("accept", "a")]).await.assert_forwarded();
    let passes_by = with(get("/"), &[("if-match", "\"a\"")]).headers().clone();
    let purge = Purge::variant("http://a.example/", passes_by).unwrap();
    assert!(handle.purge(purge).await.unwrap_err().is_invalid());
}

/// A predicate is asked once for each entry that has not been compared with it.
/// Feature purge-predicate.
#[tokio::test]
async fn a_predicate_is_asked_once() {
    let cache = filled(1).await.layered(|layer| layer.executor(NoExecutor));
    let asked = Arc::new(AtomicUsize::new(0));
    let counter = asked.clone();
    let purge = Purge::matching(move |_, _| {
        counter.fetch_add(1, Ordering::Relaxed);
        false
    });
    cache.layer.handle().purge(purge).await.unwrap();
    for _ in 0..10 {
        cache.get("/0").await.assert_hit();
    }
    assert_eq!(asked.load(Ordering::Relaxed), 1);
}

/// Beyond 1 000 prefixes and predicates the oldest becomes "everything older".
/// Feature lazy-bans.
#[tokio::test]
async fn too_many_prefixes_purge_too_much_and_never_too_little() {
    let cache = filled(1).await.layered(|layer| layer.executor(NoExecutor));
    let handle = cache.layer.handle();
    let purge = |number| Purge::prefix(&format!("http://b.example/{number}/")).unwrap();
    for number in 0..1000 {
        handle.purge(purge(number)).await.unwrap();
        handle.purge(purge(number)).await.unwrap();
    }
    cache.get("/0").await.assert_hit();
    handle.purge(purge(1000)).await.unwrap();
    assert_eq!(handle.stats().selectors(), 1000);
    cache.get("/other").await.assert_forwarded();
    cache.get("/other").await.assert_hit();
}

async fn next(stream: &mut PurgeStream) -> PurgeEvent {
    stream.next().await
}

/// Scenario 0.7: every purge is seen, by whoever makes it and whatever it selects, with exact counts when
/// it is swept.
#[tokio::test]
async fn every_purge_is_seen() {
    let cache = filled(5).await;
    let handle = cache.layer.handle();
    let mut stream = handle.purges();
    let purges = [
        (Purge::url("http://a.example/0").unwrap(), "url http://a.example/0", 1),
        (Purge::tag("p").soft().by("upload"), "tag p", 4),
        (Purge::prefix("http://a.example/1").unwrap(), "prefix http://a.example/1", 1),
        (Purge::host("a.example"), "host a.example", 4),
        (Purge::everything().by("operator"), "everything", 0),
    ];
    for (number, (purge, text, expected)) in purges.into_iter().enumerate() {
        let label = purge.label().map(str::to_owned);
        let (is_soft, seq) = (purge.is_soft(), number as u64 + 1);
        handle.purge(purge).await.unwrap().swept().await.unwrap();
        let PurgeEvent::Purged(record) = next(&mut stream).await else { panic!("{text}") };
        assert_eq!((record.seq(), record.purge().to_string()), (seq, text.to_owned()));
        assert_eq!(record.purge().label(), label.as_deref());
        assert_eq!(record.purge().is_soft(), is_soft);
        let PurgeEvent::Swept { record, count, .. } = next(&mut stream).await else {
            panic!("{text}")
        };
        assert_eq!((record.seq(), count), (seq, expected), "{text}");
    }
    assert!(now_or_never(stream.next()).is_none());
}

/// A stream that is not read loses the oldest events, and hears how many.
#[tokio::test]
async fn a_stream_tells_what_it_has_missed() {
    let store = MemoryManager::new(1 << 20);
    let cache = cache_over(store.clone(), Policy::shared()).layered(|l| l.executor(NoExecutor));
    let handle = cache.layer.handle();
    let (mut stream, elsewhere) = (handle.purges(), cache_over(store, Policy::shared()));
    for _ in 0..1500 {
        handle.purge(Purge::tag("t")).await.unwrap();
    }
    assert!(matches!(next(&mut stream).await, PurgeEvent::Lagged(476)));
    assert!(matches!(next(&mut stream).await, PurgeEvent::Purged(record) if record.seq() == 477));
    // One that waits is woken by a purge from another layer of the store.
    let mut late = handle.purges();
    let waiting = tokio::spawn(async move { late.next().await });
    tokio::task::yield_now().await;
    elsewhere.layer.handle().purge(Purge::tag("u")).await.unwrap();
    let event = waiting.await.unwrap();
    assert!(matches!(event, PurgeEvent::Purged(record) if record.purge().to_string() == "tag u"));
}

/// What holds the p99 of hits while it sweeps. The sweeper works through so many entries at a time, then
/// lets others go on; while it rests it holds no lock, so that hits and stores anywhere in the store
/// wait for none.
#[tokio::test]
async fn a_walk_goes_in_slices_and_holds_no_lock_between_them() {
    const SLICE: u64 = 128;
    const COUNT: usize = 3000;
    let cache = filled(COUNT).await.layered(|layer| layer.executor(NoExecutor));
    let handle = cache.layer.handle();
    let records = || handle.stats().usage().unwrap().records();
    let purged = handle.purge(Purge::everything()).await.unwrap();
    let mut sweeping = Box::pin(purged.swept());
    let (mut slices, mut before) = (0, records());
    while now_or_never(sweeping.as_mut()).is_none() {
        let left = records();
        assert!(before - left <= SLICE, "{before} {left}");
        (slices, before) = (slices + 1, left);
        if slices % 4 != 0 {
            continue;
        }
        // On enough keys to meet all locks that a store may have.
        let (sender, receiver) = mpsc::channel();
        let service = cache.service.clone();
        let elsewhere = thread::spawn(move || {
            for n in 0..200 {
                let mut service = service.clone();
                for is_hit in [false, true] {
                    let request = get(&format!("/meanwhile/{slices}/{n}"));
                    let answer = now_or_never(async {
                        Answer::of(service.call(request).await.unwrap()).await
                    });
                    assert_eq!(answer.unwrap().cache.is_hit(), is_hit);
                }
            }
            sender.send(()).unwrap();
        });
        receiver.recv_timeout(Duration::from_secs(30)).expect("nobody is held up");
        elsewhere.join().unwrap();
        before = records();
    }
    assert!(slices >= COUNT as u64 / SLICE, "{slices}");
    assert_eq!(purged.swept().await.unwrap(), COUNT as u64 + 1);
}
