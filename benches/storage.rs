//! What a store takes to put and to get a response, beside the floor: `std::fs` writing a file under
//! another name and renaming it, and reading it.
//!
//! `cargo bench --bench storage --features disk,redis`. All subjects run interleaved in one process; a
//! figure is the median of the times of single calls, one after the other: the system writes to the
//! disk now and then, and a mean shows whom that met. Bodies are read to their end. The page cache is
//! warm. What the policy does for a response is not counted, nor is the making of requests and of the
//! floor's paths. `tiered` is memory before the disk, and finds
//! all of it in memory.
//!
//! A call to the disk store waits for one of its threads, and sleeps. With `16 at once`, which is
//! the mean of one call in a batch of so many, there is other work to do meanwhile.
//!
//! With the feature `redis` and a `redis-server`, what a look-up there takes, beside the same commands
//! sent by the client library alone, on a connection of its own.

#[cfg(feature = "redis")]
#[path = "support/shared.rs"]
mod shared;
mod support;

use std::{
    fs,
    future::{Future, poll_fn},
    hint::black_box,
    path::{Path, PathBuf},
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, Wake, Waker},
    thread::{self, Thread},
    time::{Duration, Instant, SystemTime},
};

use bytes::Bytes;
use http::{Request, Response, request};
use http_body::{Body, SizeHint};
use larder::{
    CacheManager, DiskManager, MemoryManager, Policy,
    policy::{Begin, Decision, Outcome, Placement, Secret, Stored, StoredHead, Timestamp},
    storage::{DiskOptions, EntryWriter, Tiered},
};

const ROUNDS: usize = 15;
const AT_ONCE: usize = 16;

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(value) => return value,
            Poll::Pending => thread::park(),
        }
    }
}

/// Waits for all of them.
fn block_on_all(futures: impl Iterator<Item = impl Future<Output = ()>>) {
    let mut waiting: Vec<_> = futures.map(Box::pin).collect();
    block_on(poll_fn(|cx| {
        waiting.retain_mut(|future| future.as_mut().poll(cx).is_pending());
        if waiting.is_empty() { Poll::Ready(()) } else { Poll::Pending }
    }));
}

fn ask(n: usize) -> request::Parts {
    let request = Request::get(format!("http://a.example/some/path?with={n}")).body(());
    request.expect("a request").into_parts().0
}

fn place(
    policy: &Policy,
    asked: &request::Parts,
    length: usize,
    secret: &Secret,
) -> (Placement, StoredHead) {
    let now = Timestamp::from_wall(SystemTime::now());
    let Begin::Lookup(lookup) = policy.begin(asked, &SizeHint::with_exact(0)) else { panic!() };
    let decision = lookup.decide(&mut asked.clone(), Stored::Nothing, now);
    let Decision::Forward(fetch) = decision else { panic!() };
    let (mut head, ()) = Response::new(()).into_parts();
    head.headers = support::fields(length);
    match fetch.on_response(&mut head, &SizeHint::default(), now, 0, secret) {
        Outcome::Store(store) => store.into_parts(),
        _ => panic!("it is stored"),
    }
}

async fn put(store: &impl CacheManager, (placement, head): (Placement, StoredHead), body: &Bytes) {
    let mut writer = store.put(placement, head).await.expect("put");
    writer.write(body.clone()).await.expect("write");
    writer.finish(None).await.expect("finish");
}

async fn get(store: &impl CacheManager, policy: &Policy, asked: &request::Parts) -> usize {
    let Begin::Lookup(lookup) = policy.begin(asked, &SizeHint::with_exact(0)) else { panic!() };
    let wanted = lookup.wanted(&asked.headers, store.secret());
    // As a layer asks.
    let found = match store.get_now(&wanted) {
        Some(found) => found.expect("get"),
        None => store.get(&wanted).await.expect("get"),
    };
    let entry = found.into_entry(0).expect("it is there");
    let mut body = store.read(&entry, 0..entry.response().length());
    let mut length = 0;
    while let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        length += black_box(frame.expect("a frame")).data_ref().map_or(0, Bytes::len);
    }
    length
}

struct Floor {
    directory: PathBuf,
}

impl Floor {
    fn path(&self, n: usize) -> PathBuf {
        self.directory.join(format!("{:02x}/{n}", n % 256))
    }

