//! tower's limits inside and outside of the cache: the consequences that "Readiness" in the docs of
//! `CacheLayer` lists.

use std::{
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
};

use http::Response;
use http_body_util::Full;
use larder::Disconnect;
use tower::{
    Layer, Service, ServiceExt,
    buffer::Buffer,
    limit::ConcurrencyLimitLayer,
    load_shed::{LoadShedLayer, error::Overloaded},
};

use crate::{
    readiness::{ask, layer},
    services::{Answering, Doors, Incoming, Outgoing},
    support::{OriginError, get, now_or_never},
};

/// "A limit such as `ConcurrencyLimit` inside counts the requests that reach the origin": and it
/// does not deadlock, as it does where a readied service is cloned.
#[tokio::test]
async fn a_concurrency_limit_of_one_lets_one_request_after_the_other_through() {
    let doors = Doors::open();
    let service = layer().layer(ConcurrencyLimitLayer::new(1).layer(doors.clone()));
    let asking: Vec<_> = (0..200)
        .map(|n| {
            let service = service.clone();
            // Some share a URI, some are written through, some pass by.
            let method = ["GET", "GET", "POST", "OPTIONS"][n % 4];
            let request = crate::support::request(method, &format!("/{}", n / 8));
            tokio::spawn(async move { ask(&service, request).await })
        })
        .collect();
    for (n, answer) in asking.into_iter().enumerate() {
        assert_eq!(answer.await.unwrap().text(), format!("/{}", n / 8));
    }
    assert_eq!((doors.count.most(), doors.count.running()), (1, 0));
}

/// "... and never a hit".
#[tokio::test]
async fn a_hit_takes_no_permit() {
    let doors = Doors::open();
    let service = layer().layer(ConcurrencyLimitLayer::new(1).layer(doors.clone()));
    ask(&service, get("/a")).await.assert_forwarded();
    doors.answer.close();
    let mut busy = pin!(ask(&service, get("/b")));
    let mut queued = pin!(ask(&service, get("/c")));
    assert!(now_or_never(busy.as_mut()).is_none());
    assert!(now_or_never(queued.as_mut()).is_none());
    assert_eq!(doors.count.calls(), 2, "the third waits for the permit");
    for _ in 0..10 {
        now_or_never(ask(&service, get("/a"))).expect("at once").assert_hit();
    }
    doors.answer.open();
    assert_eq!((busy.await.text(), queued.await.text()), ("/b", "/c"));
}

/// "A permit is given back ... as soon as the response future is dropped": while it waits for the
/// permit, and while it waits for the answer.
#[tokio::test]
async fn a_dropped_request_gives_its_permit_back() {
    let doors = Doors::open();
    let layer = layer().on_disconnect(Disconnect::Abandon);
    let service = layer.layer(ConcurrencyLimitLayer::new(1).layer(doors.clone()));
    for method in ["GET", "POST", "OPTIONS"] {
        doors.answer.close();
        let mut busy = Box::pin(ask(&service, crate::support::request(method, "/a")));
        let mut queued = Box::pin(ask(&service, crate::support::request(method, "/b")));
        assert!(now_or_never(busy.as_mut()).is_none());
        assert!(now_or_never(queued.as_mut()).is_none());
        drop(queued);
        drop(busy);
        doors.answer.open();
        let next = format!("/next/{method}");
        assert_eq!(now_or_never(ask(&service, get(&next))).expect("a permit").text(), next);
    }
}

/// "A permit is given back when the request has ended": in the background, for whoever comes next.
#[tokio::test]
async fn a_request_that_goes_on_keeps_its_permit_until_it_has_ended() {
    let doors = Doors::open();
    let service = layer().layer(ConcurrencyLimitLayer::new(1).layer(doors.clone()));
    doors.answer.close();
    let mut busy = Box::pin(ask(&service, get("/a")));
    assert!(now_or_never(busy.as_mut()).is_none());
    drop(busy);
    let mut queued = Box::pin(ask(&service, get("/b")));
    assert!(now_or_never(queued.as_mut()).is_none());
    doors.answer.open();
    assert_eq!(queued.await.text(), "/b");
    ask(&service, get("/a")).await.assert_hit();
}

/// "`LoadShed` ... *outside* of the cache do not see the origin's pressure; put them inside."
#[tokio::test]
async fn load_is_shed_inside_of_the_cache_and_not_outside() {
    let doors = Doors::open();
    let inside = layer().layer(LoadShedLayer::new().layer(doors.clone()));
    ask(&inside, get("/a")).await.assert_forwarded();
    doors.ready.close();
    now_or_never(ask(&inside, get("/a"))).expect("at once").assert_hit();
    let shed = now_or_never(inside.clone().oneshot(get("/b"))).expect("at once");
    let error: tower::BoxError = shed.expect_err("shed");
    assert!(error.is::<Overloaded>(), "{error}");

    let outside = LoadShedLayer::new().layer(layer().layer(doors.clone()));
    let mut waiting = pin!(outside.oneshot(get("/b")));
    assert!(now_or_never(waiting.as_mut()).is_none(), "not shed");
    doors.ready.open();
    assert!(waiting.await.is_ok());
}

/// "`Buffer` ... *outside* of the cache do not see the origin's pressure."
#[tokio::test]
async fn a_buffer_fills_up_inside_of_the_cache_and_not_outside() {
    let doors = Doors::default();
    let outside = Buffer::new(layer().layer(doors.clone()), 2);
    let mut asking = Vec::new();
    for n in 0..20 {
        // The buffer hands each request on at once, and always has room for another.
        let mut outside = outside.clone();
        asking.push(outside.ready().await.unwrap().call(get(&format!("/{n}"))));
    }

    let inner = Buffer::new(doors.clone(), 2);
    let inside = layer().layer(inner.clone());
    let mut waiting: Vec<_> =
        (0..20).map(|n| Box::pin(ask(&inside, get(&format!("/{n}"))))).collect();
    for request in &mut waiting {
        assert!(now_or_never(request.as_mut()).is_none());
    }
    tokio::task::yield_now().await;
    let mut another = inner.clone();
    let room = another.poll_ready(&mut Context::from_waker(std::task::Waker::noop()));
    assert!(room.is_pending(), "full");

    doors.ready.open();
    doors.answer.open();
    for request in asking {
        request.await.unwrap();
    }
    drop(another);
    for (n, request) in waiting.into_iter().enumerate() {
        assert_eq!(request.await.text(), format!("/{n}"));
    }
}

/// "A service that is not `Clone` goes into a `Buffer` first."
#[tokio::test]
async fn a_service_that_is_not_clone_goes_into_a_buffer() {
    struct NotClone(Arc<AtomicUsize>);
    impl Service<Outgoing> for NotClone {
        type Response = Incoming;
        type Error = OriginError;
        type Future = Answering;
        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), OriginError>> {
            Poll::Ready(Ok(()))
        }
        fn call(&mut self, _: Outgoing) -> Answering {
            self.0.fetch_add(1, Ordering::SeqCst);
            let response = Response::builder().header("cache-control", "max-age=60");
            let response = response.body(Full::from("buffered")).unwrap();
            Box::pin(async { Ok(response) })
        }
    }
    let calls = Arc::new(AtomicUsize::new(0));
    let service = layer().layer(Buffer::new(NotClone(calls.clone()), 1));
    assert_eq!(ask(&service, get("/")).await.assert_forwarded().text(), "buffered");
    assert_eq!(ask(&service, get("/")).await.assert_hit().text(), "buffered");
    assert_eq!(calls.load(Ordering::SeqCst), 1);
}
