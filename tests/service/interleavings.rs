//! Fill, refresh, 304, purge, invalidation and look-up in any order of their steps, against a model
//! that knows when what was made: scenarios 0.4 and 4.4.

use std::{
    collections::{HashMap, HashSet},
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt, Full};
use larder::{CacheHandle, Policy, Purge};
use tower::Service;

use crate::{
    spy::Spy,
    support::{Cache, Origin, TestBody, cache_over, ok, request, status, with},
};

/// splitmix64.
#[derive(Clone)]
struct Random(Arc<Mutex<u64>>);

impl Random {
    fn below(&self, bound: u64) -> u64 {
        let mut state = self.0.lock().unwrap();
        *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = *state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }
}

/// Pending so many times.
struct Pause(u64);

impl Future for Pause {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        match self.0.checked_sub(1) {
            Some(left) => {
                self.0 = left;
                Poll::Pending
            }
            None => Poll::Ready(()),
        }
    }
}

/// A body whose frames come when they are asked for often enough.
struct Slow {
    pause: u64,
    frames: Vec<Bytes>,
}

impl http_body::Body for Slow {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if self.pause > 0 {
            self.pause -= 1;
            return Poll::Pending;
        }
        Poll::Ready(self.frames.pop().map(|data| Ok(Frame::data(data))))
    }
}

/// What happened when. Time is the number of the event.
#[derive(Default)]
struct Model {
    now: u64,
    /// When the origin made each body, by its number.
    made: Vec<u64>,
    /// For which place.
    made_for: Vec<usize>,
    /// Its tag there.
    tag_of: Vec<u64>,
    /// When the origin last said that a tag is good, by path.
    vouched: HashMap<(usize, u64), u64>,
    /// For which places it has.
    copied: HashSet<(usize, u64)>,
    /// What is there now, by path.
    versions: [u64; PATHS],
    purges: Vec<Done>,
}

const PATHS: usize = 3;
/// The last path has two variants, each of which can be purged by itself.
const PLACES: usize = 4;

fn place(path: usize, is_other: bool) -> usize {
    if is_other && path == PATHS - 1 { path + 1 } else { path }
}

fn places(path: usize) -> [bool; PLACES] {
    std::array::from_fn(|place| place.min(PATHS - 1) == path)
}

/// A purge, or an invalidation, that has returned.
struct Done {
    selects: [bool; PLACES],
    is_soft: bool,
    began: u64,
    ended: u64,
}

impl Model {
    fn tick(&mut self) -> u64 {
        self.now += 1;
        self.now
    }

    fn done(&mut self, selects: [bool; PLACES], is_soft: bool, began: u64) {
        let ended = self.tick();
        self.purges.push(Done { selects, is_soft, began, ended });
    }

    /// Whether a request that began then may have a body that was made so.
    fn check(&self, place: usize, began: u64, body: u64, seed: u64) {
        let path = place.min(PATHS - 1);
        let made = self.made[body as usize];
        let tag = self.tag_of[body as usize];
        let good = self.vouched.get(&(path, tag)).copied().unwrap_or_default().max(made);
        for done in &self.purges {
            let is_before = done.ended <= began && done.selects[place];
            // What is another variant, too, and was not purged as such, may be good for this place, if
            // the origin says so.
            let is_there = |other| {
                self.made_for[body as usize] == other || self.copied.contains(&(other, tag))
            };
            let is_other = (0..PLACES).any(|other| {
                other.min(PATHS - 1) == path && !done.selects[other] && is_there(other)
            });
            let since = if done.is_soft || is_other { good } else { made };
            assert!(
                !is_before || since > done.began,
                "seed {seed}: {place} gives {body} of {made} to a request of {began}, after a purge \
                 of {} to {} (soft: {})",
                done.began,
                done.ended,
                done.is_soft
            );
        }
    }
}

type Shared = Arc<Mutex<Model>>;
type Step = Pin<Box<dyn Future<Output = ()>>>;

fn script(origin: &Origin, model: &Shared, random: &Random) {
    let (model, random) = (model.clone(), random.clone());
    origin.on_later(move |request| {
        let path: usize = request.uri().path()[1..].parse().unwrap();
        let is_other = request.headers().get("accept").is_some_and(|accept| accept == "b");
        let place = place(path, is_other);
        let method = request.method().clone();
        let asked = request.headers().get("if-none-match").cloned();
        let (model, random) = (model.clone(), random.clone());
        async move {
            Pause(random.below(3)).await;
            let answer = answer(place, method.as_str(), asked, &model, &random);
            Pause(random.below(3)).await;
            Ok(answer)
        }
    });
}

fn answer(
    place: usize,
    method: &str,
    asked: Option<http::HeaderValue>,
    model: &Shared,
    random: &Random,
) -> Response<TestBody> {
    let path = place.min(PATHS - 1);
    let mut model = model.lock().unwrap();
    let now = model.tick();
    if method == "POST" {
        model.versions[path] += 1;
        return ok().text(now.to_string());
    }
    let version = model.versions[path];
    let tag = format!("\"{version}\"");
    if asked.is_some_and(|asked| asked == *tag) {
        model.vouched.insert((path, version), now);
        model.copied.insert((place, version));
        return status(304).header("etag", tag).text("");
    }
    let body = model.made.len() as u64;
    model.made.push(now);
    model.made_for.push(place);
    model.tag_of.push(version);
    let reply = ok().cache_control("max-age=1000").header("etag", tag);
    let reply = reply.header("surrogate-key", format!("all p{path}"));
    let reply = reply.header("cache-groups", format!("\"g{path}\""));
    let reply = if path == 2 { reply.header("vary", "accept") } else { reply };
    let text = Bytes::from(body.to_string());
    match random.below(3) {
        0 => reply.body(Full::new(text)),
        pause => reply.body(Slow { pause, frames: vec![text] }),
    }
}

