use std::ops::Range;

use http::{HeaderMap, StatusCode, header, response};

use super::{
    CacheStatus, Content, ContentRange, Joint, Running, StoredHead, StoredResponse, Tagging,
    age::Timestamp, content_range::Extent, explain, index::Placement, range, reuse::seconds,
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
    cut: Option<Box<Cut>>,
}

/// The range of a whole response that the client gets.
#[derive(Debug)]
pub(super) struct Cut {
    /// `None`: there is nothing of it.
    pub(super) wanted: Option<Range<u64>>,
    pub(super) length: u64,
    pub(super) now: Timestamp,
}

impl Cut {
    pub(super) fn explain(&self, request: &HeaderMap) -> (String, String) {
        let extent = Extent::Whole(self.length);
        let told = match &self.wanted {
            Some(range) => extent.show(range),
            None => format!("nothing of {extent}"),
        };
        (explain::show(request, &[header::RANGE, header::IF_RANGE]), told)
    }
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
            cut: None,
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
            cut: None,
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

    pub(super) fn set_cut(&mut self, cut: Cut) {
        self.cut = Some(Box::new(cut));
    }

    /// What the client gets of the response, whose head is `head` as
    /// [`Fetch::on_response`](super::Fetch::on_response) has left it, while it is stored: its range,
    /// where [`Policy::whole_for_range`](super::Policy::whole_for_range) has asked for all, or else what
    /// it was going to get. Where it is not stored after all, the client gets it as it is.
    pub fn cut(&self, mut head: response::Parts) -> (response::Parts, Content) {
        match self.cut.as_deref() {
            None if self.wants_body => (head, Content::Whole),
            None => (head, Content::Nothing),
            Some(Cut { wanted: None, length, now }) => {
                (range::not_satisfiable(*length, *now), Content::Nothing)
            }
            Some(Cut { wanted: Some(wanted), length, .. }) => {
                head.status = StatusCode::PARTIAL_CONTENT;
                range::set_fields(&mut head.headers, wanted, Extent::Whole(*length));
                (head, Content::Part { start: wanted.start, end: wanted.end })
            }
        }
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
    /// as they have seen the head, that of a HEAD, or one that has not the range. Read it before the head goes on, or it is never whole.
    pub fn is_seldom_read(&self) -> bool {
        const SHORT: u64 = 16 << 10;
        let is_unread = self.cut.as_ref().is_some_and(|cut| cut.wanted.is_none());
        let is_seldom_read = !self.wants_body || is_unread || self.head.status().is_redirection();
        is_seldom_read && self.length.is_some_and(|length| length <= SHORT)
    }

    /// Whether its body is short, and is stored as it comes and sent as it is stored: where all of it is
    /// there at once, nothing else will be. An empty one is over before it is asked for anything.
    pub(crate) fn is_short(&self) -> bool {
        const SHORT: u64 = 64 << 10;
        let is_as_it_comes = self.due.is_none() && !self.wants_tag && !self.announces_trailers;
        let is_sent = self.wants_body && self.cut.is_none();
        is_as_it_comes && is_sent && self.length.is_some_and(|length| (1..=SHORT).contains(&length))
    }

    /// How it came about.
    pub fn status(&self) -> CacheStatus {
        self.status
    }
}
