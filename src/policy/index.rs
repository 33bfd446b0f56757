use std::ops::Deref;

use http::HeaderMap;

use super::{
    CacheKey, Lookup, StoredHead,
    inline::InlineBytes,
    secret::Secret,
    variants::{NameSet, Selecting, VariantId, VariantKey},
};

/// How many variants of one resource may be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VariantBound {
    /// So many, oldest replaced.
    Count(usize),
    /// As many as fit into a share of the store's bytes; over it, new ones are not stored.
    Share,
    /// As many as fit into so many bytes together with all else of the key's
    /// [partition](CacheKey::partition), variants or not; over it, nothing new of it is stored.
    Quota(u64),
}

/// The record under a resource's key: the name sets that its `Vary` fields had, newest first, and
/// the generation that all of its variants belong to. Never the variants themselves, so that its
/// size does not depend on their number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Index {
    generation: u64,
    sets: Vec<NameSet>,
    ring: Vec<VariantId>,
    recent: Vec<Recent>,
}

/// A variant that was stored a short while ago.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Recent {
    pub(crate) names: NameSet,
    pub(crate) variant: VariantKey,
}

/// So many are known, of those whose key is not longer than this.
const MAX_RECENT: usize = 4;
const MAX_RECENT_KEY: usize = 192;

/// An origin that changes its `Vary` all the time leaves older variants behind.
const MAX_SETS: usize = 4;

impl Index {
    /// An empty index. `generation` must be one that this resource never had in this store.
    pub fn new(generation: u64) -> Self {
        Self { generation, sets: Vec::new(), ring: Vec::new(), recent: Vec::new() }
    }

    /// The index of a resource that has one response, without `Vary`.
    #[cfg(feature = "memory")]
    pub(crate) fn plain(generation: u64) -> Self {
        Self { sets: vec![NameSet::none()], ..Self::new(generation) }
    }

    /// Whether it is no more than that.
    #[cfg(feature = "memory")]
    pub(crate) fn is_plain(&self) -> bool {
        let is_only_set = matches!(&*self.sets, [names] if names.is_empty());
        is_only_set && self.ring.is_empty() && self.recent.is_empty()
    }

    /// An index that was kept: `None` if it has more sets than one may have.
    #[cfg(feature = "codec")]
    pub(crate) fn restored(
        generation: u64,
        sets: Vec<NameSet>,
        ring: Vec<VariantId>,
        recent: Vec<Recent>,
    ) -> Option<Self> {
        let fits = sets.len() <= MAX_SETS && recent.len() <= MAX_RECENT;
        fits.then_some(Self { generation, sets, ring, recent })
    }

    /// The variants that were stored last, newest first.
    #[cfg(feature = "codec")]
    pub(crate) fn recent(&self) -> &[Recent] {
        &self.recent
    }

    /// The variants that are counted, oldest first.
    #[cfg(feature = "codec")]
    pub(crate) fn ring(&self) -> &[VariantId] {
        &self.ring
    }

    /// The generation that a variant's record must carry to be found.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// The name sets, newest first, at most four.
    #[inline]
    pub fn sets(&self) -> &[NameSet] {
        &self.sets
    }

    /// The size of this record in bytes, as it counts towards a limit.
    pub fn weight(&self) -> usize {
        let names: usize = self.sets.iter().map(|set| 24 + 32 * set.iter().count()).sum();
        let recent: usize = self
            .recent
            .iter()
            .map(|recent| size_of::<Recent>() + recent.variant.as_bytes().len())
            .sum();
        size_of::<Self>() + names + recent + size_of::<VariantId>() * self.ring.capacity()
    }

