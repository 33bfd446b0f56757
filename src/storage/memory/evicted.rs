use std::sync::Arc;

use quick_cache::Lifecycle;

use super::{
    hot::{Hot, Kept},
    record::{Record, RecordKey},
};

/// Collects what has to make room, and what is replaced with it: to be dropped when the lock of its
/// shard has been given back. Under that lock it leaves the threads' own tables, so that whoever sees
/// what comes in its place finds it nowhere.
#[derive(Clone)]
pub(super) struct Collect(pub(super) Arc<Hot>);

/// What came out of the cache when something was put in.
#[derive(Default)]
pub(super) struct Gone {
    pub(super) records: Vec<(RecordKey, Record)>,
    kept: Vec<Arc<Kept>>,
}

impl Lifecycle<RecordKey, Record> for Collect {
    type RequestState = Gone;

    fn on_evict(&self, gone: &mut Gone, key: RecordKey, record: Record) {
        gone.kept.extend(self.0.retire(&record));
        gone.records.push((key, record));
    }
}
