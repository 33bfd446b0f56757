//! The rules of RFC 9111 as pure functions: no `async`, no clock, no storage.
//!
//! A [`Policy`] is asked three questions about an exchange. Each answer is a token that only the
//! next question takes, so that a wrong order does not compile:
//!
//! ```text
//! Policy::begin(&request)                     -> Bypass | Invalidate(Unsafe) | Lookup(Lookup)
//! Lookup::decide(&mut request, stored, now)   -> Serve | Refresh(Fetch) | Forward(Fetch) | GatewayTimeout
//! Lookup::join(&request, running, .., now)    -> Share | Alone
//! Fetch::on_response(&mut response, .., now)  -> Store | Freshen | ServeStale | Complete | BadGateway | Pass
//! Fetch::on_error(now)                        -> ServeStale | Fail
//! Unsafe::store(&mut response, ..)            -> what later GETs may get of the response to a POST
//! Unsafe::on_response(&response)              -> keys and cache groups to invalidate
//! ```
//!
//! [`explain`] gives a policy that writes down by which rules it has decided.
//!
//! A cache of your own can be built on it without any other part of this crate:
//!
//! ```
//! use std::time::{Duration, SystemTime};
//! use http::{Request, Response, header};
//! use http_body::SizeHint;
//! use larder::policy::{Begin, Decision, Outcome, Policy, Secret, Stored, StoredResponse, Timestamp};
//!
//! let policy = Policy::shared();
//! let secret = Secret::from_bytes([0; 32]);
//! let start = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
//! let (mut request, ()) = Request::get("http://a.example/").body(())?.into_parts();
//!
//! // Nothing is stored yet: the request goes to the origin.
//! let now = Timestamp::from_wall(start);
//! let Begin::Lookup(lookup) = policy.begin(&request, &SizeHint::with_exact(0)) else { panic!() };
//! let Decision::Forward(fetch) = lookup.decide(&mut request, Stored::Nothing, now) else { panic!() };
//! let response = Response::builder().header(header::CACHE_CONTROL, "max-age=60").body(())?;
//! let (mut response, ()) = response.into_parts();
//! let outcome = fetch.on_response(&mut response, &SizeHint::with_exact(5), now, 0, &secret);
//! let Outcome::Store(store) = outcome else { panic!() };
//! let stored = StoredResponse::new(store.into_parts().1, 5);
//!
//! // Half a minute later what was stored is the answer.
//! let now = Timestamp::from_wall(start + Duration::from_secs(30));
//! let Begin::Lookup(lookup) = policy.begin(&request, &SizeHint::with_exact(0)) else { panic!() };
//! let decision = lookup.decide(&mut request, Stored::Responses(&[stored]), now);
//! let Decision::Serve(serve) = decision else { panic!() };
//! assert_eq!(serve.head.headers[header::AGE], "30");
//! # Ok::<(), http::Error>(())
//! ```
//!
#![doc = include_str!("coverage.md")]

mod about;
mod age;
mod answer;
mod chosen;
mod clearing;
mod combining;
mod completing;
mod conditions;
mod content_range;
mod date;
mod directives;
mod downstream;
mod etag;
mod explain;
mod fields;
mod freshening;
mod freshness;
mod head;
mod hooks;
mod index;
mod inline;
mod invalidation;
mod join;
mod joint;
mod kept;
mod key;
mod labels;
mod length;
mod lifetimes;
mod lookup;
mod mode;
mod multipart;
mod names;
mod normal;
mod options;
mod others;
mod outcome;
mod packed;
mod path;
mod precondition;
mod query;
mod range;
mod reason;
mod refresh;
mod request;
mod response;
mod reuse;
mod secret;
mod seen;
mod served;
mod stale;
mod status;
mod store;
mod storing;
mod structured;
mod tagging;
mod targeted;
mod unkept;
mod usable;
mod usual;
mod validation;
mod variants;

#[cfg(feature = "memory")]
pub(crate) use self::head::PackedHead;
#[cfg(feature = "codec")]
pub(crate) use self::labels::{Labels, Texts};
#[cfg(feature = "reqwest")]
pub(crate) use self::mode::RedirectedInside;
pub use self::{
    age::Timestamp,
    answer::Content,
    content_range::ContentRange,
    downstream::Downstream,
    explain::{Explanation, Rule, Step, explain},
    head::StoredHead,
    hooks::{Bypass, Keep, ResponseMeta},
    index::{Index, Placement, VariantBound, Wanted},
    invalidation::{Invalidated, Unsafe},
    join::{Join, Role, Running, Uncollapsed},
    joint::Joint,
    key::CacheKey,
    lifetimes::age_curve,
    lookup::Lookup,
    mode::{CacheMode, Cached, Private},
    multipart::Piece,
    options::{ClientMaxStale, ClientReload, Policy, Scope, SetCookie, VaryOnCredentials},
    outcome::{Outcome, Update},
    precondition::not_modified,
    query::QueryKey,
    reason::{Forward, Reason},
    refresh::{Failure, Refresh},
    request::Begin,
    response::StoredResponse,
    reuse::{Decision, Serve, Stored},
    secret::Secret,
    served::Served,
    status::CacheStatus,
    store::Store,
    tagging::Tagging,
    validation::Fetch,
    variants::{NameSet, VariantId, VariantKey},
};
pub(crate) use self::{
    answer::Usual,
    chosen::Fit,
    kept::{own, owned_fields},
    status::CACHE_STATUS,
    unkept::Unkept,
};
#[cfg(feature = "codec")]
pub(crate) use self::{
    head::{Asked, Facts, Revalidate},
    index::Recent,
    stale::Windows,
};
