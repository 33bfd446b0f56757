use std::{
    hash::{Hash, Hasher},
    sync::Arc,
};

use bytes::Bytes;
use http::HeaderMap;
use quick_cache::{Equivalent, Weighter};

use super::siblings::{Budget, Share, Siblings};
#[cfg(doc)]
use crate::policy::StoredResponse;
use crate::{
    place::Marks,
    policy::{CacheKey, PackedHead, VariantKey},
};

#[derive(Clone)]
pub(super) enum Record {
    /// Under a resource's key: all that there is of most, a response without `Vary`.
    Plain(Arc<Body>),
    /// Under a resource's key.
    Resource(Arc<Resource>),
    /// Under a key of its own.
    Variant(Arc<Body>),
}

impl Record {
    /// What is stored under a resource's key.
    pub(super) fn of(resource: Resource) -> Self {
        match resource.plain {
            Some(plain) if resource.siblings.is_plain() => Self::Plain(plain),
            _ => Self::Resource(Arc::new(resource)),
        }
    }

    /// What stands under a resource's key.
    pub(super) fn into_resource(self) -> Option<Arc<Resource>> {
        match self {
            Self::Plain(plain) => {
                let siblings = Siblings::plain(plain.record.generation);
                Some(Arc::new(Resource { siblings, plain: Some(plain) }))
            }
            Self::Resource(resource) => Some(resource),
            Self::Variant(_) => None,
        }
    }

    /// The response that is in it.
    pub(super) fn body(&self) -> Option<&Arc<Body>> {
        match self {
            Self::Plain(body) | Self::Variant(body) => Some(body),
            Self::Resource(resource) => resource.plain.as_ref(),
        }
    }
}

/// A resource: its index, and its response without `Vary`, if there is one.
pub(super) struct Resource {
    pub(super) siblings: Siblings,
    pub(super) plain: Option<Arc<Body>>,
}

/// A response that is stored.
pub(super) struct Body {
    pub(super) record: RecordKey,
    pub(super) head: PackedHead,
    pub(super) bytes: Bytes,
    pub(super) trailers: Option<Box<HeaderMap>>,
    pub(super) share: Option<Share>,
    /// Which threads keep it besides.
    pub(super) marks: Marks,
    weight: u64,
}

impl Body {
    /// `head` is one that [`StoredResponse::new`] gave its length.
    pub(super) fn new(
        record: RecordKey,
        head: PackedHead,
        bytes: Bytes,
        trailers: Option<Box<HeaderMap>>,
        budget: Option<Budget>,
    ) -> Self {
        let fields = |trailers: &HeaderMap| {
            let text: usize = trailers.values().map(|value| value.len()).sum();
            FIELD * trailers.len() + text
        };
        let weight = size_of::<Self>()
            + COUNTS
            + record.weight()
            + head.weight()
            + bytes.len()
            + trailers.as_deref().map_or(0, fields);
        let weight = weight as u64;
        let share = budget.map(|budget| budget.take(SLOT as u64 + weight));
        Self { record, head, bytes, trailers, share, marks: Marks::default(), weight }
    }

    /// The same response, in another record: that of before goes.
    pub(super) fn again(&self) -> Self {
        let Self { record, head, bytes, trailers, .. } = self;
        let (record, bytes) = (record.clone(), bytes.clone());
        Self::new(record, head.clone(), bytes, trailers.clone(), self.budget())
    }

    pub(super) fn length(&self) -> u64 {
        self.bytes.len() as u64
    }

    pub(super) fn is_plain(&self) -> bool {
        self.record.as_ref().variant.is_empty()
    }

    pub(super) fn budget(&self) -> Option<Budget> {
        self.share.as_ref().map(|share| share.budget().clone())
    }
}

/// The key of a record, compared in full: there are two of each, and both share one text.
#[derive(Clone)]
pub(super) struct RecordKey {
    pub(super) generation: u64,
    /// The length of the resource's key, that key, and the variant's; nothing for the resource itself
    /// and for its response without `Vary`.
    text: Arc<[u8]>,
}

/// Of a length.
const BEFORE: usize = size_of::<u32>();
/// Where the text of most keys has room before it is put into memory of exact size.
const DRAFT: usize = 256;

