use http::{HeaderMap, HeaderValue, StatusCode, header, request, response};
use http_body::SizeHint;

use super::{
    CacheKey, CacheStatus, Cached, Lookup, Private, Reason, Rule, Running, Serve, StoredHead,
    StoredResponse,
    age::Timestamp,
    chosen::Candidate,
    date, explain, fields,
    freshening::Place,
    head::Asked,
    index::{Placement, VariantBound},
    others,
    reuse::seconds,
    storing::{self, Received, Storable},
    variants::Secret,
};

/// A request on its way to the origin.
#[derive(Debug)]
#[must_use]
pub struct Fetch(pub(super) Box<Asking>);

#[derive(Debug)]
pub(super) struct Asking {
    pub(super) lookup: Lookup<'static>,
    /// The request's fields as the client sent them: what `Vary` selects by, and the client's own
    /// conditions.
    pub(super) request: HeaderMap,
    pub(super) requested: Timestamp,
    pub(super) reason: Reason,
    pub(super) candidate: Option<Candidate>,
    /// Variants that the request does not select, and that the origin is asked about.
    pub(super) others: Vec<Candidate>,
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
    /// The origin failed, and the stored response may be used in place of its answer (RFC 5861 §4).
    ServeStale(Serve),
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
    /// The same, and a copy of it is stored for requests like this one, which did not select it.
    Copy(Placement, StoredHead),
    /// It goes, and a copy of it is stored where it is found by its new `Vary` (RFC 9111 §4.1).
    Move(Placement, StoredHead),
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

    /// Whether it may ever be used without asking the origin first.
    pub(crate) fn is_reusable(&self) -> bool {
        self.head.is_reusable()
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
        others: Vec<Candidate>,
        now: Timestamp,
    ) -> Self {
        let as_it_came = request.headers.clone();
        let candidate = candidate.map(|candidate| Candidate {
            is_asked_about: set_conditions(&mut request.headers, &candidate),
            ..candidate
        });
        others::set_conditions(request, &others);
        if candidate.is_some() || !others.is_empty() {
            lookup.policy.rules.trail.note(Rule::Validation, || {
                let sent = explain::show(&request.headers, &CONDITIONS);
                (String::new(), if sent.is_empty() { "nothing to ask by".to_owned() } else { sent })
            });
        }
        Self(Box::new(Asking {
            lookup: lookup.detach(),
            request: as_it_came,
            requested: now,
            reason,
            candidate,
            others,
        }))
    }

    /// The resource that is asked for.
    pub fn key(&self) -> &CacheKey {
        &self.0.lookup.key
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
        let outcome = self.0.on_response(head, size, now, began, secret);
        match outcome {
            Outcome::Store(_) => self.0.lookup.rewrite(&mut head.headers),
            Outcome::Pass { .. } => self.0.lookup.rewrite_unkept(&mut head.headers),
            Outcome::Freshen { .. } | Outcome::ServeStale(_) => {}
        }
        outcome
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
        let trail = &self.lookup.policy.rules.trail;
        if let Some(serve) = self.instead_of(head.status, now) {
            let told = || (head.status.to_string(), "the stored response is used".to_owned());
            trail.note(Rule::ServerError, told);
            return Outcome::ServeStale(serve);
        }
        if head.status == StatusCode::NOT_MODIFIED
            && let Some(candidate) = self.candidate.as_ref().filter(|known| known.is_asked_about)
        {
            return self.freshen(candidate, Place::Own, head, asked, cached.as_ref(), secret);
        }
        if head.status == StatusCode::NOT_MODIFIED
            && let Some(selection) = others::selected(&head.headers, &self.others)
        {
            return self.select(selection, head, asked, cached.as_ref(), secret);
        }
        if self.lookup.is_head
            && head.status == StatusCode::OK
            && let Some(candidate) = &self.candidate
        {
            return self.compare(candidate, head, asked, cached.as_ref(), secret);
        }
        match self.store(head, size, asked, cached.as_ref(), secret) {
            Ok(store) => Outcome::Store(store),
            Err(reason) => {
                let drop = self.outdated(head.status, reason);
                Outcome::Pass { drop, status: status.detailed(reason) }
            }
        }
    }

