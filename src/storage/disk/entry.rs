//! Reading files back.

use std::{fs::File, io, ops::Range, os::unix::fs::FileExt, path::Path, sync::Arc};

use bytes::Bytes;
use http::HeaderMap;
use rustix::io::Errno;

use super::{
    super::codec,
    cached,
    directory::read_only,
    layout::{Damaged, FIXED, FOOTER, Footer, Header, Kind, PIECE, piece_sum},
    name::Name,
};
use crate::{
    policy::{CacheKey, Index, StoredHead, StoredResponse, VariantKey},
    storage::Entry,
};

/// What lies in a file.
pub(super) enum Record {
    Index {
        index: Index,
        /// Of the file.
        length: u64,
    },
    Response(Box<Response>),
}

impl Record {
    /// The length of the file.
    pub(super) fn length(&self) -> u64 {
        match self {
            Self::Index { length, .. } => *length,
            Self::Response(response) => {
                let (start, behind) = response.body.rest();
                start + behind
            }
        }
    }
}

/// A response that was found: its head, and where its body is.
pub(super) struct Response {
    pub(super) head: StoredHead,
    pub(super) body: Body,
    pub(super) generation: u64,
    /// The number of the head: it counts the updates.
    pub(super) seq: u64,
}

/// An open file, which stays readable when it is removed.
pub(super) struct Body {
    file: File,
    header: Header,
    footer: Footer,
    start: u64,
    /// The sums of all pieces, if they are few.
    sums: Vec<u8>,
    /// All of it, if it is small.
    small: Option<Bytes>,
}

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

/// What is looked for under a name.
#[derive(Clone, Copy)]
pub(super) struct Wants<'a> {
    pub(super) key: &'a [u8],
    pub(super) variant: &'a [u8],
}

/// A file of at most so many bytes is read with its body.
const SMALL: u64 = 32 << 10;
/// So much is read of a larger one to see how long its header is.
const FIRST: usize = 4 << 10;
/// So many pieces of a larger body are read at once.
const PIECES: u64 = 4;
pub(super) const AT_ONCE: usize = (PIECES * PIECE) as usize;
/// So much is read of its end: the footer, and the sums of some 15 MiB.
const LAST: u64 = 1 << 10;

/// Whether to wait for the disk.
#[derive(Clone, Copy)]
pub(super) enum Patience {
    Wait,
    /// An error instead, if the system does not have it in memory.
    Never,
}

impl Patience {
    fn open(self, path: &Path) -> io::Result<File> {
        match self {
            Self::Wait => read_only(path),
            Self::Never => cached::open(path),
        }
    }

    /// The length of a file, and its first bytes: all of a small one.
    fn begin(self, file: &File, small: u64) -> io::Result<(u64, Vec<u8>)> {
        match self {
            Self::Wait => self.go_on(file, small, &[]),
            Self::Never => cached::begin(file, |read, is_whole| match is_whole {
                // If the rest is not in memory, what was read does not end with a footer.
                true => Ok((read.len() as u64, read.to_vec())),
                false => self.go_on(file, small, read),
            }),
        }
    }

    fn go_on(self, file: &File, small: u64, read: &[u8]) -> io::Result<(u64, Vec<u8>)> {
        let length = length(file)?;
        let at_once = if length <= small { length } else { FIRST as u64 };
        let at_once = usize::try_from(at_once).map_err(io::Error::other)?;
        let mut bytes = Vec::with_capacity(at_once);
        bytes.extend_from_slice(&read[..read.len().min(at_once)]);
        let read = bytes.len();
        bytes.resize(at_once, 0);
        self.read_exact_at(file, &mut bytes[read..], read as u64)?;
        Ok((length, bytes))
    }

    fn read_exact_at(self, file: &File, bytes: &mut [u8], at: u64) -> io::Result<()> {
        match self {
            _ if bytes.is_empty() => Ok(()),
            Self::Wait => file.read_exact_at(bytes, at),
            Self::Never => cached::read_exact_at(file, bytes, at),
        }
    }
}

/// As `File::metadata` says, in half the time.
fn length(file: &File) -> io::Result<u64> {
    u64::try_from(rustix::fs::fstat(file)?.st_size).map_err(|_| io::ErrorKind::UnexpectedEof.into())
}

