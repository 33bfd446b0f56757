//! One body, many readers: from byte 0, whole or an error, in bounded memory.

use std::{
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame};
use http_body_util::BodyExt;
use larder::{BoxError, CacheBody, Disconnect, MemoryManager, NoExecutor, Policy};
use proptest::{collection::vec, prelude::*};
use tower::Service;

use crate::support::{
    BodySender, Cache, OriginError, TestBody, cache, cache_over, channel, get, now_or_never, ok,
    read, request,
};

type Reader = Pin<Box<CacheBody<TestBody>>>;

/// A cache whose origin answers once, by a body that the test gives by hand.
fn by_hand(manager: MemoryManager, length: Option<usize>) -> (Cache, BodySender) {
    let cache = cache_over(manager, Policy::shared());
    let (sender, body) = channel();
    let mut body = Some(body);
    cache.origin.on_later(move |_| {
        let body = body.take();
        async move {
            let Some(body) = body else { return Err(OriginError("once is enough")) };
            let reply = ok().cache_control("max-age=60");
            let length = length.map(|length| length.to_string());
            Ok(length.iter().fold(reply, |reply, n| reply.header("content-length", n)).body(body))
        }
    });
    (cache, sender)
}

async fn reader(cache: &Cache) -> Reader {
    Box::pin(cache.open("/").await.into_body())
}

/// The next frame, if there is one now.
fn next(reader: &mut Reader) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
    reader.as_mut().poll_frame(&mut Context::from_waker(Waker::noop()))
}

/// All the data that is there now, and how it ended if it did.
fn drain(reader: &mut Reader, into: &mut Vec<u8>) -> Option<Result<(), BoxError>> {
    loop {
        match next(reader) {
            Poll::Pending => return None,
            Poll::Ready(None) => return Some(Ok(())),
            Poll::Ready(Some(Err(error))) => return Some(Err(error)),
            Poll::Ready(Some(Ok(frame))) => {
                into.extend_from_slice(frame.data_ref().unwrap_or(&Bytes::new()));
            }
        }
    }
}

/// Readers come when they like, and each gets it all, with the trailers.
#[tokio::test]
async fn each_reader_begins_at_byte_0() {
    let (cache, sender) = by_hand(MemoryManager::new(1 << 20), None);
    let mut readers = vec![(reader(&cache).await, Vec::new())];
    for part in ["one ", "two ", "three"] {
        sender.data(part);
        let (first, seen) = &mut readers[0];
        assert!(drain(first, seen).is_none());
        readers.push((reader(&cache).await, Vec::new()));
    }
    let mut trailers = HeaderMap::new();
    trailers.insert("x-end", "1".parse().unwrap());
    sender.trailers(trailers.clone());
    drop(sender);
    for (reader, mut seen) in readers {
        let rest = reader.collect().await.unwrap();
        assert_eq!(rest.trailers(), Some(&trailers));
        seen.extend_from_slice(&rest.to_bytes());
        assert_eq!(seen, b"one two three");
    }
    assert_eq!(cache.origin.calls(), 1);
    let hit = cache.get("/").await;
    assert_eq!(hit.assert_hit().text(), "one two three");
}

/// Ten thousand readers, one request, equal bodies; the body is held once, and each frame handed out
/// is a reference to it.
#[tokio::test]
async fn ten_thousand_readers_share_one_body() {
    let (cache, sender) = by_hand(MemoryManager::new(64 << 20), Some(1 << 20));
    let mut readers = Vec::new();
    for _ in 0..10_000 {
        readers.push((reader(&cache).await, 0_usize, None));
    }
    for n in 0..16_u8 {
        let chunk = Bytes::from(vec![n; 64 << 10]);
        sender.data(chunk.clone());
        for (reader, seen, _) in &mut readers {
            let Poll::Ready(Some(Ok(frame))) = next(reader) else { panic!("chunk {n} is there") };
            let data = frame.into_data().unwrap();
            assert_eq!(data.as_ptr(), chunk.as_ptr(), "not a copy");
            *seen += data.len();
            assert!(n == 15 || next(reader).is_pending(), "and no more");
        }
    }
    drop(sender);
    for (reader, seen, over) in &mut readers {
        *over = Some(next(reader));
        assert!(matches!(over, Some(Poll::Ready(None))));
        assert_eq!(*seen, 1 << 20);
    }
    assert_eq!(cache.origin.calls(), 1);
    cache.get("/").await.assert_hit();
}

