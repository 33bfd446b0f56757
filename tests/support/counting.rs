//! An allocator that counts for each thread by itself, so that tests do not disturb each other, and for
//! all of them.

#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
    sync::atomic::{AtomicIsize, Ordering},
};

static LIVE_ANYWHERE: AtomicIsize = AtomicIsize::new(0);

thread_local! {
    static LIVE: Cell<isize> = const { Cell::new(0) };
    static CALLS: Cell<usize> = const { Cell::new(0) };
    static BYTES: Cell<usize> = const { Cell::new(0) };
}

struct Counting;

// SAFETY: hands everything to the system's allocator and only counts.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn count(bytes: isize) {
    LIVE_ANYWHERE.fetch_add(bytes, Ordering::Relaxed);
    // A thread that ends has no counters any more.
    let _ = LIVE.try_with(|live| live.set(live.get() + bytes));
    if bytes > 0 {
        let _ = CALLS.try_with(|calls| calls.set(calls.get() + 1));
        let _ = BYTES.try_with(|all| all.set(all.get() + bytes as usize));
    }
}

/// The bytes that this thread has allocated and not freed.
pub fn live() -> isize {
    LIVE.get()
}

/// The bytes that all threads have allocated and not freed.
pub fn live_anywhere() -> isize {
    LIVE_ANYWHERE.load(Ordering::Relaxed)
}

/// How often `f` allocates.
pub fn allocations<T>(f: impl FnOnce() -> T) -> (usize, T) {
    let before = CALLS.get();
    let value = f();
    (CALLS.get() - before, value)
}

/// How many bytes `f` allocates in all, whether it frees them or not.
pub fn allocated<T>(f: impl FnOnce() -> T) -> (usize, T) {
    let before = BYTES.get();
    let value = f();
    (BYTES.get() - before, value)
}
