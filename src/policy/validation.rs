use std::borrow::Cow;

use http::{HeaderMap, HeaderValue, StatusCode, header, request, response};
use http_body::SizeHint;

use super::{
    CacheKey, CacheStatus, Cached, Content, Lookup, Policy, Private, Reason, Serve, StoredHead,
    age::{self, Timestamp},
    date,
    etag::EntityTag,
    fields,
    head::{Asked, is_hop_by_hop},
    options::Scope,
    reuse::{self, Candidate, seconds},
    storing::{self, Storable},
    variants::{NameSet, Placement, Secret, VariantBound, Wanted},
};

/// A request on its way to the origin.
#[derive(Debug)]
#[must_use]
pub struct Fetch(Box<Asking>);

#[derive(Debug)]
struct Asking {
    policy: Policy,
    key: CacheKey,
    is_head: bool,
    authorization: bool,
    no_store: bool,
    /// The request's fields as the client sent them: what `Vary` selects by, and the client's own
    /// conditions.
    request: HeaderMap,
    requested: Timestamp,
    reason: Reason,
    candidate: Option<Candidate>,
}

/// The answer to the third question.
#[derive(Debug)]
#[must_use]
pub enum Outcome {
    /// Send the response on, and store it as it streams by.
    Store(Store),
    /// The stored response is good again (RFC 9111 §4.3.4): change the store and answer from it.
    Freshen {
        /// What happens to the stored response.
        update: Update,
        /// The answer.
        serve: Serve,
    },
    /// Send the response on and store nothing.
    Pass {
        /// A stored response that this one has outdated.
        drop: Option<usize>,
        /// How it came about.
        status: CacheStatus,
    },
}

/// What a 304 does to the stored response.
#[derive(Debug)]
pub enum Update {
    /// Its head is replaced; the body stays.
    Replace(StoredHead),
    /// Nothing: it is as good as it was, but this exchange may not be kept (§3.5, §5.2.1.5).
    Keep,
    /// It goes: under its new fields it may not be stored, or not there.
    Remove,
}

/// A response that is to be stored.
#[derive(Debug)]
pub struct Store {
    placement: Placement,
    head: StoredHead,
    length: Option<u64>,
    announces_trailers: bool,
    status: CacheStatus,
}

impl Store {
    /// Where it belongs, and its head.
    pub fn into_parts(self) -> (Placement, StoredHead) {
        (self.placement, self.head)
    }

    /// The number of bytes that its body must have, if that is known before its end: by
    /// `Content-Length`, else by the exact size hint.
    pub fn length(&self) -> Option<u64> {
        self.length
    }

    /// Whether trailers may follow the last byte, so that the end of the body has to be waited for.
    pub fn announces_trailers(&self) -> bool {
        self.announces_trailers
    }

    /// Whether its body is seldom read and soon over: a redirect's, which most clients drop as soon
    /// as they have seen the head. Read it before the head goes on, or it is never whole.
    pub fn is_seldom_read(&self) -> bool {
        const SHORT: u64 = 16 << 10;
        self.head.status().is_redirection() && self.length.is_some_and(|length| length <= SHORT)
    }

    /// How it came about.
    pub fn status(&self) -> CacheStatus {
        self.status
    }
}

/// Response extension of a client that followed a redirect by itself: what came belongs to another
/// URI than the one that was asked for.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(not(feature = "reqwest"), allow(dead_code))]
pub(crate) struct RedirectedInside;

impl Fetch {
    pub(super) fn new(
        lookup: Lookup<'_>,
        request: &mut request::Parts,
        reason: Reason,
        candidate: Option<Candidate>,
        now: Timestamp,
    ) -> Self {
        let as_it_came = request.headers.clone();
        let candidate =
            candidate.filter(|candidate| set_conditions(&mut request.headers, candidate));
        Self(Box::new(Asking {
            policy: lookup.policy.clone(),
            key: lookup.key,
            is_head: lookup.is_head,
            authorization: lookup.authorization,
            no_store: lookup.directives.no_store,
            request: as_it_came,
            requested: now,
            reason,
            candidate,
        }))
    }

    /// The resource that is asked for.
    pub fn key(&self) -> &CacheKey {
        &self.0.key
    }

    /// Why the request is forwarded.
    pub fn reason(&self) -> Reason {
        self.0.reason
    }

    /// The third question: what to do with the origin's response.
    ///
    /// `size` is the size hint of its body, `began` the purge log's position when the request went
    /// out, `secret` the store's. Any response loses the extension [`Cached`], and one that will be
    /// stored gets a `Date` if it has none (RFC 9110 §6.6.1); else it is left as it came.
    pub fn on_response(
        self,
        head: &mut response::Parts,
        size: &SizeHint,
        now: Timestamp,
        began: u64,
        secret: &Secret,
    ) -> Outcome {
        self.0.on_response(head, size, now, began, secret)
    }
}

