//! What a response says about caching: by the field of the highest rank that it has.

use std::{borrow::Cow, fmt, time::Duration};

use http::{HeaderMap, HeaderName, header};

use super::{
    directives::{self, Delta, Reach, ResponseDirectives},
    fields,
    mode::Cached,
    structured::{self, Value},
};

/// Who has said it. Of all that speak, the first counts, and the others are not looked at
/// (RFC 9213 §2.2).
#[derive(Clone, Copy, Debug)]
pub(super) enum Speaker<'a> {
    /// A handler, by the response extension [`Cached`].
    Handler(&'a Cached),
    /// A targeted field.
    Target(&'a HeaderName),
    /// `Cache-Control` and `Expires`.
    Fields,
}

/// What a response says about caching.
#[derive(Debug)]
pub(super) struct Said<'a> {
    pub(super) by: Speaker<'a>,
    pub(super) directives: ResponseDirectives,
}

impl<'a> Said<'a> {
    pub(super) fn of(
        targets: &'a [HeaderName],
        headers: &HeaderMap,
        cached: Option<&'a Cached>,
    ) -> Self {
        if let Some(cached) = cached {
            let by = Speaker::Handler(cached);
            return Self { by, directives: ResponseDirectives::default() };
        }
        for target in targets {
            if let Some(directives) = targeted(headers, target) {
                return Self { by: Speaker::Target(target), directives };
            }
        }
        Self { by: Speaker::Fields, directives: ResponseDirectives::parse(headers) }
    }

    /// The handler's word, if it has spoken.
    pub(super) fn cached(&self) -> Option<&'a Cached> {
        match self.by {
            Speaker::Handler(cached) => Some(cached),
            Speaker::Target(_) | Speaker::Fields => None,
        }
    }

    /// The field that it is said in.
    pub(super) fn field(&self) -> Option<HeaderName> {
        match self.by {
            Speaker::Handler(_) => None,
            Speaker::Target(name) => Some(name.clone()),
            Speaker::Fields => Some(header::CACHE_CONTROL),
        }
    }

    /// Whether `Expires` counts (RFC 9213 §2.2).
    pub(super) fn hears_expires(&self) -> bool {
        matches!(self.by, Speaker::Fields)
    }

    /// Whether `must-revalidate` is there in its proper form: a malformed directive restricts, but
    /// it permits nothing.
    pub(super) fn must_revalidate_properly(&self, headers: &HeaderMap) -> bool {
        self.directives.must_revalidate
            && match self.by {
                Speaker::Handler(_) => false,
                Speaker::Target(_) => true,
                Speaker::Fields => fields::list(headers, &header::CACHE_CONTROL)
                    .any(|member| member.eq_ignore_ascii_case(b"must-revalidate")),
            }
    }
}

impl fmt::Display for Said<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.by {
            Speaker::Handler(_) => f.write_str("the handler has spoken"),
            Speaker::Target(name) => write!(f, "{name} counts"),
            Speaker::Fields => f.write_str("cache-control and expires count"),
        }
    }
}

/// The directives of a targeted field (RFC 9213 §2.1). `None` if it is absent, empty, or does not
/// parse: then it is ignored.
fn targeted(headers: &HeaderMap, target: &HeaderName) -> Option<ResponseDirectives> {
    let mut lines = headers.get_all(target).iter();
    let first = lines.next()?;
    let mut text = Cow::Borrowed(first.as_bytes());
    for line in lines {
        let text = text.to_mut();
        text.extend_from_slice(b", ");
        text.extend_from_slice(line.as_bytes());
        if text.len() > directives::MAX_BYTES {
            break;
        }
    }
    if text.len() > directives::MAX_BYTES {
        // Too long to be read, as a `Cache-Control` would be.
        return Some(ResponseDirectives { no_store: true, ..ResponseDirectives::default() });
    }
    let mut found = ResponseDirectives::default();
    let mut is_empty = true;
    structured::dictionary(&text, |key, value| {
        is_empty = false;
        take(&mut found, key, &value);
    })?;
    (!is_empty).then_some(found)
}

/// Enters one directive. A lifetime or a permission of the wrong type is ignored; a restriction
/// restricts, unless it says that it does not.
fn take(found: &mut ResponseDirectives, key: &[u8], value: &Value<'_>) {
    let flag = *value == Value::Boolean(true);
    let restricts = *value != Value::Boolean(false);
    match key {
        b"max-age" => found.max_age = delta(value),
        b"s-maxage" => found.s_maxage = delta(value),
        b"no-store" => found.no_store = restricts,
        b"no-cache" => found.no_cache = reach(value),
        b"private" => found.private = reach(value),
        b"public" => found.public = flag,
        b"must-revalidate" => found.must_revalidate = flag,
        b"proxy-revalidate" => found.proxy_revalidate = flag,
        b"must-understand" => found.must_understand = flag,
        b"no-transform" => found.no_transform = flag,
        b"immutable" => found.immutable = flag,
        b"stale-while-revalidate" => found.stale_while_revalidate = seconds(value),
        b"stale-if-error" => found.stale_if_error = seconds(value),
        _ => {}
    }
}

