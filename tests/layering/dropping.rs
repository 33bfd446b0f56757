//! A response future or body that is dropped at any of its await points: nothing leaks, nothing is
//! half-stored, and the next request works.

use std::{
    collections::VecDeque,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body::{Body, Frame};
use larder::{CacheLayer, MemoryManager, NoExecutor};
use tower::{Layer, Service};

use crate::{
    steps::{Steps, Token, step},
    support::{OriginError, TestClock, later::Later},
};

/// How the origin answers.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Length {
    Known,
    Chunked,
    Trailers,
}

/// An origin that is Pending before it is ready, before its answer, and before each frame.
struct Origin {
    length: Length,
    version: Arc<AtomicU64>,
    answers: Arc<AtomicU64>,
    pended: bool,
    token: Token,
}

impl Clone for Origin {
    fn clone(&self) -> Self {
        let (version, answers) = (self.version.clone(), self.answers.clone());
        Self { length: self.length, version, answers, pended: false, token: self.token.clone() }
    }
}

impl Service<Request<Frames>> for Origin {
    type Response = Response<Frames>;
    type Error = OriginError;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Frames>, OriginError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), OriginError>> {
        match std::mem::replace(&mut self.pended, true) {
            true => Poll::Ready(Ok(())),
            false => Poll::Pending,
        }
    }

    fn call(&mut self, request: Request<Frames>) -> Self::Future {
        assert!(self.pended, "called without having been ready");
        let origin = self.clone();
        Box::pin(async move {
            step().await;
            let version = origin.version.load(Ordering::SeqCst);
            let tag = format!("\"{version}\"");
            let builder =
                Response::builder().header("cache-control", "max-age=60").header("etag", &tag);
            let held = request.headers().get("if-none-match");
            let frames = match held.is_some_and(|held| *held == tag) {
                true => (builder.status(304), VecDeque::new()),
                false if origin.length == Length::Known => {
                    (builder.header("content-length", TEXT.len()), frames(None))
                }
                false if origin.length == Length::Trailers => {
                    (builder.header("trailer", "x-end"), frames(Some("x-end")))
                }
                false => (builder, frames(None)),
            };
            step().await;
            let (builder, frames) = frames;
            let _token = origin.token.clone();
            origin.answers.fetch_add(1, Ordering::SeqCst);
            Ok(builder.body(Frames { frames, pended: false, _token }).unwrap())
        })
    }
}

const TEXT: &str = "one two three";

fn frames(trailer: Option<&'static str>) -> VecDeque<Frame<Bytes>> {
    let data = ["one ", "two ", "three"].map(|text| Frame::data(Bytes::from(text)));
    let trailers = trailer.map(|name| {
        let mut trailers = HeaderMap::new();
        trailers.insert(name, "1".parse().unwrap());
        Frame::trailers(trailers)
    });
    data.into_iter().chain(trailers).collect()
}

/// A body that is Pending before each frame and before its end.
struct Frames {
    frames: VecDeque<Frame<Bytes>>,
    pended: bool,
    _token: Token,
}

impl Body for Frames {
    type Data = Bytes;
    type Error = OriginError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, OriginError>>> {
        self.pended = !self.pended;
        if self.pended { Poll::Pending } else { Poll::Ready(self.frames.pop_front().map(Ok)) }
    }

    fn is_end_stream(&self) -> bool {
        false
    }

    fn size_hint(&self) -> http_body::SizeHint {
        if self.frames.is_empty() { http_body::SizeHint::with_exact(0) } else { Default::default() }
    }
}

fn noop() -> Context<'static> {
    Context::from_waker(Waker::noop())
}

struct World {
    store: MemoryManager,
    origin: Origin,
    clock: TestClock,
    service: larder::CacheService<Origin, Steps>,
    later: Option<Later>,
    token: Token,
    at_rest: usize,
}

impl World {
    fn new(length: Length, has_executor: bool) -> Self {
        let token = Token::default();
        let (store, clock) = (MemoryManager::new(1 << 20), TestClock::new());
        let later = has_executor.then(Later::default);
        let layer = CacheLayer::new(Steps { inner: store.clone(), token: token.clone() })
            .clock(clock.clone());
        let layer = match &later {
            Some(later) => layer.executor(later.clone()),
            None => layer.executor(NoExecutor),
        };
        let version = Arc::new(AtomicU64::new(1));
        let answers = Arc::default();
        let origin = Origin { length, version, answers, pended: false, token: token.clone() };
        let service = layer.layer(origin.clone());
        drop(layer);
        let at_rest = Arc::strong_count(&token);
        Self { store, origin, clock, service, later, token, at_rest }
    }

    fn request(&self, method: &str) -> Request<Frames> {
        let body = Frames { frames: VecDeque::new(), pended: false, _token: self.token.clone() };
        Request::builder().method(method).uri("http://a.example/").body(body).unwrap()
    }

