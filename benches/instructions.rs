//! How many instructions a hit takes, by callgrind: figures that do not depend on what else the machine
//! does.
//!
//! `cargo bench --bench instructions --features redis` counts, and compares with `benches/instructions.txt`;
//! `cargo bench --bench instructions --features redis -- --record` writes that file. Where there is no valgrind it says so
//! and does nothing. Another compiler or C library gives other figures, so that only a count that has grown
//! by more than a quarter is an error, or an allocation more.

#[path = "support/subjects.rs"]
mod subjects;
mod support;

use std::{
    collections::BTreeMap,
    env, fs,
    future::poll_fn,
    hint::black_box,
    iter,
    path::Path,
    pin::Pin,
    process::{Command, ExitCode},
    sync::Arc,
    time::Instant,
};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, Uri, header};
use http_body::{Body, SizeHint};
use http_body_util::Empty;
use larder::{CacheLayer, CacheManager, MemoryManager, Policy, policy::Begin};
use tower::{Layer, Service};

use self::subjects::{
    Floor, Handler, Insert, Streaming, URI, call, call_with, first_frame, no_store, now, post,
    request,
};

const CALLS: u32 = 500;
/// Calls before, that store what is then asked for.
const WARM: u32 = 10;
/// So much more than was recorded is an error.
const MARGIN: f64 = 1.25;
const SUBJECTS: [&str; 22] = [
    "request alone",
    "floor",
    "hit",
    "hit, Cache-Status",
    "hit, extension",
    "hit, 304",
    "hit, variant",
    "hit, path and Host",
    "hit, first of an entry",
    "inner service alone",
    "bypass",
    "bypass, without a cache",
    "no-store",
    "no-store, without a cache",
    "POST",
    "POST, without a cache",
    "miss",
    "miss, floor",
    "first frame of 10 MiB",
    "first frame, alone",
    "get and read, memory",
    TIERED,
];
/// Needs the feature `redis`, and no server.
const TIERED: &str = "get and read, tiered";

const FLOOR: usize = 1;

type Call = Box<dyn FnMut() -> usize>;

fn subject(name: &str) -> Call {
    const SIZE: usize = 1 << 10;
    let uri = Uri::from_static(URI);
    let layer = || CacheLayer::new(MemoryManager::new(64 << 20)).policy(Policy::shared());
    let handler = Handler::new(SIZE);
    let cached = |layer: CacheLayer<MemoryManager>| -> Call {
        let (mut service, uri) = (layer.layer(handler.clone()), uri.clone());
        Box::new(move || call(&mut service, &uri))
    };
    let with = |field: header::HeaderName, value: String, handler: Handler| -> Call {
        let (mut service, uri) = (layer().layer(handler), uri.clone());
        let value: HeaderValue = value.parse().expect("it is a value");
        Box::new(move || {
            let mut request = request(&uri);
            request.headers_mut().insert(field.clone(), value.clone());
            call_with(&mut service, request)
        })
    };
    match name {
        "request alone" => Box::new(move || drop_it(request(&uri))),
        "inner service alone" => {
            let mut handler = handler;
            Box::new(move || call(&mut handler, &uri))
        }
        "floor" => {
            let mut floor = Floor::new(handler, &uri);
            Box::new(move || call(&mut floor, &uri))
        }
        "hit" => cached(layer()),
        "hit, Cache-Status" => cached(layer().cache_status_header("larder")),
        "hit, extension" => cached(layer().cache_status_extension(true)),
        "hit, 304" => {
            let tag = handler.headers[header::ETAG].to_str().expect("it is text").to_owned();
            with(header::IF_NONE_MATCH, tag, handler.clone())
        }
        "hit, variant" => {
            let mut varying = handler.clone();
            Arc::make_mut(&mut varying.headers)
                .insert(header::VARY, HeaderValue::from_static("accept-language"));
            with(header::ACCEPT_LANGUAGE, "en".to_owned(), varying)
        }
        // As HTTP/1 has it.
        "hit, path and Host" => {
            let (mut service, path) = (layer().layer(handler), uri.path_and_query().cloned());
            let uri = Uri::from(path.expect("there is one"));
            let host = HeaderValue::from_static("127.0.0.1:3000");
            Box::new(move || {
                let mut request = request(&uri);
                request.headers_mut().insert(header::HOST, host.clone());
                call_with(&mut service, request)
            })
        }
        "hit, first of an entry" => {
            let mut service = layer().layer(handler.clone());
            let uris = uris();
            for uri in &*uris {
                call(&mut service, uri);
            }
            let mut next = 0;
            Box::new(move || {
                next += 1;
                call(&mut service, &uris[next])
            })
        }
        "bypass" => with(header::UPGRADE, "websocket".to_owned(), handler.clone()),
        "bypass, without a cache" => {
            let mut handler = handler;
            let value = HeaderValue::from_static("websocket");
            Box::new(move || {
                let mut request = request(&uri);
                request.headers_mut().insert(header::UPGRADE, value.clone());
                call_with(&mut handler, request)
            })
        }
        "no-store" => {
            let mut service = layer().layer(handler);
            Box::new(move || call_with(&mut service, no_store(&uri)))
        }
        "no-store, without a cache" => {
            let mut handler = handler;
            Box::new(move || call_with(&mut handler, no_store(&uri)))
        }
        "POST" => {
            let mut service = layer().layer(handler);
            Box::new(move || call_with(&mut service, post(&uri)))
        }
        "POST, without a cache" => {
            let mut handler = handler;
            Box::new(move || call_with(&mut handler, post(&uri)))
        }
        "miss" => each_once(layer().layer(Handler::owning(SIZE))),
        "miss, floor" => each_once(Insert::new(Handler::owning(SIZE), 4 * CALLS as usize)),
        "first frame of 10 MiB" => {
            // With room for it.
            let store = MemoryManager::new(128 << 20);
            let mut service = CacheLayer::new(store).layer(Streaming::new());
            let mut uris = uris().into_iter();
            Box::new(move || first_frame(&mut service, &uris.next().expect("there are enough")))
        }
        "first frame, alone" => {
            let mut service = Streaming::new();
            Box::new(move || first_frame(&mut service, &uri))
        }
        "get and read, memory" => store_alone(MemoryManager::new(64 << 20)),
        #[cfg(feature = "redis")]
        TIERED => tiered(),
        _ => panic!("no such subject: {name}"),
    }
}

