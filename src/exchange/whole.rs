//! A response whose body is there in one piece, in a store that makes nobody wait: nothing has to be
//! kept for readers, or queued for the store.

use std::{
    pin::Pin,
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use http::{Response, response};
use http_body::{Body, Frame};

use super::brought::{Bringer, Brought, Report};
use crate::{
    BoxError, CacheBody,
    fill::First,
    flight::{Board, Landing, Pilot},
    inflight::Lapse,
    observe::Event,
    policy::{Reason, Store},
    recorder::{self, Record},
    shared::Core,
    storage::{CacheManager, StoredBody},
};

/// All of the body, if it is there and nobody else waits for it; or else what it gave.
pub(super) fn look<M, B>(
    core: &Core<M>,
    store: &Store,
    board: &Board,
    body: Pin<&mut B>,
) -> Result<Bytes, Option<First>>
where
    M: CacheManager,
    B: Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    let Some(length) = store.length().filter(|_| store.is_short()) else { return Err(None) };
    let may_be_there = body.size_hint().exact() == Some(length) && !body.is_end_stream();
    if !may_be_there || !core.manager.is_in_memory() || board.is_waited_for() {
        return Err(None);
    }
    // Whoever wants more of it asks again, and is woken then.
    match body.poll_frame(&mut Context::from_waker(Waker::noop())) {
        Poll::Pending | Poll::Ready(None) => Err(None),
        Poll::Ready(Some(Err(error))) => Err(Some(Err(error.into()))),
        Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
            Ok(data) if data.len() as u64 == length => Ok(data),
            Ok(data) => Err(Some(Ok(Frame::data(data)))),
            Err(frame) => Err(Some(Ok(frame))),
        },
    }
}

/// One that is being stored.
pub(super) struct Whole<ResB, E> {
    landing: Landing,
    pilot: Pilot,
    slot: Bringer<Result<Brought<ResB>, E>>,
    response: Box<Response<CacheBody<ResB>>>,
}

/// Begins to store it, unless it has been asked for too seldom.
pub(super) fn begin<M: CacheManager, ResB, E>(
    core: &Core<M>,
    (head, body): (response::Parts, Bytes),
    store: Store,
    pilot: Pilot,
    report: Report<ResB, E>,
) -> (Option<impl Future<Output = ()> + Send>, Whole<ResB, E>) {
    let Report { fetching, slot, .. } = report;
    let landing = if store.is_reusable() && store.is_shareable() {
        let running = store.running();
        fetching.is_shared(running.names(), running.variant());
        Landing::LookAgain
    } else {
        fetching.is_not_shared(Lapse::ForOne, core.clock.now());
        Landing::Alone
    };
    let is_wanted = core.uses.admits(fetching.key());
    let reason = Reason::FewUses;
    let status = if is_wanted { store.status() } else { store.status().detailed(reason) };
    let storing = if is_wanted {
        let (placement, stored) = store.into_parts();
        let (tagging, due, splice) = (None, None, None);
        let record = Record { placement, head: stored, tagging, fetching, due, splice };
        let (witness, patience) = (core.emit.witness.clone(), (&*core.clock, core.store_timeout));
        Some(recorder::store(&core.manager, record, body.clone(), witness, patience))
    } else {
        core.tell(&Event::NotStored { reason });
        None
    };
    let body = CacheBody::stored(StoredBody::from_bytes(body, None), status);
    let response = Box::new(Response::from_parts(head, body));
    (storing, Whole { landing, pilot, slot, response })
}

impl<ResB, E> Whole<ResB, E> {
    /// It is stored, or is not going to be.
    pub(super) fn land(self) {
        self.pilot.land(self.landing);
        self.slot.put(Ok(Brought::Ready(self.response)));
    }
}
