use std::fmt;

use bytes::Bytes;
use http::{
    HeaderMap, Uri, header, request,
    uri::{Authority, PathAndQuery},
};

use super::{
    Reason, fields,
    inline::{Draft, InlineBytes},
    options::Rules,
};

/// What a response is stored under: namespace, partition, and the URI that the client asked for
/// (RFC 9111 §2).
///
/// The encoding is length-prefixed, so that no component can be shaped to look like another, and it
/// is compared in full.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CacheKey(InlineBytes);

/// Of the encoding, for stores that outlive a build.
const VERSION: u8 = 1;
const COMPONENTS: usize = 5;

impl CacheKey {
    /// To be [written](Self::write).
    pub(crate) const BLANK: Self = Self(InlineBytes::EMPTY);

    /// The key of a request; the method is not part of it, since only GET and HEAD look.
    #[cfg(test)]
    pub(super) fn of(rules: &Rules, head: &request::Parts) -> Result<Self, Reason> {
        let mut key = Self::BLANK;
        key.write(rules, head, single_host(&head.headers)?)?;
        Ok(key)
    }

    /// Writes the key of a request here, which has this `Host`.
    pub(super) fn write(
        &mut self,
        rules: &Rules,
        head: &request::Parts,
        host: Option<&str>,
    ) -> Result<(), Reason> {
        let target = rules.target.as_ref().and_then(|target| target(head));
        let uri = target.as_ref().unwrap_or(&head.uri);
        let scheme = uri.scheme_str().or_else(|| head.uri.scheme_str());
        let scheme = scheme.unwrap_or(&rules.default_scheme);
        // All that name the authority must agree, also where the target is taken from a hook.
        let own = target.as_ref().and_then(|_| head.uri.authority()).map(Authority::as_str);
        let named = uri.authority().map(Authority::as_str).or(own).or(host);
        let Some(named) = named.or(rules.default_authority.as_deref()) else {
            return Err(Reason::NoAuthority);
        };
        let authority = Normal::of(named, scheme)?;
        for other in [own, host].into_iter().flatten() {
            // The very same text needs no second look.
            if other != named && Normal::of(other, scheme)? != authority {
                return Err(Reason::Authority);
            }
        }
        let partition = rules.partition.as_ref().and_then(|partition| partition(head));
        let (namespace, partition) = (rules.namespace.as_deref(), partition.as_deref());
        let (path, query) = (rules.keyed_path(uri.path()), rules.query.apply(uri.query()));
        let (path, query) = (if path.is_empty() { "/" } else { &*path }, query.as_deref());
        let marked = |text: Option<&str>| text.map_or(0, |text| 1 + text.len());
        let lengths = [
            marked(namespace),
            marked(partition),
            scheme.len(),
            authority.length(),
            path.len() + marked(query),
        ];

        self.0.write(room_for(lengths), |out| {
            out.push(VERSION);
            write_length(out, lengths[0]);
            write_marked(out, MARK, namespace);
            write_length(out, lengths[1]);
            write_marked(out, MARK, partition);
            write_length(out, lengths[2]);
            let start = out.len();
            out.put(scheme.as_bytes());
            out.since(start).make_ascii_lowercase();
            write_length(out, lengths[3]);
            authority.write(out)?;
            write_length(out, lengths[4]);
            out.put(path.as_bytes());
            write_marked(out, b'?', query);
            Ok(())
        })
    }

    /// The same where no rule has anything to change, as with nearly all. `false`: one may have, and
    /// nothing of use was written.
    #[inline]
    pub(super) fn write_usual(
        &mut self,
        rules: &Rules,
        head: &request::Parts,
        has_host: bool,
    ) -> bool {
        if !rules.keys_as_it_came() {
            return false;
        }
        let (begin, length) = match head.uri.scheme_str().unwrap_or(&rules.default_scheme) {
            "http" => (b"\x01\0\0\x04http\0", 8),
            "https" => (b"\x01\0\0\x05https", 9),
            _ => return false,
        };
        let authority = match (head.uri.authority(), has_host) {
            (Some(authority), false) => authority.as_str().as_bytes(),
            (named, true) => match single_host(&head.headers) {
                Ok(Some(host)) if named.is_none_or(|named| named.as_str() == host) => {
                    host.as_bytes()
                }
                _ => return false,
            },
            (None, false) => return false,
        };
        let path = head.uri.path_and_query().map_or("", PathAndQuery::as_str).as_bytes();
        let is_usual = |byte: &u8| LOWER[usize::from(*byte)] == *byte && *byte != 0;
        if !path.starts_with(b"/")
            || matches!(authority, [] | [.., b'.'])
            || !authority.iter().all(is_usual)
        {
            return false;
        }
        let whole = length + 1 + authority.len() + 1 + path.len();
        let Some(room) = self.0.room(whole) else { return false };
        let (room, of_path) = room.split_at_mut(whole - path.len());
        of_path.copy_from_slice(path);
        let (room, of_authority) = room.split_at_mut(length + 1);
        if let [named @ .., last] = of_authority {
            named.copy_from_slice(authority);
            // None is longer than the room.
            *last = path.len() as u8;
        }
        room[..begin.len()].copy_from_slice(begin);
        room[length] = authority.len() as u8;
        true
    }

