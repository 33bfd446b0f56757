use std::{ops::Range, sync::Arc};

use bytes::Bytes;
use http::HeaderMap;
use http_body::Frame;

use super::{
    Inner,
    commit::{Commit, prefix_length, random},
    draft::{Draft, Reserved},
    entry::{Absent, Located, Patience},
    fence::Ticket,
    layout::{MAX_PART, fits, slot_for},
    name::Name,
    pool::Need,
};
use crate::{
    Error,
    policy::{Placement, StoredHead},
    storage::{BodyReader, EntryWriter, codec},
};

/// Writes one response into a [`DiskManager`](super::DiskManager).
pub struct DiskWriter {
    inner: Arc<Inner>,
    ticket: Ticket,
    placement: Placement,
    head: Vec<u8>,
    /// The room for it.
    slot: u32,
    began: u64,
    /// Not there while it is being written, and not after that failed.
    draft: Option<Draft>,
    /// What is not in the draft yet.
    buffer: Vec<u8>,
    length: u64,
}

/// So much is written at once.
const AT_ONCE: usize = 256 << 10;
const LARGE: usize = 64 << 10;

impl DiskWriter {
    pub(super) fn new(
        inner: Arc<Inner>,
        placement: Placement,
        head: &StoredHead,
    ) -> Result<Self, Error> {
        inner.store.allow_writing()?;
        let (began, head) = (head.began(), codec::encode_head(head)?);
        let prefix = prefix_length(&placement, &head);
        if prefix > u64::from(MAX_PART) {
            return Err(Error::too_large());
        }
        let reserved = Reserved::new(inner.store.reserved.clone());
        let draft = Some(Draft::new(random()?, prefix, reserved));
        let (fences, purges) = (inner.store.fences.clone(), inner.store.purges.position());
        let ticket = Ticket::new(fences, Name::resource(placement.key()), purges);
        let buffer = Vec::new();
        let slot = slot_for(head.len());
        Ok(Self { inner, ticket, placement, head, slot, began, draft, buffer, length: 0 })
    }
}

impl EntryWriter for DiskWriter {
    async fn write(&mut self, chunk: Bytes) -> Result<(), Error> {
        self.length = self.length.saturating_add(chunk.len() as u64);
        if self.length > self.inner.store.options.entry_bytes() {
            return Err(Error::too_large());
        }
        // A large chunk is not copied.
        let is_large = chunk.len() >= LARGE;
        if !is_large {
            self.buffer.extend_from_slice(&chunk);
            if self.buffer.len() < AT_ONCE {
                return Ok(());
            }
        }
        let mut draft = self.draft.take().ok_or_else(|| Error::other("an earlier write failed"))?;
        let mut buffer = std::mem::take(&mut self.buffer);
        let work = self.inner.queue.run(Need::Optional, move |store, _| {
            store.allow_writing()?;
            let parts = [buffer.as_slice(), if is_large { &chunk } else { &[] }];
            for part in parts.into_iter().filter(|part| !part.is_empty()) {
                draft.append(&store.spares, part).map_err(|error| store.failed(error))?;
            }
            buffer.clear();
            store.make_room();
            Ok((draft, buffer))
        });
        let (draft, buffer) = work.await?;
        (self.draft, self.buffer) = (Some(draft), buffer);
        Ok(())
    }

    async fn finish(self, trailers: Option<HeaderMap>) -> Result<(), Error> {
        let Self { inner, ticket, placement, head, slot, began, draft, buffer, length } = self;
        if length > inner.store.options.entry_bytes() {
            return Err(Error::too_large());
        }
        let trailers = match trailers {
            Some(trailers) => codec::encode_trailers(&trailers)?,
            None => Vec::new(),
        };
        if trailers.len() > MAX_PART as usize {
            return Err(Error::too_large());
        }
        let draft = draft.ok_or_else(|| Error::other("an earlier write failed"))?;
        let commit = Commit { ticket, placement, head, slot, began, draft, rest: buffer, trailers };
        let entered = inner.pending.enter();
        let work = inner.queue.run(Need::Optional, move |store, waiting| {
            let _entered = entered;
            commit.run(store, waiting)
        });
        work.await
    }

    async fn finish_with(
        mut self,
        head: StoredHead,
        trailers: Option<HeaderMap>,
    ) -> Result<(), Error> {
        let head = codec::encode_head(&head)?;
        // Where the body begins was settled with its first byte.
        if fits(self.slot, head.len()) {
            self.head = head;
        }
        self.finish(trailers).await
    }
}

/// Reads a body that was not read with its head.
pub(super) struct DiskReader {
    inner: Arc<Inner>,
    located: Arc<Located>,
    range: Range<u64>,
    /// What was read last.
    pieces: Bytes,
    trailers: bool,
}

impl DiskReader {
    pub(super) fn new(inner: Arc<Inner>, located: Arc<Located>, range: Range<u64>) -> Self {
        let trailers = range.end == located.body.length() && located.body.has_trailers();
        Self { inner, located, range, pieces: Bytes::new(), trailers }
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
            let cached = self.located.body.read(range.clone(), &mut self.pieces, Patience::Never);
            let bytes = match cached {
                Ok(bytes) => bytes,
                Err(_) => {
                    let mut pieces = std::mem::take(&mut self.pieces);
                    let read = move |located: &Located| {
                        let bytes = located.body.read(range, &mut pieces, Patience::Wait)?;
                        Ok((bytes, pieces))
                    };
                    let (bytes, pieces) = self.with_body(read).await?;
                    self.pieces = pieces;
                    bytes
                }
            };
            self.range.start += bytes.len() as u64;
            if self.range.is_empty() {
                self.pieces = Bytes::new();
            }
            return Ok(Some(Frame::data(bytes)));
        }
        if std::mem::take(&mut self.trailers) {
            let trailers = self.with_body(|located| located.body.trailers()).await?;
            return Ok(trailers.map(Frame::trailers));
        }
        Ok(None)
    }
}
