//! What a shared cache may give to another user (RFC 9111 §3.5, §7.3).

use larder::{
    Policy,
    policy::{SetCookie, VaryOnCredentials},
};

use crate::support::{Fate, cache, fate, ok};

const A: (&str, &str) = ("authorization", "Bearer a");
const B: (&str, &str) = ("authorization", "Bearer b");

/// Scenario 3.8; RFC 9111 §3.5.
#[tokio::test]
async fn answers_to_credentials_are_shared_only_if_they_say_so() {
    for (cc, calls) in [
        ("max-age=60", 6),
        ("private, max-age=60", 6),
        ("public, max-age=60", 1),
        ("s-maxage=60", 1),
        ("max-age=60, must-revalidate", 1),
    ] {
        let cache = cache(Policy::shared());
        cache.origin.on(move |_| ok().cache_control(cc).text("hello"));
        for _ in 0..3 {
            for token in [A, B] {
                cache.get_with("/", &[token]).await;
            }
        }
        assert_eq!(cache.origin.calls(), calls, "{cc}");
    }
}

/// RFC 9111 §3.5 is about shared caches.
#[tokio::test]
async fn one_users_cache_keeps_what_credentials_brought() {
    let reply = || ok().cache_control("max-age=60").text("hello");
    assert_eq!(fate(Policy::private(), &[A], reply).await, Fate::Fresh);
}

/// RFC 9111 §3.5 speaks of the request whose response is stored, not of those that it answers.
#[tokio::test]
async fn a_public_answer_serves_requests_with_credentials() {
    let cache = cache(Policy::shared());
    cache.origin.on(|_| ok().cache_control("max-age=60").text("hello"));
    cache.get("/").await;
    cache.get_with("/", &[A]).await.assert_hit();
}

/// `security.md`, souin: rules are conjunctive. Exhaustive over what permits or forbids, whether the
/// request has credentials, and whether `Vary` names them.
#[tokio::test]
async fn no_rule_lifts_another() {
    let directives = [
        ("private, max-age=60", false, false),
        ("public, max-age=60", true, true),
        ("s-maxage=60", true, true),
        ("max-age=60, must-revalidate", true, true),
        ("max-age=60", true, false),
        ("private, public, s-maxage=60, must-revalidate", false, false),
    ];
    for (cc, without, with) in directives {
        for fields in [&[][..], &[A][..]] {
            for vary in ["", "authorization", "Accept, AUTHORIZATION"] {
                for choice in [VaryOnCredentials::Bypass, VaryOnCredentials::Store] {
                    let allowed = if fields.is_empty() { without } else { with };
                    let expected =
                        allowed && (vary.is_empty() || choice == VaryOnCredentials::Store);
                    let policy = Policy::shared().vary_on_credentials(choice);
                    let reply = move || ok().cache_control(cc).header("vary", vary).text("hello");
                    let is_fresh = fate(policy, fields, reply).await == Fate::Fresh;
                    assert_eq!(is_fresh, expected, "{cc} {fields:?} {vary} {choice:?}");
                }
            }
        }
    }
}

/// `security.md`, CVE-2026-24472: two users, one thousand requests in turn.
#[tokio::test]
async fn vary_on_credentials_keeps_users_apart() {
    for name in ["authorization", "cookie"] {
        for (policy, calls) in [
            (Policy::shared(), 1000),
            (Policy::shared().vary_on_credentials(VaryOnCredentials::Store), 2),
            (Policy::private(), 2),
        ] {
            let cache = cache(policy);
            cache.origin.on(move |request| {
                let user = request.headers()[name].to_str().unwrap();
                ok().cache_control("public, max-age=60").header("vary", name).text(user)
            });
            for turn in 0..1000 {
                let user = ["ada", "bob"][turn % 2];
                assert_eq!(cache.get_with("/", &[(name, user)]).await.text(), user);
            }
            assert_eq!(cache.origin.calls(), calls, "{name}");
        }
    }
}

/// Decision 4; `security.md`, CVE-2025-48947: one hundred users.
#[tokio::test]
async fn a_cookie_is_given_to_one_user_only() {
    for (policy, calls, cookies) in [
        (Policy::shared(), 100, 100),
        (Policy::shared().set_cookie(SetCookie::Strip), 1, 1),
        (Policy::private().set_cookie(SetCookie::Bypass), 100, 100),
        (Policy::private().set_cookie(SetCookie::Strip), 1, 1),
    ] {
        let cache = cache(policy);
        let mut users = 0;
        cache.origin.on(move |_| {
            users += 1;
            let cookie = format!("session={users}");
            ok().cache_control("public, max-age=60").header("set-cookie", cookie).text("hello")
        });
        let mut seen = Vec::new();
        for _ in 0..100 {
            seen.extend(cache.get("/").await.field("set-cookie").map(str::to_owned));
        }
        assert_eq!((cache.origin.calls(), seen.len()), (calls, cookies));
        seen.sort();
        seen.dedup();
        assert_eq!(seen.len(), cookies, "nobody sees another's");
    }
}

/// Behaviour 7; RFC 9111 §7.3: stored where the policy says so, as one field of many.
#[tokio::test]
async fn cookies_are_stored_where_the_policy_says_so() {
    for policy in [Policy::private(), Policy::shared().set_cookie(SetCookie::Store)] {
        let cache = cache(policy);
        cache.origin.on(|_| {
            ok().cache_control("max-age=60")
                .header("set-cookie", "a=1")
                .header("set-cookie", "b=2")
                .text("hello")
        });
        let hit = cache.get_twice("/", &[("cookie", "c=3")]).await;
        assert_eq!(hit.assert_hit().lines("set-cookie"), [b"a=1", b"b=2"]);
    }
}

/// Behaviour 7: a `Cookie` in the request is no reason to pass by, unless the policy says so.
/// Feature bypass-cookies.
#[tokio::test]
async fn a_cookie_in_the_request_passes_by_only_on_demand() {
    let reply = || ok().cache_control("max-age=60").text("hello");
    let fields = [("cookie", "theme=dark")];
    assert_eq!(fate(Policy::shared(), &fields, reply).await, Fate::Fresh);
    let careful = || Policy::shared().bypass_cookies(true);
    assert_eq!(fate(careful(), &fields, reply).await, Fate::Unstored);
    assert_eq!(fate(careful(), &[], reply).await, Fate::Fresh);
}
