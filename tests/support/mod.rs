//! A scripted origin, a clock that is moved by hand, and a client: what the service tests share.

#![allow(dead_code, unused_imports, reason = "each test binary uses a part of it")]

mod channel;
pub mod fields;
pub mod later;
pub mod scratch;

use std::{
    convert::Infallible,
    fmt,
    future::{Future, ready},
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll, Waker},
    time::{Duration, Instant, SystemTime},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, Method, Request, Response, StatusCode, response};
use http_body_util::{BodyExt, Full, combinators::UnsyncBoxBody};
use larder::{
    BoxError, BoxFuture, CacheBody, CacheLayer, CacheManager, CacheService, CacheStatus, Clock,
    MemoryManager, Policy, policy::Timestamp,
};
use tower::{Layer, Service};

pub use self::channel::{BodySender, Frame, channel};

pub type TestBody = UnsyncBoxBody<Bytes, BoxError>;

/// A clock that stands still until it is moved.
#[derive(Clone)]
pub struct TestClock {
    start: (SystemTime, Instant),
    passed: Arc<Mutex<Duration>>,
}

impl TestClock {
    /// Starts at 2026-01-01 00:00:00 GMT.
    pub fn new() -> Self {
        let wall = SystemTime::UNIX_EPOCH + Duration::from_secs(1_767_225_600);
        Self { start: (wall, Instant::now()), passed: Arc::default() }
    }

    pub fn advance(&self, duration: Duration) {
        *self.passed.lock().unwrap() += duration;
    }

    pub fn advance_secs(&self, seconds: u64) {
        self.advance(Duration::from_secs(seconds));
    }

    /// Moves to `seconds` after the start.
    pub fn set_secs(&self, seconds: u64) {
        *self.passed.lock().unwrap() = Duration::from_secs(seconds);
    }

    /// The wall time as an HTTP date, `seconds` from now.
    pub fn date(&self, seconds: i64) -> String {
        let now = self.now().wall();
        let offset = Duration::from_secs(seconds.unsigned_abs());
        httpdate::fmt_http_date(if seconds < 0 { now - offset } else { now + offset })
    }
}

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        let passed = *self.passed.lock().unwrap();
        Timestamp::new(self.start.0 + passed, self.start.1 + passed)
    }

    fn sleep(&self, _: Duration) -> Option<BoxFuture> {
        None
    }
}

/// What the origin saw of a request.
#[derive(Clone, Debug)]
pub struct Seen {
    pub method: Method,
    pub uri: String,
    pub headers: HeaderMap,
}

impl Seen {
    pub fn path(&self) -> &str {
        let uri = &self.uri;
        uri.strip_prefix("http://a.example").unwrap_or(uri)
    }

    pub fn field(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }
}

type Answering = Pin<Box<dyn Future<Output = Result<Response<TestBody>, OriginError>> + Send>>;
type Handler = Box<dyn FnMut(&Request<()>) -> Answering + Send>;

/// An origin that answers by a closure and writes down what it was asked.
#[derive(Clone)]
pub struct Origin {
    handler: Arc<Mutex<Handler>>,
    seen: Arc<Mutex<Vec<Seen>>>,
}

/// What the origin fails with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OriginError(pub &'static str);

impl fmt::Display for OriginError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for OriginError {}

impl Origin {
    pub fn new() -> Self {
        let handler: Handler = Box::new(|_| unreachable!("replaced below"));
        let origin = Self { handler: Arc::new(Mutex::new(handler)), seen: Arc::default() };
        origin.on(|_| status(404).header("x-unscripted", "1").text(""));
        origin
    }

    /// Answers each request by `handler`.
    pub fn on<R: Into<Response<TestBody>>>(
        &self,
        mut handler: impl FnMut(&Request<()>) -> R + Send + 'static,
    ) {
        self.try_on(move |request| Ok(handler(request).into()));
    }

    /// Answers each request by `handler`, which may fail.
    pub fn try_on(
        &self,
        mut handler: impl FnMut(&Request<()>) -> Result<Response<TestBody>, OriginError>
        + Send
        + 'static,
    ) {
        self.on_later(move |request| ready(handler(request)));
    }

