//! What makes two requests one (RFC 9111 §2).

use larder::{MemoryManager, Policy, policy::Reason};

use crate::support::{cache, cache_over, ok, request, with};

/// Scenario 3.4; CVE-2026-2836; behaviour 19.
#[tokio::test]
async fn scheme_authority_path_and_query_tell_resources_apart() {
    let different = [
        "http://a.example/x",
        "http://b.example/x",
        "https://a.example/x",
        "http://a.example:8080/x",
        "http://a.example/X",
        "http://a.example/x/",
        "http://a.example/x?q",
        "http://a.example/x?q=1",
        "http://a.example/x?q=2",
        "http://a.example/x?q=1&q=2",
        "http://a.example/x?q=1;q=2",
        "http://a.example/%78",
    ];
    let cache = cache(Policy::shared());
    cache.origin.on(|request| ok().cache_control("max-age=60").text(request.uri().to_string()));
    for is_hit in [false, true] {
        for uri in different {
            let answer = cache.send(request("GET", uri)).await;
            assert_eq!((answer.text(), answer.cache.is_hit()), (uri, is_hit), "{uri}");
        }
    }
}

/// RFC 3986 §6.2; RFC 9110 §7.1, §7.2: forms of one target.
#[tokio::test]
async fn forms_of_one_target_share_an_entry() {
    let cache = cache(Policy::shared());
    cache.origin.on(|_| ok().cache_control("max-age=60").text("hello"));
    cache.send(request("GET", "http://a.example/x")).await;
    for (uri, host) in [
        ("http://A.Example/x", None),
        ("http://a.example:80/x", None),
        ("http://a.example./x", None),
        ("HTTP://a.example/x", None),
        ("http://a.example/x", Some("a.example")),
        ("http://a.example/x", Some("A.EXAMPLE:80")),
        ("http://a.example/x", Some("")), // no authority is not another one (RFC 9112 §3.2.2)
    ] {
        let fields: Vec<_> = host.into_iter().map(|host| ("host", host)).collect();
        cache.send(with(request("GET", uri), &fields)).await.assert_hit();
    }
    assert_eq!(cache.send(path_only(&["a.example"])).await.assert_hit().text(), "hello");
}

/// Origin-form, as axum and hyper's servers see it.
fn path_only(hosts: &[&str]) -> http::Request<http_body_util::Full<bytes::Bytes>> {
    let mut request = request("GET", "/x");
    *request.uri_mut() = "/x".parse().unwrap();
    let fields: Vec<_> = hosts.iter().map(|host| ("host", *host)).collect();
    with(request, &fields)
}

/// VSV00018: requests that name two authorities, or none that can be read, pass by.
#[tokio::test]
async fn a_request_with_two_authorities_is_nobodys() {
    let absolute = |host| with(request("GET", "http://a.example/x"), &[("host", host)]);
    let table = [
        (absolute("b.example"), Reason::Authority),
        (absolute("a.example:8080"), Reason::Authority),
        (absolute("a.example, b.example"), Reason::Authority),
        (path_only(&["a.example", "b.example"]), Reason::Authority),
        (path_only(&["a.example/x"]), Reason::Authority),
        (path_only(&["user@a.example"]), Reason::Authority),
        (path_only(&[]), Reason::NoAuthority),
    ];
    for (odd, reason) in table {
        let cache = cache(Policy::shared());
        cache.origin.on(|request| {
            let host = request.headers().get("host").map_or("-", |host| host.to_str().unwrap());
            ok().cache_control("max-age=60").text(host)
        });
        cache.send(absolute("a.example")).await;
        let head = format!("{} {:?}", odd.uri(), odd.headers());
        let answer = cache.send(odd).await;
        assert_eq!(answer.cache.reason(), Some(reason), "{head}");
        assert_eq!(cache.origin.calls(), 2, "{head}");
        assert_eq!(cache.send(absolute("a.example")).await.assert_hit().text(), "a.example");
        cache.send(absolute("b.example")).await;
        cache.send(request("GET", "http://b.example/x")).await.assert_forwarded();
    }
}

/// Scenario 0.1: two caches on one store.
#[tokio::test]
async fn namespaces_share_a_store_and_nothing_else() {
    let manager = MemoryManager::new(1 << 20);
    let caches = ["a", "b"].map(|name| {
        let cache = cache_over(manager.clone(), Policy::shared().namespace(name));
        cache.origin.on(move |_| ok().cache_control("max-age=60").text(name));
        cache
    });
    let [a, b] = &caches;
    for _ in 0..1000 {
        assert_eq!((a.get("/x").await.text(), b.get("/x").await.text()), ("a", "b"));
    }
    assert_eq!((a.origin.calls(), b.origin.calls()), (1, 1));
    a.layer.handle().purge(larder::Purge::namespace("a")).await.unwrap();
    for _ in 0..1000 {
        b.get("/x").await.assert_hit();
    }
    a.get("/x").await.assert_forwarded();
    a.get("/x").await.assert_hit();
}

/// The key is what the client asked for, where something outside has rewritten the URI.
#[tokio::test]
async fn the_target_may_stand_in_an_extension() {
    #[derive(Clone)]
    struct Original(http::Uri);
    let policy =
        Policy::shared().target(|head| head.extensions.get::<Original>().map(|it| it.0.clone()));
    let cache = cache(policy);
    let mut calls = 0;
    cache.origin.on(move |_| {
        calls += 1;
        ok().cache_control("max-age=60").text(calls.to_string())
    });
    let nested = async |original: &str| {
        let mut request = request("GET", "/report");
        request.extensions_mut().insert(Original(original.parse().unwrap()));
        cache.send(request).await.text().to_owned()
    };
    for _ in 0..2 {
        assert_eq!(nested("http://a.example/one/report").await, "1");
        assert_eq!(nested("http://a.example/two/report").await, "2");
        assert_eq!(cache.get("/report").await.text(), "3");
    }
}

/// What the request does not say, the policy may.
#[tokio::test]
async fn a_request_without_authority_takes_the_policys() {
    let cache = cache(Policy::shared().default_authority("a.example").default_scheme("https"));
    cache.origin.on(|_| ok().cache_control("max-age=60").text("hello"));
    cache.send(path_only(&[])).await.assert_forwarded();
    cache.send(path_only(&[])).await.assert_hit();
    cache.send(request("GET", "https://a.example/x")).await.assert_hit();
    cache.send(request("GET", "http://a.example/x")).await.assert_forwarded();
}
