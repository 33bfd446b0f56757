//! Response directives in both modes.

use larder::{
    Policy,
    policy::{ClientMaxStale, Scope},
};

use crate::support::{cache, ok};

/// What a mode makes of a response that has a tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kept {
    No,
    /// Validated at each use.
    Validated,
    /// Fresh for so long, and then served to a client that takes stale responses.
    For(u64),
    /// Fresh for so long, and then validated whatever the client takes.
    Only(u64),
}
use Kept::{For, No, Only, Validated};

/// Scenario 1.6; RFC 9111 §3, §4.2.1, §5.2.2.
#[tokio::test]
async fn directives_mean_what_they_should_in_either_mode() {
    let table: [(&str, Kept, Kept); 28] = [
        ("", Validated, Validated),
        ("public", Validated, Validated),
        ("private", No, Validated),
        ("no-store", No, No),
        ("no-cache", Validated, Validated),
        ("must-revalidate", Validated, Validated),
        ("max-age=0", Validated, Validated),
        ("max-age=60", For(60), For(60)),
        ("public, max-age=60", For(60), For(60)),
        ("private, max-age=60", No, For(60)),
        ("no-store, max-age=60", No, No),
        ("private, no-store, max-age=60", No, No),
        ("no-cache, max-age=60", Validated, Validated),
        ("public, no-cache, max-age=60", Validated, Validated),
        ("private, no-cache, max-age=60", No, Validated),
        ("must-understand, no-store, max-age=60", For(60), For(60)),
        ("max-age=60, must-revalidate", Only(60), Only(60)),
        ("max-age=60, proxy-revalidate", Only(60), For(60)),
        ("s-maxage=30", Only(30), Validated),
        ("max-age=60, s-maxage=30", Only(30), For(60)),
        ("s-maxage=90, max-age=60, must-revalidate", Only(90), Only(60)),
        ("max-age=60, s-maxage=0", Validated, For(60)),
        ("private, s-maxage=30", No, Validated),
        ("private=\"x-other\", max-age=60", For(60), For(60)),
        ("no-cache=\"x-other\", max-age=60", For(60), For(60)),
        ("max-age=60, immutable, no-transform", For(60), For(60)),
        ("x-no-store-hint, x=\"no-store, private\", max-age=60", For(60), For(60)),
        ("max-age=60, max-age=61", Validated, Validated),
    ];
    for (directives, shared, private) in table {
        for (policy, expected) in [(Policy::shared(), shared), (Policy::private(), private)] {
            let scope = policy.scope();
            let policy = policy.client_max_stale(ClientMaxStale::Honour);
            assert_eq!(kept(policy, directives).await, expected, "{directives} {scope:?}");
        }
    }
}

async fn kept(policy: Policy, directives: &'static str) -> Kept {
    let cache = cache(policy);
    cache.origin.on(move |_| ok().cache_control(directives).header("etag", "\"1\"").text("hello"));
    cache.get("/").await;
    let fresh = async |second| {
        cache.clock.set_secs(second);
        // Does not go out, whatever the answer.
        cache.get_with("/", &[("cache-control", "only-if-cached")]).await.cache.is_hit()
    };
    let Some(lifetime) = fresh(0).await.then_some(()).map(|()| [30, 60, 90]) else {
        cache.get("/").await;
        let is_stored = cache.origin.last().field("if-none-match") == Some("\"1\"");
        return if is_stored { Validated } else { No };
    };
    for end in lifetime {
        assert!(fresh(end - 1).await, "{end}");
        if !fresh(end).await {
            let stale = [("cache-control", "max-stale=10, only-if-cached")];
            let is_served = cache.get_with("/", &stale).await.cache.is_hit();
            return if is_served { For(end) } else { Only(end) };
        }
    }
    panic!("fresh for longer than anything in the table")
}

