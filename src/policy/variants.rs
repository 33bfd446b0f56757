use std::{fmt, sync::Arc};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, header};

use super::{CacheKey, Reason, fields};

/// The secret under which a store's variant keys hide credentials.
///
/// Whoever can read a store learns from a variant's key that two requests carried the same token,
/// and not which.
#[derive(Clone)]
pub struct Secret([u8; 32]);

impl Secret {
    /// A secret that was kept, for stores that outlive the process or are shared.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    fn digest(&self, value: &[u8]) -> [u8; 32] {
        *blake3::keyed_hash(&self.0, value).as_bytes()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// A set of field names that a `Vary` named: in lower case, sorted, each once.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct NameSet(Arc<[HeaderName]>);

/// More names than this and the response is not stored.
const MAX_NAMES: usize = 16;

impl NameSet {
    /// The names of a response's `Vary` (RFC 9110 §12.5.5), or why it matches nothing.
    pub(super) fn of(headers: &HeaderMap) -> Result<Self, Reason> {
        let mut names = Vec::new();
        for member in fields::list(headers, &header::VARY) {
            // A member that is no field name asks for something that we cannot compare.
            let name = HeaderName::from_bytes(member).map_err(|_| Reason::VaryStar)?;
            if member == b"*" {
                return Err(Reason::VaryStar);
            }
            if names.len() == MAX_NAMES && !names.contains(&name) {
                return Err(Reason::VaryTooLong);
            }
            if !names.contains(&name) {
                names.push(name);
            }
        }
        names.sort_unstable_by(|a: &HeaderName, b| a.as_str().cmp(b.as_str()));
        Ok(Self(names.into()))
    }

    /// A set that was kept: `None` if it is not in the form that [`of`](Self::of) gives it.
    #[cfg(feature = "disk")]
    pub(crate) fn restored(names: Vec<HeaderName>) -> Option<Self> {
        let is_sorted = names.is_sorted_by(|a, b| a.as_str() < b.as_str());
        (names.len() <= MAX_NAMES && is_sorted).then(|| Self(names.into()))
    }

    /// Whether the response is the same for every request.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The names.
    pub fn iter(&self) -> impl Iterator<Item = &HeaderName> {
        self.0.iter()
    }

    pub(super) fn names_credentials(&self) -> bool {
        self.0.iter().any(is_credential)
    }

    /// The normalised values that `request` has for these names (RFC 9111 §4.1).
    fn select(&self, request: &HeaderMap, secret: &Secret) -> VariantKey {
        if self.is_empty() {
            return VariantKey(Bytes::new());
        }
        let mut out = Vec::with_capacity(64);
        for name in self.iter() {
            push(&mut out, name.as_str().as_bytes());
            if !request.contains_key(name) {
                out.push(Value::ABSENT);
            } else if is_credential(name) {
                // To the byte: who may be told apart is not ours to say.
                let mut value = Vec::new();
                request.get_all(name).iter().for_each(|line| push(&mut value, line.as_bytes()));
                out.push(Value::DIGEST);
                out.extend_from_slice(&secret.digest(&value));
            } else {
                out.push(Value::PLAIN);
                let at = out.len();
                out.extend_from_slice(&[0; 4]);
                normalise(request, name, &mut out);
                let length = u32::try_from(out.len() - at - 4).unwrap_or(u32::MAX);
                out[at..at + 4].copy_from_slice(&length.to_le_bytes());
            }
        }
        VariantKey(out.into())
    }
}

/// Marks before the values inside a variant key.
struct Value;

impl Value {
    const ABSENT: u8 = 0;
    const PLAIN: u8 = 1;
    const DIGEST: u8 = 2;
}

fn is_credential(name: &HeaderName) -> bool {
    [header::AUTHORIZATION, header::PROXY_AUTHORIZATION, header::COOKIE].contains(name)
}

fn push(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(&u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_le_bytes());
    out.extend_from_slice(bytes);
}

/// Lines joined and white space round commas dropped: what RFC 9111 §4.1 allows for any field.
fn normalise(request: &HeaderMap, name: &HeaderName, out: &mut Vec<u8>) {
    let start = out.len();
    for member in fields::list(request, name) {
        if out.len() > start {
            out.push(b',');
        }
        out.extend_from_slice(member);
    }
    if *name == header::ACCEPT_LANGUAGE {
        // Language ranges are case-insensitive (RFC 9110 §12.5.4).
        out[start..].make_ascii_lowercase();
    }
}

/// What tells one variant of a resource from another: the names that `Vary` gave and the request's
/// normalised values for them, length-prefixed. Empty for a response without `Vary`.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct VariantKey(Bytes);

impl VariantKey {
    /// Whether this is the one response of a resource without `Vary`.
    pub fn is_plain(&self) -> bool {
        self.0.is_empty()
    }

