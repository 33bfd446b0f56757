//! Who goes first: look-ups, and then pieces of bodies.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use tokio::{sync::Notify, time::timeout};

/// A step lets look-ups go first for so long, or twice that as timers go: however many there are, bodies get
/// on.
const PATIENCE: Duration = Duration::from_millis(1);
/// After so many steps that have waited in vain none does until there is no look-up for once: what never
/// ceases goes on beside a body anyway, and a body that is slow to get in is not stored at all.
const MOST_IN_VAIN: usize = 32;
/// After so many steps without a look-up a body is alone.
const ALONE_AFTER: u32 = 256;

/// Look-ups that are under way.
///
/// Redis does one thing at a time, and so does a machine with few cores: a look-up that meets a body is
/// behind the pieces that are on their way already, and not behind those that would follow them.
#[derive(Default)]
pub(super) struct Turns {
    looking: AtomicUsize,
    begun: AtomicUsize,
    /// Steps that have waited, one after the other, and there still was one.
    in_vain: AtomicUsize,
    nobody: Notify,
}

/// A look-up that is under way, until this is dropped.
pub(super) struct Looking<'a>(&'a Turns);

/// Whether a body has company: then it goes in smaller steps, which take longer in all.
pub(super) struct Company {
    begun: usize,
    steps: u32,
}

impl Turns {
    pub(super) fn look(&self) -> Looking<'_> {
        self.begun.fetch_add(1, Ordering::Relaxed);
        self.looking.fetch_add(1, Ordering::Relaxed);
        Looking(self)
    }

    /// For a body that begins: it is alone.
    pub(super) fn company(&self) -> Company {
        Company { begun: self.begun.load(Ordering::Relaxed), steps: ALONE_AFTER }
    }

    /// Waits until no look-up is under way, or for as long as a step waits.
    pub(super) async fn give_way(&self) {
        // First to listen, then to look: none that ends in between is missed.
        let nobody = self.nobody.notified();
        let is_free = self.looking.load(Ordering::Acquire) == 0;
        if !is_free && self.in_vain.load(Ordering::Relaxed) >= MOST_IN_VAIN {
            return;
        }
        if is_free || timeout(PATIENCE, nobody).await.is_ok() {
            self.in_vain.store(0, Ordering::Relaxed);
        } else {
            self.in_vain.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Company {
    /// Whether there were look-ups not long ago. To be asked before each step.
    pub(super) fn is_there(&mut self, turns: &Turns) -> bool {
        let begun = turns.begun.load(Ordering::Relaxed);
        let has_more = std::mem::replace(&mut self.begun, begun) != begun;
        self.steps = if has_more { 0 } else { self.steps.saturating_add(1) };
        self.steps < ALONE_AFTER
    }
}

impl Drop for Looking<'_> {
    fn drop(&mut self) {
        if self.0.looking.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.nobody.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::future::join;
    use tokio::time::Instant;

    use super::*;

    /// A piece waits for a look-up, but not for ever, and no longer than it is there: also for one that is
    /// given up.
    #[tokio::test(start_paused = true)]
    async fn a_turn_is_given_back() {
        let (turns, began) = (Turns::default(), Instant::now());
        turns.give_way().await;
        assert_eq!(began.elapsed(), Duration::ZERO);
        let mut looking = Some((turns.look(), turns.look()));
        turns.give_way().await;
        assert_eq!(began.elapsed(), PATIENCE);
        join(turns.give_way(), async { looking = None }).await;
        turns.give_way().await;
        assert_eq!(began.elapsed(), PATIENCE, "it is woken");
        assert_eq!(turns.looking.load(Ordering::Relaxed), 0);
    }

    /// Look-ups that never cease, or that nobody goes on with, do not hold up bodies for ever.
    #[tokio::test(start_paused = true)]
    async fn who_waits_in_vain_goes_on() {
        let (turns, began) = (Turns::default(), Instant::now());
        for times in 1..=2 {
            let looking = turns.look();
            for _ in 0..10 * MOST_IN_VAIN {
                turns.give_way().await;
            }
            assert_eq!(began.elapsed(), times * MOST_IN_VAIN as u32 * PATIENCE);
            drop(looking);
            turns.give_way().await;
        }
    }

    /// A body that begins is alone, and is so again when nobody has looked up for a while.
    #[test]
    fn company_leaves() {
        let turns = Turns::default();
        drop(turns.look());
        let mut company = turns.company();
        assert!(!company.is_there(&turns));
        drop(turns.look());
        assert!((0..ALONE_AFTER).all(|_| company.is_there(&turns)));
        assert!(!company.is_there(&turns));
    }
}