impl Asking {
    fn on_response(
        &self,
        head: &mut response::Parts,
        size: &SizeHint,
        now: Timestamp,
        began: u64,
        secret: &Secret,
    ) -> Outcome {
        let status = CacheStatus::forwarded(self.reason);
        let cached = head.extensions.remove::<Cached>();
        let asked = self.asked(head, now, began);
        if head.status == StatusCode::NOT_MODIFIED
            && let Some(candidate) = &self.candidate
        {
            return self.freshen(candidate, head, asked, cached.as_ref());
        }
        match self.storable(head, size, asked, cached.as_ref()) {
            Ok((length, Storable { head: stored, names })) => {
                if date::field(&head.headers, &header::DATE, now.wall()).is_none() {
                    head.headers.insert(header::DATE, date::format(now.wall()));
                }
                let wanted = Wanted { key: &self.key, request: &self.request, secret };
                let facts = stored.facts();
                let ttl = seconds(facts.lifetime) - seconds(facts.initial_age);
                Outcome::Store(Store {
                    placement: Placement::new(wanted, names, self.bound()),
                    length,
                    announces_trailers: head.headers.contains_key(header::TRAILER),
                    status: status.stored(ttl),
                    head: stored,
                })
            }
            Err(reason) => {
                let drop = self.outdated(head.status, reason);
                Outcome::Pass { drop, status: status.detailed(reason) }
            }
        }
    }

    fn asked(&self, head: &response::Parts, now: Timestamp, began: u64) -> Asked {
        Asked {
            authorization: self.authorization,
            no_store: self.no_store,
            marked_private: head.extensions.get::<Private>().is_some(),
            requested: self.requested,
            received: now,
            began,
        }
    }

    fn storable(
        &self,
        head: &response::Parts,
        size: &SizeHint,
        asked: Asked,
        cached: Option<&Cached>,
    ) -> Result<(Option<u64>, Storable), Reason> {
        if self.is_head {
            return Err(Reason::Head);
        }
        if head.extensions.get::<RedirectedInside>().is_some() {
            return Err(Reason::RedirectedInside);
        }
        let length = content_length(&head.headers)?;
        let length = match (length, size.exact()) {
            (Some(said), Some(exact)) if said != exact => return Err(Reason::ContentLength),
            (said, exact) => said.or(exact),
        };
        let rules = &self.policy.rules;
        let storable = storing::evaluate(rules, asked, head.status, &head.headers, cached)?;
        Ok((length, storable))
    }

    /// Whether what is stored is known to be no longer what the origin would send.
    fn outdated(&self, status: StatusCode, reason: Reason) -> Option<usize> {
        if matches!(reason, Reason::RequestNoStore | Reason::Authorization | Reason::Partial) {
            return None; // which says nothing about what others get
        }
        let says_so =
            status.is_success() || matches!(status.as_u16(), 301..=303 | 307 | 308 | 404 | 410);
        let candidate = self.candidate.as_ref()?;
        (says_so && !self.is_head && !candidate.is_fresh).then_some(candidate.index)
    }

