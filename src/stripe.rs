//! A number for each thread, so that what all of them change often can lie in several places.

use std::{
    cell::Cell,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

/// More threads than this share places with others.
const MAX: usize = 16;

/// How many places are worth having: one for each thread that can run, to a power of two.
pub(crate) fn count() -> usize {
    let threads = thread::available_parallelism().map_or(1, |threads| threads.get().min(MAX));
    threads.next_power_of_two()
}

/// Which of `places`, a power of two of them, is this thread's. Threads take turns.
#[inline]
pub(crate) fn of(places: usize) -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static OWN: Cell<Option<usize>> = const { Cell::new(None) };
    }
    // Where the thread's own data is gone already, any place will do.
    let own = OWN.try_with(|own| match own.get() {
        Some(own) => own,
        None => {
            let next = NEXT.fetch_add(1, Ordering::Relaxed);
            own.set(Some(next));
            next
        }
    });
    own.unwrap_or(0) & places.wrapping_sub(1)
}
