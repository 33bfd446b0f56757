use super::{
    CacheStatus, ContentRange, Joint, Running, StoredHead, StoredResponse, Tagging,
    index::Placement, reuse::seconds,
};

/// A response that is to be stored.
#[derive(Debug)]
pub struct Store {
    placement: Placement,
    head: StoredHead,
    length: Option<u64>,
    announces_trailers: bool,
    wants_tag: bool,
    wants_body: bool,
    status: CacheStatus,
    /// What it must have to be stored, and of what else it is made.
    due: Option<u64>,
    joint: Option<Box<Joint>>,
}

/// A head at its place.
pub(super) struct Placed {
    pub(super) placement: Placement,
    pub(super) head: StoredHead,
    /// Whether the client gets the body, and not the head alone.
    pub(super) wants_body: bool,
}

impl Placed {
    pub(super) fn of_whole(
        self,
        length: Option<u64>,
        announces_trailers: bool,
        wants_tag: bool,
        status: CacheStatus,
    ) -> Store {
        let Self { placement, head, wants_body } = self;
        let status = status.stored(freshness(&head));
        let head = match length {
            Some(length) => StoredResponse::new(head, length).head().clone(),
            None => head,
        };
        Store {
            placement,
            head,
            length,
            announces_trailers,
            wants_tag,
            wants_body,
            status,
            due: None,
            joint: None,
        }
    }

    /// With this `range` of the representation in the store, and `length` bytes for the client.
    pub(super) fn of_part(
        self,
        range: &ContentRange,
        length: Option<u64>,
        joint: Option<Joint>,
        status: CacheStatus,
    ) -> Store {
        let Self { placement, head, wants_body } = self;
        let status = status.stored(freshness(&head));
        let head = StoredResponse::new(head, range.length()).head().clone();
        let (due, joint) = (Some(range.length()), joint.map(Box::new));
        Store {
            placement,
            head,
            length,
            announces_trailers: false,
            wants_tag: false,
            wants_body,
            status,
            due,
            joint,
        }
    }
}

fn freshness(head: &StoredHead) -> i64 {
    let facts = head.facts();
    seconds(facts.lifetime) - seconds(facts.initial_age)
}

impl Store {
    /// Where it belongs, and its head.
    pub fn into_parts(self) -> (Placement, StoredHead) {
        (self.placement, self.head)
    }

    /// Whether it may ever be used without asking the origin first.
    pub(crate) fn is_reusable(&self) -> bool {
        self.head.is_reusable()
    }

    /// Whether others may have it as it comes: it is whole, and the client gets all of it.
    pub(crate) fn is_shareable(&self) -> bool {
        let is_part = self.head.content_range().is_some();
        !is_part && (self.due.is_none() || self.due == self.length)
    }

    /// The response as others may get it while it comes.
    pub fn running(&self) -> Running {
        Running::new(self)
    }

    pub(super) fn placement(&self) -> &Placement {
        &self.placement
    }

    pub(super) fn head(&self) -> &StoredHead {
        &self.head
    }

    /// The number of bytes that its body must have, if that is known before its end: by
    /// `Content-Length`, else by the exact size hint.
    pub fn length(&self) -> Option<u64> {
        self.length
    }

    /// The number of bytes that the store must have at the end, where that is not what the client
    /// gets, or nothing else tells it. With others it is not stored.
    pub fn due(&self) -> Option<u64> {
        self.due
    }

    /// The stored part that it completes, or that is stored with it.
    pub fn joint(&self) -> Option<&Joint> {
        self.joint.as_deref()
    }

    /// Whether trailers may follow the last byte, so that the end of the body has to be waited for.
    pub fn announces_trailers(&self) -> bool {
        self.announces_trailers
    }

    /// What makes the tag that it is to be stored with, if
    /// [`Policy::make_etag`](super::Policy::make_etag) gives it one. What goes on to the client has
    /// none: its head is gone before the body has come.
    pub fn tagging(&self) -> Option<Tagging> {
        self.wants_tag.then(Tagging::new)
    }

    /// Whether the client gets the body, and not the head alone.
    pub fn wants_body(&self) -> bool {
        self.wants_body
    }

    /// Whether its body is seldom read and soon over: a redirect's, which most clients drop as soon
    /// as they have seen the head, or that of a HEAD. Read it before the head goes on, or it is never whole.
    pub fn is_seldom_read(&self) -> bool {
        const SHORT: u64 = 16 << 10;
        let is_seldom_read = !self.wants_body || self.head.status().is_redirection();
        is_seldom_read && self.length.is_some_and(|length| length <= SHORT)
    }

    /// How it came about.
    pub fn status(&self) -> CacheStatus {
        self.status
    }
}
