//! What the cache takes and keeps of memory, by a counting allocator. A binary of its own with one test at a
//! time: the allocator counts all threads.

#![cfg(all(feature = "memory", feature = "tokio"))]

#[path = "support/counting.rs"]
mod counting;

use std::{
    convert::Infallible,
    future::{Future, ready},
    pin::pin,
    sync::{Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use futures_util::stream;
use http::{HeaderValue, Request, Response};
use http_body::{Body, Frame};
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use larder::{
    CacheLayer, CacheService, MemoryManager, Policy, Purge,
    observe::{Event, Observer},
};
use tokio::{
    net::TcpListener,
    runtime::{Builder, Runtime},
};
use tower::{Layer, Service, ServiceExt};

use self::counting::{allocations, live, live_anywhere};

fn block_on_now<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(done) => done,
        Poll::Pending => unreachable!("nothing here waits"),
    }
}

fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Text,
    Redirect,
}

#[derive(Clone, Copy, Debug)]
enum Version {
    Http1,
    Http2,
}

fn answer(kind: Kind, path: &str) -> Response<Full<Bytes>> {
    let response = Response::builder()
        .header("cache-control", "max-age=3600")
        .header("etag", format!("\"{path}\""))
        .header("last-modified", "Thu, 01 Jan 2026 00:00:00 GMT")
        .header("server", "owned-memory");
    match kind {
        Kind::Text => {
            let text = format!("{path:x<1024}");
            response.header("content-type", "text/plain").body(Full::from(text))
        }
        Kind::Redirect => {
            let target = format!("https://a.example/elsewhere{path}");
            response.status(302).header("location", target).body(Full::default())
        }
    }
    .unwrap()
}

/// An origin on a loopback socket, that serves until the runtime is gone.
async fn serve(kind: Kind) -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let service = service_fn(move |request: Request<Incoming>| {
                ready(Ok::<_, Infallible>(answer(kind, request.uri().path())))
            });
            tokio::spawn(async move {
                let builder = auto::Builder::new(TokioExecutor::new());
                let _ = builder.serve_connection(TokioIo::new(stream), service).await;
            });
        }
    });
    address
}

type HyperClient = Client<HttpConnector, Full<Bytes>>;

async fn fill(service: &CacheService<HyperClient, MemoryManager>, base: &str, count: usize) {
    for n in 0..count {
        let request = Request::get(format!("{base}/{n:05}")).body(Full::default()).unwrap();
        let response = service.clone().oneshot(request).await.unwrap();
        assert!(response.body().status().is_stored());
        response.into_body().collect().await.unwrap();
    }
}

/// The bytes that are live because of `count` stored responses, and what the manager says of them.
fn held(kind: Kind, version: Version, count: usize) -> (isize, u64) {
    let manager = MemoryManager::new(256 << 20);
    let before = live_anywhere();
    // Connections, origin and all tasks go with the runtime.
    let runtime = Runtime::new().unwrap();
    runtime.block_on(async {
        let address = serve(kind).await;
        let client = Client::builder(TokioExecutor::new())
            .http2_only(matches!(version, Version::Http2))
            .build_http();
        let service = CacheLayer::new(manager.clone()).layer(client);
        fill(&service, &format!("http://{address}"), count).await;
    });
    drop(runtime);
    let held = live_anywhere() - before;
    assert_eq!(manager.len(), count);
    (held, manager.weight())
}

/// Design, "What is stored owns its memory": values and frames of hyper are
/// slices of the connection's buffers, and kept as they come would hold 9 KiB for 1 KiB.
#[test]
fn what_is_stored_holds_no_more_than_its_weight() {
    let _alone = alone();
    for kind in [Kind::Text, Kind::Redirect] {
        for version in [Version::Http1, Version::Http2] {
            // What tokio and hyper set up once and for all.
            held(kind, version, 10);
            let (held, weight) = held(kind, version, 2000);
            let ratio = held as f64 / weight as f64;
            println!("{kind:?} {version:?}: {held} bytes held, weight {weight}, {ratio:.2}");
            assert!(ratio <= 1.3, "{kind:?} {version:?}: {held} held, weight {weight}");
            assert!(ratio >= 0.6, "{kind:?} {version:?}: weighs more than it holds: {ratio:.2}");
        }
    }
}

