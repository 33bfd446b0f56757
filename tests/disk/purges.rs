use std::{fs, path::Path, time::Duration};

use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use larder::{CacheLayer, CacheManager, DiskManager, Policy, Purge, storage::suite::block_on};
use tower::{Layer, ServiceExt};

use crate::site::{files, scratch};

type Body = Full<bytes::Bytes>;

/// Asks a layer over `store` for pages of two hosts: what the origin was asked for.
async fn visit(layer: &CacheLayer<DiskManager>) -> Vec<&'static str> {
    let mut asked = Vec::new();
    for url in ["http://a.example/", "http://a.example/x", "http://b.example/"] {
        let origin = tower::service_fn(|_: Request<Body>| async {
            let response = Response::builder().header("cache-control", "max-age=600");
            Ok::<_, std::convert::Infallible>(response.body(Body::from("page")).unwrap())
        });
        let request = Request::get(url).body(Body::default()).unwrap();
        let response = layer.layer(origin).oneshot(request).await.unwrap();
        if !response.body().status().is_hit() {
            asked.push(url);
        }
        response.into_body().collect().await.unwrap();
    }
    layer.handle().sync().await.unwrap();
    asked
}

/// A layer over the store in `path`, which does not take a busy machine for a failing store.
async fn open(path: &Path) -> CacheLayer<DiskManager> {
    let store = DiskManager::open(path).unwrap();
    CacheLayer::new(store).policy(Policy::private()).store_timeout(Duration::from_secs(30))
}

const ALL: [&str; 3] = ["http://a.example/", "http://a.example/x", "http://b.example/"];

/// A purge holds after a restart, and takes nothing else.
#[test]
fn what_was_purged_stays_away() {
    let path = scratch();
    block_on(async {
        assert_eq!(visit(&open(&path).await).await, ALL);
        assert_eq!(visit(&open(&path).await).await, [""; 0]);
        let purges: [(Purge, &[&str]); 3] = [
            (Purge::host("a.example"), &ALL[..2]),
            (Purge::url("http://a.example/x").unwrap(), &ALL[1..2]),
            (Purge::everything(), &ALL),
        ];
        for (purge, gone) in purges {
            let purged = open(&path).await;
            purged.handle().purge(purge).await.unwrap();
            drop(purged);
            assert_eq!(visit(&open(&path).await).await, gone);
            assert_eq!(visit(&open(&path).await).await, [""; 0], "what came after the purge stays");
        }
        open(&path).await.handle().clear().await.unwrap();
        assert_eq!(visit(&open(&path).await).await, ALL);
    });
}

/// A log that was cut anywhere, or damaged, may have lost any purge: nothing that it took is served.
#[test]
fn a_damaged_log_brings_nothing_back() {
    let path = scratch();
    block_on(async {
        visit(&open(&path).await).await;
        open(&path).await.handle().purge(Purge::url("http://a.example/").unwrap()).await.unwrap();
        open(&path).await.handle().purge(Purge::host("b.example")).await.unwrap();
    });
    let log = fs::read(path.join("purges")).unwrap();
    let kept: Vec<_> = files(&path.join("files"))
        .into_iter()
        .map(|file| (fs::read(&file).unwrap(), file))
        .collect();
    for cut in 0..=log.len() {
        for (bytes, file) in &kept {
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, bytes).unwrap();
        }
        fs::write(path.join("purges"), &log[..cut]).unwrap();
        let asked = block_on(async { visit(&open(&path).await).await });
        assert!(asked.contains(&ALL[0]) && asked.contains(&ALL[2]), "cut at {cut}: {asked:?}");
    }
    fs::remove_file(path.join("purges")).unwrap();
    let asked = block_on(async { visit(&open(&path).await).await });
    assert_eq!(asked, ALL, "a log that is missing");
}

/// Entries that know of more purges than the log have outlived some of it.
#[test]
fn a_log_older_than_the_entries_is_not_trusted() {
    let path = scratch();
    drop(block_on(open(&path)));
    let old = fs::read(path.join("purges")).unwrap();
    block_on(async {
        let purged = open(&path).await;
        purged.handle().purge(Purge::host("c.example")).await.unwrap();
        visit(&purged).await;
        drop(purged);
        fs::write(path.join("purges"), &old).unwrap();
        assert_eq!(visit(&open(&path).await).await, ALL);
        assert_eq!(visit(&open(&path).await).await, [""; 0]);
    });
}

/// A response that began after a purge is not found before the purge is kept: else another process
/// would give the purge's position to the next one, and the response would outlive that.
#[test]
fn no_entry_is_ahead_of_the_log() {
    let path = scratch();
    block_on(async {
        let store = open(&path).await;
        // As if the process were killed between the two halves of a purge.
        let log = store.handle().manager().purge_log().clone();
        log.append(Purge::host("c.example"));
        visit(&store).await;
        let kept = fs::read(path.join("purges")).unwrap();
        drop(store);
        fs::write(path.join("purges"), kept).unwrap();
        let store = open(&path).await;
        store.handle().purge(Purge::host("b.example")).await.unwrap();
        assert_eq!(visit(&store).await, ALL[2..]);
    });
}

/// More selectors than the log has room for: the file stays small, and no purge is lost.
#[test]
fn the_log_is_written_again_when_it_is_long() {
    let path = scratch();
    block_on(async {
        let store = open(&path).await;
        visit(&store).await;
        store.handle().purge(Purge::host("b.example")).await.unwrap();
        for round in 0..3 {
            for n in 0..3000 {
                let url = format!("http://c.example/{n}");
                let log = store.handle().manager().purge_log().clone();
                log.append(Purge::url(&url).unwrap());
            }
            store.handle().purge(Purge::host(&format!("{round}.example"))).await.unwrap();
        }
        drop(store);
        assert!(fs::metadata(path.join("purges")).unwrap().len() < 400_000);
        let store = open(&path).await;
        assert_eq!(visit(&store).await, ALL[2..]);
    });
}

/// Scenario 1.9: a short program is run again and again, and the origin is asked once.
#[test]
fn one_run_after_the_other_asks_once() {
    let path = scratch();
    block_on(async {
        assert_eq!(visit(&open(&path).await).await, ALL);
        for _ in 0..200 {
            assert_eq!(visit(&open(&path).await).await, [""; 0]);
        }
    });
}
