//! larder

#![cfg_attr(docsrs, feature(doc_cfg))]

mod body;
mod clock;
mod error;
mod exchange;
mod executor;
mod fill;
mod future;
mod handle;
mod inflight;
mod layer;
pub mod policy;
mod purge;
#[cfg(feature = "reqwest")]
pub mod reqwest;
mod service;
pub mod storage;

#[cfg(feature = "tokio")]
pub use self::executor::TokioExecutor;
#[cfg(feature = "reqwest")]
pub use self::reqwest::ReqwestService;
#[cfg(feature = "memory")]
pub use self::storage::MemoryManager;
pub use self::{
    body::CacheBody,
    clock::{BoxFuture, Clock, SystemClock},
    error::Error,
    executor::{Executor, NoExecutor},
    future::ResponseFuture,
    handle::CacheHandle,
    layer::CacheLayer,
    policy::{CacheKey, CacheMode, CacheStatus, Cached, Policy, Private},
    purge::{Purge, PurgeLog, Purged},
    service::CacheService,
    storage::{BoxManager, CacheManager},
};

/// The error of a body: whatever the inner service's body failed with, or that its length was not
/// the one announced, or a stored body that could not be read.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;
