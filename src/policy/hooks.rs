//! Closures that may keep a request or a response out of the cache, or apart from others.

use std::{
    any::TypeId,
    fmt,
    sync::Arc,
    time::{Duration, SystemTime},
};

use http::{HeaderMap, HeaderName, StatusCode, header, request};

use super::{
    CacheKey, Reason, date,
    inline::InlineBytes,
    normal::{self, Forms},
};

/// Why a hook keeps a request or a response out of the cache.
///
/// The text shows as `detail` in `Cache-Status`, in logs and in counters, so it should be short,
/// and one of a few.
///
/// ```
/// use larder::{Policy, policy::Bypass};
///
/// let policy = Policy::shared().request(|head| match head.uri.path().starts_with("/admin/") {
///     true => Err(Bypass::because("admin")),
///     false => Ok(()),
/// });
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Bypass(&'static str);

impl Bypass {
    /// For this reason.
    pub const fn because(reason: &'static str) -> Self {
        Self(reason)
    }
}

impl From<Bypass> for Reason {
    fn from(Bypass(reason): Bypass) -> Self {
        Reason::Hook(reason)
    }
}

impl fmt::Display for Bypass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

pub(super) type OnRequest = dyn Fn(&request::Parts) -> Result<(), Bypass> + Send + Sync;
pub(super) type OnKey = dyn Fn(&request::Parts) -> Result<Option<String>, Bypass> + Send + Sync;

/// A response as a hook sees it: before anything else has made its lifetime shorter.
#[derive(Debug)]
pub struct ResponseMeta<'a> {
    pub(super) key: &'a CacheKey,
    pub(super) status: StatusCode,
    pub(super) headers: &'a HeaderMap,
    pub(super) lifetime: Duration,
    pub(super) age: Duration,
    pub(super) received: SystemTime,
}

impl<'a> ResponseMeta<'a> {
    /// What was asked for.
    pub fn key(&self) -> &'a CacheKey {
        self.key
    }

    /// The status code.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The fields, as they came or as they are stored.
    pub fn headers(&self) -> &'a HeaderMap {
        self.headers
    }

    /// How long it would be fresh from its making on (RFC 9111 §4.2.1).
    pub fn lifetime(&self) -> Duration {
        self.lifetime
    }

    /// How old it was when it was received (RFC 9111 §4.2.3).
    pub fn age(&self) -> Duration {
        self.age
    }

    /// How long before it was received its item was last modified, if it says so (RFC 9110 §8.8.2).
    pub fn item_age(&self) -> Option<Duration> {
        let modified = date::field(self.headers, &header::LAST_MODIFIED, self.received)?;
        Some(self.received.duration_since(modified).unwrap_or_default())
    }

    /// When it was received.
    pub fn received(&self) -> SystemTime {
        self.received
    }
}

/// What a hook makes of a response that may be stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct Keep {
    at_most: Option<Duration>,
    marked: bool,
}

impl Keep {
    /// Keeps it for as long as it says.
    pub const fn as_it_says() -> Self {
        Self { at_most: None, marked: false }
    }

    /// Keeps it for as long as it says, but not longer than this after its making.
    pub const fn at_most(lifetime: Duration) -> Self {
        Self { at_most: Some(lifetime), marked: false }
    }

    /// And marks it for a cache that [stores only what is marked](crate::Policy::store_only_marked).
    pub const fn marked(mut self) -> Self {
        self.marked = true;
        self
    }

    pub(super) fn limit(&self) -> Option<Duration> {
        self.at_most
    }

    pub(super) fn is_marked(&self) -> bool {
        self.marked
    }

    /// What satisfies both: the shorter lifetime, and a mark of either.
    pub(super) fn and(self, other: Self) -> Self {
        let at_most = match (self.at_most, other.at_most) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        };
        Self { at_most, marked: self.marked || other.marked }
    }
}

