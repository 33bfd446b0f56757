use std::{
    mem,
    ops::Range,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use http_body::Frame;

use super::{
    Inner,
    access::{Absent, Patience},
    entry::Located,
    pool::{Need, lock},
};
use crate::{Error, storage::BodyReader};

/// Memory to read into. What comes from the system is zeroed first, and that takes a quarter of the
/// time of reading into it.
#[derive(Default)]
pub(super) struct Buffers(Mutex<Vec<Bytes>>);

/// So many are kept while nobody reads, of 384 KiB each or less.
const KEPT: usize = 4;

impl Buffers {
    /// At least so many bytes, or none.
    fn take(&self, length: usize) -> Bytes {
        let mut kept = lock(&self.0);
        let fits = kept.iter().position(|bytes| bytes.len() >= length);
        fits.map(|at| kept.swap_remove(at)).unwrap_or_default()
    }

    /// The largest are kept.
    fn give(&self, mut bytes: Bytes) {
        if !bytes.is_unique() {
            return;
        }
        let mut kept = lock(&self.0);
        if kept.len() < KEPT {
            kept.push(bytes);
        } else if let Some(least) = kept.iter_mut().min_by_key(|bytes| bytes.len())
            && least.len() < bytes.len()
        {
            mem::swap(least, &mut bytes);
        }
    }
}

/// What a reader has of them.
struct Pieces {
    bytes: Bytes,
    buffers: Arc<Buffers>,
}

impl Drop for Pieces {
    fn drop(&mut self) {
        self.buffers.give(mem::take(&mut self.bytes));
    }
}

/// Reads a body that was not read with its head.
pub(super) struct DiskReader {
    inner: Arc<Inner>,
    located: Arc<Located>,
    range: Range<u64>,
    /// What was read last.
    pieces: Pieces,
    trailers: bool,
}

impl DiskReader {
    pub(super) fn new(inner: Arc<Inner>, located: Arc<Located>, range: Range<u64>) -> Self {
        let trailers = range.end == located.body.length() && located.body.has_trailers();
        let bytes = inner.buffers.take(located.body.room(&range));
        let pieces = Pieces { bytes, buffers: inner.buffers.clone() };
        Self { inner, located, range, pieces, trailers }
    }

    /// Has `read` done with the body. What is damaged is forgotten.
    async fn with_body<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Located) -> Result<T, Absent> + Send + 'static,
    ) -> Result<T, Error> {
        let located = self.located.clone();
        let work = self.inner.queue.run(Need::Required, move |store, _| match read(&located) {
            Ok(read) => Ok(read),
            Err(Absent::Failed(error)) => Err(Error::other(error)),
            Err(Absent::Damaged | Absent::Missing) => {
                store.remove_damaged_body(&located);
                Err(Error::corrupt("the bytes of a body do not have their sum"))
            }
        });
        work.await
    }
}

impl BodyReader for DiskReader {
    async fn next(&mut self) -> Result<Option<Frame<Bytes>>, Error> {
        if !self.range.is_empty() {
            let range = self.range.clone();
            let cached =
                self.located.body.read(range.clone(), &mut self.pieces.bytes, Patience::Never);
            let bytes = match cached {
                Ok(bytes) => bytes,
                Err(_) => {
                    let mut pieces = mem::take(&mut self.pieces.bytes);
                    let read = move |located: &Located| {
                        let bytes = located.body.read(range, &mut pieces, Patience::Wait)?;
                        Ok((bytes, pieces))
                    };
                    let (bytes, pieces) = self.with_body(read).await?;
                    self.pieces.bytes = pieces;
                    bytes
                }
            };
            self.range.start += bytes.len() as u64;
            return Ok(Some(Frame::data(bytes)));
        }
        if mem::take(&mut self.trailers) {
            let trailers = self.with_body(|located| located.body.trailers()).await?;
            return Ok(trailers.map(Frame::trailers));
        }
        Ok(None)
    }
}
