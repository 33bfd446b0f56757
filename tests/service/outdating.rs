//! Scenario 3.10: the four ways in which what is stored gives way to what is newer, and the soft purge
//! as a fifth. Each by what the client gets, and by what the origin is asked.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use larder::{Policy, Purge};

use crate::support::{Cache, cache, ok, status};

/// An origin whose page is 1 until it is changed to 2, with `directives`; it knows its tags.
fn page(directives: &'static str) -> (Cache, Arc<AtomicUsize>) {
    let cache = cache(Policy::shared());
    let version = Arc::new(AtomicUsize::new(1));
    let at_origin = version.clone();
    cache.origin.on(move |request| {
        let version = at_origin.load(Ordering::SeqCst).to_string();
        let tag = format!("\"{version}\"");
        let is_same = request.headers().get("if-none-match").is_some_and(|known| *known == *tag);
        let reply = if is_same { status(304) } else { ok() };
        let reply = reply.cache_control(directives).header("etag", tag);
        reply.header("surrogate-key", "pages").text(if is_same { String::new() } else { version })
    });
    (cache, version)
}

/// Lets the background go on until it has nothing more to do.
async fn settle() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn by_time() {
    let (cache, version) = page("max-age=60");
    cache.get("/").await;
    version.store(2, Ordering::SeqCst);
    cache.clock.set_secs(59);
    assert_eq!(cache.get("/").await.assert_hit().text(), "1");
    cache.clock.set_secs(60);
    assert_eq!(cache.get("/").await.assert_forwarded().text(), "2");
    assert_eq!(cache.get("/").await.assert_hit().text(), "2");
}

#[tokio::test]
async fn by_purge() {
    let (cache, version) = page("max-age=60");
    cache.get("/").await;
    version.store(2, Ordering::SeqCst);
    cache.layer.handle().purge(Purge::tag("pages")).await.unwrap();
    let answer = cache.get("/").await;
    assert_eq!(answer.assert_forwarded().text(), "2");
    assert_eq!(cache.origin.last().field("if-none-match"), None, "nothing is left to ask about");
    assert_eq!(cache.get("/").await.assert_hit().text(), "2");
}

#[tokio::test]
async fn by_revalidation() {
    let (cache, version) = page("no-cache");
    cache.get("/").await;
    assert_eq!(cache.get("/").await.assert_revalidated().text(), "1");
    assert_eq!(cache.origin.last().field("if-none-match"), Some("\"1\""));
    version.store(2, Ordering::SeqCst);
    assert_eq!(cache.get("/").await.assert_forwarded().text(), "2");
    assert_eq!(cache.get("/").await.assert_revalidated().text(), "2");
    assert_eq!(cache.origin.calls(), 4, "at each use");
}

#[tokio::test]
async fn by_stale_while_revalidate() {
    let (cache, version) = page("max-age=60, stale-while-revalidate=30");
    cache.get("/").await;
    version.store(2, Ordering::SeqCst);
    cache.clock.set_secs(75);
    assert_eq!(cache.get("/").await.assert_hit().text(), "1", "at once");
    settle().await;
    assert_eq!(cache.get("/").await.assert_hit().text(), "2");
    assert_eq!(cache.origin.calls(), 2);
}

/// The next request gets what is stale, within the window, and the refresh happens.
#[tokio::test]
async fn by_soft_purge() {
    let (cache, version) = page("max-age=60, stale-while-revalidate=30");
    cache.get("/").await;
    version.store(2, Ordering::SeqCst);
    cache.layer.handle().purge(Purge::tag("pages").soft()).await.unwrap();
    cache.clock.set_secs(1);
    let stale = cache.get("/").await;
    assert_eq!((stale.assert_hit().text(), stale.cache.ttl()), ("1", Some(-1)));
    settle().await;
    assert_eq!(cache.origin.last().field("if-none-match"), Some("\"1\""));
    assert_eq!(cache.get("/").await.assert_hit().text(), "2");
    assert_eq!(cache.origin.calls(), 2);
}