/// Memory before a Redis whose log of purges is trusted, and that is never asked.
#[cfg(feature = "redis")]
fn tiered() -> Call {
    use larder::{
        bus::WhenCutOff,
        storage::{RedisOptions, Tiered},
    };
    let options = RedisOptions::new().when_cut_off(WhenCutOff::Serve);
    let redis = options.open("redis://127.0.0.1:1/").expect("it is a URL");
    store_alone(Tiered::new(MemoryManager::new(64 << 20), redis))
}

/// What a layer asks a store for, without the layer.
fn store_alone<M: CacheManager>(store: M) -> Call {
    let uri = Uri::from_static(URI);
    let layer = CacheLayer::new(store.clone()).policy(Policy::shared());
    call(&mut layer.layer(Handler::new(1 << 10)), &uri);
    let (policy, (head, _)) = (Policy::shared(), request(&uri).into_parts());
    Box::new(move || {
        let begun = policy.begin(&head, &SizeHint::with_exact(0));
        let Begin::Lookup(lookup) = begun else { panic!("it is looked up") };
        let found = store.get_now(&lookup.wanted(&head.headers, store.secret()));
        let found = found.expect("it is known").expect("nothing fails");
        let entry = found.into_entry(0).expect("it is there");
        let mut body = store.read(&entry, 0..entry.response().length());
        let frame = now(poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)));
        black_box(frame)
            .map_or(0, |frame| frame.expect("it is whole").into_data().map_or(0, |data| data.len()))
    })
}

/// Enough of them for all calls.
fn uris() -> Vec<Uri> {
    let uris =
        (0..2 * CALLS + 100).map(|n| format!("http://a.example/some/path/{n:05}?with=query"));
    uris.map(|uri| uri.parse().expect("it is a URI")).collect()
}

/// Asks for another with each call.
fn each_once<S, B>(mut service: S) -> Call
where
    S: Service<Request<Empty<Bytes>>, Response = Response<B>> + 'static,
    S::Error: std::fmt::Debug,
    B: Body<Data = Bytes>,
    B::Error: std::fmt::Debug,
{
    let mut uris = uris().into_iter();
    Box::new(move || call(&mut service, &uris.next().expect("there are enough")))
}

