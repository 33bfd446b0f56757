use std::fmt;

use bytes::Bytes;
use http::HeaderMap;

use super::{EntryWriter, Error, Ticket};
use crate::policy::StoredHead;

/// Keeps a body in memory until it is whole: the writer of a store that takes responses in one
/// piece. Dropped, it leaves nothing.
pub struct BufferedWriter {
    ticket: Ticket,
    max_bytes: u64,
    length: u64,
    chunks: Vec<Bytes>,
    head: Option<StoredHead>,
    commit: Commit,
}

type Commit =
    Box<dyn FnOnce(Option<StoredHead>, Bytes, Option<HeaderMap>) -> Result<(), Error> + Send>;

impl BufferedWriter {
    /// Takes a body of at most `max_bytes`; more is [`Error::is_too_large`].
    ///
    /// When all is there, `commit` gets the body, in memory of exact size, and the trailers, and
    /// makes the response visible: in [`Ticket::commit`], so that it is not asked if the resource was
    /// deleted meanwhile.
    pub fn new(
        ticket: Ticket,
        max_bytes: u64,
        commit: impl FnOnce(Bytes, Option<HeaderMap>) -> Result<(), Error> + Send + 'static,
    ) -> Self {
        Self::begin(ticket, max_bytes, None, Box::new(|_, body, trailers| commit(body, trailers)))
    }

    /// The same for a head that may be given anew at the end
    /// ([`finish_with`](EntryWriter::finish_with)): `commit` gets the one that was given last.
    pub fn with_head(
        ticket: Ticket,
        max_bytes: u64,
        head: StoredHead,
        commit: impl FnOnce(StoredHead, Bytes, Option<HeaderMap>) -> Result<(), Error> + Send + 'static,
    ) -> Self {
        let commit = |head: Option<StoredHead>, body, trailers| match head {
            Some(head) => commit(head, body, trailers),
            None => Err(Error::other("a response without a head")),
        };
        Self::begin(ticket, max_bytes, Some(head), Box::new(commit))
    }

    fn begin(ticket: Ticket, max_bytes: u64, head: Option<StoredHead>, commit: Commit) -> Self {
        Self { ticket, max_bytes, length: 0, chunks: Vec::new(), head, commit }
    }

    fn fits(&self) -> Result<(), Error> {
        if self.length <= self.max_bytes { Ok(()) } else { Err(Error::too_large()) }
    }
}

impl EntryWriter for BufferedWriter {
    async fn write(&mut self, chunk: Bytes) -> Result<(), Error> {
        self.length = self.length.saturating_add(chunk.len() as u64);
        self.fits()?;
        self.chunks.push(chunk);
        Ok(())
    }

    async fn finish(self, trailers: Option<HeaderMap>) -> Result<(), Error> {
        self.fits()?;
        let Self { ticket, chunks, head, commit, .. } = self;
        // Copied, since chunks are slices of a connection's buffers.
        let body = Bytes::from(chunks.concat());
        drop(chunks);
        ticket.commit(|| commit(head, body, trailers))
    }

    async fn finish_with(self, head: StoredHead, trailers: Option<HeaderMap>) -> Result<(), Error> {
        Self { head: Some(head), ..self }.finish(trailers).await
    }
}

impl fmt::Debug for BufferedWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BufferedWriter").field("length", &self.length).finish_non_exhaustive()
    }
}
