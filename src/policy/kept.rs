//! What is kept of the fields that came.

use std::{ops::Deref, sync::OnceLock};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Uri, header};

use super::{fields, names::Names, packed::Packed};

/// Fields that belong to one connection or one hop and are never stored (RFC 9111 §3.1).
pub(super) fn is_hop_by_hop(name: &HeaderName) -> bool {
    matches!(
        name.as_str(),
        "connection"
            | "keep-alive"
            | "proxy-authenticate"
            | "proxy-authentication-info"
            | "proxy-authorization"
            | "proxy-connection"
            | "te"
            | "transfer-encoding"
            | "upgrade"
    )
}

/// The fields to store of those that came (RFC 9111 §3.1): not those of the connection, not those
/// that it nominates, not those that are `private` to others than this cache.
pub(super) fn storable_fields<'a>(
    headers: &'a HeaderMap,
    has: Names,
    private: &'a [HeaderName],
) -> impl Iterator<Item = (&'a HeaderName, &'a HeaderValue)> {
    let nominated: Vec<HeaderName> = match has.may_have(Names::CONNECTION) {
        true => fields::list(headers, &header::CONNECTION)
            .filter_map(|name| HeaderName::from_bytes(name).ok())
            .collect(),
        false => Vec::new(),
    };
    headers.iter().filter(move |(name, _)| {
        !is_hop_by_hop(name)
            && !nominated.contains(name)
            && !private.contains(name)
            && **name != header::AGE
    })
}

/// The fields of a request in memory of their own, until its response comes. They become a map when
/// somebody looks at them, which most requests are over without.
#[derive(Debug)]
pub(super) struct Kept {
    packed: Packed,
    map: OnceLock<HeaderMap>,
}

impl Kept {
    pub(super) fn of(fields: &HeaderMap) -> Self {
        Self { packed: Packed::of(fields), map: OnceLock::new() }
    }

    pub(super) fn into_map(self) -> HeaderMap {
        self.map.into_inner().unwrap_or_else(|| self.packed.unpack_all())
    }
}

impl Deref for Kept {
    type Target = HeaderMap;

    fn deref(&self) -> &HeaderMap {
        self.map.get_or_init(|| self.packed.unpack_all())
    }
}

/// Copies all values into one buffer of exact size: what came from a connection holds on to its
/// read buffer, many times the size of the values.
fn own_values(headers: &mut HeaderMap) {
    let text = headers.values().map(HeaderValue::len).sum();
    let mut buffer = Vec::with_capacity(text);
    for value in headers.values() {
        buffer.extend_from_slice(value.as_bytes());
    }
    let mut buffer = Bytes::from(buffer);
    for value in headers.values_mut() {
        let shared = buffer.split_to(value.len());
        let mut own = HeaderValue::from_maybe_shared(shared).unwrap_or_else(|_| value.clone());
        own.set_sensitive(value.is_sensitive());
        *value = own;
    }
}

/// A copy that owns its values.
pub(crate) fn owned_fields(headers: &HeaderMap) -> HeaderMap {
    let mut own = headers.clone();
    own_values(&mut own);
    own
}

/// Makes a request own its fields and its target.
pub(crate) fn own<B>(request: &mut Request<B>) {
    own_values(request.headers_mut());
    own_target(request.uri_mut());
}

pub(super) fn own_target(uri: &mut Uri) {
    if let Ok(own) = Uri::from_maybe_shared(Bytes::from(uri.to_string()))
        && own == *uri
    {
        *uri = own;
    }
}
