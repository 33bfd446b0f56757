//! Who goes first: look-ups, and then pieces of bodies.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use tokio::{sync::Notify, time::timeout};

/// A piece lets look-ups go first for so long, about: however many there are, bodies get on.
const PATIENCE: Duration = Duration::from_millis(1);
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

    /// Waits until no look-up is under way, or for as long as a piece waits.
    pub(super) async fn give_way(&self) {
        // First to listen, then to look: none that ends in between is missed.
        let nobody = self.nobody.notified();
        if self.looking.load(Ordering::Acquire) > 0 {
            let _ = timeout(PATIENCE, nobody).await;
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
