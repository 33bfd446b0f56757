//! Request directives (RFC 9111 §5.2.1, §5.4) and HEAD (RFC 9110 §9.3.2).

use std::time::Duration;

use larder::{
    Policy,
    policy::{ClientReload, Forward, Reason},
};

use crate::support::{Cache, cache, ok, request, status, with};

/// A cache that has `/`, fresh for 100 seconds and `age` seconds old.
async fn holding(policy: Policy, age: u64, cc: &'static str) -> Cache {
    let cache = cache(policy);
    cache.origin.on(move |request| match request.headers().get("if-none-match") {
        Some(_) => status(304).text(""),
        None => ok().cache_control(cc).header("etag", "\"1\"").text("hello"),
    });
    cache.get("/").await;
    cache.clock.set_secs(age);
    cache
}

/// How a request is answered that finds something stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum How {
    Hit,
    Validated,
    Timeout,
}
use How::{Hit, Timeout, Validated};

/// Behaviour 39; RFC 9111 §5.2.1, §5.4. `max-stale` is ignored where many share the answer.
#[tokio::test]
async fn request_directives_say_what_will_do() {
    const CC: &str = "cache-control";
    type Fields = &'static [(&'static str, &'static str)];
    let table: [(u64, Fields, How, How); 27] = [
        (50, &[(CC, "no-cache")], Validated, Validated),
        (50, &[(CC, "No-Cache=\"x\"")], Validated, Validated),
        (50, &[(CC, "max-age=50")], Hit, Hit),
        (50, &[(CC, "max-age=49")], Validated, Validated),
        (50, &[(CC, "max-age=0")], Validated, Validated),
        (50, &[(CC, "max-age=x")], Validated, Validated),
        (50, &[(CC, "min-fresh=50")], Hit, Hit),
        (50, &[(CC, "min-fresh=51")], Validated, Validated),
        (50, &[(CC, "no-store")], Hit, Hit),
        (50, &[(CC, "only-if-cached")], Hit, Hit),
        (50, &[(CC, "only-if-cached, no-cache")], Timeout, Timeout),
        (50, &[(CC, "only-if-cached, max-age=49")], Timeout, Timeout),
        (50, &[("pragma", "no-cache")], Validated, Validated),
        (50, &[("pragma", "no-cache"), (CC, "max-age=100")], Hit, Hit),
        (50, &[("pragma", "x")], Hit, Hit),
        (50, &[(CC, "no-cachex, x-no-cache")], Hit, Hit),
        (110, &[], Validated, Validated),
        (110, &[(CC, "max-stale")], Validated, Hit),
        (110, &[(CC, "max-stale=10")], Validated, Hit),
        (110, &[(CC, "max-stale=9")], Validated, Validated),
        (110, &[(CC, "max-stale=x")], Validated, Validated),
        (110, &[(CC, "max-stale, max-age=110")], Validated, Hit),
        (110, &[(CC, "max-stale, max-age=109")], Validated, Validated),
        (110, &[(CC, "max-stale, no-cache")], Validated, Validated),
        (110, &[(CC, "only-if-cached")], Timeout, Timeout),
        (110, &[(CC, "only-if-cached, max-stale")], Timeout, Hit),
        (110, &[(CC, "max-stale, min-fresh=1")], Validated, Validated),
    ];
    for (age, fields, shared, private) in table {
        for (policy, expected) in [(Policy::shared(), shared), (Policy::private(), private)] {
            let cache = holding(policy, age, "max-age=100").await;
            let answer = cache.get_with("/", fields).await;
            let how = match answer.status.as_u16() {
                504 => Timeout,
                _ if answer.cache.is_hit() => Hit,
                _ => {
                    answer.assert_revalidated();
                    Validated
                }
            };
            assert_eq!(how, expected, "{age} {fields:?}");
            assert_eq!(cache.origin.calls(), 1 + usize::from(how == Validated));
            if how == Timeout {
                assert_eq!(answer.field("cache-status"), None, "it is our own");
                assert_eq!(answer.cache.to_string(), "detail=only-if-cached");
            }
        }
    }
}

/// RFC 9111 §4.2.4, §5.2.2.2: what must be validated is not served stale, whoever asks.
#[tokio::test]
async fn no_request_makes_what_must_be_validated_stale() {
    for cc in ["max-age=100, must-revalidate", "no-cache, max-age=100"] {
        let cache = holding(Policy::private(), 101, cc).await;
        cache.get_with("/", &[("cache-control", "max-stale")]).await.assert_revalidated();
    }
}

