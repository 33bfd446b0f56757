//! A range on a miss that fetches all of it, and is cut out of what comes (RFC 9110 §14.2).

use std::{
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll, Waker},
};

use http::Response;
use http_body::Body;
use larder::{CacheBody, Disconnect, MemoryManager, NoExecutor, Policy};
use tower::Service;

use super::spy::Spy;
use crate::support::{
    BodySender, Cache, TestBody, cache, cache_over, channel, get, now_or_never, ok, read, request,
    status, with,
};

const TEXT: &str = "0123456789";
const TAG: (&str, &str) = ("etag", "\"1\"");

fn fetching() -> Cache {
    cache(Policy::shared().whole_for_range(true))
}

/// The origin gives all of it, as far as it is sent, each time that it is asked.
fn streaming(cache: &Cache, length: Option<&'static str>) -> impl Fn() -> BodySender + use<> {
    let senders = Arc::new(Mutex::new(Vec::new()));
    cache.origin.on({
        let senders = senders.clone();
        move |_| {
            let (sender, body) = channel();
            senders.lock().unwrap().push(sender);
            let reply = ok().cache_control("max-age=60").header(TAG.0, TAG.1);
            match length {
                Some(length) => reply.header("content-length", length).body(body),
                None => reply.body(body),
            }
        }
    });
    move || senders.lock().unwrap().pop().unwrap()
}

fn open(cache: &Cache, fields: &[(&str, &str)]) -> Response<CacheBody<TestBody>> {
    let asked = cache.service.clone().call(with(get("/"), fields));
    now_or_never(asked).expect("it waits for nothing").unwrap()
}

type Reading = Pin<Box<CacheBody<TestBody>>>;

fn poll(body: &mut Reading) -> Poll<Option<Result<String, String>>> {
    let polled = body.as_mut().poll_frame(&mut Context::from_waker(Waker::noop()));
    polled.map(|frame| {
        let frame = frame?.map_err(|error| error.to_string());
        Some(frame.map(|frame| String::from_utf8(frame.into_data().unwrap().to_vec()).unwrap()))
    })
}

fn next(body: &mut Reading) -> Option<String> {
    let Poll::Ready(frame) = poll(body) else { return None };
    Some(frame?.unwrap())
}

/// The origin sees a plain GET, the client gets its range with the fields of the whole, and whoever
/// asks next gets what is stored. Without the switch the range goes out.
/// Feature whole-for-range; RFC 9110 §14.2, §15.3.7.
#[tokio::test]
async fn a_range_on_a_miss_fills_the_store() {
    for (range, shown, text) in [
        ("bytes=0-3", "bytes 0-3/10", "0123"),
        ("bytes=7-", "bytes 7-9/10", "789"),
        ("bytes=-2", "bytes 8-9/10", "89"),
        ("bytes=0-18446744073709551615", "bytes 0-9/10", TEXT),
    ] {
        let cache = fetching();
        cache.origin.on(|_| {
            let reply = ok().cache_control("max-age=60").header(TAG.0, TAG.1);
            reply.header("x-own", "1").header("content-digest", "sha-256=:AA==:").text(TEXT)
        });
        let part = cache.get_with("/", &[("range", range), ("if-range", TAG.1)]).await;
        assert_eq!((part.status.as_u16(), part.text()), (206, text), "{range}");
        assert_eq!(part.field("content-range"), Some(shown));
        assert_eq!(part.field("content-length"), Some(&*text.len().to_string()));
        assert_eq!((part.field("etag"), part.field("x-own")), (Some(TAG.1), Some("1")));
        assert_eq!(part.field("content-digest"), None, "it is of the whole");
        assert!(part.cache.is_stored());
        let seen = cache.origin.last();
        assert_eq!((seen.field("range"), seen.field("if-range")), (None, None));
        let whole = cache.get("/").await;
        assert_eq!((whole.assert_hit().status.as_u16(), whole.text()), (200, TEXT));
        assert_eq!(whole.field("content-range"), None, "what is stored is the whole");
        assert_eq!(cache.origin.calls(), 1);
    }
    let cache = cache(Policy::shared());
    cache.origin.on(|_| ok().cache_control("max-age=60").text(TEXT));
    assert_eq!(cache.get_with("/", &[("range", "bytes=0-3")]).await.text(), TEXT);
    assert_eq!(cache.origin.last().field("range"), Some("bytes=0-3"));
}

