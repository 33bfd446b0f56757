use http::{HeaderMap, Response, StatusCode, header, response};

use super::{date, etag};

/// The answer of a handler whose client has what `current` describes already: a 304 (RFC 9110 §15.4.5),
/// before any work is done for the body. `None`: the whole response is due.
///
/// `current` are the fields that the whole response would have: `ETag` and `Last-Modified`, by which
/// the client's `If-None-Match` and `If-Modified-Since` are answered (RFC 9110 §13.2.2), and those that a
/// 304 repeats, such as `Cache-Control` and `Vary`. For GET and HEAD.
///
/// ```
/// use std::time::SystemTime;
/// use axum::{http::{HeaderMap, header}, response::{IntoResponse, Response}};
/// use larder::policy;
///
/// async fn report(request: HeaderMap) -> Response {
///     let current = [(header::ETAG, "\"7\""), (header::CACHE_CONTROL, "max-age=60")];
///     let fields = HeaderMap::from_iter(current.clone().map(|(name, value)| (name, value.parse().unwrap())));
///     match policy::not_modified(&request, &fields, SystemTime::now()) {
///         Some(head) => head.into_response(),
///         None => (current, "what takes a while").into_response(),
///     }
/// }
/// ```
pub fn not_modified(
    request: &HeaderMap,
    current: &HeaderMap,
    now: std::time::SystemTime,
) -> Option<response::Parts> {
    let is_asked = request.contains_key(header::IF_NONE_MATCH)
        || request.contains_key(header::IF_MODIFIED_SINCE);
    if !is_asked || !is_not_modified(request, StatusCode::OK, current, now) {
        return None;
    }
    let (mut head, ()) = Response::new(()).into_parts();
    head.status = StatusCode::NOT_MODIFIED;
    head.headers = not_modified_fields(current);
    Some(head)
}

/// Whether the client's own copy is still good, so that a 304 is the answer (RFC 9110 §13.2.2).
///
/// `stored` are the fields of the response that would be sent, `status` its status.
pub(super) fn is_not_modified(
    request: &HeaderMap,
    status: StatusCode,
    stored: &HeaderMap,
    now: std::time::SystemTime,
) -> bool {
    // §13.2.1: conditions are about what a successful request would have brought.
    if !status.is_success() {
        return false;
    }
    let tag = stored.get(header::ETAG).map(|tag| tag.as_bytes());
    if let Some(condition_holds) = etag::none_match(request, tag) {
        return !condition_holds; // and If-Modified-Since is not looked at (§13.1.3)
    }
    if request.get_all(header::IF_MODIFIED_SINCE).iter().nth(1).is_some() {
        return false; // more than one date is none (§13.1.3)
    }
    let Some(since) = date::field(request, &header::IF_MODIFIED_SINCE, now) else { return false };
    // RFC 9111 §4.3.2: without Last-Modified, Date stands for it.
    date::field(stored, &header::LAST_MODIFIED, now)
        .or_else(|| date::field(stored, &header::DATE, now))
        .is_some_and(|modified| modified <= since)
}

