use super::{Policy, SetCookie, VaryOnCredentials};

/// What is stored.
impl Policy {
    /// What to do with responses that set a cookie (RFC 9111 §7.3). Default: `Bypass` when shared,
    /// `Store` when private.
    pub fn set_cookie(self, choice: SetCookie) -> Self {
        self.storing(|storing| storing.set_cookie = choice)
    }

    /// Whether responses are stored whose `Vary` names `Cookie`, `Authorization` or
    /// `Proxy-Authorization`. Default: `Bypass` when shared, `Store` when private.
    pub fn vary_on_credentials(self, choice: VaryOnCredentials) -> Self {
        self.storing(|storing| storing.vary_on_credentials = choice)
    }
}
