//! Parts that become larger ones (RFC 9111 §3.4).

use larder::Policy;

use super::partial::{Site, long, part};
use crate::support::{Cache, cache, channel, get, read, status, with};

const LENGTH: usize = 100;

/// What of the resource is stored, as the ranges that are hits say.
async fn stored(cache: &Cache) -> Option<(u64, u64)> {
    let (request, ()) = http::Request::get("http://a.example/").body(()).unwrap().into_parts();
    let inspection = cache.layer.handle().inspect(&request).await.unwrap();
    let [entry] = inspection.entries() else { return None };
    let (head, length) = (entry.response().head(), entry.response().length());
    let range = head.content_range().map_or(0..length, |part| part.range());
    assert_eq!(range.end - range.start, length);
    assert_eq!(head.content_range().is_none(), head.status() == 200);
    Some((range.start, range.end - 1))
}

/// RFC 9111 §3.4, RFC 9110 §15.3.7.3; Behaviour 36: what overlaps or touches becomes one, of two that
/// lie apart the larger stays, or the newer, and all of it is a complete response.
#[tokio::test]
async fn parts_of_one_strong_tag_that_overlap_or_touch_become_one() {
    type Ranges = &'static [&'static str];
    let table: [(Ranges, (u64, u64)); 12] = [
        (&["0-9", "10-19"], (0, 19)),
        (&["10-19", "0-9"], (0, 19)),
        (&["0-9", "5-19"], (0, 19)),
        (&["10-29", "5-15"], (5, 29)),
        (&["10-29", "5-40"], (5, 40)),
        (&["10-19", "10-29", "5-19"], (5, 29)),
        (&["0-9", "11-19"], (0, 9)),
        (&["0-9", "11-20", "90-99"], (90, 99)),
        (&["0-9", "11-40", "90-"], (11, 40)),
        (&["50-", "0-49"], (0, 99)),
        (&["0-49", "-50"], (0, 99)),
        (&["0-39", "60-99", "30-70"], (30, 99)),
    ];
    for (ranges, expected) in table {
        let cache = cache(Policy::shared());
        Site::of(&cache, long(LENGTH));
        for range in ranges {
            let answer = part(&cache, range).await;
            assert_eq!(answer.status, 206, "{range}");
            let shown = answer.field("content-range").unwrap().to_owned();
            let (first, last) = shown["bytes ".len()..].split_once('-').unwrap();
            let (first, last) = (first.parse::<usize>().unwrap(), last.split_once('/').unwrap().0);
            let last: usize = last.parse().unwrap();
            assert_eq!(answer.text(), &long(LENGTH)[first..=last], "{range}");
        }
        assert_eq!(stored(&cache).await, Some(expected), "{ranges:?}");
        let calls = cache.origin.calls();
        let (first, last) = (expected.0 as usize, expected.1 as usize);
        let hit = part(&cache, &format!("{first}-{last}")).await;
        assert_eq!(hit.assert_hit().text(), &long(LENGTH)[first..=last], "{ranges:?}");
        if expected == (0, 99) {
            let whole = cache.get("/").await;
            assert_eq!((whole.assert_hit().status.as_u16(), whole.text()), (200, &*long(LENGTH)));
            assert_eq!(whole.field("content-length"), Some("100"));
            assert_eq!(whole.field("content-range"), None);
        }
        assert_eq!(cache.origin.calls(), calls);
    }
}

