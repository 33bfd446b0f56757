//! A store that does everything step by step.

use std::{future::poll_fn, ops::Range, sync::Arc, task::Poll};

use bytes::Bytes;
use http::HeaderMap;
use larder::{
    CacheKey, CacheManager, MemoryManager,
    policy::{Placement, Secret, StoredHead, Wanted},
    storage::{Entry, EntryWriter, Error, Found, StoredBody},
};

/// Counts, with a clone in everything that a request holds.
pub type Token = Arc<()>;

/// Pending once, at each step of everything.
pub async fn step() {
    let mut is_first = true;
    poll_fn(|_| match std::mem::take(&mut is_first) {
        true => Poll::Pending,
        false => Poll::Ready(()),
    })
    .await;
}

/// A store that is Pending before and after each thing that it does.
#[derive(Clone)]
pub struct Steps {
    pub inner: MemoryManager,
    pub token: Token,
}

type Handle = <MemoryManager as CacheManager>::Handle;

impl CacheManager for Steps {
    type Handle = Handle;
    type Writer = StepsWriter;

    fn secret(&self) -> &Secret {
        self.inner.secret()
    }

    fn purge_log(&self) -> &larder::PurgeLog {
        self.inner.purge_log()
    }

    async fn get(&self, wanted: &Wanted<'_>) -> Result<Found<Handle>, Error> {
        step().await;
        let found = self.inner.get(wanted).await;
        step().await;
        found
    }

    fn read(&self, entry: &Entry<Handle>, range: Range<u64>) -> StoredBody {
        self.inner.read(entry, range)
    }

    async fn put(&self, placement: Placement, head: StoredHead) -> Result<StepsWriter, Error> {
        step().await;
        let writer = self.inner.put(placement, head).await?;
        step().await;
        Ok(StepsWriter { inner: writer, _token: self.token.clone() })
    }

    async fn update(&self, entry: &Entry<Handle>, head: StoredHead) -> Result<bool, Error> {
        step().await;
        let updated = self.inner.update(entry, head).await;
        step().await;
        updated
    }

    async fn remove(&self, entry: &Entry<Handle>) -> Result<bool, Error> {
        step().await;
        let removed = self.inner.remove(entry).await;
        step().await;
        removed
    }

    async fn delete(&self, key: &CacheKey) -> Result<(), Error> {
        step().await;
        self.inner.delete(key).await?;
        step().await;
        Ok(())
    }

    async fn clear(&self) -> Result<(), Error> {
        self.inner.clear().await
    }
}

pub struct StepsWriter {
    inner: <MemoryManager as CacheManager>::Writer,
    _token: Token,
}

impl EntryWriter for StepsWriter {
    async fn write(&mut self, chunk: Bytes) -> Result<(), Error> {
        step().await;
        self.inner.write(chunk).await?;
        step().await;
        Ok(())
    }

    async fn finish(self, trailers: Option<HeaderMap>) -> Result<(), Error> {
        step().await;
        self.inner.finish(trailers).await?;
        step().await;
        Ok(())
    }
}
