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
    policy::{CacheKey, CacheStatus, Reason, Unsafe},
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
