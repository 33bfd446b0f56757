use std::ops::Range;

use super::{RedisHandle, RedisManager, RedisWriter, body::RedisReader};
use crate::{
    policy::{CacheKey, Placement, Secret, StoredHead, VariantKey, Wanted},
    purge::PurgeLog,
    storage::{CacheManager, Entry, Error, Found, StoredBody, Visitor},
};

impl CacheManager for RedisManager {
    type Handle = RedisHandle;
    type Writer = RedisWriter;

    fn secret(&self) -> &Secret {
        &self.inner.secret
    }

    fn max_entry_bytes(&self) -> u64 {
        self.inner.store.options.max_entry_bytes
    }

    async fn get(&self, wanted: &Wanted<'_>) -> Result<Found<RedisHandle>, Error> {
        self.inner.keep();
        self.inner.store.find(wanted).await
    }

    fn locate(&self, entry: &Entry<RedisHandle>) -> Option<(CacheKey, VariantKey)> {
        let record = &entry.handle().0.record;
        Some((record.key.clone(), record.variant.clone()))
    }

    fn read(&self, entry: &Entry<RedisHandle>, range: Range<u64>) -> StoredBody {
        let located = &entry.handle().0;
        if let Some(body) = &located.body {
            return StoredBody::from_range(body, range, located.record.trailers.as_ref());
        }
        let end = range.end.min(located.length());
        let start = range.start.min(end);
        let reader = RedisReader::new(self.inner.clone(), located.clone(), start..end);
        StoredBody::from_reader(end - start, reader)
    }

    async fn put(&self, placement: Placement, head: StoredHead) -> Result<RedisWriter, Error> {
        self.inner.keep();
        RedisWriter::begin(self.inner.clone(), placement, head).await
    }

    async fn update(&self, entry: &Entry<RedisHandle>, head: StoredHead) -> Result<bool, Error> {
        self.inner.keep();
        self.inner.store.update(&entry.handle().0, head).await
    }

    async fn remove(&self, entry: &Entry<RedisHandle>) -> Result<bool, Error> {
        self.inner.keep();
        self.inner.store.remove(&entry.handle().0).await
    }

    async fn delete(&self, key: &CacheKey) -> Result<(), Error> {
        self.inner.keep();
        self.inner.store.delete(key).await
    }

    async fn clear(&self) -> Result<(), Error> {
        self.inner.keep();
        self.inner.store.clear().await
    }

    async fn sync(&self) -> Result<(), Error> {
        self.inner.store.pending.drain().await;
        Ok(())
    }

    fn purge_log(&self) -> &PurgeLog {
        &self.inner.store.purges
    }

    async fn scan(&self, visitor: &mut impl Visitor<RedisHandle>) -> Result<(), Error> {
        self.inner.keep();
        self.inner.store.scan(visitor).await
    }
}
