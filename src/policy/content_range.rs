//! Which bytes of a representation a response has (RFC 9110 §14.4).

use std::{fmt, ops::Range};

use http::{HeaderMap, header};

/// The bytes that a part of a representation has, and how many there are in all, if that is known
/// (RFC 9110 §14.4). There is at least one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ContentRange {
    start: u64,
    end: u64,
    complete: Option<u64>,
}

impl ContentRange {
    /// `None`: it has no bytes, or some beyond the end.
    pub(crate) fn new(range: Range<u64>, complete: Option<u64>) -> Option<Self> {
        let Range { start, end } = range;
        let is_valid = start < end && complete.is_none_or(|complete| end <= complete);
        is_valid.then_some(Self { start, end, complete })
    }

    /// What the one `Content-Range` of a response says. `None`: of another unit, or not valid.
    pub(super) fn of(headers: &HeaderMap) -> Option<Self> {
        let mut lines = headers.get_all(header::CONTENT_RANGE).iter();
        let (line, None) = (lines.next()?, lines.next()) else { return None };
        let (unit, range) = line.to_str().ok()?.trim_matches([' ', '\t']).split_once(' ')?;
        if !unit.eq_ignore_ascii_case("bytes") {
            return None;
        }
        let (range, complete) = range.split_once('/')?;
        let (first, last) = range.split_once('-')?;
        let end = number(last)?.checked_add(1)?;
        let complete = match complete {
            "*" => None,
            digits => Some(number(digits)?),
        };
        Self::new(number(first)?..end, complete)
    }

    /// The bytes: from the first up to the one behind the last.
    pub fn range(&self) -> Range<u64> {
        self.start..self.end
    }

    /// How many bytes the whole representation has. `None`: nobody has said so.
    pub fn complete_length(&self) -> Option<u64> {
        self.complete
    }

    /// How many bytes the part has.
    pub(crate) fn length(&self) -> u64 {
        self.end - self.start
    }

    pub(super) fn has(&self, range: &Range<u64>) -> bool {
        self.start <= range.start && range.end <= self.end
    }

    /// Both together, if nothing is missing between them and they are of one length.
    pub(super) fn union(&self, other: &Self) -> Option<Self> {
        let is_gapless = self.start <= other.end && other.start <= self.end;
        let complete = match (self.complete, other.complete) {
            (Some(one), Some(two)) if one != two => return None,
            (one, two) => one.or(two),
        };
        let range = self.start.min(other.start)..self.end.max(other.end);
        if is_gapless { Self::new(range, complete) } else { None }
    }

    /// Whether it is all of the representation.
    pub(super) fn is_whole(&self) -> bool {
        self.start == 0 && self.complete == Some(self.end)
    }
}

/// As in the field.
impl fmt::Display for ContentRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "bytes {}-{}/", self.start, self.end - 1)?;
        match self.complete {
            Some(complete) => write!(f, "{complete}"),
            None => f.write_str("*"),
        }
    }
}

/// Digits; what is too large for us is no position.
fn number(digits: &str) -> Option<u64> {
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| digits.parse().ok())?
}

/// Which of a representation's bytes are there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Extent {
    /// All, so many.
    Whole(u64),
    Part(ContentRange),
}

impl Extent {
    /// Where a range of the representation lies among the bytes that are there.
    pub(super) fn place(self, range: Range<u64>) -> Range<u64> {
        match self {
            Self::Whole(_) => range,
            Self::Part(part) => {
                range.start.saturating_sub(part.start)..range.end.saturating_sub(part.start)
            }
        }
    }

    /// A range of the representation, as `Content-Range` shows it.
    pub(super) fn show(self, range: &Range<u64>) -> String {
        let complete = match self {
            Self::Whole(length) => Some(length),
            Self::Part(part) => part.complete,
        };
        ContentRange { start: range.start, end: range.end, complete }.to_string()
    }
}

impl fmt::Display for Extent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole(length) => write!(f, "{length} bytes"),
            Self::Part(part) => part.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn of(lines: &[&'static str]) -> Option<ContentRange> {
        let line = |line: &&'static str| (header::CONTENT_RANGE, HeaderValue::from_static(line));
        ContentRange::of(&lines.iter().map(line).collect())
    }

    /// RFC 9110 §14.4; the arithmetic is checked.
    #[test]
    fn a_content_range_is_valid_or_none() {
        for (line, start, end, complete) in [
            ("bytes 0-0/1", 0, 1, Some(1)),
            ("bytes 42-1233/1234", 42, 1234, Some(1234)),
            ("bytes 42-1233/*", 42, 1234, None),
            ("BYTES 0-9/010", 0, 10, Some(10)),
            (
                "bytes 0-18446744073709551614/18446744073709551615",
                0,
                18_446_744_073_709_551_615,
                Some(18_446_744_073_709_551_615),
            ),
        ] {
            let expected = ContentRange { start, end, complete };
            assert_eq!(of(&[line]), Some(expected), "{line}");
        }
        for line in [
            "",
            "bytes",
            "bytes */10",
            "bytes 0-9",
            "bytes 0-9/",
            "bytes 0-9/9",
            "bytes 5-4/10",
            "bytes -5/10",
            "bytes 5-/10",
            "bytes 0-x/10",
            "bytes +0-1/10",
            "bytes 0 - 1/10",
            "bytes=0-1/10",
            "bytes 0-1/10, bytes 2-3/10",
            "items 0-1/10",
            "bytes 0-18446744073709551615/*",
            "bytes 0-9/18446744073709551616",
            "bytes 99999999999999999999-99999999999999999999/*",
        ] {
            assert_eq!(of(&[line]), None, "{line}");
        }
        assert_eq!(of(&["bytes 0-1/10", "bytes 0-1/10"]), None);
        assert_eq!(of(&[]), None);
    }

    /// RFC 9111 §3.4, RFC 9110 §15.3.7.3.
    #[test]
    fn parts_make_one_where_nothing_is_missing() {
        let part = |range, complete| ContentRange::new(range, complete).unwrap();
        let this = part(10..20, Some(30));
        for (other, expected) in [
            (part(20..30, Some(30)), Some(10..30)),
            (part(0..10, Some(30)), Some(0..20)),
            (part(5..25, None), Some(5..25)),
            (part(12..14, Some(30)), Some(10..20)),
            (part(21..30, Some(30)), None),
            (part(0..9, Some(30)), None),
            (part(20..30, Some(31)), None),
            // Of an unknown length, and beyond ours.
            (part(20..31, None), None),
        ] {
            let union = this.union(&other);
            assert_eq!(union.map(|union| union.range()), expected, "{other}");
            assert_eq!(other.union(&this), union, "{other}");
            assert!(union.is_none_or(|union| union.complete_length() == Some(30)));
        }
        assert!(part(0..20, Some(30)).union(&part(20..30, None)).unwrap().is_whole());
        assert!(!part(0..30, None).is_whole());
    }
}
