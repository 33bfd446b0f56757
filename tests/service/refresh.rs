//! Stale-while-revalidate (RFC 5861 §3): answered at once, refreshed once, in the background.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use larder::{NoExecutor, Policy, policy::Reason};
use tower::Service;

use crate::support::{
    Cache, OriginError, TestBody, cache, get, now_or_never, ok, request, status, with,
};

/// Lets the background go on until it has nothing more to do.
async fn settle() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

/// A cache whose origin numbers its answers.
fn numbered(policy: Policy, cache_control: &'static str) -> Cache {
    let cache = cache(policy);
    let n = AtomicUsize::new(0);
    cache.origin.on(move |_| {
        let n = n.fetch_add(1, Ordering::SeqCst);
        ok().cache_control(cache_control).header("etag", format!("\"{n}\"")).text(n.to_string())
    });
    cache
}

/// Scenario 2.3: fresh up to 15 s, stale and refreshed up to 30 s.
#[tokio::test]
async fn a_stale_response_is_served_and_refreshed_once() {
    let cache =
        numbered(Policy::shared(), "public, max-age=15, s-maxage=15, stale-while-revalidate=15");
    cache.get("/").await;
    cache.clock.set_secs(14);
    assert_eq!(cache.get("/").await.assert_hit().text(), "0");
    cache.clock.set_secs(16);
    for _ in 0..5 {
        let answer = cache.get("/").await;
        assert_eq!((answer.assert_hit().text(), answer.age()), ("0", Some(16)));
        assert_eq!(answer.field("cache-status"), Some("larder; hit; ttl=-1"));
    }
    assert_eq!(cache.origin.calls(), 1, "nothing before the client has its answer");
    settle().await;
    assert_eq!(cache.origin.calls(), 2, "one refresh for five");
    assert_eq!(cache.origin.last().field("if-none-match"), Some("\"0\""));
    cache.clock.set_secs(17);
    assert_eq!(cache.get("/").await.assert_hit().text(), "1");
    assert_eq!(cache.origin.calls(), 2);
}

/// Scenario 2.3: if the refresh failed, what is past the window blocks. Scenario 2.5: nothing is stale
/// for longer than the window.
#[tokio::test]
async fn past_the_window_the_client_waits() {
    let cache = numbered(Policy::shared(), "max-age=15, stale-while-revalidate=15");
    cache.get("/").await;
    cache.origin.try_on(|_| Err(OriginError("down")));
    cache.clock.set_secs(16);
    cache.get("/").await.assert_hit();
    settle().await;
    assert_eq!(cache.origin.calls(), 2);
    cache.clock.set_secs(30);
    cache.get("/").await.assert_hit();
    settle().await;
    cache.clock.set_secs(31);
    assert_eq!(cache.service.clone().call(get("/")).await.err(), Some(OriginError("down")));
    cache.origin.on(|_| ok().cache_control("max-age=15").text("new"));
    assert_eq!(cache.get("/").await.assert_forwarded().text(), "new");
}

/// Scenario 3.7: 70 s in all, and a refresh by 304 is as good as one by 200.
#[tokio::test]
async fn a_304_refreshes() {
    let cache = cache(Policy::shared());
    cache.origin.on(|request| {
        let code = if request.headers().contains_key("if-none-match") { 304 } else { 200 };
        let reply = status(code).cache_control("max-age=10, stale-while-revalidate=60");
        reply.header("etag", "\"1\"").text(if code == 200 { "hello" } else { "" })
    });
    cache.get("/").await;
    cache.clock.set_secs(69);
    assert_eq!(cache.get("/").await.assert_hit().age(), Some(69));
    settle().await;
    assert_eq!(cache.origin.calls(), 2);
    let fresh = cache.get("/").await;
    assert_eq!((fresh.assert_hit().age(), fresh.text()), (Some(0), "hello"));
    cache.clock.set_secs(69 + 71);
    cache.get("/").await.assert_revalidated();
}

