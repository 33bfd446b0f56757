//! Bodies on their way to the client and into the store.

use std::{
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake, ready},
    time::Duration,
};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, SizeHint};
use http_body_util::BodyExt;
use larder::{BoxError, CacheBody, Disconnect, MemoryManager, NoExecutor, Policy, policy::Reason};

use super::spy::{Call, Fault, Spy};
use crate::support::{
    BodySender, Cache, Frame, TestBody, cache, cache_over, channel, now_or_never, ok, read,
};

/// A cache whose origin sends one body by hand, and has no other answer.
fn by_hand(fields: &[(&str, &str)]) -> (Cache, BodySender) {
    let cache = cache(Policy::shared());
    let sender = send_by_hand(&cache, fields);
    (cache, sender)
}

fn send_by_hand<M: larder::CacheManager>(cache: &Cache<M>, fields: &[(&str, &str)]) -> BodySender {
    let (sender, body) = channel();
    let owned = |(name, value): &(&str, &str)| (name.to_string(), value.to_string());
    let (mut body, fields) = (Some(body), fields.iter().map(owned).collect::<Vec<_>>());
    cache.origin.on(move |_| match body.take() {
        Some(body) => {
            fields.iter().fold(ok(), |reply, (name, value)| reply.header(name, value)).body(body)
        }
        None => ok().text("another"),
    });
    sender
}

/// The next frame, if it is there without waiting.
fn next(body: &mut CacheBody<TestBody>) -> Option<String> {
    let frame = now_or_never(body.frame())??;
    Some(String::from_utf8(frame.unwrap().into_data().unwrap().to_vec()).unwrap())
}

async fn is_stored<M: larder::CacheManager>(cache: &Cache<M>) -> bool {
    cache.get("/").await.cache.is_hit()
}

/// Whether it has woken.
#[derive(Default)]
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// `design.md`, "first byte at once": a server gathers the frames that are there before it writes, and
/// where much is to come the head waits for one of them alone.
#[tokio::test]
async fn a_long_body_gives_its_first_frame_alone() {
    const FRAME: usize = 32 << 10;
    for (frames, rests) in [(1, false), (3, false), (4, true)] {
        let length = (frames * FRAME).to_string();
        let (cache, sender) = by_hand(&[FRESH, ("content-length", &length)]);
        (0..frames).for_each(|_| sender.data(vec![b'x'; FRAME]));
        let mut body = pin!(cache.open("/").await.into_body());
        let woken = Arc::new(Woken::default());
        let waker = woken.clone().into();
        let mut next = || body.as_mut().poll_frame(&mut Context::from_waker(&waker));
        assert!(next().is_ready());
        if rests {
            assert!(next().is_pending());
            assert!(woken.0.load(Ordering::Relaxed), "it is asked again");
        }
        for _ in 1..frames {
            assert!(matches!(next(), Poll::Ready(Some(Ok(_)))), "{frames}");
        }
        assert!(is_stored(&cache).await);
    }
}

const FRESH: (&str, &str) = ("cache-control", "max-age=60");
const ALPHABET: &str = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ+-";

/// `security.md`, truncated bodies: cut at every byte, by an end or by an error, whatever the origin
/// had announced.
/// Feature incomplete.
#[tokio::test]
async fn a_body_that_breaks_off_is_an_error_and_not_stored() {
    for at in 0..ALPHABET.len() {
        for (is_announced, fails) in [(true, false), (true, true), (false, true)] {
            let fields = [FRESH, ("content-length", "64")];
            let (cache, sender) = by_hand(if is_announced { &fields } else { &fields[..1] });
            let response = cache.open("/").await;
            let (head, tail) = ALPHABET[..at].split_at(at / 2);
            for part in [head, tail] {
                sender.data(part);
            }
            if fails {
                sender.error("connection reset");
            }
            drop(sender);
            let error = read(response).await.unwrap_err().to_string();
            assert_eq!(error == "connection reset", fails, "{at}: {error}");
            assert!(!is_stored(&cache).await, "{at} {is_announced} {fails}");
        }
    }
}

