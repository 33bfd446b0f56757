//! Purges that go from cache to cache.

use std::time::Duration;

use http::HeaderMap;
use larder::{
    Executor, MemoryManager, NoExecutor, Policy, Purge, PurgeEvent,
    bus::{LocalBus, PurgeBus, PurgeMessage, WhenCutOff},
    policy::Reason,
};

use crate::support::{Cache, TestClock, cache, channel, now_or_never, ok, read, request, status};

/// Two applications with a store each, on one bus. The connection of the second can be cut.
struct Pair {
    bus: LocalBus,
    link: LocalBus,
    one: Cache,
    two: Cache,
}

fn pair() -> Pair {
    pair_with(|| NoExecutor)
}

fn pair_with<E: Executor>(executor: impl Fn() -> E) -> Pair {
    let bus = LocalBus::new();
    let link = bus.connect();
    let one = member(bus.connect(), executor());
    let two = member(link.clone(), executor());
    Pair { bus, link, one, two }
}

pub(crate) fn member(bus: impl PurgeBus, executor: impl Executor) -> Cache {
    let cache = cache(Policy::shared()).layered(|layer| layer.executor(executor).bus(bus));
    let mut visits = 0;
    cache.origin.on(move |request| {
        if request.headers().contains_key("if-none-match") {
            return status(304).text("");
        }
        visits += 1;
        let site = request.uri().path().trim_start_matches('/').to_owned();
        let reply = ok().cache_control("max-age=3600").header("cache-tag", site);
        reply.header("etag", "\"1\"").text(visits.to_string())
    });
    cache
}

pub(crate) const SITES: [&str; 4] = ["/site-1", "/site-2", "/site-3", "/other"];

pub(crate) async fn fill(cache: &Cache) {
    for site in SITES {
        cache.get(site).await;
        cache.get(site).await.assert_hit();
    }
}

/// Waits until an executor has begun to follow the bus.
async fn begins(cache: &Cache) {
    while cache.layer.handle().bus_position().is_none() {
        tokio::task::yield_now().await;
    }
}

/// Which sites are not answered from the store.
pub(crate) async fn gone(cache: &Cache) -> Vec<&'static str> {
    let mut gone = Vec::new();
    for site in SITES {
        if !cache.get(site).await.cache.is_hit() {
            gone.push(site);
        }
    }
    gone
}

