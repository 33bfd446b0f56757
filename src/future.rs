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
        // A request that passes by the cache costs no allocation.
        Readying { inner: Option<(S, Request<ReqB>)>, passing: Passing },
        Passing { #[pin] future: S::Future, passing: Passing },
        Boxed { future: Boxed<ResB, S::Error> },
    }
}

#[derive(Clone)]
struct Passing {
    wants_body: bool,
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
        let passing = Passing {
            wants_body: request.method() != http::Method::HEAD,
            status,
            emit: emit.clone(),
        };
        Self { state: State::Readying { inner: Some((inner, request)), passing } }
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
                StateProjection::Readying { inner, passing } => {
                    let (service, _) = inner.as_mut().expect("taken only when it is replaced");
                    ready!(service.poll_ready(cx))?;
                    let (mut service, request) = inner.take().expect("just seen");
                    let (future, passing) = (service.call(request), passing.clone());
                    state.set(State::Passing { future, passing });
                }
                StateProjection::Passing { future, passing } => {
                    let response = ready!(future.poll(cx))?;
                    let Passing { wants_body, status, emit } = passing;
                    return Poll::Ready(Ok(exchange::pass(emit, response, *wants_body, *status)));
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
