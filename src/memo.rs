use std::time::Duration;

use crate::policy::Timestamp;

/// Remembers for a while, of a bounded number of things, that something is true of them.
///
/// Things are known by a hash under a random key. One that is forgotten too early is asked about
/// again, which is all that happens.
#[derive(Default)]
pub(crate) struct Memo {
    slots: Vec<Option<(u64, Timestamp, Duration)>>,
}

const SLOTS: usize = 512;

impl Memo {
    pub(crate) fn is_known(&self, hash: u64, now: Timestamp) -> bool {
        match self.slots.get(slot(hash)) {
            Some(Some((known, since, how_long))) => *known == hash && now.since(*since) < *how_long,
            _ => false,
        }
    }

    pub(crate) fn remember(&mut self, hash: u64, now: Timestamp, how_long: Duration) {
        if self.slots.is_empty() {
            self.slots.resize(SLOTS, None);
        }
        self.slots[slot(hash)] = Some((hash, now, how_long));
    }

    /// Remembers for `first`, and for twice as long as before if it is remembered still, or was not
    /// long ago.
    pub(crate) fn back_off(&mut self, hash: u64, now: Timestamp, first: Duration, most: Duration) {
        let how_long = match self.slots.get(slot(hash)) {
            Some(Some((known, since, how_long)))
                if *known == hash && now.since(*since) < 2 * *how_long + first =>
            {
                (2 * *how_long).min(most)
            }
            _ => first,
        };
        self.remember(hash, now, how_long);
    }

    pub(crate) fn forget(&mut self, hash: u64) {
        if let Some(place) = self.slots.get_mut(slot(hash))
            && place.is_some_and(|(known, ..)| known == hash)
        {
            *place = None;
        }
    }
}

/// When something last happened to each of many things; too late where two share a place, never too
/// early.
#[derive(Default)]
pub(crate) struct Latest {
    slots: Vec<u64>,
}

impl Latest {
    pub(crate) fn of(&self, hash: u64) -> u64 {
        self.slots.get(slot(hash)).copied().unwrap_or_default()
    }

    pub(crate) fn note(&mut self, hash: u64, when: u64) {
        if self.slots.is_empty() {
            self.slots.resize(SLOTS, 0);
        }
        let latest = &mut self.slots[slot(hash)];
        *latest = (*latest).max(when);
    }
}

/// How often each of many things has happened lately. One that shares a place with another is counted
/// anew.
#[derive(Default)]
pub(crate) struct Tally {
    slots: Vec<(u64, u32)>,
    counted: usize,
}

impl Tally {
    /// Counts it once more, and says how often it has been now.
    pub(crate) fn count(&mut self, hash: u64) -> u32 {
        if self.slots.is_empty() {
            self.slots.resize(SLOTS * WIDER, (0, 0));
        }
        self.counted += 1;
        if self.counted == self.slots.len() * WIDER {
            self.counted = 0;
            self.slots.iter_mut().for_each(|(_, count)| *count /= 2);
        }
        let at = (hash >> 32) as usize % self.slots.len();
        let (known, count) = &mut self.slots[at];
        if *known != hash {
            (*known, *count) = (hash, 0);
        }
        *count = count.saturating_add(1);
        *count
    }
}

/// More is counted than is remembered, and each count is halved after so many for each place.
const WIDER: usize = 8;

fn slot(hash: u64) -> usize {
    // Not the bits that a shard is chosen by.
    (hash >> 32) as usize % SLOTS
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    #[test]
    fn what_is_counted_is_bounded_and_fades() {
        let mut tally = Tally::default();
        assert_eq!([7, 7, 8, 7].map(|hash| tally.count(hash << 32)), [1, 2, 1, 3]);
        for n in 100..100_000_u64 {
            tally.count(n << 32);
        }
        assert_eq!(tally.slots.len(), SLOTS * WIDER);
        let mut tally = Tally::default();
        let most = (0..1_000_000).map(|_| tally.count(7 << 32)).max();
        assert!(most.unwrap() <= 2 * (SLOTS * WIDER * WIDER) as u32);
    }

    #[test]
    fn what_is_remembered_is_bounded_in_number_and_time() {
        let second = Duration::from_secs(1);
        let at = |seconds| Timestamp::from_wall(SystemTime::UNIX_EPOCH + seconds * second);
        let mut memo = Memo::default();
        for n in 0..10_000_u64 {
            memo.remember(n << 32, at(0), 10 * second);
        }
        let known = |memo: &Memo, now| (0..10_000).filter(|n| memo.is_known(n << 32, now)).count();
        assert_eq!(known(&memo, at(9)), SLOTS);
        assert_eq!(known(&memo, at(10)), 0);
        memo.forget(9_999 << 32);
        assert_eq!(known(&memo, at(0)), SLOTS - 1);
    }
}
