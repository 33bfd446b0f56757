//! How what a cache holds and does grows with entries, variants, tags, readers, purges and nodes: the
//! counts of the page `larder::scale`, which do not depend on what else the machine does.
//!
//! `cargo bench --bench scale`. Bytes are those that the allocator was asked for and has not got back.

#[path = "support/held.rs"]
mod held;

use std::{
    convert::Infallible,
    future::{Future, pending, ready},
    hint::black_box,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, header};
use http_body_util::{BodyExt, Empty, Full, StreamBody, combinators::UnsyncBoxBody};
use larder::{
    BoxError, CacheLayer, Error, MemoryManager, Policy, Purge,
    bus::{BusEvent, LocalBus, LocalFollower, PurgeBus, PurgeFollower, PurgeMessage},
};
use tower::{Layer, Service, service_fn};

const KIB: usize = 1 << 10;

fn main() {
    println!("bytes held for each\n");
    for count in [1_000, 10_000, 100_000] {
        row("entry of 1 KiB", count, entries(count, 0));
    }
    for tags in [4, 16] {
        row(&format!("entry of 1 KiB with {tags} tags"), 10_000, entries(10_000, tags));
    }
    for count in [100, 1_000, 10_000] {
        row("variant of one URL, 1 KiB", count, variants(count, |_| "/".to_owned()));
    }
    for count in [1_000, 10_000] {
        let path = |n| format!("/some/path/{n:07}");
        row("only variant of a URL, 1 KiB", count, variants(count, path));
    }
    for count in [1_000, 10_000] {
        row("request that waits for another's", count, waiting(count, |_| "/".to_owned()));
    }
    for count in [1_000, 10_000] {
        row("miss under way", count, waiting(count, |n| format!("/{n}")));
    }
    for count in [1_000, 10_000] {
        row("reader of one body on its way", count, reading(count));
    }
    for count in [1_000, 10_000] {
        row("purge by tag, once swept", count, purged(count));
    }
    println!("\nnodes  origin requests for a page that no node has, 100 clients on each");
    for nodes in [1, 2, 8] {
        println!("{nodes:>5}  {}", asked(nodes));
    }
    println!("\nnodes  messages published, and delivered, for one purge");
    for nodes in [2, 4, 8] {
        let (published, delivered) = told(nodes);
        println!("{nodes:>5}  {published}, {delivered}");
    }
}

fn row(what: &str, count: usize, held: usize) {
    println!("{what:<34} {count:>8} {:>8}", held / count);
}

/// What is held more while what `work` gives is alive.
fn held<T>(work: impl FnOnce() -> T) -> usize {
    let before = held::now();
    let kept = work();
    let held = held::now().saturating_sub(before);
    drop(kept);
    held
}

type Asked = Request<Empty<Bytes>>;
type Body = UnsyncBoxBody<Bytes, BoxError>;

fn request(path: &str) -> Asked {
    let request = Request::get(format!("http://a.example{path}"));
    request.header(header::ACCEPT, "*/*").body(Empty::new()).expect("it is a request")
}

/// Five fields, as values that own their bytes.
fn response(body: impl FnOnce() -> Body, tags: usize, path: &str) -> Response<Body> {
    let mut headers = HeaderMap::new();
    let mut add = |name, text: &str| {
        headers.insert(name, HeaderValue::from_str(text).expect("it is a value"));
    };
    add(header::CONTENT_TYPE, "text/html; charset=utf-8");
    add(header::CACHE_CONTROL, "public, max-age=3600, stale-while-revalidate=60");
    add(header::ETAG, "\"33a64df551425fcc55e4d42a148795d9f25f89d4\"");
    add(header::LAST_MODIFIED, "Wed, 21 Oct 2015 07:28:00 GMT");
    add(header::SERVER, "a-server/1.2.3");
    if tags > 0 {
        let tags: Vec<String> = (0..tags).map(|n| format!("tag-{n}-of{path}")).collect();
        add(header::HeaderName::from_static("cache-tag"), &tags.join(","));
    }
    let mut response = Response::new(body());
    *response.headers_mut() = headers;
    response
}

fn kilobyte() -> Body {
    Full::new(Bytes::from(vec![b'x'; KIB])).map_err(|never| match never {}).boxed_unsync()
}

fn now<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => unreachable!("nothing here waits"),
    }
}

fn get(service: &mut impl Cached, request: Asked) {
    let response = now(service.call(request)).unwrap_or_else(|never| match never {});
    black_box(now(response.into_body().collect()).expect("it is whole"));
}

/// A service before an origin.
trait Cached: Service<Asked, Response = Response<larder::CacheBody<Body>>, Error = Infallible> {}

impl<S> Cached for S where
    S: Service<Asked, Response = Response<larder::CacheBody<Body>>, Error = Infallible>
{
}

fn layer(policy: Policy) -> CacheLayer<MemoryManager> {
    CacheLayer::new(MemoryManager::new(4 << 30)).policy(policy)
}

fn entries(count: usize, tags: usize) -> usize {
    let policy = Policy::shared().tag_fields([header::HeaderName::from_static("cache-tag")]);
    let mut service = layer(policy).layer(service_fn(move |request: Asked| {
        ready(Ok::<_, Infallible>(response(kilobyte, tags, request.uri().path())))
    }));
    held(move || {
        (0..count).for_each(|n| get(&mut service, request(&format!("/some/path/{n:07}"))));
        service
    })
}

