use std::{
    future::poll_fn,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use http::{Request, Response};
use http_body::Body;
use tower_service::Service;

use super::{Answered, pass};
use crate::{
    executor::Persistent,
    policy::{CacheStatus, Invalidated, Reason, Unsafe},
    purge::Purge,
    shared::Core,
    storage::CacheManager,
};

/// Writes through, and invalidates before the client hears of it (RFC 9111 §4.4).
pub(crate) async fn write_through<S, M, ReqB, ResB>(
    core: Arc<Core<M>>,
    mut inner: S,
    request: Request<ReqB>,
    unsafe_request: Unsafe,
) -> Answered<ResB, S::Error>
where
    S: Service<Request<ReqB>, Response = Response<ResB>>,
    ResB: Body,
    M: CacheManager,
{
    poll_fn(|cx| inner.poll_ready(cx)).await?;
    let (head, body) = inner.call(request).await?.into_parts();
    let mut status = CacheStatus::forwarded(Reason::UnsafeMethod);
    let invalidated = unsafe_request.on_response(&head);
    // First those on their way, then the store: what slips between is refused by the store.
    invalidated.keys().iter().for_each(|key| core.purges.inflight().invalidate(key));
    for group in invalidated.groups() {
        core.purges.append(Purge::group_of(invalidated.target(), group));
    }
    if core.purges.is_crowded() {
        core.sweep();
    }
    let failed = Arc::new(AtomicBool::new(false));
    let deleting = delete_all(core.clone(), invalidated, failed.clone());
    // The origin has changed, even for a client that is gone before the store knows.
    Persistent::new(Box::pin(deleting), core.executor.clone()).await;
    if failed.load(Ordering::Acquire) {
        status = status.detailed(Reason::StoreError);
    }
    Ok(pass(&core.emit, Response::from_parts(head, body), false, status))
}

async fn delete_all<M: CacheManager>(
    core: Arc<Core<M>>,
    invalidated: Invalidated,
    failed: Arc<AtomicBool>,
) {
    for key in invalidated.keys() {
        if core.within(core.manager.delete(key)).await.is_err() {
            // What the store could not do the log does: the old response is not served again.
            core.purges.append(Purge::resource(key));
            failed.store(true, Ordering::Release);
        }
    }
    let is_in_log = failed.load(Ordering::Acquire) || !invalidated.groups().is_empty();
    if is_in_log && core.within(core.purges.sync()).await.is_err() {
        failed.store(true, Ordering::Release);
    }
}
