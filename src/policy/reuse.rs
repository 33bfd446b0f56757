use std::{borrow::Cow, time::Duration};

use http::{HeaderMap, HeaderValue, Response, StatusCode, header, request, response};

use super::{
    CacheMode, CacheStatus, ClientMaxStale, ClientReload, Fetch, Lookup, Reason, Refresh,
    StoredHead, StoredResponse,
    age::{self, Timestamp},
    directives::MaxStale,
    head::{Facts, Revalidate},
    precondition,
    stale::{self, Occasion},
    storing,
};

/// What the store has for a [`Lookup`].
#[derive(Clone, Copy, Debug)]
pub enum Stored<'a> {
    /// Nothing under this key.
    Nothing,
    /// Something under this key, but not for these request fields.
    OtherVariants,
    /// Something that was purged.
    Purged,
    /// The store could not say.
    Failed,
    /// The responses that the request selects, at most one for each set of names in `Vary`.
    Responses(&'a [StoredResponse]),
}

/// The answer to the second question.
#[derive(Debug)]
#[must_use]
pub enum Decision {
    /// Answer from the store.
    Serve(Serve),
    /// Answer from the store at once, and ask the origin in the background (RFC 5861 §3).
    Refresh(Serve, Box<Refresh>),
    /// Ask the origin, with the request as it now is, and give the answer to
    /// [`Fetch::on_response`].
    Forward(Fetch),
    /// `only-if-cached`, and nothing suits: answer 504 (RFC 9111 §5.2.1.7).
    GatewayTimeout(CacheStatus),
}

/// An answer from the store.
#[derive(Debug)]
#[must_use]
pub struct Serve {
    /// Which of the stored responses gives the body.
    pub index: usize,
    /// The head, ready to be sent.
    pub head: response::Parts,
    /// What of the stored body belongs to it.
    pub content: Content,
    /// How it came about.
    pub status: CacheStatus,
}

/// What of a stored body is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// All of it.
    Whole,
    /// Nothing: the answer to a HEAD request, or a 304.
    Nothing,
}