impl RecordKey {
    /// No index has the generation 0, so that a resource is never taken for one of its variants.
    pub(super) fn variant(generation: u64, key: &CacheKey, variant: &VariantKey) -> Self {
        Self::of(generation, key.as_bytes(), variant.as_bytes())
    }

    /// That of a response without `Vary`.
    pub(super) fn plain(generation: u64, key: &CacheKey) -> Self {
        Self::of(generation, key.as_bytes(), &[])
    }

    fn of(generation: u64, resource: &[u8], variant: &[u8]) -> Self {
        // The length of what came as a request's head.
        let length = u32::try_from(resource.len()).unwrap_or(u32::MAX).to_le_bytes();
        let parts = [&length[..], resource, variant];
        let mut draft = [0; DRAFT];
        let mut at = 0;
        for part in parts {
            let Some(room) = draft.get_mut(at..at + part.len()) else {
                return Self { generation, text: parts.concat().into() };
            };
            room.copy_from_slice(part);
            at += part.len();
        }
        Self { generation, text: draft[..at].into() }
    }

    /// The key of the resource that a variant is of.
    pub(super) fn of_resource(&self) -> Self {
        match self.as_ref() {
            RecordRef { variant: &[], .. } => Self { generation: 0, ..self.clone() },
            RecordRef { resource, .. } => Self::of(0, resource, &[]),
        }
    }

    pub(super) fn cache_key(&self) -> CacheKey {
        CacheKey::kept(self.as_ref().resource)
    }

    pub(super) fn variant_key(&self) -> VariantKey {
        VariantKey::restored(self.as_ref().variant.to_vec())
    }

    /// Of the text, with its counts.
    pub(super) fn weight(&self) -> usize {
        self.text.len() + COUNTS
    }

    /// Whether it is that of a resource, or of its response without `Vary`.
    #[inline]
    pub(super) fn is_of(&self, resource: &RecordRef<'_>) -> bool {
        let RecordRef { resource: own, variant, .. } = self.as_ref();
        variant.is_empty() && own == resource.resource
    }

    #[inline]
    pub(super) fn as_ref(&self) -> RecordRef<'_> {
        let Some((length, rest)) = self.text.split_first_chunk::<BEFORE>() else {
            return RecordRef { generation: self.generation, resource: &[], variant: &[] };
        };
        let length = u32::from_le_bytes(*length) as usize;
        let (resource, variant) = rest.split_at_checked(length).unwrap_or((rest, &[]));
        RecordRef { generation: self.generation, resource, variant }
    }
}

impl PartialEq for RecordKey {
    fn eq(&self, other: &Self) -> bool {
        self.as_ref() == other.as_ref()
    }
}

impl Eq for RecordKey {}

impl Hash for RecordKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_ref().hash(state);
    }
}

/// A [`RecordKey`] to look up by, without owning its parts.
pub(super) struct RecordRef<'a> {
    pub(super) generation: u64,
    pub(super) resource: &'a [u8],
    pub(super) variant: &'a [u8],
}

impl<'a> RecordRef<'a> {
    /// No index has the generation 0, so that a resource is never taken for one of its variants.
    #[inline]
    pub(super) fn resource(key: &'a CacheKey) -> Self {
        Self { generation: 0, resource: key.as_bytes(), variant: &[] }
    }
}

impl Hash for RecordRef<'_> {
    #[inline]
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.generation);
        state.write_usize(self.resource.len());
        state.write(self.resource);
        if !self.variant.is_empty() {
            state.write(self.variant);
        }
    }
}

impl PartialEq for RecordRef<'_> {
    #[inline]
    fn eq(&self, other: &Self) -> bool {
        // An empty slice is a dangling pointer, and comparing nothing there is a slow path of
        // `memcmp`: a seventh of a whole hit.
        let both_empty = self.variant.is_empty() && other.variant.is_empty();
        self.generation == other.generation
            && self.resource == other.resource
            && (both_empty || self.variant == other.variant)
    }
}

impl Equivalent<RecordKey> for RecordRef<'_> {
    #[inline]
    fn equivalent(&self, key: &RecordKey) -> bool {
        *self == key.as_ref()
    }
}

/// The slot of a record in the cache's tables, which have room to grow.
const SLOT: usize = 3 * (size_of::<RecordKey>() + size_of::<Record>() + 32) / 2;
/// The reference counts of an allocation.
const COUNTS: usize = 2 * size_of::<usize>();
/// A field in a `HeaderMap`, but for the text of its value.
const FIELD: usize = 128;

