use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use pin_project_lite::pin_project;
use tower_service::Service;

use super::{
    Answer, Ask, Exchange, Known, Since, answer,
    brought::{Brought, Report},
    errand::Errand,
    find,
    refresh::Refreshment,
    timer::Timer,
};
use crate::{
    BoxError,
    clock::BoxFuture,
    flight::{Landing, Pilot},
    policy::{Lookup, Timestamp},
    shared::Core,
    storage::CacheManager,
    witness::Asking,
};

/// Asks the origin, and does with its answer what the policy says.
pub(super) fn ask<S, M, ReqB, ResB>(
    exchange: Exchange<S, M, ReqB>,
    report: Report<ResB, S::Error>,
) -> BoxFuture
where
    S: Service<Request<ReqB>, Response = Response<ResB>> + Clone + Send + 'static,
    S::Future: Send + 'static,
    S::Error: Send + 'static,
    ReqB: Body + Send + 'static,
    ResB: Body<Data = Bytes> + Send + 'static,
    ResB::Error: Into<BoxError>,
    M: CacheManager,
{
    let Exchange { core, inner, request, known, since } = exchange;
    let pilot = Pilot::new(report.board.clone());
    let lookup = match known {
        Known::Miss(Ask { fetch, found }) => {
            let errand = Errand { core, fetch, found, since, pilot, report };
            return Box::pin(Trip::new(inner, request, errand));
        }
        Known::Nothing(lookup) => lookup,
    };
    Box::pin(async move {
        let (request, since, answer) = look(&core, request, since, lookup).await;
        match answer {
            Answer::Ask(Ask { fetch, found }) => {
                let errand = Errand { core, fetch, found, since, pilot, report };
                Trip::new(inner, request, errand).await;
            }
            Answer::Ready(response) => {
                drop(report.fetching);
                pilot.land(Landing::LookAgain);
                report.slot.put(Ok(Brought::Ready(response)));
            }
            Answer::Refresh(response, refresh) => {
                drop(report.fetching);
                pilot.land(Landing::LookAgain);
                let since = Since::now(&core);
                let refresh = Refreshment { core, inner, request, since, refresh };
                let response = refresh.run(response).await;
                report.slot.put(Ok(Brought::Ready(response)));
            }
        }
    })
}

/// Asks a store that has to be waited for.
async fn look<M: CacheManager, ReqB, ResB>(
    core: &Core<M>,
    request: Request<ReqB>,
    mut since: Since,
    lookup: Lookup<'static>,
) -> (Request<ReqB>, Since, Answer<M::Handle, ResB>) {
    let (mut head, body) = request.into_parts();
    let found = find(core, &lookup, &head).await;
    since.hear(core);
    let answer = answer(core, lookup, &mut head, found);
    (Request::from_parts(head, body), since, answer)
}

pin_project! {
    /// To the origin and back. Written out, since a request waits in it, and each of its steps needs the
    /// room of the one before.
    struct Trip<S, M, ReqB, ResB>
    where
        S: Service<Request<ReqB>>,
        M: CacheManager,
    {
        #[pin]
        step: Step<S, ReqB, S::Future>,
        // Since it is on its way.
        origin: Option<Asking>,
        // Until it is back.
        errand: Option<Errand<M, ResB, S::Error>>,
        // Since the same moment.
        patience: Option<(Timestamp, Timer)>,
    }
}

pin_project! {
    #[project = StepProjection]
    enum Step<S, ReqB, F> {
        Readying { inner: S, request: Option<Request<ReqB>> },
        Asking { #[pin] asking: F },
        // What is left to do when the origin has answered.
        Returned { rest: BoxFuture },
        Over,
    }
}

impl<S, M, ReqB, ResB> Trip<S, M, ReqB, ResB>
where
    S: Service<Request<ReqB>>,
    M: CacheManager,
{
    fn new(inner: S, mut request: Request<ReqB>, errand: Errand<M, ResB, S::Error>) -> Self {
        let Errand { fetch, report, .. } = &errand;
        if request.headers().is_empty() {
            fetch.restore(request.headers_mut());
        }
        report.fetching.mark(request.extensions_mut());
        let step = Step::Readying { inner, request: Some(request) };
        Self { step, origin: None, errand: Some(errand), patience: None }
    }
}

impl<S, M, ReqB, ResB> Future for Trip<S, M, ReqB, ResB>
where
    S: Service<Request<ReqB>, Response = Response<ResB>>,
    S::Error: Send + 'static,
    ResB: Body<Data = Bytes> + Send + 'static,
    ResB::Error: Into<BoxError>,
    M: CacheManager,
{
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut this = self.project();
        loop {
            let asked = match (this.step.as_mut().project(), &*this.errand) {
                (StepProjection::Returned { rest }, _) => return rest.as_mut().poll(cx),
                (StepProjection::Readying { inner, request }, Some(errand)) => {
                    let origin = this.origin.get_or_insert_with(|| {
                        *this.patience = errand.patience();
                        errand.set_out()
                    });
                    match origin.drive(|| inner.poll_ready(cx)) {
                        Poll::Ready(Ok(())) => {
                            let Some(request) = request.take() else { return Poll::Ready(()) };
                            let asking = origin.drive(|| inner.call(request));
                            this.step.set(Step::Asking { asking });
                            continue;
                        }
                        Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
                        Poll::Pending => Poll::Pending,
                    }
                }
                (StepProjection::Asking { asking }, _) => match this.origin {
                    Some(origin) => origin.drive(|| asking.poll(cx)),
                    None => asking.poll(cx),
                },
                (StepProjection::Readying { .. } | StepProjection::Over, _) => {
                    return Poll::Ready(());
                }
            };
            let Poll::Ready(asked) = asked else {
                if let Some((began, timer)) = this.patience
                    && let Some(errand) = this.errand
                    && timer.is_over(*began, &*errand.core.clock, cx)
                {
                    *this.patience = None;
                    errand.is_late();
                }
                return Poll::Pending;
            };
            // Nothing of it is held on to: it may have a permit that others wait for.
            this.step.set(Step::Over);
            *this.patience = None;
            let (Some(errand), Some(origin)) = (this.errand.take(), this.origin.take()) else {
                return Poll::Ready(());
            };
            match errand.take(origin, asked) {
                Some(rest) => this.step.set(Step::Returned { rest }),
                None => return Poll::Ready(()),
            }
        }
    }
}
