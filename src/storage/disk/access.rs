//! Opening and reading files, with or without waiting for the disk.

use std::{
    borrow::Cow,
    fs::File,
    io::{self, Seek, SeekFrom},
    os::unix::fs::FileExt,
    path::Path,
};

use rustix::io::Errno;

use super::{cached, directory::read_only, layout::Damaged};

/// Why there is no record.
#[derive(Debug)]
pub(super) enum Absent {
    /// There is no such file, or it is another key's.
    Missing,
    Damaged,
    Failed(io::Error),
}

impl From<Damaged> for Absent {
    fn from(_: Damaged) -> Self {
        Self::Damaged
    }
}

impl From<io::Error> for Absent {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound => Self::Missing,
            // A file that is shorter than it says.
            io::ErrorKind::UnexpectedEof => Self::Damaged,
            // A link that somebody put in the place of a file.
            _ if Errno::from_io_error(&error) == Some(Errno::LOOP) => Self::Damaged,
            _ => Self::Failed(error),
        }
    }
}

/// So much is read of a file to see how long its header is.
pub(super) const FIRST: usize = 4 << 10;

/// Whether to wait for the disk.
#[derive(Clone, Copy)]
pub(super) enum Patience {
    Wait,
    /// An error instead, if the system does not have it in memory.
    Never,
}

impl Patience {
    pub(super) fn open(self, path: &Path) -> io::Result<File> {
        match self {
            Self::Wait => read_only(path),
            Self::Never => cached::open(path),
        }
    }

    /// Gives `take` a file, its length and its first bytes: all of one that is not larger than
    /// `small`. Who thinks that it `is_large` has less of it read to begin with.
    pub(super) fn begin<T>(
        self,
        file: File,
        small: u64,
        is_large: bool,
        take: impl FnOnce(File, u64, Cow<'_, [u8]>) -> Result<T, Absent>,
    ) -> Result<T, Absent> {
        let first = match self {
            Self::Wait => return self.go_on(file, small, &[], take),
            Self::Never if is_large => FIRST,
            Self::Never => cached::MOST,
        };
        cached::begin(file, first, |file, read, is_whole| match is_whole {
            // If the rest is not in memory, what was read does not end with a footer.
            true => take(file, read.len() as u64, Cow::Borrowed(read)),
            false => self.go_on(file, small, read, take),
        })
    }

    fn go_on<T>(
        self,
        file: File,
        small: u64,
        read: &[u8],
        take: impl FnOnce(File, u64, Cow<'_, [u8]>) -> Result<T, Absent>,
    ) -> Result<T, Absent> {
        let length = length(&file)?;
        let at_once = if length <= small { length as usize } else { FIRST };
        if let Some(all) = read.get(..at_once) {
            return take(file, length, Cow::Borrowed(all));
        }
        let mut bytes = vec![0; at_once];
        let (before, rest) = bytes.split_at_mut(read.len());
        before.copy_from_slice(read);
        self.read_exact_at(&file, rest, read.len() as u64)?;
        take(file, length, Cow::Owned(bytes))
    }

    pub(super) fn read_exact_at(self, file: &File, bytes: &mut [u8], at: u64) -> io::Result<()> {
        match self {
            _ if bytes.is_empty() => Ok(()),
            Self::Wait => file.read_exact_at(bytes, at),
            Self::Never => cached::read_exact_at(file, bytes, at),
        }
    }
}

/// As `File::metadata` says, in a third of the time.
fn length(mut file: &File) -> io::Result<u64> {
    file.seek(SeekFrom::End(0))
}
