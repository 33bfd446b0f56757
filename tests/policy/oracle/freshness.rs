//! RFC 9111 §4.2.

use super::{
    dates::date,
    directives::{Directives, Seconds, delta_seconds},
    message::{Fields, Millis, trim},
    store::{Options, Stored},
    tri::Tri,
};

/// From the least to the most that the text allows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Span {
    pub least: Millis,
    pub most: Millis,
}

const SECOND: Millis = 1000;
const DAY: Millis = 86_400 * SECOND;

/// Whether it needs no validation for its age.
pub fn is_fresh(stored: &Stored, now: Millis, options: &Options) -> Tri {
    exceeds(lifetime(stored, options), age(stored, now))
}

/// Whether `a > b`, as in `response_is_fresh = (freshness_lifetime > current_age)` (§4.2).
pub fn exceeds(a: Span, b: Span) -> Tri {
    if a.least > b.most {
        Tri::Yes
    } else if a.most <= b.least {
        Tri::No
    } else {
        Tri::May
    }
}

/// §4.2.3, the conservative way.
pub fn age(stored: &Stored, now: Millis) -> Span {
    let value = age_value(&stored.fields);
    let delay = stored.received_at - stored.requested_at;
    let apparent = date_value(stored);
    let initial = |date, value| Millis::max(stored.received_at - date, value + delay).max(0);
    let resident = now - stored.received_at;
    // An `Age` that the last response did not carry is of a time before it.
    let least = if stored.age_is_old { 0 } else { value };
    Span {
        least: initial(apparent.most, least) + resident,
        most: initial(apparent.least, value) + resident,
    }
}

/// §5.1: the first member of the first line; zero if that is no number.
fn age_value(fields: &Fields) -> Millis {
    let lines = fields.lines("age");
    let first = lines.first().copied().unwrap_or_default().split(',').next().unwrap_or_default();
    delta_seconds(trim(first)).unwrap_or(0) * SECOND
}

/// The Date, else the time of receipt, of which a Date keeps whole seconds (RFC 9110 §6.6.1).
pub fn date_value(stored: &Stored) -> Span {
    let lines = stored.fields.lines("date");
    match lines.first().and_then(|line| date(line, stored.received_at)) {
        Some(at) if !stored.date_is_ours => Span { least: at, most: at },
        _ => Span {
            least: stored.received_at - stored.received_at.rem_euclid(SECOND),
            most: stored.received_at,
        },
    }
}

/// §4.2.1, first match.
pub fn lifetime(stored: &Stored, options: &Options) -> Span {
    let directives = Directives::of(&stored.fields);
    let shared = if options.shared { directives.seconds("s-maxage") } else { Seconds::Absent };
    let (value, ignored) = match (shared, directives.seconds("max-age")) {
        (Seconds::Absent, own) => (own, Seconds::Absent),
        (shared, own) => (shared, own),
    };
    // "Caches are encouraged to consider responses that have invalid freshness information to be
    // stale", also where another directive comes first.
    let odd = directives.odd
        || ignored == Seconds::Invalid
        || directives.seconds("s-maxage") == Seconds::Invalid;
    let mut span = match value {
        Seconds::Valid(seconds) => Span { least: seconds * SECOND, most: seconds * SECOND },
        Seconds::Invalid => Span { least: 0, most: 0 },
        Seconds::Absent if stored.fields.has("expires") => expires(stored),
        Seconds::Absent => heuristic(stored, &directives, options),
    };
    if odd {
        span.least = 0;
    }
    span
}

/// §5.3; of several lines the first or none (§4.2.1).
fn expires(stored: &Stored) -> Span {
    let lines = stored.fields.lines("expires");
    let Some(until) = date(lines[0], stored.received_at) else { return Span { least: 0, most: 0 } };
    let from = date_value(stored);
    let least = if lines.len() > 1 { 0 } else { (until - from.most).max(0) };
    Span { least, most: (until - from.least).max(0) }
}

/// §4.2.2, by Decision 3: a tenth of the time since Last-Modified, a day at most.
fn heuristic(stored: &Stored, directives: &Directives, options: &Options) -> Span {
    const NONE: Span = Span { least: 0, most: 0 };
    let by_status = match stored.status {
        200 | 203 | 204 | 206 | 300 | 301 | 308 | 404 | 410 => Tri::Yes,
        // security.md: not without the switch; a private cache may differ.
        405 | 414 | 501 if options.heuristic_errors => Tri::Yes,
        405 | 414 | 501 if !options.shared => Tri::May,
        _ => Tri::No,
    };
    // "Otherwise cacheable": `private` says so to a private cache (§5.2.2.7).
    let private = Tri::from(!options.shared && directives.has("private")) & Tri::May;
    let allowed = directives.permits("public") | by_status | private;
    let lines = stored.fields.lines("last-modified");
    let modified = lines.first().and_then(|line| date(line, stored.received_at));
    let from = date_value(stored);
    // A tenth of a millisecond more is within the clock's exactness.
    let tenth = |date: Millis, at: Millis| ((date - at + 9) / 10).clamp(0, DAY);
    let mut span = match (modified, options.default_ttl) {
        _ if allowed == Tri::No => NONE,
        // A modification yet to come says nothing.
        (Some(at), Some(ttl)) if at >= from.least => Span { least: 0, most: ttl },
        (Some(at), _) => Span {
            // Lifetimes are of whole seconds (§1.2.2), or as exact as the clock.
            least: tenth(from.least, at) / SECOND * SECOND,
            most: tenth(from.most, at),
        },
        // "Never where `no-cache` is present" (`Policy::default_ttl`).
        (None, Some(_)) if directives.has("no-cache") => NONE,
        (None, Some(ttl)) if lines.is_empty() && by_status == Tri::Yes => {
            Span { least: ttl, most: ttl }
        }
        (None, Some(ttl)) => Span { least: 0, most: ttl },
        (None, None) => NONE,
    };
    if allowed == Tri::May || lines.len() > 1 {
        span.least = 0;
    }
    if stored.status >= 400 {
        // Scenario 1.10, `Policy::negative_max`.
        span = Span { least: span.least.min(60 * SECOND), most: span.most.min(60 * SECOND) };
    }
    span
}
