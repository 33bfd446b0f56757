//! Unsafe methods (RFC 9111 §4.4).

use futures_util::future::poll_fn;
use larder::Policy;
use tokio::sync::oneshot;
use tower::Service;

use crate::support::{Cache, cache, channel, get, now_or_never, ok, read, request, status};

/// A cache that holds `paths`, whose origin answers unsafe methods with `code` and `fields`.
async fn holding(paths: &[&str], code: u16, fields: &'static [(&str, &str)]) -> Cache {
    let cache = cache(Policy::shared());
    cache.origin.on(move |request| match request.method().as_str() {
        "GET" => ok().cache_control("max-age=60").text(request.uri().path()),
        _ => fields
            .iter()
            .fold(status(code), |reply, (name, value)| reply.header(name, value))
            .text(""),
    });
    for path in paths {
        cache.get(path).await;
        cache.get(path).await.assert_hit();
    }
    cache
}

/// Behaviour 32; RFC 9110 §9.2.1: what is not known to be safe is not.
#[tokio::test]
async fn any_method_that_is_not_safe_invalidates() {
    for (method, invalidates) in [
        ("POST", true),
        ("PUT", true),
        ("PATCH", true),
        ("DELETE", true),
        ("PURGE", true),
        ("LOCK", true),
        ("BREW", true),
        ("get", true),
        ("HEAD", false),
        ("OPTIONS", false),
        ("TRACE", false),
    ] {
        let cache = holding(&["/", "/other", "/?q"], 200, &[]).await;
        let answer = cache.send(request(method, "/")).await;
        if method != "HEAD" {
            answer.assert_forwarded();
            assert_eq!(cache.origin.last().method, method, "written through");
        }
        assert_eq!(cache.get("/").await.cache.is_hit(), !invalidates, "{method}");
        for other in ["/other", "/?q"] {
            cache.get(other).await.assert_hit();
        }
    }
}

/// Behaviour 32; RFC 9111 §4.4: success and redirects, no errors.
#[tokio::test]
async fn an_error_invalidates_nothing() {
    for (code, invalidates) in [
        (200, true),
        (201, true),
        (204, true),
        (299, true),
        (301, true),
        (303, true),
        (399, true),
        (400, false),
        (404, false),
        (412, false),
        (500, false),
        (503, false),
    ] {
        let fields = &[("location", "/there"), ("content-location", "/here")];
        let cache = holding(&["/", "/there", "/here"], code, fields).await;
        cache.send(request("PUT", "/")).await;
        for path in ["/", "/there", "/here"] {
            assert_eq!(cache.get(path).await.cache.is_hit(), !invalidates, "{code} {path}");
        }
    }
}

/// RFC 9111 §4.4: what else has changed, on the same origin and nowhere else.
#[tokio::test]
async fn location_and_content_location_invalidate_on_the_same_origin() {
    for name in ["location", "content-location"] {
        for (reference, invalidates) in [
            ("/there", true),
            ("there", true),
            ("./x/../there", true),
            ("there#part", true),
            ("http://a.example/there", true),
            ("http://A.EXAMPLE:80/there", true),
            ("//a.example/there", true),
            ("https://a.example/there", false),
            ("http://a.example:81/there", false),
            ("http://b.example/there", false),
            ("http://a.example@b.example/there", false),
            ("//b.example/there", false),
            ("/there?q", false),
            ("/There", false),
            ("http://[/there", false),
            ("", false),
        ] {
            let cache = cache(Policy::shared());
            cache.origin.on(move |request| match request.method().as_str() {
                "GET" => ok().cache_control("max-age=60").text("hello"),
                _ => status(201).header(name, reference).text(""),
            });
            let elsewhere = "http://b.example/there";
            cache.get("/there").await;
            cache.send(request("GET", elsewhere)).await;
            cache.send(request("POST", "/items")).await;
            assert_eq!(
                cache.get("/there").await.cache.is_hit(),
                !invalidates,
                "{name}: {reference}"
            );
            cache.send(request("GET", elsewhere)).await.assert_hit();
        }
    }
}

