//! Lists, tokens and seconds in field values (RFC 9110 §5.6, RFC 9111 §1.2.2).

use std::time::Duration;

use http::header::{AGE, HeaderMap, HeaderName};

/// The greatest delta-seconds; every greater one counts as this (RFC 9111 §1.2.2).
pub(crate) const FOREVER: u64 = 1 << 31;

/// RFC 9110 §5.6.1: the members of one field line, without the empty ones. A comma inside a
/// quoted-string (§5.6.4) belongs to its member; an open one reaches to the end of the line.
pub(crate) fn members(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    let (mut quoted, mut escaped) = (false, false);
    line.split(move |&byte| {
        if escaped {
            escaped = false;
            return false;
        }
        match byte {
            b'"' => quoted = !quoted,
            b'\\' => escaped = quoted,
            b',' => return !quoted,
            _ => {}
        }
        false
    })
    .map(trim)
    .filter(|member| !member.is_empty())
}

/// RFC 9110 §5.3: the members of all lines of a field, in order. Each line is split on its own,
/// so that an open quote in one does not swallow the next.
pub(crate) fn list<'a>(
    headers: &'a HeaderMap,
    name: &HeaderName,
) -> impl Iterator<Item = &'a [u8]> + use<'a> {
    let lines = headers.get_all(name).into_iter();
    lines.flat_map(|line| members(line.as_bytes()))
}

/// RFC 9111 §1.2.2: digits and nothing else; what is too great saturates.
pub(crate) fn delta_seconds(text: &[u8]) -> Option<Duration> {
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let digits = text.iter().map(|digit| u64::from(digit - b'0'));
    let seconds = digits.fold(0, |sum, digit| (sum * 10 + digit).min(FOREVER));
    Some(Duration::from_secs(seconds))
}

/// RFC 9111 §5.1: the Age that a response came with. Of several the first counts, and one that is
/// no integer is ignored.
pub(crate) fn age(headers: &HeaderMap) -> Option<Duration> {
    let line = headers.get(AGE)?.as_bytes();
    delta_seconds(members(line).next()?)
}

/// RFC 9110 §5.6.2.
pub(crate) fn is_token(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().copied().all(is_tchar)
}

/// RFC 9110 §5.6.2: a byte that may stand in a token.
pub(crate) fn is_tchar(byte: u8) -> bool {
    TCHARS[usize::from(byte)]
}

const TCHARS: [bool; 256] = alphanumeric_and(b"!#$%&'*+-.^_`|~");

/// Which bytes are ASCII letters, digits or one of `punctuation`.
pub(super) const fn alphanumeric_and(punctuation: &[u8]) -> [bool; 256] {
    let mut table = [false; 256];
    let mut b = 0;
    while b < 128 {
        table[b] = (b as u8).is_ascii_alphanumeric();
        b += 1;
    }
    let mut at = 0;
    while at < punctuation.len() {
        table[punctuation[at] as usize] = true;
        at += 1;
    }
    table
}