    /// Polls at most `polls` times, then drops whatever there is. The text, if it got to the end.
    fn drive(&self, method: &str, polls: usize) -> Option<(String, bool)> {
        let mut left = polls;
        let mut tick = || {
            left = left.checked_sub(1)?;
            Some(())
        };
        let mut future = Box::pin(self.service.clone().call(self.request(method)));
        let response = loop {
            tick()?;
            if let Poll::Ready(response) = future.as_mut().poll(&mut noop()) {
                break response.unwrap();
            }
        };
        drop(future);
        let mut text = Vec::new();
        let mut body = Box::pin(response.into_body());
        let is_hit = body.status().is_hit();
        loop {
            tick()?;
            match body.as_mut().poll_frame(&mut noop()) {
                Poll::Pending => {}
                Poll::Ready(Some(frame)) => {
                    text.extend_from_slice(frame.unwrap().data_ref().unwrap_or(&Bytes::new()));
                }
                Poll::Ready(None) => break,
            }
        }
        Some((String::from_utf8(text).unwrap(), is_hit))
    }

    fn run_tasks(&self) {
        if let Some(later) = &self.later {
            later.run();
        }
    }
}

const PLENTY: usize = 1000;

fn at_every_point(
    name: &str,
    method: &str,
    prepare: impl Fn(&World),
    check: impl Fn(&World, &str),
) {
    for length in [Length::Known, Length::Chunked, Length::Trailers] {
        for has_executor in [false, true] {
            let mut points = 0;
            for polls in 0.. {
                let world = World::new(length, has_executor);
                prepare(&world);
                world.run_tasks();
                let at = format!("{name}, {length:?}, executor: {has_executor}, polls: {polls}");
                let finished = world.drive(method, polls);
                world.run_tasks();
                // Inner service, request, body and writer are gone with the future.
                assert_eq!(Arc::strong_count(&world.token), world.at_rest, "{at}: leaked");
                check(&world, &at);
                // Whatever is there now, the next ones are answered, whole, and end in hits.
                for round in 0..3 {
                    let (text, is_hit) = world.drive("GET", PLENTY).expect(&at);
                    world.run_tasks();
                    assert_eq!(text, TEXT, "{at}");
                    assert!(is_hit || round < 1, "{at}: the next one is kept");
                }
                assert_eq!(Arc::strong_count(&world.token), world.at_rest, "{at}: leaked");
                if finished.is_some() {
                    break;
                }
                points += 1;
            }
            assert!(points > 3, "{name}: {points} await points");
        }
    }
}

fn complete_or_nothing(world: &World, at: &str) {
    if !world.store.is_empty() {
        let (text, is_hit) = world.drive("GET", PLENTY).expect(at);
        assert_eq!((text.as_str(), is_hit), (TEXT, true), "{at}: half-stored");
    }
}

/// storage, "Whole or not at all" and "Cancelling leaves no trace".
#[test]
fn a_miss_leaves_all_or_nothing() {
    at_every_point("miss", "GET", |_| {}, complete_or_nothing);
}

#[test]
fn a_hit_leaves_what_is_stored() {
    let fill = |world: &World| drop(world.drive("GET", PLENTY).unwrap());
    at_every_point("hit", "GET", fill, |world, at| {
        assert!(!world.store.is_empty(), "{at}");
        complete_or_nothing(world, at);
    });
}

/// RFC 9111 §4.3.3: a dropped validation leaves what was stored, stale or freshened.
#[test]
fn a_validation_leaves_the_old_or_the_freshened() {
    let stale = |world: &World| {
        world.drive("GET", PLENTY).unwrap();
        world.run_tasks();
        world.clock.advance_secs(60);
    };
    at_every_point("304", "GET", stale, |world, at| assert!(!world.store.is_empty(), "{at}"));
}

#[test]
fn a_replacement_leaves_the_old_or_the_new() {
    let outdated = |world: &World| {
        world.drive("GET", PLENTY).unwrap();
        world.run_tasks();
        world.clock.advance_secs(60);
        world.origin.version.store(2, Ordering::SeqCst);
    };
    at_every_point("200", "GET", outdated, |_, _| {});
}

/// RFC 9111 §4.4: what a dropped unsafe request has not invalidated is still whole.
#[test]
fn an_unsafe_request_leaves_all_or_nothing() {
    let fill = |world: &World| drop(world.drive("GET", PLENTY).unwrap());
    at_every_point("POST", "POST", fill, complete_or_nothing);
}

/// RFC 9111 §4.4: once the origin has answered, what is stored is invalid, also for a client that is
/// gone before the store knows; the executor sees to it.
#[test]
fn an_unsafe_request_that_was_answered_invalidates() {
    let mut invalidated = 0;
    for polls in 0..PLENTY {
        let world = World::new(Length::Known, true);
        world.drive("GET", PLENTY).unwrap();
        world.run_tasks();
        let answers = world.origin.answers.load(Ordering::SeqCst);
        let finished = world.drive("POST", polls);
        world.run_tasks();
        let is_answered = world.origin.answers.load(Ordering::SeqCst) > answers;
        assert_eq!(world.store.is_empty(), is_answered, "{polls} polls");
        invalidated += usize::from(is_answered && finished.is_none());
        if finished.is_some() {
            break;
        }
    }
    assert!(invalidated > 1, "dropped between the answer and the end: {invalidated} times");
}

#[test]
fn a_request_that_passes_by_leaves_nothing() {
    at_every_point(
        "OPTIONS",
        "OPTIONS",
        |_| {},
        |world, at| {
            assert!(world.store.is_empty(), "{at}");
        },
    );
}
