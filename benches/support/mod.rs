//! An allocator that counts, and the head that is served.

// Not each bench counts.
#![allow(dead_code)]

use std::{
    alloc::{GlobalAlloc, Layout, System},
    sync::atomic::{AtomicU64, Ordering},
};

use http::{HeaderMap, HeaderValue, header};

struct Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);
static BYTES: AtomicU64 = AtomicU64::new(0);

// SAFETY: hands every call to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        BYTES.fetch_add(layout.size() as u64, Ordering::Relaxed);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// How many allocations `work` makes, and of how many bytes.
pub fn allocations(work: impl FnOnce()) -> (u64, u64) {
    let counted = || (ALLOCATIONS.load(Ordering::Relaxed), BYTES.load(Ordering::Relaxed));
    let before = counted();
    work();
    let after = counted();
    (after.0 - before.0, after.1 - before.1)
}

/// A head of six fields, for a body of `length` bytes.
pub fn fields(length: usize) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CACHE_CONTROL, "public, max-age=3600, stale-while-revalidate=60"),
        (header::ETAG, "\"33a64df551425fcc55e4d42a148795d9f25f89d4\""),
        (header::LAST_MODIFIED, "Wed, 21 Oct 2015 07:28:00 GMT"),
        (header::SERVER, "a-server/1.2.3"),
    ] {
        // Values that own their bytes, as received ones do.
        headers.insert(name, HeaderValue::from_str(value).expect("it is a value"));
    }
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    headers
}
