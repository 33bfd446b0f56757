//! `CacheMode`: the Fetch standard's cache modes as a request extension.

use larder::{CacheMode, Policy};

use crate::support::{Cache, cache, get, ok, status};

/// What is in the store when the request comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Before {
    Nothing,
    Fresh,
    Stale,
    /// Stale, with `must-revalidate`.
    Strict,
}
use Before::{Fresh, Nothing, Stale, Strict};

/// What the request did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Did {
    Hit,
    /// Asked without conditions.
    Asked,
    /// Asked with the stored tag.
    Validated,
    Timeout,
}
use Did::{Asked, Hit, Timeout, Validated};

async fn holding(policy: Policy, before: Before) -> Cache {
    let cache = cache(policy);
    let cc = if before == Strict { "max-age=10, must-revalidate" } else { "max-age=10" };
    cache.origin.on(move |request| match request.headers().get("if-none-match") {
        Some(_) => status(304).text(""),
        None => ok().cache_control(cc).header("etag", "\"1\"").text("hello"),
    });
    if before != Nothing {
        cache.get("/").await;
        cache.clock.set_secs(if before == Fresh { 9 } else { 10 });
    }
    cache
}

async fn send(cache: &Cache, mode: CacheMode) -> Did {
    let before = cache.origin.calls();
    let mut request = get("/");
    request.extensions_mut().insert(mode);
    let answer = cache.send(request).await;
    if answer.status == 504 {
        assert_eq!(cache.origin.calls(), before);
        return Timeout;
    }
    assert_eq!(answer.text(), "hello");
    if answer.cache.is_hit() {
        assert_eq!(cache.origin.calls(), before);
        return Hit;
    }
    match cache.origin.last().field("if-none-match") {
        Some(_) => Validated,
        None => Asked,
    }
}

/// The modes of the Fetch standard over each state of the store, in both scopes.
/// Feature request-extensions.
#[tokio::test]
async fn each_mode_uses_the_cache_in_its_own_way() {
    let table = [
        (CacheMode::Default, [Asked, Hit, Validated, Validated]),
        (CacheMode::NoStore, [Asked, Asked, Asked, Asked]),
        (CacheMode::Reload, [Asked, Asked, Asked, Asked]),
        (CacheMode::NoCache, [Asked, Validated, Validated, Validated]),
        (CacheMode::ForceCache, [Asked, Hit, Hit, Validated]),
        (CacheMode::OnlyIfCached, [Timeout, Hit, Hit, Timeout]),
    ];
    for (mode, expected) in table {
        for (before, expected) in [Nothing, Fresh, Stale, Strict].into_iter().zip(expected) {
            for policy in [Policy::shared(), Policy::private()] {
                let cache = holding(policy, before).await;
                assert_eq!(send(&cache, mode).await, expected, "{mode:?} {before:?}");
            }
        }
    }
}

/// What is left in the store for a plain request after each mode has met an empty one.
#[tokio::test]
async fn only_no_store_keeps_the_answer_out() {
    for (mode, is_stored) in [
        (CacheMode::Default, true),
        (CacheMode::NoStore, false),
        (CacheMode::Reload, true),
        (CacheMode::NoCache, true),
        (CacheMode::ForceCache, true),
    ] {
        let cache = holding(Policy::private(), Nothing).await;
        send(&cache, mode).await;
        assert_eq!(cache.get("/").await.cache.is_hit(), is_stored, "{mode:?}");
    }
}

/// `Reload` replaces what is stored; `NoStore` leaves it.
#[tokio::test]
async fn reload_replaces_and_no_store_leaves() {
    for (mode, text) in [(CacheMode::Reload, "new"), (CacheMode::NoStore, "hello")] {
        let cache = holding(Policy::private(), Fresh).await;
        cache.origin.on(|_| ok().cache_control("max-age=10").text("new"));
        let mut request = get("/");
        request.extensions_mut().insert(mode);
        assert_eq!(cache.send(request).await.text(), "new");
        assert_eq!(cache.get("/").await.assert_hit().text(), text, "{mode:?}");
    }
}

/// The mode is code's word: it stands above the request's own fields.
#[tokio::test]
async fn a_mode_stands_above_the_fields() {
    for (mode, cc, expected) in [
        (CacheMode::ForceCache, "no-cache", Hit),
        (CacheMode::OnlyIfCached, "max-age=0", Hit),
        (CacheMode::NoCache, "max-stale", Validated),
        (CacheMode::Reload, "max-stale", Asked),
    ] {
        let cache = holding(Policy::private(), Fresh).await;
        let mut request = crate::support::with(get("/"), &[("cache-control", cc)]);
        request.extensions_mut().insert(mode);
        let is_hit = cache.send(request).await.cache.is_hit();
        assert_eq!(is_hit, expected == Hit, "{mode:?} {cc}");
        let sent = cache.origin.last().field("if-none-match").is_some();
        assert_eq!(sent, expected == Validated, "{mode:?} {cc}");
    }
}
