use http::{Response, StatusCode, request, response};
use http_body::{Body, SizeHint};

use super::Ask;
use crate::{
    CacheBody, Error,
    body::Parts,
    joined::Source,
    observe::Operation,
    policy::{CacheStatus, Content, Decision, Lookup, Refresh, Serve, Stored},
    shared::Core,
    storage::{CacheManager, Found},
};

/// What the store's answer came to.
pub(crate) enum Answer<H, ResB> {
    Ready(Response<CacheBody<ResB>>),
    /// Ready, and the origin is to be asked in the background.
    Refresh(Response<CacheBody<ResB>>, (Box<Refresh>, Found<H>)),
    Ask(Ask<H>),
}

/// Answers from what was found, or says what to ask. A store that fails is a miss.
pub(crate) fn answer<M: CacheManager, ResB>(
    core: &Core<M>,
    lookup: Lookup<'_>,
    request: &mut request::Parts,
    found: Result<Found<M::Handle>, Error>,
) -> Answer<M::Handle, ResB> {
    let now = core.clock.now();
    let (found, decision) = match found {
        Ok(mut found) => {
            let key = lookup.key();
            found.judge(|response| core.purges.judge(key, response.head()));
            let decision = lookup.decide(request, found.as_stored(), now);
            (found, decision)
        }
        Err(error) => {
            core.emit.witness.store_failed(Operation::Get, &error);
            let stored = if error.is_timed_out() { Stored::Late } else { Stored::Failed };
            (Found::nothing(), lookup.decide(request, stored, now))
        }
    };
    match decision {
        Decision::Serve(serve) => Answer::Ready(send_stored(core, serve, found)),
        // What a layer further outside asks for, to have it newer, is not answered with what it has.
        Decision::Refresh(_, refresh)
            if core.purges.inflight().is_within(&request.extensions, refresh.key()) =>
        {
            Answer::Ask(Ask { fetch: refresh.into_validation(request, now), found })
        }
        Decision::Refresh(serve, refresh) => {
            let response = send_stored(core, serve, found.clone());
            Answer::Refresh(response, (refresh, found))
        }
        Decision::Forward(fetch) => Answer::Ask(Ask { fetch, found }),
        Decision::GatewayTimeout(status) => Answer::Ready(own(StatusCode::GATEWAY_TIMEOUT, status)),
    }
}

/// An answer that the cache makes itself.
pub(super) fn own<ResB>(code: StatusCode, status: CacheStatus) -> Response<CacheBody<ResB>> {
    let (mut head, ()) = Response::new(()).into_parts();
    head.status = code;
    Response::from_parts(head, CacheBody::empty(SizeHint::default(), status))
}

pub(super) fn send_stored<M: CacheManager, ResB>(
    core: &Core<M>,
    serve: Serve,
    found: Found<M::Handle>,
) -> Response<CacheBody<ResB>> {
    let Serve { index, head, content, status } = serve;
    let body = match (content, found.into_entry(index)) {
        (Content::Whole, Some(entry)) => {
            CacheBody::stored(core.read(&entry, 0..entry.response().length()), status)
        }
        (Content::Part { start, end }, Some(entry)) => {
            CacheBody::stored(core.read(&entry, start..end), status)
        }
        (Content::Parts(pieces), Some(entry)) => {
            let read = |range| core.read(&entry, range);
            CacheBody::parts(Parts::new(pieces, read), status)
        }
        // Of a body that is not sent, the head alone says how long it is.
        _ => CacheBody::empty(SizeHint::default(), status),
    };
    Response::from_parts(head, body)
}

/// Hands a response through that is not stored.
pub(super) fn pass_source<ResB: Body>(
    head: response::Parts,
    source: Source<ResB>,
    wants_body: bool,
    status: CacheStatus,
) -> Response<CacheBody<ResB>> {
    match source {
        Source::Origin { body } => pass(Response::from_parts(head, body), wants_body, status),
        Source::Joined { body } => Response::from_parts(head, CacheBody::joined(body, status)),
    }
}

/// Hands a response through as it is. Whatever body was given to HEAD is dropped.
pub(crate) fn pass<ResB: Body>(
    response: Response<ResB>,
    wants_body: bool,
    status: CacheStatus,
) -> Response<CacheBody<ResB>> {
    let (head, body) = response.into_parts();
    let body = if wants_body {
        CacheBody::inner(body, status)
    } else {
        CacheBody::empty(body.size_hint(), status)
    };
    Response::from_parts(head, body)
}
