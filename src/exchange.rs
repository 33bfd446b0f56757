//! The way of a request through the cache, read downwards. What to do is the policy's to say; here
//! it is done.

use std::{
    collections::VecDeque,
    future::poll_fn,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use bytes::Bytes;
use http::{Request, Response, StatusCode, request, response};
use http_body::{Body, SizeHint};
use tower_service::Service;

use crate::{
    BoxError, CacheBody, Error,
    body::size_of_body,
    executor::Persistent,
    fill::{Fill, Recorder},
    inflight::Fetching,
    policy::{
        CacheKey, CacheStatus, Content, Decision, Failure, Fetch, Lookup, Outcome, Reason, Serve,
        Store, Stored, Unsafe, Update,
    },
    purge::Purge,
    shared::{Core, Emit},
    storage::{CacheManager, Found, StoredBody},
};

/// What the store's answer came to.
pub(crate) enum Answer<H, ResB> {
    Ready(Response<CacheBody<ResB>>),
    Ask(Ask<H>),
}

/// A request that goes to the origin, and what was found for it.
pub(crate) struct Ask<H> {
    fetch: Fetch,
    found: Found<H>,
    began: u64,
}

/// Looks into a store that has to be waited for.
pub(crate) async fn look_up<S, M, ReqB, ResB>(
    core: Arc<Core<M>>,
    inner: S,
    request: Request<ReqB>,
    lookup: Lookup<'static>,
    began: u64,
) -> Result<Response<CacheBody<ResB>>, S::Error>
where
    S: Service<Request<ReqB>, Response = Response<ResB>>,
    ResB: Body<Data = Bytes>,
    ResB::Error: Into<BoxError>,
    M: CacheManager,
{
    let (mut head, body) = request.into_parts();
    let found = {
        let secret = core.manager.secret();
        core.within(core.manager.get(&lookup.wanted(&head.headers, secret))).await
    };
    match answer(&core, lookup, &mut head, found, began) {
        Answer::Ready(response) => Ok(response),
        Answer::Ask(ask) => forward(core, inner, Request::from_parts(head, body), ask).await,
    }
}

/// Answers from what was found, or says what to ask. A store that fails is a miss.
pub(crate) fn answer<M: CacheManager, ResB>(
    core: &Core<M>,
    lookup: Lookup<'_>,
    request: &mut request::Parts,
    found: Result<Found<M::Handle>, Error>,
    began: u64,
) -> Answer<M::Handle, ResB> {
    let now = core.clock.now();
    let (found, decision) = match found {
        Ok(mut found) => {
            let key = lookup.key();
            found.retain(|response| core.purges.allows(key, response.head()));
            let decision = lookup.decide(request, found.as_stored(), now);
            (found, decision)
        }
        Err(_) => (Found::nothing(), lookup.decide(request, Stored::Failed, now)),
    };
    match decision {
        Decision::Serve(serve) | Decision::Refresh(serve, _) => {
            Answer::Ready(send_stored(core, serve, found))
        }
        Decision::Forward(fetch) => Answer::Ask(Ask { fetch, found, began }),
        Decision::GatewayTimeout(status) => {
            let (mut head, ()) = Response::new(()).into_parts();
            head.status = StatusCode::GATEWAY_TIMEOUT;
            core.emit.emit(&mut head, status);
            Answer::Ready(Response::from_parts(head, CacheBody::empty(SizeHint::default(), status)))
        }
    }
}

/// Asks the origin, and does with its answer what the policy says.
pub(crate) async fn forward<S, M, ReqB, ResB>(
    core: Arc<Core<M>>,
    mut inner: S,
    request: Request<ReqB>,
    ask: Ask<M::Handle>,
) -> Result<Response<CacheBody<ResB>>, S::Error>
where
    S: Service<Request<ReqB>, Response = Response<ResB>>,
    ResB: Body<Data = Bytes>,
    ResB::Error: Into<BoxError>,
    M: CacheManager,
{
    let Ask { fetch, found, began } = ask;
    let is_head = request.method() == http::Method::HEAD;
    let fetching = core.purges.inflight().enter(fetch.key());
    let asked = async {
        poll_fn(|cx| inner.poll_ready(cx)).await?;
        inner.call(request).await
    };
    let (mut head, body) = match asked.await {
        Ok(response) => response.into_parts(),
        Err(error) => {
            return match fetch.on_error(core.clock.now()) {
                Failure::ServeStale(serve) => Ok(send_stored(&core, serve, found)),
                Failure::Fail => Err(error),
            };
        }
    };

    let (now, secret) = (core.clock.now(), core.manager.secret());
    match fetch.on_response(&mut head, &size_of_body(&body), now, began, secret) {
        Outcome::Store(store) => Ok(store_and_send(&core, head, body, store, fetching).await),
        Outcome::Freshen { update, serve } => {
            let found = freshen(&core, found, serve.index, update, &fetching).await;
            Ok(send_stored(&core, serve, found))
        }
        Outcome::ServeStale(serve) => Ok(send_stored(&core, serve, found)),
        Outcome::Pass { drop, status } => {
            if let Some(index) = drop {
                remove(&core, found, index).await;
            }
            Ok(pass(&core.emit, Response::from_parts(head, body), is_head, status))
        }
    }
}

/// Writes through, and invalidates before the client hears of it (RFC 9111 §4.4).
pub(crate) async fn write_through<S, M, ReqB, ResB>(
    core: Arc<Core<M>>,
    mut inner: S,
    request: Request<ReqB>,
    unsafe_request: Unsafe,
) -> Result<Response<CacheBody<ResB>>, S::Error>
where
    S: Service<Request<ReqB>, Response = Response<ResB>>,
    ResB: Body,
    M: CacheManager,
{
    poll_fn(|cx| inner.poll_ready(cx)).await?;
    let (head, body) = inner.call(request).await?.into_parts();
    let mut status = CacheStatus::forwarded(Reason::UnsafeMethod);
    let keys = unsafe_request.on_response(&head);
    // First those on their way, then the store: what slips between is refused by the store.
    keys.iter().for_each(|key| core.purges.inflight().invalidate(key));
    let failed = Arc::new(AtomicBool::new(false));
    let deleting = delete_all(core.clone(), keys, failed.clone());
    // The origin has changed, even for a client that is gone before the store knows.
    Persistent::new(Box::pin(deleting), core.executor.clone()).await;
    if failed.load(Ordering::Acquire) {
        status = status.detailed(Reason::StoreError);
    }
    Ok(pass(&core.emit, Response::from_parts(head, body), false, status))
}

async fn delete_all<M: CacheManager>(
    core: Arc<Core<M>>,
    keys: Vec<CacheKey>,
    failed: Arc<AtomicBool>,
) {
    for key in keys {
        if core.within(core.manager.delete(&key)).await.is_err() {
            // What the store could not do the log does: the old response is not served again.
            core.purges.append(Purge::resource(&key));
            let _ = core.within(core.purges.sync()).await;
            failed.store(true, Ordering::Release);
        }
    }
}

/// Hands a response through as it is. Whatever body was given to HEAD is dropped.
pub(crate) fn pass<ResB: Body>(
    emit: &Emit,
    response: Response<ResB>,
    is_head: bool,
    status: CacheStatus,
) -> Response<CacheBody<ResB>> {
    let (mut head, body) = response.into_parts();
    emit.emit(&mut head, status);
    let body = if is_head {
        CacheBody::empty(body.size_hint(), status)
    } else {
        CacheBody::inner(body, status)
    };
    Response::from_parts(head, body)
}

async fn store_and_send<M, ResB>(
    core: &Core<M>,
    mut head: response::Parts,
    body: ResB,
    store: Store,
    fetching: Fetching,
) -> Response<CacheBody<ResB>>
where
    ResB: Body<Data = Bytes>,
    ResB::Error: Into<BoxError>,
    M: CacheManager,
{
    let (status, length, trailers) = (store.status(), store.length(), store.announces_trailers());
    let read_ahead = store.is_seldom_read();
    let room = core.manager.max_entry_bytes();
    if length.is_some_and(|length| length > room) {
        let status = status.detailed(Reason::TooLarge);
        return pass(&core.emit, Response::from_parts(head, body), false, status);
    }
    core.emit.emit(&mut head, status);
    let (placement, stored) = store.into_parts();
    let recorder = Recorder::new(core.manager.clone(), placement, stored, fetching, core.means());
    let mut fill = Fill::new(length, trailers, recorder);
    if (body.is_end_stream() && !fill.is_short()) || fill.is_empty() {
        // Nobody polls a body that has ended.
        let _ = poll_fn(|cx| match fill.poll_held(cx) {
            Some(held) => held,
            None => fill.observe(None, true, cx),
        })
        .await;
    }
    let body = CacheBody::filling(body, fill, status);
    let body = if read_ahead { begin_to_read(core, body, status).await } else { body };
    Response::from_parts(head, body)
}

/// Reads what comes of a body within the time that a store may take.
async fn begin_to_read<M, ResB>(
    core: &Core<M>,
    body: CacheBody<ResB>,
    status: CacheStatus,
) -> CacheBody<ResB>
where
    ResB: Body<Data = Bytes>,
    ResB::Error: Into<BoxError>,
{
    let (mut body, mut frames) = (Box::pin(body), VecDeque::new());
    let reading = async {
        while !body.is_end_stream() {
            let Some(frame) = poll_fn(|cx| body.as_mut().poll_frame(cx)).await else { break };
            frames.push_back(frame);
        }
        Ok(())
    };
    // Late or not, the client gets it all.
    let _ = core.within(reading).await;
    CacheBody::begun(frames, body, status)
}

async fn freshen<M: CacheManager>(
    core: &Core<M>,
    found: Found<M::Handle>,
    index: usize,
    update: Update,
    fetching: &Fetching,
) -> Found<M::Handle> {
    let Some(entry) = found.clone().into_entry(index) else { return found };
    // Whether the store has done it changes nothing for this request.
    let _ = match update {
        Update::Replace(head) if !fetching.is_invalidated() => {
            core.within(core.manager.update(&entry, head)).await
        }
        Update::Replace(_) | Update::Keep => Ok(false),
        Update::Remove => core.within(core.manager.remove(&entry)).await,
    };
    found
}

async fn remove<M: CacheManager>(core: &Core<M>, found: Found<M::Handle>, index: usize) {
    if let Some(entry) = found.into_entry(index) {
        // An outdated entry that stays is stale, and will be asked about again.
        let _ = core.within(core.manager.remove(&entry)).await;
    }
}

fn send_stored<M: CacheManager, ResB>(
    core: &Core<M>,
    serve: Serve,
    found: Found<M::Handle>,
) -> Response<CacheBody<ResB>> {
    let Serve { index, mut head, content, status } = serve;
    core.emit.emit(&mut head, status);
    let body = match (content, found.into_entry(index)) {
        (Content::Whole, Some(entry)) => {
            let body: StoredBody = core.manager.read(&entry, 0..entry.response().length());
            CacheBody::stored(body, status)
        }
        // Of a body that is not sent, the head alone says how long it is.
        _ => CacheBody::empty(SizeHint::default(), status),
    };
    Response::from_parts(head, body)
}
