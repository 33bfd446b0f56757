use std::{
    collections::BTreeMap,
    ops::Range,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use http::HeaderMap;
use larder::{
    CacheManager, Error, PurgeLog,
    policy::{
        CacheKey, Index, Placement, Secret, StoredHead, StoredResponse, VariantId, VariantKey,
        Wanted,
    },
    storage::{BufferedWriter, Entry, Fences, Found, StoredBody, codec},
};

/// Clones are one store.
#[derive(Clone)]
pub struct KeyValueManager {
    secret: Secret,
    purges: PurgeLog,
    fences: Fences,
    numbers: Arc<AtomicU64>,
    engine: Arc<Mutex<BTreeMap<Vec<u8>, Bytes>>>,
}

/// Where an entry's body is found, and what must still be there.
#[derive(Clone)]
pub struct Place {
    key: CacheKey,
    name: Vec<u8>,
    stamp: u64,
}

/// A response as a record: stamp 8, lengths of head and trailers 4 each, head, trailers, body.
struct Record {
    stamp: u64,
    head: Bytes,
    trailers: Bytes,
    body: Bytes,
}

impl Record {
    fn write(&self) -> Bytes {
        let length = |part: &Bytes| (part.len() as u32).to_le_bytes();
        let lengths = [length(&self.head), length(&self.trailers)].concat();
        let stamp = self.stamp.to_le_bytes();
        [&stamp[..], &lengths, &self.head, &self.trailers, &self.body].concat().into()
    }

    fn read(bytes: &Bytes) -> Option<Self> {
        let number =
            |at: usize| Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?) as usize);
        let stamp = u64::from_le_bytes(bytes.get(..8)?.try_into().ok()?);
        let trailers = 16 + number(8)?;
        let body = trailers + number(12)?;
        let part = |range: Range<usize>| bytes.get(range.clone()).map(|_| bytes.slice(range));
        Some(Self {
            stamp,
            head: part(16..trailers)?,
            trailers: part(trailers..body)?,
            body: part(body..bytes.len())?,
        })
    }
}

impl KeyValueManager {
    /// An empty store.
    pub fn new() -> Self {
        let (secret, purges, fences) = (Secret::random(), PurgeLog::new(), Fences::new());
        Self { secret, purges, fences, numbers: Arc::default(), engine: Arc::default() }
    }

    fn engine(&self) -> MutexGuard<'_, BTreeMap<Vec<u8>, Bytes>> {
        self.engine.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A number that nothing in this store has.
    fn number(&self) -> u64 {
        self.numbers.fetch_add(1, Ordering::Relaxed)
    }

    fn index(&self, key: &CacheKey) -> Option<Index> {
        codec::decode_index(self.engine().get(&index_name(key))?)
    }

    fn record(&self, name: &[u8]) -> Option<Record> {
        Record::read(self.engine().get(name)?)
    }

    fn commit(&self, placement: &Placement, record: &Record) -> Result<(), Error> {
        let key = placement.key();
        let mut index = self.index(key).unwrap_or_else(|| Index::new(self.number()));
        for evicted in index.admit(placement) {
            self.engine().remove(&response_name(key, index.generation(), evicted));
        }
        let name = response_name(key, index.generation(), placement.variant().id());
        self.engine().insert(name, record.write());
        // Last: it leads to the response.
        self.engine().insert(index_name(key), codec::encode_index(&index)?.into());
        Ok(())
    }

    /// Puts what `new` makes of a record in its place, if it is the one that was found.
    fn replace(&self, place: &Place, new: impl FnOnce(Record) -> Option<Record>) -> bool {
        self.fences.change(&place.key, || {
            let is_led_to = self.index(&place.key).is_some_and(|index| {
                place.name.starts_with(
                    &[&index_name(&place.key)[..], &index.generation().to_le_bytes()].concat(),
                )
            });
            let found =
                self.record(&place.name).filter(|record| is_led_to && record.stamp == place.stamp);
            let Some(found) = found else { return false };
            match new(found) {
                Some(record) => self.engine().insert(place.name.clone(), record.write()),
                None => self.engine().remove(&place.name),
            };
            true
        })
    }
}

impl CacheManager for KeyValueManager {
    type Handle = Place;
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

    async fn get(&self, wanted: &Wanted<'_>) -> Result<Found<Place>, Error> {
        let key = wanted.key();
        let Some(index) = self.index(key) else { return Ok(Found::nothing()) };
        let find = |variant: VariantKey| {
            let name = response_name(key, index.generation(), variant.id());
            let record = self.record(&name)?;
            let head = codec::decode_head(&record.head)?;
            let response = StoredResponse::new(head, record.body.len() as u64);
            Some(Entry::new(response, Place { key: key.clone(), name, stamp: record.stamp }))
        };
        let found = Found::entries(wanted.select(&index).filter_map(find));
        if !found.responses().is_empty() {
            return Ok(found);
        }
        Ok(Found::others(wanted.others(&index).filter_map(find)))
    }

    fn read(&self, entry: &Entry<Place>, range: Range<u64>) -> StoredBody {
        let place = entry.handle();
        let record = self.record(&place.name).filter(|record| record.stamp == place.stamp);
        let Some(record) = record else {
            return StoredBody::failed(range, Error::other("it has gone"));
        };
        let trailers = codec::decode_trailers(&record.trailers);
        StoredBody::from_range(&record.body, range, trailers.as_ref())
    }

    async fn put(&self, placement: Placement, head: StoredHead) -> Result<BufferedWriter, Error> {
        let (store, ticket) = (self.clone(), self.fences.enter(placement.key()));
        let head = codec::encode_head(&head)?.into();
        Ok(BufferedWriter::new(
            ticket,
            self.max_entry_bytes(),
            move |body, trailers: Option<HeaderMap>| {
                let trailers = match trailers {
                    Some(trailers) => codec::encode_trailers(&trailers)?.into(),
                    None => Bytes::new(),
                };
                let stamp = store.number();
                store.commit(&placement, &Record { stamp, head, trailers, body })
            },
        ))
    }

    async fn update(&self, entry: &Entry<Place>, head: StoredHead) -> Result<bool, Error> {
        let (stamp, head) = (self.number(), codec::encode_head(&head)?.into());
        Ok(self.replace(entry.handle(), |record| Some(Record { stamp, head, ..record })))
    }

    async fn remove(&self, entry: &Entry<Place>) -> Result<bool, Error> {
        Ok(self.replace(entry.handle(), |_| None))
    }

    async fn delete(&self, key: &CacheKey) -> Result<(), Error> {
        self.fences.delete(key, || self.engine().remove(&index_name(key)));
        Ok(())
    }

    async fn clear(&self) -> Result<(), Error> {
        self.fences.clear(|| self.engine().clear());
        Ok(())
    }
}

/// Resources never share a name: the key's length comes first.
fn index_name(key: &CacheKey) -> Vec<u8> {
    let length = (key.as_bytes().len() as u32).to_le_bytes();
    [&length, key.as_bytes()].concat()
}

fn response_name(key: &CacheKey, generation: u64, variant: VariantId) -> Vec<u8> {
    [&index_name(key)[..], &generation.to_le_bytes(), variant.as_bytes()].concat()
}
