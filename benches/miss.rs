//! What a miss costs beside the inner service alone and beside the floor's insert: a quick_cache look-up
//! that finds nothing, the inner service, a copy of its six fields and its body, the insert. And what a
//! request costs that is not for the cache, and the first byte of a large response over loopback.
//!
//! `cargo bench --bench miss`. Making the request and collecting the body are inside of every figure.
//!
//! * **Filling**: 100 000 responses of 1 KiB go into an empty cache that has room for them all, so that
//!   memory grows and nothing is evicted. The values of each response and its body are made anew, as those
//!   from a connection are. The subjects take turns of 4 000 in a process of their own, several times; a
//!   figure is the median of the turns.
//! * **Full**: a cache that holds some 4 000 responses, and evicts one for each that it takes. The inner
//!   service shares its values and its body, so that it costs next to nothing. Here stand the requests, too,
//!   that pass by. All run interleaved in one process; a figure is the median of the rounds.
//!
//! `-- NAME CALLS` runs one subject alone, for a profiler; `-- first-byte` the large response alone.

#[path = "support/subjects.rs"]
mod subjects;
mod support;

use std::{
    convert::Infallible,
    env,
    future::ready,
    hint::black_box,
    io::{Read, Write},
    net::SocketAddr,
    process::Command,
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{Request, Response, Uri, header};
use http_body::Frame;
use http_body_util::{Empty, StreamBody};
use hyper_util::{rt::TokioIo, service::TowerToHyperService};
use larder::{BoxError, CacheLayer, CacheService, MemoryManager};
use tokio::net::TcpListener;
use tower::{Layer, Service, service_fn};

use self::subjects::{Handler, Insert, call_with, no_store, passing, post, request};

const ROUNDS: usize = 31;
const CALLS: usize = 4_000;
const SIZE: usize = 1 << 10;
const HELD: usize = 4_000;
const FILLED: usize = 100_000;
/// Processes that fill.
const FILLS: usize = 5;
/// Each is asked for once.
const URIS: usize = ROUNDS * CALLS + 3 * HELD;

type Make = fn(&Uri) -> Request<Empty<Bytes>>;

/// Asks for one after the other of the URIs.
fn through<S, B>(mut service: S, make: Make, uris: &[Uri]) -> Box<dyn FnMut() -> usize + '_>
where
    S: Service<Request<Empty<Bytes>>, Response = Response<B>> + 'static,
    S::Error: std::fmt::Debug,
    B: http_body::Body<Data = Bytes>,
    B::Error: std::fmt::Debug,
{
    let mut uris = uris.iter().cycle();
    Box::new(move || call_with(&mut service, make(uris.next().unwrap())))
}

struct Subject<'a> {
    name: &'static str,
    /// Which one it is compared with, and how much it may cost beside it.
    beside: Option<(usize, f64)>,
    call: Box<dyn FnMut() -> usize + 'a>,
    times: Vec<Duration>,
    allocations: (u64, u64),
}

impl<'a> Subject<'a> {
    fn new(
        name: &'static str,
        beside: Option<(usize, f64)>,
        call: Box<dyn FnMut() -> usize + 'a>,
    ) -> Self {
        Self { name, beside, call, times: Vec::new(), allocations: (0, 0) }
    }

    fn run(&mut self, calls: usize) {
        let start = Instant::now();
        for _ in 0..calls {
            black_box((self.call)());
        }
        self.times.push(start.elapsed() / calls as u32);
    }

    /// The fewest of some calls: a table that grows is not in each of them.
    fn count(&mut self) {
        let count = || {
            support::allocations(|| {
                (self.call)();
            })
        };
        self.allocations = std::iter::repeat_with(count).take(9).min().unwrap_or_default();
    }
}

/// With room for so many kilobytes, each with its head.
fn cached(handler: &Handler, held: usize) -> CacheService<Handler, MemoryManager> {
    let manager = MemoryManager::with_max_entry_bytes(2048 * held as u64, 64 << 10);
    CacheLayer::new(manager).layer(handler.clone())
}