    /// RFC 9111 §3.2, §4.3.4.
    fn freshen(
        &self,
        candidate: &Candidate,
        head: &response::Parts,
        asked: Asked,
        cached: Option<&Cached>,
    ) -> Outcome {
        let stored = candidate.response.head();
        let status = CacheStatus::forwarded(self.reason).answered(head.status);
        let unfit = if head.extensions.get::<RedirectedInside>().is_some() {
            Some(Reason::RedirectedInside)
        } else {
            (!selects(&head.headers, stored.headers())).then_some(Reason::ValidatorMismatch)
        };
        let nominates = storing::nominates_rules(&head.headers);
        let unfit = unfit.or(nominates.then_some(Reason::ConnectionOption));
        if let Some(unfit) = unfit {
            // Somebody says that what we have is good, and at the same time that it is of another
            // tag or another URI: good for this request, and for no other.
            let age =
                age::current_age(stored.facts(), asked.received.since(stored.asked().received));
            let fields = Cow::Borrowed(stored.headers());
            let serve = self.serve(candidate, fields, age, asked.received, status.detailed(unfit));
            return Outcome::Freshen { update: Update::Remove, serve };
        }
        let merged = merge(stored.headers(), &head.headers, asked.received);
        // What the handler once said holds until the 304 says something of its own.
        let says = |name| head.headers.contains_key(name);
        let is_silent = !says(header::CACHE_CONTROL) && !says(header::EXPIRES);
        let cached = cached.or(stored.cached().filter(|_| is_silent));
        // Whoever had marked it as private did so for the body.
        let asked = Asked {
            marked_private: asked.marked_private || stored.asked().marked_private,
            ..asked
        };
        let evaluated =
            storing::evaluate(&self.policy.rules, asked, stored.status(), &merged, cached);
        let (update, status, fields, age) = match evaluated {
            Ok(Storable { head, names }) => {
                let facts = head.facts();
                let (age, ttl) =
                    (facts.initial_age, seconds(facts.lifetime) - seconds(facts.initial_age));
                // Under another `Vary` it would be found by requests that it was not made for.
                let is_in_place = NameSet::of(stored.headers()).is_ok_and(|before| before == names);
                let fields = head.headers().clone();
                if is_in_place {
                    (Update::Replace(head), status.stored(ttl), fields, age)
                } else {
                    (Update::Remove, status.detailed(Reason::VaryMiss), fields, age)
                }
            }
            Err(reason) => {
                let fields = storing::sendable(&merged);
                let age = fields::age(&merged).unwrap_or_default();
                let update = match reason {
                    Reason::RequestNoStore | Reason::Authorization => Update::Keep,
                    _ => Update::Remove,
                };
                (update, status.detailed(reason), fields, age)
            }
        };
        let serve = self.serve(candidate, Cow::Owned(fields), age, asked.received, status);
        Outcome::Freshen { update, serve }
    }

    fn serve(
        &self,
        candidate: &Candidate,
        fields: Cow<'_, HeaderMap>,
        age: std::time::Duration,
        now: Timestamp,
        status: CacheStatus,
    ) -> Serve {
        let stored = candidate.response.head();
        let (head, content): (response::Parts, Content) = reuse::answer(
            self.is_head,
            Some(&self.request),
            stored.status(),
            fields,
            age,
            now,
            &[],
        );
        Serve { index: candidate.index, head, content, status }
    }

    fn bound(&self) -> VariantBound {
        if self.policy.scope() == Scope::Shared && self.key.partition().is_none() {
            VariantBound::Count(self.policy.rules.max_variants)
        } else {
            VariantBound::Share
        }
    }
}

/// Puts the stored validators in place of the client's own (RFC 9111 §4.3.1). `false`: there are
/// none, and the client's stay.
fn set_conditions(headers: &mut HeaderMap, candidate: &Candidate) -> bool {
    let stored = candidate.response.head().headers();
    let (tag, modified) = (stored.get(header::ETAG), stored.get(header::LAST_MODIFIED));
    if tag.is_none() && modified.is_none() {
        return false;
    }
    let mut set = |name, value: Option<&HeaderValue>| match value {
        Some(value) => {
            headers.insert(name, value.clone());
        }
        None => {
            headers.remove(name);
        }
    };
    set(header::IF_NONE_MATCH, tag);
    set(header::IF_MODIFIED_SINCE, modified);
    true
}

/// Whether a 304 is about the stored response whose validators were sent (RFC 9111 §4.3.4).
fn selects(not_modified: &HeaderMap, stored: &HeaderMap) -> bool {
    let Some(theirs) = not_modified.get(header::ETAG) else { return true };
    let Some(ours) = stored.get(header::ETAG) else { return true };
    match (EntityTag::parse(theirs.as_bytes()), EntityTag::parse(ours.as_bytes())) {
        (Some(theirs), Some(ours)) if theirs.is_weak() => theirs.weak_eq(&ours),
        // Many servers weaken the tag of what they compress and not that of its 304.
        (Some(theirs), Some(ours)) => {
            theirs.strong_eq(&ours) || (ours.is_weak() && theirs.weak_eq(&ours))
        }
        _ => theirs == ours,
    }
}

/// The stored fields with those of the 304 in their place (RFC 9111 §3.2).
fn merge(stored: &HeaderMap, not_modified: &HeaderMap, received: Timestamp) -> HeaderMap {
    let mut merged = stored.clone();
    merged.remove(header::AGE);
    let nominated: Vec<_> = fields::list(not_modified, &header::CONNECTION).collect();
    for name in not_modified.keys() {
        let excluded = *name == header::CONTENT_LENGTH
            || is_hop_by_hop(name)
            || nominated.iter().any(|other| other.eq_ignore_ascii_case(name.as_str().as_bytes()));
        if excluded {
            continue;
        }
        merged.remove(name);
        for value in not_modified.get_all(name) {
            merged.append(name.clone(), value.clone());
        }
    }
    if !not_modified.contains_key(header::DATE) {
        merged.insert(header::DATE, date::format(received.wall()));
    }
    merged
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
