use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode, Uri, header};

use super::{
    ContentRange,
    age::{Timestamp, current_age},
    content_range::Extent,
    directives::{Reach, ResponseDirectives},
    labels::Labels,
    mode::Cached,
    stale::Windows,
};

/// The head of a stored response: its fields, ready to be sent, and what the policy has read in
/// them, so that a hit parses nothing.
///
/// Clones share one allocation.
#[derive(Clone, Debug)]
pub struct StoredHead(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    status: StatusCode,
    /// As they came, but those of RFC 9111 §3.1, with a `Date` and a slot for `Age`.
    headers: HeaderMap,
    asked: Asked,
    facts: Facts,
    /// What the handler said beside the fields, kept for other rules than those that stored it.
    cached: Option<Cached>,
    labels: Labels,
    /// What its body has of the representation, if that is not all.
    part: Option<ContentRange>,
    good_at: AtomicU64,
    spared_at: AtomicU64,
}

/// The exchange that a stored response came from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked {
    /// The request had `Authorization`.
    pub(crate) authorization: bool,
    /// The request said `no-store`.
    pub(crate) no_store: bool,
    /// The response had the extension [`Private`](super::Private).
    pub(crate) marked_private: bool,
    pub(crate) requested: Timestamp,
    pub(crate) received: Timestamp,
    /// The purge log's position when the request went out.
    pub(crate) began: u64,
}

/// What the rules of one policy have read in a head.
#[derive(Clone, Debug)]
pub(crate) struct Facts {
    pub(crate) date: SystemTime,
    pub(crate) initial_age: Duration,
    pub(crate) lifetime: Duration,
    pub(crate) revalidate: Revalidate,
    pub(crate) immutable: bool,
    pub(crate) windows: Windows,
    /// Fields that only a validated response may show (`no-cache="field"`).
    pub(crate) withheld: Vec<HeaderName>,
    pub(crate) rules: u64,
}

/// When a stored response must be validated before use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Revalidate {
    /// When it is stale, but stale use may be allowed (RFC 9111 §4.2.4).
    MayBeStale,
    /// Always when it is stale (RFC 9111 §5.2.2.2, §5.2.2.8, §5.2.2.10).
    WhenStale,
    /// At each use (RFC 9111 §5.2.2.4).
    Always,
}

impl StoredHead {
    pub(super) fn new(
        status: StatusCode,
        headers: HeaderMap,
        asked: Asked,
        facts: Facts,
        cached: Option<Cached>,
        labels: Labels,
        part: Option<ContentRange>,
    ) -> Self {
        Self::restored(status, pack(headers), asked, facts, cached, labels, part)
    }

    /// A head that was kept. `headers` own their memory and have a slot for `Age`.
    pub(crate) fn restored(
        status: StatusCode,
        headers: HeaderMap,
        asked: Asked,
        facts: Facts,
        cached: Option<Cached>,
        labels: Labels,
        part: Option<ContentRange>,
    ) -> Self {
        let (good_at, spared_at) = (AtomicU64::new(asked.began), AtomicU64::new(asked.began));
        Self(Arc::new(Inner {
            status,
            headers,
            asked,
            facts,
            cached,
            labels,
            part,
            good_at,
            spared_at,
        }))
    }

    /// The status code.
    pub fn status(&self) -> StatusCode {
        self.0.status
    }

    /// The fields as they are stored. `Age` is a slot whose value means nothing.
    pub fn headers(&self) -> &HeaderMap {
        &self.0.headers
    }

    /// What its body has of the representation, where that is only a part (RFC 9111 §3.3). The fields
    /// say nothing of it: `Content-Length` is that of the part.
    pub fn content_range(&self) -> Option<ContentRange> {
        self.0.part
    }

    /// The tags that it can be [purged](crate::Purge::tag) by: those of its fields and those that the
    /// handler gave.
    pub fn tags(&self) -> impl Iterator<Item = &str> {
        self.0.labels.tags.iter().chain(self.0.labels.own.iter())
    }

    /// The cache groups that it belongs to (RFC 9875 §2).
    pub fn groups(&self) -> impl Iterator<Item = &str> {
        self.0.labels.groups.iter()
    }

    /// How old it is at `now` (RFC 9111 §4.2.3).
    pub fn age(&self, now: Timestamp) -> Duration {
        current_age(&self.0.facts, now.since(self.0.asked.received))
    }

