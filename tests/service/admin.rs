//! The service to purge and look into a cache.

use std::convert::Infallible;

use bytes::Bytes;
use http::{Request, Response, request::Parts};
use http_body::Body as _;
use http_body_util::{BodyExt, Full};
use larder::{
    CacheManager, MemoryManager, NoExecutor, Policy, Purge,
    admin::{Access, Action, AdminBody, AdminService, BearerToken},
    bus::LocalBus,
};
use tower::{Service, ServiceExt};

use crate::{
    spy::{Call, Fault, Spy},
    support::{Cache, cache, cache_over, channel, now_or_never, ok},
};

fn token() -> BearerToken {
    BearerToken::new("all").unwrap().reading("look").unwrap()
}

/// An answer to a request: its status and its text.
async fn send<M: CacheManager>(
    cache: &Cache<M>,
    method: &str,
    target: &str,
    fields: &[(&str, &str)],
    body: &str,
) -> (u16, String) {
    let request = Request::builder().method(method).uri(target);
    let request =
        fields.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    let request = request.body(Full::new(Bytes::from(body.to_owned()))).unwrap();
    let admin = AdminService::new(cache.layer.handle(), token());
    answer(admin, request).await
}

async fn answer<S>(service: S, request: Request<Full<Bytes>>) -> (u16, String)
where
    S: Service<Request<Full<Bytes>>, Response = Response<AdminBody>, Error = Infallible>,
{
    let response = service.oneshot(request).await.unwrap();
    let status = response.status().as_u16();
    assert_eq!(response.headers()["cache-control"], "no-store");
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8(body.into()).unwrap())
}

const ALL: (&str, &str) = ("authorization", "Bearer all");
const LOOK: (&str, &str) = ("authorization", "Bearer look");
const JSON: (&str, &str) = ("content-type", "application/json");

async fn post<M: CacheManager>(cache: &Cache<M>, path: &str, body: &str) -> (u16, String) {
    send(cache, "POST", path, &[ALL, JSON], body).await
}

const PAGES: [&str; 3] = ["/", "/docs/x", "/docs2?q"];

async fn filled() -> Cache {
    let cache = cache(Policy::shared());
    cache.origin.on(|request| {
        let reply = ok().cache_control("max-age=60").header("cache-tag", "all");
        let reply = reply.header("cache-tag", request.uri().path());
        reply.header("cache-groups", "\"g\"").header("vary", "accept").text("hello")
    });
    for page in PAGES {
        cache.get(page).await;
    }
    cache
}

/// Which pages are not answered from the store. They are afterwards.
async fn gone(cache: &Cache) -> Vec<&'static str> {
    let mut gone = Vec::new();
    for page in PAGES {
        if !cache.get(page).await.cache.is_hit() {
            gone.push(page);
        }
    }
    gone
}

/// Scenario 0.12: without a credential nothing is changed, and nothing told.
#[tokio::test]
async fn nobody_gets_in_without_leave() {
    let cache = filled().await;
    let everything = "{\"everything\":true}";
    let calls = [
        ("POST", "/purge", everything),
        ("POST", "/dry-run", everything),
        ("PURGE", "/", ""),
        ("GET", "/entries", ""),
        ("POST", "/inspect", "{\"url\":\"http://a.example/\"}"),
        ("GET", "/stats", ""),
        ("GET", "/events", ""),
        ("GET", "/unknown", ""),
        ("DELETE", "/purge", ""),
    ];
    let host = ("host", "a.example");
    for (method, path, body) in calls {
        for credential in ["", "Bearer", "Bearer al", "Bearer all ll", "Basic all", "bearer ALL"] {
            let fields = [JSON, host, ("authorization", credential)];
            let (status, text) = send(&cache, method, path, &fields, body).await;
            assert_eq!(status, 401, "{method} {path} {credential}");
            assert_eq!(
                text,
                "{\"error\":\"This needs an Authorization field that is known here.\"}\n"
            );
        }
        let (status, _) = send(&cache, method, path, &[JSON, host], body).await;
        assert_eq!(status, 401, "{method} {path}");
    }
    for (method, path) in [("POST", "/purge"), ("PURGE", "/")] {
        let (status, text) = send(&cache, method, path, &[JSON, host, LOOK], everything).await;
        assert_eq!((status, &*text), (403, "{\"error\":\"You may not do that.\"}\n"));
    }
    let (status, text) = send(&cache, "POST", "/dry-run", &[JSON, LOOK], everything).await;
    assert_eq!(status, 200, "to look is allowed: {text}");
    assert_eq!(gone(&cache).await, [""; 0]);
    assert_eq!(cache.layer.handle().stats().purges(), 0);
}

