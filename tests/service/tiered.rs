//! Memory before a slower store: scenario 2.12, and what each tier is asked.

use std::{convert::Infallible, time::Duration};

use bytes::Bytes;
use futures_util::stream;
use http_body::Frame;
use http_body_util::StreamBody;
use larder::{CacheManager, MemoryManager, Policy, Purge, storage::Tiered};

use super::spy::{Asked, Call, Fault, Spy};
use crate::support::{Cache, cache_over, ok, request, status};

type Tiers = Tiered<MemoryManager, Spy>;

/// Memory before `slow`, by the clock of the cache, and an origin that answers `hello`.
fn before(slow: &Spy) -> Cache<Tiers> {
    made(slow, |tiers| tiers)
}

fn made(slow: &Spy, change: impl FnOnce(Tiers) -> Tiers) -> Cache<Tiers> {
    let clock = crate::support::TestClock::new();
    let tiers = Tiered::new(MemoryManager::new(1 << 20), slow.clone()).clock(clock.clone());
    let mut cache = cache_over(change(tiers), Policy::shared());
    cache.clock = clock.clone();
    let cache = cache.layered(|layer| layer.clock(clock));
    cache.origin.on(|request| match request.headers().get("if-none-match") {
        Some(_) => status(304).header("etag", "\"1\"").cache_control("max-age=20").text(""),
        None => ok().cache_control("max-age=10").header("etag", "\"1\"").text("hello"),
    });
    cache
}

fn fast(cache: &Cache<Tiers>) -> MemoryManager {
    cache.layer.handle().manager().fast().clone()
}

/// Empties the fast tier, as eviction or a restart does.
async fn forget(cache: &Cache<Tiers>) {
    fast(cache).clear().await.unwrap();
}

/// Storage issue, "write through": the response is in both tiers, and a hit in memory asks the slow
/// one nothing.
#[tokio::test]
async fn a_hit_in_memory_asks_the_slow_tier_nothing() {
    for slow in [Spy::new(), Spy::waiting()] {
        let cache = before(&slow);
        cache.get("/").await.assert_forwarded();
        assert_eq!(slow.asked().writes, 1);
        for _ in 0..3 {
            assert_eq!(cache.get("/").await.assert_hit().text(), "hello");
        }
        assert_eq!(slow.asked(), Asked::default());
    }
}

/// Filled up on the second hit.
#[tokio::test]
async fn the_second_hit_fills_the_fast_tier() {
    for slow in [Spy::new(), Spy::waiting()] {
        let cache = before(&slow);
        cache.get("/").await;
        forget(&cache).await;
        for (hits, is_copied) in [(1, false), (2, true)] {
            assert_eq!(cache.get("/").await.assert_hit().text(), "hello", "{hits}");
            assert_eq!(!fast(&cache).is_empty(), is_copied, "{hits}");
        }
        slow.asked();
        cache.get("/").await.assert_hit();
        assert_eq!(slow.asked(), Asked::default());
        assert_eq!(cache.origin.calls(), 1);
    }
}

/// The same for variants, each by itself.
#[tokio::test]
async fn variants_are_copied_each_by_itself() {
    let slow = Spy::new();
    let cache = before(&slow);
    cache.origin.on(|request| {
        let language = request.headers()["accept-language"].to_str().unwrap().to_owned();
        ok().cache_control("max-age=10").header("vary", "accept-language").text(&language)
    });
    let ask = async |language| cache.get_with("/", &[("accept-language", language)]).await;
    for language in ["en", "de"] {
        ask(language).await.assert_forwarded();
    }
    forget(&cache).await;
    for language in ["en", "de", "en"] {
        assert_eq!(ask(language).await.assert_hit().text(), language);
    }
    slow.asked();
    assert_eq!(ask("en").await.assert_hit().text(), "en");
    assert_eq!(slow.asked(), Asked::default(), "it was copied");
    assert_eq!(ask("de").await.assert_hit().text(), "de");
    assert_ne!(slow.asked(), Asked::default(), "it was not");
}

/// Scenario 2.12: a read that is stuck is a miss within the limit of the slow tier, and the status says why.
#[tokio::test]
async fn a_slow_tier_that_hangs_is_a_miss_in_time() {
    for (own, layers) in [(50, 5000), (5000, 50), (50, 50)] {
        let slow = Spy::waiting();
        let cache = made(&slow, |tiers| tiers.slow_timeout(Duration::from_millis(own)))
            .layered(|layer| layer.store_timeout(Duration::from_millis(layers)));
        cache.get("/").await;
        forget(&cache).await;
        slow.breaks(Call::Get, Fault::Hang);
        let start = cache.clock.date(0);
        let answer = cache.send_by_clock("GET").await.expect("it is answered");
        let member = answer.assert_forwarded().field("cache-status").unwrap().to_owned();
        assert!(member.starts_with("larder; fwd=miss"), "{member}");
        assert!(member.contains("detail=store-timeout"), "{member}");
        assert_eq!((answer.text(), cache.origin.calls()), ("hello", 2));
        assert_eq!(cache.clock.date(0), start, "less than a second has passed");
        // What came is in memory, though the slow tier still hangs.
        cache.send_by_clock("GET").await.expect("it is answered").assert_hit();
    }
}

