#[cfg(feature = "memory")]
mod packed;

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use http::{
    HeaderMap, HeaderName, HeaderValue, StatusCode,
    header::{self, Entry},
};

#[cfg(feature = "memory")]
pub(crate) use self::packed::PackedHead;
use super::{
    ContentRange,
    age::{Timestamp, current_age},
    labels::Labels,
    mode::Cached,
    packed::Packed,
    precondition::not_modified_fields,
    stale::Windows,
    status::CACHE_STATUS,
    usual,
};

/// The head of a stored response: its fields, ready to be sent, and what the policy has read in
/// them, so that a hit parses nothing.
///
/// Clones share one allocation.
#[derive(Clone, Debug)]
pub struct StoredHead(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// As they came, but those of RFC 9111 §3.1, with a `Date` and a slot for `Age`.
    headers: OnceLock<HeaderMap>,
    /// The same with a slot for `Cache-Status`, if there was a hit that was told of.
    told: OnceLock<Box<HeaderMap>>,
    /// Those of a 304, if there was one.
    not_modified: OnceLock<HeaderMap>,
    /// What they are made of when somebody looks, if they are not there yet.
    packed: Option<Packed>,
    rest: Arc<Rest>,
}

/// What is known of a head beside its fields. Where there are several maps of the fields, it is one.
#[derive(Debug)]
struct Rest {
    status: StatusCode,
    asked: Asked,
    facts: Facts,
    /// `None` where there is nothing of it, as in most.
    more: Option<Box<More>>,
    good_at: AtomicU64,
    spared_at: AtomicU64,
}

/// What few heads have.
#[derive(Clone, Debug)]
struct More {
    /// What the handler said beside the fields, kept for other rules than those that stored it.
    cached: Option<Cached>,
    labels: Labels,
    /// What its body has of the representation, if that is not all.
    part: Option<ContentRange>,
}

impl More {
    fn of(cached: Option<Cached>, labels: Labels, part: Option<ContentRange>) -> Option<Box<Self>> {
        let is_some = cached.is_some() || labels != Labels::none() || part.is_some();
        is_some.then(|| Box::new(Self { cached, labels, part }))
    }
}

impl Clone for Rest {
    fn clone(&self) -> Self {
        let copy = |position: &AtomicU64| AtomicU64::new(position.load(Ordering::Acquire));
        Self {
            facts: self.facts.clone(),
            more: self.more.clone(),
            good_at: copy(&self.good_at),
            spared_at: copy(&self.spared_at),
            ..*self
        }
    }
}

impl Rest {
    fn of(status: StatusCode, asked: Asked, facts: Facts, more: Option<Box<More>>) -> Self {
        let (good_at, spared_at) = (AtomicU64::new(asked.began), AtomicU64::new(asked.began));
        Self { status, asked, facts, more, good_at, spared_at }
    }

    fn weight(&self) -> usize {
        let more = self.more.as_ref();
        let more = more.map_or(0, |more| size_of::<More>() + more.labels.weight());
        let withheld = self.facts.withheld.len() * size_of::<HeaderName>();
        size_of::<Self>() + COUNTS + more + withheld
    }
}

