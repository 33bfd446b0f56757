use std::{borrow::Cow, fmt};

use bytes::Bytes;
use http::{
    HeaderMap, Uri, header, request,
    uri::{Authority, PathAndQuery},
};

use super::{Reason, fields, options::Rules};

/// What a response is stored under: namespace, partition, and the URI that the client asked for
/// (RFC 9111 §2).
///
/// The encoding is length-prefixed, so that no component can be shaped to look like another, and it
/// is compared in full.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CacheKey(Bytes);

/// Of the encoding, for stores that outlive a build.
const VERSION: u8 = 1;
const COMPONENTS: usize = 5;

impl CacheKey {
    /// The key of a request; the method is not part of it, since only GET and HEAD look.
    pub(super) fn of(rules: &Rules, head: &request::Parts) -> Result<Self, Reason> {
        Self::of_host(rules, head, single_host(&head.headers)?)
    }

    /// The same, of a request that is known to have no `Host`.
    #[inline]
    pub(super) fn without_host(rules: &Rules, head: &request::Parts) -> Result<Self, Reason> {
        Self::of_host(rules, head, None)
    }

    #[inline]
    fn of_host(rules: &Rules, head: &request::Parts, host: Option<&str>) -> Result<Self, Reason> {
        let target = rules.target.as_ref().and_then(|target| target(head));
        let uri = target.as_ref().unwrap_or(&head.uri);
        let scheme = uri.scheme_str().or(head.uri.scheme_str()).unwrap_or(&rules.default_scheme);
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
        // By far the most are keyed by what the client sent, which is one text.
        let whole = uri.path_and_query().filter(|_| rules.keys_as_it_came());
        let (path, query) = match whole.map(PathAndQuery::as_str) {
            Some(whole) if whole.starts_with('/') => (Cow::Borrowed(whole), None),
            _ => (rules.keyed_path(uri.path()), rules.query.apply(uri.query())),
        };
        let (path, query) = (if path.is_empty() { "/" } else { &*path }, query.as_deref());
        let marked = |text: Option<&str>| text.map_or(0, |text| 1 + text.len());
        let lengths = [
            marked(namespace),
            marked(partition),
            scheme.len(),
            authority.length(),
            path.len() + marked(query),
        ];

        let mut out = with_room_for(lengths);
        match (namespace, partition, scheme) {
            // What by far the most keys begin with.
            (None, None, "http") => out.extend_from_slice(b"\0\0\x04http"),
            (None, None, "https") => out.extend_from_slice(b"\0\0\x05https"),
            _ => {
                write_length(&mut out, lengths[0]);
                write_marked(&mut out, MARK, namespace);
                write_length(&mut out, lengths[1]);
                write_marked(&mut out, MARK, partition);
                write_length(&mut out, lengths[2]);
                write_lower(&mut out, scheme);
            }
        }
        write_length(&mut out, lengths[3]);
        authority.write(&mut out);
        write_length(&mut out, lengths[4]);
        out.extend_from_slice(path.as_bytes());
        write_marked(&mut out, b'?', query);
        Ok(Self(Bytes::from(out)))
    }

    /// The key of another URI of the same origin, namespace and partition; `path` with its query.
    pub(super) fn sibling(&self, path: &str) -> Self {
        let [namespace, partition, scheme, authority, _] = self.components();
        Self::encode([namespace, partition, scheme, authority, path.as_bytes()])
    }

    fn encode(components: [&[u8]; COMPONENTS]) -> Self {
        let mut out = with_room_for(components.map(<[u8]>::len));
        for component in components {
            write_length(&mut out, component.len());
            out.extend_from_slice(component);
        }
        Self(Bytes::from(out))
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
        rest.is_empty().then_some(Self(bytes))
    }

    /// A key that [`as_bytes`](Self::as_bytes) gave.
    #[cfg(feature = "memory")]
    pub(crate) fn kept(bytes: &[u8]) -> Self {
        Self(Bytes::copy_from_slice(bytes))
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

/// Of exact size: then the bytes need no second allocation to be shared.
#[inline]
fn with_room_for(lengths: [usize; COMPONENTS]) -> Vec<u8> {
    let long = lengths.iter().filter(|length| **length >= usize::from(LONG)).count();
    let mut out = Vec::with_capacity(1 + COMPONENTS + 4 * long + lengths.iter().sum::<usize>());
    out.push(VERSION);
    out
}

#[inline]
fn write_length(out: &mut Vec<u8>, length: usize) {
    match u8::try_from(length) {
        Ok(length) if length < LONG => out.push(length),
        _ => {
            out.push(LONG);
            out.extend_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes());
        }
    }
}

#[inline]
fn write_marked(out: &mut Vec<u8>, mark: u8, text: Option<&str>) {
    if let Some(text) = text {
        out.push(mark);
        out.extend_from_slice(text.as_bytes());
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

#[inline]
fn write_lower(out: &mut Vec<u8>, text: &str) {
    let start = out.len();
    out.extend_from_slice(text.as_bytes());
    // Most are in lower case already.
    if text.bytes().any(|byte| byte.is_ascii_uppercase()) {
        out[start..].make_ascii_lowercase();
    }
}

/// The one `Host` of a request; more than one, or one that cannot be read, is a conflict
/// (RFC 9112 §3.2).
fn single_host(headers: &HeaderMap) -> Result<Option<&str>, Reason> {
    let mut lines = headers.get_all(header::HOST).iter();
    let Some(line) = lines.next() else { return Ok(None) };
    if lines.next().is_some() {
        return Err(Reason::Authority);
    }
    let host = line.to_str().map_err(|_| Reason::Authority)?;
    Ok((!host.is_empty()).then_some(host))
}

/// An authority in the form in which equal ones are equal (RFC 3986 §6.2).
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
        let is_address = host.starts_with('[') && host.ends_with(']');
        let fits = |b: u8| HOST[usize::from(b)] || (is_address && matches!(b, b':' | b'[' | b']'));
        if host.is_empty() || !host.bytes().all(fits) {
            return Err(Reason::Authority);
        }
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
    fn write(&self, out: &mut Vec<u8>) {
        write_lower(out, self.host);
        if let Some(port) = self.port {
            out.push(b':');
            out.extend_from_slice(port.to_string().as_bytes());
        }
    }
}

/// The bytes of a registered name (RFC 3986 §3.2.2). Not `@`: user information is no part of an http
/// URI (RFC 9110 §4.2.4), and may be anybody's.
const HOST: [bool; 256] = fields::alphanumeric_and(b"-._~%!$&'()*+,;=");

impl PartialEq for Normal<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.port == other.port && self.host.eq_ignore_ascii_case(other.host)
    }
}

#[cfg(test)]
mod tests;
