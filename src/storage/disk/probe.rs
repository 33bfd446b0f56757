//! Reads a file as the store does, without a store: for tests that damage files by the million.

use std::path::Path;

use bytes::Bytes;
use http::HeaderMap;

use super::{
    access::{Absent, Patience},
    body::Body,
    entry::{self, Wants},
};
use crate::policy::{Index, StoredHead};

/// What lies in a file.
#[derive(Debug)]
pub enum Probe {
    /// Nothing that is found.
    Absent,
    /// The index of a resource.
    Index(Index),
    /// A response.
    Response {
        /// Its newest head.
        head: Box<StoredHead>,
        /// Its body in the pieces that were read, and its trailers. `None`: they are damaged.
        rest: Option<(Vec<Bytes>, Option<HeaderMap>)>,
    },
}

/// Reads all of it, as the record of these keys.
pub fn read(path: &Path, key: &[u8], variant: &[u8]) -> Probe {
    probe(entry::open(path, Wants { key, variant }))
}

/// The same as a hit does it, which does not wait for the disk, of a file that is said to take so many
/// bytes. Where it would have to wait, nothing is found.
pub fn read_now(path: &Path, key: &[u8], variant: &[u8], takes: u64) -> Probe {
    probe(entry::open_now(path, Wants { key, variant }, Some(takes)))
}

fn probe(found: Result<entry::Record, Absent>) -> Probe {
    match found {
        Err(_) => Probe::Absent,
        Ok(entry::Record::Index { index, .. }) => Probe::Index(index),
        Ok(entry::Record::Response(found)) => {
            Probe::Response { rest: read_body(&found.body), head: Box::new(found.head) }
        }
    }
}

fn read_body(body: &Body) -> Option<(Vec<Bytes>, Option<HeaderMap>)> {
    if let Some((bytes, trailers)) = body.small() {
        return Some((vec![bytes], trailers));
    }
    let (mut read, mut pieces) = (Vec::new(), Bytes::new());
    let mut at = 0;
    while at < body.length() {
        let bytes = body.read(at..body.length(), &mut pieces, Patience::Wait).ok()?;
        pieces = Bytes::new();
        at += bytes.len() as u64;
        read.push(bytes);
    }
    Some((read, body.trailers().ok()?))
}
