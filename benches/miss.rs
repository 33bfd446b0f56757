//! What a miss costs beside the inner service alone and beside the floor's insert: a quick_cache look-up
//! that finds nothing, the inner service, a copy of its six fields and its body, the insert. And what a
//! request costs that is not for the cache, and the first byte of a large response over loopback.
//!
//! `cargo bench --bench miss`. All subjects run interleaved in one process; a figure is the median of
//! the rounds. Making the request and collecting the body are inside of every figure. `-- NAME CALLS`
//! runs one subject alone, for a profiler; `-- first-byte` runs the large response alone.

mod support;

use std::{
    convert::Infallible,
    future::{Future, Ready, ready},
    hint::black_box,
    io::{Read, Write},
    net::SocketAddr,
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, Uri, header};
use http_body::Frame;
use http_body_util::{BodyExt, Empty, Full, StreamBody};
use hyper_util::{rt::TokioIo, service::TowerToHyperService};
use larder::{BoxError, CacheLayer, CacheMode, CacheService, MemoryManager};
use tokio::net::TcpListener;
use tower::{Layer, Service, service_fn};

const ROUNDS: usize = 31;
const CALLS: usize = 4_000;
const SIZE: usize = 1 << 10;
/// Each is asked for once.
const URIS: usize = ROUNDS * CALLS + 3 * HELD;
const HELD: usize = 4_000;

/// The inner service: a head of six fields and a body that is shared. Cheap to clone, as services are.
#[derive(Clone)]
struct Handler {
    headers: Arc<HeaderMap>,
    body: Bytes,
}

impl Service<Request<Empty<Bytes>>> for Handler {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<Empty<Bytes>>) -> Self::Future {
        let mut response = Response::new(Full::new(self.body.clone()));
        *response.headers_mut() = HeaderMap::clone(&self.headers);
        ready(Ok(response))
    }
}

/// What no cache can be faster than.
struct Floor {
    inner: Handler,
    cache: quick_cache::sync::Cache<String, (HeaderMap, Bytes)>,
}

impl Floor {
    fn call(&mut self, request: Request<Empty<Bytes>>) -> Response<Full<Bytes>> {
        let key = request.uri().path();
        assert!(self.cache.get(key).is_none());
        let key = key.to_owned();
        let (head, body) = now(self.inner.call(request)).unwrap().into_parts();
        let body = now(body.collect()).unwrap().to_bytes();
        // What is kept owns its memory, or it would keep that of a connection.
        let own = |value: &HeaderValue| HeaderValue::from_bytes(value.as_bytes()).unwrap();
        let headers = head.headers.iter().map(|(name, value)| (name.clone(), own(value)));
        self.cache.insert(key, (headers.collect(), Bytes::copy_from_slice(&body)));
        Response::from_parts(head, Full::new(body))
    }
}

/// As a server makes it: the URI has been parsed, the fields are put into a new map.
fn request(uri: &Uri) -> Request<Empty<Bytes>> {
    Request::get(uri.clone())
        .header(header::USER_AGENT, HeaderValue::from_static("bench"))
        .header(header::ACCEPT, HeaderValue::from_static("*/*"))
        .body(Empty::new())
        .unwrap()
}

fn no_store(uri: &Uri) -> Request<Empty<Bytes>> {
    let mut request = request(uri);
    request.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    request
}

fn passing(uri: &Uri) -> Request<Empty<Bytes>> {
    let mut request = request(uri);
    request.extensions_mut().insert(CacheMode::NoStore);
    request
}

fn post(uri: &Uri) -> Request<Empty<Bytes>> {
    let mut request = request(uri);
    *request.method_mut() = Method::POST;
    request
}

fn now<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => unreachable!("nothing here waits"),
    }
}

fn collect<B>(response: Response<B>) -> usize
where
    B: http_body::Body<Data = Bytes>,
    B::Error: std::fmt::Debug,
{
    let (head, body) = response.into_parts();
    black_box(head);
    now(body.collect()).unwrap().to_bytes().len()
}

