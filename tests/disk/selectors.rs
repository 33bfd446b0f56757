//! Purges of every kind on disk, over restarts.

use std::path::Path;

use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use larder::{CacheLayer, Cached, DiskManager, List, Policy, Purge, storage::suite::block_on};
use tower::{Layer, ServiceExt};

use crate::site::scratch;

type Body = Full<bytes::Bytes>;

const PAGES: [&str; 4] = ["/docs/a", "/docs/b", "/docs2", "/other"];

/// Asks a layer over the store in `path` for all pages: which were forwarded, and how they were asked
/// for.
async fn visit(layer: &CacheLayer<DiskManager>) -> Vec<String> {
    let mut asked = Vec::new();
    for page in PAGES {
        let origin = tower::service_fn(|request: Request<Body>| async move {
            let response = Response::builder().header("etag", "\"1\"");
            if request.headers().contains_key("if-none-match") {
                return Ok(response.status(304).body(Body::default()).unwrap());
            }
            let response = response.extension(Cached::for_secs(600).tag("own tag"));
            let tag = request.uri().path().trim_start_matches("/docs").replace('/', "t");
            let response = response.header("cache-tag", tag).header("cache-groups", "\"g\"");
            Ok::<_, std::convert::Infallible>(response.body(Body::from("page")).unwrap())
        });
        let request = Request::get(format!("http://a.example{page}"));
        let request = request.body(Body::default()).unwrap();
        let response = layer.layer(origin).oneshot(request).await.unwrap();
        let status = response.body().status();
        if !status.is_hit() {
            asked.push(format!("{page} {}", status.reason().unwrap()));
        }
        response.into_body().collect().await.unwrap();
    }
    layer.handle().sync().await.unwrap();
    asked
}

fn open(path: &Path) -> CacheLayer<DiskManager> {
    // Without an executor nothing outlives the layer.
    let store = DiskManager::open(path).unwrap();
    CacheLayer::new(store).policy(Policy::private()).executor(larder::NoExecutor)
}

/// Each selector, hard and soft, holds after a restart, and is counted by a walk through the files.
#[test]
fn every_selector_outlives_a_restart() {
    type Case = (fn() -> Purge, &'static [&'static str]);
    let purges: [Case; 6] = [
        (|| Purge::tag("ta"), &PAGES[..1]),
        (|| Purge::tag("own tag"), &PAGES),
        (|| Purge::group("http://a.example", "g").unwrap(), &PAGES),
        (|| Purge::prefix("http://a.example/docs").unwrap(), &PAGES[..2]),
        (|| Purge::tag("2").everywhere().of_origin("http://a.example").unwrap(), &PAGES[2..3]),
        (|| Purge::everything(), &PAGES),
    ];
    let path = scratch();
    block_on(async {
        assert_eq!(visit(&open(&path)).await.len(), 4);
        for (purge, selected) in purges {
            let count = selected.len() as u64;
            for (purge, reason) in [(purge().soft(), "stale"), (purge(), "purged")] {
                let name = purge.to_string();
                let layer = open(&path);
                let dry = layer.handle().purge(purge.clone().dry_run()).await.unwrap();
                assert_eq!(dry.swept().await.unwrap(), count, "{name}");
                layer.handle().purge(purge).await.unwrap();
                drop((layer, dry));
                let expected: Vec<_> =
                    selected.iter().map(|page| format!("{page} {reason}")).collect();
                assert_eq!(visit(&open(&path)).await, expected, "{name}");
                assert_eq!(visit(&open(&path)).await, [""; 0], "{name}");
            }
        }
    });
}

/// What was swept has no file left; what was not is there as it was.
#[test]
fn the_sweeper_removes_files() {
    let path = scratch();
    block_on(async {
        let layer = open(&path);
        visit(&layer).await;
        let handle = layer.handle();
        let purged = handle.purge(Purge::tag("own tag").soft()).await.unwrap();
        assert_eq!(purged.swept().await.unwrap(), 4);
        assert_eq!(handle.stats().usage().unwrap().records(), 4);
        let purged = handle.purge(Purge::prefix("http://a.example/docs/").unwrap()).await.unwrap();
        assert_eq!(purged.swept().await.unwrap(), 2);
        assert_eq!(handle.stats().usage().unwrap().records(), 2);
        let page = handle.list(&List::all().limit(1)).await.unwrap();
        assert_eq!(page.entries()[0].key().path_and_query(), "/docs2");
        assert!(page.entries()[0].is_softly_purged());
        let page = handle.list(&List::all().after(page.next().unwrap().clone())).await.unwrap();
        assert_eq!(page.entries()[0].key().path_and_query(), "/other");
        assert!(page.next().is_none());
    });
}

/// A predicate cannot be written down: it has been through the whole store when the purge returns, so
/// that a restart brings nothing back.
#[test]
fn a_predicate_is_swept_before_the_purge_returns() {
    let path = scratch();
    block_on(async {
        let layer = open(&path);
        visit(&layer).await;
        let docs = || Purge::matching(|key, _| key.path_and_query().starts_with("/docs/"));
        let refused = layer.handle().purge(docs().soft()).await.unwrap_err();
        assert!(refused.is_unsupported(), "{refused}");
        assert_eq!(visit(&layer).await, [""; 0], "nothing has happened");
        let purged = layer.handle().purge(docs()).await.unwrap();
        assert_eq!(layer.handle().stats().usage().unwrap().records(), 2);
        assert_eq!(purged.swept().await.unwrap(), 2);
        drop((layer, purged));
        assert_eq!(visit(&open(&path)).await, ["/docs/a uri-miss", "/docs/b uri-miss"]);
    });
}
