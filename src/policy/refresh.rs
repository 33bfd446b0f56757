//! A stored response in place of an answer, and the request that is to bring a newer one.

use std::{borrow::Cow, time::Duration};

use http::{Extensions, HeaderMap, Method, StatusCode, header, request};

use super::{
    CacheKey, CacheMode, CacheStatus, ClientMaxStale, ClientReload, Fetch, Lookup, Reason, Role,
    Serve,
    about::{About, Candidate},
    age::{self, Timestamp},
    answer,
    directives::RequestDirectives,
    head::Revalidate,
    hooks::Apart,
    reuse::seconds,
    secret::Secret,
    stale::{self, Occasion},
    validation::Asking,
    variants::{NameSet, VariantKey},
};

/// The answer where the inner service failed.
#[derive(Debug)]
#[must_use]
pub enum Failure {
    /// The stored response is used (RFC 9111 §4.2.4).
    ServeStale(Box<Serve>),
    /// The error is the answer.
    Fail,
}

impl Failure {
    fn of(serve: Option<Serve>) -> Self {
        serve.map_or(Self::Fail, |serve| Self::ServeStale(Box::new(serve)))
    }
}

/// A request of our own that is to bring a newer response than the one that was served.
#[derive(Debug)]
#[must_use]
pub struct Refresh {
    lookup: Lookup<'static>,
    candidate: Candidate,
}

impl Refresh {
    pub(super) fn new(lookup: Lookup<'_>, candidate: Candidate) -> Self {
        Self { lookup: lookup.detach(), candidate }
    }

    /// The resource that is asked for.
    pub fn key(&self) -> &CacheKey {
        &self.lookup.key
    }

    /// The request fields that select it.
    pub fn names(&self) -> Option<NameSet> {
        self.lookup.names_of(&self.candidate.response).ok()
    }

    /// The variant that the request selects where `Vary` names `names`.
    pub fn variant(&self, request: &HeaderMap, names: &NameSet, secret: &Secret) -> VariantKey {
        self.lookup.variant(request, names, secret)
    }

    /// The request that was to be served, to be sent on instead.
    pub(crate) fn into_validation(self, request: &mut request::Parts, now: Timestamp) -> Fetch {
        let Self { lookup, candidate } = self;
        lookup.policy.rules.rewrite(&mut request.uri);
        Fetch::new(lookup, request, Reason::Stale, About::This(candidate), now)
    }

    /// Makes it out of the request that was served: a GET with what selects the stored response and
    /// nothing that says who asked.
    pub fn into_fetch(self, request: &mut request::Parts, now: Timestamp) -> Fetch {
        let Self { lookup, candidate } = self;
        let mut selected = HeaderMap::new();
        let names = lookup.names_of(&candidate.response);
        let apart = lookup.policy.rules.apart.iter().filter_map(Apart::field);
        let names = names.iter().flat_map(NameSet::iter).chain([&header::HOST]).chain(apart);
        for name in names.filter(|name| **name != header::RANGE) {
            for value in request.headers.get_all(name) {
                selected.append(name.clone(), value.clone());
            }
        }
        request.headers = selected;
        request.method = Method::GET;
        lookup.policy.rules.rewrite(&mut request.uri);
        if let Some(change) = &lookup.policy.rules.refresh_request {
            change(request);
        }
        let lookup = Lookup {
            is_head: false,
            is_conditional: false,
            ranges: None,
            authorization: request.headers.contains_key(header::AUTHORIZATION),
            directives: RequestDirectives::default(),
            mode: CacheMode::Default,
            ..lookup
        };
        Fetch::new(lookup, request, Reason::Stale, About::This(candidate), now)
    }
}

impl Fetch {
    /// The third question where the inner service gave no answer but an error.
    pub fn on_error(&self, now: Timestamp) -> Failure {
        Failure::of(self.0.stale(Occasion::Disconnect, Reason::Disconnected, now))
    }

    /// The third question where the answer to somebody else was `status`.
    pub fn on_status(&self, status: StatusCode, now: Timestamp) -> Failure {
        Failure::of(self.0.instead_of(status, now))
    }

    /// What part it may take where others ask for the same, by the `extensions` of its request. The
    /// client's own conditions, where they go out, bring an answer that is for the client alone.
    pub fn role(&self, extensions: &Extensions) -> Role {
        let is_asked_about = self.0.candidate().is_some_and(|known| known.is_asked_about);
        self.0.lookup.part(extensions, is_asked_about, self.0.is_for_whole)
    }

    /// What selects the stored response that is asked about.
    pub fn names(&self) -> Option<NameSet> {
        self.0.lookup.names_of(&self.0.known()?.response).ok()
    }

    /// The request that is to be answered.
    pub fn lookup(&self) -> &Lookup<'static> {
        &self.0.lookup
    }

    /// Its fields as the client sent them.
    pub fn request(&self) -> &HeaderMap {
        &self.0.request
    }

    /// How long to wait for the origin before [`on_slow_origin`](Self::on_slow_origin) is asked.
    /// `None`: as long as it takes.
    pub fn patience(&self) -> Option<Duration> {
        let after = self.0.lookup.policy.rules.stale.on_slow_origin?;
        self.0.candidate().is_some().then_some(after)
    }

    /// What to answer while the origin takes its time; the request goes on.
    pub fn on_slow_origin(&self, now: Timestamp) -> Failure {
        Failure::of(self.0.stale(Occasion::Disconnect, Reason::SlowOrigin, now))
    }

    /// The request as the client sent it, to be asked again from the first question on.
    pub fn into_lookup(self, request: &mut request::Parts) -> Lookup<'static> {
        let Asking { lookup, request: headers, .. } = *self.0;
        request.headers = headers;
        if lookup.is_head {
            request.method = Method::HEAD;
        }
        lookup
    }
}

impl Asking {
    /// RFC 5861 §4: a stored response in place of an answer that is none.
    pub(super) fn instead_of(&self, answer: StatusCode, now: Timestamp) -> Option<Serve> {
        if !matches!(answer.as_u16(), 500 | 502..=504) {
            return None;
        }
        let serve = self.stale(Occasion::ServerError, Reason::ServerError, now)?;
        Some(Serve { status: serve.status.answered(answer), ..serve })
    }

    fn stale(&self, occasion: Occasion, why: Reason, now: Timestamp) -> Option<Serve> {
        let Candidate { index, response, facts, .. } = self.candidate()?;
        let rules = &*self.lookup.policy.rules;
        let age = age::current_age(facts, now.since(response.head().asked().received));
        let heard = rules.client_reload == ClientReload::Honour
            && self.lookup.wants_newer(facts, age.min(facts.lifetime));
        if heard || self.lookup.mode != CacheMode::Default || facts.revalidate == Revalidate::Always
        {
            return None;
        }
        let asked = self.lookup.directives.stale_if_error;
        let asked = asked.filter(|_| rules.client_max_stale == ClientMaxStale::Honour);
        let window = rules.stale.window(facts, occasion, asked);
        let is_fresh = facts.lifetime > age;
        if !is_fresh && !stale::is_within(age.saturating_sub(facts.lifetime), window) {
            return None;
        }
        let (head, content) = answer::answer(
            &self.lookup,
            &self.request,
            response.head().status(),
            Cow::Borrowed(response.head().headers()),
            response.extent(),
            age,
            now,
            &facts.withheld,
        );
        let ttl = seconds(facts.lifetime) - seconds(age);
        let status = CacheStatus::forwarded(self.reason).detailed(why).with_ttl(ttl);
        Some(Serve { index: *index, head, content, status })
    }
}
