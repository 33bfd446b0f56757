//! A tower layer that caches HTTP responses by [RFC 9111], for axum routers and for hyper and
//! reqwest clients.
//!
//! # On a server
//!
//! ```
//! use axum::{Extension, Router, response::IntoResponse, routing::get};
//! use larder::{CacheLayer, Cached, MemoryManager};
//!
//! async fn report() -> impl IntoResponse {
//!     // Kept for a minute. `Cache-Control: max-age=60` would say so to the client, too.
//!     (Extension(Cached::for_secs(60)), "…")
//! }
//!
//! let cache = CacheLayer::new(MemoryManager::new(256 << 20)).cache_status_header("larder");
//! let app: Router = Router::new().route("/report", get(report)).layer(cache.clone());
//! let handle = cache.handle(); // for purging, wherever it is needed
//! ```
//!
//! Nothing is kept that does not ask for it: a handler says how long its answer is good, by
//! `Cache-Control`, by `Expires`, by [`Cached`], or a route does by
//! [`default_ttl`](CacheLayer::default_ttl). An answer that is for one user must say so; read the
//! first page of [`CacheLayer`].
//!
//! # In a client
//!
//! hyper-util's client as it is:
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
//! use bytes::Bytes;
//! use http::Request;
//! use http_body_util::{BodyExt, Empty};
//! use hyper_util::{client::legacy::Client, rt::TokioExecutor};
//! use larder::{CacheLayer, MemoryManager, Policy};
//! use tower::{Layer, Service};
//!
//! let client = Client::builder(TokioExecutor::new()).build_http::<Empty<Bytes>>();
//! let cache = CacheLayer::new(MemoryManager::new(64 << 20)).policy(Policy::private());
//! let mut client = cache.layer(client);
//! let response = client.call(Request::get("http://a.example/").body(Empty::new())?).await?;
//! println!("{} {}", response.status(), response.body().status());
//! let body = response.into_body().collect().await?.to_bytes();
//! # Ok(())
//! # }
//! ```
//!
//! reqwest through `ReqwestService` (feature `reqwest`), see the module `reqwest`:
//!
//! ```no_run
//! # #[cfg(feature = "reqwest")]
//! # async fn example() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
//! use larder::{CacheLayer, MemoryManager, Policy, ReqwestService};
//! use tower::{Layer, Service};
//!
//! let client = ReqwestService::new(reqwest::Client::builder())?;
//! let cache = CacheLayer::new(MemoryManager::new(64 << 20)).policy(Policy::private());
//! let mut client = cache.layer(client);
//! let request = http::Request::get("https://a.example/").body(reqwest::Body::default())?;
//! let asked = request.uri().clone();
//! let response = larder::reqwest::into_response(asked, client.call(request).await?);
//! println!("{}", response.text().await?);
//! # Ok(())
//! # }
//! ```
//!
//! # What it does
//!
//! - [`Policy`] makes the choices that RFC 9111 leaves open, with safe defaults:
//!   [`Policy::shared`] for servers and proxies, [`Policy::private`] for clients.
//! - Bodies stream: the first byte goes on at once, while the response is being stored. What is not
//!   stored is not touched. What did not arrive whole is not kept.
//! - Of a thousand requests for the same thing at the same time the origin sees one. Each client gets
//!   the first byte as soon as there is one, and only what it may have: what is for one user alone
//!   releases the others at once, and for a while nobody waits for the likes of it
//!   ([`Policy::collapse`], [`CacheLayer::collapse_timeout`]).
//! - What is stale is served while it is refreshed in the background, where the response or the
//!   policy allows it, and where the origin fails ([`Policy::stale_while_revalidate`],
//!   [`Policy::stale_if_error`], [`Policy::stale_on_disconnect`]; RFC 5861). A refresh carries nothing
//!   of the user's who caused it, and refreshes are limited ([`CacheLayer::refresh_limits`]).
//! - A body whose client has gone is fetched to its end or not ([`Disconnect`]).
//! - A range that the origin gives (206) is stored as the part that it is: it answers the ranges within it, becomes
//!   larger with others of the same strong `ETag` that overlap or touch it, and whole where nothing is missing. Who
//!   asks for more of a fresh part, or for all, gets the stored bytes, and the origin is asked for the rest by
//!   `Range` and `If-Range`. One part of each variant is kept, of two that lie apart the larger. A range on a miss
//!   goes out as it came, or fetches and stores the whole, of which the client gets its range as it comes
//!   ([`Policy::whole_for_range`]); a hole on both sides of a part is not filled.
//! - An origin that is asked for the rest of a fresh part, and sends a part of something else instead, is a 502
//!   to a client that wants the whole; the part is dropped, and the next request is for the whole.
//! - A resource has any number of variants (`Vary`); a hit reads one of them.
//! - What HTTP leaves to a cache is one switch each: a tag for what came without validators
//!   ([`Policy::make_etag`]), a HEAD that fills the store ([`Policy::head_as_get`]), a quota for each
//!   user ([`Policy::partition_quota`]), one key for forms of one URL ([`Policy::normalise_path`],
//!   [`Policy::query`]), and what is asked for once left out ([`CacheLayer::min_uses`]).
//! - A store that fails is a miss, and never a failed request. Errors are those of the inner
//!   service.
//! - [`CacheBody::status`] says what happened and why; [`CacheLayer::cache_status_header`] tells the
//!   client (RFC 9211), or only [those who may know](CacheLayer::tell_if).
//! - An [`Observer`] hears every decision, from the same reasons: for numbers (`MetricsObserver`), for
//!   traces (`TracingObserver`), for whatever else; see [`observe`]. [`CacheHandle::stats`] counts
//!   without one.
//! - [`CacheHandle::purge`] takes out a URL or one of its variants, what carries a tag, a cache group,
//!   what lies below a URL, a host, a namespace, what a closure selects, or everything; for good, or
//!   [softly](Purge::soft). It returns at once, whatever the number of entries, and what is on its
//!   way from the origin just then does not come back. [`CacheHandle`] also lists, inspects, stores
//!   by hand, and follows all purges. A [`bus`] carries them to other caches, and `admin` takes them by
//!   HTTP.
//!
//! # What it does not do
//!
//! Responses with `multipart/byteranges` pass by the cache, and so do requests for a range in an unknown unit or with a body, `CONNECT`, and
//! upgrades.
//!
//! # Coverage of RFC 9111
//!
//! The rules have the names by which [`policy::explain`] shows them.
//!
//! | section | rules | |
//! |---|---|---|
//! | 2 | `key` | scheme, authority, path, query; namespaces and partitions |
//! | 3 | `status`, `permission`, `streaming`, `use` | any final status that says how long, or may be guessed |
//! | 3.1 | `fields` | those of the connection are not stored |
//! | 3.2, 4.3.4 | `freshening` | by a 304 |
//! | 3.3 | `partial` | one part of a response, for the ranges within it and to be completed |
//! | 3.4 | `combining` | parts with the same strong tag, that overlap or touch |
//! | RFC 9110 §14 | `range` | ranges of what is stored, at most 16 parts of one body, and one range of what is on its way, for whoever has asked: 206, 416, `If-Range` |
//! | 3.5 | `authorization` | in a shared cache |
//! | 4 | `method` | GET and HEAD are answered, concurrent ones by one; unsafe methods are written through |
//! | 4.1 | `selection`, `vary` | variants side by side, codings and languages normalised |
//! | 4.2 | `fresh` | |
//! | 4.2.1, 4.2.2 | `lifetime`, `policy` | explicit, heuristic, by status; what the policy makes of it |
//! | 4.2.3, 5.1 | `age` | |
//! | 4.2.4 | `stale` | `stale-while-revalidate`, `stale-if-error`, the policy's own windows, the client's `max-stale`, [`CacheMode`] |
//! | 4.3.1 – 4.3.3 | `validation` | with all validators; the client's own conditions are answered after |
//! | 4.3.5 | `head` | a 200 to HEAD freshens a stored GET, or ends it |
//! | 4.4 | `invalidation` | by any method that is not known to be safe; also of cache groups (RFC 9875) |
//! | 5.2.1 | `request-directives` | a shared cache ignores `max-stale` unless told otherwise |
//! | 5.2.1.5 | `request-no-store` | |
//! | 5.2.1.7 | `only-if-cached` | |
//! | 5.2.2.3 | `must-understand` | with a list of codes |
//! | 5.2.2.4 | `no-cache` | also for single fields |
//! | 5.2.2.5 | `no-store` | |
//! | 5.2.2.7 | `private` | also for single fields |
//! | 5.3, 5.4 | | `Expires`, `Pragma` |
//! | 7.3 | `set-cookie` | not shared unless told otherwise |
//! | RFC 5861 §4 | `server-error` | |
//! | RFC 9110 §7.6 | `request` | what passes by |
//! | RFC 9110 §7.6.1 | `connection` | |
//! | RFC 9110 §8.6 | `length` | |
//! | RFC 9110 §9.3.3 | `post` | what a GET would bring serves later GETs |
//! | RFC 9213 §2.2 | `targeted` | by a list of fields |
//! | RFC 9875 §2 | `groups` | and tags, to purge by |
//!
//! # Features
//!
//! | feature | default | |
//! |---|---|---|
//! | `memory` | yes | [`MemoryManager`], on quick_cache |
//! | `tokio` | yes | `TokioExecutor`, and time limits that wake up by themselves |
//! | `reqwest` | no | `ReqwestService`; no TLS is chosen for you |
//! | `disk` | no | `DiskManager`, a store that survives restarts; Unix only |
//! | `metrics` | no | `MetricsObserver`: counters and histograms of the `metrics` facade, with a recipe for Prometheus |
//! | `tracing` | no | `TracingObserver`: events, and a span for each request to the origin |
//! | `json` | no | `Purge::to_json` and `Purge::from_json`, purges as lines of text |
//! | `admin` | no | the module `admin`, a service to purge and look into a cache over HTTP; with `json` |
//! | `redis` | no | `RedisManager`, a store in Redis or Valkey that many nodes share |
//! | `test-suite` | no | `storage_suite!`, the cases that every store must pass |
//!
//! The crate has no `unsafe` code. It needs Rust 1.89. [`scale`] says what one node carries.
//!
//! [RFC 9111]: https://www.rfc-editor.org/rfc/rfc9111