    /// Answers each request by `handler`, when its future is ready.
    pub fn on_later<F>(&self, mut handler: impl FnMut(&Request<()>) -> F + Send + 'static)
    where
        F: Future<Output = Result<Response<TestBody>, OriginError>> + Send + 'static,
    {
        *self.handler.lock().unwrap() = Box::new(move |request| Box::pin(handler(request)));
    }

    /// How many requests have come.
    pub fn calls(&self) -> usize {
        self.seen.lock().unwrap().len()
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    pub fn last(&self) -> Seen {
        self.seen.lock().unwrap().last().cloned().expect("the origin was asked")
    }

    pub fn calls_to(&self, path: &str) -> usize {
        self.seen.lock().unwrap().iter().filter(|seen| seen.path() == path).count()
    }
}

impl<B> Service<Request<B>> for Origin {
    type Response = Response<TestBody>;
    type Error = OriginError;
    type Future = Answering;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), OriginError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let request = request.map(drop);
        self.seen.lock().unwrap().push(Seen {
            method: request.method().clone(),
            uri: request.uri().to_string(),
            headers: request.headers().clone(),
        });
        (self.handler.lock().unwrap())(&request)
    }
}

/// A response to be scripted.
pub struct Reply(response::Builder);

/// `200` with nothing else.
pub fn ok() -> Reply {
    status(200)
}

pub fn status(code: u16) -> Reply {
    Reply(Response::builder().status(code))
}

impl Reply {
    pub fn header(self, name: &str, value: impl AsRef<[u8]>) -> Self {
        Self(self.0.header(name, value.as_ref()))
    }

    pub fn cache_control(self, value: &str) -> Self {
        self.header("cache-control", value)
    }

    pub fn extension<T: Clone + Send + Sync + 'static>(self, extension: T) -> Self {
        Self(self.0.extension(extension))
    }

    pub fn text(self, text: impl Into<String>) -> Response<TestBody> {
        self.body(Full::new(Bytes::from(text.into())))
    }

    pub fn body<B>(self, body: B) -> Response<TestBody>
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        self.0.body(body.map_err(Into::into).boxed_unsync()).unwrap()
    }
}

/// A cache in front of a scripted origin.
pub struct Cache<M: CacheManager = MemoryManager> {
    pub layer: CacheLayer<M>,
    pub service: CacheService<Origin, M>,
    pub origin: Origin,
    pub clock: TestClock,
}

pub fn cache(policy: Policy) -> Cache {
    cache_over(MemoryManager::new(64 << 20), policy)
}

pub fn cache_over<M: CacheManager>(manager: M, policy: Policy) -> Cache<M> {
    let (origin, clock) = (Origin::new(), TestClock::new());
    let layer =
        CacheLayer::new(manager).policy(policy).clock(clock.clone()).cache_status_header("larder");
    Cache { service: layer.layer(origin.clone()), layer, origin, clock }
}

impl<M: CacheManager> Cache<M> {
    /// GET of a path on `http://a.example`.
    pub async fn get(&self, path: &str) -> Answer {
        self.send(get(path)).await
    }

    pub async fn get_with(&self, path: &str, fields: &[(&str, &str)]) -> Answer {
        self.send(with(get(path), fields)).await
    }

    pub async fn send(&self, request: Request<Full<Bytes>>) -> Answer {
        Answer::of(self.service.clone().call(request).await.unwrap()).await
    }

    /// Sends a request to a store that may hang: the clock is moved on for whoever waits by it.
    pub async fn send_by_clock(&self, method: &str) -> Option<Answer> {
        let future = self.service.clone().call(request(method, "/"));
        let mut exchange = Box::pin(async { Answer::of(future.await.unwrap()).await });
        for _ in 0..8 {
            if let Some(answer) = now_or_never(exchange.as_mut()) {
                return Some(answer);
            }
            self.clock.advance(Duration::from_millis(50));
        }
        None
    }

    /// Sends the same GET twice, and gives the second answer.
    pub async fn get_twice(&self, path: &str, fields: &[(&str, &str)]) -> Answer {
        self.get_with(path, fields).await;
        self.get_with(path, fields).await
    }