fn filling(uris: &[Uri]) -> Vec<Subject<'_>> {
    let inner = Handler::owning(SIZE);
    let floor = Insert::new(inner.clone(), 2 * FILLED);
    let subject = Subject::new;
    vec![
        subject("inner service, owned values", None, through(inner.clone(), request, uris)),
        subject("floor, filling", None, through(floor, request, uris)),
        subject(
            "larder, filling",
            Some((1, 1.3)),
            through(cached(&inner, 4 * FILLED), request, uris),
        ),
    ]
}

fn full(uris: &[Uri]) -> Vec<Subject<'_>> {
    let inner = Handler::new(SIZE);
    let cached = || cached(&inner, HELD);
    let floor = Insert::new(inner.clone(), HELD);
    let subject = Subject::new;
    vec![
        subject("inner service alone", None, through(inner.clone(), request, uris)),
        subject("floor, insert", None, through(floor, request, uris)),
        subject("larder, miss", Some((1, 1.3)), through(cached(), request, uris)),
        subject("inner, passing by", None, through(inner.clone(), passing, uris)),
        subject("larder, passing by", Some((3, 1.1)), through(cached(), passing, uris)),
        subject("inner, no-store", None, through(inner.clone(), no_store, uris)),
        subject("larder, no-store", Some((5, 1.1)), through(cached(), no_store, uris)),
        subject("inner, POST", None, through(inner.clone(), post, uris)),
        subject("larder, POST", Some((7, 1.1)), through(cached(), post, uris)),
    ]
}

fn main() {
    let uris: Vec<Uri> = (0..URIS)
        .map(|n| format!("http://a.example/some/path/{n:05}?with=query").parse().unwrap())
        .collect();
    let arguments: Vec<String> = env::args().skip(1).collect();
    let (mut fill, mut full) = (filling(&uris), full(&uris));
    match &arguments[..] {
        [name] if name == "--fill" => return told(&mut fill),
        [name, ..] if name == "first-byte" => return first_byte(),
        [name, calls, ..] => {
            let mut subjects = fill.iter_mut().chain(&mut full);
            if let Some(subject) = subjects.find(|subject| subject.name == name) {
                return subject.run(calls.parse().unwrap());
            }
        }
        _ => {}
    }
    for _ in 0..FILLS {
        hear(&mut fill);
    }
    println!(
        "1 KiB, one thread\n\nfilling an empty cache with {FILLED}, {FILLS} times, in turns of {CALLS}"
    );
    print(&mut fill);
    for subject in &mut full {
        // Until each cache is full.
        (0..2 * HELD).for_each(|_| assert_eq!((subject.call)(), SIZE));
        subject.count();
    }
    for _ in 0..ROUNDS {
        full.iter_mut().for_each(|subject| subject.run(CALLS));
    }
    println!("\na full cache, {ROUNDS} rounds of {CALLS}");
    print(&mut full);
    first_byte();
}

