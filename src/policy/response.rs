//! A stored response, as the rules see it.

use super::{StoredHead, age::Timestamp, content_range::Extent};

/// A stored response but for the bytes of its body: the head, and how long the body is.
#[derive(Clone, Debug)]
pub struct StoredResponse {
    head: StoredHead,
    length: u64,
    // Rare, and every hit moves one of these.
    stale_since: Option<Box<Timestamp>>,
}

impl StoredResponse {
    /// A head whose body has all of its `length` bytes. A head that came without `Content-Length`
    /// gets one.
    pub fn new(head: StoredHead, length: u64) -> Self {
        Self { head: head.with_length(length), length, stale_since: None }
    }

    /// A response that was made with [`new`](Self::new).
    #[cfg(feature = "memory")]
    #[inline]
    pub(crate) fn restored(head: StoredHead, length: u64) -> Self {
        Self { head, length, stale_since: None }
    }

    /// The same response, softly purged: whatever its lifetime says, it is stale from `then` on.
    pub fn stale_since(self, then: Timestamp) -> Self {
        Self { stale_since: Some(Box::new(then)), ..self }
    }

    /// When a soft purge made it stale, if one did.
    #[inline]
    pub fn softly_purged(&self) -> Option<Timestamp> {
        self.stale_since.as_deref().copied()
    }

    /// The head.
    #[inline]
    pub fn head(&self) -> &StoredHead {
        &self.head
    }

    /// The number of bytes in the body.
    #[inline]
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Which bytes of the representation these are. `None`: not those that the head says.
    #[inline]
    pub(super) fn extent(&self) -> Option<Extent> {
        match self.head.content_range() {
            None => Some(Extent::Whole(self.length)),
            Some(part) => (part.length() == self.length).then_some(Extent::Part(part)),
        }
    }
}