/// security.md, "Background refresh with a user's request": the refresh carries what the key and `Vary`
/// select, and nothing of the user's; the hook may change it.
#[tokio::test]
async fn a_refresh_says_nothing_of_who_asked() {
    let fields = [
        ("host", "a.example"),
        ("accept-language", "en"),
        ("cookie", "session=1"),
        ("authorization", "Basic YTpi"),
        ("x-forwarded-for", "192.0.2.1"),
        ("if-none-match", "\"other\""),
        ("cache-control", "max-stale=0"),
    ];
    let hook = |head: &mut http::request::Parts| {
        assert!(!head.headers.contains_key("cookie"));
        head.headers.insert("x-refresh", "1".parse().unwrap());
    };
    let cache = cache(Policy::shared().refresh_request(hook));
    cache.origin.on(|_| {
        let reply = ok().cache_control("public, max-age=10, stale-while-revalidate=60");
        reply.header("vary", "accept-language").header("etag", "\"1\"").text("hello")
    });
    let clean = |name: &str| !["authorization", "if-none-match"].contains(&name);
    let first: Vec<_> = fields.into_iter().filter(|(name, _)| clean(name)).collect();
    cache.get_with("/?q=1", &first).await;
    cache.clock.set_secs(11);
    let head = with(request("HEAD", "/?q=1"), &fields);
    cache.send(head).await.assert_hit();
    settle().await;
    let sent = cache.origin.last();
    assert_eq!((sent.method.as_str(), sent.path()), ("GET", "/?q=1"));
    let mut names: Vec<_> = sent.headers.keys().map(|name| name.as_str().to_owned()).collect();
    names.sort();
    assert_eq!(names, ["accept-language", "host", "if-none-match", "x-refresh"]);
    assert_eq!(sent.field("if-none-match"), Some("\"1\""));
    cache.get_with("/?q=1", &first).await.assert_hit();
}

/// The same: what was stored for a user's credentials or in a user's partition is validated by the
/// user's own request.
#[tokio::test]
async fn what_belongs_to_a_user_is_refreshed_by_the_user() {
    const CC: &str = "public, max-age=10, stale-while-revalidate=60";
    let part = Policy::shared().partition(|_| Some("ada".to_owned()));
    for (policy, fields) in
        [(Policy::shared(), &[("authorization", "Basic YTpi")][..]), (part, &[][..])]
    {
        let cache = numbered(policy, CC);
        cache.get_with("/", fields).await;
        cache.clock.set_secs(11);
        let answer = cache.get_with("/", fields).await;
        assert_eq!(answer.assert_forwarded().text(), "1");
        assert_eq!(cache.origin.last().field("authorization"), fields.first().map(|field| field.1));
    }
}

/// RFC 9111 §4.4 and purges: a refresh that began before brings nothing back.
#[tokio::test]
async fn a_refresh_does_not_bring_back_what_was_taken_out() {
    for by_purge in [true, false] {
        let cache = cache(Policy::shared());
        let gate = Arc::new(tokio::sync::Semaphore::new(1));
        let at_origin = gate.clone();
        cache.origin.on_later(move |request| {
            let (gate, method) = (at_origin.clone(), request.method().clone());
            async move {
                if method == "GET" {
                    gate.acquire().await.unwrap().forget();
                }
                Ok(ok().cache_control("max-age=10, stale-while-revalidate=60").text("old"))
            }
        });
        cache.get("/").await;
        cache.clock.set_secs(11);
        cache.get("/").await.assert_hit();
        settle().await;
        match by_purge {
            true => {
                let purge = larder::Purge::url("http://a.example/").unwrap();
                cache.layer.handle().purge(purge).await.unwrap();
            }
            false => drop(cache.send(request("POST", "/")).await),
        }
        gate.add_permits(1);
        settle().await;
        gate.add_permits(1);
        cache.get("/").await.assert_forwarded();
    }
}

