//! What a fresh hit costs beside the inner service alone and beside the floor: a quick_cache lookup,
//! the clone of a header map of six fields, the clone of a `Bytes`.
//!
//! `cargo bench --bench hit`. All subjects run interleaved in one process; a figure is the median of
//! the rounds. Making the request and collecting the body are inside of every figure.

#[path = "support/subjects.rs"]
mod subjects;
mod support;

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use http::Uri;
use larder::{CacheLayer, MemoryManager, Policy};
use tower::Layer;

use self::subjects::{Floor, Handler, URI, call};

const ROUNDS: usize = 31;
const CALLS: u32 = 20_000;

struct Subject<'a> {
    name: &'static str,
    call: Box<dyn FnMut() -> usize + 'a>,
    times: Vec<Duration>,
    allocations: (u64, u64),
}

fn main() {
    println!("fresh hit, one thread; median of {ROUNDS} rounds of {CALLS} calls\n");
    println!("{:>8}  {:<22} {:>8} {:>9}  allocations / bytes", "body", "subject", "ns", "x floor");
    for size in [1 << 10, 64 << 10, 1 << 20] {
        compare(size);
        println!();
    }
    beside_each_other();
}

/// Sixty-four tasks on two threads ask for one key; the rounds alternate.
fn beside_each_other() {
    const TASKS: usize = 64;
    const CALLS: u32 = 2_000;
    let threads = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
    let services = [true, false].map(|collapses| {
        let policy = Policy::shared().collapse(collapses);
        let layer = CacheLayer::new(MemoryManager::new(256 << 20)).policy(policy);
        let mut service = layer.layer(Handler::new(1 << 10));
        call(&mut service, &Uri::from_static(URI));
        service
    });
    let mut times = [Vec::new(), Vec::new()];
    for _ in 0..ROUNDS {
        for (service, times) in services.iter().zip(&mut times) {
            let start = Instant::now();
            let tasks: Vec<_> = (0..TASKS)
                .map(|_| {
                    let mut service = service.clone();
                    threads.spawn(async move {
                        for _ in 0..CALLS {
                            black_box(call(&mut service, &Uri::from_static(URI)));
                        }
                    })
                })
                .collect();
            tasks.into_iter().for_each(|task| threads.block_on(task).unwrap());
            times.push(start.elapsed() / (CALLS * TASKS as u32));
        }
    }
    let [on, off] = times.map(|mut times| {
        times.sort_unstable();
        times[ROUNDS / 2].as_nanos()
    });
    let ratio = on as f64 / off as f64;
    println!(
        "{TASKS} tasks, 2 threads, one key: {on} ns with collapsing, {off} without: {ratio:.3}"
    );
}

fn compare(size: usize) {
    let handler = Handler::new(size);
    let uri = Uri::from_static(URI);
    let mut floor = Floor::new(handler.clone(), &uri);
    let layer = || CacheLayer::new(MemoryManager::new(256 << 20)).policy(Policy::shared());
    let mut larder = layer().layer(handler.clone());
    let mut with_header = layer().cache_status_header("larder").layer(handler.clone());
    let mut with_extension = layer().cache_status_extension(true).layer(handler.clone());
    let mut bare = handler;
    let mut subjects = [
        Subject::new("inner service alone", || call(&mut bare, &uri)),
        Subject::new("floor", || call(&mut floor, &uri)),
        Subject::new("larder", || call(&mut larder, &uri)),
        Subject::new("larder, Cache-Status", || call(&mut with_header, &uri)),
        Subject::new("larder, extension", || call(&mut with_extension, &uri)),
    ];
    for subject in &mut subjects {
        // The first call stores, and the first hit makes shared what was not yet.
        assert_eq!((subject.call)(), size);
        (subject.call)();
        subject.allocations = support::allocations(|| {
            (subject.call)();
        });
    }
    for _ in 0..ROUNDS {
        for subject in &mut subjects {
            let start = Instant::now();
            for _ in 0..CALLS {
                black_box((subject.call)());
            }
            subject.times.push(start.elapsed() / CALLS);
        }
    }
    let floor = subjects[1].median();
    for subject in &mut subjects {
        let median = subject.median();
        println!(
            "{size:>8}  {:<22} {:>8} {:>9.2}  {} / {}",
            subject.name,
            median.as_nanos(),
            median.as_secs_f64() / floor.as_secs_f64(),
            subject.allocations.0,
            subject.allocations.1,
        );
    }
}

impl<'a> Subject<'a> {
    fn new(name: &'static str, call: impl FnMut() -> usize + 'a) -> Self {
        Self { name, call: Box::new(call), times: Vec::new(), allocations: (0, 0) }
    }

    fn median(&mut self) -> Duration {
        self.times.sort_unstable();
        self.times[self.times.len() / 2]
    }
}
