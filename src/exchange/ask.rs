use std::{future::poll_fn, pin::pin, task::Poll};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body::Body;
use tower_service::Service;

use super::{
    Answer, Ask, Exchange, Known, Since, answer,
    answer::{own, pass_source, send_stored},
    brought::{Brought, Report},
    change::{clear_origin, freshen, remove},
    filling::{Filling, pass_unfit, unfit},
    find, pass,
    refresh::Refreshment,
    whole,
};
use crate::{
    BoxError,
    body::size_of_body,
    flight::{Landing, Pilot},
    inflight::Lapse,
    joined::{Joined, Source},
    policy::{CacheStatus, Failure, Joint, Outcome},
    shared::Core,
    splice::Splice,
    storage::{CacheManager, Entry},
    witness::Asking,
};

/// Asks the origin, and does with its answer what the policy says.
///
/// What comes seldom, or only when the origin has answered, is boxed: all else waits with it.
pub(super) async fn ask<S, M, ReqB, ResB>(
    exchange: Box<Exchange<S, M, ReqB>>,
    report: Report<ResB, S::Error>,
) where
    S: Service<Request<ReqB>, Response = Response<ResB>> + Clone + Send + 'static,
    S::Future: Send + 'static,
    S::Error: Send + 'static,
    ReqB: Body + Send + 'static,
    ResB: Body<Data = Bytes> + Send + 'static,
    ResB::Error: Into<BoxError>,
    M: CacheManager,
{
    let Report { fetching, board, slot } = report;
    let pilot = Pilot::new(board.clone());
    let Exchange { core, mut inner, request, known, mut since } = *exchange;
    let (mut head, body) = request.into_parts();
    let Ask { fetch, found } = match known {
        Known::Miss(ask) => {
            if head.headers.is_empty() {
                ask.fetch.restore(&mut head.headers);
            }
            ask
        }
        Known::Nothing(lookup) => {
            let found = Box::pin(find(&core, &lookup, &head)).await;
            since.hear(&core);
            match answer(&core, lookup, &mut head, found) {
                Answer::Ask(ask) => ask,
                Answer::Ready(response) => {
                    drop(fetching);
                    pilot.land(Landing::LookAgain);
                    return slot.put(Ok(Brought::response(response)));
                }
                Answer::Refresh(response, refresh) => {
                    drop(fetching);
                    pilot.land(Landing::LookAgain);
                    let request = Request::from_parts(head, body);
                    let since = Since::now(&core);
                    let refresh = Refreshment { core, inner, request, since, refresh };
                    let response = Box::pin(refresh.run(response)).await;
                    return slot.put(Ok(Brought::response(response)));
                }
            }
        }
    };
    let wants_body = fetch.wants_body();
    let (witness, is_refresh) = (&core.emit.witness, fetching.is_refresh());
    let origin = Asking::begin(witness, &core.clock, Some(fetch.key()), fetch.reason(), is_refresh);
    let asked = {
        fetching.mark(&mut head.extensions);
        let request = Request::from_parts(head, body);
        let mut asking = pin!(async {
            poll_fn(|cx| inner.poll_ready(cx)).await?;
            inner.call(request).await
        });
        let mut patience = fetch.patience().map(|after| (after, core.clock.now(), None));
        poll_fn(|cx| {
            if let Poll::Ready(asked) = origin.drive(|| asking.as_mut().poll(cx)) {
                return Poll::Ready(asked);
            }
            if let Some((after, began, timer)) = &mut patience {
                let timer = timer.get_or_insert_with(|| core.clock.sleep(*after));
                let rings = timer.as_mut().is_some_and(|timer| timer.as_mut().poll(cx).is_ready());
                let now = core.clock.now();
                if rings || now.since(*began) >= *after {
                    patience = None;
                    if let Failure::ServeStale(serve) = fetch.on_slow_origin(now) {
                        let response = send_stored(&core, *serve, found.clone());
                        slot.put(Ok(Brought::response(response)));
                        board.bell().ring();
                    }
                }
            }
            Poll::Pending
        })
        .await
    };
    let now = core.clock.now();
    origin.answered(asked.as_ref().ok().map(Response::status));
    let (mut head, body) = match asked {
        Ok(response) => response.into_parts(),
        Err(error) => {
            fetching.is_not_shared(Lapse::Failed, now);
            pilot.land(Landing::Failed(None));
            return slot.put(match fetch.on_error(now) {
                Failure::ServeStale(serve) => {
                    Ok(Brought::response(send_stored(&core, *serve, found)))
                }
                Failure::Fail => Err(error),
            });
        }
    };
    if fetch.clears_origin(&head) {
        Box::pin(clear_origin(&core, fetch.key())).await;
    }
    let (answered, secret) = (head.status, core.manager.secret());
    match fetch.on_response(&mut head, &size_of_body(&body), now, since.purges, secret) {
        Outcome::Store(store) => {
            let (source, splice) = match store.joint() {
                None => (Source::Origin { body }, None),
                Some(joint) => {
                    let Some(entry) = found.into_entry(joint.index()) else {
                        return slot.put(Ok(lost(store.status())));
                    };
                    let source = join(&core, &entry, body, joint);
                    (source, Some(Splice { entry, joint: joint.clone() }))
                }
            };
            let report = Report { fetching, board, slot };
            if let Some(reason) = unfit(&core, &store) {
                let response = (head, source);
                return pass_unfit(&core, response, &store, reason, (pilot, &report));
            }
            let mut source = pin!(source);
            match origin.drive(|| whole::look(&core, &store, &report.board, source.as_mut())) {
                Ok(body) => {
                    let bring = || whole::bring(&core, (head, body), store, pilot, report);
                    if let Some(late) = origin.drive(bring) {
                        Box::pin(origin.run(late.run(&core))).await;
                    }
                }
                Err(first) => {
                    let read = (first, splice);
                    if let Some(filling) = Filling::begin(core, head, read, store, pilot, report) {
                        Box::pin(origin.run(filling.run(source))).await;
                    }
                }
            }
        }
        Outcome::Complete { joint, status } => {
            fetching.is_not_shared(Lapse::ForOne, now);
            pilot.land(Landing::Alone);
            let Some(entry) = found.into_entry(joint.index()) else {
                return slot.put(Ok(lost(status)));
            };
            let source = join(&core, &entry, body, &joint);
            slot.put(Ok(Brought::response(pass_source(head, source, true, status))));
        }
        Outcome::BadGateway { drop: unfit, status } => {
            if let Some(index) = unfit {
                Box::pin(remove(&core, &found, index)).await;
            }
            // Without that part they ask for something else.
            drop(fetching);
            pilot.land(Landing::LookAgain);
            slot.put(Ok(lost(status)));
        }
        Outcome::Freshen { update, serve } => {
            let freshening = freshen(&core, &found, serve.index, update, fetching);
            let is_done = Box::pin(freshening).await;
            pilot.land(if is_done { Landing::LookAgain } else { Landing::Alone });
            slot.put(Ok(Brought::response(send_stored(&core, serve, found))));
        }
        Outcome::ServeStale(serve) => {
            fetching.is_not_shared(Lapse::Failed, now);
            pilot.land(Landing::Failed(Some(answered)));
            slot.put(Ok(Brought::response(send_stored(&core, serve, found))));
        }
        Outcome::Pass { drop, status } => {
            let is_failure = answered.is_server_error();
            let lapse = if is_failure { Lapse::Failed } else { Lapse::ForOne };
            fetching.is_not_shared(lapse, now);
            pilot.land(if is_failure { Landing::Failed(Some(answered)) } else { Landing::Alone });
            if let Some(index) = drop {
                Box::pin(remove(&core, &found, index)).await;
            }
            core.emit.witness.is_not_stored(status);
            let response = Response::from_parts(head, body);
            slot.put(Ok(Brought::response(pass(response, wants_body, status))));
        }
    }
}

/// Where what came is of no use without what is stored.
fn lost<ResB>(status: CacheStatus) -> Brought<ResB> {
    Brought::response(own(StatusCode::BAD_GATEWAY, status))
}

/// Between the stored bytes that belong to it.
fn join<M: CacheManager, B>(
    core: &Core<M>,
    entry: &Entry<M::Handle>,
    body: B,
    joint: &Joint,
) -> Source<B> {
    let read = |range| core.read(entry, range);
    let joined = Joined::new(read(joint.first()), body, joint.fetched(), read(joint.last()));
    Source::Joined { body: Box::pin(joined) }
}