    /// The same cache with its layer changed.
    pub fn layered(mut self, change: impl FnOnce(CacheLayer<M>) -> CacheLayer<M>) -> Self {
        self.layer = change(self.layer);
        self.service = self.layer.layer(self.origin.clone());
        self
    }

    /// The response with its body unread.
    pub async fn open(&self, path: &str) -> Response<CacheBody<TestBody>> {
        self.service.clone().call(get(path)).await.unwrap()
    }
}

pub fn get(path: &str) -> Request<Full<Bytes>> {
    request("GET", path)
}

/// A request to a path on `http://a.example`, or to an absolute URI.
pub fn request(method: &str, path: &str) -> Request<Full<Bytes>> {
    let uri =
        if path.starts_with('/') { format!("http://a.example{path}") } else { path.to_owned() };
    Request::builder().method(method).uri(uri).body(Full::default()).unwrap()
}

pub fn with(mut request: Request<Full<Bytes>>, fields: &[(&str, &str)]) -> Request<Full<Bytes>> {
    for (name, value) in fields {
        let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
        request.headers_mut().append(name, value.parse().unwrap());
    }
    request
}

/// What became of a response in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// The next request went out as it came.
    Unstored,
    /// The next request went out with the stored validators.
    Validated,
    /// The next request was a hit.
    Fresh,
}

/// What an equal request meets a second later.
pub async fn fate(
    policy: Policy,
    fields: &[(&str, &str)],
    reply: impl Fn() -> Response<TestBody> + Send + 'static,
) -> Fate {
    let cache = cache(policy);
    cache.origin.on(move |_| reply());
    cache.get_with("/", fields).await;
    cache.clock.advance_secs(1);
    if cache.get_with("/", fields).await.cache.is_hit() {
        return Fate::Fresh;
    }
    let last = cache.origin.last();
    let is_conditional =
        ["if-none-match", "if-modified-since"].iter().any(|name| last.field(name).is_some());
    if is_conditional { Fate::Validated } else { Fate::Unstored }
}

/// Reads a body to its end.
pub async fn read<B>(response: Response<CacheBody<B>>) -> Result<Bytes, BoxError>
where
    B: http_body::Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    Ok(response.into_body().collect().await?.to_bytes())
}

/// A response that was read to its end.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
    pub cache: CacheStatus,
}

impl Answer {
    pub async fn of<B>(response: Response<CacheBody<B>>) -> Self
    where
        B: http_body::Body<Data = Bytes>,
        B::Error: Into<BoxError>,
    {
        let (head, body) = response.into_parts();
        let cache = body.status();
        let body = body.collect().await.expect("the body is whole").to_bytes();
        Self { status: head.status, headers: head.headers, body, cache }
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub fn field(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    /// All lines of a field.
    pub fn lines(&self, name: &str) -> Vec<&[u8]> {
        self.headers.get_all(name).iter().map(|value| value.as_bytes()).collect()
    }

    pub fn age(&self) -> Option<u64> {
        self.field("age").map(|age| age.parse().unwrap())
    }

    #[track_caller]
    pub fn assert_hit(&self) -> &Self {
        assert!(self.cache.is_hit(), "{:?}", self.cache);
        self
    }

    #[track_caller]
    pub fn assert_forwarded(&self) -> &Self {
        assert!(self.cache.forward().is_some(), "{:?}", self.cache);
        self
    }

    /// Answered from the store after the origin had said 304.
    #[track_caller]
    pub fn assert_revalidated(&self) -> &Self {
        let status = self.cache.forward_status();
        assert_eq!(status, Some(StatusCode::NOT_MODIFIED), "{:?}", self.cache);
        self
    }
}

/// A service whose error is the origin's, as a boxed clone: what a middleware stack looks like.
pub fn never<T>(_: Infallible) -> T {
    unreachable!()
}

/// Polls once; `None` if it is not ready.
pub fn now_or_never<T>(future: impl Future<Output = T>) -> Option<T> {
    let mut future = std::pin::pin!(future);
    match future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => Some(value),
        Poll::Pending => None,
    }
}
