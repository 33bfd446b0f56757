//! Lists of strings in structured fields (RFC 9651 §3.1, §4.2).

use http::{HeaderMap, HeaderName};

/// The members of a field that is a list of strings; their parameters are not looked at. `None`: the
/// field is something else, and to be ignored as a whole (RFC 9651 §4.2).
pub(super) fn strings(headers: &HeaderMap, name: &HeaderName) -> Option<Vec<String>> {
    let mut text = Vec::new();
    for (n, line) in headers.get_all(name).iter().enumerate() {
        if n > 0 {
            text.extend_from_slice(b", ");
        }
        text.extend_from_slice(line.as_bytes());
    }
    Parser(&text).list()
}

struct Parser<'a>(&'a [u8]);

impl Parser<'_> {
    /// RFC 9651 §4.2.1.
    fn list(mut self) -> Option<Vec<String>> {
        let mut members = Vec::new();
        self.skip(b" ");
        while !self.0.is_empty() {
            members.push(self.string()?);
            self.parameters()?;
            self.skip(b" \t");
            if self.0.is_empty() {
                return Some(members);
            }
            self.expect(b',')?;
            self.skip(b" \t");
            if self.0.is_empty() {
                return None;
            }
        }
        Some(members)
    }

    /// RFC 9651 §4.2.5.
    fn string(&mut self) -> Option<String> {
        self.expect(b'"')?;
        let mut text = String::new();
        loop {
            match self.next()? {
                b'"' => return Some(text),
                b'\\' => match self.next()? {
                    escaped @ (b'"' | b'\\') => text.push(escaped.into()),
                    _ => return None,
                },
                byte @ 0x20..=0x7e => text.push(byte.into()),
                _ => return None,
            }
        }
    }

    /// RFC 9651 §4.2.3.2.
    fn parameters(&mut self) -> Option<()> {
        while self.0.first() == Some(&b';') {
            self.next()?;
            self.skip(b" ");
            let first = self.next()?;
            if !first.is_ascii_lowercase() && first != b'*' {
                return None;
            }
            self.skip_while(|b| {
                b.is_ascii_lowercase() || b.is_ascii_digit() || b"_-.*".contains(&b)
            });
            if self.0.first() == Some(&b'=') {
                self.next()?;
                self.bare_item()?;
            }
        }
        Some(())
    }

    /// RFC 9651 §4.2.3.1, for its end only.
    fn bare_item(&mut self) -> Option<()> {
        match *self.0.first()? {
            b'"' => drop(self.string()?),
            b'0'..=b'9' | b'-' => self.number()?,
            b'@' => {
                self.next()?;
                self.number()?;
            }
            b'?' => {
                self.next()?;
                matches!(self.next()?, b'0' | b'1').then_some(())?;
            }
            b':' => {
                self.next()?;
                self.skip_while(|b| b.is_ascii_alphanumeric() || b"+/=".contains(&b));
                self.expect(b':')?;
            }
            b'%' => {
                self.next()?;
                self.expect(b'"')?;
                self.skip_while(|b| matches!(b, 0x20..=0x7e) && b != b'"');
                self.expect(b'"')?;
            }
            first if first.is_ascii_alphabetic() || first == b'*' => {
                self.skip_while(|b| super::fields::is_tchar(b) || b":/".contains(&b));
            }
            _ => return None,
        }
        Some(())
    }

    fn number(&mut self) -> Option<()> {
        if self.0.first() == Some(&b'-') {
            self.next()?;
        }
        self.next()?.is_ascii_digit().then_some(())?;
        self.skip_while(|b| b.is_ascii_digit() || b == b'.');
        Some(())
    }

    fn next(&mut self) -> Option<u8> {
        let (&first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(first)
    }

    fn expect(&mut self, byte: u8) -> Option<()> {
        (self.next()? == byte).then_some(())
    }

    fn skip(&mut self, bytes: &[u8]) {
        self.skip_while(|b| bytes.contains(&b));
    }

    fn skip_while(&mut self, fits: impl Fn(u8) -> bool) {
        let end = self.0.iter().position(|&b| !fits(b)).unwrap_or(self.0.len());
        self.0 = &self.0[end..];
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn parse(value: &str) -> Option<Vec<String>> {
        let name = HeaderName::from_static("x");
        let value = HeaderValue::from_bytes(value.as_bytes()).unwrap();
        strings(&HeaderMap::from_iter([(name.clone(), value)]), &name)
    }

    /// RFC 9651 §4.2.
    #[test]
    fn a_list_of_strings_is_read_strictly() {
        let table: [(&str, Option<&[&str]>); 23] = [
            ("", Some(&[])),
            ("  ", Some(&[])),
            (r#""""#, Some(&[""])),
            (r#"  "a"  "#, Some(&["a"])),
            ("\"a\"\t,\t\"b\"", Some(&["a", "b"])),
            (r#""a,b" , "c""#, Some(&["a,b", "c"])),
            (r#""a";p;q=1;r=-2.5;s="x;y";t=?0;u=:aGk=:;v=tok/en;w=@5;x=%"f%c3""#, Some(&["a"])),
            (r#""a"; p=1, "b""#, Some(&["a", "b"])),
            (r#""a";*k"#, Some(&["a"])),
            (r#""a" "b""#, None),
            (r#""a",, "b""#, None),
            (r#","a""#, None),
            (r#"("a")"#, None),
            (r#""a\n""#, None),
            (r#""a"\"#, None),
            (r#""a";"#, None),
            (r#""a";P"#, None),
            (r#""a";p="#, None),
            (r#""a";p=?2"#, None),
            (r#""a" ;p"#, None),
            ("1", None),
            ("?1", None),
            ("\"\u{e9}\"", None),
        ];
        for (value, expected) in table {
            let found = parse(value);
            let expected = expected.map(|texts| texts.iter().map(|t| (*t).to_owned()).collect());
            assert_eq!(found, expected, "{value}");
        }
    }

    proptest! {
        /// What is quoted by the rules comes back, and anything else does no harm.
        #[test]
        fn parsing_is_total(texts: Vec<String>, noise in "[ -~]{0,40}") {
            let fits = |text: &&String| text.bytes().all(|b| (0x20..=0x7e).contains(&b));
            let texts: Vec<_> = texts.iter().filter(fits).collect();
            let quote = |text: &&String| {
                format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
            };
            let value = texts.iter().map(quote).collect::<Vec<_>>().join(", ");
            prop_assert_eq!(parse(&value), Some(texts.into_iter().cloned().collect()));
            let _ = parse(&noise);
        }
    }
}
