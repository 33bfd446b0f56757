//! Closures and switches that keep requests and responses apart, or out.

use std::time::Duration;

use http::{HeaderName, StatusCode};
use larder::{
    Cached, MemoryManager, Policy, Private, Purge,
    policy::{Bypass, Keep, Reason, SetCookie, VaryOnCredentials},
};

use crate::support::{Cache, Fate, cache, cache_over, fate, ok, request, status, with};

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

/// Custom variance: device class, cohort.
/// Feature custom-variance.
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
/// Feature key-fields.
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

/// Scenarios 3.1 and 3.5: whether and how long to keep a response, by its head.
/// Features ttl-override, response-filter.
#[tokio::test]
async fn a_response_hook_refuses_and_shortens() {
    let policy = Policy::shared()
        .response(|response| match response.status().as_u16() {
            404 => Err(Bypass::because("not-found")),
            _ => Ok(Keep::as_it_says()),
        })
        .response(|response| match response.headers().get("content-type") {
            Some(json) if json == "application/json" => Ok(Keep::at_most(secs(10))),
            _ => Ok(Keep::at_most(secs(1000))),
        });
    let cache = cache(policy);
    cache.origin.on(|request| match request.uri().path() {
        "/json" => {
            ok().header("content-type", "application/json").cache_control("max-age=60").text("")
        }
        "/aged" => ok()
            .header("content-type", "application/json")
            .header("age", "9")
            .cache_control("max-age=60")
            .text(""),
        "/404" => status(404).cache_control("max-age=60").text(""),
        "/no-store" => ok().cache_control("no-store").text(""),
        _ => ok().cache_control("max-age=60").text(""),
    });
    assert_eq!(cache.get("/404").await.cache.reason(), Some(Reason::Hook("not-found")));
    assert_eq!(cache.get("/no-store").await.cache.reason(), Some(Reason::NoStore));
    for (path, left) in [("/", 60), ("/json", 10), ("/aged", 1)] {
        assert_eq!(cache.get(path).await.cache.ttl(), Some(left), "{path}");
        cache.get(path).await.assert_hit();
        cache.clock.advance_secs(left as u64);
        cache.get(path).await.assert_forwarded();
    }
}

/// Requirements, "Freshness": per status, negative ones too, where nothing is said.
/// Feature status-ttl.
#[tokio::test]
async fn a_status_may_have_a_lifetime_of_its_own() {
    let policy = || {
        Policy::shared()
            .default_ttl(secs(5))
            .status_ttl(StatusCode::NOT_FOUND, secs(300))
            .status_ttl(StatusCode::SERVICE_UNAVAILABLE, secs(2))
    };
    type Fields = &'static [(&'static str, &'static str)];
    const LM: (&str, &str) = ("last-modified", "Wed, 01 Jan 2020 00:00:00 GMT");
    let table: [(u16, Fields, Option<i64>); 10] = [
        (200, &[], Some(5)),
        (404, &[], Some(300)),
        (404, &[LM], Some(300)),
        (404, &[("cache-control", "max-age=7")], Some(7)),
        (404, &[("cache-control", "no-store")], None),
        (404, &[("expires", "0")], None),
        (404, &[("cache-control", "no-cache")], None),
        (503, &[], Some(2)),
        (500, &[], None),
        (206, &[], None),
    ];
    for (code, fields, ttl) in table {
        let cache = cache(policy());
        cache.origin.on(move |_| {
            fields
                .iter()
                .fold(status(code), |reply, (name, value)| reply.header(name, value))
                .text("")
        });
        assert_eq!(cache.get("/").await.cache.ttl(), ttl, "{code} {fields:?}");
    }
}

/// Scenario 1.4: a lifetime that cannot be recalled is asked about after the greatest there is.
/// Feature ttl-clamp.
#[tokio::test]
async fn the_longest_lifetime_can_be_bounded() {
    let cache = cache(Policy::private().max_ttl(secs(86_400)));
    cache.origin.on(|request| match request.headers().get("if-none-match") {
        Some(_) => status(304).text(""),
        None => ok().cache_control("max-age=31536000, immutable").header("etag", "\"1\"").text("x"),
    });
    cache.get("/").await;
    for (at, is_hit) in
        [(86_399, true), (86_400, false), (86_401, true), (172_799, true), (172_800, false)]
    {
        cache.clock.set_secs(at);
        assert_eq!(cache.get("/").await.cache.is_hit(), is_hit, "{at}");
    }
    let url = Purge::url("http://a.example/").unwrap();
    cache.layer.handle().purge(url).await.unwrap();
    cache.get("/").await.assert_forwarded();
}

/// Scenarios 2.13 and 2.14: the origin's lifetime is never exceeded.
#[tokio::test]
async fn curves_and_jitter_only_shorten() {
    let cache = cache(Policy::shared().shorten_by_age(http::header::LAST_MODIFIED).jitter(0.1));
    let (minute, old) = (cache.clock.date(-60), cache.clock.date(-86_400 * 21));
    cache.origin.on(move |request| {
        let (modified, age) = match request.uri().path() {
            "/young" => (&minute, "max-age=31536000"),
            "/old" => (&old, "max-age=31536000"),
            _ => (&old, "max-age=60"),
        };
        ok().header("last-modified", modified).cache_control(age).text("")
    });
    for (path, longest) in [("/young", 60), ("/old", 6 * 86_400 + 44_000), ("/short", 60)] {
        let ttl = cache.get(path).await.cache.ttl().unwrap();
        assert!(ttl <= longest && ttl >= longest * 8 / 10, "{path}: {ttl}");
    }
}

