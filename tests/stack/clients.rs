//! The layer round hyper-util's client and round reqwest, against real servers.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use larder::{
    CacheBody, CacheLayer, MemoryManager, Policy, ReqwestService,
    policy::{Forward, Reason},
    reqwest::into_response,
};
use tower::{Layer, Service, ServiceExt};
use tower_http::follow_redirect::FollowRedirectLayer;

use crate::{
    net::{Version, chunked, serve, serve_bytes},
    support::{Answer, Origin, ok, read, status},
};

pub type HyperClient = Client<HttpConnector, Full<Bytes>>;

pub fn hyper_client(version: Version) -> HyperClient {
    Client::builder(TokioExecutor::new()).http2_only(version == Version::Http2).build_http()
}

pub fn layer() -> CacheLayer<MemoryManager> {
    CacheLayer::new(MemoryManager::new(1 << 20)).policy(Policy::private())
}

pub fn get(url: &str) -> Request<Full<Bytes>> {
    Request::get(url).body(Full::default()).unwrap()
}

fn origin() -> Origin {
    let origin = Origin::new();
    origin.on(|request| {
        let reply = ok().cache_control("max-age=600");
        match request.uri().path() {
            "/known" => reply.text("one two three"),
            "/empty" => reply.text(""),
            _ => reply.body(chunked(["one ", "two ", "three"])),
        }
    });
    origin
}

#[tokio::test]
async fn hypers_client_asks_once() {
    for version in [Version::Http1, Version::Http2] {
        for path in ["/known", "/chunked", "/empty"] {
            let origin = origin();
            let address = serve(version, origin.clone()).await;
            let client = layer().layer(hyper_client(version));
            let url = format!("http://{address}{path}");
            let ask = async || Answer::of(client.clone().oneshot(get(&url)).await.unwrap()).await;
            let (first, second) = (ask().await, ask().await);
            first.assert_forwarded();
            second.assert_hit();
            assert_eq!(first.text(), if path == "/empty" { "" } else { "one two three" });
            assert_eq!((first.body.clone(), second.age().is_some()), (second.body.clone(), true));
            assert_eq!(second.field("content-length"), Some(&*second.body.len().to_string()));
            assert_eq!(origin.calls(), 1, "{version:?} {path}");
        }
    }
}

/// Behaviour 9; RFC 9110 §15.2, RFC 8297: interim responses reach the client's callback, once, and
/// leave nothing in the final response or in the store.
#[tokio::test]
async fn interim_responses_pass_by() {
    let hints = "HTTP/1.1 103 Early Hints\r\nlink: </a.css>\r\nx-interim: 1\r\ncache-control: no-store\r\n\r\n";
    let last = "HTTP/1.1 200 OK\r\ncache-control: max-age=60\r\ncontent-length: 5\r\n\r\nhello";
    let address = serve_bytes(format!("{hints}{hints}{last}")).await;
    let client = layer().layer(hyper_client(Version::Http1));
    let seen = Arc::new(AtomicUsize::new(0));
    for is_hit in [false, true] {
        let mut request = get(&format!("http://{address}/"));
        let count = seen.clone();
        hyper::ext::on_informational(&mut request, move |response| {
            assert_eq!(
                (response.status().as_u16(), response.headers()["x-interim"].len()),
                (103, 1)
            );
            count.fetch_add(1, Ordering::SeqCst);
        });
        let answer = Answer::of(client.clone().oneshot(request).await.unwrap()).await;
        assert_eq!((answer.cache.is_hit(), answer.text()), (is_hit, "hello"));
        assert_eq!((answer.field("link"), answer.field("x-interim")), (None, None));
        assert_eq!(seen.load(Ordering::SeqCst), 2, "the origin's two, and none from the store");
    }
}

fn reqwest_get(url: &str) -> Request<reqwest::Body> {
    Request::get(url).body(reqwest::Body::default()).unwrap()
}

async fn ask<S>(client: &S, url: &str) -> Response<CacheBody<reqwest::Body>>
where
    S: Service<Request<reqwest::Body>, Response = Response<CacheBody<reqwest::Body>>> + Clone,
    S::Error: std::fmt::Debug,
{
    client.clone().oneshot(reqwest_get(url)).await.unwrap()
}

/// The answer converts back into `reqwest::Response` with its URL set.
#[tokio::test]
async fn reqwest_asks_once_and_gets_its_own_responses_back() {
    for path in ["/known", "/chunked", "/empty?with=query"] {
        let origin = origin();
        let address = serve(Version::Http1, origin.clone()).await;
        let client = layer().layer(ReqwestService::new(reqwest::Client::builder()).unwrap());
        let url = format!("http://{address}{path}");
        for round in 0..2 {
            let response = ask(&client, &url).await;
            assert_eq!(response.body().status().is_hit(), round == 1, "{path}");
            let response = into_response(url.parse().unwrap(), response);
            assert_eq!((response.url().as_str(), response.status().as_u16()), (&*url, 200));
            assert_eq!(response.headers().contains_key("age"), round == 1);
            if round == 1 || path == "/known" {
                assert!(response.content_length().is_some(), "{path}");
            }
            let text = response.text().await.unwrap();
            assert_eq!(
                text,
                if path.starts_with("/empty") { "" } else { "one two three" },
                "{path}"
            );
        }
        assert_eq!(origin.calls(), 1, "{path}");
    }
}