/// "The slow one failing or being slow does not hurt the fast one": whatever call fails or never
/// ends, requests are answered, and what was asked for last is in memory.
#[tokio::test]
async fn a_slow_tier_that_fails_does_not_hurt_the_fast_one() {
    use Call::{Delete, Finish, Get, Put, Remove, Update, Write};
    for call in [Get, Put, Write, Finish, Update, Remove, Delete] {
        for fault in [Fault::Fail, Fault::Hang, Fault::Wait] {
            let slow = Spy::waiting();
            // Nobody wakes a write that waits for a clock that stands still: it waits for no time.
            let cache = made(&slow, |tiers| tiers.slow_timeout(Duration::ZERO));
            cache.get("/").await;
            slow.breaks(call, fault);
            for method in ["GET", "HEAD", "POST", "GET", "GET"] {
                let answer = cache.send_by_clock(method).await;
                let answer = answer.unwrap_or_else(|| panic!("{call:?} {fault:?} {method}"));
                assert_eq!(answer.status, 200, "{call:?} {fault:?} {method}");
                tokio::task::yield_now().await;
                cache.clock.advance_secs(9);
            }
            cache.send_by_clock("GET").await.expect("it is answered");
            let last = cache.send_by_clock("GET").await.expect("it is answered");
            assert!(last.cache.is_hit(), "{call:?} {fault:?} {:?}", last.cache);
        }
    }
}

/// Purged through all tiers: what is deleted or purged is in neither tier, wherever it was.
#[tokio::test]
async fn a_purge_goes_through_both_tiers() {
    let slow = Spy::waiting();
    let cache = before(&slow);
    for is_in_fast in [true, false] {
        cache.get("/").await;
        cache.get("/").await.assert_hit();
        if !is_in_fast {
            forget(&cache).await;
        }
        cache.send(request("POST", "/")).await;
        cache.get("/").await.assert_forwarded();
        cache.layer.handle().purge(Purge::everything()).await.unwrap();
        cache.get("/").await.assert_forwarded();
        cache.layer.handle().clear().await.unwrap();
        assert!(fast(&cache).is_empty() && slow.inner.is_empty());
    }
}

/// The contract's third promise, across tiers: a delete between look-up and reading keeps the copy out.
#[tokio::test]
async fn a_delete_refuses_the_copy_that_is_on_its_way() {
    let slow = Spy::new();
    let cache = before(&slow);
    cache.get("/").await;
    forget(&cache).await;
    cache.get("/").await.assert_hit();
    let manager = cache.layer.handle().manager().clone();
    let visitor = Policy::shared();
    let (mut head, ()) = http::Request::get("http://a.example/").body(()).unwrap().into_parts();
    let look = |head: &http::request::Parts| {
        let size = http_body::SizeHint::with_exact(0);
        let larder::policy::Begin::Lookup(lookup) = visitor.begin(head, &size) else {
            panic!("a GET looks up")
        };
        let found = manager.get_now(&lookup.wanted(&head.headers, manager.secret()));
        (found.unwrap().unwrap().into_entry(0).unwrap(), lookup.key().clone())
    };
    let (entry, key) = look(&mut head);
    manager.delete(&key).await.unwrap();
    drop(manager.read(&entry, 0..entry.response().length()));
    assert!(fast(&cache).is_empty(), "the dead stay dead");
    cache.get("/").await.assert_forwarded();
}

/// A 304 reaches both tiers, from whichever the response came.
#[tokio::test]
async fn a_new_head_is_in_both_tiers() {
    for was_in_fast in [true, false] {
        let slow = Spy::waiting();
        let cache = before(&slow);
        cache.get("/").await;
        if !was_in_fast {
            forget(&cache).await;
        }
        cache.clock.advance_secs(11);
        cache.get("/").await.assert_revalidated();
        forget(&cache).await;
        cache.clock.advance_secs(15);
        cache.get("/").await.assert_hit();
        assert_eq!(cache.origin.calls(), 2);
    }
}

/// Sizes are routed: what is large is in the slow tier alone, also if that shows only as it comes, and
/// takes the place of what was small.
#[tokio::test]
async fn large_bodies_do_not_enter_the_fast_tier() {
    let slow = Spy::waiting();
    let cache = made(&slow, |tiers| tiers.fast_entry_bytes(1000));
    let large = "x".repeat(1001);
    for is_announced in [true, false] {
        cache.origin.on(|_| ok().cache_control("max-age=10").text("small"));
        cache.get("/").await;
        assert_eq!(fast(&cache).len(), 1);
        let text = large.clone();
        cache.origin.on(move |_| {
            let reply = ok().cache_control("max-age=10");
            if is_announced {
                return reply.text(&text);
            }
            let halves = [&text[..600], &text[600..]].map(|half| Bytes::from(half.to_owned()));
            let frames = halves.map(|half| Ok::<_, Infallible>(Frame::data(half)));
            reply.body(StreamBody::new(stream::iter(frames)))
        });
        cache.clock.advance_secs(11);
        for _ in 0..4 {
            assert_eq!(cache.get("/").await.text(), large);
        }
        cache.get("/").await.assert_hit();
        assert!(fast(&cache).is_empty());
        cache.layer.handle().clear().await.unwrap();
    }
}

