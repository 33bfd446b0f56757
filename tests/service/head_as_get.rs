//! A HEAD that is made a GET (RFC 9110 §9.3.2).

use std::sync::{Arc, Mutex};

use http_body_util::BodyExt;
use larder::{Disconnect, NoExecutor, Policy};
use tower::Service;

use crate::support::{Answer, Cache, cache, channel, now_or_never, ok, request, status, with};

fn converting() -> Cache {
    cache(Policy::shared().head_as_get(true))
}

async fn head(cache: &Cache, fields: &[(&str, &str)]) -> Answer {
    cache.send(with(request("HEAD", "/"), fields)).await
}

/// Feature head-miss: the origin is asked for all of it, the client gets the head, and whoever asks next
/// gets what is stored; conditions and ranges mean what they mean to a HEAD.
#[tokio::test]
async fn a_head_miss_fills_the_store() {
    for (convert, calls) in [(true, 1), (false, 2)] {
        let cache = cache(Policy::shared().head_as_get(convert));
        cache.origin.on(|_| ok().cache_control("max-age=60").header("etag", "\"1\"").text("hello"));
        let first = head(&cache, &[("range", "bytes=0-1"), ("if-range", "\"1\"")]).await;
        assert_eq!((first.status.as_u16(), first.body.len()), (200, 0));
        let seen = cache.origin.last();
        assert_eq!(seen.method, if convert { "GET" } else { "HEAD" });
        assert_eq!(seen.field("range").is_none(), convert, "a HEAD has no ranges");
        assert_eq!(first.cache.is_stored(), convert);
        let second = head(&cache, &[]).await;
        assert_eq!((second.cache.is_hit(), second.body.len()), (convert, 0));
        let whole = cache.get("/").await;
        assert_eq!((whole.text(), whole.field("content-length").is_some()), ("hello", convert));
        assert_eq!(cache.origin.calls(), calls + usize::from(!convert));
    }
}

/// A small body needs no executor; of a large one the executor reads the rest, and without one, or where
/// nothing is finished for who has left, nothing is stored and nothing is awaited.
#[tokio::test]
async fn the_rest_is_fetched_as_for_a_client_who_has_left() {
    let large = "x".repeat(100_000);
    for (size, executes, finishes, is_stored) in [
        (100, false, true, true),
        (100, true, false, true),
        (100_000, true, true, true),
        (100_000, false, true, false),
        (100_000, true, false, false),
    ] {
        let cache = converting().layered(|layer| {
            let layer = if executes { layer } else { layer.executor(NoExecutor) };
            layer.on_disconnect(if finishes { Disconnect::Finish } else { Disconnect::Abandon })
        });
        let text = large[..size].to_owned();
        cache.origin.on(move |_| {
            let (sender, body) = channel();
            sender.data(text.clone());
            let length = text.len().to_string();
            ok().cache_control("max-age=60").header("content-length", length).body(body)
        });
        let answer = head(&cache, &[]).await;
        assert_eq!(answer.field("content-length"), Some(&*size.to_string()));
        tokio::task::yield_now().await;
        tokio::task::yield_now().await;
        let next = cache.get("/").await;
        let said = format!("{size} {executes} {finishes}");
        assert_eq!((next.cache.is_hit(), next.body.len()), (is_stored, size), "{said}");
    }
}

/// The head does not wait for a large body, nor for one that has no end yet; and who asks meanwhile
/// shares it.
#[tokio::test]
async fn a_head_does_not_wait_for_the_body() {
    let cache = converting();
    let senders = Arc::new(Mutex::new(Vec::new()));
    cache.origin.on({
        let senders = senders.clone();
        move |_| {
            let (sender, body) = channel();
            senders.lock().unwrap().push(sender);
            ok().cache_control("max-age=60").body(body)
        }
    });
    let mut service = cache.service.clone();
    let first =
        now_or_never(service.call(request("HEAD", "/"))).expect("it does not wait").unwrap();
    let collected = now_or_never(first.into_body().collect()).expect("it has ended").unwrap();
    assert!(collected.to_bytes().is_empty());
    let second = now_or_never(service.call(request("GET", "/"))).expect("it shares").unwrap();
    assert_eq!(cache.origin.calls(), 1);
    let sender = senders.lock().unwrap().pop().unwrap();
    sender.data("hello");
    drop(sender);
    assert_eq!(second.into_body().collect().await.unwrap().to_bytes(), "hello");
    cache.get("/").await.assert_hit();
}

/// What may not be stored is passed on without its body, an unfit one too; an error is the origin's.
#[tokio::test]
async fn what_is_not_stored_is_a_head_all_the_same() {
    let cache = converting();
    cache.origin.on(|_| ok().cache_control("no-store").text("hello"));
    let answer = head(&cache, &[]).await;
    assert_eq!((answer.body.len(), answer.cache.is_stored()), (0, false));
    let large = "x".repeat(9 << 20);
    cache.origin.on(move |_| ok().cache_control("max-age=60").text(large.clone()));
    assert_eq!(head(&cache, &[]).await.body.len(), 0, "larger than the store takes");
    cache.origin.on(|_| status(500).text("oh"));
    let answer = head(&cache, &[]).await;
    assert_eq!((answer.status.as_u16(), answer.body.len()), (500, 0));
}

/// RFC 9111 §5.2.1.5: what would not be stored is not fetched.
#[tokio::test]
async fn a_head_that_keeps_nothing_stays_one() {
    let cache = converting();
    cache.origin.on(|_| ok().cache_control("max-age=60").text("hello"));
    assert!(!head(&cache, &[("cache-control", "no-store")]).await.cache.is_stored());
    assert_eq!(cache.origin.last().method, "HEAD");
}

/// A stale response is validated by a GET, and a new one takes its place.
#[tokio::test]
async fn a_stale_response_is_validated_by_a_get() {
    let cache = converting();
    cache.origin.on(|_| ok().cache_control("max-age=10").header("etag", "\"1\"").text("one"));
    cache.get("/").await;
    cache.origin.on(|request| match request.headers().get("if-none-match") {
        Some(_) => status(304).header("etag", "\"1\"").text(""),
        None => ok().text("?"),
    });
    cache.clock.advance_secs(11);
    head(&cache, &[]).await.assert_revalidated();
    assert_eq!(cache.origin.last().method, "GET");
    cache.origin.on(|_| ok().cache_control("max-age=10").header("etag", "\"2\"").text("two"));
    cache.clock.advance_secs(11);
    assert_eq!(head(&cache, &[]).await.field("etag"), Some("\"2\""));
    assert_eq!(cache.get("/").await.assert_hit().text(), "two");
}
