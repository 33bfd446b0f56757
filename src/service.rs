use std::{
    fmt,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{Method, Request, Response, request};
use http_body::Body;
use tower_service::Service;

use crate::{
    BoxError, CacheBody, Error,
    body::size_of_body,
    bus::Trust,
    emit::Account,
    exchange::{self, Answer, Ask, Exchange, Known, Refreshment, SetOut, Since},
    future::{Exit, Passing, ResponseFuture},
    policy::{Begin, CacheKey, CacheStatus, Reason, Timestamp, Unkept},
    shared::Core,
    storage::{CacheManager, Found},
    witness::Asking,
};

/// A service that answers from a store what it can, and asks the inner service for the rest.
///
/// Made by [`CacheLayer`](crate::CacheLayer). It is always ready, and its errors are those of the
/// inner service.
pub struct CacheService<S, M> {
    inner: S,
    core: Arc<Core<M>>,
}

impl<S, M> CacheService<S, M> {
    pub(crate) fn new(inner: S, core: Arc<Core<M>>) -> Self {
        Self { inner, core }
    }

    /// The inner service.
    pub fn get_ref(&self) -> &S {
        &self.inner
    }

    /// The inner service, without its cache.
    pub fn into_inner(self) -> S {
        self.inner
    }
}

/// A request that is on its way in.
struct Asked<B> {
    head: request::Parts,
    body: B,
    account: Option<Account>,
}

/// What the store has said without being waited for, and when.
type Looked<H> = (Result<Found<H>, Error>, Timestamp);

impl<S, M, ReqB, ResB> Service<Request<ReqB>> for CacheService<S, M>
where
    S: Service<Request<ReqB>, Response = Response<ResB>> + Clone + Send + 'static,
    S::Future: Send + 'static,
    S::Error: Send + 'static,
    ReqB: Body + Send + 'static,
    ResB: Body<Data = Bytes> + Send + 'static,
    ResB::Error: Into<BoxError>,
    M: CacheManager,
{
    type Response = Response<CacheBody<ResB>>;
    type Error = S::Error;
    type Future = ResponseFuture<S, ReqB, ResB>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        // A hit needs nothing of the inner service. A miss readies the clone that it calls.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<ReqB>) -> Self::Future {
        let core = &*self.core;
        let (head, body) = request.into_parts();
        let mut account = core.emit.open(&head, &core.clock);
        // Nothing is moved before it is known to be no hit, which feels that.
        let mut room = CacheKey::BLANK;
        let mut begun = core.policy.begin_in(&mut room, &head, &size_of_body(&body));
        let Begin::Lookup(lookup) = &mut begun else {
            return self.otherwise(begun, Since::now(core), None, Asked { head, body, account });
        };
        match core.trust() {
            Trust::Full => {}
            Trust::Doubt => lookup.doubt(),
            Trust::None => return self.pass(Asked { head, body, account }, Reason::CutOff),
        }
        core.emit.look_up(&mut account, lookup.key());
        let since = Since::now(core);
        let found = core.manager.get_now(&lookup.wanted(&head.headers, core.manager.secret()));
        let Some(found) = found else {
            return self.otherwise(begun, since, None, Asked { head, body, account });
        };
        let now = core.clock.now();
        if let Ok(found) = &found
            && let Some(hit) = exchange::hit(core, lookup, &head, found, now)
        {
            let mut response = exchange::send(core, lookup, &hit);
            core.emit.close(account, &mut response);
            return ResponseFuture::ready(response);
        }
        self.otherwise(begun, since, Some((found, now)), Asked { head, body, account })
    }
}

