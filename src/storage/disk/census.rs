//! Seeing what is really there.

use std::{
    ffi::OsStr,
    fs, io,
    time::{Duration, Instant},
};

use super::{name::Name, store::Store};

/// When the disk was looked at, and how long that took.
#[derive(Default)]
pub(super) struct Census {
    last: Option<(Instant, Duration)>,
}

/// While there are guests, what they have stored and removed is looked for so often,
const OFTEN: Duration = Duration::from_secs(60);
/// but not for more than this part of the time.
const PART: u32 = 20;

impl Census {
    /// Sees all files, and forgets those that have gone.
    pub(super) fn take(&mut self, store: &Store) {
        let start = Instant::now();
        store.directory.sweep();
        store.records.doubt_all();
        if let Ok(true) = see_all(store) {
            for name in store.records.doubted() {
                // It may have come after its directory was looked at.
                let found = fs::symlink_metadata(store.directory.path(name));
                if found.is_err_and(|error| error.kind() == io::ErrorKind::NotFound) {
                    store.records.remove(name);
                }
            }
            // Only then does what was not seen count as not there.
            store.records.set_complete(true);
        }
        self.last = Some((Instant::now(), start.elapsed()));
    }

    /// Sees what other processes have done to the files.
    pub(super) fn follow_guests(&mut self, store: &Store) {
        if store.catalog.is_none() || !store.directory.has_guests() {
            return;
        }
        let is_due = self.last.is_none_or(|(at, took)| at.elapsed() > OFTEN.max(took * PART));
        let have_gone = store.directory.dismiss_guests();
        if have_gone {
            // What they have left is found, if not by the records.
            store.records.set_complete(false);
        }
        if have_gone || is_due {
            self.take(store);
        }
    }
}

/// `false`: broken off.
fn see_all(store: &Store) -> io::Result<bool> {
    for directory in fs::read_dir(store.directory.files())? {
        let directory = directory?;
        let (path, name) = (directory.path(), directory.file_name());
        for file in fs::read_dir(&path)? {
            let file = file?;
            if store.bell.is_closed() {
                return Ok(false);
            }
            // A file that has gone meanwhile is no file.
            if let (Some(name), Ok(found)) = (parse(&name, &file.file_name()), file.metadata()) {
                store.records.discover(name, found.len());
            }
        }
        if store.records.has_many_changes() {
            store.flush_catalog(false);
        }
    }
    Ok(true)
}

fn parse(directory: &OsStr, file: &OsStr) -> Option<Name> {
    Name::parse(directory.to_str()?, file.to_str()?)
}
