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