/// The end is stated, never inferred from a drop.
#[tokio::test]
async fn a_body_that_is_dropped_early_is_not_stored() {
    for length in [Some("6"), None] {
        let fields: Vec<_> =
            [FRESH].into_iter().chain(length.map(|n| ("content-length", n))).collect();
        let (cache, sender) = by_hand(&fields);
        let cache = cache.layered(|layer| layer.on_disconnect(Disconnect::Abandon));
        let mut body = cache.open("/").await.into_body();
        sender.data("hel");
        assert_eq!(next(&mut body).as_deref(), Some("hel"));
        drop(body);
        assert!(sender.is_closed(), "the origin hears of it");
        assert!(!is_stored(&cache).await);
    }
}

/// A response that nobody has read at all, whose body has yet to come.
#[tokio::test]
async fn a_response_that_is_dropped_unread_is_not_stored() {
    let (cache, sender) = by_hand(&[FRESH, ("content-length", "5")]);
    let cache = cache.layered(|layer| layer.on_disconnect(Disconnect::Abandon));
    drop(cache.open("/").await);
    assert!(sender.is_closed(), "the origin hears of it");
    assert!(!is_stored(&cache).await);
}

/// What has come in one piece with its head is whole, whoever reads it.
#[tokio::test]
async fn a_body_that_is_there_with_its_head_is_stored_at_once() {
    let cache = cache(Policy::shared());
    cache.origin.on(|_| ok().header(FRESH.0, FRESH.1).text("hello"));
    drop(cache.open("/").await);
    assert!(is_stored(&cache).await);
    assert_eq!(cache.get("/").await.text(), "hello");
}

/// A body that knows how many bytes it has yet to give.
struct Known<B>(B, u64);

impl<B: Body<Data = Bytes, Error = BoxError> + Unpin> Body for Known<B> {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Frame>> {
        let frame = ready!(Pin::new(&mut self.0).poll_frame(cx));
        if let Some(Ok(frame)) = &frame {
            self.1 -= frame.data_ref().map_or(0, Bytes::len) as u64;
        }
        Poll::Ready(frame)
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.1)
    }
}

/// What a body gives when it is looked at, to see whether all of it is there, is what its reader gets
/// first.
#[tokio::test]
async fn what_a_body_gives_first_is_not_lost() {
    let open = async |send: &dyn Fn(&BodySender)| {
        let (sender, body) = channel();
        send(&sender);
        let (cache, mut body) = (cache(Policy::shared()), Some(Known(body, 5)));
        cache.origin.on(move |_| match body.take() {
            Some(body) => ok().header(FRESH.0, FRESH.1).body(body),
            None => ok().text("another"),
        });
        let response = cache.open("/").await;
        (cache, sender, response)
    };
    for pieces in [&["hello"][..], &["he", "llo"], &["", "hello"], &["h", "e", "llo"]] {
        let send = |sender: &BodySender| pieces.iter().for_each(|piece| sender.data(*piece));
        let (cache, sender, response) = open(&send).await;
        drop(sender);
        assert_eq!(read(response).await.unwrap(), "hello", "{pieces:?}");
        assert!(is_stored(&cache).await, "{pieces:?}");
        assert_eq!(cache.get("/").await.text(), "hello", "{pieces:?}");
    }
    let (cache, _sender, response) = open(&|sender| sender.error("connection reset")).await;
    assert_eq!(read(response).await.unwrap_err().to_string(), "connection reset");
    assert!(!is_stored(&cache).await);
    let (cache, sender, response) = open(&|_| {}).await;
    sender.data("hello");
    assert_eq!(read(response).await.unwrap(), "hello");
    assert!(is_stored(&cache).await);
}

/// A body may not be longer than it said.
#[tokio::test]
async fn a_body_that_is_too_long_is_an_error() {
    let (cache, sender) = by_hand(&[FRESH, ("content-length", "5")]);
    let response = cache.open("/").await;
    sender.data("hello, world");
    drop(sender);
    assert!(read(response).await.is_err());
    assert!(!is_stored(&cache).await);
}

/// RFC 9110 §8.6: lengths that contradict each other or the body.
/// Feature length-check.
#[tokio::test]
async fn a_length_that_cannot_be_is_not_stored() {
    for lengths in [&["4"][..], &["6"], &["5, 6"], &["5", "6"], &["+5"], &["-1"], &["5 5"], &[""]] {
        let cache = cache(Policy::shared());
        cache.origin.on(move |_| {
            lengths
                .iter()
                .fold(ok(), |reply, n| reply.header("content-length", n))
                .header(FRESH.0, FRESH.1)
                .text("hello")
        });
        let first = cache.open("/").await;
        let _ = read(first).await;
        assert!(!now_or_never(is_stored_or_fails(&cache)).unwrap(), "{lengths:?}");
    }
    async fn is_stored_or_fails(cache: &Cache) -> bool {
        cache.open("/").await.body().status().is_hit()
    }
}

