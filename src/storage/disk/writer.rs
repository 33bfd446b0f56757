use std::sync::Arc;

use bytes::Bytes;
use http::HeaderMap;

use super::{
    Inner,
    commit::{Commit, prefix_length, random},
    draft::{Draft, Reserved},
    fence::Ticket,
    layout::{MAX_PART, fits, slot_for},
    name::Name,
    pool::Need,
};
use crate::{
    Error,
    policy::{Placement, StoredHead},
    storage::{EntryWriter, codec},
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