    /// How long it is fresh, by the rules that stored it (RFC 9111 §4.2.1).
    pub fn lifetime(&self) -> Duration {
        self.0.facts.lifetime
    }

    /// The position of the purge log at which the fill of this response began.
    pub fn began(&self) -> u64 {
        self.0.asked.began
    }

    /// The position of the purge log at which this head was last found good.
    pub(crate) fn good_at(&self) -> u64 {
        self.0.good_at.load(Ordering::Acquire)
    }

    pub(crate) fn found_good_at(&self, seq: u64) {
        self.0.good_at.fetch_max(seq, Ordering::AcqRel);
    }

    /// The position of the purge log at which it was last found not to be gone.
    pub(crate) fn spared_at(&self) -> u64 {
        self.0.spared_at.load(Ordering::Acquire)
    }

    pub(crate) fn was_spared_at(&self, seq: u64) {
        self.0.spared_at.fetch_max(seq, Ordering::AcqRel);
    }

    pub(crate) fn asked(&self) -> Asked {
        self.0.asked
    }

    pub(crate) fn facts(&self) -> &Facts {
        &self.0.facts
    }

    pub(crate) fn labels(&self) -> &Labels {
        &self.0.labels
    }

    pub(crate) fn cached(&self) -> Option<&Cached> {
        self.0.cached.as_ref()
    }

    /// Whether it may ever be used without asking the origin first.
    pub(crate) fn is_reusable(&self) -> bool {
        let Facts { lifetime, initial_age, revalidate, .. } = self.facts();
        lifetime > initial_age && *revalidate != Revalidate::Always
    }

    /// What this head takes of a store's memory, in bytes.
    pub fn weight(&self) -> usize {
        const BUCKET: usize = 104; // of `HeaderMap`: hash, name, value, links
        const POSITION: usize = 4; // of its table of hashes
        const ALLOCATIONS: usize = 96; // headers of the allocations and of the shared buffer
        let headers = &self.0.headers;
        let capacity = headers.capacity();
        let text: usize =
            headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
        let repeated = headers.len() - headers.keys_len();
        size_of::<Inner>()
            + capacity * BUCKET
            + (capacity * 4 / 3).next_power_of_two() * POSITION
            + repeated * BUCKET
            + text
            + self.0.labels.weight()
            + ALLOCATIONS
    }

    fn with_length(self, length: u64) -> Self {
        let has_no_content = self.0.status == StatusCode::NO_CONTENT;
        if has_no_content || self.0.headers.contains_key(header::CONTENT_LENGTH) {
            return self;
        }
        self.with(header::CONTENT_LENGTH, HeaderValue::from(length))
    }

    /// The same head with one more field.
    pub(super) fn with(mut self, name: HeaderName, value: HeaderValue) -> Self {
        let with = |headers: &mut HeaderMap| {
            headers.insert(name, value);
        };
        match Arc::get_mut(&mut self.0) {
            Some(inner) => with(&mut inner.headers),
            None => {
                let mut headers = self.0.headers.clone();
                with(&mut headers);
                let inner = &*self.0;
                self = Self(Arc::new(Inner {
                    status: inner.status,
                    headers,
                    asked: inner.asked,
                    facts: inner.facts.clone(),
                    cached: inner.cached.clone(),
                    labels: inner.labels.clone(),
                    part: inner.part,
                    good_at: AtomicU64::new(inner.good_at.load(Ordering::Acquire)),
                    spared_at: AtomicU64::new(inner.spared_at.load(Ordering::Acquire)),
                }));
            }
        }
        self
    }
}

/// A stored response but for the bytes of its body: the head, and how long the body is.
#[derive(Clone, Debug)]
pub struct StoredResponse {
    head: StoredHead,
    length: u64,
    doubt: Doubt,
}

/// What its store has against serving a response as it is.
#[derive(Clone, Copy, Debug)]
enum Doubt {
    Nothing,
    /// It was softly purged then.
    StaleSince(Timestamp),
    /// It may have been purged, and nobody can be asked.
    Unvouched,
}

impl StoredResponse {
    /// A head whose body has all of its `length` bytes. A head that came without `Content-Length`
    /// gets one.
    pub fn new(head: StoredHead, length: u64) -> Self {
        Self { head: head.with_length(length), length, doubt: Doubt::Nothing }
    }

