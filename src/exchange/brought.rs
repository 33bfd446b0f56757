//! How an answer comes from a flight to the one who asked.

use std::{
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError, Weak},
    task::{Context, Poll, ready},
};

use http::{Response, response};
use http_body::SizeHint;

use super::Answered;
use crate::{
    CacheBody,
    body::Reader,
    flight::{Board, Passenger},
    inflight::Fetching,
    log::Cursor,
    policy::{CacheStatus, Content},
};

/// What a flight brings to the one who asked.
// It is brought once, and then it is over.
#[expect(clippy::large_enum_variant)]
pub(super) enum Brought<ResB> {
    Ready(Response<CacheBody<ResB>>),
    /// A response that is being stored; the reader is to be seated.
    Begun(Box<Begun>),
}

pub(super) struct Begun {
    pub(super) head: response::Parts,
    pub(super) cursor: Cursor,
    pub(super) content: Content,
    /// What the head may say of the length of a body that is not sent.
    pub(super) hint: SizeHint,
    pub(super) status: CacheStatus,
}

/// Where it is brought.
pub(super) struct Slot<T> {
    place: Arc<Mutex<Option<T>>>,
}

/// Brings it there, if there is still somebody to take it.
pub(super) struct Bringer<T> {
    place: Weak<Mutex<Option<T>>>,
}

impl<T> Slot<T> {
    pub(super) fn new() -> Self {
        Self { place: Arc::default() }
    }

    pub(super) fn bringer(&self) -> Bringer<T> {
        Bringer { place: Arc::downgrade(&self.place) }
    }

    pub(super) fn take(&self) -> Option<T> {
        self.place.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl<T> Bringer<T> {
    pub(super) fn put(&self, brought: T) {
        // With nobody at the other end it would hold on to what holds on to it.
        if let Some(slot) = self.place.upgrade() {
            *slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(brought);
        }
    }
}

/// The answer of the one who asked, who reads along.
fn seat<ResB>(brought: Brought<ResB>, passenger: Option<Passenger>) -> Response<CacheBody<ResB>> {
    match brought {
        Brought::Ready(response) => response,
        Brought::Begun(begun) => {
            let Begun { head, cursor, content, hint, status } = *begun;
            let read = |cursor| CacheBody::filling(Reader::new(cursor, passenger), status);
            let body = match content {
                Content::Part { start, end } => read(cursor.ranged(start..end)),
                // Who leaves here has had all that was asked for.
                Content::Nothing => CacheBody::empty(hint, status),
                Content::Whole | Content::Parts(_) => read(cursor),
            };
            Response::from_parts(head, body)
        }
    }
}

/// A request that asks: what its flight brings to the one who began it. Panics if the flight did,
/// whoever polled it then. Dropped, it leaves the flight to others.
pub(crate) struct Leading<ResB, E> {
    /// Until it is there.
    passenger: Option<Passenger>,
    slot: Slot<Result<Brought<ResB>, E>>,
}

impl<ResB, E> Leading<ResB, E> {
    pub(super) fn new(passenger: Passenger, slot: Slot<Result<Brought<ResB>, E>>) -> Self {
        Self { passenger: Some(passenger), slot }
    }
}

impl<ResB, E> Future for Leading<ResB, E> {
    type Output = Answered<ResB, E>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Self { passenger, slot } = &mut *self;
        // There is nothing more for who polls it again.
        let Some(leader) = passenger.as_ref() else { return Poll::Pending };
        let brought = ready!(leader.poll_own(cx, || slot.take()));
        let passenger = passenger.take();
        Poll::Ready(brought.map(|brought| seat(brought, passenger)))
    }
}

/// How a flight tells what it has come to.
pub(super) struct Report<ResB, E> {
    pub(super) fetching: Fetching,
    pub(super) board: Arc<Board>,
    pub(super) slot: Bringer<Result<Brought<ResB>, E>>,
}