/// Scenario 0.6: one line from anybody, and both have purged it; what one purges goes from the other.
#[cfg(feature = "json")]
#[tokio::test]
async fn a_line_purges_everywhere() {
    let Pair { bus, one, two, .. } = pair();
    fill(&one).await;
    fill(&two).await;
    bus.send(PurgeMessage::from_json(r#"{"tag": "site-1"}"#).unwrap()).unwrap();
    assert_eq!(gone(&one).await, ["/site-1"]);
    assert_eq!(gone(&two).await, ["/site-1"]);
    one.layer.handle().purge(Purge::tag("site-2")).await.unwrap();
    assert_eq!(gone(&two).await, ["/site-2"]);
    assert_eq!(gone(&one).await, ["/site-2"], "once");
}

/// The same where an executor follows the bus: nobody has to ask first, and everybody who follows the
/// purges is told.
#[tokio::test]
async fn an_executor_follows_the_bus() {
    let Pair { one, two, .. } = pair_with(larder::TokioExecutor::new);
    begins(&two).await;
    fill(&two).await;
    let mut purges = two.layer.handle().purges();
    let purge = Purge::tag("site-1").soft().by("upload");
    one.layer.handle().purge(purge).await.unwrap();
    let heard = loop {
        match purges.next().await {
            PurgeEvent::Purged(record) if record.purge().is_soft() => break record,
            PurgeEvent::Purged(_) | PurgeEvent::Swept { .. } => {}
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(heard.purge().label(), Some("upload"));
    match purges.next().await {
        PurgeEvent::Swept { record, count, .. } => {
            assert_eq!((record.seq(), count), (heard.seq(), 1))
        }
        other => panic!("{other:?}"),
    }
    two.get("/site-1").await.assert_revalidated();
    one.layer.handle().shutdown().await;
}

/// Scenario 0.6: cut off for 5 seconds and three purges. While it lasts nothing is served that is not
/// validated once 5 seconds have passed; afterwards it hears what it has missed.
#[tokio::test]
async fn what_was_missed_is_heard_later() {
    let Pair { link, one, two, .. } = pair();
    fill(&two).await;
    link.cut();
    for site in ["site-1", "site-2", "site-3"] {
        one.layer.handle().purge(Purge::tag(site)).await.unwrap();
        two.clock.advance_secs(1);
        two.get("/other").await.assert_hit();
    }
    two.clock.advance_secs(2);
    two.get("/site-1").await.assert_revalidated();
    let doubted = two.get("/other").await;
    assert_eq!(doubted.assert_revalidated().cache.reason(), Some(Reason::CutOff));
    let only = two.get_with("/other", &[("cache-control", "only-if-cached")]).await;
    assert_eq!(only.status, 504);
    link.mend();
    two.clock.advance_secs(3);
    assert_eq!(gone(&two).await, ["/site-1", "/site-2", "/site-3"], "and not the other");
    assert_eq!(gone(&two).await, [""; 0]);
}

/// The bus has forgotten what was missed: everything that was stored before goes.
#[tokio::test]
async fn what_cannot_be_heard_takes_everything() {
    let bus = LocalBus::keeping(2);
    let link = bus.connect();
    let (one, two) = (member(bus, NoExecutor), member(link.clone(), NoExecutor));
    fill(&two).await;
    link.cut();
    assert_eq!(gone(&two).await, [""; 0]);
    for site in ["site-1", "site-2", "site-3"] {
        one.layer.handle().purge(Purge::tag(site)).await.unwrap();
    }
    link.mend();
    two.clock.advance_secs(1);
    assert_eq!(gone(&two).await, SITES);
    assert_eq!(gone(&two).await, [""; 0]);
}

/// Who is cut off serves as long as `max_purge_lag`, then as it was told to.
#[tokio::test]
async fn what_is_served_while_cut_off_is_a_choice() {
    let second = Duration::from_secs(1);
    for when in [WhenCutOff::Serve, WhenCutOff::Revalidate, WhenCutOff::Bypass] {
        let bus = LocalBus::new();
        let cache = member(bus.clone(), NoExecutor)
            .layered(|layer| layer.max_purge_lag(second).when_cut_off(when));
        fill(&cache).await;
        bus.cut();
        cache.get("/other").await.assert_hit();
        cache.clock.advance(second);
        let answer = cache.get("/other").await;
        let answers = (answer.cache.is_hit(), answer.cache.reason(), &*answer.body);
        match when {
            WhenCutOff::Serve => assert_eq!(answers, (true, None, &b"4"[..])),
            WhenCutOff::Revalidate => {
                assert_eq!(answers, (false, Some(Reason::CutOff), &b"4"[..]));
                answer.assert_revalidated();
            }
            _ => {
                assert_eq!(answers, (false, Some(Reason::CutOff), &b"5"[..]));
                assert_eq!(cache.get("/other").await.text(), "6", "nothing is stored either");
            }
        }
    }
}

/// A bus that cannot be reached at the start does not keep anybody from serving.
#[tokio::test]
async fn a_start_without_the_bus() {
    let bus = LocalBus::new();
    bus.cut();
    let cache = member(bus.clone(), NoExecutor);
    fill(&cache).await;
    cache.clock.advance_secs(6);
    cache.get("/other").await.assert_revalidated();
    bus.mend();
    cache.clock.advance_secs(3);
    assert_eq!(gone(&cache).await, SITES, "what was stored before anything could be heard");
    assert_eq!(gone(&cache).await, [""; 0]);
}

/// A purge that the others could not be told of has happened here, and the caller hears it. They are
/// told with the next one, in order.
#[tokio::test]
async fn who_purges_hears_that_others_were_not_told() {
    let Pair { link, one, two, .. } = pair();
    fill(&one).await;
    fill(&two).await;
    link.cut();
    let error = two.layer.handle().purge(Purge::tag("site-1")).await.unwrap_err();
    assert!(error.is_unpublished(), "{error}");
    assert!(error.to_string().starts_with("purged here, but other caches could not be told"));
    assert_eq!(gone(&two).await, ["/site-1"]);
    assert_eq!(gone(&one).await, [""; 0]);
    let error = two.layer.handle().clear().await.unwrap_err();
    assert!(error.is_unpublished());
    link.mend();
    let purge = Purge::tag("site-2").only_here();
    two.layer.handle().purge(purge).await.unwrap();
    assert_eq!(gone(&one).await, [""; 0], "it was for nobody else");
    two.layer.handle().purge(Purge::tag("site-3")).await.unwrap();
    assert_eq!(gone(&one).await, SITES);
}

/// The same where an executor tries again.
#[tokio::test(start_paused = true)]
async fn others_are_told_as_soon_as_they_can_be() {
    let Pair { link, one, two, .. } = pair_with(larder::TokioExecutor::new);
    let two = two.layered(|layer| layer.clock(larder::SystemClock));
    begins(&one).await;
    fill(&one).await;
    link.cut();
    assert!(two.layer.handle().purge(Purge::tag("site-1")).await.unwrap_err().is_unpublished());
    assert!(two.layer.handle().purge(Purge::tag("site-2")).await.unwrap_err().is_unpublished());
    let mut purges = one.layer.handle().purges();
    link.mend();
    for site in ["tag site-1", "tag site-2"] {
        let heard = loop {
            if let PurgeEvent::Purged(record) = purges.next().await {
                break record.purge().to_string();
            }
        };
        assert_eq!(heard, site);
    }
    assert_eq!(gone(&one).await, ["/site-1", "/site-2"]);
    two.layer.handle().shutdown().await;
}

/// More than 1 024 purges that nobody could be told of: one that takes everything stands for them.
#[tokio::test]
async fn purges_that_wait_take_a_bounded_room() {
    let Pair { link, one, two, .. } = pair();
    fill(&one).await;
    link.cut();
    for n in 0..3000 {
        let purge = Purge::url(&format!("http://a.example/{n}")).unwrap();
        two.layer.handle().purge(purge).await.unwrap_err();
    }
    link.mend();
    let mut purges = one.layer.handle().purges();
    two.layer.handle().purge(Purge::tag("none")).await.unwrap();
    assert_eq!(gone(&one).await, SITES);
    let mut heard = 0;
    while now_or_never(purges.next()).is_some() {
        heard += 1;
    }
    assert!(heard < 1024, "{heard}");
}

/// A purge elsewhere beats a fill that is under way here.
#[tokio::test]
async fn a_purge_elsewhere_fences_what_is_on_its_way() {
    let Pair { one, two, .. } = pair_with(larder::TokioExecutor::new);
    let (sender, body) = channel();
    let mut body = Some(body);
    two.origin.on(move |_| {
        let reply = ok().cache_control("max-age=60").header("cache-tag", "site-1");
        match body.take() {
            Some(body) => reply.body(body),
            None => reply.text("new"),
        }
    });
    begins(&two).await;
    let under_way = two.open("/site-1").await;
    sender.data("old");
    let mut purges = two.layer.handle().purges();
    one.layer.handle().purge(Purge::tag("site-1")).await.unwrap();
    purges.next().await;
    drop(sender);
    assert_eq!(read(under_way).await.unwrap(), "old");
    assert_eq!(two.get("/site-1").await.assert_forwarded().text(), "new");
}

/// What a predicate selects cannot be said to others: it is refused, and nothing happens, unless it is
/// meant for one cache. Of a variant others take out the whole URL.
#[tokio::test]
async fn what_cannot_be_told() {
    let Pair { bus, one, two, .. } = pair();
    fill(&one).await;
    fill(&two).await;
    let matching = || Purge::matching(|key, _| key.path_and_query() == "/site-1");
    let error = one.layer.handle().purge(matching()).await.unwrap_err();
    assert!(error.is_invalid() && error.to_string().contains("only_here"), "{error}");
    assert_eq!(gone(&one).await, [""; 0]);
    one.layer.handle().purge(matching().only_here()).await.unwrap();
    one.layer.handle().purge(Purge::tag("site-2").dry_run()).await.unwrap();
    assert_eq!(gone(&one).await, ["/site-1"]);
    assert_eq!(gone(&two).await, [""; 0]);
    let variant = Purge::variant("http://a.example/site-2", HeaderMap::new()).unwrap();
    one.layer.handle().purge(variant).await.unwrap();
    assert_eq!(gone(&two).await, ["/site-2"]);
    bus.send(matching()).unwrap();
    assert_eq!(gone(&two).await, SITES, "it may have meant anything");
}

/// A position that was kept is gone on from; without one, nothing that is stored already is trusted.
#[tokio::test]
async fn a_store_that_outlives_the_process_goes_on_where_it_was() {
    let (bus, clock) = (LocalBus::new(), TestClock::new());
    let manager = MemoryManager::new(1 << 20);
    let start = |position: Option<String>| {
        let mut cache = crate::support::cache_over(manager.clone(), Policy::shared());
        cache.clock = clock.clone();
        let bus = bus.connect();
        let cache = cache.layered(|layer| {
            let layer = layer.clock(clock.clone()).executor(NoExecutor);
            match position {
                Some(position) => layer.bus_after(bus, position),
                None => layer.bus(bus),
            }
        });
        cache.origin.on(|request| {
            let site = request.uri().path().trim_start_matches('/').to_owned();
            ok().cache_control("max-age=3600").header("cache-tag", site).text("")
        });
        cache
    };
    let first = start(None);
    assert_eq!(first.layer.handle().bus_position(), None);
    fill(&first).await;
    let position = first.layer.handle().bus_position();
    drop(first);
    bus.send(Purge::tag("site-1")).unwrap();
    let second = start(position);
    assert_eq!(gone(&second).await, ["/site-1"]);
    drop(second);
    let third = start(Some("of another bus".to_owned()));
    assert_eq!(gone(&third).await, SITES);
    drop(third);
    assert_eq!(gone(&start(None)).await, SITES);
}

/// A cache whose pages are in the group that their path names, and whose origin answers POST by
/// invalidating the group `g`.
pub(crate) fn grouping(cache: &Cache) {
    cache.origin.on(|request| match request.method().as_str() {
        "GET" => {
            let group = format!("\"{}\"", request.uri().path().trim_start_matches('/'));
            ok().cache_control("max-age=60").header("cache-groups", group).text("")
        }
        _ => ok().header("cache-group-invalidation", "\"g\"").text(""),
    });
}

/// RFC 9875 §3 on each node; a resource that is invalidated stays on its own (RFC 9111 §4.4).
#[tokio::test]
async fn an_invalidated_group_goes_to_others() {
    for waits in [false, true] {
        let Pair { one, two, .. } = match waits {
            true => pair_with(larder::TokioExecutor::new),
            false => pair(),
        };
        if waits {
            begins(&two).await;
        }
        for cache in [&one, &two] {
            grouping(cache);
            cache.get_twice("/g", &[]).await.assert_hit();
            cache.get_twice("/h", &[]).await.assert_hit();
        }
        let mut purges = two.layer.handle().purges();
        one.send(request("POST", "/h")).await;
        if waits {
            while !matches!(purges.next().await, PurgeEvent::Purged(_)) {}
        }
        two.get("/g").await.assert_forwarded();
        two.get("/h").await.assert_hit();
        one.get("/h").await.assert_forwarded();
    }
}

/// Requests, which anybody can send, do not fill up what waits for a bus.
#[tokio::test]
async fn a_flood_of_invalidations_empties_nothing_else_elsewhere() {
    let Pair { link, one, two, .. } = pair();
    [&one, &two].into_iter().for_each(grouping);
    for page in ["/g", "/h"] {
        one.get_twice(page, &[]).await.assert_hit();
    }
    link.cut();
    for _ in 0..3000 {
        two.send(request("POST", "/x")).await;
    }
    link.mend();
    two.layer.handle().purge(Purge::tag("none")).await.unwrap();
    one.get("/g").await.assert_forwarded();
    one.get("/h").await.assert_hit();
}

/// A namespace means the same everywhere: what has none is not what has this one.
#[tokio::test]
async fn tags_stay_in_their_namespace() {
    let bus = LocalBus::new();
    let in_namespace = |namespace: Option<&str>| {
        let cache = member(bus.connect(), NoExecutor);
        match namespace {
            Some(namespace) => cache.layered(|layer| layer.namespace(namespace)),
            None => cache,
        }
    };
    let (none, a, b) = (in_namespace(None), in_namespace(Some("a")), in_namespace(Some("b")));
    for cache in [&none, &a, &b] {
        fill(cache).await;
    }
    a.layer.handle().purge(Purge::tag("site-1")).await.unwrap();
    none.layer.handle().purge(Purge::tag("site-2")).await.unwrap();
    b.layer.handle().purge(Purge::tag("site-3").everywhere()).await.unwrap();
    assert_eq!(gone(&a).await, ["/site-1", "/site-3"]);
    assert_eq!(gone(&none).await, ["/site-2", "/site-3"]);
    assert_eq!(gone(&b).await, ["/site-3"]);
}

/// The runtime that followed the bus has ended: the next one goes on from there.
#[test]
fn a_runtime_that_ends_takes_no_purge_with_it() {
    let runtime = || {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        builder.enable_all().build().unwrap()
    };
    let bus = LocalBus::new();
    let first = runtime();
    let cache = first.block_on(async {
        let cache = member(bus.clone(), larder::TokioExecutor::new());
        begins(&cache).await;
        fill(&cache).await;
        cache
    });
    drop(first);
    bus.send(Purge::tag("site-1")).unwrap();
    runtime().block_on(async {
        cache.clock.advance_secs(5);
        cache.get("/site-2").await;
        while !cache.get("/site-2").await.cache.is_hit() {
            tokio::task::yield_now().await;
        }
        assert_eq!(gone(&cache).await, ["/site-1"]);
    });
}

/// With the last of layer, services and handles nobody follows the bus any more, and the store goes.
#[tokio::test]
async fn the_last_one_turns_off_the_light() {
    let bus = LocalBus::new();
    let cache = member(bus.clone(), larder::TokioExecutor::new());
    cache.get("/").await;
    tokio::task::yield_now().await;
    let metrics = tokio::runtime::Handle::current().metrics();
    assert_eq!(metrics.num_alive_tasks(), 1);
    let handle = cache.layer.handle();
    drop(cache);
    tokio::task::yield_now().await;
    assert_eq!(metrics.num_alive_tasks(), 1, "a handle is left");
    drop(handle);
    tokio::task::yield_now().await;
    assert_eq!(metrics.num_alive_tasks(), 0);
}
