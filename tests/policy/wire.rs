//! The oracle's messages as those of the `http` crate, and back.

use std::time::{Duration, Instant, SystemTime};

use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, request, response};
use larder::policy::Timestamp;

use super::oracle::{self, Fields, Millis};

pub fn headers(fields: &Fields) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in &fields.0 {
        let name: HeaderName = name.parse().expect("a field name");
        let value: Vec<u8> = value.trim_matches([' ', '\t']).chars().map(|c| c as u8).collect();
        headers.append(name, HeaderValue::from_bytes(&value).expect("a field value"));
    }
    headers
}

pub fn fields(headers: &HeaderMap) -> Fields {
    let text = |value: &HeaderValue| value.as_bytes().iter().map(|b| *b as char).collect();
    Fields(headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect())
}

pub fn request(request: &oracle::Request) -> request::Parts {
    let (mut parts, ()) = Request::builder()
        .method(request.method.as_str())
        .uri(request.uri.as_str())
        .body(())
        .expect("a request")
        .into_parts();
    parts.headers = headers(&request.fields);
    parts
}

pub fn response(response: &oracle::Response) -> response::Parts {
    let (mut parts, ()) = Response::new(()).into_parts();
    parts.status = StatusCode::from_u16(response.status).expect("a status code");
    parts.headers = headers(&response.fields);
    parts
}

/// A moment on both clocks, `began` being the first of this run.
pub fn timestamp(at: Millis, began: (Millis, Instant)) -> Timestamp {
    let wall = SystemTime::UNIX_EPOCH + Duration::from_millis(at as u64);
    Timestamp::new(wall, began.1 + Duration::from_millis((at - began.0) as u64))
}
