use std::fmt;

use bytes::Bytes;
use http::HeaderMap;

use super::{EntryWriter, Error, Ticket};

/// Keeps a body in memory until it is whole: the writer of a store that takes responses in one
/// piece. Dropped, it leaves nothing.
pub struct BufferedWriter {
    ticket: Ticket,
    max_bytes: u64,
    length: u64,
    chunks: Vec<Bytes>,
    commit: Commit,
}

type Commit = Box<dyn FnOnce(Bytes, Option<HeaderMap>) -> Result<(), Error> + Send>;

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
        Self { ticket, max_bytes, length: 0, chunks: Vec::new(), commit: Box::new(commit) }
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
        let Self { ticket, chunks, commit, .. } = self;
        // Copied, since chunks are slices of a connection's buffers.
        let body = Bytes::from(chunks.concat());
        drop(chunks);
        ticket.commit(|| commit(body, trailers))
    }
}

impl fmt::Debug for BufferedWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BufferedWriter").field("length", &self.length).finish_non_exhaustive()
    }
}
