use std::sync::Arc;

use http::header;

use super::{COUNTS, Packed, Rest, StoredHead};

/// A head in the least memory, for a store that keeps many of them: its fields are no map.
#[derive(Clone, Debug)]
pub(crate) struct PackedHead {
    fields: Packed,
    rest: Arc<Rest>,
}

impl PackedHead {
    pub(crate) fn of(head: &StoredHead) -> Self {
        let fields = head.0.packed.clone();
        let fields = fields.unwrap_or_else(|| {
            Packed::of(head.headers().iter().filter(|(name, _)| **name != header::AGE))
        });
        Self { fields, rest: head.0.rest.clone() }
    }

    /// The head, whose fields become a map when somebody looks at them.
    #[inline]
    pub(crate) fn unpack(&self) -> StoredHead {
        StoredHead::packed(self.fields.clone(), self.rest.clone())
    }

    /// What it takes of a store's memory beside its own size, in bytes.
    pub(crate) fn weight(&self) -> usize {
        COUNTS + self.fields.weight() + self.rest.weight()
    }
}