/// RFC 9111 §5.2.1.7: 504, and the origin hears nothing of it.
#[tokio::test]
async fn only_if_cached_never_asks() {
    for policy in [Policy::shared(), Policy::private()] {
        let cache = cache(policy);
        let answer = cache.get_with("/", &[("cache-control", "only-if-cached")]).await;
        assert_eq!((answer.status.as_u16(), answer.text()), (504, ""));
        assert_eq!(cache.origin.calls(), 0);
    }
}

/// RFC 9111 §5.2.1.5: of this exchange nothing is kept; what is stored already may be used.
#[tokio::test]
async fn no_store_in_a_request_is_about_its_own_answer() {
    for policy in [Policy::shared(), Policy::private()] {
        let cache = cache(policy);
        cache.origin.on(|_| ok().cache_control("max-age=60").text("hello"));
        let no_store = [("cache-control", "no-store")];
        let answer = cache.get_with("/", &no_store).await;
        assert_eq!(answer.cache.reason(), Some(Reason::RequestNoStore));
        cache.get("/").await.assert_forwarded();
        cache.get_with("/", &no_store).await.assert_hit();
    }
}

/// Decision 2: the three ways to treat a client's reload.
/// Feature client-modes.
#[tokio::test]
async fn reloads_are_honoured_collapsed_or_ignored() {
    const SECOND: Duration = Duration::from_secs(1);
    // Whether a reload so many seconds after the last answer of the origin goes out.
    let table = [
        (Policy::shared(), [(0, false), (1, true), (50, true)]),
        (Policy::private(), [(0, true), (1, true), (50, true)]),
        (Policy::shared().client_reload(ClientReload::Honour), [(0, true), (1, true), (50, true)]),
        (
            Policy::private().client_reload(ClientReload::Collapse(10 * SECOND)),
            [(0, false), (9, false), (10, true)],
        ),
        (
            Policy::shared().client_reload(ClientReload::Ignore),
            [(0, false), (1, false), (99, false)],
        ),
    ];
    for (policy, cases) in table {
        for (age, goes_out) in cases {
            for directive in ["no-cache", "max-age=0", "min-fresh=101"] {
                let cache = holding(policy.clone(), age, "max-age=100").await;
                let reload = cache.get_with("/", &[("cache-control", directive)]).await;
                assert_eq!(reload.cache.is_hit(), !goes_out, "{age} {directive}");
                if goes_out {
                    assert_eq!(reload.cache.forward(), Some(Forward::Request));
                }
            }
        }
    }
    // A thousand reloads in one second are one question.
    let cache = holding(Policy::shared(), 50, "max-age=100").await;
    for _ in 0..1000 {
        cache.get_with("/", &[("cache-control", "no-cache")]).await;
    }
    assert_eq!(cache.origin.calls(), 2);
}

/// Behaviour 40; RFC 9110 §9.3.2.
#[tokio::test]
async fn head_is_answered_from_a_stored_get() {
    let cache = holding(Policy::shared(), 7, "max-age=100").await;
    let head = cache.send(request("HEAD", "/")).await;
    assert_eq!((head.assert_hit().age(), head.text()), (Some(7), ""));
    assert_eq!(head.field("content-length"), Some("5"));
    assert_eq!(head.field("etag"), Some("\"1\""));
    assert_eq!(cache.get("/").await.assert_hit().text(), "hello", "GET after HEAD is whole");
    assert_eq!(cache.origin.calls(), 1);
}

/// Behaviour 40: a layer inside of axum sees a handler's body in the answer to HEAD.
#[tokio::test]
async fn head_is_passed_on_without_a_body_and_not_stored() {
    let cache = cache(Policy::shared());
    cache
        .origin
        .on(|_| ok().cache_control("max-age=60").header("content-length", "5").text("hello"));
    for _ in 0..2 {
        let head = cache.send(request("HEAD", "/")).await;
        assert_eq!(head.assert_forwarded().text(), "");
        assert_eq!(head.field("content-length"), Some("5"));
        assert_eq!(cache.origin.last().method, "HEAD");
    }
    assert_eq!(cache.get("/").await.assert_forwarded().text(), "hello");
    let head = cache.send(request("HEAD", "/")).await;
    assert_eq!(head.assert_hit().text(), "");
    assert_eq!(cache.get("/").await.assert_hit().text(), "hello");
}

/// RFC 9111 §4.3.5: a HEAD validates what is stored, and a 304 is about the GET too.
#[tokio::test]
async fn head_validates_a_stale_get() {
    let cache = holding(Policy::shared(), 100, "max-age=100").await;
    let head = cache.send(request("HEAD", "/")).await;
    head.assert_revalidated();
    assert_eq!((head.status.as_u16(), head.text()), (200, ""));
    assert_eq!(head.field("content-length"), Some("5"));
    assert_eq!(cache.origin.last().field("if-none-match"), Some("\"1\""));
    assert_eq!(cache.get("/").await.assert_hit().text(), "hello");
}

