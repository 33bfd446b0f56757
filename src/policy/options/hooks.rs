use std::sync::Arc;

use http::request;

use super::Policy;
use crate::policy::hooks::{Apart, Bypass};

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
}
