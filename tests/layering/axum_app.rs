//! The layer in axum applications: state, several routes, nested routers.

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    body::Body,
    extract::{OriginalUri, State},
    http::{Request, Response, Uri},
    routing::get,
};
use http_body_util::BodyExt;
use larder::{CacheLayer, MemoryManager, Policy};
use tower::ServiceExt;

use crate::support::TestClock;

struct Answer {
    text: String,
    age: Option<String>,
}

async fn ask(app: &Router, path: &str) -> Answer {
    let request = Request::get(path).header("host", "a.example").body(Body::empty()).unwrap();
    let response: Result<Response<Body>, Infallible> = app.clone().oneshot(request).await;
    let (head, body) = response.unwrap().into_parts();
    let age = head.headers.get("age").map(|age| age.to_str().unwrap().to_owned());
    let text = String::from_utf8(body.collect().await.unwrap().to_bytes().into()).unwrap();
    Answer { text, age }
}

/// A handler that says who it is and how often it was asked.
fn handler(name: &'static str, counter: &Counter) -> axum::routing::MethodRouter {
    let counter = counter.clone();
    get(async move || {
        let count = counter.0.fetch_add(1, Ordering::SeqCst) + 1;
        ([("cache-control", "max-age=60")], format!("{name} {count}"))
    })
}

#[derive(Clone, Default)]
struct Counter(Arc<AtomicUsize>);

fn layer() -> CacheLayer<MemoryManager> {
    CacheLayer::new(MemoryManager::new(1 << 20)).clock(TestClock::new())
}

#[tokio::test]
async fn a_router_without_state() {
    let app = Router::new().route("/a", handler("a", &Counter::default())).layer(layer());
    assert_eq!(ask(&app, "/a").await.text, "a 1");
    let hit = ask(&app, "/a").await;
    assert_eq!((hit.text.as_str(), hit.age.as_deref()), ("a 1", Some("0")));
}

#[tokio::test]
async fn a_router_with_state() {
    async fn count(State(counter): State<Counter>) -> ([(&'static str, &'static str); 1], String) {
        let count = counter.0.fetch_add(1, Ordering::SeqCst) + 1;
        ([("cache-control", "max-age=60")], count.to_string())
    }
    // The layer before and after the state is there.
    let before =
        Router::new().route("/a", get(count)).layer(layer()).with_state(Counter::default());
    let after = Router::new().route("/a", get(count)).with_state(Counter::default()).layer(layer());
    for app in [before, after] {
        assert_eq!(ask(&app, "/a").await.text, "1");
        let hit = ask(&app, "/a").await;
        assert_eq!((hit.text.as_str(), hit.age.as_deref()), ("1", Some("0")));
    }
}

/// "Clones of a layer share its store, and so do all the services that one layer makes: axum's
/// `Router::layer` calls `layer` once for each route."
#[tokio::test]
async fn all_routes_under_one_layer_share_one_store() {
    let cache = layer();
    let counter = Counter::default();
    let app = Router::new()
        .route("/a", handler("a", &counter))
        .route("/b", handler("b", &counter))
        .fallback_service(handler("none", &counter))
        .layer(cache.clone());
    for _ in 0..2 {
        assert_eq!(ask(&app, "/a").await.text, "a 1");
        assert_eq!(ask(&app, "/b").await.text, "b 2");
        assert_eq!(ask(&app, "/c").await.text, "none 3");
    }
    assert_eq!(cache.handle().manager().len(), 3);

    // Another application under a clone answers from the same store.
    let twin = Router::new().route("/a", handler("twin", &counter)).layer(cache);
    assert_eq!(ask(&twin, "/a").await.text, "a 1");
}

