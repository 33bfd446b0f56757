use std::sync::Arc;

use super::{ClientMaxStale, ClientReload, Policy, Scope};

/// What requests may ask for, and which pass by.
impl Policy {
    /// What a request's `no-cache` and `max-age` do (RFC 9111 §5.2.1). Default: `Collapse` over one
    /// second when shared, `Honour` when private.
    pub fn client_reload(self, choice: ClientReload) -> Self {
        self.rules(|rules| rules.client_reload = choice)
    }

    /// What a request's `max-stale` does (RFC 9111 §5.2.1.2). Default: `Ignore` when shared,
    /// `Honour` when private.
    pub fn client_max_stale(self, choice: ClientMaxStale) -> Self {
        self.rules(|rules| rules.client_max_stale = choice)
    }

    /// Whether a fresh response with `immutable` is used although the request asks for validation
    /// (RFC 8246 §2). Default: `false`.
    pub fn immutable(self, trust: bool) -> Self {
        self.rules(|rules| rules.immutable = trust)
    }

    /// Whether a private cache forgets all that it has of an origin that says `Clear-Site-Data:
    /// "cache"` or `"*"` over https, as browsers do. The response that says it is not stored. Default:
    /// `true`; a shared cache never does.
    pub fn clear_site_data(self, heed: bool) -> Self {
        let heed = heed && self.scope() == Scope::Private;
        self.rules(|rules| rules.clear_site_data = heed)
    }

    /// Whether requests with a `Cookie` pass by the cache. Default: `false`.
    ///
    /// The line to add where a session cookie says who the user is.
    pub fn bypass_cookies(self, bypass: bool) -> Self {
        self.rules(|rules| rules.bypass_cookies = bypass)
    }

    /// Lets requests pass by that have an extension of type `T`, such as the user that an
    /// authentication layer outside of the cache has put there.
    pub fn bypass_if_extension<T: Send + Sync + 'static>(self) -> Self {
        self.rules(|rules| {
            let before = rules.pass.take();
            rules.pass = Some(Arc::new(move |extensions| {
                extensions.get::<T>().is_some()
                    || before.as_ref().is_some_and(|before| before(extensions))
            }));
        })
    }

    /// Whether a HEAD that the store has no answer for goes to the origin as a GET, without its `Range`,
    /// so that what comes is stored for whoever asks next (RFC 9110 §9.3.2). Default: `false`.
    ///
    /// The client gets the head alone. The body is fetched as if a client had left at its first byte:
    /// [`Disconnect`](crate::Disconnect) and the executor say whether it is read to its end and stored;
    /// a body of at most 16 KiB is read before the head goes on, and needs neither.
    pub fn head_as_get(self, convert: bool) -> Self {
        self.rules(|rules| rules.head_as_get = convert)
    }

    /// Whether a request for a range that the store has no answer for goes to the origin without its
    /// `Range` and `If-Range`, so that all of the response is stored for whoever asks next (RFC 9110
    /// §14.2). Default: `false`: it goes out as it came, and the part that comes is stored.
    ///
    /// The client gets its range out of the body as that comes, and waits for no byte behind it.
    /// The rest is fetched as if the client had left: [`Disconnect`](crate::Disconnect) and the executor
    /// say whether it is read to its end and stored. Others may join, whatever they want of it. The
    /// client gets all of it, as a 200, where it asks for several ranges, where the length is not known
    /// before the end, and where the response is not stored: this is for origins whose responses are
    /// cacheable and not too large for the store. A stored part is still completed by `Range`, and a
    /// request with `no-store` goes out as it came.
    pub fn whole_for_range(self, fetch: bool) -> Self {
        self.rules(|rules| rules.whole_for_range = fetch)
    }

    /// Whether requests for the same thing wait for one another, so that the origin sees one of them
    /// (RFC 9111 §4). Default: `true`. A single request says no by the extension
    /// [`Uncollapsed`](crate::Uncollapsed).
    pub fn collapse(self, collapse: bool) -> Self {
        self.rules(|rules| rules.collapse = collapse)
    }
}
