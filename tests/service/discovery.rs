//! Discovery through a pointer that redirects to content named by its hash (scenarios 1.1 to 1.10).

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use larder::{CacheMode, Policy};
use tower::Layer;
use tower::ServiceExt;
use tower_http::follow_redirect::FollowRedirectLayer;

use crate::support::{Answer, Fate, cache, fate, get, ok, request, status};

const DAY: u64 = 24 * 60 * 60;
const YEAR: &str = "max-age=31536000, immutable";

/// Scenario 1.1; RFC 9111 §4.2.2.
#[tokio::test]
async fn a_redirect_is_kept_as_long_as_it_says_and_never_by_guess() {
    for code in [302, 307] {
        let cache = cache(Policy::private());
        cache.origin.on(move |_| {
            status(code).cache_control("max-age=300").header("location", "/d/1").text("")
        });
        cache.get("/d/current").await.assert_forwarded();
        for second in 0..300 {
            cache.clock.set_secs(second);
            let hit = cache.get("/d/current").await;
            hit.assert_hit();
            assert_eq!((hit.status.as_u16(), hit.field("location")), (code, Some("/d/1")));
        }
        assert_eq!(cache.origin.calls(), 1);
        cache.clock.set_secs(301);
        cache.get("/d/current").await.assert_forwarded();
        let silent = move || {
            let old = "Wed, 01 Jan 2020 00:00:00 GMT";
            status(code).header("last-modified", old).header("etag", "\"1\"").text("")
        };
        assert_eq!(fate(Policy::private(), &[], silent).await, Fate::Unstored, "{code}");
        assert_eq!(fate(Policy::shared(), &[], silent).await, Fate::Unstored, "{code}");
    }
}

/// Scenario 1.2; RFC 8246 §2.
#[tokio::test]
async fn an_immutable_response_is_not_validated_while_it_is_fresh() {
    for policy in [Policy::private(), Policy::shared()] {
        let cache = cache(policy.immutable(true));
        cache.origin.on(|request| match request.headers().get("if-none-match") {
            Some(_) => status(304).cache_control(YEAR).text(""),
            None => ok().cache_control(YEAR).header("etag", "\"1\"").text("hello"),
        });
        cache.get("/d/1").await.assert_forwarded();
        let reloads = async || {
            for directive in ["no-cache", "max-age=0", "min-fresh=99999999"] {
                let reload = cache.get_with("/d/1", &[("cache-control", directive)]).await;
                assert_eq!(reload.assert_hit().text(), "hello");
            }
        };
        cache.clock.set_secs(200 * DAY);
        reloads().await;
        cache.get_with("/d/1", &[("pragma", "no-cache")]).await.assert_hit();
        assert_eq!(cache.origin.calls(), 1);
        cache.clock.set_secs(366 * DAY);
        assert_eq!(cache.get("/d/1").await.assert_revalidated().text(), "hello");
        reloads().await;
        assert_eq!(cache.origin.calls(), 2);
        // What code asks for stands above it.
        let mut validate = get("/d/1");
        validate.extensions_mut().insert(CacheMode::NoCache);
        cache.send(validate).await.assert_revalidated();
    }
}

/// Scenario 1.2: without the option a reload is a reload.
#[tokio::test]
async fn immutable_means_nothing_by_default() {
    let cache = cache(Policy::private());
    cache.origin.on(|_| ok().cache_control(YEAR).text("hello"));
    cache.get("/d/1").await;
    cache.get_with("/d/1", &[("cache-control", "no-cache")]).await.assert_forwarded();
}

/// Scenario 1.3: the follower stands above the cache, so that each hop is kept by itself.
#[tokio::test]
async fn a_pointer_is_asked_once_in_its_lifetime_and_content_once_for_all() {
    let cache = cache(Policy::private());
    let published = Arc::new(AtomicUsize::new(1));
    let current = published.clone();
    cache.origin.on(move |request| match request.uri().path() {
        "/d/current" => {
            let location = format!("/d/{}", current.load(Ordering::Relaxed));
            status(302).cache_control("max-age=300").header("location", location).text("")
        }
        path => ok().cache_control(YEAR).text(path),
    });
    let client = FollowRedirectLayer::new().layer(cache.service.clone());
    let follow = async || {
        Answer::of(client.clone().oneshot(get("/d/current")).await.unwrap()).await.text().to_owned()
    };
    for second in (0..3600).step_by(10) {
        cache.clock.set_secs(second);
        assert_eq!(follow().await, "/d/1");
    }
    assert_eq!((cache.origin.calls_to("/d/current"), cache.origin.calls_to("/d/1")), (12, 1));

    let start = 3600;
    let mut last_old = 0;
    for second in (0..3600).step_by(10) {
        cache.clock.set_secs(start + second);
        if second == 1000 {
            published.store(2, Ordering::Relaxed);
        }
        match follow().await.as_str() {
            "/d/1" => last_old = second,
            content => assert_eq!(content, "/d/2"),
        }
    }
    assert!((1000..1300).contains(&last_old), "{last_old}");
    assert_eq!(cache.origin.calls_to("/d/current"), 24);
    assert_eq!((cache.origin.calls_to("/d/1"), cache.origin.calls_to("/d/2")), (1, 1));
}

