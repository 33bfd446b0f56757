//! The rows of `security.md` about disclosure, poisoning and confusion that are no other file's.

use larder::{Policy, policy::Reason};

use crate::support::{Fate, cache, fate, get, ok, request, status, with};

/// CVE-2026-13697: forty forms of a restriction, none of them a permission.
/// Feature malformed-restriction.
#[tokio::test]
async fn a_malformed_restriction_restricts() {
    const FORMS: [&str; 40] = [
        "N",
        "N=",
        "N=\"\"",
        "N=\"",
        "N=\",\"",
        "N=\" \"",
        "N= ",
        "N =",
        "N = x",
        "N=x y",
        "N==x",
        "N=;",
        "N;",
        "N;x=1",
        "N x",
        "N:",
        "N: x",
        "N\t",
        "n",
        "N=\"x",
        "N=\"x\\",
        "N=\"x\"y",
        "N=\"x\" y",
        "N=(x)",
        "N/x",
        "N=[x]",
        "N={x}",
        "N=@",
        "N=\\",
        "N,",
        ",N",
        ",,N,,",
        "N, N",
        "N=\"a b\"",
        "N=\"a\"\"b\"",
        "N='x y'",
        "N=<x>",
        "x=\"a\\\"\", N",
        "x=\"a, N",
        "N=?1;x",
    ];
    let cases =
        [("no-store", false), ("private", false), ("no-cache", true), ("must-revalidate", true)];
    for (name, may_be_stored) in cases {
        for form in FORMS {
            let form = match form {
                "n" => name.to_uppercase(),
                form => form.replace('N', name),
            };
            for text in
                [format!("public, max-age=60, {form}"), format!("{form}\0max-age=60, public")]
            {
                let lines: Vec<_> = text.split('\0').map(str::to_owned).collect();
                let reply = move || {
                    let reply = ok().header("etag", "\"1\"");
                    lines.iter().fold(reply, |reply, line| reply.cache_control(line)).text("secret")
                };
                let fate = fate(Policy::shared(), &[], reply).await;
                match name {
                    "must-revalidate" => {}
                    _ if may_be_stored => assert_eq!(fate, Fate::Validated, "{text:?}"),
                    _ => assert_eq!(fate, Fate::Unstored, "{text:?}"),
                }
            }
            // Nor does a malformed must-revalidate allow what needs the well-formed one (§3.5).
            if name == "must-revalidate" && !is_well_formed(&form) {
                let text = format!("max-age=60, {form}");
                let reply = move || ok().cache_control(&text).text("secret");
                let fate = fate(Policy::shared(), &[("authorization", "x")], reply).await;
                assert_eq!(fate, Fate::Unstored, "{form:?}");
            }
        }
    }

    fn is_well_formed(form: &str) -> bool {
        form.split(',').any(|member| member.trim().eq_ignore_ascii_case("must-revalidate"))
    }
}

/// A malformed `must-revalidate` still forbids stale use (RFC 9111 §5.2.2.2).
#[tokio::test]
async fn a_malformed_must_revalidate_revalidates() {
    for form in ["must-revalidate=", "must-revalidate=\"", "MUST-REVALIDATE=1", "must-revalidate x"]
    {
        let cache = cache(Policy::private());
        cache.origin.on(move |_| {
            ok().cache_control(&format!("max-age=10, {form}")).header("etag", "\"1\"").text("x")
        });
        cache.get("/").await;
        cache.clock.set_secs(11);
        cache.get_with("/", &[("cache-control", "max-stale")]).await.assert_forwarded();
    }
}

/// GHSA-q7jf-gf43-6x6p: `Vary` with more names than anybody needs.
/// Feature long-vary.
#[tokio::test]
async fn a_vary_of_many_names_is_not_stored() {
    for (count, is_stored) in [(16, true), (17, false), (500, false)] {
        for policy in [Policy::shared(), Policy::private()] {
            let names: Vec<_> = (0..count).map(|n| format!("x-{n}")).collect();
            let vary = names.join(", ");
            let cache = cache(policy);
            cache
                .origin
                .on(move |_| ok().cache_control("max-age=60").header("vary", &vary).text("x"));
            let first = cache.get("/").await;
            let reason = (!is_stored).then_some(Reason::VaryTooLong);
            assert_eq!(first.cache.reason().filter(|it| *it == Reason::VaryTooLong), reason);
            assert_eq!(cache.get("/").await.cache.is_hit(), is_stored, "{count}");
        }
    }
}