pub(super) fn open(path: &Path, wants: Wants<'_>, patience: Patience) -> Result<Record, Absent> {
    let is_wanted = |key: &[u8], variant: &[u8]| (key, variant) == (wants.key, wants.variant);
    read(path, SMALL, patience, is_wanted)
}

/// Whatever lies there, with the keys of resource and variant; of a response the head and no body.
pub(super) fn scan(path: &Path) -> Result<(Vec<u8>, Vec<u8>, Record), Absent> {
    let mut keys = (Vec::new(), Vec::new());
    let record = read(path, FIRST as u64, Patience::Wait, |key, variant| {
        keys = (key.to_vec(), variant.to_vec());
        true
    })?;
    Ok((keys.0, keys.1, record))
}

fn read(
    path: &Path,
    small: u64,
    patience: Patience,
    is_wanted: impl FnOnce(&[u8], &[u8]) -> bool,
) -> Result<Record, Absent> {
    let file = patience.open(path)?;
    let (length, mut bytes) = patience.begin(&file, small)?;
    let header = Header::parse(bytes.get(..FIXED).ok_or(Damaged)?)?;
    let prefix = header.prefix();
    if prefix as u64 > length {
        return Err(Absent::Damaged);
    }
    if prefix > bytes.len() {
        let read = bytes.len();
        bytes.resize(prefix, 0);
        patience.read_exact_at(&file, &mut bytes[read..], read as u64)?;
    }
    let (key, variant) = header.check(&bytes)?;
    if !is_wanted(key, variant) {
        return Err(Absent::Missing);
    }
    if let Kind::Index { .. } = header.kind {
        if length != prefix as u64 {
            return Err(Absent::Damaged);
        }
        let index = codec::decode_index(&bytes[header.keys()..prefix]).ok_or(Damaged)?;
        return Ok(Record::Index { index, length });
    }
    let (seq, head) = header.head(&bytes[..prefix])?;
    let is_whole = bytes.len() as u64 == length;
    let mut last = Vec::new();
    if !is_whole {
        let behind = LAST.min(length);
        last.resize(behind as usize, 0);
        patience.read_exact_at(&file, &mut last, length - behind)?;
    }
    let end = if is_whole { &bytes } else { &last };
    let footer = end.last_chunk::<FOOTER>().ok_or(Damaged)?;
    let footer = Footer::parse(footer, header.id, prefix as u64, length)?;
    let mut body = Body { file, header, footer, start: prefix as u64, sums: last, small: None };
    if !is_whole {
        body.keep_sums();
    } else {
        let all = Bytes::from(bytes);
        let table = prefix + footer.length as usize;
        let sums = &all[table..table + footer.table_length() as usize];
        let data = all.slice(prefix..table);
        body.verify(0, &data, sums)?;
        if footer.trailers > 0 {
            let at = table + sums.len();
            codec::decode_trailers(&all[at..at + footer.trailers as usize]).ok_or(Damaged)?;
        }
        body.small = Some(all);
    }
    let generation = header.generation;
    Ok(Record::Response(Box::new(Response { head, body, generation, seq })))
}

impl Body {
    pub(super) fn length(&self) -> u64 {
        self.footer.length
    }

    pub(super) fn id(&self) -> u64 {
        self.header.id
    }

    pub(super) fn header(&self) -> &Header {
        &self.header
    }

    pub(super) fn file(&self) -> &File {
        &self.file
    }

    pub(super) fn has_trailers(&self) -> bool {
        self.footer.trailers > 0
    }

    /// Where the body begins, and how long it is with what lies behind it.
    pub(super) fn rest(&self) -> (u64, u64) {
        let behind = self.footer.table_length() + u64::from(self.footer.trailers) + FOOTER as u64;
        (self.start, self.footer.length + behind)
    }

    /// The body, if it has been read with the head.
    pub(super) fn small(&self) -> Option<(Bytes, Option<HeaderMap>)> {
        let all = self.small.as_ref()?;
        let start = usize::try_from(self.start).ok()?;
        let table = start + usize::try_from(self.footer.length).ok()?;
        let at = table + usize::try_from(self.footer.table_length()).ok()?;
        let trailers = match self.footer.trailers as usize {
            0 => None,
            length => Some(codec::decode_trailers(all.get(at..at + length)?)?),
        };
        Some((all.slice(start..table), trailers))
    }

