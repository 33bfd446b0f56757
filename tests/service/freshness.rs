//! Age and lifetime as a client sees them (RFC 9111 §4.2).

use std::time::Duration;

use larder::{Cached, Policy};

use crate::support::{Fate, cache, fate, ok, status};

/// Scenario 3.6.
#[tokio::test]
async fn a_day_is_a_day() {
    let cache = cache(Policy::shared());
    cache.origin.on(|_| ok().cache_control("public, max-age=86400").text("hello"));
    cache.get("/").await;
    for second in [1, 60, 3600, 43_200, 86_398, 86_399] {
        cache.clock.set_secs(second);
        assert_eq!(cache.get("/").await.assert_hit().age(), Some(second));
    }
    cache.clock.set_secs(86_400);
    cache.get("/").await.assert_forwarded();
}

/// Behaviours 11, 14 and 16; RFC 9111 §4.2.1, §5.3: the last second in which it is fresh.
#[tokio::test]
async fn a_response_is_fresh_until_its_lifetime_has_passed() {
    let at = |second| format!("Thu, 01 Jan 2026 00:{:02}:{:02} GMT", second / 60, second % 60);
    let (cc, expires, date, age) = ("cache-control", "expires", "date", "age");
    let table: [(Vec<(&str, String)>, u64); 17] = [
        (vec![(cc, "max-age=60".into())], 60),
        (vec![(cc, "max-age=60".into()), (expires, at(600))], 60),
        (vec![(cc, "max-age=600".into()), (expires, at(60))], 600),
        (vec![(cc, "max-age=60".into()), (expires, "0".into())], 60),
        (vec![(cc, "max-age=\"60\"".into())], 60),
        (vec![(cc, "max-age=0060".into())], 60),
        (vec![(expires, at(60))], 60),
        (vec![(expires, at(0))], 0),
        (vec![(expires, "0".into())], 0),
        (vec![(expires, "soon".into())], 0),
        // The origin's clock is ten minutes ahead: both values are its own.
        (vec![(date, at(600)), (expires, at(660))], 60),
        (vec![(date, at(600)), (cc, "max-age=60".into())], 60),
        (vec![(date, "never".into()), (expires, at(60))], 60),
        (vec![(cc, "max-age=60".into()), (age, "50".into())], 10),
        (vec![(cc, "max-age=60".into()), (age, "50, 1".into())], 10),
        (vec![(cc, "max-age=60".into()), (age, "-1".into())], 60),
        (vec![(cc, "max-age=60".into()), (age, "99999999999999999999".into())], 0),
    ];
    for (fields, lifetime) in table {
        for policy in [Policy::shared(), Policy::private()] {
            let cache = cache(policy);
            let reply = fields.clone();
            cache.origin.on(move |_| {
                let reply =
                    reply.iter().fold(ok(), |reply, (name, value)| reply.header(name, value));
                reply.header("etag", "\"1\"").text("hello")
            });
            cache.get("/").await;
            if lifetime > 0 {
                cache.clock.set_secs(lifetime - 1);
                cache.get("/").await.assert_hit();
            }
            cache.clock.set_secs(lifetime);
            cache.get("/").await.assert_forwarded();
            assert_eq!(cache.origin.last().field("if-none-match"), Some("\"1\""), "{fields:?}");
        }
    }
}

/// Behaviour 17; RFC 9111 §4.2.3: a slow origin clock, and time spent on the way.
/// Feature clock-skew.
#[tokio::test]
async fn age_counts_from_whichever_clock_says_more() {
    for (date, age, delay, expected) in [
        (0, None, 0, 0),
        (-30, None, 0, 30),
        (-30, Some("40"), 0, 40),
        (-50, Some("40"), 0, 50),
        (0, Some("40"), 5, 45),
        (-60, Some("40"), 5, 65),
        (100, Some("40"), 0, 40),
        (100, None, 0, 0),
    ] {
        let cache = cache(Policy::shared());
        let (clock, sent) = (cache.clock.clone(), cache.clock.date(date));
        cache.origin.on(move |_| {
            clock.advance_secs(delay);
            let reply = ok().cache_control("max-age=1000").header("date", &sent);
            match age {
                Some(age) => reply.header("age", age).text("hello"),
                None => reply.text("hello"),
            }
        });
        cache.get("/").await;
        cache.clock.advance_secs(7);
        let hit = cache.get("/").await;
        assert_eq!(hit.assert_hit().age(), Some(expected + 7), "{date} {age:?} {delay}");
    }
}

