//! A store in Redis beside the bare client.

use std::{
    hint::black_box,
    net::{Ipv4Addr, TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use bytes::Bytes;
use larder::{
    CacheManager, MemoryManager, Policy, RedisManager,
    storage::{RedisOptions, Tiered},
};
use redis::{Client, aio::MultiplexedConnection};

use super::{ask, get, median, place, put};

const ROUNDS: usize = 30;
const COUNT: usize = 200;

struct Server {
    child: Child,
    url: String,
}

impl Server {
    fn start() -> Option<Self> {
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).ok()?.local_addr().ok()?.port();
        let mut command = Command::new("redis-server");
        command.args(["--port", &port.to_string(), "--save", "", "--bind", "127.0.0.1"]);
        let child = command.stdout(Stdio::null()).spawn().ok()?;
        let server = Self { child, url: format!("redis://127.0.0.1:{port}/") };
        for _ in 0..500 {
            if TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok() {
                return Some(server);
            }
            thread::sleep(Duration::from_millis(10));
        }
        None
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) fn run() {
    let Some(server) = Server::start() else {
        println!("SKIPPED, no redis-server");
        return;
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a runtime");
    runtime.block_on(async {
        let client = Client::open(&*server.url).expect("a URL");
        let info = client.get_connection_info().clone();
        let tcp = info.tcp_settings().clone().set_nodelay(true);
        let client = Client::open(info.set_tcp_settings(tcp)).expect("a URL");
        let bare = client.get_multiplexed_async_connection().await.expect("a connection");
        // Whatever else the machine does: a look-up that is late is none.
        let options = RedisOptions::new().lookup_timeout(Duration::from_secs(5));
        let store = options.open(&server.url).expect("a URL");
        store.ready().await.expect("it is there");
        compare(bare, store).await;
    });
}

async fn compare(bare: MultiplexedConnection, store: RedisManager) {
    let policy = Policy::shared();
    let memory = MemoryManager::new(1 << 30);
    let tiered = Tiered::new(MemoryManager::new(1 << 30), store.clone());
    println!("µs a call");
    println!("          get: bare    redis           memory   tiered+redis");
    for (name, size) in [("1 KiB", 1 << 10), ("8 KiB", 8 << 10), ("64 KiB", 64 << 10)] {
        let body = Bytes::from((0..size).map(|n: usize| (n * n % 251) as u8).collect::<Vec<_>>());
        let names: Vec<usize> = (0..COUNT).map(|n| size * 1000 + n).collect();
        let asked: Vec<_> = names.iter().map(|n| ask(*n)).collect();
        for n in &names {
            let places = |secret| place(&policy, &ask(*n), size, secret);
            put(&store, places(store.secret()), &body).await;
            put(&memory, places(memory.secret()), &body).await;
            put(&tiered, places(tiered.secret()), &body).await;
        }
        let (keys, chunks) = keys(&bare, size).await;
        let mut times: [Vec<Duration>; 4] = Default::default();
        for _ in 0..ROUNDS {
            for (at, asked) in asked.iter().enumerate() {
                let began = std::time::Instant::now();
                let length = floor(&bare, &keys[at], chunks.get(at)).await;
                times[0].push(began.elapsed());
                assert!(length >= size);
                let began = std::time::Instant::now();
                assert_eq!(get(&store, &policy, asked).await, size);
                times[1].push(began.elapsed());
            }
            for asked in &asked {
                let began = std::time::Instant::now();
                assert_eq!(get(&memory, &policy, asked).await, size);
                times[2].push(began.elapsed());
                let began = std::time::Instant::now();
                assert_eq!(get(&tiered, &policy, asked).await, size);
                times[3].push(began.elapsed());
            }
        }
        let [a, b, c, d] = times.map(median);
        println!("{name:8} {a:10.1} {b:8.1} = {:4.2} {c:9.2} {d:8.2} = {:4.2}", b / a, d / c);
    }
}

/// Keys of records, and of the pieces of their bodies, of which each has one.
async fn keys(bare: &MultiplexedConnection, size: usize) -> (Vec<String>, Vec<String>) {
    let mut connection = bare.clone();
    let find = |pattern: &'static str| redis::cmd("KEYS").arg(pattern).to_owned();
    let all: Vec<String> = find("larder:{*}:i").query_async(&mut connection).await.expect("keys");
    let pieces: Vec<String> =
        find("larder:{*}:b:*").query_async(&mut connection).await.expect("keys");
    let mut records = Vec::new();
    for key in all {
        let length: usize = redis::cmd("HSTRLEN")
            .arg(&key)
            .arg("p")
            .query_async(&mut connection)
            .await
            .expect("a length");
        let is_small = size <= 16 << 10;
        if (is_small && length > size && length < size + 4096) || (!is_small && length < 1024) {
            records.push(key);
        }
    }
    (records, if size > 16 << 10 { pieces } else { Vec::new() })
}

/// The commands of a look-up, and nothing else.
async fn floor(bare: &MultiplexedConnection, key: &str, chunk: Option<&String>) -> usize {
    let mut connection = bare.clone();
    let mut command = redis::cmd("HMGET");
    command.arg(key).arg("g").arg("i").arg("p");
    let found: Vec<Vec<u8>> = command.query_async(&mut connection).await.expect("found");
    let mut length = found.iter().map(Vec::len).sum();
    black_box(found);
    if let Some(chunk) = chunk {
        let found: Vec<u8> =
            redis::cmd("GET").arg(chunk).query_async(&mut connection).await.expect("found");
        length += black_box(found).len();
    }
    length
}