    /// Enters the variant that is being stored, and names those that have to go for it.
    #[must_use = "evicted variants have to be removed"]
    pub fn admit(&mut self, placement: &Placement) -> Vec<VariantId> {
        let names = &placement.names;
        if self.sets.first() != Some(names) {
            self.sets.retain(|set| set != names);
            self.sets.reserve_exact(1);
            self.sets.insert(0, names.clone());
            self.sets.truncate(MAX_SETS);
        }
        self.remember(placement);
        let VariantBound::Count(bound) = placement.bound else { return Vec::new() };
        if placement.variant.is_plain() {
            return Vec::new();
        }
        let id = placement.variant.id();
        self.ring.retain(|old| *old != id);
        let surplus = (self.ring.len() + 1).saturating_sub(bound.max(1));
        let evicted = self.ring.drain(..surplus).collect();
        self.ring.reserve_exact(1);
        self.ring.push(id);
        evicted
    }

    fn remember(&mut self, placement: &Placement) {
        let Placement { names, variant, .. } = placement;
        let sets = &self.sets;
        self.recent.retain(|recent| recent.variant != *variant && sets.contains(&recent.names));
        if !variant.is_plain() && variant.as_bytes().len() <= MAX_RECENT_KEY {
            self.recent.truncate(MAX_RECENT - 1);
            self.recent.reserve_exact(1);
            self.recent.insert(0, Recent { names: names.clone(), variant: variant.clone() });
        }
    }
}

/// What a look-up wants: a resource, and of each of its name sets the variant that the request
/// selects.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    pub(super) key: &'a CacheKey,
    pub(super) by: By<'a>,
}

/// What selects.
#[derive(Clone, Copy, Debug)]
pub(super) enum By<'a> {
    /// A request with these fields.
    Request { lookup: &'a Lookup<'a>, headers: &'a HeaderMap, secret: &'a Secret },
    /// One variant, whoever asks.
    Variant(&'a VariantKey),
}

impl<'a> Wanted<'a> {
    /// The resource.
    #[inline]
    pub fn key(&self) -> &'a CacheKey {
        self.key
    }

    /// At most one variant for each name set of `index`, in its order.
    pub fn select<'i>(&self, index: &'i Index) -> impl Iterator<Item = VariantKey> + use<'i, 'a> {
        self.encoded(index).map(|variant| VariantKey::of(&variant))
    }

    /// The same, for a look-up that needs no more than the encodings: most take no allocation.
    pub(crate) fn encoded<'i>(
        &self,
        index: &'i Index,
    ) -> impl Iterator<Item = impl Deref<Target = [u8]> + use<>> + use<'i, 'a> {
        let selecting = self.selecting();
        let variant = match self.by {
            By::Request { .. } => None,
            By::Variant(variant) => Some(InlineBytes::of(variant.as_bytes())),
        };
        let encoded = move |names: &NameSet| selecting.map(|selecting| names.encode(&selecting));
        index.sets.iter().filter_map(encoded).chain(variant)
    }

    /// Where the request selects nothing: those of the variants stored last, at most four, that
    /// may still be an answer to it. They are entered with
    /// [`Found::others`](crate::storage::Found::others), and the policy sends the origin their
    /// validators (RFC 9111 §4.3.1).
    pub fn others<'i>(&self, index: &'i Index) -> impl Iterator<Item = VariantKey> + use<'i, 'a> {
        // Who is told apart, by credentials or by choice, gets nothing that was made for others.
        let selecting = self.selecting().filter(|selecting| selecting.apart.is_none());
        let is_fit = move |recent: &&Recent| {
            selecting.is_some_and(|selecting| {
                !recent.names.names_credentials()
                    && selecting.may_take(&recent.names, &recent.variant)
            })
        };
        index.recent.iter().filter(is_fit).map(|recent| recent.variant.clone())
    }

    /// Whether a response that is the only one of its resource, and has no `Vary`, is selected
    /// without looking at the request.
    #[cfg(any(feature = "disk", feature = "memory"))]
    #[inline]
    pub(crate) fn takes_plain(&self) -> bool {
        match self.by {
            By::Request { lookup, .. } => lookup.apart.is_none(),
            By::Variant(variant) => variant.is_plain(),
        }
    }

    /// One variant of a resource, whatever a request would select.
    pub(crate) fn exactly(key: &'a CacheKey, variant: &'a VariantKey) -> Self {
        Self { key, by: By::Variant(variant) }
    }

    /// Where a stored response that this found belongs, to be stored once more: `None` if the request
    /// does not select it at `variant`.
    pub(crate) fn place_again(&self, head: &StoredHead, variant: &VariantKey) -> Option<Placement> {
        let By::Request { lookup, headers, secret } = self.by else { return None };
        let selecting = lookup.selecting(headers, secret);
        let names = NameSet::of(head.headers(), selecting.unvaried).ok()?;
        let placement = Placement::new(self.key, &selecting, names, lookup.bound());
        (placement.variant == *variant).then_some(placement)
    }

    fn selecting(&self) -> Option<Selecting<'a>> {
        match self.by {
            By::Request { lookup, headers, secret } => Some(lookup.selecting(headers, secret)),
            By::Variant(_) => None,
        }
    }
}

