//! What the rules have chosen of what is stored.

use std::{ops::Deref, time::Duration};

use super::{
    CacheStatus, Reason,
    about::{About, Candidate},
    head::Facts,
    reuse::seconds,
};

/// What the rules that decide read in a stored response: what was stored with it where they are those
/// that stored it.
pub(super) enum Read<'a> {
    Stored(&'a Facts),
    // Rare, and every hit moves one of these.
    Again(Box<Facts>),
}

impl Read<'_> {
    pub(super) fn into_owned(self) -> Facts {
        match self {
            Read::Stored(facts) => facts.clone(),
            Read::Again(facts) => *facts,
        }
    }
}

impl Deref for Read<'_> {
    type Target = Facts;

    #[inline]
    fn deref(&self) -> &Facts {
        match self {
            Read::Stored(facts) => facts,
            Read::Again(facts) => facts,
        }
    }
}

/// How a stored response may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Use {
    AsItIs,
    /// Stale, while the origin is asked in the background (RFC 5861 §3).
    Refreshing,
}

pub(super) enum Chosen {
    Use {
        index: usize,
        age: Duration,
        lifetime: Duration,
        // Rare, and every hit moves one of these.
        refresh: Option<Box<Candidate>>,
    },
    Ask {
        reason: Reason,
        about: About,
    },
}

/// What the store's responses are good for.
pub(super) enum Usable {
    /// One is the answer.
    Fresh(Fit),
    /// One is the answer, and to be refreshed.
    Refreshing(Fit, Box<Candidate>),
    No(Unusable),
}

/// A stored response that may be used as it is.
#[derive(Debug, PartialEq)]
pub(crate) struct Fit {
    pub(crate) index: usize,
    pub(crate) age: Duration,
    /// The seconds for which it is fresh.
    ttl: i64,
}

impl Fit {
    #[inline]
    pub(super) fn new(index: usize, age: Duration, lifetime: Duration) -> Self {
        Self { index, age, ttl: seconds(lifetime) - seconds(age) }
    }

    #[inline]
    pub(crate) fn status(&self) -> CacheStatus {
        CacheStatus::hit(self.ttl)
    }
}

/// Why nothing is served, and what the origin may be asked about instead.
pub(super) struct Unusable {
    pub(super) reason: Reason,
    pub(super) about: About,
}

impl Unusable {
    pub(super) fn nothing() -> Self {
        Self { reason: Reason::UriMiss, about: About::Nothing }
    }
}

impl Chosen {
    /// Whether this fits, and there is nothing more to it.
    pub(super) fn is(&self, fit: &Fit) -> bool {
        match *self {
            Chosen::Use { index, age, lifetime, refresh: None } => {
                Fit::new(index, age, lifetime) == *fit
            }
            _ => false,
        }
    }

    pub(super) fn ask(reason: Reason) -> Self {
        Chosen::Ask { reason, about: About::Nothing }
    }

    pub(super) fn about(reason: Reason, candidate: Candidate) -> Self {
        Chosen::Ask { reason, about: About::This(Box::new(candidate)) }
    }
}