/// Scenario 3.13.
#[tokio::test]
async fn only_what_is_marked_is_stored() {
    let policy = Policy::shared().store_only_marked().response(|response| {
        let is_marked = response.headers().contains_key("x-keep");
        Ok(if is_marked { Keep::as_it_says().marked() } else { Keep::as_it_says() })
    });
    let cache = cache(policy);
    cache.origin.on(|request| match request.uri().path() {
        "/marked" => ok().extension(Cached::for_secs(60)).text(""),
        "/hooked" => ok().header("x-keep", "1").cache_control("max-age=60").text(""),
        "/no-store" => ok().header("x-keep", "1").cache_control("no-store").text(""),
        _ => ok().cache_control("max-age=60").text(""),
    });
    for (path, reason) in [
        ("/", Some(Reason::NotOptedIn)),
        ("/no-store", Some(Reason::NoStore)),
        ("/marked", None),
        ("/hooked", None),
    ] {
        let answer = cache.get(path).await;
        assert_eq!(answer.cache.is_stored(), reason.is_none(), "{path}");
        assert_eq!(cache.get(path).await.cache.is_hit(), reason.is_none(), "{path}");
        if let Some(reason) = reason {
            assert_eq!(answer.cache.reason(), Some(reason));
        }
    }
    let member = cache.get("/").await;
    assert!(member.field("cache-status").unwrap().ends_with("; detail=not-opted-in"));
}

/// Scenario 3.14: what is named dangerous may, and nothing else.
#[tokio::test]
async fn only_dangerous_options_lift_what_a_response_forbids() {
    let forbidden = ["no-store", "private", "no-store, max-age=60", "private, max-age=60"];
    let loose = || {
        Policy::shared()
            .default_ttl(secs(60))
            .status_ttl(StatusCode::OK, secs(60))
            .heuristic_errors(true)
            .set_cookie(SetCookie::Store)
            .vary_on_credentials(VaryOnCredentials::Store)
            .understood([StatusCode::OK])
            .response(|_| Ok(Keep::at_most(secs(600)).marked()))
            .immutable(true)
            .stale_while_revalidate(secs(60))
            .stale_if_error(secs(60))
            .stale_on_disconnect(secs(60))
            .dangerous_min_ttl(secs(60))
    };
    for cc in forbidden {
        let reply = move || ok().cache_control(cc).header("etag", "\"1\"").text("");
        assert_eq!(fate(loose(), &[], reply).await, Fate::Unstored, "{cc}");
        let forced = loose().dangerous_lifetime(|_| Some(secs(60)));
        assert_eq!(fate(forced.clone(), &[], reply).await, Fate::Fresh, "{cc}");
        assert_eq!(fate(forced, &[("authorization", "x")], reply).await, Fate::Fresh, "{cc}");
    }
    let forced = || Policy::shared().dangerous_lifetime(|_| Some(secs(60)));
    let marked = || ok().extension(Private).text("");
    assert_eq!(fate(forced(), &[], marked).await, Fate::Unstored);
    let cookie = || ok().header("set-cookie", "a=b").text("");
    assert_eq!(fate(forced(), &[], cookie).await, Fate::Unstored);
    let least = || Policy::shared().dangerous_min_ttl(secs(60));
    let stale = || ok().cache_control("max-age=0").header("etag", "\"1\"").text("");
    assert_eq!(fate(least(), &[], stale).await, Fate::Fresh);
    let no_cache = || ok().cache_control("no-cache").header("etag", "\"1\"").text("");
    assert_eq!(fate(least(), &[], no_cache).await, Fate::Validated);
    let unsaid = || ok().header("etag", "\"1\"").text("");
    assert_eq!(fate(least(), &[], unsaid).await, Fate::Fresh);
}

/// What other rules have stored is asked about by these: a shorter hook shortens it, too.
#[tokio::test]
async fn a_hook_sees_what_was_stored_without_it() {
    let manager = MemoryManager::new(1 << 20);
    let plain = counting(cache_over(manager.clone(), Policy::shared()));
    plain.get("/").await;
    let strict = Policy::shared().response(|_| Ok(Keep::at_most(secs(10))));
    let strict = cache_over(manager.clone(), strict);
    strict.clock.set_secs(9);
    assert_eq!(strict.get("/").await.assert_hit().cache.ttl(), Some(1));
    strict.clock.set_secs(10);
    strict.get("/").await.assert_forwarded();
    // A hook of the same type that says something else makes itself known by its revision.
    let at_most = |limit: u64, revision| {
        let hook = Policy::shared().response(move |_| Ok(Keep::at_most(secs(limit))));
        cache_over(manager.clone(), hook.revision(revision))
    };
    let first = counting(at_most(50, 7));
    first.send(request("POST", "/")).await;
    first.get("/").await;
    for (revision, ttl) in [(7, 50), (8, 20)] {
        let same_type = at_most(20, revision);
        assert_eq!(same_type.get("/").await.assert_hit().cache.ttl(), Some(ttl), "{revision}");
    }
    let refusing = Policy::shared().response(|_| Err(Bypass::because("no")));
    let refusing = cache_over(manager, refusing);
    refusing.get("/").await.assert_forwarded();
}

/// RFC 9111 §4.2.2, note: no heuristics for URIs with a query.
/// Feature heuristic-queries.
#[tokio::test]
async fn heuristics_may_leave_queries_out() {
    for (policy, is_fresh) in
        [(Policy::shared(), true), (Policy::shared().heuristic_queries(false), false)]
    {
        let cache = cache(policy);
        cache.origin.on(|_| ok().header("last-modified", "Wed, 01 Jan 2020 00:00:00 GMT").text(""));
        assert_eq!(cache.get_twice("/?a", &[]).await.cache.is_hit(), is_fresh);
        assert!(cache.get_twice("/", &[]).await.cache.is_hit());
    }
}

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}
