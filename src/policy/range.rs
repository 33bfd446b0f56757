//! Ranges of a stored response (RFC 9110 §14).

use std::{
    ops::Range,
    time::{Duration, SystemTime},
};

use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header, response};

use super::{ContentRange, age::Timestamp, content_range::Extent, date, etag::EntityTag};

/// What a request asks for (RFC 9110 §14.1.2).
#[derive(Debug)]
pub(super) enum Ranges {
    One(ByteRange),
    Several(Box<[ByteRange]>),
    /// More than anybody needs who does no harm: they get all of it (§14.2).
    TooMany,
}

/// It is of the very content that it comes with, and not of the whole (RFC 9530 §2).
pub(super) const CONTENT_DIGEST: HeaderName = HeaderName::from_static("content-digest");

/// The bytes that one range asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ByteRange {
    From { first: u64, last: u64 },
    Last(u64),
}

/// What that is of a body.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Part {
    Nothing,
    One(Range<u64>),
    /// In the order in which they were asked for, none of them touching another (§15.3.7.2).
    Several(Vec<Range<u64>>),
    Whole,
}

/// So many may be asked for,
const MAX_ASKED: usize = 256;
/// and so many are sent.
const MAX_SENT: usize = 16;

impl Ranges {
    /// The ranges that a request asks for. `None`: of another unit, or what cannot be read: for the
    /// origin to answer (§14.2).
    pub(super) fn parse(headers: &HeaderMap) -> Option<Self> {
        let mut lines = headers.get_all(header::RANGE).iter();
        let (line, None) = (lines.next()?, lines.next()) else { return None };
        let (unit, set) = line.to_str().ok()?.split_once('=')?;
        if !unit.eq_ignore_ascii_case("bytes") {
            return None;
        }
        let specs = set.split(',').map(|spec| spec.trim_matches([' ', '\t']));
        let mut specs = specs.filter(|spec| !spec.is_empty()).map(ByteRange::parse);
        let first = specs.next()??;
        let Some(second) = specs.next() else { return Some(Self::One(first)) };
        let mut several = vec![first, second?];
        let mut count = several.len();
        for spec in specs {
            let spec = spec?;
            count += 1;
            if count <= MAX_ASKED {
                several.push(spec);
            }
        }
        Some(if count > MAX_ASKED { Self::TooMany } else { Self::Several(several.into()) })
    }

    /// What they are of a body of `length` bytes.
    pub(super) fn of(&self, length: u64) -> Part {
        let asked = match self {
            Self::One(range) => return range.of(length).map_or(Part::Nothing, Part::One),
            Self::TooMany => return Part::Whole,
            Self::Several(asked) => asked,
        };
        let mut parts: Vec<Range<u64>> = Vec::new();
        for mut range in asked.iter().filter_map(|range| range.of(length)) {
            let mut place = parts.len();
            // From the back, so that the first that it touches gives the place.
            for at in (0..parts.len()).rev() {
                let other = &parts[at];
                if range.start <= other.end && other.start <= range.end {
                    range = range.start.min(other.start)..range.end.max(other.end);
                    parts.remove(at);
                    place = at;
                }
            }
            parts.insert(place, range);
            if parts.len() > MAX_SENT {
                return Part::Whole;
            }
        }
        match parts.len() {
            0 => Part::Nothing,
            1 => Part::One(parts.swap_remove(0)),
            _ => Part::Several(parts),
        }
    }
}

impl Ranges {
    /// What they are of a representation of which these bytes are there. `None`: there are not all of
    /// them, or nobody can tell.
    pub(super) fn within(&self, part: ContentRange) -> Option<Part> {
        let range = part.range();
        let is_told =
            |asked: &ByteRange| matches!(asked, ByteRange::From { last, .. } if *last < range.end);
        let asked = match self {
            Self::One(asked) => std::slice::from_ref(asked),
            Self::Several(asked) => asked,
            Self::TooMany => return None,
        };
        let length = match part.complete_length() {
            Some(length) => length,
            // Where the end is not known, what ends here ends before it.
            None => asked.iter().all(is_told).then_some(range.end)?,
        };
        let wanted = self.of(length);
        let is_there = match &wanted {
            Part::One(wanted) => part.has(wanted),
            Part::Several(wanted) => wanted.iter().all(|wanted| part.has(wanted)),
            Part::Nothing | Part::Whole => false,
        };
        is_there.then_some(wanted)
    }

    /// The one range of a body of `length` bytes that is asked for.
    pub(super) fn single(&self, length: u64) -> Option<Range<u64>> {
        match self {
            Self::One(range) => range.of(length),
            Self::Several(_) | Self::TooMany => None,
        }
    }
}

impl ByteRange {
    fn parse(spec: &str) -> Option<Self> {
        match spec.split_once('-')? {
            ("", last) => Some(Self::Last(position(last)?)),
            (first, "") => Some(Self::From { first: position(first)?, last: u64::MAX }),
            (first, last) => {
                let (first, last) = (position(first)?, position(last)?);
                (first <= last).then_some(Self::From { first, last })
            }
        }
    }

