use std::{future::poll_fn, ops::ControlFlow, sync::Arc, task::Poll};

use super::{
    MemoryHandle,
    record::{Body, Record},
    store::Store,
};
use crate::storage::{Scanned, Visitor};

/// So many records are looked at before others go on.
const AT_ONCE: usize = 128;

impl Store {
    /// Shows all responses, some at a time. No lock is held but for the moment of one record.
    pub(super) async fn scan(&self, visitor: &mut impl Visitor<MemoryHandle>) {
        let (mut found, mut seen) = (Vec::with_capacity(AT_ONCE), 0);
        for (_, record) in self.records() {
            found.extend(self.shown(record));
            seen += 1;
            if seen == AT_ONCE {
                if let ControlFlow::Break(()) = visitor.visit(std::mem::take(&mut found)).await {
                    return;
                }
                yield_now().await;
                seen = 0;
            }
        }
        let _ = visitor.visit(found).await;
    }

    fn shown(&self, record: Record) -> Option<Scanned<MemoryHandle>> {
        let body = match record {
            Record::Plain(body) => body,
            Record::Resource(resource) => resource.plain.clone()?,
            Record::Variant(body) => self.is_current(&body).then_some(body)?,
        };
        let (key, variant) = (body.record.cache_key(), body.record.variant_key());
        Some(Scanned::new(key, variant, MemoryHandle::entry(body)))
    }

    /// Whether an index leads to it: a variant outlives its resource until the cache evicts it.
    fn is_current(&self, body: &Arc<Body>) -> bool {
        self.resource(&body.record.as_ref()).is_some_and(|resource| {
            resource.siblings.index().generation() == body.record.generation
        })
    }
}

/// Lets others go on.
async fn yield_now() {
    let mut has_yielded = false;
    poll_fn(|cx| {
        if has_yielded {
            return Poll::Ready(());
        }
        has_yielded = true;
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}
