use std::{future::poll_fn, pin::pin, sync::Arc, task::Poll};

use bytes::Bytes;
use http::{HeaderMap, header};

use super::{Inner, now};
use crate::{
    Error,
    policy::{CacheKey, Placement, StoredHead},
    storage::{CacheManager, EntryWriter, Ticket},
};

/// Writes one response into a [`Tiered`](super::Tiered) store: into both tiers as it comes.
pub struct TieredWriter<M: CacheManager, D: CacheManager> {
    inner: Arc<Inner<M, D>>,
    key: CacheKey,
    ticket: Ticket,
    length: u64,
    /// Not there for what is large, nor after it failed.
    fast: Option<M::Writer>,
    /// Not there after it failed.
    slow: Option<D::Writer>,
}

impl<M: CacheManager, D: CacheManager> TieredWriter<M, D> {
    pub(super) async fn begin(
        inner: Arc<Inner<M, D>>,
        placement: Placement,
        head: StoredHead,
    ) -> Result<Self, Error> {
        let key = placement.key().clone();
        let ticket = inner.fences.enter(&key);
        let announced = head.headers().get(header::CONTENT_LENGTH);
        let announced = announced.and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
        let is_large = announced.is_some_and(|length| length > inner.fast_entry_bytes);
        let fast = if is_large {
            None
        } else {
            now(inner.fast.put(placement.clone(), head.clone())).and_then(Result::ok)
        };
        let slow = inner.within(inner.slow.put(placement, head)).await;
        let slow = match slow {
            Ok(slow) => Some(slow),
            Err(error) if fast.is_none() => return Err(error),
            Err(_) => None,
        };
        Ok(Self { inner, key, ticket, length: 0, fast, slow })
    }
}

impl<M: CacheManager, D: CacheManager> EntryWriter for TieredWriter<M, D> {
    async fn write(&mut self, chunk: Bytes) -> Result<(), Error> {
        self.length = self.length.saturating_add(chunk.len() as u64);
        if let Some(fast) = &mut self.fast {
            let fits = self.length <= self.inner.fast_entry_bytes;
            if !fits || !matches!(now(fast.write(chunk.clone())), Some(Ok(()))) {
                self.fast = None;
            }
        }
        let has_fast = self.fast.is_some();
        let Some(slow) = &mut self.slow else {
            return if has_fast { Ok(()) } else { Err(Error::too_large()) };
        };
        let written = if has_fast {
            self.inner.within(slow.write(chunk)).await
        } else {
            slow.write(chunk).await
        };
        match written {
            Err(error) if has_fast && !error.is_too_large() => {
                self.slow = None;
                Ok(())
            }
            written => written,
        }
    }

    async fn finish(self, trailers: Option<HeaderMap>) -> Result<(), Error> {
        self.finish_both(None, trailers).await
    }

    async fn finish_with(self, head: StoredHead, trailers: Option<HeaderMap>) -> Result<(), Error> {
        self.finish_both(Some(head), trailers).await
    }
}

impl<M: CacheManager, D: CacheManager> TieredWriter<M, D> {
    /// The fast tier has it as soon as the slow one has to be waited for.
    async fn finish_both(
        self,
        head: Option<StoredHead>,
        trailers: Option<HeaderMap>,
    ) -> Result<(), Error> {
        let Self { inner, key, mut ticket, fast, slow, .. } = self;
        let Some(slow) = slow else {
            let Some(fast) = fast else { return Err(Error::too_large()) };
            return ticket.commit_alone(|| finish_now(fast, head, trailers));
        };
        let mut slow = pin!(finish(slow, head.clone(), trailers.clone()));
        // What the slow tier has and the fast one has not must not hide behind what was there.
        let mut forgotten = inner.forgetting(&key);
        let early = poll_fn(|cx| Poll::Ready(slow.as_mut().poll(cx))).await;
        let is_refused = |finished: &Result<(), Error>| {
            finished.as_ref().is_err_and(|error| error.is_refused() || error.is_too_large())
        };
        let is_fast = match fast {
            Some(fast) if !matches!(&early, Poll::Ready(early) if is_refused(early)) => {
                ticket.commit_alone(|| finish_now(fast, head, trailers)).is_ok()
            }
            _ => false,
        };
        if is_fast {
            forgotten.give_up();
        }
        let finished = match early {
            Poll::Ready(finished) => finished,
            Poll::Pending => slow.await,
        };
        if !is_fast {
            if finished.is_err() {
                forgotten.give_up();
            }
            return finished;
        }
        if is_refused(&finished) || !ticket.is_valid() {
            // Another came between, or the slow tier knows why it must not be kept.
            inner.forget(&key);
            return finished;
        }
        Ok(())
    }
}

async fn finish(
    writer: impl EntryWriter,
    head: Option<StoredHead>,
    trailers: Option<HeaderMap>,
) -> Result<(), Error> {
    match head {
        Some(head) => writer.finish_with(head, trailers).await,
        None => writer.finish(trailers).await,
    }
}

fn finish_now(
    fast: impl EntryWriter,
    head: Option<StoredHead>,
    trailers: Option<HeaderMap>,
) -> Result<(), Error> {
    now(finish(fast, head, trailers)).unwrap_or_else(|| Err(Error::timed_out()))
}