    /// Leaves in `sums`, which has the end of the file, the sums if they are all there.
    fn keep_sums(&mut self) {
        let behind = self.footer.trailers as usize + FOOTER;
        let table = usize::try_from(self.footer.table_length()).unwrap_or(usize::MAX);
        match self
            .sums
            .len()
            .checked_sub(behind)
            .and_then(|end| Some((end.checked_sub(table)?, end)))
        {
            Some((start, end)) => {
                self.sums.truncate(end);
                self.sums.drain(..start);
            }
            None => self.sums = Vec::new(),
        }
    }

    /// Bytes of `range` from its start on, checked: as many whole pieces as are read at a time.
    /// `pieces` has those that were read before, whose memory is used again if nobody else does, and
    /// gets those that were read now.
    pub(super) fn read(
        &self,
        range: Range<u64>,
        pieces: &mut Bytes,
        patience: Patience,
    ) -> Result<Bytes, Absent> {
        let first = range.start / PIECE;
        let end = range.end.min((first + PIECES) * PIECE);
        let behind = end.div_ceil(PIECE);
        let (from, to) = (first * PIECE, (behind * PIECE).min(self.footer.length));
        let length = (to - from) as usize;
        let mut bytes = std::mem::take(pieces).try_into_mut().unwrap_or_default();
        bytes.resize(length, 0);
        patience.read_exact_at(&self.file, &mut bytes, self.start + from)?;
        let (at, mut sums) = (4 * first as usize, [0; 4 * PIECES as usize]);
        let sums = &mut sums[..4 * (behind - first) as usize];
        match self.sums.get(at..at + sums.len()) {
            Some(kept) => sums.copy_from_slice(kept),
            None => {
                let table = self.start + self.footer.length;
                patience.read_exact_at(&self.file, sums, table + 4 * first)?;
            }
        }
        self.verify(first, &bytes, sums)?;
        *pieces = bytes.freeze();
        Ok(pieces.slice((range.start - from) as usize..(end - from) as usize))
    }

    fn verify(&self, first: u64, bytes: &[u8], sums: &[u8]) -> Result<(), Damaged> {
        let pieces = bytes.chunks(PIECE as usize);
        if pieces.len() * 4 != sums.len() {
            return Err(Damaged);
        }
        for ((n, piece), stated) in (first..).zip(pieces).zip(sums.chunks(4)) {
            let mut sum = piece_sum(self.header.id, n);
            sum.update(piece);
            if sum.finalize().to_le_bytes() != stated {
                return Err(Damaged);
            }
        }
        Ok(())
    }

    pub(super) fn trailers(&self) -> Result<Option<HeaderMap>, Absent> {
        if self.footer.trailers == 0 {
            return Ok(None);
        }
        let mut bytes = vec![0; self.footer.trailers as usize];
        let at = self.start + self.footer.length + self.footer.table_length();
        self.file.read_exact_at(&mut bytes, at)?;
        Ok(Some(codec::decode_trailers(&bytes).ok_or(Damaged)?))
    }
}

/// Finds a body in a [`DiskManager`](super::DiskManager).
#[derive(Clone)]
pub struct DiskHandle(pub(super) Arc<Located>);

/// A body, and which entry it is of.
pub(super) struct Located {
    pub(super) resource: Name,
    pub(super) key: CacheKey,
    pub(super) variant: VariantKey,
    pub(super) generation: u64,
    pub(super) seq: u64,
    pub(super) body: Body,
}

/// What a look-up gives for a response that was found.
pub(super) fn entry(
    resource: Name,
    key: &CacheKey,
    variant: VariantKey,
    response: Response,
) -> Entry<DiskHandle> {
    let Response { head, body, generation, seq } = response;
    let found = StoredResponse::new(head, body.length());
    let located = Located { resource, key: key.clone(), variant, generation, seq, body };
    Entry::new(found, DiskHandle(Arc::new(located)))
}
