//! What a proxy does to messages on their way (RFC 9110 §7.6).

use std::sync::Arc;

use http::{
    HeaderMap, HeaderName, HeaderValue, Request, Response, Uri, Version, header,
    uri::{Authority, Scheme},
};
use hyper::body::Incoming;
use hyper_util::client::legacy::{Client, Error, connect::HttpConnector};

const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const VIA: HeaderValue = HeaderValue::from_static("1.1 larder");

/// A client, and the origin that it asks. Shared, since the service that does is cloned for each request.
pub type Origin = Arc<(Client<HttpConnector, Incoming>, Authority)>;

/// Asks the origin what the client asked for.
pub async fn forward(
    origin: Origin,
    mut request: Request<Incoming>,
) -> Result<Response<Incoming>, Error> {
    let (client, authority) = &*origin;
    address(&mut request, authority);
    strip(request.headers_mut());
    request.headers_mut().append(header::VIA, VIA);
    let mut response = client.request(request).await?;
    // The version, too, is of one hop.
    *response.version_mut() = Version::HTTP_11;
    strip(response.headers_mut());
    Ok(response)
}

/// Sends the request to the origin by the name that the origin knows itself by.
fn address<B>(request: &mut Request<B>, origin: &Authority) {
    let asked = request.uri().authority().map(Authority::as_str).map(HeaderValue::from_str);
    let asked = asked.and_then(Result::ok).or(request.headers().get(header::HOST).cloned());
    let headers = request.headers_mut();
    if let Some(asked) = asked {
        headers.insert(FORWARDED_HOST, asked);
    }
    // hyper's client writes it from the URI.
    headers.remove(header::HOST);

    let mut parts = request.uri().clone().into_parts();
    parts.scheme = Some(Scheme::HTTP);
    parts.authority = Some(origin.clone());
    parts.path_and_query.get_or_insert_with(|| http::uri::PathAndQuery::from_static("/"));
    if let Ok(uri) = Uri::from_parts(parts) {
        *request.uri_mut() = uri;
    }
    *request.version_mut() = Version::HTTP_11;
}

/// Removes the fields of one connection, and those that it nominates (RFC 9110 §7.6.1).
fn strip(headers: &mut HeaderMap) {
    let nominated: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .filter_map(|name| HeaderName::from_bytes(name.trim_ascii()).ok())
        .collect();
    for name in nominated {
        headers.remove(name);
    }
    for name in [
        header::CONNECTION,
        header::PROXY_AUTHENTICATE,
        header::PROXY_AUTHORIZATION,
        header::TE,
        header::TRANSFER_ENCODING,
        header::UPGRADE,
        HeaderName::from_static("keep-alive"),
        HeaderName::from_static("proxy-connection"),
    ] {
        headers.remove(name);
    }
}
