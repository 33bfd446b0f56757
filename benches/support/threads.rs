//! Hits by two threads at once.

use std::{
    hint::{black_box, spin_loop},
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

use http::Uri;
use larder::{CacheLayer, MemoryManager, Policy};
use tower::Layer;

use super::{
    Figures, KIB, Random, layer,
    subjects::{Floor, Handler, URI, call},
    uris,
};

/// Which of `count` keys is asked for, a key the less often the higher its number.
fn zipf(count: usize, seed: u64) -> Vec<usize> {
    let mut sums = Vec::with_capacity(count);
    let mut sum = 0.0;
    for n in 0..count {
        sum += 1.0 / (n + 1) as f64;
        sums.push(sum);
    }
    let mut random = Random(seed);
    let mut draw = || {
        let at = random.next() as f64 / f64::from(1 << 31) * sum;
        sums.partition_point(|sum| *sum < at).min(count - 1)
    };
    (0..1 << 16).map(|_| draw()).collect()
}

/// Two threads that ask at the same time, each with a service of its own over the same store. They last,
/// and wait for each other before each round, which is short: a round counts if both have worked all the
/// while, and not if one of them had to wait for a processor. What asks first changes from round to round.
pub(crate) fn two_threads(title: &str, keys: usize) {
    const CALLS: usize = 800;
    const ROUNDS: usize = 3_001;
    let (uris, handler) = (uris(keys), Handler::new(KIB));
    let floor = Floor::of(&handler, &uris);
    let service = layer().layer(Handler::owning(KIB));
    for uri in &uris {
        call(&mut service.clone(), uri);
    }
    let meeting = Meeting::default();
    let runs = thread::scope(|scope| {
        let threads = [1, 2].map(|seed| {
            let (mut floor, mut service) = (floor.clone(), service.clone());
            let (order, uris, meeting) = (zipf(keys, seed), &uris, &meeting);
            scope.spawn(move || {
                let mut runs = [Vec::new(), Vec::new()];
                for round in 0..ROUNDS {
                    for which in [round % 2, (round + 1) % 2] {
                        let from = round * CALLS;
                        let asked = (from..from + CALLS).map(|n| &uris[order[n % order.len()]]);
                        meeting.wait();
                        let start = Instant::now();
                        match which {
                            0 => asked.for_each(|uri| _ = black_box(call(&mut floor, uri))),
                            _ => asked.for_each(|uri| _ = black_box(call(&mut service, uri))),
                        }
                        runs[which].push((start, Instant::now()));
                    }
                }
                runs
            })
        });
        threads.map(|thread| thread.join().expect("it counts"))
    });
    println!("\n{title}; rounds of {CALLS} calls each, those of {ROUNDS} in which both worked");
    println!("{:<28} {:>8} {:>8} {:>8} {:>8}  rounds", "", "ns", "fastest", "x first", "fastest");
    let mut first = None;
    for (which, name) in ["floor", "larder"].into_iter().enumerate() {
        let both = runs[0][which].iter().zip(&runs[1][which]);
        let times: Vec<_> = both.filter_map(|(one, other)| time_of_both(*one, *other)).collect();
        let count = times.len();
        if count == 0 {
            println!("{name:<28} never worked at once: the machine is busy");
            return;
        }
        let figures = Figures::of(times.into_iter().map(|time| time / CALLS as u32).collect());
        figures.print(name, first.get_or_insert(figures));
        println!("  {count}");
    }
}

/// What a round has taken, if all but a twentieth of the longer part is beside the other.
fn time_of_both(one: (Instant, Instant), other: (Instant, Instant)) -> Option<Duration> {
    let (took, other_took) = (one.1 - one.0, other.1 - other.0);
    let beside = one.1.min(other.1).saturating_duration_since(one.0.max(other.0));
    (beside >= took.max(other_took).mul_f64(0.95)).then(|| (took + other_took) / 2)
}

/// Where two threads wait for each other, awake: who is woken comes late.
#[derive(Default)]
struct Meeting(AtomicUsize);

impl Meeting {
    fn wait(&self) {
        let turn = self.0.fetch_add(1, Ordering::AcqRel) / 2;
        let mut spins = 0_u32;
        while self.0.load(Ordering::Acquire) / 2 == turn {
            spins += 1;
            match spins % 100_000 {
                // Somebody else has the other's processor.
                0 => thread::yield_now(),
                _ => spin_loop(),
            }
        }
    }
}

/// Sixty-four tasks on two threads ask for one key; the rounds alternate.
pub(crate) fn beside_each_other() {
    const TASKS: usize = 64;
    const CALLS: u32 = 2_000;
    let threads = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
    let services = [true, false].map(|collapses| {
        let policy = Policy::shared().collapse(collapses);
        let layer = CacheLayer::new(MemoryManager::new(256 << 20)).policy(policy);
        let mut service = layer.layer(Handler::new(KIB));
        call(&mut service, &Uri::from_static(URI));
        service
    });
    let mut times = [Vec::new(), Vec::new()];
    for _ in 0..30 {
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
    let [on, off] = times.map(|times| Figures::of(times).median.as_nanos());
    let ratio = on as f64 / off as f64;
    println!(
        "\n{TASKS} tasks, 2 threads, one key: {on} ns with collapsing, {off} without: {ratio:.3}"
    );
}