#[cfg(feature = "disk")]
mod over_disk {
    use http_body_util::BodyExt;
    use larder::{CacheBody, DiskManager};
    use tower::Service;

    use super::*;
    use crate::support::{TestBody, get, scratch::Scratch};

    fn open(scratch: &Scratch) -> Cache<Tiered<MemoryManager, DiskManager>> {
        let disk = DiskManager::open(scratch.path()).unwrap();
        // The files are read by threads, for which the clock that stands still does not wait.
        let tiers = Tiered::new(MemoryManager::new(8 << 20), disk);
        let cache = cache_over(tiers, Policy::shared());
        cache.origin.on(|_| ok().cache_control("max-age=100").text("x".repeat(900_000)));
        cache
    }

    async fn begin(cache: &Cache<Tiered<MemoryManager, DiskManager>>) -> CacheBody<TestBody> {
        cache.service.clone().call(get("/")).await.unwrap().into_body()
    }

    /// Scenario 0.6 for two tiers: after a restart memory is empty, the disk answers, and what is
    /// asked for again is in memory.
    #[tokio::test]
    async fn a_restart_serves_from_disk_and_fills_up() {
        let scratch = Scratch::new();
        let cache = open(&scratch);
        cache.get("/").await.assert_forwarded();
        cache.layer.handle().sync().await.unwrap();
        drop(cache);
        let cache = open(&scratch);
        let fast = cache.layer.handle().manager().fast().clone();
        for copies in [0, 1, 1] {
            assert_eq!(cache.get("/").await.assert_hit().text().len(), 900_000);
            assert_eq!(fast.len(), copies);
        }
        assert_eq!(cache.origin.calls(), 0);
    }

    /// Whole or not at all, and no return of the dead: a copy whose client leaves, or whose resource is
    /// deleted or purged while it is read, never gets into memory.
    #[tokio::test]
    async fn a_copy_is_whole_and_of_what_is_still_there() {
        for end in ["leave", "delete", "purge", "clear", "read"] {
            let scratch = Scratch::new();
            let cache = open(&scratch);
            let (handle, fast) =
                (cache.layer.handle(), cache.layer.handle().manager().fast().clone());
            cache.get("/").await;
            handle.sync().await.unwrap();
            fast.clear().await.unwrap();
            cache.get("/").await.assert_hit();
            let mut body = begin(&cache).await;
            assert!(body.status().is_hit());
            let first = body.frame().await.unwrap().unwrap().into_data().unwrap();
            assert!(first.len() < 900_000, "the body comes in pieces");
            match end {
                "delete" => drop(cache.send(request("POST", "/")).await),
                "purge" => drop(handle.purge(Purge::everything()).await.unwrap()),
                "clear" => drop(handle.clear().await.unwrap()),
                _ => {}
            }
            if end == "leave" {
                drop(body);
            } else {
                let rest = body.collect().await.unwrap().to_bytes();
                assert_eq!(first.len() + rest.len(), 900_000, "an open body ends well");
            }
            // What was purged the log refuses, wherever it is.
            if end != "purge" {
                assert_eq!(fast.len(), usize::from(end == "read"), "{end}");
            }
            let calls = cache.origin.calls();
            cache.get("/").await;
            let is_asked = cache.origin.calls() > calls;
            assert_eq!(is_asked, !["leave", "read"].contains(&end), "{end}");
        }
    }

    /// What another process purges leaves memory as soon as that has looked at the slow tier's log.
    #[tokio::test]
    async fn a_purge_of_another_process_is_heard() {
        let scratch = Scratch::new();
        let clock = crate::support::TestClock::new();
        let disk = DiskManager::open(scratch.path()).unwrap();
        let tiers = Tiered::new(MemoryManager::new(1 << 20), disk).clock(clock.clone());
        let cache = cache_over(tiers, Policy::shared());
        cache.origin.on(|_| ok().cache_control("max-age=100").text("hello"));
        cache.get("/").await;
        cache.get("/").await.assert_hit();
        let guest = DiskManager::open(scratch.path()).unwrap();
        assert!(guest.is_guest());
        let other = cache_over(guest, Policy::shared());
        other.layer.handle().purge(Purge::everything()).await.unwrap();
        clock.advance(Duration::from_millis(10));
        cache.get("/").await.assert_forwarded();
        cache.get("/").await.assert_hit();
    }
}
