use http::{HeaderMap, Method, Request, StatusCode, header, request, response};
use http_body::SizeHint;

use super::{
    CacheKey, CacheStatus, Cached, Lookup, Outcome, Private, Reason, Rule, Store,
    about::{About, Candidate},
    age::Timestamp,
    clearing,
    conditions::{CONDITIONS, ask_about, remove_range},
    date, explain,
    freshening::Place,
    head::Asked,
    index::{Placement, VariantBound},
    kept::{Kept, own_target},
    length::length_of,
    mode::RedirectedInside,
    options::Rules,
    others,
    range::{self, Ranges},
    secret::Secret,
    store::{Cut, Placed},
    storing::{self, Received, Storable},
    tagging::Tagging,
};

/// A request on its way to the origin.
#[derive(Debug)]
#[must_use]
pub struct Fetch(pub(super) Box<Asking>);

#[derive(Debug)]
pub(super) struct Asking {
    pub(super) lookup: Lookup<'static>,
    /// The origin is asked by HEAD.
    pub(super) is_head: bool,
    /// The origin is asked for all, of which the client wants a range.
    pub(super) is_for_whole: bool,
    /// The request's fields as the client sent them: what `Vary` selects by, and the client's own
    /// conditions.
    pub(super) request: Kept,
    pub(super) requested: Timestamp,
    pub(super) reason: Reason,
    pub(super) about: About,
}

impl Fetch {
    pub(super) fn new(
        lookup: Lookup<'_>,
        request: &mut request::Parts,
        reason: Reason,
        about: About,
        now: Timestamp,
    ) -> Self {
        // A request is answered long after its connection could have used the buffer again.
        let as_it_came = Kept::of(&request.headers);
        // What this client's request brings must not be kept anyway.
        let is_for_all = lookup.policy.rules.head_as_get && !lookup.directives.no_store;
        let is_head = lookup.is_head && !is_for_all;
        if lookup.is_head && !is_head {
            request.method = Method::GET;
        }
        let is_completed = matches!(&about, About::Part(base) if base.gap.is_some());
        let is_for_whole = lookup.policy.rules.whole_for_range
            && lookup.ranges.is_some()
            && !lookup.directives.no_store
            && !is_completed;
        if is_for_whole || (lookup.is_head && !is_head) {
            remove_range(&mut request.headers);
        }
        let mut about = about;
        let is_asked_about = ask_about(&mut request.headers, &about);
        if let About::This(candidate) = &mut about {
            candidate.is_asked_about = is_asked_about;
        }
        let is_asked = match &about {
            About::Nothing => false,
            About::This(_) => true,
            About::Others(others) => !others.is_empty(),
            About::Part(base) => base.gap.is_some(),
        };
        if is_asked {
            lookup.policy.rules.trail.note(Rule::Validation, || {
                let sent = explain::show(&request.headers, &CONDITIONS);
                (String::new(), if sent.is_empty() { "nothing to ask by".to_owned() } else { sent })
            });
        }
        Self(Box::new(Asking {
            lookup: lookup.detach(),
            is_head,
            is_for_whole,
            request: as_it_came,
            requested: now,
            reason,
            about,
        }))
    }

    /// The resource that is asked for.
    pub fn key(&self) -> &CacheKey {
        &self.0.lookup.key
    }

    /// Whether the client gets the body, and not the head alone.
    pub fn wants_body(&self) -> bool {
        !self.0.lookup.is_head
    }

    /// Whether this response takes away all that is stored of its origin, before anything else becomes
    /// of it ([`Policy::clear_site_data`](super::Policy::clear_site_data)).
    pub fn clears_origin(&self, head: &response::Parts) -> bool {
        clearing::clears(&self.0.lookup.policy.rules, &self.0.lookup.key, &head.headers)
    }

    /// Takes from `request` what holds on to its connection's read buffer, for as long as it waits
    /// for others.
    pub(crate) fn let_go<B>(&self, request: &mut Request<B>) {
        *request.headers_mut() = HeaderMap::new();
        own_target(request.uri_mut());
    }

    /// Puts the fields back that a request has let go.
    pub(crate) fn restore(&self, request: &mut HeaderMap) {
        let Asking { lookup, is_head, is_for_whole, request: as_it_came, about, .. } = &*self.0;
        request.clone_from(&**as_it_came);
        if *is_for_whole || (lookup.is_head && !is_head) {
            remove_range(request);
        }
        ask_about(request, about);
    }

    /// When it was decided.
    pub(crate) fn requested(&self) -> Timestamp {
        self.0.requested
    }

    /// Why the request is forwarded.
    pub fn reason(&self) -> Reason {
        self.0.reason
    }

