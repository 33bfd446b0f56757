//! Closures and switches that keep requests and responses apart, or out.

use std::time::Duration;

use http::HeaderName;
use larder::{
    MemoryManager, Policy,
    policy::{Bypass, Reason},
};

use crate::support::{Cache, cache, cache_over, ok, request, with};

fn counting(cache: Cache) -> Cache {
    let mut served = 0;
    cache.origin.on(move |_| {
        served += 1;
        ok().cache_control("max-age=60").text(served.to_string())
    });
    cache
}

/// Scenario 3.1: by path and by header, with a reason that shows.
#[tokio::test]
async fn a_request_hook_lets_requests_pass_by() {
    let policy = Policy::shared()
        .request(|head| match head.uri.path().starts_with("/admin") {
            true => Err(Bypass::because("admin")),
            false => Ok(()),
        })
        .request(|head| match head.headers.contains_key("x-preview") {
            true => Err(Bypass::because("a preview")),
            false => Ok(()),
        });
    let cache = counting(cache(policy));
    let preview = [("x-preview", "1")];
    for (path, fields, detail) in [
        ("/admin/x", &[][..], Some("admin")),
        ("/", &preview[..], Some("a preview")),
        ("/", &[][..], None),
    ] {
        for is_again in [false, true] {
            let answer = cache.get_with(path, fields).await;
            let Some(detail) = detail else {
                assert_eq!(answer.cache.is_hit(), is_again);
                continue;
            };
            assert_eq!(answer.cache.reason(), Some(Reason::Hook(detail)));
            let member = answer.field("cache-status").unwrap();
            let shown = if detail.contains(' ') { format!("\"{detail}\"") } else { detail.into() };
            assert_eq!(member, format!("larder; fwd=bypass; detail={shown}"));
        }
    }
    // A request that passes by still invalidates (RFC 9111 §4.4).
    cache.send(with(request("POST", "/"), &preview)).await;
    cache.get("/").await.assert_forwarded();
}

/// Issue 6, custom variance: device class, cohort.
#[tokio::test]
async fn a_key_hook_keeps_requests_apart_that_belong_to_one_url() {
    let policy = Policy::shared().key(|head| {
        let Some(agent) = head.headers.get("user-agent") else { return Ok(None) };
        match agent.as_bytes() {
            b"robot" => Err(Bypass::because("robot")),
            agent => Ok(Some(if agent.starts_with(b"phone") { "phone" } else { "desk" }.into())),
        }
    });
    // A store that has an answer for all must not give it to those who are told apart.
    let manager = MemoryManager::new(1 << 20);
    let plain = counting(cache_over(manager.clone(), Policy::shared()));
    assert_eq!(plain.get("/").await.text(), "1");
    let cache = counting(cache_over(manager, policy));
    let agent = async |agent: &'static str| {
        let answer = cache.get_with("/", &[("user-agent", agent)]).await;
        (answer.text().to_owned(), answer.cache.is_hit())
    };
    assert_eq!(agent("phone 1").await, ("1".to_owned(), false));
    assert_eq!(agent("desk 1").await, ("2".to_owned(), false));
    assert_eq!(agent("phone 2").await, ("1".to_owned(), true));
    assert_eq!(agent("desk 2").await, ("2".to_owned(), true));
    let robot = cache.get_with("/", &[("user-agent", "robot")]).await;
    assert_eq!(robot.cache.reason(), Some(Reason::Hook("robot")));
    // Who has no class is told apart from all that have one, and from those of no hook.
    assert_eq!(cache.get("/").await.assert_forwarded().text(), "4");
    assert!(plain.get("/").await.cache.is_hit());
    // All of them are one URL.
    cache.send(with(request("POST", "/"), &[("user-agent", "phone 1")])).await;
    for class in ["phone 1", "desk 1"] {
        assert!(!agent(class).await.1, "{class}");
    }
}

/// Requirements, "Key": extra fields and cookies.
#[tokio::test]
async fn fields_and_cookies_can_be_part_of_the_key() {
    let policy =
        Policy::shared().key_fields([HeaderName::from_static("x-tenant")]).key_cookies(["lang"]);
    let cache = counting(cache(policy));
    let requests: [&[(&str, &str)]; 5] = [
        &[],
        &[("x-tenant", "a")],
        &[("x-tenant", "b")],
        &[("x-tenant", "a"), ("cookie", "lang=de; id=1")],
        &[("x-tenant", "a"), ("cookie", "lang=en; id=1")],
    ];
    for round in 0..2 {
        for (n, fields) in requests.iter().enumerate() {
            let answer = cache.get_with("/", fields).await;
            let expected = (round == 1, (n + 1).to_string());
            assert_eq!((answer.cache.is_hit(), answer.text().to_owned()), expected, "{fields:?}");
        }
    }
    let other = cache.get_with("/", &[("x-tenant", "a"), ("cookie", "id=2; lang=de")]).await;
    assert_eq!(other.assert_hit().text(), "4");
    assert_eq!(cache.origin.calls(), requests.len());
}

/// What a hook has read is not in a refresh of our own: it is made by a request that has it.
#[tokio::test]
async fn what_a_hook_keeps_apart_is_refreshed_by_its_own_requests() {
    for (policy, is_background) in [
        (Policy::shared().key(|_| Ok(Some("class".to_owned()))), false),
        (Policy::shared().key_cookies(["lang"]), false),
        (Policy::shared().key_fields([HeaderName::from_static("x-tenant")]), true),
        (Policy::shared(), true),
    ] {
        let policy = policy.stale_while_revalidate(Duration::from_secs(100));
        let cache = counting(cache(policy));
        let fields = [("x-tenant", "a"), ("cookie", "lang=de")];
        cache.get_with("/", &fields).await;
        cache.clock.advance_secs(61);
        let stale = cache.get_with("/", &fields).await;
        assert_eq!(stale.cache.is_hit(), is_background);
        if !is_background {
            assert_eq!(cache.origin.last().field("cookie"), Some("lang=de"));
        }
    }
}

/// Behaviour 22; security.md, CVE-2024-35296: one origin call for all that cannot be read, and the
/// origin does not read more in it than the cache.
#[tokio::test]
async fn codings_that_cannot_be_read_are_identity() {
    let cache = cache(Policy::shared());
    cache.origin.on(|request| {
        let accepts = request.headers().get("accept-encoding").cloned();
        let is_gzip = accepts.is_some_and(|value| value.to_str().unwrap().contains("gzip"));
        let reply = ok().cache_control("max-age=60").header("vary", "accept-encoding");
        reply.text(if is_gzip { "zipped" } else { "plain" })
    });
    for n in 0..1000 {
        let odd = ["gzip;q=x", "gzip;;", "\"gzip\"", "@", "gzip;q=1."][n % 5];
        let answer = cache.get_with("/", &[("accept-encoding", &format!("{odd}{n}="))]).await;
        assert_eq!(answer.text(), "plain");
    }
    assert_eq!(cache.origin.calls(), 1);
    assert_eq!(cache.origin.last().field("accept-encoding"), Some("identity"));
    for (accepts, text) in
        [("br, gzip", "zipped"), ("GZIP ,br;q=1.0", "zipped"), ("identity", "plain")]
    {
        assert_eq!(cache.get_with("/", &[("accept-encoding", accepts)]).await.text(), text);
    }
    assert_eq!(cache.origin.calls(), 2);
}
