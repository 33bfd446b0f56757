//! An allocator that knows what is held of it.

// Not each bench asks for the peak.
#![allow(dead_code)]

use std::{
    alloc::{GlobalAlloc, Layout, System},
    sync::atomic::{AtomicUsize, Ordering},
};

struct Counting;

static HELD: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

// SAFETY: hands every call to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let held = HELD.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        PEAK.fetch_max(held, Ordering::Relaxed);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        HELD.fetch_sub(layout.size(), Ordering::Relaxed);
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The bytes that the allocator was asked for and has not got back.
pub fn now() -> usize {
    HELD.load(Ordering::Relaxed)
}

/// What is held now, and the peak from here on is counted from that.
pub fn mark() -> usize {
    let held = now();
    PEAK.store(held, Ordering::Relaxed);
    held
}

/// The most that was held since the last [`mark`].
pub fn peak() -> usize {
    PEAK.load(Ordering::Relaxed)
}
