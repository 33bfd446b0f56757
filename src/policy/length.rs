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
    let mut length = None;
    for member in fields::list(headers, &header::CONTENT_LENGTH) {
        let digits = std::str::from_utf8(member)
            .ok()
            .filter(|text| text.bytes().all(|b| b.is_ascii_digit()));
        let value: u64 = digits.and_then(|text| text.parse().ok()).ok_or(Reason::ContentLength)?;
        if length.is_some_and(|before| before != value) {
            return Err(Reason::ContentLength);
        }
        length = Some(value);
    }
    if length.is_none() && headers.contains_key(header::CONTENT_LENGTH) {
        return Err(Reason::ContentLength);
    }
    Ok(length)
}
