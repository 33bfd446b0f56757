//! Ranges of what is stored, and of what is on its way (RFC 9110 §14, RFC 9111 §3.4).

use std::{
    pin::Pin,
    task::{Context, Poll, Waker},
};

use http_body::Body;
use larder::{Policy, policy::Reason};
use tower::Service;

use super::spy::Spy;
use crate::support::{
    Cache, cache, cache_over, channel, get, now_or_never, ok, request, status, with,
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
    // Several ranges, and units that nobody knows, are the origin's.
    for range in ["bytes=0-1,4-5", "items=0-1"] {
        let passed = cache.get_with("/", &[("range", range)]).await;
        assert_eq!(passed.cache.reason(), Some(Reason::Range));
    }
}

/// Nothing is read before the range.
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

/// A miss goes out as it came, and what comes is a part: passed on, not stored as the whole
/// (RFC 9111 §3.3). An origin that gives all of it fills the store.
#[tokio::test]
async fn a_range_on_a_miss_is_the_origins() {
    let cache = cache(Policy::shared());
    cache.origin.on(|_| {
        let reply = status(206).cache_control("max-age=60").header("content-range", "bytes 0-1/10");
        reply.text("01")
    });
    let part = cache.get_with("/", &[("range", "bytes=0-1")]).await;
    assert_eq!((part.status.as_u16(), part.cache.reason()), (206, Some(Reason::Partial)));
    assert_eq!(cache.origin.last().field("range"), Some("bytes=0-1"));
    cache.origin.on(|_| ok().cache_control("max-age=60").text("0123456789"));
    let whole = cache.get_with("/", &[("range", "bytes=0-1")]).await;
    assert_eq!((whole.status.as_u16(), whole.text()), (200, "0123456789"));
    assert_eq!(cache.get_with("/", &[("range", "bytes=0-1")]).await.assert_hit().text(), "01");
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

/// Issue 4: a range of a body on its way waits only for the bytes that it needs.
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