    fn put(&self, path: &Path, body: &Bytes) {
        let temporary = self.directory.join("tmp");
        fs::write(&temporary, body).expect("write");
        fs::rename(temporary, path).expect("rename");
    }

    fn get(&self, path: &Path) -> usize {
        black_box(fs::read(path).expect("read")).len()
    }
}

/// The times of calls with each of `items`.
fn each<T>(items: impl IntoIterator<Item = T>, mut call: impl FnMut(T)) -> Vec<Duration> {
    let time = |item| {
        let before = Instant::now();
        call(item);
        before.elapsed()
    };
    items.into_iter().map(time).collect()
}

fn median(mut times: Vec<Duration>) -> f64 {
    times.sort_unstable();
    times[times.len() / 2].as_nanos() as f64 / 1000.0
}

fn main() {
    #[cfg(feature = "redis")]
    shared::run();
    let root = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("bench-storage");
    let _ = fs::remove_dir_all(&root);
    let floor = Floor { directory: root.join("floor") };
    (0..256).for_each(|n| fs::create_dir_all(floor.path(n).parent().unwrap()).unwrap());
    let options = DiskOptions::new().max_bytes(4 << 30);
    let disk: DiskManager = options.open(root.join("disk")).expect("the store opens");
    let memory = MemoryManager::new(1 << 30);
    let tiered = Tiered::new(MemoryManager::new(1 << 30), disk.clone());
    let policy = Policy::shared();
    let places = |names: &[usize], size: usize, secret: &Secret| -> Vec<_> {
        names.iter().map(|n| place(&policy, &ask(*n), size, secret)).collect()
    };

    println!("µs a call");
    println!(
        "           put: floor    disk          16 at once   memory    get: floor    disk   memory   tiered"
    );
    for (name, size, count) in
        [("1 KiB", 1 << 10, 400), ("8 KiB", 8 << 10, 400), ("1 MiB", 1 << 20, 48)]
    {
        let body = Bytes::from((0..size).map(|n: usize| (n * n % 251) as u8).collect::<Vec<_>>());
        let mut times: [Vec<Duration>; 8] = Default::default();
        for round in 0..ROUNDS {
            // Each round has names of its own, so that a put makes a file.
            let names = |what: usize| -> Vec<usize> {
                (0..count).map(|n| ((size + what) * 1000 + round) * 1000 + n).collect()
            };
            let (single, batch) = (names(0), names(1));
            let paths: Vec<_> = single.iter().map(|n| floor.path(*n)).collect();
            let asked: Vec<_> = single.iter().map(|n| ask(*n)).collect();
            let to_disk = places(&single, size, disk.secret());
            let to_memory = places(&single, size, memory.secret());
            let mut batches = places(&batch, size, disk.secret());
            times[0].extend(each(&paths, |path| floor.put(path, &body)));
            times[1].extend(each(to_disk, |place| block_on(put(&disk, place, &body))));
            times[2].extend(each(0..count / AT_ONCE, |_| {
                block_on_all(batches.drain(..AT_ONCE).map(|place| put(&disk, place, &body)));
            }));
            times[3].extend(each(to_memory, |place| block_on(put(&memory, place, &body))));
            times[4].extend(each(&paths, |path| assert_eq!(floor.get(path), size)));
            times[5].extend(each(&asked, |asked| {
                assert_eq!(block_on(get(&disk, &policy, asked)), size);
            }));
            for place in places(&single, size, tiered.secret()) {
                block_on(put(&tiered, place, &body));
            }
            // By turns: what was used last is in the processor's caches.
            for asked in &asked {
                times[6].extend(each([asked], |asked| {
                    assert_eq!(block_on(get(&memory, &policy, asked)), size);
                }));
                times[7].extend(each([asked], |asked| {
                    assert_eq!(block_on(get(&tiered, &policy, asked)), size);
                }));
            }
        }
        let [a, b, c, d, e, f, g, h] = times.map(median);
        let c = c / AT_ONCE as f64;
        println!(
            "{name} {a:15.1} {b:7.1} = {:4.2} {c:7.1} = {:4.2} {d:8.1} {e:13.1} {f:7.1} = {:4.2} {g:8.2} {h:8.2} = {:4.2}",
            b / a,
            c / a,
            f / e,
            h / g,
        );
    }
    drop(disk);
    let _ = fs::remove_dir_all(root);
}
