//! What is asked for seldom is not stored.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use http_body_util::BodyExt;
use larder::{Policy, policy::Reason};
use tower::Service;

use crate::support::{Cache, cache, channel, get, now_or_never, ok};

fn from_the(count: u32) -> Cache {
    let cache = cache(Policy::shared()).layered(|layer| layer.min_uses(count));
    cache.origin.on(|_| ok().cache_control("max-age=60").header("etag", "\"1\"").text("hello"));
    cache
}

/// Feature min-uses: stored from the nth answer on, and said why before; each resource by itself.
#[tokio::test]
async fn a_response_is_stored_from_the_nth_answer_on() {
    for count in [0, 1, 2, 5] {
        let cache = from_the(count);
        for n in 1..=count.max(1) {
            let answer = cache.get("/").await;
            let is_stored = n >= count;
            assert_eq!((answer.text(), answer.cache.is_stored()), ("hello", is_stored), "{n}");
            let reason = answer.cache.reason().filter(|reason| *reason == Reason::FewUses);
            assert_eq!(reason.is_none(), is_stored, "{n}");
        }
        cache.get("/").await.assert_hit();
        assert_eq!(cache.get("/other").await.cache.is_stored(), count < 2);
        // What is good again is no new answer, and what is new takes the place of the old.
        cache.clock.advance_secs(61);
        assert!(cache.get("/").await.cache.is_stored());
    }
}

/// A scan leaves nothing behind, and what is asked for again is kept beside it.
#[tokio::test]
async fn a_scan_leaves_nothing() {
    let cache = from_the(2);
    for page in 0..3000 {
        cache.get(&format!("/scan/{page}")).await;
        if page % 100 == 0 {
            cache.get("/hot").await;
        }
    }
    cache.get("/hot").await.assert_hit();
    assert!(cache.layer.handle().stats().usage().unwrap().records() < 10);
}

/// Who asks meanwhile shares the answer, though nobody stores it; and who leaves leaves nothing running.
#[tokio::test]
async fn an_answer_that_is_not_stored_is_shared() {
    let cache = from_the(2);
    let (sender, body) = channel();
    let (mut body, is_open) = (Some(body), Arc::new(AtomicBool::new(false)));
    let opened = is_open.clone();
    cache.origin.on_later(move |_| {
        let (mut body, opened) = (body.take(), opened.clone());
        std::future::poll_fn(move |cx| {
            if !opened.load(Ordering::Relaxed) {
                cx.waker().wake_by_ref();
                return std::task::Poll::Pending;
            }
            let reply = ok().cache_control("max-age=60").header("content-length", "5");
            std::task::Poll::Ready(Ok(reply.body(body.take().expect("it is asked once"))))
        })
    });
    let mut asking: Vec<_> =
        (0..10).map(|_| Box::pin(cache.service.clone().call(get("/")))).collect();
    for ask in &mut asking {
        assert!(now_or_never(ask.as_mut()).is_none());
    }
    is_open.store(true, Ordering::Relaxed);
    let mut bodies = Vec::new();
    for ask in asking {
        bodies.push(ask.await.unwrap().into_body());
    }
    sender.data("hello");
    drop(bodies.pop());
    for body in bodies {
        assert_eq!(body.collect().await.unwrap().to_bytes(), "hello");
    }
    assert_eq!(cache.origin.calls(), 1);
    let (sender, body) = channel();
    let mut body = Some(body);
    cache.origin.on(move |_| ok().cache_control("max-age=60").body(body.take().expect("once")));
    let left = cache.open("/other").await;
    drop(left);
    tokio::task::yield_now().await;
    assert!(sender.is_closed(), "nobody reads on what nobody stores");
}