/// hyper's servers drop a body of known length when they have every byte: that is the end.
#[tokio::test]
async fn the_last_byte_of_a_known_length_is_the_end() {
    let (cache, sender) = by_hand(&[FRESH, ("content-length", "5")]);
    let mut body = cache.open("/").await.into_body();
    sender.data("he");
    sender.data("llo");
    assert_eq!(next(&mut body).as_deref(), Some("he"));
    assert!(!is_stored(&cache).await);
    assert_eq!(next(&mut body).as_deref(), Some("llo"));
    drop(body);
    assert!(!sender.is_closed() || is_stored(&cache).await);
    assert_eq!(cache.get("/").await.assert_hit().text(), "hello");
}

/// The exact size hint stands for a length that no field gives (axum sets none).
#[tokio::test]
async fn a_body_that_knows_its_size_needs_no_content_length() {
    let cache = cache(Policy::shared());
    cache.origin.on(|_| ok().header(FRESH.0, FRESH.1).text("hello"));
    let mut body = cache.open("/").await.into_body();
    assert_eq!(next(&mut body).as_deref(), Some("hello"));
    drop(body);
    assert!(is_stored(&cache).await);
}

/// Nobody polls a body that has ended, such as that of a redirect.
#[tokio::test]
async fn an_empty_body_is_stored_unread() {
    for length in [Some("0"), None] {
        let cache = cache(Policy::shared());
        cache.origin.on(move |_| {
            let reply = ok().header(FRESH.0, FRESH.1);
            length.into_iter().fold(reply, |reply, n| reply.header("content-length", n)).text("")
        });
        drop(cache.open("/").await);
        assert!(is_stored(&cache).await, "{length:?}");
    }
}

/// A clean end is the end of a body of unknown length.
#[tokio::test]
async fn a_body_of_unknown_length_is_stored_at_its_end() {
    let (cache, sender) = by_hand(&[FRESH]);
    let mut body = cache.open("/").await.into_body();
    for part in ["a", "", "bc"] {
        sender.data(part);
        // A frame without bytes is none.
        let expected = Some(part).filter(|part| !part.is_empty());
        assert_eq!(next(&mut body).as_deref(), expected);
    }
    drop(sender);
    assert_eq!(next(&mut body), None);
    let hit = cache.get("/").await;
    assert_eq!((hit.assert_hit().text(), hit.field("content-length")), ("abc", Some("3")));
}

/// RFC 9110 §6.5: trailers belong to the response.
/// Feature trailers.
#[tokio::test]
async fn trailers_are_stored_and_replayed() {
    const LENGTH: (&str, &str) = ("content-length", "5");
    for (fields, is_awaited) in [
        (&[FRESH][..], true),
        (&[FRESH, LENGTH, ("trailer", "x-sum")], true),
        // Behind the last byte nobody looks for what was not announced.
        (&[FRESH, LENGTH], false),
    ] {
        let (cache, sender) = by_hand(fields);
        let first = cache.open("/").await;
        sender.data("hello");
        sender.trailers(HeaderMap::from_iter([(
            http::HeaderName::from_static("x-sum"),
            http::HeaderValue::from_static("7"),
        )]));
        drop(sender);
        assert_eq!(has_sum(first).await, is_awaited, "{fields:?}");
        assert_eq!(has_sum(cache.open("/").await).await, is_awaited, "{fields:?}");
        assert_eq!(cache.origin.calls(), 1);
    }
}

async fn has_sum(response: http::Response<CacheBody<TestBody>>) -> bool {
    let collected = response.into_body().collect().await.unwrap();
    let has_sum = collected.trailers().is_some_and(|trailers| trailers["x-sum"] == "7");
    assert_eq!(collected.to_bytes(), "hello");
    has_sum
}

/// The first byte goes on at once, whether the response is stored or not.
#[tokio::test]
async fn frames_go_on_as_they_come() {
    for cc in ["max-age=60", "no-store"] {
        let (cache, sender) = by_hand(&[("cache-control", cc)]);
        let mut body = cache.open("/").await.into_body();
        assert_eq!(next(&mut body), None);
        for part in ["a", "b", "c"] {
            sender.data(part);
            assert_eq!(next(&mut body).as_deref(), Some(part), "{cc}");
            assert_eq!(next(&mut body), None, "{cc}");
        }
    }
}

