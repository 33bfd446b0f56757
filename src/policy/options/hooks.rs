use std::{sync::Arc, time::Duration};

use http::request;

use super::Policy;
use crate::policy::hooks::{Apart, Bypass, Keep, OnResponse, Overrule, ResponseMeta};

/// Closures of your own. They can make the cache stricter and nothing else, but for those whose name
/// begins with `dangerous_`.
impl Policy {
    /// Asks `hook` whether a request may use the cache: with `Err` it passes by, and its response is
    /// not stored. Unsafe requests still invalidate (RFC 9111 §4.4). Of several hooks all must agree.
    ///
    /// ```
    /// use larder::{Policy, policy::Bypass};
    ///
    /// let policy = Policy::shared().request(|head| match head.headers.contains_key("x-preview") {
    ///     true => Err(Bypass::because("preview")),
    ///     false => Ok(()),
    /// });
    /// ```
    pub fn request(
        self,
        hook: impl Fn(&request::Parts) -> Result<(), Bypass> + Send + Sync + 'static,
    ) -> Self {
        self.rules(|rules| rules.on_request.push(Arc::new(hook)))
    }

    /// Asks `hook` what tells a request apart from others for the same URL: a device class, a cohort,
    /// a country. Requests with different answers never share a response. Of several hooks all count.
    ///
    /// It adds to the key and cannot take away from it. What is kept apart so belongs to one URL, as
    /// by [`key_fields`](Self::key_fields); to keep users apart there is
    /// [`partition`](Self::partition).
    ///
    /// ```
    /// use http::header::USER_AGENT;
    /// use larder::Policy;
    ///
    /// let policy = Policy::shared().key(|head| {
    ///     let agent = head.headers.get(USER_AGENT).and_then(|agent| agent.to_str().ok());
    ///     let is_phone = agent.is_some_and(|agent| agent.contains("Mobile"));
    ///     Ok(Some(if is_phone { "phone" } else { "desk" }.to_owned()))
    /// });
    /// ```
    pub fn key(
        self,
        hook: impl Fn(&request::Parts) -> Result<Option<String>, Bypass> + Send + Sync + 'static,
    ) -> Self {
        self.rules(|rules| rules.apart.push(Apart::Hook(Arc::new(hook))))
    }

    /// Asks `hook` whether and how long to keep a response that may be stored. Of several hooks all
    /// must agree, and the shortest lifetime counts.
    ///
    /// It is asked when a response comes or is freshened, and when a stored one is met that other
    /// rules have stored; a hit that these rules have stored asks nothing. A lifetime is counted from the making of the response, as
    /// HTTP counts it. A hook that says something else than it did before, in a program that is built or
    /// started anew over a lasting store, needs another [`revision`](Self::revision).
    ///
    /// ```
    /// use std::time::Duration;
    /// use http::header::CONTENT_TYPE;
    /// use larder::{Policy, policy::{Bypass, Keep}};
    ///
    /// let policy = Policy::shared().response(|response| {
    ///     match response.headers().get(CONTENT_TYPE).map(|value| value.as_bytes()) {
    ///         Some(b"application/json") => Ok(Keep::at_most(Duration::from_secs(10))),
    ///         Some(_) => Ok(Keep::as_it_says()),
    ///         None => Err(Bypass::because("untyped")),
    ///     }
    /// });
    /// ```
    pub fn response(
        self,
        hook: impl Fn(&ResponseMeta<'_>) -> Result<Keep, Bypass> + Send + Sync + 'static,
    ) -> Self {
        self.storing(|storing| storing.lifetimes.hooks.push(OnResponse::new(hook)))
    }

    /// Which revision of your hooks this is: what is stored under another one is read again by these
    /// rules, as if it came now, before it is used. Default: 0.
    ///
    /// All other rules make themselves known; a closure does so by its type alone, and not by what it
    /// has captured or what its code says.
    pub fn revision(self, revision: u64) -> Self {
        self.storing(|storing| storing.revision = revision)
    }

    /// Keeps a response for as long as `hook` says, **whatever the response says itself**: `no-store`,
    /// `private`, `no-cache` and the rule about `Authorization` (RFC 9111 §3.5) do not count then. `None`
    /// leaves it as it is; of several hooks the last that says something counts.
    ///
    /// What it does not lift: the extension [`Private`](crate::Private), `Set-Cookie`, `Vary`, and the
    /// request's own `no-store`. Whatever makes lifetimes shorter applies.
    pub fn dangerous_lifetime(
        self,
        hook: impl Fn(&ResponseMeta<'_>) -> Option<Duration> + Send + Sync + 'static,
    ) -> Self {
        self.storing(|storing| storing.lifetimes.overrules.push(Overrule::new(hook)))
    }
}
