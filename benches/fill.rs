//! A thousand clients ask at once for what is not stored, from an origin that sends 64 KiB every
//! 20 ms; beside the same server without the layer, which answers all from one slow body.
//!
//! `cargo bench --bench fill`. The clients are a process of their own, connected beforehand, over
//! HTTP/1.1 on loopback. The runs alternate; a figure is the median of the rounds. How often the
//! origin is asked and that each client gets its own body is asserted; times and heap are printed.

#[path = "support/held.rs"]
mod held;

use std::{
    convert::Infallible,
    future::Future,
    io::{BufRead, BufReader, Write},
    net::SocketAddr,
    pin::Pin,
    process::{Command, Stdio},
    sync::{
        Arc, LazyLock, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use hyper_util::{rt::TokioIo, service::TowerToHyperService};
use larder::{BoxError, CacheLayer, MemoryManager, Policy};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
    time::{Sleep, sleep},
};
use tower::{Layer, Service};

const CLIENTS: usize = 1_000;
const ROUNDS: usize = 5;
const CHUNK: usize = 64 << 10;
const CHUNKS: usize = 16;
const OBJECT: usize = CHUNK * CHUNKS;
const PAUSE: Duration = Duration::from_millis(20);

static PATTERN: LazyLock<Vec<u8>> =
    LazyLock::new(|| (0..CHUNK + PERIOD).map(|at| (at % PERIOD) as u8).collect());
const PERIOD: usize = 251;

/// What stands in a part of the body that is made for `client`.
fn part(client: usize, number: usize) -> &'static [u8] {
    let start = (client + number) % PERIOD;
    &PATTERN[start..start + CHUNK]
}

/// A body that comes slowly. Each part is new memory, as from a connection.
struct Slow {
    client: usize,
    sent: usize,
    pause: Pin<Box<Sleep>>,
}

impl Slow {
    fn new(client: usize) -> Self {
        Self { client, sent: 0, pause: Box::pin(sleep(PAUSE)) }
    }
}

impl Body for Slow {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if self.sent == CHUNKS {
            return Poll::Ready(None);
        }
        ready!(self.pause.as_mut().poll(cx));
        let next = self.pause.deadline() + PAUSE;
        self.pause.as_mut().reset(next);
        let data = Bytes::copy_from_slice(part(self.client, self.sent));
        self.sent += 1;
        Poll::Ready(Some(Ok(Frame::data(data))))
    }

    fn is_end_stream(&self) -> bool {
        self.sent == CHUNKS
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(((CHUNKS - self.sent) * CHUNK) as u64)
    }
}

/// One slow body that all clients read, as simply as that can be done.
#[derive(Clone)]
struct Shared {
    come: Arc<Mutex<Vec<Bytes>>>,
    count: watch::Receiver<usize>,
}

impl Shared {
    fn new() -> Self {
        let (counts, count) = watch::channel(0);
        let come = Arc::<Mutex<Vec<Bytes>>>::default();
        let writing = come.clone();
        tokio::spawn(async move {
            let mut body = Slow::new(0);
            while let Some(Ok(frame)) =
                std::future::poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await
            {
                writing.lock().unwrap().extend(frame.into_data());
                counts.send_modify(|count| *count += 1);
            }
        });
        Self { come, count }
    }

    fn body(&self) -> impl Body<Data = Bytes, Error = BoxError> + Send + use<> {
        let reader = (self.clone(), 0);
        let frames = futures_util::stream::unfold(reader, |(mut shared, at)| async move {
            if at == CHUNKS {
                return None;
            }
            let come = shared.count.wait_for(|count| *count > at).await.map(|count| *count);
            let data = come.map(|_| shared.come.lock().unwrap()[at].clone());
            Some((data.map(Frame::data).map_err(Into::into), (shared, at + 1)))
        });
        http_body_util::StreamBody::new(frames)
    }
}

type AnyBody = http_body_util::combinators::UnsyncBoxBody<Bytes, BoxError>;

