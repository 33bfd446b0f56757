//! The log of purges, kept in a file of its own.
//!
//! The file is `magic, version, position (8), floor (8), length (8), CRC | records`. A record is
//! `position (8), kind, length (4) | text | CRC`. Records are written first and the header then, and
//! both are synced before a purge returns. So a header vouches for all purges up to its position: a
//! file that is shorter than its header says, or damaged anywhere, vouches for nothing, and then
//! nothing that is stored may be served.

mod format;

use std::{
    fs::{self, File},
    io::{self, Read},
    os::unix::fs::FileExt,
    sync::{Arc, Mutex, PoisonError, RwLock},
};

use self::format::{HEADER, decode, header, write_record};
use super::{
    claim::Exclusive,
    directory::{Directory, PURGES, read_write},
    pool::{Need, Queue, lock},
};
use crate::{
    Error,
    clock::BoxFuture,
    purge::{Persist, Purge, PurgeLog, Records},
};

/// A file with more records than this is written again; a log holds half of it.
const MAX_RECORDS: usize = 2 << 16;
/// The number of the lock under which the file is changed.
const LOCK: usize = 0xff;
/// More than so many records could take.
const MAX_BYTES: u64 = 1 << 30;

/// The file of a log. Other processes may have it open, too: it is changed under a lock, and before a
/// look-up it is seen whether it is as it was.
pub(super) struct PurgeFile {
    directory: Arc<Directory>,
    lock: File,
    state: Mutex<State>,
    seen: RwLock<Seen>,
}

/// What of the log is in the file.
struct State {
    /// Not there if it could not be written.
    file: Option<Arc<File>>,
    position: u64,
    floor: u64,
    length: u64,
    records: usize,
}

/// How the file was left.
enum Seen {
    As(Arc<File>, Stamp),
    /// This process is writing it, under the lock.
    Ours,
    Nothing,
}

/// Tells whether a file has been changed or replaced. What is appended makes it longer.
#[derive(PartialEq, Eq)]
struct Stamp {
    length: u64,
    modified: (i64, i64),
    links: u64,
}

impl PurgeFile {
    /// The file and what is in it. Nothing, and everything that is stored is forgotten, if it cannot
    /// be trusted: it is damaged, or ends before a position that was known to be in it.
    pub(super) fn open(directory: Arc<Directory>, known: u64) -> Result<(Self, Records), Error> {
        let lock = directory.lock_file(LOCK).map_err(Error::other)?;
        let (state, kept) = {
            let _held = Exclusive::lock(&lock)?;
            let found = read(&directory).filter(|(_, kept)| kept.position >= known);
            found.map_or_else(
                || {
                    directory.clear()?;
                    let nothing = Records { position: known, floor: known, records: Vec::new() };
                    Ok((rewrite(&directory, &nothing)?, nothing))
                },
                Ok,
            )
        }
        .map_err(|error: io::Error| Error::other(error))?;
        let seen = RwLock::new(state.seen());
        Ok((Self { directory, lock, state: Mutex::new(state), seen }, kept))
    }

    /// Whether no other process has written to it. Does not wait for the disk.
    pub(super) fn is_current(&self) -> bool {
        match &*self.seen.read().unwrap_or_else(PoisonError::into_inner) {
            Seen::As(file, stamp) => Stamp::of(file).is_some_and(|now| now == *stamp),
            Seen::Ours => true,
            Seen::Nothing => false,
        }
    }

    /// Takes into `log` what other processes have written.
    pub(super) fn refresh(&self, log: &PurgeLog) -> Result<(), Error> {
        if self.is_current() {
            return Ok(());
        }
        let state = &mut *lock(&self.state);
        let _held = Exclusive::lock(&self.lock)?;
        self.catch_up(state, log).map_err(Error::other)
    }

    /// The position that the file is known to have.
    pub(super) fn position(&self) -> u64 {
        lock(&self.state).position
    }

