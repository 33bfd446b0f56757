use std::fmt;

use bytes::Bytes;
use http::{HeaderMap, Uri, header, request, uri::Authority};

use super::{options::Rules, status::Reason};

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
        let target = rules.target.as_ref().and_then(|target| target(head));
        let uri = target.as_ref().unwrap_or(&head.uri);
        let scheme = uri.scheme_str().unwrap_or(&rules.default_scheme);
        let host = single_host(&head.headers)?;
        let authority = match (uri.authority(), &host) {
            (Some(authority), Some(host)) => {
                let (ours, theirs) = (Normal::of(authority, scheme)?, Normal::of(host, scheme)?);
                if ours != theirs {
                    return Err(Reason::Authority);
                }
                ours
            }
            (Some(authority), None) => Normal::of(authority, scheme)?,
            (None, Some(host)) => Normal::of(host, scheme)?,
            (None, None) => {
                let authority = rules.default_authority.as_deref().ok_or(Reason::NoAuthority)?;
                let authority = authority.parse().map_err(|_| Reason::NoAuthority)?;
                return Self::build(rules, head, scheme, Normal::of(&authority, scheme)?, uri);
            }
        };
        Self::build(rules, head, scheme, authority, uri)
    }

    fn build(
        rules: &Rules,
        head: &request::Parts,
        scheme: &str,
        authority: Normal<'_>,
        uri: &Uri,
    ) -> Result<Self, Reason> {
        let partition = rules.partition.as_ref().and_then(|partition| partition(head));
        let mut key = Encoder::with_capacity(
            64 + uri.path().len()
                + uri.query().map_or(0, str::len)
                + authority.host.len()
                + partition.as_ref().map_or(0, String::len)
                + rules.namespace.as_ref().map_or(0, String::len),
        );
        key.optional(rules.namespace.as_deref());
        key.optional(partition.as_deref());
        key.component(|out| out.extend(scheme.bytes().map(|b| b.to_ascii_lowercase())));
        key.component(|out| authority.write(out));
        key.component(|out| write_path(out, uri));
        Ok(key.finish())
    }

    /// The key of another URI of the same origin, namespace and partition; `path` with its query.
    pub(super) fn sibling(&self, path: &str) -> Self {
        let [namespace, partition, scheme, authority, _] = self.components();
        let mut key = Encoder::with_capacity(self.0.len() + path.len());
        for part in [namespace, partition, scheme, authority] {
            key.component(|out| out.extend_from_slice(part));
        }
        key.component(|out| out.extend_from_slice(path.as_bytes()));
        key.finish()
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

    /// The encoding.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The namespace, if the policy gave one.
    pub fn namespace(&self) -> Option<&str> {
        optional(self.text(0))
    }

    /// The partition, if the policy gave one.
    pub fn partition(&self) -> Option<&str> {
        optional(self.text(1))
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

    /// Whether `uri` has this key's scheme and authority (RFC 9110 §4.3.1).
    pub(super) fn is_origin_of(&self, uri: &Uri) -> bool {
        let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
            return false;
        };
        let ours = self.authority().parse::<Authority>();
        let (Ok(ours), Ok(theirs)) = (&ours, Normal::of(authority, scheme)) else { return false };
        scheme.eq_ignore_ascii_case(self.scheme())
            && Normal::of(ours, self.scheme()).is_ok_and(|ours| ours == theirs)
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
        write!(f, "{}://{}{}", self.scheme(), self.authority(), self.path_and_query())
    }
}

struct Encoder(Vec<u8>);

impl Encoder {
    fn with_capacity(capacity: usize) -> Self {
        let mut bytes = Vec::with_capacity(capacity);
        bytes.push(VERSION);
        Self(bytes)
    }

    fn component(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        let at = self.0.len();
        self.0.push(0);
        write(&mut self.0);
        let length = self.0.len() - at - 1;
        match u8::try_from(length) {
            Ok(length) if length < LONG => self.0[at] = length,
            _ => {
                self.0[at] = LONG;
                let length = u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes();
                self.0.splice(at + 1..at + 1, length);
            }
        }
    }

