use std::sync::Arc;

use smallvec::SmallVec;

use super::{Asker, fetching::Kind};
use crate::{
    flight::{Flight, Landing, Passenger, Sharing},
    policy::{NameSet, VariantKey},
};

/// So many requests for the same thing may be waited for before everybody asks for himself.
const MAX_LEADERS: usize = 3;

#[derive(Default)]
pub(super) struct Group {
    pub(super) fetches: usize,
    pub(super) invalidations: u64,
    /// Those that others may wait for.
    pub(super) flights: SmallVec<[Listed; 1]>,
    /// What `Vary` named in the newest answer.
    pub(super) names: Option<NameSet>,
}

pub(super) struct Listed {
    pub(super) id: u64,
    flight: Arc<Flight>,
    /// The variant that it is for, as far as that is known.
    pub(super) variant: Option<VariantKey>,
}

pub(super) enum Seen {
    Waiting(u64, Passenger),
    Arrived(u64, Arc<Sharing>),
    KeepWaiting,
    TooMany,
}

impl Listed {
    pub(super) fn is_other(&self, variant: Option<&VariantKey>) -> bool {
        matches!((variant, &self.variant), (Some(ours), Some(theirs)) if ours != theirs)
    }
}

impl Group {
    pub(super) fn begin(
        &mut self,
        kind: Kind,
        id: u64,
        passenger: &Passenger,
        variant: Option<VariantKey>,
    ) -> u64 {
        self.fetches += 1;
        if kind != Kind::Unlisted {
            self.flights.push(Listed { id, flight: passenger.flight().clone(), variant });
        }
        self.invalidations
    }

    pub(super) fn find(&self, asker: &Asker<'_>, variant: Option<&VariantKey>) -> Option<Seen> {
        let (mut silent, mut is_waiting) = (0, false);
        for listed in &self.flights {
            let Listed { id, flight, .. } = listed;
            if listed.is_other(variant) || asker.tried.contains(id) {
                continue;
            }
            let landing = flight.landing();
            if landing.is_none() && asker.now.since(flight.began()) >= asker.patience {
                silent += 1;
                continue;
            }
            if asker.waited_for.contains(id) {
                is_waiting = true;
                continue;
            }
            match landing {
                Some(Landing::Shared(sharing)) if !sharing.log.is_open() => continue,
                Some(Landing::Shared(sharing)) => match flight.join() {
                    Some(passenger) => return Some(Seen::Waiting(*id, passenger)),
                    None if sharing.log.is_whole() => return Some(Seen::Arrived(*id, sharing)),
                    None => continue,
                },
                Some(_) => continue,
                None => match flight.join() {
                    Some(passenger) => return Some(Seen::Waiting(*id, passenger)),
                    None => continue,
                },
            }
        }
        if is_waiting {
            return Some(Seen::KeepWaiting);
        }
        (silent >= MAX_LEADERS).then_some(Seen::TooMany)
    }
}
