//! An allocator that counts for each thread by itself, and the head that is served.

// Not each bench counts.
#![allow(dead_code)]

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
};

use http::{HeaderMap, HeaderValue, header};

struct Counting;

// A count that all threads write to would be the dearest thing that two of them do at once.
thread_local! {
    /// Allocations, and their bytes.
    static COUNTED: Cell<(u64, u64)> = const { Cell::new((0, 0)) };
}

// Inlined here and not there, it would cost more in one build than in another.
#[inline(never)]
fn count(bytes: usize) {
    COUNTED.with(|counted| {
        let (allocations, all) = counted.get();
        counted.set((allocations + 1, all + bytes as u64));
    });
}

// SAFETY: hands every call to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// How many allocations `work` makes on this thread, and of how many bytes.
pub fn allocations(work: impl FnOnce()) -> (u64, u64) {
    let before = COUNTED.get();
    work();
    let after = COUNTED.get();
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
