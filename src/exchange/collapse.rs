use std::{
    future::{Future, poll_fn},
    mem,
    task::Poll,
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, SizeHint};
use tower_service::Service;

use super::{
    Answer, Answered, Ask, Exchange, Known, Since, answer,
    answer::send_stored,
    ask::ask,
    brought::{Leading, Report, Slot},
    find,
    refresh::Refreshment,
    timer::Timer,
};
use crate::{
    BoxError, CacheBody,
    body::Reader,
    flight::{Flight, Landing, Passenger, Sharing},
    inflight::{Asker, Entered, Fetching, Rechecks},
    observe::{Event, Wait},
    policy::{Content, Failure, Fetch, Join, NameSet, Reason, Role, Timestamp, own},
    purge::Verdict,
    shared::Core,
    storage::CacheManager,
};

/// What a request that waited for others does next.
// An answer is moved once, and then it is over.
#[expect(clippy::large_enum_variant)]
enum Next<S, M: CacheManager, ReqB, ResB> {
    Answered(Response<CacheBody<ResB>>),
    Again(Box<Exchange<S, M, ReqB>>),
}

/// How a request has set out.
pub(crate) enum SetOut<S, M: CacheManager, ReqB, ResB>
where
    S: Service<Request<ReqB>>,
{
    Leading(Leading<ResB, S::Error>),
    Waiting(Waiting<S, M, ReqB>),
}

/// A request that waits for others, or for the store.
pub(crate) struct Waiting<S, M: CacheManager, ReqB> {
    exchange: Box<Exchange<S, M, ReqB>>,
    first: First,
}

/// What it does first.
enum First {
    /// It asks the store.
    LookUp,
    /// It has entered already.
    Entered(Box<Entered>),
    /// It has done so.
    Over,
}

/// What a request has seen of others so far.
#[derive(Default)]
struct Seen {
    waiting: Vec<(u64, Passenger)>,
    tried: Vec<u64>,
    rechecks: Rechecks,
    has_asked_for_stale: bool,
    has_looked_again: bool,
    is_alone: bool,
    /// Since when it waits.
    since: Option<Timestamp>,
}

impl<S, M, ReqB, ResB> Waiting<S, M, ReqB>
where
    S: Service<Request<ReqB>, Response = Response<ResB>> + Clone + Send + 'static,
    S::Future: Send + 'static,
    S::Error: Send + 'static,
    ReqB: Body + Send + 'static,
    ResB: Body<Data = Bytes> + Send + 'static,
    ResB::Error: Into<BoxError>,
    M: CacheManager,
{
    /// Answers with what another brings, or asks.
    pub(crate) fn run(self) -> impl Future<Output = Answered<ResB, S::Error>> + Send + 'static {
        // A thousand may wait: nothing is moved into the future that is there already.
        let Self { mut exchange, mut first } = self;
        async move {
            let mut seen = Seen::default();
            loop {
                let entered = match mem::replace(&mut first, First::Over) {
                    First::LookUp => None,
                    First::Entered(entered) => Some(*entered),
                    First::Over => Some(exchange.enter(&seen, exchange.core.clock.now())),
                };
                let next = match entered {
                    Some(Entered::Asking(fetching, passenger)) => {
                        let is_listed = fetching.is_listed();
                        let outcome = if is_listed { Wait::HandedOver } else { Wait::GivenUp };
                        seen.tell(&exchange.core, outcome);
                        drop(seen);
                        return exchange.lead(fetching, passenger).await;
                    }
                    None => Box::pin(exchange.look_up()).await,
                    Some(Entered::LookAgain) => {
                        seen.rechecks.spend();
                        Box::pin(exchange.look_up()).await
                    }
                    Some(Entered::KeepWaiting) => exchange.wait(&mut seen).await,
                    Some(Entered::Arrived(id, sharing)) => {
                        seen.tried.push(id);
                        exchange.join(&sharing, None)
                    }
                    Some(Entered::Waiting(id, passenger)) => {
                        seen.waiting.push((id, passenger));
                        seen.since.get_or_insert_with(|| exchange.core.clock.now());
                        exchange.let_go();
                        exchange.wait(&mut seen).await
                    }
                };
                exchange = match next {
                    Next::Answered(response) => return Ok(response),
                    Next::Again(exchange) => exchange,
                };
            }
        }
    }
}

