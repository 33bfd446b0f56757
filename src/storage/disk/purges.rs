//! The log of purges, kept in a file of its own.
//!
//! The file is `magic, version, position (8), floor (8), length (8), CRC | records`. A record is
//! `position (8), kind, length (4) | text | CRC`. Records are written first and the header then, and
//! both are synced before a purge returns. So a header vouches for all purges up to its position: a
//! file that is shorter than its header says, or damaged anywhere, vouches for nothing, and then
//! nothing that is stored may be served.

use std::{
    fs::{self, File},
    io::{self, Read},
    os::unix::fs::FileExt,
    sync::{Arc, Mutex},
};

use super::{
    directory::{Directory, PURGES, read_write},
    pool::{Need, Queue, lock},
};
use crate::{
    Error,
    clock::BoxFuture,
    purge::{Persist, Purge, PurgeLog, Records},
};

const MAGIC: &[u8; 8] = b"LARDERPL";
const VERSION: u32 = 1;
const HEADER: usize = 40;
/// A file with more records than this is written again; a log holds half of it.
const MAX_RECORDS: usize = 2 << 16;
/// More than so many records could take.
const MAX_BYTES: u64 = 1 << 30;

/// The file of a log.
pub(super) struct PurgeFile {
    directory: Arc<Directory>,
    state: Mutex<State>,
}

struct State {
    /// Not there if it could not be written.
    file: Option<File>,
    position: u64,
    length: u64,
    records: usize,
}

impl PurgeFile {
    /// The file and what is in it. Nothing, and everything that is stored is forgotten, if it cannot
    /// be trusted.
    pub(super) fn open(directory: Arc<Directory>) -> io::Result<(Self, Records)> {
        let path = directory.own(PURGES);
        let mut bytes = Vec::new();
        let file = read_write(&path)
            .and_then(|file| {
                (&file).take(MAX_BYTES).read_to_end(&mut bytes)?;
                Ok(file)
            })
            .ok();
        if let Some((kept, length)) = decode(&bytes)
            && file.is_some()
        {
            let (position, records) = (kept.position, kept.records.len());
            let state = Mutex::new(State { file, position, length, records });
            return Ok((Self { directory, state }, kept));
        }
        directory.clear()?;
        let kept = Records::default();
        let state = rewrite(&directory, &kept)?;
        Ok((Self { directory, state: Mutex::new(state) }, kept))
    }

    /// Writes what is in `log` if the file does not go as far as `position`.
    ///
    /// A response that began there must not be found by a process that has not heard of that
    /// position: it would give it to another purge, which the response would then outlive.
    pub(super) fn reach(&self, position: u64, log: &PurgeLog) -> Result<(), Error> {
        let is_behind = lock(&self.state).position < position;
        if is_behind { self.persist(log) } else { Ok(()) }
    }

    /// Writes what is in `log` and not in the file.
    fn persist(&self, log: &PurgeLog) -> Result<(), Error> {
        let state = &mut *lock(&self.state);
        let news = log.since(state.position);
        if state.file.is_some() && news.position == state.position {
            return Ok(());
        }
        if state.append(&news).is_ok() {
            return Ok(());
        }
        match rewrite(&self.directory, &log.since(0)) {
            Ok(written) => {
                *state = written;
                Ok(())
            }
            // A disk that is full still takes a removal, and without a file nothing is trusted.
            Err(_) => {
                state.file = None;
                let path = self.directory.own(PURGES);
                let removed = fs::remove_file(&path).or_else(|error| match error.kind() {
                    io::ErrorKind::NotFound => Ok(()),
                    _ => Err(error),
                });
                let root = path.parent().map(File::open).transpose();
                removed.map_err(Error::other)?;
                let synced = root.map(|root| root.map_or(Ok(()), |root| root.sync_all()));
                synced.and_then(|synced| synced).map_err(Error::other)
            }
        }
    }
}

impl State {
    fn append(&mut self, news: &Records) -> io::Result<()> {
        let records = self.records + news.records.len();
        let Some(file) = self.file.as_ref().filter(|_| records <= MAX_RECORDS) else {
            return Err(io::Error::other("the file is to be written again"));
        };
        let mut bytes = Vec::new();
        news.records.iter().for_each(|(seq, purge)| write_record(&mut bytes, *seq, purge));
        let length = self.length + bytes.len() as u64;
        file.write_all_at(&bytes, HEADER as u64 + self.length)?;
        file.write_all_at(&header(news, length), 0)?;
        file.sync_data()?;
        (self.position, self.length, self.records) = (news.position, length, records);
        Ok(())
    }
}

