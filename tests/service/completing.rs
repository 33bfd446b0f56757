//! Parts that are completed by asking for the rest (RFC 9111 §3.3).

use std::{
    pin::Pin,
    task::{Context, Poll, Waker},
};

use http_body::Body;
use http_body_util::BodyExt;
use larder::{CacheManager, MemoryManager, Policy, policy::Reason, storage::Tiered};
use tower::Service;

use super::{
    partial::{Page, Site, long, part},
    spy::Spy,
};
use crate::support::{
    Cache, cache, cache_over, channel, get, now_or_never, read, request, status, with,
};

const LENGTH: usize = 100;

/// With bytes 0 to 59 of a hundred.
async fn begun() -> (Cache, Site) {
    let cache = cache(Policy::shared());
    let site = Site::of(&cache, long(LENGTH));
    part(&cache, "0-59").await;
    (cache, site)
}

/// Asks for the whole, which is not what is to be stored now.
async fn whole_is_hit(cache: &Cache) -> bool {
    let cached = cache.get_with("/", &[("cache-control", "only-if-cached")]).await;
    cached.cache.is_hit()
}

/// RFC 9111 §3.3, §3.4; RFC 9110 §13.1.5; RFC 9211 §2.2: the rest is asked for by the strong tag, the
/// client gets a complete 200, and so does the next.
#[tokio::test]
async fn the_rest_is_asked_for() {
    for (first, rest) in [("0-59", "bytes=60-99"), ("60-99", "bytes=0-59"), ("1-99", "bytes=0-0")] {
        let cache = cache(Policy::shared());
        Site::of(&cache, long(LENGTH));
        part(&cache, first).await;
        cache.clock.set_secs(9);
        let whole = cache.get("/").await;
        assert_eq!((whole.status.as_u16(), whole.text()), (200, &*long(LENGTH)), "{first}");
        assert_eq!(
            whole.field("cache-status"),
            Some("larder; fwd=partial; fwd-status=206; ttl=60; stored")
        );
        assert_eq!(whole.field("content-length"), Some("100"));
        assert_eq!((whole.field("content-range"), whole.field("age")), (None, None));
        assert_eq!((whole.field("x-own"), whole.field("etag")), (Some("1"), Some("\"1\"")));
        let seen = cache.origin.last();
        assert_eq!((seen.field("range"), seen.field("if-range")), (Some(rest), Some("\"1\"")));
        assert_eq!(seen.headers.len(), 2);
        let hit = cache.get("/").await;
        assert_eq!((hit.assert_hit().text(), hit.age()), (&*long(LENGTH), Some(0)));
        assert_eq!(part(&cache, "50-69").await.assert_hit().text(), &long(LENGTH)[50..70]);
        assert_eq!(cache.origin.calls(), 2);
    }
}

/// RFC 9111 §3.3, §3.4: a larger range is completed on the side where something is missing; a hole on
/// both sides, or one that lies apart, goes out as it came.
#[tokio::test]
async fn the_rest_of_a_range_is_asked_for() {
    for (range, asked, shown, stored) in [
        ("50-69", Some("60-69"), "50-69", "30-69"),
        ("0-39", Some("0-29"), "0-39", "0-59"),
        ("30-", Some("60-99"), "30-99", "30-99"),
        ("-50", Some("60-99"), "50-99", "30-99"),
        ("59-60", Some("60-60"), "59-60", "30-60"),
        ("29-59", Some("29-29"), "29-59", "29-59"),
        ("60-69", None, "60-69", "30-69"),
        ("20-69", None, "20-69", "20-69"),
        ("70-79", None, "70-79", "30-59"),
        ("0-9", None, "0-9", "30-59"),
    ] {
        let cache = cache(Policy::shared());
        Site::of(&cache, long(LENGTH));
        part(&cache, "30-59").await;
        let answer = part(&cache, range).await;
        let (first, last) = shown.split_once('-').unwrap();
        let (first, last) = (first.parse::<usize>().unwrap(), last.parse::<usize>().unwrap());
        assert_eq!((answer.status.as_u16(), answer.text()), (206, &long(LENGTH)[first..=last]));
        assert_eq!(answer.field("content-range"), Some(&*format!("bytes {shown}/100")));
        assert_eq!(answer.field("content-length"), Some(&*(last - first + 1).to_string()));
        let seen = cache.origin.last();
        let wanted = format!("bytes={}", asked.unwrap_or(range));
        assert_eq!(seen.field("range"), Some(&*wanted), "{range}");
        assert_eq!(seen.field("if-range").is_some(), asked.is_some(), "{range}");
        assert_eq!(answer.cache.to_string().split(';').next(), Some("fwd=partial"));
        let hit = part(&cache, stored).await;
        let (first, last) = stored.split_once('-').unwrap();
        let (first, last) = (first.parse::<usize>().unwrap(), last.parse::<usize>().unwrap());
        assert_eq!(hit.assert_hit().text(), &long(LENGTH)[first..=last], "{range}");
    }
}

