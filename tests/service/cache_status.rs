//! `Cache-Status` (RFC 9211), `X-Cache`, and to whom they are sent.

use std::{future::Future, pin::Pin};

use http::{HeaderName, Response};
use larder::{
    CacheBody, CacheLayer, CacheStatus, MemoryManager, Policy,
    policy::{ClientReload, Forward, Served},
};
use tower::Service;

use crate::support::{
    Answer, Cache, OriginError, TestBody, cache, channel,
    fields::{Bare, Member, members, token},
    get, now_or_never, ok, read, request, status, with,
};

type Open = Pin<Box<dyn Future<Output = Result<Response<CacheBody<TestBody>>, OriginError>>>>;

fn begin(cache: &Cache, path: &str) -> Open {
    Box::pin(cache.service.clone().call(get(path)))
}

/// Our member, which is the last.
#[track_caller]
fn ours(answer: &Answer) -> Member {
    let last = members(answer.lines("cache-status")).pop().expect("there is a member");
    assert_eq!(last.name, token("larder"));
    last
}

#[track_caller]
fn says(answer: &Answer, parameters: &[(&str, Option<Bare>)]) {
    let expected: Vec<_> =
        parameters.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect();
    assert_eq!(ours(answer).parameters, expected);
}

fn number(n: i64) -> Option<Bare> {
    Some(Bare::Integer(n))
}

fn word(text: &str) -> Option<Bare> {
    Some(token(text))
}

/// Scenario 2.7: miss, collapsed miss, fresh, stale (a hit with a negative ttl), validated; each read
/// back by a parser of Structured Fields.
#[tokio::test]
async fn each_status_reads_back() {
    let cache = cache(Policy::shared()).layered(|layer| layer.x_cache_header(true));
    let (sender, body) = channel();
    let mut body = Some(body);
    cache.origin.on(move |request| {
        let reply = ok().cache_control("max-age=10, stale-while-revalidate=20");
        let reply = reply.header("etag", "\"1\"").header("x-cache", "from inside");
        match body.take() {
            Some(body) => reply.body(body),
            None if request.headers().contains_key("if-none-match") => status(304).text(""),
            None => reply.text("hello"),
        }
    });
    let first = now_or_never(begin(&cache, "/")).expect("the head is there").unwrap();
    let second = now_or_never(begin(&cache, "/")).expect("of the same").unwrap();
    sender.data("hello");
    drop(sender);
    let (first, second) = (Answer::of(first).await, Answer::of(second).await);
    says(&first, &[("fwd", word("uri-miss")), ("ttl", number(10)), ("stored", None)]);
    says(&second, &[("fwd", word("uri-miss")), ("collapsed", None)]);
    let fresh = cache.get("/").await;
    says(&fresh, &[("hit", None), ("ttl", number(10))]);
    cache.clock.set_secs(14);
    let stale = cache.get("/").await;
    says(&stale, &[("hit", None), ("ttl", number(-4))]);
    cache.clock.set_secs(40);
    let validated = cache.get("/").await;
    let stored = [("fwd", word("stale")), ("fwd-status", number(304))];
    assert_eq!(
        ours(&validated).parameters[..2],
        stored.map(|(key, value)| (key.to_owned(), value))
    );
    let served = [&first, &second, &fresh, &stale, &validated].map(|answer| {
        let x_cache: Vec<_> = answer.lines("x-cache");
        assert_eq!(x_cache.len(), 1, "it takes the place of the other");
        (answer.cache.served(), String::from_utf8(x_cache[0].to_vec()).unwrap())
    });
    let expected = [
        (Served::Miss, "MISS"),
        (Served::Collapsed, "MISS"),
        (Served::Hit, "HIT"),
        (Served::Stale, "STALE"),
        (Served::Validated, "HIT"),
    ];
    assert_eq!(served, expected.map(|(served, word)| (served, word.to_owned())));
}