/// Scenario 3.5; RFC 9111 §5.2.
#[tokio::test]
async fn a_directive_is_a_member_of_a_list_on_any_line() {
    let lines: [(&[&str], bool); 6] = [
        (&["x-no-store-hint, max-age=60"], true),
        (&["no-store-hint=1", "max-age=60"], true),
        (&["ext=\"no-store\", MAX-AGE=60"], true),
        (&["max-age=60", "no-store"], false),
        (&["max-age=60, No-Store"], false),
        (&["x=\"a\\\", \", no-store, max-age=60"], false),
    ];
    for (lines, expected) in lines {
        for policy in [Policy::shared(), Policy::private()] {
            let cache = cache(policy);
            cache.origin.on(move |_| {
                lines.iter().fold(ok(), |reply, line| reply.cache_control(line)).text("hello")
            });
            let second = cache.get_twice("/", &[]).await;
            assert_eq!(second.cache.is_hit(), expected, "{lines:?}");
        }
    }
}

/// Scenario 2.18.
#[tokio::test]
async fn cache_control_goes_through_to_the_byte() {
    const LINES: [&str; 3] = [
        "Public,  Max-Age=15,s-maxage=15 ,stale-while-revalidate=15",
        "",
        "x=\"a , b\",,no-transform",
    ];
    for policy in [Policy::shared(), Policy::private()] {
        let cache = cache(policy);
        cache
            .origin
            .on(|_| LINES.iter().fold(ok(), |reply, line| reply.cache_control(line)).text("hello"));
        for is_hit in [false, true] {
            let answer = cache.get("/").await;
            assert_eq!(answer.cache.is_hit(), is_hit);
            assert_eq!(answer.lines("cache-control"), LINES.map(str::as_bytes));
        }
    }
}

/// RFC 9111 §5.2.2.4, §5.2.2.7: qualified, they keep back their fields only.
/// Feature qualified-private.
#[tokio::test]
async fn qualified_directives_keep_back_their_fields() {
    for (directive, scope, on_hit, on_validation) in [
        ("private=\"x-mine\"", Scope::Shared, false, false),
        ("private=\"x-mine\"", Scope::Private, true, true),
        ("no-cache=\"x-mine\"", Scope::Shared, false, true),
        ("no-cache=x-mine", Scope::Private, false, true),
    ] {
        let cache = cache(match scope {
            Scope::Shared => Policy::shared(),
            Scope::Private => Policy::private(),
        });
        cache.origin.on(move |request| match request.headers().get("if-none-match") {
            Some(_) => crate::support::status(304).text(""),
            None => ok()
                .cache_control(&format!("max-age=60, {directive}"))
                .header("etag", "\"1\"")
                .header("x-mine", "1")
                .header("x-other", "2")
                .text("hello"),
        });
        let shown = |answer: &crate::support::Answer| {
            assert_eq!(answer.field("x-other"), Some("2"));
            answer.field("x-mine").is_some()
        };
        assert!(shown(&cache.get("/").await), "the origin's answer is as it came");
        let hit = cache.get("/").await;
        assert_eq!(shown(hit.assert_hit()), on_hit, "{directive} {scope:?}");
        cache.clock.set_secs(60);
        let validated = cache.get("/").await;
        assert_eq!(shown(validated.assert_revalidated()), on_validation, "{directive} {scope:?}");
        assert_eq!(shown(cache.get("/").await.assert_hit()), on_hit, "{directive} {scope:?}");
    }
}

/// Feature no-transform; RFC 9111 §5.2.1.6, §5.2.2.6, RFC 9110 §8.8.1: nothing is ever transformed, so
/// the directive goes through on both sides, and body, coding and tag come as they were.
#[tokio::test]
async fn nothing_is_transformed_with_or_without_the_word() {
    for word in ["no-transform", "no-transform=1", "max-age=60"] {
        let cache = cache(Policy::shared());
        cache.origin.on(move |_| {
            let reply = ok().cache_control(&format!("max-age=60, {word}"));
            reply.header("content-encoding", "gzip").header("etag", "\"1\"").text("\u{1f}\u{8b}")
        });
        let fields = [("cache-control", word), ("accept-encoding", "identity")];
        let (first, hit) = (cache.get_with("/", &fields).await, cache.get_with("/", &fields).await);
        assert_eq!(cache.origin.last().field("cache-control"), Some(word));
        assert!(hit.cache.is_hit());
        for answer in [first, hit] {
            assert_eq!(answer.text(), "\u{1f}\u{8b}");
            assert_eq!(answer.field("cache-control"), Some(&*format!("max-age=60, {word}")));
            assert_eq!(answer.field("etag"), Some("\"1\""));
            assert_eq!(answer.field("content-encoding"), Some("gzip"));
        }
    }
}
