//! The policy asked by hand, with one stored response at most.

use std::time::{Duration, SystemTime};

use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, request};
use http_body::SizeHint;
use larder::policy::{Begin, Decision, Outcome, Policy, Secret, Stored, StoredResponse, Timestamp};

/// Sun, 22 Nov 2026 11:00:07 GMT and so many seconds.
pub fn at(seconds: u64) -> Timestamp {
    Timestamp::from_wall(SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_345_207 + seconds))
}

pub fn fields(lines: &[(&str, &str)]) -> HeaderMap {
    let line = |(name, value): &(&str, &str)| {
        (name.parse::<HeaderName>().unwrap(), HeaderValue::from_bytes(value.as_bytes()).unwrap())
    };
    lines.iter().map(line).collect()
}

pub fn get(fields: &HeaderMap) -> request::Parts {
    let (mut parts, ()) = Request::get("http://a.example/").body(()).unwrap().into_parts();
    parts.headers = fields.clone();
    parts
}

/// What the policy keeps of a response to a GET with these fields.
pub fn kept(policy: &Policy, request: &HeaderMap, response: &HeaderMap) -> Option<StoredResponse> {
    kept_of(policy, request, 200, response)
}

pub fn kept_of(
    policy: &Policy,
    request: &HeaderMap,
    status: u16,
    response: &HeaderMap,
) -> Option<StoredResponse> {
    let mut parts = get(request);
    let Begin::Lookup(lookup) = policy.begin(&parts, &SizeHint::with_exact(0)) else { return None };
    let Decision::Forward(fetch) = lookup.decide(&mut parts, Stored::Nothing, at(0)) else {
        return None;
    };
    let (mut head, ()) = Response::builder().status(status).body(()).unwrap().into_parts();
    head.headers = response.clone();
    let secret = Secret::from_bytes([3; 32]);
    match fetch.on_response(&mut head, &SizeHint::with_exact(5), at(0), 0, &secret) {
        Outcome::Store(store) => Some(StoredResponse::new(store.into_parts().1, 5)),
        _ => None,
    }
}

/// What is decided on a GET with these fields, over what is stored.
pub fn decided(
    policy: &Policy,
    request: &HeaderMap,
    stored: &StoredResponse,
    seconds: u64,
) -> Option<Decision> {
    let mut parts = get(request);
    let Begin::Lookup(lookup) = policy.begin(&parts, &SizeHint::with_exact(0)) else { return None };
    let stored = std::slice::from_ref(stored);
    Some(lookup.decide(&mut parts, Stored::Responses(stored), at(seconds)))
}

/// The head that such a GET gets of what is stored, unless the origin is asked first.
pub fn served(
    policy: &Policy,
    request: &HeaderMap,
    stored: &StoredResponse,
    seconds: u64,
) -> Option<HeaderMap> {
    match decided(policy, request, stored, seconds)? {
        Decision::Serve(serve) | Decision::Refresh(serve, _) => Some(serve.head.headers),
        _ => None,
    }
}
