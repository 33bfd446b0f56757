use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
    task::Poll,
};

use bytes::Bytes;
use http::HeaderMap;

use crate::policy::Reason;

pub(super) enum Event {
    Chunk(Bytes),
    // Boxed: seldom there, and large beside a chunk.
    End(Option<Box<HeaderMap>>),
}

#[derive(Default)]
pub(super) struct Queue(Mutex<Queued>);

#[derive(Default)]
struct Queued {
    events: VecDeque<Event>,
    bytes: u64,
    given_up: Option<Reason>,
}

impl Queue {
    pub(super) fn push(&self, event: Event) {
        let mut queued = self.lock();
        if let Event::Chunk(chunk) = &event {
            queued.bytes += chunk.len() as u64;
        }
        queued.events.push_back(event);
    }

    /// The store has taken too long.
    pub(super) fn is_late(&self) {
        self.give_up(Reason::StoreTimeout);
    }

    pub(super) fn lag(&self) -> u64 {
        self.lock().bytes
    }

    /// Nothing more is to be stored.
    pub(super) fn give_up(&self, reason: Reason) {
        self.lock().given_up = Some(reason);
    }

    /// Why it was given up, if it was.
    pub(super) fn given_up(&self) -> Option<Reason> {
        self.lock().given_up
    }

    /// Nobody is woken: whoever pushes polls the pump next, and the last event comes before the pump
    /// goes elsewhere.
    pub(super) fn poll_next(&self) -> Poll<Event> {
        let mut queued = self.lock();
        match queued.events.pop_front() {
            Some(event) => {
                if let Event::Chunk(chunk) = &event {
                    queued.bytes -= chunk.len() as u64;
                }
                Poll::Ready(event)
            }
            None => Poll::Pending,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Queued> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
