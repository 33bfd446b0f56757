//! The list of what is stored, kept in a file. It says at once what a scan finds out slowly, and what
//! no scan can see: which file was used last, which of them share a bound. It is never trusted: what
//! is found is decided by the files, and a scan after each start puts it right.
//!
//! The file is `magic 8, version 4, uses 4, lines of the snapshot 8, position of the purge log 8, CRC
//! 4 | lines`: a snapshot, and behind it what has changed since. When that is longer the file is
//! written anew and renamed. All lines have the same length, so that one that is damaged hides no
//! other: `kind 4, blocks 4, use 4, name 16, resource 8, CRC 4`.

#[cfg(test)]
mod tests;

use std::{
    fs::{self, File},
    io::{self, BufWriter, Read, Seek, SeekFrom, Write},
    os::unix::fs::FileExt,
    sync::Arc,
};

use super::{
    directory::{Directory, private, read_write},
    name::Name,
    records::Records,
};

const FILE: &str = "catalog";
const NEW: &str = "catalog.new";
const MAGIC: &[u8; 8] = b"LARDERCT";
const VERSION: u32 = 1;
const HEADER: usize = 36;
const LINE: usize = 40;
const THERE: u32 = 1;
const GONE: u32 = 2;
const USED: u32 = 3;
/// What follows a snapshot may have so many lines, however short that is.
const MIN_LOG: u64 = 4096;
/// So many lines are read at once.
const AT_ONCE: usize = 4096;

/// What a catalog says of one file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Line {
    There { name: Name, resource: u64, blocks: u32, used_at: u32 },
    Gone(Name),
    Used(Name),
}

/// The file of a catalog.
pub(super) struct Catalog {
    directory: Arc<Directory>,
    /// Not there if it is to be written anew.
    file: Option<File>,
    header: Header,
    /// The lines behind the snapshot.
    logged: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Header {
    /// Counted when the snapshot was made.
    uses: u32,
    snapshot: u64,
    purges: u64,
}

impl Catalog {
    /// Opens the file. Its lines are not read yet.
    pub(super) fn open(directory: Arc<Directory>) -> Self {
        let opened = || -> io::Result<(File, Header, u64)> {
            let file = read_write(&directory.own(FILE))?;
            let mut bytes = [0; HEADER];
            file.read_exact_at(&mut bytes, 0)?;
            let header = Header::decode(&bytes).ok_or(io::ErrorKind::InvalidData)?;
            let lines = file.metadata()?.len().saturating_sub(HEADER as u64);
            // A line that was cut off would shift those behind it.
            if !lines.is_multiple_of(LINE as u64) {
                file.set_len(HEADER as u64 + lines / LINE as u64 * LINE as u64)?;
            }
            Ok((file, header, lines / LINE as u64))
        };
        let (file, header, lines) = match opened() {
            Ok((file, header, lines)) => (Some(file), header, lines),
            Err(_) => (None, Header::default(), 0),
        };
        Self { directory, file, header, logged: lines.saturating_sub(header.snapshot) }
    }

    /// The position that the purge log had reached. A log that ends before has been exchanged.
    pub(super) fn purges(&self) -> u64 {
        self.header.purges
    }

    /// Enters all lines into `records`, as long as it `goes_on`. `false`: it was broken off.
    pub(super) fn load(&mut self, records: &Records, goes_on: impl Fn() -> bool) -> bool {
        records.begin_loading(self.header.uses);
        let (mut left, mut is_whole) = (self.header.snapshot, true);
        if let Some(file) = &mut self.file {
            let (mut lines, mut bytes) = (Vec::new(), vec![0; LINE * AT_ONCE]);
            is_whole = file.seek(SeekFrom::Start(HEADER as u64)).is_ok();
            loop {
                if !goes_on() {
                    return false;
                }
                // A snapshot and what follows it are not entered together.
                let wanted = if left > 0 { left.min(AT_ONCE as u64) as usize } else { AT_ONCE };
                let read = read_up_to(file, &mut bytes[..LINE * wanted]).unwrap_or(0);
                lines.clear();
                lines.extend(bytes[..read].chunks(LINE).filter_map(Line::decode));
                is_whole &= lines.len() * LINE == read;
                if read == 0 || !records.load(&lines, left > 0) {
                    break;
                }
                left = left.saturating_sub((read / LINE) as u64);
            }
        }
        records.end_loading();
        if !is_whole || left > 0 {
            self.file = None;
        }
        true
    }

    /// Writes what has changed; and what has been used, if it is told to. What cannot be written is
    /// not lost but to the next start.
    pub(super) fn flush(&mut self, records: &Records, purges: u64, with_uses: bool) {
        let changes = records.take_changes();
        let is_short = self.logged <= self.header.snapshot.max(MIN_LOG);
        let written = match changes {
            Some(lines) if self.file.is_some() && is_short => {
                self.append_all(records, &lines, purges, with_uses)
            }
            _ => self.rewrite(records, purges),
        };
        if written.is_err() {
            self.file = None;
            records.give_up_changes();
        }
    }

