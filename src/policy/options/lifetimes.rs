use std::time::Duration;

use http::{HeaderName, StatusCode};

use super::Policy;
use crate::policy::lifetimes::Fraction;

/// How long responses are fresh.
impl Policy {
    /// How long a response is fresh that says nothing about it. Default: it is never reused
    /// (RFC 9111 §4.2.2).
    ///
    /// Applies to the status codes that may be kept by default (RFC 9110 §15.1) but 206 and the
    /// errors of [`heuristic_errors`](Self::heuristic_errors), to a handler's answer as to an
    /// origin's, and never where `no-cache`, an invalid lifetime or an `Expires` is present. 404
    /// and 410 are kept for at most [`negative_max`](Self::negative_max).
    pub fn default_ttl(self, ttl: Duration) -> Self {
        self.storing(|storing| storing.default_ttl = Some(ttl))
    }

    /// The longest heuristic lifetime (RFC 9111 §4.2.2). Default: 24 hours.
    pub fn heuristic_max(self, max: Duration) -> Self {
        self.storing(|storing| storing.heuristic_max = max)
    }

    /// The longest lifetime of a 404 or 410 that did not ask for one. Default: 60 seconds.
    pub fn negative_max(self, max: Duration) -> Self {
        self.storing(|storing| storing.negative_max = max)
    }

    /// Whether 405, 414 and 501 may have heuristic freshness, as RFC 9110 §15.1 allows. Default:
    /// `false`, since such an answer is often about one odd request.
    pub fn heuristic_errors(self, allow: bool) -> Self {
        self.storing(|storing| storing.heuristic_errors = allow)
    }

    /// Whether URIs with a query have heuristic freshness (RFC 9111 §4.2.2). Default: `true`.
    pub fn heuristic_queries(self, allow: bool) -> Self {
        self.storing(|storing| storing.heuristic_queries = allow)
    }

    /// How long a response with this status code is fresh that does not say it itself, also if it is
    /// an error that is kept by nobody else. Default: as [`default_ttl`](Self::default_ttl) says.
    ///
    /// It stands above heuristics and [`negative_max`](Self::negative_max). Where `no-cache`, an
    /// invalid lifetime or an `Expires` is present it does not count.
    pub fn status_ttl(self, status: StatusCode, ttl: Duration) -> Self {
        self.storing(|storing| storing.lifetimes.set_status(status, ttl))
    }

    /// The longest lifetime of any response, whatever it says. Default: none.
    ///
    /// What was stored wrongly for years is asked about again after this time.
    pub fn max_ttl(self, max: Duration) -> Self {
        self.storing(|storing| storing.lifetimes.max = Some(max))
    }

    /// Makes lifetimes shorter by up to `fraction` of them, 0 to 1, so that what was stored at the
    /// same time does not become stale at the same time. How much is even over the keys, and always
    /// the same for one key. Default: 0.
    pub fn jitter(self, fraction: f64) -> Self {
        self.storing(|storing| storing.lifetimes.jitter = Fraction::of(fraction))
    }

    /// Makes the lifetimes of young items shorter, by [`age_curve`](crate::policy::age_curve) over the
    /// time since the date in `field`, such as `Last-Modified`. Without that field the lifetime stays.
    pub fn shorten_by_age(self, field: HeaderName) -> Self {
        self.storing(|storing| storing.lifetimes.aged_by = Some(field))
    }

    /// Stores nothing that is not marked: by a handler, with the extension
    /// [`Cached`](crate::Cached), or by a hook, with [`Keep::marked`](crate::policy::Keep::marked).
    /// What is marked must also be storable by all other rules. Default: everything that HTTP allows.
    pub fn store_only_marked(self) -> Self {
        self.storing(|storing| storing.lifetimes.only_marked = true)
    }

    /// The shortest lifetime of any response that may be stored, also of one that says that it is
    /// stale at once: longer than HTTP allows. `no-store`, `private` and `no-cache` still hold, and so
    /// does whatever makes lifetimes shorter. Default: none.
    pub fn dangerous_min_ttl(self, min: Duration) -> Self {
        self.storing(|storing| storing.lifetimes.min = Some(min))
    }
}
