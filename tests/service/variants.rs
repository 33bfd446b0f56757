//! Many variants of one URL (scenario 4; RFC 9111 §4.1).

use bytes::Bytes;
use http::header::{COOKIE, ORIGIN};
use larder::{MemoryManager, Policy, storage::Tiered};

use super::spy::{Asked, Spy};
use crate::support::{Cache, cache, cache_over, ok, request, status};

/// A cache whose origin answers by the fields that `vary` names.
fn varying(
    cache: Cache<impl larder::CacheManager>,
    vary: &'static str,
) -> Cache<impl larder::CacheManager> {
    cache.origin.on(move |request| {
        let mut text = request.uri().path().to_owned();
        for name in vary.split(", ") {
            let lines = request.headers().get_all(name).iter();
            let values: Vec<_> = lines.map(|value| value.to_str().unwrap()).collect();
            text = format!("{text}|{name}={}", values.join(";"));
        }
        ok().cache_control("max-age=60").header("vary", vary).text(text)
    });
    cache
}

/// Scenario 0.9: what `Vary` compares are request fields.
#[tokio::test]
async fn codings_are_not_mixed_up() {
    let cache = cache(Policy::shared());
    cache.origin.on(|request| {
        let reply = ok().cache_control("max-age=60").header("vary", "Accept-Encoding");
        match request.headers().get("accept-encoding") {
            Some(_) => reply.header("content-encoding", "zstd").text("zstd"),
            None => reply.text("identity"),
        }
    });
    for _ in 0..51 {
        let compressed = cache.get_with("/", &[("accept-encoding", "zstd")]).await;
        assert_eq!(
            (compressed.text(), compressed.field("content-encoding")),
            ("zstd", Some("zstd"))
        );
        let plain = cache.get("/").await;
        assert_eq!((plain.text(), plain.field("content-encoding")), ("identity", None));
    }
    assert_eq!(cache.origin.calls(), 2);
}

/// Behaviours 20 and 22; RFC 9111 §4.1.
#[tokio::test]
async fn values_are_compared_as_lists() {
    type Fields = &'static [(&'static str, &'static str)];
    let table: [(&str, Fields, Fields, bool); 12] = [
        ("x-a", &[("x-a", "1")], &[("x-a", "1")], true),
        ("x-a", &[("x-a", "1")], &[("x-a", "2")], false),
        ("x-a", &[("x-a", "1")], &[], false),
        ("x-a", &[], &[("x-a", "")], false),
        ("x-a", &[], &[], true),
        ("X-A, x-a", &[("x-a", "1"), ("x-b", "1")], &[("x-a", "1"), ("x-b", "2")], true),
        ("x-a, x-b", &[("x-a", "1"), ("x-b", "1")], &[("x-a", "1"), ("x-b", "2")], false),
        ("x-a", &[("x-a", "1, 2")], &[("x-a", "1 ,2")], true),
        ("x-a", &[("x-a", "1"), ("x-a", "2")], &[("x-a", "1,2")], true),
        ("x-a", &[("x-a", "1"), ("x-a", "2")], &[("x-a", "2"), ("x-a", "1")], false),
        ("x-a", &[("x-a", "a")], &[("x-a", "A")], false),
        (
            "accept-language",
            &[("accept-language", "en-GB, de")],
            &[("accept-language", "EN-gb,de")],
            true,
        ),
    ];
    for (vary, first, second, is_hit) in table {
        let cache = cache(Policy::private());
        cache.origin.on(move |_| ok().cache_control("max-age=60").header("vary", vary).text("x"));
        cache.get_with("/", first).await;
        let answer = cache.get_with("/", second).await;
        assert_eq!(answer.cache.is_hit(), is_hit, "{vary} {first:?} {second:?}");
        cache.get_with("/", first).await.assert_hit();
    }
}

/// Behaviour 21; RFC 9111 §4.1.
#[tokio::test]
async fn an_asterisk_never_matches() {
    for lines in [&["*"][..], &["accept, *"], &["*, accept"], &["accept", "*"], &[", *,"]] {
        let cache = cache(Policy::private());
        cache.origin.on(move |_| {
            lines
                .iter()
                .fold(ok(), |reply, line| reply.header("vary", line))
                .cache_control("max-age=60")
                .header("etag", "\"1\"")
                .text("x")
        });
        cache.get_twice("/", &[]).await.assert_forwarded();
        assert_eq!(cache.origin.last().field("if-none-match"), None, "{lines:?}");
    }
}

const USER_VARY: &str = "accept, authorization, cookie";
const TOKENS: usize = 10_000;

async fn as_user(cache: &Cache<impl larder::CacheManager>, user: usize) -> crate::support::Answer {
    let token = format!("token {user}");
    let fields = [("accept", "application/json"), ("authorization", token.as_str())];
    let answer = cache.get_with("/user", &fields).await;
    assert!(answer.text().contains(&format!("authorization={token}|")), "{}", answer.text());
    answer
}

