//! Bad input of the disk: what a power failure, a bad sector or a careless hand leaves of a file.

use std::ops::Range;

use larder::storage::{
    codec::encode_head,
    probe::{Probe, read},
};

use super::{
    files::{Outcome, Sample, probe, samples, scratch},
    mutate::overwrite,
};

/// Every byte, but of a large body only the edges of its pieces and some between.
fn places(sample: &Sample) -> impl Iterator<Item = usize> {
    let length = sample.bytes.len();
    let body = sample.body();
    let is_sparse = body.len() > 10_000;
    (0..length).filter(move |at| {
        let inside = at.saturating_sub(body.start);
        let is_edge = inside % (64 << 10) < 3 || inside % (64 << 10) > (64 << 10) - 3;
        !is_sparse || !body.contains(at) || is_edge || inside % 997 == 0
    })
}

fn each(mut check: impl FnMut(&Sample, usize, &mut dyn FnMut(&[u8]) -> Outcome)) {
    let scratch = scratch();
    let path = scratch.path().join("file");
    for sample in samples(&scratch.path().join("store")) {
        for at in places(&sample) {
            check(&sample, at, &mut |bytes| probe(&path, &sample, bytes));
        }
    }
}

#[test]
fn a_file_cut_at_every_byte_is_not_found() {
    each(|sample, at, probe| {
        assert_eq!(probe(&sample.bytes[..at]), Outcome::Absent, "{at} of {}", sample.bytes.len());
    });
}

/// In the two slots there is room that means nothing, and an older head; everywhere else every bit
/// counts.
#[test]
fn a_file_with_every_byte_flipped_is_noticed() {
    let in_slots = |sample: &Sample, at: usize| sample.slots().contains(&at);
    each(|sample, at, probe| {
        for bit in [0x01, 0x20, 0x80] {
            let mut bytes = sample.bytes.clone();
            bytes[at] ^= bit;
            let outcome = probe(&bytes);
            assert_ne!(outcome, Outcome::Other, "{at} of {}", bytes.len());
            assert!(outcome != Outcome::Same || in_slots(sample, at), "{at} of {}", bytes.len());
        }
    });
}

/// A block that was never written, or belongs to another file.
#[test]
fn a_file_with_a_lost_block_is_noticed() {
    each(|sample, at, probe| {
        if at % 512 != 0 {
            return;
        }
        let block: Range<usize> = at..(at + 512).min(sample.bytes.len());
        for byte in [0, 0xff] {
            let mut bytes = sample.bytes.clone();
            overwrite(&mut bytes, at, &vec![byte; block.len()]);
            let outcome = probe(&bytes);
            assert_ne!(outcome, Outcome::Other, "{at} of {}", bytes.len());
            let is_slots_only =
                sample.slots().contains(&block.start) && sample.slots().contains(&(block.end - 1));
            assert!(outcome != Outcome::Same || is_slots_only || bytes == sample.bytes);
        }
    });
}

/// Blocks that were written to the place of others, with sums that are right there.
#[test]
fn pieces_that_were_exchanged_are_noticed() {
    const PIECE: usize = 64 << 10;
    let scratch = scratch();
    let path = scratch.path().join("file");
    let samples = samples(&scratch.path().join("store"));
    let long = samples.iter().find(|sample| sample.body().len() > 2 * PIECE).unwrap();
    let (first, table) = (long.body().start, long.body().end);
    let mut bytes = long.bytes.clone();
    for n in 0..PIECE {
        bytes.swap(first + n, first + PIECE + n);
    }
    (0..4).for_each(|n| bytes.swap(table + n, table + 4 + n));
    assert_eq!(probe(&path, long, &bytes), Outcome::Broken, "in one file");

    let alike: Vec<_> = samples.iter().filter(|sample| sample.body().len() == 40_000).collect();
    let [one, other] = alike[..] else { panic!("two of a length") };
    let mut bytes = one.bytes.clone();
    let behind = |sample: &Sample| sample.body().start..sample.body().end + 4;
    bytes[behind(one)].copy_from_slice(&other.bytes[behind(other)]);
    assert_eq!(probe(&path, one, &bytes), Outcome::Broken, "of two files");
}

/// A slot's number is part of what is summed: the older head is not taken for the newer one.
#[test]
fn an_older_head_does_not_come_back() {
    let scratch = scratch();
    let path = scratch.path().join("file");
    let samples = samples(&scratch.path().join("store"));
    let updated = samples.iter().find(|sample| sample.heads.len() == 2).unwrap();
    let slots = updated.slots();
    // The first head has the number 1, and lies in the second slot.
    for at in slots.start + slots.len() / 2..slots.end {
        for bit in (0..8).map(|n| 1 << n) {
            let mut bytes = updated.bytes.clone();
            bytes[at] ^= bit;
            std::fs::write(&path, &bytes).unwrap();
            let Probe::Response { head, .. } = read(&path, &updated.key, &updated.variant) else {
                panic!("the newer head is whole");
            };
            assert!(encode_head(&head).unwrap() == updated.heads[1], "flipped at {at}");
        }
    }
}
