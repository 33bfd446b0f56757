//! Where a thread keeps what it asks for again and again, until the store lets go of it.

use crate::sync::{AtomicU64, Mutex, Ordering, lock, try_lock};

/// One place of a table. Its lock is that of the threads of one stripe, of which there is seldom a
/// second one, and of whoever takes out what the store has let go of.
pub(crate) struct Place<T>(Mutex<Held<T>>);

struct Held<T> {
    kept: Option<T>,
    /// Who was the last to find the place taken.
    rival: u64,
    /// How often the rival has to come.
    defence: u8,
}

const MAX_DEFENCE: u8 = 4;

impl<T> Default for Place<T> {
    fn default() -> Self {
        Self(Mutex::new(Held { kept: None, rival: 0, defence: 0 }))
    }
}

impl<T: Clone> Place<T> {
    /// What is kept here, if it is the one, and nobody else is here just now.
    #[inline]
    pub(crate) fn find(&self, is_it: impl FnOnce(&T) -> bool) -> Option<T> {
        let mut held = try_lock(&self.0)?;
        let kept = held.kept.as_ref().filter(|kept| is_it(kept))?.clone();
        held.defence = MAX_DEFENCE;
        Some(kept)
    }

    /// Keeps what `make` gives, if it is worth the place: what is there defends it for as long as it is
    /// asked for more often.
    pub(crate) fn keep(&self, rival: u64, make: impl FnOnce() -> Option<T>) -> Option<T> {
        // Dropped when the lock has been given back, for which others may wait.
        let _old;
        let mut held = try_lock(&self.0)?;
        if held.rival != rival {
            held.rival = rival;
        } else if held.defence > 0 {
            held.defence -= 1;
        } else if let Some(new) = make() {
            _old = held.kept.replace(new.clone());
            return Some(new);
        }
        None
    }

    /// Takes out what is kept, if it is the one.
    pub(crate) fn take(&self, is_it: impl FnOnce(&T) -> bool) -> Option<T> {
        let mut held = lock(&self.0);
        if held.kept.as_ref().is_some_and(is_it) { held.kept.take() } else { None }
    }
}

/// In which stripes a record is kept, and whether the store has let go of it.
///
/// A thread enters itself under the lock of its place, and whoever takes the record out of the store
/// looks into the places of those who have: so that none keeps it for longer than the store does.
#[derive(Default)]
pub(crate) struct Marks(AtomicU64);

const GONE: u64 = 1 << 63;

impl Marks {
    /// Whether a thread of `stripe` may keep the record. The caller holds the lock of the place.
    pub(crate) fn enter(&self, stripe: usize) -> bool {
        self.0.fetch_or(1 << stripe, Ordering::AcqRel) & GONE == 0
    }

    /// Nobody may any more. Gives the stripes of those who did.
    pub(crate) fn leave(&self) -> impl Iterator<Item = usize> + use<> {
        let marks = self.0.fetch_or(GONE, Ordering::AcqRel) & !GONE;
        (0..GONE.ilog2() as usize).filter(move |stripe| marks >> stripe & 1 == 1)
    }
}

#[cfg(all(test, not(larder_loom)))]
mod tests {
    use std::sync::{
        Arc, Weak,
        atomic::{AtomicBool, Ordering::Relaxed},
    };

    use super::*;

    /// Sees whether somebody holds the lock of its place when it goes.
    struct Probe {
        place: Weak<Place<Arc<Self>>>,
        was_free: Arc<AtomicBool>,
    }

    impl Drop for Probe {
        fn drop(&mut self) {
            let place = self.place.upgrade();
            let is_free = place.is_none_or(|place| place.find(|_| true).is_some());
            self.was_free.store(is_free, Relaxed);
        }
    }

    /// Who evicts waits for the lock, and holds that of a part of the store.
    #[test]
    fn what_loses_its_place_is_dropped_when_nobody_waits_for_that() {
        let (place, was_free) = (Arc::new(Place::default()), Arc::new(AtomicBool::new(false)));
        let probe = |was_free: &Arc<AtomicBool>| {
            let (place, was_free) = (Arc::downgrade(&place), was_free.clone());
            Some(Arc::new(Probe { place, was_free }))
        };
        assert!(place.keep(1, || probe(&was_free)).is_none());
        assert!(place.keep(1, || probe(&was_free)).is_some());
        assert!(place.keep(2, || probe(&Arc::default())).is_none());
        assert!(!was_free.load(Relaxed));
        assert!(place.keep(2, || probe(&Arc::default())).is_some());
        assert!(was_free.load(Relaxed));
    }
}