    /// The encoding, to be compared in full.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The name of this variant in an [`Index`].
    pub fn id(&self) -> VariantId {
        let mut id = [0; 16];
        id.copy_from_slice(&blake3::hash(&self.0).as_bytes()[..16]);
        VariantId(id)
    }
}

/// A variant's name in the ring of an [`Index`]: 128 bits of BLAKE3.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct VariantId([u8; 16]);

#[cfg(feature = "disk")]
impl VariantId {
    pub(crate) fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    pub(crate) fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

/// How many variants of one resource may be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VariantBound {
    /// So many, oldest replaced.
    Count(usize),
    /// As many as fit into a share of the store's bytes; over it, new ones are not stored.
    Share,
}

/// The record under a resource's key: the name sets that its `Vary` fields had, newest first, and
/// the generation that all of its variants belong to. Never the variants themselves, so that its
/// size does not depend on their number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Index {
    generation: u64,
    sets: Vec<NameSet>,
    ring: Vec<VariantId>,
}

/// An origin that changes its `Vary` all the time leaves older variants behind.
const MAX_SETS: usize = 4;

impl Index {
    /// An empty index. `generation` must be one that this resource never had in this store.
    pub fn new(generation: u64) -> Self {
        Self { generation, sets: Vec::new(), ring: Vec::new() }
    }

    /// An index that was kept: `None` if it has more sets than one may have.
    #[cfg(feature = "disk")]
    pub(crate) fn restored(
        generation: u64,
        sets: Vec<NameSet>,
        ring: Vec<VariantId>,
    ) -> Option<Self> {
        (sets.len() <= MAX_SETS).then_some(Self { generation, sets, ring })
    }

    /// The variants that are counted, oldest first.
    #[cfg(feature = "disk")]
    pub(crate) fn ring(&self) -> &[VariantId] {
        &self.ring
    }

    /// The generation that a variant's record must carry to be found.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// The name sets, newest first, at most four.
    pub fn sets(&self) -> &[NameSet] {
        &self.sets
    }

    /// The size of this record in bytes, as it counts towards a limit.
    pub fn weight(&self) -> usize {
        let names: usize = self.sets.iter().map(|set| 24 + 32 * set.0.len()).sum();
        size_of::<Self>() + names + size_of::<VariantId>() * self.ring.capacity()
    }

    /// Enters the variant that is being stored, and names those that have to go for it.
    #[must_use = "evicted variants have to be removed"]
    pub fn admit(&mut self, placement: &Placement) -> Vec<VariantId> {
        let names = &placement.names;
        if self.sets.first() != Some(names) {
            self.sets.retain(|set| set != names);
            self.sets.insert(0, names.clone());
            self.sets.truncate(MAX_SETS);
        }
        let VariantBound::Count(bound) = placement.bound else { return Vec::new() };
        if names.is_empty() {
            return Vec::new();
        }
        let id = placement.variant.id();
        self.ring.retain(|old| *old != id);
        let surplus = (self.ring.len() + 1).saturating_sub(bound.max(1));
        let evicted = self.ring.drain(..surplus).collect();
        self.ring.push(id);
        evicted
    }
}

/// What a look-up wants: a resource, and of each of its name sets the variant that the request
/// selects.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    pub(super) key: &'a CacheKey,
    pub(super) request: &'a HeaderMap,
    pub(super) secret: &'a Secret,
}

