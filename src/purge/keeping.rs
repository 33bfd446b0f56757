//! A log that is kept where it outlives the process, and has records of other processes in it.

use std::{
    sync::{
        Arc, RwLock,
        atomic::{AtomicU64, Ordering},
    },
    time::SystemTime,
};

use super::{
    events::{PurgeEvent, PurgeRecord},
    log::{Apart, Log, Persist, PurgeLog},
    selector::Purge,
    table::Table,
};
use crate::clock::{Clock, SystemClock};

/// A part of a log that is kept, or was.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Records {
    /// Of the newest record.
    pub(crate) position: u64,
    /// What began before is gone.
    pub(crate) floor: u64,
    /// In their order.
    pub(crate) records: Vec<(u64, Purge)>,
}

impl PurgeLog {
    /// A log that was kept, and is kept again by `keeper`.
    pub(crate) fn restored(kept: Records, keeper: impl Persist + 'static) -> Self {
        let mut table = Table::default();
        table.raise_floor(kept.floor);
        for (seq, purge) in &kept.records {
            table.append(*seq, purge, SystemTime::UNIX_EPOCH);
        }
        let (newest, keeper) = (AtomicU64::new(kept.position), Some(Box::new(keeper) as _));
        Self(Arc::new(Log { newest, table: Apart(RwLock::new(table)), keeper, ..Log::default() }))
    }

    /// Enters a record of another process.
    fn learn(&self, table: &mut Table, seq: u64, purge: Purge) {
        let at = SystemClock.now().wall();
        table.append(seq, &purge, at);
        let record = PurgeRecord { seq, purge: Arc::new(purge), at };
        self.0.ring.push(PurgeEvent::Purged(record));
    }
}

/// A log whose records have positions that are given elsewhere.
#[cfg(feature = "redis")]
impl PurgeLog {
    /// Enters a record at the position that it was given.
    pub(crate) fn hear(&self, seq: u64, purge: Purge, heard: Heard) {
        let table = &mut *self.table_mut();
        match heard {
            Heard::News => self.learn(table, seq, purge),
            Heard::Known => table.append(seq, &purge, SystemClock.now().wall()),
        }
        self.0.newest.fetch_max(seq, Ordering::AcqRel);
    }

    /// What began before `seq` is gone.
    pub(crate) fn forget_before(&self, seq: u64) {
        let table = &mut *self.table_mut();
        table.raise_floor(seq);
        self.0.newest.fetch_max(seq, Ordering::AcqRel);
    }

    /// What began before this position is gone.
    pub(crate) fn floor(&self) -> u64 {
        self.table().floor()
    }
}

/// Whether a record is to be told to those who follow the log.
#[cfg(feature = "redis")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    News,
    Known,
}

#[cfg(feature = "disk")]
impl PurgeLog {
    /// Takes in what other processes have kept, where this one knows what was kept up to `known`.
    /// `false`: what is kept has to be written anew.
    ///
    /// Positions that were given in two processes are given again, behind all others: what began
    /// after the one record may have begun before the other.
    pub(crate) fn merge(&self, kept: &Records, known: u64) -> bool {
        let table = &mut *self.table_mut();
        let position = self.position();
        let is_exchanged = kept.position < known;
        let is_new = |seq: u64| seq > known || is_exchanged;
        let news = || kept.records.iter().filter(|(seq, _)| is_new(*seq)).cloned();
        if position == known && !is_exchanged {
            if kept.floor > table.floor() {
                self.learn(table, kept.floor, Purge::everything());
            }
            for (seq, purge) in news() {
                self.learn(table, seq, purge);
            }
            self.0.newest.store(kept.position, Ordering::Release);
            return true;
        }
        if kept.position == known {
            return true;
        }
        let mut again = Vec::new();
        if table.floor() > known || (kept.floor > 0 && is_new(kept.floor)) {
            again.push(Purge::everything());
        }
        again.extend(table.since(known).into_iter().map(|(_, purge)| purge));
        again.extend(news().map(|(_, purge)| purge));
        let mut newest = position.max(kept.position);
        for purge in again {
            newest += 1;
            self.learn(table, newest, purge);
        }
        self.0.newest.store(newest, Ordering::Release);
        false
    }

    /// What is newer than `position`.
    pub(crate) fn since(&self, position: u64) -> Records {
        let table = self.table();
        let (floor, records) = (table.floor(), table.since(position));
        Records { position: self.position(), floor, records }
    }
}