/// A body without end, and how much of it was asked for.
struct Endless {
    given: Arc<AtomicU64>,
    held: Arc<()>,
}

const CHUNK: usize = 256 << 10;

impl Body for Endless {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        self.given.fetch_add(CHUNK as u64, Ordering::SeqCst);
        // Bytes that keep a count of how many of their like are held.
        let chunk = Bytes::from_owner(Counted(vec![7; CHUNK], self.held.clone()));
        Poll::Ready(Some(Ok(Frame::data(chunk))))
    }
}

struct Counted(Vec<u8>, #[allow(dead_code, reason = "held to be counted")] Arc<()>);

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

/// A hundred readers that stall for ever on a huge body: what is held stays within the budget, others
/// are served at once, and a reader of the same body within ten seconds.
#[tokio::test]
async fn stalled_readers_hold_a_bounded_part() {
    const BUDGET: usize = 64 << 20;
    let (given, held) = (Arc::new(AtomicU64::new(0)), Arc::new(()));
    let (at_origin, of_origin) = (given.clone(), held.clone());
    // A store in memory that would take it all.
    let manager = MemoryManager::with_max_entry_bytes(4 << 30, 2 << 30);
    let cache = cache_over(manager, Policy::shared())
        .layered(|layer| layer.inflight_bytes(BUDGET as u64).executor(NoExecutor));
    cache.origin.on(move |request| {
        let reply = ok().cache_control("max-age=60");
        match request.uri().path() {
            "/" => {
                let (given, held) = (at_origin.clone(), of_origin.clone());
                reply.header("content-length", "1073741824").body(Endless { given, held })
            }
            _ => reply.text("hello"),
        }
    });
    // Announced to be larger than the budget, it is nobody's but the one's who asks.
    let alone = cache.open("/").await;
    assert!(!alone.body().status().is_stored());
    drop(alone);

    let (at_origin, of_origin) = (given.clone(), held.clone());
    cache.origin.on(move |request| {
        let reply = ok().cache_control("max-age=60");
        match request.uri().path() {
            "/" => reply.body(Endless { given: at_origin.clone(), held: of_origin.clone() }),
            _ => reply.text("hello"),
        }
    });
    cache.clock.advance_secs(20); // nobody waited for the first
    let calls = cache.origin.calls();
    let mut stalled = Vec::new();
    for _ in 0..100 {
        let mut reader = reader(&cache).await;
        assert!(next(&mut reader).is_ready());
        stalled.push(reader);
    }
    let mut active = reader(&cache).await;
    assert_eq!(cache.origin.calls(), calls + 1);
    let mut taken = 0_usize;
    let mut take_all = |active: &mut Reader, most: usize| {
        let mut frames = 0;
        while frames < most
            && let Poll::Ready(frame) = next(active)
        {
            taken += frame.unwrap().unwrap().into_data().unwrap().len();
            frames += 1;
        }
        frames
    };
    take_all(&mut active, usize::MAX);
    let chunks_held = || Arc::strong_count(&held) - 3;
    assert!(chunks_held() * CHUNK <= BUDGET + 2 * CHUNK, "{} chunks", chunks_held());
    // Another key is served at once: through, if not kept.
    assert_eq!(cache.get("/other").await.text(), "hello");
    // The same key within ten seconds of the clock.
    cache.clock.advance_secs(9);
    assert_eq!(take_all(&mut active, 10), 0, "the stalled ones have their time");
    cache.clock.advance_secs(1);
    assert_eq!(take_all(&mut active, 1000), 1000, "now they are cut off");
    assert!(chunks_held() * CHUNK <= BUDGET + 2 * CHUNK, "{} chunks", chunks_held());
    // Who has stalled finds an error at the end of what it has been given, never a clean end.
    for mut reader in stalled {
        let Poll::Ready(Some(Err(error))) = next(&mut reader) else { panic!("cut off") };
        assert!(error.to_string().contains("too slowly"), "{error}");
    }
    // A sole reader is never cut off.
    cache.clock.advance_secs(1000);
    assert_eq!(take_all(&mut active, 10), 10);
}

/// Who has asked and does not poll is a reader that takes nothing: of what is larger than what is kept
/// the others wait for him as long.
#[tokio::test]
async fn who_does_not_poll_is_waited_for_like_a_stalled_reader() {
    let (cache, sender) = by_hand(MemoryManager::with_max_entry_bytes(1 << 20, 1000), None);
    let leader = cache.service.clone().call(get("/"));
    let (mut follower, mut seen) = (reader(&cache).await, Vec::new());
    (0..40_u8).for_each(|n| sender.data(vec![n; 100]));
    for (seconds, is_waited_for) in [(0, true), (9, true), (1, false)] {
        cache.clock.advance_secs(seconds);
        assert!(drain(&mut follower, &mut seen).is_none());
        assert_eq!(seen.len() < 4000, is_waited_for, "{} bytes", seen.len());
    }
    let mut late = Box::pin(leader.await.unwrap().into_body());
    let Poll::Ready(Some(Err(error))) = next(&mut late) else { panic!("cut off") };
    assert!(error.to_string().contains("too slowly"), "{error}");
}

/// What is larger than the store takes is passed on to all who read it, and not stored.
#[tokio::test]
async fn over_the_limit_it_is_no_longer_stored_and_nobody_notices() {
    let (cache, sender) = by_hand(MemoryManager::with_max_entry_bytes(1 << 20, 1000), None);
    let mut readers = vec![(reader(&cache).await, Vec::new()), (reader(&cache).await, Vec::new())];
    let mut sent = Vec::new();
    for n in 0..40_u8 {
        sent.extend_from_slice(&[n; 100]);
        sender.data(vec![n; 100]);
        for (reader, seen) in &mut readers {
            assert!(drain(reader, seen).is_none());
        }
    }
    let late = cache.service.clone().call(get("/")).await;
    assert_eq!(late.err(), Some(OriginError("once is enough")), "nobody can begin any more");
    drop(sender);
    for (reader, seen) in &mut readers {
        assert!(matches!(drain(reader, seen), Some(Ok(()))));
        assert_eq!(*seen, sent);
    }
    assert!(cache.layer.handle().manager().is_empty());
}

/// The origin cuts the body at every byte: by an error, or by an end before the announced length.
/// Never stored, and every reader sees an error.
#[tokio::test]
async fn a_body_that_is_cut_is_an_error_to_every_reader() {
    const LENGTH: usize = 4096;
    let whole: Vec<u8> = (0..LENGTH).map(|n| n as u8).collect();
    for at in 0..LENGTH {
        for (length, by_error) in [(Some(LENGTH), true), (Some(LENGTH), false), (None, true)] {
            let (cache, sender) = by_hand(MemoryManager::new(1 << 20), length);
            let mut readers = [reader(&cache).await, reader(&cache).await];
            if at > 0 {
                sender.data(whole[..at].to_vec());
            }
            let mut seen = [Vec::new(), Vec::new()];
            let _ = drain(&mut readers[0], &mut seen[0]);
            if by_error {
                sender.error("connection reset");
            }
            drop(sender);
            for (reader, seen) in readers.iter_mut().zip(&mut seen) {
                let end = drain(reader, seen);
                assert!(matches!(end, Some(Err(_))), "{at} {length:?} {by_error}: {end:?}");
                assert_eq!(seen, &whole[..at]);
            }
            assert!(cache.layer.handle().manager().is_empty(), "{at} {length:?} {by_error}");
        }
    }
}

/// A server takes an exact size for the length to announce: what has come of a body that has failed
/// is not that, or the client would see a whole body.
#[tokio::test]
async fn what_came_of_a_body_that_failed_is_not_its_length() {
    for length in [None, Some(10)] {
        let (cache, sender) = by_hand(MemoryManager::new(1 << 20), length);
        let (mut first, mut second) = (reader(&cache).await, reader(&cache).await);
        sender.data("abc");
        sender.error("reset");
        let mut seen = Vec::new();
        assert!(drain(&mut first, &mut seen).is_some_and(|end| end.is_err()));
        assert_eq!(second.size_hint().exact(), length.map(|length| length as u64));
        assert!(!second.is_end_stream());
        assert!(drain(&mut second, &mut seen).is_some_and(|end| end.is_err()));
        assert_eq!(seen, b"abcabc");
    }
}

/// What a test does with a body on its way.
#[derive(Clone, Debug)]
enum Step {
    Send(usize),
    Attach,
    Read(usize),
    Drop(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..300_usize).prop_map(Step::Send),
        2 => Just(Step::Attach),
        6 => any::<prop::sample::Index>().prop_map(|index| Step::Read(index.index(64))),
        1 => any::<prop::sample::Index>().prop_map(|index| Step::Drop(index.index(64))),
    ]
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum End {
    Clean,
    Error,
    /// Never.
    Hanging,
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(1000) })]

    /// Every reader's bytes are a prefix of the truth, and equal to it if its end was clean; what is
    /// stored is the truth.
    #[test]
    fn every_reader_sees_a_prefix_of_the_truth(
        steps in vec(step(), 1..60),
        end in prop_oneof![Just(End::Clean), Just(End::Error), Just(End::Hanging)],
        known_length in any::<bool>(),
        limit in prop_oneof![Just(300_u64), Just(1 << 20)],
        executor in any::<bool>(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let total: usize =
                steps.iter().map(|step| if let Step::Send(n) = step { *n } else { 0 }).sum();
            let truth: Vec<u8> = (0..total).map(|n| (n % 251) as u8).collect();
            let manager = MemoryManager::with_max_entry_bytes(1 << 20, limit);
            let (cache, sender) = by_hand(manager, known_length.then_some(total));
            let cache = match executor {
                true => cache,
                false => cache.layered(|layer| layer.executor(NoExecutor)),
            };
            let mut sent = 0;
            let mut readers: Vec<(Option<Reader>, Vec<u8>)> = Vec::new();
            let mut ends = Vec::new();
            for step in &steps {
                match step {
                    Step::Send(n) => {
                        sender.data(truth[sent..sent + n].to_vec());
                        sent += n;
                    }
                    Step::Attach => {
                        let answer = now_or_never(cache.service.clone().call(get("/")));
                        if let Some(Ok(answer)) = answer {
                            let body = Box::pin(answer.into_body());
                            readers.push((Some(body), Vec::new()));
                        }
                    }
                    Step::Read(index) | Step::Drop(index) if !readers.is_empty() => {
                        let index = index % readers.len();
                        let (reader, seen) = &mut readers[index];
                        if let Step::Drop(_) = step {
                            *reader = None;
                        } else if let Some(open) = reader
                            && let Some(over) = drain(open, seen)
                        {
                            *reader = None;
                            ends.push((index, over.is_ok()));
                        }
                    }
                    Step::Read(_) | Step::Drop(_) => {}
                }
            }
            match end {
                End::Clean => drop(sender),
                End::Error => sender.error("reset"),
                End::Hanging => std::mem::forget(sender),
            }
            for (index, (reader, seen)) in readers.iter_mut().enumerate() {
                if let Some(open) = reader
                    && let Some(over) = drain(open, seen)
                {
                    ends.push((index, over.is_ok()));
                }
            }
            for (_, seen) in &readers {
                assert!(truth.starts_with(seen), "a prefix");
            }
            for (index, is_clean) in ends {
                assert!(!is_clean || readers[index].1 == truth, "a clean end is the whole");
                assert!(!is_clean || end != End::Error || known_length, "an error is no end");
            }
            drop(readers);
            if end == End::Hanging {
                return;
            }
            cache.layer.handle().shutdown().await;
            let stored = now_or_never(cache.service.clone().call(get("/")));
            if let Some(Ok(stored)) = stored
                && stored.body().status().is_hit()
            {
                assert_eq!(read(stored).await.unwrap(), truth);
            }
        });
    }
}

