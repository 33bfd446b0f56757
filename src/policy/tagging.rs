use std::fmt;

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};

use super::StoredHead;

/// What the same bytes are another representation by.
const MEANING: [HeaderName; 3] =
    [header::CONTENT_TYPE, header::CONTENT_ENCODING, header::CONTENT_LANGUAGE];

/// A strong `ETag` for a response that came without validators, made of its bytes while they pass
/// (RFC 9110 §8.8.3): equal contents have equal tags, whoever stores them.
#[derive(Clone)]
pub struct Tagging(blake3::Hasher);

impl Tagging {
    /// Whether a response needs a tag, and may have one: a client could use it, and the origin has
    /// given nothing that it would contradict.
    pub(super) fn suits(status: StatusCode, headers: &HeaderMap) -> bool {
        let is_whole = status.is_success()
            && ![StatusCode::NO_CONTENT, StatusCode::RESET_CONTENT, StatusCode::PARTIAL_CONTENT]
                .contains(&status);
        is_whole
            && !headers.contains_key(header::ETAG)
            && !headers.contains_key(header::LAST_MODIFIED)
    }

    /// Whether a tag of the one head says something else of the other's bytes.
    pub(super) fn is_outdated(before: &HeaderMap, after: &HeaderMap) -> bool {
        MEANING.iter().any(|name| !before.get_all(name).iter().eq(after.get_all(name)))
    }

    pub(super) fn new() -> Self {
        Self(blake3::Hasher::new())
    }

    /// The next bytes of the body.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// `head` with the tag of all the bytes.
    pub fn finish(mut self, head: StoredHead) -> StoredHead {
        // One tag belongs to one representation: the same bytes as another type are another.
        let length = self.0.count();
        self.0.update(&length.to_le_bytes());
        for name in MEANING {
            for value in head.headers().get_all(name) {
                self.0.update(value.as_bytes());
            }
            self.0.update(b"\n");
        }
        let digest = self.0.finalize().to_hex();
        // Half of it is far more than chance or malice can meet.
        let tag = format!("\"{}\"", &digest[..32]);
        match HeaderValue::from_str(&tag) {
            Ok(tag) => head.with(header::ETAG, tag),
            Err(_) => head,
        }
    }
}

impl fmt::Debug for Tagging {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Tagging").field(&self.0.count()).finish()
    }
}