/// Answers after a pause, by a slow body.
#[derive(Clone)]
struct Origin {
    kind: Kind,
    calls: Arc<AtomicUsize>,
    shared: Arc<Mutex<Option<Shared>>>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    /// The same for all, and the layer is to share it.
    Public,
    /// The same for all, shared by the origin itself.
    SharedByItself,
    /// For each client another.
    Private,
}

impl Origin {
    fn new(kind: Kind) -> Self {
        Self { kind, calls: Arc::default(), shared: Arc::default() }
    }
}

impl<B> Service<Request<B>> for Origin {
    type Response = Response<AnyBody>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        use http_body_util::BodyExt;

        self.calls.fetch_add(1, Ordering::Relaxed);
        let client = request.headers()["x-client"].to_str().unwrap().parse().unwrap();
        let (kind, shared) = (self.kind, self.shared.clone());
        Box::pin(async move {
            sleep(PAUSE).await;
            let (cache_control, body) = match kind {
                Kind::Public => ("max-age=3600", Slow::new(0).boxed_unsync()),
                Kind::SharedByItself => {
                    let shared = shared.lock().unwrap().get_or_insert_with(Shared::new).clone();
                    ("max-age=3600", shared.body().boxed_unsync())
                }
                Kind::Private => ("private", Slow::new(client).boxed_unsync()),
            };
            let response = Response::builder()
                .header("cache-control", cache_control)
                .header("content-length", OBJECT);
            Ok(response.body(body).unwrap())
        })
    }
}