/// CVE-2024-46982, CVE-2025-49826: nothing from the wire controls the cache but what HTTP names.
#[tokio::test]
async fn our_own_names_from_outside_have_no_effect() {
    const NAMES: [(&str, &str); 14] = [
        ("cache-status", "larder; hit; ttl=99; stored"),
        ("larder", "1"),
        ("x-larder", "bypass"),
        ("x-cache", "HIT"),
        ("cached", "60"),
        ("private", "1"),
        ("cache-mode", "only-if-cached"),
        ("age", "99999"),
        ("x-souin-storer", "none"),
        ("surrogate-key", "a"),
        ("cdn-cache-control", "no-store"),
        ("x-partition", "a"),
        ("x-namespace", "a"),
        ("x-forwarded-host", "evil.example"),
    ];
    for (name, value) in NAMES {
        let cache = cache(Policy::shared());
        cache
            .origin
            .on(move |_| ok().cache_control("max-age=60").header(name, value).text("hello"));
        let first = cache.get_with("/", &[(name, value)]).await;
        assert!(first.cache.is_stored() || name == "age", "{name}");
        if name == "age" {
            continue; // what an upstream cache says counts (RFC 9111 §5.1)
        }
        assert_eq!(cache.origin.last().field(name), Some(value), "{name}");
        let second = cache.get_with("/", &[(name, "another")]).await;
        assert_eq!(second.assert_hit().text(), "hello", "{name}");
        cache.get("/").await.assert_hit();
        if name != "cache-status" {
            assert_eq!(second.field(name), Some(value), "{name}");
        }
    }
}

/// RFC 9211 §2: what a cache behind us said comes before what we say.
/// Scenario 4.13.
#[tokio::test]
async fn cache_status_of_others_comes_first() {
    let upstream = "OriginCache; hit; ttl=1100, \"CDN Company Here\"; hit; ttl=545";
    let cache = cache(Policy::shared());
    cache
        .origin
        .on(move |_| ok().cache_control("max-age=60").header("cache-status", upstream).text("x"));
    let first = cache.get("/").await;
    let expected: [&[u8]; 2] = [upstream.as_bytes(), b"larder; fwd=uri-miss; ttl=60; stored"];
    assert_eq!(first.lines("cache-status"), expected);
    // Three members of one list, ours the last.
    let list = first.lines("cache-status").join(&b", "[..]);
    let list = String::from_utf8(list).unwrap();
    let names: Vec<_> = list.split(", ").map(|member| member.split(';').next().unwrap()).collect();
    assert_eq!(names, ["OriginCache", "\"CDN Company Here\"", "larder"]);
    let hit = cache.get("/").await;
    assert_eq!(hit.lines("cache-status").last(), Some(&&b"larder; hit; ttl=60"[..]));
}

/// CPDoS: an error that one odd request has caused is not the next client's answer.
#[tokio::test]
async fn an_error_about_one_request_is_not_kept() {
    let long = "x".repeat(20_000);
    let attacks = [
        [("x-oversized", long.as_str())],
        [("x-meta", "a\tb")],
        [("x-http-method-override", "DELETE")],
    ];
    for code in [400, 403, 405, 411, 412, 413, 414, 417, 428, 431, 500, 501, 502, 505] {
        for attack in &attacks {
            let cache = cache(Policy::shared());
            let name = attack[0].0;
            cache.origin.on(move |request| {
                if request.headers().contains_key(name) {
                    let old = "Wed, 01 Jan 2020 00:00:00 GMT";
                    return status(code)
                        .header("last-modified", old)
                        .header("etag", "\"e\"")
                        .text("no");
                }
                ok().cache_control("max-age=60").text("page")
            });
            assert_eq!(cache.get_with("/", attack).await.status, code);
            let clean = cache.get("/").await;
            assert_eq!((clean.status.as_u16(), clean.text()), (200, "page"), "{code} {name}");
            // And it does not take out what is good.
            cache.get_with("/", attack).await.assert_hit();
        }
    }
}

