use std::fmt;

use bytes::Bytes;
use http::Uri;

use super::authority::Normal;
use crate::policy::inline::{Draft, InlineBytes};

/// What a response is stored under: namespace, partition, and the URI that the client asked for
/// (RFC 9111 §2).
///
/// The encoding is length-prefixed, so that no component can be shaped to look like another, and it
/// is compared in full.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CacheKey(pub(super) InlineBytes);

/// Of the encoding, for stores that outlive a build.
pub(super) const VERSION: u8 = 1;
const COMPONENTS: usize = 5;

impl CacheKey {
    /// To be [written](Self::write).
    pub(crate) const BLANK: Self = Self(InlineBytes::EMPTY);

    /// The key of another URI of the same origin, namespace and partition; `path` with its query.
    pub(in crate::policy) fn sibling(&self, path: &str) -> Self {
        let [namespace, partition, scheme, authority, _] = self.components();
        Self::encode([namespace, partition, scheme, authority, path.as_bytes()])
    }

    pub(super) fn encode(components: [&[u8]; COMPONENTS]) -> Self {
        let mut key = Self::BLANK;
        key.0.write(room_for(components.map(<[u8]>::len)), |out| {
            out.push(VERSION);
            for component in components {
                write_length(out, component.len());
                out.put(component);
            }
        });
        key
    }

    /// The key that `bytes` encode, `None` if they are not an encoding of this version.
    ///
    /// For stores that read it back.
    pub fn from_bytes(bytes: Bytes) -> Option<Self> {
        let (&version, mut rest) = bytes.split_first()?;
        if version != VERSION {
            return None;
        }
        for _ in 0..COMPONENTS {
            let (length, behind) = read_length(rest)?;
            let component = behind.get(..length)?;
            std::str::from_utf8(component).ok()?;
            rest = behind.get(length..)?;
        }
        rest.is_empty().then(|| Self(bytes.into()))
    }

    /// A key that [`as_bytes`](Self::as_bytes) gave.
    #[cfg(feature = "memory")]
    pub(crate) fn kept(bytes: &[u8]) -> Self {
        Self(InlineBytes::of(bytes))
    }

    /// The encoding.
    #[inline]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The namespace, if the policy gave one.
    pub fn namespace(&self) -> Option<&str> {
        optional(self.text(0))
    }

    /// The partition, if the policy gave one.
    #[inline]
    pub fn partition(&self) -> Option<&str> {
        // Asked at each hit, and most keys have none: its length is the second.
        let (namespace, rest) = read_length(self.0.get(1..)?)?;
        match rest.get(namespace)? {
            0 => None,
            _ => optional(self.text(1)),
        }
    }

    /// The scheme in lower case.
    pub fn scheme(&self) -> &str {
        self.text(2)
    }

    /// Host and port: in lower case, without a final dot, without the scheme's own port.
    pub fn authority(&self) -> &str {
        self.text(3)
    }

    /// Path and query as they were asked for.
    pub fn path_and_query(&self) -> &str {
        self.text(4)
    }

    /// The URI, without namespace and partition: those may say who asks.
    pub fn to_url(&self) -> String {
        format!("{}://{}{}", self.scheme(), self.authority(), self.path_and_query())
    }

    /// Whether `uri` has this key's scheme and authority (RFC 9110 §4.3.1).
    pub(in crate::policy) fn is_origin_of(&self, uri: &Uri) -> bool {
        let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
            return false;
        };
        let ours = Normal::of(self.authority(), self.scheme());
        let theirs = Normal::of(authority.as_str(), scheme);
        scheme.eq_ignore_ascii_case(self.scheme())
            && matches!((ours, theirs), (Ok(ours), Ok(theirs)) if ours == theirs)
    }

    /// What all keys of its namespace and partition have in common, and no other has.
    #[cfg(any(feature = "memory", feature = "disk"))]
    pub(crate) fn owner(&self) -> &[u8] {
        let rest = self.0.get(1..).unwrap_or_default();
        let behind = (0..2).try_fold(rest, |rest, _| {
            let (length, behind) = read_length(rest)?;
            behind.get(length..)
        });
        &self.0[..self.0.len() - behind.unwrap_or_default().len()]
    }

    fn text(&self, index: usize) -> &str {
        std::str::from_utf8(self.components()[index]).unwrap_or_default()
    }

    pub(super) fn components(&self) -> [&[u8]; COMPONENTS] {
        let mut rest = self.0.get(1..).unwrap_or_default();
        std::array::from_fn(|_| {
            let (length, behind) = read_length(rest).unwrap_or((0, &[]));
            let (component, behind) = behind.split_at(length.min(behind.len()));
            rest = behind;
            component
        })
    }
}

/// Shows the URI, with namespace and partition before it where there are any.
impl fmt::Debug for CacheKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for part in [self.namespace(), self.partition()].into_iter().flatten() {
            write!(f, "[{part}] ")?;
        }
        f.write_str(&self.to_url())
    }
}

/// Before a namespace or partition that is there: an empty one is not the same as none.
pub(super) const MARK: u8 = b'=';

#[inline]
pub(super) fn room_for(lengths: [usize; COMPONENTS]) -> usize {
    let long = lengths.iter().filter(|length| **length >= usize::from(LONG)).count();
    1 + COMPONENTS + 4 * long + lengths.iter().sum::<usize>()
}

#[inline]
pub(super) fn write_length(out: &mut Draft<'_>, length: usize) {
    match u8::try_from(length) {
        Ok(length) if length < LONG => out.push(length),
        _ => {
            out.push(LONG);
            out.put(&u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes());
        }
    }
}

#[inline]
pub(super) fn write_marked(out: &mut Draft<'_>, mark: u8, text: Option<&str>) {
    if let Some(text) = text {
        out.push(mark);
        out.put(text.as_bytes());
    }
}

/// A length below this is one byte; a longer one is this byte and four more.
const LONG: u8 = 0xff;

fn read_length(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let (&first, rest) = bytes.split_first()?;
    if first < LONG {
        return Some((usize::from(first), rest));
    }
    let (length, rest) = rest.split_first_chunk::<4>()?;
    Some((u32::from_le_bytes(*length) as usize, rest))
}

fn optional(text: &str) -> Option<&str> {
    text.strip_prefix(char::from(MARK))
}
