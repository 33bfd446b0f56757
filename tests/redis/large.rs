//! Bodies in many pieces.

use std::time::{Duration, Instant};

use bytes::Bytes;
use larder::{CacheManager, RedisManager, storage::EntryWriter};

use crate::{
    cut::narrow,
    nodes::eventually,
    pace::{Stopped, others},
    page::{self, Ask, PIECE, collect, goes_in_and_out, large, next, noise, piece},
    server::{keys, namespace, options, own, say, shared, store},
};

/// A figure that the server tells of itself.
fn figure(url: &str, name: &str) -> u64 {
    let info = say(url, &[b"INFO", b"everything"]);
    let line = info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.expect("the server tells it").trim().parse().expect("a number")
}

/// A body goes in and out in pieces, and a range reads only what it needs. `LARDER_LARGE=1073741824`
/// makes it as large; alone (`cargo test … -- large`) the memory is that of this test only.
#[tokio::test]
async fn a_large_body_needs_little_memory() {
    let pieces = large().unwrap_or(32 << 20) / PIECE;
    let length = pieces * PIECE;
    let Some(server) = own(&[]) else { return };
    let url = server.url();
    let store = options("site").max_entry_bytes(4 << 30).open(&url).unwrap();
    Ask::new("/").put(&store, &[], "small").await.unwrap();
    let entry = goes_in_and_out(&store, &Ask::new("/large"), pieces).await;
    let (sent, gets) = (figure(&url, "total_net_output_bytes"), commands(&url));
    let read = collect(store.read(&entry, length - PIECE..length)).await.unwrap();
    assert!(read == piece(pieces - 1));
    let (sent, gets) = (figure(&url, "total_net_output_bytes") - sent, commands(&url) - gets);
    println!("a range of {PIECE} bytes: {gets} commands, {sent} bytes from the server");
    assert_eq!(gets, 2, "the blocks, and their sums");
    // What it tells of itself is among it.
    assert!(sent < PIECE + (24 << 10), "{sent} bytes");
}

/// How many commands have read from pieces.
fn commands(url: &str) -> u64 {
    let info = say(url, &[b"INFO", b"commandstats"]);
    let counts = info.lines().filter_map(|line| {
        let (name, rest) = line.strip_prefix("cmdstat_")?.split_once(":calls=")?;
        rest.split(',').next()?.parse::<u64>().ok().filter(|_| name == "getrange")
    });
    counts.sum()
}

/// Ranges with any ends, over the borders of blocks and pieces.
#[tokio::test]
async fn ranges_are_exact() {
    let Some(store) = store() else { return };
    page::ranges_are_exact(&store, [16_384, 16_385, 200_000, 262_144, 262_145, 700_000]).await;
}

/// What is begun goes after half an hour, but not what is still being written: its pieces and its fence
/// are kept for longer, again and again.
#[tokio::test]
async fn a_body_that_takes_long_stays_whole() {
    let Some(url) = shared() else { return };
    let (namespace, ask) = (namespace(), Ask::new("/"));
    let store = options(&namespace).open(url).unwrap();
    let (placement, head) = ask.place(&store, &[]);
    let mut writer = store.put(placement, head).await.unwrap();
    let parts = [noise(1, 600 << 10), noise(2, 600 << 10)];
    writer.write(parts[0].clone().into()).await.unwrap();
    eventually(async || keys(url, &namespace, "*:b:*").len() == 2).await;
    let early = [keys(url, &namespace, "*:b:*"), keys(url, &namespace, "*:i")].concat();
    assert_eq!(early.len(), 3);
    // The server does not know how late it is here.
    for key in &early {
        assert_eq!(say(url, &[b"PEXPIRE", key.as_bytes(), b"600000"]), "1");
    }
    others().await;
    let _stopped = Stopped::clock();
    tokio::time::advance(Duration::from_secs(20 * 60)).await;
    writer.write(parts[1].clone().into()).await.unwrap();
    for key in &early {
        let left: u64 = say(url, &[b"PTTL", key.as_bytes()]).parse().unwrap();
        assert!(left > 20 * 60 * 1000, "{key}: {left} ms");
    }
    writer.finish(None).await.unwrap();
    assert!(ask.body(&store).await.unwrap().unwrap() == parts.concat());
}

/// While a body takes long its resource may be deleted: the rest is not taken.
#[tokio::test]
async fn a_body_that_takes_long_may_be_deleted() {
    let Some(url) = shared() else { return };
    let namespace = namespace();
    let store = options(&namespace).open(url).unwrap();
    let (placement, head) = Ask::new("/").place(&store, &[]);
    let key = placement.key().clone();
    let mut writer = store.put(placement, head).await.unwrap();
    writer.write(noise(1, 600 << 10).into()).await.unwrap();
    eventually(async || keys(url, &namespace, "*:b:*").len() == 2).await;
    store.delete(&key).await.unwrap();
    others().await;
    let _stopped = Stopped::clock();
    tokio::time::advance(Duration::from_secs(20 * 60)).await;
    let refused = writer.write(noise(2, 600 << 10).into()).await.unwrap_err();
    assert!(refused.is_refused(), "{refused}");
}

