//! Each sentence of "Readiness" in the docs of `CacheLayer`: the cache is always ready, and a miss
//! readies the clone that it calls.

use std::{
    future::poll_fn,
    pin::pin,
    task::{Context, Poll, Waker},
};

use larder::{CacheBody, CacheLayer, CacheService, MemoryManager};
use tower::{Layer, Service, ServiceExt};

use crate::{
    services::{Broken, Doors, Outgoing},
    support::{self, Answer, OriginError, get, now_or_never},
};

pub fn layer() -> CacheLayer<MemoryManager> {
    CacheLayer::new(MemoryManager::new(1 << 20)).clock(support::TestClock::new())
}

pub async fn ask<S, B>(service: &S, request: Outgoing) -> Answer
where
    S: Service<Outgoing, Response = http::Response<CacheBody<B>>> + Clone,
    S::Error: std::fmt::Debug,
    B: http_body::Body<Data = bytes::Bytes>,
    B::Error: Into<larder::BoxError>,
{
    Answer::of(service.clone().oneshot(request).await.unwrap()).await
}

fn is_ready<S: Service<Outgoing>>(service: &mut S) -> bool {
    matches!(service.poll_ready(&mut Context::from_waker(Waker::noop())), Poll::Ready(Ok(())))
}

/// "The service is always ready: a hit never waits for a busy origin."
#[tokio::test]
async fn a_hit_is_answered_although_the_inner_service_is_never_ready() {
    let doors = Doors::open();
    let mut service = layer().layer(doors.clone());
    ask(&service, get("/a")).await.assert_forwarded();
    doors.ready.close();
    assert!(is_ready(&mut service));
    let hit = now_or_never(ask(&service, get("/a"))).expect("at once");
    assert_eq!(hit.assert_hit().text(), "/a");
    assert_eq!(doors.count.calls(), 1);
}

/// "A miss clones the inner service and waits for the clone to be ready."
#[tokio::test]
async fn a_miss_waits_until_the_inner_service_is_ready() {
    let doors = Doors::open();
    let service = layer().layer(doors.clone());
    doors.ready.close();
    for method in ["GET", "POST", "OPTIONS"] {
        let mut waiting = pin!(ask(&service, support::request(method, "/a")));
        for _ in 0..3 {
            assert!(now_or_never(waiting.as_mut()).is_none(), "{method}");
        }
        doors.ready.open();
        assert_eq!(waiting.await.text(), "/a", "{method}");
        doors.ready.close();
    }
    assert_eq!(doors.count.calls(), 3);
}

/// tower-service's rule for `call`: the very clone that was ready is called (`Doors` panics else),
/// on each of the three ways through the cache.
#[tokio::test]
async fn the_clone_that_was_ready_is_the_one_that_is_called() {
    let mut service = layer().layer(Doors::open());
    poll_fn(|cx| Service::<Outgoing>::poll_ready(&mut service, cx)).await.unwrap();
    for method in ["GET", "HEAD", "POST", "OPTIONS", "CONNECT"] {
        let path = format!("/{method}");
        // Readiness of the cache itself is not asked for: each call readies a clone of its own.
        service.call(support::request(method, &path)).await.unwrap();
        service.call(support::request(method, &path)).await.unwrap();
    }
}

/// Design, "Errors": `type Error = S::Error`, and so it is when readiness fails.
#[tokio::test]
async fn an_error_of_readiness_reaches_the_caller() {
    fn same_error<S, M>(service: CacheService<S, M>) -> impl Service<Outgoing, Error = S::Error>
    where
        S: Service<Outgoing>,
        CacheService<S, M>: Service<Outgoing, Error = S::Error>,
    {
        service
    }
    for method in ["GET", "POST", "OPTIONS"] {
        let mut service = same_error(layer().layer(Broken));
        assert!(is_ready(&mut service));
        let error: OriginError =
            service.call(support::request(method, "/")).await.err().expect("an error");
        assert_eq!(error, OriginError("broken"), "{method}");
    }
}

/// An error of the inner service is no answer: nothing is stored, and the next request asks again.
#[tokio::test]
async fn an_error_of_the_origin_reaches_the_caller_and_is_not_kept() {
    let cache = support::cache(larder::Policy::shared());
    cache.origin.try_on(|_| Err(OriginError("down")));
    for method in ["GET", "POST", "OPTIONS"] {
        let failed = cache.service.clone().call(support::request(method, "/")).await;
        assert_eq!(failed.unwrap_err(), OriginError("down"));
    }
    cache.origin.on(|_| support::ok().cache_control("max-age=60").text("up"));
    assert_eq!(cache.get("/").await.assert_forwarded().text(), "up");
    cache.get("/").await.assert_hit();
}
