//! `Clear-Site-Data` in a client's cache.

use larder::Policy;

use crate::support::{Cache, cache, ok, request};

const SITE: &str = "https://site.example";

/// Two pages of a site and one of another, all stored, and then whatever is asked for says `value`.
async fn told(policy: Policy, method: &str, origin: &'static str, value: &'static str) -> Cache {
    let cache = cache(policy);
    cache.origin.on(|_| ok().cache_control("max-age=600").header("vary", "x-a").text("page"));
    for url in [format!("{origin}/a"), format!("{origin}/b"), "https://other.example/a".to_owned()]
    {
        cache.send(request("GET", &url)).await;
    }
    cache.origin.on(move |_| {
        ok().cache_control("max-age=600").header("clear-site-data", value).text("cleared")
    });
    let answer = cache.send(request(method, &format!("{origin}/logout"))).await;
    assert_eq!(answer.field("clear-site-data"), Some(value));
    cache.origin.on(|_| ok().cache_control("max-age=600").text("new"));
    cache
}

async fn has(cache: &Cache, url: &str) -> bool {
    cache.send(request("GET", url)).await.cache.is_hit()
}

/// Feature clear-site-data: of a private cache, over https, whatever the method; the origin's own
/// responses and nobody else's, and not the one that said so.
#[tokio::test]
async fn an_origin_takes_back_what_it_gave() {
    let off = || Policy::private().clear_site_data(false);
    for (policy, method, origin, value, clears) in [
        (Policy::private(), "GET", SITE, "\"cache\"", true),
        (Policy::private(), "POST", SITE, "\"cookies\", \"cache\"", true),
        (Policy::private(), "DELETE", SITE, "\"*\"", true),
        (Policy::private(), "HEAD", SITE, "\"cache\"", true),
        (Policy::private(), "GET", SITE, "\"cookies\", \"storage\"", false),
        (Policy::private(), "GET", SITE, "cache", false),
        (Policy::private(), "GET", SITE, "\"Cache\"", false),
        (Policy::private(), "GET", "http://site.example", "\"cache\"", false),
        (Policy::shared(), "GET", SITE, "\"cache\"", false),
        (Policy::shared().clear_site_data(true), "POST", SITE, "\"cache\"", false),
        (off(), "GET", SITE, "\"cache\"", false),
    ] {
        let cache = told(policy, method, origin, value).await;
        let said = format!("{method} {origin} {value}");
        assert!(has(&cache, "https://other.example/a").await, "{said}");
        for page in ["a", "b"] {
            assert_eq!(has(&cache, &format!("{origin}/{page}")).await, !clears, "{said}");
        }
        if clears && method == "GET" {
            assert!(!has(&cache, &format!("{origin}/logout")).await, "{said}");
        }
        // What comes afterwards is stored again.
        assert!(has(&cache, &format!("{origin}/a")).await, "{said}");
    }
}
