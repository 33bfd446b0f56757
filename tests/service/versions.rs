//! Random ranges, in random order, of a resource that changes, from an origin that does not always
//! answer what it is asked: every body is of one version.

use std::sync::{Arc, Mutex};

use http_body_util::{BodyExt, StreamBody};
use larder::{CacheManager, MemoryManager, Policy, storage::Tiered};
use proptest::{
    collection::vec,
    prelude::*,
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};
use tower::Service;

use super::spy::Spy;
use crate::support::{Cache, TestBody, cache_over, get, now_or_never, status, with};

const LENGTH: u64 = 1000;

/// Bytes that tell their version and their place.
fn bytes(version: u64, first: u64, end: u64) -> Vec<u8> {
    (first..end).map(|at| (at * 31 + at / 251 * 7 + version * 101) as u8).collect()
}

fn tag(version: u64) -> String {
    format!("\"{version}\"")
}

/// What the origin does.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Way {
    Right,
    /// Does not know ranges.
    Whole,
    /// Does not look at `If-Range`.
    Careless,
    /// Sends fewer bytes than it was asked for, and says so.
    Less,
    /// Sends other bytes, and says so.
    Other,
    /// Weak tags.
    Weak,
    /// Says nothing about the length of the whole.
    Unknown,
    /// Ends before its end, so many bytes in.
    Cut(u64),
    Error,
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Whole,
    From(u64, u64),
    Open(u64),
    Last(u64),
    Several(u64, u64),
    IfRange(u64, u64),
    Change,
    Wait(u64),
    Post,
}

