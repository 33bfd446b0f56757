//! What goes on in the background: seeing what is there, making room, removing, syncing.

use std::{
    fs, io,
    path::Path,
    sync::{Condvar, Mutex, PoisonError, atomic::Ordering},
    time::{Duration, Instant},
};

use super::{Durability, census::Census, pool::lock, store::Store};

/// Wakes the keeper.
#[derive(Default)]
pub(super) struct Bell {
    state: Mutex<State>,
    rung: Condvar,
}

#[derive(Default)]
struct State {
    is_rung: bool,
    is_closed: bool,
}

impl Bell {
    pub(super) fn ring(&self) {
        lock(&self.state).is_rung = true;
        self.rung.notify_all();
    }

    pub(super) fn close(&self) {
        lock(&self.state).is_closed = true;
        self.rung.notify_all();
    }

    pub(super) fn is_closed(&self) -> bool {
        lock(&self.state).is_closed
    }

    /// Waits to be rung. `false`: it is over.
    fn wait(&self, limit: Duration) -> bool {
        let state = lock(&self.state);
        let (mut state, _) = self
            .rung
            .wait_timeout_while(state, limit, |state| !state.is_rung && !state.is_closed)
            .unwrap_or_else(PoisonError::into_inner);
        state.is_rung = false;
        !state.is_closed
    }

    /// Lets others have the disk, unless it is over.
    pub(super) fn rest(&self) {
        let state = lock(&self.state);
        let _ = self.rung.wait_timeout_while(state, PAUSE, |state| !state.is_closed);
    }
}

/// Removing files can take milliseconds each: so many, then a pause.
const AT_ONCE: usize = 64;
const PAUSE: Duration = Duration::from_millis(1);
/// How often a full disk is looked at.
const PROBE: Duration = Duration::from_secs(1);
/// How often the catalog is told what was used.
const USES: Duration = Duration::from_secs(60);
/// The shortest interval between two syncs.
const SHORTEST: Duration = Duration::from_millis(10);
/// So much must be free for writing to go on, whatever the options say.
const MIN_FREE: u64 = 1 << 20;
/// So long a crash may outlive what the catalog was not told. A scan finds out most of it.
const TELL: Duration = Duration::from_secs(10);

/// Keeps the store until the bell is closed.
pub(super) fn keep(store: &Store) {
    let mut census = Census::default();
    if let Some(catalog) = &store.catalog {
        lock(catalog).load(&store.records, || !store.bell.is_closed());
        census.take(store);
    }
    let interval = match store.options.durability {
        Durability::Periodic(interval) => interval.max(SHORTEST),
        Durability::Relaxed | Durability::Strict => TELL,
    };
    let (mut sync, mut uses) = (Due::every(interval), Due::every(USES));
    loop {
        empty_trash(store);
        make_room(store);
        recover(store);
        let is_paused = store.is_paused.load(Ordering::Acquire);
        let probes = is_paused || store.options.min_free_bytes > 0;
        let goes_on = store.bell.wait(interval.min(if probes { PROBE } else { TELL }));
        if sync.is_due() || !goes_on {
            store.sync_recent();
        }
        if !is_paused || !goes_on {
            store.flush_catalog(uses.is_due() || !goes_on);
        }
        if !goes_on {
            empty_trash(store);
            return;
        }
        census.follow_guests(store);
    }
}

/// What is done now and then.
struct Due {
    interval: Duration,
    last: Instant,
}

impl Due {
    fn every(interval: Duration) -> Self {
        Self { interval, last: Instant::now() }
    }

    /// Whether it is time for it; then it is done now.
    fn is_due(&mut self) -> bool {
        let is_due = self.last.elapsed() >= self.interval;
        if is_due {
            self.last = Instant::now();
        }
        is_due
    }
}

fn empty_trash(store: &Store) {
    for path in store.directory.take_trash() {
        let removed = fs::remove_file(&path);
        if removed.is_err_and(|error| error.kind() != io::ErrorKind::NotFound) {
            remove_tree(store, &path);
        }
    }
}

/// As `remove_dir_all`, with pauses.
fn remove_tree(store: &Store, path: &Path) {
    for (n, entry) in fs::read_dir(path).into_iter().flatten().flatten().enumerate() {
        if store.bell.is_closed() {
            return;
        }
        if n % AT_ONCE == AT_ONCE - 1 {
            store.bell.rest();
        }
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => remove_tree(store, &entry.path()),
            _ => drop(fs::remove_file(entry.path())),
        }
    }
    let _ = fs::remove_dir(path);
}

/// Above a bound, goes to 95 % of it.
fn make_room(store: &Store) {
    let (max_bytes, max_entries) = (store.options.max_bytes, store.options.max_entries);
    if store.used() > max_bytes || store.records.len() > max_entries {
        let (bytes, entries) = (max_bytes - max_bytes / 20, max_entries - max_entries / 20);
        evict_while(store, || store.used() > bytes || store.records.len() > entries);
    }
}

fn evict_while(store: &Store, is_needed: impl Fn() -> bool) {
    let mut count = 0;
    while is_needed() && !store.bell.is_closed() {
        let Some(name) = store.records.evict() else { return };
        // The record has gone. If a new response takes the name meanwhile, its record is its own.
        let _ = fs::remove_file(store.directory.path(name));
        count += 1;
        if count % AT_ONCE == 0 {
            store.bell.rest();
        }
    }
}

/// Looks at the file system: what is stored gives way to what is not, and writing goes on when there
/// is space.
fn recover(store: &Store) {
    let enough = store.options.min_free_bytes.max(MIN_FREE);
    let is_short = || store.directory.free_bytes().is_ok_and(|free| free < enough);
    let is_paused = store.is_paused.load(Ordering::Acquire);
    if is_paused || (store.options.min_free_bytes > 0 && is_short()) {
        store.is_paused.store(true, Ordering::Release);
        if is_paused && !is_short() {
            // Bytes are not all that a file system runs out of: something has to go all the same.
            let goal = store.records.len() * 19 / 20;
            evict_while(store, || store.records.len() > goal);
        }
        evict_while(store, is_short);
        if !is_short() {
            store.is_paused.store(false, Ordering::Release);
        }
    }
}

#[cfg(test)]
mod tests {
    use rustix::io::Errno;

    use crate::storage::{
        DiskManager,
        disk::{name::Name, records::Known},
    };

    /// A quota is as good as a full disk: something goes, and then writing goes on by itself.
    #[test]
    fn what_there_is_no_space_for_makes_room() {
        let path = std::env::temp_dir().join(format!("larder-keeper-{}", std::process::id()));
        let manager = DiskManager::open(&path).unwrap();
        let store = &manager.inner.store;
        // These have no files: the keeper must have looked before.
        while store.records.known(Name::from_bytes([0; 16])) != Known::Absent {
            std::thread::yield_now();
        }
        for n in 0..40 {
            store.records.insert(Name::from_bytes([n; 16]), 5000, None);
        }
        drop(store.failed(Errno::IO.into()));
        store.allow_writing().unwrap();
        for errno in [Errno::NOSPC, Errno::DQUOT] {
            let before = store.records.len();
            drop(store.failed(errno.into()));
            while store.records.len() == before || store.allow_writing().is_err() {
                std::thread::yield_now();
            }
        }
        assert!(store.records.len() < 40);
        drop(manager);
        std::fs::remove_dir_all(path).unwrap();
    }
}