    /// Nothing and an empty text are different things: a text that is there begins with a mark.
    fn optional(&mut self, text: Option<&str>) {
        self.component(|out| {
            if let Some(text) = text {
                out.push(b'=');
                out.extend_from_slice(text.as_bytes());
            }
        });
    }

    fn finish(self) -> CacheKey {
        CacheKey(Bytes::from(self.0))
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
    text.strip_prefix('=')
}

fn write_path(out: &mut Vec<u8>, uri: &Uri) {
    let path = uri.path();
    out.extend_from_slice(if path.is_empty() { b"/" } else { path.as_bytes() });
    if let Some(query) = uri.query() {
        out.push(b'?');
        out.extend_from_slice(query.as_bytes());
    }
}

/// The one `Host` of a request; more than one, or one that cannot be read, is a conflict
/// (RFC 9112 §3.2).
fn single_host(headers: &HeaderMap) -> Result<Option<Authority>, Reason> {
    let mut lines = headers.get_all(header::HOST).iter();
    let Some(line) = lines.next() else { return Ok(None) };
    if lines.next().is_some() {
        return Err(Reason::Authority);
    }
    if line.is_empty() {
        return Ok(None);
    }
    Authority::try_from(line.as_bytes()).map(Some).map_err(|_| Reason::Authority)
}

/// An authority in the form in which equal ones are equal (RFC 3986 §6.2).
struct Normal<'a> {
    host: &'a str,
    port: Option<u16>,
}

impl<'a> Normal<'a> {
    fn of(authority: &'a Authority, scheme: &str) -> Result<Self, Reason> {
        let text = authority.as_str();
        // User information is no part of an http URI (RFC 9110 §4.2.4), and may be anybody's.
        if text.contains('@') {
            return Err(Reason::Authority);
        }
        let host = authority.host();
        let host = host.strip_suffix('.').unwrap_or(host);
        if host.is_empty() {
            return Err(Reason::Authority);
        }
        let behind = text.get(authority.host().len()..).unwrap_or_default();
        let port = match behind.strip_prefix(':') {
            None | Some("") => None,
            Some(port) => Some(port.parse().map_err(|_| Reason::Authority)?),
        };
        let usual = match scheme {
            _ if scheme.eq_ignore_ascii_case("http") => Some(80),
            _ if scheme.eq_ignore_ascii_case("https") => Some(443),
            _ => None,
        };
        Ok(Self { host, port: port.filter(|port| Some(*port) != usual) })
    }

    fn write(&self, out: &mut Vec<u8>) {
        out.extend(self.host.bytes().map(|b| b.to_ascii_lowercase()));
        if let Some(port) = self.port {
            out.push(b':');
            out.extend_from_slice(port.to_string().as_bytes());
        }
    }
}

impl PartialEq for Normal<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.port == other.port && self.host.eq_ignore_ascii_case(other.host)
    }
}

#[cfg(test)]
mod tests {
    use http::Request;
    use proptest::prelude::*;

    use super::*;
    use crate::Policy;

    fn key(policy: &Policy, uri: &str, hosts: &[&str]) -> Result<CacheKey, Reason> {
        let mut request = Request::get(uri);
        for host in hosts {
            request = request.header(header::HOST, *host);
        }
        let (head, ()) = request.body(()).unwrap().into_parts();
        CacheKey::of(&policy.rules, &head)
    }

