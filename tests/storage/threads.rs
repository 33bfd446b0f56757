//! The store in memory, asked by several threads while it changes.

use std::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
};

use larder::{CacheManager, MemoryManager, storage::suite::block_on};

use crate::exchange::{Visitor, ok};

/// Promises 1 and 2 of the store's contract: when a change is over, no thread finds what was there before
/// it, although each keeps what it asks for.
#[test]
fn no_thread_finds_what_was_there_before_a_change() {
    const ROUNDS: u64 = 48;
    let manager = MemoryManager::with_max_entry_bytes(256 << 10, 16 << 10);
    // The oldest version with `Vary` and without it that may still be found, and whether it is all over.
    let (oldest, is_over) = ([const { AtomicU64::new(0) }; 2], AtomicBool::new(false));
    let reads = AtomicU64::new(0);
    let visitor = || Visitor::of("/").with("accept", "a");
    let read = || {
        let mut seen = 0_u64;
        while !is_over.load(Ordering::Acquire) {
            let oldest = oldest.each_ref().map(|oldest| oldest.load(Ordering::Acquire));
            for response in visitor().find(&manager).responses() {
                let fields = response.head().headers();
                let version: u64 = fields["x-version"].to_str().unwrap().parse().unwrap();
                let oldest = oldest[usize::from(fields["vary"].is_empty())];
                assert!(version >= oldest, "{version} was found, and {oldest} was there");
                seen += 1;
            }
            reads.fetch_add(1, Ordering::Relaxed);
            thread::yield_now();
        }
        assert!(seen > ROUNDS, "{seen}");
    };
    let put = |version: u64, vary: &str| {
        let response = ok().header("x-version", version.to_string()).header("vary", vary);
        block_on(visitor().put(&manager, response, "x".repeat(1000))).unwrap();
    };
    let update = |version: u64| {
        // It may have been pushed out.
        let Some(entry) = visitor().entry(&manager) else { return };
        let vary = entry.response().head().headers()["vary"].to_str().unwrap().to_owned();
        let response = ok().header("x-version", version.to_string()).header("vary", vary);
        let (_, head) = visitor().place(&manager, response);
        assert!(block_on(manager.update(&entry, head)).unwrap());
    };
    let remove = || {
        let entry = visitor().entry(&manager);
        entry.is_some_and(|entry| block_on(manager.remove(&entry)).unwrap())
    };
    let push_out = || {
        for n in 0..400 {
            let other = Visitor::of(&format!("/{n}"));
            block_on(other.put(&manager, ok(), "x".repeat(1000))).unwrap();
            // What nobody asks for would go instead.
            (0..2).for_each(|_| drop(other.entry(&manager)));
        }
    };
    let change = || {
        let mut version = 0;
        let mut next = |kinds: &[usize], change: &dyn Fn(u64)| {
            version += 1;
            change(version);
            kinds.iter().for_each(|kind| oldest[*kind].store(version, Ordering::Release));
            // Long enough for all to keep it.
            let enough = reads.load(Ordering::Relaxed) + 12;
            while reads.load(Ordering::Relaxed) < enough && !is_over.load(Ordering::Acquire) {
                thread::yield_now();
            }
        };
        for round in 0..ROUNDS {
            next(&[1], &|version| put(version, ""));
            next(&[1], &|version| put(version, ""));
            next(&[1], &update);
            next(&[0], &|version| put(version, "accept"));
            next(&[0], &|version| put(version, "accept"));
            next(&[0], &update);
            next(&[1], &|version| put(version, ""));
            if round % 8 == 0 {
                push_out();
            }
            next(&[0, 1], &|_| match round % 3 {
                0 => block_on(manager.clear()).unwrap(),
                1 => while remove() {},
                _ => block_on(manager.delete(visitor().lookup().key())).unwrap(),
            });
        }
        is_over.store(true, Ordering::Release);
    };
    /// Also where a thread has failed.
    struct Over<'a>(&'a AtomicBool);
    impl Drop for Over<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Release);
        }
    }
    let until_it_is_over = |act: &dyn Fn()| {
        let _over = Over(&is_over);
        act();
    };
    thread::scope(|scope| {
        (0..3).for_each(|_| drop(scope.spawn(|| until_it_is_over(&read))));
        until_it_is_over(&change);
    });
}
