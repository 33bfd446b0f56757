//! Which parameters of a query are keyed, and that the origin is asked for exactly those.

use larder::{MemoryManager, Policy, Purge, policy::QueryKey};

use crate::support::{Cache, cache_over, ok, request};

fn echo(policy: Policy) -> Cache {
    let cache = cache_over(MemoryManager::new(1 << 20), policy);
    cache.origin.on(|request| ok().cache_control("max-age=60").text(request.uri().to_string()));
    cache
}

/// Scenario 0.8: two by default, one where the parameter is no part of the key.
#[tokio::test]
async fn parameters_are_keyed_unless_told_otherwise() {
    for (query, expected) in [
        (QueryKey::whole(), 2),
        (QueryKey::ignored(), 1),
        (QueryKey::without(["x"]), 1),
        (QueryKey::only(["y"]), 1),
        (QueryKey::only(["x"]), 2),
    ] {
        let cache = echo(Policy::shared().query(query.clone()));
        cache.get("/a?x=1").await;
        cache.get("/a?x=2").await;
        assert_eq!(cache.origin.calls(), expected, "{query:?}");
    }
}

/// security.md, cache entanglement: what is forwarded is what was keyed, for 200 crafted queries.
#[tokio::test]
async fn the_origin_is_asked_for_what_is_keyed() {
    let policy = Policy::shared().query(QueryKey::without(["utm_*", "x"]).sorted());
    let cache = echo(policy);
    let pieces =
        ["x=1", "y=2", "x", "utm_a=1;y=9", "y=%26x=3", "%78=1", "", "a[]=1", "X=4", "y=2&y=1"];
    let mut queries = Vec::new();
    for a in pieces {
        for b in pieces {
            queries.extend([format!("{a}&{b}"), format!("{b};{a}&&{a}")]);
        }
    }
    assert_eq!(queries.len(), 200);
    for query in queries {
        let first = cache.get(&format!("/a?{query}")).await;
        let asked = first.text().strip_prefix("http://a.example").unwrap().to_owned();
        // Asking for what was forwarded finds what was stored.
        let again = cache.get(&asked).await;
        assert_eq!(again.assert_hit().text(), first.text(), "{query}");
        let path = asked.split('?').nth(1).unwrap_or_default();
        let stray = path.split('&').any(|pair| pair == "x" || pair.starts_with("x="));
        assert!(!stray, "{query} -> {asked}");
    }
}

/// An unsafe request and a purge mean the resource, whatever parameters they name besides.
#[tokio::test]
async fn invalidation_and_purge_go_by_the_same_key() {
    let cache = echo(Policy::shared().query(QueryKey::without(["x"])));
    cache.get("/a?x=1&y=2").await;
    cache.get("/a?y=2").await.assert_hit();
    cache.send(request("POST", "/a?y=2&x=7")).await;
    assert_eq!(cache.origin.last().path(), "/a?y=2&x=7", "written through as it is");
    cache.get("/a?y=2").await.assert_forwarded();
    cache.get("/a?y=2").await.assert_hit();
    let purge = Purge::url("http://a.example/a?x=3&y=2").unwrap();
    cache.layer.handle().purge(purge).await.unwrap();
    cache.get("/a?y=2").await.assert_forwarded();
    for host in ["A.example:80", "a.example.", "a.example:443"] {
        cache.get("/a?y=2").await.assert_hit();
        cache.layer.handle().purge(Purge::host(host)).await.unwrap();
        cache.get("/a?y=2").await.assert_forwarded();
    }
}

/// Feature path-forms; RFC 3986 §6.2.2: one key by choice, and the origin is asked for exactly that; what
/// a write or a purge names is found in any form.
#[tokio::test]
async fn forms_of_a_path_are_one_by_choice() {
    const FORMS: [&str; 4] = ["/~ada/a", "/%7eada/a", "/%7Eada/b/../a", "/x/%2e%2e/~ada/./a"];
    for (normalises, calls) in [(true, 1), (false, 4)] {
        let cache = echo(Policy::shared().normalise_path(normalises));
        for form in FORMS {
            let answer = cache.get(form).await;
            let asked = if normalises { FORMS[0] } else { form };
            assert_eq!(answer.text(), format!("http://a.example{asked}"));
        }
        assert_eq!(cache.origin.calls(), calls);
    }
    for form in FORMS {
        let cache = echo(Policy::shared().normalise_path(true));
        for other in ["/~ada/a?x=%7e", "/a%2fb", "/a%2Fb", "/a/b"] {
            cache.get(other).await;
        }
        assert_eq!(cache.origin.calls(), 3, "what is reserved is not the same");
        cache.get("/~ada/a").await;
        cache.send(request("POST", form)).await;
        cache.get("/~ada/a").await.assert_forwarded();
        let url = format!("http://a.example{form}");
        cache.layer.handle().purge(Purge::url(&url).unwrap()).await.unwrap();
        cache.get("/~ada/a").await.assert_forwarded();
        cache.layer.handle().purge(Purge::prefix(&url).unwrap()).await.unwrap();
        cache.get("/~ada/a").await.assert_forwarded();
        cache.get("/a/b").await.assert_hit();
    }
}
