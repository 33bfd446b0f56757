//! An origin that answers when the test says so.

use std::{future::Future, pin::Pin, sync::Arc};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use larder::{CacheBody, CacheManager};
use tower::Service;

use crate::support::{Answer, Cache, OriginError, TestBody, now_or_never};

pub(crate) type Pending =
    Pin<Box<dyn Future<Output = Result<Response<CacheBody<TestBody>>, OriginError>>>>;

/// An origin whose answers wait for the test.
#[derive(Clone)]
pub(crate) struct Gate(Arc<tokio::sync::Semaphore>);

impl Gate {
    pub(crate) fn new() -> Self {
        Self(Arc::new(tokio::sync::Semaphore::new(0)))
    }

    pub(crate) fn open(&self, answers: usize) {
        self.0.add_permits(answers);
    }

    pub(crate) async fn pass(self) {
        self.0.acquire().await.unwrap().forget();
    }
}

/// A cache whose origin answers by `reply` when the gate is opened for it.
pub(crate) fn gated<M: CacheManager>(
    cache: Cache<M>,
    reply: impl Fn(&Request<()>) -> Result<Response<TestBody>, OriginError> + Send + 'static,
) -> (Cache<M>, Gate) {
    let gate = Gate::new();
    let at_origin = gate.clone();
    cache.origin.on_later(move |request| {
        let (passing, reply) = (at_origin.clone().pass(), reply(request));
        async {
            passing.await;
            reply
        }
    });
    (cache, gate)
}

pub(crate) fn begin<M: CacheManager>(cache: &Cache<M>, request: Request<Full<Bytes>>) -> Pending {
    let mut future: Pending = Box::pin(cache.service.clone().call(request));
    assert!(now_or_never(future.as_mut()).is_none(), "answered before the origin was");
    future
}

pub(crate) async fn end(pending: Pending) -> Answer {
    Answer::of(pending.await.unwrap()).await
}
