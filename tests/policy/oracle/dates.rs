use super::message::Millis;

const DAYS: [&str; 7] =
    ["Thursday", "Friday", "Saturday", "Sunday", "Monday", "Tuesday", "Wednesday"];
const MONTHS: [&str; 12] =
    ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];

/// RFC 9110 §5.6.7, case ignored as RFC 9111 §4.2 asks.
pub fn date(text: &str, now: Millis) -> Option<Millis> {
    let text = text.to_ascii_lowercase();
    let parts: Vec<&str> = text.split(' ').collect();
    let (day_name, day, month, year, time, long) = match parts.as_slice() {
        // Sun, 06 Nov 1994 08:49:37 GMT
        [name, day, month, year, time, "gmt"] => {
            (name.strip_suffix(',')?, digits(day, 2)?, *month, digits(year, 4)?, *time, false)
        }
        // Sunday, 06-Nov-94 08:49:37 GMT
        [name, date, time, "gmt"] => {
            let [day, month, year] = date.split('-').collect::<Vec<_>>().try_into().ok()?;
            let name = name.strip_suffix(',')?;
            (name, digits(day, 2)?, month, digits(year, 2)?, *time, true)
        }
        // Sun Nov  6 08:49:37 1994
        [name, month, "", day, time, year] => {
            (*name, digits(day, 1)?, *month, digits(year, 4)?, *time, false)
        }
        [name, month, day, time, year] => {
            (*name, digits(day, 2)?, *month, digits(year, 4)?, *time, false)
        }
        _ => return None,
    };
    let month = MONTHS.iter().position(|m| *m == month)? as i64 + 1;
    let seconds = time_of_day(time)?;
    let known = DAYS.iter().any(|name| {
        let name = name.to_ascii_lowercase();
        if long { name == day_name } else { name[..3] == *day_name }
    });
    if !known || day < 1 || day > days_in(month, if long { 2000 } else { year }) {
        return None;
    }
    if !long {
        return Some((days_before(year, month, day) * 86_400 + seconds) * 1000);
    }
    // "More than 50 years in the future" is "the most recent year in the past" with these digits.
    let at = |year| (days_before(year, month, day) * 86_400 + seconds) * 1000;
    let (this_year, this_month, this_day) = civil(now.div_euclid(86_400_000));
    let century = this_year - this_year.rem_euclid(100);
    let limit =
        days_before(this_year + 50, this_month, this_day) * 86_400_000 + now.rem_euclid(86_400_000);
    let value = at(century + year);
    let year = if value > limit { century + year - 100 } else { century + year };
    // Which of the two it is decides whether the 29th of February was one of its days.
    (day <= days_in(month, year)).then(|| at(year))
}

/// Name of the day, day, month, year, second of the day.
fn parts(at: Millis) -> (&'static str, i64, &'static str, i64, i64) {
    let days = at.div_euclid(86_400_000);
    let (year, month, day) = civil(days);
    let seconds = at.div_euclid(1000).rem_euclid(86_400);
    (DAYS[days.rem_euclid(7) as usize], day, MONTHS[month as usize - 1], year, seconds)
}

/// As IMF-fixdate; part of a second is left out.
pub fn imf(at: Millis) -> String {
    let (name, day, month, year, seconds) = parts(at);
    let month = month[..1].to_uppercase() + &month[1..];
    let (h, m, s) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    format!("{}, {day:02} {month} {year:04} {h:02}:{m:02}:{s:02} GMT", &name[..3])
}

/// The RFC 850 form.
pub fn rfc850(at: Millis) -> String {
    let (name, day, month, year, seconds) = parts(at);
    let (h, m, s) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    format!("{name}, {day:02}-{month}-{:02} {h:02}:{m:02}:{s:02} GMT", year % 100)
}

/// The form of C's `asctime`.
pub fn asctime(at: Millis) -> String {
    let (name, day, month, year, seconds) = parts(at);
    let (h, m, s) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    format!("{} {month} {day:2} {h:02}:{m:02}:{s:02} {year:04}", &name[..3])
}

fn digits(text: &str, count: usize) -> Option<i64> {
    let fits = text.len() == count && text.bytes().all(|b| b.is_ascii_digit());
    if fits { text.parse().ok() } else { None }
}

fn time_of_day(text: &str) -> Option<i64> {
    let [h, m, s] = text.split(':').collect::<Vec<_>>().try_into().ok()?;
    let (h, m, s) = (digits(h, 2)?, digits(m, 2)?, digits(s, 2)?);
    (h < 24 && m < 60 && s <= 60).then_some(h * 3600 + m * 60 + s)
}

fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

fn days_in(month: i64, year: i64) -> i64 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

fn days_in_year(year: i64) -> i64 {
    if is_leap(year) { 366 } else { 365 }
}

/// Days from 1970-01-01, counted one year and one month at a time.
fn days_before(year: i64, month: i64, day: i64) -> i64 {
    let years: i64 = if year >= 1970 {
        (1970..year).map(days_in_year).sum()
    } else {
        -(year..1970).map(days_in_year).sum::<i64>()
    };
    years + (1..month).map(|m| days_in(m, year)).sum::<i64>() + day - 1
}

fn civil(mut days: i64) -> (i64, i64, i64) {
    let mut year = 1970;
    while days < 0 {
        year -= 1;
        days += days_in_year(year);
    }
    while days >= days_in_year(year) {
        days -= days_in_year(year);
        year += 1;
    }
    let mut month = 1;
    while days >= days_in(month, year) {
        days -= days_in(month, year);
        month += 1;
    }
    (year, month, days + 1)
}