/// Where a response belongs: its resource, its variant, and how many of those there may be.
#[derive(Clone, Debug)]
pub struct Placement {
    key: CacheKey,
    names: NameSet,
    variant: VariantKey,
    bound: VariantBound,
}

impl Placement {
    pub(super) fn new(
        key: &CacheKey,
        selecting: &Selecting<'_>,
        names: NameSet,
        bound: VariantBound,
    ) -> Self {
        let variant = names.select(selecting);
        Self { key: key.clone(), names, variant, bound }
    }

    /// The resource.
    pub fn key(&self) -> &CacheKey {
        &self.key
    }

    pub(super) fn names(&self) -> &NameSet {
        &self.names
    }

    /// The variant.
    pub fn variant(&self) -> &VariantKey {
        &self.variant
    }

    /// Whether it is all that there is of its resource, as far as it knows, and counts nowhere.
    #[cfg(feature = "memory")]
    pub(crate) fn is_alone(&self) -> bool {
        let is_counted = matches!(self.bound, VariantBound::Quota(_));
        self.names.is_empty() && self.variant.is_plain() && !is_counted
    }

    /// How many variants of the resource may be kept.
    pub fn bound(&self) -> VariantBound {
        self.bound
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderName, HeaderValue, header};

    use super::*;

    fn placement(vary: &'static str, value: &str, bound: VariantBound) -> Placement {
        let mut request = HeaderMap::new();
        request.insert("a", HeaderValue::from_str(value).unwrap());
        let head = http::Request::get("http://a.example/").body(()).unwrap().into_parts().0;
        let key = CacheKey::of(&crate::Policy::shared().rules, &head).unwrap();
        let vary = HeaderMap::from_iter([(header::VARY, HeaderValue::from_static(vary))]);
        let names = NameSet::of(&vary, &[]).unwrap();
        let secret = Secret::from_bytes([1; 32]);
        let selecting = Selecting::plain(&request, &secret);
        Placement::new(&key, &selecting, names, bound)
    }

    #[test]
    fn an_index_keeps_four_name_sets_newest_first() {
        let mut index = Index::new(7);
        for vary in ["a", "b", "c", "a", "d", "e", ""] {
            assert!(index.admit(&placement(vary, "x", VariantBound::Share)).is_empty());
        }
        let sets: Vec<Vec<_>> =
            index.sets().iter().map(|set| set.iter().map(HeaderName::as_str).collect()).collect();
        assert_eq!(sets, [vec![], vec!["e"], vec!["d"], vec!["a"]]);
        assert_eq!(index.generation(), 7);
    }

    #[test]
    fn a_bound_by_count_evicts_the_oldest_variant() {
        let mut index = Index::new(1);
        let place = |n: usize| placement("a", &n.to_string(), VariantBound::Count(64));
        let mut evicted = Vec::new();
        for n in 0..10_000 {
            evicted.extend(index.admit(&place(n)));
        }
        assert_eq!(evicted.len(), 9_936);
        assert_eq!(evicted[0], place(0).variant().id());
        // Storing one again makes it the newest and evicts nobody.
        assert!(index.admit(&place(9_936)).is_empty());
        assert_eq!(index.admit(&place(1)), [place(9_937).variant().id()]);
        assert!(index.weight() <= 2 * 1024 + size_of::<Index>(), "{}", index.weight());
    }
}
