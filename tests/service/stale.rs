//! Stale responses where the origin fails (RFC 9111 §4.2.4, RFC 5861 §4).

use std::time::Duration;

use larder::{Cached, Policy, policy::Reason};

use crate::support::{Answer, Cache, OriginError, cache, ok, request, status};

/// What the origin does once the response is stored.
#[derive(Clone, Copy, Debug)]
enum Then {
    Answers(u16),
    Fails,
}

/// A cache that holds a response received at 0 and fresh for ten seconds.
async fn stored(policy: Policy, cache_control: &'static str, then: Then) -> Cache {
    let cache = cache(policy);
    cache.origin.on(move |_| ok().cache_control(cache_control).header("etag", "\"1\"").text("old"));
    cache.get("/").await;
    cache.origin.try_on(move |_| match then {
        Then::Answers(code) => Ok(status(code).text("new")),
        Then::Fails => Err(OriginError("refused")),
    });
    cache
}

/// What comes at `at`: `None` is the origin's error.
async fn at(cache: &Cache, at: u64) -> Option<Answer> {
    use tower::Service;
    cache.clock.set_secs(at);
    let answer = cache.service.clone().call(request("GET", "/")).await.ok()?;
    Some(Answer::of(answer).await)
}

fn text(answer: &Option<Answer>) -> &str {
    answer.as_ref().map_or("error", |answer| answer.text())
}

/// Behaviour 31; RFC 5861 §4: 500, 502, 503 and 504, inside of the window, and no other status.
#[tokio::test]
async fn stale_if_error_stands_in_for_server_errors() {
    const CC: &str = "max-age=10, stale-if-error=20";
    for (code, seconds, expected) in [
        (500, 30, "old"),
        (502, 11, "old"),
        (503, 11, "old"),
        (504, 11, "old"),
        (500, 31, "new"),
        (501, 11, "new"),
        (505, 11, "new"),
        (404, 11, "new"),
        (200, 11, "new"),
    ] {
        let cache = stored(Policy::shared(), CC, Then::Answers(code)).await;
        let answer = at(&cache, seconds).await;
        assert_eq!(text(&answer), expected, "{code} at {seconds}");
        assert_eq!(cache.origin.calls(), 2, "the origin is asked each time");
    }
    let cache = stored(Policy::shared(), CC, Then::Answers(503)).await;
    let answer = at(&cache, 15).await.unwrap();
    assert_eq!(answer.age(), Some(15));
    assert_eq!(answer.cache.reason(), Some(Reason::ServerError));
    let said = "larder; fwd=stale; fwd-status=503; ttl=-5; detail=server-error";
    assert_eq!(answer.field("cache-status"), Some(said));
}

/// RFC 9111 §4.2.4, Behaviour 29 (R-stale), G2; Decision 1.
#[tokio::test]
async fn what_forbids_stale_use_forbids_it_also_where_the_origin_is_gone() {
    let hour = Duration::from_secs(3600);
    let plain = Policy::shared;
    let lenient = || Policy::shared().stale_on_disconnect(hour).stale_if_error(hour);
    let private = || Policy::private().stale_on_disconnect(hour);
    let table: [(Policy, &str, u64, &str); 14] = [
        (plain(), "max-age=10", 11, "error"),
        (plain(), "max-age=10, stale-if-error=20", 30, "old"),
        (plain(), "max-age=10, stale-if-error=20", 31, "error"),
        (lenient(), "max-age=10", 3610, "old"),
        (lenient(), "max-age=10", 3611, "error"),
        (lenient(), "max-age=10, must-revalidate", 11, "error"),
        (lenient(), "max-age=10, must-revalidate, stale-if-error=20", 11, "error"),
        (lenient(), "max-age=10, proxy-revalidate", 11, "error"),
        (lenient(), "s-maxage=10", 11, "error"),
        (lenient(), "s-maxage=10, stale-if-error=20", 11, "old"),
        (lenient().strict_s_maxage(true), "s-maxage=10, stale-if-error=20", 11, "error"),
        (lenient(), "no-cache, max-age=10, stale-if-error=20", 1, "error"),
        (private(), "max-age=10, proxy-revalidate", 11, "old"),
        (private(), "max-age=10, s-maxage=10", 11, "old"),
    ];
    for (policy, cache_control, seconds, expected) in table {
        let cache = stored(policy, cache_control, Then::Fails).await;
        let answer = at(&cache, seconds).await;
        assert_eq!(text(&answer), expected, "{cache_control} at {seconds}");
        if let Some(answer) = answer {
            assert_eq!(answer.cache.reason(), Some(Reason::Disconnected));
        }
    }
}

