use std::{fs, pin::Pin};

use bytes::Bytes;
use http_body::{Body, Frame};
use larder::{
    CacheManager, DiskManager,
    storage::{DiskOptions, EntryWriter, Error, StoredBody, suite::block_on},
};

use crate::site::{Ask, collect, files, noise, scratch};

/// The most memory that this process has had, in bytes.
fn peak() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? << 10)
}

/// Bytes that this process has asked the system to read.
fn read_so_far() -> Option<u64> {
    let io = fs::read_to_string("/proc/self/io").ok()?;
    io.lines().find_map(|line| line.strip_prefix("rchar: "))?.trim().parse().ok()
}

/// A body goes in and out in pieces, and a range reads only what it needs. `LARDER_LARGE=1073741824`
/// makes it as large; alone (`cargo test … -- large`) the figures are those of this test only.
#[test]
fn a_large_body_needs_little_memory() {
    const CHUNK: u64 = 64 << 10;
    let length = std::env::var("LARDER_LARGE").ok().and_then(|text| text.parse().ok());
    let is_alone = length.is_some();
    let chunks: u64 = length.unwrap_or(64 << 20) / CHUNK;
    let length = chunks * CHUNK;
    let options = DiskOptions::new().max_bytes(8 << 30).max_entry_bytes(4 << 30);
    let store = options.open(scratch()).unwrap();
    let ask = Ask::new("/large");
    let chunk = |n: u64| Bytes::from(noise(n, CHUNK as usize));
    block_on(async {
        let before = peak();
        let (placement, head) = ask.place(&store, &[], 0);
        let mut writer = store.put(placement, head).await.unwrap();
        for n in 0..chunks {
            writer.write(chunk(n)).await.unwrap();
        }
        writer.finish(None).await.unwrap();
        let entry = ask.find(&store).await.unwrap();
        assert_eq!(entry.response().length(), length);
        let mut body = store.read(&entry, 0..length);
        let (mut at, mut buffer) = (0, Vec::new());
        while let Some(frame) = next(&mut body).await {
            buffer.extend_from_slice(&frame);
            while buffer.len() as u64 >= CHUNK {
                assert!(buffer[..CHUNK as usize] == chunk(at), "chunk {at}");
                buffer.drain(..CHUNK as usize);
                at += 1;
            }
        }
        assert_eq!((at, buffer.len()), (chunks, 0));
        if let (true, Some(before), Some(after)) = (is_alone, before, peak()) {
            assert!(after - before <= 32 << 20, "{} MiB more", (after - before) >> 20);
        }
        let before = read_so_far();
        let (bytes, _) = collect(store.read(&entry, length - CHUNK..length)).await.unwrap();
        assert!(bytes == chunk(chunks - 1));
        if let (true, Some(before), Some(after)) = (is_alone, before, read_so_far()) {
            assert!(after - before <= CHUNK + 8192, "{} bytes read", after - before);
        }
    });
}

async fn try_next(body: &mut StoredBody) -> Option<Result<Frame<Bytes>, Error>> {
    std::future::poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx)).await
}

async fn next(body: &mut StoredBody) -> Option<Bytes> {
    try_next(body).await?.unwrap().into_data().ok()
}

/// Ranges with any ends, over the borders of pieces.
#[test]
fn ranges_are_exact() {
    let store = DiskManager::open(scratch()).unwrap();
    let ask = Ask::new("/");
    let body = noise(7, 700_000);
    block_on(async {
        ask.put(&store, &[], body.clone()).await.unwrap();
        let entry = ask.find(&store).await.unwrap();
        let edges = [0, 1, 65_535, 65_536, 65_537, 262_144, 300_000, 524_288, 699_999, 700_000];
        for (i, start) in edges.into_iter().enumerate() {
            for end in &edges[i..] {
                let read = store.read(&entry, start as u64..*end as u64);
                assert!(collect(read).await.unwrap().0 == body[start..*end], "{start}..{end}");
            }
        }
    });
}

/// Memory that was read into is read into again: never while somebody has it, and never is what
/// another body left in it taken for what a file no longer has.
#[test]
fn no_body_shows_bytes_of_another() {
    // What is read at once.
    const PART: usize = 256 << 10;
    let path = scratch();
    let store = DiskManager::open(&path).unwrap();
    let asks = ["/0", "/1", "/2"].map(Ask::new);
    let truth = [0, 1, 2].map(|n| noise(n, (n as usize + 3) * PART));
    block_on(async {
        let mut kept = Vec::new();
        for (ask, body) in asks.iter().zip(&truth) {
            ask.put(&store, &[], body.clone()).await.unwrap();
        }
        for round in 0..12 {
            let mut bodies = Vec::new();
            for ask in &asks {
                let entry = ask.find(&store).await.unwrap();
                let start = round % 3 * PART + 1000 * round;
                bodies.push((start, store.read(&entry, start as u64..u64::MAX)));
            }
            for turn in 0..6 {
                for (n, (at, body)) in bodies.iter_mut().enumerate() {
                    let Some(bytes) = next(body).await else { continue };
                    assert!(bytes == truth[n][*at..*at + bytes.len()], "{n} at {at}");
                    let end = *at + bytes.len();
                    // Some give back what they have read, and others never do.
                    if (round + turn + n) % 3 == 0 {
                        kept.push((n, *at, bytes));
                    }
                    *at = end;
                }
            }
            assert!(bodies.iter().zip(&truth).all(|((at, _), body)| *at == body.len()));
        }
        for (n, at, bytes) in kept {
            assert!(bytes == truth[n][at..at + bytes.len()], "{n} at {at}, later");
        }
        let entry = asks[1].find(&store).await.unwrap();
        collect(store.read(&asks[0].find(&store).await.unwrap(), 0..u64::MAX)).await.unwrap();
        for file in files(&path.join("files")) {
            fs::File::options().write(true).open(file).unwrap().set_len(300_000).unwrap();
        }
        let mut body = store.read(&entry, 0..u64::MAX);
        assert!(next(&mut body).await.unwrap() == truth[1][..PART]);
        assert!(try_next(&mut body).await.unwrap().is_err(), "its file ends before");
    });
}
