use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use larder::{
    CacheLayer,
    storage::{DiskOptions, suite::block_on},
};
use tower::{Layer, ServiceExt};

use crate::site::{Ask, noise, scratch};

/// A file system of 8 MiB, for who may mount one.
struct Small(PathBuf);

impl Small {
    fn mount() -> Option<Self> {
        Self::mount_as("size=8m")
    }

    fn mount_as(options: &str) -> Option<Self> {
        let path = scratch();
        fs::create_dir(&path).expect("a directory");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", options, "larder-test"])
            .arg(&path)
            .output()
            .is_ok_and(|output| output.status.success());
        if !mounted {
            eprintln!("SKIPPED, no file system could be mounted");
        }
        mounted.then_some(Self(path))
    }

    fn fill(&self) -> PathBuf {
        let ballast = self.0.join("ballast");
        let file = fs::File::create(&ballast).expect("a file");
        while std::io::Write::write_all(&mut &file, &[1; 4096]).is_ok() {}
        ballast
    }

    fn store(&self) -> PathBuf {
        self.0.join("store")
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).output();
    }
}

async fn put_when_there_is_space(store: &larder::DiskManager, ask: &Ask, seed: u64) {
    let start = Instant::now();
    while ask.put(store, &[], noise(seed, 50_000)).await.is_err() {
        assert!(start.elapsed() < Duration::from_secs(30), "there is never space");
        thread::yield_now();
    }
}

async fn visit(layer: &CacheLayer<larder::DiskManager>, n: u64) {
    let origin = tower::service_fn(move |_: Request<Full<bytes::Bytes>>| async move {
        let response = Response::builder().header("cache-control", "max-age=600");
        let body = Full::new(bytes::Bytes::from(noise(n, 100_000)));
        Ok::<_, std::convert::Infallible>(response.body(body).expect("a response"))
    });
    let request = Request::get(format!("http://a.example/{n}")).body(Full::default());
    let response = layer.layer(origin).oneshot(request.expect("a request")).await;
    let body = response.expect("no request fails").into_body().collect().await;
    assert!(body.expect("no body fails").to_bytes() == noise(n, 100_000));
    layer.handle().sync().await.expect("sync");
}

/// A bound that the file system does not have room for: what is stored makes room, writing goes on
/// by itself, and no request fails.
#[test]
fn a_full_disk_fails_no_request() {
    let Some(small) = Small::mount() else { return };
    block_on(async {
        let store = DiskOptions::new().max_entry_bytes(1 << 20).open(small.store()).unwrap();
        let layer = CacheLayer::new(store.clone());
        for n in 0..400 {
            visit(&layer, n).await;
        }
        assert_eq!(store.damaged(), 0);
        // Space has come back without a restart.
        let ask = Ask::new("/again");
        put_when_there_is_space(&store, &ask, 1).await;
        assert!(ask.body(&store).await.unwrap().unwrap() == noise(1, 50_000));
    });
}

/// Space is not all that a file system runs out of.
#[test]
fn a_disk_without_inodes_comes_back() {
    let Some(small) = Small::mount_as("size=64m,nr_inodes=500") else { return };
    block_on(async {
        let store = DiskOptions::new().open(small.store()).unwrap();
        for n in 0..1000 {
            let ask = Ask::new(&format!("/{n}"));
            put_when_there_is_space(&store, &ask, n).await;
        }
        assert!(Ask::new("/999").body(&store).await.unwrap().unwrap() == noise(999, 50_000));
        assert_eq!(store.damaged(), 0);
    });
}

/// A disk that others have filled: what is there is read, purges still hold after a restart, and
/// writing comes back when there is space.
#[test]
fn a_disk_that_others_fill_is_read_only_for_a_while() {
    let Some(small) = Small::mount() else { return };
    let open = |path: &Path| DiskOptions::new().max_entry_bytes(1 << 20).open(path).unwrap();
    let (kept, purged) = (Ask::new("/kept"), Ask::new("/purged"));
    block_on(async {
        let store = open(&small.store());
        for ask in [&kept, &purged] {
            ask.put(&store, &[], noise(1, 50_000)).await.unwrap();
        }
        let entry = kept.find(&store).await.unwrap();
        let ballast = small.fill();
        assert!(kept.body(&store).await.unwrap().is_ok(), "reads go on");
        let log = larder::CacheManager::purge_log(&store);
        log.append(larder::Purge::url("http://a.example/purged").unwrap());
        log.sync().await.unwrap();
        assert!(kept.put(&store, &[], noise(2, 50_000)).await.is_err());
        assert!(entry.response().length() == 50_000);
        fs::remove_file(ballast).unwrap();
        put_when_there_is_space(&store, &kept, 3).await;
        assert!(kept.body(&store).await.unwrap().unwrap() == noise(3, 50_000));
    });
}

/// A start without room serves what is there, and where nothing is, it says what is wrong.
#[test]
fn a_start_on_a_full_disk_serves_or_says_why() {
    let Some(small) = Small::mount() else { return };
    let kept = Ask::new("/kept");
    let store = DiskOptions::new().open(small.store()).unwrap();
    block_on(kept.put(&store, &[], noise(1, 50_000))).unwrap();
    drop(store);
    let ballast = small.fill();
    let store = DiskOptions::new().open(small.store()).unwrap();
    assert!(block_on(kept.body(&store)).unwrap().unwrap() == noise(1, 50_000));
    drop(store);
    let new = small.0.join("new");
    let error = DiskOptions::new().open(&new).map(|_| ()).unwrap_err().to_string();
    let says = ["No space", &new.display().to_string()].map(|text| error.contains(text));
    assert_eq!(says, [true, true], "{error}");
    fs::remove_file(ballast).unwrap();
    let store = DiskOptions::new().open(small.store()).unwrap();
    assert!(block_on(kept.body(&store)).unwrap().unwrap() == noise(1, 50_000));
}