/// Scenarios 4.1 and 4.2: a hit reads one index, one head and one body, at 1 and at 10 000 variants.
#[tokio::test]
async fn a_hit_costs_the_same_at_any_number_of_variants() {
    let spy = Spy::new();
    let cache = varying(cache_over(spy.clone(), Policy::private()), USER_VARY);
    let mut users = 0;
    for variants in [1, 100, TOKENS] {
        for user in users..variants {
            as_user(&cache, user).await.assert_forwarded();
        }
        users = variants;
        spy.asked();
        for user in [0, variants / 2, variants - 1] {
            let hit = as_user(&cache, user).await;
            let body_bytes = hit.assert_hit().body.len();
            let expected = Asked { lookups: 1, heads: 1, body_bytes, ..Asked::default() };
            assert_eq!(spy.asked(), expected, "{variants}");
        }
    }
    for user in 0..TOKENS {
        as_user(&cache, user).await.assert_hit();
    }
    assert_eq!((cache.origin.calls(), spy.asked().lookups), (TOKENS, TOKENS));
}

/// Scenario 4.12: one layout is right for both shapes.
#[tokio::test]
async fn a_hit_costs_the_same_at_any_number_of_urls() {
    let spy = Spy::new();
    let cache = varying(cache_over(spy.clone(), Policy::private()), "accept");
    for url in 0..TOKENS {
        cache.get(&format!("/{url}")).await.assert_forwarded();
    }
    spy.asked();
    for url in 0..TOKENS {
        let body_bytes = cache.get(&format!("/{url}")).await.assert_hit().body.len();
        assert_eq!(spy.asked(), Asked { lookups: 1, heads: 1, body_bytes, ..Asked::default() });
    }
}

/// Scenario 4.3: a count where many share, a share of the bytes where each variant is a user.
#[tokio::test]
async fn variants_are_bounded_by_count_or_by_bytes() {
    let manager = MemoryManager::new(256 << 20);
    let shared = varying(cache_over(manager.clone(), Policy::shared().max_variants(64)), "accept");
    for value in 0..TOKENS {
        shared.get_with("/", &[("accept", &value.to_string())]).await.assert_forwarded();
    }
    assert!(manager.len() <= 65, "64 and their index, not {}", manager.len());
    assert_eq!(manager.variants_evicted(), TOKENS as u64 - 64);
    for value in TOKENS - 64..TOKENS {
        shared.get_with("/", &[("accept", &value.to_string())]).await.assert_hit();
    }

    let manager = MemoryManager::new(256 << 20);
    let private = cache_over(manager.clone(), Policy::private());
    let body = Bytes::from(vec![b'x'; 4096]);
    private.origin.on(move |_| {
        let body = http_body_util::Full::new(body.clone());
        ok().cache_control("max-age=60").header("vary", "authorization").body(body)
    });
    for round in 0..2 {
        for user in 0..TOKENS {
            let answer = private.get_with("/", &[("authorization", &user.to_string())]).await;
            assert_eq!(answer.cache.is_hit(), round == 1);
        }
    }
    assert_eq!((manager.variants_evicted(), manager.variants_refused()), (0, 0));
}

/// Scenario 4.3: over its share of the bytes nothing new is kept, and what is kept stays.
#[tokio::test]
async fn one_url_does_not_fill_the_store() {
    let manager = MemoryManager::new(1 << 20);
    let cache = varying(cache_over(manager.clone(), Policy::private()), "authorization");
    for user in 0..2000 {
        cache.get_with("/", &[("authorization", &user.to_string())]).await;
    }
    assert!(manager.variants_refused() > 0);
    assert!(manager.weight() <= (1 << 18) + 4096, "{}", manager.weight());
    cache.get_with("/", &[("authorization", "0")]).await.assert_hit();
}

/// Scenario 4.4; RFC 9111 §4.4: all variants go together, at the cost of one.
#[tokio::test]
async fn an_unsafe_request_ends_all_variants_at_once() {
    for variants in [1, 1000] {
        let spy = Spy::new();
        let cache = varying(cache_over(spy.clone(), Policy::private()), USER_VARY);
        for user in 0..variants {
            as_user(&cache, user).await;
        }
        spy.asked();
        cache.send(request("POST", "/user")).await;
        assert_eq!(spy.asked(), Asked { deletes: 1, ..Asked::default() });
        for user in 0..variants {
            as_user(&cache, user).await.assert_forwarded();
        }
    }
}

/// Scenario 4.5: values that look alike when they are joined.
#[tokio::test]
async fn no_value_can_be_shaped_to_look_like_another() {
    let requests: [&[(&str, &str)]; 8] = [
        &[("x-a", "x"), ("x-b", "yz")],
        &[("x-a", "xy"), ("x-b", "z")],
        &[("x-a", "xyz"), ("x-b", "")],
        &[("x-a", ""), ("x-b", "xyz")],
        &[("x-a", "xyz")],
        &[("x-b", "xyz")],
        &[("x-a", "x|x-b=yz")],
        &[],
    ];
    let cache = varying(cache(Policy::shared()), "x-a, x-b");
    for is_hit in [false, true] {
        for fields in requests {
            assert_eq!(cache.get_with("/", fields).await.cache.is_hit(), is_hit, "{fields:?}");
        }
    }
}