/// Behaviour 18; RFC 9111 §4, §5.1.
#[tokio::test]
async fn a_hit_has_one_age_and_its_own_date_and_expires() {
    let cache = cache(Policy::shared());
    cache.origin.on(|_| {
        ok().header("age", "10")
            .header("age", "99")
            .header("date", "Thu, 01 Jan 2026 00:00:00 GMT")
            .header("expires", "Thu, 01 Jan 2026 00:02:00 GMT")
            .text("hello")
    });
    let forwarded = cache.get("/").await;
    assert_eq!(forwarded.lines("age"), [b"10", b"99"], "what is forwarded is as it came");
    for second in [0, 1, 109] {
        cache.clock.set_secs(second);
        let hit = cache.get("/").await;
        let age = (10 + second).to_string();
        assert_eq!(hit.assert_hit().lines("age"), [age.as_bytes()]);
        assert_eq!(hit.lines("date"), [b"Thu, 01 Jan 2026 00:00:00 GMT"]);
        assert_eq!(hit.lines("expires"), [b"Thu, 01 Jan 2026 00:02:00 GMT"]);
    }
}

/// G1's one exception: the user has said how long.
/// Feature default-ttl.
#[tokio::test]
async fn a_default_lifetime_is_for_what_says_nothing() {
    let policy = || Policy::shared().default_ttl(Duration::from_secs(10));
    let cache = cache(policy());
    cache.origin.on(|_| ok().text("hello"));
    cache.get("/").await;
    cache.clock.set_secs(9);
    cache.get("/").await.assert_hit();
    cache.clock.set_secs(10);
    cache.get("/").await.assert_forwarded();

    let hour = || Policy::shared().default_ttl(Duration::from_secs(3600));
    let table = [
        (200, "", Fate::Fresh),
        (404, "", Fate::Fresh),
        (500, "", Fate::Unstored),
        (302, "", Fate::Unstored),
        (200, "no-store", Fate::Unstored),
        (200, "private", Fate::Unstored),
        (200, "no-cache", Fate::Validated),
        (200, "max-age=0", Fate::Validated),
        (200, "max-age=x", Fate::Validated),
    ];
    for (code, cc, expected) in table {
        let reply = move || status(code).cache_control(cc).header("etag", "\"1\"").text("hello");
        assert_eq!(fate(hour(), &[], reply).await, expected, "{code} {cc}");
    }
    let expired = || ok().header("expires", "0").header("etag", "\"1\"").text("hello");
    assert_eq!(fate(hour(), &[], expired).await, Fate::Validated);
}

/// RFC 9213 §2.1 by extension: `Cached` is read in place of `Cache-Control`, and never sent.
/// Features ttl-override, request-extensions.
#[tokio::test]
async fn a_handler_says_by_extension_how_long() {
    for cc in ["", "no-store", "no-cache", "max-age=0", "max-age=9999", "private"] {
        for policy in [Policy::shared(), Policy::private()] {
            let cache = cache(policy);
            cache
                .origin
                .on(move |_| ok().cache_control(cc).extension(Cached::for_secs(60)).text("hello"));
            let response = cache.open("/").await;
            assert!(response.extensions().get::<Cached>().is_none());
            assert_eq!(crate::support::read(response).await.unwrap(), "hello");
            cache.clock.set_secs(59);
            let hit = cache.get("/").await;
            assert_eq!(hit.assert_hit().field("cache-control"), Some(cc));
            cache.clock.set_secs(60);
            cache.get("/").await.assert_forwarded();
        }
    }
}

/// What `Cached` does not lift: cookies, credentials, `Vary`, `Private`.
#[tokio::test]
async fn a_handlers_word_does_not_lift_what_keeps_users_apart() {
    let reply = || ok().extension(Cached::for_secs(60));
    let auth: &[(&str, &str)] = &[("authorization", "Bearer a")];
    let shared = Policy::shared;
    assert_eq!(fate(shared(), auth, move || reply().text("")).await, Fate::Unstored);
    let public = || ok().extension(Cached::for_secs(60).public()).text("");
    assert_eq!(fate(shared(), auth, public).await, Fate::Fresh);
    let cookie = move || reply().header("set-cookie", "a=b").text("");
    assert_eq!(fate(shared(), &[], cookie).await, Fate::Unstored);
    let vary = move || reply().header("vary", "*").text("");
    assert_eq!(fate(shared(), &[], vary).await, Fate::Unstored);
    let private = move || reply().extension(larder::Private).text("");
    assert_eq!(fate(shared(), &[], private).await, Fate::Unstored);
    assert_eq!(fate(Policy::private(), &[], private).await, Fate::Fresh);
}

/// Behaviour 9, as far as a layer sees it: a 304 or an error that nobody asked for is no entry.
#[tokio::test]
async fn a_failing_origin_leaves_what_is_stored() {
    let cache = cache(Policy::shared());
    cache.origin.on(|_| ok().cache_control("max-age=10").header("etag", "\"1\"").text("hello"));
    cache.get("/").await;
    cache.clock.set_secs(10);
    cache.origin.on(|_| status(503).text("down"));
    let failed = cache.get("/").await;
    assert_eq!((failed.status.as_u16(), failed.text()), (503, "down"));
    cache.origin.on(|_| status(304).text(""));
    assert_eq!(cache.get("/").await.assert_revalidated().text(), "hello");
}
