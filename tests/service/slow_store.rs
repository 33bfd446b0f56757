//! A store that has to be waited for loses nothing by it, and holds on to nothing.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Wake, Waker},
};

use bytes::Bytes;
use http_body::Body;
use http_body_util::{BodyExt, Full};
use larder::{MemoryManager, NoExecutor, Policy};

use super::spy::{Call, Fault, Spy};
use crate::support::{BodySender, cache, cache_over, channel, now_or_never, ok};

#[derive(Default)]
struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// One frame may be larger than the lag that a store may have: it is in memory as it is.
#[tokio::test]
async fn a_body_in_one_large_frame_is_kept() {
    for size in [3 << 20, 5 << 20] {
        let spy = Spy::new();
        spy.breaks(Call::Put, Fault::Wait);
        let cache = cache_over(spy, Policy::shared());
        cache.origin.on(move |_| {
            ok().cache_control("max-age=60").body(Full::new(Bytes::from(vec![0; size])))
        });
        assert_eq!(cache.get("/").await.body.len(), size);
        tokio::task::yield_now().await; // the executor has the rest
        tokio::task::yield_now().await;
        cache.get("/").await.assert_hit();
    }
}

fn streaming(policy: Policy, spy: Spy) -> (crate::support::Cache<Spy>, BodySender) {
    let (sender, body) = channel();
    let mut body = Some(body);
    let cache = cache_over(spy, policy).layered(|layer| layer.executor(NoExecutor));
    cache.origin.on(move |_| {
        let reply = ok().cache_control("max-age=60");
        match body.take() {
            Some(body) => reply.body(body),
            None => reply.text("again"),
        }
    });
    (cache, sender)
}

/// The wakes of the store reach it while the origin has nothing to give.
#[tokio::test]
async fn a_store_goes_on_while_the_origin_rests() {
    let spy = Spy::new();
    spy.breaks(Call::Write, Fault::Wait);
    let (cache, sender) = streaming(Policy::shared(), spy.clone());
    let mut body = cache.open("/").await.into_body();
    for sent in 1..=20 {
        sender.data(vec![0; 1 << 20]);
        let frame = now_or_never(body.frame()).unwrap().unwrap().unwrap();
        assert_eq!(frame.into_data().unwrap().len(), 1 << 20);
        // Nothing comes from the origin; the store writes what it has.
        assert!(now_or_never(body.frame()).is_none());
        assert!(now_or_never(body.frame()).is_none());
        assert_eq!(spy.asked().writes, 1, "after {sent} MiB");
    }
    drop(sender);
    assert!(body.frame().await.is_none());
    cache.get("/").await.assert_hit();
}

/// A reader is woken by the origin alone, and not by the frames that it has just been given.
#[tokio::test]
async fn frames_wake_nobody() {
    let cache = cache(Policy::shared());
    let (sender, body) = channel();
    let mut body = Some(body);
    cache.origin.on(move |_| ok().cache_control("max-age=60").body(body.take().unwrap()));
    let mut body = cache.open("/").await.into_body();
    (0..100).for_each(|_| sender.data("hello"));
    let wakes = Arc::new(Wakes::default());
    let waker = Waker::from(wakes.clone());
    let mut cx = Context::from_waker(&waker);
    for _ in 0..100 {
        assert!(Pin::new(&mut body).poll_frame(&mut cx).is_ready());
    }
    assert_eq!(wakes.0.load(Ordering::SeqCst), 0);
}

/// What is not whole yet is bounded, too: over the bound it is passed on and not stored.
#[tokio::test]
async fn unfinished_bodies_take_a_bounded_part_of_memory() {
    let manager = MemoryManager::new(8 << 20);
    let cache = cache_over(manager.clone(), Policy::shared());
    let mut senders = Vec::new();
    let mut bodies = Vec::new();
    for n in 0..16 {
        let (sender, body) = channel();
        let mut body = Some(body);
        cache.origin.on(move |_| ok().cache_control("max-age=60").body(body.take().unwrap()));
        let mut body = cache.open(&format!("/{n}")).await.into_body();
        sender.data(vec![0; 512 << 10]);
        body.frame().await.unwrap().unwrap();
        senders.push(sender);
        bodies.push(body);
    }
    drop(senders);
    let mut whole = 0;
    for body in bodies {
        whole += body.collect().await.map_or(0, |_| 1);
    }
    // A quarter of 8 MiB holds four of them; all are delivered.
    assert_eq!((whole, manager.len()), (16, 4));
    // And what was taken is given back.
    cache.origin.on(|_| ok().cache_control("max-age=60").text("hello"));
    cache.get("/later").await.assert_forwarded();
    cache.get("/later").await.assert_hit();
}