/// Design: "`.layer(cache.clone().default_ttl(..))` gives a route its own default on the same
/// store."
#[tokio::test]
async fn a_route_has_a_default_lifetime_of_its_own() {
    let clock = TestClock::new();
    let cache = CacheLayer::new(MemoryManager::new(1 << 20)).clock(clock.clone());
    let counter = Counter::default();
    let silent = |name: &'static str| {
        let counter = counter.clone();
        get(async move || format!("{name} {}", counter.0.fetch_add(1, Ordering::SeqCst) + 1))
    };
    let app = Router::new()
        .route("/news", silent("news").layer(cache.clone().default_ttl(Duration::from_secs(10))))
        .route("/report", silent("report").layer(cache.clone()))
        .route("/page", silent("page").layer(cache.clone().default_ttl(Duration::from_secs(20))));
    assert_eq!(ask(&app, "/news").await.text, "news 1");
    assert_eq!(ask(&app, "/report").await.text, "report 2");
    assert_eq!(ask(&app, "/page").await.text, "page 3");
    assert_eq!(cache.handle().manager().len(), 2, "one store");
    clock.advance_secs(9);
    assert_eq!(ask(&app, "/news").await.text, "news 1");
    assert_eq!(ask(&app, "/report").await.text, "report 4", "RFC 9111 §4.2.2, G1");
    clock.advance_secs(1);
    assert_eq!(ask(&app, "/news").await.text, "news 5");
    assert_eq!(ask(&app, "/page").await.text, "page 3");
}

/// Two routers with the same inner paths, each with the layer inside of `nest`.
fn nested(cache: impl Fn(&str) -> CacheLayer<MemoryManager>) -> Router {
    let counter = Counter::default();
    let part =
        |name: &'static str| Router::new().route("/x", handler(name, &counter)).layer(cache(name));
    Router::new().nest("/a", part("a")).nest("/b", part("b"))
}

/// What the documented line is for: inside of `nest`, a layer sees a URI without its prefix.
#[tokio::test]
async fn without_a_target_nested_routers_look_the_same_to_one_layer() {
    let cache = layer();
    let app = nested(|_| cache.clone());
    assert_eq!(ask(&app, "/a/x").await.text, "a 1");
    assert_eq!(ask(&app, "/b/x").await.text, "a 1", "both are `/x`");
}

#[tokio::test]
async fn with_a_target_nested_routers_under_one_layer_do_not_mix() {
    let cache =
        layer().target(|head| head.extensions.get::<OriginalUri>().map(|uri| uri.0.clone()));
    let app = nested(|_| cache.clone());
    for _ in 0..2 {
        assert_eq!(ask(&app, "/a/x").await.text, "a 1");
        assert_eq!(ask(&app, "/b/x").await.text, "b 2");
        assert_eq!(ask(&app, "/b/x?q").await.text, "b 3");
    }
    assert_eq!(cache.handle().manager().len(), 3);
}

/// Scenario 0.1: several caches on one store, each with a namespace.
#[tokio::test]
async fn namespaces_keep_nested_routers_apart() {
    let cache = layer();
    let app = nested(|name| cache.clone().namespace(name));
    for _ in 0..1000 {
        assert_eq!(ask(&app, "/a/x").await.text, "a 1");
        assert_eq!(ask(&app, "/b/x").await.text, "b 2");
    }
    assert_eq!(cache.handle().manager().len(), 2);
}

#[tokio::test]
async fn a_layer_over_the_whole_nested_application_sees_whole_uris() {
    let counter = Counter::default();
    let part = |name: &'static str| Router::new().route("/x", handler(name, &counter));
    let app = Router::new().nest("/a", part("a")).nest("/b", part("b")).layer(layer());
    for _ in 0..2 {
        assert_eq!(ask(&app, "/a/x").await.text, "a 1");
        assert_eq!(ask(&app, "/b/x").await.text, "b 2");
    }
}

/// A `target` that gives another authority than `Host` is the application's own word, and a
/// conflict all the same (security.md, VSV00018).
#[tokio::test]
async fn a_target_must_agree_with_host() {
    let counter = Counter::default();
    let policy = Policy::shared().target(|_| Some(Uri::from_static("http://b.example/x")));
    let app = Router::new().route("/x", handler("x", &counter)).layer(layer().policy(policy));
    assert_eq!(ask(&app, "/x").await.text, "x 1");
    assert_eq!(ask(&app, "/x").await.text, "x 2");
}
