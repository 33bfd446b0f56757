//! What is stored, and which of its fields (RFC 9111 §3, §3.1).

use http::HeaderMap;
use larder::{Policy, policy::Reason};

use crate::support::{Cache, Fate, cache, fate, ok, request, status};

const ANCIENT: &str = "Wed, 01 Jan 2020 00:00:00 GMT";

fn both() -> [Policy; 2] {
    [Policy::shared(), Policy::private()]
}

/// Behaviour 1; RFC 9111 §3; scenario 3.9: also codes that nobody has registered.
#[tokio::test]
async fn any_final_status_is_kept_that_says_how_long() {
    const CODES: [u16; 31] = [
        200, 201, 202, 203, 204, 205, 226, 299, 300, 301, 302, 303, 307, 308, 399, 400, 401, 403,
        404, 405, 410, 414, 429, 431, 451, 499, 500, 501, 502, 503, 599,
    ];
    for code in CODES {
        for field in [
            ("cache-control", "max-age=60"),
            ("cache-control", "public, max-age=60"),
            ("expires", "Fri, 01 Jan 2027 00:00:00 GMT"),
        ] {
            for policy in both() {
                let reply = move || status(code).header(field.0, field.1).text("");
                assert_eq!(fate(policy, &[], reply).await, Fate::Fresh, "{code} {field:?}");
            }
        }
    }
}

/// Behaviour 2; RFC 9111 §4.2.2, §5.2.2.9; RFC 9110 §15.1.
#[tokio::test]
async fn a_status_is_kept_by_guess_only_if_it_is_one_of_those() {
    const BY_DEFAULT: [u16; 8] = [200, 203, 204, 300, 301, 308, 404, 410];
    const ERRORS: [u16; 3] = [405, 414, 501];
    const NEVER: [u16; 13] = [201, 202, 299, 302, 303, 307, 400, 403, 429, 451, 499, 500, 503];
    let guessed = |code, cc: &'static str| {
        move || status(code).cache_control(cc).header("last-modified", ANCIENT).text("")
    };
    for policy in both() {
        for code in BY_DEFAULT.into_iter().chain(ERRORS).chain(NEVER) {
            let expected = if BY_DEFAULT.contains(&code) { Fate::Fresh } else { Fate::Unstored };
            assert_eq!(fate(policy.clone(), &[], guessed(code, "")).await, expected, "{code}");
            let public = fate(policy.clone(), &[], guessed(code, "public")).await;
            assert_eq!(public, Fate::Fresh, "{code} public");
            let liberal = policy.clone().heuristic_errors(true);
            let allowed = expected == Fate::Fresh || ERRORS.contains(&code);
            let is_fresh = fate(liberal, &[], guessed(code, "")).await == Fate::Fresh;
            assert_eq!(is_fresh, allowed, "{code} heuristic_errors");
        }
    }
}

/// Scenario 3.9: negative answers.
#[tokio::test]
async fn an_error_is_kept_for_as_long_as_it_says_and_not_by_default() {
    let cache = cache(Policy::shared());
    cache.origin.on(|_| status(404).cache_control("public, max-age=30").text("no"));
    for second in 0..90 {
        cache.clock.set_secs(second);
        assert_eq!(cache.get("/").await.status, 404);
    }
    assert_eq!(cache.origin.calls(), 3);
    for policy in both() {
        let silent = || status(500).header("etag", "\"1\"").text("oops");
        assert_eq!(fate(policy, &[], silent).await, Fate::Unstored);
    }
}

/// G1; RFC 9111 §3, §4.2.2: no default lifetime.
#[tokio::test]
async fn what_says_nothing_is_never_reused_unasked() {
    for policy in both() {
        assert_eq!(fate(policy.clone(), &[], || ok().text("x")).await, Fate::Unstored);
        let tagged = || ok().header("etag", "\"1\"").text("x");
        assert_eq!(fate(policy, &[], tagged).await, Fate::Validated);
    }
}

/// Behaviours 3 and 4; RFC 9111 §5.2.2.3, §5.2.2.5, §5.2.2.7.
#[tokio::test]
async fn restrictions_hold_whatever_else_is_present() {
    let table = [
        (200, "no-store, must-understand, max-age=60", true, true),
        (404, "must-understand, max-age=60, no-store", true, true),
        (299, "must-understand, max-age=60", false, false),
        (299, "no-store, must-understand, max-age=60", false, false),
        (599, "public, must-understand, max-age=60", false, false),
        (299, "max-age=60", true, true),
        (200, "NO-STORE, public, max-age=60, s-maxage=60", false, false),
        (200, "pRIVATE, public, max-age=60, s-maxage=60", false, true),
        (200, "public, max-age=60, s-maxage=60, private", false, true),
        (206, "max-age=60", false, false),
        (304, "max-age=60", false, false),
    ];
    for (code, cc, shared, private) in table {
        for (policy, expected) in [(Policy::shared(), shared), (Policy::private(), private)] {
            let expected = if expected { Fate::Fresh } else { Fate::Unstored };
            let reply = move || status(code).cache_control(cc).text("");
            assert_eq!(fate(policy, &[], reply).await, expected, "{code} {cc}");
        }
    }
}