/// Behaviour 40; RFC 9111 §4.3.5: a 200 to HEAD freshens the GET that it describes, and ends another.
#[tokio::test]
async fn head_freshens_or_ends_a_stored_get() {
    type Fields = &'static [(&'static str, &'static str)];
    // What the answer to HEAD says beside `x-new`, and whether the stored GET is good again.
    let table: [(Fields, bool); 10] = [
        (&[("etag", "W/\"1\"")], false),
        (&[("etag", "\"1\""), ("content-length", "5")], true),
        (&[("etag", "\"1\"")], true),
        (&[("content-length", "5")], true),
        (&[], true),
        (&[("etag", "\"2\""), ("content-length", "5")], false),
        (&[("etag", "\"1\""), ("content-length", "6")], false),
        (&[("content-length", "6")], false),
        (&[("etag", "\"1\""), ("last-modified", "Thu, 01 Jan 2026 00:00:00 GMT")], false),
        (&[("etag", "\"1\""), ("content-encoding", "br")], false),
    ];
    for (fields, is_same) in table {
        let cache = holding(Policy::shared(), 100, "max-age=100").await;
        cache.origin.on(move |_| {
            let reply = ok().cache_control("max-age=50").header("x-new", "1");
            fields.iter().fold(reply, |reply, (name, value)| reply.header(name, value)).text("")
        });
        let head = cache.send(request("HEAD", "/")).await;
        assert_eq!((head.status.as_u16(), head.text()), (200, ""), "{fields:?}");
        assert_eq!(head.field("x-new"), Some("1"), "{fields:?}");
        let get = cache.get("/").await;
        assert_eq!(get.cache.is_hit(), is_same, "{fields:?}");
        if is_same {
            assert_eq!((get.text(), get.field("x-new")), ("hello", Some("1")), "{fields:?}");
            cache.clock.advance_secs(49);
            cache.get("/").await.assert_hit();
            cache.clock.advance_secs(1);
            cache.get("/").await.assert_forwarded();
        } else {
            assert_eq!(cache.origin.last().field("if-none-match"), None, "it is gone");
        }
    }
}

/// RFC 9111 §4.3.5: a HEAD that is kept out of the cache says nothing about what others get.
#[tokio::test]
async fn a_private_head_ends_nothing() {
    for fields in [("cache-control", "no-store"), ("authorization", "x")] {
        let cache = holding(Policy::shared(), 100, "max-age=100").await;
        cache.origin.on(|request| match request.method().as_str() {
            "HEAD" => ok().cache_control("max-age=50").header("etag", "\"2\"").text(""),
            _ => status(304).text(""),
        });
        cache.send(with(request("HEAD", "/"), &[fields])).await.assert_forwarded();
        cache.get("/").await.assert_revalidated();
    }
}

/// RFC 9110 §9.2.1, §14.2, §13.1.1, §7.8: requests that the cache has no part in.
#[tokio::test]
async fn requests_pass_by_with_a_reason_and_store_nothing() {
    type Fields = &'static [(&'static str, &'static str)];
    let table: [(&str, Fields, Reason); 7] = [
        ("GET", &[("range", "bytes=4-3")], Reason::Range),
        ("GET", &[("if-match", "\"1\"")], Reason::Precondition),
        ("GET", &[("if-unmodified-since", "Thu, 01 Jan 2026 00:00:00 GMT")], Reason::Precondition),
        ("GET", &[("upgrade", "websocket"), ("connection", "upgrade")], Reason::Upgrade),
        ("CONNECT", &[], Reason::Upgrade),
        ("OPTIONS", &[], Reason::Method),
        ("TRACE", &[], Reason::Method),
    ];
    for (method, fields, reason) in table {
        let cache = cache(Policy::shared());
        cache.origin.on(|_| ok().cache_control("max-age=60").text("hello"));
        let send = async || {
            let request = crate::support::with(request(method, "/"), fields);
            let answer = cache.send(request).await;
            assert_eq!(answer.cache.reason(), Some(reason), "{method} {fields:?}");
            assert_eq!(answer.field("date"), None, "as it came");
            for (name, value) in fields {
                assert_eq!(cache.origin.last().field(name), Some(*value));
            }
        };
        send().await;
        cache.get("/").await.assert_forwarded();
        send().await;
        cache.get("/").await.assert_hit();
    }
}
