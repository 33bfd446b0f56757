#![doc = include_str!("metrics.md")]

use std::{fmt, sync::OnceLock, time::Duration};

use http::StatusCode;
use metrics::{
    Counter, Gauge, Histogram, Label, Unit, counter, describe_counter, describe_gauge,
    describe_histogram, gauge, histogram,
};

use crate::{
    Error,
    observe::{Event, Observer, Wait},
    policy::{CacheStatus, Served},
    purge::PurgeEvent,
};

/// An [`Observer`] that counts and measures by the `metrics` facade: see the [module](self) for what
/// and under which names.
///
/// It goes by the recorder that is installed when the first event comes, or that is the thread's own
/// then; without one it costs a little and measures nothing. A hit with a whole recorder is three
/// updates of numbers that are at hand, without a look-up.
///
/// ```
/// use larder::{CacheLayer, MemoryManager, MetricsObserver};
///
/// let cache = CacheLayer::new(MemoryManager::new(64 << 20)).observer(MetricsObserver::new());
/// ```
#[derive(Default)]
pub struct MetricsObserver {
    name: Option<&'static str>,
    instruments: OnceLock<Instruments>,
}

impl MetricsObserver {
    /// For the only cache of a program.
    pub fn new() -> Self {
        Self::default()
    }

    /// For one of several: everything has the label `cache` with this name.
    pub fn named(name: &'static str) -> Self {
        Self { name: Some(name), ..Self::default() }
    }

    fn labels<const N: usize>(&self, labels: [(&'static str, &'static str); N]) -> Vec<Label> {
        let name = self.name.map(|name| ("cache", name));
        let all = labels.into_iter().chain(name);
        all.map(|(key, value)| Label::from_static_parts(key, value)).collect()
    }

    fn answered(
        &self,
        at_hand: &Instruments,
        status: CacheStatus,
        bytes: Option<u64>,
        took: Duration,
    ) {
        let served = status.served();
        let Answers { count, time, bytes: served_bytes } = &at_hand.answers[served as usize];
        count.increment(1);
        time.record(took);
        served_bytes.increment(bytes.unwrap_or_default());
        if let Some(reason) = status.forward_reason() {
            let labels = self.labels([("reason", reason.as_str())]);
            counter!("larder_forwarded_total", labels).increment(1);
        }
    }

    fn store_failed(&self, operation: &'static str, error: &Error) {
        let cause = if error.is_timed_out() {
            "timeout"
        } else if error.is_corrupt() {
            "corrupt"
        } else {
            "error"
        };
        let labels = self.labels([("operation", operation), ("cause", cause)]);
        counter!("larder_store_failures_total", labels).increment(1);
    }
}

impl Observer for MetricsObserver {
    fn observe(&self, event: &Event<'_>) {
        let at_hand = self.instruments.get_or_init(|| Instruments::new(self));
        match *event {
            Event::Answered { status, bytes, took, .. } => {
                self.answered(at_hand, status, bytes, took);
            }
            Event::Failed { took } => at_hand.failed.add(took),
            Event::Left { took } => at_hand.left.add(took),
            Event::OriginAsked { is_refresh, .. } => {
                at_hand.origin[usize::from(is_refresh)].increment(1);
                at_hand.origin_under_way.increment(1);
            }
            Event::OriginAnswered { code, took, .. } => {
                at_hand.origin_time[class(code)].record(took);
            }
            Event::OriginDone { .. } => at_hand.origin_under_way.decrement(1),
            Event::Waited { outcome, took } => at_hand.waits[outcome as usize].record(took),
            Event::Stored { bytes } => {
                at_hand.stored.increment(1);
                at_hand.stored_bytes.increment(bytes);
            }
            Event::NotStored { reason } => {
                let labels = self.labels([("reason", reason.as_str())]);
                counter!("larder_not_stored_total", labels).increment(1);
            }
            Event::BodyFailed => at_hand.body_failures.increment(1),
            Event::StoreFailed { operation, error } => {
                self.store_failed(operation.as_str(), error);
            }
            Event::Refresh { step } => {
                let labels = self.labels([("step", step.as_str())]);
                counter!("larder_refreshes_total", labels).increment(1);
            }
            Event::Purge(PurgeEvent::Purged(record)) => {
                at_hand.purges[usize::from(record.purge().is_soft())].increment(1);
            }
            Event::Purge(PurgeEvent::Swept { count, took, .. }) => {
                at_hand.purged.increment(*count);
                at_hand.sweeps.record(*took);
            }
            Event::Purge(PurgeEvent::Lagged(_)) => {}
            Event::Usage { usage, evicted, variants_evicted, variants_refused } => {
                at_hand.records.set(usage.records() as f64);
                at_hand.bytes.set(usage.bytes() as f64);
                at_hand.evicted.increment(evicted);
                at_hand.variants_evicted.increment(variants_evicted);
                at_hand.variants_refused.increment(variants_refused);
            }
        }
    }
}

impl fmt::Debug for MetricsObserver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MetricsObserver").field("name", &self.name).finish_non_exhaustive()
    }
}

