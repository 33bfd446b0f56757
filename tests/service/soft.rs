//! Soft purges: what is selected stays, and is stale from then on.

use larder::{CacheMode, Policy, Purge, policy::Reason};

use crate::support::{Cache, OriginError, cache, get, ok, request, status};

/// A cache whose origin validates everything, after `path` has been stored under `directives`.
async fn holding(policy: Policy, directives: &'static str) -> Cache {
    let cache = cache(policy);
    cache.origin.on(move |request| match request.headers().contains_key("if-none-match") {
        true => status(304).header("etag", "\"1\"").text(""),
        false => {
            let reply = ok().cache_control(directives).header("etag", "\"1\"");
            reply.header("cache-tag", "t").text("hello")
        }
    });
    cache.get_twice("/", &[]).await.assert_hit();
    cache
}

/// Whatever selects it, it is validated once, and then it is fresh again.
/// Feature soft-purge.
#[tokio::test]
async fn a_softly_purged_response_is_validated() {
    let purges = [
        Purge::url("http://a.example/").unwrap(),
        Purge::tag("t"),
        Purge::host("a.example"),
        Purge::prefix("http://a.example/").unwrap(),
        Purge::matching(|key, _| key.path_and_query() == "/"),
        Purge::everything(),
    ];
    for purge in purges {
        let cache = holding(Policy::shared(), "max-age=60").await;
        let purged = cache.layer.handle().purge(purge.clone().soft()).await.unwrap();
        let answer = cache.get("/").await;
        answer.assert_revalidated();
        assert_eq!(
            (answer.text(), answer.cache.reason()),
            ("hello", Some(Reason::Stale)),
            "{purge}"
        );
        cache.get("/").await.assert_hit();
        assert_eq!(cache.origin.calls(), 2);
        // A second one counts from itself.
        cache.layer.handle().purge(purge.soft()).await.unwrap();
        cache.get("/").await.assert_revalidated();
        drop(purged);
    }
}

/// What is not selected, and what came later, stays fresh.
#[tokio::test]
async fn a_soft_purge_leaves_the_rest_fresh() {
    let cache = holding(Policy::shared(), "max-age=60").await;
    cache.layer.handle().purge(Purge::tag("other").soft()).await.unwrap();
    cache.get("/").await.assert_hit();
    cache.layer.handle().purge(Purge::tag("t").soft()).await.unwrap();
    cache.get("/new").await;
    cache.get("/new").await.assert_hit();
}

/// RFC 5861: the windows in which it may be used stale begin with the purge, not with the end of the
/// lifetime that it had.
#[tokio::test]
async fn the_windows_begin_with_the_purge() {
    for (wait, is_served) in [(0, true), (10, true), (11, false)] {
        let cache = holding(Policy::shared(), "max-age=60, stale-if-error=10").await;
        cache.clock.advance_secs(20);
        cache.layer.handle().purge(Purge::tag("t").soft()).await.unwrap();
        cache.origin.on(|_| status(503).text("down"));
        cache.clock.advance_secs(wait);
        let answer = cache.get("/").await;
        assert_eq!(answer.text() == "hello", is_served, "{wait}");
    }
    let cache = holding(Policy::shared(), "max-age=60").await;
    cache.layer.handle().purge(Purge::tag("t").soft()).await.unwrap();
    cache.origin.on(|_| status(503).text("down"));
    assert_eq!(cache.get("/").await.text(), "down", "no window");
}

/// Of two, the first is the one that made it stale.
#[tokio::test]
async fn it_is_stale_since_the_first() {
    for repeats in [1, 20] {
        let cache = holding(Policy::shared(), "max-age=600, stale-if-error=10").await;
        let purge = || cache.layer.handle().clone();
        purge().purge(Purge::tag("t").soft()).await.unwrap();
        for _ in 0..repeats {
            cache.clock.advance_secs(5);
            purge().purge(Purge::tag("t").soft()).await.unwrap();
            purge().purge(Purge::host("a.example").soft()).await.unwrap();
        }
        cache.origin.try_on(|_| Err(OriginError("down")));
        cache.clock.advance_secs(6);
        let response = tower::ServiceExt::oneshot(cache.service.clone(), get("/")).await;
        assert!(response.is_err(), "{repeats}");
    }
}

/// Security, "max-stale / only-if-cached abuse": a client may have it where it may have stale ones, and
/// never what is gone for good.
#[tokio::test]
async fn it_is_used_where_a_stale_response_may_be() {
    for (policy, directives, allowed) in [
        (Policy::private(), "max-age=60", true),
        (Policy::private(), "max-age=60, must-revalidate", false),
        (Policy::shared(), "max-age=60", false),
    ] {
        for soft in [true, false] {
            let cache = holding(policy.clone(), directives).await;
            let purge = Purge::everything();
            let purge = if soft { purge.soft() } else { purge };
            cache.layer.handle().purge(purge).await.unwrap();
            let answer = cache.get_with("/", &[("cache-control", "max-stale")]).await;
            assert_eq!(answer.cache.is_hit(), soft && allowed, "{directives} {soft}");
        }
    }
    let cache = holding(Policy::shared(), "max-age=60").await;
    cache.layer.handle().purge(Purge::everything().soft()).await.unwrap();
    let mut offline = request("GET", "/");
    offline.extensions_mut().insert(CacheMode::ForceCache);
    cache.send(offline).await.assert_hit();
}

/// A hard purge after a soft one, in either order, takes it out.
#[tokio::test]
async fn hard_beats_soft() {
    for first_soft in [true, false] {
        let cache = holding(Policy::shared(), "max-age=60").await;
        let (one, two) = (Purge::tag("t"), Purge::host("a.example"));
        let (one, two) = if first_soft { (one.soft(), two) } else { (one, two.soft()) };
        cache.layer.handle().purge(one).await.unwrap();
        cache.layer.handle().purge(two).await.unwrap();
        let answer = cache.get("/").await;
        assert_eq!(answer.cache.reason(), Some(Reason::Purged));
        assert_eq!(cache.origin.last().field("if-none-match"), None);
    }
}

/// RFC 9111 §4.1: another variant that would do, as it is in the language that the request rates best,
/// does so no longer.
#[tokio::test]
async fn another_variant_is_stale_too() {
    let cache = cache(Policy::shared().normalise_language(true));
    cache.origin.on(|_| {
        let reply = ok().cache_control("max-age=60").header("vary", "accept-language");
        reply.header("content-language", "de").text("hallo")
    });
    let handle = cache.layer.handle();
    cache.get_with("/", &[("accept-language", "de, en;q=0.5")]).await;
    cache.get_with("/", &[("accept-language", "de, fr;q=0.5")]).await.assert_hit();
    handle.purge(Purge::everything().soft()).await.unwrap();
    cache.get_with("/", &[("accept-language", "de, it;q=0.5")]).await.assert_forwarded();
}
