use std::{ops::Range, sync::Arc};

use bytes::Bytes;

use super::layout::{CHUNK, Place, Record, Resource};
use crate::{policy::StoredResponse, storage::Entry};

/// Finds a body in a [`RedisManager`](super::RedisManager).
#[derive(Clone)]
pub struct RedisHandle(pub(super) Arc<Located>);

/// Where a response is.
pub(super) struct Located {
    pub(super) resource: Resource,
    pub(super) record: Record,
    /// All of the body, if it came with the record.
    pub(super) body: Option<Bytes>,
}

impl Located {
    pub(super) fn new(resource: Resource, record: Record) -> Self {
        let body = match &record.body {
            Place::Inline(bytes) => Some(bytes.clone()),
            Place::Chunks { .. } => None,
        };
        Self { resource, record, body }
    }

    pub(super) fn length(&self) -> u64 {
        self.record.body.length()
    }

    /// The bytes of a body that its piece has.
    pub(super) fn chunk(&self, number: u64) -> Range<u64> {
        let start = number * CHUNK as u64;
        start..(start + CHUNK as u64).min(self.length())
    }

    /// What an update or a removal compares.
    pub(super) fn identity(&self) -> String {
        format!("{}{}", self.record.stamp.as_str(), self.record.revision)
    }

    pub(super) fn into_entry(self) -> Entry<RedisHandle> {
        let response = StoredResponse::new(self.record.head.clone(), self.length());
        Entry::new(response, RedisHandle(Arc::new(self)))
    }
}