/// RFC 9111 §3.4: by nothing but the same strong tag, and one length.
#[tokio::test]
async fn parts_of_other_versions_are_never_combined() {
    for (one, other) in [
        ("\"1\"", "\"2\""),
        ("\"1\"", "W/\"1\""),
        ("W/\"1\"", "\"1\""),
        ("W/\"1\"", "W/\"1\""),
        ("\"1\"", ""),
        ("", "\"1\""),
        ("", ""),
        ("1", "1"),
    ] {
        let cache = cache(Policy::shared());
        let site = Site::of(&cache, "a".repeat(LENGTH));
        site.change(|page| page.tag = one);
        part(&cache, "0-49").await;
        site.change(|page| (page.tag, page.body) = (other, "b".repeat(LENGTH)));
        // Not asked for the rest: which would bring all of it.
        let came = part(&cache, "50-99").await;
        assert_eq!((came.status.as_u16(), came.text()), (206, &*"b".repeat(50)));
        assert_eq!(stored(&cache).await, Some((50, 99)), "{one} {other}");
        assert_eq!(cache.get("/").await.text(), "b".repeat(LENGTH));
    }
    let cache = cache(Policy::shared());
    let site = Site::of(&cache, "a".repeat(LENGTH));
    part(&cache, "0-49").await;
    site.change(|page| page.body = "b".repeat(LENGTH + 1));
    part(&cache, "50-100").await;
    assert_eq!(stored(&cache).await, Some((50, 100)), "of another length");
}

/// RFC 9110 §8.8.3.3: nor by a tag that an origin has left as it was when it compressed, whether a part has
/// come by itself or was asked for as the rest.
#[tokio::test]
async fn parts_of_two_codings_are_never_combined() {
    for (one, other, is_one) in [
        (None, Some("gzip"), false),
        (Some("br"), Some("gzip"), false),
        (Some("gzip"), Some("gzip, br"), false),
        (Some("gzip"), Some("GZIP"), true),
        (None, None, true),
    ] {
        let cache = cache(Policy::shared());
        let send = |cache: &Cache, place: &'static str, coding: Option<&'static str>| {
            cache.origin.on(move |_| {
                let place = format!("bytes {place}/{LENGTH}");
                let reply = status(206).cache_control("max-age=60").header("content-range", place);
                let reply = match coding {
                    Some(coding) => reply.header("content-encoding", coding),
                    None => reply,
                };
                reply.header("etag", "\"1\"").text("x".repeat(50))
            });
        };
        send(&cache, "0-49", one);
        part(&cache, "0-49").await;
        send(&cache, "50-99", other);
        let rest = cache.get("/").await;
        let (code, length) = if is_one { (200, LENGTH) } else { (502, 0) };
        assert_eq!((rest.status.as_u16(), rest.body.len()), (code, length), "{one:?} {other:?}");

        let cache = crate::support::cache(Policy::shared());
        send(&cache, "0-49", one);
        part(&cache, "0-49").await;
        send(&cache, "50-99", other);
        assert_eq!(part(&cache, "50-99").await.status, 206);
        let expected = if is_one { (0, 99) } else { (50, 99) };
        assert_eq!(stored(&cache).await, Some(expected), "{one:?} {other:?}");
    }
}

/// RFC 9111 §3.2, §3.4; RFC 9110 §15.3.7.3: the fields of the newer one count, those that it does not
/// have stay, and what it says of freshness holds for both.
#[tokio::test]
async fn the_fields_of_the_newer_part_count() {
    let cache = cache(Policy::shared());
    let reply = |range: &str| {
        status(206).header("etag", "\"1\"").header("content-range", format!("bytes {range}/10"))
    };
    let first = reply("0-4").cache_control("max-age=10").header("x-old", "1").header("x-both", "1");
    let mut first = Some(first.text("01234"));
    let second =
        reply("5-9").cache_control("max-age=60").header("x-new", "2").header("x-both", "2");
    let mut second = Some(second.text("56789"));
    cache.origin.on(move |_| first.take().or_else(|| second.take()).unwrap());
    part(&cache, "0-4").await;
    cache.clock.set_secs(20);
    let came = part(&cache, "5-9").await;
    assert_eq!((came.field("x-old"), came.field("x-new")), (None, Some("2")), "as it came");
    cache.clock.set_secs(79);
    let hit = cache.get("/").await;
    assert_eq!((hit.assert_hit().text(), hit.age()), ("0123456789", Some(59)));
    for (name, value) in [("x-old", "1"), ("x-new", "2"), ("x-both", "2")] {
        assert_eq!(hit.field(name), Some(value));
    }
    cache.clock.set_secs(80);
    assert_eq!(cache.origin.calls(), 2);
}

