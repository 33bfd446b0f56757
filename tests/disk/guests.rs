//! Several stores over one directory.

use std::{
    convert::Infallible,
    fs,
    path::Path,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt, Full};
use larder::{
    CacheLayer, CacheManager, DiskManager, Policy, Purge,
    storage::{DiskOptions, EntryWriter, suite::block_on},
};
use tower::{Layer, ServiceExt};

use crate::site::{Ask, eventually, files, noise, scratch};

fn both(path: &Path) -> [DiskManager; 2] {
    let stores = [DiskManager::open(path).unwrap(), DiskManager::open(path).unwrap()];
    assert!(!stores[0].is_guest() && stores[1].is_guest());
    stores
}

/// The owner is who was first, and a guest stays one.
#[test]
fn the_first_owns_the_directory() {
    let path = scratch();
    let [owner, guest] = both(&path);
    drop(owner);
    assert!(guest.is_guest());
    let owner = DiskManager::open(&path).unwrap();
    assert!(!owner.is_guest(), "there is none");
    let ask = Ask::new("/");
    block_on(async {
        ask.put(&guest, &[], "by the guest").await.unwrap();
        assert_eq!(ask.body(&owner).await.unwrap().unwrap(), "by the guest");
    });
    drop((guest, owner));
    assert!(!DiskManager::open(&path).unwrap().is_guest());
}

/// Whoever stores, both find; whoever changes, both see it.
#[test]
fn both_see_what_either_does() {
    let path = scratch();
    let stores = both(&path);
    for (a, b) in [(&stores[0], &stores[1]), (&stores[1], &stores[0])] {
        let speaker = |language| Ask::new("/vary").with("accept-language", language);
        let vary = ("vary", "accept-language");
        block_on(async {
            Ask::new("/").put(a, &[("x-name", "old")], "plain").await.unwrap();
            speaker("en").put(a, &[vary], "en").await.unwrap();
            speaker("de").put(b, &[vary], "de").await.unwrap();
            for store in [a, b] {
                assert_eq!(Ask::new("/").body(store).await.unwrap().unwrap(), "plain");
                assert_eq!(speaker("en").body(store).await.unwrap().unwrap(), "en");
                assert_eq!(speaker("de").body(store).await.unwrap().unwrap(), "de");
            }
            let (before, head) = (
                Ask::new("/").find(a).await.unwrap(),
                Ask::new("/").place(a, &[("x-name", "new")]).1,
            );
            assert!(b.update(&before, head.clone()).await.unwrap());
            assert!(!a.update(&before, head).await.unwrap(), "it is another entry now");
            let now = Ask::new("/").find(a).await.unwrap();
            assert_eq!(now.response().head().headers()["x-name"], "new");
            assert!(!a.remove(&before).await.unwrap());
            assert!(b.remove(&now).await.unwrap());
            assert!(Ask::new("/").find(a).await.is_none());
            b.delete(speaker("en").lookup().key()).await.unwrap();
            assert!(speaker("en").find(a).await.is_none());
            assert!(speaker("de").find(a).await.is_none());
        });
    }
    assert_eq!(stores[0].damaged() + stores[1].damaged(), 0);
}

/// What is being fetched by one while the other deletes it is not stored.
#[test]
fn a_deletion_refuses_writers_of_both() {
    let path = scratch();
    let stores = both(&path);
    for (a, b) in [(&stores[0], &stores[1]), (&stores[1], &stores[0])] {
        block_on(async {
            let ask = Ask::new("/");
            let (placement, head) = ask.place(a, &[]);
            let mut writer = a.put(placement, head).await.unwrap();
            writer.write("old".into()).await.unwrap();
            b.delete(ask.lookup().key()).await.unwrap();
            assert!(writer.finish(None).await.unwrap_err().is_refused());
            assert!(ask.find(a).await.is_none());
            ask.put(a, &[], "new").await.unwrap();
            assert_eq!(ask.body(b).await.unwrap().unwrap(), "new");
        });
    }
}

type Body = Full<Bytes>;

/// A layer that does not take a busy machine for a failing store.
fn patient(store: DiskManager) -> CacheLayer<DiskManager> {
    CacheLayer::new(store).policy(Policy::private()).store_timeout(Duration::from_secs(30))
}

