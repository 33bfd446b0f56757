//! Structured Fields (RFC 9651), as strict as their parsers must be: what does not parse is no
//! field at all.

use std::borrow::Cow;

use http::{HeaderMap, HeaderName};

/// What a key of a dictionary has. Parameters are checked and dropped.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value<'a> {
    Integer(i64),
    /// Its value is never asked for.
    Decimal,
    /// Without its escapes.
    String(Cow<'a, [u8]>),
    Token(&'a [u8]),
    Boolean(bool),
    /// A byte sequence, a date, or a display string.
    Other,
    InnerList,
}

/// RFC 9651 §4.2.2: calls `each` with the members of a dictionary in order. Of a key that comes
/// again the last value counts. `None`: it does not parse, and whatever `each` was told is void.
pub(super) fn dictionary<'a>(
    text: &'a [u8],
    mut each: impl FnMut(&'a [u8], Value<'a>),
) -> Option<()> {
    members(text, |input| {
        let key = input.key()?;
        let value = if input.take(b'=') {
            input.member()?
        } else {
            input.parameters()?;
            Value::Boolean(true)
        };
        each(key, value);
        Some(())
    })
}

/// RFC 9651 §4.2.1: calls `each` with the members of a list in order. `None`: it does not parse, and
/// whatever `each` was told is void.
pub(super) fn list<'a>(text: &'a [u8], mut each: impl FnMut(Value<'a>)) -> Option<()> {
    members(text, |input| {
        each(input.member()?);
        Some(())
    })
}

/// The strings of a field that is a list of nothing else. `None`: it is something else, and to be
/// ignored as a whole (RFC 9651 §4.2).
pub(super) fn strings(headers: &HeaderMap, name: &HeaderName) -> Option<Vec<String>> {
    let mut text = Vec::new();
    for line in headers.get_all(name) {
        if !text.is_empty() {
            text.extend_from_slice(b", ");
        }
        text.extend_from_slice(line.as_bytes());
    }
    let mut strings = Some(Vec::new());
    list(&text, |member| {
        let string = match member {
            Value::String(string) => String::from_utf8(string.into_owned()).ok(),
            _ => None,
        };
        strings = strings.take().zip(string).map(|(mut strings, string)| {
            strings.push(string);
            strings
        });
    })?;
    strings
}

/// Whether a field is the one item `?1` (RFC 9651 §3.3.6).
pub(super) fn is_true(headers: &HeaderMap, name: &HeaderName) -> bool {
    let mut lines = headers.get_all(name).iter();
    let (Some(line), None) = (lines.next(), lines.next()) else { return false };
    let (mut count, mut is_true) = (0, false);
    let parsed = list(line.as_bytes(), |member| {
        count += 1;
        is_true = member == Value::Boolean(true);
    });
    parsed.is_some() && count == 1 && is_true
}

/// What dictionaries and lists have in common.
fn members<'a>(text: &'a [u8], mut member: impl FnMut(&mut Input<'a>) -> Option<()>) -> Option<()> {
    let mut input = Input(text);
    input.skip(|byte| byte == b' ');
    while !input.0.is_empty() {
        member(&mut input)?;
        let before_space = input.0;
        input.skip(is_ows);
        if input.0.is_empty() {
            // Behind the last member only spaces are allowed.
            return before_space.iter().all(|byte| *byte == b' ').then_some(());
        }
        input.expect(b',')?;
        input.skip(is_ows);
        if input.0.is_empty() {
            return None;
        }
    }
    Some(())
}