/// The bodies of 500 users, interleaved at random (security.md, "Collapse leak"): only what is public
/// crosses from one to another. 1 000 interleavings.
#[test]
fn random_interleavings_of_users_cross_nothing() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move |below: usize| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        (seed % below as u64) as usize
    };
    for round in 0..1000 {
        let cache_control = ["private, max-age=60", "max-age=60", "public, max-age=60"][round % 3];
        runtime.block_on(async {
            let cache = cache(Policy::shared());
            let parts: Arc<Mutex<Vec<(BodySender, String)>>> = Arc::default();
            let at_origin = parts.clone();
            cache.origin.on(move |request| {
                let token = request.headers()["authorization"].to_str().unwrap().to_owned();
                let (sender, body) = channel();
                at_origin.lock().unwrap().push((sender, token));
                ok().cache_control(cache_control).body(body)
            });
            let mut waiting = Vec::new();
            let mut reading: Vec<(String, Reader, Vec<u8>)> = Vec::new();
            for user in 0..12 {
                let token = format!("token-{user:03}");
                let ask = crate::support::with(get("/"), &[("authorization", &token)]);
                waiting.push((token, Box::pin(cache.service.clone().call(ask))));
                for _ in 0..random(4) {
                    if !waiting.is_empty() && random(2) == 0 {
                        let index = random(waiting.len());
                        if let Some(answer) = now_or_never(waiting[index].1.as_mut()) {
                            let (token, _) = waiting.swap_remove(index);
                            let body = Box::pin(answer.unwrap().into_body());
                            reading.push((token, body, Vec::new()));
                        }
                    } else if !reading.is_empty() {
                        let index = random(reading.len());
                        let (_, reader, seen) = &mut reading[index];
                        let _ = drain(reader, seen);
                        let mut parts = parts.lock().unwrap();
                        if !parts.is_empty() {
                            let index = random(parts.len());
                            let (sender, token) = parts.swap_remove(index);
                            sender.data(token);
                        }
                    }
                }
            }
            for (token, pending) in waiting {
                let Some(answer) = now_or_never(pending) else { panic!("{token} hangs") };
                reading.push((token, Box::pin(answer.unwrap().into_body()), Vec::new()));
            }
            for (sender, token) in parts.lock().unwrap().drain(..) {
                sender.data(token);
            }
            let mut first = None;
            for (token, mut reader, mut seen) in reading {
                assert!(matches!(drain(&mut reader, &mut seen), Some(Ok(()))));
                let seen = String::from_utf8(seen).unwrap();
                if cache_control.starts_with("public") {
                    assert_eq!(*first.get_or_insert(seen.clone()), seen);
                } else {
                    assert_eq!(seen, token, "{cache_control}");
                }
            }
        });
    }
}

/// A HEAD or a client with the response already may follow a fill and leave it; the fill goes on.
#[tokio::test]
async fn who_wants_no_body_leaves_the_fill_to_the_others() {
    let (cache, sender) = by_hand(MemoryManager::new(1 << 20), Some(5));
    let cache = cache.layered(|layer| layer.on_disconnect(Disconnect::Abandon));
    let mut leader = reader(&cache).await;
    let head = cache.send(request("HEAD", "/")).await;
    assert_eq!(head.field("content-length"), Some("5"));
    sender.data("hello");
    let mut seen = Vec::new();
    assert!(matches!(drain(&mut leader, &mut seen), Some(Ok(()))));
    cache.get("/").await.assert_hit();
}
