//! Several ranges of a stored response in one answer (RFC 9110 §14.6, §15.3.7.2).

use std::{
    collections::hash_map::RandomState,
    hash::{BuildHasher, Hasher},
    ops::Range,
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, header};

use super::{content_range::Extent, range};

/// A piece of a body that is made of a stored one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// These bytes: what stands between the ranges.
    Text(Bytes),
    /// This range of the stored body.
    Body(Range<u64>),
}

/// The pieces of a `multipart/byteranges` body, and in `headers` the fields that belong to it.
/// `None`: it would be no shorter than the whole, which is there, as good, and simpler.
pub(super) fn byteranges(
    headers: &mut HeaderMap,
    parts: &[Range<u64>],
    extent: Extent,
) -> Option<Box<[Piece]>> {
    let boundary = boundary();
    let mut text = Vec::new();
    let mut ends = Vec::with_capacity(parts.len());
    for part in parts {
        if !text.is_empty() {
            text.extend_from_slice(b"\r\n");
        }
        text.extend_from_slice(format!("--{boundary}\r\n").as_bytes());
        if let Some(value) = headers.get(header::CONTENT_TYPE) {
            text.extend_from_slice(b"Content-Type: ");
            text.extend_from_slice(value.as_bytes());
            text.extend_from_slice(b"\r\n");
        }
        let shown = extent.show(part);
        text.extend_from_slice(format!("Content-Range: {shown}\r\n\r\n").as_bytes());
        ends.push(text.len());
    }
    text.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());
    let content: u64 = parts.iter().map(|part| part.end - part.start).sum();
    let total = content + text.len() as u64;
    if matches!(extent, Extent::Whole(length) if total >= length) {
        return None;
    }

    let mut text = Bytes::from(text);
    let mut at = 0;
    let mut pieces = Vec::with_capacity(2 * parts.len() + 1);
    for (part, end) in parts.iter().zip(ends) {
        pieces.push(Piece::Text(text.split_to(end - at)));
        pieces.push(Piece::Body(extent.place(part.clone())));
        at = end;
    }
    pieces.push(Piece::Text(text));

    let media_type = HeaderValue::from_str(&format!("multipart/byteranges; boundary={boundary}"));
    headers.insert(header::CONTENT_TYPE, media_type.ok()?);
    headers.insert(header::CONTENT_LENGTH, total.into());
    headers.remove(range::CONTENT_DIGEST);
    Some(pieces.into())
}

/// 128 bits that no body can have foreseen, so that none can end a part before its time.
fn boundary() -> String {
    // The keys of a `RandomState` are the system's random bits.
    let bits = || RandomState::new().build_hasher().finish();
    format!("{:016x}{:016x}", bits(), bits())
}
