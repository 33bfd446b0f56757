//! What the rules cost: the decision of a fresh hit beside the whole hit, and what is read of a large
//! `Cache-Control`.
//!
//! `cargo bench --bench policy`. All subjects run interleaved in one process; a figure is the median of
//! the rounds.

mod support;

use std::{
    convert::Infallible,
    future::{Future, ready},
    hint::black_box,
    pin::pin,
    task::{Context, Poll, Waker},
    time::{Duration, Instant, SystemTime},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, Uri, header, request};
use http_body::SizeHint;
use http_body_util::{BodyExt, Empty, Full};
use larder::{
    CacheLayer, MemoryManager, Policy,
    policy::{Begin, Decision, Outcome, Secret, Stored, StoredResponse, Timestamp},
};
use tower::{Layer, Service, service_fn};

const ROUNDS: usize = 301;
const CALLS: u32 = 2_000;
const URI: &str = "http://a.example/some/path?with=query";
const BODY: &[u8] = &[b'x'; 1 << 10];

fn main() {
    hits();
    large_fields();
}

fn request(uri: &Uri) -> Request<Empty<Bytes>> {
    Request::get(uri.clone())
        .header(header::USER_AGENT, HeaderValue::from_static("bench"))
        .header(header::ACCEPT, HeaderValue::from_static("*/*"))
        .body(Empty::new())
        .expect("it is a request")
}

fn now<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => unreachable!("nothing here waits"),
    }
}

/// The first two questions, with what is `stored`.
fn decide(
    policy: &Policy,
    head: &mut request::Parts,
    stored: Stored<'_>,
    at: Timestamp,
) -> Decision {
    let Begin::Lookup(lookup) = policy.begin(head, &SizeHint::with_exact(0)) else {
        panic!("it is looked up")
    };
    lookup.decide(head, stored, at)
}

/// What a response with these fields is stored as, if it is.
fn store(policy: &Policy, fields: HeaderMap, at: Timestamp) -> Option<StoredResponse> {
    let (mut head, _) = request(&Uri::from_static(URI)).into_parts();
    let decision = decide(policy, &mut head, Stored::Nothing, at);
    let Decision::Forward(fetch) = decision else { panic!("nothing is stored") };
    let (mut head, ()) = Response::new(()).into_parts();
    head.headers = fields;
    let (size, secret) = (SizeHint::with_exact(BODY.len() as u64), Secret::from_bytes([0; 32]));
    match fetch.on_response(&mut head, &size, at, 0, &secret) {
        Outcome::Store(store) => Some(StoredResponse::new(store.into_parts().1, BODY.len() as u64)),
        _ => None,
    }
}

type Subject<'a> = (&'static str, Box<dyn FnMut() + 'a>);

fn hits() {
    let uri = Uri::from_static(URI);
    let inner = service_fn(|_: Request<Empty<Bytes>>| {
        let mut response = Response::new(Full::new(Bytes::from_static(BODY)));
        *response.headers_mut() = support::fields(BODY.len());
        ready(Ok::<_, Infallible>(response))
    });
    let mut cache = CacheLayer::new(MemoryManager::new(1 << 20)).layer(inner);
    let policy = Policy::shared();
    let at = Timestamp::from_wall(SystemTime::now());
    let stored = [store(&policy, support::fields(BODY.len()), at).expect("it is stored")];
    let (mut head, _) = request(&uri).into_parts();

    let mut subjects: [Subject<'_>; 4] = [
        ("the request alone", Box::new(|| drop(black_box(request(&uri))))),
        (
            "the first question",
            Box::new(|| {
                let (head, _) = request(&uri).into_parts();
                drop(black_box(policy.begin(&head, &SizeHint::with_exact(0))));
            }),
        ),
        (
            "the decision",
            Box::new(|| {
                let decision = decide(&policy, &mut head, Stored::Responses(&stored), at);
                let Decision::Serve(serve) = decision else { panic!("it is fresh") };
                drop(black_box(serve));
            }),
        ),
        (
            "the whole hit",
            Box::new(|| {
                let response = now(cache.call(black_box(request(&uri))));
                let (head, body) = response.unwrap_or_else(|never| match never {}).into_parts();
                drop(black_box(head));
                drop(black_box(now(body.collect()).expect("it is stored").to_bytes()));
            }),
        ),
    ];
    let mut times = subjects.each_ref().map(|_| Vec::new());
    for (_, call) in &mut subjects {
        call();
        call();
    }
    for _ in 0..ROUNDS {
        for ((_, call), times) in subjects.iter_mut().zip(&mut times) {
            let start = Instant::now();
            for _ in 0..CALLS {
                call();
            }
            times.push(start.elapsed() / CALLS);
        }
    }
    // The fastest round is the one that nothing else on the machine has disturbed.
    let fastest = times.map(|times| times.into_iter().min().unwrap_or_default());
    println!("fresh hit, one thread; the fastest of {ROUNDS} rounds of {CALLS} calls\n");
    println!("{:<20} {:>8} {:>10}  allocations / bytes", "subject", "ns", "x the hit");
    for ((name, call), time) in subjects.iter_mut().zip(fastest) {
        let share = time.as_secs_f64() / fastest[3].as_secs_f64();
        let (count, bytes) = support::allocations(call);
        println!("{name:<20} {:>8} {share:>10.2}  {count} / {bytes}", time.as_nanos());
    }
}

/// A field is read once, in a time that grows as it does, and above 64 KiB not at all; a hit on what came
/// with it reads nothing.
fn large_fields() {
    println!("\nCache-Control of many members: reading it, and a hit on what it came with\n");
    println!("{:>9} {:>12} {:>8} {:>9}  of", "bytes", "reading, us", "ns/byte", "hit, ns");
    let policy = Policy::shared();
    let at = Timestamp::from_wall(SystemTime::now());
    // The usual, and what makes a careless parser look twice: quotes that do not end, names behind
    // names, escapes of nothing, members of nothing.
    const MEMBERS: [&str; 6] = [
        ", x-extension=\"a, \\\" quoted, no-store text\"",
        ", x=\"",
        ";x",
        ", x=\"\\",
        ",=\"",
        ",,,,",
    ];
    let sizes = [1 << 10, 8 << 10, 63 << 10, 1 << 20];
    for (member, size) in MEMBERS.iter().flat_map(|member| sizes.map(|size| (member, size))) {
        let mut text = "max-age=3600".to_owned();
        while text.len() < size {
            text.push_str(member);
        }
        let mut headers = support::fields(BODY.len());
        headers.insert(header::CACHE_CONTROL, text.parse().expect("it is a value"));
        let read = || {
            let start = Instant::now();
            black_box(store(&policy, headers.clone(), at));
            start.elapsed()
        };
        let reading = median((0..ROUNDS).map(|_| read()).collect());
        let hit = store(&policy, headers.clone(), at).map(|stored| {
            let (stored, mut head) = ([stored], request(&Uri::from_static(URI)).into_parts().0);
            let mut hit = || {
                let start = Instant::now();
                for _ in 0..1000 {
                    drop(black_box(decide(&policy, &mut head, Stored::Responses(&stored), at)));
                }
                start.elapsed() / 1000
            };
            median((0..ROUNDS).map(|_| hit()).collect()).as_nanos().to_string()
        });
        println!(
            "{:>9} {:>12.1} {:>8.2} {:>9}  {member}",
            text.len(),
            reading.as_secs_f64() * 1e6,
            reading.as_secs_f64() * 1e9 / text.len() as f64,
            hit.as_deref().unwrap_or("unstored"),
        );
    }
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}
