use std::{sync::Arc, time::Duration};

use http::request;

use super::Policy;

/// Stale responses (RFC 9111 §4.2.4, RFC 5861). By default a response is used past its lifetime
/// only where it says so itself, by `stale-while-revalidate` or `stale-if-error`.
impl Policy {
    /// How long a response that does not say it may be served stale while it is refreshed in the
    /// background (RFC 5861 §3). Default: not at all.
    ///
    /// Never applies to responses with `must-revalidate`, `proxy-revalidate`, `s-maxage` or
    /// `no-cache`.
    pub fn stale_while_revalidate(self, window: Duration) -> Self {
        self.rules(|rules| rules.stale.while_revalidate = Some(window))
    }

    /// How long a response that does not say it may be served stale where the origin fails or
    /// answers 500, 502, 503 or 504 (RFC 5861 §4). Default: not at all. Never applies where
    /// [`stale_while_revalidate`](Self::stale_while_revalidate) would not.
    pub fn stale_if_error(self, window: Duration) -> Self {
        self.rules(|rules| rules.stale.if_error = Some(window))
    }

    /// How long a response may be served stale where the inner service fails and there is no answer
    /// at all (RFC 9111 §4.2.4). Default: not at all, so that staleness has a bound. Never applies
    /// where [`stale_while_revalidate`](Self::stale_while_revalidate) would not.
    pub fn stale_on_disconnect(self, window: Duration) -> Self {
        self.rules(|rules| rules.stale.on_disconnect = Some(window))
    }

    /// After how long without an answer the origin counts as out of reach, so that whatever may be
    /// served stale then is served, while the request goes on in the background. Default: never.
    pub fn stale_on_slow_origin(self, after: Duration) -> Self {
        self.rules(|rules| rules.stale.on_slow_origin = Some(after))
    }

    /// The longest that anything is served past its lifetime, whatever responses, requests and the
    /// other options allow; only [`CacheMode::ForceCache`](crate::CacheMode::ForceCache) and
    /// [`OnlyIfCached`](crate::CacheMode::OnlyIfCached) go beyond. Default: no limit.
    pub fn max_staleness(self, max: Duration) -> Self {
        self.rules(|rules| rules.stale.max = Some(max))
    }

    /// Whether a shared cache reads `s-maxage` as forbidding stale use also where
    /// `stale-while-revalidate` or `stale-if-error` stands beside it (RFC 9111 §5.2.2.10).
    /// Default: `false`, the explicit directive wins over the implied one.
    pub fn strict_s_maxage(self, strict: bool) -> Self {
        self.storing(|storing| storing.strict_s_maxage = strict)
    }

    /// Changes the request that a background refresh sends.
    ///
    /// It comes with `Host` and the fields that the stored response's `Vary` names, and with no
    /// other of the client's: no credentials, no cookies. Its extensions are the client's. The
    /// conditions are put in afterwards.
    pub fn refresh_request(
        self,
        change: impl Fn(&mut request::Parts) + Send + Sync + 'static,
    ) -> Self {
        self.rules(|rules| rules.refresh_request = Some(Arc::new(change)))
    }
}