/// Scenario 4.6; RFC 9111 §4, §4.1: sets of names side by side, the newest response first.
#[tokio::test]
async fn a_vary_that_changes_selects_by_each_of_its_forms() {
    let spy = Spy::new();
    let cache = cache_over(spy.clone(), Policy::shared());
    cache.origin.on(|request| {
        // Which form it takes is the origin's to say, here in another field.
        let name = request.headers()["x-form"].to_str().unwrap().to_owned();
        let value = request.headers().get(&name).map_or("-", |value| value.to_str().unwrap());
        ok().cache_control("max-age=600").header("vary", &name).text(format!("{name}={value}"))
    });
    let a1 = [("x-form", "x-a"), ("x-a", "1")];
    let b1 = [("x-form", "x-b"), ("x-b", "1")];
    assert_eq!(cache.get_with("/", &a1).await.text(), "x-a=1");
    cache.clock.advance_secs(1);
    assert_eq!(cache.get_with("/", &b1).await.text(), "x-b=1");
    for _ in 0..3 {
        assert_eq!(cache.get_with("/", &a1).await.assert_hit().text(), "x-a=1");
        assert_eq!(cache.get_with("/", &b1).await.assert_hit().text(), "x-b=1");
    }
    // Both match: the most recent is used.
    let both = [("x-form", "x-a"), ("x-a", "1"), ("x-b", "1")];
    assert_eq!(cache.get_with("/", &both).await.assert_hit().text(), "x-b=1");

    for form in ["x-c", "x-d", "x-e", "x-f", "x-g"] {
        cache.clock.advance_secs(1);
        cache.get_with("/", &[("x-form", form), (form, "1")]).await;
    }
    spy.asked();
    let every = ["x-a", "x-b", "x-c", "x-d", "x-e", "x-f", "x-g"].map(|name| (name, "1"));
    let hit = cache.get_with("/", &every).await;
    assert_eq!(hit.assert_hit().text(), "x-g=1");
    let asked = spy.asked();
    assert!(asked.heads <= 4 && asked.lookups == 1, "{asked:?}");
}

/// Feature vary-drop: a name that is told not to count keeps nothing apart, in the shared store, in a
/// copy of it and after a 304; whatever else `Vary` says holds, and it goes on as it came.
#[tokio::test]
async fn a_name_in_vary_may_be_told_not_to_count() {
    let manager = || Tiered::new(MemoryManager::new(1 << 20), MemoryManager::new(1 << 20));
    let ignoring = |policy: Policy| policy.dangerous_ignore_vary([ORIGIN, COOKIE]);
    for (vary, is_stored, is_apart) in [
        ("Origin", true, false),
        ("origin, Cookie", true, false),
        ("Origin, Accept", true, true),
        ("Origin, *", false, true),
        ("Origin, Authorization", false, true),
    ] {
        let cache = cache_over(manager(), ignoring(Policy::shared()));
        cache.origin.on(move |request| {
            let said = |name: &str| match request.headers().get(name) {
                Some(value) => value.to_str().unwrap().to_owned(),
                None => "none".to_owned(),
            };
            match request.headers().contains_key("if-none-match") {
                true => status(304).header("etag", "\"1\"").cache_control("max-age=60").text(""),
                false => ok()
                    .cache_control("max-age=60")
                    .header("etag", "\"1\"")
                    .header("vary", vary)
                    .text(said("accept")),
            }
        });
        let ask = async |origin: &str, accept: &str| {
            let fields = [("origin", origin), ("cookie", origin), ("accept", accept)];
            cache.get_with("/", &fields).await
        };
        ask("a", "x").await;
        let other = ask("b", "x").await;
        assert_eq!((other.cache.is_hit(), other.field("vary")), (is_stored, Some(vary)), "{vary}");
        assert_eq!(ask("c", "y").await.cache.is_hit(), is_stored && !is_apart, "{vary}");
        cache.clock.advance_secs(61);
        if is_stored {
            ask("d", "x").await.assert_revalidated();
            ask("e", "x").await.assert_hit();
        }
    }
}

/// Feature accept-forms: equal wishes of media types have one variant, by choice.
#[tokio::test]
async fn media_types_may_be_a_set() {
    for (normalises, calls) in [(true, 2), (false, 4)] {
        let cache = cache(Policy::shared().normalise_accept(normalises));
        cache.origin.on(|_| ok().cache_control("max-age=60").header("vary", "accept").text("x"));
        for accept in
            ["text/html, a/b", "a/b,TEXT/HTML", "a/b;q=1.0, text/html", "a/b;q=0.5, text/html"]
        {
            cache.get_with("/", &[("accept", accept)]).await;
        }
        assert_eq!(cache.origin.calls(), calls);
    }
}
