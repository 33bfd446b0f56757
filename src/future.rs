use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use http::{Request, Response};
use http_body::Body;
use pin_project_lite::pin_project;
use tower_service::Service;

use crate::{
    CacheBody,
    emit::{Account, Emit},
    exchange::{self, Leading},
    policy::CacheStatus,
    witness::Asking,
};

type Answered<ResB, E> = Result<Response<CacheBody<ResB>>, E>;
type Boxed<ResB, E> = Pin<Box<dyn Future<Output = Answered<ResB, E>> + Send>>;

pin_project! {
    /// Response future of [`CacheService`](crate::CacheService).
    ///
    /// Dropped, it takes the request to the inner service with it, and leaves nothing in the store.
    pub struct ResponseFuture<S, ReqB, ResB>
    where
        S: Service<Request<ReqB>>,
    {
        #[pin]
        state: State<S, ReqB, ResB>,
    }
}

pin_project! {
    #[project = StateProjection]
    enum State<S, ReqB, ResB>
    where
        S: Service<Request<ReqB>>,
    {
        Ready { response: Option<Response<CacheBody<ResB>>> },
        // A hit moves one of these, and what passes by is larger than what it needs.
        Readying { passing: Option<Box<Passing<S, ReqB>>> },
        Passing { #[pin] future: S::Future, passing: Option<Box<Passing<S, ReqB>>> },
        Leading { leading: Leading<ResB, S::Error>, exit: Option<Exit> },
        Boxed { future: Boxed<ResB, S::Error>, exit: Option<Exit> },
    }
}

struct Passing<S, ReqB> {
    /// Until it is called.
    inner: Option<(S, Request<ReqB>)>,
    wants_body: bool,
    status: CacheStatus,
    asking: Asking,
    exit: Exit,
}

/// Where an answer is told.
pub(crate) struct Exit {
    emit: Arc<Emit>,
    account: Option<Box<Account>>,
}

impl Exit {
    pub(crate) fn new(emit: Arc<Emit>, account: Option<Account>) -> Self {
        Self { emit, account: account.map(Box::new) }
    }

    fn leave<ResB: Body, E>(self, answered: &mut Answered<ResB, E>) {
        let Self { emit, account } = self;
        match answered {
            Ok(response) => emit.close(account.map(|account| *account), response),
            Err(_) => account.into_iter().for_each(|mut account| account.fail()),
        }
    }
}

impl<S, ReqB, ResB> ResponseFuture<S, ReqB, ResB>
where
    S: Service<Request<ReqB>>,
{
    pub(crate) fn ready(response: Response<CacheBody<ResB>>) -> Self {
        Self { state: State::Ready { response: Some(response) } }
    }

    pub(crate) fn pass(
        inner: S,
        request: Request<ReqB>,
        status: CacheStatus,
        asking: Asking,
        exit: Exit,
    ) -> Self {
        let wants_body = request.method() != http::Method::HEAD;
        let passing = Passing { inner: Some((inner, request)), wants_body, status, asking, exit };
        Self { state: State::Readying { passing: Some(Box::new(passing)) } }
    }

    pub(crate) fn leading(leading: Leading<ResB, S::Error>, exit: Exit) -> Self {
        Self { state: State::Leading { leading, exit: Some(exit) } }
    }

    pub(crate) fn boxed(
        future: impl Future<Output = Answered<ResB, S::Error>> + Send + 'static,
        exit: Exit,
    ) -> Self {
        Self { state: State::Boxed { future: Box::pin(future), exit: Some(exit) } }
    }
}

impl<S, ReqB, ResB> Future for ResponseFuture<S, ReqB, ResB>
where
    S: Service<Request<ReqB>, Response = Response<ResB>>,
    ResB: Body,
{
    type Output = Answered<ResB, S::Error>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.as_mut().project().state.project() {
            StateProjection::Ready { response } => Poll::Ready(Ok(response.take().expect(ONCE))),
            _ => self.poll_any(cx),
        }
    }
}

impl<S, ReqB, ResB> ResponseFuture<S, ReqB, ResB>
where
    S: Service<Request<ReqB>, Response = Response<ResB>>,
    ResB: Body,
{
    #[inline(never)]
    fn poll_any(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Answered<ResB, S::Error>> {
        let mut state = self.project().state;
        loop {
            match state.as_mut().project() {
                StateProjection::Ready { response } => {
                    let response = response.take().expect(ONCE);
                    return Poll::Ready(Ok(response));
                }
                StateProjection::Readying { passing: slot } => {
                    let Passing { inner, asking, .. } = &mut **slot.as_mut().expect(ONCE);
                    let (service, _) = inner.as_mut().expect(ONCE);
                    if let Err(error) = ready!(asking.drive(|| service.poll_ready(cx))) {
                        return Poll::Ready(slot.take().expect(ONCE).finish(Err(error)));
                    }
                    let (mut service, request) = inner.take().expect(ONCE);
                    let future = asking.drive(|| service.call(request));
                    let passing = slot.take();
                    state.set(State::Passing { future, passing });
                }
                StateProjection::Passing { mut future, passing } => {
                    let asking = &passing.as_ref().expect(ONCE).asking;
                    let answered = ready!(asking.drive(|| future.as_mut().poll(cx)));
                    return Poll::Ready(passing.take().expect(ONCE).finish(answered));
                }
                StateProjection::Leading { leading, exit } => {
                    let mut answered = ready!(Pin::new(leading).poll(cx));
                    exit.take().expect(ONCE).leave(&mut answered);
                    return Poll::Ready(answered);
                }
                StateProjection::Boxed { future, exit } => {
                    let mut answered = ready!(future.as_mut().poll(cx));
                    exit.take().expect(ONCE).leave(&mut answered);
                    return Poll::Ready(answered);
                }
            }
        }
    }
}

const ONCE: &str = "polled after it was ready";

impl<S, ReqB> Passing<S, ReqB> {
    #[expect(clippy::boxed_local, reason = "the room for the request is not moved")]
    fn finish<ResB: Body, E>(
        self: Box<Self>,
        answered: Result<Response<ResB>, E>,
    ) -> Answered<ResB, E> {
        let Self { wants_body, status, asking, exit, .. } = *self;
        asking.answered(answered.as_ref().ok().map(Response::status));
        drop(asking);
        let mut answered = answered.map(|response| exchange::pass(response, wants_body, status));
        exit.leave(&mut answered);
        answered
    }
}

impl<S, ReqB, ResB> fmt::Debug for ResponseFuture<S, ReqB, ResB>
where
    S: Service<Request<ReqB>>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}
