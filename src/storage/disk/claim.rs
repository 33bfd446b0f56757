//! Who has a directory: one owner, who keeps it clean and within its bounds, and guests.
//!
//! The owner holds the file `lock`. While there are guests there is the file `guests`, and each of
//! them holds it together with the others: whoever gets it alone knows that all have gone.

use std::{
    fs::{self, File, TryLockError},
    io,
    os::unix::fs::MetadataExt,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use super::directory::private;
use crate::Error;

pub(super) const LOCK: &str = "lock";
pub(super) const GUESTS: &str = "guests";

/// A directory's place for this store. It is given up when this is dropped.
pub(super) enum Claim {
    Owner(File),
    Guest(File),
}

/// What others do under a lock takes far less.
const PATIENCE: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(1);

impl Claim {
    /// Gets the directory, if nobody else has it.
    pub(super) fn own(root: &Path) -> io::Result<Option<Self>> {
        let file = open(&root.join(LOCK))?;
        Ok(is_held(file.try_lock())?.then_some(Self::Owner(file)))
    }

    /// Enters as a guest. `None`: the owner is about to take the mark away; try again.
    pub(super) fn visit(root: &Path) -> io::Result<Option<Self>> {
        let path = root.join(GUESTS);
        let file = open(&path)?;
        let held = file.metadata()?.ino();
        let is_in = is_held(file.try_lock_shared())?
            && fs::metadata(&path).is_ok_and(|found| found.ino() == held);
        Ok(is_in.then_some(Self::Guest(file)))
    }

    pub(super) fn is_owner(&self) -> bool {
        matches!(self, Self::Owner(_))
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let (Self::Owner(file) | Self::Guest(file)) = self;
        // Not only closed: a child process may have been forked, and not have closed it yet.
        let _ = file.unlock();
    }
}

/// Takes the mark away if all guests have gone. For the owner. `true`: there is none now.
pub(super) fn dismiss_guests(root: &Path) -> io::Result<bool> {
    let path = root.join(GUESTS);
    let file = match File::options().write(true).open(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(true),
        opened => opened?,
    };
    if !is_held(file.try_lock())? {
        return Ok(false);
    }
    // Who has opened it meanwhile sees that it is not the mark any more.
    fs::remove_file(path)?;
    Ok(true)
}

/// A lock that no process holds for long. It ends when this is dropped.
pub(super) struct Exclusive<'a>(&'a File);

impl<'a> Exclusive<'a> {
    /// Waits for whoever holds it. `file` is used by one thread at a time.
    pub(super) fn lock(file: &'a File) -> Result<Self, Error> {
        let start = Instant::now();
        while !is_held(file.try_lock()).map_err(Error::other)? {
            // A process that was stopped must not stop this one.
            if start.elapsed() > PATIENCE {
                return Err(Error::other("another process does not let go of a lock"));
            }
            thread::sleep(PAUSE);
        }
        Ok(Self(file))
    }
}

impl Drop for Exclusive<'_> {
    fn drop(&mut self) {
        let _ = self.0.unlock();
    }
}

fn is_held(tried: Result<(), TryLockError>) -> io::Result<bool> {
    match tried {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// A file to hold.
pub(super) fn open(path: &Path) -> io::Result<File> {
    private().create(true).truncate(false).open(path)
}
