use std::time::Duration;

use http::{HeaderMap, header, request, response};

use super::{
    CacheMode, CacheStatus, Content, Fetch, Lookup, Reason, Refresh, Rule, StoredResponse,
    about::{About, Candidate},
    age::{self, Timestamp},
    chosen::{Chosen, Fit, Read, Unusable, Usable, Use},
    date, explain,
    head::{Facts, Revalidate},
    normal, storing,
    usable::ages,
};

/// What the store has for a [`Lookup`].
#[derive(Clone, Copy, Debug)]
pub enum Stored<'a> {
    /// Nothing under this key.
    Nothing,
    /// Something under this key, but not for these request fields.
    OtherVariants,
    /// The same, and these of the other variants ([`Wanted::others`](super::Wanted::others)) may
    /// still be good.
    Others(&'a [StoredResponse]),
    /// Something that was purged.
    Purged,
    /// The store could not say.
    Failed,
    /// The store did not say in time.
    Late,
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

impl Lookup<'_> {
    /// The second question. A request that has to be validated gets our conditions in place of the
    /// client's own, which are answered when the origin has answered ours (RFC 9111 §4.3).
    pub fn decide(
        self,
        request: &mut request::Parts,
        stored: Stored<'_>,
        now: Timestamp,
    ) -> Decision {
        let usable = self.usable(&request.headers, stored, now);
        self.conclude(request, stored, usable, now)
    }

    /// The part of [`decide`](Self::decide) that is over with before anything is made.
    fn usable(&self, request: &HeaderMap, stored: Stored<'_>, now: Timestamp) -> Usable {
        let chosen = self.choose(request, stored, now);
        if self.policy.rules.trail.is_kept() {
            self.explain(request, &chosen);
        }
        if let Stored::Responses([response]) = stored
            && let Some(fit) = self.fits(response, now)
        {
            debug_assert!(chosen.is(&fit), "the short way to {fit:?} led elsewhere");
        }
        match chosen {
            Chosen::Use { index, age, lifetime, refresh } => {
                let fit = Fit::new(index, age, lifetime);
                match refresh {
                    None => Usable::Fresh(fit),
                    Some(candidate) => Usable::Refreshing(fit, candidate),
                }
            }
            Chosen::Ask { reason, about } => Usable::No(Unusable { reason, about }),
        }
    }

    /// The answer that is made of one of the stored responses.
    fn make(
        &self,
        request: &HeaderMap,
        stored: Stored<'_>,
        fit: Fit,
        now: Timestamp,
    ) -> Option<Serve> {
        let (Stored::Responses(responses) | Stored::Others(responses)) = stored else {
            return None;
        };
        let Fit { index, age, .. } = fit;
        let response = responses.get(index)?;
        let (head, content) = self.answer(request, response.head(), response.extent(), age, now);
        Some(Serve { index, head, content, status: fit.status() })
    }

    /// What becomes of it.
    fn conclude(
        self,
        request: &mut request::Parts,
        stored: Stored<'_>,
        usable: Usable,
        now: Timestamp,
    ) -> Decision {
        let (fit, candidate) = match usable {
            Usable::Fresh(fit) => (fit, None),
            Usable::Refreshing(fit, candidate) => (fit, Some(candidate)),
            Usable::No(unusable) => return self.ask(request, unusable, now),
        };
        let serve = self.make(&request.headers, stored, fit, now);
        match (serve, candidate) {
            (Some(serve), None) => Decision::Serve(serve),
            (Some(serve), Some(candidate)) => {
                Decision::Refresh(serve, Box::new(Refresh::new(self, candidate)))
            }
            // What fits is one of those that are stored.
            (None, _) => self.ask(request, Unusable::nothing(), now),
        }
    }

    fn ask(self, request: &mut request::Parts, unusable: Unusable, now: Timestamp) -> Decision {
        let Unusable { reason, about } = unusable;
        if self.mode == CacheMode::OnlyIfCached || self.directives.only_if_cached {
            let told =
                || (explain::show(&request.headers, &[header::CACHE_CONTROL]), "504".to_owned());
            self.policy.rules.trail.note(Rule::OnlyIfCached, told);
            return Decision::GatewayTimeout(CacheStatus::generated(Reason::OnlyIfCached));
        }
        // What is asked for is what was keyed.
        self.policy.rules.rewrite(&mut request.uri);
        normal::mend_codings(&mut request.headers);
        Decision::Forward(Fetch::new(self, request, reason, about, now))
    }

    /// The most recent of the responses (RFC 9111 §4), and whether it may be used as it is.
    fn choose(&self, request: &HeaderMap, stored: Stored<'_>, now: Timestamp) -> Chosen {
        match stored {
            Stored::Responses(responses) => self
                .choose_best(request, responses.iter().enumerate(), now)
                .unwrap_or_else(|| Chosen::ask(Reason::UriMiss)),
            Stored::Others(others) => {
                self.choose_other(request, others, now).unwrap_or_else(|| Chosen::Ask {
                    reason: Reason::VaryMiss,
                    about: About::Others(self.askable(request, others, now)),
                })
            }
            Stored::Nothing => Chosen::ask(Reason::UriMiss),
            Stored::OtherVariants => Chosen::ask(Reason::VaryMiss),
            Stored::Purged => Chosen::ask(Reason::Purged),
            Stored::Failed => Chosen::ask(Reason::StoreError),
            Stored::Late => Chosen::ask(Reason::StoreTimeout),
        }
    }

    /// What these rules read in a stored response: `None` if they would not have stored it.
    pub(super) fn facts_of<'a>(&self, response: &'a StoredResponse) -> Option<Read<'a>> {
        response.extent()?;
        let rules = &*self.policy.rules;
        let facts = response.head().facts();
        let facts = match facts.rules == rules.fingerprint {
            true => Read::Stored(facts),
            false => Read::Again(Box::new(
                storing::evaluate_again(rules, &self.key, response.head()).ok()?,
            )),
        };
        if response.is_unvouched() {
            let revalidate = Revalidate::Always;
            return Some(Read::Again(Box::new(Facts { revalidate, ..facts.into_owned() })));
        }
        Some(match response.softly_purged() {
            Some(then) => Read::Again(Box::new(stale_since(facts.into_owned(), response, then))),
            None => facts,
        })
    }

    /// The same of these. `None`: there is none that these rules would have stored.
    pub(super) fn choose_best<'a>(
        &self,
        request: &HeaderMap,
        responses: impl Iterator<Item = (usize, &'a StoredResponse)>,
        now: Timestamp,
    ) -> Option<Chosen> {
        let rules = &*self.policy.rules;
        let mut best: Option<(usize, &StoredResponse, Read<'_>)> = None;
        let mut part: Option<(usize, &StoredResponse)> = None;
        let mut count = 0;
        for (index, response) in responses {
            count += 1;
            if !self.is_there(request, response, now) {
                part.get_or_insert((index, response));
                continue;
            }
            let Some(facts) = self.facts_of(response) else { continue };
            if best.as_ref().is_none_or(|(_, _, newest)| facts.date > newest.date) {
                best = Some((index, response, facts));
            }
        }
        if rules.trail.is_kept() {
            let best = best.as_ref().map(|(index, _, facts)| (*index, facts.date));
            rules.trail.note(Rule::Selection, move || {
                let told = match best {
                    Some((index, date)) => format!("number {index}, of {:?}", date::format(date)),
                    None => "none that these rules would have stored".to_owned(),
                };
                (format!("{count} stored"), told)
            });
        }
        let Some((index, response, facts)) = best else {
            return self.beyond(request, part?, now);
        };
        let (age, resident) = ages(response, &facts, now);
        let lifetime = facts.lifetime;
        if rules.trail.is_kept() {
            self.tell_age(facts.initial_age, resident, age, lifetime);
        }
        Some(match self.may_use(&facts, age, resident) {
            _ if self.mode == CacheMode::Reload => Chosen::ask(Reason::Reload),
            Ok(Use::AsItIs) => Chosen::Use { index, age, lifetime, refresh: None },
            Ok(Use::Refreshing) => self.refresh((index, response, facts), age, lifetime),
            Err(reason) => Chosen::about(
                reason,
                Candidate::selected(index, response, facts.into_owned(), lifetime > age),
            ),
        })
    }

    /// What becomes of a stale response that may be used while it is refreshed.
    fn refresh(
        &self,
        (index, response, facts): (usize, &StoredResponse, Read<'_>),
        age: Duration,
        lifetime: Duration,
    ) -> Chosen {
        let head = response.head();
        let candidate = Candidate::selected(index, response, facts.into_owned(), lifetime > age);
        // Another user's credentials are not ours to ask with (RFC 9111 §3.5), and without what
        // tells this request apart another answer would come. Nor has anybody asked for the whole of a
        // part.
        if head.asked().authorization
            || self.is_partitioned()
            || head.content_range().is_some()
            || self.policy.rules.apart.iter().any(|part| part.field().is_none())
        {
            return Chosen::about(Reason::Stale, candidate);
        }
        Chosen::Use { index, age, lifetime, refresh: Some(Box::new(candidate)) }
    }

    #[cold]
    fn tell_age(&self, initial: Duration, resident: Duration, age: Duration, lifetime: Duration) {
        let [initial, resident, whole, fresh] = [initial, resident, age, lifetime].map(seconds);
        let trail = &self.policy.rules.trail;
        trail.note(Rule::Age, || {
            let inputs = format!("{initial} s old when it came, {resident} s ago");
            (inputs, format!("{whole} s"))
        });
        trail.note(Rule::Fresh, || {
            let told = if lifetime > age { "fresh" } else { "stale" };
            (format!("lifetime {fresh} s, age {whole} s"), told.to_owned())
        });
    }

    /// Why what is stored is used, or is not.
    #[cold]
    fn explain(&self, request: &HeaderMap, chosen: &Chosen) {
        const ASKED: [header::HeaderName; 2] = [header::CACHE_CONTROL, header::PRAGMA];
        let trail = &self.policy.rules.trail;
        let (rule, told) = match chosen {
            Chosen::Use { refresh: None, .. } => (Rule::RequestDirectives, "used"),
            Chosen::Use { .. } => (Rule::Stale, "used while it is refreshed"),
            Chosen::Ask { reason: Reason::NoCache, .. } => (Rule::NoCache, "to be validated"),
            Chosen::Ask { reason: Reason::Stale, .. } => (Rule::Stale, "not to be used"),
            Chosen::Ask { reason: Reason::Partial, .. } => return,
            Chosen::Ask { reason: Reason::Reload, .. } => {
                (Rule::RequestDirectives, "to be validated or fetched")
            }
            Chosen::Ask { reason, .. } => {
                return trail.note(Rule::Selection, || (String::new(), format!("none: {reason}")));
            }
        };
        trail.note(rule, || {
            let mode = format!("{:?}", self.mode);
            let mode = (self.mode != CacheMode::Default).then(|| format!("mode {mode}"));
            let asked = explain::show(request, &ASKED);
            let inputs = [mode.unwrap_or_default(), asked];
            let inputs: Vec<_> = inputs.into_iter().filter(|input| !input.is_empty()).collect();
            (inputs.join(", "), told.to_owned())
        });
    }
}

/// The facts of a response that a soft purge made stale: its lifetime ended then, so that the
/// windows for stale use begin there.
fn stale_since(facts: Facts, response: &StoredResponse, then: Timestamp) -> Facts {
    let resident = then.since(response.head().asked().received);
    let lifetime = facts.lifetime.min(age::current_age(&facts, resident));
    Facts { lifetime, ..facts }
}

#[inline]
pub(super) fn seconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_secs()).unwrap_or(i64::MAX)
}
