//! What a purge costs, and what it costs a hit.
//!
//! `cargo bench --bench purge`. The subjects of a comparison run interleaved in one process; a figure is
//! the median of the rounds. `LARDER_ENTRIES` is the number of entries that a purge selects; default:
//! 1 000 000, which takes some two gigabytes. What a sweeper costs the hits beside it needs a second core
//! that is idle.

#[path = "support/subjects.rs"]
mod subjects;
mod support;

use std::{
    convert::Infallible,
    future::{Future, Ready, ready},
    hint::black_box,
    pin::pin,
    sync::atomic::{AtomicBool, Ordering},
    task::{Context, Poll, Waker},
    thread,
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{Request, Response, Uri};
use http_body_util::{BodyExt, Empty, Full};
use larder::{CacheLayer, CacheService, MemoryManager, NoExecutor, Purge};
use tower::{Layer, Service};

use self::subjects::now;

const ROUNDS: usize = 31;
const PAGES: usize = 5_000;
const PURGES: usize = 10_000;

/// Pages with a few tags.
#[derive(Clone)]
struct Origin;

impl<B> Service<Request<B>> for Origin {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let tags = match request.uri().path() {
            "/one" => "one",
            _ => "site section author",
        };
        let response = Response::builder().header("cache-control", "max-age=3600");
        let response = response.header("surrogate-key", tags).header("content-type", "text/html");
        ready(Ok(response.body(Full::new(Bytes::from_static(&[b'x'; 64]))).unwrap()))
    }
}

/// Waits for what yields.
fn wait<T>(future: impl Future<Output = T>) -> T {
    let (mut future, mut cx) = (pin!(future), Context::from_waker(Waker::noop()));
    loop {
        if let Poll::Ready(value) = future.as_mut().poll(&mut cx) {
            return value;
        }
    }
}

type Cache = (CacheLayer<MemoryManager>, CacheService<Origin, MemoryManager>);

/// A cache that nobody sweeps in the background.
fn cache(bytes: u64) -> Cache {
    let layer = CacheLayer::new(MemoryManager::new(bytes)).executor(NoExecutor);
    let service = layer.layer(Origin);
    (layer, service)
}

/// Whether it was a hit.
fn get(service: &mut CacheService<Origin, MemoryManager>, uri: &Uri) -> bool {
    let request = Request::get(uri.clone()).body(Empty::<Bytes>::new()).unwrap();
    let response = now(service.call(black_box(request))).unwrap();
    let is_hit = response.body().status().is_hit();
    black_box(now(response.into_body().collect()).unwrap());
    is_hit
}

fn uris(count: usize) -> Vec<Uri> {
    (0..count).map(|n| format!("http://a.example/pages/{n}?q").parse().unwrap()).collect()
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

/// The time of a hit on each page.
fn pass(cache: &mut Cache, uris: &[Uri]) -> Duration {
    let start = Instant::now();
    for uri in uris {
        assert!(get(&mut cache.1, uri));
    }
    start.elapsed() / uris.len() as u32
}

fn row(name: &str, time: Duration, floor: Duration) {
    let ratio = time.as_secs_f64() / floor.as_secs_f64();
    println!("{name:<54} {time:>12.2?} {ratio:>6.2}");
}

/// A purge of a million entries beside one of a single entry.
fn purges(count: usize) {
    let mut cache = cache(64 << 30);
    for uri in uris(count) {
        get(&mut cache.1, &uri);
    }
    get(&mut cache.1, &Uri::from_static("http://a.example/one"));
    let handle = cache.0.handle();
    assert_eq!(handle.stats().usage().unwrap().records(), count as u64 + 1, "all of it fits");
    let (mut one, mut all) = (Vec::new(), Vec::new());
    let purge = |tag, times: &mut Vec<Duration>| {
        let start = Instant::now();
        let purged = now(handle.purge(Purge::tag(tag))).unwrap();
        times.push(start.elapsed());
        purged
    };
    purge("warm", &mut Vec::new());
    let mut last = None;
    for _ in 0..ROUNDS * 30 {
        purge("one", &mut one);
        last = Some(purge("site", &mut all));
    }
    let (one, all) = (median(one), median(all));
    row("purge of a tag of one entry", one, one);
    row(&format!("purge of a tag of {count} entries"), all, one);
    let start = Instant::now();
    wait(last.unwrap().swept()).unwrap();
    row("the sweeper's walk behind them", start.elapsed(), one);
    assert_eq!(handle.stats().usage().unwrap().records(), 0);
}

/// A hit with purges in the log beside one without.
fn hits() {
    let uris = uris(PAGES);
    let (mut plain, mut used) = (cache(1 << 30), cache(1 << 30));
    for cache in [&mut plain, &mut used] {
        for uri in &uris {
            get(&mut cache.1, uri);
        }
    }
    let handle = used.0.handle();
    for n in 0..PURGES {
        now(handle.purge(Purge::tag(format!("tag {n}")))).unwrap();
    }
    let (mut without, mut first, mut again) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        without.push(pass(&mut plain, &uris));
        // One more, so that each page is compared with the log again.
        now(handle.purge(Purge::tag("one more"))).unwrap();
        first.push(pass(&mut used, &uris));
        again.push(pass(&mut used, &uris));
    }
    let without = median(without);
    row("hit, no purge ever", without, without);
    row("hit, purge log in use, nothing new in it", median(again), without);
    row(&format!("first hit after {PURGES} purges by tag"), median(first), without);
}