    fn append_all(
        &mut self,
        records: &Records,
        lines: &[Line],
        purges: u64,
        with_uses: bool,
    ) -> io::Result<()> {
        self.append(lines)?;
        if with_uses {
            records.uses(|lines| self.append(lines))?;
        }
        if purges != self.header.purges
            && let Some(file) = &self.file
        {
            self.header.purges = purges;
            file.write_all_at(&self.header.encode(), 0)?;
        }
        Ok(())
    }

    fn append(&mut self, lines: &[Line]) -> io::Result<()> {
        let Some(file) = self.file.as_ref().filter(|_| !lines.is_empty()) else { return Ok(()) };
        let mut bytes = Vec::with_capacity(lines.len() * LINE);
        lines.iter().for_each(|line| line.encode(&mut bytes));
        let end = HEADER as u64 + (self.header.snapshot + self.logged) * LINE as u64;
        file.write_all_at(&bytes, end)?;
        self.logged += lines.len() as u64;
        Ok(())
    }

    fn rewrite(&mut self, records: &Records, purges: u64) -> io::Result<()> {
        let path = self.directory.own(NEW);
        let _ = fs::remove_file(&path);
        let file = private().read(true).create_new(true).open(&path)?;
        let mut header = Header { uses: records.now(), snapshot: 0, purges };
        let mut out = BufWriter::with_capacity(64 << 10, &file);
        out.write_all(&header.encode())?;
        let mut bytes = Vec::new();
        records.snapshot(|lines| {
            bytes.clear();
            lines.iter().for_each(|line| line.encode(&mut bytes));
            header.snapshot += lines.len() as u64;
            out.write_all(&bytes)
        })?;
        out.flush()?;
        drop(out);
        file.write_all_at(&header.encode(), 0)?;
        fs::rename(path, self.directory.own(FILE))?;
        (self.file, self.header, self.logged) = (Some(file), header, 0);
        Ok(())
    }
}

fn read_up_to(file: &mut File, bytes: &mut [u8]) -> io::Result<usize> {
    let mut read = 0;
    while read < bytes.len() {
        match file.read(&mut bytes[read..]) {
            Ok(0) => break,
            Ok(more) => read += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(read)
}

impl Header {
    fn encode(&self) -> [u8; HEADER] {
        let mut bytes = [0; HEADER];
        bytes[..8].copy_from_slice(MAGIC);
        bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.uses.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.snapshot.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.purges.to_le_bytes());
        let sum = crc32fast::hash(&bytes[..32]);
        bytes[32..].copy_from_slice(&sum.to_le_bytes());
        bytes
    }

    fn decode(bytes: &[u8; HEADER]) -> Option<Self> {
        let number = |at: usize| bytes[at..at + 8].try_into().map(u64::from_le_bytes).ok();
        let uses = u32::from_le_bytes(bytes[12..16].try_into().ok()?);
        let header = Self { uses, snapshot: number(16)?, purges: number(24)? };
        (*bytes == header.encode()).then_some(header)
    }
}

impl Line {
    fn encode(&self, out: &mut Vec<u8>) {
        let start = out.len();
        let (kind, name, resource, blocks, used_at) = match self {
            Self::There { name, resource, blocks, used_at } => {
                (THERE, name, *resource, *blocks, *used_at)
            }
            Self::Gone(name) => (GONE, name, 0, 0, 0),
            Self::Used(name) => (USED, name, 0, 0, 0),
        };
        for part in [kind, blocks, used_at] {
            out.extend_from_slice(&part.to_le_bytes());
        }
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(&resource.to_le_bytes());
        let sum = crc32fast::hash(&out[start..]);
        out.extend_from_slice(&sum.to_le_bytes());
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (summed, sum) = bytes.split_last_chunk::<4>()?;
        let (kind, rest) = summed.split_first_chunk::<4>()?;
        let (blocks, rest) = rest.split_first_chunk::<4>()?;
        let (used_at, rest) = rest.split_first_chunk::<4>()?;
        let (name, rest) = rest.split_first_chunk::<16>()?;
        let resource = u64::from_le_bytes(rest.try_into().ok()?);
        let name = Name::from_bytes(*name);
        let (blocks, used_at) = (u32::from_le_bytes(*blocks), u32::from_le_bytes(*used_at));
        if crc32fast::hash(summed) != u32::from_le_bytes(*sum) {
            return None;
        }
        match u32::from_le_bytes(*kind) {
            THERE => Some(Self::There { name, resource, blocks, used_at }),
            GONE => Some(Self::Gone(name)),
            USED => Some(Self::Used(name)),
            _ => None,
        }
    }
}