    /// The key of another URI of the same origin, namespace and partition; `path` with its query.
    pub(super) fn sibling(&self, path: &str) -> Self {
        let [namespace, partition, scheme, authority, _] = self.components();
        Self::encode([namespace, partition, scheme, authority, path.as_bytes()])
    }

    fn encode(components: [&[u8]; COMPONENTS]) -> Self {
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
    pub(super) fn is_origin_of(&self, uri: &Uri) -> bool {
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

    fn components(&self) -> [&[u8]; COMPONENTS] {
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
const MARK: u8 = b'=';

#[inline]
fn room_for(lengths: [usize; COMPONENTS]) -> usize {
    let long = lengths.iter().filter(|length| **length >= usize::from(LONG)).count();
    1 + COMPONENTS + 4 * long + lengths.iter().sum::<usize>()
}

#[inline]
fn write_length(out: &mut Draft<'_>, length: usize) {
    match u8::try_from(length) {
        Ok(length) if length < LONG => out.push(length),
        _ => {
            out.push(LONG);
            out.put(&u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes());
        }
    }
}

#[inline]
fn write_marked(out: &mut Draft<'_>, mark: u8, text: Option<&str>) {
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

/// The one `Host` of a request; more than one, or one that cannot be read, is a conflict
/// (RFC 9112 §3.2).
pub(super) fn single_host(headers: &HeaderMap) -> Result<Option<&str>, Reason> {
    let mut lines = headers.get_all(header::HOST).iter();
    let Some(line) = lines.next() else { return Ok(None) };
    if lines.next().is_some() {
        return Err(Reason::Authority);
    }
    let host = line.to_str().map_err(|_| Reason::Authority)?;
    Ok((!host.is_empty()).then_some(host))
}

/// An authority in the form in which equal ones are equal (RFC 3986 §6.2). One of two that are equal tells
/// whether both are names.
struct Normal<'a> {
    host: &'a str,
    port: Option<u16>,
}

impl<'a> Normal<'a> {
    #[inline]
    fn of(text: &'a str, scheme: &str) -> Result<Self, Reason> {
        // From the end: digits behind a colon are the port, also behind an IPv6 literal.
        let digits = text.bytes().rev().position(|byte| !byte.is_ascii_digit());
        let digits = digits.unwrap_or(text.len());
        let (before, digits) = text.split_at(text.len() - digits);
        let (host, port) = match before.strip_suffix(':') {
            Some(host) if digits.is_empty() => (host, None),
            Some(host) => (host, Some(digits.parse().map_err(|_| Reason::Authority)?)),
            None => (text, None),
        };
        let host = host.strip_suffix('.').unwrap_or(host);
        let is_usual = |port: &u16| match port {
            80 => scheme.eq_ignore_ascii_case("http"),
            443 => scheme.eq_ignore_ascii_case("https"),
            _ => false,
        };
        Ok(Self { host, port: port.filter(|port| !is_usual(port)) })
    }

    #[inline]
    fn length(&self) -> usize {
        self.host.len()
            + self.port.map_or(0, |port| 2 + port.checked_ilog10().unwrap_or(0) as usize)
    }

    #[inline]
    fn write(&self, out: &mut Draft<'_>) -> Result<(), Reason> {
        let start = out.len();
        out.put(self.host.as_bytes());
        let host = out.since(start);
        let is_address = host.starts_with(b"[") && host.ends_with(b"]");
        let mut is_name = !host.is_empty();
        for byte in host {
            *byte = match LOWER[usize::from(*byte)] {
                0 if is_address && matches!(byte, b':' | b'[' | b']') => *byte,
                lower => lower,
            };
            is_name &= *byte != 0;
        }
        if !is_name {
            return Err(Reason::Authority);
        }
        if let Some(port) = self.port {
            out.push(b':');
            out.put(port.to_string().as_bytes());
        }
        Ok(())
    }
}

/// The bytes of a registered name in lower case, 0 for all others (RFC 3986 §3.2.2). Not `@`: user
/// information is no part of an http URI (RFC 9110 §4.2.4), and may be anybody's.
const LOWER: [u8; 256] = {
    let is_in_names = fields::alphanumeric_and(b"-._~%!$&'()*+,;=");
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 128 {
        if is_in_names[byte] {
            table[byte] = (byte as u8).to_ascii_lowercase();
        }
        byte += 1;
    }
    table
};

impl PartialEq for Normal<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.port == other.port && self.host.eq_ignore_ascii_case(other.host)
    }
}

#[cfg(test)]
mod tests;
