//! Several nodes over one Redis.

use std::{
    future::Future,
    time::{Duration, Instant},
};

use larder::{
    CacheManager, MemoryManager, Policy, Purge, PurgeEvent, RedisManager,
    bus::{LocalBus, WhenCutOff},
    storage::{RedisOptions, Tiered},
};

use crate::{
    away::away,
    cut::Way,
    server::{namespace, options, own, say, shared},
    support::{Cache, cache_over, ok, status},
};

type Tiers = Tiered<MemoryManager, RedisManager>;

/// A node with nothing but Redis.
fn node(url: &str, options: RedisOptions) -> Cache<RedisManager> {
    scripted(cache_over(options.open(url).unwrap(), Policy::shared()))
}

/// A node with memory before Redis.
fn tiers(url: &str, options: RedisOptions) -> Cache<Tiers> {
    let slow = options.open(url).unwrap();
    let tiers =
        Tiered::new(MemoryManager::new(1 << 20), slow).slow_timeout(Duration::from_secs(10));
    scripted(cache_over(tiers, Policy::shared()))
}

fn scripted<M: CacheManager>(cache: Cache<M>) -> Cache<M> {
    cache.origin.on(|request| {
        let path = request.uri().path();
        match request.headers().get("if-none-match") {
            Some(_) => status(304).header("etag", "\"1\"").cache_control("max-age=600").text(""),
            None => ok()
                .cache_control("max-age=600, stale-while-revalidate=600, stale-if-error=600")
                .header("etag", "\"1\"")
                .header("cache-tag", format!("tag{}", path.replace('/', "-")))
                .text(path),
        }
    });
    // The origin's clock stands still, and a store takes what it takes.
    cache.layered(|layer| layer.store_timeout(Duration::from_secs(10)))
}

fn policy() -> Policy {
    Policy::shared().tag_fields([http::HeaderName::from_static("cache-tag")])
}

fn tagged<M: CacheManager>(cache: Cache<M>) -> Cache<M> {
    cache.layered(|layer| layer.policy(policy()))
}

/// Asks, and waits until the answer is stored.
async fn fill<M: CacheManager>(node: &Cache<M>, path: &str) {
    node.get(path).await;
    node.layer.handle().sync().await.unwrap();
}

/// Waits for what comes of itself.
pub(crate) async fn eventually<F: Future<Output = bool>>(mut is_so: impl FnMut() -> F) -> Duration {
    let began = Instant::now();
    while !is_so().await {
        assert!(began.elapsed() < Duration::from_secs(30), "it never comes to that");
        tokio::task::yield_now().await;
    }
    began.elapsed()
}

/// What one node has stored is a hit on all, and what one purges none finds: a look-up hears of
/// purges in the same breath.
#[tokio::test]
async fn nodes_share_what_they_have() {
    let Some(url) = shared() else { return };
    let namespace = namespace();
    let nodes = [(); 3].map(|()| tagged(node(url, options(&namespace))));
    let [a, b, c] = &nodes;
    for round in 0..3 {
        for path in ["/x", "/y"] {
            fill(a, path).await;
            b.get(path).await.assert_hit();
            c.get(path).await.assert_hit();
        }
        let purge = match round {
            0 => Purge::tag("tag-x"),
            1 => Purge::url("http://a.example/x").unwrap(),
            _ => Purge::prefix("http://a.example/x").unwrap(),
        };
        let handle = a.layer.handle();
        let purged = handle.purge(purge).await.unwrap();
        assert!(!b.get("/x").await.cache.is_hit(), "{round}");
        c.get("/y").await.assert_hit();
        assert!(purged.swept().await.unwrap() <= 1);
    }
    c.layer.handle().purge(Purge::everything()).await.unwrap();
    for node in &nodes {
        assert!(!node.get("/y").await.cache.is_hit());
        node.layer.handle().manager().clear().await.unwrap();
    }
}