impl Lookup<'_> {
    /// The second question. A request that has to be validated gets our conditions in place of the
    /// client's own, which are answered when the origin has answered ours (RFC 9111 §4.3).
    pub fn decide(
        self,
        request: &mut request::Parts,
        stored: Stored<'_>,
        now: Timestamp,
    ) -> Decision {
        let (reason, candidate) = match self.choose(stored, now) {
            Chosen::Use { index, response, age, lifetime, refresh } => {
                let status = CacheStatus::hit(seconds(lifetime) - seconds(age));
                let (head, content) = self.answer(&request.headers, response.head(), age, now);
                let serve = Serve { index, head, content, status };
                return match refresh {
                    Some(candidate) => {
                        Decision::Refresh(serve, Box::new(Refresh::new(self, *candidate)))
                    }
                    None => Decision::Serve(serve),
                };
            }
            Chosen::Ask { reason, candidate } => (reason, candidate),
        };
        if self.mode == CacheMode::OnlyIfCached || self.directives.only_if_cached {
            return Decision::GatewayTimeout(CacheStatus::generated(Reason::OnlyIfCached));
        }
        // What is asked for is what was keyed.
        self.policy.rules.query.rewrite(&mut request.uri);
        Decision::Forward(Fetch::new(self, request, reason, candidate, now))
    }

    /// The most recent of the responses (RFC 9111 §4), and whether it may be used as it is.
    fn choose<'a>(&self, stored: Stored<'a>, now: Timestamp) -> Chosen<'a> {
        let responses = match stored {
            Stored::Responses(responses) => responses,
            Stored::Nothing => return Chosen::ask(Reason::UriMiss),
            Stored::OtherVariants => return Chosen::ask(Reason::VaryMiss),
            Stored::Purged => return Chosen::ask(Reason::Purged),
            Stored::Failed => return Chosen::ask(Reason::StoreError),
        };
        let rules = &*self.policy.rules;
        let mut best: Option<(usize, &StoredResponse, Cow<'_, Facts>)> = None;
        for (index, response) in responses.iter().enumerate() {
            let facts = response.head().facts();
            let facts = if facts.rules == rules.fingerprint {
                Cow::Borrowed(facts)
            } else {
                match storing::evaluate_again(rules, response.head()) {
                    Ok(facts) => Cow::Owned(facts),
                    Err(_) => continue,
                }
            };
            let facts = match response.softly_purged() {
                Some(then) => Cow::Owned(stale_since(facts.into_owned(), response, then)),
                None => facts,
            };
            if best.as_ref().is_none_or(|(_, _, newest)| facts.date > newest.date) {
                best = Some((index, response, facts));
            }
        }
        let Some((index, response, facts)) = best else { return Chosen::ask(Reason::UriMiss) };
        let received = response.head().asked().received;
        let resident = now.since(received);
        let age = age::current_age(&facts, resident);
        let lifetime = facts.lifetime;
        let candidate = |facts: Cow<'_, Facts>| Candidate {
            index,
            response: response.clone(),
            facts: facts.into_owned(),
            is_fresh: lifetime > age,
            is_asked_about: false,
        };
        match self.may_use(&facts, age, resident) {
            _ if self.mode == CacheMode::Reload => Chosen::ask(Reason::Reload),
            Ok(Use::AsItIs) => Chosen::Use { index, response, age, lifetime, refresh: None },
            // Another user's credentials are not ours to ask with (RFC 9111 §3.5).
            Ok(Use::Refreshing)
                if response.head().asked().authorization || self.key.partition().is_some() =>
            {
                Chosen::Ask { reason: Reason::Stale, candidate: Some(candidate(facts)) }
            }
            Ok(Use::Refreshing) => {
                let refresh = Some(Box::new(candidate(facts)));
                Chosen::Use { index, response, age, lifetime, refresh }
            }
            Err(reason) => Chosen::Ask { reason, candidate: Some(candidate(facts)) },
        }
    }

    /// The head of an answer made of a stored response that may be used as it is.
    pub(super) fn answer(
        &self,
        request: &HeaderMap,
        stored: &StoredHead,
        age: Duration,
        now: Timestamp,
    ) -> (response::Parts, Content) {
        answer(
            self.is_head,
            self.is_conditional.then_some(request),
            stored.status(),
            Cow::Borrowed(stored.headers()),
            age,
            now,
            &stored.facts().withheld,
        )
    }

    /// RFC 9111 §4.2, §4.2.4, §5.2.1.
    pub(super) fn may_use(
        &self,
        facts: &Facts,
        age: Duration,
        resident: Duration,
    ) -> Result<Use, Reason> {
        let rules = &*self.policy.rules;
        let is_fresh = facts.lifetime > age;
        let mut way = Use::AsItIs;
        let any_age = matches!(self.mode, CacheMode::ForceCache | CacheMode::OnlyIfCached);
        if facts.revalidate == Revalidate::Always {
            return Err(Reason::NoCache);
        }
        if self.mode == CacheMode::NoCache {
            return Err(Reason::Reload);
        }
        if !is_fresh {
            let staleness = age.saturating_sub(facts.lifetime);
            let allowed = any_age || self.accepts_stale(staleness);
            if !allowed || facts.revalidate != Revalidate::MayBeStale {
                let window = rules.stale.window(facts, Occasion::Refresh, None);
                if !stale::is_within(staleness, window) {
                    return Err(Reason::Stale);
                }
                way = if self.directives.only_if_cached { way } else { Use::Refreshing };
            }
        }
        if any_age || (is_fresh && facts.immutable && rules.immutable) {
            return Ok(Use::AsItIs);
        }
        let heard = match rules.client_reload {
            ClientReload::Honour => true,
            ClientReload::Collapse(window) => resident >= window,
            ClientReload::Ignore => false,
        };
        if heard && self.wants_newer(facts, age) { Err(Reason::Reload) } else { Ok(way) }
    }

    /// Whether the request asks for a newer response than this one (RFC 9111 §5.2.1).
    pub(super) fn wants_newer(&self, facts: &Facts, age: Duration) -> bool {
        let left = facts.lifetime.saturating_sub(age);
        self.directives.no_cache
            || self.directives.max_age.is_some_and(|max| max.is_zero() || age > max)
            || self.directives.min_fresh.is_some_and(|min| left < min)
    }

    /// The request's `max-stale` (RFC 9111 §5.2.1.2).
    fn accepts_stale(&self, staleness: Duration) -> bool {
        self.policy.rules.client_max_stale == ClientMaxStale::Honour
            && match self.directives.max_stale {
                Some(MaxStale::Any) => true,
                Some(MaxStale::For(limit)) => staleness <= limit,
                None => false,
            }
            && self.policy.rules.stale.bounded(staleness) == staleness
    }
}

