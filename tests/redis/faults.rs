//! Servers that stand still or end anywhere: whatever is asked of a store comes to an end, and when the
//! server is well again so is the store.

use std::{
    future::{Future, poll_fn},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::Poll,
    time::Duration,
};

use futures_util::future::join_all;
use larder::{
    BoxManager, CacheLayer, CacheManager, MemoryManager, Policy, Purge, RedisManager,
    storage::{EntryWriter, RedisOptions, Scanned, Tiered, Visitor},
};

use crate::{
    away::{Seen, load},
    nodes::eventually,
    page::{Ask, collect, next, noise},
    peer::{Manner, Peer, black_hole},
    server::{namespace, options, own, say, shared},
};

/// What does not come to an end in so long never does: no limit of a store's is a tenth of it.
const NEVER: Duration = Duration::from_secs(60);
const BODY: usize = 900 << 10;

fn hasty(namespace: &str) -> RedisOptions {
    options(namespace)
        .lookup_timeout(Duration::from_millis(100))
        .connect_timeout(Duration::from_millis(200))
        .body_timeout(Duration::from_millis(300))
}

async fn ends<T>(what: &str, work: impl Future<Output = T>) -> T {
    match tokio::time::timeout(NEVER, work).await {
        Ok(done) => done,
        Err(_) => panic!("{what} never comes to an end"),
    }
}

struct Nobody;

impl<H: Send> Visitor<H> for Nobody {
    async fn visit(&mut self, _: Vec<Scanned<H>>) -> std::ops::ControlFlow<()> {
        std::ops::ControlFlow::Continue(())
    }
}

/// Asks for all that a store can be asked for; what comes of it is Redis's affair.
async fn ask_for_everything(store: &RedisManager, what: &str) {
    let (small, large) = (Ask::new("/small"), Ask::new("/large"));
    let _ = ends(&format!("{what}: to be ready"), store.ready()).await;
    for _ in 0..2 {
        if let Ok(Some(found)) = ends(&format!("{what}: a look-up"), small.try_find(store)).await {
            let read = collect(store.read(&found, 0..found.response().length()));
            let _ = ends(&format!("{what}: a small body"), read).await;
            let head = found.response().head().clone();
            let _ = ends(&format!("{what}: an update"), store.update(&found, head)).await;
            let _ = ends(&format!("{what}: a removal"), store.remove(&found)).await;
        }
        let _ = ends(&format!("{what}: a small one"), small.put(store, &[], "x")).await;
        let _ = ends(&format!("{what}: a large one"), large.put(store, &[], noise(1, BODY))).await;
        if let Ok(Some(found)) = large.try_find(store).await {
            let read = collect(store.read(&found, 0..found.response().length()));
            let _ = ends(&format!("{what}: a large body"), read).await;
            let key = store.locate(&found).unwrap().0;
            let _ = ends(&format!("{what}: a deletion"), store.delete(&key)).await;
        }
        store.purge_log().append(Purge::host("b.example"));
        let _ = ends(&format!("{what}: a purge"), store.purge_log().sync()).await;
        let _ = ends(&format!("{what}: a walk"), store.scan(&mut Nobody)).await;
        let _ = ends(&format!("{what}: to clear"), store.clear()).await;
        let _ = ends(&format!("{what}: to sync"), store.sync()).await;
    }
}

/// It can be used as before.
async fn is_well(store: &RedisManager) {
    let ask = Ask::new("/after");
    eventually(async || ask.put(store, &[], "x").await.is_ok()).await;
    eventually(async || matches!(ask.try_find(store).await, Ok(Some(_)))).await;
}

/// Whatever a server does from the first byte on, also to who connects: nothing waits for it without a
/// limit.
#[tokio::test]
async fn nothing_waits_for_ever_for_a_server_that_was_never_well() {
    let Some(url) = shared() else { return };
    let manners = [
        Manner::Silent,
        Manner::Closed,
        // Within the greeting, the subscription, the opening of the log.
        Manner::Half(3),
        Manner::Half(20),
        Manner::Half(150),
        Manner::Short(3),
        Manner::Short(20),
        Manner::Short(150),
    ];
    join_all(manners.map(async |manner| {
        let peer = Peer::before(url, manner).await;
        let store = hasty(&namespace()).open(&peer.url).unwrap();
        ask_for_everything(&store, &format!("{manner:?}")).await;
        peer.behave(Manner::Carry);
        is_well(&store).await;
    }))
    .await;
    let (url, _full) = black_hole().await;
    let store = hasty(&namespace()).open(&url).unwrap();
    ask_for_everything(&store, "a black hole").await;
}