fn way() -> impl Strategy<Value = Way> {
    prop_oneof![
        12 => Just(Way::Right),
        1 => Just(Way::Whole),
        1 => Just(Way::Careless),
        1 => Just(Way::Less),
        1 => Just(Way::Other),
        1 => Just(Way::Weak),
        1 => Just(Way::Unknown),
        2 => (0..LENGTH).prop_map(Way::Cut),
        1 => Just(Way::Error),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    // Places are few, so that ranges touch.
    let place = || (0..=20_u64).prop_map(|place| place * 50);
    let length = || prop_oneof![Just(1), Just(50), Just(51), Just(100), Just(400), Just(1000)];
    prop_oneof![
        3 => Just(Step::Whole),
        10 => (place(), length()).prop_map(|(first, length)| Step::From(first, length)),
        2 => place().prop_map(Step::Open),
        2 => length().prop_map(Step::Last),
        1 => (place(), place()).prop_map(|(one, two)| Step::Several(one, two)),
        1 => (place(), length()).prop_map(|(first, length)| Step::IfRange(first, length)),
        1 => Just(Step::Change),
        1 => (1..80_u64).prop_map(Step::Wait),
        1 => Just(Step::Post),
    ]
}

#[derive(Clone, Default)]
struct Origin(Arc<Mutex<(u64, Option<Way>)>>);

impl Origin {
    fn answer(&self, request: &http::Request<()>) -> http::Response<TestBody> {
        let (version, way) = *self.0.lock().unwrap();
        let way = way.unwrap_or(Way::Right);
        let field = |name| request.headers().get(name).map(|value| value.to_str().unwrap());
        let own = if way == Way::Weak { format!("W/{}", tag(version)) } else { tag(version) };
        let head = |code| status(code).cache_control("max-age=60").header("etag", &own);
        if request.method() == "POST" {
            return head(200).text("");
        }
        if way == Way::Error {
            return status(503).text("");
        }
        if field("if-none-match") == Some(&own) {
            return head(304).text("");
        }
        let is_same = field("if-range").is_none_or(|tag| tag == own) || way == Way::Careless;
        let range = field("range").filter(|_| is_same && way != Way::Whole);
        let range = range.and_then(|range| range.strip_prefix("bytes="));
        let (first, end) = match range.and_then(|range| range.split_once('-')) {
            _ if range.is_some_and(|range| range.contains(',')) => (0, LENGTH),
            None => (0, LENGTH),
            Some(("", count)) => (LENGTH - count.parse::<u64>().unwrap().min(LENGTH), LENGTH),
            Some((first, "")) => (first.parse().unwrap(), LENGTH),
            Some((first, last)) => {
                (first.parse().unwrap(), (last.parse::<u64>().unwrap() + 1).min(LENGTH))
            }
        };
        let (first, end) = match way {
            Way::Less if range.is_some() => {
                (first, first + (end.saturating_sub(first)).div_ceil(2))
            }
            Way::Other if range.is_some() => (first.saturating_sub(30), end),
            _ => (first, end),
        };
        if first >= end {
            return status(416).header("content-range", format!("bytes */{LENGTH}")).text("");
        }
        let content = bytes(version, first, end);
        let cut = match way {
            Way::Cut(at) => at.min(end - first),
            _ => end - first,
        };
        let head = match range {
            None => head(200),
            Some(_) => {
                let of = if way == Way::Unknown { "*".to_owned() } else { LENGTH.to_string() };
                head(206).header("content-range", format!("bytes {first}-{}/{of}", end - 1))
            }
        };
        // Sometimes the length is told, sometimes not.
        let head = match first % 100 {
            0 => head.header("content-length", content.len().to_string()),
            _ => head,
        };
        let is_cut = (cut as usize) < content.len();
        let chunks = content[..cut as usize].chunks(70).map(<[u8]>::to_vec).collect::<Vec<_>>();
        let frames = chunks.into_iter().map(|chunk| Ok(http_body::Frame::data(chunk.into())));
        let error = is_cut.then(|| Err::<_, larder::BoxError>("cut".into()));
        head.body(StreamBody::new(futures_util::stream::iter(frames.chain(error))))
    }
}

/// The first and last byte, and the length of all, that a 206 shows.
fn shown(answer: &http::response::Parts) -> (u64, u64) {
    let text = answer.headers["content-range"].to_str().unwrap();
    let (range, of) = text.strip_prefix("bytes ").unwrap().split_once('/').unwrap();
    assert!(of == "*" || of == LENGTH.to_string());
    let (first, last) = range.split_once('-').unwrap();
    (first.parse().unwrap(), last.parse::<u64>().unwrap() + 1)
}

/// How often what happened.
#[derive(Default, Debug)]
struct Tally {
    hits: u64,
    whole: u64,
    completed: u64,
    revalidated: u64,
    errors: u64,
    refused: u64,
}

async fn take<M: CacheManager>(cache: &Cache<M>, origin: &Origin, step: Step, tally: &mut Tally) {
    let range = match step {
        Step::Change => {
            origin.0.lock().unwrap().0 += 1;
            return;
        }
        Step::Wait(seconds) => return cache.clock.advance_secs(seconds),
        Step::Post => {
            cache.send(crate::support::request("POST", "/")).await;
            return;
        }
        Step::Whole => None,
        Step::From(first, length) | Step::IfRange(first, length) => {
            Some(format!("bytes={first}-{}", first + length - 1))
        }
        Step::Open(first) => Some(format!("bytes={first}-")),
        Step::Last(count) => Some(format!("bytes=-{count}")),
        Step::Several(one, two) => Some(format!("bytes={one}-{one},{two}-{}", two + 1)),
    };
    let (version, way) = *origin.0.lock().unwrap();
    let old = tag(version.saturating_sub(1));
    let mut fields: Vec<(&str, &str)> = range.iter().map(|range| ("range", &**range)).collect();
    if matches!(step, Step::IfRange(..)) {
        fields.push(("if-range", &old));
    }
    let answer = cache.service.clone().call(with(get("/"), &fields)).await.unwrap();
    let (head, body) = answer.into_parts();
    let cached = body.status();
    let told = head.headers.get("content-length").map(|length| length.to_str().unwrap().to_owned());
    let read = body.collect().await.map(http_body_util::Collected::to_bytes);
    let Ok(read) = read else {
        tally.errors += 1;
        assert!(matches!(way, Some(Way::Cut(_))), "{step:?} {way:?} {cached}");
        return;
    };
    assert!(told.is_none_or(|told| told == read.len().to_string()));
    let tag = head.headers.get("etag").map(|tag| tag.to_str().unwrap().trim_start_matches("W/"));
    let version = || tag.unwrap().trim_matches('"').parse::<u64>().unwrap();
    match head.status.as_u16() {
        200 => {
            assert!(read == bytes(version(), 0, LENGTH), "{step:?} {way:?} {cached}");
            tally.whole += 1;
        }
        206 if head.headers.contains_key("content-range") => {
            assert!(range.is_some(), "{step:?} {way:?} {cached}");
            let (first, end) = shown(&head);
            assert!(read == bytes(version(), first, end), "{step:?} {way:?} {cached} {first}");
            if let Step::From(wanted, length) = step
                // Who asked for a range may get less of it.
                && !matches!(way, Some(Way::Less | Way::Other | Way::Careless))
            {
                assert_eq!((first, end), (wanted, (wanted + length).min(LENGTH)));
            }
        }
        206 => assert!(matches!(step, Step::Several(..))),
        // Of an origin that has promised freshness, has changed, and sends a part of the new one.
        502 => {
            tally.refused += 1;
            let is_odd = matches!(way, Some(Way::Careless | Way::Less | Way::Other | Way::Weak))
                || way == Some(Way::Unknown);
            assert!(is_odd && range.is_none(), "{step:?} {way:?} {cached}");
        }
        304 | 416 | 503 => {}
        other => panic!("{other} {step:?} {way:?} {cached}"),
    }
    tally.hits += u64::from(cached.is_hit());
    tally.completed += u64::from(cached.to_string().starts_with("fwd=partial; fwd-status=206"));
    tally.revalidated += u64::from(cached.forward_status().is_some_and(|code| code == 304));
}

fn run(cases: u32, make: impl Fn() -> Cache<BoxedManager>) {
    let cases = std::env::var("LARDER_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(cases);
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[91; 32]);
    let tally = Mutex::new(Tally::default());
    let outcome =
        TestRunner::new_with_rng(config, rng).run(&vec((step(), way()), 1..24), |steps| {
            let cache = make();
            let origin = Origin::default();
            let own = origin.clone();
            cache.origin.on(move |request| own.answer(request));
            for (step, way) in steps {
                origin.0.lock().unwrap().1 = Some(way);
                let mut tally = tally.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
                now_or_never(take(&cache, &origin, step, &mut tally)).expect("nothing waits");
            }
            Ok(())
        });
    if let Err(problem) = outcome {
        panic!("{problem}");
    }
    let tally = tally.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner());
    println!("{tally:?}");
    let least = u64::from(cases) / 50;
    assert!(tally.hits > least && tally.whole > least && tally.completed > least, "{tally:?}");
    assert!(tally.revalidated > least / 4 && tally.errors > least, "{tally:?}");
}

type BoxedManager = larder::BoxManager;

fn boxed(manager: impl CacheManager) -> BoxedManager {
    BoxedManager::new(manager)
}

/// Behaviour 36; RFC 9111 §3.3, §3.4: never bytes of two versions in one body, never a part as the
/// whole, in any store.
#[test]
fn every_body_is_of_one_version() {
    run(1500, || cache_over(boxed(MemoryManager::new(1 << 20)), Policy::shared()));
    run(300, || cache_over(boxed(MemoryManager::new(1 << 20)), Policy::private()));
    run(300, || cache_over(boxed(Spy::new()), Policy::shared()));
    run(300, || {
        let tiers = Tiered::new(MemoryManager::new(1 << 20), Spy::new());
        cache_over(boxed(tiers), Policy::shared())
    });
}
