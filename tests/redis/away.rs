//! A Redis that stops, goes and comes back under load.

use std::{
    convert::Infallible,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use larder::{
    BoxManager, CacheLayer, MemoryManager, Policy, Purge, RedisManager,
    policy::Secret,
    storage::{RedisOptions, RedisState, Tiered},
};
use tower::{Layer, ServiceExt, service_fn};

use crate::{
    nodes::eventually,
    server::{Server, own},
};

const BUDGET: Duration = Duration::from_millis(50);
const PAGES: u64 = 40;

/// How long the server is away: `LARDER_AWAY=5`, and then the times are looked at, too, which needs a
/// machine that is not busy with other tests.
pub(crate) fn away() -> (Duration, bool) {
    match std::env::var("LARDER_AWAY").ok().and_then(|text| text.parse().ok()) {
        Some(seconds) => (Duration::from_secs(seconds), true),
        None => (Duration::from_millis(1500), false),
    }
}

fn open(server: &Server) -> RedisManager {
    let options = RedisOptions::new().secret(Secret::from_bytes([7; 32]));
    options.lookup_timeout(BUDGET).open(&server.url()).unwrap()
}

/// What clients saw.
#[derive(Default)]
struct Seen {
    times: Mutex<Vec<Duration>>,
    hits: AtomicU64,
    /// Responses that are older than what the origin had when they were asked for.
    old: AtomicU64,
    is_over: AtomicBool,
}

impl Seen {
    fn p99(&self) -> (usize, Duration) {
        let mut times = std::mem::take(&mut *self.times.lock().unwrap());
        times.sort_unstable();
        (times.len(), times.get(times.len() * 99 / 100).copied().unwrap_or_default())
    }
}

/// A site whose pages say which version they are of, and clients that ask for them. No request fails.
fn load(
    layer: &CacheLayer<BoxManager>,
    version: &Arc<AtomicU64>,
    seen: &Arc<Seen>,
) -> Vec<tokio::task::JoinHandle<()>> {
    let origin = {
        let version = version.clone();
        service_fn(move |request: Request<Full<Bytes>>| {
            let version = version.load(Ordering::SeqCst);
            let length = if request.uri().path().len().is_multiple_of(2) { 1000 } else { 30_000 };
            async move {
                let text = format!("{version} ").repeat(length / 2);
                let response = Response::builder().header("cache-control", "max-age=600");
                Ok::<_, Infallible>(response.body(Full::new(Bytes::from(text))).unwrap())
            }
        })
    };
    let client = |number: u64| {
        let (service, version, seen) = (layer.layer(origin.clone()), version.clone(), seen.clone());
        tokio::spawn(async move {
            for round in number.. {
                if seen.is_over.load(Ordering::SeqCst) {
                    return;
                }
                let path = format!("http://a.example/{}", round * 7 % PAGES);
                let request = Request::get(path).body(Full::default()).unwrap();
                let (newest, began) = (version.load(Ordering::SeqCst), Instant::now());
                let response = service.clone().oneshot(request).await.unwrap();
                let took = began.elapsed();
                let is_hit = response.body().status().is_hit();
                seen.hits.fetch_add(u64::from(is_hit), Ordering::SeqCst);
                let body = response.into_body().collect().await.expect("no body fails").to_bytes();
                let text = std::str::from_utf8(&body).unwrap();
                let own: u64 = text.split(' ').next().unwrap().parse().unwrap();
                assert_eq!(text.len(), text.trim_end().len() + 1, "whole");
                seen.old.fetch_add(u64::from(own < newest), Ordering::SeqCst);
                seen.times.lock().unwrap().push(took);
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        })
    };
    (0..8).map(client).collect()
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    Stop,
    Kill,
}

/// Redis stopped, or killed, for a while under load: no request fails, none waits longer than the
/// budget, purges say that Redis could not be told; and when it is back, nothing that was purged
/// meanwhile is served.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_fails_while_redis_is_away() {
    let (pause, is_timed) = away();
    for (fault, is_tiered) in
        [(Fault::Stop, false), (Fault::Stop, true), (Fault::Kill, false), (Fault::Kill, true)]
    {
        let Some(mut server) = own(&[]) else { return };
        let redis = open(&server);
        redis.ready().await.unwrap();
        let other = open(&server);
        let manager = if is_tiered {
            BoxManager::new(Tiered::new(MemoryManager::new(8 << 20), redis.clone()))
        } else {
            BoxManager::new(redis.clone())
        };
        let layer = CacheLayer::new(manager).policy(Policy::shared());
        let (version, seen) = (Arc::new(AtomicU64::new(1)), Arc::<Seen>::default());
        let clients = load(&layer, &version, &seen);
        tokio::time::sleep(Duration::from_millis(700)).await;
        assert!(seen.hits.load(Ordering::SeqCst) > 0);
        let (_, before) = seen.p99();

        match fault {
            Fault::Stop => server.pause(),
            Fault::Kill => server.kill(),
        }
        let purged = layer.handle().purge(Purge::host("a.example")).await;
        assert!(purged.is_err(), "Redis could not be told");
        tokio::time::sleep(pause).await;
        // A memory that answers everything asks Redis nothing.
        assert!(is_tiered || redis.state() != RedisState::Connected, "{}", redis.state());
        let (count, during) = seen.p99();
        assert!(count > 100, "{count} requests");
        println!(
            "{fault:?} tiered={is_tiered}: {count} requests, p99 {before:?} before, {during:?} during"
        );
        assert!(!is_timed || during <= before + BUDGET + Duration::from_millis(10), "{during:?}");
        // The origin changes, and says so while nobody hears it but this node.
        version.store(2, Ordering::SeqCst);
        layer.handle().purge(Purge::host("a.example")).await.unwrap_err();
        let before = seen.old.load(Ordering::SeqCst);
        match fault {
            Fault::Stop => server.go_on(),
            Fault::Kill => server.restart(),
        }
        eventually(async || redis.state() == RedisState::Connected).await;
        layer.handle().purge(Purge::host("b.example")).await.unwrap();
        let (old, hits) = (seen.old.load(Ordering::SeqCst), seen.hits.load(Ordering::SeqCst));
        // Those that had begun before the purge may be among them.
        assert!(old - before <= 16, "{old} were old");
        eventually(async || seen.hits.load(Ordering::SeqCst) > hits + 20).await;
        assert_eq!(seen.old.load(Ordering::SeqCst), old, "it was purged");
        seen.is_over.store(true, Ordering::SeqCst);
        for client in clients {
            client.await.unwrap();
        }
        // Another node was told, too.
        eventually(async || other.state() == RedisState::Connected).await;
        let log = larder::CacheManager::purge_log(&other).clone();
        let position = layer.handle().manager().purge_log_position();
        eventually(async || log.position() >= position).await;
    }
}

trait Position {
    fn purge_log_position(&self) -> u64;
}

impl Position for BoxManager {
    fn purge_log_position(&self) -> u64 {
        larder::CacheManager::purge_log(self).position()
    }
}

/// A store opens where there is no Redis, serves misses, and is a cache as soon as there is one.
#[tokio::test]
async fn it_starts_without_redis() {
    let Some(mut server) = own(&[]) else { return };
    server.kill();
    let redis = open(&server);
    let began = Instant::now();
    assert!(redis.ready().await.is_err());
    assert!(matches!(redis.state(), RedisState::Away(_)), "{}", redis.state());
    let layer = CacheLayer::new(BoxManager::new(redis.clone()));
    let (version, seen) = (Arc::new(AtomicU64::new(1)), Arc::<Seen>::default());
    let clients = load(&layer, &version, &seen);
    eventually(async || seen.times.lock().unwrap().len() > 200).await;
    let (_, p99) = seen.p99();
    println!("without Redis: p99 {p99:?}, {:?} in all", began.elapsed());
    assert_eq!(seen.hits.load(Ordering::SeqCst), 0);
    server.restart();
    eventually(async || seen.hits.load(Ordering::SeqCst) > 50).await;
    assert_eq!(redis.state(), RedisState::Connected);
    seen.is_over.store(true, Ordering::SeqCst);
    for client in clients {
        client.await.unwrap();
    }
}

/// A look-up takes no longer than its budget, and after some that were late Redis is not asked at all.
#[tokio::test]
async fn a_breaker_opens_and_closes() {
    let Some(server) = own(&[]) else { return };
    let (redis, ask) = (open(&server), crate::page::Ask::new("/"));
    redis.ready().await.unwrap();
    ask.put(&redis, &[], "x").await.unwrap();
    server.pause();
    let mut times = Vec::new();
    for _ in 0..40 {
        let began = Instant::now();
        assert!(ask.try_find(&redis).await.is_err());
        times.push(began.elapsed());
    }
    assert_eq!(redis.state(), RedisState::Suspended);
    let waited = times.iter().filter(|time| **time >= BUDGET / 2).count();
    assert!(waited <= 5, "{waited} waited: {times:?}");
    server.go_on();
    eventually(async || redis.state() == RedisState::Connected).await;
    eventually(async || ask.try_find(&redis).await.is_ok_and(|found| found.is_some())).await;
}
