//! Buses that lose, repeat and hang, and what holds over any.

use std::{
    collections::VecDeque,
    future::{pending, poll_fn},
    sync::{Arc, Mutex},
    task::Poll,
};

use larder::{
    Error, NoExecutor, Purge,
    bus::{BusEvent, LocalBus, PurgeBus, PurgeFollower, PurgeMessage},
};
use proptest::prelude::*;

use super::bus::{SITES, fill, gone, grouping, member};
use crate::support::{now_or_never, ok, request, status};

/// A bus whose messages the test gives in any order.
#[derive(Clone, Default)]
struct Scripted {
    events: Arc<Mutex<VecDeque<BusEvent>>>,
}

impl Scripted {
    fn say(&self, node: u128, seq: u64, tag: &str) {
        let message = PurgeMessage::from_node(Purge::tag(tag), node, seq);
        let event = BusEvent::Purge { message, position: String::new() };
        self.events.lock().unwrap().push_back(event);
    }

    fn lose(&self) {
        self.events.lock().unwrap().push_back(BusEvent::Lost);
    }
}

impl PurgeBus for Scripted {
    type Follower = Self;

    async fn publish(&self, _: &PurgeMessage) -> Result<(), Error> {
        pending().await
    }

    async fn follow(&self, _: Option<&str>) -> Result<Self, Error> {
        self.events.lock().unwrap().push_front(BusEvent::Current { position: String::new() });
        Ok(self.clone())
    }
}

impl PurgeFollower for Scripted {
    async fn next(&mut self) -> Result<BusEvent, Error> {
        poll_fn(|_| match self.events.lock().unwrap().pop_front() {
            Some(event) => Poll::Ready(Ok(event)),
            None => Poll::Pending,
        })
        .await
    }
}

/// A bus that repeats, reorders and loses: each message counts once, and what may be missing takes out
/// everything.
#[tokio::test]
async fn a_bus_that_repeats_reorders_and_loses() {
    let bus = Scripted::default();
    let cache = member(bus.clone(), NoExecutor);
    fill(&cache).await;
    bus.say(1, 5, "site-1");
    assert_eq!(gone(&cache).await, ["/site-1"]);
    bus.say(1, 5, "site-1");
    bus.say(1, 5, "site-1");
    assert_eq!(gone(&cache).await, [""; 0], "it came again");
    bus.say(2, 1, "site-2");
    bus.say(1, 6, "site-3");
    assert_eq!(gone(&cache).await, ["/site-2", "/site-3"]);
    bus.say(1, 8, "site-1");
    assert_eq!(gone(&cache).await, SITES, "7 is missing");
    bus.say(1, 7, "site-2");
    assert_eq!(gone(&cache).await, [""; 0], "it was made up for");
    bus.say(1, 9, "none");
    assert_eq!(gone(&cache).await, [""; 0]);
    bus.lose();
    assert_eq!(gone(&cache).await, SITES);
    bus.say(1, 20, "none");
    assert_eq!(gone(&cache).await, [""; 0], "once is enough");
    bus.say(2, 3, "none");
    bus.say(2, 2, "site-1");
    assert_eq!(gone(&cache).await, ["/site-1"], "nobody knew that it was late");
}

/// A bus that takes nothing does not hold up the one who purges for longer than `max_purge_lag`.
#[tokio::test]
async fn a_bus_that_hangs() {
    let cache = member(Scripted::default(), NoExecutor);
    fill(&cache).await;
    let handle = cache.layer.handle();
    let mut purging = Box::pin(handle.purge(Purge::tag("site-1")));
    assert!(now_or_never(&mut purging).is_none());
    assert_eq!(gone(&cache).await, ["/site-1"], "here it has happened");
    cache.clock.advance_secs(5);
    let error = now_or_never(purging).expect("it is over").unwrap_err();
    assert!(error.is_unpublished() && error.to_string().contains("no answer in time"), "{error}");
}

/// The cache may fail, the response may not: a bus that takes nothing holds up no client.
#[tokio::test]
async fn nobody_waits_for_a_bus_that_hangs() {
    let cache = member(Scripted::default(), larder::TokioExecutor::new());
    grouping(&cache);
    cache.get_twice("/g", &[]).await.assert_hit();
    let answer = now_or_never(cache.send(request("POST", "/x")));
    assert_eq!(answer.expect("it has been answered").status, 200);
    cache.get("/g").await.assert_forwarded();
}

#[derive(Clone, Copy, Debug)]
enum Step {
    /// The origin changes a site, and one purges it.
    Purge(usize),
    Get(usize),
    Cut,
    Mend,
    Wait(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => (0..SITES.len()).prop_map(Step::Purge),
        6 => (0..SITES.len()).prop_map(Step::Get),
        1 => Just(Step::Cut),
        1 => Just(Step::Mend),
        2 => (1..4u64).prop_map(Step::Wait),
    ];
    proptest::collection::vec(step, 0..60)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]
    /// Whatever is purged and whenever the line is cut: who hears the bus, or has not for five seconds,
    /// never gives what was before a purge. What the bus keeps may be too little to hear it all.
    #[test]
    fn nothing_is_served_from_before_a_purge(steps in steps(), kept in 1..8usize) {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
            let bus = LocalBus::keeping(kept);
            let link = bus.connect();
            let (one, two) = (member(bus, NoExecutor), member(link.clone(), NoExecutor));
            let versions = Arc::new(Mutex::new([0_usize; SITES.len()]));
            let origins = versions.clone();
            two.origin.on(move |request| {
                let path = request.uri().path();
                let number = SITES.iter().position(|site| *site == path).unwrap();
                let version = origins.lock().unwrap()[number].to_string();
                let tag = format!("\"{version}\"");
                if request.headers().get("if-none-match").is_some_and(|known| *known == *tag) {
                    return status(304).header("etag", &tag).text("");
                }
                let reply = ok().cache_control("max-age=3600").header("etag", &tag);
                reply.header("cache-tag", path.trim_start_matches('/')).text(version)
            });
            // In seconds, since when it is cut, or mended.
            let (mut now, mut cut, mut mended) = (2, None, Some(0));
            two.get(SITES[0]).await;
            for step in steps {
                match step {
                    Step::Purge(number) => {
                        versions.lock().unwrap()[number] += 1;
                        let purge = Purge::tag(SITES[number].trim_start_matches('/'));
                        one.layer.handle().purge(purge).await.unwrap();
                    }
                    Step::Cut => {
                        link.cut();
                        (cut, mended) = (cut.or(Some(now)), None);
                    }
                    Step::Mend => {
                        link.mend();
                        (cut, mended) = (None, mended.or(Some(now)));
                    }
                    Step::Wait(seconds) => {
                        now += seconds;
                        two.clock.advance_secs(seconds);
                    }
                    Step::Get(number) => {
                        let answer = two.get(SITES[number]).await;
                        let newest = versions.lock().unwrap()[number].to_string();
                        // It tries again every two seconds.
                        let is_heard = mended.is_some_and(|since| since + 2 <= now);
                        let is_doubted = cut.is_some_and(|since| since + 5 <= now);
                        if is_heard || is_doubted {
                            prop_assert_eq!(answer.text(), newest, "{:?}", answer.cache);
                        }
                    }
                }
            }
            Ok(())
        })?;
    }
}
