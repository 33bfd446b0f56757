//! What the rules have chosen of what is stored.

use std::{ops::Deref, time::Duration};

use super::{
    CacheStatus, Reason, StoredResponse,
    age::{self, Timestamp},
    head::Facts,
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
        candidate: Option<Candidate>,
        /// Variants that the request does not select, to be asked about.
        others: Vec<Candidate>,
    },
}

/// What the store's responses are good for.
pub(crate) enum Served {
    /// One is the answer.
    Fresh(Fit),
    /// One is the answer, and to be refreshed.
    Refreshing(Fit, Box<Candidate>),
    Not(Box<Unserved>),
}

/// A stored response that may be used as it is.
pub(crate) struct Fit {
    pub(crate) index: usize,
    pub(crate) age: Duration,
    pub(crate) status: CacheStatus,
}

/// Why nothing is served, and what the origin may be asked about instead.
pub(crate) struct Unserved {
    pub(super) reason: Reason,
    pub(super) candidate: Option<Candidate>,
    pub(super) others: Vec<Candidate>,
}

impl Unserved {
    pub(super) fn nothing() -> Self {
        Self { reason: Reason::UriMiss, candidate: None, others: Vec::new() }
    }
}

impl Chosen {
    pub(super) fn ask(reason: Reason) -> Self {
        Chosen::Ask { reason, candidate: None, others: Vec::new() }
    }

    pub(super) fn about(reason: Reason, candidate: Candidate) -> Self {
        Chosen::Ask { reason, candidate: Some(candidate), others: Vec::new() }
    }
}

/// A stored response that the request selects and that may not be used as it is.
#[derive(Debug)]
pub(crate) struct Candidate {
    pub(super) index: usize,
    pub(super) response: StoredResponse,
    /// Read by the rules that decide.
    pub(super) facts: Facts,
    pub(super) is_fresh: bool,
    /// Whether its validators went out with the request.
    pub(super) is_asked_about: bool,
}

impl Candidate {
    /// A variant that the request does not select.
    pub(super) fn other(
        index: usize,
        response: StoredResponse,
        facts: Facts,
        now: Timestamp,
    ) -> Self {
        let age = age::current_age(&facts, now.since(response.head().asked().received));
        let is_fresh = facts.lifetime > age;
        Self { index, response, facts, is_fresh, is_asked_about: true }
    }
}
