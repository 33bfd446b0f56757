//! The example `reverse_proxy` beside nginx (`proxy_cache`) and Varnish: hits of 1 KiB over loopback,
//! keep-alive, asked by `wrk -t2 -c64`.
//!
//! `cargo bench --bench proxies -- [ROUNDS [SECONDS]]`. In each of the five rounds every server is
//! asked for two seconds, in turns that change; all are up from the beginning, with configurations
//! that are written to a directory of their own, in memory where there is such a place, which Varnish's log
//! asks for; none writes an access log, but for that one, which is on by default. Ratios are those of a
//! round, and the median of them. The processor's time is the server's own, user and system, whatever
//! else the machine does. A server that is not there is SKIPPED; without wrk everything is.

use std::{
    collections::HashMap,
    env, fs,
    future::ready,
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;

const SIZE: usize = 1 << 10;
const NAMES: [&str; 3] = ["reverse_proxy", "nginx", "varnish"];

fn main() {
    let numbers: Vec<u64> = env::args().filter_map(|argument| argument.parse().ok()).collect();
    let (rounds, seconds) =
        (numbers.first().copied().unwrap_or(5), numbers.get(1).copied().unwrap_or(2));
    if Command::new("wrk").arg("--version").stdout(Stdio::null()).spawn().is_err() {
        println!("SKIPPED, no wrk");
        return;
    }
    let calls = Arc::new(AtomicUsize::new(0));
    let origin = origin(calls.clone());
    let place = Place::new();
    let servers = NAMES.map(|name| {
        let server = Server::start(name, origin, &place.0);
        match &server {
            Some(server) => server.is_cached(),
            None => println!("{name}: SKIPPED, it is not there or does not start"),
        }
        server
    });
    let before = calls.load(Ordering::Relaxed);
    let mut runs: [Vec<Run>; 3] = Default::default();
    for round in 0..rounds as usize {
        for turn in 0..servers.len() {
            let which = (round + turn) % servers.len();
            if let Some(server) = &servers[which] {
                runs[which].push(server.run(seconds));
            }
        }
    }
    assert_eq!(calls.load(Ordering::Relaxed), before, "all of them were hits");
    println!("1 KiB, {rounds} rounds    requests/s  reverse_proxy ÷ it   processor's µs a request");
    for (name, of_it) in NAMES.iter().zip(&runs).filter(|(_, of_it)| !of_it.is_empty()) {
        let ratios = runs[0].iter().zip(of_it).map(|(ours, its)| ours.rate / its.rate);
        let (rate, time) = (of_it.iter().map(|run| run.rate), of_it.iter().map(|run| run.time));
        let (rate, ratio, time) = (median(rate), median(ratios), median(time));
        println!("{name:<20} {rate:>12.0} {ratio:>20.2} {time:>26.2}");
    }
}

fn median(figures: impl Iterator<Item = f64>) -> f64 {
    let mut figures: Vec<f64> = figures.collect();
    figures.sort_unstable_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or(f64::NAN)
}

/// What one run of wrk came to.
struct Run {
    rate: f64,
    /// What the server took of the processor, in µs a request.
    time: f64,
}

struct Server {
    child: Child,
    port: u16,
}

impl Server {
    fn start(name: &str, origin: SocketAddr, place: &Path) -> Option<Self> {
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).ok()?.local_addr().ok()?.port();
        let place = place.join(name);
        fs::create_dir(&place).ok()?;
        let mut command = match name {
            "nginx" => nginx(port, origin, &place),
            "varnish" => varnish(port, origin, &place),
            _ => reverse_proxy(port, origin),
        };
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let server = Self { child: child.spawn().ok()?, port };
        let began = Instant::now();
        // Varnish compiles its configuration first.
        while began.elapsed() < Duration::from_secs(20) {
            if server.ask().is_some_and(|answer| answer.starts_with("HTTP/1.1 200")) {
                return Some(server);
            }
            thread::sleep(Duration::from_millis(20));
        }
        None
    }

    /// One response, as text.
    fn ask(&self) -> Option<String> {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).ok()?;
        let head = b"GET /page HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n";
        stream.write_all(head).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        Some(answer)
    }

    fn is_cached(&self) {
        for _ in 0..2 {
            let answer = self.ask().expect("it answers");
            let body = answer.split_once("\r\n\r\n").map(|(_, body)| body.len());
            assert_eq!(body, Some(SIZE), "{answer}");
        }
    }

    fn run(&self, seconds: u64) -> Run {
        let before = self.busy();
        let mut command = Command::new("wrk");
        command.args(["-t2", "-c64", &format!("-d{seconds}s"), "-H", "Host: a.example"]);
        let output = command.arg(format!("http://127.0.0.1:{}/page", self.port)).output();
        let after = self.busy();
        let output = String::from_utf8(output.expect("wrk runs").stdout).expect("it is text");
        let has_failed = output.contains("Socket errors") || output.contains("Non-2xx");
        assert!(!has_failed, "{output}");
        let number = |before: &str, after: &str| -> f64 {
            let rest = output.split_once(after).expect("wrk says so").0;
            let text = rest.rsplit_once(before).expect("wrk says so").1;
            text.trim().parse().expect("a number")
        };
        let rate = output.rsplit_once("Requests/sec:").expect("wrk says so").1;
        let rate = rate.split_whitespace().next().and_then(|rate| rate.parse().ok());
        Run {
            rate: rate.expect("a number"),
            time: 1e6 * (after - before) / number("\n", " requests in "),
        }
    }

    /// The seconds that it and its children have taken of the processor.
    fn busy(&self) -> f64 {
        // `/proc/PID/stat`: PID (NAME) STATE PPID … UTIME STIME, in hundredths of a second.
        let mut processes = HashMap::new();
        for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
            let Ok(stat) = fs::read_to_string(entry.path().join("stat")) else { continue };
            let Some((_, rest)) = stat.rsplit_once(") ") else { continue };
            let fields: Vec<&str> = rest.split(' ').collect();
            let number = |at: usize| fields.get(at).and_then(|text: &&str| text.parse().ok());
            let id: Option<u64> = entry.file_name().to_str().and_then(|name| name.parse().ok());
            if let (Some(id), Some(parent)) = (id, number(1)) {
                let ticks = number(11).unwrap_or_default() + number(12).unwrap_or_default();
                processes.insert(id, (parent, ticks));
            }
        }
        let is_ours = |id: &u64| {
            let mut id = *id;
            while id != u64::from(self.child.id()) {
                match processes.get(&id) {
                    Some((parent, _)) => id = *parent,
                    None => return false,
                }
            }
            true
        };
        let ours = processes.iter().filter(|(id, _)| is_ours(id));
        ours.map(|(_, (_, ticks))| *ticks as f64 / 100.0).sum()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Asked to, so that it ends its children.
        let id = self.child.id().to_string();
        let _ = Command::new("kill").args(["-TERM", &id]).status();
        for _ in 0..100 {
            if self.child.try_wait().is_ok_and(|status| status.is_some()) {
                return;
            }
            thread::sleep(Duration::from_millis(20));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn reverse_proxy(port: u16, origin: SocketAddr) -> Command {
    let mut command = Command::new(env!("CARGO"));
    command.args(["build", "--release", "--example", "reverse_proxy"]);
    assert!(command.status().is_ok_and(|status| status.success()), "it is built");
    // This is `target/release/deps/proxies-…`.
    let mut path = env::current_exe().expect("it has a path");
    path.pop();
    path.pop();
    let mut command = Command::new(path.join("examples/reverse_proxy"));
    command.arg("--origin").arg(format!("http://{origin}"));
    command.arg("--listen").arg(format!("127.0.0.1:{port}"));
    command
}

fn nginx(port: u16, origin: SocketAddr, place: &Path) -> Command {
    let here = place.display();
    let configuration = format!(
        "daemon off;
worker_processes auto;
pid {here}/pid;
error_log {here}/error.log;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    sendfile off; # which is faster here
    keepalive_requests 1000000000;
    open_file_cache max=1000;
    client_body_temp_path {here}/client;
    proxy_temp_path {here}/proxy;
    fastcgi_temp_path {here}/fastcgi;
    uwsgi_temp_path {here}/uwsgi;
    scgi_temp_path {here}/scgi;
    proxy_cache_path {here}/cache keys_zone=pages:1m;
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass http://{origin};
            proxy_cache pages;
        }}
    }}
}}
"
    );
    let path = place.join("nginx.conf");
    fs::write(&path, configuration).expect("it is written");
    let mut command = Command::new("nginx");
    command.arg("-p").arg(place).arg("-c").arg(path);
    command
}

