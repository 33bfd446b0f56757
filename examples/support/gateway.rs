//! The outside of a proxy: whatever happens inside, the client gets a response.

use std::convert::Infallible;

use http::{Method, Request, Response, StatusCode};
use http_body_util::{Either, Full};
use hyper::body::Incoming;
use larder::CacheBody;
use tower::Service;

pub type Answer = Response<Either<CacheBody<Incoming>, Full<bytes::Bytes>>>;

/// Turns errors of the origin into 502, outside of the cache.
pub async fn answer<S>(mut cached: S, request: Request<Incoming>) -> Result<Answer, Infallible>
where
    S: Service<Request<Incoming>, Response = Response<CacheBody<Incoming>>>,
    S::Error: std::error::Error,
{
    if request.method() == Method::CONNECT {
        return Ok(plain(StatusCode::NOT_IMPLEMENTED, "This proxy opens no tunnels.\n"));
    }
    // Put into words only where it has failed.
    let (method, uri) = (request.method().clone(), request.uri().clone());
    match cached.call(request).await {
        // Nobody asked it to: `Upgrade` is not passed on.
        Ok(response) if response.status() == StatusCode::SWITCHING_PROTOCOLS => {
            Ok(plain(StatusCode::BAD_GATEWAY, "The origin changed the protocol.\n"))
        }
        Ok(response) => Ok(response.map(Either::Left)),
        Err(error) => {
            eprintln!("{method} {uri}: {}", super::args::chain(&error));
            Ok(plain(StatusCode::BAD_GATEWAY, "The origin could not be asked.\n"))
        }
    }
}

fn plain(status: StatusCode, text: &'static str) -> Answer {
    let mut response = Response::new(Either::Right(Full::from(text)));
    *response.status_mut() = status;
    response
}