    /// Writes what is in `log` if the file does not go as far as `position`.
    ///
    /// A response that began there must not be found by a process that has not heard of that
    /// position: it would give it to another purge, which the response would then outlive.
    pub(super) fn reach(&self, position: u64, log: &PurgeLog) -> Result<(), Error> {
        if self.position() < position { self.persist(log) } else { Ok(()) }
    }

    /// Writes what is in `log` and not in the file.
    pub(super) fn persist(&self, log: &PurgeLog) -> Result<(), Error> {
        let state = &mut *lock(&self.state);
        let _held = Exclusive::lock(&self.lock)?;
        self.catch_up(state, log).map_err(Error::other)?;
        let news = log.since(state.position);
        if state.file.is_some() && news.position == state.position {
            return Ok(());
        }
        self.see(Seen::Ours);
        let written = match state.append(&news) {
            Ok(()) => Ok(()),
            Err(_) => self.rewrite_or_remove(state, log),
        };
        self.see(state.seen());
        written.map_err(Error::other)
    }

    /// The caller holds the lock.
    fn catch_up(&self, state: &mut State, log: &PurgeLog) -> io::Result<()> {
        if self.is_current() {
            return Ok(());
        }
        let is_whole = match read(&self.directory) {
            Some((found, kept)) => {
                let agrees = log.merge(&kept, state.position);
                *state = found;
                agrees
            }
            // Whatever it has lost, nothing that is older is served. If it is this process that
            // could not write it, nothing is lost.
            None => {
                if state.file.is_some() {
                    log.append(Purge::everything());
                }
                false
            }
        };
        let written = if is_whole { Ok(()) } else { self.rewrite_or_remove(state, log) };
        self.see(state.seen());
        written
    }

    fn rewrite_or_remove(&self, state: &mut State, log: &PurgeLog) -> io::Result<()> {
        if let Ok(written) = rewrite(&self.directory, &log.since(0)) {
            *state = written;
            return Ok(());
        }
        // A disk that is full still takes a removal, and without a file nothing is trusted.
        state.file = None;
        let path = self.directory.own(PURGES);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => path.parent().map_or(Ok(()), |root| File::open(root)?.sync_all()),
        }
    }

    fn see(&self, seen: Seen) {
        *self.seen.write().unwrap_or_else(PoisonError::into_inner) = seen;
    }
}

impl Stamp {
    fn of(file: &File) -> Option<Self> {
        // As `File::metadata` says, in half the time: every look-up asks.
        let found = rustix::fs::fstat(file).ok()?;
        let modified = (found.st_mtime as i64, found.st_mtime_nsec as i64);
        Some(Self { length: found.st_size as u64, modified, links: found.st_nlink as u64 })
    }
}

impl State {
    fn of(file: File, kept: &Records, length: u64) -> Self {
        let Records { position, floor, ref records } = *kept;
        Self { file: Some(Arc::new(file)), position, floor, length, records: records.len() }
    }

    fn seen(&self) -> Seen {
        let file = self.file.as_ref();
        file.and_then(|file| Some(Seen::As(file.clone(), Stamp::of(file)?)))
            .unwrap_or(Seen::Nothing)
    }

    fn append(&mut self, news: &Records) -> io::Result<()> {
        let records = self.records + news.records.len();
        // What makes all older records superfluous, and what is too long, is written anew.
        let is_short = records <= MAX_RECORDS && news.floor == self.floor;
        let Some(file) = self.file.as_ref().filter(|_| is_short) else {
            return Err(io::Error::other("the file is to be written again"));
        };
        let mut bytes = Vec::new();
        news.records.iter().for_each(|(seq, purge)| write_record(&mut bytes, *seq, purge));
        let (end, length) = (HEADER as u64 + self.length, self.length + bytes.len() as u64);
        // What a process left that ended here: others see that the file grows.
        if file.metadata()?.len() > end {
            file.set_len(end)?;
        }
        file.write_all_at(&bytes, end)?;
        file.write_all_at(&header(news, length), 0)?;
        file.sync_data()?;
        (self.position, self.length, self.records) = (news.position, length, records);
        Ok(())
    }
}

