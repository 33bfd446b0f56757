//! The log of purges, as this node knows it.
//!
//! The log is a stream: whoever purges appends to it, every node reads it. A position in the log is made
//! of the id that Redis gave, so that nodes agree on it: what a fill that began there has to be
//! compared with is the same everywhere. What this node has purged itself, and could not tell yet,
//! lies between two of those positions.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use redis::Value;
use tokio::{sync::Notify, time::Instant};

use super::reply;
use crate::{
    Error,
    purge::{Heard, Purge, PurgeLog},
};

/// What a stream keeps, about.
pub(super) const MAX_RECORDS: usize = 10_000;
/// So many records are read at once.
pub(super) const PAGE: usize = 1000;
/// More that could not be told, and they count as everything. There is room for as many between two
/// positions of the stream.
const MAX_UNTOLD: usize = 1000;

/// The id of a record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Id {
    pub(super) ms: u64,
    pub(super) seq: u64,
}

impl Id {
    fn read(bytes: &[u8]) -> Option<Self> {
        let (ms, seq) = std::str::from_utf8(bytes).ok()?.split_once('-')?;
        let id = Self { ms: ms.parse().ok()?, seq: seq.parse().ok()? };
        (id.ms < 1 << 42 && id.seq < 1 << 12).then_some(id)
    }

    /// Its place among all positions. Between two of them is room for what this node has purged.
    fn position(self) -> u64 {
        self.ms << 22 | self.seq << 10
    }

    pub(super) fn text(self) -> String {
        format!("{}-{}", self.ms, self.seq)
    }
}

/// A record that Redis has not been told of.
#[derive(Clone, Debug)]
pub(super) struct Untold {
    number: u64,
    pub(super) purge: Purge,
}

pub(super) struct Mirror {
    /// Who appends, so that a node knows its own records.
    pub(super) node: Box<str>,
    state: Mutex<State>,
    /// Behind a lock of its own: who appends to a log notes it here, and holds the log.
    untold: Mutex<Queue>,
    /// Rings when there is something to tell.
    pub(super) bell: Notify,
    pub(super) max_lag: Duration,
    pub(super) cut_off: crate::bus::WhenCutOff,
}

#[derive(Default)]
struct State {
    /// The name of the log, and its newest record that is known.
    log: Option<(Box<str>, Id)>,
    /// The newest that was ever known, also of another log.
    ever: Id,
    /// When all records were known.
    heard: Option<Instant>,
}

#[derive(Default)]
struct Queue {
    untold: VecDeque<Untold>,
    next: u64,
}

