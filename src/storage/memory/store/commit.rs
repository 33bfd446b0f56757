//! How a response gets into the store.

use std::sync::{Arc, atomic::Ordering};

use bytes::Bytes;
use http::HeaderMap;
use quick_cache::Weighter;

use super::{
    super::{
        evicted::Gone,
        record::{Body, ByWeight, Record, RecordKey, RecordRef, Resource},
        siblings::Siblings,
    },
    Store,
};
use crate::{
    Error,
    policy::{CacheKey, PackedHead, Placement, StoredHead, StoredResponse, VariantBound},
};

impl Store {
    /// Makes a response visible. The caller holds the lock of its resource.
    pub(in super::super) fn commit(
        &self,
        placement: &Placement,
        head: StoredHead,
        body: Bytes,
        trailers: Option<HeaderMap>,
    ) -> Result<(), Error> {
        let key = placement.key();
        let before = self.cache.peek(&RecordRef::resource(key));
        if placement.is_alone() && !matches!(before, Some(Record::Resource(_))) {
            return self.commit_alone(key, before, head, body, trailers);
        }
        let (mut siblings, plain) = match before.and_then(Record::into_resource) {
            Some(resource) => (resource.siblings.clone(), resource.plain.clone()),
            None => (Siblings::new(self.next_generation()), None),
        };
        let generation = siblings.index().generation();
        let record = RecordKey::variant(generation, key, placement.variant());
        let response = StoredResponse::new(head, body.len() as u64);
        let packed = PackedHead::of(response.head());
        let (budget, trailers) = (siblings.budget(placement, &self.owners), trailers.map(Box::new));
        let stored = Arc::new(Body::new(record.clone(), packed, body, trailers, budget));
        self.allow_share(&stored, plain.as_deref(), placement.bound())?;

        let evicted = siblings.admit(placement, &record);
        let is_plain = stored.is_plain();
        let kept = || plain.filter(|_| siblings.has_plain()).map(|plain| Arc::new(plain.again()));
        let plain = if is_plain { Some(stored.clone()) } else { kept() };
        let resource = (record.of_resource(), Record::of(Resource { siblings, plain }));
        let variant = (!is_plain).then(|| (record, Record::Variant(stored)));
        for (key, record) in variant.iter().chain([&resource]) {
            self.allow_weight(key, record)?;
        }
        for variant in evicted {
            self.take_out(&variant.as_ref());
            self.variants_evicted.fetch_add(1, Ordering::Relaxed);
        }
        for (key, record) in variant.into_iter().chain([resource]) {
            self.insert(key, record);
        }
        Ok(())
    }

    /// The same of one that is all that there is of its resource, as most are.
    fn commit_alone(
        &self,
        key: &CacheKey,
        before: Option<Record>,
        head: StoredHead,
        body: Bytes,
        trailers: Option<HeaderMap>,
    ) -> Result<(), Error> {
        let generation = match before {
            Some(Record::Plain(body)) => body.record.generation,
            _ => self.next_generation(),
        };
        let record = RecordKey::plain(generation, key);
        let response = StoredResponse::new(head, body.len() as u64);
        let (packed, trailers) = (PackedHead::of(response.head()), trailers.map(Box::new));
        let own = record.of_resource();
        let record = Record::Plain(Arc::new(Body::new(record, packed, body, trailers, None)));
        self.allow_weight(&own, &record)?;
        self.insert(own, record);
        Ok(())
    }

    fn next_generation(&self) -> u64 {
        self.generations.fetch_add(1, Ordering::Relaxed)
    }

    pub(super) fn insert(&self, key: RecordKey, record: Record) {
        self.hot.age(ByWeight.weight(&key, &record));
        let (own, mut gone) = (key.clone(), Gone::default());
        self.cache.insert_with_lifecycle(key, record, &mut gone);
        let evicted = gone.records.iter().filter(|(key, _)| *key != own).count();
        self.evicted.fetch_add(evicted as u64, Ordering::Relaxed);
    }

    /// A new variant must leave room for other resources.
    fn allow_share(
        &self,
        new: &Body,
        plain: Option<&Body>,
        bound: VariantBound,
    ) -> Result<(), Error> {
        let Some(share) = &new.share else { return Ok(()) };
        let weight = |old: &Body| old.share.as_ref().map_or(0, |share| share.weight());
        let replaced = match (new.is_plain(), plain) {
            (true, plain) => plain.map_or(0, weight),
            (false, _) => match self.cache.peek(&new.record) {
                Some(Record::Variant(old)) => weight(&old),
                _ => 0,
            },
        };
        // The new share is in the budget already.
        let (taken, limit, refused) = match bound {
            VariantBound::Quota(quota) => {
                (share.budget().taken_by_owner(), quota, &self.quota_refused)
            }
            _ => (share.budget().taken(), self.limits.share, &self.variants_refused),
        };
        if taken.saturating_sub(replaced) <= limit {
            return Ok(());
        }
        refused.fetch_add(1, Ordering::Relaxed);
        Err(Error::refused())
    }

    /// What the cache does not admit it drops, and what had the same key with it.
    pub(super) fn allow_weight(&self, key: &RecordKey, record: &Record) -> Result<(), Error> {
        let is_admitted = ByWeight.weight(key, record) <= self.room;
        if is_admitted { Ok(()) } else { Err(Error::too_large()) }
    }
}