    /// What that is of a body of `length` bytes; `None` if there is nothing of it (§15.5.17).
    fn of(self, length: u64) -> Option<Range<u64>> {
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
pub(super) fn set_fields(headers: &mut HeaderMap, range: &Range<u64>, extent: Extent) {
    headers.remove(CONTENT_DIGEST);
    headers.insert(header::CONTENT_LENGTH, (range.end - range.start).into());
    set_content_range(headers, &extent.show(range));
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
    use super::*;

    fn headers(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in lines {
            map.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        map
    }

    fn parse(value: &'static str) -> Option<Ranges> {
        Ranges::parse(&headers(&[("range", value)]))
    }

    /// RFC 9110 §14.1.2, §14.2; Behaviour 33.
    #[test]
    fn one_range_in_its_three_forms() {
        // Of a body of ten bytes.
        let table: [(&str, Option<Option<Range<u64>>>); 29] = [
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
            let expected = expected.map(|range| range.map_or(Part::Nothing, Part::One));
            let parsed = parse(value);
            assert_eq!(parsed.as_ref().map(|range| range.of(10)), expected, "{value}");
            let of_nothing = parsed.map_or(Part::Nothing, |range| range.of(0));
            assert_eq!(of_nothing, Part::Nothing, "{value} of nothing");
        }
        let twice = headers(&[("range", "bytes=0-1"), ("range", "bytes=0-1")]);
        assert!(Ranges::parse(&twice).is_none());
    }

    /// RFC 9110 §15.3.7.2: what overlaps or touches is one part, at the place of the first.
    #[test]
    fn several_ranges_are_merged_and_keep_their_order() {
        // Of a body of a hundred bytes; first and last of each part.
        let table: [(&str, &[(u64, u64)]); 18] = [
            ("bytes=0-1,5-6", &[(0, 1), (5, 6)]),
            ("bytes=5-6, 0-1", &[(5, 6), (0, 1)]),
            ("bytes=-1,0-0", &[(99, 99), (0, 0)]),
            ("bytes=0-4,3-9", &[(0, 9)]),
            ("bytes=3-9,0-4", &[(0, 9)]),
            ("bytes=0-4,5-9", &[(0, 9)]),
            ("bytes=5-9,0-4", &[(0, 9)]),
            ("bytes=0-4,6-9", &[(0, 4), (6, 9)]),
            ("bytes=0-9,50-59,5-20", &[(0, 20), (50, 59)]),
            ("bytes=50-59,0-9,5-20,90-", &[(50, 59), (0, 20), (90, 99)]),
            ("bytes=0-9,20-29,40-49,10-19", &[(0, 29), (40, 49)]),
            ("bytes=40-49,20-29,60-69,0-9,10-19,30-39", &[(0, 49), (60, 69)]),
            ("bytes=0-0,0-0,0-0", &[(0, 0)]),
            ("bytes=10-19,100-,200-300", &[(10, 19)]),
            ("bytes=100-,200-300,-0", &[]),
            ("bytes=0-,5-6", &[(0, 99)]),
            ("bytes=0-1,,5-99999999999999999999999", &[(0, 1), (5, 99)]),
            ("bytes=0-18446744073709551615,-18446744073709551615", &[(0, 99)]),
        ];
        for (value, expected) in table {
            let part = parse(value).map(|ranges| ranges.of(100));
            let mut expected: Vec<_> = expected.iter().map(|(at, last)| *at..last + 1).collect();
            let expected = match expected.len() {
                0 => Part::Nothing,
                1 => Part::One(expected.remove(0)),
                _ => Part::Several(expected),
            };
            assert_eq!(part, Some(expected), "{value}");
        }
        for invalid in ["bytes=0-1,3-2", "bytes=0-1,x", "bytes=0-1,-", "bytes=a,0-1"] {
            assert!(parse(invalid).is_none(), "{invalid}");
        }
    }

    /// RFC 9111 §3.3: "wholly within", in all three forms and in several ranges.
    #[test]
    fn a_part_has_what_lies_wholly_within() {
        let part = |range, complete| ContentRange::new(range, complete).unwrap();
        let (known, unknown) = (part(20..60, Some(100)), part(20..60, None));
        for (value, is_in_known, is_in_unknown) in [
            ("bytes=20-59", true, true),
            ("bytes=20-60", false, false),
            ("bytes=19-59", false, false),
            ("bytes=30-", false, false),
            ("bytes=-40", false, false),
            ("bytes=0-99", false, false),
            ("bytes=25-29,50-59", true, true),
            ("bytes=25-29,50-60", false, false),
            ("bytes=25-29,200-210", true, false),
            ("bytes=200-", false, false),
        ] {
            let ranges = parse(value).unwrap();
            assert_eq!(ranges.within(known).is_some(), is_in_known, "{value}");
            assert_eq!(ranges.within(unknown).is_some(), is_in_unknown, "{value} of nobody knows");
        }
        let tail = part(60..100, Some(100));
        for value in ["bytes=-40", "bytes=60-", "bytes=99-200", "bytes=-1,60-61"] {
            assert!(parse(value).unwrap().within(tail).is_some(), "{value}");
        }
        assert!(parse("bytes=-41").unwrap().within(tail).is_none());
        assert!(parse("bytes=-0").unwrap().within(tail).is_none());
    }

    /// RFC 9110 §14.2, §17.15: many small ranges get the whole, and cost no more than they say.
    #[test]
    fn too_many_ranges_are_the_whole() {
        let of = |specs: Vec<String>, length| {
            let mut map = HeaderMap::new();
            map.insert(header::RANGE, format!("bytes={}", specs.join(",")).try_into().unwrap());
            Ranges::parse(&map).map(|ranges| ranges.of(length))
        };
        let apart = |count: u64| (0..count).map(|at| format!("{0}-{0}", 2 * at)).collect();
        let count = |part| matches!(part, Some(Part::Several(parts)) if parts.len() == 16);
        assert!(count(of(apart(16), 1000)));
        assert_eq!(of(apart(17), 1000), Some(Part::Whole));
        let touching = |count: u64| (0..count).map(|at| format!("{at}-{at}")).collect();
        assert_eq!(of(touching(256), 1000), Some(Part::One(0..256)));
        assert_eq!(of(touching(257), 1000), Some(Part::Whole));
        let mut invalid: Vec<String> = touching(300);
        invalid.push("2-1".to_owned());
        assert_eq!(of(invalid, 1000), None);
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
