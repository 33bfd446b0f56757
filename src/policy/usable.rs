//! Whether a stored response may be used without asking the origin.

use std::time::Duration;

use super::{
    CacheMode, ClientMaxStale, ClientReload, Lookup, Reason, StoredResponse,
    age::{self, Timestamp},
    chosen::{Fit, Use},
    directives::MaxStale,
    head::{Facts, Revalidate},
    stale::{self, Occasion},
};

impl Lookup<'_> {
    /// What [`decide`](Self::decide) comes to for the only response that the request selects, where that may
    /// be used as it is and is read by the rules that stored it. `None`: that has to look at it.
    #[inline]
    pub(crate) fn fits(&self, response: &StoredResponse, now: Timestamp) -> Option<Fit> {
        let (rules, facts) = (&*self.policy.rules, response.head().facts());
        let is_doubted = response.is_unvouched() || response.softly_purged().is_some();
        let is_part = response.head().content_range().is_some();
        let is_read = facts.rules == rules.fingerprint && !rules.trail.is_kept();
        if is_doubted || is_part || !is_read || self.mode != CacheMode::Default {
            return None;
        }
        let (age, resident) = ages(response, facts, now);
        match self.may_use(facts, age, resident) {
            Ok(Use::AsItIs) => Some(Fit::new(0, age, facts.lifetime)),
            _ => None,
        }
    }

    /// RFC 9111 §4.2, §4.2.4, §5.2.1.
    #[inline]
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
        if self.is_doubted {
            return Err(Reason::CutOff);
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
    #[inline]
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

/// How old it is, and how old its storing (RFC 9111 §4.2.3).
#[inline]
pub(super) fn ages(
    response: &StoredResponse,
    facts: &Facts,
    now: Timestamp,
) -> (Duration, Duration) {
    let resident = now.since(response.head().asked().received);
    (age::current_age(facts, resident), resident)
}
