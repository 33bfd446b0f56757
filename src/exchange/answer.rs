use std::mem;

use http::{Response, StatusCode, request, response};
use http_body::{Body, SizeHint};

use super::Ask;
use crate::{
    CacheBody, Error,
    body::Parts,
    joined::Source,
    observe::Operation,
    policy::{
        CacheStatus, Content, Decision, Fit, Lookup, Refresh, Serve, Stored, Timestamp, Usual,
    },
    purge::Verdict,
    shared::Core,
    storage::{CacheManager, Entry, Found},
};

/// What the store's answer came to.
pub(crate) enum Answer<H, ResB> {
    Ready(Response<CacheBody<ResB>>),
    /// Ready, and the origin is to be asked in the background.
    Refresh(Response<CacheBody<ResB>>, (Box<Refresh>, Found<H>)),
    Ask(Ask<H>),
}

fn as_stored<H>(found: &Result<Found<H>, Error>) -> Stored<'_> {
    match found {
        Ok(found) => found.as_stored(),
        Err(error) if error.is_timed_out() => Stored::Late,
        Err(_) => Stored::Failed,
    }
}

/// What nearly all answers are made of: the only response that was found, as it is.
pub(crate) struct Hit<'f, H> {
    entry: &'f Entry<H>,
    fit: Fit,
    usual: Usual,
}

/// Looks whether what was found is such an answer.
#[inline]
pub(crate) fn hit<'f, M: CacheManager>(
    core: &Core<M>,
    lookup: &Lookup<'_>,
    request: &request::Parts,
    found: &'f Found<M::Handle>,
    now: Timestamp,
) -> Option<Hit<'f, M::Handle>> {
    let entry = found.only()?;
    let (response, head) = (entry.response(), entry.response().head());
    if core.purges.judge(lookup.key(), head) != Verdict::Good {
        return None;
    }
    let (fit, usual) = (lookup.fits(response, now)?, lookup.usual(&request.headers, head, now)?);
    Some(Hit { entry, fit, usual })
}

/// Makes it.
#[inline]
pub(crate) fn send<M: CacheManager, ResB>(
    core: &Core<M>,
    lookup: &Lookup<'_>,
    hit: &Hit<'_, M::Handle>,
) -> Response<CacheBody<ResB>> {
    let Hit { entry, fit, usual } = hit;
    let stored = entry.response();
    let headers = lookup.usual_fields(*usual, stored.head(), fit.age, core.emit.has_slot());
    let body = match usual {
        Usual::Whole => CacheBody::stored(core.read(entry, 0..stored.length()), fit.status()),
        Usual::NotModified => CacheBody::empty(SizeHint::default(), fit.status()),
    };
    let mut response = Response::new(body);
    *response.status_mut() = match usual {
        Usual::Whole => stored.head().status(),
        Usual::NotModified => StatusCode::NOT_MODIFIED,
    };
    // The map of a new response is empty: nothing is lost with it but what its end takes, which a hit feels.
    mem::forget(mem::replace(response.headers_mut(), headers));
    response
}

/// Answers from what was found, or says what to ask. A store that fails is a miss.
pub(crate) fn answer<M: CacheManager, ResB>(
    core: &Core<M>,
    lookup: Lookup<'_>,
    request: &mut request::Parts,
    found: Result<Found<M::Handle>, Error>,
) -> Answer<M::Handle, ResB> {
    answer_at(core, lookup, request, found, core.clock.now())
}

/// The same at a moment that is known.
pub(crate) fn answer_at<M: CacheManager, ResB>(
    core: &Core<M>,
    lookup: Lookup<'_>,
    request: &mut request::Parts,
    mut found: Result<Found<M::Handle>, Error>,
    now: Timestamp,
) -> Answer<M::Handle, ResB> {
    match &mut found {
        Ok(found) => found.judge(|response| core.purges.judge(lookup.key(), response.head())),
        Err(error) => core.emit.witness.store_failed(Operation::Get, error),
    }
    let decision = lookup.decide(request, as_stored(&found), now);
    let found = found.unwrap_or_else(|_| Found::nothing());
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
