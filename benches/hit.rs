//! What a fresh hit costs beside the inner service alone and beside the floor: a quick_cache lookup,
//! the clone of a header map of six fields, the clone of a `Bytes`.
//!
//! `cargo bench --bench hit`. All subjects run interleaved in one process; a figure is the median of
//! the rounds. Making the request and collecting the body are inside of every figure.

mod support;

use std::{
    convert::Infallible,
    future::{Future, Ready, ready},
    hint::black_box,
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, Uri, header};
use http_body_util::{BodyExt, Empty, Full};
use larder::{CacheLayer, MemoryManager, Policy};
use tower::{Layer, Service};

const ROUNDS: usize = 31;
const CALLS: u32 = 20_000;
const URI: &str = "http://a.example/some/path?with=query";

/// The inner service: a head of six fields and a body that is shared.
#[derive(Clone)]
struct Handler {
    headers: HeaderMap,
    body: Bytes,
}

impl Handler {
    fn new(size: usize) -> Self {
        let headers = support::fields(size);
        Self { headers, body: Bytes::from(vec![b'x'; size]) }
    }

    fn response(&self) -> Response<Full<Bytes>> {
        let mut response = Response::new(Full::new(self.body.clone()));
        *response.headers_mut() = self.headers.clone();
        response
    }
}

impl Service<Request<Empty<Bytes>>> for Handler {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<Empty<Bytes>>) -> Self::Future {
        ready(Ok(self.response()))
    }
}

/// What no cache can be faster than.
#[derive(Clone)]
struct Floor(Arc<quick_cache::sync::Cache<String, (HeaderMap, Bytes)>>);

impl Service<Request<Empty<Bytes>>> for Floor {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Empty<Bytes>>) -> Self::Future {
        let (headers, body) = self.0.get(request.uri().path()).expect("it was put there");
        let mut response = Response::new(Full::new(body));
        *response.headers_mut() = headers;
        ready(Ok(response))
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

fn now<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => unreachable!("nothing here waits"),
    }
}

fn call<S, B>(service: &mut S, uri: &Uri) -> usize
where
    S: Service<Request<Empty<Bytes>>, Response = Response<B>>,
    S::Error: std::fmt::Debug,
    B: http_body::Body<Data = Bytes>,
    B::Error: std::fmt::Debug,
{
    let response = now(service.call(black_box(request(uri)))).unwrap();
    let (head, body) = response.into_parts();
    black_box(head);
    now(body.collect()).unwrap().to_bytes().len()
}

struct Subject<'a> {
    name: &'static str,
    call: Box<dyn FnMut() -> usize + 'a>,
    times: Vec<Duration>,
    allocations: (u64, u64),
}

fn main() {
    println!("fresh hit, one thread; median of {ROUNDS} rounds of {CALLS} calls\n");
    println!("{:>8}  {:<22} {:>8} {:>9}  allocations / bytes", "body", "subject", "ns", "x floor");
    for size in [1 << 10, 64 << 10, 1 << 20] {
        compare(size);
        println!();
    }
    beside_each_other();
}

/// Sixty-four tasks on two threads ask for one key; the rounds alternate.
fn beside_each_other() {
    const TASKS: usize = 64;
    const CALLS: u32 = 2_000;
    let threads = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
    let services = [true, false].map(|collapses| {
        let policy = Policy::shared().collapse(collapses);
        let layer = CacheLayer::new(MemoryManager::new(256 << 20)).policy(policy);
        let mut service = layer.layer(Handler::new(1 << 10));
        call(&mut service, &Uri::from_static(URI));
        service
    });
    let mut times = [Vec::new(), Vec::new()];
    for _ in 0..ROUNDS {
        for (service, times) in services.iter().zip(&mut times) {
            let start = Instant::now();
            let tasks: Vec<_> = (0..TASKS)
                .map(|_| {
                    let mut service = service.clone();
                    threads.spawn(async move {
                        for _ in 0..CALLS {
                            black_box(call(&mut service, &Uri::from_static(URI)));
                        }
                    })
                })
                .collect();
            tasks.into_iter().for_each(|task| threads.block_on(task).unwrap());
            times.push(start.elapsed() / (CALLS * TASKS as u32));
        }
    }
    let [on, off] = times.map(|mut times| {
        times.sort_unstable();
        times[ROUNDS / 2].as_nanos()
    });
    let ratio = on as f64 / off as f64;
    println!(
        "{TASKS} tasks, 2 threads, one key: {on} ns with collapsing, {off} without: {ratio:.3}"
    );
}

fn compare(size: usize) {
    let handler = Handler::new(size);
    let cache = quick_cache::sync::Cache::new(100);
    let uri = Uri::from_static(URI);
    cache.insert(uri.path().to_owned(), (handler.headers.clone(), handler.body.clone()));
    let mut floor = Floor(Arc::new(cache));
    let layer = || CacheLayer::new(MemoryManager::new(256 << 20)).policy(Policy::shared());
    let mut larder = layer().layer(handler.clone());
    let mut with_header = layer().cache_status_header("larder").layer(handler.clone());
    let mut with_extension = layer().cache_status_extension(true).layer(handler.clone());
    let mut bare = handler;
    let mut subjects = [
        Subject::new("inner service alone", || call(&mut bare, &uri)),
        Subject::new("floor", || call(&mut floor, &uri)),
        Subject::new("larder", || call(&mut larder, &uri)),
        Subject::new("larder, Cache-Status", || call(&mut with_header, &uri)),
        Subject::new("larder, extension", || call(&mut with_extension, &uri)),
    ];
    for subject in &mut subjects {
        // The first call stores, and the first hit makes shared what was not yet.
        assert_eq!((subject.call)(), size);
        (subject.call)();
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
            subject.times.push(start.elapsed() / CALLS);
        }
    }
    let floor = subjects[1].median();
    for subject in &mut subjects {
        let median = subject.median();
        println!(
            "{size:>8}  {:<22} {:>8} {:>9.2}  {} / {}",
            subject.name,
            median.as_nanos(),
            median.as_secs_f64() / floor.as_secs_f64(),
            subject.allocations.0,
            subject.allocations.1,
        );
    }
}

impl<'a> Subject<'a> {
    fn new(name: &'static str, call: impl FnMut() -> usize + 'a) -> Self {
        Self { name, call: Box::new(call), times: Vec::new(), allocations: (0, 0) }
    }

    fn median(&mut self) -> Duration {
        self.times.sort_unstable();
        self.times[self.times.len() / 2]
    }
}
