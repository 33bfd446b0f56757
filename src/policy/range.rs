//! One range of a stored response (RFC 9110 §14).

use std::{
    ops::Range,
    time::{Duration, SystemTime},
};

use http::{HeaderMap, HeaderValue, Response, StatusCode, header, response};

use super::{age::Timestamp, date, etag::EntityTag};

/// The bytes that a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ByteRange {
    From { first: u64, last: u64 },
    Last(u64),
}

impl ByteRange {
    /// The one range that a request asks for. `None`: several, of another unit, or what cannot be read:
    /// for the origin to answer (§14.2).
    pub(super) fn parse(headers: &HeaderMap) -> Option<Self> {
        let mut lines = headers.get_all(header::RANGE).iter();
        let (line, None) = (lines.next()?, lines.next()) else { return None };
        let (unit, set) = line.to_str().ok()?.split_once('=')?;
        if !unit.eq_ignore_ascii_case("bytes") {
            return None;
        }
        let mut specs = set.split(',').map(|spec| spec.trim_matches([' ', '\t']));
        let mut specs = specs.by_ref().filter(|spec| !spec.is_empty());
        let (spec, None) = (specs.next()?, specs.next()) else { return None };
        let (first, last) = spec.split_once('-')?;
        match (first, last) {
            ("", last) => Some(Self::Last(position(last)?)),
            (first, "") => Some(Self::From { first: position(first)?, last: u64::MAX }),
            (first, last) => {
                let (first, last) = (position(first)?, position(last)?);
                (first <= last).then_some(Self::From { first, last })
            }
        }
    }

    /// What that is of a body of `length` bytes; `None` if there is nothing of it (§15.5.17).
    pub(super) fn of(self, length: u64) -> Option<Range<u64>> {
        let (start, end) = match self {
            Self::From { first, last } => (first, last.saturating_add(1).min(length)),
            Self::Last(count) => (length.saturating_sub(count), length),
        };
        (start < end).then_some(start..end)
    }
}

/// Digits; what is too large for us is larger than any body.
fn position(digits: &str) -> Option<u64> {
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| digits.parse().unwrap_or(u64::MAX))
}

/// Whether `If-Range` lets the range be answered: it is not there, or names the very response that is
/// stored, by strong comparison (RFC 9110 §13.1.5).
pub(super) fn is_wanted_of(request: &HeaderMap, stored: &HeaderMap, now: SystemTime) -> bool {
    let mut lines = request.get_all(header::IF_RANGE).iter();
    let Some(condition) = lines.next() else { return true };
    if lines.next().is_some() {
        return false;
    }
    if let Some(theirs) = EntityTag::parse(condition.as_bytes()) {
        let ours = stored.get(header::ETAG).and_then(|tag| EntityTag::parse(tag.as_bytes()));
        return ours.is_some_and(|ours| theirs.strong_eq(&ours));
    }
    let at = |headers, name| date::field(headers, name, now);
    let (Some(theirs), Some(modified), Some(date)) = (
        at(request, &header::IF_RANGE),
        at(stored, &header::LAST_MODIFIED),
        at(stored, &header::DATE),
    ) else {
        return false;
    };
    // A date is strong only where the response was made later than in the same second (§8.8.2.2).
    theirs == modified && date >= modified + Duration::from_secs(1)
}

/// The fields that tell the part from the whole (RFC 9110 §15.3.7).
pub(super) fn set_fields(headers: &mut HeaderMap, range: &Range<u64>, length: u64) {
    headers.insert(header::CONTENT_LENGTH, (range.end - range.start).into());
    set_content_range(headers, &format!("bytes {}-{}/{length}", range.start, range.end - 1));
}

/// RFC 9110 §15.5.17. It says nothing of how long it may be kept, as it is about one odd request.
pub(super) fn not_satisfiable(length: u64, now: Timestamp) -> response::Parts {
    let (mut head, ()) = Response::new(()).into_parts();
    head.status = StatusCode::RANGE_NOT_SATISFIABLE;
    head.headers.insert(header::DATE, date::format(now.wall()));
    head.headers.insert(header::CONTENT_LENGTH, 0.into());
    set_content_range(&mut head.headers, &format!("bytes */{length}"));
    head
}