/// RFC 9111 §3, §5.2.2.5: a newer part that must not be stored ends nothing and begins nothing.
#[tokio::test]
async fn a_part_that_is_not_stored_changes_nothing() {
    let cache = cache(Policy::shared());
    let site = Site::of(&cache, long(LENGTH));
    part(&cache, "0-49").await;
    site.change(|page| page.control = "no-store");
    assert_eq!(part(&cache, "50-99").await.text(), &long(LENGTH)[50..]);
    assert_eq!(stored(&cache).await, Some((0, 49)));
}

/// Whatever has come meanwhile is not overwritten by what was made of something else, and a purge is
/// not outlived.
#[tokio::test]
async fn what_came_meanwhile_is_not_overwritten() {
    #[derive(Clone, Copy, Debug, PartialEq)]
    enum Meanwhile {
        Nothing,
        Newer,
        Purge,
        TagPurge,
        Post,
        Cut,
    }
    for meanwhile in [
        Meanwhile::Nothing,
        Meanwhile::Newer,
        Meanwhile::Purge,
        Meanwhile::TagPurge,
        Meanwhile::Post,
        Meanwhile::Cut,
    ] {
        let cache = cache(Policy::shared());
        cache.origin.on(|_| {
            let reply = status(206).cache_control("max-age=60").header("etag", "\"1\"");
            let reply = reply.header("cache-tag", "old");
            reply.header("content-range", "bytes 0-4/10").text("01234")
        });
        part(&cache, "0-4").await;
        let (sender, body) = channel();
        let mut body = Some(body);
        cache.origin.on(move |_| {
            let reply = status(206).cache_control("max-age=60").header("etag", "\"1\"");
            let reply = reply.header("cache-tag", "new");
            reply.header("content-range", "bytes 5-9/10").body(body.take().unwrap())
        });
        let request = with(get("/"), &[("range", "bytes=5-9")]);
        let rest = tower::Service::call(&mut cache.service.clone(), request).await.unwrap();
        sender.data("567");
        match meanwhile {
            Meanwhile::Nothing => {}
            Meanwhile::Newer => {
                let page = super::partial::Site::of(&cache, "x".repeat(10));
                page.change(|page| page.tag = "\"2\"");
                cache.get_with("/", &[("range", "bytes=0-8")]).await;
                assert_eq!(cache.get("/").await.assert_hit().text(), "x".repeat(10));
            }
            Meanwhile::Purge => {
                let purge = larder::Purge::url("http://a.example/").unwrap();
                cache.layer.handle().purge(purge).await.unwrap();
            }
            Meanwhile::TagPurge => {
                cache.layer.handle().purge(larder::Purge::tag("old")).await.unwrap();
            }
            Meanwhile::Post => {
                cache.origin.on(|_| crate::support::ok().text(""));
                cache.send(crate::support::request("POST", "/")).await;
            }
            Meanwhile::Cut => sender.error("cut"),
        }
        if meanwhile != Meanwhile::Cut {
            sender.data("89");
        }
        drop(sender);
        let rest = read(rest).await;
        assert_eq!(rest.is_ok(), meanwhile != Meanwhile::Cut, "{meanwhile:?}");
        let expected = match meanwhile {
            Meanwhile::Nothing => Some((0, 9)),
            Meanwhile::Newer => {
                assert_eq!(cache.get("/").await.assert_hit().text(), "x".repeat(10));
                Some((0, 9))
            }
            Meanwhile::Cut => Some((0, 4)),
            Meanwhile::TagPurge | Meanwhile::Purge | Meanwhile::Post => None,
        };
        let found = match meanwhile {
            // What is purged waits to be swept.
            Meanwhile::Purge | Meanwhile::TagPurge => {
                Site::of(&cache, "0123456789");
                let again = part(&cache, "0-4").await;
                again.assert_forwarded();
                None
            }
            _ => stored(&cache).await,
        };
        assert_eq!(found, expected, "{meanwhile:?}");
    }
}
