//! Responses of which nothing is kept: what is left of the third question.

use http::{StatusCode, response};
use http_body::SizeHint;

use super::{
    CacheStatus, Cached, Fetch, Outcome, Reason, about::About, age::Timestamp, date,
    length::length_of, mode::RedirectedInside, secret::Secret, validation::Asking,
};

impl Fetch {
    /// Whether its response is neither stored nor compared with what is.
    pub(crate) fn keeps_nothing(&self) -> bool {
        let Asking { lookup, is_head, about, .. } = &*self.0;
        let is_compared = match about {
            About::Nothing => false,
            About::Others(others) => !others.is_empty(),
            About::This(_) | About::Part(_) => true,
        };
        (lookup.directives.no_store || *is_head) && !is_compared
    }

    /// The third question where [nothing is kept](Self::keeps_nothing): how the response came about.
    pub(crate) fn on_unkept_response(
        self,
        head: &mut response::Parts,
        size: &SizeHint,
        now: Timestamp,
        began: u64,
        secret: &Secret,
    ) -> CacheStatus {
        let forwarded = CacheStatus::forwarded(self.reason());
        if let Some(reason) = self.0.is_refused_at_once(head, size) {
            head.extensions.remove::<Cached>();
            date::append(&mut head.headers, now.wall());
            self.0.lookup.rewrite_unkept(&mut head.headers);
            return forwarded.detailed(reason);
        }
        match self.on_response(head, size, now, began, secret) {
            Outcome::Pass { status, .. } => status,
            Outcome::Complete { status, .. } | Outcome::BadGateway { status, .. } => status,
            Outcome::Store(_) | Outcome::Freshen { .. } | Outcome::ServeStale(_) => forwarded,
        }
    }
}

impl Asking {
    /// Why the response is not stored, where nothing has to be read in it to say so: its client
    /// forbids it (RFC 9111 §5.2.1.5), and nobody has asked for the steps.
    fn is_refused_at_once(&self, head: &response::Parts, size: &SizeHint) -> Option<Reason> {
        let is_plain = self.lookup.directives.no_store
            && !self.is_head
            && !self.policy().trail.is_kept()
            && head.status == StatusCode::OK
            && head.extensions.get::<RedirectedInside>().is_none();
        is_plain.then(|| length_of(&head.headers, size).err().unwrap_or(Reason::RequestNoStore))
    }
}