/// RFC 9110 §5.6.3: `text` without the optional whitespace around it.
pub(crate) fn trim(mut text: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = text {
        text = rest;
    }
    text
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn headers(name: HeaderName, lines: &[&str]) -> HeaderMap {
        let value = |line: &&str| HeaderValue::from_bytes(line.as_bytes()).unwrap();
        lines.iter().map(|line| (name.clone(), value(line))).collect()
    }

    /// RFC 9110 §5.6.1.2, §5.6.4.
    #[test]
    fn a_line_splits_at_commas_outside_quotes() {
        let cases: &[(&str, &[&str])] = &[
            ("", &[]),
            (" ,\t, ,", &[]),
            ("foo,bar", &["foo", "bar"]),
            ("foo ,bar,", &["foo", "bar"]),
            ("foo , ,bar,charlie", &["foo", "bar", "charlie"]),
            ("\ta b\t,\t c", &["a b", "c"]),
            (r#"a="1,2", b"#, &[r#"a="1,2""#, "b"]),
            (r#"a="1\",2", b"#, &[r#"a="1\",2""#, "b"]),
            (r#"a="1\\",2"#, &[r#"a="1\\""#, "2"]),
            (r#"a\",b",c"#, &[r#"a\",b""#, "c"]), // no escape outside of quotes
            (r#"a, "b, c"#, &["a", r#""b, c"#]),
            (r#"a, "b\"#, &["a", r#""b\"#]),
            ("\u{e9},b", &["\u{e9}", "b"]),
        ];
        for (line, expected) in cases {
            let found: Vec<_> = members(line.as_bytes()).collect();
            let expected: Vec<_> = expected.iter().map(|member| member.as_bytes()).collect();
            assert_eq!(found, expected, "{line}");
        }
    }

    /// RFC 9110 §5.3.
    #[test]
    fn an_open_quote_ends_with_its_line() {
        let name = HeaderName::from_static("x-list");
        let headers = headers(name.clone(), &["a, \"b, c", "", "d\", e", "f"]);
        let found: Vec<_> = list(&headers, &name).collect();
        assert_eq!(found, [&b"a"[..], b"\"b, c", b"d\", e", b"f"]);
        assert_eq!(list(&headers, &HeaderName::from_static("x-none")).count(), 0);
    }

    /// RFC 9111 §1.2.2.
    #[test]
    fn seconds_are_digits_and_saturate() {
        let cases = [
            ("0", Some(0)),
            ("60", Some(60)),
            ("00060", Some(60)),
            ("2147483647", Some(2_147_483_647)),
            ("2147483648", Some(2_147_483_648)),
            ("2147483649", Some(2_147_483_648)),
            ("18446744073709551616", Some(2_147_483_648)),
            ("99999999999999999999999999999999999999999999", Some(2_147_483_648)),
        ];
        let refused = ["", "-1", "+1", "1.5", "1e3", " 1", "1 ", "0x10", "\"1\"", "'1'", "\u{661}"];
        for (text, expected) in cases.into_iter().chain(refused.map(|text| (text, None))) {
            let found = delta_seconds(text.as_bytes());
            assert_eq!(found, expected.map(Duration::from_secs), "{text}");
        }
    }

    /// RFC 9111 §5.1.
    #[test]
    fn the_first_age_counts() {
        let cases: &[(&[&str], Option<u64>)] = &[
            (&[], None),
            (&[""], None),
            (&["7"], Some(7)),
            (&["7, 9"], Some(7)),
            (&["7", "9"], Some(7)),
            (&["x", "9"], None),
            (&["-7"], None),
            (&["7.5"], None),
            (&["\"7\""], None),
            (&["abc, 9"], None),
            (&["99999999999999999999"], Some(2_147_483_648)),
        ];
        for (lines, expected) in cases {
            let found = age(&headers(AGE, lines));
            assert_eq!(found, expected.map(Duration::from_secs), "{lines:?}");
        }
    }

    /// RFC 9110 §5.6.2, §5.6.3.
    #[test]
    fn tokens_and_whitespace() {
        for token in ["a", "A-z0!#$%&'*+-.^_`|~"] {
            assert!(is_token(token.as_bytes()), "{token}");
        }
        for other in ["", "a b", "a\t", "a=b", "a,b", "\"a\"", "a/b", "a;b", "\u{e9}", "\u{7f}"] {
            assert!(!is_token(other.as_bytes()), "{other}");
        }
        assert_eq!(trim(b"\t a b \t"), b"a b");
        assert_eq!(trim(b" \t "), b"");
    }

    #[test]
    fn a_long_line_takes_one_pass() {
        assert_eq!(members(&b"a,".repeat(1 << 19)).count(), 1 << 19);
        assert_eq!(members(&b"\"\\".repeat(1 << 19)).count(), 1);
    }
}
