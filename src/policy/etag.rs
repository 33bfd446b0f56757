//! Entity tags and the condition If-None-Match (RFC 9110 §8.8.3, §13.1.2).

use http::header::{HeaderMap, IF_NONE_MATCH};

use super::fields;

/// RFC 9110 §8.8.3: an entity tag, borrowed from its field.
#[derive(Clone, Copy, Debug)]
pub(crate) struct EntityTag<'a> {
    weak: bool,
    /// What stands between the quotes. A backslash in it is a byte like others.
    opaque: &'a [u8],
}

impl<'a> EntityTag<'a> {
    /// RFC 9110 §8.8.3: `"..."` or `W/"..."`, and nothing around it.
    pub(crate) fn parse(text: &'a [u8]) -> Option<Self> {
        Self::split_off(text).and_then(|(tag, rest)| rest.is_empty().then_some(tag))
    }

    pub(crate) fn is_weak(&self) -> bool {
        self.weak
    }

    /// RFC 9110 §8.8.3.2.
    pub(crate) fn strong_eq(&self, other: &EntityTag<'_>) -> bool {
        !self.weak && !other.weak && self.opaque == other.opaque
    }

    /// RFC 9110 §8.8.3.2.
    pub(crate) fn weak_eq(&self, other: &EntityTag<'_>) -> bool {
        self.opaque == other.opaque
    }

    /// The tag that `text` begins with, and what follows it.
    fn split_off(text: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let (weak, quoted) = match text {
            [b'W', b'/', quoted @ ..] => (true, quoted),
            quoted => (false, quoted),
        };
        let opened = quoted.strip_prefix(b"\"")?;
        let length = opened.iter().position(|byte| !is_etagc(*byte))?;
        let (opaque, closed) = opened.split_at_checked(length)?;
        Some((Self { weak, opaque }, closed.strip_prefix(b"\"")?))
    }
}

/// RFC 9110 §13.1.2: whether If-None-Match holds, so that the whole response is due. `current` is
/// the stored ETag as it came; one that lacks its quotes matches only its exact like.
pub(crate) fn none_match(headers: &HeaderMap, current: Option<&[u8]>) -> Option<bool> {
    let lines = headers.get_all(IF_NONE_MATCH);
    let first = lines.iter().next()?;
    let current = current.map(fields::trim);
    let tag = current.and_then(EntityTag::parse);
    // Most have one tag, and it is the one.
    if tag.is_some() && current == Some(first.as_bytes()) {
        return Some(false);
    }
    let matches = |member| match member {
        Member::Any => true,
        Member::Tag(listed) => tag.is_some_and(|tag| tag.weak_eq(&listed)),
        Member::Bare(text) => current == Some(text),
        Member::Garbage => false,
    };
    Some(!lines.iter().flat_map(|line| Members(fields::trim(line.as_bytes()))).any(matches))
}

enum Member<'a> {
    Any,
    Tag(EntityTag<'a>),
    /// A tag without quotes, as old servers send.
    Bare(&'a [u8]),
    Garbage,
}

/// The members of a line. A comma between quotes belongs to its tag, unless the quotes do not
/// make a tag: then the line goes on at the next comma of any kind. The line comes trimmed, or each
/// member would look through the space at its end.
struct Members<'a>(&'a [u8]);

impl<'a> Iterator for Members<'a> {
    type Item = Member<'a>;

    fn next(&mut self) -> Option<Member<'a>> {
        while let [b' ' | b'\t' | b',', rest @ ..] = self.0 {
            self.0 = rest;
        }
        if self.0.is_empty() {
            return None;
        }
        if let Some((tag, rest)) = EntityTag::split_off(self.0)
            && let rest = fields::trim(rest)
            && matches!(rest, [] | [b',', ..])
        {
            self.0 = rest;
            return Some(Member::Tag(tag));
        }
        let comma = self.0.iter().position(|byte| *byte == b',');
        let (member, rest) = self.0.split_at_checked(comma.unwrap_or(self.0.len()))?;
        self.0 = rest;
        Some(match fields::trim(member) {
            b"*" => Member::Any,
            bare if !bare.contains(&b'"') => Member::Bare(bare),
            _ => Member::Garbage,
        })
    }
}