/// What is left to be parsed.
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    /// An item or an inner list, with its parameters (RFC 9651 §4.2.1.1).
    fn member(&mut self) -> Option<Value<'a>> {
        if !self.take(b'(') {
            return self.item();
        }
        loop {
            self.skip(|byte| byte == b' ');
            if self.take(b')') {
                self.parameters()?;
                return Some(Value::InnerList);
            }
            self.item()?;
            if !matches!(self.0.first(), Some(b' ' | b')')) {
                return None;
            }
        }
    }

    /// RFC 9651 §4.2.3.
    fn item(&mut self) -> Option<Value<'a>> {
        let value = self.bare_item()?;
        self.parameters()?;
        Some(value)
    }

    /// RFC 9651 §4.2.3.2.
    fn parameters(&mut self) -> Option<()> {
        while self.take(b';') {
            self.skip(|byte| byte == b' ');
            self.key()?;
            if self.take(b'=') {
                self.bare_item()?;
            }
        }
        Some(())
    }

    /// RFC 9651 §4.2.3.3.
    fn key(&mut self) -> Option<&'a [u8]> {
        match self.0.first()? {
            b'a'..=b'z' | b'*' => Some(self.skip(
                |byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-' | b'.' | b'*'),
            )),
            _ => None,
        }
    }

    /// RFC 9651 §4.2.3.1.
    fn bare_item(&mut self) -> Option<Value<'a>> {
        match *self.0.first()? {
            b'-' | b'0'..=b'9' => self.number(),
            b'"' => self.string(),
            b'*' | b'A'..=b'Z' | b'a'..=b'z' => Some(Value::Token(
                self.skip(|byte| super::fields::is_tchar(byte) || byte == b':' || byte == b'/'),
            )),
            b':' => self.byte_sequence(),
            b'?' => {
                self.expect(b'?')?;
                let is_true = self.take(b'1');
                (is_true || self.take(b'0')).then_some(Value::Boolean(is_true))
            }
            b'@' => {
                self.expect(b'@')?;
                matches!(self.number()?, Value::Integer(_)).then_some(Value::Other)
            }
            b'%' => self.display_string(),
            _ => None,
        }
    }

    /// RFC 9651 §4.2.4.
    fn number(&mut self) -> Option<Value<'a>> {
        let is_negative = self.take(b'-');
        let whole = self.skip(|byte| byte.is_ascii_digit());
        if whole.is_empty() {
            return None;
        }
        if self.take(b'.') {
            let fraction = self.skip(|byte| byte.is_ascii_digit());
            let fits = whole.len() <= 12 && (1..=3).contains(&fraction.len());
            return fits.then_some(Value::Decimal);
        }
        if whole.len() > 15 {
            return None;
        }
        let digits = whole.iter().map(|digit| i64::from(digit - b'0'));
        let number = digits.fold(0, |sum, digit| sum * 10 + digit);
        Some(Value::Integer(if is_negative { -number } else { number }))
    }

    /// RFC 9651 §4.2.5.
    fn string(&mut self) -> Option<Value<'a>> {
        self.expect(b'"')?;
        let text = self.0;
        let mut unescaped: Option<Vec<u8>> = None;
        loop {
            let at = text.len() - self.0.len();
            let (&byte, rest) = self.0.split_first()?;
            self.0 = rest;
            match byte {
                b'"' => {
                    let whole = text.get(..at)?;
                    return Some(Value::String(unescaped.map_or(whole.into(), Cow::Owned)));
                }
                b'\\' => {
                    let (&escaped, rest) = self.0.split_first()?;
                    self.0 = rest;
                    if !matches!(escaped, b'"' | b'\\') {
                        return None;
                    }
                    let before = text.get(..at)?;
                    unescaped.get_or_insert_with(|| before.to_vec()).push(escaped);
                }
                0x20..=0x7e => {
                    if let Some(unescaped) = &mut unescaped {
                        unescaped.push(byte);
                    }
                }
                _ => return None,
            }
        }
    }

    /// RFC 9651 §4.2.7. Padding may be left out.
    fn byte_sequence(&mut self) -> Option<Value<'a>> {
        self.expect(b':')?;
        self.skip(|byte| byte.is_ascii_alphanumeric() || byte == b'+' || byte == b'/');
        let padding = self.skip(|byte| byte == b'=');
        self.expect(b':')?;
        (padding.len() <= 2).then_some(Value::Other)
    }

    /// RFC 9651 §4.2.10.
    fn display_string(&mut self) -> Option<Value<'a>> {
        self.expect(b'%')?;
        self.expect(b'"')?;
        let mut bytes = Vec::new();
        loop {
            let (&byte, rest) = self.0.split_first()?;
            self.0 = rest;
            match byte {
                b'"' => return std::str::from_utf8(&bytes).ok().map(|_| Value::Other),
                b'%' => {
                    let (pair, rest) = self.0.split_first_chunk::<2>()?;
                    self.0 = rest;
                    let digit = |byte| match byte {
                        b'0'..=b'9' => Some(byte - b'0'),
                        b'a'..=b'f' => Some(byte - b'a' + 10),
                        _ => None,
                    };
                    bytes.push(digit(pair[0])? << 4 | digit(pair[1])?);
                }
                0x20..=0x7e => bytes.push(byte),
                _ => return None,
            }
        }
    }

    /// What is skipped.
    fn skip(&mut self, belongs: impl Fn(u8) -> bool) -> &'a [u8] {
        let end = self.0.iter().position(|byte| !belongs(*byte)).unwrap_or(self.0.len());
        let (skipped, rest) = self.0.split_at(end);
        self.0 = rest;
        skipped
    }

    fn take(&mut self, wanted: u8) -> bool {
        self.expect(wanted).is_some()
    }

    fn expect(&mut self, wanted: u8) -> Option<()> {
        self.0 = self.0.strip_prefix(&[wanted])?;
        Some(())
    }
}

fn is_ows(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

#[cfg(test)]
mod tests;
