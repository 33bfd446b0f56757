//! Field values out of pieces, and what becomes of them.

use http::HeaderValue;

use super::mutate::{Numbers, mutate};

pub fn pick<'a>(numbers: &mut Numbers, from: &[&'a str]) -> &'a str {
    from[numbers.below(from.len())]
}

/// Up to `most` pieces in a row; every third value damaged.
pub fn text(numbers: &mut Numbers, pieces: &[&str], most: usize) -> String {
    let mut text = String::new();
    for _ in 0..numbers.below(most + 1) {
        text += pick(numbers, pieces);
    }
    if numbers.below(3) == 0 { damaged(numbers, &text, pieces) } else { text }
}

/// `text` with some bytes changed, and no byte that no value can have.
pub fn damaged(numbers: &mut Numbers, text: &str, pieces: &[&str]) -> String {
    let mut bytes = text.as_bytes().to_vec();
    let other = pick(numbers, pieces).as_bytes();
    mutate(numbers, &mut bytes, other);
    for byte in &mut bytes {
        // ASCII, so that it is a text as well.
        *byte &= 0x7f;
        if !(b' '..0x7f).contains(byte) && *byte != b'\t' {
            *byte = b' ';
        }
    }
    String::from_utf8(bytes).expect("it is ASCII")
}

pub fn value(text: &str) -> HeaderValue {
    HeaderValue::from_bytes(text.as_bytes()).expect("it is a value")
}