#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(feature = "admin")]
pub mod admin;
mod admission;
mod background;
mod body;
pub mod bus;
mod clock;
mod copying;
mod emit;
mod error;
mod exchange;
mod executor;
mod fill;
mod flight;
mod future;
mod handle;
mod hashed;
mod inflight;
mod joined;
mod layer;
mod log;
mod memo;
#[cfg(feature = "metrics")]
pub mod metrics;
#[cfg(test)]
mod models;
pub mod observe;
mod pending;
pub mod policy;
mod positions;
mod purge;
mod recorder;
#[cfg(feature = "reqwest")]
pub mod reqwest;
#[cfg(doc)]
#[doc = include_str!("scale.md")]
pub mod scale {}
mod service;
mod shared;
mod splice;
mod stats;
pub mod storage;
mod stripe;
mod sweep;
mod sync;
mod task;
#[cfg(feature = "tracing")]
pub mod trace;
mod witness;

#[cfg(feature = "tokio")]
pub use self::executor::TokioExecutor;
#[cfg(feature = "metrics")]
pub use self::metrics::MetricsObserver;
#[cfg(feature = "reqwest")]
pub use self::reqwest::ReqwestService;
#[cfg(feature = "disk")]
pub use self::storage::DiskManager;
#[cfg(feature = "memory")]
pub use self::storage::MemoryManager;
#[cfg(feature = "redis")]
pub use self::storage::RedisManager;
#[cfg(feature = "tracing")]
pub use self::trace::TracingObserver;
pub use self::{
    body::CacheBody,
    clock::{BoxFuture, Clock, SystemClock},
    error::Error,
    executor::{Executor, NoExecutor},
    flight::Disconnect,
    future::ResponseFuture,
    handle::{CacheHandle, Cursor, Inspected, Inspection, List, Listed, Page},
    layer::CacheLayer,
    observe::Observer,
    policy::{CacheKey, CacheMode, CacheStatus, Cached, Policy, Private, Uncollapsed},
    purge::{Purge, PurgeEvent, PurgeLog, PurgeRecord, PurgeStream, Purged},
    service::CacheService,
    stats::Stats,
    storage::{BoxManager, CacheManager},
};

/// The error of a body: whatever the inner service's body failed with, or that its length was not
/// the one announced, or a stored body that could not be read.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;
