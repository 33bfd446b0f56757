use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, header};

use super::{
    Reason, Secret, fields,
    inline::{Draft, InlineBytes},
    normal::{self, Forms, Languages},
};

/// A set of field names that a `Vary` named: in lower case, sorted, each once.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct NameSet(Arc<[HeaderName]>);

/// More names than this and the response is not stored.
const MAX_NAMES: usize = 16;

impl NameSet {
    /// The names of a response's `Vary` (RFC 9110 §12.5.5) but those that are not to count, or why it
    /// matches nothing.
    pub(super) fn of(headers: &HeaderMap, unvaried: &[HeaderName]) -> Result<Self, Reason> {
        let mut names = Vec::new();
        for member in fields::list(headers, &header::VARY) {
            // A member that is no field name asks for something that we cannot compare.
            let name = HeaderName::from_bytes(member).map_err(|_| Reason::VaryStar)?;
            if member == b"*" {
                return Err(Reason::VaryStar);
            }
            if names.contains(&name) || unvaried.contains(&name) {
                continue;
            }
            if names.len() == MAX_NAMES {
                return Err(Reason::VaryTooLong);
            }
            names.push(name);
        }
        names.sort_unstable_by(|a: &HeaderName, b| a.as_str().cmp(b.as_str()));
        // Most are empty, each stored response has one, and the default takes no memory.
        Ok(Self(if names.is_empty() { Arc::default() } else { names.into() }))
    }

    /// That of a response without `Vary`.
    pub(super) fn none() -> Self {
        Self(Arc::default())
    }

    /// A set that was kept: `None` if it is not in the form that [`of`](Self::of) gives it.
    #[cfg(feature = "codec")]
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

    /// The normalised values that the request has for these names (RFC 9111 §4.1), and what tells it
    /// apart beside them.
    pub(super) fn select(&self, selecting: &Selecting<'_>) -> VariantKey {
        VariantKey::of(&self.encode(selecting))
    }

    /// What the key of that variant encodes.
    pub(super) fn encode(&self, selecting: &Selecting<'_>) -> InlineBytes {
        let mut key = InlineBytes::EMPTY;
        key.write(0, |out| self.write(selecting, out));
        key
    }

    fn write(&self, selecting: &Selecting<'_>, out: &mut Draft<'_>) {
        let Selecting { request, secret, .. } = *selecting;
        if let Some(apart) = selecting.apart {
            out.put(&Value::APART);
            out.put(&secret.digest(apart));
        }
        for name in self.iter() {
            push(out, name.as_str().as_bytes());
            if !request.contains_key(name) {
                out.push(Value::ABSENT);
            } else if is_credential(name) {
                // To the byte: who may be told apart is not ours to say.
                let (mut value, lines) = (InlineBytes::EMPTY, request.get_all(name).iter());
                value.write(0, |out| lines.for_each(|line| push(out, line.as_bytes())));
                out.push(Value::DIGEST);
                out.put(&secret.digest(&value));
            } else {
                out.push(Value::PLAIN);
                let at = out.len();
                out.put(&[0; 4]);
                normal::write(request, name, selecting.forms, out);
                if let Some((length, value)) = out.since(at).split_first_chunk_mut() {
                    *length = length_of(value);
                }
            }
        }
    }
}

/// Marks before the values inside a variant key.
struct Value;

impl Value {
    const ABSENT: u8 = 0;
    const PLAIN: u8 = 1;
    const DIGEST: u8 = 2;
    /// Where the length of a name would stand, and none is so long.
    const APART: [u8; 4] = [0xff; 4];
}

/// What of a request selects among variants.
#[derive(Clone, Copy, Debug)]
pub(super) struct Selecting<'a> {
    pub(super) request: &'a HeaderMap,
    pub(super) secret: &'a Secret,
    pub(super) forms: Forms,
    /// Names in `Vary` that do not count.
    pub(super) unvaried: &'a [HeaderName],
    /// What tells the request apart beside what `Vary` names.
    pub(super) apart: Option<&'a [u8]>,
}

impl<'a> Selecting<'a> {
    /// Whether a variant that this request does not select may still be what it wants. Where languages
    /// are normalised, only one that differs in nothing else.
    pub(super) fn may_take(&self, names: &NameSet, variant: &VariantKey) -> bool {
        self.forms.languages == Languages::InOrder
            || !names.iter().any(|name| *name == header::ACCEPT_LANGUAGE)
            || names.select(self).differs_only_in(variant, &header::ACCEPT_LANGUAGE)
    }

    #[cfg(test)]
    pub(super) fn plain(request: &'a HeaderMap, secret: &'a Secret) -> Self {
        Self { request, secret, forms: Forms::default(), unvaried: &[], apart: None }
    }
}

fn is_credential(name: &HeaderName) -> bool {
    [header::AUTHORIZATION, header::PROXY_AUTHORIZATION, header::COOKIE].contains(name)
}

fn push(out: &mut Draft<'_>, bytes: &[u8]) {
    out.put(&length_of(bytes));
    out.put(bytes);
}

fn length_of(bytes: &[u8]) -> [u8; 4] {
    u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_le_bytes()
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

    /// Whether both differ in nothing but their values for `name`.
    pub(super) fn differs_only_in(&self, other: &Self, name: &HeaderName) -> bool {
        let without = |key: &Self| -> Option<Vec<Vec<u8>>> {
            let components = Components::of(&key.0)?;
            let kept = components.filter(|(own, _)| *own != name.as_str().as_bytes());
            Some(kept.map(|(name, value)| [name, b"=", value].concat()).collect())
        };
        Components::apart(&self.0) == Components::apart(&other.0)
            && matches!((without(self), without(other)), (Some(a), Some(b)) if a == b)
    }

    /// A key that was kept.
    #[cfg(any(feature = "codec", feature = "memory"))]
    pub(crate) fn restored(bytes: Vec<u8>) -> Self {
        Self(bytes.into())
    }

    /// In memory of exact size.
    pub(super) fn of(encoding: &[u8]) -> Self {
        Self(Bytes::copy_from_slice(encoding))
    }

    /// The encoding, to be compared in full.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The name of this variant in an [`Index`](super::Index).
    pub fn id(&self) -> VariantId {
        let mut id = [0; 16];
        id.copy_from_slice(&blake3::hash(&self.0).as_bytes()[..16]);
        VariantId(id)
    }
}

/// The names of a variant key, each with its mark and value.
struct Components<'a>(&'a [u8]);

impl<'a> Components<'a> {
    fn of(key: &'a [u8]) -> Option<Self> {
        Some(Self(key.get(Self::apart(key).len()..)?))
    }

    /// What stands before the names.
    fn apart(key: &'a [u8]) -> &'a [u8] {
        let length = if key.starts_with(&Value::APART) { Value::APART.len() + 32 } else { 0 };
        key.get(..length).unwrap_or(key)
    }
}

impl<'a> Iterator for Components<'a> {
    type Item = (&'a [u8], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let (length, rest) = self.0.split_first_chunk::<4>()?;
        let (name, rest) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
        let length = match *rest.first()? {
            Value::ABSENT => 1,
            Value::DIGEST => 1 + 32,
            _ => 5 + u32::from_le_bytes(*rest.get(1..)?.first_chunk()?) as usize,
        };
        let (value, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some((name, value))
    }
}

/// A variant's name in the ring of an [`Index`](super::Index): 128 bits of BLAKE3.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct VariantId([u8; 16]);

impl VariantId {
    #[cfg(feature = "codec")]
    pub(crate) fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// To name what lies under it.
    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

#[cfg(test)]
mod tests;
