//! What must hold whatever comes: fields of odd bytes, and restrictions in every broken form.

use http::{HeaderMap, HeaderName, HeaderValue, header};
use larder::policy::Policy;

use super::{
    alone::{kept, served},
    run,
    tape::Tape,
};

fn lines(lines: &[(HeaderName, String)]) -> HeaderMap {
    let value = |text: &str| HeaderValue::from_bytes(text.as_bytes());
    lines.iter().filter_map(|(name, text)| Some((name.clone(), value(text).ok()?))).collect()
}

/// Junk that no other name can begin in.
fn junk(tape: &mut Tape, most: usize, first: &[&str]) -> String {
    const ANY: [&str; 16] =
        [" ", "\t", "=", "\"", ";", ":", "(", ")", "\\", "x", "1", "é", "/", "@", "==", "\"\""];
    let mut text = String::new();
    for number in 0..tape.below(most + 1) {
        text += if number == 0 { tape.pick(first) } else { tape.pick(&ANY) };
    }
    text
}

/// security.md, "Cross-user disclosure": a restriction that is there in any form is one, also
/// behind stray characters, in any letter case and on any line.
#[test]
fn a_restriction_holds_in_every_broken_form() {
    const BEFORE: [&str; 12] = ["", "=", "\"", ";", "(", ":", "/", "@", "é", "\\", "{", ", ,"];
    const AFTER: [&str; 14] =
        ["=", "=;", " ", "\"", ";", ":", "(", "é", "/", "\t", "=(", "= ", "\\", "=,"];
    run("LARDER_CASES", 20_000, |tape| {
        let word = tape.pick(&["no-store", "private", "no-cache", "must-revalidate"]);
        let name = if tape.once_in(3) { word.to_uppercase() } else { word.to_string() };
        let broken = format!("{}{name}{}", tape.pick(&BEFORE), junk(tape, 5, &AFTER));
        // A list of field names makes `private` and `no-cache` speak of those fields only.
        let qualifies = broken.split_once(&name).is_some_and(|(before, after)| {
            let list = after.strip_prefix('=').unwrap_or("");
            before.trim_matches([',', ' ']).is_empty()
                && list.starts_with(|c: char| c == '"' || c.is_ascii_alphanumeric())
        });
        let control = match tape.below(4) {
            0 => vec![format!("max-age=60, {broken}")],
            1 => vec![format!("{broken}, max-age=60, public")],
            2 => vec![broken.clone(), "public, max-age=60".to_string()],
            _ => vec!["max-age=60, x=\"y\"".to_string(), format!("x=\"a\", {broken}")],
        };
        let fields: Vec<_> = control.into_iter().map(|it| (header::CACHE_CONTROL, it)).collect();
        let response = lines(&fields);
        let policy = Policy::shared();
        let stored = kept(&policy, &HeaderMap::new(), &response);
        let reloads = lines(&[(header::CACHE_CONTROL, "max-stale".to_string())]);
        let harm = match (word, &stored) {
            (_, None) => false,
            ("no-store", Some(_)) => true,
            ("private", Some(_)) => !qualifies,
            ("no-cache", Some(stored)) => {
                !qualifies && served(&policy, &HeaderMap::new(), stored, 1).is_some()
            }
            (_, Some(stored)) => served(&Policy::private(), &reloads, stored, 61).is_some(),
        };
        if harm { Err(format!("{broken} restricts nothing: {fields:?}")) } else { Ok(()) }
    });
}

/// Fields that have rules of their own.
pub const NAMES: [HeaderName; 14] = [
    header::CACHE_CONTROL,
    header::VARY,
    header::ETAG,
    header::AGE,
    header::DATE,
    header::EXPIRES,
    header::LAST_MODIFIED,
    header::CONTENT_LENGTH,
    header::CONNECTION,
    header::IF_NONE_MATCH,
    header::IF_MODIFIED_SINCE,
    header::PRAGMA,
    header::SET_COOKIE,
    header::CONTENT_LOCATION,
];

/// RFC 9111 §5.2.2.5, §5.2.1.5, §5.1: nothing is stored after `no-store`, and whatever is served
/// has one Age that is no less than the time that has passed.
#[test]
fn odd_fields_do_no_harm() {
    const PIECES: [&str; 30] = [
        "",
        ",",
        "\"",
        "\\",
        "=",
        ";",
        " ",
        "\t",
        "é",
        "*",
        "W/",
        "\"a\"",
        "max-age=",
        "60",
        "s-maxage",
        "private",
        "no-cache",
        "public",
        "x",
        "GMT",
        "Sun, 22 Nov 2026 ",
        "11:00:07",
        "Sunday, 22-Nov-26 ",
        "Nov 22",
        "99999999999999999999",
        "-",
        "accept",
        "\u{7f}",
        "stale-",
        "while-revalidate=5",
    ];
    run("LARDER_CASES", 20_000, |tape| {
        let mut section = || {
            let mut fields = Vec::new();
            for _ in 0..tape.below(6) {
                let mut text = String::new();
                for _ in 0..tape.below(8) {
                    text += tape.pick(&PIECES);
                }
                if tape.once_in(40) {
                    text = text.repeat(2_000);
                }
                fields.push((NAMES[tape.below(NAMES.len())].clone(), text));
            }
            fields
        };
        let (request, mut response) = (lines(&section()), section());
        let again = lines(&section());
        let policy = if tape.once_in(2) { Policy::private() } else { Policy::shared() };
        let stored = kept(&policy, &request, &lines(&response));
        if let Some(stored) = &stored
            && let Some(headers) = served(&policy, &again, stored, 7)
        {
            let ages: Vec<_> = headers.get_all(header::AGE).iter().collect();
            let age = ages[0].to_str().ok().and_then(|age| age.parse::<u64>().ok());
            if ages.len() != 1 || age.is_none_or(|age| age < 7) {
                return Err(format!("Age {ages:?} of {response:?}"));
            }
        }
        let place = tape.below(response.len() + 1);
        response.insert(place, (header::CACHE_CONTROL, "No-Store".to_string()));
        let understood = response.iter().any(|(_, text)| text.contains("must-understand"));
        if !understood && kept(&policy, &request, &lines(&response)).is_some() {
            return Err(format!("stored: {response:?}"));
        }
        let mut request = request;
        request.append(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        match kept(&policy, &request, &lines(&response[..place])) {
            Some(_) => Err(format!("stored for {request:?}")),
            None => Ok(()),
        }
    });
}