    /// How the response is stored, or why it is not. One that is gets a `Date` if it has none.
    pub(super) fn store(
        &self,
        head: &mut response::Parts,
        size: &SizeHint,
        asked: Asked,
        cached: Option<&Cached>,
        secret: &Secret,
    ) -> Result<Store, Reason> {
        let now = asked.received.wall();
        let (length, Storable { head: stored, names }) =
            self.storable(head, size, asked, cached)?;
        if date::field(&head.headers, &header::DATE, now).is_none() {
            head.headers.insert(header::DATE, date::format(now));
        }
        let selecting = self.lookup.selecting(&self.request, secret);
        let facts = stored.facts();
        let ttl = seconds(facts.lifetime) - seconds(facts.initial_age);
        let stored = match length {
            Some(length) => StoredResponse::new(stored, length).head().clone(),
            None => stored,
        };
        Ok(Store {
            placement: Placement::new(&self.lookup.key, &selecting, names, self.bound()),
            length,
            announces_trailers: head.headers.contains_key(header::TRAILER),
            status: CacheStatus::forwarded(self.reason).stored(ttl),
            head: stored,
        })
    }

    pub(super) fn asked(&self, head: &response::Parts, now: Timestamp, began: u64) -> Asked {
        Asked {
            authorization: self.lookup.authorization,
            no_store: self.lookup.directives.no_store,
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
        if self.lookup.is_head {
            let told = || (String::new(), "not stored: head".to_owned());
            self.lookup.policy.rules.trail.note(Rule::Head, told);
            return Err(Reason::Head);
        }
        if head.extensions.get::<RedirectedInside>().is_some() {
            return Err(Reason::RedirectedInside);
        }
        let rules = &self.lookup.policy.rules;
        let length = match (content_length(&head.headers), size.exact()) {
            (Ok(Some(said)), Some(exact)) if said != exact => Err(Reason::ContentLength),
            (Ok(said), exact) => Ok(said.or(exact)),
            (Err(reason), _) => Err(reason),
        };
        rules.trail.note(Rule::Length, || {
            let told = match length {
                Ok(Some(length)) => format!("{length} bytes"),
                Ok(None) => "as long as it takes".to_owned(),
                Err(reason) => format!("not stored: {reason}"),
            };
            (explain::show(&head.headers, &[header::CONTENT_LENGTH]), told)
        });
        let length = length?;
        let storable = storing::evaluate(rules, &self.received(head, asked, cached))?;
        Ok((length, storable))
    }

    pub(super) fn received<'a>(
        &'a self,
        head: &'a response::Parts,
        asked: Asked,
        cached: Option<&'a Cached>,
    ) -> Received<'a> {
        let (key, status, headers) = (&self.lookup.key, head.status, &head.headers);
        Received { key, asked, status, headers, cached, tags: None, initial_age: None }
    }

    /// Whether what is stored is known to be no longer what the origin would send.
    fn outdated(&self, status: StatusCode, reason: Reason) -> Option<usize> {
        if matches!(reason, Reason::RequestNoStore | Reason::Authorization | Reason::Partial) {
            return None; // which says nothing about what others get
        }
        let says_so =
            status.is_success() || matches!(status.as_u16(), 301..=303 | 307 | 308 | 404 | 410);
        let candidate = self.candidate.as_ref()?;
        (says_so && !self.lookup.is_head && !candidate.is_fresh).then_some(candidate.index)
    }

    pub(super) fn bound(&self) -> VariantBound {
        self.lookup.bound()
    }
}

const CONDITIONS: [header::HeaderName; 2] = [header::IF_NONE_MATCH, header::IF_MODIFIED_SINCE];

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
