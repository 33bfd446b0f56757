//! What a fresh hit costs beside the inner service alone and beside the floor: a quick_cache lookup,
//! the clone of a header map of six fields, the clone of a `Bytes`.
//!
//! `cargo bench --bench hit`. All subjects of a table run interleaved in one process; a figure is the median
//! of the rounds, and beside it stands the fastest, which nothing else on the machine has disturbed; then
//! how many times those of the first subject both are. Making the request and collecting the body are
//! inside of every figure.
//!
//! `LARDER_ENTRIES` is the number of entries in the row of many; default: 100 000. A million takes some two
//! gigabytes, and as much for the floor's.
//!
//! `cargo bench --bench hit -- --plot benches/hit.svg` draws the picture in the README instead, within two
//! minutes.

#[path = "support/plot.rs"]
mod plot;
#[path = "support/subjects.rs"]
mod subjects;
mod support;
#[path = "support/threads.rs"]
mod threads;

use std::{
    env,
    hint::black_box,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use http::{HeaderName, HeaderValue, Uri, header};
use larder::{CacheLayer, CacheService, MemoryManager, NoExecutor, Policy, Purge};
use tower::Layer;

use self::{
    subjects::{Floor, Handler, URI, call, call_with, request},
    threads::{beside_each_other, two_threads},
};

const ROUNDS: usize = 301;
const KIB: usize = 1 << 10;

type Service = CacheService<Handler, MemoryManager>;

fn main() {
    let entries = env::var("LARDER_ENTRIES").map_or(100_000, |n| n.parse().expect("a number"));
    let mut arguments = env::args().skip_while(|argument| argument != "--plot").skip(1);
    if let Some(path) = arguments.next() {
        return plot::write(Path::new(&path), entries);
    }
    for size in [KIB, 64 * KIB, 1024 * KIB] {
        Table::new(&format!("fresh hit, {} KiB, one thread", size / KIB), 2_000).bodies(size);
    }
    Table::new("not modified: the request has a condition", 2_000).conditions();
    Table::new("one of 10 000 variants", 2_000).variants(10_000);
    Table::new("after 10 000 swept purges", 2_000).purges(10_000);
    Table::new(&format!("among {entries} entries"), 2_000).entries(entries);
    two_threads("two threads, one key", 1);
    two_threads("two threads, 10 000 zipf keys", 10_000);
    beside_each_other();
}

fn layer() -> CacheLayer<MemoryManager> {
    CacheLayer::new(MemoryManager::new(4 << 30)).policy(Policy::shared())
}

/// Subjects that run in turn. The first is what the others are compared with.
struct Table {
    title: String,
    calls: u32,
    subjects: Vec<Subject>,
}

struct Subject {
    name: &'static str,
    call: Box<dyn FnMut() -> usize>,
}

impl Table {
    fn new(title: &str, calls: u32) -> Self {
        Self { title: title.to_owned(), calls, subjects: Vec::new() }
    }

    fn add(&mut self, name: &'static str, call: impl FnMut() -> usize + 'static) {
        self.subjects.push(Subject { name, call: Box::new(call) });
    }

    fn run(&mut self) {
        println!("\n{}; median of {ROUNDS} rounds of {} calls", self.title, self.calls);
        println!(
            "{:<28} {:>8} {:>8} {:>8} {:>8}  allocations / bytes",
            "", "ns", "fastest", "x first", "fastest"
        );
        let mut allocations = Vec::new();
        for subject in &mut self.subjects {
            // The first call stores, and the first hits make shared what was not yet.
            for _ in 0..4 {
                black_box((subject.call)());
            }
            allocations.push(support::allocations(|| {
                (subject.call)();
            }));
        }
        let mut times = vec![Vec::new(); self.subjects.len()];
        for _ in 0..ROUNDS {
            for (subject, times) in self.subjects.iter_mut().zip(&mut times) {
                let start = Instant::now();
                for _ in 0..self.calls {
                    black_box((subject.call)());
                }
                times.push(start.elapsed() / self.calls);
            }
        }
        let mut first = None;
        for ((subject, times), (count, bytes)) in self.subjects.iter().zip(times).zip(allocations) {
            let figures = Figures::of(times);
            figures.print(subject.name, first.get_or_insert(figures));
            println!("  {count} / {bytes}");
        }
    }

    fn bodies(mut self, size: usize) {
        let (handler, uri) = (Handler::new(size), Uri::from_static(URI));
        let mut floor = Floor::new(handler.clone(), &uri);
        let mut bare = handler.clone();
        let add = |name, layer: CacheLayer<MemoryManager>| {
            let (mut service, uri) = (layer.layer(handler.clone()), uri.clone());
            (name, move || call(&mut service, &uri))
        };
        let services = [
            add("larder", layer()),
            add("larder, Cache-Status", layer().cache_status_header("larder")),
            add("larder, extension", layer().cache_status_extension(true)),
        ];
        let own = uri.clone();
        self.add("floor", move || call(&mut floor, &own));
        self.add("inner service alone", move || call(&mut bare, &uri));
        for (name, call) in services {
            self.add(name, call);
        }
        self.run();
    }

    fn conditions(mut self) {
        let (handler, uri) = (Handler::new(KIB), Uri::from_static(URI));
        let tag = handler.headers[header::ETAG].clone();
        let with = |field: HeaderName, value: HeaderValue, uri: &Uri| {
            let mut request = request(uri);
            request.headers_mut().insert(field, value);
            request
        };
        let mut floor = Floor::new(handler.clone(), &uri);
        let own = (uri.clone(), tag.clone());
        self.add("floor, which does not look", move || {
            call_with(&mut floor, with(header::IF_NONE_MATCH, own.1.clone(), &own.0))
        });
        let mut service = layer().layer(handler.clone());
        let (own, other) = (uri.clone(), HeaderValue::from_static("\"other\""));
        call(&mut service, &own);
        self.add("larder, another tag: 200", move || {
            call_with(&mut service, with(header::IF_NONE_MATCH, other.clone(), &own))
        });
        let mut service = layer().layer(handler);
        call(&mut service, &uri);
        self.add("larder, the same tag: 304", move || {
            call_with(&mut service, with(header::IF_NONE_MATCH, tag.clone(), &uri))
        });
        self.run();
    }

    fn variants(mut self, count: usize) {
        let ask = |service: &mut Service, uri: &Uri, n: usize| {
            let mut request = request(uri);
            let value = HeaderValue::from_str(&format!("x-{n:05}")).expect("it is a value");
            request.headers_mut().insert(header::ACCEPT_LANGUAGE, value);
            call_with(service, request)
        };
        let mut handler = Handler::new(KIB);
        Arc::make_mut(&mut handler.headers)
            .insert(header::VARY, HeaderValue::from_static("accept-language"));
        for (name, count) in [("larder, the only variant", 1), ("larder, one of many", count)] {
            let policy = Policy::shared().max_variants(count);
            let mut service = layer().policy(policy).layer(handler.clone());
            let uri = Uri::from_static(URI);
            for n in 0..count {
                ask(&mut service, &uri, n);
            }
            self.add(name, move || ask(&mut service, &uri, count / 2));
        }
        self.run();
    }

    fn purges(mut self, count: usize) {
        let uri = Uri::from_static(URI);
        for (name, count) in [("larder, no purge", 0), ("larder, after the purges", count)] {
            let cache = layer().executor(NoExecutor);
            let (mut service, uri) = (cache.layer(Handler::new(KIB)), uri.clone());
            call(&mut service, &uri);
            let runtime = tokio::runtime::Builder::new_current_thread().build().expect("it runs");
            runtime.block_on(async {
                for n in 0..count {
                    let purged = cache.handle().purge(Purge::tag(format!("tag-{n}"))).await;
                    if n + 1 == count {
                        purged.expect("it is purged").swept().await.expect("it is swept");
                    }
                }
            });
            self.add(name, move || call(&mut service, &uri));
        }
        self.run();
    }

    fn entries(mut self, count: usize) {
        let uris: Arc<[Uri]> = uris(count).into();
        let handler = Handler::new(KIB);
        let floors = [1, count].map(|count| Floor::of(&handler, &uris[..count]));
        let services = [1, count].map(|count| {
            let mut service = layer().layer(Handler::owning(KIB));
            for uri in &uris[..count] {
                call(&mut service, uri);
            }
            service
        });
        let names = ["floor, the only one", "floor, one of many"];
        for (name, floor) in names.into_iter().zip(&floors) {
            let (mut floor, uri) = (floor.clone(), uris[0].clone());
            self.add(name, move || call(&mut floor, &uri));
        }
        let names = ["larder, the only one", "larder, one of many"];
        for (name, service) in names.into_iter().zip(&services) {
            let (mut service, uri) = (service.clone(), uris[0].clone());
            self.add(name, move || call(&mut service, &uri));
        }
        let ([_, mut floor], [_, mut service]) = (floors, services);
        let (mut here, mut there, own) = (Random(1), Random(1), uris.clone());
        self.add("floor, any of them", move || call(&mut floor, &own[here.below(count)]));
        self.add("larder, any of them", move || call(&mut service, &uris[there.below(count)]));
        self.run();
    }
}

#[derive(Clone, Copy)]
struct Figures {
    median: Duration,
    fastest: Duration,
}

impl Figures {
    fn of(mut times: Vec<Duration>) -> Self {
        times.sort_unstable();
        Self { median: times[times.len() / 2], fastest: times[0] }
    }

    fn print(self, name: &str, first: &Figures) {
        let (median, fastest) = (self.median.as_nanos(), self.fastest.as_nanos());
        let ratio = self.median.div_duration_f64(first.median);
        let of_fastest = self.fastest.div_duration_f64(first.fastest);
        print!("{name:<28} {median:>8} {fastest:>8} {ratio:>8.2} {of_fastest:>8.2}");
    }
}

fn uris(count: usize) -> Vec<Uri> {
    (0..count)
        .map(|n| format!("{URI}&n={n:07}").replace("path?", &format!("path/{n:07}?")))
        .map(|uri| uri.parse().expect("it is a URI"))
        .collect()
}

struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 33
    }

    fn below(&mut self, count: usize) -> usize {
        self.next() as usize % count
    }
}
