use std::sync::Arc;

use bytes::Bytes;
use http::{Response, StatusCode, response};
use http_body::Body;

use super::{
    Since,
    answer::{own, pass_source, send_stored},
    brought::{Brought, Report},
    change::{clear_origin, freshen, remove},
    filling::{Filling, pass_unfit, unfit},
    pass,
    timer::Timer,
    whole,
};
use crate::{
    BoxError,
    body::size_of_body,
    clock::BoxFuture,
    flight::{Landing, Pilot},
    inflight::Lapse,
    joined::{Joined, Source},
    policy::{CacheStatus, Failure, Fetch, Joint, Outcome, Timestamp},
    shared::Core,
    splice::Splice,
    storage::{CacheManager, Entry, Found},
    witness::Asking,
};

/// What a request goes to the origin for, and what is done with what it comes back with.
pub(super) struct Errand<M: CacheManager, ResB, E> {
    pub(super) core: Arc<Core<M>>,
    pub(super) fetch: Fetch,
    pub(super) found: Found<M::Handle>,
    pub(super) since: Since,
    pub(super) pilot: Pilot,
    pub(super) report: Report<ResB, E>,
}

impl<M, ResB, E> Errand<M, ResB, E>
where
    M: CacheManager,
    ResB: Body<Data = Bytes> + Send + 'static,
    ResB::Error: Into<BoxError>,
    E: Send + 'static,
{
    /// It goes out now.
    pub(super) fn set_out(&self) -> Asking {
        let Self { core, fetch, report, .. } = self;
        let (witness, is_refresh) = (&core.emit.witness, report.fetching.is_refresh());
        Asking::begin(witness, &core.clock, Some(fetch.key()), fetch.reason(), is_refresh)
    }

    /// How long the origin may take from now on, if something stored may do instead.
    pub(super) fn patience(&self) -> Option<(Timestamp, Timer)> {
        self.fetch.patience().map(|after| (self.core.clock.now(), Timer::new(after)))
    }

    /// Does what the policy says; what has to be waited for is left to be done.
    pub(super) fn take(
        self,
        origin: Asking,
        asked: Result<Response<ResB>, E>,
    ) -> Option<BoxFuture> {
        let now = self.core.clock.now();
        origin.answered(asked.as_ref().ok().map(Response::status));
        let (head, body) = match asked {
            Ok(response) => response.into_parts(),
            Err(error) => {
                self.fail(error, now);
                return None;
            }
        };
        if !self.fetch.clears_origin(&head) {
            return self.settle(origin, head, body, now);
        }
        Some(Box::pin(async move {
            clear_origin(&self.core, self.fetch.key()).await;
            if let Some(rest) = self.settle(origin, head, body, now) {
                rest.await;
            }
        }))
    }

    /// The origin is slow: what is stored may do instead.
    pub(super) fn is_late(&self) {
        let Self { core, fetch, found, report, .. } = self;
        if let Failure::ServeStale(serve) = fetch.on_slow_origin(core.clock.now()) {
            let response = send_stored(core, *serve, found.clone());
            report.slot.put(Ok(Brought::Ready(response)));
            report.board.bell().ring();
        }
    }

    fn fail(self, error: E, now: Timestamp) {
        let Self { core, fetch, found, pilot, report: Report { fetching, slot, .. }, .. } = self;
        fetching.is_not_shared(Lapse::Failed, now);
        pilot.land(Landing::Failed(None));
        slot.put(match fetch.on_error(now) {
            Failure::ServeStale(serve) => Ok(Brought::Ready(send_stored(&core, *serve, found))),
            Failure::Fail => Err(error),
        });
    }

    fn settle(
        self,
        origin: Asking,
        mut head: response::Parts,
        body: ResB,
        now: Timestamp,
    ) -> Option<BoxFuture> {
        let Self { core, fetch, found, since, pilot, report } = self;
        let (answered, wants_body) = (head.status, fetch.wants_body());
        let (size, secret) = (size_of_body(&body), core.manager.secret());
        let store = match fetch.on_response(&mut head, &size, now, since.purges, secret) {
            Outcome::Store(store) => store,
            Outcome::Complete { joint, status } => {
                let Report { fetching, slot, .. } = report;
                fetching.is_not_shared(Lapse::ForOne, now);
                pilot.land(Landing::Alone);
                slot.put(Ok(Brought::Ready(match found.into_entry(joint.index()) {
                    Some(entry) => {
                        let source = join(&core, &entry, body, &joint);
                        pass_source(head, source, true, status)
                    }
                    None => lost(status),
                })));
                return None;
            }
            Outcome::BadGateway { drop: unfit, status } => {
                return Some(Box::pin(async move {
                    if let Some(index) = unfit {
                        remove(&core, &found, index).await;
                    }
                    let Report { fetching, slot, .. } = report;
                    // Without that part they ask for something else.
                    drop(fetching);
                    pilot.land(Landing::LookAgain);
                    slot.put(Ok(Brought::Ready(lost(status))));
                }));
            }
            Outcome::Freshen { update, serve } => {
                return Some(Box::pin(async move {
                    let Report { fetching, slot, .. } = report;
                    let is_done = freshen(&core, &found, serve.index, update, fetching).await;
                    pilot.land(if is_done { Landing::LookAgain } else { Landing::Alone });
                    slot.put(Ok(Brought::Ready(send_stored(&core, serve, found))));
                }));
            }
            Outcome::ServeStale(serve) => {
                let Report { fetching, slot, .. } = report;
                fetching.is_not_shared(Lapse::Failed, now);
                pilot.land(Landing::Failed(Some(answered)));
                slot.put(Ok(Brought::Ready(send_stored(&core, serve, found))));
                return None;
            }
            Outcome::Pass { drop: outdated, status } => {
                let Report { fetching, slot, .. } = report;
                let (lapse, landing) = match answered.is_server_error() {
                    true => (Lapse::Failed, Landing::Failed(Some(answered))),
                    false => (Lapse::ForOne, Landing::Alone),
                };
                fetching.is_not_shared(lapse, now);
                pilot.land(landing);
                core.emit.witness.is_not_stored(status);
                let response = pass(Response::from_parts(head, body), wants_body, status);
                let bring = move || slot.put(Ok(Brought::Ready(response)));
                let Some(index) = outdated else {
                    bring();
                    return None;
                };
                return Some(Box::pin(async move {
                    remove(&core, &found, index).await;
                    drop(fetching);
                    bring();
                }));
            }
        };
        let (source, splice) = match store.joint() {
            None => (Source::Origin { body }, None),
            Some(joint) => {
                let Some(entry) = found.into_entry(joint.index()) else {
                    report.slot.put(Ok(Brought::Ready(lost(store.status()))));
                    return None;
                };
                let source = join(&core, &entry, body, joint);
                (source, Some(Splice { entry, joint: joint.clone() }))
            }
        };
        if let Some(reason) = unfit(&core, &store) {
            pass_unfit(&core, (head, source), &store, reason, (pilot, &report));
            return None;
        }
        let mut source = Box::pin(source);
        match origin.drive(|| whole::look(&core, &store, &report.board, source.as_mut())) {
            Ok(body) => {
                let bring = || whole::bring(&core, (head, body), store, pilot, report);
                let late = origin.drive(bring)?;
                Some(Box::pin(async move { origin.run(late.run(&core)).await }))
            }
            Err(first) => {
                let read = (first, splice);
                let filling = Filling::begin(core, head, read, store, pilot, report)?;
                Some(Box::pin(async move { origin.run(filling.run(source.as_mut())).await }))
            }
        }
    }
}

/// Where what came is of no use without what is stored.
fn lost<ResB>(status: CacheStatus) -> Response<crate::CacheBody<ResB>> {
    own(StatusCode::BAD_GATEWAY, status)
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