/// Scenario 1.5; RFC 9111 §4.3.4, RFC 9211 §2.
#[tokio::test]
async fn the_caller_sees_the_stored_200_after_a_304() {
    let cache = cache(Policy::private());
    cache.origin.on(|request| match request.headers().get("if-none-match") {
        Some(tag) if tag == "\"v1\"" => status(304).header("etag", "\"v1\"").text(""),
        _ => ok().cache_control("max-age=300").header("etag", "\"v1\"").text("the catalogue"),
    });
    let first = cache.get("/").await;
    cache.clock.set_secs(301);
    let second = cache.get("/").await;
    second.assert_revalidated();
    assert_eq!((second.status.as_u16(), &second.body), (200, &first.body));
    let status = second.field("cache-status").unwrap();
    assert!(status.starts_with("larder; fwd=stale; fwd-status=304"), "{status}");
    assert_eq!(second.age(), Some(0));
    cache.clock.set_secs(600);
    assert_eq!(cache.get("/").await.assert_hit().age(), Some(299));
}

/// Scenario 1.7; RFC 9111 §3.2.
#[tokio::test]
async fn links_survive_until_a_304_replaces_them() {
    let cache = cache(Policy::private());
    cache.origin.on(|request| match request.headers().get("if-none-match") {
        None => ok()
            .cache_control("max-age=60")
            .header("etag", "\"1\"")
            .header("link", "</a>; rel=next")
            .header("link", "</b>; rel=last, </c>; rel=\"d, e\"")
            .text("hello"),
        Some(_) => status(304).header("link", "</z>; rel=next").text(""),
    });
    let before: [&[u8]; 2] = [b"</a>; rel=next", b"</b>; rel=last, </c>; rel=\"d, e\""];
    cache.get("/").await;
    let hit = cache.get("/").await;
    assert_eq!(hit.assert_hit().lines("link"), before);
    cache.clock.set_secs(60);
    for _ in 0..2 {
        assert_eq!(cache.get("/").await.lines("link"), [b"</z>; rel=next"]);
    }
    assert_eq!(cache.origin.calls(), 2);
}

/// Scenario 1.8; RFC 9111 §4.2.2: an object store says when, and nothing else.
#[tokio::test]
async fn a_silent_origin_is_believed_for_a_tenth_of_the_time_that_nothing_changed() {
    for (unchanged, lifetime) in [(1000, 100), (50, 5), (100 * DAY, DAY)] {
        for policy in [Policy::private(), Policy::shared()] {
            let cache = cache(policy);
            let modified = cache.clock.date(-(unchanged as i64));
            cache.origin.on(move |request| {
                let tag = "\"d41d8cd98f00b204e9800998ecf8427e\"";
                let reply = match request.headers().get("if-none-match") {
                    Some(known) if known == tag => status(304),
                    _ => ok(),
                };
                reply.header("etag", tag).header("last-modified", &modified).text("hello")
            });
            cache.get("/").await;
            cache.clock.set_secs(lifetime - 1);
            cache.get("/").await.assert_hit();
            cache.clock.set_secs(lifetime);
            cache.get("/").await.assert_revalidated();
            assert!(cache.origin.last().field("if-modified-since").is_some());
        }
    }
}

/// Scenario 1.10.
#[tokio::test]
async fn each_hop_of_a_chain_has_its_own_lifetime() {
    let cache = cache(Policy::private());
    cache.origin.on(|request| {
        let hop = |age: &str, to: &str| {
            status(302).cache_control(&format!("max-age={age}")).header("location", to).text("")
        };
        match request.uri().path() {
            "/1" => hop("300", "/2"),
            "/2" => hop("60", "/3"),
            "/3" => hop("31536000", "/4"),
            _ => ok().cache_control(YEAR).text("content"),
        }
    });
    let client = FollowRedirectLayer::new().layer(cache.service.clone());
    let follow = async || Answer::of(client.clone().oneshot(get("/1")).await.unwrap()).await;
    assert_eq!(follow().await.text(), "content");
    assert_eq!(cache.origin.calls(), 4);
    cache.clock.set_secs(61);
    assert_eq!(follow().await.text(), "content");
    assert_eq!((cache.origin.calls(), cache.origin.last().path()), (5, "/2"));
}

/// Scenario 1.10: what has vanished may be back soon.
#[tokio::test]
async fn a_404_is_not_made_long_lived_by_guess() {
    let lifetimes = [
        (Policy::private(), 60),
        (Policy::private().negative_max(Duration::from_secs(5)), 5),
        (Policy::shared(), 60),
    ];
    for (policy, lifetime) in lifetimes {
        let cache = cache(policy);
        let old = cache.clock.date(-100_000);
        cache.origin.on(move |_| status(404).header("last-modified", &old).text("gone"));
        cache.get("/d/1").await;
        cache.clock.set_secs(lifetime - 1);
        cache.get("/d/1").await.assert_hit();
        cache.clock.set_secs(lifetime);
        cache.get("/d/1").await.assert_forwarded();
        let head = cache.send(request("HEAD", "/d/1")).await;
        assert_eq!(head.status, 404);
    }
}