fn layer() -> CacheLayer<MemoryManager> {
    // A kilobyte with its head takes two.
    CacheLayer::new(MemoryManager::with_max_entry_bytes(2048 * HELD as u64, 64 << 10))
}

type Make = fn(&Uri) -> Request<Empty<Bytes>>;

/// Asks for one after the other of the URIs.
fn through<S, B>(mut service: S, make: Make, uris: &[Uri]) -> Box<dyn FnMut() -> usize + '_>
where
    S: Service<Request<Empty<Bytes>>, Response = Response<B>> + 'static,
    S::Error: std::fmt::Debug,
    B: http_body::Body<Data = Bytes>,
    B::Error: std::fmt::Debug,
{
    let mut uris = uris.iter().cycle();
    Box::new(move || {
        let request = black_box(make(uris.next().unwrap()));
        collect(now(service.call(request)).unwrap())
    })
}

struct Subject<'a> {
    name: &'static str,
    /// Which one it is compared with, and how much it may cost beside it.
    beside: Option<(usize, f64)>,
    call: Box<dyn FnMut() -> usize + 'a>,
    times: Vec<Duration>,
    allocations: (u64, u64),
}

fn subjects(uris: &[Uri]) -> Vec<Subject<'_>> {
    let inner =
        Handler { headers: Arc::new(support::fields(SIZE)), body: Bytes::from(vec![b'x'; SIZE]) };
    let cached = || -> CacheService<Handler, MemoryManager> { layer().layer(inner.clone()) };
    let mut floor = Floor { inner: inner.clone(), cache: quick_cache::sync::Cache::new(HELD) };
    let mut at = uris.iter().cycle();
    let insert = move || collect(floor.call(black_box(request(at.next().unwrap()))));
    let subject =
        |name, beside, call| Subject { name, beside, call, times: Vec::new(), allocations: (0, 0) };
    vec![
        subject("inner service alone", None, through(inner.clone(), request, uris)),
        subject("floor, insert", None, Box::new(insert)),
        subject("larder, miss", Some((1, 1.3)), through(cached(), request, uris)),
        subject("inner, passing by", None, through(inner.clone(), passing, uris)),
        subject("larder, passing by", Some((3, 1.1)), through(cached(), passing, uris)),
        subject("inner, no-store", None, through(inner.clone(), no_store, uris)),
        subject("larder, no-store", Some((5, 1.1)), through(cached(), no_store, uris)),
        subject("inner, POST", None, through(inner.clone(), post, uris)),
        subject("larder, POST", Some((7, 1.1)), through(cached(), post, uris)),
    ]
}

fn main() {
    let uris: Vec<Uri> = (0..URIS)
        .map(|n| format!("http://a.example/some/path/{n:05}?with=query").parse().unwrap())
        .collect();
    let arguments: Vec<String> = std::env::args().collect();
    if arguments.iter().any(|argument| argument == "first-byte") {
        return first_byte();
    }
    let mut subjects = subjects(&uris);
    if let [_, name, calls, ..] = &arguments[..]
        && let Some(subject) = subjects.iter_mut().find(|subject| subject.name == name)
    {
        for _ in 0..calls.parse().unwrap() {
            black_box((subject.call)());
        }
        return;
    }
    for subject in &mut subjects {
        // Until each cache is full.
        (0..2 * HELD).for_each(|_| assert_eq!((subject.call)(), SIZE));
        subject.allocations = support::allocations(|| {
            (subject.call)();
        });
    }
    for _ in 0..ROUNDS {
        for subject in &mut subjects {
            let start = Instant::now();
            for _ in 0..CALLS {
                black_box((subject.call)());
            }
            subject.times.push(start.elapsed() / CALLS as u32);
        }
    }
    println!("1 KiB, one thread; median of {ROUNDS} rounds of {CALLS} calls\n");
    println!("{:<22} {:>8} {:>14}  allocations / bytes", "subject", "ns", "x (at most)");
    let medians: Vec<Duration> =
        subjects.iter_mut().map(|subject| median(&mut subject.times)).collect();
    for (subject, time) in subjects.iter().zip(&medians) {
        let ratio = subject.beside.map_or(String::new(), |(other, most)| {
            format!("{:.2} ({most})", time.as_secs_f64() / medians[other].as_secs_f64())
        });
        let (name, (count, bytes)) = (subject.name, subject.allocations);
        println!("{name:<22} {:>8} {ratio:>14}  {count} / {bytes}", time.as_nanos());
    }
    first_byte();
}

