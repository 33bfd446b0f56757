use std::time::Duration;

use super::Policy;

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
}
