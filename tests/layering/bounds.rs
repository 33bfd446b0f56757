//! Design, "Bounds": what must compile, for the stacks that people have. Nothing here needs to run.

use std::{convert::Infallible, marker::PhantomData};

use axum::{body::Body as AxumBody, routing::Route};
use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use larder::{
    BoxManager, CacheBody, CacheHandle, CacheLayer, CacheManager, CacheService, MemoryManager,
    ReqwestService, ResponseFuture,
};
use tower::{Layer, Service};

use crate::{services::Doors, support::Origin};

fn send<T: Send>() {}
fn sync<T: Sync>() {}
fn cloned<T: Clone>() {}

/// The layer's service over `S`, with request bodies `ReqB` and response bodies `ResB`.
fn is_service<S, M, ReqB, ResB>()
where
    CacheService<S, M>: Service<
            Request<ReqB>,
            Response = Response<CacheBody<ResB>>,
            Error = S::Error,
            Future = ResponseFuture<S, ReqB, ResB>,
        > + Clone
        + Send,
    ResponseFuture<S, ReqB, ResB>: Future + Send + 'static,
    CacheBody<ResB>: Body<Data = Bytes, Error = larder::BoxError> + Send + 'static,
    CacheLayer<M>: Layer<S, Service = CacheService<S, M>>,
    S: Service<Request<ReqB>, Response = Response<ResB>>,
{
}

fn for_stacks_over<M: CacheManager>() {
    is_service::<Route, M, AxumBody, AxumBody>();
    is_service::<Client<HttpConnector, Full<Bytes>>, M, Full<Bytes>, Incoming>();
    is_service::<Client<HttpConnector, Incoming>, M, Incoming, Incoming>();
    is_service::<Client<HttpConnector, AxumBody>, M, AxumBody, Incoming>();
    is_service::<ReqwestService, M, reqwest::Body, reqwest::Body>();
    is_service::<Doors, M, Full<Bytes>, Full<Bytes>>();
    // A cache round a cache.
    is_service::<CacheService<ReqwestService, M>, M, reqwest::Body, CacheBody<reqwest::Body>>();
}

fn for_parts_over<M: CacheManager>() {
    send::<CacheLayer<M>>();
    sync::<CacheLayer<M>>();
    cloned::<CacheLayer<M>>();
    send::<CacheHandle<M>>();
    sync::<CacheHandle<M>>();
    cloned::<CacheHandle<M>>();
    sync::<CacheService<Doors, M>>();
    cloned::<CacheService<Doors, M>>();
}

#[test]
fn the_layer_fits_the_stacks_that_people_have() {
    for_stacks_over::<MemoryManager>();
    for_stacks_over::<BoxManager>();
    for_parts_over::<MemoryManager>();
    for_parts_over::<BoxManager>();
}

/// `CacheBody<B>` is `Sync` if `B` is and `Send` if `B` is, for any manager: none is in its type.
#[test]
fn a_body_is_sync_if_the_inner_one_is() {
    fn follows<B: Send + Sync>() {
        send::<CacheBody<B>>();
        sync::<CacheBody<B>>();
    }
    fn is_sent<B: Send>() {
        send::<CacheBody<B>>();
    }
    follows::<Full<Bytes>>();
    follows::<CacheBody<Full<Bytes>>>();
    follows::<Incoming>();
    is_sent::<AxumBody>();
    is_sent::<PhantomData<std::cell::Cell<()>>>();
}

/// A request body is only a `Body`, `Send` and `'static`: not `Sync`, not `Clone`, not `Default`,
/// not `Unpin`, of any kind of data and error.
#[test]
fn request_bodies_need_next_to_nothing() {
    struct Odd(#[allow(dead_code)] std::cell::Cell<()>, std::marker::PhantomPinned);
    impl Body for Odd {
        type Data = std::collections::VecDeque<u8>;
        type Error = Infallible;
        fn poll_frame(
            self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Option<Result<http_body::Frame<Self::Data>, Infallible>>> {
            let _ = self.1;
            std::task::Poll::Ready(None)
        }
    }
    is_service::<Origin, MemoryManager, Odd, crate::support::TestBody>();
    is_service::<Origin, BoxManager, Odd, crate::support::TestBody>();
}

/// axum's own bounds, by use: `Router::layer`, `route_layer`, `MethodRouter::layer`.
#[test]
fn axum_takes_the_layer_as_it_is() {
    use axum::{Router, routing::get};
    let cache = CacheLayer::new(MemoryManager::new(1 << 20));
    let boxed = CacheLayer::new(BoxManager::new(MemoryManager::new(1 << 20)));
    let app: Router<u8> = Router::new()
        .route("/a", get(async || "a").layer(cache.clone()))
        .route_layer(cache.clone())
        .layer(boxed);
    let _: Router = app.with_state(1).layer(cache);
}
