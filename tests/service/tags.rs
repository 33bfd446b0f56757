//! Purging by tag: scenarios 0.2 and 0.3, security "Cross-tenant groups/tags" and "Tag bombs".

use larder::{
    Cached, MemoryManager, Policy, Purge,
    policy::{CacheStatus, Reason},
};

use crate::{
    spy::Spy,
    support::{Cache, cache, cache_over, ok, request, status},
};

/// A cache whose pages carry what follows `?` as tags.
fn tagged(policy: Policy) -> Cache {
    let cache = cache(policy);
    cache.origin.on(|request| {
        let tags = request.uri().query().unwrap_or_default().replace('+', " ");
        ok().cache_control("max-age=60").header("surrogate-key", tags).text("hello")
    });
    cache
}

/// Scenario 0.3: a tag is compared whole, never as a part of a joined string.
#[tokio::test]
async fn a_tag_is_compared_whole() {
    let cache = tagged(Policy::shared());
    let pages = ["/a?u-proj", "/b?u-proj2", "/c?x+u-proj", "/d?U-PROJ", "/e?x", "/f"];
    for page in pages {
        cache.get_twice(page, &[]).await.assert_hit();
    }
    cache.layer.handle().purge(Purge::tag("u-proj")).await.unwrap();
    for (page, is_gone) in pages.into_iter().zip([true, false, true, false, false, false]) {
        assert_eq!(cache.get(page).await.cache.is_hit(), !is_gone, "{page}");
        cache.get(page).await.assert_hit();
    }
}

/// A handler may give a tag that no field could carry; it is never sent.
/// Feature request-extensions.
#[tokio::test]
async fn a_handler_gives_tags() {
    let cache = cache(Policy::shared());
    cache
        .origin
        .on(|_| ok().extension(Cached::for_secs(60).tag("a b").tags(["c, d", "é"])).text(""));
    for tag in ["a b", "c, d", "é"] {
        let answer = cache.get_twice("/", &[]).await;
        answer.assert_hit();
        assert!(!format!("{:?}", answer.headers).contains('é'));
        for other in ["a", "b", "c", "a b ", "d"] {
            cache.layer.handle().purge(Purge::tag(other)).await.unwrap();
            cache.get("/").await.assert_hit();
        }
        cache.layer.handle().purge(Purge::tag(tag)).await.unwrap();
        assert_eq!(cache.get("/").await.cache.reason(), Some(Reason::Purged), "{tag}");
    }
}

/// Tags mean something inside of one namespace, unless the purge says otherwise.
#[tokio::test]
async fn a_tag_is_scoped() {
    type Expected = [bool; 4];
    let purges: [(fn() -> Purge, Expected); 6] = [
        (|| Purge::tag("t"), [true, true, false, false]),
        (|| Purge::tag("t").in_namespace("two"), [false, false, true, false]),
        (|| Purge::tag("t").in_namespace("tw"), [false; 4]),
        (|| Purge::tag("t").everywhere(), [true; 4]),
        (|| Purge::tag("t").of_origin("http://a.example/x").unwrap(), [true, false, false, false]),
        (
            || Purge::tag("t").of_origin("HTTP://A.example:80").unwrap().everywhere(),
            [true, false, true, true],
        ),
    ];
    for (purge, expected) in purges {
        let store = MemoryManager::new(1 << 20);
        let cache = |policy| {
            let cache = cache_over(store.clone(), policy);
            cache.origin.on(|_| ok().cache_control("max-age=60").header("cache-tag", "t").text(""));
            cache
        };
        let one = cache(Policy::shared().namespace("one"));
        let two = cache(Policy::shared().namespace("two"));
        let none = cache(Policy::shared());
        let places = [
            (&one, "http://a.example/"),
            (&one, "http://b.example/"),
            (&two, "http://a.example/"),
            (&none, "http://a.example/"),
        ];
        for (cache, url) in places {
            cache.send(request("GET", url)).await;
            cache.send(request("GET", url)).await.assert_hit();
        }
        one.layer.handle().purge(purge()).await.unwrap();
        for ((cache, url), is_gone) in places.into_iter().zip(expected) {
            let is_hit = cache.send(request("GET", url)).await.cache.is_hit();
            assert_eq!(is_hit, !is_gone, "{} {url}", purge());
        }
    }
}

/// A layer without a namespace purges what has none.
#[tokio::test]
async fn no_namespace_is_one_of_its_own() {
    let store = MemoryManager::new(1 << 20);
    let named = cache_over(store.clone(), Policy::shared().namespace(""));
    let none = cache_over(store, Policy::shared());
    for cache in [&named, &none] {
        cache.origin.on(|_| ok().cache_control("max-age=60").header("cache-tag", "t").text(""));
        cache.get_twice("/", &[]).await.assert_hit();
    }
    none.layer.handle().purge(Purge::tag("t")).await.unwrap();
    named.get("/").await.assert_hit();
    none.get("/").await.assert_forwarded();
}

