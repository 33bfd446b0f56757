//! An axum server whose answers are kept: one route for each thing that a handler may say.

#[path = "support/args.rs"]
mod args;
#[path = "support/stop.rs"]
mod stop;

use std::{
    convert::Infallible,
    io::Write,
    time::{Duration, Instant, SystemTime},
};

use axum::{
    Extension, Router,
    extract::{Request, State},
    middleware::{self, Next},
    response::{
        IntoResponse, Response,
        sse::{Event, Sse},
    },
    routing::get,
};
use futures_util::{Stream, stream};
use http::{HeaderMap, StatusCode, header};
use larder::{CacheLayer, CacheStatus, Cached, MemoryManager, Policy};
use tokio::{sync::watch, time::sleep};
use tower_http::compression::CompressionLayer;

const HELP: &str = "Serves a few pages through a shared cache, and logs what the cache did.

Usage: axum_server [--listen ADDRESS]

Options:
  --listen ADDRESS   [default: 127.0.0.1:3000]
  --help

Routes:
  /         a page with an ETag: fresh for 5 seconds, then validated
  /report   800 ms of work, kept for 30 seconds by Cache-Control: max-age
  /words    a long text, compressed: one variant for each coding
  /quote    kept for 10 seconds by the extension `Cached`; no field says so
  /me       for one user (curl -b user=ada): private, never kept here
  /events   server-sent events: never kept, never held back
";

#[tokio::main]
async fn main() {
    let address = args::or_exit(args::listen_only(HELP));
    let listener = args::listen(&address).await;
    println!("Serving on http://{address}/. Try each of these twice:");
    println!("  curl -i http://{address}/report");
    println!("  curl -i --compressed http://{address}/words");

    let (ending, stopped) = watch::channel(());
    let server = axum::serve(listener, app(stopped)).with_graceful_shutdown(async move {
        stop::asked().await;
        eprintln!("draining; Ctrl-C again to stop at once");
        // Streams without an end are ended, everything else comes to its own.
        let _ = ending.send(());
        tokio::spawn(async {
            stop::asked().await;
            std::process::exit(130)
        });
    });
    args::or_exit(server.await);
}

fn app(stopped: watch::Receiver<()>) -> Router {
    let cache = CacheLayer::new(MemoryManager::new(64 << 20))
        .policy(Policy::shared())
        .cache_status_header("larder")
        .cache_status_extension(true);
    Router::new()
        .route("/", get(page))
        .route("/report", get(report))
        .route("/words", get(words))
        .route("/quote", get(quote))
        .route("/me", get(me))
        .route("/events", get(events).with_state(stopped))
        // Each layer stands outside of those above it. Inside of the cache each coding is made
        // once; outside, each hit would be compressed again.
        .layer(CompressionLayer::new())
        .layer(cache)
        .layer(middleware::from_fn(log))
}

/// One line for each request: what was asked, what came, how long it took, what the cache did.
async fn log(request: Request, next: Next) -> Response {
    let (method, uri, began) = (request.method().clone(), request.uri().clone(), Instant::now());
    let response = next.run(request).await;
    let cache = response.extensions().get::<CacheStatus>();
    let cache = cache.map(CacheStatus::to_string).unwrap_or_default();
    let (status, took) = (response.status().as_u16(), began.elapsed());
    // A log that nobody reads any more is no reason to fail.
    let _ = writeln!(std::io::stdout(), "{method} {uri} {status} {took:.1?} {cache}");
    response
}

/// Strong tags belong to bytes, and gzip has others: a weak one holds for all codings.
const PAGE_TAG: &str = "W/\"1\"";

async fn page(request: HeaderMap) -> Response {
    let fields = [(header::ETAG, PAGE_TAG), (header::CACHE_CONTROL, "max-age=5")];
    if request.get(header::IF_NONE_MATCH).is_some_and(|tag| tag == PAGE_TAG) {
        return (StatusCode::NOT_MODIFIED, fields).into_response();
    }
    let html = "<!doctype html><title>larder</title><p>Try <a href=/report>the report</a>, twice.";
    (fields, axum::response::Html(html)).into_response()
}

async fn report() -> impl IntoResponse {
    sleep(Duration::from_millis(800)).await;
    let made = httpdate::fmt_http_date(SystemTime::now());
    ([(header::CACHE_CONTROL, "max-age=30")], format!("Report of {made}\n"))
}

async fn words() -> impl IntoResponse {
    ([(header::CACHE_CONTROL, "max-age=60")], "All work and no play. ".repeat(1000))
}

async fn quote() -> impl IntoResponse {
    let made = httpdate::fmt_http_date(SystemTime::now());
    (Extension(Cached::for_secs(10)), format!("At {made} a larder was worth 42\n"))
}

async fn me(request: HeaderMap) -> impl IntoResponse {
    let cookie = request.get(header::COOKIE).and_then(|cookie| cookie.to_str().ok());
    let user = cookie.and_then(|cookie| cookie.strip_prefix("user=")).unwrap_or("stranger");
    ([(header::CACHE_CONTROL, "private, max-age=60")], format!("Hello, {user}\n"))
}

async fn events(
    State(stopped): State<watch::Receiver<()>>,
) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    Sse::new(stream::unfold((0, stopped), |(tick, mut stopped)| async move {
        if tick > 0 {
            tokio::select! {
                () = sleep(Duration::from_secs(1)) => {}
                _ = stopped.changed() => return None,
            }
        }
        Some((Ok(Event::default().data(format!("tick {tick}"))), (tick + 1, stopped)))
    }))
}
