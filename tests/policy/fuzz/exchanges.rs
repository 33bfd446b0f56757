//! Whole exchanges through the layer: several users who ask at once, an origin that says odd things,
//! and time that passes.

use std::{
    future::poll_fn,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::BodyExt;
use larder::{CacheLayer, CacheService, Clock, MemoryManager, Policy};
use tower::{Layer, Service};

use super::{
    super::support::{
        self, Origin, OriginError, TestBody, TestClock, channel, later::Later, status,
    },
    mutate::Numbers,
    text::{pick, text, value},
};

/// How many answers were not made for whoever got them.
pub static REUSED: AtomicU64 = AtomicU64::new(0);

/// What the origin remembers of a response that it has made.
struct Made {
    path: String,
    /// The request that it was for; none for one that the cache has made by itself.
    request: Option<usize>,
    /// Nobody else may ever get it.
    is_for_one: Option<&'static str>,
    /// From when on it was good, as far as the origin has ever said: seconds since the start.
    good_since: i64,
}

#[derive(Default)]
struct World {
    made: Vec<Made>,
    is_open: bool,
}

const CONTROLS: [&str; 24] = [
    "max-age=60",
    "max-age=10",
    "public",
    "s-maxage=20",
    "must-revalidate",
    "no-cache",
    "immutable",
    "stale-while-revalidate=30",
    "stale-if-error=30",
    "no-cache=\"set-cookie\"",
    "private=\"x-a\"",
    "max-age=\"20\"",
    "max-age=x",
    "foo=\"a, b",
    "foo=\"a, b\"",
    "max-age=100",
    ", ",
    ", ",
    ", ",
    ", ",
    "=",
    "\"",
    ";",
    "must-understand",
];
const ASKED: [&str; 12] = [
    "no-cache",
    "max-age=0",
    "max-age=30",
    "min-fresh=5",
    "max-stale",
    "max-stale=20",
    "no-store",
    "only-if-cached",
    ", ",
    ", ",
    "x",
    "=",
];

/// Nothing is stored after `no-store`, `Age` is never below the truth, nothing private is served to
/// another, nothing from before an unsafe request is served after it, and a body is that of its head.
pub fn exchange(numbers: &mut Numbers) -> Result<(), String> {
    let is_shared = numbers.below(4) > 0;
    let mut policy = if is_shared { Policy::shared() } else { Policy::private() };
    if numbers.below(3) == 0 {
        policy = policy.stale_while_revalidate(Duration::from_secs(15));
    }
    if numbers.below(3) == 0 {
        policy =
            policy.stale_on_disconnect(Duration::from_secs(15)).default_ttl(Duration::from_secs(9));
    }
    let (clock, later, origin) = (TestClock::new(), Later::default(), Origin::new());
    let layer = CacheLayer::new(MemoryManager::new(1 << 20)).policy(policy);
    let service = layer.clock(clock.clone()).executor(later.clone()).layer(origin.clone());
    let start = clock.now();
    let world = Arc::new(Mutex::new(World::default()));
    origin.on_later({
        let (world, clock) = (world.clone(), clock.clone());
        let mut numbers = Numbers::new(numbers.next());
        move |request| {
            let now = clock.now().since(start);
            let made = respond(&mut numbers, &mut world.lock().unwrap(), request, &clock, now);
            let (mut made, world) = (Some(made), world.clone());
            poll_fn(move |_| match world.lock().unwrap().is_open {
                true => Poll::Ready(made.take().expect("it is polled once")),
                false => Poll::Pending,
            })
        }
    });

    let (mut written, mut next) = ([0; 2], 0);
    for _ in 0..2 + numbers.below(5) {
        clock.advance(Duration::from_secs([0, 1, 5, 11, 40, 70][numbers.below(6)]));
        let now = clock.now().since(start);
        let path = numbers.below(2);
        if numbers.below(10) == 0 {
            world.lock().unwrap().is_open = true;
            let request = request("POST", path, next);
            next += 1;
            let answers = run(vec![ask(&service, request)], &later, || {})?;
            if answers.iter().flatten().any(|answer| answer.0 == 200) {
                written[path] = world.lock().unwrap().made.len();
            }
            continue;
        }
        world.lock().unwrap().is_open = false;
        let together = 1 + numbers.below(3);
        let (mut asking, mut ids) = (Vec::new(), Vec::new());
        for _ in 0..together {
            let method = if numbers.below(8) == 0 { "HEAD" } else { "GET" };
            let mut request = request(method, path, next);
            let fields = request.headers_mut();
            match numbers.below(4) {
                0 => fields.append("authorization", value(pick(numbers, &["a", "b"]))),
                1 => fields.append("cookie", value(pick(numbers, &["a=1", "b=1"]))),
                _ => false,
            };
            let more = ["cache-control", "if-none-match", "range", "accept-encoding", "pragma"];
            if numbers.below(3) == 0 {
                let name = more[numbers.below(more.len())];
                let written = match name {
                    "cache-control" => text(numbers, &ASKED, 3),
                    "if-none-match" => format!("\"{}\"", numbers.below(6)),
                    "range" => {
                        pick(numbers, &["bytes=0-1", "bytes=1-", "bytes=-1", "bytes=9-"]).to_owned()
                    }
                    "accept-encoding" => pick(numbers, &["gzip", "br, gzip", ";"]).to_owned(),
                    _ => "no-cache".to_owned(),
                };
                fields.append(name, value(&written));
            }
            ids.push((next, method, fields.get("range").is_some()));
            next += 1;
            asking.push(ask(&service, request));
        }
        let answers = run(asking, &later, || world.lock().unwrap().is_open = true)?;
        let world = world.lock().unwrap();
        for ((id, method, is_part), answer) in ids.into_iter().zip(answers) {
            let Some((code, headers, body)) = answer else { continue };
            let about = || format!("{method} {path}, request {id}: {code} {headers:?} {body:?}");
            let field = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
            let Some(serial) = field("x-serial").and_then(|text| text.parse::<usize>().ok()) else {
                continue;
            };
            let whole = contents(serial);
            let is_its_body = match (method, code) {
                ("HEAD", _) => body.is_empty(),
                (_, 200 | 203 | 404 | 503) => body == whole,
                (_, 206) if is_part => whole.contains(&body),
                _ => true,
            };
            let made = &world.made[serial];
            if !is_its_body || made.path != format!("/{path}") {
                return Err(format!("another body: {}", about()));
            }
            if made.request == Some(id) {
                continue;
            }
            REUSED.fetch_add(1, Ordering::Relaxed);
            match made.is_for_one {
                Some("no-store") => return Err(format!("stored: {}", about())),
                Some(why) if is_shared => return Err(format!("shared though {why}: {}", about())),
                _ => {}
            }
            if serial < written[path] {
                return Err(format!("from before it was written to: {}", about()));
            }
            let truth = now.as_secs() as i64 - made.good_since;
            // Who read along of what just came sees it as it came.
            let age = field("age").and_then(|age| age.parse::<i64>().ok()).unwrap_or(0);
            if age < truth {
                return Err(format!("Age below {truth}: {}", about()));
            }
        }
    }
    Ok(())
}

fn request(method: &str, path: usize, id: usize) -> Request<http_body_util::Full<Bytes>> {
    support::with(support::request(method, &format!("/{path}")), &[("x-request", &id.to_string())])
}

fn contents(serial: usize) -> String {
    format!("<{serial}>")
}

type Answer = (u16, HeaderMap, String);
type Asking = Pin<Box<dyn Future<Output = Result<Option<Answer>, String>>>>;

fn ask(
    service: &CacheService<Origin, MemoryManager>,
    request: Request<http_body_util::Full<Bytes>>,
) -> Asking {
    let mut service = service.clone();
    Box::pin(async move {
        let Ok(response) = service.call(request).await else { return Ok(None) };
        let (head, body) = response.into_parts();
        let body = body.collect().await.map_err(|error| format!("a body failed: {error}"))?;
        let body = String::from_utf8_lossy(&body.to_bytes()).into_owned();
        Ok(Some((head.status.as_u16(), head.headers, body)))
    })
}

/// Polls all by turns, to their end; `open` is called when each has begun.
fn run(
    asking: Vec<Asking>,
    later: &Later,
    open: impl FnOnce(),
) -> Result<Vec<Option<Answer>>, String> {
    let mut running: Vec<_> = asking.into_iter().map(Some).collect();
    let mut answers: Vec<_> = running.iter().map(|_| None).collect();
    let mut open = Some(open);
    for _ in 0..500 {
        for (running, answer) in running.iter_mut().zip(&mut answers) {
            if let Some(asking) = running
                && let Poll::Ready(found) =
                    asking.as_mut().poll(&mut Context::from_waker(Waker::noop()))
            {
                *answer = found?;
                *running = None;
            }
        }
        if let Some(open) = open.take() {
            open();
        }
        later.go_on();
        if running.iter().all(Option::is_none) && later.is_idle() {
            return Ok(answers);
        }
    }
    Err("somebody waits for ever".to_owned())
}

fn respond(
    numbers: &mut Numbers,
    world: &mut World,
    request: &Request<()>,
    clock: &TestClock,
    now: Duration,
) -> Result<Response<TestBody>, OriginError> {
    let field = |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok());
    let path = request.uri().path().to_owned();
    if request.method() == "POST" {
        return Ok(status([200, 500][numbers.below(2)]).text(""));
    }
    // One that is no longer there to be asked.
    if numbers.below(12) == 0 {
        return Err(OriginError("refused"));
    }
    let serial = world.made.len();
    let known = field("if-none-match").and_then(|tag| tag.trim_matches('"').parse::<usize>().ok());
    let is_asked = |known: &usize| world.made.get(*known).is_some_and(|made| made.path == path);
    let is_same = known.filter(is_asked).filter(|_| numbers.below(2) == 0);
    let code = [200, 200, 200, 200, 203, 404, 503][numbers.below(7)];
    let is_part = is_same.is_none()
        && request.method() == "GET"
        && field("range") == Some("bytes=0-1")
        && numbers.below(2) == 0;
    let code = if is_part { 206 } else { code };
    let mut reply = match is_same {
        Some(_) => status(304),
        // What a HEAD brings may become the head of another body.
        None if request.method() == "HEAD" => status(code),
        None => status(code).header("x-serial", serial.to_string()),
    };
    let controls = text(numbers, &CONTROLS, 7);
    let mut is_for_one = None;
    if numbers.below(3) > 0 {
        reply = reply.cache_control(&controls);
    }
    let controls = controls.to_ascii_lowercase();
    match numbers.below(10) {
        0 if !controls.contains("must-understand") => {
            reply = reply.cache_control("no-store");
            is_for_one = Some("no-store");
        }
        1 => {
            reply = reply
                .cache_control(pick(numbers, &["private", "PRIVATE", "private=", "private=\""]));
            is_for_one = Some("private");
        }
        2 => {
            reply = reply.header("set-cookie", "a=1");
            is_for_one = Some("a cookie is set");
        }
        3 => {
            reply = reply.header("vary", pick(numbers, &["accept-encoding", "x-b", "*", "cookie"]))
        }
        _ => {}
    }
    let is_open =
        ["public", "must-revalidate", "s-maxage"].iter().any(|word| controls.contains(word));
    if is_for_one.is_none() && field("authorization").is_some() && !is_open {
        is_for_one = Some("authorised");
    }
    if field("cache-control").is_some_and(|said| said == "no-store") && is_same.is_none() {
        is_for_one = Some("no-store");
    }
    let age = if numbers.below(5) == 0 { numbers.below(30) as i64 } else { 0 };
    let good_since = now.as_secs() as i64 - age;
    if age > 0 {
        reply = reply.header("age", age.to_string());
    }
    if numbers.below(2) == 0 {
        let skew = [0, 0, 0, -20, 20, -100][numbers.below(6)];
        reply = reply.header("date", clock.date(skew));
        if numbers.below(3) == 0 {
            reply = reply.header("expires", clock.date(skew + numbers.below(50) as i64));
        }
        if numbers.below(3) == 0 {
            reply = reply.header("last-modified", clock.date(skew - numbers.below(900) as i64));
        }
    }
    if let Some(known) = is_same {
        let made = &mut world.made[known];
        made.good_since = made.good_since.max(good_since);
        return Ok(reply.header("etag", format!("\"{known}\"")).text(""));
    }
    let id = field("x-request").and_then(|text| text.parse().ok());
    world.made.push(Made { path, request: id, is_for_one, good_since });
    if request.method() == "HEAD" {
        // Which says of whatever has its length that it is good.
        for made in &mut world.made {
            made.good_since = made.good_since.max(good_since);
        }
        return Ok(reply.text(""));
    }
    if numbers.below(3) > 0 {
        reply = reply.header("etag", format!("\"{serial}\""));
    }
    let body = contents(serial);
    if is_part {
        let place = format!("bytes 0-1/{}", body.len());
        return Ok(reply.header("content-range", place).text(&body[..2]));
    }
    if numbers.below(3) > 0 {
        return Ok(reply.text(body));
    }
    let (sender, channel) = channel();
    let (first, rest) = body.split_at(1);
    sender.data(first.to_owned());
    sender.data(rest.to_owned());
    Ok(reply.body(channel))
}
