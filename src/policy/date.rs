//! HTTP dates (RFC 9110 §5.6.7).
//!
//! `httpdate` writes them. It reads them with a century of its own choice for two digits of a year, in one
//! letter case only, and without leap seconds; the rules of caches ask for more.

use std::{
    io::Write,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use http::header::{DATE, HeaderMap, HeaderName, HeaderValue};
use httpdate::HttpDate;

use super::fields;

const DAY: i64 = 86_400;
/// The last second of the year 9999, behind which a date has no text.
const LAST: u64 = 253_402_300_799;
const DAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
const LONG_DAYS: [&str; 7] =
    ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];
const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// RFC 9110 §5.6.7: a date in one of its three forms, in any letter case (RFC 9111 §4.2) and
/// otherwise to the letter. What lies before 1970 counts as the start of 1970.
pub(crate) fn parse(text: &[u8], now: SystemTime) -> Option<SystemTime> {
    let date = match text.iter().position(|byte| *byte == b',') {
        Some(3) => imf_fixdate(text),
        Some(_) => rfc850(text, now),
        None => asctime(text),
    };
    // Nothing of the present needs the past of 1970, and clocks cannot always hold it.
    let seconds = u64::try_from(date?.seconds()?).unwrap_or(0);
    UNIX_EPOCH.checked_add(Duration::from_secs(seconds))
}

/// RFC 9110 §5.6.7: `at` as an IMF-fixdate; times that have none become the nearest that has.
pub(crate) fn format(at: SystemTime) -> HeaderValue {
    let at = UNIX_EPOCH + Duration::from_secs(since_epoch(at));
    let mut text = [0; 29];
    let written = write!(&mut text[..], "{}", HttpDate::from(at));
    let date = written.ok().and_then(|()| HeaderValue::from_bytes(&text).ok());
    date.unwrap_or_else(|| HeaderValue::from_static("Thu, 01 Jan 1970 00:00:00 GMT"))
}

/// The time of receipt for a response that does not say when it was made (RFC 9110 §6.6.1).
pub(super) fn append(headers: &mut HeaderMap, received: SystemTime) {
    headers.entry(DATE).or_insert_with(|| format(received));
}

/// The date in the first line of a field, if that is one.
pub(crate) fn field(headers: &HeaderMap, name: &HeaderName, now: SystemTime) -> Option<SystemTime> {
    parse(fields::trim(headers.get(name)?.as_bytes()), now)
}

/// A point in time by calendar and clock. The order of the fields is that of time.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Civil {
    year: i64,
    /// From 1 to 12.
    month: i64,
    day: i64,
    second_of_day: i64,
}

impl Civil {
    /// The seconds since 1970, unless the month has no such day.
    fn seconds(&self) -> Option<i64> {
        let leap = self.year % 4 == 0 && (self.year % 100 != 0 || self.year % 400 == 0);
        let days = match self.month {
            2 => 28 + i64::from(leap),
            4 | 6 | 9 | 11 => 30,
            _ => 31,
        };
        if !(1..=days).contains(&self.day) {
            return None;
        }
        // Years from March on, so that a leap day is the last of its year.
        let year = self.year - i64::from(self.month <= 2);
        let day_of_year = (153 * ((self.month + 9) % 12) + 2) / 5 + self.day - 1;
        let leaps = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
        Some((year * 365 + leaps + day_of_year - 719_468) * DAY + self.second_of_day)
    }

    fn of(at: SystemTime) -> Self {
        // The same count as above, in whole periods of 400 years.
        let seconds = since_epoch(at).cast_signed();
        let days = seconds / DAY + 719_468;
        let (era, day) = (days / 146_097, days % 146_097);
        let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
        let day_of_year = day - (year * 365 + year / 4 - year / 100);
        let month = (5 * day_of_year + 2) / 153;
        Self {
            year: era * 400 + year + i64::from(month >= 10),
            month: (month + 2) % 12 + 1,
            day: day_of_year - (153 * month + 2) / 5 + 1,
            second_of_day: seconds % DAY,
        }
    }
}

/// The seconds since 1970, between its start and the end of the year 9999.
fn since_epoch(at: SystemTime) -> u64 {
    at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs().min(LAST)
}

/// `Sun, 06 Nov 1994 08:49:37 GMT`
fn imf_fixdate(text: &[u8]) -> Option<Civil> {
    let mut rest = Rest(text);
    rest.name(&DAYS)?;
    rest.literal(", ")?;
    let day = rest.number(2)?;
    rest.literal(" ")?;
    let month = rest.name(&MONTHS)?;
    rest.literal(" ")?;
    let year = rest.number(4)?;
    rest.literal(" ")?;
    let second_of_day = rest.time_of_day()?;
    rest.literal(" GMT")?;
    rest.end(Civil { year, month, day, second_of_day })
}