/// Whether a request was a hit.
async fn is_hit(layer: &CacheLayer<DiskManager>, url: &str) -> bool {
    let origin = tower::service_fn(|_: Request<Body>| async {
        let response = Response::builder().header("cache-control", "max-age=600");
        Ok::<_, Infallible>(response.body(Body::from("page")).unwrap())
    });
    let request = Request::get(url).body(Body::default()).unwrap();
    let response = layer.layer(origin).oneshot(request).await.unwrap();
    let is_hit = response.body().status().is_hit();
    response.into_body().collect().await.unwrap();
    layer.handle().sync().await.unwrap();
    is_hit
}

/// After a purge has returned in one, neither serves what it took; also when both purge at once.
#[test]
fn a_purge_holds_for_both() {
    const PAGES: [&str; 3] = ["http://a.example/1", "http://b.example/2", "http://c.example/3"];
    let path = scratch();
    let layers = both(&path).map(patient);
    block_on(async {
        for round in 0..8 {
            for layer in &layers {
                for page in PAGES {
                    is_hit(layer, page).await;
                    assert!(is_hit(layer, page).await, "round {round}");
                }
            }
            let (a, b) = (&layers[round % 2].handle(), &layers[(round + 1) % 2].handle());
            if round < 4 {
                a.purge(Purge::host("a.example")).await.unwrap();
                b.purge(Purge::url("http://b.example/2").unwrap()).await.unwrap();
            } else {
                // Both give the same position before either has heard of the other.
                a.manager().purge_log().append(Purge::host("a.example"));
                b.manager().purge_log().append(Purge::url("http://b.example/2").unwrap());
                a.manager().purge_log().sync().await.unwrap();
                b.manager().purge_log().sync().await.unwrap();
            }
            let hits = [is_hit(&layers[0], PAGES[0]).await, is_hit(&layers[1], PAGES[1]).await];
            assert_eq!(hits, [false, false], "round {round}");
            assert!(is_hit(&layers[0], PAGES[2]).await, "nothing else");
            if round % 3 == 2 {
                a.purge(Purge::everything()).await.unwrap();
                assert!(!is_hit(&layers[0], PAGES[2]).await);
                b.clear().await.unwrap();
                assert!(!is_hit(&layers[1], PAGES[2]).await);
                assert!(is_hit(&layers[0], PAGES[2]).await);
            }
        }
    });
    let positions = layers.map(|layer| layer.handle().manager().purge_log().position());
    assert_eq!(positions[0], positions[1]);
}

/// A log that is damaged or goes away under its users takes everything with it, in all of them.
#[test]
fn a_log_that_is_lost_while_it_is_used_is_noticed() {
    let path = scratch();
    let layers = both(&path).map(patient);
    let log = path.join("purges");
    block_on(async {
        for round in 0..6 {
            let page = "http://a.example/";
            assert!(!is_hit(&layers[0], page).await, "round {round}");
            assert!(is_hit(&layers[1], page).await, "round {round}");
            let whole = fs::read(&log).unwrap();
            let mut turn = round;
            match round % 3 {
                0 => fs::remove_file(&log).unwrap(),
                1 => fs::write(&log, &whole[..whole.len() - 1]).unwrap(),
                _ => {
                    // Somebody puts an older one back: who has purged knows better.
                    turn = 0;
                    let purged = layers[0].handle().purge(Purge::host("a.example")).await;
                    purged.unwrap();
                    fs::write(&log, &whole).unwrap();
                }
            }
            assert!(!is_hit(&layers[turn % 2], page).await, "round {round}");
            assert!(is_hit(&layers[(turn + 1) % 2], page).await, "round {round}");
            layers[1].handle().purge(Purge::url(page).unwrap()).await.unwrap();
        }
    });
}

