use std::time::SystemTime;

use super::{
    index::Index,
    selector::{Effect, Purge, Selector},
};
use crate::policy::{CacheKey, StoredHead};

/// The newest records of a log by their selectors: what a hit asks.
#[derive(Default)]
pub(super) struct Table {
    index: Index<Newest>,
    retired: u64,
}

/// What the log says of a stored response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Good,
    /// Softly purged then.
    Stale(SystemTime),
    Gone,
}

/// More exact selectors than this and the older half of them becomes "everything older".
pub(super) const MAX_EXACT: usize = 1 << 16;
/// More prefixes and predicates, and the oldest does.
pub(super) const MAX_BROAD: usize = 1000;

impl Table {
    /// Enters a record. `at` is when it was appended.
    pub(super) fn append(&mut self, seq: u64, purge: &Purge, at: SystemTime) {
        let Some(newest) = self.index.entry(&purge.selector) else { return };
        match purge.effect {
            Effect::Hard => newest.hard = seq,
            Effect::Soft(since) => newest.soften(seq, since.unwrap_or(at)),
            Effect::DryRun => return,
        }
        if purge.selector == Selector::Everything && purge.effect == Effect::Hard {
            self.forget_before(seq);
        }
        self.shrink();
    }

    /// What `began` at this position, or was found good there.
    pub(super) fn judge(&self, key: &CacheKey, head: &StoredHead, began: u64) -> Verdict {
        let mut verdict = Verdict::Good;
        self.index.visit(key, head, |newest| verdict = verdict.and(newest.judge(began)));
        verdict
    }

    /// Whether a hard record newer than `position` selects the resource.
    #[cfg(feature = "disk")]
    pub(super) fn has_taken(&self, key: &CacheKey, position: u64) -> bool {
        let mut has_taken = false;
        self.index.visit_resource(key, |newest| has_taken |= newest.hard > position);
        has_taken
    }

    /// What began before this position is gone.
    #[cfg(any(feature = "disk", feature = "redis"))]
    pub(super) fn floor(&self) -> u64 {
        self.index.everything().hard
    }

    /// Up to where hard purges have been forgotten: an entry that has not been judged since is gone.
    pub(super) fn retired(&self) -> u64 {
        self.retired
    }

    /// Forgets the hard purges up to `seq`: all that they do not select has been judged since.
    pub(super) fn retire(&mut self, seq: u64) {
        self.retired = self.retired.max(seq);
        self.index.retain(|newest| {
            if newest.hard <= seq {
                newest.hard = 0;
            }
            newest.position() > 0
        });
    }

    pub(super) fn len(&self) -> usize {
        let (exact, broad) = self.index.len();
        exact + broad
    }

    fn forget_before(&mut self, floor: u64) {
        let everything = self.index.everything_mut();
        everything.hard = everything.hard.max(floor);
        self.index.retain(|newest| newest.position() > floor);
    }

    fn shrink(&mut self) {
        while self.index.len().1 > MAX_BROAD {
            let Some(oldest) = self.index.pop_broad() else { return };
            let everything = self.index.everything_mut();
            everything.hard = everything.hard.max(oldest.hard);
            oldest.soft.into_iter().for_each(|(seq, at)| everything.soften(seq, at));
        }
        if self.index.len().0 > MAX_EXACT {
            let mut positions: Vec<u64> = self.index.values().map(Newest::position).collect();
            let middle = positions.len() / 2;
            let (_, middle, _) = positions.select_nth_unstable(middle);
            let floor = *middle;
            self.forget_before(floor);
        }
    }

    /// What is newer than `position` and can be written, in its order.
    #[cfg(feature = "disk")]
    pub(super) fn since(&self, position: u64) -> Vec<(u64, Purge)> {
        let mut records = Vec::new();
        let everything = Newest { hard: 0, soft: self.index.everything().soft.clone() };
        let all = self.index.written().chain([(Selector::Everything, &everything)]);
        for (selector, newest) in all {
            let hard = (newest.hard > position).then_some((newest.hard, Effect::Hard));
            let soft = newest.soft.iter().filter(|(seq, _)| *seq > position);
            let soft = soft.map(|(seq, at)| (*seq, Effect::Soft(Some(*at))));
            records.extend(
                hard.into_iter()
                    .chain(soft)
                    .map(|(seq, effect)| (seq, Purge { effect, ..Purge::of(selector.clone()) })),
            );
        }
        records.sort_by_key(|(seq, _)| *seq);
        records
    }

    /// Enters what began before this position as gone.
    #[cfg(any(feature = "disk", feature = "redis"))]
    pub(super) fn raise_floor(&mut self, floor: u64) {
        self.forget_before(floor);
    }
}

/// The newest records of one selector.
#[derive(Default)]
struct Newest {
    /// 0: none.
    hard: u64,
    /// With when they were, oldest first.
    soft: Vec<(u64, SystemTime)>,
}

/// More soft purges by one selector and the oldest two count as one: what the younger one selects is
/// then stale since the older.
const MAX_SOFT: usize = 8;

impl Newest {
    fn soften(&mut self, seq: u64, at: SystemTime) {
        self.soft.push((seq, at));
        if self.soft.len() > MAX_SOFT {
            let (_, at) = self.soft.remove(0);
            if let Some((_, since)) = self.soft.first_mut() {
                *since = at;
            }
        }
    }

    fn judge(&self, began: u64) -> Verdict {
        if self.hard > began {
            return Verdict::Gone;
        }
        let first = self.soft.iter().find(|(seq, _)| *seq > began);
        first.map_or(Verdict::Good, |(_, at)| Verdict::Stale(*at))
    }

    fn position(&self) -> u64 {
        self.soft.last().map_or(0, |(seq, _)| *seq).max(self.hard)
    }
}

impl Verdict {
    fn and(self, other: Self) -> Self {
        match (self, other) {
            (Verdict::Gone, _) | (_, Verdict::Gone) => Verdict::Gone,
            (Verdict::Stale(one), Verdict::Stale(other)) => Verdict::Stale(one.min(other)),
            (Verdict::Good, verdict) | (verdict, Verdict::Good) => verdict,
        }
    }
}
