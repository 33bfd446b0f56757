//! Processes that use one directory at once.

use std::{
    env, fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use larder::{CacheLayer, DiskManager, Policy, Purge, storage::suite::block_on};
use tower::{Layer, ServiceExt};

use crate::site::{eventually, noise, scratch};

const CHILD: &str = "LARDER_DISK_PROCESS";

/// This program again, in a test that finds `what` and the path in its surroundings.
pub(crate) fn start(test: &str, what: &str, path: &Path) -> Child {
    Command::new(env::current_exe().expect("this program"))
        .args(["--exact", test, "--nocapture"])
        .env(CHILD, format!("{what} {}", path.display()))
        .stdout(Stdio::piped())
        .spawn()
        .expect("it runs itself")
}

/// What a process was started with.
pub(crate) fn is_child() -> Option<(u64, PathBuf)> {
    let child = env::var(CHILD).ok()?;
    let (what, path) = child.split_once(' ').expect("a number and a path");
    Some((what.parse().expect("a number"), path.into()))
}

/// The lines that a process says behind a mark of its own; it must end well.
pub(crate) fn lines(mut child: Child) -> Vec<String> {
    let output = BufReader::new(child.stdout.take().expect("a pipe"));
    let said = output.lines().map_while(Result::ok);
    let lines = said.filter_map(|line| Some(line.split_once("> ")?.1.to_owned())).collect();
    assert!(child.wait().expect("it ends").success(), "a process failed");
    lines
}

fn open(path: &Path) -> CacheLayer<DiskManager> {
    let store = DiskManager::open(path).expect("the store opens");
    CacheLayer::new(store).policy(Policy::private()).store_timeout(Duration::from_secs(30))
}

/// A page of an origin that holds what `content` gives.
async fn fetch(
    layer: &CacheLayer<DiskManager>,
    url: &str,
    content: impl Fn() -> (u64, Vec<u8>) + Clone + Send + 'static,
) -> (u64, Bytes, bool) {
    let origin = tower::service_fn(move |_: Request<Full<Bytes>>| {
        let (version, body) = content();
        async move {
            let response = Response::builder()
                .header("cache-control", "max-age=600")
                .header("x-version", version.to_string());
            Ok::<_, std::convert::Infallible>(response.body(Full::from(body)).expect("a response"))
        }
    });
    let request = Request::get(url).body(Full::default()).expect("a request");
    let response = layer.layer(origin).oneshot(request).await.expect("no request fails");
    let is_hit = response.body().status().is_hit();
    let version = response.headers()["x-version"].to_str().expect("text").parse();
    let body = response.into_body().collect().await.expect("no body fails").to_bytes();
    (version.expect("a number"), body, is_hit)
}

/// Scenario 1.9: a short program is run again and again, and the origin is asked once; two of them at
/// once ask it twice at most.
#[test]
fn short_programs_share_a_directory() {
    let url = "http://a.example/";
    if let Some((_, path)) = is_child() {
        return block_on(async {
            let layer = open(&path);
            let (_, body, is_hit) = fetch(&layer, url, || (1, noise(1, 100_000))).await;
            assert!(body == noise(1, 100_000));
            layer.handle().sync().await.expect("sync");
            println!("> {}", if is_hit { "hit" } else { "asked" });
        });
    }
    let test = "processes::short_programs_share_a_directory";
    let asked = |said: Vec<String>| said.iter().filter(|line| *line == "asked").count();
    let path = scratch();
    let runs: usize = env::var("LARDER_RUNS").ok().and_then(|n| n.parse().ok()).unwrap_or(20);
    let one_by_one = (0..runs).map(|_| asked(lines(start(test, "0", &path))));
    assert_eq!(one_by_one.sum::<usize>(), 1, "one after the other");
    for round in 0..runs.div_ceil(4) {
        let path = scratch();
        let both = [start(test, "0", &path), start(test, "0", &path)];
        let count = both.into_iter().map(|child| asked(lines(child))).sum::<usize>();
        assert!((1..=2).contains(&count), "round {round}: {count} at once");
        assert_eq!(asked(lines(start(test, "0", &path))), 0, "round {round}: it is stored");
    }
}

const PAGES: u64 = 6;

/// A number in a file that all processes see.
struct Shared(fs::File);

impl Shared {
    fn open(path: &Path, name: &str) -> Self {
        let mut options = fs::File::options();
        options.read(true).write(true).create(true).truncate(false);
        Self(options.open(path.with_extension(name)).expect("a file"))
    }

    fn read(&self) -> u64 {
        let mut bytes = [0; 8];
        let _ = std::os::unix::fs::FileExt::read_exact_at(&self.0, &mut bytes, 0);
        u64::from_le_bytes(bytes)
    }

    fn write(&self, number: u64) {
        let written = std::os::unix::fs::FileExt::write_all_at(&self.0, &number.to_le_bytes(), 0);
        written.expect("a file");
    }
}

fn page_body(page: u64, version: u64) -> Vec<u8> {
    noise(page << 32 | version, [20, 5_000, 90_000][(page % 3) as usize])
}

/// Asks for pages, and now and then changes one at its origin and purges or deletes it.
fn work(child: u64, path: &Path, rounds: u64) {
    let layer = open(path);
    let numbers = |what: &str| -> Vec<Shared> {
        (0..PAGES).map(|page| Shared::open(path, &format!("{what}-{page}"))).collect()
    };
    let (current, purged): (&'static _, _) = (numbers("current").leak(), numbers("purged"));
    let (mut hits, mut random) = (0, child + 1);
    block_on(async {
        for n in 0..rounds {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let page = (random >> 33) % PAGES;
            let url = format!("http://a.example/{page}");
            let at_least = purged[page as usize].read();
            let content = move || {
                let current: &[Shared] = current;
                let version = current[page as usize].read();
                (version, page_body(page, version))
            };
            let (version, body, is_hit) = fetch(&layer, &url, content).await;
            hits += u64::from(is_hit);
            assert!(body == page_body(page, version), "{n}: wrong bytes of {page}");
            assert!(version >= at_least, "{n}: {page} has {version}, {at_least} was purged");
            // Each process changes pages of its own, so that their versions only grow.
            let own = page % 2 == child;
            if own && (random >> 50).is_multiple_of(4) {
                let next = current[page as usize].read() + 1;
                current[page as usize].write(next);
                match (random >> 40) % 8 {
                    0 => _ = layer.handle().clear().await.expect("clear"),
                    1 => _ = layer.handle().purge(Purge::host("a.example")).await.expect("purge"),
                    2..5 => {
                        let origin = tower::service_fn(|_: Request<Full<Bytes>>| async {
                            Ok::<_, std::convert::Infallible>(Response::new(
                                Full::<Bytes>::default(),
                            ))
                        });
                        let request = Request::post(&url).body(Full::default()).expect("a request");
                        layer.layer(origin).oneshot(request).await.expect("no request fails");
                    }
                    _ => {
                        let purge = Purge::url(&url).expect("a URL");
                        layer.handle().purge(purge).await.expect("purge");
                    }
                }
                purged[page as usize].write(next);
            }
        }
        layer.handle().sync().await.expect("sync");
    });
    let store = layer.handle();
    assert_eq!(store.manager().damaged(), 0);
    println!("> {hits}");
}

/// Two processes that read, write, purge, delete and clear one directory: never a wrong byte, and
/// never what was purged before the request began, whoever purged it. `LARDER_ROUNDS=20000` for more.
#[test]
fn no_process_serves_what_another_purged() {
    let rounds = env::var("LARDER_ROUNDS").ok().and_then(|n| n.parse().ok()).unwrap_or(1000);
    if let Some((child, path)) = is_child() {
        return work(child, &path, rounds);
    }
    // What they share beside the store lies next to it.
    let directory = scratch();
    fs::create_dir(&directory).expect("a directory");
    let path = directory.join("store");
    let test = "processes::no_process_serves_what_another_purged";
    let both = [start(test, "0", &path), start(test, "1", &path)];
    let hits: u64 =
        both.into_iter().flat_map(lines).map(|hits| hits.parse::<u64>().expect("a number")).sum();
    println!("{hits} hits of {}", 2 * rounds);
    assert!(hits > rounds / 2, "{hits} hits of {}", 2 * rounds);
}

/// A process that is killed, owner or guest, in the middle of whatever: the other goes on, by the
/// same rules, and so does the next.
#[test]
fn a_killed_process_disturbs_no_other() {
    let rounds = env::var("LARDER_ROUNDS").ok().and_then(|n| n.parse().ok()).unwrap_or(400);
    if let Some((child, path)) = is_child() {
        return work(child, &path, rounds);
    }
    let test = "processes::a_killed_process_disturbs_no_other";
    for round in 0..4 {
        let directory = scratch();
        fs::create_dir(&directory).expect("a directory");
        let path = directory.join("store");
        let mut both = vec![start(test, "0", &path), start(test, "1", &path)];
        let victim = round % 2;
        let changes: Vec<_> = (0..PAGES)
            .filter(|page| page % 2 == victim)
            .map(|page| Shared::open(&path, &format!("current-{page}")))
            .collect();
        eventually(|| changes.iter().map(Shared::read).sum::<u64>() > 5 + 7 * round);
        let mut killed = both.remove(victim as usize);
        killed.kill().expect("it can be killed");
        killed.wait().expect("it ends");
        lines(both.remove(0));
        work(victim, &path, 100);
    }
}
