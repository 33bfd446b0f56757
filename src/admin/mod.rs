//! A service to purge and look into a cache over HTTP.
//!
//! It cannot be made without saying who may use it:
//!
//! ```
//! use axum::Router;
//! use larder::{CacheLayer, MemoryManager, admin::{AdminService, BearerToken}};
//!
//! # fn example(secret: &str) -> Result<(), larder::Error> {
//! let cache = CacheLayer::new(MemoryManager::new(256 << 20));
//! let admin = AdminService::new(cache.handle(), BearerToken::new(secret)?);
//! let app: Router = Router::new()
//!     .route("/", axum::routing::get(|| async { "…" }).layer(cache))
//!     .nest_service("/cache", admin);
//! # Ok(())
//! # }
//! ```
//!
//! ```compile_fail,E0061
//! use larder::{CacheLayer, MemoryManager, admin::AdminService};
//!
//! let cache = CacheLayer::new(MemoryManager::new(256 << 20));
//! let admin = AdminService::new(cache.handle()); // and who may use it?
//! ```
//!
//! Better than beside the site is a port of its own that only operators reach; the example
//! `reverse_proxy --admin ADDRESS` has one.
//!
//! # Routes
//!
//! Paths are compared letter by letter, behind what a router has stripped. What a route does not know,
//! it refuses: nothing is ignored. With `A=http://127.0.0.1:3001` and `T='Authorization: Bearer …'`:
//!
//! `PURGE`, by which many programs already know to purge. It takes out what a GET with the same target
//! and `Host` is answered with, in all variants, and has no body:
//!
//! ```sh
//! curl -X PURGE -H "$T" -H 'Host: a.example' "$A/report?y=2026"
//! curl -X PURGE -H "$T" --request-target https://a.example/report "$A"
//! ```
//!
//! The second form is for a service that stands at the root; where a router has stripped a path, the
//! first form's path is what lies behind it.
//!
//! `POST /purge`: any purge that [`Purge::from_json`] reads. `POST /dry-run` is the same, and
//! nothing happens; it asks for leave to read alone:
//!
//! ```sh
//! curl -H "$T" --json '{"tag": "reports", "soft": true, "by": "upload"}' "$A/purge"
//! curl -H "$T" --json '{"prefix": "https://a.example/docs"}' "$A/dry-run"
//! ```
//!
//! The answer comes when the sweeper has been through the store. What was purged is gone before, and
//! also if the client does not wait:
//!
//! ```json
//! {"count": 12, "purge": {"soft": true, "tag": "reports"}, "seq": 7, "text": "tag reports"}
//! ```
//!
//! `count` is `null` where the store cannot be walked.
//!
//! `GET /entries`: what is stored, in the order of URLs; `limit` (100, up to 1 000), `after` for the next
//! page (the last one's `next`), and what selects a purge:
//!
//! ```sh
//! curl -H "$T" "$A/entries?limit=20"
//! curl -H "$T" -G -d tag=reports -d in_namespace=shop "$A/entries"
//! ```
//!
//! `POST /inspect`: what there is for a GET of a URL with these fields, what would become of it, and by
//! which rules. No body is read and the origin is not asked. The values of `Set-Cookie` are not shown:
//!
//! ```sh
//! curl -H "$T" --json '{"url": "https://a.example/report", "fields": {"accept-language": "de"}}' "$A/inspect"
//! ```
//!
//! `GET /stats`: the numbers of [`CacheHandle::stats`], each called as there, and those of its
//! [`usage`](crate::Stats::usage); under `served` what each answer was:
//!
//! ```sh
//! curl -H "$T" "$A/stats"
//! ```
//!
//! `GET /events`: every purge from now on as server-sent events, `purged` when it has taken effect,
//! `swept` with a `count` when the sweeper has been there, and `lagged` for a client that reads too
//! slowly and has `missed` some. Each 15 seconds without any there is a comment, where the layer's clock
//! can wait. The stream ends by [`CacheHandle::shutdown`]; 64 clients may follow at a time:
//!
//! ```sh
//! curl -N -H "$T" "$A/events"
//! ```
//!
//! # Errors
//!
//! An answer that is not 200 has one sentence, `{"error": "…"}`, and nothing was changed:
//!
//! | | |
//! |---|---|
//! | 400 | what was sent makes no sense |
//! | 401, 403 | the authoriser said no |
//! | 404, 405 | there is no such route, or it takes another method |
//! | 413 | the body is larger than 64 KiB |
//! | 415 | a body that does not say it is JSON, as forms of other sites cannot |
//! | 500 | the store failed; what was to be purged is not served all the same |
//! | 501 | the store cannot do this |
//! | 502 | purged here, but other caches on the [bus](crate::CacheLayer::bus) could not be told yet |
//! | 503 | too many follow the events |

mod authorise;
mod body;
mod events;
mod refusal;
mod render;
mod routes;
mod service;

pub use self::{
    authorise::{Access, Action, Authorise, BearerToken},
    body::AdminBody,
    service::{AdminFuture, AdminService},
};
use http::{HeaderValue, Response, StatusCode, header};
use serde_json::Value;

#[cfg(doc)]
use crate::{CacheHandle, Purge};

fn respond(status: StatusCode, value: &Value) -> Response<AdminBody> {
    let mut text = value.to_string();
    text.push('\n');
    with_fields(status, "application/json", AdminBody::text(text))
}

fn with_fields(
    status: StatusCode,
    media_type: &'static str,
    body: AdminBody,
) -> Response<AdminBody> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let fields = [
        (header::CONTENT_TYPE, media_type),
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    for (name, value) in fields {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}