impl<S, M: CacheManager> CacheService<S, M> {
    /// All that is no plain hit.
    #[inline(never)]
    fn otherwise<ReqB, ResB>(
        &self,
        begun: Begin<'_>,
        mut since: Since,
        looked: Option<Looked<M::Handle>>,
        asked: Asked<ReqB>,
    ) -> ResponseFuture<S, ReqB, ResB>
    where
        S: Service<Request<ReqB>, Response = Response<ResB>> + Clone + Send + 'static,
        S::Future: Send + 'static,
        S::Error: Send + 'static,
        ReqB: Body + Send + 'static,
        ResB: Body<Data = Bytes> + Send + 'static,
        ResB::Error: Into<BoxError>,
    {
        let core = &self.core;
        if looked.is_some() {
            since.hear(core);
        }
        let exit = |account| Exit::new(core.emit.clone(), account);
        let lookup = match begun {
            Begin::Lookup(lookup) => lookup,
            Begin::Bypass(reason) => return self.pass(asked, reason),
            Begin::Invalidate(unsafe_request) => {
                let Asked { head, body, account } = asked;
                let (request, exit) = (Request::from_parts(head, body), exit(account));
                let began = core.purges.position();
                let (core, inner) = (core.clone(), self.inner.clone());
                let written = exchange::write_through(core, inner, request, unsafe_request, began);
                return ResponseFuture::boxed(written, exit);
            }
        };
        let Asked { mut head, body, account } = asked;
        if lookup.is_unkept()
            && matches!(&looked, Some((Ok(found), _)) if found.is_nothing())
            && !core.purges.inflight().is_asked(lookup.key())
        {
            let unkept = Some(lookup.unkept(&mut head));
            let (key, reason) = (Some(lookup.key()), Reason::UriMiss);
            let passing = self.passing(&head, account, key, reason, unkept);
            let request = Request::from_parts(head, body);
            return ResponseFuture::pass(self.inner.clone(), request, passing);
        }
        let known = match looked {
            None => Known::Nothing(lookup.detach()),
            Some((found, now)) => match exchange::answer_at(core, lookup, &mut head, found, now) {
                Answer::Ready(mut response) => {
                    core.emit.close(account, &mut response);
                    return ResponseFuture::ready(response);
                }
                Answer::Refresh(mut stale, refresh) => {
                    let request = Request::from_parts(head, body);
                    let (core, inner) = (core.clone(), self.inner.clone());
                    let refresh = Refreshment { core, inner, request, since, refresh };
                    return match refresh.begin() {
                        Some(foreground) => {
                            let answer = async { Ok(foreground.run(stale).await) };
                            ResponseFuture::boxed(answer, exit(account))
                        }
                        None => {
                            self.core.emit.close(account, &mut stale);
                            ResponseFuture::ready(stale)
                        }
                    };
                }
                Answer::Ask(Ask { fetch, .. })
                    if fetch.keeps_nothing() && !core.purges.inflight().is_asked(fetch.key()) =>
                {
                    let request = Request::from_parts(head, body);
                    let exit = exit(account);
                    let (core, inner) = (core.clone(), self.inner.clone());
                    let asking = exchange::ask_alone(core, inner, request, fetch, since);
                    return ResponseFuture::boxed(asking, exit);
                }
                Answer::Ask(ask) => Known::Miss(ask),
            },
        };
        let exit = exit(account);
        let request = Request::from_parts(head, body);
        let (core, inner) = (core.clone(), self.inner.clone());
        match (Exchange { core, inner, request, known, since }).begin() {
            SetOut::Leading(leading) => ResponseFuture::leading(leading, exit),
            SetOut::Waiting(waiting) => ResponseFuture::boxed(waiting.run(), exit),
        }
    }

    #[cold]
    fn pass<ReqB, ResB>(&self, asked: Asked<ReqB>, reason: Reason) -> ResponseFuture<S, ReqB, ResB>
    where
        S: Service<Request<ReqB>> + Clone,
    {
        let Asked { head, body, account } = asked;
        let passing = self.passing(&head, account, None, reason, None);
        ResponseFuture::pass(self.inner.clone(), Request::from_parts(head, body), passing)
    }

    fn passing(
        &self,
        head: &request::Parts,
        account: Option<Account>,
        key: Option<&CacheKey>,
        reason: Reason,
        unkept: Option<Unkept>,
    ) -> Passing {
        let Core { emit, clock, .. } = &*self.core;
        Passing {
            wants_body: head.method != Method::HEAD,
            status: CacheStatus::forwarded(reason),
            asking: Asking::begin(&emit.witness, clock, key, reason, false),
            exit: Exit::new(emit.clone(), account),
            unkept: unkept.map(|unkept| Box::new((unkept, clock.clone()))),
        }
    }
}

impl<S: Clone, M> Clone for CacheService<S, M> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), core: self.core.clone() }
    }
}

impl<S: fmt::Debug, M> fmt::Debug for CacheService<S, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CacheService").field("inner", &self.inner).finish_non_exhaustive()
    }
}

#[cfg(all(feature = "memory", not(larder_loom)))]
#[cfg(test)]
mod tests {
    use std::{convert::Infallible, pin::pin, sync::mpsc, task::Waker, thread, time::Duration};

    use http_body_util::{BodyExt, Full};
    use tower::Layer;

    use super::*;
    use crate::{CacheLayer, MemoryManager};

    /// Whoever is answered from the store takes none of the locks of those who
    /// ask the origin.
    #[test]
    fn a_hit_waits_for_nobody_who_asks() {
        let layer = CacheLayer::new(MemoryManager::new(1 << 20));
        let service = layer.layer(tower::service_fn(async |_: Request<Full<Bytes>>| {
            let response = Response::builder().header("cache-control", "max-age=60");
            Ok::<_, Infallible>(response.body(Full::new(Bytes::from("hello"))).unwrap())
        }));
        let ask = {
            let service = service.clone();
            move || {
                let request = Request::get("http://a.example/").body(Full::default()).unwrap();
                let mut answer = pin!(async {
                    let body = service.clone().call(request).await.unwrap().into_body();
                    (body.status().is_hit(), body.collect().await.unwrap().to_bytes())
                });
                match answer.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
                    Poll::Ready(answer) => answer,
                    Poll::Pending => unreachable!("nothing here waits"),
                }
            }
        };
        assert_eq!(ask(), (false, Bytes::from("hello")));
        let held = service.core.purges.inflight().hold();
        let (sender, receiver) = mpsc::channel();
        thread::spawn(move || sender.send(ask()));
        let answer = receiver.recv_timeout(Duration::from_secs(30));
        assert_eq!(answer, Ok((true, Bytes::from("hello"))));
        drop(held);
    }
}
