use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker, ready},
};

use http::{Request, Response};
use http_body::Body;
use pin_project_lite::pin_project;
use tower_service::Service;

use crate::{
    CacheBody,
    body::size_of_body,
    clock::Clock,
    emit::{Account, Emit},
    exchange::{self, Leading},
    policy::{CacheStatus, Unkept},
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
        // A hit moves one of these, and a request is larger than what it needs.
        Readying { waiting: Option<Box<(S, Request<ReqB>)>>, passing: Option<Passing> },
        Passing { #[pin] future: S::Future, passing: Option<Passing> },
        Failed { error: Option<S::Error>, passing: Option<Passing> },
        Leading { leading: Leading<ResB, S::Error>, exit: Option<Exit> },
        Boxed { future: Boxed<ResB, S::Error>, exit: Option<Exit> },
    }
}

/// What a response needs to pass by.
pub(crate) struct Passing {
    pub(crate) wants_body: bool,
    pub(crate) status: CacheStatus,
    pub(crate) asking: Asking,
    pub(crate) exit: Exit,
    /// What is left to do for a request that was looked up, and of which nothing is kept.
    pub(crate) unkept: Option<Box<(Unkept, Arc<dyn Clock>)>>,
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

    /// Calls the inner service at once if it is ready, as most are: a request is moved no more often than
    /// it has to be.
    #[inline]
    pub(crate) fn pass(mut inner: S, request: Request<ReqB>, passing: Passing) -> Self {
        let asking = &passing.asking;
        let mut nobody = Context::from_waker(Waker::noop());
        let state = match asking.drive(|| inner.poll_ready(&mut nobody)) {
            Poll::Ready(Ok(())) => {
                let future = asking.drive(|| inner.call(request));
                State::Passing { future, passing: Some(passing) }
            }
            Poll::Ready(Err(error)) => State::Failed { error: Some(error), passing: Some(passing) },
            // Whoever polls it asks again.
            Poll::Pending => {
                let waiting = Some(Box::new((inner, request)));
                State::Readying { waiting, passing: Some(passing) }
            }
        };
        Self { state }
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
                StateProjection::Readying { waiting, passing } => {
                    let asking = &passing.as_ref().expect(ONCE).asking;
                    let (inner, _) = &mut **waiting.as_mut().expect(ONCE);
                    if let Err(error) = ready!(asking.drive(|| inner.poll_ready(cx))) {
                        return Poll::Ready(passing.take().expect(ONCE).finish(Err(error)));
                    }
                    let (mut inner, request) = *waiting.take().expect(ONCE);
                    let future = asking.drive(|| inner.call(request));
                    let passing = passing.take();
                    state.set(State::Passing { future, passing });
                }
                StateProjection::Failed { error, passing } => {
                    let error = error.take().expect(ONCE);
                    return Poll::Ready(passing.take().expect(ONCE).finish(Err(error)));
                }
                StateProjection::Passing { mut future, passing } => {
                    let asking = &passing.as_ref().expect(ONCE).asking;
                    let answered = ready!(asking.drive(|| future.as_mut().poll(cx)));
                    return Poll::Ready(passing.take().expect(ONCE).finish(answered));
                }
                StateProjection::Leading { leading, exit } => {
                    assert!(exit.is_some(), "{ONCE}");
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

impl Passing {
    fn finish<ResB: Body, E>(self, answered: Result<Response<ResB>, E>) -> Answered<ResB, E> {
        let Self { wants_body, mut status, asking, exit, unkept } = self;
        asking.answered(answered.as_ref().ok().map(Response::status));
        let mut answered = answered.map(|mut response| {
            if let Some((unkept, clock)) = unkept.map(|unkept| *unkept) {
                let (mut head, body) = response.into_parts();
                status = unkept.on_response(&mut head, &size_of_body(&body), clock.now());
                exit.emit.witness.is_not_stored(status);
                response = Response::from_parts(head, body);
            }
            exchange::pass(response, wants_body, status)
        });
        drop(asking);
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