impl Mirror {
    pub(super) fn new(node: String, max_lag: Duration, cut_off: crate::bus::WhenCutOff) -> Self {
        let (state, untold) = (Mutex::default(), Mutex::default());
        Self { node: node.into(), state, untold, bell: Notify::new(), max_lag, cut_off }
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.untold.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The position of the newest record that Redis is known to have. 0: none.
    pub(super) fn position(&self) -> u64 {
        self.lock().log.as_ref().map_or(0, |(_, newest)| newest.position())
    }

    /// The newest record that is known.
    pub(super) fn newest(&self) -> Id {
        self.lock().log.as_ref().map_or(Id::default(), |(_, newest)| *newest)
    }

    /// The newest that was ever known: a log that ends before it has lost something.
    pub(super) fn newest_ever(&self) -> Id {
        self.lock().ever
    }

    /// The name of the log.
    pub(super) fn name(&self) -> Option<Box<str>> {
        self.lock().log.as_ref().map(|(name, _)| name.clone())
    }

    /// Whether the log has this name.
    pub(super) fn is_named(&self, name: &str) -> bool {
        self.lock().log.as_ref().is_some_and(|(own, _)| **own == *name)
    }

    /// How long ago all records were known.
    pub(super) fn lag(&self) -> Option<Duration> {
        self.lock().heard.map(|heard| heard.elapsed())
    }

    /// Whether what was purged elsewhere is known here, but for what is new.
    pub(super) fn is_heard(&self) -> bool {
        self.lag().is_some_and(|lag| lag <= self.max_lag)
    }

    /// What Redis calls the log. Another one than before: what was purged by the old one may have been
    /// lost.
    pub(super) fn open(&self, name: &str) {
        let mut state = self.lock();
        if state.log.as_ref().is_none_or(|(own, _)| **own != *name) {
            state.log = Some((name.into(), Id::default()));
            state.heard = None;
        }
    }

    /// Takes records of the stream into `log`. Gives how many there were, and whether the log is still
    /// the same.
    pub(super) fn apply(&self, log: &PurgeLog, reply: &Value) -> Result<usize, Error> {
        let Value::Array(records) = reply else { return Err(reply::failed(reply)) };
        if records.is_empty() {
            return Ok(0);
        }
        let mut state = self.lock();
        let State { log: own, ever, heard } = &mut *state;
        let Some((name, newest)) = own else { return Err(lost()) };
        for record in records {
            let record = Record::read(record).ok_or_else(lost)?;
            if record.id <= *newest {
                continue;
            }
            let position = record.id.position();
            match record.what {
                What::Begin(own) if own == **name => log.forget_before(position),
                What::Begin(_) => {
                    // Another log has begun: it is to be opened before anything is believed.
                    (*own, *heard) = (None, None);
                    return Err(lost());
                }
                What::Entry { before, ref node, is_event, entry } => {
                    if before != *newest {
                        // What lay between is not known.
                        log.forget_before(before.position());
                    }
                    let is_own = **node == *self.node;
                    let heard = if is_event && !is_own { Heard::News } else { Heard::Known };
                    match entry {
                        Entry::Purge(purge) => log.hear(position, *purge, heard),
                        Entry::Clear => log.forget_before(position),
                    }
                }
            }
            *newest = record.id;
            *ever = record.id.max(*ever);
        }
        Ok(records.len())
    }

    /// All records were known at `then`.
    pub(super) fn hear(&self, then: Instant) {
        let mut state = self.lock();
        if state.log.is_some() {
            state.heard = state.heard.max(Some(then));
        }
    }

    /// What was purged here is to be told.
    pub(super) fn note(&self, purge: &Purge, at: SystemTime) {
        // What cannot be written is taken out by walking through the store.
        let Ok(purge) = purge.clone().for_others() else { return };
        if purge.is_dry_run() {
            return;
        }
        let mut queue = self.queue();
        queue.next += 1;
        let number = queue.next;
        let purge = if queue.untold.len() >= MAX_UNTOLD {
            queue.untold.clear();
            Purge::everything()
        } else {
            purge.since(at)
        };
        queue.untold.push_back(Untold { number, purge });
        drop(queue);
        self.bell.notify_one();
    }

    pub(super) fn untold(&self) -> Vec<Untold> {
        self.queue().untold.iter().cloned().collect()
    }

    pub(super) fn has_untold(&self) -> bool {
        !self.queue().untold.is_empty()
    }

    pub(super) fn told(&self, told: &[Untold]) {
        let is_told = |untold: &Untold| told.iter().any(|told| told.number == untold.number);
        self.queue().untold.retain(|untold| !is_told(untold));
    }
}

/// Whether a fill that began at this position can be compared with the records of other nodes.
pub(super) fn is_comparable(began: u64) -> bool {
    began & 1023 < MAX_UNTOLD as u64
}

fn lost() -> Error {
    Error::corrupt("the log of purges in Redis is another one than before")
}

struct Record {
    id: Id,
    what: What,
}

enum What {
    Begin(String),
    Entry { before: Id, node: Box<str>, is_event: bool, entry: Entry },
}

enum Entry {
    Purge(Box<Purge>),
    Clear,
}

/// The kind of a record that is not a purge of the layer's.
pub(super) const CLEAR: &str = "clear";

impl Record {
    /// What cannot be read counts as everything. `None`: it is no record at all.
    fn read(value: &Value) -> Option<Self> {
        let [id, fields] = reply::array(value)? else { return None };
        let id = Id::read(reply::bytes(id)?)?;
        let fields = reply::array(fields)?;
        let find = |name: &[u8]| {
            let mut pairs = fields.chunks_exact(2);
            let pair = pairs.find(|pair| reply::bytes(&pair[0]) == Some(name))?;
            reply::bytes(&pair[1])
        };
        let text = |name| find(name).and_then(|bytes| std::str::from_utf8(bytes).ok());
        let kind = text(b"k").unwrap_or_default();
        if kind == "begin" {
            return Some(Self { id, what: What::Begin(text(b"t")?.to_owned()) });
        }
        let before = find(b"p").and_then(Id::read).unwrap_or_default();
        let entry = if kind == CLEAR {
            Entry::Clear
        } else {
            let purge = || Purge::from_parts(kind.parse().ok()?, text(b"t")?);
            let purge = purge().unwrap_or_else(Purge::everything);
            let label = text(b"b").filter(|label| !label.is_empty());
            Entry::Purge(Box::new(match label {
                Some(label) => purge.by(label),
                None => purge,
            }))
        };
        let node = text(b"n").unwrap_or_default().into();
        let is_event = find(b"e") != Some(b"0");
        Some(Self { id, what: What::Entry { before, node, is_event, entry } })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mirror() -> Mirror {
        let mirror =
            Mirror::new("here".to_owned(), Duration::from_secs(5), crate::bus::WhenCutOff::Serve);
        mirror.open("log");
        mirror
    }

    fn bulk(text: &str) -> Value {
        Value::BulkString(text.as_bytes().to_vec())
    }

    fn record(id: &str, fields: &[&str]) -> Value {
        let fields = fields.iter().map(|field| bulk(field)).collect();
        Value::Array(vec![bulk(id), Value::Array(fields)])
    }

    fn purge(id: &str, before: &str, host: &str) -> Value {
        let (kind, text) = Purge::host(host).as_parts();
        record(id, &["p", before, "n", "there", "e", "1", "k", &kind.to_string(), "t", &text])
    }

    fn begin() -> Value {
        record("5-0", &["k", "begin", "t", "log"])
    }

    #[test]
    fn records_are_taken_once_and_in_order() {
        let (mirror, log) = (mirror(), PurgeLog::new());
        let records = Value::Array(vec![begin(), purge("7-0", "5-0", "a")]);
        for _ in 0..2 {
            assert_eq!(mirror.apply(&log, &records).unwrap(), 2);
            assert_eq!(mirror.newest(), Id { ms: 7, seq: 0 });
            assert_eq!((log.position(), log.floor()), (7 << 22, 5 << 22));
        }
        mirror.apply(&log, &Value::Array(vec![purge("7-1", "7-0", "b")])).unwrap();
        assert_eq!((log.position(), log.floor()), (7 << 22 | 1 << 10, 5 << 22));
        assert_eq!(mirror.apply(&log, &Value::Array(vec![])).unwrap(), 0);
    }

    /// Scenario 0.6, "gap ⇒ flush": what is older than the record before the first that is there.
    #[test]
    fn what_lies_before_a_gap_is_gone() {
        let (mirror, log) = (mirror(), PurgeLog::new());
        mirror.apply(&log, &Value::Array(vec![begin()])).unwrap();
        mirror.apply(&log, &Value::Array(vec![purge("9-0", "8-3", "a")])).unwrap();
        assert_eq!(log.floor(), 8 << 22 | 3 << 10);
        assert_eq!(mirror.newest(), Id { ms: 9, seq: 0 });
    }

    #[test]
    fn another_log_is_to_be_opened() {
        let (mirror, log) = (mirror(), PurgeLog::new());
        mirror.apply(&log, &Value::Array(vec![begin()])).unwrap();
        mirror.hear(Instant::now());
        let other = record("9-0", &["k", "begin", "t", "other"]);
        assert!(mirror.apply(&log, &Value::Array(vec![other.clone()])).is_err());
        assert_eq!((mirror.name(), mirror.lag()), (None, None));
        mirror.open("other");
        mirror.apply(&log, &Value::Array(vec![other])).unwrap();
        assert_eq!(log.floor(), 9 << 22);
    }

    /// Bad input: what another program wrote into the stream.
    #[test]
    fn what_cannot_be_read_counts_as_everything() {
        for fields in [["p", "5-0", "k", "200"], ["p", "5-0", "k", "rubbish"]] {
            let (mirror, log) = (mirror(), PurgeLog::new());
            mirror.apply(&log, &Value::Array(vec![begin(), record("6-0", &fields)])).unwrap();
            assert_eq!(log.floor(), 6 << 22);
        }
        let (mirror, log) = (mirror(), PurgeLog::new());
        for rubbish in [Value::Nil, record("x", &[]), record("99999999999999999999-0", &[])] {
            assert!(mirror.apply(&log, &Value::Array(vec![rubbish])).is_err());
        }
        assert!(mirror.apply(&log, &Value::Nil).is_err());
    }

    #[test]
    fn too_many_that_could_not_be_told_are_everything() {
        let mirror = mirror();
        for n in 0..MAX_UNTOLD + 1 {
            mirror.note(&Purge::host(&n.to_string()), SystemTime::UNIX_EPOCH);
        }
        let untold = mirror.untold();
        assert_eq!(untold.len(), 1);
        assert_eq!(untold[0].purge, Purge::everything());
        mirror.note(&Purge::matching(|_, _| true), SystemTime::UNIX_EPOCH);
        mirror.told(&untold);
        assert!(!mirror.has_untold());
    }
}
