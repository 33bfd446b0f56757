//! Ranges of what is stored, and of what is on its way (RFC 9110 §14, RFC 9111 §3.4).

use std::{
    ops::Range,
    pin::Pin,
    task::{Context, Poll, Waker},
};

use http_body::Body;
use larder::{MemoryManager, Policy, policy::Reason, storage::CacheManager};
use tower::Service;

use super::spy::Spy;
use crate::support::{
    Answer, Cache, cache, cache_over, channel, get, now_or_never, ok, request, status, with,
};

const TAG: (&str, &str) = ("etag", "\"1\"");

async fn stored() -> Cache {
    let cache = cache(Policy::shared());
    cache.origin.on(|_| {
        let reply = ok().cache_control("max-age=60").header(TAG.0, TAG.1).header("x-own", "1");
        reply.text("0123456789")
    });
    cache.get("/").await;
    cache.clock.set_secs(7);
    cache
}

/// Behaviour 33: first-last, first- and suffix ranges, with all other stored fields.
#[tokio::test]
async fn a_range_is_cut_from_what_is_stored() {
    let cache = stored().await;
    for (range, shown, text) in [
        ("bytes=0-3", "bytes 0-3/10", "0123"),
        ("bytes=7-", "bytes 7-9/10", "789"),
        ("bytes=-2", "bytes 8-9/10", "89"),
        ("bytes=5-99", "bytes 5-9/10", "56789"),
    ] {
        let part = cache.get_with("/", &[("range", range)]).await;
        part.assert_hit();
        assert_eq!((part.status.as_u16(), part.text()), (206, text));
        assert_eq!(part.field("content-range"), Some(shown));
        assert_eq!(part.field("content-length"), Some(&*text.len().to_string()));
        assert_eq!((part.field("x-own"), part.field("etag")), (Some("1"), Some(TAG.1)));
        assert_eq!(part.age(), Some(7));
    }
    assert_eq!(cache.origin.calls(), 1);
    assert_eq!(cache.get("/").await.assert_hit().text(), "0123456789", "the whole is untouched");
}

/// RFC 9110 §15.5.17, §14.2, §13.1.5, §13.2.2.
#[tokio::test]
async fn what_a_range_request_gets_instead() {
    let cache = stored().await;
    type Fields = &'static [(&'static str, &'static str)];
    let cases: [(Fields, u16, &str); 7] = [
        (&[("range", "bytes=10-")], 416, ""),
        (&[("range", "bytes=0-1"), ("if-range", TAG.1)], 206, "01"),
        (&[("range", "bytes=0-1"), ("if-range", "\"2\"")], 200, "0123456789"),
        (&[("range", "bytes=0-1"), ("if-range", "W/\"1\"")], 200, "0123456789"),
        (&[("range", "bytes=0-1"), ("if-none-match", TAG.1)], 304, ""),
        (&[("range", "bytes=0-1"), ("if-none-match", "\"2\"")], 206, "01"),
        (&[("range", "bytes=99-"), ("if-range", "\"2\"")], 200, "0123456789"),
    ];
    for (fields, code, text) in cases {
        let answer = cache.get_with("/", fields).await;
        assert_eq!((answer.status.as_u16(), answer.text()), (code, text), "{fields:?}");
        answer.assert_hit();
    }
    let none = cache.get_with("/", &[("range", "bytes=10-")]).await;
    assert_eq!(none.field("content-range"), Some("bytes */10"));
    assert_eq!(none.field("cache-control"), None, "nobody keeps it");
    let head = cache.send(with(request("HEAD", "/"), &[("range", "bytes=0-1")])).await;
    assert_eq!((head.status.as_u16(), head.field("content-length")), (200, Some("10")));
    assert_eq!(cache.origin.calls(), 1);
    // Units that nobody knows are the origin's.
    let passed = cache.get_with("/", &[("range", "items=0-1")]).await;
    assert_eq!(passed.cache.reason(), Some(Reason::Range));
}

/// Nothing is read before the range.
/// Feature seekable.
#[tokio::test]
async fn no_byte_before_the_range_is_read() {
    let spy = Spy::new();
    let cache = cache_over(spy.clone(), Policy::shared());
    cache.origin.on(|_| ok().cache_control("max-age=60").text("x".repeat(1 << 20)));
    cache.get("/").await;
    spy.asked();
    let part = cache.get_with("/", &[("range", "bytes=-1000")]).await;
    assert_eq!(part.assert_hit().body.len(), 1000);
    assert_eq!(spy.asked().body_bytes, 1000);
}

/// A body in which every byte tells where it stands: `00000,00006,00012,...`.
fn long(length: usize) -> String {
    let mut text: String = (0..length / 6 + 1).map(|at| format!("{:05},", 6 * at)).collect();
    text.truncate(length);
    text
}

