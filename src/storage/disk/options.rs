use std::{path::Path, time::Duration};

use super::DiskManager;
use crate::Error;

/// What of a [`DiskManager`] survives a power failure. A process that ends or is killed loses
/// nothing that was stored, and wrong bytes are never served, whatever is chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// What the system has written by itself: the last seconds may be missing, and a resource that
    /// was invalidated by an unsafe method in them may be back. Purges are kept.
    #[default]
    Relaxed,
    /// What is older than this: recent files, and the directories in which files have appeared or
    /// gone, are synced in the background.
    Periodic(Duration),
    /// Everything: each response is synced before it is found.
    Strict,
}

/// How a [`DiskManager`] is opened.
///
/// ```no_run
/// use larder::storage::DiskOptions;
///
/// let store = DiskOptions::new().max_bytes(20 << 30).open("/var/cache/site")?;
/// # Ok::<(), larder::Error>(())
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct DiskOptions {
    pub(super) max_bytes: u64,
    pub(super) max_entry_bytes: Option<u64>,
    pub(super) max_entries: u64,
    pub(super) min_free_bytes: u64,
    pub(super) durability: Durability,
}

impl DiskOptions {
    /// At most 1 GiB in at most a million files.
    pub fn new() -> Self {
        Self {
            max_bytes: 1 << 30,
            max_entry_bytes: None,
            max_entries: 1_000_000,
            min_free_bytes: 0,
            durability: Durability::default(),
        }
    }

    /// The most that the files may take of the file system. What was used longest ago goes, in the
    /// background; a store that is a tenth above this takes nothing more until it has gone.
    pub fn max_bytes(self, bytes: u64) -> Self {
        Self { max_bytes: bytes, ..self }
    }

    /// The largest body that is stored. Default: an eighth of [`max_bytes`](Self::max_bytes).
    pub fn max_entry_bytes(self, bytes: u64) -> Self {
        Self { max_entry_bytes: Some(bytes), ..self }
    }

    /// The largest number of files. Each takes up to 150 bytes of memory.
    pub fn max_entries(self, entries: u64) -> Self {
        Self { max_entries: entries, ..self }
    }

    /// What is left free of the file system. Below it nothing is written, and what is stored gives
    /// way. Looked at once a second, so a burst may go below it for as long.
    pub fn min_free_bytes(self, bytes: u64) -> Self {
        Self { min_free_bytes: bytes, ..self }
    }

    /// What survives a power failure.
    pub fn durability(self, durability: Durability) -> Self {
        Self { durability, ..self }
    }

    /// Opens the store in `directory`, which is made if it is not there. If another store has it, this
    /// one is a [guest](DiskManager::is_guest).
    ///
    /// # Errors
    ///
    /// If it is no directory, or has files that are not of a store ([`Error::is_invalid`]), if it is
    /// in use by another version, or cannot be written.
    pub fn open(self, directory: impl AsRef<Path>) -> Result<DiskManager, Error> {
        DiskManager::with_options(directory.as_ref(), self)
    }

    pub(super) fn entry_bytes(&self) -> u64 {
        self.max_entry_bytes.unwrap_or(self.max_bytes / 8).min(self.max_bytes)
    }
}

impl Default for DiskOptions {
    fn default() -> Self {
        Self::new()
    }
}
