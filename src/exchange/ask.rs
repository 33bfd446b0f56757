use std::{
    future::poll_fn,
    pin::pin,
    sync::{Arc, Mutex, PoisonError, Weak},
    task::Poll,
};

use bytes::Bytes;
use http::{Request, Response, StatusCode, response};
use http_body::{Body, SizeHint};
use tower_service::Service;

use super::{
    Answer, Ask, Exchange, Known, Since, answer,
    answer::{own, pass_source, send_stored},
    find, pass,
    refresh::Refreshment,
};
use crate::{
    BoxError, CacheBody,
    admission::Admission,
    body::{Reader, size_of_body},
    copying::copy,
    fill::Fill,
    flight::{Board, Landing, Passenger, Pilot, Sharing},
    inflight::{Fetching, Lapse},
    joined::{Joined, Source},
    log::{Cursor, Log, Writer},
    observe::{Event, Operation},
    policy::{
        CacheKey, CacheStatus, Content, Failure, Joint, Outcome, Reason, Store, StoredHead, Update,
    },
    purge::Purge,
    recorder::{Record, Recorder},
    shared::Core,
    splice::Splice,
    storage::{CacheManager, Entry, Found},
    witness::Asking,
};

/// What a flight brings to the one who asked.
pub(super) enum Brought<ResB> {
    Ready(Box<Response<CacheBody<ResB>>>),
    /// A response that is being stored; the reader is to be seated.
    Begun(Box<Begun>),
}

pub(super) struct Begun {
    head: response::Parts,
    cursor: Cursor,
    content: Content,
    /// What the head may say of the length of a body that is not sent.
    hint: SizeHint,
    status: CacheStatus,
}

impl<ResB> Brought<ResB> {
    fn response(response: Response<CacheBody<ResB>>) -> Self {
        Self::Ready(Box::new(response))
    }
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
    fn put(&self, brought: T) {
        // With nobody at the other end it would hold on to what holds on to it.
        if let Some(slot) = self.place.upgrade() {
            *slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(brought);
        }
    }
}

