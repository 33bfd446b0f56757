//! Design 7: what a layer inside of axum really sees is no `Date`, no `Content-Length`, and HEAD
//! with a body.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::SystemTime,
};

use axum::{
    Router,
    body::Body,
    response::IntoResponse,
    routing::{any, get},
};
use http::{HeaderMap, HeaderValue, Method, Request, Response};
use http_body_util::BodyExt;
use larder::{CacheBody, CacheLayer, CacheService, MemoryManager};
use tower::{Layer, ServiceExt};

use crate::support::TestClock;

type Service = CacheService<Router, MemoryManager>;

/// The cache outside of a whole router sees what it answers, before axum's `Route` sets a
/// `Content-Length`: that is done only at the outermost one.
fn over(router: Router) -> (Service, TestClock) {
    let clock = TestClock::new();
    let layer = CacheLayer::new(MemoryManager::new(1 << 20)).clock(clock.clone());
    (layer.layer(router), clock)
}

async fn ask(service: &Service, method: Method) -> Response<CacheBody<Body>> {
    let request = Request::builder().method(method).uri("http://a.example/x");
    service.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap()
}

fn field<'a, B>(response: &'a Response<B>, name: &str) -> Option<&'a str> {
    response.headers().get(name).map(|value| value.to_str().unwrap())
}

async fn text(response: Response<CacheBody<Body>>) -> String {
    String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().into()).unwrap()
}

/// RFC 9110 §6.6.1: the time of receipt is appended as `Date` to what is stored and forwarded.
#[tokio::test]
async fn a_response_without_date_and_length_gets_both() {
    let (service, clock) = over(Router::new().route(
        "/x",
        get(async || {
            // A stream: axum knows nothing of its length.
            let body = Body::new(http_body_util::Full::from("hello").boxed_unsync());
            ([("cache-control", "max-age=60")], Body::from_stream(body.into_data_stream()))
        }),
    ));
    let date = clock.date(0);
    let first = ask(&service, Method::GET).await;
    assert_eq!(field(&first, "date"), Some(date.as_str()));
    assert_eq!(field(&first, "content-length"), None, "not known yet");
    assert_eq!(text(first).await, "hello");
    clock.advance_secs(7);
    let hit = ask(&service, Method::GET).await;
    assert_eq!(field(&hit, "date"), Some(date.as_str()));
    assert_eq!(field(&hit, "content-length"), Some("5"));
    assert_eq!(field(&hit, "age"), Some("7"));
    assert_eq!(text(hit).await, "hello");
}

/// RFC 9110 §9.3.2: HEAD from the store has the fields of the GET and no body.
#[tokio::test]
async fn head_from_the_store_has_the_length_of_the_get_and_no_body() {
    let (service, _) =
        over(Router::new().route("/x", get(async || ([("cache-control", "max-age=60")], "hello"))));
    text(ask(&service, Method::GET).await).await;
    let head = ask(&service, Method::HEAD).await;
    assert!(head.body().status().is_hit());
    assert_eq!(field(&head, "content-length"), Some("5"));
    assert_eq!(field(&head, "age"), Some("0"));
    assert!(http_body::Body::is_end_stream(head.body()));
    assert_eq!(text(head).await, "");
}

/// "Whatever body an inner service gives to HEAD is dropped": on a miss and past the cache, and
/// nothing of it is stored for a GET.
#[tokio::test]
async fn the_body_that_an_inner_service_gives_to_head_is_dropped() {
    let inner = tower::service_fn(async |_: Request<Body>| {
        Ok::<_, std::convert::Infallible>(
            ([("cache-control", "max-age=60"), ("content-length", "5")], "hello").into_response(),
        )
    });
    let service = CacheLayer::new(MemoryManager::new(1 << 20)).layer(inner);
    let ask = async |method: Method, range: &str| {
        let mut request = Request::builder().method(method).uri("http://a.example/x");
        if !range.is_empty() {
            request = request.header("range", range);
        }
        service.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap()
    };
    for range in ["", "bytes=0-1"] {
        let head = ask(Method::HEAD, range).await;
        assert!(!head.body().status().is_hit(), "{range:?}");
        assert_eq!(field(&head, "content-length"), Some("5"), "{range:?}");
        assert_eq!(text(head).await, "", "{range:?}");
    }
    let first = ask(Method::GET, "").await;
    assert!(!first.body().status().is_hit(), "a HEAD brings no body to keep");
    assert_eq!(text(first).await, "hello");
    assert_eq!(text(ask(Method::HEAD, "").await).await, "");
    assert!(ask(Method::HEAD, "").await.body().status().is_hit());
}