/// The client waits for the bytes that it needs and for none behind them, others share what comes, and
/// it is whole in the end although its first reader has left.
#[tokio::test]
async fn a_range_waits_for_its_bytes_alone() {
    let cache = fetching();
    let sender = streaming(&cache, Some("10"));
    let first = open(&cache, &[("range", "bytes=2-5")]);
    assert_eq!(first.status(), 206);
    assert_eq!(first.body().size_hint().exact(), Some(4));
    let (last, whole) = (open(&cache, &[("range", "bytes=-2")]), open(&cache, &[]));
    assert_eq!((last.status().as_u16(), whole.status().as_u16()), (206, 200));
    assert!(last.body().status().is_collapsed() && whole.body().status().is_collapsed());
    let (mut first, mut last) = (Box::pin(first.into_body()), Box::pin(last.into_body()));
    assert!(poll(&mut first).is_pending());
    let sender = sender();
    sender.data("0123");
    assert_eq!(next(&mut first).as_deref(), Some("23"));
    sender.data("45678");
    assert_eq!(next(&mut first).as_deref(), Some("45"));
    assert!(first.is_end_stream(), "and not a byte more");
    drop(first);
    assert_eq!(next(&mut last).as_deref(), Some("8"));
    sender.data("9");
    assert_eq!(next(&mut last).as_deref(), Some("9"));
    drop(sender);
    assert_eq!(read(whole).await.unwrap(), TEXT);
    assert_eq!(cache.origin.calls(), 1);
    cache.get("/").await.assert_hit();
}

/// Who has had the range leaves as from any other body: the executor fetches the rest, if there is
/// one and it may.
#[tokio::test]
async fn the_rest_is_fetched_as_for_a_client_who_has_left() {
    for (executes, finishes, is_stored) in
        [(true, true, true), (false, true, false), (true, false, false)]
    {
        let cache = fetching().layered(|layer| {
            let layer = if executes { layer } else { layer.executor(NoExecutor) };
            layer.on_disconnect(if finishes { Disconnect::Finish } else { Disconnect::Abandon })
        });
        let sender = streaming(&cache, Some("10"));
        let part = open(&cache, &[("range", "bytes=0-1")]);
        let sender = sender();
        sender.data("0123");
        assert_eq!(read(part).await.unwrap(), "01");
        assert_eq!(sender.is_closed(), !is_stored, "{executes} {finishes}");
        sender.data("456789");
        drop(sender);
        tokio::task::yield_now().await;
        tokio::task::yield_now().await;
        let next = open(&cache, &[("range", "bytes=8-")]);
        assert_eq!(next.body().status().is_hit(), is_stored, "{executes} {finishes}");
    }
}

/// Of a body that breaks off the client gets its range, if that has come, and an error else; nothing of
/// it is stored.
#[tokio::test]
async fn a_range_fails_where_its_bytes_do_not_come() {
    for ends_by_error in [true, false] {
        let cache = fetching();
        let sender = streaming(&cache, Some("10"));
        let first = open(&cache, &[("range", "bytes=0-3")]);
        let mut last = Box::pin(open(&cache, &[("range", "bytes=4-7")]).into_body());
        let sender = sender();
        sender.data("012345");
        assert_eq!(read(first).await.unwrap(), "0123");
        assert_eq!(next(&mut last).as_deref(), Some("45"));
        if ends_by_error {
            sender.error("it broke");
        }
        drop(sender);
        assert!(matches!(poll(&mut last), Poll::Ready(Some(Err(_)))), "{ends_by_error}");
        assert_eq!(cache.origin.calls(), 1);
        assert!(!open(&cache, &[("range", "bytes=0-3")]).body().status().is_hit());
    }
}

/// RFC 9110 §13.1.5, §14.2, §15.5.17: `If-Range` is compared, strongly, with what has come.
#[tokio::test]
async fn what_a_range_on_a_miss_gets_instead() {
    for (fields, code, text) in [
        (&[("range", "bytes=0-1"), ("if-range", "\"1\"")][..], 206, "01"),
        (&[("range", "bytes=0-1"), ("if-range", "\"2\"")], 200, TEXT),
        (&[("range", "bytes=0-1"), ("if-range", "W/\"1\"")], 200, TEXT),
        (&[("range", "bytes=99-"), ("if-range", "\"2\"")], 200, TEXT),
        (&[("range", "bytes=10-")], 416, ""),
        (&[("range", "bytes=-0")], 416, ""),
        // Of several the first may be the last to come.
        (&[("range", "bytes=8-9,0-1")], 200, TEXT),
        (&[("range", "bytes=0-1,8-9")], 200, TEXT),
    ] {
        let cache = fetching();
        cache.origin.on(|_| ok().cache_control("max-age=60").header(TAG.0, TAG.1).text(TEXT));
        let answer = cache.get_with("/", fields).await;
        assert_eq!((answer.status.as_u16(), answer.text()), (code, text), "{fields:?}");
        let length = text.len().to_string();
        if code == 416 {
            assert_eq!(answer.field("content-range"), Some("bytes */10"));
            assert_eq!((answer.field("etag"), answer.field("cache-control")), (None, None));
            assert_eq!(answer.field("content-length"), Some("0"));
        } else if let Some(said) = answer.field("content-length") {
            assert_eq!(said, length);
        }
        assert!(cache.origin.last().field("range").is_none());
        assert_eq!(cache.get("/").await.assert_hit().text(), TEXT, "{fields:?}");
        assert_eq!(cache.origin.calls(), 1);
    }
}