/// The fields that a 304 repeats of a stored response (RFC 9110 §15.4.5), and the slot for `Age`.
pub(super) fn not_modified_fields(stored: &HeaderMap) -> HeaderMap {
    let mut fields = HeaderMap::with_capacity(8);
    for name in [
        header::AGE,
        header::CACHE_CONTROL,
        header::CONTENT_LOCATION,
        header::DATE,
        header::ETAG,
        header::EXPIRES,
        header::VARY,
    ] {
        for value in stored.get_all(&name) {
            fields.append(&name, value.clone());
        }
    }
    // Without a tag it is what the next cache can tell the response by.
    if !fields.contains_key(header::ETAG)
        && let Some(modified) = stored.get(header::LAST_MODIFIED)
    {
        fields.append(header::LAST_MODIFIED, modified.clone());
    }
    fields
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use http::{HeaderName, HeaderValue};

    use super::*;

    fn headers(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        let line = |(name, value): &(&'static str, &'static str)| {
            (HeaderName::from_static(name), HeaderValue::from_static(value))
        };
        lines.iter().map(line).collect()
    }

    /// RFC 9110 §13.1.2, §13.1.3, §13.2; RFC 9111 §4.3.2.
    #[test]
    fn the_clients_conditions_are_answered_from_the_store() {
        const EARLY: &str = "Thu, 01 Jan 2026 00:00:00 GMT";
        const LATE: &str = "Thu, 01 Jan 2026 00:00:01 GMT";
        const LATE_850: &str = "Thursday, 01-Jan-26 00:00:01 GMT";
        const LATE_C: &str = "Thu Jan  1 00:00:01 2026";
        type Lines = &'static [(&'static str, &'static str)];
        let table: [(u16, Lines, Lines, bool); 21] = [
            (200, &[("etag", "\"a\"")], &[("if-none-match", "\"a\"")], true),
            (200, &[("etag", "\"a\"")], &[("if-none-match", "W/\"a\"")], true),
            (200, &[("etag", "W/\"a\"")], &[("if-none-match", "\"a\"")], true),
            (200, &[("etag", "\"a\"")], &[("if-none-match", "\"b\", \"a\"")], true),
            (200, &[("etag", "\"a\"")], &[("if-none-match", "\"b\"")], false),
            (200, &[("etag", "\"a\"")], &[("if-none-match", "*")], true),
            (200, &[], &[("if-none-match", "\"a\"")], false),
            (404, &[("etag", "\"a\"")], &[("if-none-match", "\"a\"")], false),
            (301, &[("etag", "\"a\"")], &[("if-none-match", "*")], false),
            // If-None-Match overrides If-Modified-Since.
            (
                200,
                &[("etag", "\"a\""), ("last-modified", EARLY)],
                &[("if-none-match", "\"b\""), ("if-modified-since", LATE)],
                false,
            ),
            (200, &[("last-modified", EARLY)], &[("if-modified-since", EARLY)], true),
            (200, &[("last-modified", EARLY)], &[("if-modified-since", LATE)], true),
            (200, &[("last-modified", EARLY)], &[("if-modified-since", LATE_850)], true),
            (200, &[("last-modified", EARLY)], &[("if-modified-since", LATE_C)], true),
            (200, &[("last-modified", LATE)], &[("if-modified-since", EARLY)], false),
            (200, &[("last-modified", EARLY)], &[("if-modified-since", "yesterday")], false),
            (
                200,
                &[("last-modified", EARLY)],
                &[("if-modified-since", EARLY), ("if-modified-since", LATE)],
                false,
            ),
            (200, &[("date", EARLY)], &[("if-modified-since", LATE)], true),
            (200, &[("date", LATE)], &[("if-modified-since", EARLY)], false),
            (
                200,
                &[("last-modified", LATE), ("date", EARLY)],
                &[("if-modified-since", EARLY)],
                false,
            ),
            (200, &[("etag", "\"a\"")], &[], false),
        ];
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_767_225_700);
        for (status, stored, request, expected) in table {
            let status = StatusCode::from_u16(status).unwrap();
            let result = is_not_modified(&headers(request), status, &headers(stored), now);
            assert_eq!(result, expected, "{status} {stored:?} {request:?}");
        }
    }

    /// Scenario 4.14.
    #[test]
    fn a_handler_answers_conditions_before_it_works() {
        let current = headers(&[
            ("etag", "\"1\""),
            ("cache-control", "max-age=60"),
            ("content-type", "text/plain"),
        ]);
        let now = SystemTime::UNIX_EPOCH;
        let known = not_modified(&headers(&[("if-none-match", "\"0\", W/\"1\"")]), &current, now);
        let head = known.unwrap();
        assert_eq!(head.status, StatusCode::NOT_MODIFIED);
        assert_eq!(head.headers, headers(&[("cache-control", "max-age=60"), ("etag", "\"1\"")]));
        for request in [&[][..], &[("if-none-match", "\"0\"")], &[("if-modified-since", "x")]] {
            assert!(not_modified(&headers(request), &current, now).is_none(), "{request:?}");
        }
    }

    /// RFC 9110 §15.4.5.
    #[test]
    fn a_304_repeats_what_tells_of_the_response_and_not_what_describes_the_body() {
        let fields = not_modified_fields(&headers(&[
            ("age", "0"),
            ("cache-control", "max-age=1"),
            ("content-length", "7"),
            ("content-location", "/x"),
            ("content-type", "text/plain"),
            ("date", "x"),
            ("etag", "\"a\""),
            ("expires", "0"),
            ("last-modified", "y"),
            ("vary", "accept"),
            ("x-other", "z"),
        ]));
        let mut names: Vec<_> = fields.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        let expected =
            ["age", "cache-control", "content-location", "date", "etag", "expires", "vary"];
        assert_eq!(names, expected);
        let untagged = not_modified_fields(&headers(&[("last-modified", "y"), ("x-other", "z")]));
        assert_eq!(untagged, headers(&[("last-modified", "y")]));
    }
}
