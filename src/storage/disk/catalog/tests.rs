use std::{
    env,
    path::PathBuf,
    sync::atomic::{AtomicU64, Ordering},
};

use proptest::prelude::*;

use super::{super::records::Known, *};

struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn scratch() -> (Scratch, Arc<Directory>) {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let path = env::temp_dir().join(format!("larder-catalog-{}-{number}", std::process::id()));
    let (directory, _) = Directory::open(&path, Arc::default()).unwrap();
    (Scratch(path), Arc::new(directory))
}

fn name(n: u32) -> Name {
    Name::parse("00", &format!("{n:030x}")).unwrap()
}

fn load(directory: &Arc<Directory>) -> (Catalog, Records) {
    let (mut catalog, records) = (Catalog::open(directory.clone()), Records::cataloged());
    assert!(catalog.load(&records, || true));
    (catalog, records)
}

/// Names, in the order in which they would go.
fn order(records: &Records) -> Vec<Name> {
    std::iter::from_fn(|| records.evict()).collect()
}

/// A snapshot of 1 to 5, then: 6, 7 and 8 came, 2 and 7 went, 1 was used.
fn some(directory: &Arc<Directory>) {
    let (mut catalog, records) = load(directory);
    (1..=5).for_each(|n| records.insert(name(n), 5000, None));
    catalog.flush(&records, 9, false);
    (6..=8).for_each(|n| records.insert(name(n), 5000, Some(name(100))));
    records.remove(name(2));
    records.remove(name(7));
    records.touch(name(1), 5000);
    catalog.flush(&records, 10, true);
}

#[test]
fn a_catalog_comes_back() {
    let (_scratch, directory) = scratch();
    some(&directory);
    let (catalog, records) = load(&directory);
    assert_eq!((catalog.purges(), records.len(), records.bytes()), (10, 6, 6 * 8192));
    assert_eq!(records.share_without(name(100), name(0)), 2 * 8192);
    let mut gone = order(&records);
    // What was used since the last time is newer than all that was not.
    assert_eq!(gone[..3], [3, 4, 5].map(name));
    gone.sort_by_key(Name::to_string);
    assert_eq!(gone, [1, 3, 4, 5, 6, 8].map(name));
}

/// A log that ends anywhere is what it was when it was so long.
#[test]
fn a_cut_loses_the_tail_only() {
    let (_scratch, directory) = scratch();
    some(&directory);
    let whole = fs::read(directory.own(FILE)).unwrap();
    let lines: Vec<_> =
        whole[HEADER..].chunks(LINE).map(|line| Line::decode(line).unwrap()).collect();
    assert!(lines.len() > 10);
    for cut in 0..whole.len() {
        fs::write(directory.own(FILE), &whole[..cut]).unwrap();
        let mut there = Vec::new();
        let kept = cut.checked_sub(HEADER).map_or(0, |lines| lines / LINE);
        for line in &lines[..kept] {
            match line {
                Line::There { name, .. } => there.push(*name),
                Line::Gone(name) => there.retain(|there| there != name),
                Line::Used(_) => {}
            }
        }
        let (mut catalog, records) = load(&directory);
        // What comes next is read back, also behind a line that was cut off.
        records.insert(name(200), 1, None);
        catalog.flush(&records, 11, false);
        for records in [records, load(&directory).1] {
            let mut found = order(&records);
            found.sort_by_key(Name::to_string);
            there.sort_by_key(Name::to_string);
            assert_eq!(found, [&there[..], &[name(200)]].concat(), "cut at {cut}");
        }
    }
}

/// A line that is damaged hides no other.
#[test]
fn a_flipped_byte_loses_one_line_at_most() {
    let (_scratch, directory) = scratch();
    some(&directory);
    let whole = fs::read(directory.own(FILE)).unwrap();
    for at in 0..whole.len() {
        let mut flipped = whole.clone();
        flipped[at] ^= 0x10;
        fs::write(directory.own(FILE), &flipped).unwrap();
        let (mut catalog, records) = load(&directory);
        let found = records.len();
        let expected = if at < HEADER { 0..=0 } else { 5..=7 };
        assert!(expected.contains(&found), "{found} of 6 with a flip at {at}");
        // It is written anew.
        catalog.flush(&records, 10, false);
        assert!(load(&directory).0.file.is_some(), "flipped at {at}");
        assert_eq!(load(&directory).1.len(), found, "flipped at {at}");
    }
}

/// What is going on is newer than what a catalog says.
#[test]
fn what_changes_while_it_is_read_stays() {
    let (_scratch, directory) = scratch();
    some(&directory);
    let (mut catalog, records) = (Catalog::open(directory.clone()), Records::cataloged());
    records.insert(name(3), 1, None);
    records.remove(name(4));
    assert!(catalog.load(&records, || true));
    assert_eq!((records.len(), records.bytes()), (5, 4 * 8192 + 4096));
    assert_eq!(records.known(name(4)), Known::Nothing, "nobody has looked");
    records.set_complete(true);
    assert_eq!(records.known(name(4)), Known::Absent);
    assert_eq!(*order(&records).last().unwrap(), name(3));
}

/// A program that ends before it is read does not disturb it.
#[test]
fn what_was_not_read_is_kept() {
    let (_scratch, directory) = scratch();
    some(&directory);
    for n in 10..13_u32 {
        let (mut catalog, records) = (Catalog::open(directory.clone()), Records::cataloged());
        // A part of it is read before the end.
        let left = std::cell::Cell::new(n - 10);
        assert!(!catalog.load(&records, || left.replace(left.get().saturating_sub(1)) > 0));
        records.insert(name(n), 1, None);
        records.touch(name(4), 1);
        catalog.flush(&records, 10, true);
    }
    let (_, records) = load(&directory);
    assert_eq!(records.len(), 9);
    assert_eq!(order(&records)[..2], [3, 5].map(name), "4 has been used");
}

#[test]
fn it_does_not_grow_for_ever() {
    let (_scratch, directory) = scratch();
    let (mut catalog, records) = load(&directory);
    for _ in 0..100 {
        for n in 0..500 {
            records.insert(name(n), 1, None);
        }
        catalog.flush(&records, 0, false);
    }
    let length = fs::metadata(directory.own(FILE)).unwrap().len();
    assert!(length <= HEADER as u64 + (500 + MIN_LOG + 500) * LINE as u64, "{length}");
    assert_eq!(load(&directory).1.len(), 500);
}

/// A directory that was emptied has an empty catalog.
#[test]
fn what_was_cleared_is_not_there() {
    let (_scratch, directory) = scratch();
    some(&directory);
    let (mut catalog, records) = load(&directory);
    records.clear();
    records.insert(name(20), 1, None);
    catalog.flush(&records, 10, false);
    assert_eq!(order(&load(&directory).1), [name(20)]);
}

proptest! {
    #[test]
    fn decoding_is_total(line: [u8; LINE], header: [u8; HEADER]) {
        prop_assert_eq!(Line::decode(&line), None);
        prop_assert_eq!(Header::decode(&header), None);
    }
}
