//! What the `metrics` facade is told, by a recorder that writes everything down.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use larder::{MetricsObserver, Policy, Purge};
use metrics::{
    Counter, CounterFn, Gauge, GaugeFn, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder,
    SharedString, Unit, with_local_recorder,
};

use super::spy::{Call, Fault, Spy};
use crate::support::{Cache, cache, cache_over, now_or_never, ok, request, status};

/// All series, by name and labels: what was added up, set, or recorded.
#[derive(Clone, Default)]
struct Book {
    series: Arc<Mutex<BTreeMap<String, Vec<f64>>>>,
    described: Arc<Mutex<BTreeSet<String>>>,
    registered: Arc<AtomicUsize>,
}

struct Series(Book, String);

impl Series {
    fn change(&self, change: impl FnOnce(&mut Vec<f64>)) {
        change(self.0.series.lock().unwrap().entry(self.1.clone()).or_default());
    }

    fn add(&self, value: f64) {
        self.change(|values| match values.first_mut() {
            Some(sum) => *sum += value,
            None => values.push(value),
        });
    }
}

impl CounterFn for Series {
    fn increment(&self, value: u64) {
        self.add(value as f64);
    }

    fn absolute(&self, value: u64) {
        self.change(|values| *values = vec![value as f64]);
    }
}

impl GaugeFn for Series {
    fn increment(&self, value: f64) {
        self.add(value);
    }

    fn decrement(&self, value: f64) {
        self.add(-value);
    }

    fn set(&self, value: f64) {
        self.change(|values| *values = vec![value]);
    }
}

impl HistogramFn for Series {
    fn record(&self, value: f64) {
        self.change(|values| values.push(value));
    }
}

impl Book {
    fn series(&self, key: &Key) -> Arc<Series> {
        self.registered.fetch_add(1, Ordering::Relaxed);
        let mut labels: Vec<_> =
            key.labels().map(|label| format!("{}={}", label.key(), label.value())).collect();
        labels.sort();
        Arc::new(Series(self.clone(), [vec![key.name().to_owned()], labels].concat().join(" ")))
    }

    /// What a series has come to.
    fn get(&self, series: &str) -> Vec<f64> {
        self.series.lock().unwrap().get(series).cloned().unwrap_or_default()
    }

    /// A counter or gauge.
    fn sum(&self, series: &str) -> f64 {
        self.get(series).first().copied().unwrap_or_default()
    }

    /// The series that have a value.
    fn names(&self) -> BTreeSet<String> {
        self.series.lock().unwrap().keys().cloned().collect()
    }
}

impl Recorder for Book {
    fn describe_counter(&self, key: KeyName, _: Option<Unit>, _: SharedString) {
        self.described.lock().unwrap().insert(key.as_str().to_owned());
    }

    fn describe_gauge(&self, key: KeyName, _: Option<Unit>, _: SharedString) {
        self.described.lock().unwrap().insert(key.as_str().to_owned());
    }

    fn describe_histogram(&self, key: KeyName, _: Option<Unit>, _: SharedString) {
        self.described.lock().unwrap().insert(key.as_str().to_owned());
    }

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(self.series(key))
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::from_arc(self.series(key))
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::from_arc(self.series(key))
    }
}

/// Nothing here waits, so that all of it happens on the thread that has the recorder.
fn get(cache: &Cache, path: &str) {
    now_or_never(cache.get(path)).expect("nothing waits");
}

fn measured(cache: Cache) -> Cache {
    cache.layered(|layer| layer.observer(MetricsObserver::new()))
}

/// Scenario 2.7: a histogram for each status, with the latencies that the clock shows: 800 ms for a
/// miss, 60 ms for a validation, nothing for a hit.
#[test]
fn each_status_has_a_histogram() {
    let book = Book::default();
    with_local_recorder(&book, || {
        let cache = measured(cache(Policy::shared()));
        let clock = cache.clock.clone();
        cache.origin.on_later(move |request| {
            let is_validation = request.headers().contains_key("if-none-match");
            clock.advance(Duration::from_millis(if is_validation { 60 } else { 800 }));
            let reply = ok().cache_control("max-age=10, stale-while-revalidate=5");
            let reply = reply.header("etag", "\"1\"").text("hello");
            async move { Ok(if is_validation { status(304).text("") } else { reply }) }
        });
        get(&cache, "/");
        get(&cache, "/");
        cache.clock.advance_secs(12);
        let cache = cache.layered(|layer| layer.executor(Nowhere));
        get(&cache, "/");
        cache.clock.advance_secs(12);
        get(&cache, "/");
    });
    for (served, times, bytes) in [
        ("miss", [0.8], 5.0),
        ("hit", [0.0], 5.0),
        ("stale", [0.0], 5.0),
        ("validated", [0.06], 5.0),
    ] {
        let series = |name| format!("{name} served={served}");
        assert_eq!(book.get(&series("larder_request_duration_seconds")), times, "{served}");
        assert_eq!(book.sum(&series("larder_requests_total")), 1.0, "{served}");
        assert_eq!(book.sum(&series("larder_served_bytes_total")), bytes, "{served}");
    }
    assert_eq!(book.get("larder_origin_duration_seconds status=2xx"), [0.8]);
    assert_eq!(book.get("larder_origin_duration_seconds status=3xx"), [0.06]);
    assert_eq!(book.sum("larder_origin_requests"), 0.0, "none is under way");
    assert_eq!(book.sum("larder_origin_requests_total for=request"), 2.0);
    assert_eq!(book.sum("larder_forwarded_total reason=uri-miss"), 1.0);
    assert_eq!(book.sum("larder_forwarded_total reason=stale"), 1.0);
    assert_eq!(book.sum("larder_store_records"), 1.0);
}

