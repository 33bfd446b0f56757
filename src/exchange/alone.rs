use std::{future::poll_fn, sync::Arc};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use tower_service::Service;

use super::{Answered, Since, change::clear_origin, pass};
use crate::{
    BoxError, body::size_of_body, policy::Fetch, shared::Core, storage::CacheManager,
    witness::Asking,
};

/// Asks for one whose answer is not stored: nobody waits for it, and it ends with the one who asked.
pub(crate) async fn ask_alone<S, M, ReqB, ResB>(
    core: Arc<Core<M>>,
    mut inner: S,
    request: Request<ReqB>,
    fetch: Fetch,
    since: Since,
) -> Answered<ResB, S::Error>
where
    S: Service<Request<ReqB>, Response = Response<ResB>>,
    ResB: Body<Data = Bytes>,
    ResB::Error: Into<BoxError>,
    M: CacheManager,
{
    let wants_body = fetch.wants_body();
    let origin =
        Asking::begin(&core.emit.witness, &core.clock, Some(fetch.key()), fetch.reason(), false);
    let asked = async {
        poll_fn(|cx| inner.poll_ready(cx)).await?;
        inner.call(request).await
    };
    let asked = origin.run(asked).await;
    origin.answered(asked.as_ref().ok().map(Response::status));
    let (mut head, body) = asked?.into_parts();
    if fetch.clears_origin(&head) {
        Box::pin(clear_origin(&core, fetch.key())).await;
    }
    let (size, now) = (size_of_body(&body), core.clock.now());
    let status =
        fetch.on_unkept_response(&mut head, &size, now, since.purges, core.manager.secret());
    core.emit.witness.is_not_stored(status);
    Ok(pass(Response::from_parts(head, body), wants_body, status))
}
