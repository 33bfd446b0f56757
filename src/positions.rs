use std::{collections::BTreeMap, sync::Arc};

use crate::sync::{Mutex, lock};

/// At which positions of the purge log those began that are still at work.
#[derive(Clone, Default)]
pub(crate) struct Positions(Arc<Mutex<BTreeMap<u64, usize>>>);

impl Positions {
    /// Enters somebody who began there, until the place is dropped.
    pub(crate) fn enter(&self, began: u64) -> Place {
        *lock(&self.0).entry(began).or_default() += 1;
        Place { positions: self.clone(), began }
    }

    /// Where the oldest of them began.
    pub(crate) fn oldest(&self) -> Option<u64> {
        lock(&self.0).keys().next().copied()
    }
}

/// See [`Positions::enter`].
pub(crate) struct Place {
    positions: Positions,
    began: u64,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut positions = lock(&self.positions.0);
        if let Some(count) = positions.get_mut(&self.began) {
            *count -= 1;
            if *count == 0 {
                positions.remove(&self.began);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_that_is_still_there_counts() {
        let positions = Positions::default();
        assert_eq!(positions.oldest(), None);
        let (three, one, again) = (positions.enter(3), positions.enter(1), positions.enter(1));
        drop(one);
        assert_eq!(positions.oldest(), Some(1));
        drop(again);
        assert_eq!(positions.oldest(), Some(3));
        drop(three);
        assert_eq!(positions.oldest(), None);
    }
}
