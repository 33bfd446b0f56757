//! What the rules have chosen of what is stored.

use std::{ops::Deref, time::Duration};

use super::{
    CacheStatus, Reason,
    about::{About, Candidate},
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
        about: About,
    },
}

/// What the store's responses are good for.
pub(crate) enum Usable {
    /// One is the answer.
    Fresh(Fit),
    /// One is the answer, and to be refreshed.
    Refreshing(Fit, Box<Candidate>),
    No(Box<Unusable>),
}

/// A stored response that may be used as it is.
pub(crate) struct Fit {
    pub(crate) index: usize,
    pub(crate) age: Duration,
    pub(crate) status: CacheStatus,
}

/// Why nothing is served, and what the origin may be asked about instead.
pub(crate) struct Unusable {
    pub(super) reason: Reason,
    pub(super) about: About,
}

impl Unusable {
    pub(super) fn nothing() -> Self {
        Self { reason: Reason::UriMiss, about: About::Nothing }
    }
}

impl Chosen {
    pub(super) fn ask(reason: Reason) -> Self {
        Chosen::Ask { reason, about: About::Nothing }
    }

    pub(super) fn about(reason: Reason, candidate: Candidate) -> Self {
        Chosen::Ask { reason, about: About::This(candidate) }
    }
}