fn redirecting() -> Origin {
    let origin = Origin::new();
    origin.on(|request| match request.uri().path() {
        "/from" => {
            status(302).header("location", "/to").cache_control("max-age=300").text("over there")
        }
        _ => ok().cache_control("max-age=600").text("here"),
    });
    origin
}

/// Scenario 1.1: redirects are not followed inside, so the layer sees and keeps the 302 itself.
#[tokio::test]
async fn reqwest_does_not_follow_redirects_inside_of_the_cache() {
    let origin = redirecting();
    let address = serve(Version::Http1, origin.clone()).await;
    // What the user asked of the builder is switched off.
    let builder = reqwest::Client::builder().redirect(reqwest::redirect::Policy::limited(5));
    let client = layer().layer(ReqwestService::new(builder).unwrap());
    for round in 0..2 {
        let response = ask(&client, &format!("http://{address}/from")).await;
        assert_eq!(response.status(), 302);
        assert_eq!(response.headers()["location"], "/to");
        assert_eq!(response.body().status().is_hit(), round == 1);
        assert_eq!(read(response).await.unwrap(), "over there");
    }
    assert_eq!(origin.calls(), 1);
}

/// With reqwest, a response whose `url()` is not the one asked for passes by the cache.
#[tokio::test]
async fn a_redirect_that_reqwest_followed_passes_by_the_cache() {
    let origin = redirecting();
    let address = serve(Version::Http1, origin.clone()).await;
    let cache = layer();
    let client = cache.layer(ReqwestService::from_client(reqwest::Client::new()));
    let from = format!("http://{address}/from");
    for _ in 0..2 {
        let response = ask(&client, &from).await;
        assert_eq!(response.status(), 200);
        let status = response.body().status();
        assert_eq!(status.reason(), Some(Reason::RedirectedInside), "{status}");
        assert!(!status.is_stored() && status.forward() == Some(Forward::UriMiss), "{status}");
        assert_eq!(read(response).await.unwrap(), "here");
    }
    assert!(cache.handle().manager().is_empty());
    // What was not redirected is kept as usual.
    let to = format!("http://{address}/to");
    read(ask(&client, &to).await).await.unwrap();
    assert!(ask(&client, &to).await.body().status().is_hit());
    assert_eq!(origin.calls(), 5);
}

/// RFC 9111 §4.3.4: a validation whose answer belongs to another URI says nothing about what is
/// stored, be it a whole response or a 304 for a tag that only looks the same.
#[tokio::test]
async fn a_validation_that_was_redirected_inside_freshens_nothing() {
    for answers_304 in [false, true] {
        let (origin, moved) = (Origin::new(), Arc::new(AtomicBool::new(false)));
        let is_moved = moved.clone();
        origin.on(move |request| match request.uri().path() {
            "/from" if is_moved.load(Ordering::SeqCst) => {
                status(302).header("location", "/to").text("")
            }
            "/from" => ok().cache_control("max-age=0").header("etag", "\"1\"").text("old"),
            _ if answers_304 && request.headers().contains_key("if-none-match") => {
                status(304).cache_control("max-age=600").header("etag", "\"1\"").text("")
            }
            _ => ok().cache_control("max-age=600").header("etag", "\"1\"").text("here"),
        });
        let address = serve(Version::Http1, origin.clone()).await;
        let cache = layer();
        let client = cache.layer(ReqwestService::from_client(reqwest::Client::new()));
        let from = format!("http://{address}/from");
        assert_eq!(read(ask(&client, &from).await).await.unwrap(), "old");
        moved.store(true, Ordering::SeqCst);
        let mut last = Bytes::new();
        for _ in 0..2 {
            let response = ask(&client, &from).await;
            let status = response.body().status();
            assert_eq!(status.reason(), Some(Reason::RedirectedInside), "{status}");
            assert!(!status.is_stored());
            last = read(response).await.unwrap();
            assert!(cache.handle().manager().is_empty());
        }
        assert_eq!(last, "here");
    }
}

/// Every hop of `/from` -> `/to` is asked for once, whatever the body of the redirect.
async fn follow_three_times(redirect: &'static str) -> (usize, usize) {
    let origin = Origin::new();
    origin.on(move |request| match request.uri().path() {
        "/from" => {
            status(302).header("location", "/to").cache_control("max-age=300").text(redirect)
        }
        _ => ok().cache_control("max-age=600").text("here"),
    });
    let address = serve(Version::Http1, origin.clone()).await;
    let client = FollowRedirectLayer::new().layer(layer().layer(hyper_client(Version::Http1)));
    for _ in 0..3 {
        let request = get(&format!("http://{address}/from"));
        let response = client.clone().oneshot(request).await.unwrap();
        assert_eq!(Answer::of(response).await.text(), "here");
    }
    (origin.calls_to("/from"), origin.calls_to("/to"))
}

/// Scenario 1.3: the layer sits below redirect following, so that each hop is kept on its own.
#[tokio::test]
async fn redirects_followed_outside_of_the_cache_are_kept_hop_by_hop() {
    assert_eq!(follow_three_times("").await, (1, 1));
}

/// As above: `FollowRedirect` never reads the body of a redirect.
#[tokio::test]
async fn redirects_with_a_body_are_kept_hop_by_hop() {
    assert_eq!(follow_three_times("over there").await, (1, 1));
}