/// A variant takes what an entry without `Vary` takes, its key, and its place among the others: one of
/// many of a page, or the only one.
#[test]
fn a_variant_takes_little_more_than_an_entry() {
    const COUNT: usize = 2_000;
    let _alone = alone();
    let inner = tower::service_fn(|request: Request<Full<Bytes>>| {
        let (mut head, body) = answer(Kind::Text, "/page").into_parts();
        if request.headers().contains_key("accept-language") {
            head.headers.insert("vary", HeaderValue::from_static("accept-language"));
        }
        ready(Ok::<_, Infallible>(Response::from_parts(head, body)))
    });
    // The bytes that are held for each, and what the manager says of them.
    let taken = |path: &dyn Fn(usize) -> String, varies: bool| {
        let manager = MemoryManager::new(256 << 20);
        let layer = CacheLayer::new(manager.clone());
        let mut service = layer.policy(Policy::shared().max_variants(COUNT)).layer(inner);
        let before = live();
        for n in 0..COUNT {
            let mut request = Request::get(format!("http://a.example{}", path(n)));
            if varies {
                request = request.header("accept-language", format!("x-{n:05}"));
            }
            let request = request.body(Full::default()).unwrap();
            let response = block_on_now(service.call(request)).unwrap();
            assert!(response.body().status().is_stored());
            block_on_now(response.into_body().collect()).unwrap();
        }
        assert!(manager.len() >= COUNT);
        [live() - before, manager.weight() as isize].map(|bytes| bytes / COUNT as isize)
    };
    let each = |n| format!("/page/{n:05}");
    let [entry, entry_weight] = taken(&each, false);
    let [variant, variant_weight] = taken(&|_| "/page".to_owned(), true);
    let [only, only_weight] = taken(&each, true);
    println!("[held, weight] of an entry: {entry}, {entry_weight}");
    println!(
        "of one of many variants: {variant}, {variant_weight}; of an only one: {only}, {only_weight}"
    );
    assert!(variant <= entry + 160, "{variant}, and {entry} without `Vary`");
    assert!(only <= entry + 600, "{only}, and {entry} without `Vary`");
    for (held, weight) in [(entry, entry_weight), (variant, variant_weight), (only, only_weight)] {
        assert!(held.abs_diff(weight) * 8 <= held as usize, "{held} held, weight {weight}");
    }
}

/// A walk of the sweeper leaves what stays as it was, and hardly asks the allocator for anything: what it
/// shares with the hits beside it is what could slow them down.
#[test]
fn a_walk_leaves_what_stays_as_it_was() {
    const COUNT: usize = 2_000;
    let _alone = alone();
    let inner = tower::service_fn(|request: Request<Full<Bytes>>| {
        let mut response = answer(Kind::Text, request.uri().path());
        let tags = HeaderValue::from_static("site section author");
        response.headers_mut().insert("surrogate-key", tags);
        ready(Ok::<_, Infallible>(response))
    });
    let layer = CacheLayer::new(MemoryManager::new(256 << 20)).executor(larder::NoExecutor);
    let (mut service, handle) = (layer.layer(inner), layer.handle());
    for n in 0..COUNT {
        let request = Request::get(format!("http://a.example/page/{n}"));
        let response = block_on_now(service.call(request.body(Full::default()).unwrap())).unwrap();
        block_on_now(response.into_body().collect()).unwrap();
    }
    let walk = |purge: Purge| {
        let purged = block_on_now(handle.purge(purge)).unwrap();
        let (before, mut swept) = (live(), pin!(purged.swept()));
        let (count, gone) = allocations(|| {
            // It yields between its slices.
            loop {
                let mut cx = Context::from_waker(Waker::noop());
                if let Poll::Ready(gone) = swept.as_mut().poll(&mut cx) {
                    return gone.unwrap();
                }
            }
        });
        (gone, count as f64 / COUNT as f64, live() - before)
    };
    let tag = || Purge::tag("other");
    for purge in [tag(), tag().dry_run(), Purge::host("b.example"), Purge::host("b.example").soft()]
    {
        let (gone, count, grown) = walk(purge);
        println!("{count} allocations for each, {grown} bytes more");
        assert_eq!(gone, 0);
        // What shows the entry, and what it is looked up by.
        assert!(count <= 2.2, "{count}");
        assert!(grown <= 4096, "{grown}");
    }
    let (gone, count, _) = walk(Purge::host("a.example"));
    println!("{count} allocations for each that goes");
    assert_eq!(gone, COUNT as u64);
    // Which purges take it out is looked up, too, and written down.
    assert!(count <= 4.2, "{count}");
}

