//! Responses of which nothing is kept: what is left of the third question.

use http::{request, response};
use http_body::SizeHint;

use super::{
    CacheMode, CacheStatus, Cached, Fetch, Lookup, Outcome, Policy, Reason, about::About,
    age::Timestamp, date, length::length_of, mode::RedirectedInside, normal::mend_codings,
    secret::Secret, storing, validation::Asking,
};

/// A request whose client forbids to keep anything of it (RFC 9111 §5.2.1.5), where nothing is stored that
/// it could be answered with or compared to: it goes to the origin as it is.
#[derive(Debug)]
pub(crate) struct Unkept {
    policy: Policy,
    is_partitioned: bool,
}

impl Lookup<'_> {
    /// Whether it is one where nothing is stored, and nothing else has to be known of it.
    #[inline]
    pub(crate) fn is_unkept(&self) -> bool {
        let (rules, directives) = (&*self.policy.rules, &self.directives);
        directives.no_store
            && !directives.only_if_cached
            && self.mode != CacheMode::OnlyIfCached
            && !self.is_head
            && self.ranges.is_none()
            && !rules.clear_site_data
            && !rules.trail.is_kept()
    }

    /// What is left to do for it: what is asked for is what was keyed.
    pub(crate) fn unkept(&self, request: &mut request::Parts) -> Unkept {
        self.policy.rules.rewrite(&mut request.uri);
        mend_codings(&mut request.headers);
        let policy = Policy::clone(&self.policy);
        Unkept { policy, is_partitioned: self.is_partitioned() }
    }
}

impl Unkept {
    /// The third question: how the response came about.
    pub(crate) fn on_response(
        self,
        head: &mut response::Parts,
        size: &SizeHint,
        now: Timestamp,
    ) -> CacheStatus {
        let reason = refused(head, size);
        head.extensions.remove::<Cached>();
        date::append(&mut head.headers, now.wall());
        self.policy.rules.rewrite_unkept(self.is_partitioned, &mut head.headers);
        CacheStatus::forwarded(Reason::UriMiss).detailed(reason)
    }
}

/// Why a response is not stored whose client forbids it, where nothing has to be read in it to say so.
fn refused(head: &response::Parts, size: &SizeHint) -> Reason {
    if head.extensions.get::<RedirectedInside>().is_some() {
        return Reason::RedirectedInside;
    }
    let unfit = storing::unfit(head.status, false);
    let length = || length_of(&head.headers, size).err();
    // Of a part that nobody has asked for the length says nothing.
    let reason = unfit.filter(|unfit| *unfit == Reason::Partial).or_else(length).or(unfit);
    reason.unwrap_or(Reason::RequestNoStore)
}

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
        match self.on_response(head, size, now, began, secret) {
            Outcome::Pass { status, .. } => status,
            Outcome::Complete { status, .. } | Outcome::BadGateway { status, .. } => status,
            Outcome::Store(_) | Outcome::Freshen { .. } | Outcome::ServeStale(_) => forwarded,
        }
    }
}