/// RFC 9110 §14.2: an answer that is not stored, has no known length, or is no 200 is the client's as
/// it came.
#[tokio::test]
async fn what_cannot_be_cut_is_passed_on_whole() {
    let part = [("range", "bytes=0-1")];
    for (code, control) in [(200, "no-store"), (200, "private"), (404, "max-age=60"), (500, "")] {
        let cache = fetching();
        cache.origin.on(move |_| status(code).cache_control(control).text(TEXT));
        let answer = cache.get_with("/", &part).await;
        assert_eq!((answer.status.as_u16(), answer.text()), (code, TEXT), "{code} {control}");
        assert_eq!(answer.field("content-range"), None);
    }
    let cache = cache_over(MemoryManager::new(1 << 20), Policy::shared().whole_for_range(true));
    let large = "x".repeat(2 << 20);
    cache.origin.on(move |_| ok().cache_control("max-age=60").text(large.clone()));
    let answer = cache.get_with("/", &part).await;
    assert_eq!((answer.status.as_u16(), answer.body.len()), (200, 2 << 20), "too large");
    assert_eq!(answer.field("content-range"), None);

    let cache = fetching();
    let sender = streaming(&cache, None);
    let (first, second) = (open(&cache, &part), open(&cache, &[("range", "bytes=0-0,9-9")]));
    assert_eq!((first.status().as_u16(), second.status().as_u16()), (200, 200));
    assert!(second.body().status().is_collapsed(), "it shares");
    let sender = sender();
    sender.data(TEXT);
    drop(sender);
    assert_eq!(read(first).await.unwrap(), TEXT);
    assert_eq!(read(second).await.unwrap(), TEXT);
    assert_eq!(cache.origin.calls(), 1);
    assert_eq!(cache.get_with("/", &part).await.assert_hit().text(), "01");
}

/// A range far behind what is kept for others is read as it comes, and the store gets all of it.
#[tokio::test]
async fn what_comes_before_the_range_is_not_held() {
    const CHUNKS: usize = 100;
    let policy = Policy::shared().whole_for_range(true);
    let cache = cache_over(Spy::new(), policy).layered(|layer| layer.kept_bytes(1000));
    let (sender, body) = channel();
    let mut body = Some(body);
    cache.origin.on(move |_| {
        let length = (CHUNKS * 1024).to_string();
        let reply = ok().cache_control("max-age=60").header("content-length", length);
        reply.body(body.take().unwrap())
    });
    let part = cache.service.clone().call(with(get("/"), &[("range", "bytes=-3")]));
    let mut part = Box::pin(now_or_never(part).unwrap().unwrap().into_body());
    for n in 0..CHUNKS {
        assert!(poll(&mut part).is_pending(), "chunk {n}");
        sender.data(vec![b'x'; 1024]);
    }
    assert_eq!(next(&mut part).as_deref(), Some("xxx"));
    drop((sender, part));
    tokio::task::yield_now().await;
    assert_eq!(cache.get("/").await.assert_hit().body.len(), CHUNKS * 1024);
}

/// What would not be stored is not fetched (RFC 9111 §5.2.1.5), and a part that nobody has asked for is
/// neither cut again nor stored.
#[tokio::test]
async fn a_range_that_keeps_nothing_goes_out_as_it_came() {
    let cache = fetching();
    cache.origin.on(|_| {
        let reply = status(206).cache_control("max-age=60").header("content-range", "bytes 4-7/10");
        reply.text("4567")
    });
    let fields = [("range", "bytes=4-7"), ("cache-control", "no-store")];
    assert_eq!(cache.get_with("/", &fields).await.text(), "4567");
    assert_eq!(cache.origin.last().field("range"), Some("bytes=4-7"));
    let part = cache.get_with("/", &[("range", "bytes=5-6")]).await;
    assert_eq!((part.status.as_u16(), part.text()), (206, "4567"));
    assert_eq!(part.field("content-range"), Some("bytes 4-7/10"));
    assert!(!part.cache.is_stored());
    assert_eq!(cache.origin.last().field("range"), None);
}

