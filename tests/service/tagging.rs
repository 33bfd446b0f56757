//! Tags that the cache makes (RFC 9110 §8.8.3), for responses that came without validators.

use bytes::Bytes;
use http::Response;
use larder::{BoxManager, CacheManager, MemoryManager, Policy, storage::Tiered};

use super::spy::Spy;
use crate::support::{Cache, cache, cache_over, channel, get, ok, request, status, with};

fn tagging() -> Policy {
    Policy::shared().make_etag(true)
}

async fn tagged_by(manager: impl CacheManager) -> String {
    let cache = cache_over(manager.clone(), tagging());
    cache.origin.on(|_| ok().cache_control("max-age=60").text("hello"));
    let first = cache.get("/").await;
    assert_eq!((first.text(), first.field("etag")), ("hello", None), "its head had gone on");
    manager.sync().await.unwrap();
    let hit = cache.get("/").await;
    let tag = hit.assert_hit().field("etag").expect("it has a tag").to_owned();
    assert!(tag.len() == 34 && tag.starts_with('"') && tag.ends_with('"'), "{tag} is strong");
    let again = cache.get_with("/", &[("if-none-match", &tag)]).await;
    assert_eq!(
        (again.status.as_u16(), again.body.len(), again.field("etag")),
        (304, 0, Some(&*tag))
    );
    assert_eq!(cache.get_with("/", &[("if-none-match", "\"x\"")]).await.text(), "hello");
    assert_eq!(cache.origin.calls(), 1);
    tag
}

/// Feature make-etag: whoever comes back with the tag gets a 304, from every store, and equal bytes have
/// equal tags.
#[tokio::test]
async fn a_response_without_validators_gets_a_tag_of_its_bytes() {
    let tag = tagged_by(MemoryManager::new(1 << 20)).await;
    assert_eq!(tagged_by(BoxManager::new(MemoryManager::new(1 << 20))).await, tag);
    let tiers = Tiered::new(MemoryManager::new(1 << 20), MemoryManager::new(1 << 20));
    assert_eq!(tagged_by(tiers).await, tag);
    assert_eq!(tagged_by(Spy::new()).await, tag);
    #[cfg(feature = "disk")]
    {
        let scratch = crate::support::scratch::Scratch::new();
        let disk = larder::DiskManager::open(scratch.path()).expect("a directory");
        assert_eq!(tagged_by(disk).await, tag);
    }
}

async fn tag_of(cache: &Cache, path: &str) -> Option<String> {
    cache.get(path).await;
    let hit = cache.get(path).await;
    hit.assert_hit().field("etag").map(str::to_owned)
}

/// RFC 9110 §8.8.1: another type of the same bytes, or other bytes, is another representation. However
/// the bytes come, the tag is the same.
#[tokio::test]
async fn a_tag_is_that_of_one_representation() {
    let cache = cache(tagging());
    cache.origin.on(|request| {
        let (kind, text) = match request.uri().path() {
            "/html" => ("text/html", "hello"),
            "/other" => ("text/plain", "hallo"),
            "/empty" => ("text/plain", ""),
            _ => ("text/plain", "hello"),
        };
        let reply = ok().cache_control("max-age=60").header("content-type", kind);
        if request.uri().path() == "/chunks" {
            let (sender, body) = channel();
            text.chars().for_each(|c| sender.data(c.to_string()));
            return reply.body(body);
        }
        reply.text(text)
    });
    let plain = tag_of(&cache, "/").await;
    assert!(plain.is_some());
    assert_eq!(tag_of(&cache, "/chunks").await, plain);
    let mut all = vec![plain];
    for path in ["/html", "/other", "/empty"] {
        all.push(tag_of(&cache, path).await);
    }
    all.sort();
    all.dedup();
    assert_eq!(all.len(), 4, "{all:?}");
}

