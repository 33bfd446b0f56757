//! An observer that writes down what it hears.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use larder::{
    CacheManager, PurgeEvent,
    observe::{Event, Observer, Refreshing},
};

use crate::support::Cache;

/// Writes down what it hears.
#[derive(Clone, Default)]
pub(crate) struct Notes(Arc<Mutex<Vec<String>>>);

impl Notes {
    fn push(&self, note: impl Into<String>) {
        self.0.lock().unwrap().push(note.into());
    }

    /// What was heard since the last time.
    pub(crate) fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }

    /// The same, of one kind of event.
    pub(crate) fn of(&self, kind: &str) -> Vec<String> {
        self.take().into_iter().filter(|note| note.starts_with(kind)).collect()
    }
}

fn seconds(took: Duration) -> String {
    if took.is_zero() { String::new() } else { format!(" {} s", took.as_secs_f64()) }
}

impl Observer for Notes {
    fn observe(&self, event: &Event<'_>) {
        self.push(match *event {
            Event::Answered { status, code, bytes, took, .. } => {
                let bytes = bytes.map_or("?".to_owned(), |bytes| bytes.to_string());
                format!("answered {} {} {bytes}{}", status.served(), code.as_u16(), seconds(took))
            }
            Event::Failed { took, .. } => format!("failed{}", seconds(took)),
            Event::Left { took, .. } => format!("left{}", seconds(took)),
            Event::OriginAsked { reason, is_refresh, .. } => {
                format!("origin asked: {reason}{}", if is_refresh { ", refresh" } else { "" })
            }
            Event::OriginAnswered { code, took, .. } => {
                let code = code.map_or("error".to_owned(), |code| code.as_str().to_owned());
                format!("origin answered {code}{}", seconds(took))
            }
            Event::OriginDone { took, .. } => format!("origin done{}", seconds(took)),
            Event::Waited { outcome, took, .. } => {
                format!("waited: {}{}", outcome.as_str(), seconds(took))
            }
            Event::Stored { bytes, .. } => format!("stored {bytes}"),
            Event::NotStored { reason, .. } => format!("not stored: {reason}"),
            Event::BodyFailed => "body failed".to_owned(),
            Event::StoreFailed { operation, error, .. } => {
                let how = if error.is_timed_out() { "late" } else { "failed" };
                format!("store {how}: {}", operation.as_str())
            }
            Event::Refresh { step, .. } => {
                let took = match step {
                    Refreshing::Done { took, .. }
                    | Refreshing::Failed { took, .. }
                    | Refreshing::TimedOut { took, .. } => took,
                    _ => Duration::ZERO,
                };
                format!("refresh {}{}", step.as_str(), seconds(took))
            }
            Event::Purge(PurgeEvent::Purged(record)) => format!("purge {}", record.purge()),
            Event::Purge(PurgeEvent::Swept { record, count, .. }) => {
                format!("swept {}: {count}", record.purge())
            }
            // Told where something has gone.
            Event::Usage { evicted: 0, variants_evicted: 0, variants_refused: 0, .. } => return,
            Event::Usage { evicted, variants_evicted, variants_refused, .. } => {
                format!("gone {evicted} {variants_evicted} {variants_refused}")
            }
            _ => "something else".to_owned(),
        });
    }
}

/// A cache that is observed.
pub(crate) fn observed<M: CacheManager>(cache: Cache<M>) -> (Cache<M>, Notes) {
    let notes = Notes::default();
    let observer = notes.clone();
    (cache.layered(|layer| layer.observer(observer)), notes)
}