/// What is not completed: without a strong tag, of an unknown length, when it is stale, when the client
/// has conditions of its own, and by HEAD. The request goes out as it came.
#[tokio::test]
async fn what_may_have_changed_is_asked_for_as_a_whole() {
    type Fields = &'static [(&'static str, &'static str)];
    let table: [(&'static str, u64, Fields); 8] = [
        ("", 0, &[]),
        ("W/\"1\"", 0, &[]),
        ("\"1\"", 60, &[]),
        ("\"1\"", 5, &[("cache-control", "no-cache")]),
        ("\"1\"", 0, &[("if-none-match", "\"0\"")]),
        ("\"1\"", 0, &[("if-modified-since", "Thu, 01 Jan 2026 00:00:00 GMT")]),
        ("\"1\"", 0, &[("range", "bytes=0-0,2-99")]),
        ("\"1\"", 0, &[("range", "bytes=0-99"), ("if-range", "\"0\"")]),
    ];
    for (tag, seconds, fields) in table {
        let cache = cache(Policy::private());
        let site = Site::of(&cache, long(LENGTH));
        site.change(|page| (page.tag, page.hears_range) = (tag, true));
        part(&cache, "0-59").await;
        site.change(|page| page.hears_range = false);
        cache.clock.set_secs(seconds);
        let whole = cache.get_with("/", fields).await;
        assert_eq!((whole.status.as_u16(), whole.text()), (200, &*long(LENGTH)), "{fields:?}");
        let seen = cache.origin.last();
        assert_eq!(seen.headers.len(), fields.len(), "{tag} {fields:?}");
        assert_eq!(cache.get("/").await.assert_hit().text(), long(LENGTH));
    }
}

/// RFC 9110 §13.1.5: a 200 instead is another version, and takes the place of the part.
#[tokio::test]
async fn a_whole_instead_replaces_the_part() {
    for range in [None, Some("40-79")] {
        let (cache, site) = begun().await;
        site.change(|page| (page.tag, page.body) = ("\"2\"", "x".repeat(80)));
        let answer = match range {
            None => cache.get("/").await,
            Some(range) => part(&cache, range).await,
        };
        assert_eq!((answer.status.as_u16(), answer.text()), (200, &*"x".repeat(80)));
        assert_eq!(cache.get("/").await.assert_hit().text(), "x".repeat(80));
    }
    // Other answers are those that they are, and the part is as good as it was.
    for code in [404, 500, 503, 301] {
        let (cache, _) = begun().await;
        cache.origin.on(move |_| status(code).text("no"));
        assert_eq!(cache.get("/").await.status, code);
        part(&cache, "0-59").await.assert_hit();
    }
}

type Answering = fn(&Page) -> http::Response<crate::support::TestBody>;

fn of(page: &Page, tag: &str, range: &str) -> http::Response<crate::support::TestBody> {
    let reply = status(206).cache_control(page.control).header("etag", tag);
    reply.header("content-range", range).text("x".repeat(40))
}

/// Never bytes of two versions in one body: an origin that gives something else than it was asked for is
/// a bad gateway to a client that knows nothing of ranges, once; then the part is gone. One that asked
/// for a range may have what came.
#[tokio::test]
async fn what_was_not_asked_for_is_never_joined() {
    let table: [(&str, Answering); 11] = [
        ("another tag", |page| of(page, "\"2\"", "bytes 60-99/100")),
        ("a weak tag", |page| of(page, "W/\"1\"", "bytes 60-99/100")),
        ("no tag", |_| status(206).header("content-range", "bytes 60-99/100").text("x".repeat(40))),
        ("two tags", |page| {
            let reply = page.head(206).header("etag", "\"1\"");
            reply.header("content-range", "bytes 60-99/100").text("x".repeat(40))
        }),
        ("another range", |page| page.part(50, 89)),
        ("another length", |page| of(page, "\"1\"", "bytes 60-99/101")),
        ("no range", |page| page.head(206).text("x".repeat(40))),
        ("an invalid range", |page| of(page, "\"1\"", "bytes 60-99/99")),
        ("several", |page| {
            let reply =
                status(206).header("etag", page.tag).header("content-range", "bytes 60-99/100");
            reply.header("content-type", "multipart/byteranges; boundary=a").text("x".repeat(40))
        }),
        ("less than it says", |page| {
            let reply = page.head(206).header("content-range", "bytes 60-99/100");
            reply.header("content-length", "39").text("x".repeat(39))
        }),
        ("nothing of it", |_| status(416).header("content-range", "bytes */60").text("")),
    ];
    for (what, answer) in table {
        let (cache, site) = begun().await;
        let page = site.page();
        cache.origin.on(move |_| answer(&page));
        let whole = cache.get("/").await;
        assert_eq!((whole.status.as_u16(), whole.text()), (502, ""), "{what}");
        assert!(!whole.cache.is_hit());
        Site::of(&cache, long(LENGTH));
        let again = cache.get("/").await;
        assert_eq!((again.status.as_u16(), again.text()), (200, &*long(LENGTH)), "{what}");
        assert!(cache.origin.last().headers.is_empty(), "{what}: as it came");

        let (cache, site) = begun().await;
        let page = site.page();
        cache.origin.on(move |_| answer(&page));
        let wanted = part(&cache, "30-99").await;
        assert!(wanted.status == 206 || wanted.status == 416, "{what}");
        assert!(wanted.text().len() <= 40, "{what}: nothing of what is stored");
        Site::of(&cache, "y".repeat(LENGTH));
        let whole = cache.get("/").await;
        assert!(!whole.text().contains('x'), "{what}");
    }
}

/// An origin that sends less of a range than it was asked for (RFC 9110 §15.3.7) brings the store
/// further, and the client gets what came.
#[tokio::test]
async fn a_shorter_range_than_was_asked_for_is_kept_as_well() {
    let (cache, site) = begun().await;
    let page = site.page();
    cache.origin.on(move |_| page.part(60, 69));
    let some = part(&cache, "30-99").await;
    assert_eq!((some.status.as_u16(), some.text()), (206, &long(LENGTH)[60..70]));
    assert_eq!(some.field("content-range"), Some("bytes 60-69/100"));
    assert_eq!(part(&cache, "0-69").await.assert_hit().text(), &long(LENGTH)[..70]);
}

/// Behaviour 36: an origin that fails at any byte is an error to the reader, never a clean end, and
/// nothing is committed. What comes behind the last byte that was wanted is not looked at, unless stored
/// bytes are to follow it.
#[tokio::test]
async fn a_body_that_is_cut_anywhere_is_an_error() {
    for (stored, missing) in [("0-9", 10..20), ("10-19", 0..10)] {
        for at in 0..=11 {
            for fails in [false, true] {
                let cache = cache(Policy::shared());
                Site::of(&cache, &long(LENGTH)[..20]);
                part(&cache, stored).await;
                let (sender, body) = channel();
                let mut body = Some(body);
                let shown = format!("bytes {}-{}/20", missing.start, missing.end - 1);
                cache.origin.on(move |_| {
                    let reply = status(206).cache_control("max-age=60").header("etag", "\"1\"");
                    reply.header("content-range", &shown).body(body.take().unwrap())
                });
                let opened = cache.open("/").await;
                assert_eq!(opened.status(), 200);
                let bytes = long(LENGTH);
                for byte in missing.start..missing.start + at {
                    sender.data(bytes[byte..=byte].to_owned());
                }
                if fails {
                    sender.error("cut");
                }
                drop(sender);
                let is_whole = match missing.start {
                    0 => at == 10 && !fails,
                    _ => at >= 10,
                };
                let (mut body, mut given) = (opened.into_body(), String::new());
                let end = loop {
                    match body.frame().await {
                        Some(Ok(frame)) => {
                            given += std::str::from_utf8(&frame.into_data().unwrap()).unwrap();
                        }
                        end => break end.map_or(Ok(()), |end| end.map(drop)),
                    }
                };
                assert_eq!(end.is_ok(), is_whole, "{at} {fails}");
                // Also before an error each byte is at its place.
                assert!(bytes[..20].starts_with(&given), "{at} {fails}: {given}");
                assert!(end.is_err() || given.len() == 20);
                assert_eq!(whole_is_hit(&cache).await, is_whole, "{at} {fails}");
                part(&cache, stored).await.assert_hit();
            }
        }
    }
}

/// RFC 9111 §3.5, §5.2.1.5, §5.2.2.5: what must not be stored completes the answer and not the store.
#[tokio::test]
async fn the_rest_may_be_for_the_client_alone() {
    type Fields = &'static [(&'static str, &'static str)];
    let table: [(&'static str, Fields, Reason); 3] = [
        ("no-store", &[], Reason::NoStore),
        ("max-age=60", &[("cache-control", "no-store")], Reason::RequestNoStore),
        ("max-age=60", &[("authorization", "Basic YQ==")], Reason::Authorization),
    ];
    for (control, fields, reason) in table {
        let (cache, site) = begun().await;
        site.change(|page| page.control = control);
        let whole = cache.get_with("/", fields).await;
        assert_eq!((whole.status.as_u16(), whole.text()), (200, &*long(LENGTH)), "{fields:?}");
        assert_eq!(whole.cache.reason(), Some(reason));
        assert_eq!(cache.origin.last().field("range"), Some("bytes=60-99"));
        assert!(!whole_is_hit(&cache).await, "{reason}");
    }
}

fn next<B>(body: &mut Pin<Box<B>>) -> Poll<Option<String>>
where
    B: Body<Data = bytes::Bytes, Error = larder::BoxError>,
{
    let polled = body.as_mut().poll_frame(&mut Context::from_waker(Waker::noop()));
    polled.map(|frame| {
        let data = frame?.unwrap().into_data().unwrap();
        Some(String::from_utf8(data.to_vec()).unwrap())
    })
}

/// The stored bytes go out while the origin takes its time with the rest, the body tells how much is
/// left, and others who want the whole share it; who wants a range of it, too.
#[tokio::test]
async fn a_whole_on_its_way_is_shared() {
    let (cache, site) = begun().await;
    let (sender, body) = channel();
    let mut body = Some(body);
    cache.origin.on(move |_| {
        let reply = status(206).cache_control("max-age=60").header("etag", "\"1\"");
        reply.header("content-range", "bytes 60-99/100").body(body.take().unwrap())
    });
    let first = cache.open("/").await;
    let second = cache.open("/").await;
    assert!(second.body().status().is_collapsed());
    let wanted = with(get("/"), &[("range", "bytes=50-69")]);
    let third = cache.service.clone().call(wanted).await.unwrap();
    assert_eq!((third.status().as_u16(), third.body().status().is_collapsed()), (206, true));
    let (mut first, mut third) = (Box::pin(first.into_body()), Box::pin(third.into_body()));
    assert_eq!(next(&mut first), Poll::Ready(Some(long(LENGTH)[..60].to_owned())));
    assert_eq!(first.size_hint().exact(), Some(40));
    assert!(next(&mut first).is_pending());
    assert_eq!(next(&mut third), Poll::Ready(Some(long(LENGTH)[50..60].to_owned())));
    sender.data(long(LENGTH)[60..].to_owned());
    assert_eq!(next(&mut third), Poll::Ready(Some(long(LENGTH)[60..70].to_owned())));
    assert!(third.is_end_stream());
    drop(sender);
    assert_eq!(next(&mut first), Poll::Ready(Some(long(LENGTH)[60..].to_owned())));
    assert!(first.is_end_stream());
    assert_eq!(read(second).await.unwrap(), long(LENGTH));
    assert_eq!(cache.origin.calls(), 2);
    drop(site);
    cache.get("/").await.assert_hit();
}

/// A part on its way is for who asked for it: others ask for themselves.
#[tokio::test]
async fn a_part_on_its_way_is_not_shared() {
    let cache = cache(Policy::shared());
    let site = Site::of(&cache, long(LENGTH));
    let (sender, body) = channel();
    let mut body = Some(body);
    let page = site.page();
    cache.origin.on(move |request| match body.take() {
        Some(body) => page.head(206).header("content-range", "bytes 0-9/100").body(body),
        None => page.answer(request),
    });
    let wanted = |range| with(get("/"), &[("range", range)]);
    let slow = cache.service.clone().call(wanted("bytes=0-9")).await.unwrap();
    for request in [get("/"), wanted("bytes=0-9"), wanted("bytes=2-3"), request("HEAD", "/")] {
        let beside = now_or_never(cache.send(request)).expect("it waits for nobody");
        assert!(!beside.cache.is_collapsed());
    }
    // What has come meanwhile is whole, and stays.
    sender.data(long(LENGTH)[..10].to_owned());
    drop(sender);
    assert_eq!(read(slow).await.unwrap(), long(LENGTH)[..10]);
    assert_eq!(cache.get("/").await.assert_hit().text(), long(LENGTH));
}

/// RFC 9111 §3.3, §3.4: parts grow in any store, and are completed there.
#[tokio::test]
async fn a_part_of_any_store_is_completed() {
    completed_in(MemoryManager::new(1 << 20)).await;
    completed_in(Spy::new()).await;
    completed_in(Tiered::new(MemoryManager::new(1 << 20), Spy::new())).await;
    completed_in(Tiered::new(MemoryManager::new(1 << 20), Spy::waiting())).await;
    completed_in(larder::BoxManager::new(MemoryManager::new(1 << 20))).await;
}

async fn completed_in(manager: impl CacheManager) {
    let cache = cache_over(manager, Policy::shared());
    Site::of(&cache, long(60_000));
    let whole = long(60_000);
    let part = async |range| {
        let answer = part(&cache, range).await;
        cache.layer.handle().sync().await.unwrap();
        answer
    };
    for (range, bytes) in [
        ("30000-39999", &whole[30_000..40_000]),
        ("40000-49999", &whole[40_000..50_000]),
        ("20000-34999", &whole[20_000..35_000]),
        ("45000-", &whole[45_000..]),
    ] {
        assert_eq!(part(range).await.text(), bytes, "{range}");
    }
    assert_eq!(part("20000-59999").await.assert_hit().text(), &whole[20_000..]);
    assert_eq!(cache.get("/").await.text(), whole);
    cache.layer.handle().sync().await.unwrap();
    assert_eq!(cache.origin.last().field("range"), Some("bytes=0-19999"));
    assert_eq!(cache.get("/").await.assert_hit().text(), whole);
    assert_eq!(cache.origin.calls(), 5);
}

#[cfg(feature = "disk")]
mod disk {
    use larder::DiskManager;

    use super::*;
    use crate::support::scratch::Scratch;

    /// The same on disk, alone and behind memory.
    #[tokio::test]
    async fn a_part_on_disk_is_completed() {
        let (one, two) = (Scratch::new(), Scratch::new());
        completed_in(DiskManager::open(one.path()).unwrap()).await;
        let disk = DiskManager::open(two.path()).unwrap();
        completed_in(Tiered::new(MemoryManager::new(1 << 20), disk)).await;
    }

    /// A restart keeps a part a part: it answers what lies within, and is completed.
    #[tokio::test]
    async fn a_part_outlives_a_restart_as_a_part() {
        let scratch = Scratch::new();
        let open = || cache_over(DiskManager::open(scratch.path()).unwrap(), Policy::shared());
        let cache = open();
        Site::of(&cache, long(LENGTH));
        part(&cache, "0-59").await.assert_forwarded();
        cache.layer.handle().sync().await.unwrap();
        drop(cache);
        let cache = open();
        Site::of(&cache, long(LENGTH));
        assert_eq!(part(&cache, "10-59").await.assert_hit().text(), &long(LENGTH)[10..60]);
        assert_eq!(cache.origin.calls(), 0);
        assert_eq!(cache.get("/").await.text(), long(LENGTH));
        assert_eq!(cache.origin.last().field("range"), Some("bytes=60-99"));
    }
}