/// A purge on one node is effective in the memory of another in under 100 milliseconds; so is the
/// invalidation by an unsafe method, and both are told to who follows the log there as they were
/// made here.
#[tokio::test]
async fn memory_hears_of_purges() {
    let Some(url) = shared() else { return };
    let namespace = namespace();
    let (a, b) = (tiers(url, options(&namespace)), tiers(url, options(&namespace)));
    let mut events = b.layer.handle().purges();
    let mut best = Duration::MAX;
    for round in 0..6 {
        fill(&a, "/x").await;
        // The second reading fills the memory of a node.
        for _ in 0..3 {
            b.get("/x").await.assert_hit();
        }
        fill(&b, "/other").await;
        if round % 2 == 0 {
            let purge = Purge::url("http://a.example/x").unwrap().by("me");
            a.layer.handle().purge(purge).await.unwrap();
        } else {
            a.send(crate::support::request("POST", "/x")).await;
        }
        let log = b.layer.handle().manager().purge_log().clone();
        let position = a.layer.handle().manager().purge_log().position();
        best = best.min(eventually(async || log.position() >= position).await);
        assert!(!b.get("/x").await.cache.is_hit(), "{round}");
        b.get("/other").await.assert_hit();
    }
    assert!(best < Duration::from_millis(100), "{best:?}");
    for _ in 0..3 {
        let event = events.next().await;
        let PurgeEvent::Purged(record) = event else { panic!("{event:?}") };
        assert_eq!(record.purge().to_string(), "url http://a.example/x");
        assert_eq!(record.purge().label(), Some("me"));
    }
}

/// The fields that tell a variant may be credentials: other nodes hear of its URL, and lose all of its
/// variants.
#[tokio::test]
async fn a_variant_is_purged_in_the_memory_of_others() {
    let Some(url) = shared() else { return };
    let namespace = namespace();
    let (a, b) = (tiers(url, options(&namespace)), tiers(url, options(&namespace)));
    fill(&a, "/x").await;
    for _ in 0..3 {
        b.get("/x").await.assert_hit();
    }
    let purge = Purge::variant("http://a.example/x", http::HeaderMap::new()).unwrap();
    a.layer.handle().purge(purge).await.unwrap();
    eventually(async || !b.get("/x").await.cache.is_hit()).await;
}

/// Scenario 0.6, and "a node cut off during three purges never serves what they selected": not
/// without the origin while it is cut off for longer than the lag, and not at all afterwards. It is cut
/// off for `LARDER_AWAY` seconds, if that says so.
#[tokio::test]
async fn a_node_that_was_cut_off_serves_nothing_purged() {
    let Some(url) = shared() else { return };
    for (cut_off, is_gap) in [
        (WhenCutOff::Revalidate, false),
        (WhenCutOff::Revalidate, true),
        (WhenCutOff::Bypass, false),
        (WhenCutOff::Serve, false),
    ] {
        let (namespace, way) = (namespace(), Way::to(url).await);
        let a = tagged(tiers(url, options(&namespace)));
        let hasty = options(&namespace)
            .max_purge_lag(Duration::from_millis(400))
            .connect_timeout(Duration::from_secs(1))
            .when_cut_off(cut_off);
        let b = tagged(tiers(&way.url, hasty));
        let paths = ["/1", "/2", "/3", "/kept"];
        for path in paths {
            fill(&a, path).await;
            for _ in 0..3 {
                b.get(path).await.assert_hit();
            }
        }
        let lag = || b.layer.handle().manager().slow().purge_lag();
        way.cut();
        let purges = [
            Purge::tag("tag-1"),
            Purge::url("http://a.example/2").unwrap(),
            Purge::prefix("http://a.example/3").unwrap(),
        ];
        for purge in purges {
            a.layer.handle().purge(purge).await.unwrap();
        }
        if is_gap {
            let stream = format!("{namespace}:{{purge}}");
            say(url, &[b"XTRIM", stream.as_bytes(), b"MAXLEN", b"1"]);
        }
        let (pause, is_long) = away();
        let pause = if is_long { pause } else { Duration::from_millis(450) };
        eventually(async || lag().is_none_or(|lag| lag > pause)).await;
        for path in paths {
            let answer = b.get(path).await;
            assert_eq!(answer.status, 200);
            match cut_off {
                WhenCutOff::Serve => drop(answer.assert_hit()),
                WhenCutOff::Revalidate => {
                    assert!(!answer.cache.is_hit(), "{path}");
                    assert!(b.origin.last().field("if-none-match").is_some(), "it was validated");
                }
                _ => {
                    assert!(!answer.cache.is_hit(), "{path}");
                    assert!(b.origin.last().field("if-none-match").is_none());
                }
            }
        }
        way.mend();
        eventually(async || lag().is_some_and(|lag| lag < Duration::from_millis(300))).await;
        for path in ["/1", "/2", "/3"] {
            assert!(!b.get(path).await.cache.is_hit(), "{cut_off:?} {path}");
            b.layer.handle().sync().await.unwrap();
            b.get(path).await.assert_hit();
        }
        let kept = b.get("/kept").await;
        assert_eq!(kept.cache.is_hit(), !is_gap, "{cut_off:?}: what lies before a gap is gone");
    }
}