/// Back-off: a dead origin is not asked by each request.
#[tokio::test]
async fn a_refresh_that_fails_is_tried_again_later_and_later() {
    for fails in [true, false] {
        let cache = numbered(Policy::shared(), "max-age=10, stale-while-revalidate=3600");
        cache.get("/").await;
        cache.origin.try_on(move |_| match fails {
            true => Err(OriginError("down")),
            false => Ok(status(500).text("down")),
        });
        let mut asked_at = Vec::new();
        for tenths in 110..400 {
            cache.clock.advance(Duration::from_millis(100));
            if tenths == 110 {
                cache.clock.set_secs(11);
            }
            let before = cache.origin.calls();
            assert_eq!(cache.get("/").await.assert_hit().text(), "0");
            settle().await;
            if cache.origin.calls() > before {
                asked_at.push(tenths - 110);
            }
        }
        assert_eq!(asked_at, [0, 10, 30, 70, 150], "in tenths of a second, doubled each time");
    }
}

/// Scenario 2.19: at most so many at once, all done, none twice.
#[tokio::test]
async fn refreshes_that_come_together_are_limited() {
    let cache = cache(Policy::shared()).layered(|layer| layer.refresh_limits(16, 16));
    let running = Arc::new(Mutex::new((0_usize, 0_usize)));
    let at_origin = running.clone();
    cache.origin.on_later(move |_| {
        let running = at_origin.clone();
        async move {
            {
                let mut running = running.lock().unwrap();
                running.0 += 1;
                running.1 = running.1.max(running.0);
            }
            for _ in 0..3 {
                tokio::task::yield_now().await;
            }
            running.lock().unwrap().0 -= 1;
            Ok(ok().cache_control("max-age=10, stale-while-revalidate=60").text("hello"))
        }
    });
    for n in 0..500 {
        cache.get(&format!("/{n}")).await;
    }
    cache.clock.set_secs(11);
    running.lock().unwrap().1 = 0;
    for n in 0..500 {
        let pending = cache.service.clone().call(get(&format!("/{n}")));
        assert!(now_or_never(pending).unwrap().unwrap().body().status().is_hit());
    }
    for _ in 0..20 {
        settle().await;
    }
    assert_eq!(running.lock().unwrap().1, 16);
    assert_eq!(cache.origin.calls(), 1000, "all done, none twice");
    for n in 0..500 {
        assert_eq!(cache.get(&format!("/{n}")).await.assert_hit().age(), Some(0));
    }
}

/// One authority does not take the places of all.
#[tokio::test]
async fn refreshes_of_one_authority_are_limited() {
    let cache = cache(Policy::shared()).layered(|layer| layer.refresh_limits(8, 2));
    let hangs = Arc::new(AtomicUsize::new(0));
    let counted = hangs.clone();
    let stale = || ok().cache_control("max-age=10, stale-while-revalidate=60").text("hello");
    cache.origin.on(move |_| stale());
    let urls: Vec<String> =
        (0..20).map(|n| format!("http://{}.example/{n}", if n < 10 { "a" } else { "b" })).collect();
    for url in &urls {
        cache.get(url).await;
    }
    cache.origin.on_later(move |_| {
        counted.fetch_add(1, Ordering::SeqCst);
        std::future::pending::<Result<http::Response<TestBody>, OriginError>>()
    });
    cache.clock.set_secs(11);
    for url in &urls {
        cache.get(url).await.assert_hit();
    }
    settle().await;
    assert_eq!(hangs.load(Ordering::SeqCst), 4, "two for each");
}

/// Design, "Time and tasks": without an executor the refresh is in the foreground.
#[tokio::test]
async fn without_an_executor_the_client_waits_for_the_refresh() {
    let cache = numbered(Policy::shared(), "max-age=10, stale-while-revalidate=60")
        .layered(|layer| layer.executor(NoExecutor));
    cache.get("/").await;
    cache.clock.set_secs(11);
    assert_eq!(cache.get("/").await.assert_hit().text(), "1");
    cache.clock.set_secs(22);
    cache.origin.try_on(|_| Err(OriginError("down")));
    let stale = cache.get("/").await;
    assert_eq!((stale.text(), stale.age()), ("1", Some(11)));
    assert_eq!(cache.origin.calls(), 3);
}

