use std::{sync::Arc, time::Duration};

use super::Fetching;
use crate::{
    flight::{Passenger, Sharing},
    policy::{CacheKey, NameSet, Role, Timestamp, VariantKey},
};

/// How often a request may still look into the store again because another has come back.
pub(crate) struct Rechecks(usize);

impl Default for Rechecks {
    fn default() -> Self {
        Self(3)
    }
}

impl Rechecks {
    pub(crate) fn are_left(&self) -> bool {
        self.0 > 0
    }

    pub(crate) fn spend(&mut self) {
        self.0 = self.0.saturating_sub(1);
    }
}

/// Somebody who is about to ask.
pub(crate) struct Asker<'a> {
    pub(crate) key: &'a CacheKey,
    /// Where the purge log was when the request came.
    pub(crate) began: u64,
    pub(crate) role: Role,
    pub(crate) now: Timestamp,
    /// Whose answer was no use.
    pub(crate) tried: &'a [u64],
    /// Whom it waits for already.
    pub(crate) waited_for: &'a [u64],
    /// Who has given no sign of life for so long is waited for no longer.
    pub(crate) patience: Duration,
    /// How many had ended when the store was asked, if it was.
    pub(crate) ended: Option<u64>,
    /// What `Vary` named when this was last seen.
    pub(crate) names: Option<NameSet>,
    pub(crate) variant: &'a dyn Fn(&NameSet) -> VariantKey,
}

impl Asker<'_> {
    /// Whether a fetch for the same ended, as the `latest`, after the store was asked.
    pub(super) fn has_missed(&self, latest: u64) -> bool {
        self.ended.is_some_and(|ended| latest > ended)
    }
}

/// What somebody does who was about to ask.
pub(crate) enum Entered {
    /// Ask.
    Asking(Fetching, Passenger),
    /// Wait for this one.
    Waiting(u64, Passenger),
    /// Read what is all there already, and not yet in the store.
    Arrived(u64, Arc<Sharing>),
    /// Go on waiting.
    KeepWaiting,
    /// Look into the store again: somebody has come back since.
    LookAgain,
}
