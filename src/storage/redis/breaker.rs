use std::{
    collections::VecDeque,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

/// Sees whether calls to Redis are worth while: who has failed five times in a row, or half of the
/// last twenty, is not asked until it answers a probe.
#[derive(Default)]
pub(super) struct Breaker {
    is_open: AtomicBool,
    recent: Mutex<VecDeque<bool>>,
}

const IN_A_ROW: usize = 5;
const WINDOW: usize = 20;

impl Breaker {
    pub(super) fn is_open(&self) -> bool {
        self.is_open.load(Ordering::Acquire)
    }

    pub(super) fn succeeded(&self) {
        self.enter(true);
    }

    /// Whether this one opened it.
    pub(super) fn failed(&self) -> bool {
        self.enter(false)
    }

    /// A probe was answered.
    pub(super) fn close(&self) {
        self.lock().clear();
        self.is_open.store(false, Ordering::Release);
    }

    /// Nobody is there.
    pub(super) fn open(&self) {
        self.is_open.store(true, Ordering::Release);
    }

    fn enter(&self, success: bool) -> bool {
        let mut recent = self.lock();
        if recent.len() == WINDOW {
            recent.pop_front();
        }
        recent.push_back(success);
        if success {
            return false;
        }
        let in_a_row = recent.iter().rev().take_while(|success| !**success).count();
        let failures = recent.iter().filter(|success| !**success).count();
        let is_bad = in_a_row >= IN_A_ROW || (recent.len() == WINDOW && failures * 2 >= WINDOW);
        is_bad && !self.is_open.swap(true, Ordering::AcqRel)
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<bool>> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(calls: &str) -> bool {
        let breaker = Breaker::default();
        for call in calls.chars() {
            match call {
                '+' => breaker.succeeded(),
                _ => {
                    breaker.failed();
                }
            }
        }
        breaker.is_open()
    }

    #[test]
    fn five_failures_in_a_row_open_it() {
        assert!(!after("----"));
        assert!(after("-----"));
        assert!(!after("----+----"));
        assert!(after("+++-----"));
    }

    #[test]
    fn half_of_twenty_open_it() {
        assert!(!after(&"-+".repeat(9)));
        assert!(after(&"+-".repeat(10)));
        assert!(!after(&"++-".repeat(20)));
    }

    #[test]
    fn a_probe_closes_it_and_forgets() {
        let breaker = Breaker::default();
        (0..5).for_each(|_| {
            breaker.failed();
        });
        breaker.close();
        assert!(!breaker.is_open());
        assert!(!(0..4).any(|_| breaker.failed()));
        assert!(breaker.failed(), "who opens it is told");
        assert!(!breaker.failed());
    }
}
