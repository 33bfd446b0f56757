//! A short response whose body is there in one piece, for a store in memory: nothing has to be kept for
//! readers, or queued for the store.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use http::{Response, response};
use http_body::{Body, Frame};

use super::{
    brought::{Bringer, Brought, Report},
    filling::keep,
};
use crate::{
    BoxError, CacheBody,
    fill::First,
    flight::{Board, Landing, Pilot, Sharing},
    inflight::Lapse,
    log::{Log, Writer},
    observe::Event,
    policy::{Reason, Store},
    recorder::{self, Record, Recorder, Storing},
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
        Poll::Pending => Err(None),
        Poll::Ready(None) => Err(Some(None)),
        Poll::Ready(Some(Err(error))) => Err(Some(Some(Err(error.into())))),
        Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
            Ok(data) if data.len() as u64 == length => Ok(data),
            Ok(data) => Err(Some(Some(Ok(Frame::data(data))))),
            Err(frame) => Err(Some(Some(Ok(frame)))),
        },
    }
}

/// One that the store is slow to take.
pub(super) struct Late<ResB, E> {
    recorder: Recorder,
    whole: Whole<ResB, E>,
}

struct Whole<ResB, E> {
    landing: Landing,
    pilot: Pilot,
    slot: Bringer<Result<Brought<ResB>, E>>,
    response: Response<CacheBody<ResB>>,
}

/// Stores it, unless it has been asked for too seldom, and brings it. `Some`: it is still to be stored.
pub(super) fn bring<M: CacheManager, ResB, E>(
    core: &Core<M>,
    (head, body): (response::Parts, Bytes),
    store: Store,
    pilot: Pilot,
    report: Report<ResB, E>,
) -> Option<Late<ResB, E>> {
    let Report { fetching, board, slot } = report;
    let running = (store.is_reusable() && store.is_shareable()).then(|| store.running());
    match &running {
        Some(running) => fetching.is_shared(running.names(), running.variant()),
        None => fetching.is_not_shared(Lapse::ForOne, core.clock.now()),
    }
    let (status, length) = (store.status(), store.length());
    let storing = if core.uses.admits(fetching.key()) {
        let (placement, stored) = store.into_parts();
        let (tagging, due, splice) = (None, None, None);
        let record = Record { placement, head: stored, tagging, fetching, due, splice };
        recorder::store(&core.manager, record, body.clone(), core.emit.witness.clone())
    } else {
        drop(fetching);
        let reason = Reason::FewUses;
        core.tell(&Event::NotStored { reason });
        Storing::Over(Some(reason))
    };
    let (status, late) = match storing {
        Storing::Over(None) => (status, None),
        Storing::Over(Some(reason)) => (status.detailed(reason), None),
        Storing::Late(recorder) => (status, Some(recorder)),
    };
    let landing = match running {
        None => Landing::Alone,
        Some(_) if late.is_none() => Landing::LookAgain,
        // Until the store has it, who comes reads it here.
        Some(running) => {
            let log = Log::new(board.bell(), core.budget.clone(), length, keep(core));
            let writer = Writer::new(log.clone());
            writer.write(body.clone());
            writer.finish(None);
            Landing::Shared(Arc::new(Sharing { running, log }))
        }
    };
    let body = CacheBody::stored(StoredBody::from_bytes(body, None), status);
    let response = Response::from_parts(head, body);
    let whole = Whole { landing, pilot, slot, response };
    match late {
        Some(recorder) => Some(Late { recorder, whole }),
        None => {
            whole.land();
            None
        }
    }
}

impl<ResB, E> Late<ResB, E> {
    /// Lets the executor store it. Without one that does, it is waited for, but not for long.
    pub(super) async fn run<M>(self, core: &Core<M>) {
        let Core { clock, executor, store_timeout, pending, .. } = core;
        self.recorder.hand_over(clock, &**executor, *store_timeout, pending).await;
        self.whole.land();
    }
}

impl<ResB, E> Whole<ResB, E> {
    fn land(self) {
        self.pilot.land(self.landing);
        self.slot.put(Ok(Brought::Ready(self.response)));
    }
}
