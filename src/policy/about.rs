use std::time::Duration;

use super::{
    StoredResponse,
    age::{self, Timestamp},
    completing::Base,
    head::Facts,
};

/// What is stored of what the origin is asked for.
#[derive(Debug)]
pub(super) enum About {
    Nothing,
    /// It would be the answer.
    This(Box<Candidate>),
    /// Variants that the request does not select, to be asked about.
    Others(Vec<Candidate>),
    /// It does not have all that is asked for.
    Part(Box<Base>),
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
    /// The one that the request selects.
    pub(super) fn selected(
        index: usize,
        response: &StoredResponse,
        facts: Facts,
        is_fresh: bool,
    ) -> Self {
        Self { index, response: response.clone(), facts, is_fresh, is_asked_about: false }
    }

    /// A variant that the request does not select.
    pub(super) fn other(
        index: usize,
        response: StoredResponse,
        facts: Facts,
        now: Timestamp,
    ) -> Self {
        Self { is_asked_about: true, ..Self::unasked(index, response, facts, now) }
    }

    /// One whose validators have not gone out.
    pub(super) fn unasked(
        index: usize,
        response: StoredResponse,
        facts: Facts,
        now: Timestamp,
    ) -> Self {
        let candidate = Self { index, response, facts, is_fresh: false, is_asked_about: false };
        let (age, _) = candidate.times(now);
        Self { is_fresh: candidate.facts.lifetime > age, ..candidate }
    }

    /// How old it is, and since when it is stored.
    pub(super) fn times(&self, now: Timestamp) -> (Duration, Duration) {
        let resident = now.since(self.response.head().asked().received);
        (age::current_age(&self.facts, resident), resident)
    }
}