impl<'a> Wanted<'a> {
    /// The resource.
    pub fn key(&self) -> &'a CacheKey {
        self.key
    }

    /// At most one variant for each name set of `index`, in its order.
    pub fn select<'i>(&self, index: &'i Index) -> impl Iterator<Item = VariantKey> + use<'i, 'a> {
        let Self { request, secret, .. } = *self;
        index.sets.iter().map(move |names| names.select(request, secret))
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
    pub(super) fn new(wanted: Wanted<'_>, names: NameSet, bound: VariantBound) -> Self {
        let variant = names.select(wanted.request, wanted.secret);
        Self { key: wanted.key.clone(), names, variant, bound }
    }

    /// The resource.
    pub fn key(&self) -> &CacheKey {
        &self.key
    }

    /// The variant.
    pub fn variant(&self) -> &VariantKey {
        &self.variant
    }

    /// How many variants of the resource may be kept.
    pub fn bound(&self) -> VariantBound {
        self.bound
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    type Lines = &'static [(&'static str, &'static str)];

    fn headers(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in lines {
            map.append(*name, HeaderValue::from_static(value));
        }
        map
    }

    fn variant(vary: &'static str, request: &[(&'static str, &'static str)]) -> VariantKey {
        let names = NameSet::of(&headers(&[("vary", vary)])).unwrap();
        names.select(&headers(request), &Secret::from_bytes([1; 32]))
    }

    /// RFC 9110 §12.5.5.
    #[test]
    fn vary_is_a_set_of_names_or_matches_nothing() {
        type Names = Result<&'static [&'static str], Reason>;
        let table: [(&[&str], Names); 10] = [
            (&[], Ok(&[])),
            (&[""], Ok(&[])),
            (&["Accept"], Ok(&["accept"])),
            (&["b, A ,b,,a"], Ok(&["a", "b"])),
            (&["b", "a"], Ok(&["a", "b"])),
            (&["*"], Err(Reason::VaryStar)),
            (&["a, *"], Err(Reason::VaryStar)),
            (&["a", ",*,"], Err(Reason::VaryStar)),
            (&["a b"], Err(Reason::VaryStar)),
            (&["a,b,c,d,e,f,g,h", "i,j,k,l,m,n,o,p,q"], Err(Reason::VaryTooLong)),
        ];
        for (lines, expected) in table {
            let mut map = HeaderMap::new();
            for line in lines {
                map.append("vary", HeaderValue::from_str(line).unwrap());
            }
            let set = NameSet::of(&map);
            let names = set.as_ref().map(|set| set.iter().map(HeaderName::as_str).collect());
            assert_eq!(names.map_err(|reason| *reason), expected.map(<[_]>::to_vec), "{lines:?}");
        }
    }

    /// RFC 9111 §4.1: absent matches absent only, and values match after normalisation.
    #[test]
    fn values_match_after_normalisation() {
        let table: [(&str, Lines, Lines, bool); 11] = [
            ("accept", &[("accept", "a, b")], &[("accept", "a ,b")], true),
            ("accept", &[("accept", "a"), ("accept", "b")], &[("accept", "a,b")], true),
            ("accept", &[("accept", "a,b")], &[("accept", "b,a")], false),
            ("accept", &[], &[], true),
            ("accept", &[], &[("accept", "")], false),
            ("accept", &[("accept", "A")], &[("accept", "a")], false),
            (
                "accept-language",
                &[("accept-language", "EN, de")],
                &[("accept-language", "en,DE")],
                true,
            ),
            ("a, b", &[("a", "x"), ("b", "yz")], &[("a", "xy"), ("b", "z")], false),
            ("a, b", &[("a", "1"), ("b", "2")], &[("a", "2"), ("b", "1")], false),
            ("authorization", &[("authorization", "x")], &[("authorization", "x")], true),
            ("authorization", &[("authorization", "x")], &[("authorization", "y")], false),
        ];
        for (vary, stored, asked, same) in table {
            assert_eq!(
                variant(vary, stored) == variant(vary, asked),
                same,
                "{vary} {stored:?} {asked:?}"
            );
        }
        assert_ne!(variant("a", &[]), variant("b", &[]));
    }

    #[test]
    fn credentials_leave_only_a_keyed_digest() {
        let request = headers(&[("authorization", "Bearer token-1"), ("cookie", "session-1")]);
        let names = NameSet::of(&headers(&[("vary", "cookie, authorization")])).unwrap();
        let key = names.select(&request, &Secret::from_bytes([1; 32]));
        let text = String::from_utf8_lossy(key.as_bytes()).into_owned();
        assert!(!text.contains("token") && !text.contains("session"), "{text}");
        assert_ne!(key, names.select(&request, &Secret::from_bytes([2; 32])));
    }

    fn placement(vary: &'static str, value: &str, bound: VariantBound) -> Placement {
        let mut request = HeaderMap::new();
        request.insert("a", HeaderValue::from_str(value).unwrap());
        let head = http::Request::get("http://a.example/").body(()).unwrap().into_parts().0;
        let key = CacheKey::of(&crate::Policy::shared().rules, &head).unwrap();
        let names = NameSet::of(&headers(&[("vary", vary)])).unwrap();
        let secret = Secret::from_bytes([1; 32]);
        Placement::new(Wanted { key: &key, request: &request, secret: &secret }, names, bound)
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
