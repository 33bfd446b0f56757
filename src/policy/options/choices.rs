use std::time::Duration;

/// For whom responses are kept (RFC 9111 §1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scope {
    /// Many users: `private` responses and those with `Set-Cookie` are not kept.
    Shared,
    /// One user, as in a browser or an API client.
    Private,
}

/// What a shared cache does with a response that sets a cookie (RFC 9111 §7.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SetCookie {
    /// Store it as it is: every user gets the same cookie.
    Store,
    /// Store it without its `Set-Cookie` fields.
    Strip,
    /// Pass it on unstored.
    Bypass,
}

/// Whether a shared cache stores responses whose `Vary` names `Cookie` or `Authorization`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum VaryOnCredentials {
    /// One variant for each value; the store keeps a keyed digest of it.
    Store,
    /// Pass them on unstored.
    Bypass,
}

/// What a request's `no-cache` and `max-age` do (RFC 9111 §5.2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ClientReload {
    /// Exactly as asked.
    Honour,
    /// As asked, but what was received or validated less than this ago is young enough for
    /// anybody, so that clients cannot make the origin work at will.
    Collapse(Duration),
    /// Not at all.
    Ignore,
}

/// What a request's `max-stale` does (RFC 9111 §5.2.1.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ClientMaxStale {
    /// Stale responses are served as far as it allows and the response does not forbid.
    Honour,
    /// Nothing.
    Ignore,
}