/// What is at hand, so that nothing has to be looked up for a hit.
struct Instruments {
    answers: [Answers; Served::ALL.len()],
    failed: End,
    left: End,
    origin: [Counter; 2],
    origin_under_way: Gauge,
    origin_time: [Histogram; CLASSES.len()],
    waits: [Histogram; Wait::ALL.len()],
    stored: Counter,
    stored_bytes: Counter,
    body_failures: Counter,
    purges: [Counter; 2],
    purged: Counter,
    sweeps: Histogram,
    records: Gauge,
    bytes: Gauge,
    evicted: Counter,
    variants_evicted: Counter,
    variants_refused: Counter,
}

struct Answers {
    count: Counter,
    time: Histogram,
    bytes: Counter,
}

/// Requests that came to nothing.
struct End {
    count: Counter,
    time: Histogram,
}

impl End {
    fn add(&self, took: Duration) {
        self.count.increment(1);
        self.time.record(took);
    }
}

const CLASSES: [&str; 6] = ["error", "1xx", "2xx", "3xx", "4xx", "5xx"];

/// Where the class of a status code stands.
fn class(code: Option<StatusCode>) -> usize {
    code.map_or(0, |code| usize::from(code.as_u16() / 100)).min(CLASSES.len() - 1)
}

impl Instruments {
    fn new(observer: &MetricsObserver) -> Self {
        describe();
        let count = |name: &'static str| counter!(name, observer.labels([]));
        let end = |served| End {
            count: counter!("larder_requests_total", observer.labels([("served", served)])),
            time: histogram!(
                "larder_request_duration_seconds",
                observer.labels([("served", served)])
            ),
        };
        let answers = |served: Served| {
            let End { count, time } = end(served.as_str());
            let labels = observer.labels([("served", served.as_str())]);
            Answers { count, time, bytes: counter!("larder_served_bytes_total", labels) }
        };
        let origin =
            |cause| counter!("larder_origin_requests_total", observer.labels([("for", cause)]));
        let origin_time = |class| {
            histogram!("larder_origin_duration_seconds", observer.labels([("status", class)]))
        };
        let wait = |wait: Wait| {
            let labels = observer.labels([("outcome", wait.as_str())]);
            histogram!("larder_wait_duration_seconds", labels)
        };
        let purges = |kind| counter!("larder_purges_total", observer.labels([("kind", kind)]));
        Self {
            answers: Served::ALL.map(answers),
            failed: end("failed"),
            left: end("left"),
            origin: ["request", "refresh"].map(origin),
            origin_under_way: gauge!("larder_origin_requests", observer.labels([])),
            origin_time: CLASSES.map(origin_time),
            waits: Wait::ALL.map(wait),
            stored: count("larder_stored_total"),
            stored_bytes: count("larder_stored_bytes_total"),
            body_failures: count("larder_body_failures_total"),
            purges: ["hard", "soft"].map(purges),
            purged: count("larder_purged_responses_total"),
            sweeps: histogram!("larder_sweep_duration_seconds", observer.labels([])),
            records: gauge!("larder_store_records", observer.labels([])),
            bytes: gauge!("larder_store_bytes", observer.labels([])),
            evicted: count("larder_evicted_total"),
            variants_evicted: count("larder_variants_evicted_total"),
            variants_refused: count("larder_variants_refused_total"),
        }
    }
}

fn describe() {
    const COUNTERS: [(&str, Unit, &str); 15] = [
        ("larder_requests_total", Unit::Count, "Requests, by what they were answered with"),
        ("larder_served_bytes_total", Unit::Bytes, "Bytes of the bodies that were answered with"),
        ("larder_forwarded_total", Unit::Count, "Requests not answered from the store, by reason"),
        ("larder_origin_requests_total", Unit::Count, "Requests to the inner service"),
        ("larder_stored_total", Unit::Count, "Responses that were stored"),
        ("larder_stored_bytes_total", Unit::Bytes, "Bytes of their bodies"),
        ("larder_not_stored_total", Unit::Count, "Responses that were not stored, by reason"),
        ("larder_body_failures_total", Unit::Count, "Bodies that broke off while being stored"),
        ("larder_store_failures_total", Unit::Count, "Failures and time-outs of the store"),
        ("larder_refreshes_total", Unit::Count, "Background refreshes, by step"),
        ("larder_purges_total", Unit::Count, "Purges"),
        ("larder_purged_responses_total", Unit::Count, "Responses that purges took out"),
        ("larder_evicted_total", Unit::Count, "Records that made room for others"),
        ("larder_variants_evicted_total", Unit::Count, "Variants beyond the bound of a resource"),
        ("larder_variants_refused_total", Unit::Count, "Variants that took too much to be stored"),
    ];
    const HISTOGRAMS: [(&str, &str); 4] = [
        ("larder_request_duration_seconds", "From the request to the head of its answer"),
        ("larder_origin_duration_seconds", "The same of requests to the inner service"),
        ("larder_wait_duration_seconds", "How long requests waited for others"),
        ("larder_sweep_duration_seconds", "From a purge to the end of the walk behind it"),
    ];
    for (name, unit, text) in COUNTERS {
        describe_counter!(name, unit, text);
    }
    for (name, text) in HISTOGRAMS {
        describe_histogram!(name, Unit::Seconds, text);
    }
    describe_gauge!("larder_origin_requests", Unit::Count, "Requests to the inner service now");
    describe_gauge!("larder_store_records", Unit::Count, "Records in the store");
    describe_gauge!("larder_store_bytes", Unit::Bytes, "Bytes in the store");
}