/// RFC 9110 §11.6.1, §10.2.1.
#[tokio::test]
async fn a_refusal_says_what_is_missing() {
    let cache = filled().await;
    let admin = AdminService::new(cache.layer.handle(), token());
    let request = Request::get("/stats").body(Full::<Bytes>::default()).unwrap();
    let response = admin.clone().oneshot(request).await.unwrap();
    assert_eq!(response.headers()["www-authenticate"], "Bearer");
    for (method, path, allowed) in
        [("GET", "/purge", "POST"), ("HEAD", "/entries", "GET"), ("OPTIONS", "/stats", "GET")]
    {
        let request = Request::builder().method(method).uri(path).header(ALL.0, ALL.1);
        let request = request.body(Full::<Bytes>::default()).unwrap();
        let response = admin.clone().oneshot(request).await.unwrap();
        assert_eq!(
            (response.status().as_u16(), &response.headers()["allow"]),
            (405, &allowed.parse().unwrap())
        );
    }
}

/// Whatever makes no sense is refused with a sentence, and nothing happens.
#[tokio::test]
async fn what_is_not_understood_changes_nothing() {
    let cache = filled().await;
    let bomb = format!("{{\"tag\":\"{}\"}}", "a".repeat(20_000));
    let flood = format!("{{\"tag\":\"{}\"}}", "a".repeat(70_000));
    let everything = "{\"everything\":true}";
    let table: [(&str, &str, &str, u16, &str); 24] = [
        ("POST", "/purge", "", 400, "not one JSON object"),
        ("POST", "/purge", "{}", 400, "selects nothing"),
        ("POST", "/purge", "{\"tga\":\"a\"}", 400, "`tga` is no selector"),
        ("POST", "/purge", "{\"regex\":\"(a+)+$\"}", 400, "`regex` is no selector"),
        ("POST", "/purge", "{\"tag\":\"all\",\"dryrun\":true}", 400, "`dryrun` is nothing"),
        ("POST", "/purge", "{\"tag\":\"all\"}{\"tag\":\"all\"}", 400, "not one JSON object"),
        ("POST", "/purge", &bomb, 400, "longer than 16384 bytes"),
        ("POST", "/purge", &flood, 413, "larger than 65536 bytes"),
        ("POST", "/purge?dry_run=true", everything, 400, "takes no query"),
        ("POST", "/purge?", everything, 400, "takes no query"),
        ("POST", "/purge/", everything, 404, "no such route"),
        ("POST", "//purge", everything, 404, "no such route"),
        ("POST", "/Purge", everything, 404, "no such route"),
        ("POST", "/%70urge", everything, 404, "no such route"),
        ("POST", "/api/purge", everything, 404, "no such route"),
        ("POST", "/", everything, 404, "no such route"),
        ("DELETE", "/entries", "", 405, "takes GET"),
        ("GET", "/entries?limit=0", "", 400, "from 1 to 1000"),
        ("GET", "/entries?limit=1001", "", 400, "from 1 to 1000"),
        ("GET", "/entries?after=x", "", 400, "not the end of a page"),
        ("GET", "/entries?tag=a&tag=b", "", 400, "something twice"),
        ("GET", "/entries?tga=a", "", 400, "`tga` is no selector"),
        ("POST", "/inspect", "{\"url\":\"/x\"}", 400, "absolute URL"),
        (
            "POST",
            "/inspect",
            "{\"url\":\"http://a.example/\",\"header\":{}}",
            400,
            "`header` is not known",
        ),
    ];
    for (method, path, body, status, sentence) in table {
        let (answered, text) = send(&cache, method, path, &[ALL, JSON], body).await;
        assert_eq!(answered, status, "{method} {path} {text}");
        assert!(text.contains(sentence) && text.starts_with("{\"error\":\""), "{path}: {text}");
    }
    // A form of another site cannot say this, and a browser asks first before it lets a script.
    for media_type in ["application/x-www-form-urlencoded", "text/plain", ""] {
        let fields = [ALL, ("content-type", media_type)];
        let (status, _) = send(&cache, "POST", "/purge", &fields, everything).await;
        assert_eq!(status, 415, "{media_type}");
    }
    let (status, text) = send(&cache, "PURGE", "/", &[ALL], "").await;
    assert_eq!(status, 400, "{text}");
    // Who sends one may think that it says how, as in `{"dry_run": true}`.
    let fields = [ALL, JSON, ("host", "a.example")];
    let (status, text) = send(&cache, "PURGE", "/", &fields, r#"{"dry_run":true}"#).await;
    assert!(status == 400 && text.contains("takes no body"), "{text}");
    let two_hosts = [ALL, ("host", "a.example"), ("host", "b.example")];
    assert_eq!(send(&cache, "PURGE", "/", &two_hosts, "").await.0, 400);
    assert_eq!(cache.layer.handle().stats().purges(), 0);
    assert_eq!(gone(&cache).await, [""; 0]);
}

/// A body that does not say how long it is ends where it has to, or does not arrive.
#[tokio::test]
async fn a_body_without_an_end() {
    let cache = filled().await;
    let mut admin = AdminService::new(cache.layer.handle(), token());
    for (is_whole, status) in [(true, 413), (false, 400)] {
        let (sender, body) = channel();
        let request = Request::post("/purge").header(ALL.0, ALL.1).header(JSON.0, JSON.1);
        let mut answer = Box::pin(admin.call(request.body(body).unwrap()));
        sender.data("{\"everything\":true,\"by\":\"");
        assert!(now_or_never(&mut answer).is_none());
        match is_whole {
            true => (0..70).for_each(|_| sender.data("a".repeat(1024))),
            false => sender.error("cut"),
        }
        assert_eq!(now_or_never(answer).unwrap().unwrap().status(), status);
    }
    assert_eq!(gone(&cache).await, [""; 0]);
}

/// Each selector is there, softly and as a dry run, and a count of 0 is visible.
#[tokio::test]
async fn purges_are_counted() {
    let table: [(&str, u64, &[&str]); 9] = [
        (r#"{"tag":"all"}"#, 3, &PAGES),
        (r#"{"tag":"al"}"#, 0, &[]),
        (r#"{"tag":"/docs/x"}"#, 1, &["/docs/x"]),
        (r#"{"url":"http://a.example/docs2?q"}"#, 1, &["/docs2?q"]),
        (r#"{"prefix":"http://a.example/docs"}"#, 1, &["/docs/x"]),
        (r#"{"host":"a.example","soft":true}"#, 3, &PAGES),
        (r#"{"group":"g","origin":"http://a.example"}"#, 3, &PAGES),
        (r#"{"variant":"http://a.example/","fields":{"accept":"x"}}"#, 0, &[]),
        (r#"{"everything":true}"#, 3, &PAGES),
    ];
    for (purge, count, expected) in table {
        let cache = filled().await;
        let counted = format!("\"count\":{count},");
        if !purge.contains("soft") {
            let (status, text) = post(&cache, "/dry-run", purge).await;
            assert!(status == 200 && text.contains(&counted), "{purge}: {text}");
            assert_eq!(gone(&cache).await, [""; 0]);
        }
        let (status, text) = post(&cache, "/purge", purge).await;
        assert!(status == 200 && text.contains(&counted), "{purge}: {text}");
        assert_eq!(gone(&cache).await, expected, "{purge}");
    }
    let cache = filled().await;
    let (_, text) = post(&cache, "/purge", r#"{"tag":"/","by":"me"}"#).await;
    let expected = r#"{"count":1,"purge":{"by":"me","tag":"/"},"seq":1,"text":"tag /"}"#;
    assert_eq!(text, format!("{expected}\n"));
}

/// `PURGE` takes out what a GET with the same target and `Host` is answered with.
#[tokio::test]
async fn the_purge_method_purges_a_url() {
    for (target, host, expected) in [
        ("/docs2?q", Some("a.example"), "/docs2?q"),
        ("/docs/x", Some("A.example:80"), "/docs/x"),
        ("http://a.example/", None, "/"),
        ("http://a.example/", Some("127.0.0.1:3001"), "/"),
        ("/docs2", Some("a.example"), ""),
        ("/purge", Some("a.example"), ""),
        ("/", Some("b.example"), ""),
        ("https://a.example/", None, ""),
    ] {
        let cache = filled().await;
        let mut fields = vec![ALL];
        fields.extend(host.map(|host| ("host", host)));
        let (status, text) = send(&cache, "PURGE", target, &fields, "").await;
        let counted = format!("\"count\":{},", u8::from(!expected.is_empty()));
        assert!(status == 200 && text.contains(&counted), "{target}: {text}");
        assert_eq!(gone(&cache).await.concat(), expected, "{target}");
    }
    let cache = cache(Policy::shared().default_scheme("https"));
    cache.origin.on(|_| ok().cache_control("max-age=60").text("hello"));
    cache.get("https://a.example/").await;
    let (_, text) = send(&cache, "PURGE", "/", &[ALL, ("host", "a.example")], "").await;
    assert!(text.contains("\"count\":1,") && text.contains("https://a.example/"), "{text}");
}

#[tokio::test]
async fn entries_are_listed_page_by_page() {
    let cache = filled().await;
    let (status, first) = send(&cache, "GET", "/entries?limit=2", &[LOOK], "").await;
    assert_eq!(status, 200);
    assert!(
        first.contains("\"url\":\"http://a.example/\"") && !first.contains("/docs2"),
        "{first}"
    );
    let next = first.split("\"next\":\"").nth(1).unwrap().split('"').next().unwrap();
    let (_, last) = send(&cache, "GET", &format!("/entries?after={next}"), &[LOOK], "").await;
    assert!(last.contains("docs2?q") && last.contains("\"next\":null"), "{last}");
    assert!(last.contains("\"tags\":[\"all\",\"/docs2\"],\"url\""), "{last}");
    let (_, tagged) = send(&cache, "GET", "/entries?tag=%2Fdocs%2Fx&limit=9", &[LOOK], "").await;
    assert_eq!(tagged.matches("\"url\"").count(), 1, "{tagged}");
    let (_, none) = send(&cache, "GET", "/entries?tag=none", &[LOOK], "").await;
    assert_eq!(none, "{\"entries\":[],\"next\":null}\n");
    let (_, all) = send(&cache, "GET", "/entries?everything=true", &[LOOK], "").await;
    assert_eq!(all.matches("\"url\"").count(), 3, "{all}");
}

/// With the rules that were applied, without a byte of a body, and without what is a user's secret.
#[tokio::test]
async fn an_entry_is_explained() {
    let store = Spy::waiting();
    let cache = cache_over(store.clone(), Policy::private());
    cache.origin.on(|_| {
        ok().cache_control("max-age=60").header("set-cookie", "session=secret").text("hello")
    });
    cache.get("/").await;
    cache.clock.advance_secs(10);
    store.asked();
    let (status, text) = post(&cache, "/inspect", r#"{"url":"http://a.example/"}"#).await;
    assert_eq!(status, 200, "{text}");
    for part in [
        r#""would_be":"hit; ttl=50""#,
        r#""text":"200, 5 bytes, age 10 s of 60 s: fresh""#,
        r#""rule":"fresh""#,
        r#""section":"RFC 9111 §4.2""#,
        r#"["set-cookie","(not shown)"]"#,
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
    assert!(!text.contains("secret") && !text.contains("hello"), "{text}");
    assert_eq!((store.asked().body_bytes, cache.origin.calls()), (0, 1));
    let fields = r#"{"url":"http://a.example/","fields":{"cache-control":"no-cache"}}"#;
    let (_, text) = post(&cache, "/inspect", fields).await;
    assert!(text.contains("fwd=request"), "{text}");
    let (status, text) =
        post(&cache, "/inspect", r#"{"url":"http://a.example/","fields":{"if-match":"x"}}"#).await;
    assert!(status == 400 && text.contains("passes by the cache"), "{text}");
    let (_, text) = send(&cache, "GET", "/stats", &[LOOK], "").await;
    assert!(text.contains("\"forwarded\":1,") && text.contains("\"records\":1,"), "{text}");
}

/// Every purge is seen, by whom and how many, until the cache is shut down.
#[tokio::test]
async fn events_are_followed() {
    let cache = filled().await;
    let by_name = |_: &Parts, _: Action| Access::GrantedTo("ada".to_owned());
    let admin = AdminService::new(cache.layer.handle(), by_name);
    let request = Request::get("/events").body(Full::<Bytes>::default()).unwrap();
    let response = admin.clone().oneshot(request).await.unwrap();
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let mut body = response.into_body();
    let mut next = || {
        let frame = now_or_never(body.frame())?;
        let data = frame?.unwrap().into_data().unwrap();
        Some(String::from_utf8(data.into()).unwrap())
    };
    assert_eq!(next().unwrap(), "retry: 2000\n\n");
    assert_eq!(next(), None);
    let request = Request::post("/purge").header(JSON.0, JSON.1);
    let request = request.body(Full::from("{\"tag\":\"all\",\"by\":\"a\\nb\"}")).unwrap();
    assert_eq!(answer(admin.clone(), request).await.0, 200);
    cache.layer.handle().purge(Purge::matching(|_, _| true)).await.unwrap();
    let (purged, swept, predicate) = (next().unwrap(), next().unwrap(), next().unwrap());
    assert!(purged.starts_with("event: purged\ndata: {\"at_ms\":"), "{purged}");
    assert!(purged.contains(r#""by":"ada: a\nb""#) && purged.ends_with("}\n\n"), "{purged}");
    assert_eq!(purged.lines().count(), 3, "a label cannot begin an event: {purged}");
    assert!(swept.starts_with("event: swept\n") && swept.contains("\"count\":3,"), "{swept}");
    assert!(predicate.contains("\"purge\":null,\"seq\":2,\"text\":\"predicate\""), "{predicate}");
    tokio::task::yield_now().await;
    while next().is_some() {}
    cache.clock.advance_secs(15);
    assert_eq!(next().as_deref(), Some(":\n\n"), "still there");
    assert_eq!(next(), None);
    cache.layer.handle().shutdown().await;
    assert!(now_or_never(body.frame()).expect("it has ended").is_none());
}

/// Those who follow are bounded, and one that leaves makes room.
#[tokio::test]
async fn not_everybody_can_follow() {
    let cache = filled().await;
    let admin = AdminService::new(cache.layer.handle(), token());
    let follow = || {
        let request = Request::get("/events").header(LOOK.0, LOOK.1);
        admin.clone().oneshot(request.body(Full::<Bytes>::default()).unwrap())
    };
    let mut following = Vec::new();
    for _ in 0..64 {
        following.push(follow().await.unwrap());
    }
    assert_eq!(follow().await.unwrap().status(), 503);
    following.pop();
    let again = follow().await.unwrap();
    assert_eq!((again.status().as_u16(), again.body().size_hint().exact()), (200, None));
}

/// What others could not be told of is said, although it is purged here.
#[tokio::test]
async fn a_purge_that_stays_here_is_told() {
    let bus = LocalBus::new();
    let cache = filled().await.layered(|layer| layer.executor(NoExecutor).bus(bus.clone()));
    gone(&cache).await;
    bus.cut();
    let (status, text) = post(&cache, "/purge", r#"{"tag":"/docs/x"}"#).await;
    assert_eq!(status, 502);
    assert!(text.contains("purged here, but other caches could not be told"), "{text}");
    assert_eq!(gone(&cache).await, ["/docs/x"]);
}

/// A store that cannot be walked cannot be counted or listed either.
#[tokio::test]
async fn a_store_that_cannot_be_walked() {
    let store = Spy::new();
    let cache =
        cache_over(store.clone(), Policy::shared()).layered(|layer| layer.executor(NoExecutor));
    store.breaks(Call::Scan, Fault::Refuse);
    let (status, text) = post(&cache, "/purge", r#"{"tag":"a"}"#).await;
    assert!(status == 200 && text.contains("\"count\":null"), "{text}");
    let (status, text) = send(&cache, "GET", "/entries", &[LOOK], "").await;
    assert!(status == 501, "{text}");
    store.breaks(Call::Scan, Fault::Fail);
    let (status, text) = post(&cache, "/purge", r#"{"tag":"a"}"#).await;
    assert!(status == 500 && text.contains("out of order"), "{text}");
}

/// A purge goes on when whoever asked for it does not wait.
#[tokio::test]
async fn a_client_that_leaves_has_purged() {
    let store = Spy::new();
    let cache = cache_over(store.clone(), Policy::shared());
    store.breaks(Call::Scan, Fault::Wait);
    cache.origin.on(|_| ok().cache_control("max-age=60").header("cache-tag", "all").text("hello"));
    cache.get("/").await;
    let mut admin = AdminService::new(cache.layer.handle(), token());
    let request = Request::post("/purge").header(ALL.0, ALL.1).header(JSON.0, JSON.1);
    let request = request.body(Full::<Bytes>::from("{\"tag\":\"all\"}")).unwrap();
    let mut answer = Box::pin(admin.call(request));
    assert!(now_or_never(&mut answer).is_none(), "it sweeps");
    drop(answer);
    cache.get("/").await.assert_forwarded();
}

/// It stands in an axum router as it is, below a path or at the root.
#[tokio::test]
async fn it_stands_in_a_router() {
    let cache = filled().await;
    let admin: AdminService<MemoryManager> = AdminService::new(cache.layer.handle(), token());
    let app: axum::Router =
        axum::Router::new().route_service("/stats", admin.clone()).nest_service("/cache", admin);
    let purge = |path: &str| {
        let request = Request::post(path).header(ALL.0, ALL.1).header(JSON.0, JSON.1);
        let request = request.body(axum::body::Body::from("{\"tag\":\"all\"}")).unwrap();
        app.clone().oneshot(request)
    };
    assert_eq!(purge("/cache/purge").await.unwrap().status(), 200);
    assert_eq!(gone(&cache).await, PAGES);
    for (path, status) in
        [("/cache/purge/", 404), ("/cache", 404), ("/purge", 404), ("/stats", 405)]
    {
        assert_eq!(purge(path).await.unwrap().status(), status, "{path}");
    }
    assert_eq!(gone(&cache).await, [""; 0]);
}