/// RFC 9211 §2.2: each reason to forward has its word, and what the word does not say is the detail.
#[tokio::test]
async fn each_reason_to_forward_has_its_word() {
    let cache = cache(Policy::shared().client_reload(ClientReload::Honour));
    cache.origin.on(|request| {
        let reply = ok().cache_control("max-age=10").header("vary", "accept");
        match request.uri().path() {
            "/cookie" => reply.header("set-cookie", "a=b").text("x"),
            "/no-cache" => ok().cache_control("no-cache").header("etag", "\"1\"").text("x"),
            _ => reply.text("x"),
        }
    });
    let stored = [("ttl", number(10)), ("stored", None)];
    let and_stored = |word: Option<Bare>| [&[("fwd", word)], &stored[..]].concat();
    says(&cache.get("/").await, &and_stored(word("uri-miss")));
    says(&cache.get_with("/", &[("accept", "a")]).await, &and_stored(word("vary-miss")));
    says(
        &cache.get_with("/", &[("cache-control", "no-cache")]).await,
        &and_stored(word("request")),
    );
    cache.layer.handle().purge(larder::Purge::everything()).await.unwrap();
    cache.clock.advance_secs(11);
    cache.get("/").await;
    cache.clock.advance_secs(11);
    says(&cache.get("/").await, &and_stored(word("stale")));
    let bypassed = with(request("GET", "/"), &[("if-match", "\"1\"")]);
    let bypassed = cache.send(bypassed).await;
    says(&bypassed, &[("fwd", word("bypass")), ("detail", word("precondition"))]);
    says(&cache.send(request("POST", "/")).await, &[("fwd", word("method"))]);
    let cookie = cache.get("/cookie").await;
    says(&cookie, &[("fwd", word("uri-miss")), ("detail", word("set-cookie"))]);
    cache.get("/no-cache").await;
    let member = ours(&cache.get("/no-cache").await);
    assert_eq!(member.get("fwd"), Some(&token("stale")));
    let none = cache.get_with("/none", &[("cache-control", "only-if-cached")]).await;
    assert_eq!((none.status.as_u16(), none.field("cache-status")), (504, None), "it is our own");
    assert_eq!(none.cache.to_string(), "detail=only-if-cached", "code is told");
}

/// Scenario 4.13, RFC 9211 §2: we come last, behind all that came with the response; a name is a
/// Token or a String.
#[tokio::test]
async fn ours_is_the_last_of_three() {
    let upstream = "OriginCache; hit; ttl=1100, \"CDN Company Here\"; hit; ttl=545";
    for (name, expected) in
        [("larder", token("larder")), ("Front Door", Bare::Text("Front Door".to_owned()))]
    {
        let cache = cache(Policy::shared()).layered(|layer| layer.cache_status_header(name));
        let reply = move || ok().cache_control("max-age=60").header("cache-status", upstream);
        cache.origin.on(move |_| reply().text("x"));
        for is_hit in [false, true] {
            let found = members(cache.get("/").await.lines("cache-status"));
            let names: Vec<_> = found.iter().map(|member| member.name.clone()).collect();
            let cdn = Bare::Text("CDN Company Here".to_owned());
            assert_eq!(names, [token("OriginCache"), cdn, expected.clone()]);
            assert_eq!(found[1].get("ttl"), Some(&Bare::Integer(545)));
            assert_eq!(found[2].has("hit"), is_hit);
        }
    }
}

/// RFC 9211 §2: each hit says one thing more than the origin has, whoever keeps the fields ready; a name
/// that is no String says nothing.
#[tokio::test]
async fn each_hit_adds_one_member() {
    for upstream in [&[][..], &[""], &["", "other; hit"], &["other; hit", ""]] {
        for (name, has_member, links) in
            [("larder", true, &[][..]), ("larder", true, &["</a>", "</b>"]), ("a\nb", false, &[])]
        {
            let cache = cache(Policy::shared()).layered(|layer| layer.cache_status_header(name));
            cache.origin.on(move |_| {
                let reply = ok().cache_control("max-age=60");
                let lines = upstream.iter().map(|line| ("cache-status", line));
                let lines = lines.chain(links.iter().map(|link| ("link", link)));
                lines.fold(reply, |reply, (name, line)| reply.header(name, line)).text("x")
            });
            cache.get("/").await.assert_forwarded();
            let others = upstream.iter().filter(|line| !line.is_empty()).count();
            for second in 0..5 {
                cache.clock.set_secs(second);
                let answer = cache.get("/").await;
                answer.assert_hit();
                let mut lines = answer.lines("cache-status");
                assert!(!upstream.is_empty() || lines.iter().all(|line| !line.is_empty()));
                lines.retain(|line| !line.is_empty());
                let found = members(lines);
                assert_eq!(found.len(), others + usize::from(has_member), "{upstream:?}");
                if has_member {
                    let left = 60 - i64::try_from(second).unwrap();
                    assert_eq!(found[others].name, token("larder"), "the last");
                    assert_eq!(found[others].get("ttl"), Some(&Bare::Integer(left)));
                }
            }
        }
    }
}