fn variants(count: usize, path: impl Fn(usize) -> String) -> usize {
    let policy = Policy::shared().max_variants(count);
    let mut service = layer(policy).layer(service_fn(async |_: Asked| {
        let mut response = response(kilobyte, 0, "");
        response.headers_mut().insert(header::VARY, HeaderValue::from_static("accept-language"));
        Ok::<_, Infallible>(response)
    }));
    held(move || {
        for n in 0..count {
            let mut request = request(&path(n));
            let value = HeaderValue::from_str(&format!("x-{n:05}")).expect("it is a value");
            request.headers_mut().insert(header::ACCEPT_LANGUAGE, value);
            get(&mut service, request);
        }
        service
    })
}

/// Requests for an origin that does not answer, and their heads.
fn waiting(count: usize, path: impl Fn(usize) -> String) -> usize {
    let origin = service_fn(|_: Asked| pending::<Result<Response<Body>, Infallible>>());
    let mut service = layer(Policy::shared()).layer(origin);
    held(move || {
        let mut poll = |n| {
            let mut future = Box::pin(service.call(request(&path(n))));
            assert!(poll_once(future.as_mut()).is_pending());
            future
        };
        (0..count).map(&mut poll).collect::<Vec<_>>()
    })
}

/// Clients that have the head and 64 KiB of a body that goes on, which counts once.
fn reading(count: usize) -> usize {
    let mut service = layer(Policy::shared()).layer(service_fn(async |_: Asked| {
        use futures_util::{StreamExt, stream};
        let frame = http_body::Frame::data(Bytes::from(vec![b'x'; 64 * KIB]));
        let frames = stream::iter([Ok::<_, BoxError>(frame)]).chain(stream::pending());
        let body = || StreamBody::new(frames).boxed_unsync();
        Ok::<_, Infallible>(response(body, 0, ""))
    }));
    held(move || {
        let mut read = |_| {
            let response = now(service.call(request("/")));
            let mut body = Box::pin(response.unwrap_or_else(|never| match never {}).into_body());
            assert!(poll_once(body.frame()).is_ready());
            assert!(poll_once(body.frame()).is_pending());
            body
        };
        (0..count).map(&mut read).collect::<Vec<_>>()
    })
}

fn poll_once<T>(future: impl Future<Output = T>) -> Poll<T> {
    pin!(future).poll(&mut Context::from_waker(Waker::noop()))
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}

fn purged(count: usize) -> usize {
    let runtime = runtime();
    let cache = layer(Policy::shared());
    let mut service =
        cache.layer(service_fn(async |_: Asked| Ok::<_, Infallible>(response(kilobyte, 0, ""))));
    get(&mut service, request("/"));
    held(|| {
        runtime.block_on(async {
            for n in 0..count {
                let purged = cache.handle().purge(Purge::tag(format!("tag-{n}"))).await;
                purged.expect("it is purged").swept().await.expect("it is swept");
            }
        });
    })
}

fn asked(nodes: usize) -> usize {
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = calls.clone();
    let origin = service_fn(move |_: Asked| {
        counted.fetch_add(1, Ordering::Relaxed);
        async {
            tokio::task::yield_now().await;
            Ok::<_, Infallible>(response(kilobyte, 0, ""))
        }
    });
    runtime().block_on(async {
        let mut clients = Vec::new();
        for _ in 0..nodes {
            let service = layer(Policy::shared()).layer(origin.clone());
            for _ in 0..100 {
                let mut service = service.clone();
                clients.push(tokio::spawn(async move { service.call(request("/")).await }));
            }
        }
        for client in clients {
            let response = client.await.expect("it ran").unwrap_or_else(|never| match never {});
            response.into_body().collect().await.expect("it is whole");
        }
    });
    calls.load(Ordering::Relaxed)
}

/// Counts what goes over a bus.
struct Counted {
    bus: LocalBus,
    published: Arc<AtomicUsize>,
    delivered: Arc<AtomicUsize>,
}

struct Following(LocalFollower, Arc<AtomicUsize>);

impl PurgeBus for Counted {
    type Follower = Following;

    async fn publish(&self, message: &PurgeMessage) -> Result<(), Error> {
        self.published.fetch_add(1, Ordering::Relaxed);
        self.bus.publish(message).await
    }

    async fn follow(&self, after: Option<&str>) -> Result<Following, Error> {
        Ok(Following(self.bus.follow(after).await?, self.delivered.clone()))
    }
}

impl PurgeFollower for Following {
    async fn next(&mut self) -> Result<BusEvent, Error> {
        let event = self.0.next().await;
        self.1.fetch_add(1, Ordering::Relaxed);
        event
    }
}

fn told(nodes: usize) -> (usize, usize) {
    let (bus, published, delivered) = (LocalBus::new(), Arc::default(), Arc::default());
    runtime().block_on(async {
        let node = |_| {
            let (published, delivered) = (Arc::clone(&published), Arc::clone(&delivered));
            let bus = Counted { bus: bus.connect(), published, delivered };
            layer(Policy::shared()).bus(bus)
        };
        let caches: Vec<_> = (0..nodes).map(node).collect();
        // Who serves nothing follows nobody.
        let origin = service_fn(async |_: Asked| Ok::<_, Infallible>(response(kilobyte, 0, "")));
        for cache in &caches {
            get(&mut cache.layer(origin), request("/"));
        }
        let settle = async || {
            for _ in 0..1_000 {
                tokio::task::yield_now().await;
            }
        };
        settle().await;
        let before = (published.load(Ordering::Relaxed), delivered.load(Ordering::Relaxed));
        caches[0].handle().purge(Purge::tag("reports")).await.expect("it is purged");
        settle().await;
        let count = |counter: &AtomicUsize, before| counter.load(Ordering::Relaxed) - before;
        (count(&published, before.0), count(&delivered, before.1))
    })
}