/// Behaviour 4; RFC 9111 §5.2.2.3: which codes are understood is a choice.
#[tokio::test]
async fn understood_codes_can_be_chosen() {
    use http::StatusCode;
    for policy in both() {
        let policy = policy.understood([StatusCode::IM_USED, StatusCode::CREATED]);
        for (code, is_understood) in [(226, true), (201, true), (200, false), (404, false)] {
            for cc in ["must-understand, max-age=60", "no-store, must-understand, max-age=60"] {
                let expected = if is_understood { Fate::Fresh } else { Fate::Unstored };
                let reply = move || status(code).cache_control(cc).text("");
                assert_eq!(fate(policy.clone(), &[], reply).await, expected, "{code} {cc}");
            }
            let reply = move || status(code).cache_control("max-age=60").text("");
            assert_eq!(fate(policy.clone(), &[], reply).await, Fate::Fresh, "{code}");
        }
    }
}

/// RFC 9111 §3: each answer that is not kept says why. Feature streaming-types.
#[tokio::test]
async fn what_is_not_stored_says_why() {
    type Fields = &'static [(&'static str, &'static str)];
    let table: [(u16, Fields, Fields, Reason); 15] = [
        (200, &[], &[("cache-control", "no-store")], Reason::NoStore),
        (200, &[], &[("cache-control", "private, max-age=60")], Reason::Private),
        (200, &[("authorization", "x")], &[("cache-control", "max-age=60")], Reason::Authorization),
        (200, &[], &[("cache-control", "max-age=60"), ("set-cookie", "a=b")], Reason::SetCookie),
        (200, &[], &[("cache-control", "max-age=60"), ("vary", "*")], Reason::VaryStar),
        (200, &[], &[("cache-control", "max-age=60"), ("vary", "a, *, b")], Reason::VaryStar),
        (200, &[], &[("cache-control", "max-age=60"), ("vary", "a b")], Reason::VaryStar),
        (200, &[], &[("cache-control", "max-age=60"), ("vary", "cookie")], Reason::VaryCredentials),
        (200, &[("cache-control", "no-store")], &[("expires", "0")], Reason::RequestNoStore),
        (200, &[], &[], Reason::NoFreshness),
        (500, &[], &[], Reason::Status),
        (206, &[], &[("cache-control", "max-age=60")], Reason::Partial),
        (
            200,
            &[],
            &[("cache-control", "max-age=60"), ("content-type", "text/event-stream")],
            Reason::Streaming,
        ),
        (200, &[], &[("cache-control", "max-age=60"), ("incremental", "?1")], Reason::Streaming),
        (
            200,
            &[],
            &[("cache-control", "max-age=60"), ("content-length", "x")],
            Reason::ContentLength,
        ),
    ];
    for (code, request, response, reason) in table {
        let cache = cache(Policy::shared());
        cache.origin.on(move |_| {
            response
                .iter()
                .fold(status(code), |reply, (name, value)| reply.header(name, value))
                .text("")
        });
        let answer = cache.get_with("/", request).await;
        assert_eq!(answer.cache.reason(), Some(reason), "{code} {request:?} {response:?}");
        assert!(!answer.cache.is_stored());
        let member = answer.field("cache-status").unwrap();
        assert!(member.ends_with(&format!("; detail={reason}")), "{member}");
        cache.get_with("/", request).await.assert_forwarded();
    }
}

/// Behaviour 10; RFC 9111 §3.1; RFC 9110 §7.6.1.
#[tokio::test]
async fn fields_of_the_connection_are_not_stored() {
    const GONE: [&str; 12] = [
        "connection",
        "x-nominated",
        "x-also",
        "keep-alive",
        "proxy-connection",
        "te",
        "transfer-encoding",
        "upgrade",
        "proxy-authenticate",
        "proxy-authentication-info",
        "proxy-authorization",
        "age",
    ];
    for policy in both() {
        let cache = cache(policy);
        cache.origin.on(|_| {
            let reply = ok()
                .cache_control("max-age=60")
                .header("connection", "X-Nominated, close")
                .header("connection", "x-also")
                .header("x-kept", "1");
            GONE[1..].iter().fold(reply, |reply, name| reply.header(name, "7")).text("hello")
        });
        cache.get("/").await;
        let hit = cache.get("/").await;
        hit.assert_hit();
        for name in GONE.iter().filter(|name| **name != "age") {
            assert_eq!(hit.field(name), None, "{name}");
        }
        assert_eq!((hit.lines("age").len(), hit.field("x-kept")), (1, Some("1")));
    }
}

