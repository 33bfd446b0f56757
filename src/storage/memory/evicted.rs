use quick_cache::Lifecycle;

use super::record::{Record, RecordKey};

/// Collects what has to make room, and what is replaced with it: to be dropped when the lock of its
/// shard has been given back.
#[derive(Clone, Copy)]
pub(super) struct Collect;

/// What came out of the cache when something was put in.
pub(super) type Gone = Vec<(RecordKey, Record)>;

impl Lifecycle<RecordKey, Record> for Collect {
    type RequestState = Gone;

    fn on_evict(&self, gone: &mut Gone, key: RecordKey, record: Record) {
        gone.push((key, record));
    }
}