fn drop_it<T>(value: T) -> usize {
    drop(black_box(value));
    0
}

/// What callgrind counts.
#[inline(never)]
fn measured(call: &mut Call) {
    for _ in 0..CALLS {
        black_box(call());
    }
}

/// Instructions of one call, `None` if there is no valgrind.
fn count(name: &str) -> Option<u64> {
    let this = env::current_exe().expect("it runs");
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null", "--collect-atstart=no"])
        .arg("--toggle-collect=*measured*")
        .arg(this)
        .args(["--run", name])
        .output()
        .ok()?;
    let text = String::from_utf8_lossy(&output.stderr);
    let collected = text.lines().find_map(|line| line.split("Collected :").nth(1));
    let all: u64 = collected.unwrap_or_else(|| panic!("{text}")).trim().parse().expect("a number");
    Some(all / u64::from(CALLS))
}

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    if let [run, name, rounds @ ..] = arguments.as_slice()
        && run == "--run"
    {
        let mut call = subject(name);
        for _ in 0..WARM {
            call();
        }
        measured(&mut call);
        // More of them to see its time: the fastest round is the one that nobody disturbed.
        let rounds = rounds.first().map_or(0, |rounds| rounds.parse().expect("a number"));
        let time = || {
            let start = Instant::now();
            measured(&mut call);
            start.elapsed() / CALLS
        };
        if let Some(fastest) = iter::repeat_with(time).take(rounds).min() {
            println!("{} ns", fastest.as_nanos());
        }
        return ExitCode::SUCCESS;
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/instructions.txt");
    let text = fs::read_to_string(&path).unwrap_or_default();
    let recorded = read(&text);
    let is_here = |name: &&&str| cfg!(feature = "redis") || **name != TIERED;
    let subjects = || SUBJECTS.iter().filter(is_here);
    let Some(counts) = subjects().map(|name| Counts::of(name)).collect::<Option<Vec<_>>>() else {
        println!("SKIPPED, no valgrind");
        return ExitCode::SUCCESS;
    };
    println!(
        "{:<24} {:>12} {:>8} {:>9} {:>12}",
        "", "instructions", "x floor", "change", "allocations"
    );
    let floor = counts[FLOOR].instructions as f64;
    let mut is_good = true;
    for (name, counts) in subjects().zip(&counts) {
        let ratio = counts.instructions as f64 / floor;
        let change = recorded.get(name).map(|before| {
            is_good &= counts.allocations <= before.allocations;
            counts.instructions as f64 / before.instructions as f64
        });
        is_good &= change.is_none_or(|change| change <= MARGIN);
        let change = change.map(|change| format!("{:+.1} %", (change - 1.0) * 100.0));
        let Counts { instructions, allocations } = counts;
        let change = change.as_deref().unwrap_or("new");
        println!("{name:<24} {instructions:>12} {ratio:>8.2} {change:>9} {allocations:>12}");
    }
    if arguments.iter().any(|argument| argument == "--record") {
        let line = |(name, counts): (&&str, &Counts)| {
            format!("{:>7} {:>3}  {name}\n", counts.instructions, counts.allocations)
        };
        let lines: String = subjects().zip(&counts).map(line).collect();
        fs::write(&path, lines).expect("the file can be written");
    } else if !is_good {
        println!("more allocations than were recorded, or {MARGIN} times the instructions");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

/// What one call takes.
struct Counts {
    instructions: u64,
    allocations: u64,
}

impl Counts {
    /// `None` if there is no valgrind.
    fn of(name: &str) -> Option<Self> {
        let mut call = subject(name);
        for _ in 0..WARM {
            call();
        }
        let allocations = || {
            support::allocations(|| {
                call();
            })
        };
        // The fewest of some calls: a table that grows is not in each of them.
        let (allocations, _) = iter::repeat_with(allocations).take(101).min()?;
        Some(Self { instructions: count(name)?, allocations })
    }
}

fn read(text: &str) -> BTreeMap<&str, Counts> {
    let line = |line| -> Option<(&str, Counts)> {
        let (instructions, rest) = str::trim(line).split_once(' ')?;
        let (allocations, name) = rest.trim_start().split_once(' ')?;
        let instructions = instructions.parse().ok()?;
        let allocations = allocations.parse().ok()?;
        Some((name.trim_start(), Counts { instructions, allocations }))
    };
    text.lines().filter_map(line).collect()
}
