use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use http::{Request, Response};
use http_body::Body;
use pin_project_lite::pin_project;
use tower_service::Service;

use crate::{CacheBody, exchange, policy::CacheStatus, shared::Emit};

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
        Passing { #[pin] future: S::Future, passing: Box<Passing<S, ReqB>> },
        Boxed { future: Boxed<ResB, S::Error> },
    }
}

struct Passing<S, ReqB> {
    /// Until it is called.
    inner: Option<(S, Request<ReqB>)>,
    is_head: bool,
    status: CacheStatus,
    emit: Emit,
}

impl<S, ReqB, ResB> ResponseFuture<S, ReqB, ResB>
where
    S: Service<Request<ReqB>>,
{
    pub(crate) fn ready(response: Response<CacheBody<ResB>>) -> Self {
        Self { state: State::Ready { response: Some(response) } }
    }

    pub(crate) fn pass(inner: S, request: Request<ReqB>, status: CacheStatus, emit: &Emit) -> Self {
        let (is_head, emit) = (request.method() == http::Method::HEAD, emit.clone());
        let passing = Passing { inner: Some((inner, request)), is_head, status, emit };
        Self { state: State::Readying { passing: Some(Box::new(passing)) } }
    }

    pub(crate) fn boxed(
        future: impl Future<Output = Answered<ResB, S::Error>> + Send + 'static,
    ) -> Self {
        Self { state: State::Boxed { future: Box::pin(future) } }
    }
}

impl<S, ReqB, ResB> Future for ResponseFuture<S, ReqB, ResB>
where
    S: Service<Request<ReqB>, Response = Response<ResB>>,
    ResB: Body,
{
    type Output = Answered<ResB, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.project().state;
        loop {
            match state.as_mut().project() {
                StateProjection::Ready { response } => {
                    let response = response.take().expect("polled after it was ready");
                    return Poll::Ready(Ok(response));
                }
                StateProjection::Readying { passing: slot } => {
                    let mut passing = slot.take().expect("taken only when it is replaced");
                    let (service, _) =
                        passing.inner.as_mut().expect("taken only when it is called");
                    let Poll::Ready(readied) = service.poll_ready(cx) else {
                        *slot = Some(passing);
                        return Poll::Pending;
                    };
                    readied?;
                    let (mut service, request) = passing.inner.take().expect("just seen");
                    let future = service.call(request);
                    state.set(State::Passing { future, passing });
                }
                StateProjection::Passing { future, passing } => {
                    let response = ready!(future.poll(cx))?;
                    let Passing { is_head, status, emit, .. } = &**passing;
                    return Poll::Ready(Ok(exchange::pass(emit, response, *is_head, *status)));
                }
                StateProjection::Boxed { future } => return future.as_mut().poll(cx),
            }
        }
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