/// A stream without an end in sight is never recorded.
/// Feature streaming-types.
#[tokio::test]
async fn server_sent_events_pass_untouched() {
    let spy = Spy::new();
    let cache = cache_over(spy.clone(), Policy::shared());
    let sender =
        send_by_hand(&cache, &[FRESH, ("content-type", "text/event-stream;charset=utf-8")]);
    let response = cache.open("/").await;
    assert_eq!(response.headers().len(), 4, "cache-control, content-type, cache-status and date");
    let mut body = response.into_body();
    assert_eq!(body.status().reason(), Some(Reason::Streaming));
    for turn in 0..100 {
        let event = format!("data: {turn}\n\n");
        sender.data(event.clone());
        assert_eq!(next(&mut body), Some(event));
    }
    drop(sender);
    assert_eq!(next(&mut body), None);
    assert_eq!(spy.asked().writes, 0);
    assert!(!is_stored(&cache).await);
}

/// What is too large for the store goes through whole.
/// Feature size-limit.
#[tokio::test]
async fn a_body_that_is_too_large_passes_unstored() {
    for (length, is_declared) in [(64, true), (64, false), (65, true), (65, false)] {
        let cache = cache_over(MemoryManager::with_max_entry_bytes(1 << 20, 64), Policy::shared());
        let text = "x".repeat(length);
        let sent: &str = if length == 64 { "64" } else { "65" };
        let fields = [FRESH, ("content-length", sent)];
        let sender = send_by_hand(&cache, if is_declared { &fields } else { &fields[..1] });
        let response = cache.open("/").await;
        let status = response.body().status();
        let is_refused = (length > 64 && is_declared).then_some(Reason::TooLarge);
        assert_eq!(status.reason().filter(|reason| *reason == Reason::TooLarge), is_refused);
        let (head, tail) = text.split_at(40);
        sender.data(head.to_owned());
        sender.data(tail.to_owned());
        drop(sender);
        assert_eq!(read(response).await.unwrap(), text);
        assert_eq!(is_stored(&cache).await, length == 64, "{length} {is_declared}");
    }
}

/// Without an executor the last frame waits for the store, and no longer than the limit.
#[tokio::test]
async fn the_last_frame_waits_for_a_slow_store_until_the_limit() {
    for (executor, waits) in [(false, true), (true, false)] {
        let spy = Spy::new();
        let cache = cache_over(spy.clone(), Policy::shared()).layered(|layer| {
            let layer = layer.store_timeout(Duration::from_millis(50));
            if executor { layer } else { layer.executor(NoExecutor) }
        });
        spy.breaks(Call::Finish, Fault::Hang);
        let sender = send_by_hand(&cache, &[FRESH, ("content-length", "5")]);
        let mut body = cache.open("/").await.into_body();
        sender.data("he");
        assert_eq!(next(&mut body).as_deref(), Some("he"), "only the last frame waits");
        sender.data("llo");
        if waits {
            assert_eq!(next(&mut body), None);
            assert!(!http_body::Body::is_end_stream(&body));
            cache.clock.advance(Duration::from_millis(49));
            assert_eq!(next(&mut body), None);
            cache.clock.advance(Duration::from_millis(1));
        }
        assert_eq!(next(&mut body).as_deref(), Some("llo"));
        spy.mend();
        assert!(!is_stored(&cache).await);
    }
}

/// An executor finishes what the store has not when the last byte is out; nobody waits for it.
#[tokio::test]
async fn an_executor_finishes_the_write() {
    let spy = Spy::new();
    let cache = cache_over(spy.clone(), Policy::shared());
    spy.breaks(Call::Finish, Fault::Wait);
    let sender = send_by_hand(&cache, &[FRESH, ("content-length", "5")]);
    let mut body = cache.open("/").await.into_body();
    sender.data("hello");
    assert_eq!(next(&mut body).as_deref(), Some("hello"));
    drop(body);
    assert!(cache.open("/").await.body().status().forward().is_some(), "not yet");
    for _ in 0..4 {
        tokio::task::yield_now().await;
    }
    assert_eq!(cache.get("/").await.assert_hit().text(), "hello");
}