/// RFC 9111 §4.4: the one who wrote does not read what was before.
#[tokio::test]
async fn the_body_of_a_fetch_under_way_is_not_stored() {
    for length in [Some("8"), None] {
        let cache = cache(Policy::shared());
        let (sender, body) = channel();
        let mut body = Some(body);
        cache.origin.on(move |request| match (request.method().as_str(), body.take()) {
            ("GET", Some(body)) => {
                let reply = ok().cache_control("max-age=60");
                let reply =
                    length.into_iter().fold(reply, |reply, n| reply.header("content-length", n));
                reply.body(body)
            }
            (_, rest) => {
                body = rest;
                ok().cache_control("max-age=60").text("new")
            }
        });
        let old = cache.open("/").await;
        sender.data("old ");
        cache.send(request("POST", "/")).await;
        sender.data("body");
        drop(sender);
        assert_eq!(read(old).await.unwrap(), "old body", "whoever asked before has it");
        assert_eq!(cache.get("/").await.assert_forwarded().text(), "new");
        assert_eq!(cache.get("/").await.assert_hit().text(), "new");
    }
}

/// RFC 9111 §4.4: the answer itself may be on its way.
#[tokio::test]
async fn the_head_of_a_fetch_under_way_is_not_stored() {
    for is_stale in [false, true] {
        let cache = holding(if is_stale { &["/"] } else { &[] }, 200, &[]).await;
        cache.clock.advance_secs(60);
        let (release, released) = oneshot::channel::<()>();
        let mut released = Some(released);
        cache.origin.on_later(move |request| {
            let wait = if request.method() == "GET" { released.take() } else { None };
            async move {
                let is_old = wait.is_some();
                if let Some(wait) = wait {
                    wait.await.unwrap();
                }
                Ok(ok().cache_control("max-age=60").text(if is_old { "old" } else { "new" }))
            }
        });
        change_under_way(&cache, "POST", release).await;
        assert_eq!(cache.get("/").await.assert_forwarded().text(), "new");
    }
}

/// Sends a GET that the origin keeps waiting, then an unsafe request, then lets the GET go.
async fn change_under_way(cache: &Cache, method: &str, release: oneshot::Sender<()>) {
    let mut under_way = Box::pin(cache.service.clone().call(get("/")));
    assert!(now_or_never(poll_fn(|cx| under_way.as_mut().poll(cx))).is_none());
    cache.send(request(method, "/")).await;
    release.send(()).unwrap();
    assert_eq!(read(under_way.await.unwrap()).await.unwrap(), "old");
}

/// RFC 9111 §4.4: nor does a 304 that was under way bring back what has been invalidated.
#[tokio::test]
async fn a_validation_under_way_does_not_bring_back_the_dead() {
    let cache = cache(Policy::shared());
    cache.origin.on(|_| ok().cache_control("max-age=10").header("etag", "\"1\"").text("old"));
    cache.get("/").await;
    cache.clock.set_secs(10);
    let (release, released) = oneshot::channel::<()>();
    let mut released = Some(released);
    cache.origin.on_later(move |request| {
        let wait = if request.method() == "GET" { released.take() } else { None };
        async move {
            let Some(wait) = wait else { return Ok(ok().cache_control("max-age=60").text("new")) };
            wait.await.unwrap();
            Ok(status(304).cache_control("max-age=600").text(""))
        }
    });
    change_under_way(&cache, "DELETE", release).await;
    assert_eq!(cache.get("/").await.assert_forwarded().text(), "new");
    assert_eq!(cache.origin.last().field("if-none-match"), None);
}

/// Behaviour 32: an unsafe request is never answered here, and its answer is not kept.
#[tokio::test]
async fn unsafe_requests_are_written_through() {
    let cache = cache(Policy::shared());
    cache.origin.on(|_| ok().cache_control("max-age=60").text("hello"));
    for method in ["POST", "PUT", "DELETE", "BREW"] {
        for _ in 0..2 {
            cache.send(request(method, "/")).await.assert_forwarded();
        }
        cache.get("/").await.assert_forwarded();
    }
    assert_eq!(cache.origin.calls(), 12);
}
