use std::{fs, path::PathBuf, process::Command};

use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use larder::{CacheLayer, CacheManager, DiskManager, storage::suite::block_on};
use tower::{Layer, ServiceExt};

use crate::site::{Ask, noise, scratch};

/// A file system that can be made read-only, for who may mount one.
struct Mounted(PathBuf);

impl Mounted {
    fn new() -> Option<Self> {
        let path = scratch();
        fs::create_dir(&path).expect("a directory");
        let is_mounted = mount(&["-t", "tmpfs", "-o", "size=8m", "larder-test"], &path);
        if !is_mounted {
            eprintln!("SKIPPED, no file system could be mounted");
        }
        is_mounted.then_some(Self(path))
    }

    fn remount(&self, how: &str) {
        let how = format!("remount,bind,{how}");
        assert!(mount(&["-o", &how], &self.0), "{how}");
    }
}

fn mount(args: &[&str], path: &PathBuf) -> bool {
    let mounted = Command::new("mount").args(args).arg(path).output();
    mounted.is_ok_and(|output| output.status.success())
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).output();
    }
}

/// A start says what is wrong with which directory, and leaves it as it is.
#[test]
fn a_read_only_directory_is_refused() {
    let Some(mounted) = Mounted::new() else { return };
    let (old, new) = (mounted.0.join("old"), mounted.0.join("new"));
    let ask = Ask::new("/");
    let store = DiskManager::open(&old).unwrap();
    block_on(ask.put(&store, &[], "hello")).unwrap();
    drop(store);
    mounted.remount("ro");
    for path in [&old, &new] {
        let error = DiskManager::open(path).map(|_| ()).unwrap_err().to_string();
        let says = ["Read-only", &path.display().to_string()].map(|text| error.contains(text));
        assert_eq!(says, [true, true], "{error}");
    }
    mounted.remount("rw");
    let store = DiskManager::open(&old).unwrap();
    assert_eq!(block_on(ask.body(&store)).unwrap().unwrap(), "hello");
}

/// A directory in which nobody can change anything, for who may do so to it. A file system cannot be
/// made read-only as long as a store has files open.
struct Frozen(PathBuf);

impl Frozen {
    fn new(path: PathBuf) -> Option<Self> {
        let frozen = Self(path);
        let is_frozen = frozen.chattr("+i");
        if !is_frozen {
            eprintln!("SKIPPED, no directory could be made immutable");
        }
        is_frozen.then_some(frozen)
    }

    fn chattr(&self, flag: &str) -> bool {
        let changed = Command::new("chattr").args(["-R", flag]).arg(&self.0).output();
        changed.is_ok_and(|output| output.status.success())
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        self.chattr("-i");
    }
}

/// A disk that fails often becomes read-only: what is there is served, what cannot be done is an
/// error, and writes come back.
#[test]
fn a_store_that_becomes_read_only_serves_on() {
    let path = scratch();
    let store = DiskManager::open(&path).unwrap();
    let (small, large, new) = (Ask::new("/small"), Ask::new("/large"), Ask::new("/new"));
    let body = noise(1, 200_000);
    block_on(async {
        small.put(&store, &[], "hello").await.unwrap();
        large.put(&store, &[], body.clone()).await.unwrap();
        let Some(frozen) = Frozen::new(path) else { return };
        for _ in 0..3 {
            assert_eq!(small.body(&store).await.unwrap().unwrap(), "hello");
            assert_eq!(large.body(&store).await.unwrap().unwrap(), body);
            assert!(new.put(&store, &[], "new").await.is_err());
            assert!(new.put(&store, &[], body.clone()).await.is_err());
        }
        let entry = small.find(&store).await.unwrap();
        let (_, head) = small.place(&store, &[]);
        assert!(store.update(&entry, head).await.is_err());
        assert!(store.remove(&entry).await.is_err());
        assert!(store.delete(small.lookup().key()).await.is_err(), "it would be found again");
        drop(frozen);
        new.put(&store, &[], "new").await.unwrap();
        assert_eq!(new.body(&store).await.unwrap().unwrap(), "new");
        store.delete(small.lookup().key()).await.unwrap();
        assert!(small.find(&store).await.is_none());
    });
}

/// "The cache may fail; the response may not."
#[test]
fn no_request_fails_on_a_read_only_disk() {
    let path = scratch();
    let store = DiskManager::open(&path).unwrap();
    let Some(_frozen) = Frozen::new(path) else { return };
    let service = tower::service_fn(async |_: Request<Full<bytes::Bytes>>| {
        let body = Full::from(noise(1, 100_000));
        let response = Response::builder().header("cache-control", "max-age=60").body(body);
        Ok::<_, std::convert::Infallible>(response.expect("a response"))
    });
    let cached = CacheLayer::new(store).layer(service);
    block_on(async {
        for n in 0..20 {
            let request = Request::get(format!("http://a.example/{}", n % 10));
            let request = request.body(Full::default()).unwrap();
            let response = cached.clone().oneshot(request).await.unwrap();
            assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), noise(1, 100_000));
        }
    });
}