/// security.md, "Cache-Status key": hidden unless it is asked for, and then it is the URL: no user,
/// no namespace, no credentials.
#[tokio::test]
async fn the_key_is_hidden_and_then_it_is_the_url() {
    let policy = || {
        Policy::shared()
            .namespace("site of a customer")
            .partition(|head| Some(head.headers.get("x-user")?.to_str().ok()?.to_owned()))
            .key_fields([http::header::AUTHORIZATION])
    };
    let fields = [("x-user", "alice"), ("authorization", "Bearer secret")];
    let origin = |cache: &Cache| cache.origin.on(|_| ok().cache_control("max-age=60").text("x"));
    let hidden = cache(policy());
    origin(&hidden);
    assert!(!ours(&hidden.get_with("/a?b=c", &fields).await).has("key"));
    let shown = cache(policy()).layered(|layer| layer.cache_status_key(true));
    origin(&shown);
    for _ in 0..2 {
        let answer = shown.get_with("/a%22?b=c", &fields).await;
        let url = Bare::Text("http://a.example/a%22?b=c".to_owned());
        assert_eq!(ours(&answer).get("key"), Some(&url));
        let text = answer.lines("cache-status").concat();
        let text = String::from_utf8(text).unwrap();
        assert!(["alice", "secret", "customer"].iter().all(|word| !text.contains(word)), "{text}");
    }
}

/// Requirements, "Debug request header only with secret/predicate": others get neither field; the
/// extension is for code, and always there.
#[tokio::test]
async fn only_who_may_is_told() {
    let told = |layer: CacheLayer<MemoryManager>| layer.x_cache_header(true);
    let by_secret = cache(Policy::shared()).layered(|layer| {
        told(layer).tell_with_secret(HeaderName::from_static("x-debug"), "open sesame")
    });
    let by_predicate = cache(Policy::shared())
        .layered(|layer| told(layer).tell_if(|head| head.uri.path() == "/told"));
    for (cache, told, untold) in [
        (
            &by_secret,
            with(get("/"), &[("x-debug", "open sesame")]),
            with(get("/"), &[("x-debug", "open")]),
        ),
        (&by_secret, with(get("/"), &[("x-debug", "open sesame")]), get("/")),
        (&by_predicate, get("/told"), get("/untold")),
        (&by_predicate, request("POST", "/told"), request("POST", "/untold")),
        (
            &by_predicate,
            with(get("/told"), &[("if-match", "\"1\"")]),
            with(get("/"), &[("if-match", "\"1\"")]),
        ),
    ] {
        cache.origin.on(|_| ok().cache_control("max-age=60").text("x"));
        let shown =
            |answer: &Answer| ["cache-status", "x-cache"].map(|name| answer.field(name).is_some());
        assert_eq!(shown(&cache.send(told).await), [true, true]);
        assert_eq!(shown(&cache.send(untold).await), [false, false]);
    }
}

/// The extension and the body say the same as the field, for each kind of answer.
#[tokio::test]
async fn code_is_told_the_same() {
    let cache = cache(Policy::shared()).layered(|layer| layer.cache_status_extension(true));
    cache.origin.on(|_| ok().cache_control("max-age=60").text("x"));
    for (request, forward) in [
        (get("/"), Some(Forward::UriMiss)),
        (get("/"), None),
        (request("HEAD", "/"), None),
        (request("POST", "/"), Some(Forward::Method)),
        (with(get("/"), &[("range", "bytes=0-0"), ("if-match", "\"1\"")]), Some(Forward::Bypass)),
    ] {
        let response = cache.service.clone().call(request).await.unwrap();
        let (head, body) = response.into_parts();
        let status = body.status();
        assert_eq!(status.forward(), forward);
        assert_eq!(head.extensions.get::<CacheStatus>(), Some(&status));
        let field = head.headers.get("cache-status").unwrap();
        assert_eq!(field, &status.to_member("larder").unwrap());
        read(Response::from_parts(head, body)).await.unwrap();
    }
}