/// The times of single hits, one page after the other, as long as `goes_on` says so.
fn single_hits(
    cache: &mut Cache,
    uris: &[Uri],
    mut goes_on: impl FnMut() -> bool,
) -> Vec<Duration> {
    let mut times = Vec::new();
    while goes_on() {
        for uri in uris {
            let start = Instant::now();
            assert!(get(&mut cache.1, uri));
            times.push(start.elapsed());
        }
    }
    times
}

fn percentile(times: &mut [Duration], share: f64) -> Duration {
    times.sort_unstable();
    times[((times.len() - 1) as f64 * share) as usize]
}

/// Does `work` while another thread does something else again and again, and touches nothing of ours.
fn beside<T>(mut other: impl FnMut() + Send, work: impl FnOnce() -> T) -> T {
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Ordering::Acquire) {
                other();
            }
        });
        let done = work();
        is_over.store(true, Ordering::Release);
        done
    })
}

/// Hits on some pages while a sweeper walks through `count` others, beside hits in peace, and beside
/// a core that is merely busy, with numbers or with memory, which is what any background work costs.
/// First it walks without taking anything out, then once for good.
fn beside_a_sweeper(count: usize) {
    const WALKS: usize = 5;
    let mut cache = cache(64 << 30);
    for uri in uris(count) {
        get(&mut cache.1, &uri);
    }
    let kept: Vec<Uri> =
        (0..64).map(|n| format!("http://b.example/kept/{n}").parse().unwrap()).collect();
    for uri in &kept {
        get(&mut cache.1, uri);
    }
    let handle = cache.0.handle();
    let site = || Purge::host("a.example");
    let (mut quiet, mut adding, mut reading) = (Vec::new(), Vec::new(), Vec::new());
    let (mut walking, mut walks) = (Vec::new(), Vec::new());
    // More than the processor's caches have room for.
    let memory = vec![1_u8; 256 << 20];
    let walk = |purge: Purge, cache: &mut Cache| {
        let (purged, is_over) = (now(handle.purge(purge)).unwrap(), AtomicBool::new(false));
        thread::scope(|scope| {
            scope.spawn(|| {
                assert_eq!(wait(purged.swept()).unwrap(), count as u64);
                is_over.store(true, Ordering::Release);
            });
            single_hits(cache, &kept, || !is_over.load(Ordering::Acquire))
        })
    };
    let some_hits = |cache: &mut Cache| {
        let mut rounds = 0..2000;
        single_hits(cache, &kept, || rounds.next().is_some())
    };
    for _ in 0..WALKS {
        quiet.extend(some_hits(&mut cache));
        let add = || _ = (0..1000).fold(0_u64, |sum, n| black_box(sum ^ n));
        adding.extend(beside(add, || some_hits(&mut cache)));
        let mut lines = memory.iter().step_by(64).cycle();
        let read =
            || _ = black_box(lines.by_ref().take(1000).map(|byte| u64::from(*byte)).sum::<u64>());
        reading.extend(beside(read, || some_hits(&mut cache)));
        let start = Instant::now();
        walking.extend(walk(site().dry_run(), &mut cache));
        walks.push(start.elapsed());
    }
    let start = Instant::now();
    let mut removing = walk(site(), &mut cache);
    let (walks, removal) = (median(walks), start.elapsed());
    for share in [0.5, 0.99] {
        let at = |times: &mut Vec<Duration>| percentile(times, share);
        let peace = at(&mut quiet);
        let name = |what: &str| format!("p{:.0} of hits, {what}", share * 100.0);
        row(&name("no sweeper"), peace, peace);
        row(&name("the other core adds numbers"), at(&mut adding), peace);
        row(&name("the other core reads memory"), at(&mut reading), peace);
        row(&name(&format!("it walks through {count} entries")), at(&mut walking), peace);
        row(&name("it takes them out"), at(&mut removing), peace);
    }
    row(&format!("walk through {count} entries beside hits"), walks, walks);
    row("walk that takes them out", removal, walks);
}

fn main() {
    if std::env::args().any(|argument| argument == "--test") {
        return;
    }
    hits();
    let count = std::env::var("LARDER_ENTRIES").ok().and_then(|count| count.parse().ok());
    let count = count.unwrap_or(1_000_000);
    beside_a_sweeper(count);
    purges(count);
}