fn median(times: &mut [Duration]) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

/// 10 MiB in frames of 64 KiB, over HTTP/1.1 on loopback; the requests alternate, and so does who is
/// first. Each comes after 10 MiB of another's, so that nothing of what it takes is in the processor's
/// caches.
fn first_byte() {
    const FRAME: usize = 64 << 10;
    const FRAMES: usize = 160;
    const REQUESTS: usize = 101;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let frame = Bytes::from(vec![b'x'; FRAME]);
    let origin = service_fn(move |_: Request<hyper::body::Incoming>| {
        let frames = (0..FRAMES).map({
            let frame = frame.clone();
            move |_| Ok::<_, BoxError>(Frame::data(Bytes::copy_from_slice(&frame)))
        });
        let response = Response::builder()
            .header(header::CACHE_CONTROL, "max-age=3600")
            .header(header::CONTENT_LENGTH, FRAME * FRAMES);
        ready(Ok::<_, Infallible>(
            response.body(StreamBody::new(futures_util::stream::iter(frames))).unwrap(),
        ))
    });
    let cache = CacheLayer::new(MemoryManager::new(128 << 20)).layer(origin.clone());
    let mut clients = [(serve(&runtime, origin), false), (serve(&runtime, cache), true)].map(
        |(address, is_cached)| {
            let stream = std::net::TcpStream::connect(address).unwrap();
            stream.set_nodelay(true).unwrap();
            (stream, is_cached, Vec::new())
        },
    );
    let mut buffer = vec![0; FRAME];
    for number in 0..REQUESTS {
        clients.rotate_left(1);
        for (stream, _, times) in &mut clients {
            let head = format!("GET /{number} HTTP/1.1\r\nhost: a.example\r\n\r\n");
            let start = Instant::now();
            stream.write_all(head.as_bytes()).unwrap();
            let mut seen = 0;
            let head = loop {
                let count = stream.read(&mut buffer[seen..]).unwrap();
                assert!(count > 0, "the head was cut");
                seen += count;
                let end = buffer[..seen].windows(4).position(|window| window == b"\r\n\r\n");
                if let Some(end) = end.filter(|end| end + 4 < seen) {
                    break end + 4;
                }
            };
            times.push(start.elapsed());
            let mut left = FRAME * FRAMES - (seen - head);
            while left > 0 {
                let count = stream.read(&mut buffer).unwrap();
                assert!(count > 0, "the body was cut");
                left -= count;
            }
        }
    }
    clients.sort_by_key(|(_, is_cached, _)| *is_cached);
    let [(.., without), (.., with)] = &mut clients;
    let ratios = with.iter().zip(&*without).map(|(with, without)| with.div_duration_f64(*without));
    let mut ratios: Vec<f64> = ratios.collect();
    ratios.sort_unstable_by(f64::total_cmp);
    let (ratio, without, with) = (ratios[ratios.len() / 2], median(without), median(with));
    println!("\nfirst byte of 10 MiB: {with:.1?}, without {without:.1?}: {ratio:.3} (1.05)");
}

fn serve<S, B>(runtime: &tokio::runtime::Runtime, service: S) -> SocketAddr
where
    S: Service<Request<hyper::body::Incoming>, Response = Response<B>, Error = Infallible>
        + Clone
        + Send
        + 'static,
    S::Future: Send + 'static,
    B: http_body::Body<Data = Bytes, Error = BoxError> + Send + 'static,
{
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
    let address = listener.local_addr().unwrap();
    runtime.spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            stream.set_nodelay(true).unwrap();
            let service = TowerToHyperService::new(service.clone());
            let builder = hyper::server::conn::http1::Builder::new();
            tokio::spawn(async move {
                let _ = builder.serve_connection(TokioIo::new(stream), service).await;
            });
        }
    });
    address
}