async fn serve<S, B>(listener: TcpListener, service: S)
where
    S: Service<Request<hyper::body::Incoming>, Response = Response<B>, Error = Infallible>
        + Clone
        + Send
        + 'static,
    S::Future: Send + 'static,
    B: Body<Data = Bytes, Error = BoxError> + Send + 'static,
{
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let service = TowerToHyperService::new(service.clone());
        tokio::spawn(async move {
            let builder = hyper::server::conn::http1::Builder::new();
            let _ = builder.serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

/// What the clients of one run saw, and what the server used.
#[derive(Debug)]
struct Run {
    first_byte: Duration,
    all: Duration,
    calls: usize,
    heap: usize,
}

fn run(kind: Kind, is_cached: bool) -> Run {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let origin = Origin::new(kind);
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
    let address = listener.local_addr().unwrap();
    if is_cached {
        let layer = CacheLayer::new(MemoryManager::new(64 << 20)).policy(Policy::shared());
        runtime.spawn(serve(listener, layer.layer(origin.clone())));
    } else {
        runtime.spawn(serve(listener, origin.clone()));
    }
    let mut clients = Command::new(std::env::current_exe().unwrap())
        .args([
            "--clients",
            &address.to_string(),
            if kind == Kind::Private { "own" } else { "one" },
        ])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(clients.stdout.take().unwrap()).lines();
    assert_eq!(said.next().unwrap().unwrap(), "connected");
    let before = held::mark();
    clients.stdin.take().unwrap().write_all(b"go\n").unwrap();
    let times = said.next().expect("a body was not as it should be").unwrap();
    assert!(clients.wait().unwrap().success());
    let heap = held::peak() - before;
    let mut times = times.split(' ').map(|micros| Duration::from_micros(micros.parse().unwrap()));
    let (first_byte, all) = (times.next().unwrap(), times.next().unwrap());
    Run { first_byte, all, calls: origin.calls.load(Ordering::Relaxed), heap }
}

/// The other process: connects, waits for the word, asks, compares what comes.
#[tokio::main(flavor = "current_thread")]
async fn clients(address: SocketAddr, is_own: bool) {
    let mut streams = Vec::with_capacity(CLIENTS);
    for _ in 0..CLIENTS {
        streams.push(TcpStream::connect(address).await.unwrap());
    }
    println!("connected");
    std::io::stdin().read_line(&mut String::new()).unwrap();
    let start = Instant::now();
    let clients: Vec<_> = streams
        .into_iter()
        .enumerate()
        .map(|(number, stream)| tokio::spawn(client(stream, number, is_own, start)))
        .collect();
    let mut first_bytes = Vec::with_capacity(CLIENTS);
    for client in clients {
        first_bytes.push(client.await.unwrap());
    }
    let all = start.elapsed();
    first_bytes.sort_unstable();
    println!("{} {}", first_bytes[CLIENTS / 2].as_micros(), all.as_micros());
}

/// When the first byte of the body came.
async fn client(mut stream: TcpStream, number: usize, is_own: bool, start: Instant) -> Duration {
    let head = format!("GET /object HTTP/1.1\r\nhost: a.example\r\nx-client: {number}\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut read = Vec::with_capacity(CHUNK);
    let start_of_body = loop {
        assert!(stream.read_buf(&mut read).await.unwrap() > 0, "the head was cut");
        if let Some(at) = read.windows(4).position(|window| window == b"\r\n\r\n") {
            break at + 4;
        }
    };
    assert!(read.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&read));
    let client = if is_own { number } else { 0 };
    // The buffer stays as large as it is.
    read.drain(..start_of_body);
    let (mut at, mut first_byte) = (0, None);
    loop {
        if !read.is_empty() {
            first_byte.get_or_insert_with(|| start.elapsed());
        }
        let mut rest = &read[..];
        while !rest.is_empty() {
            let (number, inside) = (at / CHUNK, at % CHUNK);
            let (now, later) = rest.split_at(rest.len().min(CHUNK - inside));
            assert!(now == &part(client, number)[inside..inside + now.len()], "at byte {at}");
            at += now.len();
            rest = later;
        }
        if at == OBJECT {
            return first_byte.unwrap();
        }
        read.clear();
        assert!(stream.read_buf(&mut read).await.unwrap() > 0, "cut at byte {at}");
    }
}

/// The median of a figure over the runs.
fn median<T: Ord + Copy>(runs: &[Run], figure: impl Fn(&Run) -> T) -> T {
    let mut all: Vec<T> = runs.iter().map(figure).collect();
    all.sort_unstable();
    all[all.len() / 2]
}

fn compare(name: &str, bare: Kind, cached: Kind) -> (Vec<Run>, Vec<Run>) {
    let (mut without, mut with) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        without.push(run(bare, false));
        with.push(run(cached, true));
    }
    println!("{name}");
    println!("{:>10} {:>14} {:>12} {:>8} {:>12}", "", "first byte", "all", "calls", "heap, KiB");
    for (name, runs) in [("without", &without), ("larder", &with)] {
        let (first_byte, all) = (median(runs, |run| run.first_byte), median(runs, |run| run.all));
        let (calls, heap) = (median(runs, |run| run.calls), median(runs, |run| run.heap >> 10));
        println!("{name:>10} {first_byte:>14.1?} {all:>12.1?} {calls:>8} {heap:>12}");
    }
    let ratio = |figure: fn(&Run) -> Duration| {
        median(&with, figure).as_secs_f64() / median(&without, figure).as_secs_f64()
    };
    let (first_byte, all) = (ratio(|run| run.first_byte), ratio(|run| run.all));
    println!("{:>10} {first_byte:>14.2} {all:>12.2}\n", "ratio");
    (without, with)
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if let [_, role, address, whose] = &arguments[..]
        && role == "--clients"
    {
        return clients(address.parse().unwrap(), whose == "own");
    }
    println!("{CLIENTS} clients, 1 MiB at 64 KiB every 20 ms; medians of {ROUNDS} rounds\n");
    let (without, with) = compare("public: one body for all", Kind::SharedByItself, Kind::Public);
    assert!(with.iter().all(|run| run.calls == 1), "the origin is asked once: {with:?}");
    let (bare, cached) = (median(&without, |run| run.heap), median(&with, |run| run.heap));
    let beyond = (cached as f64 - bare as f64) / OBJECT as f64;
    println!("heap beyond that without: {beyond:.2} objects\n");
    let (_, with) = compare("private: each its own", Kind::Private, Kind::Private);
    assert!(with.iter().all(|run| run.calls == CLIENTS), "each asks for itself: {with:?}");
}
