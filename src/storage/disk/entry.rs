//! Reading files back.

use std::{borrow::Cow, fs::File, path::Path, sync::Arc};

use bytes::Bytes;

use super::{
    super::codec,
    access::{Absent, FIRST, Patience},
    body::Body,
    layout::{Damaged, FIXED, FOOTER, Footer, Header, Kind},
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

/// What is looked for under a name.
#[derive(Clone, Copy)]
pub(super) struct Wants<'a> {
    pub(super) key: &'a [u8],
    pub(super) variant: &'a [u8],
}

impl<'a> Wants<'a> {
    fn test(self) -> impl FnOnce(&[u8], &[u8]) -> bool + use<'a> {
        move |key, variant| (key, variant) == (self.key, self.variant)
    }
}

/// A file of at most so many bytes is read with its body.
const SMALL: u64 = 32 << 10;
/// So much is read of its end: the footer, and the sums of some 15 MiB.
const LAST: usize = 1 << 10;

/// What lies under a name.
pub(super) fn open(path: &Path, wants: Wants<'_>) -> Result<Record, Absent> {
    read(path, SMALL, false, Patience::Wait, wants.test())
}

/// The same, if the system has it in memory. Less is read if what the file takes is known.
pub(super) fn open_now(
    path: &Path,
    wants: Wants<'_>,
    takes: Option<u64>,
) -> Result<Record, Absent> {
    let is_large = takes.is_some_and(|bytes| bytes > SMALL);
    read(path, SMALL, is_large, Patience::Never, wants.test())
}

/// Whatever lies there, with the keys of resource and variant; of a response the head and no body.
pub(super) fn scan(path: &Path) -> Result<(Vec<u8>, Vec<u8>, Record), Absent> {
    let mut keys = (Vec::new(), Vec::new());
    let record = read(path, FIRST as u64, true, Patience::Wait, |key, variant| {
        keys = (key.to_vec(), variant.to_vec());
        true
    })?;
    Ok((keys.0, keys.1, record))
}

fn read(
    path: &Path,
    small: u64,
    is_large: bool,
    patience: Patience,
    is_wanted: impl FnOnce(&[u8], &[u8]) -> bool,
) -> Result<Record, Absent> {
    let file = patience.open(path)?;
    patience.begin(file, small, is_large, |file, length, bytes| {
        parse(file, length, bytes, patience, is_wanted)
    })
}

/// What a file of this length holds, which begins with these bytes.
fn parse(
    file: File,
    length: u64,
    mut bytes: Cow<'_, [u8]>,
    patience: Patience,
    is_wanted: impl FnOnce(&[u8], &[u8]) -> bool,
) -> Result<Record, Absent> {
    let header = Header::parse(bytes.get(..FIXED).ok_or(Damaged)?)?;
    let prefix = header.prefix();
    if prefix as u64 > length {
        return Err(Absent::Damaged);
    }
    if prefix > bytes.len() {
        let (read, bytes) = (bytes.len(), bytes.to_mut());
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
    let footer = |end: &[u8]| {
        let footer = end.last_chunk::<FOOTER>().ok_or(Damaged)?;
        Footer::parse(footer, header.id, prefix as u64, length)
    };
    let body = if bytes.len() as u64 == length {
        let footer = footer(&bytes)?;
        Body::whole(file, header, footer, Bytes::from(bytes.into_owned()))?
    } else {
        let mut last = [0; LAST];
        let last = &mut last[..LAST.min(length as usize)];
        patience.read_exact_at(&file, last, length - last.len() as u64)?;
        Body::new(file, header, footer(last)?, last)
    };
    let generation = header.generation;
    Ok(Record::Response(Box::new(Response { head, body, generation, seq })))
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
