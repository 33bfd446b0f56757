use std::sync::Arc;

use http::{HeaderName, StatusCode};

use super::{Policy, SetCookie, VaryOnCredentials};
use crate::policy::Downstream;

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

    /// The response fields that [tags](crate::Purge::tag) are read from, apart by commas and white
    /// space. Default: `Surrogate-Key` and `Cache-Tag`.
    ///
    /// A response with more than 256 tags and cache groups, or more than 16 KiB of them, is not
    /// stored.
    ///
    /// ```
    /// use http::HeaderName;
    /// use larder::Policy;
    ///
    /// let policy = Policy::shared().tag_fields([HeaderName::from_static("edge-cache-tag")]);
    /// ```
    pub fn tag_fields(self, names: impl IntoIterator<Item = HeaderName>) -> Self {
        let names = names.into_iter().collect();
        self.storing(|storing| storing.tag_fields = names)
    }

    /// The targeted fields that this cache goes by, the most applicable first (RFC 9213 §2.2).
    /// Default: none.
    ///
    /// The first that a response has, and that is not empty and parses, counts in place of
    /// `Cache-Control` and `Expires`; other fields of this kind mean nothing. All of them go on to the
    /// client as they came, unless [`downstream`](Self::downstream) says otherwise.
    ///
    /// ```
    /// use larder::Policy;
    ///
    /// let policy = Policy::shared().targets(["My-App-Cache-Control", "CDN-Cache-Control"]);
    /// ```
    ///
    /// # Panics
    ///
    /// If a name is no field name.
    pub fn targets(self, names: impl IntoIterator<Item = impl AsRef<str>>) -> Self {
        let name = |name: &str| match HeaderName::from_bytes(name.as_bytes()) {
            Ok(name) => name,
            Err(_) => panic!("{name:?} is no field name"),
        };
        let names = names.into_iter().map(|text| name(text.as_ref())).collect();
        self.storing(|storing| storing.targets = names)
    }

    /// Does not keep responses apart by these request fields, although their `Vary` names them: **who
    /// asks with another value gets the same response**. For an origin that names a field out of habit,
    /// such as `Origin` or `User-Agent`. `Vary: *` stays what it is, and the client sees `Vary` as it
    /// came.
    pub fn dangerous_ignore_vary(self, names: impl IntoIterator<Item = HeaderName>) -> Self {
        let names = names.into_iter().collect();
        self.storing(|storing| storing.unvaried = names)
    }

    /// Whether a response without `ETag` and `Last-Modified` is stored with a strong `ETag` made of its
    /// bytes (RFC 9110 §8.8.3), so that clients who come back with it get a 304. Default: `false`.
    ///
    /// Who was the first to ask, or asked while the response was on its way, sees no tag: the head goes
    /// on before the last byte has come. When the response is stale the origin is asked with this
    /// tag, and one that knows nothing of it sends the whole again. The tag goes when a 304 that does not
    /// repeat it gives the bytes another type, coding or language. A store of your own has to
    /// implement [`EntryWriter::finish_with`](crate::storage::EntryWriter::finish_with).
    pub fn make_etag(self, make: bool) -> Self {
        self.rules(|rules| rules.make_etag = make)
    }

    /// What the client sees of the fields for caches. Default: everything as it came.
    ///
    /// Responses of a [`partition`](Self::partition) always go on as `private`, and without targeted
    /// fields.
    pub fn downstream(self, rules: Downstream) -> Self {
        self.rules(|all| all.downstream = rules)
    }

    /// The status codes that this cache understands, in the sense of `must-understand` (RFC 9111
    /// §5.2.2.3): a response with that directive is stored if its code is one of these, even beside
    /// `no-store`, and not stored otherwise, even beside `max-age`.
    ///
    /// Default: 200, 203, 204, 300, 301, 302, 303, 307, 308, 404, 405, 410, 414, 451 and 501. 206
    /// and 304 are never among them.
    pub fn understood(self, codes: impl IntoIterator<Item = StatusCode>) -> Self {
        self.storing(|storing| storing.understood = sorted(codes))
    }
}

/// The status codes whose caching rules are those of RFC 9110 §15.
pub(super) fn usual_codes() -> Arc<[StatusCode]> {
    const CODES: [u16; 15] =
        [200, 203, 204, 300, 301, 302, 303, 307, 308, 404, 405, 410, 414, 451, 501];
    sorted(CODES.into_iter().filter_map(|code| StatusCode::from_u16(code).ok()))
}

fn sorted(codes: impl IntoIterator<Item = StatusCode>) -> Arc<[StatusCode]> {
    let mut codes: Vec<StatusCode> = codes.into_iter().collect();
    codes.sort_unstable();
    codes.dedup();
    codes.into()
}