/// Scenario 3.2: no leaks; the end of a layer is the end of its tasks.
#[test]
fn a_thousand_layers_leave_nothing() {
    let _alone = alone();
    let runtime = Builder::new_current_thread().build().unwrap();
    let build = async |count: usize| {
        for n in 0..count {
            let cache = CacheLayer::new(MemoryManager::new(64 << 20)).observer(Deaf);
            let inner = tower::service_fn(|request: Request<Full<Bytes>>| {
                ready(Ok::<_, Infallible>(answer(Kind::Text, request.uri().path())))
            });
            let (service, handle) = (cache.layer(inner), cache.handle());
            for path in ["a", "b", "a"] {
                let request = Request::get(format!("http://a.example/{path}/{n}"));
                let request = request.body(Full::default()).unwrap();
                let response = service.clone().oneshot(request).await.unwrap();
                response.into_body().collect().await.unwrap();
            }
            handle.purge(larder::Purge::everything()).await.unwrap();
            // The sweeper ends as soon as it is its turn.
            drop((cache, service, handle));
            tokio::task::yield_now().await;
        }
    };
    runtime.block_on(build(10));
    let base = live();
    runtime.block_on(build(1000));
    let grown = live() - base;
    assert!(grown.abs() < 1000, "{grown} bytes are left of a thousand layers");
    assert_eq!(runtime.metrics().num_alive_tasks(), 0);
}

/// Scenario 3.11: what threads keep of what they ask for again and again counts in the limit of the store,
/// heads with much in them and those of a 304, too, and goes when it has to make room.
#[test]
fn what_threads_keep_is_within_the_limit() {
    const CAPACITY: u64 = 16 << 20;
    let _alone = alone();
    let manager = MemoryManager::with_max_entry_bytes(CAPACITY, 64 << 10);
    let inner = tower::service_fn(|request: Request<Full<Bytes>>| {
        let (mut head, _) = answer(Kind::Text, request.uri().path()).into_parts();
        for n in 0..8 {
            let name = http::HeaderName::try_from(format!("x-large-{n}")).unwrap();
            head.headers.insert(name, HeaderValue::try_from("y".repeat(200)).unwrap());
        }
        let body = Full::from(vec![b'x'; 16 << 10]);
        ready(Ok::<_, Infallible>(Response::from_parts(head, body)))
    });
    let layer = CacheLayer::new(manager.clone());
    let service = layer.layer(inner);
    let before = live_anywhere();
    let ask = &|thread: usize| {
        let mut service = service.clone();
        let (mut most, mut hits) = (0, 0);
        for n in 0..3_000 {
            let path = format!("/{}", n + 7 * thread);
            for again in 0..4 {
                let mut request = Request::get(format!("http://a.example{path}"));
                if again == 3 {
                    request = request.header("if-none-match", format!("\"{path}\""));
                }
                let request = request.body(Full::default()).unwrap();
                let mut exchange = pin!(async {
                    let body = service.call(request).await.unwrap().into_body();
                    hits += usize::from(body.status().is_hit());
                    body.collect().await.unwrap();
                });
                // One that somebody else is fetching is left alone.
                let _ = exchange.as_mut().poll(&mut Context::from_waker(Waker::noop()));
            }
            most = most.max(live_anywhere() - before);
        }
        assert!(hits > 6_000, "{hits}");
        most
    };
    let most = std::thread::scope(|scope| {
        let threads = [0, 1, 2, 3].map(|thread| scope.spawn(move || ask(thread)));
        threads.map(|thread| thread.join().unwrap()).into_iter().max().unwrap()
    });
    println!("{most} bytes at most, {CAPACITY} allowed, {} weighed", manager.weight());
    // Beside it, what some requests hold, and the tables.
    assert!(most as u64 <= CAPACITY + CAPACITY / 32, "{most}");
    block_on_now(larder::CacheManager::clear(&manager)).unwrap();
    let left = live_anywhere() - before;
    println!("{left} bytes are left");
    assert!(left < 1 << 20, "{left}");
}

