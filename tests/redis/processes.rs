//! Two processes over one Redis.

use std::{
    convert::Infallible,
    env,
    io::{BufRead, BufReader, Write},
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use larder::{CacheLayer, MemoryManager, Policy, Purge, storage::Tiered};
use tower::{Layer, ServiceExt, service_fn};

use crate::{
    page::noise,
    server::{namespace, options, shared},
};

const CHILD: &str = "LARDER_REDIS_PROCESS";
const TEST: &str = "processes::processes_share_what_they_have";

/// A process that does what it is told, line by line.
struct Node {
    child: Child,
    said: BufReader<std::process::ChildStdout>,
}

impl Node {
    fn start(url: &str, namespace: &str) -> Self {
        let mut child = Command::new(env::current_exe().expect("this program"))
            .args(["--exact", TEST, "--nocapture"])
            .env(CHILD, format!("{url} {namespace}"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("it runs itself");
        let said = BufReader::new(child.stdout.take().expect("a pipe"));
        Self { child, said }
    }

    fn tell(&mut self, line: &str) {
        let told = self.child.stdin.as_mut().expect("a pipe");
        writeln!(told, "{line}").expect("it listens");
    }

    /// What it answers to that.
    fn hear(&mut self) -> u64 {
        let mut line = String::new();
        loop {
            line.clear();
            assert!(self.said.read_line(&mut line).expect("text") > 0, "it has ended");
            if let Some((_, answer)) = line.split_once("> ") {
                return answer.trim().parse().expect("a number");
            }
        }
    }

    fn ask(&mut self, line: &str) -> u64 {
        self.tell(line);
        self.hear()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

fn now() -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970");
    u64::try_from(now.as_micros()).expect("before the year 500 000")
}

/// Does what it is told until nobody tells it anything.
async fn node(url: &str, namespace: &str) {
    let redis = options(namespace).open(url).expect("the URL is fine");
    redis.ready().await.expect("Redis is there");
    let patient = Duration::from_secs(10);
    let tiers = Tiered::new(MemoryManager::new(8 << 20), redis).slow_timeout(patient);
    let layer = CacheLayer::new(tiers).policy(Policy::shared()).store_timeout(patient);
    let asked = Arc::<AtomicUsize>::default();
    let origin = {
        let asked = asked.clone();
        service_fn(move |_: Request<Full<Bytes>>| {
            asked.fetch_add(1, Ordering::SeqCst);
            async {
                tokio::time::sleep(Duration::from_millis(100)).await;
                let response = Response::builder().header("cache-control", "max-age=600");
                Ok::<_, Infallible>(response.body(Full::from(noise(9, 60_000))).expect("fine"))
            }
        })
    };
    let service = layer.layer(origin);
    let get = async |path: &str| {
        let request = Request::get(format!("http://a.example{path}")).body(Full::default());
        let response = service.clone().oneshot(request.expect("a request")).await;
        let response = response.expect("no request fails");
        let is_hit = response.body().status().is_hit();
        let body = response.into_body().collect().await.expect("no body fails").to_bytes();
        assert!(body == noise(9, 60_000));
        is_hit
    };
    let lines = std::io::stdin().lines().map_while(Result::ok);
    for line in lines {
        let (what, path) = line.split_once(' ').expect("what and where");
        let answer = match what {
            // How often so many at once reach the origin.
            "burst" => {
                let before = asked.load(Ordering::SeqCst);
                let all = (0..500).map(|_| get(path));
                futures_util::future::join_all(all).await;
                layer.handle().sync().await.expect("sync");
                (asked.load(Ordering::SeqCst) - before) as u64
            }
            "hit" => u64::from(get(path).await),
            // When the purge was done.
            "purge" => {
                let purge = Purge::url(&format!("http://a.example{path}")).expect("a URL");
                layer.handle().purge(purge).await.expect("Redis is told");
                now()
            }
            // When the last hit was before there was none.
            _ => {
                println!("> 0");
                let mut last = now();
                while get(path).await {
                    last = now();
                    tokio::time::sleep(Duration::from_micros(200)).await;
                }
                last
            }
        };
        println!("> {answer}");
    }
}

/// A thousand requests for a cold page, half of them in each of two processes, reach the origin once
/// in each at most; and what one purges the other serves for less than 100 milliseconds more, from
/// memory.
#[test]
fn processes_share_what_they_have() {
    if let Ok(child) = env::var(CHILD) {
        let (url, namespace) = child.split_once(' ').expect("a URL and a namespace");
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        let runtime = runtime.worker_threads(2).enable_all().build().expect("a runtime");
        return runtime.block_on(node(url, namespace));
    }
    let Some(url) = shared() else { return };
    let namespace = namespace();
    let mut nodes = [Node::start(url, &namespace), Node::start(url, &namespace)];
    let mut lags = Vec::new();
    for round in 0..5 {
        let path = format!("/{round}");
        nodes.iter_mut().for_each(|node| node.tell(&format!("burst {path}")));
        let asked: Vec<u64> = nodes.iter_mut().map(Node::hear).collect();
        assert!(asked.iter().all(|asked| *asked <= 1), "{asked:?}");
        assert!((1..=2).contains(&asked.iter().sum::<u64>()), "{asked:?}");
        let [a, b] = &mut nodes;
        for _ in 0..3 {
            assert_eq!(b.ask(&format!("hit {path}")), 1, "both have it, whoever asked");
        }
        assert_eq!(b.ask(&format!("watch {path}")), 0);
        let purged = a.ask(&format!("purge {path}"));
        lags.push(b.hear().saturating_sub(purged));
    }
    lags.sort_unstable();
    println!("microseconds after the purge: {lags:?}");
    assert!(lags[lags.len() / 2] < 100_000, "{lags:?}");
}