    /// The third question: what to do with the origin's response.
    ///
    /// `size` is the size hint of its body, `began` the purge log's position when the request went
    /// out, `secret` the store's. Any response loses the extension [`Cached`], and gets a `Date` if it
    /// has none (RFC 9110 §6.6.1); one that will be stored also in place of one that cannot be read. Else it
    /// is left as it came.
    pub fn on_response(
        self,
        head: &mut response::Parts,
        size: &SizeHint,
        now: Timestamp,
        began: u64,
        secret: &Secret,
    ) -> Outcome {
        let mut outcome = self.0.on_response(head, size, now, began, secret);
        match &mut outcome {
            Outcome::Store(store) => {
                self.0.lookup.rewrite(&mut head.headers);
                if self.0.is_for_whole {
                    self.0.cut(store, head, now);
                }
            }
            Outcome::Pass { .. } | Outcome::Complete { .. } => {
                date::append(&mut head.headers, now.wall());
                self.0.lookup.rewrite_unkept(&mut head.headers);
            }
            Outcome::Freshen { .. } | Outcome::ServeStale(_) | Outcome::BadGateway { .. } => {}
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
            && let Some(candidate) = self.candidate().filter(|known| known.is_asked_about)
        {
            return self.freshen(candidate, Place::Own, head, asked, cached.as_ref(), secret);
        }
        if head.status == StatusCode::NOT_MODIFIED
            && let About::Others(others) = &self.about
            && let Some(selection) = others::selected(&head.headers, others)
        {
            return self.select(selection, head, asked, cached.as_ref(), secret);
        }
        if self.is_head
            && head.status == StatusCode::OK
            && let Some(candidate) = self.known()
        {
            return self.compare(candidate, head, asked, cached.as_ref(), secret);
        }
        if let About::Part(base) = &self.about
            && let Some(outcome) = self.complete(base, head, size, asked, cached.as_ref(), secret)
        {
            return outcome;
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
        Ok(match head.status {
            StatusCode::PARTIAL_CONTENT if self.is_storable(head).is_ok() => {
                let store = self.store_part(head, size, asked, cached, secret)?;
                let now = asked.received.wall();
                if date::field(&head.headers, &header::DATE, now).is_none() {
                    head.headers.insert(header::DATE, date::format(now));
                }
                store
            }
            _ => {
                let (length, mut storable) = self.storable(head, size, asked, cached)?;
                if let Some(date) = storable.date.take() {
                    head.headers.insert(header::DATE, date);
                }
                let status = CacheStatus::forwarded(self.reason);
                let trailers = storable.announces_trailers;
                let wants_tag =
                    self.policy().make_etag && Tagging::suits(head.status, &head.headers);
                self.placed(storable, secret).of_whole(length, trailers, wants_tag, status)
            }
        })
    }

    /// Where it belongs, as this request selects it.
    pub(super) fn placed(&self, storable: Storable, secret: &Secret) -> Placed {
        let Storable { head, names, .. } = storable;
        // What selects nothing is not looked at.
        let nothing = HeaderMap::new();
        let request = if names.is_empty() { &nothing } else { &*self.request };
        let selecting = self.lookup.selecting(request, secret);
        let wants_body = !self.lookup.is_head;
        let placement = Placement::new(&self.lookup.key, &selecting, names, self.bound());
        Placed { placement, head, wants_body }
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
        self.is_storable(head)?;
        let rules = self.policy();
        let length = length_of(&head.headers, size);
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

    /// Whether it is an answer that could be kept at all.
    fn is_storable(&self, head: &response::Parts) -> Result<(), Reason> {
        if self.is_head {
            let told = || (String::new(), "not stored: head".to_owned());
            self.policy().trail.note(Rule::Head, told);
            return Err(Reason::Head);
        }
        match head.extensions.get::<RedirectedInside>() {
            Some(_) => Err(Reason::RedirectedInside),
            None => Ok(()),
        }
    }

    /// The client's range of what was asked for as a whole.
    fn cut(&self, store: &mut Store, head: &response::Parts, now: Timestamp) {
        let (Some(ranges @ Ranges::One(_)), Some(length)) = (&self.lookup.ranges, store.length())
        else {
            return;
        };
        let is_whole = head.status == StatusCode::OK && store.head().content_range().is_none();
        if is_whole && range::is_wanted_of(&self.request, &head.headers, now.wall()) {
            let cut = Cut { wanted: ranges.single(length), length, now };
            self.policy().trail.note(Rule::Range, || cut.explain(&self.request));
            store.set_cut(cut);
        }
    }

    pub(super) fn policy(&self) -> &Rules {
        &self.lookup.policy.rules
    }

    /// What is stored and would be the answer.
    pub(super) fn candidate(&self) -> Option<&Candidate> {
        match &self.about {
            About::This(candidate) => Some(candidate),
            About::Nothing | About::Others(_) | About::Part(_) => None,
        }
    }

    /// What is stored that the request selects, whether it has all that is asked for or not.
    pub(super) fn known(&self) -> Option<&Candidate> {
        match &self.about {
            About::This(candidate) => Some(candidate),
            About::Part(base) => Some(&base.candidate),
            About::Nothing | About::Others(_) => None,
        }
    }

    pub(super) fn received<'a>(
        &'a self,
        head: &'a response::Parts,
        asked: Asked,
        cached: Option<&'a Cached>,
    ) -> Received<'a> {
        let (key, status, headers) = (&self.lookup.key, head.status, &head.headers);
        Received { key, asked, status, headers, cached, tags: None, initial_age: None, part: None }
    }

    /// Whether what is stored is known to be no longer what the origin would send.
    fn outdated(&self, status: StatusCode, reason: Reason) -> Option<usize> {
        if matches!(reason, Reason::RequestNoStore | Reason::Authorization | Reason::Partial) {
            return None; // which says nothing about what others get
        }
        let says_so =
            status.is_success() || matches!(status.as_u16(), 301..=303 | 307 | 308 | 404 | 410);
        let candidate = self.candidate()?;
        (says_so && !self.is_head && !candidate.is_fresh).then_some(candidate.index)
    }

    pub(super) fn bound(&self) -> VariantBound {
        self.lookup.bound()
    }
}
