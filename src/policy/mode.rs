use std::time::Duration;

use http::Extensions;

use super::{labels::Texts, stale::Windows};

/// How a request uses the cache: the cache modes of the Fetch standard, as a request extension.
///
/// Set by code, never read from the wire. It stands above the request's own `Cache-Control`.
///
/// ```
/// use larder::CacheMode;
///
/// let request = http::Request::get("http://a.example/")
///     .extension(CacheMode::NoCache)
///     .body(())?;
/// # Ok::<(), http::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum CacheMode {
    /// As HTTP says.
    #[default]
    Default,
    /// Neither look into the cache nor store the answer.
    NoStore,
    /// Do not look into the cache; store the answer.
    Reload,
    /// Validate whatever is stored.
    NoCache,
    /// Use what is stored, fresh or stale, unless the response forbids stale use (RFC 9111
    /// §4.2.4); else ask.
    ForceCache,
    /// As `ForceCache`, but never ask: 504 if there is nothing (RFC 9111 §5.2.1.7).
    OnlyIfCached,
}

impl CacheMode {
    #[inline]
    pub(crate) fn of(extensions: &Extensions) -> Self {
        extensions.get().copied().unwrap_or_default()
    }
}

/// Response extension by which a handler says how long its answer may be kept.
///
/// It is read like a targeted field (RFC 9213) of the highest rank: where it is present,
/// `Cache-Control` and `Expires` are not looked at. It is never sent. What it does not lift: the
/// rules about `Authorization` (unless [`public`](Self::public)), `Set-Cookie`, `Vary` and
/// [`Private`].
///
/// ```
/// use larder::Cached;
///
/// let mut response = http::Response::new("report");
/// response.extensions_mut().insert(Cached::for_secs(60).stale(30).tag("reports"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cached {
    lifetime: Duration,
    windows: Windows,
    public: bool,
    tags: Texts,
}

impl Cached {
    /// Fresh for `lifetime` after it was made.
    pub fn for_duration(lifetime: Duration) -> Self {
        Self { lifetime, windows: Windows::default(), public: false, tags: Texts::default() }
    }

    /// Fresh for so many seconds after it was made.
    pub fn for_secs(seconds: u64) -> Self {
        Self::for_duration(Duration::from_secs(seconds))
    }

    /// For so many seconds longer it may be served stale while it is refreshed (RFC 5861 §3).
    pub fn stale(mut self, seconds: u64) -> Self {
        self.windows.while_revalidate = Some(Duration::from_secs(seconds));
        self
    }

    /// For so many seconds longer it may be served stale where the origin fails (RFC 5861 §4).
    pub fn stale_if_error(mut self, seconds: u64) -> Self {
        self.windows.if_error = Some(Duration::from_secs(seconds));
        self
    }

    /// The same for every user, although the request carried `Authorization` (RFC 9111 §3.5).
    pub fn public(mut self) -> Self {
        self.public = true;
        self
    }

    /// A tag to [purge](crate::Purge::tag) it by, beside those that its fields name. It may have any
    /// characters, and is never sent.
    pub fn tag(mut self, tag: impl AsRef<str>) -> Self {
        self.tags.push(tag.as_ref());
        self
    }

    /// More than one [`tag`](Self::tag).
    pub fn tags<T: AsRef<str>>(self, tags: impl IntoIterator<Item = T>) -> Self {
        tags.into_iter().fold(self, Self::tag)
    }

    pub(super) fn own_tags(&self) -> &Texts {
        &self.tags
    }

    /// What it says beside its tags.
    pub(super) fn untagged(&self) -> Self {
        Self { tags: Texts::default(), ..*self }
    }

    pub(crate) fn lifetime(&self) -> Duration {
        self.lifetime
    }

    pub(crate) fn windows(&self) -> Windows {
        self.windows
    }

    #[cfg(feature = "codec")]
    pub(crate) fn with_windows(mut self, windows: Windows) -> Self {
        self.windows = windows;
        self
    }

    pub(crate) fn is_public(&self) -> bool {
        self.public
    }
}

/// Response extension that marks an answer as made for one user: it counts as
/// `Cache-Control: private` (RFC 9111 §5.2.2.7), whatever else is present.
///
/// ```
/// use larder::Private;
///
/// let mut response = http::Response::new("Hello Ada");
/// response.extensions_mut().insert(Private);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Private;

/// Response extension of a client that followed a redirect by itself: what came belongs to another
/// URI than the one that was asked for.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(not(feature = "reqwest"), allow(dead_code))]
pub(crate) struct RedirectedInside;
