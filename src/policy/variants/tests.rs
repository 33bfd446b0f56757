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
    let names = NameSet::of(&headers(&[("vary", vary)]), &[]).unwrap();
    names.select(&Selecting::plain(&headers(request), &Secret::from_bytes([1; 32])))
}

/// RFC 9110 §12.5.5.
/// Scenario 3.11.
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
        let set = NameSet::of(&map, &[]);
        let names = set.as_ref().map(|set| set.iter().map(HeaderName::as_str).collect());
        assert_eq!(names.map_err(|reason| *reason), expected.map(<[_]>::to_vec), "{lines:?}");
    }
}

/// RFC 9111 §4.1: absent matches absent only, and values match after normalisation.
#[test]
fn values_match_after_normalisation() {
    let table: [(&str, Lines, Lines, bool); 13] = [
        (
            "accept-encoding",
            &[("accept-encoding", "gzip, br")],
            &[("accept-encoding", "BR;q=1.0"), ("accept-encoding", "x-gzip")],
            true,
        ),
        (
            "accept-encoding",
            &[("accept-encoding", "gzip, br")],
            &[("accept-encoding", "gzip")],
            false,
        ),
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

/// Feature hidden-credentials.
#[test]
fn credentials_leave_only_a_keyed_digest() {
    let request = headers(&[("authorization", "Bearer token-1"), ("cookie", "session-1")]);
    let names = NameSet::of(&headers(&[("vary", "cookie, authorization")]), &[]).unwrap();
    let key = names.select(&Selecting::plain(&request, &Secret::from_bytes([1; 32])));
    let text = String::from_utf8_lossy(key.as_bytes()).into_owned();
    assert!(!text.contains("token") && !text.contains("session"), "{text}");
    assert_ne!(key, names.select(&Selecting::plain(&request, &Secret::from_bytes([2; 32]))));
}

/// What is told apart differs from all that `Vary` can say, and leaves no trace of itself.
#[test]
fn what_is_told_apart_is_a_variant_of_its_own() {
    let (request, secret) = (headers(&[("a", "1")]), Secret::from_bytes([1; 32]));
    let key = |vary, apart| {
        let names = NameSet::of(&headers(&[("vary", vary)]), &[]).unwrap();
        names.select(&Selecting { apart, ..Selecting::plain(&request, &secret) })
    };
    let keys = [
        key("", None),
        key("", Some(&b"token"[..])),
        key("", Some(b"")),
        key("a", None),
        key("a", Some(b"token")),
    ];
    for (i, one) in keys.iter().enumerate() {
        assert_eq!(one.is_plain(), i == 0);
        assert!(!String::from_utf8_lossy(one.as_bytes()).contains("token"));
        for (j, other) in keys.iter().enumerate() {
            assert_eq!(one == other, i == j);
        }
    }
}

#[test]
fn keys_can_be_compared_but_for_one_name() {
    let name = header::ACCEPT_LANGUAGE;
    let vary = "accept-language, a, authorization";
    let one = [("accept-language", "de"), ("a", "1"), ("authorization", "x")];
    let table: [(Lines, bool); 6] = [
        (&[("accept-language", "de"), ("a", "1"), ("authorization", "x")], true),
        (&[("accept-language", "en, fr"), ("a", "1"), ("authorization", "x")], true),
        (&[("a", "1"), ("authorization", "x")], true),
        (&[("accept-language", "de"), ("a", "2"), ("authorization", "x")], false),
        (&[("accept-language", "de"), ("a", "1"), ("authorization", "y")], false),
        (&[("accept-language", "de"), ("authorization", "x")], false),
    ];
    for (other, is_same) in table {
        let (one, other_key) = (variant(vary, &one), variant(vary, other));
        assert_eq!(one.differs_only_in(&other_key, &name), is_same, "{other:?}");
    }
    assert!(!variant("a", &one).differs_only_in(&variant("b", &one), &name));
    assert!(!variant("a", &one).differs_only_in(&variant("a, b", &one), &name));
    assert!(variant("a", &one).differs_only_in(&variant("a, accept-language", &one), &name));
}
