use http::{HeaderMap, header};
use http_body::SizeHint;

use super::{Reason, fields};

/// The number of bytes in a response: what it says, if the body does not know better.
pub(super) fn length_of(headers: &HeaderMap, size: &SizeHint) -> Result<Option<u64>, Reason> {
    match (content_length(headers)?, size.exact()) {
        (Some(said), Some(exact)) if said != exact => Err(Reason::ContentLength),
        (said, exact) => Ok(said.or(exact)),
    }
}

/// The length that a response declares: the same on each line and in each member, or it is none
/// (RFC 9110 §8.6).
fn content_length(headers: &HeaderMap) -> Result<Option<u64>, Reason> {
    let mut lines = headers.get_all(header::CONTENT_LENGTH).iter();
    let Some(first) = lines.next() else { return Ok(None) };
    // As nearly all have it.
    if let (Some(length), None) = (number(first.as_bytes()), lines.next()) {
        return Ok(Some(length));
    }
    let mut length = None;
    for member in fields::list(headers, &header::CONTENT_LENGTH) {
        let value = number(member).ok_or(Reason::ContentLength)?;
        if length.is_some_and(|before| before != value) {
            return Err(Reason::ContentLength);
        }
        length = Some(value);
    }
    length.map(Some).ok_or(Reason::ContentLength)
}

/// Digits and nothing else.
fn number(text: &[u8]) -> Option<u64> {
    let (first, rest) = text.split_first()?;
    let digit = |byte: &u8| byte.is_ascii_digit().then(|| u64::from(byte - b'0'));
    let add = |number: u64, byte: &u8| number.checked_mul(10)?.checked_add(digit(byte)?);
    rest.iter().try_fold(digit(first)?, add)
}