fn delta(value: &Value<'_>) -> Option<Delta> {
    match value {
        // An integer, but no number of seconds.
        Value::Integer(..0) => Some(Delta::Malformed),
        _ => seconds(value).map(Delta::Valid),
    }
}

fn seconds(value: &Value<'_>) -> Option<Duration> {
    match value {
        Value::Integer(seconds) => {
            Some(Duration::from_secs(u64::try_from(*seconds).ok()?.min(fields::FOREVER)))
        }
        _ => None,
    }
}

fn reach(value: &Value<'_>) -> Option<Reach> {
    match value {
        Value::Boolean(is_set) => is_set.then_some(Reach::Whole),
        Value::String(text) => Some(directives::reach_of(text)),
        Value::Token(text) => Some(directives::reach_of(text)),
        _ => Some(Reach::Whole),
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn said(lines: &[&'static str]) -> Option<ResponseDirectives> {
        let name = HeaderName::from_static("cdn-cache-control");
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(&name, HeaderValue::from_static(line));
        }
        targeted(&headers, &name)
    }

    fn lifetime(text: &'static str) -> Option<u64> {
        Some(said(&[text])?.max_age?.lifetime().as_secs())
    }

    /// Behaviour 37; RFC 9213 §2.1.
    #[test]
    fn a_lifetime_is_an_integer_or_ignored() {
        for (text, seconds) in [
            ("max-age=60", Some(60)),
            ("max-age=060", Some(60)),
            ("max-age=0", Some(0)),
            ("max-age=60;a=b", Some(60)),
            ("max-age=1, max-age=2", Some(2)),
            ("max-age=999999999999999", Some(2_147_483_648)),
            ("max-age=-1", Some(0)),
            ("max-age=60.0", None),
            ("max-age=\"60\"", None),
            ("max-age", None),
            ("max-age=a", None),
            ("max-age=(60)", None),
            ("max-age=?1", None),
        ] {
            assert_eq!(lifetime(text), seconds, "{text}");
            assert!(said(&[text]).is_some(), "{text} parses");
        }
    }

    /// RFC 9213 §2.1: empty or broken, it is not there.
    #[test]
    fn a_field_that_does_not_parse_is_ignored() {
        for text in
            ["", " ", "max-age=60,", "Max-Age=60", "max-age=60 s", "max-age = 60", "max-age=60;;a"]
        {
            assert_eq!(said(&[text]), None, "{text}");
        }
        assert_eq!(said(&[]), None);
        assert_eq!(said(&["max-age=60", ""]), None);
        assert_eq!(said(&["none"]), Some(ResponseDirectives::default()));
        let two = said(&["max-age=60", "no-cache"]).unwrap();
        assert!(two.max_age.is_some() && two.no_cache == Some(Reach::Whole));
    }

    #[test]
    fn restrictions_restrict_in_any_form_but_false() {
        let names = |text: &[&'static str]| {
            Some(Reach::Fields(text.iter().map(|name| HeaderName::from_static(name)).collect()))
        };
        for (text, private) in [
            ("private", Some(Reach::Whole)),
            ("private=?0", None),
            ("private=1", Some(Reach::Whole)),
            ("private=\"\"", Some(Reach::Whole)),
            ("private=\"a b\"", Some(Reach::Whole)),
            ("private=(a b)", Some(Reach::Whole)),
            ("private=\"X-A, x-b\"", names(&["x-a", "x-b"])),
            ("private=x-a", names(&["x-a"])),
            ("x=\"private\"", None),
        ] {
            assert_eq!(said(&[text]).unwrap().private, private, "{text}");
        }
        for (text, no_store) in [("no-store", true), ("no-store=1", true), ("no-store=?0", false)] {
            assert_eq!(said(&[text]).unwrap().no_store, no_store, "{text}");
        }
        // What permits needs its proper form.
        for text in ["public=1", "must-revalidate=1", "must-understand=\"\"", "immutable=?0"] {
            let found = said(&[text]).unwrap();
            assert_eq!(found, ResponseDirectives::default(), "{text}");
        }
    }

    #[test]
    fn what_is_too_long_to_be_read_is_not_stored() {
        let long = "a,".repeat(directives::MAX_BYTES);
        let name = HeaderName::from_static("cdn-cache-control");
        let headers = HeaderMap::from_iter([(name.clone(), HeaderValue::try_from(long).unwrap())]);
        assert!(targeted(&headers, &name).unwrap().no_store);
    }
}