/// What is in the file, if it can be trusted.
fn read(directory: &Directory) -> Option<(State, Records)> {
    let file = read_write(&directory.own(PURGES)).ok()?;
    let mut bytes = Vec::new();
    (&file).take(MAX_BYTES).read_to_end(&mut bytes).ok()?;
    let (kept, length) = decode(&bytes)?;
    Some((State::of(file, &kept, length), kept))
}

fn rewrite(directory: &Directory, all: &Records) -> io::Result<State> {
    let mut bytes = vec![0; HEADER];
    all.records.iter().for_each(|(seq, purge)| write_record(&mut bytes, *seq, purge));
    let length = (bytes.len() - HEADER) as u64;
    bytes[..HEADER].copy_from_slice(&header(all, length));
    let file = directory.replace(PURGES, &bytes)?;
    Ok(State::of(file, all, length))
}

/// Has the I/O threads keep a log.
pub(super) struct Keeper {
    pub(super) file: Arc<PurgeFile>,
    pub(super) queue: Arc<Queue>,
}

impl Persist for Keeper {
    fn is_current(&self) -> bool {
        self.file.is_current()
    }

    fn persist(&self, log: &PurgeLog) -> BoxFuture<Result<(), Error>> {
        let (file, queue, log) = (self.file.clone(), self.queue.clone(), log.clone());
        Box::pin(async move { queue.run(Need::Required, move |_, _| file.persist(&log)).await })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(appended: &[&str]) -> PurgeLog {
        let log = PurgeLog::new();
        for host in appended {
            log.append(Purge::host(host));
        }
        log
    }

    fn selectors(records: &Records) -> Vec<String> {
        records.records.iter().map(|(_, purge)| purge.to_string()).collect()
    }

    #[test]
    fn news_of_one_side_are_taken_as_they_are() {
        let kept = log(&["a", "b"]).since(0);
        let behind = log(&["a"]);
        assert!(behind.merge(&kept, 1));
        assert_eq!(behind.since(0), kept);
        let ahead = log(&["a", "b", "c"]);
        assert!(ahead.merge(&kept, 2));
        assert_eq!(ahead.since(2), log(&["a", "b", "c"]).since(2), "what is to be appended");
        let kept = Records { position: 9, floor: 9, records: Vec::new() };
        assert!(ahead.merge(&kept, 3));
        assert_eq!(ahead.since(0), kept, "everything was purged");
    }

    /// Two processes gave a position to different purges: a response that began there may be older
    /// than either.
    #[test]
    fn positions_that_were_given_twice_are_given_again() {
        let (own, theirs) = (log(&["a", "own"]), log(&["a", "theirs"]).since(0));
        assert!(!own.merge(&theirs, 1));
        let all = own.since(0);
        assert_eq!(selectors(&all), ["host a", "host own", "host theirs"]);
        assert!(all.records[1..].iter().all(|(seq, _)| *seq > 2) && all.position == 4);
        let everything = Records { position: 2, floor: 2, records: Vec::new() };
        let own = log(&["a", "own"]);
        assert!(!own.merge(&everything, 1));
        let all = own.since(0);
        assert!(all.floor > 2 && all.position >= all.floor, "{all:?}");
        assert_eq!(selectors(&all), ["host own"]);
    }

    /// What is kept ends before it did: nobody knows which of it is new.
    #[test]
    fn a_log_that_was_exchanged_loses_nothing() {
        let (own, theirs) = (log(&["a", "b", "c"]), log(&["x"]).since(0));
        assert!(!own.merge(&theirs, 3));
        let all = own.since(0);
        assert_eq!(selectors(&all), ["host a", "host b", "host c", "host x"]);
        assert_eq!(all.position, 4);
    }
}
