//! A store that fails or never answers costs hits, never requests.

use larder::{NoExecutor, Policy};

use super::spy::{Call, Fault, Spy};
use crate::support::{Cache, cache_over, ok, request, status};

fn before(spy: &Spy) -> Cache<Spy> {
    let cache = cache_over(spy.clone(), Policy::shared());
    cache.origin.on(|request| match request.headers().get("if-none-match") {
        Some(_) => status(304).text(""),
        None => ok().cache_control("max-age=10").header("etag", "\"1\"").text("hello"),
    });
    cache
}

/// Requirements, Decision 8: each call may fail, and the request is answered.
#[tokio::test]
async fn every_request_is_answered_though_the_store_fails() {
    use Call::{Delete, Finish, Get, Put, Remove, Update, Write};
    for call in [Get, Put, Write, Finish, Update, Remove, Delete] {
        answers_all(call, Fault::Fail).await;
    }
    for call in [Put, Write, Finish] {
        answers_all(call, Fault::Hang).await;
    }
}

/// The same for calls that the answer waits for.
#[tokio::test]
async fn every_request_is_answered_though_the_store_never_does() {
    for call in [Call::Get, Call::Update, Call::Remove, Call::Delete] {
        answers_all(call, Fault::Hang).await;
    }
}

async fn answers_all(call: Call, fault: Fault) {
    for spy in [Spy::new(), Spy::waiting()] {
        for has_executor in [false, true] {
            let cache = before(&spy)
                .layered(|layer| if has_executor { layer } else { layer.executor(NoExecutor) });
            cache.get("/").await;
            spy.breaks(call, fault);
            for method in ["GET", "HEAD", "GET", "POST", "GET"] {
                for _ in 0..2 {
                    let answer = cache.send_by_clock(method).await;
                    let answer = answer.unwrap_or_else(|| panic!("{call:?} {fault:?} {method}"));
                    assert_eq!(answer.status, 200, "{call:?} {fault:?} {method}");
                    let text = if method == "HEAD" { "" } else { "hello" };
                    assert_eq!(answer.text(), text, "{call:?} {fault:?} {method}");
                }
                cache.clock.advance_secs(10);
            }
            spy.mend();
            cache.send(request("POST", "/")).await;
            cache.get("/").await;
            cache.get("/").await.assert_hit();
        }
    }
}

/// RFC 9211: the failure is told.
#[tokio::test]
async fn a_failing_look_up_is_a_miss_that_says_so() {
    let spy = Spy::waiting();
    let cache = before(&spy);
    cache.get("/").await;
    cache.get("/").await.assert_hit();
    spy.breaks(Call::Get, Fault::Fail);
    let miss = cache.get("/").await;
    let member = miss.assert_forwarded().field("cache-status").unwrap().to_owned();
    assert!(member.starts_with("larder; fwd=miss"), "{member}");
    assert!(member.contains("store-error"), "{member}");
    let only = cache.get_with("/", &[("cache-control", "only-if-cached")]).await;
    assert_eq!(only.status, 504);
}

/// RFC 9111 §4.4: what an unsafe request has changed is not served, though the store could not be
/// told.
#[tokio::test]
async fn an_invalidation_holds_though_the_store_fails() {
    let spy = Spy::new();
    let cache = before(&spy);
    cache.get("/").await;
    spy.breaks(Call::Delete, Fault::Fail);
    let answer = cache.send(request("POST", "/")).await;
    let member = answer.field("cache-status").unwrap();
    assert!(member.ends_with("detail=store-error"), "{member}");
    cache.get("/").await.assert_forwarded();
}

/// The same for `clear`: it fails, and what was stored is gone all the same.
#[tokio::test]
async fn clearing_holds_though_the_store_fails() {
    let spy = Spy::new();
    let cache = before(&spy);
    cache.get("/").await;
    spy.breaks(Call::Clear, Fault::Fail);
    assert!(cache.layer.handle().clear().await.is_err());
    cache.get("/").await.assert_forwarded();
}