impl<S, M, ReqB, ResB> Exchange<S, M, ReqB>
where
    S: Service<Request<ReqB>, Response = Response<ResB>> + Clone + Send + 'static,
    S::Future: Send + 'static,
    S::Error: Send + 'static,
    ReqB: Body + Send + 'static,
    ResB: Body<Data = Bytes> + Send + 'static,
    ResB::Error: Into<BoxError>,
    M: CacheManager,
{
    /// Asks, if nobody else is asking for the same; or else waits.
    pub(crate) fn begin(self) -> SetOut<S, M, ReqB, ResB> {
        // Who cannot ask for others finds out first whether there is anything to ask.
        let extensions = self.request.extensions();
        let (looks_first, now) = match &self.known {
            Known::Nothing(lookup) => {
                (lookup.role(extensions) == Role::Follow, self.core.clock.now())
            }
            Known::Miss(Ask { fetch, .. }) => (false, fetch.requested()),
        };
        match (!looks_first).then(|| self.enter(&Seen::default(), now)) {
            Some(Entered::Asking(fetching, passenger)) => {
                SetOut::Leading(self.lead(fetching, passenger))
            }
            entered => {
                let first = entered.map_or(First::LookUp, |entered| First::Entered(entered.into()));
                SetOut::Waiting(Waiting { exchange: Box::new(self), first })
            }
        }
    }

    fn enter(&self, seen: &Seen, now: Timestamp) -> Entered {
        let core = &*self.core;
        let secret = core.manager.secret();
        let extensions = self.request.extensions();
        let (lookup, names, role) = match &self.known {
            Known::Nothing(lookup) => (lookup, None, lookup.role(extensions)),
            Known::Miss(Ask { fetch, .. }) => {
                (fetch.lookup(), fetch.names(), fetch.role(extensions))
            }
        };
        let request = || match &self.known {
            Known::Nothing(_) => self.request.headers(),
            Known::Miss(Ask { fetch, .. }) => fetch.request(),
        };
        let inflight = core.purges.inflight();
        let is_alone = seen.is_alone || inflight.is_within(extensions, lookup.key());
        let waited_for: Vec<u64> = seen.waiting.iter().map(|(id, _)| *id).collect();
        let asker = Asker {
            key: lookup.key(),
            began: self.since.purges,
            role: if is_alone { Role::Alone } else { role },
            now,
            tried: &seen.tried,
            waited_for: &waited_for,
            patience: core.waits.collapse_timeout,
            // Under load somebody always comes back meanwhile.
            ended: (matches!(self.known, Known::Miss(_)) && seen.rechecks.are_left())
                .then_some(self.since.ended),
            names,
            variant: &|names: &NameSet| lookup.variant(request(), names, secret),
        };
        inflight
            .enter(&asker, || Flight::prepare(core.executor.clone(), core.waits.disconnect, now))
    }

    /// Keeps nothing of its connection's read buffer, which is many times larger than what it has of it.
    fn let_go(&mut self) {
        match &self.known {
            Known::Nothing(_) => own(&mut self.request),
            Known::Miss(Ask { fetch, .. }) => fetch.let_go(&mut self.request),
        }
    }

    /// Asks, for itself and for whoever waits.
    fn lead(self, fetching: Fetching, passenger: Passenger) -> Leading<ResB, S::Error> {
        let slot = Slot::new();
        let flight = passenger.flight();
        let report = Report { fetching, board: flight.board().clone(), slot: slot.bringer() };
        flight.begin(ask(self, report));
        Leading::new(passenger, slot)
    }

    /// Waits for the first of those it waits for.
    async fn wait(self: Box<Self>, seen: &mut Seen) -> Next<S, M, ReqB, ResB> {
        let slow = match &self.known {
            Known::Miss(Ask { fetch, .. }) => fetch.patience(),
            Known::Nothing(_) => None,
        };
        let core = self.core.clone();
        match seen.first(&core, slow).await {
            Woken::Impatience => Next::Again(self),
            Woken::SlowOrigin => {
                seen.has_asked_for_stale = true;
                let stale = self.stale(Fetch::on_slow_origin);
                if stale.is_some() {
                    seen.tell(&core, Wait::Stale);
                }
                stale.map_or(Next::Again(self), Next::Answered)
            }
            Woken::By(index, landing) => {
                let (id, passenger) = seen.waiting.swap_remove(index);
                seen.tried.push(id);
                match landing {
                    Landing::Shared(sharing) => {
                        let next = self.join(&sharing, Some(passenger));
                        let is_shared = matches!(next, Next::Answered(_));
                        seen.tell(&core, if is_shared { Wait::Shared } else { Wait::Released });
                        next
                    }
                    Landing::LookAgain if !seen.has_looked_again => {
                        seen.has_looked_again = true;
                        seen.tell(&core, Wait::Stored);
                        drop(passenger);
                        Box::pin(self.look_up()).await
                    }
                    Landing::LookAgain | Landing::Alone => {
                        seen.is_alone = true;
                        seen.tell(&core, Wait::Released);
                        Next::Again(self)
                    }
                    Landing::Failed(status) => {
                        seen.is_alone = true;
                        seen.tell(&core, Wait::Failed);
                        let stale = self.stale(|fetch, now| match status {
                            Some(status) => fetch.on_status(status, now),
                            None => fetch.on_error(now),
                        });
                        stale.map_or(Next::Again(self), Next::Answered)
                    }
                }
            }
        }
    }

    /// Something stale in place of what does not come.
    fn stale(
        &self,
        ask: impl FnOnce(&Fetch, Timestamp) -> Failure,
    ) -> Option<Response<CacheBody<ResB>>> {
        let Known::Miss(Ask { fetch, found }) = &self.known else { return None };
        match ask(fetch, self.core.clock.now()) {
            Failure::ServeStale(serve) => Some(send_stored(&self.core, *serve, found.clone())),
            Failure::Fail => None,
        }
    }

    /// Takes what another has asked for, if it may.
    fn join(
        self: Box<Self>,
        sharing: &Sharing,
        passenger: Option<Passenger>,
    ) -> Next<S, M, ReqB, ResB> {
        let core = &*self.core;
        let (lookup, request, why) = match &self.known {
            Known::Nothing(lookup) => (lookup, self.request.headers(), Reason::UriMiss),
            Known::Miss(Ask { fetch, .. }) => (fetch.lookup(), fetch.request(), fetch.reason()),
        };
        // What was purged since this request came may still be its answer, and nobody's later. Where
        // others keep the log, too, only the store knows what was purged before.
        let head = sharing.running.head();
        let has_heard = matches!(self.known, Known::Miss(_)) || !core.purges.is_kept();
        let is_allowed = (has_heard && head.began() == self.since.purges)
            || core.purges.judge(lookup.key(), head) == Verdict::Good;
        if !is_allowed || !core.purges.is_current() {
            return Next::Again(self);
        }
        let (secret, now) = (core.manager.secret(), core.clock.now());
        let joined = lookup.join(request, &sharing.running, why, secret, now);
        let Join::Share { head, content, status } = joined else { return Next::Again(self) };
        let body = match content {
            Content::Nothing => CacheBody::empty(SizeHint::default(), status),
            // Of several parts the first may be the last to come: they are cut from what is whole.
            Content::Parts(_) => return Next::Again(self),
            Content::Whole | Content::Part { .. } => {
                let Some(cursor) = sharing.log.read() else { return Next::Again(self) };
                let cursor = match content {
                    Content::Part { start, end } => cursor.ranged(start..end),
                    _ => cursor,
                };
                CacheBody::filling(Reader::new(cursor, passenger), status)
            }
        };
        Next::Answered(Response::from_parts(*head, body))
    }

    /// Asks the store again, by the request as it came.
    async fn look_up(self: Box<Self>) -> Next<S, M, ReqB, ResB> {
        let Self { core, inner, request, known, .. } = *self;
        let (mut head, body) = request.into_parts();
        let lookup = match known {
            Known::Nothing(lookup) => lookup,
            Known::Miss(Ask { fetch, .. }) => fetch.into_lookup(&mut head),
        };
        let mut since = Since::now(&core);
        let found = find(&core, &lookup, &head).await;
        since.hear(&core);
        match answer(&core, lookup, &mut head, found) {
            Answer::Ready(response) => Next::Answered(response),
            Answer::Refresh(response, refresh) => {
                let request = Request::from_parts(head, body);
                let refresh = Refreshment { core, inner, request, since, refresh };
                Next::Answered(refresh.run(response).await)
            }
            Answer::Ask(ask) => {
                let request = Request::from_parts(head, body);
                let known = Known::Miss(ask);
                Next::Again(Box::new(Self { core, inner, request, known, since }))
            }
        }
    }
}