/// The same of one that was well, and is again: the connections that it left standing are given up.
#[tokio::test]
async fn nothing_waits_for_ever_for_a_server_that_was_well() {
    let Some(url) = shared() else { return };
    let manners = [
        Manner::Silent,
        Manner::Closed,
        Manner::Half(7),
        Manner::Half(100 << 10),
        Manner::Half(600 << 10),
        Manner::Short(7),
        Manner::Short(100 << 10),
        Manner::Short(600 << 10),
    ];
    join_all(manners.map(async |manner| {
        let peer = Peer::before(url, Manner::Carry).await;
        let store = hasty(&namespace()).open(&peer.url).unwrap();
        eventually(async || store.ready().await.is_ok()).await;
        for path in ["/small", "/large"] {
            let body = noise(1, if path == "/small" { 100 } else { BODY });
            eventually(async || Ask::new(path).put(&store, &[], body.clone()).await.is_ok()).await;
        }
        let large = Ask::new("/large");
        let found = loop {
            if let Ok(Some(found)) = large.try_find(&store).await {
                break found;
            }
        };
        let mut reading = store.read(&found, 0..BODY as u64);
        next(&mut reading).await.unwrap().unwrap();
        let (placement, head) = Ask::new("/writing").place(&store, &[]);
        let writing = store.put(placement, head).await;
        peer.behave(manner);
        let what = format!("well, then {manner:?}");
        let _ = ends(&format!("{what}: a body in mid-stream"), collect(reading)).await;
        if let Ok(mut writer) = writing {
            let written = async {
                writer.write(noise(2, BODY).into()).await?;
                writer.finish(None).await
            };
            let _ = ends(&format!("{what}: a body that is written"), written).await;
        }
        ask_for_everything(&store, &what).await;
        peer.behave(Manner::Carry);
        is_well(&store).await;
    }))
    .await;
}

/// Who waits to be told whether Redis can be used is told, also if the runtime of the task that finds
/// out has ended.
#[test]
fn nobody_waits_for_a_task_that_has_ended() {
    let runtime = || tokio::runtime::Runtime::new().unwrap();
    let (first, second) = (runtime(), runtime());
    let (url, _full) = second.block_on(black_hole());
    let patient = options("site").connect_timeout(Duration::from_secs(3600));
    let store = first.block_on(async { patient.open(&url).unwrap() });
    second.block_on(async {
        let mut waiting = std::pin::pin!(store.ready());
        let begun = poll_fn(|cx| Poll::Ready(waiting.as_mut().poll(cx))).await;
        assert!(begun.is_pending());
        first.shutdown_background();
        assert!(ends("to be ready", waiting).await.is_err());
    });
}

/// A body outlives the store that it is from: what is being sent when a server ends is sent to its end.
#[tokio::test]
async fn a_body_outlives_its_store() {
    let Some(url) = shared() else { return };
    let (namespace, ask, body) = (namespace(), Ask::new("/"), noise(3, 3 << 20));
    let store = options(&namespace).open(url).unwrap();
    ask.put(&store, &[], body.clone()).await.unwrap();
    let found = ask.find(&store).await.unwrap();
    let mut reading = store.read(&found, 0..3 << 20);
    let first = next(&mut reading).await.unwrap().unwrap();
    let (placement, head) = Ask::new("/other").place(&store, &[]);
    let mut writer = store.put(placement, head).await.unwrap();
    drop((store, found));
    let rest = ends("the body", collect(reading)).await.unwrap();
    assert!([first, rest].concat() == body);
    writer.write(body.clone().into()).await.unwrap();
    writer.finish(None).await.unwrap();
    let store = options(&namespace).open(url).unwrap();
    assert!(Ask::new("/other").body(&store).await.unwrap().unwrap() == body);
}

/// The connections end with the last who uses a store, also if Redis is being told of a purge just then
/// and somebody who has nothing but the log asks for another.
#[tokio::test]
async fn no_connection_outlives_its_store() {
    let Some(server) = own(&[]) else { return };
    let options = options("site").connect_timeout(Duration::from_secs(1));
    let store = options.open(&server.url()).unwrap();
    store.ready().await.unwrap();
    let connections = || say(&server.url(), &[b"CLIENT", b"LIST"]).lines().count() - 1;
    assert_eq!(connections(), 4);
    let log = store.purge_log().clone();
    server.pause();
    log.append(Purge::host("b.example"));
    let mut first = std::pin::pin!(log.sync());
    let begun = poll_fn(|cx| Poll::Ready(first.as_mut().poll(cx))).await;
    assert!(begun.is_pending());
    drop(store);
    tokio::time::sleep(Duration::from_millis(100)).await;
    log.append(Purge::host("c.example"));
    let both = ends("both purges", async { tokio::join!(first, log.sync()) }).await;
    assert!(both.0.is_err() && both.1.is_err(), "Redis could not be told");
    server.go_on();
    eventually(async || connections() == 0).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(connections(), 0, "nobody connects again");
    assert!(log.sync().await.is_err(), "there is no store");
}

