//! What is read from the slow tier again is copied into the fast one.

use std::{
    future::poll_fn,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame};

use super::{Inner, TieredHandle, handle::At, now};
use crate::{
    Error,
    policy::{Placement, StoredResponse, Wanted},
    storage::{BodyReader, CacheManager, Entry, EntryWriter, Found, StoredBody, Ticket},
};

/// Where a response of the slow tier belongs in the fast one.
pub(super) struct Climb {
    placement: Placement,
    /// Drawn before the slow tier was asked: what has changed since is not copied.
    ticket: Arc<Ticket>,
}

impl Climb {
    pub(super) fn placement(&self) -> &Placement {
        &self.placement
    }
}

/// What was found in the slow tier, each with its place in the fast one.
pub(super) fn found<M: CacheManager, D: CacheManager>(
    inner: &Inner<M, D>,
    wanted: &Wanted<'_>,
    found: Found<D::Handle>,
    ticket: Ticket,
) -> Found<TieredHandle<M::Handle, D::Handle>> {
    let count = found.responses().len();
    if count == 0 {
        return found.map(|_, handle| TieredHandle(At::Slow(handle, None)));
    }
    let ticket = Arc::new(ticket);
    let place = |entry: &Entry<D::Handle>| {
        let response = entry.response();
        if response.length() > inner.fast_entry_bytes {
            return None;
        }
        let (_, variant) = inner.slow.locate(entry)?;
        let placement = wanted.place_again(response.head(), &variant)?;
        Some(Arc::new(Climb { placement, ticket: ticket.clone() }))
    };
    let entries = (0..count).filter_map(|index| {
        let entry = found.clone().into_entry(index)?;
        let handle = TieredHandle(At::Slow(entry.handle().clone(), place(&entry)));
        Some(Entry::new(entry.response().clone(), handle))
    });
    Found::entries(entries)
}

/// Copies `body` into the fast tier: at once if it is in memory, else while it is read. The reader
/// gets what it would have got.
pub(super) fn copy<M: CacheManager>(
    fast: &M,
    climb: &Arc<Climb>,
    response: &StoredResponse,
    body: StoredBody,
) -> StoredBody {
    let begun = now(fast.put(climb.placement.clone(), response.head().clone()));
    let Some(Ok(writer)) = begun else { return body };
    // Whoever deletes from now on has the fast tier refuse the writer.
    if !climb.ticket.is_valid() {
        return body;
    }
    let mut copy = Copy { climb: climb.clone(), writer: Some(writer) };
    if let Some((bytes, trailers)) = body.as_bytes() {
        copy.write(bytes);
        copy.finish(trailers);
        return body;
    }
    let length = response.length();
    StoredBody::from_reader(length, Copying { body, copy, left: length, next: None })
}

/// A response on its way into the fast tier. Given up if that is not ready at once.
struct Copy<W> {
    climb: Arc<Climb>,
    writer: Option<W>,
}

impl<W: EntryWriter> Copy<W> {
    fn write(&mut self, chunk: &Bytes) {
        let written = self.writer.as_mut().and_then(|writer| now(writer.write(chunk.clone())));
        if !matches!(written, Some(Ok(()))) {
            self.writer = None;
        }
    }

    fn finish(&mut self, trailers: Option<&HeaderMap>) {
        let Some(writer) = self.writer.take() else { return };
        let late = || Err(Error::timed_out());
        // What is not copied now is copied another time.
        let _ =
            self.climb.ticket.commit(|| now(writer.finish(trailers.cloned())).unwrap_or_else(late));
    }
}

/// Reads a body of the slow tier, and copies what comes.
struct Copying<W> {
    body: StoredBody,
    copy: Copy<W>,
    /// How many bytes have not come yet.
    left: u64,
    /// What came behind the last bytes.
    next: Option<Option<Result<Frame<Bytes>, Error>>>,
}

impl<W: EntryWriter> BodyReader for Copying<W> {
    async fn next(&mut self) -> Result<Option<Frame<Bytes>>, Error> {
        let frame = match self.next.take() {
            Some(frame) => frame,
            None => poll_fn(|cx| Pin::new(&mut self.body).poll_frame(cx)).await,
        };
        let Some(frame) = frame.transpose()? else {
            self.copy.finish(None);
            return Ok(None);
        };
        if let Some(trailers) = frame.trailers_ref() {
            self.copy.finish(Some(trailers));
        }
        if let Some(data) = frame.data_ref() {
            self.copy.write(data);
            self.left = self.left.saturating_sub(data.len() as u64);
            if self.left == 0 {
                self.look_behind();
            }
        }
        Ok(Some(frame))
    }
}

impl<W: EntryWriter> Copying<W> {
    /// Servers do not ask again when they have all bytes.
    fn look_behind(&mut self) {
        let mut cx = Context::from_waker(Waker::noop());
        let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(&mut cx) else { return };
        match &frame {
            None => self.copy.finish(None),
            Some(Ok(frame)) => {
                if let Some(trailers) = frame.trailers_ref() {
                    self.copy.finish(Some(trailers));
                }
            }
            Some(Err(_)) => self.copy.writer = None,
        }
        self.next = Some(frame);
    }
}