impl Seen {
    /// It has waited, and does so no longer.
    fn tell<M>(&mut self, core: &Core<M>, outcome: Wait) {
        if let Some(since) = self.since.take() {
            core.tell(&Event::Waited { outcome, took: core.clock.now().since(since) });
        }
    }

    /// Waits for the first of the others to land, for as long as the origin may be `slow`, and for as
    /// long as they may be silent.
    async fn first<M: CacheManager>(&self, core: &Core<M>, slow: Option<Duration>) -> Woken {
        let began = core.clock.now();
        let silent = |passenger: &Passenger| began.since(passenger.flight().began());
        let silence = self.waiting.iter().map(|(_, passenger)| silent(passenger)).min();
        let patience = core.waits.collapse_timeout.saturating_sub(silence.unwrap_or_default());
        let mut patience = Timer::new(patience);
        let mut slow = slow.filter(|_| !self.has_asked_for_stale).map(Timer::new);
        poll_fn(|cx| {
            for (index, (_, passenger)) in self.waiting.iter().enumerate() {
                if let Poll::Ready(landing) = passenger.poll_landing(cx) {
                    return Poll::Ready(Woken::By(index, landing));
                }
            }
            let mut is_over = |timer: &mut Timer| timer.is_over(began, &*core.clock, cx);
            if slow.as_mut().is_some_and(&mut is_over) {
                Poll::Ready(Woken::SlowOrigin)
            } else if is_over(&mut patience) {
                Poll::Ready(Woken::Impatience)
            } else {
                Poll::Pending
            }
        })
        .await
    }
}

/// What ends a wait.
enum Woken {
    By(usize, Landing),
    Impatience,
    SlowOrigin,
}
