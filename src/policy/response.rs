//! A stored response, as the rules see it.

use super::{StoredHead, age::Timestamp, content_range::Extent};

/// A stored response but for the bytes of its body: the head, and how long the body is.
#[derive(Clone, Debug)]
pub struct StoredResponse {
    head: StoredHead,
    length: u64,
    // Rare, and every hit moves one of these.
    doubt: Option<Box<Doubt>>,
}

/// What its store has against serving a response as it is.
#[derive(Clone, Copy, Debug)]
enum Doubt {
    /// It was softly purged then.
    StaleSince(Timestamp),
    /// It may have been purged, and nobody can be asked.
    Unvouched,
}

impl StoredResponse {
    /// A head whose body has all of its `length` bytes. A head that came without `Content-Length`
    /// gets one.
    pub fn new(head: StoredHead, length: u64) -> Self {
        Self { head: head.with_length(length), length, doubt: None }
    }

    /// A response that was made with [`new`](Self::new).
    #[cfg(feature = "memory")]
    #[inline]
    pub(crate) fn restored(head: StoredHead, length: u64) -> Self {
        Self { head, length, doubt: None }
    }

    /// The same response, softly purged: whatever its lifetime says, it is stale from `then` on.
    pub fn stale_since(self, then: Timestamp) -> Self {
        match self.is_unvouched() {
            true => self,
            false => Self { doubt: Some(Box::new(Doubt::StaleSince(then))), ..self },
        }
    }

    /// The same response, to be served only when the origin has said that it is good.
    pub(crate) fn unvouched(self) -> Self {
        Self { doubt: Some(Box::new(Doubt::Unvouched)), ..self }
    }

    /// Whether the origin has to be asked, whatever its fields say.
    #[inline]
    pub(crate) fn is_unvouched(&self) -> bool {
        matches!(self.doubt.as_deref(), Some(Doubt::Unvouched))
    }

    /// When a soft purge made it stale, if one did.
    #[inline]
    pub fn softly_purged(&self) -> Option<Timestamp> {
        match self.doubt.as_deref() {
            Some(Doubt::StaleSince(then)) => Some(*then),
            Some(Doubt::Unvouched) | None => None,
        }
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
