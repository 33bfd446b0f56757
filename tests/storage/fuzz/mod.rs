//! Scenario 4.8: bytes that were damaged, or made to deceive, through the codec and the reader of
//! files. Nothing panics, nothing but what was stored is given back, and at most four times the input
//! and 4 KiB is allocated.
//!
//! `LARDER_FUZZ=10000000 cargo test --release --all-features --test storage fuzz` for so many cases of
//! each kind.

mod codec;
mod every_byte;
mod files;
mod mutate;
mod seal;

use crate::counting::allocated;

/// The cases of each test, and where their numbers come from.
fn cases() -> u64 {
    std::env::var("LARDER_FUZZ").ok().and_then(|text| text.parse().ok()).unwrap_or(4000)
}

/// Does `decode`, with the memory that an input of so many bytes may take.
#[track_caller]
fn bounded<T>(length: usize, decode: impl FnOnce() -> T) -> T {
    let (bytes, value) = allocated(decode);
    assert!(bytes <= 4 * length + 4096, "{length} bytes made it allocate {bytes}");
    value
}
