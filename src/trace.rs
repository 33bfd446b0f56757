//! What a cache does, as events and spans of [`tracing`](https://docs.rs/tracing) (feature
//! `tracing`).
//!
//! All have the target `larder`. Each request gets one event, `answered`, in whatever span it came
//! in, with the words and reasons of its `Cache-Status`:
//!
//! | event | level | fields |
//! |---|---|---|
//! | `answered` | debug | `served`, `reason`, `ttl`, `stored`, `collapsed`, `status`, `bytes`, `seconds` |
//! | `failed`, `left` | debug | `seconds` |
//! | `waited` | debug | `outcome`, `seconds` |
//! | `stored`, `not stored` | debug | `bytes`, `reason` |
//! | `body broke off` | warn | |
//! | `store failed` | warn | `operation`, `error` |
//! | `refresh` | debug, warn where it failed | `step`, `seconds` |
//! | `purge`, `swept` | info | `seq`, `purge`; `count`, `seconds` |
//! | `evicted` | debug | `records`, `variants`, `refused` |
//!
//! Each request to the inner service has a span at debug level, `origin`: `reason`, `refresh`,
//! `authority`, and as soon as it is known `status` (0 for an error) and `seconds`. It is the child of the
//! span in which the request came, it is entered whenever the inner service or its body is polled,
//! whoever polls it, and it closes when the body has been stored or handed on. So what the inner
//! service logs is never found in the span of another request that waits for the same. A refresh has
//! one, too.
//!
//! Of URLs only the authority is told; paths and queries may have secrets. A `TraceLayer` outside of
//! the cache tells those, where they are wanted.
//!
//! ```
//! use larder::{CacheLayer, MemoryManager, TracingObserver};
//!
//! let cache = CacheLayer::new(MemoryManager::new(64 << 20)).observer(TracingObserver::new());
//! ```

use std::{
    collections::HashMap,
    fmt,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tracing::{Span, debug, debug_span, field::Empty, info, warn};

use crate::{
    observe::{Event, Observer, OriginId, Refreshing},
    policy::CacheStatus,
    purge::PurgeEvent,
};

/// An [`Observer`] that tells what happens as events and spans: see the [module](self).
#[derive(Default)]
pub struct TracingObserver {
    origin: Mutex<HashMap<OriginId, Span>>,
}

const TARGET: &str = "larder";

impl TracingObserver {
    /// It tells whatever subscriber there is where things happen.
    pub fn new() -> Self {
        Self::default()
    }

    fn spans(&self) -> MutexGuard<'_, HashMap<OriginId, Span>> {
        self.origin.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn span(&self, id: OriginId) -> Option<Span> {
        self.spans().get(&id).cloned()
    }
}

impl Observer for TracingObserver {
    fn observe(&self, event: &Event<'_>) {
        match *event {
            Event::Answered { status, code, bytes, took } => {
                answered(status, code.as_u16(), bytes, took);
            }
            Event::Failed { took } => {
                debug!(target: TARGET, seconds = took.as_secs_f64(), "failed");
            }
            Event::Left { took } => {
                debug!(target: TARGET, seconds = took.as_secs_f64(), "left");
            }
            Event::OriginAsked { id, key, reason, is_refresh } => {
                let authority = key.map(|key| key.authority());
                let (reason, refresh) = (reason.as_str(), is_refresh);
                let span = debug_span!(
                    target: TARGET, "origin", reason, refresh, authority,
                    status = Empty, seconds = Empty,
                );
                if !span.is_disabled() {
                    self.spans().insert(id, span);
                }
            }
            Event::OriginAnswered { id, code, took } => {
                if let Some(span) = self.span(id) {
                    span.record("status", code.map_or(0, |code| code.as_u16()));
                    span.record("seconds", took.as_secs_f64());
                }
            }
            Event::OriginDone { id, .. } => {
                let done = self.spans().remove(&id);
                // Not under the lock: a span that closes calls its subscriber.
                drop(done);
            }
            Event::Waited { outcome, took } => {
                let (outcome, seconds) = (outcome.as_str(), took.as_secs_f64());
                debug!(target: TARGET, outcome, seconds, "waited");
            }
            Event::Stored { bytes } => debug!(target: TARGET, bytes, "stored"),
            Event::NotStored { reason } => {
                debug!(target: TARGET, reason = reason.as_str(), "not stored");
            }
            Event::BodyFailed => warn!(target: TARGET, "body broke off"),
            Event::StoreFailed { operation, error } => {
                warn!(target: TARGET, operation = operation.as_str(), %error, "store failed");
            }
            Event::Refresh { step } => refresh(step),
            Event::Purge(PurgeEvent::Purged(record)) => {
                let (seq, purge) = (record.seq(), record.purge());
                info!(target: TARGET, seq, %purge, "purge");
            }
            Event::Purge(PurgeEvent::Swept { record, count, took }) => {
                let (seq, purge, seconds) = (record.seq(), record.purge(), took.as_secs_f64());
                info!(target: TARGET, seq, %purge, count, seconds, "swept");
            }
            Event::Purge(PurgeEvent::Lagged(missed)) => {
                warn!(target: TARGET, missed, "purges went untold");
            }
            Event::Usage { evicted: 0, variants_evicted: 0, variants_refused: 0, .. } => {}
            Event::Usage { evicted, variants_evicted, variants_refused, .. } => {
                let (records, variants, refused) = (evicted, variants_evicted, variants_refused);
                debug!(target: TARGET, records, variants, refused, "evicted");
            }
        }
    }

    fn within(&self, id: OriginId, work: &mut dyn FnMut()) {
        match self.span(id) {
            Some(span) => span.in_scope(work),
            None => work(),
        }
    }
}

fn answered(status: CacheStatus, code: u16, bytes: Option<u64>, took: Duration) {
    debug!(
        target: TARGET,
        served = status.served().as_str(),
        reason = status.reason().map(|reason| reason.as_str()),
        ttl = status.ttl(),
        stored = status.is_stored(),
        collapsed = status.is_collapsed(),
        status = code,
        bytes,
        seconds = took.as_secs_f64(),
        "answered"
    );
}

fn refresh(step: Refreshing) {
    let word = step.as_str();
    match step {
        Refreshing::Begun => debug!(target: TARGET, step = word, "refresh"),
        Refreshing::Refused => warn!(target: TARGET, step = word, "refresh"),
        Refreshing::Done { took } => {
            debug!(target: TARGET, step = word, seconds = took.as_secs_f64(), "refresh");
        }
        Refreshing::Failed { took } | Refreshing::TimedOut { took } => {
            warn!(target: TARGET, step = word, seconds = took.as_secs_f64(), "refresh");
        }
    }
}

impl fmt::Debug for TracingObserver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TracingObserver")
    }
}