/// The reference counts of an allocation.
const COUNTS: usize = 2 * size_of::<usize>();

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
    /// `fields` are those to be kept but for the slot for `Age`.
    pub(super) fn new<'a>(
        status: StatusCode,
        fields: impl Iterator<Item = (&'a HeaderName, &'a HeaderValue)>,
        asked: Asked,
        facts: Facts,
        cached: Option<Cached>,
        labels: Labels,
        part: Option<ContentRange>,
    ) -> Self {
        let rest = Rest::of(status, asked, facts, More::of(cached, labels, part));
        Self::packed(Packed::of(fields), Arc::new(rest))
    }

    /// A head that was kept. `headers` own their memory and have a slot for `Age`.
    #[cfg(feature = "codec")]
    pub(crate) fn restored(
        status: StatusCode,
        headers: HeaderMap,
        asked: Asked,
        facts: Facts,
        cached: Option<Cached>,
        labels: Labels,
        part: Option<ContentRange>,
    ) -> Self {
        let rest = Rest::of(status, asked, facts, More::of(cached, labels, part));
        Self::live(headers, Arc::new(rest))
    }

    #[inline]
    fn packed(packed: Packed, rest: Arc<Rest>) -> Self {
        Self(Arc::new(Inner { packed: Some(packed), ..Inner::of(OnceLock::new(), rest) }))
    }

    fn live(headers: HeaderMap, rest: Arc<Rest>) -> Self {
        Self(Arc::new(Inner::of(OnceLock::from(headers), rest)))
    }

    /// The status code.
    #[inline]
    pub fn status(&self) -> StatusCode {
        self.0.rest.status
    }

    /// The fields as they are stored. `Age` is a slot whose value means nothing.
    #[inline]
    pub fn headers(&self) -> &HeaderMap {
        self.0.headers.get_or_init(|| self.0.unpack())
    }

    /// Those that a 304 repeats, to be sent.
    pub(super) fn not_modified_fields(&self) -> HeaderMap {
        // Whoever asks whether a copy is good asks again.
        let make = || not_modified_fields(self.headers());
        self.0.not_modified.get_or_init(make).clone()
    }

    /// The fields, to be sent.
    #[inline]
    pub(super) fn fields(&self) -> HeaderMap {
        // The first to ask for a packed head is often the last, and needs no second map.
        self.0.headers.get().cloned().unwrap_or_else(|| self.0.unpack())
    }

    /// The same with a slot for `Cache-Status`, unless there is one already: a map that grows costs more
    /// than all else of a hit.
    pub(super) fn told_fields(&self) -> HeaderMap {
        let slot = |mut fields: HeaderMap| {
            // Whoever fills it does not look for it among several lines.
            let is_once = fields.len() == fields.keys_len();
            if is_once && let Ok(Entry::Vacant(slot)) = fields.try_entry(CACHE_STATUS) {
                let _ = slot.try_insert(HeaderValue::from_static(""));
            }
            fields
        };
        match self.0.headers.get() {
            Some(fields) => {
                let told = self.0.told.get_or_init(|| Box::new(slot(fields.clone())));
                HeaderMap::clone(told)
            }
            None => slot(self.0.unpack()),
        }
    }

    /// What its body has of the representation, where that is only a part (RFC 9111 §3.3). The fields
    /// say nothing of it: `Content-Length` is that of the part.
    #[inline]
    pub fn content_range(&self) -> Option<ContentRange> {
        self.0.rest.more.as_ref()?.part
    }

    /// The tags that it can be [purged](crate::Purge::tag) by: those of its fields and those that the
    /// handler gave.
    pub fn tags(&self) -> impl Iterator<Item = &str> {
        self.labels().tags.iter().chain(self.labels().own.iter())
    }

    /// The cache groups that it belongs to (RFC 9875 §2).
    pub fn groups(&self) -> impl Iterator<Item = &str> {
        self.labels().groups.iter()
    }

    /// How old it is at `now` (RFC 9111 §4.2.3).
    pub fn age(&self, now: Timestamp) -> Duration {
        current_age(&self.0.rest.facts, now.since(self.0.rest.asked.received))
    }

    /// How long it is fresh, by the rules that stored it (RFC 9111 §4.2.1).
    pub fn lifetime(&self) -> Duration {
        self.0.rest.facts.lifetime
    }

    /// The position of the purge log at which the fill of this response began.
    pub fn began(&self) -> u64 {
        self.0.rest.asked.began
    }

    /// The position of the purge log at which this head was last found good.
    #[inline]
    pub(crate) fn good_at(&self) -> u64 {
        self.0.rest.good_at.load(Ordering::Acquire)
    }

    pub(crate) fn found_good_at(&self, seq: u64) {
        self.0.rest.good_at.fetch_max(seq, Ordering::AcqRel);
    }

    /// The position of the purge log at which it was last found not to be gone.
    pub(crate) fn spared_at(&self) -> u64 {
        self.0.rest.spared_at.load(Ordering::Acquire)
    }

    pub(crate) fn was_spared_at(&self, seq: u64) {
        self.0.rest.spared_at.fetch_max(seq, Ordering::AcqRel);
    }

    #[inline]
    pub(crate) fn asked(&self) -> Asked {
        self.0.rest.asked
    }

    #[inline]
    pub(crate) fn facts(&self) -> &Facts {
        &self.0.rest.facts
    }

    pub(crate) fn labels(&self) -> &Labels {
        static NONE: Labels = Labels::none();
        self.0.rest.more.as_ref().map_or(&NONE, |more| &more.labels)
    }

    pub(crate) fn cached(&self) -> Option<&Cached> {
        self.0.rest.more.as_ref()?.cached.as_ref()
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
        const BUFFER: usize = 64; // what the shared text of the values needs beside itself
        let headers = self.headers();
        let capacity = headers.capacity();
        let text: usize =
            headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
        let repeated = headers.len() - headers.keys_len();
        size_of::<Inner>()
            + COUNTS
            + capacity * BUCKET
            + (capacity * 4 / 3).next_power_of_two() * POSITION
            + repeated * BUCKET
            + text
            + BUFFER
            + self.0.rest.weight()
    }

    /// Whether both are one and the same, not only alike.
    #[cfg(all(test, feature = "memory"))]
    pub(crate) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    pub(super) fn with_length(self, length: u64) -> Self {
        if self.status() == StatusCode::NO_CONTENT || self.0.contains(&header::CONTENT_LENGTH) {
            return self;
        }
        self.with(header::CONTENT_LENGTH, usual::number(length))
    }

    /// The same head with one more field, or another value of it.
    pub(super) fn with(mut self, name: HeaderName, value: HeaderValue) -> Self {
        if let Some(packed) = self.0.packed.as_ref().filter(|packed| !packed.contains(&name)) {
            let packed = packed.with(&name, &value);
            // A packed head is known by what it shares with those that were unpacked from it.
            let is_shared = Arc::strong_count(&self.0.rest) > 1;
            return match Arc::get_mut(&mut self.0).filter(|_| !is_shared) {
                Some(inner) => {
                    let rest = inner.rest.clone();
                    *inner = Inner { packed: Some(packed), ..Inner::of(OnceLock::new(), rest) };
                    self
                }
                None => Self::packed(packed, Arc::new(Rest::clone(&self.0.rest))),
            };
        }
        let mut headers = self.fields();
        headers.insert(name, value);
        Self::live(headers, Arc::new(Rest::clone(&self.0.rest)))
    }
}

impl Inner {
    fn of(headers: OnceLock<HeaderMap>, rest: Arc<Rest>) -> Self {
        let (told, not_modified) = (OnceLock::new(), OnceLock::new());
        Self { headers, told, not_modified, packed: None, rest }
    }

    fn unpack(&self) -> HeaderMap {
        self.packed.as_ref().map(Packed::unpack).unwrap_or_default()
    }

    fn contains(&self, name: &HeaderName) -> bool {
        match (self.headers.get(), &self.packed) {
            (None, Some(packed)) => packed.contains(name),
            (headers, _) => headers.is_some_and(|headers| headers.contains_key(name)),
        }
    }
}