async fn stored_long(manager: impl CacheManager, length: usize) -> Cache<impl CacheManager> {
    let cache = cache_over(manager, Policy::shared());
    cache.origin.on(move |_| {
        let reply = ok().cache_control("max-age=60").header(TAG.0, TAG.1).header("x-own", "1");
        let reply = reply.header("content-digest", "sha-256=:AA==:");
        reply.header("content-type", "text/plain; charset=utf-8").text(long(length))
    });
    cache.get("/").await;
    cache
}

/// What a reader of `multipart/byteranges` finds: `Content-Range` and content of each part.
fn parts(answer: &Answer) -> Vec<(String, String)> {
    let media_type = answer.field("content-type").unwrap();
    let boundary = media_type.strip_prefix("multipart/byteranges; boundary=").unwrap();
    assert_eq!(boundary.len(), 32);
    let text = format!("\r\n{}", answer.text());
    let text = text.strip_suffix(&format!("\r\n--{boundary}--\r\n")).unwrap();
    let delimiter = format!("\r\n--{boundary}\r\n");
    let mut parts = text.split(&delimiter);
    assert_eq!(parts.next(), Some(""));
    let part = |part: &str| {
        let (fields, content) = part.split_once("\r\n\r\n").unwrap();
        let own = "Content-Type: text/plain; charset=utf-8\r\nContent-Range: ";
        (fields.strip_prefix(own).unwrap().to_owned(), content.to_owned())
    };
    parts.map(part).collect()
}

/// RFC 9110 §14.6, §15.3.7.2: each part with its type and place, in the order asked for, what
/// overlaps or touches in one; the length is told, and is right.
#[tokio::test]
async fn several_ranges_come_in_one_answer() {
    let whole = long(3000);
    let cache = stored_long(MemoryManager::new(1 << 20), 3000).await;
    let mut boundaries = Vec::new();
    for (range, expected) in [
        ("bytes=0-5,600-605", vec![0..6, 600..606]),
        ("bytes=600-605, -6, 0-5", vec![600..606, 2994..3000, 0..6]),
        ("bytes=100-199,0-9,150-249,250-299,2000-2000", vec![100..300, 0..10, 2000..2001]),
        ("bytes=0-0,3000-,2999-", vec![0..1, 2999..3000]),
    ] {
        let answer = cache.get_with("/", &[("range", range)]).await;
        answer.assert_hit();
        assert_eq!(answer.status, 206, "{range}");
        assert_eq!(answer.field("content-length"), Some(&*answer.body.len().to_string()));
        assert_eq!((answer.field("x-own"), answer.field("etag")), (Some("1"), Some(TAG.1)));
        let of_the_whole = (answer.field("content-range"), answer.field("content-digest"));
        assert_eq!(of_the_whole, (None, None));
        let shown = |range: &Range<usize>| {
            let place = format!("bytes {}-{}/3000", range.start, range.end - 1);
            (place, whole[range.clone()].to_owned())
        };
        assert_eq!(parts(&answer), expected.iter().map(shown).collect::<Vec<_>>(), "{range}");
        boundaries.push(answer.field("content-type").unwrap().to_owned());
    }
    boundaries.sort();
    boundaries.dedup();
    assert_eq!(boundaries.len(), 4, "nobody can know the next one");
    assert_eq!(cache.origin.calls(), 1);
}

/// RFC 9110 §14.2, §15.3.7.2, §15.5.17: what several ranges come to where they are not several parts.
#[tokio::test]
async fn several_ranges_are_no_way_to_get_more_than_the_whole() {
    let cache = stored_long(MemoryManager::new(1 << 20), 3000).await;
    let many = |count: u32| (0..count).map(|at| format!("{0}-{0}", 9 * at)).collect::<Vec<_>>();
    let (few, many) = (many(16).join(","), many(17).join(","));
    for (range, status, length) in [
        (many, 200, 3000),
        ("0-1400,1500-2999".to_owned(), 200, 3000),
        (vec!["0-"; 200].join(","), 206, 3000),
        ("0-9,10-19".to_owned(), 206, 20),
        ("0-9,3000-".to_owned(), 206, 10),
        ("3000-,4000-5000".to_owned(), 416, 0),
    ] {
        let answer = cache.get_with("/", &[("range", &format!("bytes={range}"))]).await;
        answer.assert_hit();
        assert_eq!((answer.status.as_u16(), answer.body.len()), (status, length), "{range}");
        if status != 416 {
            assert_eq!(answer.field("content-type"), Some("text/plain; charset=utf-8"));
            assert_eq!(answer.field("content-length"), Some(&*length.to_string()));
        }
    }
    let sixteen = cache.get_with("/", &[("range", &format!("bytes={few}"))]).await;
    assert_eq!(parts(&sixteen).len(), 16);
    assert!(sixteen.body.len() < 3000);
    let old = [("range", "bytes=0-0,9-9"), ("if-range", "\"2\"")];
    assert_eq!(cache.get_with("/", &old).await.status, 200);
    let same = [("range", "bytes=0-0,9-9"), ("if-none-match", TAG.1)];
    let same = cache.get_with("/", &same).await;
    assert_eq!((same.status.as_u16(), same.text()), (304, ""));
    let head = cache.send(with(request("HEAD", "/"), &[("range", "bytes=0-0,9-9")])).await;
    assert_eq!((head.status.as_u16(), head.field("content-length")), (200, Some("3000")));
    assert_eq!(cache.origin.calls(), 1);
}