fn varnish(port: u16, origin: SocketAddr, place: &Path) -> Command {
    let mut command = Command::new("varnishd");
    command.args(["-F", "-j", "none", "-s", "malloc,64m"]);
    command.arg("-a").arg(format!("127.0.0.1:{port}"));
    command.arg("-b").arg(origin.to_string());
    command.arg("-n").arg(place);
    command
}

/// Where the servers have their files.
struct Place(PathBuf);

impl Place {
    fn new() -> Self {
        let shared = PathBuf::from("/dev/shm");
        let memory = if shared.is_dir() { shared } else { env::temp_dir() };
        let place = memory.join(format!("larder-proxies-{}", std::process::id()));
        fs::create_dir(&place).expect("a directory");
        Self(place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Gives 1 KiB that stays fresh, and counts how often.
fn origin(calls: Arc<AtomicUsize>) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    listener.set_nonblocking(true).expect("a socket");
    let address = listener.local_addr().expect("a port");
    let body = Bytes::from(vec![b'x'; SIZE]);
    let answer = move |_: Request<Incoming>| {
        calls.fetch_add(1, Ordering::Relaxed);
        let response = Response::builder()
            .header("content-type", "text/html; charset=utf-8")
            .header("cache-control", "public, max-age=3600")
            .header("etag", "\"33a64df551425fcc55e4d42a148795d9f25f89d4\"")
            .header("last-modified", "Wed, 21 Oct 2015 07:28:00 GMT")
            .body(Full::new(body.clone()));
        ready(response)
    };
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime").block_on(async {
            let listener = tokio::net::TcpListener::from_std(listener).expect("a socket");
            while let Ok((stream, _)) = listener.accept().await {
                let connection = http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service_fn(answer.clone()));
                tokio::spawn(async move { drop(connection.await) });
            }
        });
    });
    address
}