/// RFC 9110 §8.8.3: visible ASCII without the quote, and obs-text.
fn is_etagc(byte: u8) -> bool {
    matches!(byte, 0x21 | 0x23..=0x7E | 0x80..)
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    fn headers(name: HeaderName, lines: &[&[u8]]) -> HeaderMap {
        let value = |line: &&[u8]| HeaderValue::from_bytes(line).unwrap();
        lines.iter().map(|line| (name.clone(), value(line))).collect()
    }

    /// RFC 9110 §8.8.3.
    #[test]
    fn a_tag_is_quoted_and_may_be_weak() {
        let cases: &[(&[u8], bool, &[u8])] = &[
            (br#""xyzzy""#, false, b"xyzzy"),
            (br#"W/"xyzzy""#, true, b"xyzzy"),
            (br#""""#, false, b""),
            (br#"W/"""#, true, b""),
            (br#""a,b""#, false, b"a,b"),
            (br#""a\""#, false, b"a\\"),
            (b"\"\x80\xff\"", false, b"\x80\xff"),
            (br#""W/""#, false, b"W/"),
        ];
        for (text, weak, opaque) in cases {
            let tag = EntityTag::parse(text).unwrap();
            assert_eq!((tag.is_weak(), tag.opaque), (*weak, *opaque), "{tag:?}");
        }
        let refused: &[&[u8]] = &[
            b"",
            b"*",
            b"abc",
            b"\"",
            b"W/",
            b"W/\"",
            b"w/\"a\"",
            b"W/ \"a\"",
            b"W\"a\"",
            b"'a'",
            b"\"a",
            b"a\"",
            b"\"a\"b",
            b"\"a\" ",
            b" \"a\"",
            b"\"a b\"",
            b"\"a\tb\"",
            b"\"a\x7f\"",
            b"\"a\"\"",
            b"\"a\", \"b\"",
            b"\"a\\\"b\"",
        ];
        for text in refused {
            assert!(EntityTag::parse(text).is_none(), "{}", text.escape_ascii());
        }
    }

    /// RFC 9110 §8.8.3.2, its table.
    #[test]
    fn weak_tags_are_equal_weakly() {
        let cases = [
            (r#"W/"1""#, r#"W/"1""#, false, true),
            (r#"W/"1""#, r#"W/"2""#, false, false),
            (r#"W/"1""#, r#""1""#, false, true),
            (r#""1""#, r#""1""#, true, true),
            (r#""a""#, r#""A""#, false, false),
        ];
        for (one, other, strong, weak) in cases {
            let tag = |text: &'static str| EntityTag::parse(text.as_bytes()).unwrap();
            let (one, other) = (tag(one), tag(other));
            assert_eq!((one.strong_eq(&other), one.weak_eq(&other)), (strong, weak));
            assert_eq!((other.strong_eq(&one), other.weak_eq(&one)), (strong, weak));
        }
    }

    /// RFC 9110 §13.1.2: the condition is false if a listed tag matches.
    #[test]
    fn a_listed_tag_matches_weakly() {
        let matching: &[(&[&[u8]], &[u8])] = &[
            (&[b"\"a\""], b"\"a\""),
            (&[b"W/\"a\""], b"\"a\""),
            (&[b"\"a\""], b"W/\"a\""),
            (&[b"\"x\", \"a\""], b"\"a\""),
            (&[b"\"x\",\"a\""], b"\"a\""),
            (&[b"\"x\"\t ,, W/\"a\" ,"], b"\"a\""),
            (&[b"\"x\"", b"\"a\""], b"\"a\""),
            (&[b"\"x", b"\"a\""], b"\"a\""),
            (&[b"*"], b"\"a\""),
            (&[b" * "], b"legacy"),
            (&[b"\"x\", *"], b"\"a\""),
            (&[b"\"a,b\""], b"\"a,b\""),
            (&[b"\"x,\", \"a\""], b"\"a\""),
            (&[b"\"x\\\", \"a\""], b"\"a\""), // no escapes in a tag
            (&[b"\"a\\\""], b"\"a\\\""),
            (&[b"\"\""], b"W/\"\""),
            (&[b"\"\xe9\""], b"\"\xe9\""),
            (&[b"abc"], b"abc"),
            (&[b"x, abc , y"], b"abc"),
            (&[b"W/abc"], b"W/abc"),
            (&[b"x, \"a\""], b"\"a\""), // garbage before a tag
            (&[b"\"x y\", \"a\""], b"\"a\""),
            (&[b"\"x, \"a\""], b"\"a\""),
            (&[b"\"x,\"a\""], b"\"a\""),
            (&[b"\"x\"y, \"a\""], b"\"a\""),
            (&[b"\"x\" \"y\", \"a\""], b"\"a\""),
            (&[b"w/\"x\", \"a\""], b"\"a\""),
            (&[b"=\", \"a\""], b"\"a\""),
        ];
        for (lines, current) in matching {
            let found = none_match(&headers(IF_NONE_MATCH, lines), Some(current));
            assert_eq!(found, Some(false), "{lines:?}");
        }
        let other: &[(&[&[u8]], &[u8])] = &[
            (&[b""], b"\"a\""),
            (&[b"\"b\""], b"\"a\""),
            (&[b"\"A\""], b"\"a\""),
            (&[b"w/\"a\""], b"\"a\""),
            (&[b"\"a"], b"\"a\""),
            (&[b"a"], b"\"a\""),
            (&[b"\"a\""], b"a"),
            (&[b"ABC"], b"abc"),
            (&[b"\"x, a\""], b"\"a\""),
            (&[b"\"x,a,y\""], b"a"), // inside a tag
            (&[b"\"a"], b"\"a"),
            (&[b"\"*\""], b"\"a\""),
            (&[b"\"a\"b"], b"\"a\""),
            (&[b"\"\xe9\""], "\"\u{e9}\"".as_bytes()), // bytes, not characters
        ];
        for (lines, current) in other {
            let found = none_match(&headers(IF_NONE_MATCH, lines), Some(current));
            assert_eq!(found, Some(true), "{lines:?}");
        }
    }

    /// RFC 9110 §13.1.2: `*` asks for any representation, with a tag or without.
    #[test]
    fn without_a_stored_tag_only_the_asterisk_matches() {
        assert_eq!(none_match(&headers(IF_NONE_MATCH, &[b"*"]), None), Some(false));
        assert_eq!(none_match(&headers(IF_NONE_MATCH, &[b"\"a\""]), None), Some(true));
        assert_eq!(none_match(&headers(IF_NONE_MATCH, &[b""]), None), Some(true));
        assert_eq!(none_match(&HeaderMap::new(), Some(b"\"a\"")), None);
    }

    #[test]
    fn a_long_list_takes_one_pass() {
        for part in [&b"\"x,"[..], b"\"x\" y,", b"W/\"", b"\"", b",\"\t", b"x,", b"\"a\" \t"] {
            let line = part.repeat((1 << 20) / part.len());
            let found = none_match(&headers(IF_NONE_MATCH, &[&line]), Some(b"\"b\""));
            assert_eq!(found, Some(true), "{}", part.escape_ascii());
        }
        let line = [b"\"x\"y,".repeat(1 << 17), b" ".repeat(1 << 19)].concat();
        assert_eq!(none_match(&headers(IF_NONE_MATCH, &[&line]), None), Some(true));
    }
}