/// RFC 9110 §15.3.7.2: nothing is read but the parts, one after the other and none of them copied; the
/// size hint tells what is left.
#[tokio::test]
async fn several_ranges_are_read_part_by_part() {
    let spy = Spy::new();
    let cache = stored_long(spy.clone(), 1 << 20).await;
    spy.asked();
    let several = with(get("/"), &[("range", "bytes=1000-1999,500000-501999,-3000")]);
    let mut body = Box::pin(cache.service.clone().call(several).await.unwrap().into_body());
    assert_eq!(spy.asked().body_bytes, 6000);
    let whole = long(1 << 20);
    let mut left = body.size_hint().exact().unwrap();
    let mut contents = Vec::new();
    while let Some(frame) = next(&mut body) {
        left -= frame.len() as u64;
        assert_eq!(body.size_hint().exact(), Some(left));
        contents.push(frame);
    }
    assert!(left == 0 && body.is_end_stream());
    let contents: Vec<&str> = contents.iter().skip(1).step_by(2).map(|text| &**text).collect();
    assert_eq!(contents, [&whole[1000..2000], &whole[500_000..502_000], &whole[1_045_576..]]);
}

/// What several ranges meet where nothing whole is there: a miss goes out as it came, and so does
/// one while the whole is on its way.
#[tokio::test]
async fn several_ranges_on_a_miss_are_the_origins() {
    let cache = cache(Policy::shared());
    let (sender, body) = channel();
    let mut body = Some(body);
    cache.origin.on(move |request| match request.headers().contains_key("range") {
        true => {
            status(206).header("content-type", "multipart/byteranges; boundary=a").text("--a--")
        }
        false => {
            let reply = ok().cache_control("max-age=60").header("content-length", "3000");
            reply.body(body.take().unwrap())
        }
    });
    let several = [("range", "bytes=0-1,9-10")];
    let miss = cache.get_with("/", &several).await;
    assert_eq!((miss.status.as_u16(), miss.text()), (206, "--a--"));
    assert_eq!(miss.cache.reason(), Some(Reason::Partial));
    assert_eq!(cache.origin.last().field("range"), Some(several[0].1));
    let whole = cache.open("/").await;
    let beside = now_or_never(cache.get_with("/", &several)).unwrap();
    assert_eq!((beside.text(), beside.cache.is_collapsed()), ("--a--", false));
    sender.data(long(3000));
    drop(sender);
    assert_eq!(crate::support::read(whole).await.unwrap().len(), 3000);
    let hit = cache.get_with("/", &several).await;
    assert_eq!((hit.assert_hit().status.as_u16(), cache.origin.calls()), (206, 3));
}

/// A miss goes out as it came, and what comes is a part: passed on, and never the whole
/// (RFC 9111 §3.3). An origin that gives all of it fills the store.
#[tokio::test]
async fn a_range_on_a_miss_is_the_origins() {
    let cache = cache(Policy::shared());
    cache.origin.on(|_| {
        let reply = status(206).cache_control("max-age=60").header("content-range", "bytes 0-1/10");
        reply.text("01")
    });
    let part = cache.get_with("/", &[("range", "bytes=0-1")]).await;
    assert_eq!((part.status.as_u16(), part.cache.reason()), (206, Some(Reason::UriMiss)));
    assert_eq!(cache.origin.last().field("range"), Some("bytes=0-1"));
    cache.origin.on(|_| ok().cache_control("max-age=60").text("0123456789"));
    let whole = cache.get_with("/", &[("range", "bytes=1-2")]).await;
    assert_eq!((whole.status.as_u16(), whole.text()), (200, "0123456789"));
    assert_eq!(cache.get_with("/", &[("range", "bytes=4-5")]).await.assert_hit().text(), "45");
}