/// Scenario 0.10; behaviour 10; RFC 9111 §3.1: all lines, in order, octet for octet.
#[tokio::test]
async fn everything_else_is_replayed_octet_for_octet() {
    const LINES: [(&str, &[u8]); 12] = [
        ("link", b"</a>; rel=preload"),
        ("link", b"</b>;rel=preload ,  </c>"),
        ("x-obs", b"caf\xe9 \xff\x80"),
        ("x-empty", b""),
        ("x-tabs", b"a\tb  c"),
        ("set-cookie", b"a=1; Path=/"),
        ("set-cookie", b"b=2; Expires=Wed, 21 Oct 2026 07:28:00 GMT"),
        ("etag", b"W/\"a b\""),
        ("x-unknown", b"\"quoted, text\""),
        ("content-type", b"Text/Plain;Charset=\"utf-8\""),
        ("date", b"Wed, 31 Dec 2025 23:59:50 GMT"),
        ("expires", b"Thursday, 01-Jan-26 00:01:00 GMT"),
    ];
    let cache = cache(Policy::private());
    cache.origin.on(|_| {
        LINES.iter().fold(ok(), |reply, (name, value)| reply.header(name, value)).text("hello")
    });
    let forwarded = cache.get("/").await;
    cache.clock.set_secs(7);
    let hit = cache.get("/").await;
    hit.assert_hit();
    for answer in [&forwarded, &hit] {
        for (name, _) in LINES {
            let sent: Vec<_> = LINES.iter().filter(|(n, _)| *n == name).map(|(_, v)| *v).collect();
            assert_eq!(answer.lines(name), sent, "{name}");
        }
    }
    assert_eq!(names(&forwarded.headers), [&["cache-status"], &fields()[..]].concat());
    assert_eq!(
        names(&hit.headers),
        [&["age", "cache-status", "content-length"], &fields()[..]].concat()
    );

    fn fields() -> Vec<&'static str> {
        let mut names: Vec<_> = LINES.iter().map(|(name, _)| *name).collect();
        names.sort_unstable();
        names.dedup();
        names
    }
    fn names(headers: &HeaderMap) -> Vec<&str> {
        let mut names: Vec<_> = headers.keys().map(http::HeaderName::as_str).collect();
        // Those that the cache adds first, to compare with the rest.
        names.sort_by_key(|name| (fields().contains(name), *name));
        names
    }
}

/// Behaviour 16; RFC 9110 §6.6.1: what is stored has a date, and so has what is forwarded.
#[tokio::test]
async fn a_date_is_appended_where_there_is_none() {
    let cache = cache(Policy::shared());
    cache.origin.on(|_| ok().cache_control("max-age=60").text("hello"));
    let received = cache.clock.date(0);
    let forwarded = cache.get("/").await;
    cache.clock.set_secs(10);
    for answer in [forwarded, cache.get("/").await] {
        assert_eq!(answer.lines("date"), [received.as_bytes()]);
    }
    // Nor does it matter whether it is stored, or may be.
    for (method, code, control) in
        [("GET", 200, "no-store"), ("HEAD", 200, "max-age=60"), ("POST", 500, ""), ("PUT", 204, "")]
    {
        cache.origin.on(move |_| status(code).cache_control(control).text(""));
        let answer = cache.send(request(method, "/unstored")).await;
        assert_eq!(answer.lines("date"), [cache.clock.date(0).as_bytes()], "{method}");
        let ancient = move |_: &http::Request<()>| status(code).header("date", ANCIENT).text("");
        cache.origin.on(ancient);
        assert_eq!(cache.send(request(method, "/unstored")).await.field("date"), Some(ANCIENT));
    }
    let unstored = dated(&cache, "not a date").await;
    assert_eq!(unstored, received.replace("00:00:00", "00:00:10"));
    assert_eq!(
        dated(&cache, "Thu, 01 Jan 2026 00:00:05 GMT").await,
        "Thu, 01 Jan 2026 00:00:05 GMT"
    );
}

/// The date of a stored response that came with `date`.
async fn dated(cache: &Cache, date: &'static str) -> String {
    cache.origin.on(move |_| ok().cache_control("max-age=60").header("date", date).text("hello"));
    let hit = cache.get_twice(&format!("/{}", date.len()), &[]).await;
    hit.assert_hit().field("date").unwrap().to_owned()
}

/// RFC 9110 §15.4.5, §8.6; a hit has the length of what is stored.
#[tokio::test]
async fn a_hit_says_how_long_it_is() {
    let cache = cache(Policy::shared());
    cache.origin.on(|request| match request.uri().path() {
        "/204" => status(204).cache_control("max-age=60").text(""),
        path => ok().cache_control("max-age=60").text(path),
    });
    for (path, length) in [("/", Some("1")), ("/long", Some("5")), ("/204", None)] {
        let hit = cache.get_twice(path, &[]).await;
        assert_eq!(hit.assert_hit().field("content-length"), length, "{path}");
    }
}

/// Feature streaming-types; RFC 9651 §3.3.6: `Incremental` is one boolean, and nothing else keeps a
/// response out.
#[tokio::test]
async fn incremental_is_a_boolean() {
    for (value, is_stored) in
        [("?1", false), ("?1;x", false), ("?0", true), ("1", true), ("?1, ?1", true), ("yes", true)]
    {
        let reply = move || ok().cache_control("max-age=60").header("incremental", value).text("");
        let expected = if is_stored { Fate::Fresh } else { Fate::Unstored };
        assert_eq!(fate(Policy::shared(), &[], reply).await, expected, "{value}");
    }
}