/// `Sunday, 06-Nov-94 08:49:37 GMT`
fn rfc850(text: &[u8], now: SystemTime) -> Option<Civil> {
    let mut rest = Rest(text);
    rest.name(&LONG_DAYS)?;
    rest.literal(", ")?;
    let day = rest.number(2)?;
    rest.literal("-")?;
    let month = rest.name(&MONTHS)?;
    rest.literal("-")?;
    let year_of_century = rest.number(2)?;
    rest.literal(" ")?;
    let second_of_day = rest.time_of_day()?;
    rest.literal(" GMT")?;

    // The latest year with these digits that is not more than 50 years ahead.
    let mut horizon = Civil::of(now);
    horizon.year += 50;
    let year = horizon.year - horizon.year % 100 + year_of_century;
    let mut date = rest.end(Civil { year, month, day, second_of_day })?;
    if date > horizon {
        date.year -= 100;
    }
    Some(date)
}

/// `Sun Nov  6 08:49:37 1994`
fn asctime(text: &[u8]) -> Option<Civil> {
    let mut rest = Rest(text);
    rest.name(&DAYS)?;
    rest.literal(" ")?;
    let month = rest.name(&MONTHS)?;
    rest.literal(" ")?;
    let digits = if rest.literal(" ").is_some() { 1 } else { 2 };
    let day = rest.number(digits)?;
    rest.literal(" ")?;
    let second_of_day = rest.time_of_day()?;
    rest.literal(" ")?;
    let year = rest.number(4)?;
    rest.end(Civil { year, month, day, second_of_day })
}

/// What is left to read of a date.
struct Rest<'a>(&'a [u8]);

impl Rest<'_> {
    fn literal(&mut self, text: &str) -> Option<()> {
        let (head, rest) = self.0.split_at_checked(text.len())?;
        head.eq_ignore_ascii_case(text.as_bytes()).then(|| self.0 = rest)
    }

    /// The place of the next word among `names`, counted from 1.
    fn name(&mut self, names: &[&str]) -> Option<i64> {
        (1..).zip(names).find_map(|(place, name)| self.literal(name).map(|()| place))
    }

    fn number(&mut self, digits: usize) -> Option<i64> {
        let (head, rest) = self.0.split_at_checked(digits)?;
        self.0 = rest;
        let digits = head.iter().map(|byte| byte.is_ascii_digit().then(|| i64::from(byte - b'0')));
        digits.reduce(|sum, digit| Some(sum? * 10 + digit?))?
    }

    /// A leap second, of any minute, counts as the second behind it.
    fn time_of_day(&mut self) -> Option<i64> {
        let hour = self.number(2)?;
        self.literal(":")?;
        let minute = self.number(2)?;
        self.literal(":")?;
        let second = self.number(2)?;
        let exists = hour <= 23 && minute <= 59 && second <= 60;
        exists.then_some((hour * 60 + minute) * 60 + second)
    }

    fn end(self, date: Civil) -> Option<Civil> {
        self.0.is_empty().then_some(date)
    }
}

#[cfg(test)]
mod tests {
    use http::header::{DATE, EXPIRES};

    use super::*;

    /// 2026-01-01 00:00:00.
    const NOW: u64 = 1_767_225_600;

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn three_forms_are_dates() {
        let cases = [
            ("Sun, 06 Nov 1994 08:49:37 GMT", 784_111_777),
            ("Sunday, 06-Nov-94 08:49:37 GMT", 784_111_777),
            ("Sun Nov  6 08:49:37 1994", 784_111_777),
            ("Wed Nov 16 08:49:37 1994", 784_975_777),
            ("Wed Nov 06 08:49:37 1994", 784_111_777), // two digits, and not that weekday
            ("sUN, 06 nOV 1994 08:49:37 gmt", 784_111_777),
            ("SUNDAY, 06-NOV-94 08:49:37 GMT", 784_111_777),
            ("sun nov  6 08:49:37 1994", 784_111_777),
            ("Thu, 01 Jan 1970 00:00:00 GMT", 0),
            ("Wed, 31 Dec 1969 23:59:59 GMT", 0),
            ("Sat, 01 Jan 0000 00:00:00 GMT", 0),
            ("Tue, 29 Feb 2000 00:00:00 GMT", 951_782_400),
            ("Sat, 31 Dec 2016 23:59:60 GMT", 1_483_228_800),
            ("Tue, 19 Jan 2038 03:14:08 GMT", 1 << 31),
            ("Fri, 31 Dec 9999 23:59:59 GMT", LAST),
        ];
        for (text, seconds) in cases {
            assert_eq!(parse(text.as_bytes(), at(NOW)), Some(at(seconds)), "{text}");
        }
    }

