use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::policy::CacheKey;

/// Who is asking the origin for what.
#[derive(Default)]
pub(crate) struct Inflight {
    flights: Mutex<HashMap<CacheKey, Flight>>,
}

#[derive(Default)]
struct Flight {
    fetches: usize,
    invalidations: u64,
}

impl Inflight {
    /// Enters a fetch that begins now.
    pub(crate) fn enter(self: &Arc<Self>, key: &CacheKey) -> Fetching {
        let mut flights = self.lock();
        let flight = flights.entry(key.clone()).or_default();
        flight.fetches += 1;
        let seen = flight.invalidations;
        drop(flights);
        Fetching { inflight: self.clone(), key: key.clone(), seen }
    }

    /// Marks the fetches that are on their way: what they bring may be older than the change that
    /// an unsafe request has just made.
    pub(crate) fn invalidate(&self, key: &CacheKey) {
        if let Some(flight) = self.lock().get_mut(key) {
            flight.invalidations += 1;
        }
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.lock().len()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<CacheKey, Flight>> {
        self.flights.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A fetch on its way. Leaves the table when it is dropped.
pub(crate) struct Fetching {
    inflight: Arc<Inflight>,
    key: CacheKey,
    seen: u64,
}

impl Fetching {
    /// Whether an unsafe request has come since this fetch began.
    pub(crate) fn is_invalidated(&self) -> bool {
        self.inflight.lock().get(&self.key).is_none_or(|flight| flight.invalidations != self.seen)
    }
}

impl Drop for Fetching {
    fn drop(&mut self) {
        let mut flights = self.inflight.lock();
        if let Some(flight) = flights.get_mut(&self.key) {
            flight.fetches -= 1;
            if flight.fetches == 0 {
                flights.remove(&self.key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[test]
    fn an_invalidation_marks_those_that_are_on_their_way_and_nobody_else() {
        let key = |path: &'static [u8]| {
            let mut bytes = vec![1, 0, 0, 0, 0, path.len() as u8];
            bytes.extend_from_slice(path);
            CacheKey::from_bytes(Bytes::from(bytes)).unwrap()
        };
        let inflight = Arc::new(Inflight::default());
        let before = inflight.enter(&key(b"/a"));
        let other = inflight.enter(&key(b"/b"));
        inflight.invalidate(&key(b"/a"));
        inflight.invalidate(&key(b"/c"));
        let after = inflight.enter(&key(b"/a"));
        assert!(before.is_invalidated());
        assert!(!after.is_invalidated());
        assert!(!other.is_invalidated());
        drop((before, after, other));
        assert_eq!(inflight.len(), 0);
    }
}