/// A look-up of a small response is one `HMGET`, and of one that has `Vary` too, once it is known.
#[tokio::test]
async fn a_small_hit_is_one_command() {
    let Some(server) = own(&[]) else { return };
    let (url, ask) = (server.url(), Ask::new("/"));
    let store = options("site").open(&url).unwrap();
    ask.put(&store, &[], "hello").await.unwrap();
    let count = |name: &str| {
        let info = say(&url, &[b"INFO", b"commandstats"]);
        let line = info.lines().find_map(|line| {
            line.strip_prefix(&format!("cmdstat_{name}:calls="))?.split(',').next()?.parse().ok()
        });
        line.unwrap_or(0_u64)
    };
    for (body, gets) in [(8 << 10, 0), (64 << 10, 1)] {
        ask.put(&store, &[], noise(1, body)).await.unwrap();
        let before = (count("hmget"), count("get"), count("hgetall"));
        for _ in 0..10 {
            assert!(ask.body(&store).await.unwrap().unwrap() == noise(1, body));
        }
        let after = (count("hmget"), count("get"), count("hgetall"));
        assert_eq!(after.0 - before.0, 10, "{body}");
        // The node looks for the name of the log now and then.
        assert!((10 * gets..10 * gets + 8).contains(&(after.1 - before.1)), "{body}");
        assert_eq!(after.2, before.2);
    }
}

/// Storage, "small hits beside a large body": bodies have a connection of their own, so that nothing
/// small waits behind them, whether they are read or written.
#[tokio::test]
async fn small_hits_do_not_wait_for_bodies() {
    let Some(server) = own(&[]) else { return };
    let (small, large) = (Ask::new("/small"), Ask::new("/large"));
    let direct = options("site").open(&server.url()).unwrap();
    small.put(&direct, &[], noise(1, 8 << 10)).await.unwrap();
    large.put(&direct, &[], noise(2, 3 << 20)).await.unwrap();
    for is_written in [false, true] {
        let store = options("site").open(&narrow(&server.url(), 1 << 20).await).unwrap();
        store.ready().await.unwrap();
        let work = store.clone();
        let stuck = tokio::spawn(async move {
            if is_written {
                Ask::new("/other").put(&work, &[], noise(3, 3 << 20)).await.is_ok()
            } else {
                Ask::new("/large").body(&work).await.is_some()
            }
        });
        for _ in 0..30 {
            assert!(small.body(&store).await.unwrap().unwrap() == noise(1, 8 << 10));
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert!(!stuck.is_finished(), "the body is on its way, or this shows nothing");
        stuck.abort();
    }
}

/// What hits of 8 KiB take alone, and beside a body of `LARDER_LARGE` bytes that is written and read by
/// turns: it is printed, as a machine that is busy with other things says nothing of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn small_hits_beside_a_large_body() {
    let Some(length) = large() else { return };
    let Some(server) = own(&[]) else { return };
    let url = server.url();
    let store = options("site").max_entry_bytes(4 << 30).open(&url).unwrap();
    Ask::new("/small").put(&store, &[], noise(1, 8 << 10)).await.unwrap();
    let write = |store: RedisManager| async move {
        let (placement, head) = Ask::new("/large").place(&store, &[]);
        let mut writer = store.put(placement, head).await.unwrap();
        let piece = Bytes::from(noise(2, PIECE as usize));
        for _ in 0..length / PIECE {
            writer.write(piece.clone()).await.unwrap();
        }
        writer.finish(None).await.unwrap();
    };
    let read = |store: RedisManager| async move {
        let entry = Ask::new("/large").find(&store).await.unwrap();
        for _ in 0..3 {
            let mut body = store.read(&entry, 0..length);
            while let Some(data) = next(&mut body).await {
                data.unwrap();
            }
        }
    };
    let alone = || tokio::time::sleep(Duration::from_secs(1));
    let [mut before, mut written, mut was_read] = [const { Vec::new() }; 3];
    for _ in 0..5 {
        before.push(p99(&store, tokio::spawn(alone())).await);
        written.push(p99(&store, tokio::spawn(write(store.clone()))).await);
        was_read.push(p99(&store, tokio::spawn(read(store.clone()))).await);
        for pieces in keys(&url, "site", "*:b:*").chunks(1000) {
            let pieces = pieces.iter().map(String::as_bytes);
            say(&url, &[b"UNLINK".as_slice()].into_iter().chain(pieces).collect::<Vec<_>>());
        }
    }
    let (before, written, was_read) = (median(before), median(written), median(was_read));
    let times = |time: Duration| time.as_secs_f64() / before.as_secs_f64();
    println!(
        "p99 of hits: alone {before:?}, beside writing {written:?}, {:.2} times that, beside reading {was_read:?}, {:.2} times",
        times(written),
        times(was_read)
    );
}

/// The hundredth part of all hits takes longer, while `work` is done.
async fn p99(store: &RedisManager, work: tokio::task::JoinHandle<()>) -> Duration {
    let (ask, mut times) = (Ask::new("/small"), Vec::new());
    while !work.is_finished() {
        let began = Instant::now();
        assert_eq!(ask.body(store).await.unwrap().unwrap().len(), 8 << 10);
        times.push(began.elapsed());
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    work.await.unwrap();
    times.sort_unstable();
    times[times.len() * 99 / 100]
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}