#[derive(Clone, Copy)]
pub(super) struct ByWeight;

impl Weighter<RecordKey, Record> for ByWeight {
    fn weight(&self, key: &RecordKey, record: &Record) -> u64 {
        match record {
            Record::Plain(stored) | Record::Variant(stored) => SLOT as u64 + stored.weight,
            Record::Resource(resource) => {
                let own = SLOT + COUNTS + size_of::<Resource>() + resource.siblings.weight();
                // A response has the same key, and has counted it.
                let rest = match &resource.plain {
                    Some(plain) => plain.weight,
                    None => key.weight() as u64,
                };
                own as u64 + rest
            }
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::hash::BuildHasher;

    use http::{Request, Response};
    use http_body::SizeHint;
    use quick_cache::sync::{Cache, DefaultLifecycle};

    use super::*;
    use crate::policy::{Begin, Decision, Outcome, Policy, Secret, Stored, StoredHead, Timestamp};

    /// Puts everything into one bucket.
    #[derive(Clone)]
    struct Collide;

    impl BuildHasher for Collide {
        type Hasher = Self;

        fn build_hasher(&self) -> Self {
            Self
        }
    }

    impl Hasher for Collide {
        fn write(&mut self, _: &[u8]) {}

        fn finish(&self) -> u64 {
            0
        }
    }

    fn response(path: &str, accept: &str) -> (RecordKey, StoredHead) {
        let request = Request::get(format!("http://a.example{path}")).header("accept", accept);
        let (mut request, ()) = request.body(()).unwrap().into_parts();
        let now = Timestamp::from_wall(std::time::SystemTime::UNIX_EPOCH);
        let lookup = match Policy::shared().begin(&request, &SizeHint::with_exact(0)) {
            Begin::Lookup(lookup) => lookup.decide(&mut request, Stored::Nothing, now),
            other => panic!("{other:?}"),
        };
        let Decision::Forward(fetch) = lookup else { panic!("{lookup:?}") };
        let response = Response::builder().header("cache-control", "max-age=1");
        let (mut response, ()) = response.header("vary", "accept").body(()).unwrap().into_parts();
        let (size, secret) = (SizeHint::default(), Secret::from_bytes([0; 32]));
        let Outcome::Store(store) = fetch.on_response(&mut response, &size, now, 0, &secret) else {
            panic!("it is stored");
        };
        let (placement, head) = store.into_parts();
        (RecordKey::variant(1, placement.key(), placement.variant()), head)
    }

    /// A response as the store keeps it, and what it is looked up under.
    pub(in super::super) fn plain(path: &str) -> (CacheKey, Arc<Body>) {
        let (record, head) = response(path, "x");
        let key = record.cache_key();
        let record = RecordKey::variant(1, &key, &VariantKey::restored(Vec::new()));
        let body = Body::new(record, PackedHead::of(&head), Bytes::from("x"), None, None);
        (key, Arc::new(body))
    }

    fn body(key: &RecordKey, head: StoredHead) -> Record {
        let text = Bytes::copy_from_slice(key.as_ref().variant);
        Record::Variant(Arc::new(Body::new(key.clone(), PackedHead::of(&head), text, None, None)))
    }

    /// Scenario 4.5: keys are compared in full, so that a collision is a miss.
    /// Feature keyed-hash.
    #[test]
    fn a_collision_of_hashes_is_a_miss() {
        let lifecycle = DefaultLifecycle::default();
        let cache = Cache::with(64, 1 << 20, ByWeight, Collide, lifecycle);
        let (mine, head) = response("/a", "x");
        cache.insert(mine.clone(), body(&mine, head.clone()));
        let others = [
            response("/a", "y").0,
            response("/b", "x").0,
            RecordKey { generation: 2, ..mine.clone() },
            mine.of_resource(),
        ];
        for other in &others {
            assert!(cache.get(other).is_none());
            assert!(cache.get(&other.as_ref()).is_none());
            cache.insert(other.clone(), body(&mine, head.clone()));
            cache.remove(other);
        }
        let Some(Record::Variant(found)) = cache.get(&mine.as_ref()) else { panic!("it is there") };
        assert_eq!(found.bytes, mine.as_ref().variant);
    }
}