/// A GET, and whether what it gets may be.
fn get(cache: &Cache<Spy>, model: &Shared, random: &Random, seed: u64) -> Step {
    let path = random.below(PATHS as u64) as usize;
    let is_other = random.below(2) == 1;
    let place = place(path, is_other);
    let mut fields = vec![("accept", if is_other { "b" } else { "a" })];
    if random.below(4) == 0 {
        fields.push(("cache-control", "no-cache"));
    }
    let request = with(request("GET", &format!("/{path}")), &fields);
    let (mut service, model) = (cache.service.clone(), model.clone());
    let keeps = random.below(8) > 0;
    Box::pin(async move {
        let began = model.lock().unwrap().tick();
        let response = service.call(request).await.unwrap();
        if keeps {
            let body = response.into_body().collect().await.unwrap().to_bytes();
            let body = std::str::from_utf8(&body).unwrap().parse().unwrap();
            model.lock().unwrap().check(place, began, body, seed);
        }
    })
}

fn post(cache: &Cache<Spy>, model: &Shared, random: &Random) -> Step {
    let path = random.below(PATHS as u64) as usize;
    let (mut service, model) = (cache.service.clone(), model.clone());
    Box::pin(async move {
        let request: Request<_> = request("POST", &format!("/{path}"));
        let response = service.call(request).await.unwrap();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        let began = std::str::from_utf8(&body).unwrap().parse().unwrap();
        model.lock().unwrap().done(places(path), false, began);
    })
}

fn purge(handle: CacheHandle<Spy>, model: &Shared, random: &Random) -> Step {
    let path = random.below(PATHS as u64) as usize;
    let one = places(path);
    let url = format!("http://a.example/{path}");
    let (purge, selects) = match random.below(9) {
        0 => (Purge::url(&url).unwrap(), one),
        1 => (Purge::tag(format!("p{path}")), one),
        2 => (Purge::group("http://a.example", format!("g{path}")).unwrap(), one),
        3 => (Purge::prefix(&url).unwrap(), one),
        4 => (Purge::matching(move |key, _| key.path_and_query() == format!("/{path}")), one),
        5 => (Purge::tag("all"), [true; PLACES]),
        6 => (Purge::host("a.example"), [true; PLACES]),
        7 => (Purge::everything(), [true; PLACES]),
        _ => (Purge::tag("none"), [false; PLACES]),
    };
    let is_soft = random.below(3) == 0;
    let purge = if is_soft { purge.soft() } else { purge };
    let (model, is_swept) = (model.clone(), random.below(2) == 0);
    Box::pin(async move {
        let began = model.lock().unwrap().tick();
        let purged = handle.purge(purge).await.unwrap();
        model.lock().unwrap().done(selects, is_soft, began);
        if is_swept {
            purged.swept().await.unwrap();
        }
    })
}

fn purge_variant(handle: CacheHandle<Spy>, model: &Shared) -> Step {
    let model = model.clone();
    Box::pin(async move {
        let began = model.lock().unwrap().tick();
        let fields = HeaderMap::from_iter([(http::header::ACCEPT, "a".parse().unwrap())]);
        handle.purge(Purge::variant("http://a.example/2", fields).unwrap()).await.unwrap();
        let selects = std::array::from_fn(|place| place == PATHS - 1);
        model.lock().unwrap().done(selects, false, began);
    })
}

/// One order of steps.
fn interleave(seed: u64) {
    let random = Random(Arc::new(Mutex::new(seed)));
    let store = if random.below(2) == 0 { Spy::slow() } else { Spy::new() };
    let cache =
        cache_over(store, Policy::shared()).layered(|layer| layer.executor(larder::NoExecutor));
    let model = Shared::default();
    script(&cache.origin, &model, &random);
    let mut steps: Vec<Step> = Vec::new();
    let mut left = 6 + random.below(10);
    let mut context = Context::from_waker(Waker::noop());
    while left > 0 || !steps.is_empty() {
        if left > 0 && random.below(3) == 0 {
            left -= 1;
            // Time passes, so that a client's `no-cache` is heard.
            cache.clock.advance_secs(random.below(2) * 2);
            steps.push(match random.below(20) {
                0..10 => get(&cache, &model, &random, seed),
                10 | 11 => post(&cache, &model, &random),
                12 | 14 => purge_variant(cache.layer.handle(), &model),
                13 => {
                    model.lock().unwrap().versions[random.below(PATHS as u64) as usize] += 1;
                    continue;
                }
                _ => purge(cache.layer.handle(), &model, &random),
            });
        }
        if !steps.is_empty() {
            let at = random.below(steps.len() as u64) as usize;
            let is_given_up = random.below(40) == 0;
            if is_given_up || steps[at].as_mut().poll(&mut context).is_ready() {
                drop(steps.swap_remove(at));
            }
        }
    }
}

/// No request that began after a purge had returned gets what the purge selected, and no request that
/// began after a POST was answered gets what was made before. `LARDER_INTERLEAVINGS=1000000` in a release
/// build is the long run; `LARDER_SEED` repeats one.
#[test]
fn no_order_of_steps_brings_back_what_was_purged() {
    let number = |name| std::env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    if let Some(seed) = number("LARDER_SEED") {
        return interleave(seed);
    }
    for seed in 0..number("LARDER_INTERLEAVINGS").unwrap_or(5000) {
        interleave(seed);
    }
}