/// The answer of the one who asked, who reads along.
pub(super) fn seat<ResB>(
    brought: Brought<ResB>,
    passenger: Passenger,
) -> Response<CacheBody<ResB>> {
    match brought {
        Brought::Ready(response) => *response,
        Brought::Begun(begun) => {
            let Begun { head, cursor, content, hint, status } = *begun;
            let read = |cursor| CacheBody::filling(Reader::new(cursor, Some(passenger)), status);
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

/// How a flight tells what it has come to.
pub(super) struct Report<ResB, E> {
    pub(super) fetching: Fetching,
    pub(super) board: Arc<Board>,
    pub(super) slot: Bringer<Result<Brought<ResB>, E>>,
}

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
            let filling = Filling::begin(core, head, (source, splice), store, pilot, report);
            if let Some(filling) = filling {
                Box::pin(origin.run(filling.run())).await;
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

/// A response that is being stored, and sent as it comes.
pub(super) struct Filling<M, ResB, E> {
    core: Arc<Core<M>>,
    fill: Fill,
    body: Source<ResB>,
    log: Log,
    landing: Landing,
    pilot: Pilot,
    slot: Bringer<Result<Brought<ResB>, E>>,
    begun: Box<Begun>,
    is_seldom_read: bool,
}

impl<M, ResB, E> Filling<M, ResB, E>
where
    ResB: Body<Data = Bytes>,
    ResB::Error: Into<BoxError>,
    M: CacheManager,
{
    /// `None`: it cannot be stored, and is brought as it is.
    pub(super) fn begin(
        core: Arc<Core<M>>,
        head: response::Parts,
        (body, splice): (Source<ResB>, Option<Splice<M::Handle>>),
        store: Store,
        pilot: Pilot,
        report: Report<ResB, E>,
    ) -> Option<Self> {
        let Report { fetching, board, slot } = report;
        let (status, length) = (store.status(), store.length());
        let (room, is_buffered) = (core.manager.max_entry_bytes(), core.manager.is_in_memory());
        let keep = if is_buffered { room } else { core.waits.kept_bytes };
        let unfit = if length.max(store.due()).is_some_and(|length| length > room) {
            Some(Reason::TooLarge)
        } else {
            let kept = length.unwrap_or_default().min(keep);
            (!core.budget.has_room(kept)).then_some(Reason::Overload)
        };
        if let Some(reason) = unfit {
            pilot.land(Landing::Alone);
            core.tell(&Event::NotStored { reason });
            let response = pass_source(head, body, store.wants_body(), status.detailed(reason));
            slot.put(Ok(Brought::response(response)));
            return None;
        }
        let is_wanted = core.uses.admits(fetching.key());
        let status = if is_wanted { status } else { status.detailed(Reason::FewUses) };
        let log = Log::new(board.bell(), core.budget.clone(), length, keep);
        // Before anybody else can close it.
        let cursor = log.read()?;
        let landing = if store.is_reusable() && store.is_shareable() {
            let running = store.running();
            fetching.is_shared(running.names(), running.variant());
            Landing::Shared(Arc::new(Sharing { running, log: log.clone() }))
        } else {
            fetching.is_not_shared(Lapse::ForOne, core.clock.now());
            Landing::Alone
        };
        let announces_trailers = store.announces_trailers();
        let is_seldom_read = store.is_seldom_read();
        let (tagging, due) = (store.tagging(), store.due());
        let length_of_head = length.filter(|_| !store.wants_body());
        let hint = length_of_head.map_or_else(SizeHint::default, SizeHint::with_exact);
        let (head, content) = store.cut(head);
        let (placement, stored) = store.into_parts();
        let (manager, witness) = (core.manager.clone(), core.emit.witness.clone());
        let record = Record { placement, head: stored, tagging, fetching, due, splice };
        let recorder = Recorder::new(manager, record, witness);
        let (writer, means) = (Writer::new(log.clone()), core.means());
        let mut fill = Fill::new(writer, recorder, is_buffered, length, announces_trailers, means);
        if !is_wanted {
            fill.give_up_storing(Reason::FewUses);
        }
        board.record(log.clone());
        let begun = Box::new(Begun { head, cursor, content, hint, status });
        Some(Self { core, fill, body, log, landing, pilot, slot, begun, is_seldom_read })
    }

    /// Lands, and carries the body to its end.
    pub(super) async fn run(self) {
        let Self { core, mut fill, body, log, landing, pilot, slot, begun, is_seldom_read } = self;
        let brought = Ok(Brought::Begun(begun));
        if fill.is_over(&body) {
            fill.finish_empty().await;
            pilot.land(landing);
            return slot.put(brought);
        }
        pilot.land(landing);
        let body = pin!(body);
        let mut filling = pin!(fill.run(body));
        if is_seldom_read {
            log.want_all(true);
            let reading = async {
                filling.as_mut().await;
                Ok(())
            };
            // Late or not, the client gets it all.
            let read = Box::pin(core.no_longer(reading)).await;
            log.want_all(false);
            if read.is_ok() {
                return slot.put(brought);
            }
        }
        slot.put(brought);
        filling.await;
    }
}

/// Takes out all of an origin, before anybody hears of what has said so.
pub(super) async fn clear_origin<M: CacheManager>(core: &Arc<Core<M>>, key: &CacheKey) {
    core.purges.append(Purge::host_of(key));
    // Where that fails it holds until the next start.
    let _ = core.within(Operation::Log, core.purges.sync()).await;
    core.sweep();
}

/// Changes the store as a 304 says. Whether others find it there now.
async fn freshen<M: CacheManager>(
    core: &Arc<Core<M>>,
    found: &Found<M::Handle>,
    index: usize,
    update: Update,
    fetching: Fetching,
) -> bool {
    let Some(entry) = found.clone().into_entry(index) else { return false };
    let admission = Admission::new(fetching, core.purges.clone());
    let admits = |head: &StoredHead| admission.admits_again(entry.response().head(), head);
    let is_done = match update {
        Update::Remove => {
            let _ = core.within(Operation::Remove, core.manager.remove(&entry)).await;
            false
        }
        Update::Replace(head) if admits(&head) => {
            let (is_reusable, began) = (head.is_reusable(), head.began());
            let updated = core.manager.update(&entry, head);
            let updated = core.within(Operation::Update, updated).await;
            if admission.has_missed_again(entry.response().head(), began) {
                let deleted = core.manager.delete(admission.key());
                let _ = core.within(Operation::Delete, deleted).await;
            }
            is_reusable && updated.is_ok_and(|is_updated| is_updated)
        }
        Update::Copy(placement, head) if admits(&head) => {
            let updated = core.manager.update(&entry, head.clone());
            let _ = core.within(Operation::Update, updated).await;
            return copy(core, entry, placement, head, admission).await;
        }
        Update::Move(placement, head) if admits(&head) => {
            let _ = core.within(Operation::Remove, core.manager.remove(&entry)).await;
            return copy(core, entry, placement, head, admission).await;
        }
        Update::Keep | Update::Replace(_) | Update::Copy(..) | Update::Move(..) => false,
    };
    if !is_done {
        admission.fetching().is_not_shared(Lapse::ForOne, core.clock.now());
    }
    is_done
}

async fn remove<M: CacheManager>(core: &Core<M>, found: &Found<M::Handle>, index: usize) {
    if let Some(entry) = found.clone().into_entry(index) {
        // An outdated entry that stays is stale, and will be asked about again.
        let _ = core.within(Operation::Remove, core.manager.remove(&entry)).await;
    }
}
