//! What the figures are of: the inner service alone, the floors of a hit and of a miss, and a request as a
//! server makes it.

// Each bench has some of them.
#![allow(dead_code)]

use std::{
    convert::Infallible,
    future::{Future, Ready, ready},
    hint::black_box,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, Uri, header};
use http_body::{Body, Frame};
use http_body_util::{BodyExt, Empty, Full};
use larder::CacheMode;
use tower::Service;

pub const URI: &str = "http://a.example/some/path?with=query";

/// The inner service: a head of six fields and a body that is shared.
#[derive(Clone)]
pub struct Handler {
    pub headers: Arc<HeaderMap>,
    pub body: Bytes,
    is_shared: bool,
}

/// The same, in memory of their own.
fn own(headers: &HeaderMap, body: &Bytes) -> (HeaderMap, Bytes) {
    let copy = |value: &HeaderValue| HeaderValue::from_bytes(value.as_bytes()).unwrap();
    let headers = headers.iter().map(|(name, value)| (name.clone(), copy(value))).collect();
    (headers, Bytes::copy_from_slice(body))
}

fn response(headers: HeaderMap, body: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    *response.headers_mut() = headers;
    response
}

impl Handler {
    pub fn new(size: usize) -> Self {
        let headers = crate::support::fields(size);
        Self { headers: Arc::new(headers), is_shared: true, body: Bytes::from(vec![b'x'; size]) }
    }

    /// One whose values and body are made anew for each response, as those from a connection are.
    pub fn owning(size: usize) -> Self {
        Self { is_shared: false, ..Self::new(size) }
    }

    fn response(&self) -> Response<Full<Bytes>> {
        let (headers, body) = match self.is_shared {
            true => ((*self.headers).clone(), self.body.clone()),
            false => own(&self.headers, &self.body),
        };
        response(headers, body)
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

/// An inner service that gives 10 MiB in frames of 64 KiB.
#[derive(Clone)]
pub struct Streaming(Bytes);

/// Its body.
pub struct Frames {
    frame: Bytes,
    left: usize,
}

impl Streaming {
    pub const FRAME: usize = 64 << 10;
    pub const FRAMES: usize = 160;

    pub fn new() -> Self {
        Self(Bytes::from(vec![b'x'; Self::FRAME]))
    }
}

impl<B> Service<Request<B>> for Streaming {
    type Response = Response<Frames>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<B>) -> Self::Future {
        let mut response = Response::new(Frames { frame: self.0.clone(), left: Self::FRAMES });
        *response.headers_mut() = crate::support::fields(Self::FRAME * Self::FRAMES);
        ready(Ok(response))
    }
}

impl Body for Frames {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let Some(left) = self.left.checked_sub(1) else { return Poll::Ready(None) };
        self.left = left;
        Poll::Ready(Some(Ok(Frame::data(self.frame.clone()))))
    }
}

/// What no cache can be faster than.
#[derive(Clone)]
pub struct Floor(pub Arc<quick_cache::sync::Cache<String, (HeaderMap, Bytes)>>);

impl Floor {
    pub fn new(handler: Handler, uri: &Uri) -> Self {
        Self::of(&handler, std::slice::from_ref(uri))
    }

    /// One entry for each URI, that shares nothing with the others.
    pub fn of(handler: &Handler, uris: &[Uri]) -> Self {
        let cache = quick_cache::sync::Cache::new(2 * uris.len() + 100);
        for uri in uris {
            cache.insert(uri.path().to_owned(), own(&handler.headers, &handler.body));
        }
        Self(Arc::new(cache))
    }
}

impl Service<Request<Empty<Bytes>>> for Floor {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Empty<Bytes>>) -> Self::Future {
        let (headers, body) = self.0.get(request.uri().path()).expect("it was put there");
        ready(Ok(response(headers, body)))
    }
}

/// What no cache can store faster than: a look-up that finds nothing, the inner service, a copy of what it
/// gave in memory of its own, the insert.
pub struct Insert {
    inner: Handler,
    cache: quick_cache::sync::Cache<String, (HeaderMap, Bytes)>,
}

impl Insert {
    /// With room for so many.
    pub fn new(inner: Handler, room: usize) -> Self {
        Self { inner, cache: quick_cache::sync::Cache::new(room) }
    }
}

impl Service<Request<Empty<Bytes>>> for Insert {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Empty<Bytes>>) -> Self::Future {
        let key = request.uri().path();
        assert!(self.cache.get(key).is_none());
        let key = key.to_owned();
        let (head, body) = now(self.inner.call(request)).unwrap().into_parts();
        let body = now(body.collect()).unwrap().to_bytes();
        // What is kept owns its memory, or it would keep that of a connection.
        self.cache.insert(key, own(&head.headers, &body));
        ready(Ok(Response::from_parts(head, Full::new(body))))
    }
}

/// As a server makes it: the URI has been parsed, the fields are put into a new map.
pub fn request(uri: &Uri) -> Request<Empty<Bytes>> {
    Request::get(uri.clone())
        .header(header::USER_AGENT, HeaderValue::from_static("bench"))
        .header(header::ACCEPT, HeaderValue::from_static("*/*"))
        .body(Empty::new())
        .unwrap()
}

/// One that is not to be stored.
pub fn no_store(uri: &Uri) -> Request<Empty<Bytes>> {
    let mut request = request(uri);
    request.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    request
}

/// One that the cache has no part in.
pub fn passing(uri: &Uri) -> Request<Empty<Bytes>> {
    let mut request = request(uri);
    request.extensions_mut().insert(CacheMode::NoStore);
    request
}

pub fn post(uri: &Uri) -> Request<Empty<Bytes>> {
    let mut request = request(uri);
    *request.method_mut() = Method::POST;
    request
}

pub fn now<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => unreachable!("nothing here waits"),
    }
}

/// Asks, and waits for the first frame.
pub fn first_frame<S, B>(service: &mut S, uri: &Uri) -> usize
where
    S: Service<Request<Empty<Bytes>>, Response = Response<B>>,
    S::Error: std::fmt::Debug,
    B: http_body::Body<Data = Bytes>,
    B::Error: std::fmt::Debug,
{
    let response = now(service.call(black_box(request(uri)))).unwrap();
    let mut body = pin!(response.into_body());
    let frame = now(std::future::poll_fn(|cx| body.as_mut().poll_frame(cx)));
    black_box(frame).map_or(0, |frame| frame.unwrap().into_data().map_or(0, |data| data.len()))
}

pub fn call<S, B>(service: &mut S, uri: &Uri) -> usize
where
    S: Service<Request<Empty<Bytes>>, Response = Response<B>>,
    S::Error: std::fmt::Debug,
    B: http_body::Body<Data = Bytes>,
    B::Error: std::fmt::Debug,
{
    call_with(service, request(uri))
}

pub fn call_with<S, B>(service: &mut S, request: Request<Empty<Bytes>>) -> usize
where
    S: Service<Request<Empty<Bytes>>, Response = Response<B>>,
    S::Error: std::fmt::Debug,
    B: http_body::Body<Data = Bytes>,
    B::Error: std::fmt::Debug,
{
    let response = now(service.call(black_box(request))).unwrap();
    let (head, body) = response.into_parts();
    black_box(head);
    now(body.collect()).unwrap().to_bytes().len()
}
