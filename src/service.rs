use std::{
    fmt,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{Request, Response, request};
use http_body::Body;
use tower_service::Service;

use crate::{
    BoxError, CacheBody,
    body::size_of_body,
    bus::Trust,
    emit::Account,
    exchange::{self, Answer, Ask, Exchange, Known, Refreshment, Since},
    future::{Exit, ResponseFuture},
    policy::{Begin, CacheKey, CacheStatus, Reason, Usable},
    shared::Core,
    storage::CacheManager,
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

    fn pass<ReqB, ResB>(
        &self,
        head: request::Parts,
        body: ReqB,
        reason: Reason,
        account: Option<Box<Account>>,
    ) -> ResponseFuture<S, ReqB, ResB>
    where
        S: Service<Request<ReqB>> + Clone,
    {
        let Core { emit, clock, .. } = &*self.core;
        let status = CacheStatus::forwarded(reason);
        let asking = Asking::begin(&emit.witness, clock, None, reason, false);
        let exit = Exit { emit: emit.clone(), account };
        ResponseFuture::pass(
            self.inner.clone(),
            Request::from_parts(head, body),
            status,
            asking,
            exit,
        )
    }
}

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
        let core = &self.core;
        let (mut head, body) = request.into_parts();
        let mut account = core.emit.open(&head, &core.clock);
        let exit = |account| Exit { emit: core.emit.clone(), account };
        // Not moved once more than it must be: a hit feels it.
        let mut room = CacheKey::BLANK;
        let mut lookup = match core.policy.begin_in(&mut room, &head, &size_of_body(&body)) {
            Begin::Lookup(lookup) => lookup,
            Begin::Bypass(reason) => return self.pass(head, body, reason, account),
            Begin::Invalidate(unsafe_request) => {
                let request = Request::from_parts(head, body);
                let began = core.purges.position();
                let exit = exit(account);
                let (core, inner) = (core.clone(), self.inner.clone());
                let written = exchange::write_through(core, inner, request, unsafe_request, began);
                return ResponseFuture::boxed(written, exit);
            }
        };
        match core.trust() {
            Trust::Full => {}
            Trust::Doubt => lookup = lookup.doubting(),
            Trust::None => return self.pass(head, body, Reason::CutOff, account),
        }
        core.emit.look_up(&mut account, lookup.key());
        let since = Since::now(core);
        let found = core.manager.get_now(&lookup.wanted(&head.headers, core.manager.secret()));
        let known = match found {
            Some(mut found) => {
                let now = core.clock.now();
                let usable = exchange::look(core, &lookup, &head, &mut found, now);
                if let (Usable::Fresh(fit), Ok(found)) = (&usable, &found)
                    && let Some(mut response) =
                        exchange::send_usual(core, &lookup, &head, found, fit, now)
                {
                    core.emit.close(account, &mut response);
                    return ResponseFuture::ready(response);
                }
                match exchange::conclude(core, lookup, &mut head, found, usable, now) {
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
                        if fetch.keeps_nothing()
                            && !core.purges.inflight().is_asked(fetch.key()) =>
                    {
                        let request = Request::from_parts(head, body);
                        let exit = exit(account);
                        let (core, inner) = (core.clone(), self.inner.clone());
                        let asking = exchange::ask_alone(core, inner, request, fetch, since);
                        return ResponseFuture::boxed(asking, exit);
                    }
                    Answer::Ask(ask) => Known::Miss(ask),
                }
            }
            None => Known::Nothing(lookup.detach()),
        };
        let exit = exit(account);
        let request = Request::from_parts(head, body);
        let (core, inner) = (core.clone(), self.inner.clone());
        let exchange = Exchange { core, inner, request, known, since };
        ResponseFuture::boxed(Box::new(exchange).run(), exit)
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

    /// Issue 4, "Throughput": whoever is answered from the store takes none of the locks of those who
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
