//! RFC 9111 §4.3.2; RFC 9110 §13.

use super::{
    dates::date,
    freshness::date_value,
    message::{Fields, Millis, Request, trim},
    store::Stored,
    tri::Tri,
};

/// An entity tag: weak or not, and its opaque tag with the quotes.
#[derive(Clone, Debug, PartialEq)]
pub struct Tag {
    pub weak: bool,
    pub opaque: String,
}

/// Whether the client is to be told 304.
pub fn not_modified(request: &Request, stored: &Stored, now: Millis) -> Tri {
    if !request.fields.has("if-none-match") && !request.fields.has("if-modified-since") {
        return Tri::No;
    }
    // "A stored 200 (OK) or 206 (Partial Content) response."
    let status = match stored.status {
        200 | 206 => Tri::Yes,
        // "A server MUST ignore preconditions" if it would not be 2xx (RFC 9110 §13.2.1).
        201..=299 => Tri::May,
        _ => return Tri::No,
    };
    let condition = if let Some(list) = request.fields.combined("if-none-match") {
        if list == "*" {
            Tri::Yes
        } else {
            let (tags, odd) = tags(&list);
            let own = etag(&stored.fields);
            let found = own.as_ref().is_some_and(|own| tags.iter().any(|t| weakly_equal(t, own)));
            // Tags without quotes, from before there was a grammar.
            let bare = stored.fields.has("etag") && own.is_none();
            if odd || bare { Tri::May } else { Tri::from(found) }
        }
    } else {
        since(&request.fields, stored, now)
    };
    condition & status
}

/// RFC 9110 §13.1.3; without Last-Modified, the Date (RFC 9111 §4.3.2).
fn since(fields: &Fields, stored: &Stored, now: Millis) -> Tri {
    let lines = fields.lines("if-modified-since");
    // "MUST ignore … if the field value has more than one member."
    let [line] = lines.as_slice() else { return Tri::No };
    let Some(since) = date(line, now) else { return Tri::No };
    let modified = stored.fields.lines("last-modified");
    match modified.as_slice() {
        [] => {
            let received = date_value(stored);
            // "SHOULD use the stored response's Date field value."
            if received.most <= since {
                Tri::Yes
            } else if received.least > since {
                Tri::No
            } else {
                Tri::May
            }
        }
        [one] => match date(one, stored.received_at) {
            Some(modified) => Tri::from(modified <= since),
            None => Tri::May,
        },
        _ => Tri::May,
    }
}

/// RFC 9110 §8.8.3.
pub fn etag(fields: &Fields) -> Option<Tag> {
    let lines = fields.lines("etag");
    tag(lines.first()?)
}

pub fn tag(text: &str) -> Option<Tag> {
    let (weak, opaque) = match text.strip_prefix("W/") {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let inside = opaque.strip_prefix('"')?.strip_suffix('"')?;
    let valid = inside.chars().all(|c| c == '!' || ('#'..='~').contains(&c) || c >= '\u{80}');
    valid.then(|| Tag { weak, opaque: opaque.to_string() })
}

/// The tags of a list, and whether something else was in it.
pub fn tags(list: &str) -> (Vec<Tag>, bool) {
    let (mut found, mut odd) = (Vec::new(), false);
    let mut rest = trim(list);
    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix(',') {
            rest = trim(after);
            continue;
        }
        // A tag may hold commas, and ends at its second quote.
        let start = rest.find('"').unwrap_or(rest.len());
        let end = rest[(start + 1).min(rest.len())..].find('"').map(|end| start + 1 + end + 1);
        let Some(end) = end else { return (found, true) };
        let after = trim(&rest[end..]);
        match tag(&rest[..end]) {
            Some(tag) if after.is_empty() || after.starts_with(',') => found.push(tag),
            _ => odd = true,
        }
        rest = match after.find(',') {
            Some(comma) => &after[comma..],
            None => "",
        };
    }
    (found, odd)
}

/// RFC 9110 §8.8.3.2.
pub fn weakly_equal(a: &Tag, b: &Tag) -> bool {
    a.opaque == b.opaque
}

pub fn strongly_equal(a: &Tag, b: &Tag) -> bool {
    a.opaque == b.opaque && !a.weak && !b.weak
}
