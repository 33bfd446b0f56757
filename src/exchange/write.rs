use std::{
    future::poll_fn,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use bytes::Bytes;
use http::{Request, Response, response};
use http_body::Body;
use tower_service::Service;

use super::{
    Answered,
    brought::{Brought, Leading, Report, Slot},
    filling::{Filling, pass_unfit, unfit},
    pass,
};
use crate::{
    BoxError,
    body::size_of_body,
    executor::Persistent,
    flight::{Flight, Pilot},
    inflight::Fetching,
    joined::Source,
    observe::Operation,
    policy::{CacheStatus, Invalidated, Reason, Store, Unsafe},
    purge::Purge,
    shared::Core,
    storage::CacheManager,
    witness::Asking,
};

/// Writes through, and invalidates before the client hears of it (RFC 9111 §4.4).
pub(crate) async fn write_through<S, M, ReqB, ResB>(
    core: Arc<Core<M>>,
    mut inner: S,
    request: Request<ReqB>,
    mut unsafe_request: Unsafe,
    began: u64,
) -> Answered<ResB, S::Error>
where
    S: Service<Request<ReqB>, Response = Response<ResB>>,
    S::Error: Send + 'static,
    ResB: Body<Data = Bytes> + Send + 'static,
    ResB::Error: Into<BoxError>,
    M: CacheManager,
{
    let requested = core.clock.now();
    let may_be_kept = unsafe_request.may_be_kept();
    let key = unsafe_request.key();
    let mut kept = may_be_kept.then(|| core.purges.inflight().enter_write(key, began));
    let mut status = CacheStatus::forwarded(Reason::UnsafeMethod);
    let (witness, clock) = (&core.emit.witness, &core.clock);
    let origin = Asking::begin(witness, clock, Some(key), Reason::UnsafeMethod, false);
    let asked = origin.run(async {
        poll_fn(|cx| inner.poll_ready(cx)).await?;
        inner.call(request).await
    });
    let asked = asked.await;
    origin.answered(asked.as_ref().ok().map(Response::status));
    let (mut head, body) = asked?.into_parts();
    let (size, times) = (size_of_body(&body), (requested, core.clock.now()));
    let store = unsafe_request.store(&mut head, &size, times, began, core.manager.secret());
    let invalidated = unsafe_request.on_response(&head);
    // First those on their way, then the store: what slips between is refused by the store.
    for key in invalidated.keys() {
        match &mut kept {
            Some(fetching) if key == invalidated.target() => fetching.invalidate_others(),
            _ => core.purges.inflight().invalidate(key),
        }
    }
    for group in invalidated.groups() {
        core.purges.append(Purge::group_of(invalidated.target(), group));
    }
    if invalidated.clears_origin() {
        core.purges.append(Purge::host_of(invalidated.target()));
        core.sweep();
    }
    if core.purges.is_crowded() {
        core.sweep();
    }
    let failed = Arc::new(AtomicBool::new(false));
    let deleting = delete_all(core.clone(), invalidated, failed.clone());
    // The origin has changed, even for a client that is gone before the store knows.
    Persistent::new(Box::pin(deleting), core.executor.clone()).await;
    if failed.load(Ordering::Acquire) {
        status = status.detailed(Reason::StoreError);
    } else if let (Some(store), Some(fetching)) = (store, kept)
        && !fetching.is_invalidated()
    {
        return keep(core, head, body, store, fetching).await;
    }
    Ok(pass(Response::from_parts(head, body), true, status))
}

/// Stores the response to a POST as it streams by (RFC 9110 §9.3.3).
async fn keep<M, ResB, E>(
    core: Arc<Core<M>>,
    head: response::Parts,
    body: ResB,
    store: Store,
    fetching: Fetching,
) -> Answered<ResB, E>
where
    E: Send + 'static,
    ResB: Body<Data = Bytes> + Send + 'static,
    ResB::Error: Into<BoxError>,
    M: CacheManager,
{
    let slot = Slot::<Result<Brought<ResB>, E>>::new();
    let (executor, began) = (core.executor.clone(), core.clock.now());
    let passenger = Flight::prepare(executor, core.waits.disconnect, began);
    let flight = passenger.flight();
    let board = flight.board().clone();
    let pilot = Pilot::new(board.clone());
    let report = Report { fetching, board, slot: slot.bringer() };
    let body = Source::Origin { body };
    if let Some(reason) = unfit(&core, &store) {
        pass_unfit(&core, (head, body), &store, reason, (pilot, &report));
    } else if let Some(filling) = Filling::begin(core, head, (None, None), store, pilot, report) {
        flight.begin(Box::pin(async { filling.run(pin!(body)).await }));
    }
    Leading::new(passenger, slot).await
}

async fn delete_all<M: CacheManager>(
    core: Arc<Core<M>>,
    invalidated: Invalidated,
    failed: Arc<AtomicBool>,
) {
    for key in invalidated.keys() {
        if core.within(Operation::Delete, core.manager.delete(key)).await.is_err() {
            // What the store could not do the log does: the old response is not served again.
            core.purges.append(Purge::resource(key));
            failed.store(true, Ordering::Release);
        }
    }
    let is_in_log = failed.load(Ordering::Acquire)
        || !invalidated.groups().is_empty()
        || invalidated.clears_origin();
    if is_in_log && core.within(Operation::Log, core.purges.sync()).await.is_err() {
        failed.store(true, Ordering::Release);
    }
    let groups = invalidated.groups().iter();
    core.announce(groups.map(|group| Purge::group_of(invalidated.target(), group))).await;
}