    /// The same response, softly purged: whatever its lifetime says, it is stale from `then` on.
    pub fn stale_since(self, then: Timestamp) -> Self {
        match self.doubt {
            Doubt::Unvouched => self,
            _ => Self { doubt: Doubt::StaleSince(then), ..self },
        }
    }

    /// The same response, to be served only when the origin has said that it is good.
    pub(crate) fn unvouched(self) -> Self {
        Self { doubt: Doubt::Unvouched, ..self }
    }

    /// Whether the origin has to be asked, whatever its fields say.
    pub(crate) fn is_unvouched(&self) -> bool {
        matches!(self.doubt, Doubt::Unvouched)
    }

    /// When a soft purge made it stale, if one did.
    pub fn softly_purged(&self) -> Option<Timestamp> {
        match self.doubt {
            Doubt::StaleSince(then) => Some(then),
            Doubt::Nothing | Doubt::Unvouched => None,
        }
    }

    /// The head.
    pub fn head(&self) -> &StoredHead {
        &self.head
    }

    /// The number of bytes in the body.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Which bytes of the representation these are. `None`: not those that the head says.
    pub(super) fn extent(&self) -> Option<Extent> {
        match self.head.content_range() {
            None => Some(Extent::Whole(self.length)),
            Some(part) => (part.length() == self.length).then_some(Extent::Part(part)),
        }
    }
}

/// Fields that belong to one connection or one hop and are never stored (RFC 9111 §3.1).
pub(super) fn is_hop_by_hop(name: &HeaderName) -> bool {
    [
        header::CONNECTION,
        header::PROXY_AUTHENTICATE,
        header::PROXY_AUTHORIZATION,
        header::TE,
        header::TRANSFER_ENCODING,
        header::UPGRADE,
    ]
    .contains(name)
        || matches!(name.as_str(), "keep-alive" | "proxy-connection" | "proxy-authentication-info")
}

/// The fields to store of those that came (RFC 9111 §3.1): not those of the connection, not those
/// that it nominates, not those that `directives` keep from this cache.
pub(super) fn storable_fields(
    headers: &HeaderMap,
    directives: &ResponseDirectives,
    without: impl Fn(&HeaderName) -> bool,
) -> HeaderMap {
    let nominated: Vec<HeaderName> = super::fields::list(headers, &header::CONNECTION)
        .filter_map(|name| HeaderName::from_bytes(name).ok())
        .collect();
    let private = match &directives.private {
        Some(Reach::Fields(names)) => names.as_slice(),
        _ => &[],
    };
    let mut kept = HeaderMap::try_with_capacity(headers.keys_len() + 3).unwrap_or_default();
    for (name, value) in headers {
        let dropped = is_hop_by_hop(name)
            || nominated.contains(name)
            || private.contains(name)
            || *name == header::AGE
            || without(name);
        if !dropped {
            kept.append(name.clone(), value.clone());
        }
    }
    kept
}

/// The fields of a stored head: owned, with a slot for `Age`.
fn pack(mut headers: HeaderMap) -> HeaderMap {
    own_values(&mut headers);
    headers.insert(header::AGE, HeaderValue::from_static("0"));
    headers
}

/// Copies all values into one buffer of exact size: what came from a connection holds on to its
/// read buffer, many times the size of the values.
fn own_values(headers: &mut HeaderMap) {
    let text = headers.values().map(HeaderValue::len).sum();
    let mut buffer = Vec::with_capacity(text);
    for value in headers.values() {
        buffer.extend_from_slice(value.as_bytes());
    }
    let mut buffer = Bytes::from(buffer);
    for value in headers.values_mut() {
        let shared = buffer.split_to(value.len());
        let mut own = HeaderValue::from_maybe_shared(shared).unwrap_or_else(|_| value.clone());
        own.set_sensitive(value.is_sensitive());
        *value = own;
    }
}

/// A copy that owns its values.
pub(crate) fn owned_fields(headers: &HeaderMap) -> HeaderMap {
    let mut own = headers.clone();
    own_values(&mut own);
    own
}

/// Makes a request own its fields and its target.
pub(crate) fn own<B>(request: &mut Request<B>) {
    own_values(request.headers_mut());
    own_target(request.uri_mut());
}

pub(super) fn own_target(uri: &mut Uri) {
    if let Ok(own) = Uri::from_maybe_shared(Bytes::from(uri.to_string()))
        && own == *uri
    {
        *uri = own;
    }
}
