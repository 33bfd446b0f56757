use std::ops::Range;

#[cfg(doc)]
use super::Durability;
use super::{
    DiskHandle, DiskManager, DiskWriter,
    entry::{Record, Response, entry},
    name::Name,
    pool::{Need, Waiting},
    reader::DiskReader,
    scan,
    store::Store,
};
use crate::{
    policy::{CacheKey, Placement, Secret, StoredHead, VariantKey, Wanted},
    purge::PurgeLog,
    storage::{CacheManager, Entry, Error, Found, StoredBody, Usage, Visitor},
};

impl CacheManager for DiskManager {
    type Handle = DiskHandle;
    type Writer = DiskWriter;

    fn secret(&self) -> &Secret {
        &self.inner.secret
    }

    fn max_entry_bytes(&self) -> u64 {
        self.inner.store.options.entry_bytes()
    }

    fn get_now(&self, wanted: &Wanted<'_>) -> Option<Result<Found<DiskHandle>, Error>> {
        let (store, key) = (&self.inner.store, wanted.key());
        let resource = Name::resource(key);
        let index = match store.find_now(resource, key)? {
            None => return Some(Ok(Found::nothing())),
            Some(Record::Response(response)) => {
                return Some(Ok(plain(wanted, resource, *response)));
            }
            Some(Record::Index { index, .. }) => index,
        };
        let mut found = Vec::new();
        for variant in wanted.select(&index) {
            let response = store.find_response_now(resource, key, index.generation(), &variant)?;
            found.extend(response.map(|response| entry(resource, key, variant, *response)));
        }
        if !found.is_empty() {
            return Some(Ok(Found::entries(found)));
        }
        for variant in wanted.others(&index) {
            let response = store.find_response_now(resource, key, index.generation(), &variant)?;
            found.extend(response.map(|response| entry(resource, key, variant, *response)));
        }
        Some(Ok(Found::others(found)))
    }

    async fn get(&self, wanted: &Wanted<'_>) -> Result<Found<DiskHandle>, Error> {
        if let Some(found) = self.get_now(wanted) {
            return found;
        }
        let (own, key) = (wanted.key().clone(), wanted.key());
        let resource = Name::resource(key);
        let found = self.inner.queue.run(Need::Optional, move |store, _| store.find(&own)).await?;
        let index = match found {
            None => return Ok(Found::nothing()),
            Some(Record::Response(response)) => return Ok(plain(wanted, resource, *response)),
            Some(Record::Index { index, .. }) => index,
        };
        let selected: Vec<VariantKey> = wanted.select(&index).collect();
        let others: Vec<VariantKey> = wanted.others(&index).collect();
        let (own, generation) = (key.clone(), index.generation());
        let found = self.inner.queue.run(Need::Optional, move |store, _| {
            let find = |variants: Vec<VariantKey>| {
                let mut found = Vec::with_capacity(variants.len());
                for variant in variants {
                    let response = store.find_response(&own, generation, &variant)?;
                    found.extend(response.map(|response| (variant, response)));
                }
                Ok::<_, Error>(found)
            };
            let selected = find(selected)?;
            let others = if selected.is_empty() { find(others)? } else { Vec::new() };
            Ok((selected, others))
        });
        let (selected, others) = found.await?;
        let made = |(variant, response): (VariantKey, Box<Response>)| {
            entry(resource, key, variant, *response)
        };
        Ok(if selected.is_empty() {
            Found::others(others.into_iter().map(made))
        } else {
            Found::entries(selected.into_iter().map(made))
        })
    }

    fn locate(&self, entry: &Entry<DiskHandle>) -> Option<(CacheKey, VariantKey)> {
        let DiskHandle(located) = entry.handle();
        Some((located.key.clone(), located.variant.clone()))
    }

    fn read(&self, entry: &Entry<DiskHandle>, range: Range<u64>) -> StoredBody {
        let DiskHandle(located) = entry.handle();
        if let Some((bytes, trailers)) = located.body.small() {
            return StoredBody::from_range(&bytes, range, trailers.as_ref());
        }
        let end = range.end.min(located.body.length());
        let start = range.start.min(end);
        let reader = DiskReader::new(self.inner.clone(), located.clone(), start..end);
        StoredBody::from_reader(end - start, reader)
    }

    async fn put(&self, placement: Placement, head: StoredHead) -> Result<DiskWriter, Error> {
        if !self.inner.store.purge_file.is_current() {
            // What was purged before is none of this response's.
            let refresh = |store: &Store, _: &Waiting<'_>| store.purge_file.refresh(&store.purges);
            self.inner.queue.run(Need::Optional, refresh).await?;
        }
        DiskWriter::new(self.inner.clone(), placement, &head)
    }

    async fn update(&self, entry: &Entry<DiskHandle>, head: StoredHead) -> Result<bool, Error> {
        let located = entry.handle().0.clone();
        let work =
            self.inner.queue.run(Need::Optional, move |store, _| store.update(&located, &head));
        work.await
    }

    async fn remove(&self, entry: &Entry<DiskHandle>) -> Result<bool, Error> {
        let located = entry.handle().0.clone();
        self.inner.queue.run(Need::Required, move |store, _| store.remove(&located)).await
    }

    async fn delete(&self, key: &CacheKey) -> Result<(), Error> {
        // At once, also if nobody waits for the rest.
        self.inner.store.fences.raise(Name::resource(key));
        let key = key.clone();
        let work =
            self.inner.queue.run(Need::Required, move |store, waiting| store.delete(&key, waiting));
        work.await
    }

    async fn clear(&self) -> Result<(), Error> {
        self.inner.store.fences.raise_all();
        let work =
            self.inner.queue.run(Need::Required, move |store, waiting| store.clear(Some(waiting)));
        work.await
    }

    /// Waits until every response that [`finish`](crate::storage::EntryWriter::finish) was called for is in
    /// place, or refused. With [`Durability::Periodic`] all of it is synced, too.
    async fn sync(&self) -> Result<(), Error> {
        self.inner.pending.drain().await;
        let work = self.inner.queue.run(Need::Required, |store, _| {
            store.sync_recent();
            store.flush_catalog(true);
            Ok(())
        });
        work.await
    }

    fn purge_log(&self) -> &PurgeLog {
        &self.inner.store.purges
    }

    async fn scan(&self, visitor: &mut impl Visitor<DiskHandle>) -> Result<(), Error> {
        scan::scan(&self.inner, visitor).await
    }

    fn usage(&self) -> Option<Usage> {
        Some(self.inner.store.records.usage())
    }
}

/// What was found of a resource without `Vary`.
fn plain(wanted: &Wanted<'_>, resource: Name, response: Response) -> Found<DiskHandle> {
    // Who is told apart from others does not select what is for all.
    let made = |()| entry(resource, wanted.key(), VariantKey::restored(Vec::new()), response);
    Found::entries(wanted.takes_plain().then_some(()).map(made))
}
