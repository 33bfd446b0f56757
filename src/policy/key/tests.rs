use bytes::Bytes;
use http::{Request, header, uri::Authority};
use proptest::prelude::*;

use super::*;
use crate::{Policy, policy::Reason};

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

/// How long a key may be and take no allocation is nothing that anybody can see.
#[test]
fn long_keys_are_like_short_ones() {
    let policy = Policy::shared();
    for length in 0..300 {
        let path = format!("/{}", "x".repeat(length));
        let long = key(&policy, &path, &["a.example"]).unwrap();
        assert_eq!(long.path_and_query(), path);
        assert_eq!(long, key(&policy, &path, &["A.example:80"]).unwrap());
        assert_eq!(CacheKey::from_bytes(Bytes::copy_from_slice(long.as_bytes())), Some(long));
    }
}

/// Servers give HTTP/1 requests as a path and a `Host`, and HTTP/2 requests as a whole URI.
#[test]
fn most_keys_are_written_the_short_way() {
    let policy = Policy::shared();
    let is_short = |uri: &str, host: Option<&str>| {
        let (mut head, ()) = Request::get(uri).body(()).unwrap().into_parts();
        head.headers.extend(host.map(|host| (header::HOST, host.parse().unwrap())));
        let mut key = CacheKey::BLANK;
        let is_short = key.write_usual(&policy.rules, &head, host.is_some());
        assert!(!is_short || Ok(key) == CacheKey::of(&policy.rules, &head), "{uri} {host:?}");
        is_short
    };
    for host in ["a.example", "127.0.0.1:3000", "localhost:8080", "a.example:65535", "a:1"] {
        assert!(is_short("/x?q=1", Some(host)), "{host}");
        let uri = format!("https://{host}/x");
        assert!(is_short(&uri, None) && is_short(&uri, Some(host)), "{host}");
    }
    // A text that another one is equal to, and none at all.
    for host in ["A", "a.", "a:80", "a:", "a:080", "a:0", "a:65536", "a:1a", "a@b", "[::1]", ":1"] {
        assert!(!is_short("/x", Some(host)), "{host}");
    }
    assert!(is_short("https://a:80/", None) && !is_short("https://a:443/", None));
    assert!(!is_short("http://a.example/", Some("b.example")) && !is_short("/", None));
}

proptest! {
    /// The short way to a key leads nowhere else.
    #[test]
    fn the_usual_key_is_the_one_by_all_rules(
        scheme in "(|http|https|HTTP|ftp)",
        authority in "[a-c%.A:\\[\\]0-9-]{0,3}(\\.|)(:80|:443|:|:[0-9]{1,6}|:65535|:65536|)",
        path in "(|/|\\*|/[a/?]{0,4}|/[a]{60,80}|[a?]{1,2})",
        host in proptest::option::of("[a-c%.A:0-9-]{0,3}(\\.|)(:80|:443|:|:[0-9]{1,6}|:65535|)"),
        default in "(http|https|ftp)",
    ) {
        let uri = match scheme.is_empty() {
            true => path,
            false => format!("{scheme}://{authority}{path}"),
        };
        let Ok(head) = Request::get(uri).body(()) else { return Ok(()) };
        let policy = Policy::shared().default_scheme(default).default_authority("c.example");
        let (rules, (head, ())) = (&policy.rules, head.into_parts());
        let named = head.uri.authority().map(Authority::to_string);
        for host in [None, host, named] {
            let mut head = head.clone();
            head.headers.extend(host.map(|host| (header::HOST, host.parse().unwrap())));
            let (mut usual, mut any) = (CacheKey::BLANK, CacheKey::BLANK);
            let host = single_host(&head.headers).unwrap();
            let written = any.write(rules, &head, host);
            if usual.write_usual(rules, &head, head.headers.contains_key(header::HOST)) {
                prop_assert_eq!((written, any), (Ok(()), usual));
            }
        }
    }

    /// No component can be shaped so that two different keys are equal.
    #[test]
    fn the_encoding_is_injective(
        a in proptest::array::uniform5(".{0,300}"),
        b in proptest::array::uniform5("[=\\x00\\xff/]{0,3}"),
    ) {
        let encode = |parts: &[String; 5]| {
            CacheKey::encode(std::array::from_fn(|i| parts[i].as_bytes()))
        };
        let (x, y) = (encode(&a), encode(&b));
        prop_assert_eq!(x == y, a == b);
        for (component, part) in x.components().iter().zip(&a) {
            prop_assert_eq!(*component, part.as_bytes());
        }
        prop_assert_eq!(CacheKey::from_bytes(Bytes::copy_from_slice(x.as_bytes())), Some(x));
    }

    /// Bytes from a store never panic, whatever they are.
    /// Feature key-version.
    #[test]
    fn decoding_is_total(bytes: Vec<u8>) {
        if let Some(key) = CacheKey::from_bytes(bytes.into()) {
            let _ = (format!("{key:?}"), key.sibling("/x"));
        }
    }
}
