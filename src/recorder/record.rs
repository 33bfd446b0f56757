use std::{
    future::{Future, poll_fn},
    sync::Arc,
};

use bytes::Bytes;

use super::queue::{Event, Queue};
use crate::{
    Error,
    admission::Admission,
    inflight::Fetching,
    policy::{Placement, StoredHead, StoredResponse, Tagging, Wanted},
    splice::{Splice, append},
    storage::{CacheManager, EntryWriter},
};

/// One response on its way into the store.
pub(crate) struct Record<M: CacheManager> {
    pub(crate) placement: Placement,
    pub(crate) head: StoredHead,
    pub(crate) tagging: Option<Tagging>,
    pub(crate) fetching: Fetching,
    /// The bytes that it must have, where the body does not know.
    pub(crate) due: Option<u64>,
    pub(crate) splice: Option<Splice<M::Handle>>,
}

/// What has come of storing a response without waiting.
pub(super) enum Now<M: CacheManager> {
    /// How many bytes are stored.
    Over(Result<u64, Error>),
    /// It is there, and has to go.
    Missed(Admission),
    /// This store cannot.
    No(Box<Record<M>>),
}

/// Takes out what was stored beside a purge that has not seen it.
pub(super) async fn take_out<M: CacheManager>(
    manager: M,
    admission: Admission,
) -> Result<u64, Error> {
    manager.delete(admission.key()).await?;
    Err(Error::refused())
}

impl<M: CacheManager> Record<M> {
    /// Stores it if that is the work of a moment.
    pub(super) fn store_now(self, manager: &M, body: &Bytes) -> Now<M> {
        let Self { placement, head, fetching, .. } = self;
        let admission = Admission::new(fetching, manager.purge_log().clone());
        let admits = || admission.admits(&head);
        match manager.put_now(&placement, &head, body, &admits) {
            None => Now::No(Box::new(Self {
                placement,
                head,
                fetching: admission.into_fetching(),
                tagging: None,
                due: None,
                splice: None,
            })),
            Some(Ok(())) if admission.has_missed() => Now::Missed(admission),
            Some(written) => Now::Over(written.map(|()| body.len() as u64)),
        }
    }

    /// Stores it where the store cannot [at once](Self::store_now): it is not made of others, and nothing is
    /// added. How many bytes are stored then.
    pub(super) fn store(
        self,
        manager: M,
        body: Bytes,
    ) -> impl Future<Output = Result<u64, Error>> + Send {
        let Self { placement, head, fetching, .. } = self;
        let (own, length) = (head.clone(), body.len() as u64);
        let admission = Admission::new(fetching, manager.purge_log().clone());
        async move {
            let mut writer = manager.put(placement, head).await?;
            writer.write(body).await?;
            if !admission.admits(&own) {
                return Err(Error::refused());
            }
            // The store is to have the only one.
            drop(own);
            writer.finish(None).await?;
            if !admission.has_missed() {
                return Ok(length);
            }
            take_out(manager, admission).await
        }
    }

    /// How many bytes are stored then.
    pub(super) async fn pump(self, manager: &M, events: Arc<Queue>) -> Result<u64, Error> {
        let Self { placement, head, mut tagging, fetching, due, splice } = self;
        let own = head.clone();
        let admission = Admission::new(fetching, manager.purge_log().clone());
        let variant = due.map(|_| placement.variant().clone());
        let mut writer = manager.put(placement, head).await?;
        let mut seen = 0;
        if let Some(Splice { entry, joint }) = &splice {
            seen += append(manager, entry, joint.before(), &mut writer).await?.0;
        }
        let trailers = loop {
            match poll_fn(|_| events.poll_next()).await {
                Event::Chunk(chunk) => {
                    seen += chunk.len() as u64;
                    if let Some(tagging) = &mut tagging {
                        tagging.update(&chunk);
                    }
                    writer.write(chunk).await?;
                }
                Event::End(trailers) => break trailers,
            }
        };
        if let Some(Splice { entry, joint }) = &splice {
            seen += append(manager, entry, joint.after(), &mut writer).await?.0;
        }
        let (stored, began) =
            (splice.as_ref().map(|splice| splice.entry.response().head()), own.began());
        let is_admitted = match stored {
            Some(stored) => admission.admits_again(stored, &own),
            None => admission.admits(&own),
        };
        if !is_admitted || due.is_some_and(|due| due != seen) {
            return Err(Error::refused());
        }
        match (&splice, &variant) {
            // It takes the place of what it was made of, and of nothing else.
            (Some(Splice { entry, .. }), _) if !manager.remove(entry).await? => {
                return Err(Error::refused());
            }
            (None, Some(variant)) if own.content_range().is_some() => {
                let there = manager.get(&Wanted::exactly(admission.key(), variant)).await?;
                let yields = |there: &StoredResponse| there.head().yields_to(&own);
                if !there.responses().iter().all(yields) {
                    return Err(Error::refused());
                }
            }
            _ => {}
        }
        // Those of a part are not those of the whole.
        let trailers = trailers.filter(|_| due.is_none()).map(|trailers| *trailers);
        match tagging {
            Some(tagging) => writer.finish_with(tagging.finish(own), trailers).await?,
            None => {
                // The store is to have the only one.
                drop(own);
                writer.finish(trailers).await?;
            }
        }
        let missed = match stored {
            Some(stored) => admission.has_missed_again(stored, began),
            None => admission.has_missed(),
        };
        if !missed {
            return Ok(seen);
        }
        take_out(manager.clone(), admission).await
    }
}
