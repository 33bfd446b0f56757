use std::{
    fs::File,
    io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use super::{
    directory::Directory,
    layout::{Footer, PIECE, piece_sum},
    spare::Spares,
};

/// A file that nobody finds yet. Dropped, it is removed.
pub(super) struct Temporary {
    directory: Arc<Directory>,
    file: File,
    path: PathBuf,
    is_placed: bool,
}

impl Temporary {
    pub(super) fn new(directory: Arc<Directory>) -> io::Result<Self> {
        let (file, path) = directory.temporary()?;
        Ok(Self { directory, file, path, is_placed: false })
    }

    pub(super) fn file(&self) -> &File {
        &self.file
    }

    /// Puts it in place, of what was there, too.
    pub(super) fn place(mut self, target: &Path) -> io::Result<()> {
        self.directory.with_parent(target, || std::fs::rename(&self.path, target))?;
        self.is_placed = true;
        Ok(())
    }

    /// Removes it now, where nothing is done in the background any more.
    pub(super) fn remove(mut self) {
        let _ = std::fs::remove_file(&self.path);
        self.is_placed = true;
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if !self.is_placed {
            self.directory.discard(&self.path);
        }
    }
}

/// What is reserved for files that are being written. Given back when it is dropped.
pub(super) struct Reserved {
    all: Arc<AtomicU64>,
    bytes: u64,
}

impl Reserved {
    pub(super) fn new(all: Arc<AtomicU64>) -> Self {
        Self { all, bytes: 0 }
    }

    fn add(&mut self, bytes: u64) {
        self.all.fetch_add(bytes, Ordering::Relaxed);
        self.bytes += bytes;
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        self.all.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// A body that is being written: the file begins with a gap for what is known only at its end.
pub(super) struct Draft {
    id: u64,
    /// The length of the gap.
    prefix: u64,
    temporary: Option<Temporary>,
    length: u64,
    sums: Vec<u8>,
    /// The sum of the piece that is not whole yet.
    open: Option<crc32fast::Hasher>,
    reserved: Reserved,
}

impl Draft {
    pub(super) fn new(id: u64, prefix: u64, reserved: Reserved) -> Self {
        Self { id, prefix, temporary: None, length: 0, sums: Vec::new(), open: None, reserved }
    }

    pub(super) fn id(&self) -> u64 {
        self.id
    }

    /// Writes more of the body.
    pub(super) fn append(&mut self, spares: &Spares, bytes: &[u8]) -> io::Result<()> {
        let temporary = match self.temporary.take() {
            Some(temporary) => temporary,
            None => spares.take()?,
        };
        temporary.file().write_all_at(bytes, self.prefix + self.length)?;
        self.temporary = Some(temporary);
        self.reserved.add(bytes.len() as u64);
        self.sum(bytes);
        Ok(())
    }

    fn sum(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let room = PIECE - self.length % PIECE;
            let take = usize::try_from(room).unwrap_or(usize::MAX).min(bytes.len());
            let (piece, rest) = bytes.split_at(take);
            let (id, n) = (self.id, self.length / PIECE);
            self.open.get_or_insert_with(|| piece_sum(id, n)).update(piece);
            self.length += take as u64;
            if self.length.is_multiple_of(PIECE) {
                self.close_piece();
            }
            bytes = rest;
        }
    }

    fn close_piece(&mut self) {
        if let Some(sum) = self.open.take() {
            self.sums.extend_from_slice(&sum.finalize().to_le_bytes());
        }
    }

    /// Writes the rest of the body and what belongs behind and before it. Gives the file and its
    /// length.
    pub(super) fn finish(
        mut self,
        spares: &Spares,
        mut prefix: Vec<u8>,
        rest: &[u8],
        trailers: &[u8],
    ) -> io::Result<(Temporary, u64)> {
        debug_assert_eq!(prefix.len() as u64, self.prefix);
        let written = self.length;
        self.sum(rest);
        self.close_piece();
        let trailers_length = u32::try_from(trailers.len()).map_err(io::Error::other)?;
        let footer = Footer { length: self.length, trailers: trailers_length, id: self.id };
        let mut behind = Vec::with_capacity(self.sums.len() + trailers.len() + 64);
        behind.extend_from_slice(&self.sums);
        behind.extend_from_slice(trailers);
        footer.write(&mut behind);
        let length = self.prefix + self.length + behind.len() as u64;
        let temporary = match self.temporary.take() {
            Some(temporary) => {
                let file = temporary.file();
                file.write_all_at(rest, self.prefix + written)?;
                file.write_all_at(&behind, self.prefix + self.length)?;
                file.write_all_at(&prefix, 0)?;
                temporary
            }
            // A small response is one write.
            None => {
                prefix.reserve_exact(rest.len() + behind.len());
                prefix.extend_from_slice(rest);
                prefix.extend_from_slice(&behind);
                let temporary = spares.take()?;
                temporary.file().write_all_at(&prefix, 0)?;
                temporary
            }
        };
        Ok((temporary, length))
    }
}