/// `CacheHandle::shutdown`: nothing new is begun, and what is stale is served all the same.
#[tokio::test]
async fn after_a_shutdown_nothing_is_refreshed() {
    let cache = numbered(Policy::shared(), "max-age=10, stale-while-revalidate=60");
    cache.get("/").await;
    cache.layer.handle().shutdown().await;
    cache.clock.set_secs(11);
    cache.get("/").await.assert_hit();
    settle().await;
    assert_eq!(cache.origin.calls(), 1);
    cache.clock.set_secs(71);
    assert_eq!(cache.get("/").await.assert_forwarded().text(), "1");
}

/// Scenario 2.6: the origin sees at most one request a key and lifetime, whatever the clients do.
#[tokio::test]
async fn the_rate_at_the_origin_does_not_depend_on_the_clients() {
    const KEYS: usize = 1920;
    let cache = numbered(Policy::shared(), "max-age=15, stale-while-revalidate=15")
        .layered(|layer| layer.refresh_limits(KEYS, KEYS));
    let mut next = 0;
    for _second in 0..60 {
        // A twentieth of the scenario's clients: which of them come is the same each second.
        for _ in 0..2500 {
            next = (next + 7) % KEYS;
            cache.get(&format!("/{next}")).await;
        }
        settle().await;
        cache.clock.advance_secs(1);
    }
    assert!(cache.origin.calls() <= 4 * KEYS, "{}", cache.origin.calls());
}

/// What is asked for by `only-if-cached` is served stale and not asked for (RFC 9111 §5.2.1.7).
#[tokio::test]
async fn only_if_cached_asks_nobody() {
    let cache = numbered(Policy::shared(), "max-age=10, stale-while-revalidate=60");
    cache.get("/").await;
    cache.clock.set_secs(11);
    cache.get_with("/", &[("cache-control", "only-if-cached")]).await.assert_hit();
    settle().await;
    assert_eq!(cache.origin.calls(), 1);
}

/// The policy's own window, where the response says nothing (Decision 1 where it says `s-maxage`).
#[tokio::test]
async fn a_window_of_the_policys_own() {
    let minute = Duration::from_secs(60);
    for (cache_control, is_stale) in [
        ("max-age=10", true),
        ("max-age=10, stale-while-revalidate=0", false),
        ("max-age=10, must-revalidate", false),
        ("s-maxage=10", false),
    ] {
        let cache = numbered(Policy::shared().stale_while_revalidate(minute), cache_control);
        cache.get("/").await;
        cache.clock.set_secs(11);
        let answer = cache.get("/").await;
        assert_eq!(answer.cache.is_hit(), is_stale, "{cache_control}");
        if !is_stale {
            assert_eq!(answer.cache.reason(), Some(Reason::Stale));
        }
    }
}

/// Two layers over one store, one inside the other: the refresh reaches the origin.
#[tokio::test]
async fn a_refresh_goes_through_a_layer_further_inside() {
    let cache = numbered(Policy::shared(), "max-age=10, stale-while-revalidate=60");
    let outer = tower::Layer::layer(&cache.layer, cache.service.clone());
    let ask = async || {
        let answer = outer.clone().call(get("/")).await.unwrap();
        let is_hit = answer.body().status().is_hit();
        (crate::support::read(answer).await.unwrap(), is_hit)
    };
    ask().await;
    cache.clock.set_secs(11);
    assert_eq!(ask().await, ("0".into(), true));
    settle().await;
    assert_eq!(cache.origin.calls(), 2);
    assert_eq!(ask().await, ("1".into(), true));
    assert_eq!(cache.origin.calls(), 2);
}
