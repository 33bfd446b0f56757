//! reqwest as a tower service, and its answers back as [`reqwest::Response`]s.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
//! use larder::{CacheLayer, MemoryManager, Policy, ReqwestService, reqwest::into_response};
//! use tower::{Layer, Service};
//!
//! let cache = CacheLayer::new(MemoryManager::new(64 << 20)).policy(Policy::private());
//! let mut client = cache.layer(ReqwestService::new(reqwest::Client::builder())?);
//!
//! let request = http::Request::get("https://a.example/").body(reqwest::Body::default())?;
//! let asked = request.uri().clone();
//! let response = into_response(asked, client.call(request).await?);
//! println!("{} {}", response.url(), response.status());
//! println!("{}", response.text().await?);
//! # Ok(())
//! # }
//! ```
//!
//! To follow redirects, put `tower_http::follow_redirect::FollowRedirectLayer` outside of the
//! cache: each hop is then kept on its own.
//!
//! What the client adds by itself is not seen by the cache: default headers and the cookie jar are
//! unknown to `Vary` and to the rule about `Authorization` (RFC 9111 §3.5). Set such fields on the
//! request instead, or use [`Policy::partition`](crate::Policy::partition).

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use http::{Request, Response, Uri};
use pin_project_lite::pin_project;
use reqwest::{Body, Client, ClientBuilder, ResponseBuilderExt, Url};
use tower_service::Service;

use crate::{CacheBody, policy::RedirectedInside};

/// A reqwest client as a tower service over [`http`] types, for a [`CacheLayer`](crate::CacheLayer)
/// to wrap.
#[derive(Clone, Debug)]
pub struct ReqwestService {
    client: Client,
}

impl ReqwestService {
    /// Builds a client that does not follow redirects: reqwest follows them *inside* of itself,
    /// where the cache would take the answer of the last hop for that of the first.
    ///
    /// # Errors
    ///
    /// If the client cannot be built.
    pub fn new(builder: ClientBuilder) -> reqwest::Result<Self> {
        let client = builder.redirect(reqwest::redirect::Policy::none()).build()?;
        Ok(Self::from_client(client))
    }

    /// Uses a client that is there already. A response that comes after a redirect passes by the
    /// cache ([`Reason::RedirectedInside`](crate::policy::Reason::RedirectedInside)).
    pub fn from_client(client: Client) -> Self {
        Self { client }
    }
}

impl Service<Request<Body>> for ReqwestService {
    type Response = Response<Body>;
    type Error = reqwest::Error;
    type Future = ReqwestFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<reqwest::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> ReqwestFuture {
        let request = reqwest::Request::try_from(request);
        let (asked, state) = match request {
            Ok(request) => {
                let asked = request.url().clone();
                (Some(asked), Ok(Box::pin(self.client.execute(request)) as Pin<Box<_>>))
            }
            Err(error) => (None, Err(Some(error))),
        };
        ReqwestFuture { asked, state }
    }
}

type Executing = Pin<Box<dyn Future<Output = reqwest::Result<reqwest::Response>> + Send>>;

pin_project! {
    /// Response future of [`ReqwestService`].
    pub struct ReqwestFuture {
        asked: Option<Url>,
        state: Result<Executing, Option<reqwest::Error>>,
    }
}

impl Future for ReqwestFuture {
    type Output = reqwest::Result<Response<Body>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let executing = match this.state {
            Ok(executing) => executing,
            Err(error) => {
                return Poll::Ready(Err(error.take().expect("polled after it was ready")));
            }
        };
        let response = ready!(executing.as_mut().poll(cx))?;
        let redirected = this.asked.as_ref() != Some(response.url());
        let mut response = Response::<Body>::from(response);
        if redirected {
            response.extensions_mut().insert(RedirectedInside);
        }
        Poll::Ready(Ok(response))
    }
}

/// A cached response as reqwest's own, with its URL set to the one that was asked for.
///
/// The body is streamed, not collected. A URI that reqwest could not have asked for leaves the URL
/// that reqwest gives to a response without one.
pub fn into_response(asked: Uri, response: Response<CacheBody<Body>>) -> reqwest::Response {
    let (mut head, body) = response.into_parts();
    if let Ok(url) = Url::parse(&asked.to_string())
        && let Ok(with_url) = Response::builder().url(url).body(())
    {
        head.extensions.extend(with_url.into_parts().0.extensions);
    }
    Response::from_parts(head, Body::wrap(body)).into()
}
