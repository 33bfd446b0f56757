//! A hit is decided in one go where it can be, and by all rules where it cannot: both give the same.

use std::{
    ops::Range,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{HeaderValue, Request, header};
use http_body_util::Full;
use larder::{
    BoxFuture, CacheKey, CacheLayer, CacheManager, CacheMode, CacheService, Clock, Error,
    MemoryManager, Observer, Policy, Purge, PurgeLog,
    observe::Event,
    policy::{Downstream, Placement, Secret, StoredHead, Timestamp, Wanted},
    storage::{Entry, Found, StoredBody, Visitor},
};
use tower::{Layer, Service};

use super::{
    compare::{self, origin::origin},
    generate::{self, Step},
    oracle::Millis,
    run,
    support::{self, Answer, Origin, OriginError, later::Later, now_or_never},
    tape::Tape,
    wire,
};

/// A store in memory that has to be waited for: what it finds is looked at by all rules.
#[derive(Clone)]
struct Waited(MemoryManager);

type Handle = <MemoryManager as CacheManager>::Handle;

impl CacheManager for Waited {
    type Handle = Handle;
    type Writer = <MemoryManager as CacheManager>::Writer;

    fn secret(&self) -> &Secret {
        self.0.secret()
    }

    async fn get(&self, wanted: &Wanted<'_>) -> Result<Found<Handle>, Error> {
        self.0.get(wanted).await
    }

    fn read(&self, entry: &Entry<Handle>, range: Range<u64>) -> StoredBody {
        self.0.read(entry, range)
    }

    async fn put(&self, placement: Placement, head: StoredHead) -> Result<Self::Writer, Error> {
        self.0.put(placement, head).await
    }

    async fn update(&self, entry: &Entry<Handle>, head: StoredHead) -> Result<bool, Error> {
        self.0.update(entry, head).await
    }

    async fn remove(&self, entry: &Entry<Handle>) -> Result<bool, Error> {
        self.0.remove(entry).await
    }

    async fn delete(&self, key: &CacheKey) -> Result<(), Error> {
        self.0.delete(key).await
    }

    async fn clear(&self) -> Result<(), Error> {
        self.0.clear().await
    }

    fn purge_log(&self) -> &PurgeLog {
        self.0.purge_log()
    }

    async fn scan(&self, visitor: &mut impl Visitor<Handle>) -> Result<(), Error> {
        self.0.scan(visitor).await
    }
}

/// The time of a step.
#[derive(Clone)]
struct Steps(Arc<Mutex<Millis>>, (Millis, Instant));

impl Clock for Steps {
    fn now(&self) -> Timestamp {
        wire::timestamp(*self.0.lock().unwrap(), self.1)
    }

    fn sleep(&self, _: Duration) -> Option<BoxFuture> {
        None
    }
}

/// Options that the oracle knows nothing of, and that change what a hit is or shows.
fn more(tape: &mut Tape, policy: Policy) -> Policy {
    let mut policy = policy;
    let mut once = |change: &dyn Fn(Policy) -> Policy| {
        if tape.one_of(6) {
            policy = change(policy.clone());
        }
    };
    once(&|policy| policy.partition(|head| head.headers.get("x-a").map(|_| "u".to_owned())));
    once(&|policy| policy.namespace("n"));
    once(&|policy| policy.key_fields([header::ACCEPT_LANGUAGE]));
    once(&|policy| policy.normalise_language(true));
    once(&|policy| policy.bypass_cookies(true));
    once(&|policy| policy.make_etag(true));
    once(&|policy| policy.dangerous_ignore_vary([header::ACCEPT_ENCODING]));
    once(&|policy| policy.stale_while_revalidate(Duration::from_secs(60)));
    once(&|policy| policy.max_staleness(Duration::from_secs(20)));
    once(&|policy| policy.default_scheme("https").normalise_path(true));
    once(&|policy| {
        let rules = Downstream::keep().strip(header::ETAG).without_directives(["max-age"]);
        policy.downstream(rules.replace(header::SERVER, HeaderValue::from_static("larder")))
    });
    policy
}

/// Lets the origin say what the step has it say.
fn answer_by(asked: &Origin, step: &Arc<Mutex<Option<Step>>>, clock: &Steps) {
    let (step, clock) = (step.clone(), clock.clone());
    asked.try_on(move |request| {
        let step = step.lock().unwrap().clone().unwrap();
        *clock.0.lock().unwrap() += step.delay;
        if step.fails {
            return Err(OriginError("refused"));
        }
        let response = origin(&step, &wire::fields(request.headers()));
        let head = wire::response(&response);
        let reply = support::status(head.status.as_u16());
        let reply = head
            .headers
            .iter()
            .fold(reply, |reply, (name, value)| reply.header(name.as_str(), value.as_bytes()));
        let length = head.headers.get("content-length").and_then(|it| it.to_str().ok());
        let length = length.and_then(|length| length.parse().ok()).unwrap_or(5);
        let is_empty = [204, 304].contains(&response.status) || request.method() == "HEAD";
        Ok(reply.text("x".repeat(if is_empty { 0 } else { length })))
    });
}

/// What happens in one case.
struct Scene {
    case: generate::Case,
    policy: Policy,
    clock: Steps,
    /// What the origin answers by.
    step: Arc<Mutex<Option<Step>>>,
}

impl Scene {
    fn of(tape: &mut Tape<'_>) -> Self {
        let case = generate::case(tape);
        let policy = more(tape, compare::policy(&case.options));
        let began = (case.steps[0].at, Instant::now());
        let clock = Steps(Arc::new(Mutex::new(began.0)), began);
        Self { case, policy, clock, step: Arc::default() }
    }
}

fn show(answer: &Answer) -> String {
    let Answer { status, headers, body, cache } = answer;
    format!("{status} {headers:?} {body:?} {cache}")
}

type Services = (CacheService<Origin, MemoryManager>, CacheService<Origin, Waited>);

/// What is stored is answered with at once as if its store had been waited for: head, body, and what is
/// told of it, be it found for the first time or again (RFC 9111 §4, §5.1; RFC 9110 §13.2.2, §15.4.5).
#[test]
fn both_ways_to_a_hit_are_the_same() {
    let tally = Mutex::new([0; 2]);
    let cases = run("LARDER_CASES", 4_000, |tape| {
        let Scene { case, policy, clock, step } = Scene::of(tape);
        let told = |problem| format!("{problem}\n{case:?}");
        let (manager, later, asked) =
            (MemoryManager::new(1 << 20), Later::default(), Origin::new());
        answer_by(&asked, &step, &clock);
        let at_once = CacheLayer::new(manager.clone()).policy(policy.clone()).clock(clock.clone());
        let waited = CacheLayer::new(Waited(manager)).policy(policy).clock(clock.clone());
        let at_once = at_once.executor(later.clone()).cache_status_header("larder");
        let waited = waited.executor(later.clone()).cache_status_header("larder");
        let services = (at_once.layer(asked.clone()), waited.layer(asked.clone()));
        for next in &case.steps {
            *clock.0.lock().unwrap() = next.at;
            *step.lock().unwrap() = Some(next.clone());
            if tape.one_of(12) {
                let _ = now_or_never(at_once.handle().purge(Purge::everything().soft()));
            }
            let mode = match tape.below(8) {
                0 => CacheMode::ForceCache,
                1 => CacheMode::OnlyIfCached,
                2 => CacheMode::NoCache,
                _ => CacheMode::Default,
            };
            compare_both(&services, next, mode, &asked, &later, &mut tally.lock().unwrap())
                .map_err(told)?;
        }
        Ok(())
    });
    let [hits, not_modified] = tally.into_inner().unwrap();
    println!("{cases} cases: {hits} hits, {not_modified} of them 304");
    assert!(hits * 10 >= cases && not_modified * 500 >= cases, "{hits} {not_modified}");
}

fn compare_both(
    (at_once, waited): &Services,
    step: &Step,
    mode: CacheMode,
    origin: &Origin,
    later: &Later,
    tally: &mut [u64; 2],
) -> Result<(), String> {
    let request = || {
        let mut head = wire::request(&step.request);
        head.extensions.insert(mode);
        Request::from_parts(head, Full::<Bytes>::default())
    };
    let calls = origin.calls();
    let Some(first) = answer(at_once, request()) else { return Ok(()) };
    if origin.calls() > calls || !later.is_idle() || !first.cache.is_hit() {
        // Whoever comes next may find something else.
        later.run();
        return Ok(());
    }
    tally[0] += 1;
    tally[1] += u64::from(first.status == 304);
    let others =
        [answer(at_once, request()), answer(waited, request()), answer(at_once, request())];
    for (number, other) in others.into_iter().enumerate() {
        let Some(other) = other else { return Err(format!("no answer {number}")) };
        let is_same = first.headers == other.headers && show(&first) == show(&other);
        if !is_same || origin.calls() > calls {
            return Err(format!("{} and then {number}\n{}", show(&first), show(&other)));
        }
    }
    Ok(())
}

/// `None`: the origin has failed.
fn answer<M: CacheManager>(
    service: &CacheService<Origin, M>,
    request: Request<Full<Bytes>>,
) -> Option<Answer> {
    let mut service = service.clone();
    let exchange =
        Box::pin(async move { Some(Answer::of(service.call(request).await.ok()?).await) });
    now_or_never(exchange).expect("nothing here waits")
}

/// What a layer has told.
#[derive(Clone, Default)]
struct Heard(Arc<Mutex<Vec<String>>>);

impl Observer for Heard {
    fn observe(&self, event: &Event<'_>) {
        let told = match event {
            Event::OriginAsked { key, reason, .. } => format!("asked {key:?} {reason}"),
            Event::OriginAnswered { code, took, .. } => format!("{code:?} {took:?}"),
            Event::OriginDone { .. } => "done".to_owned(),
            Event::NotStored { reason, .. } => format!("not stored: {reason}"),
            Event::Answered { code, bytes, .. } => format!("answered {code} {bytes:?}"),
            Event::Failed { took, .. } => format!("failed {took:?}"),
            _ => return,
        };
        self.0.lock().unwrap().push(told);
    }
}

/// What goes to the origin at once goes there as if its store had been waited for: what the origin sees, what
/// the client does, and what is told of it.
#[test]
fn both_ways_to_the_origin_are_the_same() {
    let tally = Mutex::new([0; 2]);
    let cases = run("LARDER_CASES", 4_000, |tape| {
        let Scene { case, policy, clock, step } = Scene::of(tape);
        let told = |problem| format!("{problem}\n{case:?}");
        let manager = || MemoryManager::new(1 << 20);
        let mut ways = [
            Way::new(manager(), &policy, &clock, &step),
            Way::new(Waited(manager()), &policy, &clock, &step),
        ];
        for next in &case.steps {
            *step.lock().unwrap() = Some(next.clone());
            let is_kept = tape.one_of(4);
            let mode = tape.pick(&[CacheMode::Default, CacheMode::NoCache, CacheMode::ForceCache]);
            let [first, second] = ways.each_mut().map(|way| {
                *clock.0.lock().unwrap() = next.at;
                let mut head = wire::request(&next.request);
                head.extensions.insert(mode);
                if !is_kept {
                    head.headers.append("cache-control", HeaderValue::from_static("no-store"));
                }
                way.ask(Request::from_parts(head, Full::default()))
            });
            if first != second {
                return Err(told(format!("{first}\nand\n{second}")));
            }
            let mut tally = tally.lock().unwrap();
            tally[0] += 1;
            tally[1] += u64::from(first.contains("request-no-store"));
        }
        Ok(())
    });
    let [all, unkept] = tally.into_inner().unwrap();
    println!("{cases} cases: {all} requests, {unkept} of them not kept since they forbid it");
    assert!(unkept * 2 >= cases, "{unkept}");
}

/// A cache over one kind of store.
struct Way {
    ask: Box<dyn FnMut(Request<Full<Bytes>>) -> String>,
}

impl Way {
    fn new<M: CacheManager>(
        manager: M,
        policy: &Policy,
        clock: &Steps,
        step: &Arc<Mutex<Option<Step>>>,
    ) -> Self {
        let (asked, later, heard) = (Origin::new(), Later::default(), Heard::default());
        answer_by(&asked, step, clock);
        let layer = CacheLayer::new(manager).policy(policy.clone()).clock(clock.clone());
        let layer = layer.executor(later.clone()).cache_status_header("larder");
        let service = layer.observer(heard.clone()).layer(asked.clone());
        let ask = move |request| {
            let calls = asked.calls();
            let answer = answer(&service, request);
            later.run();
            // A store that has to be waited for may have it after the client.
            let is_stored = answer.as_ref().is_some_and(|answer| answer.cache.is_stored());
            let shown = answer.as_ref().map(show);
            let mut heard = std::mem::take(&mut *heard.0.lock().unwrap());
            heard.retain(|told| !is_stored || told != "done");
            format!("{shown:?}\n{:?}\n{heard:?}", &asked.seen()[calls..])
        };
        Self { ask: Box::new(ask) }
    }

    fn ask(&mut self, request: Request<Full<Bytes>>) -> String {
        (self.ask)(request)
    }
}