/// Never beside validators of the origin's, for a part, for what has no body, or unasked.
#[tokio::test]
async fn what_gets_no_tag() {
    let table = [
        (tagging(), 200, ("etag", "W/\"own\""), Some("W/\"own\"")),
        (tagging(), 200, ("last-modified", "Wed, 01 Jan 2020 00:00:00 GMT"), None),
        (tagging(), 404, ("x-a", "1"), None),
        (tagging(), 204, ("x-a", "1"), None),
        (Policy::shared(), 200, ("x-a", "1"), None),
    ];
    for (policy, code, (name, value), tag) in table {
        let cache = cache(policy);
        cache
            .origin
            .on(move |_| status(code).cache_control("max-age=60").header(name, value).text(""));
        assert_eq!(tag_of(&cache, "/").await.as_deref(), tag, "{code} {name}");
    }
    let cache = cache(tagging());
    let part = |_: &http::Request<()>| {
        status(206).cache_control("max-age=60").header("content-range", "bytes 0-1/5").text("he")
    };
    cache.origin.on(part);
    for _ in 0..2 {
        let part = cache.get_with("/", &[("range", "bytes=0-1")]).await;
        assert_eq!((part.text(), part.field("etag")), ("he", None));
    }
    cache.send(with(request("HEAD", "/h"), &[])).await;
    assert_eq!(cache.send(get("/h")).await.field("etag"), None);
}

/// A stale response is validated with it; an origin that knows nothing of it sends the whole again, and
/// one that makes tags the same way need not.
#[tokio::test]
async fn a_made_tag_validates() {
    let cache = cache(tagging());
    cache.origin.on(|request| match request.headers().get("if-none-match") {
        Some(tag) => status(304).header("etag", tag).cache_control("max-age=60").text(""),
        None => ok().cache_control("max-age=60").text("hello"),
    });
    let tag = tag_of(&cache, "/").await;
    cache.clock.advance_secs(61);
    let answer = cache.get("/").await;
    assert_eq!(answer.assert_revalidated().text(), "hello");
    assert_eq!(cache.origin.last().field("if-none-match"), tag.as_deref());
    cache.origin.on(|_| ok().cache_control("max-age=60").text("newer"));
    cache.clock.advance_secs(61);
    assert_eq!(cache.get("/").await.text(), "newer");
    assert_ne!(tag_of(&cache, "/").await, tag);
}

/// RFC 9110 §8.8.1: a strong tag belongs to one representation. Of what a 304 says to be of another
/// type the bytes are no longer at hand to make one, and the tag goes; one that the origin repeats is the
/// origin's word.
#[tokio::test]
async fn a_made_tag_does_not_outlive_the_type() {
    let table = [
        (("content-type", "text/html"), false, false),
        (("content-encoding", "gzip"), false, false),
        (("content-language", "de"), false, false),
        (("content-type", "text/plain"), false, true),
        (("x-name", "new"), false, true),
        (("content-type", "text/html"), true, true),
    ];
    for ((name, value), is_repeated, stays) in table {
        let cache = cache(tagging());
        cache.origin.on(move |request| match request.headers().get("if-none-match") {
            Some(tag) => {
                let reply = status(304).cache_control("max-age=60").header(name, value);
                if is_repeated { reply.header("etag", tag) } else { reply }.text("")
            }
            None => ok().cache_control("max-age=60").header("content-type", "text/plain").text("x"),
        });
        let tag = tag_of(&cache, "/").await.unwrap();
        cache.clock.advance_secs(61);
        let answer = cache.get("/").await;
        assert_eq!(answer.assert_revalidated().field(name), Some(value));
        assert_eq!(answer.field("etag"), stays.then_some(&*tag), "{name}: {value}");
        // Who has the old one gets what is of the new type.
        let again = cache.get_with("/", &[("if-none-match", &tag)]).await;
        let code = if stays { 304 } else { 200 };
        assert_eq!(again.assert_hit().status.as_u16(), code, "{name}: {value}");
        cache.clock.advance_secs(61);
        if !stays {
            cache.get("/").await.assert_forwarded();
            assert_eq!(cache.origin.last().field("if-none-match"), None);
            assert!(tag_of(&cache, "/").await.is_some());
        }
    }
}

/// What is stored by hand has its tag, too.
#[tokio::test]
async fn what_is_put_by_hand_gets_a_tag() {
    let cache = cache(tagging());
    let (head, _) = get("/").into_parts();
    let response = Response::builder().header("cache-control", "max-age=60");
    let response = response.body(Bytes::from("hello")).unwrap();
    assert!(cache.layer.handle().put(&head, response).await.unwrap().is_stored());
    assert!(cache.get("/").await.assert_hit().field("etag").is_some());
}
