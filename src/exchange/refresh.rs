use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response, request};
use http_body::{Body, SizeHint};
use tower_service::Service;

use super::{
    Answer, Ask, Exchange, Known, Since, answer,
    ask::ask,
    brought::{Report, Slot},
    find,
};
use crate::{
    BoxError, CacheBody,
    background::Refreshing,
    clock::{BoxFuture, within},
    flight::{Flight, Landing},
    inflight::Asker,
    observe::{self, Event},
    policy::{Begin, NameSet, Refresh, Role},
    shared::Core,
    storage::{CacheManager, Found},
};

/// A request that was answered with something stale, to be made into one that brings something
/// newer.
pub(crate) struct Refreshment<S, M: CacheManager, B> {
    pub(crate) core: Arc<Core<M>>,
    pub(crate) inner: S,
    pub(crate) request: Request<B>,
    pub(crate) since: Since,
    pub(crate) refresh: (Box<Refresh>, Found<M::Handle>),
}

/// A refresh that nobody can do in the background.
pub(crate) struct Foreground<M> {
    core: Arc<Core<M>>,
    task: BoxFuture,
    request: request::Parts,
}

impl<S, M, ReqB, ResB> Refreshment<S, M, ReqB>
where
    S: Service<Request<ReqB>, Response = Response<ResB>> + Clone + Send + 'static,
    S::Future: Send + 'static,
    S::Error: Send + 'static,
    ReqB: Body + Send + 'static,
    ResB: Body<Data = Bytes> + Send + 'static,
    ResB::Error: Into<BoxError>,
    M: CacheManager,
{
    /// Begins it, and gives the answer: `stale`, if it can go on in the background.
    pub(crate) async fn run(self, stale: Response<CacheBody<ResB>>) -> Response<CacheBody<ResB>> {
        match self.begin() {
            Some(foreground) => foreground.run(stale).await,
            None => stale,
        }
    }

    /// Begins it, unless it has begun already.
    pub(crate) fn begin(self) -> Option<Foreground<M>> {
        let Self { core, inner, request, since, refresh: (refresh, found) } = self;
        let (mut head, body) = request.into_parts();
        let (now, secret) = (core.clock.now(), core.manager.secret());
        let variant = |names: &NameSet| refresh.variant(&head.headers, names, secret);
        let asker = Asker {
            key: refresh.key(),
            began: since.purges,
            role: Role::Either,
            now,
            tried: &[],
            waited_for: &[],
            patience: core.waits.collapse_timeout,
            ended: Some(since.ended),
            names: refresh.names(),
            variant: &variant,
        };
        let (fetching, passenger) = core.purges.inflight().enter_refresh(&asker, || {
            Flight::prepare(core.executor.clone(), core.waits.disconnect, now)
        })?;
        let (original, authority) = (head.clone(), refresh.key().authority().to_owned());
        let fetch = refresh.into_fetch(&mut head, now);
        let (core, limit) = (core.clone(), core.waits.refresh_timeout);
        let request = Request::from_parts(head, body);
        let known = Known::Miss(Ask { fetch, found });
        let exchange = Exchange { core: core.clone(), inner, request, known, since };
        let board = passenger.flight().board().clone();
        let report = Report { fetching, board, slot: Slot::new().bringer() };
        passenger.flight().begin(ask::<_, _, _, ResB>(exchange, report));
        let clock = core.clock.clone();
        let (witness, flight) = (core.emit.witness.clone(), passenger.flight().clone());
        // Now: a task that is dropped unpolled must not go on elsewhere.
        let flying = passenger.in_background();
        let task = async move {
            let refreshing = async {
                flying.await;
                Ok(())
            };
            let is_over = within(&*clock, limit, refreshing).await.is_ok();
            let took = clock.now().since(now);
            let step = match flight.landing() {
                _ if !is_over => observe::Refreshing::TimedOut { took },
                None | Some(Landing::Failed(_)) => observe::Refreshing::Failed { took },
                Some(_) => observe::Refreshing::Done { took },
            };
            witness.tell(&Event::Refresh { step });
        };
        let (background, executor) = (core.background.clone(), core.executor.clone());
        let limits = core.waits.refreshes;
        let refreshing = background.refresh(&authority, Box::pin(task), limits, &*executor);
        let step = match refreshing {
            Refreshing::Dropped => observe::Refreshing::Refused,
            Refreshing::Begun | Refreshing::Refused(_) => observe::Refreshing::Begun,
        };
        core.tell(&Event::Refresh { step });
        match refreshing {
            Refreshing::Begun | Refreshing::Dropped => None,
            Refreshing::Refused(task) => Some(Foreground { core, task, request: original }),
        }
    }
}

impl<M: CacheManager> Foreground<M> {
    /// Waits for it, and answers with what it has brought.
    pub(crate) async fn run<ResB>(
        self,
        stale: Response<CacheBody<ResB>>,
    ) -> Response<CacheBody<ResB>> {
        let Self { core, task, mut request } = self;
        task.await;
        let nothing = SizeHint::with_exact(u64::MIN);
        let Begin::Lookup(lookup) = core.policy.begin(&request, &nothing) else { return stale };
        let lookup = lookup.detach();
        let found = find(&core, &lookup, &request).await;
        match answer(&core, lookup, &mut request, found) {
            Answer::Ready(newer) => newer,
            Answer::Refresh(..) | Answer::Ask(_) => stale,
        }
    }
}