/// Scenario 2.5: nothing is ever served beyond the ceiling.
#[tokio::test]
async fn a_ceiling_holds_for_every_way_of_being_stale() {
    let second = Duration::from_secs(1);
    let policies = [
        Policy::shared().stale_on_disconnect(3600 * second),
        Policy::shared().stale_if_error(3600 * second),
        Policy::shared().stale_while_revalidate(3600 * second),
    ];
    for policy in policies {
        let cache = stored(policy.max_staleness(5 * second), "max-age=10", Then::Fails).await;
        assert_eq!(text(&at(&cache, 15).await), "old");
        assert_eq!(text(&at(&cache, 16).await), "error");
    }
    let asks = Policy::private().max_staleness(5 * second);
    let cache = stored(asks, "max-age=10", Then::Answers(200)).await;
    cache.clock.set_secs(15);
    cache.get_with("/", &[("cache-control", "max-stale")]).await.assert_hit();
    cache.clock.set_secs(16);
    cache.get_with("/", &[("cache-control", "max-stale")]).await.assert_forwarded();
}

/// RFC 5861 §4: the request may ask for it, where the cache listens to clients.
/// Feature request-stale-if-error.
#[tokio::test]
async fn a_request_may_accept_stale_on_error() {
    for (policy, expected) in [(Policy::shared(), 503), (Policy::private(), 200)] {
        let cache = stored(policy, "max-age=10", Then::Answers(503)).await;
        cache.clock.set_secs(15);
        let answer = cache.get_with("/", &[("cache-control", "stale-if-error=5")]).await;
        assert_eq!(answer.status, expected);
        cache.clock.set_secs(16);
        let answer = cache.get_with("/", &[("cache-control", "stale-if-error=5")]).await;
        assert_eq!(answer.status, 503);
    }
}

/// RFC 9111 §5.2.1: a reload is a preference. A shared cache answers it all the same where there is
/// nobody else to; a private one holds to the letter.
#[tokio::test]
async fn a_reload_of_a_dead_origin_is_answered_in_a_shared_cache() {
    for (policy, expected) in [(Policy::shared(), "old"), (Policy::private(), "error")] {
        for seconds in [5, 15] {
            let policy = policy.clone();
            let cache = stored(policy, "max-age=10, stale-if-error=20", Then::Fails).await;
            cache.clock.set_secs(seconds);
            let reload =
                crate::support::with(request("GET", "/"), &[("cache-control", "no-cache")]);
            let answer = tower::Service::call(&mut cache.service.clone(), reload).await;
            let body = match answer {
                Ok(answer) => Answer::of(answer).await.text().to_owned(),
                Err(_) => "error".to_owned(),
            };
            assert_eq!(body, expected, "at {seconds}");
        }
    }
}

/// A stale answer is conditional, and about HEAD, like any other (RFC 9111 §4.3.2).
#[tokio::test]
async fn a_stale_answer_hears_the_clients_conditions() {
    let cache = stored(Policy::shared(), "max-age=10, stale-if-error=20", Then::Fails).await;
    cache.clock.set_secs(15);
    let answer = cache.get_with("/", &[("if-none-match", "\"1\"")]).await;
    assert_eq!((answer.status.as_u16(), answer.text()), (304, ""));
    let head = cache.send(request("HEAD", "/")).await;
    assert_eq!((head.status.as_u16(), head.field("content-length")), (200, Some("3")));
}

#[tokio::test]
async fn a_handler_says_how_stale_its_answer_may_be() {
    for (cached, code) in [
        (Cached::for_secs(10), 503),
        (Cached::for_secs(10).stale_if_error(20), 200),
        (Cached::for_secs(10).stale(20), 200),
    ] {
        let cache = cache(Policy::shared());
        cache.origin.on(move |_| ok().extension(cached.clone()).text("old"));
        cache.get("/").await;
        cache.origin.on(|_| status(503).text("new"));
        cache.clock.set_secs(30);
        assert_eq!(cache.get("/").await.status, code);
        cache.clock.set_secs(31);
        assert_eq!(cache.get("/").await.status, 503);
    }
}