/// RFC 9111 §3.4 and 4.2.3 as axum's `any` route gives them: the layer works inside of it as well.
#[tokio::test]
async fn a_layer_on_a_method_router_sees_head_as_the_client_sent_it() {
    let clock = TestClock::new();
    let cache = CacheLayer::new(MemoryManager::new(1 << 20)).clock(clock.clone());
    let handler = any(async || ([("cache-control", "max-age=60")], "hello")).layer(cache);
    let app = Router::new().route("/x", handler);
    let ask = async |method: Method| {
        let request = Request::builder().method(method).uri("http://a.example/x");
        app.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap()
    };
    let get = ask(Method::GET).await;
    assert_eq!(field(&get, "content-length"), Some("5"));
    assert_eq!(field(&get, "date"), Some(clock.date(0).as_str()));
    assert_eq!(get.into_body().collect().await.unwrap().to_bytes(), "hello");
    clock.advance_secs(5);
    let head = ask(Method::HEAD).await;
    assert_eq!((field(&head, "content-length"), field(&head, "age")), (Some("5"), Some("5")));
    assert!(head.into_body().collect().await.unwrap().to_bytes().is_empty());
}

/// Scenario 4.14: a handler that knows its validators answers 304 before it works, by the helper; what
/// is stored needs neither the handler nor its work.
#[tokio::test]
async fn a_handler_that_knows_its_validators_works_only_for_what_is_new() {
    let (asked, worked) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let counts = || (asked.swap(0, Ordering::Relaxed), worked.swap(0, Ordering::Relaxed));
    let handler = {
        let (asked, worked) = (asked.clone(), worked.clone());
        move |fields: HeaderMap| async move {
            asked.fetch_add(1, Ordering::Relaxed);
            let mut current = HeaderMap::new();
            current.insert("etag", HeaderValue::from_static("\"7\""));
            current.insert("cache-control", HeaderValue::from_static("max-age=60"));
            if let Some(known) = larder::policy::not_modified(&fields, &current, SystemTime::now())
            {
                return Response::from_parts(known, Body::empty());
            }
            worked.fetch_add(1, Ordering::Relaxed);
            (current, "the work").into_response()
        }
    };
    let (service, clock) = over(Router::new().route("/x", get(handler)));
    let ask = async |tag: Option<&str>| {
        let request = Request::get("http://a.example/x");
        let request = tag.into_iter().fold(request, |it, tag| it.header("if-none-match", tag));
        let request = request.body(Body::empty()).unwrap();
        service.clone().oneshot(request).await.unwrap()
    };
    // Nothing is stored: the handler says 304.
    assert_eq!(ask(Some("\"7\"")).await.status(), 304);
    assert_eq!(counts(), (1, 0));
    assert_eq!(text(ask(None).await).await, "the work");
    assert_eq!(counts(), (1, 1));
    // It is stored: the layer says it.
    for _ in 0..100 {
        assert_eq!(ask(Some("W/\"7\"")).await.status(), 304);
        assert_eq!(text(ask(Some("\"6\"")).await).await, "the work");
    }
    assert_eq!(counts(), (0, 0));
    // It is stale: the handler is asked by the stored tag, and does no work.
    clock.advance_secs(61);
    assert_eq!(text(ask(None).await).await, "the work");
    assert_eq!(counts(), (1, 0));
}