/// Fills, and says how long each turn took.
fn told(subjects: &mut [Subject<'_>]) {
    for turn in 0..FILLED / CALLS {
        for subject in &mut *subjects {
            subject.run(CALLS);
            if turn == 0 {
                subject.count();
            }
        }
    }
    for Subject { allocations: (count, bytes), times, .. } in subjects {
        let times: Vec<_> = times.iter().map(|time| time.as_nanos().to_string()).collect();
        println!("{count} {bytes} {}", times.join(" "));
    }
}

/// Has it filled in another process, whose memory has not been used before.
fn hear(subjects: &mut [Subject<'_>]) {
    let this = env::current_exe().unwrap();
    let output = Command::new(this).arg("--fill").output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(text.lines().count(), subjects.len());
    for (subject, line) in subjects.iter_mut().zip(text.lines()) {
        let numbers: Vec<u64> = line.split(' ').map(|number| number.parse().unwrap()).collect();
        let [count, bytes, times @ ..] = &numbers[..] else { panic!("{line}") };
        subject.allocations = (*count, *bytes);
        subject.times.extend(times.iter().copied().map(Duration::from_nanos));
    }
}

fn print(subjects: &mut [Subject<'_>]) {
    println!("{:<28} {:>8} {:>14}  allocations / bytes", "", "ns", "x (at most)");
    let medians: Vec<Duration> =
        subjects.iter_mut().map(|subject| median(&mut subject.times)).collect();
    for (subject, time) in subjects.iter().zip(&medians) {
        let ratio = subject.beside.map_or(String::new(), |(other, most)| {
            format!("{:.2} ({most})", time.as_secs_f64() / medians[other].as_secs_f64())
        });
        let (name, (count, bytes)) = (subject.name, subject.allocations);
        println!("{name:<28} {:>8} {ratio:>14}  {count} / {bytes}", time.as_nanos());
    }
}

fn median(times: &mut [Duration]) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

/// 10 MiB in frames of 64 KiB, over HTTP/1.1 on loopback; the requests alternate, and so does who is
/// first. Each comes after 10 MiB of another's, so that nothing of what it takes is in the processor's
/// caches.
fn first_byte() {
    const FRAME: usize = 64 << 10;
    const FRAMES: usize = 160;
    const REQUESTS: usize = 101;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let frame = Bytes::from(vec![b'x'; FRAME]);
    let origin = service_fn(move |_: Request<hyper::body::Incoming>| {
        let frames = (0..FRAMES).map({
            let frame = frame.clone();
            move |_| Ok::<_, BoxError>(Frame::data(Bytes::copy_from_slice(&frame)))
        });
        let response = Response::builder()
            .header(header::CACHE_CONTROL, "max-age=3600")
            .header(header::CONTENT_LENGTH, FRAME * FRAMES);
        ready(Ok::<_, Infallible>(
            response.body(StreamBody::new(futures_util::stream::iter(frames))).unwrap(),
        ))
    });
    let cache = CacheLayer::new(MemoryManager::new(128 << 20)).layer(origin.clone());
    let mut clients = [(serve(&runtime, origin), false), (serve(&runtime, cache), true)].map(
        |(address, is_cached)| {
            let stream = std::net::TcpStream::connect(address).unwrap();
            stream.set_nodelay(true).unwrap();
            (stream, is_cached, Vec::new())
        },
    );
    let mut buffer = vec![0; FRAME];
    for number in 0..REQUESTS {
        clients.rotate_left(1);
        for (stream, _, times) in &mut clients {
            let head = format!("GET /{number} HTTP/1.1\r\nhost: a.example\r\n\r\n");
            let start = Instant::now();
            stream.write_all(head.as_bytes()).unwrap();
            let mut seen = 0;
            let head = loop {
                let count = stream.read(&mut buffer[seen..]).unwrap();
                assert!(count > 0, "the head was cut");
                seen += count;
                let end = buffer[..seen].windows(4).position(|window| window == b"\r\n\r\n");
                if let Some(end) = end.filter(|end| end + 4 < seen) {
                    break end + 4;
                }
            };
            times.push(start.elapsed());
            let mut left = FRAME * FRAMES - (seen - head);
            while left > 0 {
                let count = stream.read(&mut buffer).unwrap();
                assert!(count > 0, "the body was cut");
                left -= count;
            }
        }
    }
    clients.sort_by_key(|(_, is_cached, _)| *is_cached);
    let [(.., without), (.., with)] = &mut clients;
    let ratios = with.iter().zip(&*without).map(|(with, without)| with.div_duration_f64(*without));
    let mut ratios: Vec<f64> = ratios.collect();
    ratios.sort_unstable_by(f64::total_cmp);
    let (ratio, without, with) = (ratios[ratios.len() / 2], median(without), median(with));
    println!("\nfirst byte of 10 MiB: {with:.1?}, without {without:.1?}: {ratio:.3} (1.05)");
}

fn serve<S, B>(runtime: &tokio::runtime::Runtime, service: S) -> SocketAddr
where
    S: Service<Request<hyper::body::Incoming>, Response = Response<B>, Error = Infallible>
        + Clone
        + Send
        + 'static,
    S::Future: Send + 'static,
    B: http_body::Body<Data = Bytes, Error = BoxError> + Send + 'static,
{
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
    let address = listener.local_addr().unwrap();
    runtime.spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            stream.set_nodelay(true).unwrap();
            let service = TowerToHyperService::new(service.clone());
            let builder = hyper::server::conn::http1::Builder::new();
            tokio::spawn(async move {
                let _ = builder.serve_connection(TokioIo::new(stream), service).await;
            });
        }
    });
    address
}