fn rewrite(directory: &Directory, all: &Records) -> io::Result<State> {
    let mut bytes = vec![0; HEADER];
    all.records.iter().for_each(|(seq, purge)| write_record(&mut bytes, *seq, purge));
    let length = (bytes.len() - HEADER) as u64;
    bytes[..HEADER].copy_from_slice(&header(all, length));
    let file = Some(directory.replace(PURGES, &bytes)?);
    Ok(State { file, position: all.position, length, records: all.records.len() })
}

fn header(of: &Records, length: u64) -> [u8; HEADER] {
    let mut bytes = [0; HEADER];
    bytes[..8].copy_from_slice(MAGIC);
    bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
    bytes[12..20].copy_from_slice(&of.position.to_le_bytes());
    bytes[20..28].copy_from_slice(&of.floor.to_le_bytes());
    bytes[28..36].copy_from_slice(&length.to_le_bytes());
    let sum = crc32fast::hash(&bytes[..36]);
    bytes[36..].copy_from_slice(&sum.to_le_bytes());
    bytes
}

fn write_record(out: &mut Vec<u8>, seq: u64, purge: &Purge) {
    let start = out.len();
    let (kind, text) = purge.as_parts();
    out.extend_from_slice(&seq.to_le_bytes());
    out.push(kind);
    out.extend_from_slice(&u32::try_from(text.len()).unwrap_or(u32::MAX).to_le_bytes());
    out.extend_from_slice(text.as_bytes());
    let sum = crc32fast::hash(&out[start..]);
    out.extend_from_slice(&sum.to_le_bytes());
}

/// What a file vouches for, and the length of its records.
fn decode(bytes: &[u8]) -> Option<(Records, u64)> {
    let (head, rest) = bytes.split_first_chunk::<HEADER>()?;
    let number = |at: usize| head[at..at + 8].try_into().map(u64::from_le_bytes).ok();
    let (position, floor, length) = (number(12)?, number(20)?, number(28)?);
    let stated = Records { position, floor, records: Vec::new() };
    if *head != header(&stated, length) {
        return None;
    }
    let mut rest = rest.get(..usize::try_from(length).ok()?)?;
    let mut records = Vec::new();
    while !rest.is_empty() {
        let (seq, behind) = rest.split_first_chunk::<8>()?;
        let (&kind, behind) = behind.split_first()?;
        let (size, behind) = behind.split_first_chunk::<4>()?;
        let (text, behind) = behind.split_at_checked(u32::from_le_bytes(*size) as usize)?;
        let (sum, behind) = behind.split_first_chunk::<4>()?;
        let summed = rest.len() - behind.len() - sum.len();
        if crc32fast::hash(&rest[..summed]) != u32::from_le_bytes(*sum) {
            return None;
        }
        let purge = Purge::from_parts(kind, std::str::from_utf8(text).ok()?)?;
        records.push((u64::from_le_bytes(*seq), purge));
        rest = behind;
    }
    // What a later purge of everything has made superfluous.
    records.retain(|(seq, _)| *seq > floor);
    Some((Records { position, floor, records }, length))
}

/// Has the I/O threads keep a log.
pub(super) struct Keeper {
    pub(super) file: Arc<PurgeFile>,
    pub(super) queue: Arc<Queue>,
}

impl Persist for Keeper {
    fn persist(&self, log: &PurgeLog) -> BoxFuture<Result<(), Error>> {
        let (file, queue, log) = (self.file.clone(), self.queue.clone(), log.clone());
        Box::pin(async move { queue.run(Need::Required, move |_, _| file.persist(&log)).await })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn file(records: &Records) -> Vec<u8> {
        let mut body = Vec::new();
        records.records.iter().for_each(|(seq, purge)| write_record(&mut body, *seq, purge));
        let mut bytes = header(records, body.len() as u64).to_vec();
        bytes.extend_from_slice(&body);
        bytes
    }

    fn some() -> Records {
        let records = vec![
            (3, Purge::host("a.example")),
            (5, Purge::url("http://a.example/x").unwrap()),
            (6, Purge::namespace("")),
        ];
        Records { position: 6, floor: 2, records }
    }

    #[test]
    fn a_log_comes_back() {
        for records in [some(), Records::default()] {
            let bytes = file(&records);
            let length = (bytes.len() - HEADER) as u64;
            assert_eq!(decode(&bytes), Some((records, length)));
        }
    }

    /// What was lost may have been any purge, so that a log in part is no log.
    #[test]
    fn a_log_that_is_cut_or_flipped_anywhere_vouches_for_nothing() {
        let bytes = file(&some());
        for cut in 0..bytes.len() {
            assert_eq!(decode(&bytes[..cut]), None, "cut at {cut}");
            let mut flipped = bytes.clone();
            flipped[cut] ^= 1;
            assert_eq!(decode(&flipped), None, "flipped at {cut}");
        }
    }

    proptest! {
        #[test]
        fn decoding_is_total(bytes: Vec<u8>) {
            prop_assert_eq!(decode(&bytes), None);
        }
    }
}
