//! One field after the other, through the public policy.

use std::time::Duration;

use http::{HeaderMap, HeaderName, header};
use larder::policy::{Content, Decision, Policy, StoredResponse};

use super::{
    super::{
        alone::{self, at, decided, kept, served},
        invariants::NAMES,
        oracle::dates,
    },
    mutate::Numbers,
    text::{damaged, pick, text, value},
};

type Lines<'a> = &'a [(HeaderName, &'a str)];

pub fn head(lines: Lines<'_>) -> HeaderMap {
    lines.iter().map(|(name, text)| (name.clone(), value(text))).collect()
}

fn policy(numbers: &mut Numbers) -> Policy {
    if numbers.below(2) == 0 { Policy::shared() } else { Policy::private() }
}

const DIRECTIVES: [&str; 44] = [
    "max-age=60",
    "max-age=10",
    "max-age=0",
    "s-maxage=5",
    "no-store",
    "no-cache",
    "private",
    "public",
    "must-revalidate",
    "proxy-revalidate",
    "must-understand",
    "no-transform",
    "immutable",
    "stale-while-revalidate=9",
    "stale-if-error=9",
    "only-if-cached",
    "max-stale",
    "min-fresh=1",
    "private=\"x-a\"",
    "no-cache=\"x-a, set-cookie\"",
    "foo=\"bar, no-store\"",
    "foo=\"\\\"\"",
    ", ",
    ", ",
    ", ",
    ",",
    " , ",
    "=",
    "\"",
    "\\",
    ";",
    ":",
    "(",
    " ",
    "\t",
    "x",
    "60",
    "-1",
    "1.5",
    "99999999999999999999",
    "max-age",
    "MAX-AGE=7",
    "No-Cache",
    "=\"7\"",
];

/// Equal lines count once, letter case means nothing, and a restriction on any line restricts.
pub fn directives(numbers: &mut Numbers) -> Result<(), String> {
    let said = text(numbers, &DIRECTIVES, 9);
    let policy = policy(numbers);
    let is_shared = policy.scope() == larder::policy::Scope::Shared;
    let asked = HeaderMap::new();
    let with = |controls: &[&str]| {
        let mut fields = head(&[(header::ETAG, "\"1\"")]);
        for control in controls {
            fields.append(header::CACHE_CONTROL, value(control));
        }
        kept(&policy, &asked, &fields)
    };
    let problem = |what: &str| Err(format!("{what}: {said:?}, shared {is_shared}"));
    let lifetime = |kept: &Option<StoredResponse>| kept.as_ref().map(|kept| kept.head().lifetime());
    let once = with(&[&said]);
    if lifetime(&once) != lifetime(&with(&[&said, &said])) {
        return problem("twice is not once");
    }
    if lifetime(&once) != lifetime(&with(&[&said.to_ascii_uppercase()])) {
        return problem("case counts");
    }
    if lifetime(&once).is_some_and(|lifetime| lifetime > Duration::from_secs(1 << 31)) {
        return problem("longer than there is");
    }
    let understands = said.to_ascii_lowercase().contains("must-understand");
    for lines in [[&*said, "no-store"], ["no-store", &*said]] {
        if !understands && with(&lines).is_some() {
            return problem("stored after no-store");
        }
    }
    if is_shared && with(&[&said, "private"]).is_some() {
        return problem("shared though private");
    }
    if let Some(stored) = with(&[&said, "no-cache"])
        && served(&policy, &asked, &stored, 0).is_some()
    {
        return problem("used though no-cache");
    }
    // As a request's.
    let mut asked = head(&[(header::CACHE_CONTROL, &said)]);
    let fresh = head(&[(header::CACHE_CONTROL, "max-age=60, public")]);
    if let Some(stored) = kept(&policy, &HeaderMap::new(), &fresh) {
        let _ = decided(&policy, &asked, &stored, 30);
        let _ = decided(&policy, &asked, &stored, 90);
    }
    asked.append(header::CACHE_CONTROL, value("no-store"));
    if kept(&policy, &asked, &fresh).is_some() {
        return problem("stored after a request's no-store");
    }
    Ok(())
}

/// RFC 9110 §5.6.7: a date is what the oracle reads in it.
pub fn dates(numbers: &mut Numbers) -> Result<(), String> {
    const PIECES: [&str; 12] =
        ["GMT", " ", "-", ":60", "29 Feb", "UTC", "  ", "00", "Sunday", "Thu,", "2100", "sep"];
    let now = 1_795_345_207_000;
    let at = match numbers.below(4) {
        0 => now + numbers.below(200_000) as i64 * 1000,
        1 => (numbers.next() >> 24) as i64 % 253_402_300_799_000,
        2 => now + numbers.below(60) as i64 * 31_557_600_000,
        _ => now - numbers.below(100) as i64 * 31_557_600_000,
    };
    let written = [dates::imf, dates::rfc850, dates::asctime][numbers.below(3)](at);
    let written = match numbers.below(3) {
        0 => damaged(numbers, &written, &PIECES),
        1 => written.to_ascii_uppercase(),
        _ => written,
    };
    let made = dates::imf(now);
    let response = [(header::DATE, &*made), (header::EXPIRES, &written), (header::ETAG, "\"1\"")];
    let Some(stored) = kept(&Policy::private(), &HeaderMap::new(), &head(&response)) else {
        return Err(format!("not kept: {written:?}"));
    };
    let read = dates::date(written.trim_matches([' ', '\t']), now).unwrap_or(now);
    let expected = u64::try_from((read - now) / 1000).unwrap_or(0);
    let found = stored.head().lifetime().as_secs();
    let is_it = found == expected || (found >= 1 << 31 && expected >= 1 << 31);
    if is_it { Ok(()) } else { Err(format!("{written:?} is {expected} s, not {found} s")) }
}

/// RFC 9110 §14.2: what is sent lies inside of the body, in at most 16 parts, and is less than all.
pub fn ranges(numbers: &mut Numbers) -> Result<(), String> {
    const PIECES: [&str; 20] = [
        "bytes=",
        "bytes=",
        "0-",
        "-1",
        "0-0",
        "1-2",
        "5-",
        "-7",
        ",",
        ", ",
        ",,",
        " ",
        "=",
        "-",
        "18446744073709551615",
        "18446744073709551616",
        "4",
        "Bytes=",
        "items=0-1",
        "x",
    ];
    let length = [0, 1, 10, 4096, u64::MAX][numbers.below(5)];
    let range = format!("{}{}", pick(numbers, &PIECES[..2]), text(numbers, &PIECES[2..], 40));
    let range = if numbers.below(4) == 0 { damaged(numbers, &range, &PIECES) } else { range };
    let policy = Policy::shared();
    let response = head(&[(header::CACHE_CONTROL, "max-age=60"), (header::ETAG, "\"1\"")]);
    let stored = kept(&policy, &HeaderMap::new(), &response).ok_or("not kept")?;
    let stored = StoredResponse::new(stored.head().clone(), length);
    let asked = head(&[(header::RANGE, &range)]);
    let Some(Decision::Serve(serve)) = decided(&policy, &asked, &stored, 1) else { return Ok(()) };
    let is_inside = |start: u64, end: u64| start < end && end <= length;
    let status = serve.head.status.as_u16();
    let is_right = match &serve.content {
        Content::Whole => status == 200,
        Content::Nothing => status == 416,
        Content::Part { start, end } => status == 206 && is_inside(*start, *end),
        Content::Parts(pieces) => {
            let parts: Vec<_> = pieces
                .iter()
                .filter_map(|piece| match piece {
                    larder::policy::Piece::Body(range) => Some(range.clone()),
                    larder::policy::Piece::Text(_) => None,
                })
                .collect();
            let sent =
                parts.iter().try_fold(0_u64, |sum, part| sum.checked_add(part.end - part.start));
            status == 206
                && (2..=16).contains(&parts.len())
                && parts.iter().all(|part| is_inside(part.start, part.end))
                && sent.is_some_and(|sent| sent < length)
        }
    };
    if is_right { Ok(()) } else { Err(format!("{range:?} of {length}: {:?}", serve.content)) }
}

/// RFC 9110 §13.1.2: a list of tags finds the one that it names, and no other.
pub fn entity_tags(numbers: &mut Numbers) -> Result<(), String> {
    const PIECES: [&str; 18] = [
        "\"a\"", "W/\"a\"", "\"b,c\"", "\"\"", "\"\\\"", "w/\"a\"", "a", "*", ", ", ",", ", ",
        "\"", "\\", " ", "/", "W", "W/", "\t",
    ];
    let list = text(numbers, &PIECES, 8);
    let own = pick(numbers, &["\"key\"", "W/\"key\"", "\"k,ey\""]);
    let policy = policy(numbers);
    let response = head(&[(header::CACHE_CONTROL, "max-age=60"), (header::ETAG, own)]);
    let stored = kept(&policy, &HeaderMap::new(), &response).ok_or("not kept")?;
    let is_304 = |lines: &[&str]| {
        let mut asked = HeaderMap::new();
        for line in lines {
            asked.append(header::IF_NONE_MATCH, value(line));
        }
        let Some(Decision::Serve(serve)) = decided(&policy, &asked, &stored, 1) else {
            return None;
        };
        Some(serve.head.status.as_u16() == 304)
    };
    if is_304(&[&list]) == Some(true) && !list.contains('*') {
        return Err(format!("{list:?} has no {own}"));
    }
    let proper = |list: &str| {
        list.split(", ").all(|tag| ["", "\"a\"", "W/\"a\"", "\"\"", "\"\\\""].contains(&tag))
    };
    if proper(&list) && is_304(&[&list, own]) != Some(true) {
        return Err(format!("{list:?} and {own} has {own}"));
    }
    Ok(())
}

/// Any fields on both sides: nothing panics, and what is served has one `Age` that is true.
pub fn heads(numbers: &mut Numbers) -> Result<(), String> {
    const MORE: [HeaderName; 8] = [
        header::ACCEPT_ENCODING,
        header::ACCEPT_LANGUAGE,
        header::RANGE,
        header::IF_RANGE,
        header::HOST,
        header::AUTHORIZATION,
        header::CONTENT_TYPE,
        header::TRAILER,
    ];
    const PIECES: [&str; 30] = [
        "max-age=60",
        "public",
        "accept-encoding",
        "*",
        "\"1\"",
        "W/\"1\"",
        "5",
        "0",
        "-1",
        ",",
        ", ",
        "Sun, 22 Nov 2026 11:00:07 GMT",
        "Sun, 22 Nov 2026 10:00:07 GMT",
        "gzip;q=0.5",
        "de",
        "en;q=0.1",
        "bytes=0-1",
        "a.example",
        "text/html",
        "=",
        "\"",
        ";",
        "x-a",
        "close",
        "\\",
        " ",
        "no-cache",
        "stale-while-revalidate=60",
        "s-maxage=9",
        "/",
    ];
    let names = [&NAMES[..], &MORE].concat();
    let mut fields = || {
        let mut fields = HeaderMap::new();
        for _ in 0..numbers.below(9) {
            let name = names[numbers.below(names.len())].clone();
            fields.append(name, value(&text(numbers, &PIECES, 5)));
        }
        fields
    };
    let (asked, response, again) = (fields(), fields(), fields());
    let policy = policy(numbers).stale_while_revalidate(Duration::from_secs(20));
    let status = [200, 404, 301, 500, 206, 204, 302, 999][numbers.below(8)];
    let Some(stored) = alone::kept_of(&policy, &asked, status, &response) else { return Ok(()) };
    let seconds = numbers.below(100) as u64;
    if stored.head().age(at(seconds)) < Duration::from_secs(seconds) {
        return Err(format!("too young: {response:?}"));
    }
    let Some(headers) = served(&policy, &again, &stored, seconds) else { return Ok(()) };
    let ages: Vec<_> = headers.get_all(header::AGE).iter().collect();
    let age = ages.first().and_then(|age| age.to_str().ok()?.parse::<u64>().ok());
    let is_error = headers.contains_key(header::CONTENT_RANGE) && ages.is_empty();
    match is_error || (ages.len() == 1 && age.is_some_and(|age| age >= seconds)) {
        true => Ok(()),
        false => Err(format!("Age {ages:?} of {response:?} after {seconds} s")),
    }
}
