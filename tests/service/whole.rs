//! Short bodies that are there in one piece with their head, over a store in memory: they are stored
//! before the head goes on, as far as nobody has to wait for that.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, SizeHint};
use larder::{BoxError, MemoryManager, NoExecutor, Policy, Purge, policy::Reason};
use tower::Service;

use super::spy::{Call, Fault, Spy};
use crate::support::{
    Answer, Cache, Frame, cache, cache_over, get, later::Later, now_or_never, ok, read, request,
};

/// A store that holds in memory what is written, and breaks as it is told.
fn over(spy: &Spy) -> Cache<Spy> {
    let cache = cache_over(spy.clone(), Policy::shared());
    cache.origin.on(|_| ok().cache_control("max-age=60").text("hello"));
    cache
}

/// `design.md`, "storing never delays the client": a store that keeps in memory what it has to send
/// elsewhere is waited for by nobody, gets the response all the same, and until then it is read by who
/// comes.
#[tokio::test]
async fn a_store_that_is_slow_delays_nobody() {
    for call in [Call::Put, Call::Write, Call::Finish] {
        let (spy, later) = (Spy::new().in_memory(), Later::default());
        let cache = over(&spy).layered(|layer| layer.executor(later.clone()));
        spy.breaks(call, Fault::Wait);
        let ask = || {
            let response = now_or_never(cache.service.clone().call(get("/")));
            response.expect("nobody waits").unwrap()
        };
        let first = ask();
        assert!(first.body().status().is_stored());
        let second = ask();
        assert!(second.body().status().is_collapsed(), "{call:?}");
        for response in [first, second] {
            assert_eq!(read(response).await.unwrap(), "hello");
        }
        later.run();
        assert_eq!(Answer::of(ask()).await.assert_hit().text(), "hello");
        assert_eq!(cache.origin.calls(), 1, "{call:?}");
    }
}

/// Where no executor can finish it, it is waited for as long as `store_timeout` says, and given up.
#[tokio::test]
async fn a_store_that_hangs_is_given_up() {
    let spy = Spy::new().in_memory();
    let cache = over(&spy).layered(|layer| layer.executor(NoExecutor));
    spy.breaks(Call::Finish, Fault::Hang);
    let answer = cache.send_by_clock("GET").await.expect("it is not waited for without end");
    assert_eq!(answer.text(), "hello");
    assert_eq!(cache.layer.handle().stats().store_timeouts(), 1);
    spy.breaks(Call::Finish, Fault::Wait);
    assert_eq!(cache.get("/").await.assert_forwarded().text(), "hello");
    cache.get("/").await.assert_hit();
}

/// RFC 9211 §2.6: what the store has not taken is not said to be stored, where that is known.
#[tokio::test]
async fn what_is_not_stored_is_not_said_to_be() {
    for call in [Call::Put, Call::Write, Call::Finish] {
        let spy = Spy::new().in_memory();
        let cache = over(&spy);
        spy.breaks(call, Fault::Fail);
        let answer = cache.get("/").await;
        assert_eq!(answer.text(), "hello");
        assert!(!answer.cache.is_stored(), "{call:?}");
        assert_eq!(answer.cache.reason(), Some(Reason::StoreError), "{call:?}");
        let told = answer.field("cache-status").unwrap();
        assert!(!told.contains("stored;") && !told.ends_with("stored"), "{told}");
        spy.mend();
        assert!(cache.get("/").await.assert_forwarded().cache.is_stored());
        cache.get("/").await.assert_hit();
    }
}

/// RFC 9111 §4.4: what was asked for before a purge, or before an unsafe request, is not stored.
#[tokio::test]
async fn what_was_outdated_on_its_way_is_not_stored() {
    for is_purged in [true, false] {
        let cache = cache(Policy::shared());
        let (handle, service, mut is_first) = (cache.layer.handle(), cache.service.clone(), true);
        cache.origin.on_later(move |_| {
            let (handle, mut service) = (handle.clone(), service.clone());
            let is_outdated = std::mem::take(&mut is_first);
            async move {
                if is_outdated && is_purged {
                    handle.purge(Purge::host("a.example")).await.unwrap();
                } else if is_outdated {
                    service.call(request("POST", "/")).await.unwrap();
                }
                Ok(ok().cache_control("max-age=60").text("hello"))
            }
        });
        let answer = cache.get("/").await;
        assert_eq!(answer.text(), "hello");
        assert_eq!(answer.cache.reason(), Some(Reason::Invalidated), "{is_purged}");
        assert!(!answer.cache.is_stored());
        cache.get("/").await.assert_forwarded();
        cache.get("/").await.assert_hit();
    }
}

/// The same of a purge that finds nothing yet, since what it is for has been admitted and is not there: that
/// of a variant takes out what it finds, and is not compared with what comes.
#[tokio::test]
async fn what_a_purge_has_missed_goes() {
    for purge in [
        Purge::variant("http://a.example/", HeaderMap::new()).unwrap(),
        Purge::matching(|_, _| true),
        Purge::url("http://a.example/").unwrap(),
        Purge::everything(),
    ] {
        let spy = Spy::new().in_memory();
        let (cache, told) = (over(&spy), purge.to_string());
        let handle = cache.layer.handle();
        spy.between(move || {
            now_or_never(handle.purge(purge)).expect("it waits").unwrap();
        });
        assert_eq!(cache.get("/").await.text(), "hello");
        cache.get("/").await.assert_forwarded();
        cache.get("/").await.assert_hit();
        assert_eq!(cache.origin.calls(), 2, "{told}");
    }
}

/// A body that says how long it is, and gives something else. Like a generator, it may not be asked again
/// after its end.
struct Lying {
    length: u64,
    frames: Vec<Frame>,
    ends: Arc<AtomicUsize>,
}

impl Body for Lying {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Frame>> {
        if self.frames.is_empty() {
            self.ends.fetch_add(1, Ordering::Relaxed);
            return Poll::Ready(None);
        }
        Poll::Ready(Some(self.frames.remove(0)))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.length)
    }
}

/// RFC 9112 §8: a body of another length than it said is an error, and not stored; of one that goes on
/// in a further frame, what was announced is whole.
#[tokio::test]
async fn a_body_that_lies_is_found_out() {
    let table: [(u64, &[&'static str], Option<&str>); 7] = [
        (5, &[], None),
        (5, &["hell"], None),
        (5, &["", "hell"], None),
        (5, &["hello!"], None),
        (5, &["hello", "!"], Some("hello")),
        (0, &[], Some("")),
        (5, &["he", "llo"], Some("hello")),
    ];
    for (length, pieces, expected) in table {
        let cache: Cache<MemoryManager> = cache(Policy::shared());
        let (mut body, ends) = (Some(pieces), Arc::<AtomicUsize>::default());
        let counted = ends.clone();
        cache.origin.on(move |_| match body.take() {
            Some(pieces) => {
                let data = |piece: &&'static str| Ok(http_body::Frame::data(Bytes::from(*piece)));
                let frames = pieces.iter().map(data).collect();
                let body = Lying { length, frames, ends: counted.clone() };
                ok().cache_control("max-age=60").body(body)
            }
            None => ok().cache_control("no-store").text("another"),
        });
        let got = read(cache.open("/").await).await;
        assert_eq!(got.ok().as_deref(), expected.map(str::as_bytes), "{length} {pieces:?}");
        assert!(ends.load(Ordering::Relaxed) <= 1, "{length} {pieces:?}: asked after its end");
        let again = cache.get("/").await;
        assert_eq!(again.text(), expected.unwrap_or("another"), "{length} {pieces:?}");
    }
}
