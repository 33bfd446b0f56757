//! How many instructions a hit takes, by callgrind: figures that do not depend on what else the machine
//! does.
//!
//! `cargo bench --bench instructions` counts, and compares with `benches/instructions.txt`;
//! `cargo bench --bench instructions -- --record` writes that file. Where there is no valgrind it says so
//! and does nothing. Another compiler or C library gives other figures, so that only a count that has grown
//! by more than a quarter is an error.

#[path = "support/subjects.rs"]
mod subjects;
mod support;

use std::{
    collections::BTreeMap,
    env, fs,
    hint::black_box,
    iter,
    path::Path,
    process::{Command, ExitCode},
    sync::Arc,
    time::Instant,
};

use http::{HeaderValue, Uri, header};
use larder::{CacheLayer, MemoryManager, Policy};
use tower::Layer;

use self::subjects::{Floor, Handler, URI, call, call_with, request};

const CALLS: u32 = 500;
/// So much more than was recorded is an error.
const MARGIN: f64 = 1.25;
const SUBJECTS: [&str; 10] = [
    "request alone",
    "floor",
    "hit",
    "hit, Cache-Status",
    "hit, extension",
    "hit, 304",
    "hit, variant",
    "hit, first of an entry",
    "bypass",
    "inner service alone",
];

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
            varying.headers.insert(header::VARY, HeaderValue::from_static("accept-language"));
            with(header::ACCEPT_LANGUAGE, "en".to_owned(), varying)
        }
        "hit, first of an entry" => {
            let mut service = layer().layer(handler.clone());
            let uris: Arc<[Uri]> = (0..2 * CALLS + 100)
                .map(|n| format!("{URI}&n={n:05}").parse().expect("it is a URI"))
                .collect();
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
        _ => panic!("no such subject: {name}"),
    }
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
        for _ in 0..10 {
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
    let mut lines = String::new();
    let mut floor = None;
    let mut is_good = true;
    println!(
        "{:<24} {:>12} {:>9} {:>10} {:>8}",
        "subject", "instructions", "x floor", "recorded", "change"
    );
    let mut counts = Vec::new();
    for name in SUBJECTS {
        let Some(counted) = count(name) else {
            println!("SKIPPED, no valgrind");
            return ExitCode::SUCCESS;
        };
        if name == "floor" {
            floor = Some(counted);
        }
        counts.push((name, counted));
    }
    for (name, counted) in counts {
        let ratio = counted as f64 / floor.unwrap_or(1) as f64;
        let (before, change) = match recorded.get(name) {
            Some(before) => {
                let change = counted as f64 / *before as f64;
                is_good &= change <= MARGIN;
                (before.to_string(), format!("{:+.1} %", (change - 1.0) * 100.0))
            }
            None => ("-".to_owned(), "-".to_owned()),
        };
        println!("{name:<24} {counted:>12} {ratio:>9.2} {before:>10} {change:>8}");
        lines += &format!("{counted:>8}  {name}\n");
    }
    if arguments.iter().any(|argument| argument == "--record") {
        fs::write(&path, lines).expect("the file can be written");
    } else if !is_good {
        println!("more than {MARGIN} times what was recorded");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

fn read(text: &str) -> BTreeMap<&str, u64> {
    text.lines()
        .filter_map(|line| {
            let (count, name) = line.trim().split_once("  ")?;
            Some((name, count.parse().ok()?))
        })
        .collect()
}