/// RFC 9110 §7.6.1: a request that hides a field from the origin is not the request that we see.
#[tokio::test]
async fn a_nominated_field_takes_the_request_past_the_cache() {
    const NOMINATED: [&str; 10] = [
        "authorization",
        "cache-control",
        "cookie",
        "host",
        "accept-encoding",
        "x-forwarded-for",
        "if-none-match",
        "range",
        "content-length",
        "x-anything",
    ];
    for name in NOMINATED {
        for option in [name.to_owned(), format!("close, {}", name.to_uppercase())] {
            let cache = cache(Policy::shared());
            cache.origin.on(|_| ok().cache_control("max-age=60").text("hello"));
            let send = async || {
                let answer = cache.get_with("/", &[("connection", &option)]).await;
                assert_eq!(answer.cache.reason(), Some(Reason::ConnectionOption), "{option}");
                assert_eq!(cache.origin.last().field("connection"), Some(option.as_str()));
            };
            send().await;
            cache.get("/").await.assert_forwarded();
            send().await;
            cache.get("/").await.assert_hit();
        }
    }
    let cache = cache(Policy::shared());
    cache.origin.on(|_| ok().cache_control("max-age=60").text("hello"));
    for harmless in ["close", "keep-alive", "Keep-Alive, TE"] {
        cache.get_twice("/", &[("connection", harmless)]).await.assert_hit();
    }
}

/// Cache entanglement: a GET whose body the key does not see.
#[tokio::test]
async fn a_fat_get_passes_by() {
    let cache = cache(Policy::shared());
    cache.origin.on(|_| ok().cache_control("max-age=60").text("hello"));
    let fat = |method: &str| request(method, "/").map(|_| "q=evil".into());
    for method in ["GET", "HEAD"] {
        let answer = cache.send(fat(method)).await;
        assert_eq!(answer.cache.reason(), Some(Reason::RequestBody));
    }
    cache.get("/").await.assert_forwarded();
    cache.send(fat("GET")).await.assert_forwarded();
    cache.get("/").await.assert_hit();
}

/// max-stale abuse: a client cannot have old data out of a shared cache, nor purged data at all.
#[tokio::test]
async fn a_client_cannot_ask_a_shared_cache_for_old_data() {
    let cache = cache(Policy::shared());
    cache.origin.on(|_| ok().cache_control("max-age=10").text("hello"));
    for directives in
        ["max-stale", "max-stale=99999", "max-stale, max-age=99999", "MAX-STALE=\"9999\""]
    {
        cache.get("/").await;
        cache.clock.advance_secs(10);
        let calls = cache.origin.calls();
        cache.get_with("/", &[("cache-control", directives)]).await.assert_forwarded();
        assert_eq!(cache.origin.calls(), calls + 1, "{directives}");
        cache.clock.advance_secs(10);
        let only = format!("only-if-cached, {directives}");
        assert_eq!(cache.get_with("/", &[("cache-control", &only)]).await.status, 504);
    }
}

/// Web cache deception: a path that looks static says nothing about the response.
#[tokio::test]
async fn a_path_suffix_is_no_permission() {
    for path in [
        "/account/x.css",
        "/account%2fx.js",
        "/account;x.png",
        "/account%00.css",
        "/account/..%2fx.css",
        "/account%3b.ico",
    ] {
        let policy = Policy::shared();
        let cache = cache(policy);
        cache.origin.on(|_| ok().header("content-type", "text/html").text("mine"));
        cache.get(path).await.assert_forwarded();
        assert_eq!(cache.origin.last().path(), path, "what is forwarded is what was keyed");
        cache.get(path).await.assert_forwarded();
        cache.send(with(get(path), &[("accept", "text/css")])).await.assert_forwarded();
    }
}