/// What guests have stored counts, when they have gone.
#[test]
fn what_guests_leave_is_counted() {
    let path = scratch();
    let owner = DiskOptions::new().max_entries(20).open(&path).unwrap();
    let guest = DiskOptions::new().open(&path).unwrap();
    let put = async |store: &DiskManager, n: u64| {
        let ask = Ask::new(&format!("/{n}"));
        ask.put(store, &[], noise(n, 5000)).await
    };
    block_on(async {
        put(&owner, 0).await.unwrap();
        eventually(|| owner.len() == 1);
        for n in 1..100 {
            put(&guest, n).await.unwrap();
        }
        assert!(path.join("guests").exists());
        assert!(Ask::new("/50").find(&owner).await.is_some());
        drop(guest);
        // The owner looks when it has to make room.
        for n in 200.. {
            if !path.join("guests").exists() {
                break;
            }
            let _ = put(&owner, n).await;
        }
        eventually(|| files(&path.join("files")).len() <= 20 && owner.len() <= 20);
    });
}

/// A guest does not sweep, and is not swept.
#[test]
fn what_another_is_writing_is_left_alone() {
    let path = scratch();
    let [owner, guest] = both(&path);
    block_on(async {
        let (ask, body) = (Ask::new("/"), noise(1, 600_000));
        let mut writers = Vec::new();
        for store in [&owner, &guest] {
            let (placement, head) = ask.place(store, &[]);
            let mut writer = store.put(placement, head).await.unwrap();
            writer.write(body.clone().into()).await.unwrap();
            writers.push(writer);
        }
        let third = DiskManager::open(&path).unwrap();
        assert!(third.is_guest());
        writers.remove(0).finish(None).await.unwrap();
        drop(owner);
        let owner = DiskManager::open(&path).unwrap();
        assert!(!owner.is_guest());
        writers.remove(0).finish(None).await.unwrap();
        for store in [&owner, &guest, &third] {
            assert!(ask.body(store).await.unwrap().unwrap() == body);
        }
    });
}

/// A body that begins, and then takes its time.
struct Begun(Option<Bytes>);

impl http_body::Body for Begun {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self.0.take() {
            Some(bytes) => Poll::Ready(Some(Ok(Frame::data(bytes)))),
            None => Poll::Pending,
        }
    }
}

/// What is on its way in one when the other purges it is shared with nobody who comes later.
#[test]
fn a_purge_parts_who_comes_later_from_what_is_on_its_way() {
    let path = scratch();
    let layers = both(&path).map(patient);
    let asked = Arc::new(AtomicU64::new(0));
    let count = asked.clone();
    let origin = tower::service_fn(move |_: Request<Body>| {
        let version = count.fetch_add(1, Ordering::SeqCst).to_string();
        async {
            let response = Response::builder().header("cache-control", "max-age=600");
            Ok::<_, Infallible>(response.body(Begun(Some(version.into()))).unwrap())
        }
    });
    block_on(async {
        let first = async |layer: &CacheLayer<DiskManager>| {
            let request = Request::get("http://a.example/").body(Body::default()).unwrap();
            let mut body = layer.layer(origin.clone()).oneshot(request).await.unwrap().into_body();
            let frame = body.frame().await.unwrap().unwrap().into_data().unwrap();
            (frame, body)
        };
        for (round, (a, b)) in [(0, 1), (1, 0)].into_iter().enumerate() {
            let old = round * 2;
            let (version, _body) = first(&layers[a]).await;
            assert_eq!(version, old.to_string());
            let (version, _joined) = first(&layers[a]).await;
            assert_eq!(version, old.to_string(), "it is shared");
            let purge = Purge::url("http://a.example/").unwrap();
            layers[b].handle().purge(purge).await.unwrap();
            let (version, _later) = first(&layers[a]).await;
            assert_eq!(version, (old + 1).to_string(), "it was purged");
        }
    });
}

/// Many that open a directory at once, which is not there yet: one of them owns it.
#[test]
fn one_of_many_makes_the_directory() {
    for _ in 0..20 {
        let path = scratch();
        let barrier = std::sync::Barrier::new(6);
        let open = || {
            barrier.wait();
            let store = DiskManager::open(&path);
            barrier.wait();
            store.unwrap().is_guest()
        };
        let guests = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..6).map(|_| scope.spawn(open)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
        });
        assert_eq!(guests.iter().filter(|is_guest| **is_guest).count(), 5);
    }
}
