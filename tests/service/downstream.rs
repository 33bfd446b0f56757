//! What the client sees of the fields for caches, and what stays in the store.

use http::{HeaderName, HeaderValue, header};
use larder::{
    MemoryManager, Policy,
    policy::{Downstream, Reason},
};

use crate::support::{cache, cache_over, ok, request, status};

const CC: &str = "cache-control";

/// Scenario 2.8: the client sees what was configured, and the cache goes by what came.
#[tokio::test]
async fn the_client_sees_other_directives_than_the_cache() {
    let manager = MemoryManager::new(1 << 20);
    let rules = Downstream::keep()
        .replace(header::CACHE_CONTROL, HeaderValue::from_static("max-age=0, must-revalidate"))
        .strip(HeaderName::from_static("surrogate-control"))
        .strip(header::EXPIRES);
    let cache = cache_over(manager.clone(), Policy::shared().downstream(rules));
    cache.origin.on(|request| match request.headers().get("if-none-match") {
        Some(_) => status(304).header("expires", "0").text(""),
        None => ok()
            .cache_control("max-age=15, stale-while-revalidate=15")
            .header("surrogate-control", "max-age=9")
            .header("expires", "0")
            .header("etag", "\"1\"")
            .text("hello"),
    });
    let assert_rewritten = |answer: &crate::support::Answer| {
        assert_eq!(answer.lines(CC), [b"max-age=0, must-revalidate"]);
        assert_eq!((answer.field("surrogate-control"), answer.field("expires")), (None, None));
    };
    let miss = cache.get("/").await;
    assert_rewritten(miss.assert_forwarded());
    cache.clock.advance_secs(14);
    let hit = cache.get("/").await;
    assert_rewritten(hit.assert_hit());
    assert_eq!((hit.age(), hit.text()), (Some(14), "hello"));
    let not_modified = cache.get_with("/", &[("if-none-match", "\"1\"")]).await;
    assert_rewritten(not_modified.assert_hit());
    assert_eq!(not_modified.status, 304);
    assert_rewritten(cache.send(request("HEAD", "/")).await.assert_hit());
    cache.clock.advance_secs(20);
    assert_rewritten(cache.get("/").await.assert_revalidated());

    // Another layer over the same store sees what the origin said.
    let plain = cache_over(manager, Policy::shared());
    plain.clock.set_secs(34);
    let hit = plain.get("/").await;
    assert_eq!(hit.assert_hit().field(CC), Some("max-age=15, stale-while-revalidate=15"));
    assert_eq!(hit.field("surrogate-control"), Some("max-age=9"));
}

/// What an origin forbids is not lifted on the way.
#[tokio::test]
async fn what_is_not_kept_keeps_its_restrictions() {
    let rules = Downstream::keep()
        .replace(header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=60"))
        .strip(HeaderName::from_static("surrogate-control"));
    for cc in ["no-store", "private, max-age=60"] {
        let cache = cache(Policy::shared().downstream(rules.clone()));
        cache.origin.on(move |_| ok().cache_control(cc).header("surrogate-control", "a").text(""));
        let answer = cache.get("/").await;
        assert_eq!((answer.field(CC), answer.field("surrogate-control")), (Some(cc), None));
    }
}

/// Scenario 2.18: by default nothing is altered.
#[tokio::test]
async fn nothing_changes_that_nobody_asked_to_change() {
    let cache = cache(Policy::shared().targets(["cdn-cache-control"]));
    const LINES: [&[u8]; 2] = [b"Max-Age=60 ,x=\"a, b\"", b"s-maxage=60"];
    cache.origin.on(|_| {
        let reply = ok().header("cdn-cache-control", "max-age=60");
        LINES.iter().fold(reply, |reply, line| reply.header(CC, line)).text("")
    });
    for _ in 0..2 {
        let answer = cache.get("/").await;
        assert_eq!(answer.lines(CC), LINES);
        assert_eq!(answer.field("cdn-cache-control"), Some("max-age=60"));
    }
}

/// Scenario 2.17: two users, 100 URLs each, nothing crosses, and each browser is told to keep its
/// answers for itself.
#[tokio::test]
async fn a_users_part_is_private_downstream() {
    let user = |head: &http::request::Parts| {
        Some(head.headers.get("authorization")?.to_str().ok()?.to_owned())
    };
    let policy = Policy::shared().partition(user).targets(["cdn-cache-control"]);
    let cache = cache(policy);
    cache.origin.on(|request| {
        let user = request.headers().get("authorization").cloned();
        let user = user.map_or("all".to_owned(), |user| user.to_str().unwrap().to_owned());
        ok().cache_control("public, s-maxage=60, max-age=5")
            .header("cdn-cache-control", "max-age=60, public")
            .text(format!("{user} {}", request.uri().path()))
    });
    for is_hit in [false, true] {
        for page in 0..100 {
            for user in ["a", "b"] {
                let path = format!("/{page}");
                let answer = cache.get_with(&path, &[("authorization", user)]).await;
                assert_eq!(answer.cache.is_hit(), is_hit);
                assert_eq!(answer.text(), format!("{user} {path}"));
                assert_eq!(answer.field(CC), Some("private, max-age=5"));
                assert_eq!(answer.field("cdn-cache-control"), None);
            }
        }
    }
    // The common part stays public.
    let common = cache.get("/0").await;
    assert_eq!(common.field(CC), Some("public, s-maxage=60, max-age=5"));
    assert_eq!(common.text(), "all /0");
}

/// Scenario 2.17: also an answer that is not kept is one user's.
#[tokio::test]
async fn what_is_not_kept_of_a_users_part_is_private_too() {
    let cache = cache(Policy::shared().partition(|_| Some("a".to_owned())));
    cache.origin.on(|_| ok().cache_control("public").header("set-cookie", "a=b").text(""));
    let answer = cache.get("/").await;
    assert_eq!(answer.cache.reason(), Some(Reason::SetCookie));
    assert_eq!(answer.field(CC), Some("private"));
}

/// Scenario 2.17: a user's quota does not take anything from the others.
#[tokio::test]
async fn a_user_cannot_evict_the_others_by_variants() {
    let manager = MemoryManager::new(4 << 20);
    let policy = Policy::shared()
        .partition(|head| Some(head.headers.get("authorization")?.to_str().ok()?.to_owned()));
    let cache = cache_over(manager.clone(), policy);
    cache.origin.on(|_| {
        ok().cache_control("public, max-age=60").header("vary", "accept").text("x".repeat(4096))
    });
    cache.get_with("/", &[("authorization", "b")]).await;
    for n in 0..2000 {
        cache.get_with("/", &[("authorization", "a"), ("accept", &n.to_string())]).await;
    }
    assert!(manager.variants_refused() > 0);
    cache.get_with("/", &[("authorization", "b")]).await.assert_hit();
}
