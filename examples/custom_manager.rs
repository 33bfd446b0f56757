//! A store of your own in one short file: maps under a lock. It passes `larder::storage_suite!`
//! (see `tests/storage.rs`), which is all that a layer asks of a store.
//!
//! It keeps everything for ever. A store may drop any response at any time: a miss is never wrong.

#[path = "support/args.rs"]
mod args;

use std::{
    collections::HashMap,
    ops::Range,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::BodyExt;
use larder::{
    CacheLayer, CacheManager, Error, PurgeLog,
    policy::{
        CacheKey, Index, Placement, Secret, StoredHead, StoredResponse, VariantId, VariantKey,
        Wanted,
    },
    storage::{BufferedWriter, Entry, Fences, Found, StoredBody},
};
use tower::{Layer, Service, service_fn};

/// Clones are one store.
#[derive(Clone)]
pub struct MapManager {
    secret: Secret,
    purges: PurgeLog,
    fences: Fences,
    resources: Arc<Mutex<HashMap<CacheKey, Resource>>>,
}

/// What lies under one key. The index says which variants a request can select.
type Resource = (Index, HashMap<VariantId, Arc<Kept>>);

/// A response. An entry's handle is the `Arc`: it finds the body, and tells this response from one
/// that was stored in its place.
#[derive(Clone)]
pub struct Kept {
    placement: Placement,
    response: StoredResponse,
    body: Bytes,
    trailers: Option<HeaderMap>,
}

impl Default for MapManager {
    fn default() -> Self {
        let (secret, purges) = (Secret::random(), PurgeLog::new());
        Self { secret, purges, fences: Fences::new(), resources: Arc::default() }
    }
}

impl MapManager {
    fn lock(&self) -> MutexGuard<'_, HashMap<CacheKey, Resource>> {
        self.resources.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What has become whole. Others are locked out, and it has not been deleted meanwhile.
    fn insert(&self, kept: Kept) {
        let (mut resources, placement) = (self.lock(), kept.placement.clone());
        // The responses are dropped with their index, so that one generation does for all.
        let new = || (Index::new(0), HashMap::new());
        let (index, responses) = resources.entry(placement.key().clone()).or_insert_with(new);
        for evicted in index.admit(&placement) {
            responses.remove(&evicted);
        }
        responses.insert(placement.variant().id(), Arc::new(kept));
    }

    /// Compare and set: puts `new` in the place of `old`, if that is what is there.
    fn replace(&self, old: &Arc<Kept>, new: Option<Kept>) -> bool {
        let (mut resources, id) = (self.lock(), old.placement.variant().id());
        let Some((_, responses)) = resources.get_mut(old.placement.key()) else { return false };
        let is_same = responses.get(&id).is_some_and(|kept| Arc::ptr_eq(kept, old));
        match new {
            _ if !is_same => None,
            Some(new) => responses.insert(id, Arc::new(new)),
            None => responses.remove(&id),
        };
        is_same
    }
}

impl CacheManager for MapManager {
    type Handle = Arc<Kept>;
    type Writer = BufferedWriter;

    fn secret(&self) -> &Secret {
        &self.secret
    }

    fn purge_log(&self) -> &PurgeLog {
        &self.purges
    }

    fn max_entry_bytes(&self) -> u64 {
        1 << 20
    }

    async fn get(&self, wanted: &Wanted<'_>) -> Result<Found<Arc<Kept>>, Error> {
        let resources = self.lock();
        let Some((index, all)) = resources.get(wanted.key()) else { return Ok(Found::nothing()) };
        let find = |variant: VariantKey| {
            let kept = all.get(&variant.id())?;
            Some(Entry::new(kept.response.clone(), kept.clone()))
        };
        let found = Found::entries(wanted.select(index).filter_map(find));
        if !found.responses().is_empty() {
            return Ok(found);
        }
        Ok(Found::others(wanted.others(index).filter_map(find)))
    }

    // Bytes that are somewhere else are read as they are asked for: `StoredBody::from_reader`.
    fn read(&self, entry: &Entry<Arc<Kept>>, range: Range<u64>) -> StoredBody {
        StoredBody::from_range(&entry.handle().body, range, entry.handle().trailers.as_ref())
    }

    async fn put(&self, placement: Placement, head: StoredHead) -> Result<BufferedWriter, Error> {
        let (store, ticket) = (self.clone(), self.fences.enter(placement.key()));
        let room = self.max_entry_bytes();
        Ok(BufferedWriter::with_head(ticket, room, head, move |head, body, trailers| {
            let response = StoredResponse::new(head, body.len() as u64);
            store.insert(Kept { placement, response, body, trailers });
            Ok(())
        }))
    }

    async fn update(&self, entry: &Entry<Arc<Kept>>, head: StoredHead) -> Result<bool, Error> {
        let old = entry.handle();
        let response = StoredResponse::new(head, old.body.len() as u64);
        Ok(self.replace(old, Some(Kept { response, ..Kept::clone(old) })))
    }

    async fn remove(&self, entry: &Entry<Arc<Kept>>) -> Result<bool, Error> {
        Ok(self.replace(entry.handle(), None))
    }

    async fn delete(&self, key: &CacheKey) -> Result<(), Error> {
        self.fences.delete(key, || self.lock().remove(key));
        Ok(())
    }

    async fn clear(&self) -> Result<(), Error> {
        self.fences.clear(|| self.lock().clear());
        Ok(())
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    args::or_exit(args::none(
        "Asks twice for one page, through a cache with a store of its own.\n",
    ));
    let origin = service_fn(|_: Request<String>| async {
        Response::builder().header("cache-control", "max-age=60").body("hello".to_owned())
    });
    let mut service = CacheLayer::new(MapManager::default()).layer(origin);
    for _ in 0..2 {
        let request = Request::get("http://a.example/").body(String::new()).expect("a request");
        let response = service.call(request).await.expect("the origin does not fail");
        let answer = if response.body().status().is_hit() { "hit" } else { "miss" };
        let body = response.into_body().collect().await.expect("the body is whole").to_bytes();
        println!("{answer}: {}", String::from_utf8_lossy(&body));
    }
}
