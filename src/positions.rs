use std::sync::Arc;

use crate::sync::{Mutex, lock};

/// At which positions of the purge log those began that are still at work.
///
/// In order, and how many began at each: most of them at one of the last.
#[derive(Clone, Default)]
pub(crate) struct Positions(Arc<Mutex<Vec<(u64, usize)>>>);

impl Positions {
    /// Enters somebody who began there, until the place is dropped.
    pub(crate) fn enter(&self, began: u64) -> Place {
        let mut positions = lock(&self.0);
        match find(&positions, began) {
            Ok(at) => positions[at].1 += 1,
            Err(at) => positions.insert(at, (began, 1)),
        }
        drop(positions);
        Place { positions: self.clone(), began }
    }

    /// Where the oldest of them began.
    pub(crate) fn oldest(&self) -> Option<u64> {
        lock(&self.0).first().map(|(began, _)| *began)
    }
}

/// Where it is, or belongs.
fn find(positions: &[(u64, usize)], began: u64) -> Result<usize, usize> {
    match positions.last() {
        Some((last, _)) if *last == began => Ok(positions.len() - 1),
        Some((last, _)) if *last < began => Err(positions.len()),
        _ => positions.binary_search_by_key(&began, |(began, _)| *began),
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
        if let Ok(at) = find(&positions, self.began) {
            positions[at].1 -= 1;
            if positions[at].1 == 0 {
                positions.remove(at);
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