/// `purge` must not say that it is done if Redis could not be told. It holds where it was made, and
/// others hear of it when they can.
#[tokio::test]
async fn a_purge_that_could_not_be_told_is_an_error() {
    let Some(url) = shared() else { return };
    let (namespace, way) = (namespace(), Way::to(url).await);
    let hasty = options(&namespace).connect_timeout(Duration::from_secs(1));
    let (a, b) = (tiers(&way.url, hasty), node(url, options(&namespace)));
    for path in ["/1", "/2"] {
        fill(&a, path).await;
        b.get(path).await.assert_hit();
    }
    way.cut();
    let handle = a.layer.handle();
    let purge = || Purge::url("http://a.example/1").unwrap();
    let error = handle.purge(purge()).await.unwrap_err();
    assert!(!error.to_string().is_empty());
    assert!(!a.get("/1").await.cache.is_hit(), "it holds here");
    b.get("/1").await.assert_hit();
    way.mend();
    eventually(async || !b.get("/1").await.cache.is_hit()).await;
    b.get("/2").await.assert_hit();
    handle.purge(purge()).await.unwrap();
    assert!(!b.get("/1").await.cache.is_hit());
}

/// A server that comes back empty has another log: nothing that is in memory is served without the
/// origin.
#[tokio::test]
async fn a_server_that_comes_back_empty_is_another_one() {
    let Some(mut server) = own(&[]) else { return };
    let namespace = namespace();
    let hasty = || options(&namespace).connect_timeout(Duration::from_secs(1));
    let (a, b) = (tiers(&server.url(), hasty()), tiers(&server.url(), hasty()));
    for node in [&a, &b, &a, &b] {
        fill(node, "/").await;
    }
    b.get("/").await.assert_hit();
    let before = b.layer.handle().manager().purge_log().position();
    server.kill();
    let error = a.layer.handle().purge(Purge::everything()).await.unwrap_err();
    assert!(!error.is_invalid());
    server.restart();
    // Nothing is in Redis, and what was in memory before is not served.
    let log = b.layer.handle().manager().purge_log().clone();
    eventually(async || log.position() > before).await;
    let calls = b.origin.calls();
    fill(&b, "/").await;
    assert_eq!(b.origin.calls(), calls + 1);
    eventually(async || a.get("/").await.cache.is_hit()).await;
}

/// A bus beside the log that the nodes have in common is of no use, but purges do not go round and
/// round: each node makes what it hears once, and what is not purged stays.
#[tokio::test]
async fn a_bus_beside_the_log_does_not_go_round() {
    let Some(url) = shared() else { return };
    let (namespace, bus) = (namespace(), LocalBus::new());
    let on_bus = || node(url, options(&namespace)).layered(|layer| layer.bus(bus.clone()));
    let nodes = [on_bus(), on_bus(), on_bus()];
    for node in &nodes {
        node.get("/").await;
    }
    let stream = format!("{namespace}:{{purge}}");
    let length = || say(url, &[b"XLEN", stream.as_bytes()]).parse::<u64>().expect("a number");
    // The beginning of the log, and of following by each node.
    eventually(async || length() == 4).await;
    fill(&nodes[0], "/kept").await;
    fill(&nodes[0], "/purged").await;
    // What came back of an earlier one would be among those of a later one.
    let mut expected = 4;
    for n in 0..4 {
        let purge = Purge::url(&format!("http://a.example/{n}")).unwrap();
        nodes[n % 3].layer.handle().purge(purge).await.unwrap();
        expected += 3;
        eventually(async || length() >= expected).await;
    }
    let purge = Purge::url("http://a.example/purged").unwrap();
    nodes[0].layer.handle().purge(purge).await.unwrap();
    eventually(async || length() >= expected + 3).await;
    assert_eq!(length(), expected + 3, "each node has told each purge once");
    assert!(!nodes[1].get("/purged").await.cache.is_hit());
    for node in &nodes {
        node.get("/kept").await.assert_hit();
    }
}