/// What was found in one runtime is read, changed and removed in another when that has ended: whoever needs
/// the connections has them kept.
#[test]
fn an_entry_outlives_the_runtime_that_found_it() {
    let Some(url) = shared() else { return };
    let runtime = || tokio::runtime::Runtime::new().unwrap();
    let (ask, body) = (Ask::new("/"), noise(5, 3 << 20));
    let (store, found) = runtime().block_on(async {
        let store = options(&namespace()).open(url).unwrap();
        ask.put(&store, &[], body.clone()).await.unwrap();
        let found = ask.find(&store).await.unwrap();
        (store, found)
    });
    runtime().block_on(async {
        assert!(collect(store.read(&found, 0..3 << 20)).await.unwrap() == body);
    });
    let head = found.response().head().clone();
    assert!(runtime().block_on(store.update(&found, head)).unwrap());
    let found = runtime().block_on(ask.find(&store)).unwrap();
    assert!(runtime().block_on(store.remove(&found)).unwrap());
}

/// A purge that somebody has begun to wait for, and waits for no more, stands in the way of no other.
#[tokio::test]
async fn a_purge_that_nobody_goes_on_with_holds_up_no_other() {
    let Some(url) = shared() else { return };
    let store = options(&namespace()).open(url).unwrap();
    store.ready().await.unwrap();
    let log = store.purge_log();
    log.append(Purge::host("b.example"));
    let mut first = std::pin::pin!(log.sync());
    let begun = poll_fn(|cx| Poll::Ready(first.as_mut().poll(cx))).await;
    assert!(begun.is_pending());
    log.append(Purge::host("c.example"));
    log.sync().await.unwrap();
    first.await.unwrap();
}

/// Under load, one fault after the other, each over before all have noticed it: no request fails or
/// waits for ever, and neither does who purges, waits for what is being written, or shuts down.
/// `LARDER_FAULTS=1000` makes them so many.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_fails_whatever_comes_and_goes() {
    let Some(mut server) = own(&[]) else { return };
    let faults = std::env::var("LARDER_FAULTS").ok().and_then(|text| text.parse().ok());
    let peer = Peer::before(&server.url(), Manner::Carry).await;
    let open = || hasty("site").open(&peer.url).unwrap();
    let managers = [
        BoxManager::new(open()),
        BoxManager::new(Tiered::new(MemoryManager::new(8 << 20), open())),
    ];
    let layers = managers.map(|manager| CacheLayer::new(manager).policy(Policy::shared()));
    let (version, seen) = (Arc::new(AtomicU64::new(1)), Arc::<Seen>::default());
    let clients: Vec<_> = layers.iter().flat_map(|layer| load(layer, &version, &seen)).collect();
    let answered = async |more: usize| {
        let enough = seen.times.lock().unwrap().len() + more;
        eventually(async || seen.times.lock().unwrap().len() > enough).await;
    };
    for n in 0..faults.unwrap_or(12_u32) {
        let what = format!("fault {n}");
        match n % 6 {
            0 => server.kill(),
            1 => server.pause(),
            2 => peer.behave(Manner::Silent),
            3 => peer.behave(Manner::Half(n as usize * 37 % 40_000)),
            4 => peer.behave(Manner::Short(n as usize * 37 % 40_000)),
            _ => peer.behave(Manner::Closed),
        }
        answered(1 + n as usize * 13 % 200).await;
        for layer in &layers {
            let handle = layer.handle();
            let purge = handle.purge(Purge::host("a.example"));
            let _ = ends(&format!("{what}: a purge"), purge).await;
            let _ = ends(&format!("{what}: to sync"), handle.sync()).await;
        }
        match n % 6 {
            0 => server.restart(),
            1 => server.go_on(),
            _ => peer.behave(Manner::Carry),
        }
        answered(n as usize * 7 % 100).await;
    }
    let hits = seen.hits.load(Ordering::SeqCst);
    eventually(async || seen.hits.load(Ordering::SeqCst) > hits + 20).await;
    seen.is_over.store(true, Ordering::SeqCst);
    for client in clients {
        ends("a client", client).await.unwrap();
    }
    for layer in &layers {
        ends("to shut down", layer.handle().shutdown()).await;
    }
}