/// A stale response is validated, and the range is cut from what is good again, from what takes its
/// place, or from what may still be used.
#[tokio::test]
async fn a_range_of_a_stale_response_is_cut_from_what_comes() {
    let cache = fetching();
    let part = [("range", "bytes=2-3")];
    let control = "max-age=10, stale-if-error=60";
    cache.origin.on(move |_| ok().cache_control(control).header(TAG.0, TAG.1).text(TEXT));
    cache.get("/").await;
    cache.clock.advance_secs(11);
    cache.origin.on(move |_| status(304).cache_control(control).header(TAG.0, TAG.1).text(""));
    assert_eq!(cache.get_with("/", &part).await.assert_revalidated().text(), "23");
    let seen = cache.origin.last();
    assert_eq!((seen.field("range"), seen.field("if-none-match")), (None, Some(TAG.1)));
    cache.clock.advance_secs(11);
    cache.origin.on(|_| status(503).text("oh"));
    assert_eq!(cache.get_with("/", &part).await.text(), "23");
    cache.origin.on(move |_| ok().cache_control(control).header("etag", "\"2\"").text("abcdef"));
    let new = cache.get_with("/", &part).await;
    assert_eq!((new.text(), new.field("content-range")), ("cd", Some("bytes 2-3/6")));
    assert_eq!(cache.get("/").await.assert_hit().text(), "abcdef");
}

/// RFC 9111 §3.3: what a stored part lacks is still all that is asked for; where it cannot be completed
/// the whole is.
#[tokio::test]
async fn a_stored_part_is_completed_by_range() {
    let manager = MemoryManager::new(1 << 20);
    let before = cache_over(manager.clone(), Policy::shared());
    let part = |place: &str, text: &str| {
        let reply = status(206).cache_control("max-age=60").header(TAG.0, TAG.1);
        reply.header("content-range", format!("bytes {place}/10")).text(text)
    };
    before.origin.on(move |_| part("0-3", "0123"));
    before.get_with("/", &[("range", "bytes=0-3")]).await;
    let cache = cache_over(manager, Policy::shared().whole_for_range(true));
    cache.origin.on(move |_| part("4-5", "45"));
    let longer = cache.get_with("/", &[("range", "bytes=2-5")]).await;
    assert_eq!((longer.status.as_u16(), longer.text()), (206, "2345"));
    assert_eq!(cache.origin.last().field("range"), Some("bytes=4-5"));
    cache.origin.on(|_| ok().cache_control("max-age=60").header(TAG.0, TAG.1).text(TEXT));
    let apart = cache.get_with("/", &[("range", "bytes=8-9")]).await;
    assert_eq!((apart.status.as_u16(), apart.text()), (206, "89"));
    assert_eq!(cache.origin.last().field("range"), None);
    assert_eq!(cache.get("/").await.assert_hit().text(), TEXT);
}

/// Who waits for somebody else asks for all in the end, too.
#[tokio::test]
async fn a_range_that_has_waited_asks_for_all() {
    let cache = fetching();
    let (release, held) = tokio::sync::oneshot::channel::<()>();
    let mut held = Some(held);
    cache.origin.on_later(move |request| {
        let (has_range, held) = (request.headers().contains_key("range"), held.take());
        async move {
            let is_first = held.is_some();
            if let Some(held) = held {
                held.await.unwrap();
            }
            assert!(!has_range);
            // The first answer is for one alone.
            let control = if is_first { "private" } else { "max-age=60" };
            Ok(ok().cache_control(control).header("content-length", "10").text(TEXT))
        }
    });
    let whole = cache.get("/");
    let fields = [("range", "bytes=0-1")];
    let part = cache.get_with("/", &fields);
    let release = async { release.send(()).unwrap() };
    let (whole, part, ()) = tokio::join!(whole, part, release);
    assert_eq!((whole.text(), part.text()), (TEXT, "01"));
    assert_eq!(cache.origin.calls(), 2);
}

/// A HEAD has no ranges.
#[tokio::test]
async fn a_head_stays_a_head() {
    let cache = fetching();
    cache.origin.on(|_| ok().cache_control("max-age=60").header("content-length", "10").text(""));
    let fields = [("range", "bytes=0-1")];
    let head = cache.send(with(request("HEAD", "/"), &fields)).await;
    assert_eq!((head.status.as_u16(), head.field("content-length")), (200, Some("10")));
    assert_eq!(cache.origin.last().method, "HEAD");
}
