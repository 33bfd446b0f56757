use std::fs;

use larder::{
    CacheManager, DiskManager,
    storage::{DiskOptions, suite::block_on},
};

use crate::{
    page::{self, Ask, PIECE, collect, next, noise, piece},
    reads::read_so_far,
    site::{files, scratch},
};

/// A body goes in and out in pieces, and a range reads only what it needs. `LARDER_LARGE=1073741824`
/// makes it as large; alone (`cargo test … -- large`) the figures are those of this test only.
#[test]
fn a_large_body_needs_little_memory() {
    let pieces = page::large().unwrap_or(64 << 20) / PIECE;
    let length = pieces * PIECE;
    let options = DiskOptions::new().max_bytes(8 << 30).max_entry_bytes(4 << 30);
    let store = options.open(scratch()).unwrap();
    block_on(async {
        let entry = page::goes_in_and_out(&store, &Ask::new("/large"), pieces).await;
        let before = read_so_far();
        let bytes = collect(store.read(&entry, length - PIECE..length)).await.unwrap();
        assert!(bytes == piece(pieces - 1));
        if let (Some(_), Some(before), Some(after)) = (page::large(), before, read_so_far()) {
            assert!(after - before <= PIECE + 8192, "{} bytes read", after - before);
        }
    });
}

/// Ranges with any ends, over the borders of pieces.
#[test]
fn ranges_are_exact() {
    let store = DiskManager::open(scratch()).unwrap();
    block_on(page::ranges_are_exact(&store, [700_000]));
}

/// Memory that was read into is read into again: never while somebody has it, and never is what
/// another body left in it taken for what a file no longer has.
#[test]
fn no_body_shows_bytes_of_another() {
    // What is read at once.
    const PART: usize = 384 << 10;
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
                    let bytes = bytes.unwrap();
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
            fs::File::options().write(true).open(file).unwrap().set_len(500_000).unwrap();
        }
        let mut body = store.read(&entry, 0..u64::MAX);
        assert!(next(&mut body).await.unwrap().unwrap() == truth[1][..PART]);
        assert!(next(&mut body).await.unwrap().is_err(), "its file ends before");
    });
}
