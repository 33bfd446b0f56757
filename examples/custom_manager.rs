//! A store of your own in one short file: maps under a lock. It passes `larder::storage_suite!`
//! (see `tests/storage.rs`), which is all that a layer asks of a store.
//!
//! It keeps everything for ever. A store may drop any response at any time: a miss is never wrong.

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
    policy::{CacheKey, Index, Placement, Secret, StoredHead, StoredResponse, VariantId, Wanted},
    storage::{Entry, EntryWriter, Found, StoredBody},
};
use tower::{Layer, Service, service_fn};

/// Clones are one store, so all that it has lies behind an `Arc`.
#[derive(Clone)]
pub struct MapManager {
    secret: Secret,
    purges: PurgeLog,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    resources: HashMap<CacheKey, Resource>,
    /// Who is writing what. Whoever is no longer here when it has written all is refused.
    writers: HashMap<u64, CacheKey>,
    tickets: u64,
}

/// What lies under one key. The index says which variants a request can select.
struct Resource {
    index: Index,
    responses: HashMap<VariantId, Arc<Kept>>,
}

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
        Self { secret: Secret::random(), purges: PurgeLog::new(), state: Arc::default() }
    }
}

impl MapManager {
    /// No future of this store holds the lock while it waits.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Compare and set: puts `new` in the place of `old`, if that is what is there.
    fn replace(&self, old: &Arc<Kept>, new: Option<Kept>) -> bool {
        let (mut state, id) = (self.lock(), old.placement.variant().id());
        let Some(resource) = state.resources.get_mut(old.placement.key()) else { return false };
        let is_same = resource.responses.get(&id).is_some_and(|kept| Arc::ptr_eq(kept, old));
        match new {
            _ if !is_same => None,
            Some(new) => resource.responses.insert(id, Arc::new(new)),
            None => resource.responses.remove(&id),
        };
        is_same
    }
}

impl CacheManager for MapManager {
    type Handle = Arc<Kept>;
    type Writer = MapWriter;

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
        let state = self.lock();
        let Some(resource) = state.resources.get(wanted.key()) else { return Ok(Found::nothing()) };
        let variants = wanted.select(&resource.index);
        let kept = variants.filter_map(|variant| resource.responses.get(&variant.id()));
        Ok(Found::entries(kept.map(|kept| Entry::new(kept.response.clone(), kept.clone()))))
    }

    // Bytes that are somewhere else are read as they are asked for: `StoredBody::from_reader`.
    fn read(&self, entry: &Entry<Arc<Kept>>, range: Range<u64>) -> StoredBody {
        let kept = entry.handle();
        let has_end = range.end >= kept.body.len() as u64;
        let bytes = kept.body.slice(range.start as usize..range.end as usize);
        StoredBody::from_bytes(bytes, kept.trailers.clone().filter(|_| has_end))
    }

    async fn put(&self, placement: Placement, head: StoredHead) -> Result<MapWriter, Error> {
        let mut state = self.lock();
        state.tickets += 1;
        let ticket = state.tickets;
        state.writers.insert(ticket, placement.key().clone());
        Ok(MapWriter { manager: self.clone(), ticket, placement, head, body: Vec::new() })
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
        let mut state = self.lock();
        state.resources.remove(key);
        state.writers.retain(|_, writing| writing != key);
        Ok(())
    }

    async fn clear(&self) -> Result<(), Error> {
        let mut state = self.lock();
        state.resources.clear();
        state.writers.clear();
        Ok(())
    }
}

/// Collects a response, and is the only one to know of it until it is whole.
pub struct MapWriter {
    manager: MapManager,
    ticket: u64,
    placement: Placement,
    head: StoredHead,
    body: Vec<u8>,
}

impl EntryWriter for MapWriter {
    async fn write(&mut self, chunk: Bytes) -> Result<(), Error> {
        // Copied, since a chunk may be a slice of a connection's buffer.
        self.body.extend_from_slice(&chunk);
        let fits = self.body.len() as u64 <= self.manager.max_entry_bytes();
        if fits { Ok(()) } else { Err(Error::too_large()) }
    }

    async fn finish(mut self, trailers: Option<HeaderMap>) -> Result<(), Error> {
        let body = Bytes::from(std::mem::take(&mut self.body));
        let response = StoredResponse::new(self.head.clone(), body.len() as u64);
        let placement = self.placement.clone();
        let mut state = self.manager.lock();
        // Deleted meanwhile: what was fetched before must not come back.
        if !state.writers.contains_key(&self.ticket) {
            return Err(Error::refused());
        }
        // No two indexes share a map of responses, so that one generation does for all.
        let new = || Resource { index: Index::new(0), responses: HashMap::new() };
        let resource = state.resources.entry(placement.key().clone()).or_insert_with(new);
        for evicted in resource.index.admit(&placement) {
            resource.responses.remove(&evicted);
        }
        let (id, kept) = (placement.variant().id(), Kept { placement, response, body, trailers });
        resource.responses.insert(id, Arc::new(kept));
        Ok(())
    }
}

impl Drop for MapWriter {
    fn drop(&mut self) {
        self.manager.lock().writers.remove(&self.ticket);
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    if let Some(argument) = std::env::args().nth(1) {
        let is_help = argument == "--help";
        let text = "Asks twice for one page, through a cache with a store of its own.";
        if is_help {
            println!("{text}");
        } else {
            eprintln!("custom_manager: takes no argument but --help, not {argument:?}");
        }
        std::process::exit(if is_help { 0 } else { 2 });
    }
    let origin = service_fn(|_: Request<String>| async {
        let response = Response::builder().header("cache-control", "max-age=60");
        response.body("hello".to_owned())
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