/// Nothing that a request held stays when it is dropped: not in the table of those on their way, not
/// in the store. Half of them are dropped before their answer, half in the middle of the body.
#[test]
fn ten_thousand_dropped_requests_leave_nothing() {
    let _alone = alone();
    let manager = MemoryManager::new(64 << 20);
    let cache = CacheLayer::new(manager.clone());
    let drop_them = |from: usize, count: usize| {
        for n in from..from + count {
            let inner = tower::service_fn(move |_: Request<Full<Bytes>>| async move {
                if n % 2 == 0 {
                    std::future::pending::<()>().await;
                }
                let frames = stream::pending::<Result<Frame<Bytes>, Infallible>>();
                let response = Response::builder().header("cache-control", "max-age=60");
                Ok::<_, Infallible>(response.body(StreamBody::new(frames)).unwrap())
            });
            let request = Request::get(format!("http://a.example/{n}"));
            let mut future =
                Box::pin(cache.layer(inner).oneshot(request.body(Full::default()).unwrap()));
            let mut cx = Context::from_waker(Waker::noop());
            if let Poll::Ready(response) = future.as_mut().poll(&mut cx) {
                let mut body = Box::pin(response.unwrap().into_body());
                assert!(body.as_mut().poll_frame(&mut cx).is_pending());
            }
        }
    };
    drop_them(0, 10_000);
    let base = live();
    drop_them(10_000, 10_000);
    let grown = live() - base;
    assert!(grown.abs() < 4096, "{grown} bytes are left");
    assert!(manager.is_empty());
}

/// Hears everything, and keeps nothing.
struct Deaf;

impl Observer for Deaf {
    fn observe(&self, event: &Event<'_>) {
        std::hint::black_box(event);
    }
}

/// Scenario 4.11: a hit makes at most ten allocations, be it the first of its variant or a later one, at
/// one variant of its resource and at 10 000 of them, with an observer and without.
#[test]
fn a_hit_allocates_little_at_any_number_of_variants() {
    let _alone = alone();
    let now = |service: &mut CacheService<_, MemoryManager>, variant: usize| {
        let request = Request::get("http://a.example/page").header("accept-language", variant);
        let request = request.body(Full::<Bytes>::default()).unwrap();
        let mut answer = pin!(async {
            let mut body = service.call(request).await.unwrap().into_body();
            let mut length = 0;
            while let Some(frame) = body.frame().await {
                length += frame.unwrap().into_data().unwrap().len();
            }
            (body.status().is_hit(), length)
        });
        let mut cx = Context::from_waker(Waker::noop());
        let (count, answer) = allocations(|| answer.as_mut().poll(&mut cx));
        let Poll::Ready((is_hit, length)) = answer else { unreachable!("nothing here waits") };
        assert_eq!(length, 1024);
        (is_hit, count)
    };
    let inner = tower::service_fn(|_: Request<Full<Bytes>>| {
        let (mut head, body) = answer(Kind::Text, "/page").into_parts();
        head.headers.insert("vary", HeaderValue::from_static("accept-language"));
        ready(Ok::<_, Infallible>(Response::from_parts(head, body)))
    });
    let mut first = None;
    for variants in [1, 10_000] {
        let layer = CacheLayer::new(MemoryManager::new(256 << 20));
        let layer = layer.policy(Policy::shared().max_variants(variants));
        let mut services = [layer.layer(inner), layer.observer(Deaf).layer(inner)];
        (0..variants).for_each(|variant| assert!(!now(&mut services[0], variant).0));
        // First it is unpacked, then it is kept so, and then it is there.
        let rounds = [(); 3].map(|()| {
            services.each_mut().map(|service| {
                let hits = (0..variants).map(|variant| now(service, variant));
                let hits = hits.map(|(is_hit, allocations)| is_hit.then_some(allocations).unwrap());
                hits.max().unwrap()
            })
        });
        println!("[alone, observed] allocations for a hit among {variants}: {rounds:?}");
        // The second to see what is unpacked keeps it.
        assert!(rounds.iter().all(|[alone, observed]| *alone <= 9 && *observed <= 10));
        let [[unpacked, _], _, [alone, observed]] = rounds;
        assert!(observed <= alone, "an observer takes none");
        assert!(alone <= if variants > 1 { 5 } else { 3 });
        let at_one = *first.get_or_insert(unpacked);
        assert!(unpacked <= at_one, "{unpacked} among {variants}, {at_one} of one");
    }
}