/// The facts of a response that a soft purge made stale: its lifetime ended then, so that the
/// windows for stale use begin there.
fn stale_since(facts: Facts, response: &StoredResponse, then: Timestamp) -> Facts {
    let resident = then.since(response.head().asked().received);
    let lifetime = facts.lifetime.min(age::current_age(&facts, resident));
    Facts { lifetime, ..facts }
}

/// How a stored response may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Use {
    AsItIs,
    /// Stale, while the origin is asked in the background (RFC 5861 §3).
    Refreshing,
}

enum Chosen<'a> {
    Use {
        index: usize,
        response: &'a StoredResponse,
        age: Duration,
        lifetime: Duration,
        // Rare, and every hit moves one of these.
        refresh: Option<Box<Candidate>>,
    },
    Ask {
        reason: Reason,
        candidate: Option<Candidate>,
    },
}

impl Chosen<'_> {
    fn ask(reason: Reason) -> Self {
        Chosen::Ask { reason, candidate: None }
    }
}

/// A stored response that the request selects and that may not be used as it is.
#[derive(Debug)]
pub(super) struct Candidate {
    pub(super) index: usize,
    pub(super) response: StoredResponse,
    /// Read by the rules that decide.
    pub(super) facts: Facts,
    pub(super) is_fresh: bool,
    /// Whether its validators went out with the request.
    pub(super) is_asked_about: bool,
}

/// The head of an answer made of a stored response, the client's own conditions heard.
pub(super) fn answer(
    is_head: bool,
    conditions: Option<&HeaderMap>,
    status: StatusCode,
    stored: Cow<'_, HeaderMap>,
    age: Duration,
    now: Timestamp,
    withheld: &[header::HeaderName],
) -> (response::Parts, Content) {
    let (mut head, ()) = Response::new(()).into_parts();
    let content;
    let is_not_modified =
        |request| precondition::is_not_modified(request, status, &stored, now.wall());
    if conditions.is_some_and(is_not_modified) {
        head.status = StatusCode::NOT_MODIFIED;
        head.headers = precondition::not_modified_fields(&stored);
        content = Content::Nothing;
    } else {
        head.status = status;
        head.headers = stored.into_owned();
        content = if is_head { Content::Nothing } else { Content::Whole };
    }
    for name in withheld {
        head.headers.remove(name);
    }
    set_age(&mut head.headers, age);
    (head, content)
}

/// Exactly one `Age`, in its slot (RFC 9111 §5.1).
fn set_age(headers: &mut HeaderMap, age: Duration) {
    const MAX: u64 = 1 << 31; // RFC 9111 §1.2.2
    let mut digits = [0; 10];
    let mut rest = age.as_secs().min(MAX);
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    // Digits are always a value; `from_bytes` allocates once where `From<u64>` does twice.
    if let Ok(value) = HeaderValue::from_bytes(&digits[at..]) {
        headers.insert(header::AGE, value);
    }
}

pub(super) fn seconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_secs()).unwrap_or(i64::MAX)
}