/// Security, "Tag bombs".
#[tokio::test]
async fn a_tag_bomb_is_not_stored() {
    let cache = cache(Policy::shared());
    cache.origin.on(|_| {
        ok().cache_control("max-age=60").header("cache-tag", vec!["t"; 30_000].join(",")).text("x")
    });
    for _ in 0..2 {
        let answer = cache.get("/").await;
        assert_eq!(answer.cache.reason(), Some(Reason::TooManyTags));
        assert_eq!(answer.text(), "x");
    }
}

/// RFC 9111 §3.2: a 304 that names tags replaces those of the fields; a handler's own stay until it
/// says something else.
#[tokio::test]
async fn tags_follow_a_validation() {
    const NEW: Option<(&str, &str)> = Some(("cache-tag", "new"));
    for (field, tag, is_gone) in [
        (None, "old", true),
        (None, "own", true),
        (Some(("cache-control", "max-age=60")), "own", true),
        (NEW, "old", false),
        (NEW, "new", true),
        (NEW, "own", true),
    ] {
        let cache = cache(Policy::shared());
        cache.origin.on(move |request| {
            let validates = request.headers().contains_key("if-none-match");
            let handler = Cached::for_secs(60).tag("own");
            let (reply, field) = match validates {
                true => (status(304), field),
                false => (ok().extension(handler), Some(("cache-tag", "old"))),
            };
            let reply = reply.header("etag", "\"1\"");
            field.into_iter().fold(reply, |reply, (name, value)| reply.header(name, value)).text("")
        });
        cache.get("/").await;
        for _ in 0..2 {
            cache.clock.advance_secs(61);
            cache.get("/").await.assert_revalidated();
            cache.get("/").await.assert_hit();
        }
        cache.layer.handle().purge(Purge::tag(tag)).await.unwrap();
        assert_eq!(cache.get("/").await.cache.is_hit(), !is_gone, "{field:?} {tag}");
    }
}

/// Scenario 0.2: one tag of many. The purge visits no entry; the sweeper counts those that had it; each
/// of them, and nothing else, is asked for once more. `LARDER_ENTRIES=100000` makes it as large as
/// the scenario.
#[tokio::test]
async fn one_tag_of_many() {
    let count = std::env::var("LARDER_ENTRIES").map_or(10_000, |count| count.parse().unwrap());
    let tags = count / 100;
    let store = Spy::new();
    let cache = cache_over(store.clone(), Policy::shared());
    cache.origin.on(move |request| {
        let number: usize = request.uri().path()[1..].parse().unwrap();
        ok().cache_control("max-age=60")
            .header("surrogate-key", format!("t{}", number % tags))
            .text("")
    });
    for number in 0..count {
        cache.get(&format!("/{number}")).await;
    }
    store.asked();
    let handle = cache.layer.handle();
    // Nobody sweeps before the test lets others go on.
    let purged = crate::support::now_or_never(handle.purge(Purge::tag("t7"))).unwrap().unwrap();
    assert_eq!(store.asked(), crate::spy::Asked::default());
    assert_eq!(purged.swept().await.unwrap(), 100);
    assert_eq!(store.asked().scanned, count);
    let asked = cache.origin.calls();
    for number in 0..count {
        let answer = cache.get(&format!("/{number}")).await;
        assert_eq!(answer.cache.is_hit(), number % tags != 7, "{number}");
    }
    assert_eq!(cache.origin.calls() - asked, 100);
    assert_eq!(handle.stats().selectors(), 0, "what is swept leaves the log");
}

/// A flood of unsafe requests empties nothing but what they were for. `LARDER_POSTS=1000000` makes it
/// larger.
#[tokio::test]
async fn a_flood_of_posts_empties_nothing_else() {
    let posts = std::env::var("LARDER_POSTS").map_or(10_000, |count| count.parse().unwrap());
    let cache = cache(Policy::shared());
    cache.origin.on(|_| ok().cache_control("max-age=60").text(""));
    let pages: Vec<_> = (0..100).map(|page| format!("/page/{page}")).collect();
    for page in &pages {
        cache.get(page).await;
    }
    for number in 0..posts {
        let answer = cache.send(request("POST", &format!("/{number}"))).await;
        assert_eq!(answer.cache, CacheStatus::forwarded(Reason::UnsafeMethod));
    }
    for page in &pages {
        cache.get(page).await.assert_hit();
    }
    let stats = cache.layer.handle().stats();
    assert_eq!((stats.purges(), stats.selectors()), (0, 0));
}
