//! Responses to POST that later GETs get (RFC 9110 §9.3.3).

use larder::{
    Cached, Policy,
    policy::{Forward, SetCookie},
};
use tokio::sync::oneshot;
use tower::Service;

use crate::support::{Answer, Cache, Reply, cache, get, ok, request, status, with};

/// A cache whose origin answers POST by `reply`, and GET with another text.
fn posting(policy: Policy, reply: impl Fn() -> Reply + Send + 'static) -> Cache {
    let cache = cache(policy);
    cache.origin.on(move |request| match request.method().as_str() {
        "POST" => reply().text("posted"),
        _ => ok().cache_control("max-age=60").text("got"),
    });
    cache
}

fn described() -> Reply {
    ok().cache_control("max-age=60").header("content-location", "/form?a")
}

/// Behaviour 8; RFC 9110 §9.3.3.
#[tokio::test]
async fn a_post_that_names_its_uri_and_its_lifetime_serves_later_gets() {
    for policy in [Policy::shared(), Policy::private()] {
        let cache = posting(policy, described);
        cache.get("/form?a").await.assert_forwarded();
        let post = cache.send(request("POST", "/form?a")).await;
        assert_eq!((post.text(), post.cache.forward()), ("posted", Some(Forward::Method)));
        assert!(post.cache.is_stored());
        cache.clock.advance_secs(10);
        let hit = cache.get("/form?a").await;
        assert_eq!((hit.assert_hit().text(), hit.age()), ("posted", Some(10)));
        assert_eq!(cache.send(request("HEAD", "/form?a")).await.assert_hit().text(), "");
        // A POST is never answered from the store.
        cache.send(request("POST", "/form?a")).await.assert_forwarded();
        assert_eq!(cache.origin.calls(), 3);
    }
}

/// Behaviour 8: both are needed, and everything that keeps a response to GET out.
#[tokio::test]
async fn any_other_post_only_invalidates() {
    type Replying = fn() -> Reply;
    let table: [(&str, Replying); 17] = [
        ("no Content-Location", || ok().cache_control("max-age=60")),
        ("another URI", || ok().cache_control("max-age=60").header("content-location", "/")),
        ("two URIs", || described().header("content-location", "/")),
        ("no query", || ok().cache_control("max-age=60").header("content-location", "/form")),
        ("another host", || {
            ok().cache_control("max-age=60").header("content-location", "http://b.example/form?a")
        }),
        ("no lifetime", || ok().header("content-location", "/form?a").header("etag", "\"1\"")),
        ("a guess", || {
            ok().header("content-location", "/form?a")
                .header("last-modified", "Wed, 01 Jan 2020 00:00:00 GMT")
        }),
        ("stale", || ok().cache_control("max-age=0").header("content-location", "/form?a")),
        ("no-store", || described().cache_control("no-store")),
        ("private", || described().cache_control("private")),
        ("Set-Cookie", || described().header("set-cookie", "a=b")),
        ("Vary", || described().header("vary", "*")),
        ("a length", || described().header("content-length", "7")),
        ("created", || described_as(201)),
        ("empty", || described_as(204)),
        ("a redirect", || described_as(303)),
        ("a handler", || ok().extension(Cached::for_secs(60))),
    ];
    for (what, reply) in table {
        let cache = posting(Policy::shared(), reply);
        cache.get("/form?a").await;
        let post = cache.service.clone().call(request("POST", "/form?a")).await.unwrap();
        assert!(!post.body().status().is_stored(), "{what}");
        drop(post);
        cache.get("/form?a").await.assert_forwarded();
    }
}

fn described_as(code: u16) -> Reply {
    status(code).cache_control("max-age=60").header("content-location", "/form?a")
}

/// Behaviours 5, 8 and 20: a stored POST is a stored response like others.
#[tokio::test]
async fn a_stored_post_is_for_those_who_could_have_sent_it() {
    let cache = posting(Policy::shared(), || described().header("vary", "accept-language"));
    cache.send(with(request("POST", "/form?a"), &[("accept-language", "de")])).await;
    assert_eq!(cache.get_with("/form?a", &[("accept-language", "DE")]).await.text(), "posted");
    assert_eq!(cache.get_with("/form?a", &[("accept-language", "en")]).await.text(), "got");

    for (fields, is_stored) in [
        (("authorization", "x"), false),
        (("cache-control", "no-store"), false),
        (("connection", "authorization"), false),
        (("x-other", "1"), true),
    ] {
        let cache = posting(Policy::shared(), described);
        cache.send(with(request("POST", "/form?a"), &[fields])).await;
        assert_eq!(cache.get("/form?a").await.cache.is_hit(), is_stored, "{fields:?}");
    }
    let policy = Policy::shared().bypass_cookies(true).set_cookie(SetCookie::Store);
    let cache = posting(policy, described);
    cache.send(with(request("POST", "/form?a"), &[("cookie", "a=b")])).await;
    cache.get("/form?a").await.assert_forwarded();
}

/// RFC 9111 §4.4: a POST that was overtaken by another is not kept: which of them was the last at
/// the origin nobody knows.
#[tokio::test]
async fn a_post_that_was_overtaken_is_not_kept() {
    let cache = cache(Policy::shared());
    let (release, released) = oneshot::channel::<()>();
    let mut released = Some(released);
    cache.origin.on_later(move |request| {
        let is_post = request.method() == "POST";
        let wait = if is_post { released.take() } else { None };
        async move {
            let is_slow = wait.is_some();
            if let Some(wait) = wait {
                let _ = wait.await;
            }
            let text = if is_slow { "slow" } else { "quick" };
            Ok(if is_post { described().text(text) } else { ok().text("got") })
        }
    });
    let slow = tokio::spawn(cache.service.clone().call(request("POST", "/form?a")));
    tokio::task::yield_now().await;
    cache.send(request("POST", "/form?a")).await;
    let _ = release.send(());
    let slow = slow.await.unwrap().unwrap();
    assert!(slow.body().status().forward().is_some());
    Answer::of(slow).await;
    assert_eq!(
        Answer::of(cache.service.clone().call(get("/form?a")).await.unwrap()).await.text(),
        "got"
    );
}