fn set_content_range(headers: &mut HeaderMap, text: &str) {
    // Digits and signs are always a value.
    if let Ok(value) = HeaderValue::from_str(text) {
        headers.insert(header::CONTENT_RANGE, value);
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderName;

    use super::*;

    fn headers(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in lines {
            map.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        map
    }

    /// RFC 9110 §14.1.2, §14.2; Behaviour 33.
    #[test]
    fn one_range_in_its_three_forms() {
        // Of a body of ten bytes.
        let table: [(&str, Option<Option<Range<u64>>>); 30] = [
            ("bytes=0-0", Some(Some(0..1))),
            ("bytes=0-9", Some(Some(0..10))),
            ("bytes=0-10", Some(Some(0..10))),
            ("bytes=3-", Some(Some(3..10))),
            ("bytes=9-", Some(Some(9..10))),
            ("bytes=10-", Some(None)),
            ("bytes=10-20", Some(None)),
            ("bytes=-1", Some(Some(9..10))),
            ("bytes=-10", Some(Some(0..10))),
            ("bytes=-11", Some(Some(0..10))),
            ("bytes=-0", Some(None)),
            ("Bytes=2-3", Some(Some(2..4))),
            ("bytes= 2-3 ", Some(Some(2..4))),
            ("bytes=,2-3,,", Some(Some(2..4))),
            ("bytes=0-18446744073709551615", Some(Some(0..10))),
            ("bytes=0-99999999999999999999999", Some(Some(0..10))),
            ("bytes=99999999999999999999999-", Some(None)),
            ("bytes=-99999999999999999999999", Some(Some(0..10))),
            ("bytes=18446744073709551615-18446744073709551615", Some(None)),
            ("bytes=3-2", None),
            ("bytes=0-1,3-4", None),
            ("bytes=", None),
            ("bytes=-", None),
            ("bytes=a-1", None),
            ("bytes=1-a", None),
            ("bytes=+1-2", None),
            ("bytes=1 - 2", None),
            ("bytes 0-1", None),
            ("items=0-1", None),
            ("", None),
        ];
        for (value, expected) in table {
            let parsed = ByteRange::parse(&headers(&[("range", value)]));
            assert_eq!(parsed.map(|range| range.of(10)), expected, "{value}");
            assert_eq!(parsed.and_then(|range| range.of(0)), None, "{value} of nothing");
        }
        let twice = headers(&[("range", "bytes=0-1"), ("range", "bytes=0-1")]);
        assert_eq!(ByteRange::parse(&twice), None);
    }

    /// RFC 9110 §13.1.5, §8.8.2.2.
    #[test]
    fn if_range_is_compared_strongly() {
        const LM: (&str, &str) = ("last-modified", "Thu, 01 Jan 2026 00:00:00 GMT");
        const SAME: (&str, &str) = ("date", "Thu, 01 Jan 2026 00:00:00 GMT");
        const LATER: (&str, &str) = ("date", "Thu, 01 Jan 2026 00:00:01 GMT");
        type Lines = &'static [(&'static str, &'static str)];
        let table: [(Lines, Lines, bool); 11] = [
            (&[], &[], true),
            (&[("if-range", "\"a\"")], &[("etag", "\"a\"")], true),
            (&[("if-range", "\"b\"")], &[("etag", "\"a\"")], false),
            (&[("if-range", "W/\"a\"")], &[("etag", "W/\"a\"")], false),
            (&[("if-range", "\"a\"")], &[("etag", "W/\"a\"")], false),
            (&[("if-range", "\"a\"")], &[], false),
            (&[("if-range", LM.1)], &[LM, LATER], true),
            (&[("if-range", LM.1)], &[LM, SAME], false),
            (&[("if-range", LATER.1)], &[LM, LATER], false),
            (&[("if-range", "yesterday")], &[LM, LATER], false),
            (&[("if-range", "\"a\""), ("if-range", "\"a\"")], &[("etag", "\"a\"")], false),
        ];
        for (request, stored, expected) in table {
            let (request, stored) = (headers(request), headers(stored));
            let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_767_225_700);
            assert_eq!(is_wanted_of(&request, &stored, now), expected, "{request:?} {stored:?}");
        }
    }
}
