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
    MemoryManager, Policy, Purge, PurgeLog,
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

type Services = (CacheService<Origin, MemoryManager>, CacheService<Origin, Waited>);

/// What is stored is answered with at once as if its store had been waited for: head, body, and what is
/// told of it, be it found for the first time or again (RFC 9111 §4, §5.1; RFC 9110 §13.2.2, §15.4.5).
#[test]
fn both_ways_to_a_hit_are_the_same() {
    let tally = Mutex::new([0; 2]);
    let cases = run("LARDER_CASES", 4_000, |tape| {
        let case = generate::case(tape);
        let told = |problem| format!("{problem}\n{case:?}");
        let policy = more(tape, compare::policy(&case.options));
        let began = (case.steps[0].at, Instant::now());
        let clock = Steps(Arc::new(Mutex::new(began.0)), began);
        let (manager, later, asked) =
            (MemoryManager::new(1 << 20), Later::default(), Origin::new());
        let step: Arc<Mutex<Option<Step>>> = Arc::default();
        asked.try_on({
            let (step, clock) = (step.clone(), clock.clone());
            move |request| {
                let step = step.lock().unwrap().clone().unwrap();
                *clock.0.lock().unwrap() += step.delay;
                if step.fails {
                    return Err(OriginError("refused"));
                }
                let response = origin(&step, &wire::fields(request.headers()));
                let head = wire::response(&response);
                let reply = support::status(head.status.as_u16());
                let reply = head.headers.iter().fold(reply, |reply, (name, value)| {
                    reply.header(name.as_str(), value.as_bytes())
                });
                let length = head.headers.get("content-length").and_then(|it| it.to_str().ok());
                let length = length.and_then(|length| length.parse().ok()).unwrap_or(5);
                let is_empty = [204, 304].contains(&response.status) || request.method() == "HEAD";
                Ok(reply.text("x".repeat(if is_empty { 0 } else { length })))
            }
        });
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
        let show = |answer: &Answer| {
            let Answer { status, headers, body, cache } = answer;
            format!("{status} {headers:?} {body:?} {cache}")
        };
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