/// Takes tasks, and runs none.
struct Nowhere;

impl larder::Executor for Nowhere {
    fn execute(&self, _: larder::BoxFuture) -> Result<(), larder::BoxFuture> {
        Ok(())
    }
}

/// Purges, and failures of the store.
#[test]
fn purges_and_failures_are_counted() {
    let book = Book::default();
    with_local_recorder(&book, || {
        let cache = measured(cache(Policy::shared()));
        let cache = cache.layered(|layer| layer.executor(larder::NoExecutor));
        cache.origin.on(|_| ok().cache_control("max-age=10").text("x"));
        ["/a", "/b", "/c"].iter().for_each(|path| get(&cache, path));
        let handle = cache.layer.handle();
        for purge in [Purge::host("a.example").soft(), Purge::everything()] {
            let purged = now_or_never(handle.purge(purge)).unwrap().unwrap();
            now_or_never(purged.swept()).unwrap().unwrap();
        }
        let spy = Spy::waiting();
        spy.breaks(Call::Get, Fault::Fail);
        let failing = cache_over(spy, Policy::shared())
            .layered(|layer| layer.observer(MetricsObserver::named("pages")));
        failing.origin.on(|_| ok().text("x"));
        now_or_never(failing.get("/")).unwrap();
    });
    assert_eq!(book.sum("larder_purges_total kind=soft"), 1.0);
    assert_eq!(book.sum("larder_purges_total kind=hard"), 1.0);
    assert_eq!(book.sum("larder_purged_responses_total"), 6.0);
    assert_eq!(book.get("larder_sweep_duration_seconds").len(), 2);
    let failed = "larder_store_failures_total cache=pages cause=error operation=get";
    assert_eq!(book.sum(failed), 1.0);
    assert_eq!(book.sum("larder_requests_total cache=pages served=miss"), 1.0);
}

/// What is documented is described, and the other way round.
#[test]
fn all_names_are_documented() {
    let book = Book::default();
    with_local_recorder(&book, || {
        let cache = measured(cache(Policy::shared()));
        get(&cache, "/");
    });
    let text = include_str!("../../src/metrics.md");
    let table = text.lines().filter(|line| line.starts_with("| `larder_"));
    let first_cells = table.map(|line| line.split('|').nth(1).unwrap());
    let documented: BTreeSet<_> = first_cells
        .flat_map(|cell| cell.split('`').filter(|word| word.starts_with("larder_")))
        .map(str::to_owned)
        .collect();
    assert_eq!(*book.described.lock().unwrap(), documented);
    let used = book.names();
    let used: BTreeSet<_> = used.iter().map(|series| series.split(' ').next().unwrap()).collect();
    assert!(used.iter().all(|name| documented.contains(*name)), "{used:?}");
    // In the queries, too: with what Prometheus makes of a histogram.
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    for word in words.filter(|word| word.starts_with("larder_")) {
        let name = ["_bucket", "_count", "_sum"]
            .iter()
            .find_map(|end| word.strip_suffix(end))
            .unwrap_or(word);
        assert!(documented.contains(name), "{word}");
    }
}

/// No label comes from a request: a thousand URLs and tags make no more series than one. A hit looks
/// nothing up.
#[test]
fn series_are_bounded_and_hits_look_nothing_up() {
    let book = Book::default();
    with_local_recorder(&book, || {
        let cache = measured(cache(Policy::shared()));
        cache.origin.on(|request| {
            let reply = ok().cache_control("max-age=10").header("vary", "accept");
            reply.header("surrogate-key", request.uri().path()).text("x")
        });
        let visit = |n: usize| {
            let path = format!("/{n}?secret={n}");
            get(&cache, &path);
            get(&cache, &path);
            now_or_never(cache.get_with(&path, &[("accept", "b")])).unwrap();
            now_or_never(cache.send(request("POST", &path))).unwrap();
        };
        visit(0);
        let series = book.names();
        (1..1000).for_each(visit);
        assert_eq!(book.names(), series);
        get(&cache, "/hit");
        let registered = book.registered.load(Ordering::Relaxed);
        (0..100).for_each(|_| get(&cache, "/hit"));
        assert_eq!(book.registered.load(Ordering::Relaxed), registered);
    });
}