    /// RFC 9111 §2, RFC 9110 §7.1: the key is the target URI.
    #[test]
    fn the_key_is_the_target_uri() {
        let policy = Policy::shared();
        let table: [(&str, &[&str], Result<&str, Reason>); 20] = [
            ("http://a.example/x", &[], Ok("http://a.example/x")),
            ("HTTP://A.Example/X", &[], Ok("http://a.example/X")),
            ("http://a.example:80/", &[], Ok("http://a.example/")),
            ("https://a.example:443/", &[], Ok("https://a.example/")),
            ("https://a.example:80/", &[], Ok("https://a.example:80/")),
            ("http://a.example./", &[], Ok("http://a.example/")),
            ("http://a.example", &[], Ok("http://a.example/")),
            ("http://a.example?q", &[], Ok("http://a.example/?q")),
            ("/x?q=1", &["a.example"], Ok("http://a.example/x?q=1")),
            ("/x?", &["a.example"], Ok("http://a.example/x?")),
            ("/x", &["A.EXAMPLE:80"], Ok("http://a.example/x")),
            ("/x", &["[::1]:8080"], Ok("http://[::1]:8080/x")),
            ("http://a.example/x", &["a.example"], Ok("http://a.example/x")),
            ("http://a.example/x", &["A.example.:80"], Ok("http://a.example/x")),
            ("http://a.example/x", &["b.example"], Err(Reason::Authority)),
            ("http://a.example/x", &["a.example:81"], Err(Reason::Authority)),
            ("/x", &["a.example", "a.example"], Err(Reason::Authority)),
            ("/x", &["a example"], Err(Reason::Authority)),
            ("/x", &["user@a.example"], Err(Reason::Authority)),
            ("/x", &[], Err(Reason::NoAuthority)),
        ];
        for (uri, hosts, expected) in table {
            let key = key(&policy, uri, hosts).map(|key| format!("{key:?}"));
            assert_eq!(key, expected.map(str::to_owned), "{uri} {hosts:?}");
        }
    }

    #[test]
    fn what_the_request_does_not_say_the_policy_may() {
        let policy = Policy::shared().default_scheme("https").default_authority("a.example");
        assert_eq!(format!("{:?}", key(&policy, "/x", &[]).unwrap()), "https://a.example/x");
        let plain = key(&policy, "/x", &["b.example"]).unwrap();
        let named = key(&policy.clone().namespace("n"), "/x", &["b.example"]).unwrap();
        let empty = key(&policy.clone().namespace(""), "/x", &["b.example"]).unwrap();
        let user = key(&policy.partition(|_| Some("u".into())), "/x", &["b.example"]).unwrap();
        assert_eq!((named.namespace(), named.partition()), (Some("n"), None));
        assert_eq!((user.namespace(), user.partition()), (None, Some("u")));
        let keys = [plain, named, empty, user];
        for (i, a) in keys.iter().enumerate() {
            for (j, b) in keys.iter().enumerate() {
                assert_eq!(a == b, i == j, "{a:?} {b:?}");
            }
        }
    }

    #[test]
    fn a_sibling_shares_all_but_the_path() {
        let policy = Policy::shared().namespace("n").partition(|_| Some("u".into()));
        let long = format!("/{}", "x".repeat(300));
        let a = key(&policy, "/a", &["a.example:81"]).unwrap();
        let b = key(&policy, &long, &["a.example:81"]).unwrap();
        assert_eq!(a.sibling(&long), b);
        assert_eq!(b.sibling("/a"), a);
        assert_eq!(b.path_and_query(), long);
    }

    proptest! {
        /// No component can be shaped so that two different keys are equal.
        #[test]
        fn the_encoding_is_injective(
            a in proptest::array::uniform5(".{0,300}"),
            b in proptest::array::uniform5("[=\\x00\\xff/]{0,3}"),
        ) {
            let encode = |parts: &[String; 5]| {
                let mut key = Encoder::with_capacity(0);
                for part in parts {
                    key.component(|out| out.extend_from_slice(part.as_bytes()));
                }
                key.finish()
            };
            let (x, y) = (encode(&a), encode(&b));
            prop_assert_eq!(x == y, a == b);
            for (component, part) in x.components().iter().zip(&a) {
                prop_assert_eq!(*component, part.as_bytes());
            }
            prop_assert_eq!(CacheKey::from_bytes(x.0.clone()), Some(x));
        }

        /// Bytes from a store never panic, whatever they are.
        #[test]
        fn decoding_is_total(bytes: Vec<u8>) {
            if let Some(key) = CacheKey::from_bytes(bytes.into()) {
                let _ = (format!("{key:?}"), key.sibling("/x"));
            }
        }
    }
}