    #[test]
    fn nothing_else_is_a_date() {
        let cases = "0|-1|Sun|,|Sun, |Sun, 06 Nov 1994 08:49:37|Sun, 06 Nov 1994 08:49:37 UTC\
            |Sun, 06 Nov 1994 08:49:37 EST|Sun, 06 Nov 1994 08:49:37 +0000\
            |Sun, 06 Nov 1994 08:49:37 GMT+1|Sun, 06 Nov 1994 08:49:37 GMT \
            | Sun, 06 Nov 1994 08:49:37 GMT|Sun,06 Nov 1994 08:49:37 GMT\
            |Sun,  06 Nov 1994 08:49:37 GMT|Sun, 06  Nov 1994 08:49:37 GMT\
            |Sun, 06\tNov 1994 08:49:37 GMT|Sun, 06-Nov-1994 08:49:37 GMT\
            |Sun, 06-Nov-94 08:49:37 GMT|Sun, 06 Nov 94 08:49:37 GMT\
            |Sun, 06 Nov 01994 08:49:37 GMT|Sun, 6 Nov 1994 08:49:37 GMT\
            |Sun,  6 Nov 1994 08:49:37 GMT|Sun, 06 Nov 1994 8:49:37 GMT\
            |Sun, 06 Nov 1994 08:49 GMT|Sun, 06 Nov 1994 08.49.37 GMT\
            |Sun, 06 Nov 1994 08:49:37.5 GMT|Sun, 06 Nov 1994 24:00:00 GMT\
            |Sun, 06 Nov 1994 08:60:37 GMT|Sun, 06 Nov 1994 08:49:61 GMT\
            |Sun, 06 Nov 1994 +8:49:37 GMT|Sun, 00 Nov 1994 08:49:37 GMT\
            |Sun, 31 Nov 1994 08:49:37 GMT|Tue, 29 Feb 1900 00:00:00 GMT\
            |Sun, 29 Feb 2026 00:00:00 GMT|Sun, 06 Foo 1994 08:49:37 GMT\
            |Foo, 06 Nov 1994 08:49:37 GMT|Sunday, 06 Nov 1994 08:49:37 GMT\
            |Sunday, 06-Nov-1994 08:49:37 GMT|Sunday, 06 Nov 94 08:49:37 GMT\
            |Sunday, 29-Feb-26 08:49:37 GMT|06 Nov 1994 08:49:37 GMT|Sun Nov 6 08:49:37 1994\
            |Sun Nov   6 08:49:37 1994|Sun Nov  16 08:49:37 1994|Sun Nov  6 08:49:37 94\
            |Sun Nov  6 08:49:37 GMT 1994|Sunday Nov  6 08:49:37 1994|1994-11-06T08:49:37Z\
            |784111777|S\u{fc}n, 06 Nov 1994 08:49:37 GMT";
        for text in cases.split('|') {
            assert_eq!(parse(text.as_bytes(), at(NOW)), None, "{text}");
        }
    }

    /// Behaviour 15; RFC 9110 §5.6.7: more than 50 years in the future is in the past.
    #[test]
    fn two_digits_of_a_year_are_at_most_50_years_ahead() {
        let cases = [
            ("2026-01-01", NOW, "01-Jan-76 00:00:00", "2076"),
            ("2026-01-01", NOW, "01-Jan-76 00:00:01", "1976"),
            ("2026-01-01", NOW, "31-Dec-75 23:59:59", "2075"),
            ("2026-01-01", NOW, "01-Jan-77 00:00:00", "1977"),
            ("2026-01-01", NOW, "01-Jan-00 00:00:00", "2000"),
            ("2060-07-01", 2_855_779_200, "01-Jan-10 00:00:00", "2110"),
            ("2060-07-01", 2_855_779_200, "01-Jan-11 00:00:00", "2011"),
            ("2060-07-01", 2_855_779_200, "02-Jul-10 00:00:00", "2010"),
        ];
        for (today, now, date, year) in cases {
            let text = format!("Monday, {date} GMT");
            let (day, time) = date.split_once(' ').unwrap();
            let (day, month) = (&day[..2], &day[3..6]);
            let expected = parse(format!("Mon, {day} {month} {year} {time} GMT").as_bytes(), at(0));
            assert_eq!(parse(text.as_bytes(), at(now)), expected, "{date} on {today}");
        }
    }

    #[test]
    fn every_day_has_a_text_and_back() {
        for day in 0..=LAST / 86_400 {
            let seconds = day * 86_400 + day % 86_400;
            let civil = Civil::of(at(seconds));
            assert_eq!(civil.seconds(), i64::try_from(seconds).ok(), "{day}");
            if day % 101 == 0 {
                let text = format(at(seconds));
                assert_eq!(text, httpdate::fmt_http_date(at(seconds)));
                assert_eq!(parse(text.as_bytes(), at(NOW)), Some(at(seconds)), "{text:?}");
            }
        }
    }

    #[test]
    fn a_time_without_a_text_becomes_the_nearest_one() {
        assert_eq!(format(at(784_111_777)), "Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(format(UNIX_EPOCH - Duration::from_secs(9)), "Thu, 01 Jan 1970 00:00:00 GMT");
        assert_eq!(format(at(LAST + 1)), "Fri, 31 Dec 9999 23:59:59 GMT");
        assert_eq!(format(at(1 << 50)), "Fri, 31 Dec 9999 23:59:59 GMT");
    }

    #[test]
    fn the_first_line_counts() {
        let mut headers = HeaderMap::new();
        headers.append(EXPIRES, HeaderValue::from_static(" Thu, 01 Jan 1970 00:00:09 GMT\t"));
        headers.append(EXPIRES, HeaderValue::from_static("0"));
        assert_eq!(field(&headers, &EXPIRES, at(NOW)), Some(at(9)));
        assert_eq!(field(&headers, &DATE, at(NOW)), None);
    }
}
