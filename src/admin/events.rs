//! Purges as server-sent events.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use serde_json::{Value, json};

use super::render;
use crate::{
    BoxFuture, CacheHandle, CacheManager, Clock,
    background::Closing,
    policy::Timestamp,
    purge::{PurgeEvent, PurgeStream},
};

/// A stream of them. It ends when the cache is shut down.
pub(super) struct Events {
    purges: PurgeStream,
    closing: Closing,
    clock: Arc<dyn Clock>,
    beat: Beat,
    is_new: bool,
    _place: Place,
}

/// When to say that there is nothing to say, so that nobody takes the connection for dead.
struct Beat {
    since: Timestamp,
    timer: Option<BoxFuture>,
}

const BEAT: Duration = Duration::from_secs(15);

impl Events {
    pub(super) fn new<M: CacheManager>(handle: &CacheHandle<M>, place: Place) -> Self {
        let clock = handle.core.clock.clone();
        Self {
            purges: handle.purges(),
            closing: handle.core.background.closing(),
            beat: Beat { since: clock.now(), timer: clock.sleep(BEAT) },
            clock,
            is_new: true,
            _place: place,
        }
    }

    /// `None`: it has ended.
    pub(super) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        if std::mem::take(&mut self.is_new) {
            // Whoever reads this knows that nothing is missed from here on.
            return Poll::Ready(Some(Bytes::from_static(b"retry: 2000\n\n")));
        }
        if self.closing.poll(cx).is_ready() {
            return Poll::Ready(None);
        }
        if let Poll::Ready(event) = self.purges.poll_next(cx) {
            let (name, data) = show(&event);
            return Poll::Ready(Some(format!("event: {name}\ndata: {data}\n\n").into()));
        }
        if !self.beat.is_due(&*self.clock, cx) {
            return Poll::Pending;
        }
        Poll::Ready(Some(Bytes::from_static(b":\n\n")))
    }
}

impl Beat {
    fn is_due(&mut self, clock: &dyn Clock, cx: &mut Context<'_>) -> bool {
        let rings = self.timer.as_mut().is_some_and(|timer| timer.as_mut().poll(cx).is_ready());
        let now = clock.now();
        if !rings && now.since(self.since) < BEAT {
            return false;
        }
        *self = Self { since: now, timer: clock.sleep(BEAT) };
        true
    }
}

fn show(event: &PurgeEvent) -> (&'static str, Value) {
    match event {
        PurgeEvent::Purged(record) => ("purged", render::record(record)),
        PurgeEvent::Swept { record, count, took } => {
            let mut shown = render::record(record);
            shown["count"] = (*count).into();
            shown["took_ms"] = json!(took.as_secs_f64() * 1000.0);
            ("swept", shown)
        }
        PurgeEvent::Lagged(missed) => ("lagged", json!({ "missed": missed })),
    }
}

/// How many follow.
#[derive(Default)]
pub(super) struct Places(Arc<AtomicUsize>);

/// More are not served at a time.
pub(super) const MAX_FOLLOWERS: usize = 64;

impl Places {
    pub(super) fn take(&self) -> Option<Place> {
        let place = Place(self.0.clone());
        // Given back by the drop, if it is one too many.
        (self.0.fetch_add(1, Ordering::AcqRel) < MAX_FOLLOWERS).then_some(place)
    }
}

pub(super) struct Place(Arc<AtomicUsize>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}