type Keeping = dyn Fn(&ResponseMeta<'_>) -> Result<Keep, Bypass> + Send + Sync;
type Overruling = dyn Fn(&ResponseMeta<'_>) -> Option<Duration> + Send + Sync;

/// A closure over responses, and which one it is: another policy's closure may want another lifetime
/// for what this one has stored.
#[derive(Clone)]
pub(super) struct OnResponse(Arc<Keeping>, TypeId);

impl OnResponse {
    pub(super) fn new<F>(hook: F) -> Self
    where
        F: Fn(&ResponseMeta<'_>) -> Result<Keep, Bypass> + Send + Sync + 'static,
    {
        Self(Arc::new(hook), TypeId::of::<F>())
    }

    pub(super) fn ask(&self, meta: &ResponseMeta<'_>) -> Result<Keep, Bypass> {
        self.0(meta)
    }

    pub(super) fn kind(&self) -> TypeId {
        self.1
    }
}

#[derive(Clone)]
pub(super) struct Overrule(Arc<Overruling>, TypeId);

impl Overrule {
    pub(super) fn new<F>(hook: F) -> Self
    where
        F: Fn(&ResponseMeta<'_>) -> Option<Duration> + Send + Sync + 'static,
    {
        Self(Arc::new(hook), TypeId::of::<F>())
    }

    pub(super) fn ask(&self, meta: &ResponseMeta<'_>) -> Option<Duration> {
        self.0(meta)
    }

    pub(super) fn kind(&self) -> TypeId {
        self.1
    }
}

/// What tells requests for one URL apart beside what `Vary` names.
#[derive(Clone)]
pub(super) enum Apart {
    Field(HeaderName),
    Cookie(Box<str>),
    Hook(Arc<OnKey>),
}

impl Apart {
    /// What `parts` say of a request: `None` if there are none. Length-prefixed, so that no value can
    /// be shaped to look like another.
    #[inline]
    pub(super) fn all(parts: &[Self], head: &request::Parts) -> Result<Option<Box<[u8]>>, Bypass> {
        if parts.is_empty() {
            return Ok(None);
        }
        let mut out = Vec::with_capacity(64);
        for part in parts {
            let value = part.value(head)?;
            out.push(u8::from(value.is_some()));
            if let Some(value) = value {
                out.extend_from_slice(&(value.len() as u64).to_le_bytes());
                out.extend_from_slice(&value);
            }
        }
        Ok(Some(out.into()))
    }

    /// The request field that it goes by, if it is one.
    pub(super) fn field(&self) -> Option<&HeaderName> {
        match self {
            Self::Field(name) => Some(name),
            Self::Cookie(_) | Self::Hook(_) => None,
        }
    }

    fn value(&self, head: &request::Parts) -> Result<Option<Vec<u8>>, Bypass> {
        match self {
            Self::Field(name) => Ok(head.headers.contains_key(name).then(|| {
                let mut value = InlineBytes::EMPTY;
                value.write(0, |out| {
                    normal::write(&head.headers, name, Forms::default(), out);
                });
                value.to_vec()
            })),
            Self::Cookie(name) => Ok(cookies(&head.headers, name)),
            Self::Hook(hook) => Ok(hook(head)?.map(String::into_bytes)),
        }
    }
}

/// The values of all cookies with this name (RFC 6265 §4.2.1), as they stand: which of them counts
/// is the origin's to say.
fn cookies(headers: &HeaderMap, name: &str) -> Option<Vec<u8>> {
    let lines = headers.get_all(header::COOKIE).into_iter();
    let pairs = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b';'));
    let values = pairs.filter_map(|pair| {
        pair.trim_ascii().strip_prefix(name.as_bytes())?.trim_ascii_start().strip_prefix(b"=")
    });
    let mut found: Option<Vec<u8>> = None;
    for value in values {
        let found = found.get_or_insert_default();
        found.extend_from_slice(value);
        found.push(b';');
    }
    found
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn apart(parts: &[Apart], fields: &[(&str, &str)]) -> Option<Box<[u8]>> {
        let request = fields
            .iter()
            .fold(Request::get("/"), |request, (name, value)| request.header(*name, *value));
        Apart::all(parts, &request.body(()).unwrap().into_parts().0).unwrap()
    }

    #[test]
    fn requests_differ_by_fields_cookies_and_hooks() {
        let field = || Apart::Field(HeaderName::from_static("x-tenant"));
        let cookie = || Apart::Cookie("lang".into());
        let hook = || -> Apart {
            Apart::Hook(Arc::new(|head| {
                let agent = head.headers.get(header::USER_AGENT);
                Ok(agent.map(|agent| agent.to_str().unwrap_or_default().to_owned()))
            }))
        };
        assert_eq!(apart(&[], &[("x-tenant", "a")]), None);
        type Fields = &'static [(&'static str, &'static str)];
        let table: [(Apart, Fields, Fields, bool); 13] = [
            (field(), &[("x-tenant", "a")], &[("x-tenant", "b")], false),
            (field(), &[("x-tenant", "a")], &[], false),
            (field(), &[("x-tenant", "")], &[], false),
            (field(), &[("x-tenant", "a, b")], &[("x-tenant", "a"), ("x-tenant", "b")], true),
            (field(), &[("x-other", "a")], &[], true),
            (cookie(), &[("cookie", "a=1; lang=de")], &[("cookie", "lang=de; a=2")], true),
            (cookie(), &[("cookie", "lang=de")], &[("cookie", "lang=en")], false),
            (cookie(), &[("cookie", "lang=de")], &[("cookie", "a=1")], false),
            (cookie(), &[("cookie", "lang=")], &[], false),
            (cookie(), &[("cookie", "xlang=de")], &[], true),
            (cookie(), &[("cookie", "lang=de; lang=en")], &[("cookie", "lang=en; lang=de")], false),
            (hook(), &[("user-agent", "phone")], &[("user-agent", "desk")], false),
            (hook(), &[("user-agent", "")], &[], false),
        ];
        for (part, one, other, is_same) in table {
            let parts = [part];
            assert_eq!(apart(&parts, one) == apart(&parts, other), is_same, "{one:?} {other:?}");
        }
        // No value can be shaped to look like another.
        let two = [field(), Apart::Field(HeaderName::from_static("x-b"))];
        assert_ne!(
            apart(&two, &[("x-tenant", "xy"), ("x-b", "z")]),
            apart(&two, &[("x-tenant", "x"), ("x-b", "yz")])
        );
    }
}
