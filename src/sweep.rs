//! Walks through a store behind the purges: takes out what they select, and counts.

use std::{ops::ControlFlow, sync::Arc};

use crate::{
    Clock, Error, Executor,
    observe::Operation,
    purge::{Counting, Purge, PurgeLog, Tally, Turn, Verdict},
    storage::{CacheManager, Scanned, Visitor},
    witness::Witness,
};

/// Sweeps one store.
#[derive(Clone)]
pub(crate) struct Sweeper<M> {
    manager: M,
    log: PurgeLog,
    clock: Arc<dyn Clock>,
    witness: Witness,
}

impl<M: CacheManager> Sweeper<M> {
    pub(crate) fn new(manager: M, log: PurgeLog, clock: Arc<dyn Clock>, witness: Witness) -> Self {
        Self { manager, log, clock, witness }
    }

    /// Sees to it that somebody sweeps, if an executor can. However many purges come meanwhile, one
    /// more walk is enough for all of them. `sweeper` gives none when nobody is left to sweep for.
    pub(crate) fn in_background(
        log: &PurgeLog,
        executor: &dyn Executor,
        sweeper: impl FnOnce() -> Option<Self> + Send + 'static,
    ) {
        let Some(expected) = log.expect_sweep() else { return };
        let log = log.clone();
        let task = async move {
            let turn = log.turn().await;
            drop(expected);
            let is_needed = turn.is_needed() || log.is_crowded();
            if let Some(sweeper) = sweeper().filter(|_| is_needed) {
                sweeper.walk(&turn).await;
            }
        };
        // Without an executor whoever waits for the count walks.
        let _ = executor.execute(Box::pin(task));
    }

    /// Waits until a purge is counted, and walks if nobody else does.
    pub(crate) async fn count(self, tally: Arc<Tally>) -> Result<u64, Error> {
        loop {
            if let Some(result) = tally.result() {
                return result;
            }
            let turn = self.log.turn().await;
            if tally.result().is_none() {
                self.walk(&turn).await;
            }
        }
    }

    /// What a purge would take out now.
    pub(crate) async fn count_only(self, purge: Purge) -> Result<u64, Error> {
        let mut counter = Counter { log: &self.log, counting: Counting::dry(purge) };
        self.manager.scan(&mut counter).await?;
        Ok(counter.counting.total())
    }

    async fn walk(&self, turn: &Turn) {
        let superfluous = self.log.swept_by_now();
        let (manager, log) = (&self.manager, &self.log);
        let began = log.position();
        let mut walk = Walk { manager, log, began, counting: turn.pending(), failed: None };
        let walked = self.manager.scan(&mut walk).await;
        let Walk { counting, failed, .. } = walk;
        match walked.and(failed.map_or(Ok(()), Err)) {
            Ok(()) => {
                let now = self.clock.now().wall();
                self.log.end_walk(turn, &counting, superfluous, now);
            }
            Err(error) => {
                self.log.fail_walk(turn, &counting, &error);
                self.witness.store_failed(Operation::Scan, &error);
            }
        }
    }
}

/// Takes out what was purged.
struct Walk<'a, M> {
    manager: &'a M,
    log: &'a PurgeLog,
    /// Where the log was at the beginning.
    began: u64,
    counting: Counting,
    failed: Option<Error>,
}

impl<M: CacheManager> Visitor<M::Handle> for Walk<'_, M> {
    async fn visit(&mut self, entries: Vec<Scanned<M::Handle>>) -> ControlFlow<()> {
        for found in entries {
            let head = found.entry().response().head();
            let verdict = self.log.judge(found.key(), head);
            if verdict == Verdict::Good {
                continue;
            }
            let claim = self.counting.claim(found.key(), head);
            // What only a newer purge selects is for the next walk to take out, and to count.
            let is_ours = claim.is_hard() || self.log.position() == self.began;
            if verdict == Verdict::Gone && is_ours {
                match self.manager.remove(found.entry()).await {
                    Ok(true) => {}
                    Ok(false) => continue,
                    Err(error) => {
                        self.failed = Some(error);
                        return ControlFlow::Break(());
                    }
                }
            }
            self.counting.count(&claim);
        }
        ControlFlow::Continue(())
    }
}

/// Counts what would go, and takes out nothing.
struct Counter<'a> {
    log: &'a PurgeLog,
    counting: Counting,
}

impl<H: Send + Sync> Visitor<H> for Counter<'_> {
    async fn visit(&mut self, entries: Vec<Scanned<H>>) -> ControlFlow<()> {
        let is_there = |found: &&Scanned<H>| {
            self.log.judge(found.key(), found.entry().response().head()) != Verdict::Gone
        };
        for found in entries.iter().filter(is_there) {
            let claim = self.counting.claim(found.key(), found.entry().response().head());
            self.counting.count(&claim);
        }
        ControlFlow::Continue(())
    }
}