/// A stale response is validated as a whole, and the part is cut from what is good again.
#[tokio::test]
async fn a_range_of_a_stale_response_is_validated_first() {
    let cache = stored().await;
    cache.origin.on(|_| status(304).cache_control("max-age=60").header(TAG.0, TAG.1).text(""));
    cache.clock.set_secs(60);
    let part = cache.get_with("/", &[("range", "bytes=2-3")]).await;
    assert_eq!((part.assert_revalidated().status.as_u16(), part.text()), (206, "23"));
    assert_eq!(cache.origin.last().field("if-none-match"), Some(TAG.1));
}

/// A range of a body on its way waits only for the bytes that it needs.
/// Feature range-of-fill.
#[tokio::test]
async fn a_range_of_a_running_fill_waits_for_its_bytes_alone() {
    let cache = cache(Policy::shared());
    let (sender, body) = channel();
    let mut body = Some(body);
    cache.origin.on(move |_| {
        let reply = ok().cache_control("max-age=60").header("content-length", "10");
        reply.header(TAG.0, TAG.1).body(body.take().unwrap())
    });
    let whole = cache.open("/").await;
    let part = async |range| {
        let answer = cache.service.clone().call(with(get("/"), &[("range", range)])).await.unwrap();
        assert_eq!(answer.status(), 206);
        assert!(answer.body().status().is_collapsed());
        Box::pin(answer.into_body())
    };
    let (mut first, mut last) = (part("bytes=0-3").await, part("bytes=6-").await);
    sender.data("01234");
    assert_eq!(next(&mut first).as_deref(), Some("0123"));
    assert!(first.is_end_stream(), "and not a byte more");
    assert!(poll(&mut last).is_pending());
    sender.data("567");
    assert_eq!(next(&mut last).as_deref(), Some("67"));
    let beyond = with(get("/"), &[("range", "bytes=10-")]);
    assert_eq!(cache.service.clone().call(beyond).await.unwrap().status(), 416);
    sender.data("89");
    assert_eq!(next(&mut last).as_deref(), Some("89"));
    assert!(last.is_end_stream());
    drop(sender);
    assert_eq!(crate::support::read(whole).await.unwrap(), "0123456789");
    assert_eq!(cache.origin.calls(), 1);
    cache.get("/").await.assert_hit();
}

/// Who has had his range, and keeps the body, holds nobody up.
#[tokio::test]
async fn a_range_that_was_read_holds_nobody_up() {
    const LENGTH: usize = 100 << 10;
    let cache = cache_over(Spy::new(), Policy::shared()).layered(|layer| layer.kept_bytes(1000));
    let (sender, body) = channel();
    let mut body = Some(body);
    cache.origin.on(move |_| {
        let reply = ok().cache_control("max-age=60").header("content-length", LENGTH.to_string());
        reply.body(body.take().unwrap())
    });
    let mut whole = Box::pin(cache.open("/").await.into_body());
    let part = with(get("/"), &[("range", "bytes=0-3")]);
    let mut part = Box::pin(cache.service.clone().call(part).await.unwrap().into_body());
    for n in 0..LENGTH / 1024 {
        sender.data(vec![b'x'; 1024]);
        if n == 0 {
            assert_eq!(next(&mut part).as_deref(), Some("xxxx"));
        }
        assert_eq!(next(&mut whole).map(|text| text.len()), Some(1024), "chunk {n}");
        assert_eq!(next(&mut whole), None, "and no more");
    }
    assert!(whole.is_end_stream());
}

/// Of a length that nobody knows yet no part can be told: such a request asks for itself.
#[tokio::test]
async fn a_range_of_an_unknown_length_asks_for_itself() {
    let cache = cache(Policy::shared());
    let (sender, body) = channel();
    let mut body = Some(body);
    cache.origin.on(move |request| match request.headers().contains_key("range") {
        true => status(206).header("content-range", "bytes 0-1/10").text("01"),
        false => ok().cache_control("max-age=60").body(body.take().unwrap()),
    });
    let whole = cache.open("/").await;
    sender.data("0123");
    let part = now_or_never(cache.get_with("/", &[("range", "bytes=0-1")])).unwrap();
    assert_eq!((part.status.as_u16(), part.cache.is_collapsed()), (206, false));
    drop((whole, sender));
}

type Reading = Pin<Box<larder::CacheBody<crate::support::TestBody>>>;

fn poll(
    body: &mut Reading,
) -> Poll<Option<Result<http_body::Frame<bytes::Bytes>, larder::BoxError>>> {
    body.as_mut().poll_frame(&mut Context::from_waker(Waker::noop()))
}

fn next(body: &mut Reading) -> Option<String> {
    let Poll::Ready(frame) = poll(body) else { return None };
    let data = frame?.unwrap().into_data().unwrap();
    Some(String::from_utf8(data.to_vec()).unwrap())
}