/// What a store does not hold in memory is not bounded by it: of a large body only what is kept for
/// those who come later counts, whether its length is announced or not.
#[tokio::test]
async fn a_store_elsewhere_takes_more_than_there_is_memory_for() {
    const MIB: usize = 1 << 20;
    for is_announced in [false, true] {
        let cache = cache_over(Spy::new(), Policy::shared())
            .layered(|layer| layer.inflight_bytes(6 << 20).kept_bytes(4 << 20));
        cache.origin.on(move |_| {
            let (sender, body) = channel();
            (0..8).for_each(|n| sender.data(vec![n; MIB]));
            let reply = ok().cache_control("max-age=60");
            let length = (8 * MIB).to_string();
            match is_announced {
                true => reply.header("content-length", &length).body(body),
                false => reply.body(body),
            }
        });
        for _ in 0..2 {
            let body = cache.open("/").await.into_body().collect().await.unwrap().to_bytes();
            assert!((0..8).all(|n| body[n * MIB..][..MIB].iter().all(|byte| *byte == n as u8)));
            assert_eq!(body.len(), 8 * MIB);
            tokio::task::yield_now().await; // the executor has the end
            tokio::task::yield_now().await;
        }
        assert_eq!(cache.origin.calls(), 1, "announced: {is_announced}");
    }
}

/// What never ends is given up, also where an executor has it.
#[tokio::test(start_paused = true)]
async fn a_write_that_never_ends_is_given_up() {
    let spy = Spy::new();
    spy.breaks(Call::Put, Fault::Hang);
    let cache = cache_over(spy, Policy::shared())
        .layered(|layer| layer.clock(larder::SystemClock).executor(larder::TokioExecutor::new()));
    cache.origin.on(|_| ok().cache_control("max-age=60").text("hello"));
    for n in 0..50 {
        cache.get(&format!("/{n}")).await.assert_forwarded();
    }
    let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    tokio::task::yield_now().await; // each is polled once
    assert_eq!(tasks(), 50);
    tokio::time::advance(std::time::Duration::from_secs(31)).await;
    tokio::task::yield_now().await;
    assert_eq!(tasks(), 0);
}

/// A store that is behind is waited for a little, so that a burst does not outrun it.
#[tokio::test(start_paused = true)]
async fn a_burst_does_not_outrun_a_store() {
    for (fault, expected) in [(Fault::Wait, true), (Fault::Hang, false)] {
        let spy = Spy::new();
        spy.breaks(Call::Write, fault);
        let cache = cache_over(spy, Policy::shared()).layered(|layer| {
            layer.clock(larder::SystemClock).executor(larder::TokioExecutor::new())
        });
        let (sender, body) = channel();
        let mut body = Some(body);
        cache.origin.on(move |_| match body.take() {
            Some(body) => ok().cache_control("max-age=60").body(body),
            None => ok().text("again"),
        });
        (0..16).for_each(|_| sender.data(vec![0; 1 << 20]));
        drop(sender);
        assert_eq!(cache.get("/").await.body.len(), 16 << 20, "{fault:?}");
        for _ in 0..40 {
            tokio::task::yield_now().await;
        }
        assert_eq!(cache.get("/").await.cache.is_hit(), expected, "{fault:?}");
    }
}

/// `sync` waits for what the executor still writes, and not for a body that nobody reads on.
#[tokio::test]
async fn sync_waits_for_what_was_read_to_its_end() {
    let spy = Spy::new();
    spy.breaks(Call::Put, Fault::Hang);
    let cache = cache_over(spy, Policy::shared());
    let (sender, body) = channel();
    let mut body = Some(body);
    cache.origin.on(move |_| match body.take() {
        Some(body) => ok().cache_control("max-age=60").body(body),
        None => ok().cache_control("max-age=60").text("hello"),
    });
    let mut open = cache.open("/open").await.into_body();
    sender.data("half a body");
    open.frame().await.unwrap().unwrap();
    let handle = cache.layer.handle();
    handle.sync().await.unwrap();
    cache.get("/whole").await.assert_forwarded();
    assert!(now_or_never(handle.sync()).is_none());
}

/// Without an executor the last frame has waited, and nothing is left to wait for.
#[tokio::test]
async fn sync_never_waits_for_who_calls_it() {
    let spy = Spy::new();
    spy.breaks(Call::Put, Fault::Hang);
    let cache = cache_over(spy, Policy::shared()).layered(|layer| layer.executor(NoExecutor));
    cache.origin.on(|_| ok().cache_control("max-age=60").text("hello"));
    let mut body = cache.open("/").await.into_body();
    assert!(now_or_never(body.frame()).is_none(), "the last frame waits for the store");
    cache.layer.handle().sync().await.unwrap();
}
