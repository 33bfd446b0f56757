use std::{marker::PhantomData, ops::ControlFlow, sync::Arc};

use super::climb::Climb;
use crate::{
    policy::StoredResponse,
    storage::{Entry, Scanned, Visitor},
};

/// Finds a body in a [`Tiered`](super::Tiered) store.
#[derive(Clone)]
pub struct TieredHandle<F, S>(pub(super) At<F, S>);

impl<F, S> TieredHandle<F, S> {
    /// That of an entry of the fast tier.
    #[inline]
    pub(super) fn fast(response: &StoredResponse, handle: F) -> Self {
        Self(At::Fast(Entry::new(response.clone(), handle)))
    }
}

#[derive(Clone)]
pub(super) enum At<F, S> {
    /// The whole entry, to be handed on as it is: a hit makes no other.
    Fast(Entry<F>),
    /// With where it belongs in the fast tier, if it may be copied there.
    Slow(S, Option<Arc<Climb>>),
}

/// The entry as its own tier knows it.
pub(super) fn with<T, H: Clone>(entry: &Entry<T>, handle: &H) -> Entry<H> {
    Entry::new(entry.response().clone(), handle.clone())
}

/// Shows entries of the slow tier as those of both.
pub(super) struct Through<'a, V, H>(&'a mut V, PhantomData<fn() -> H>);

impl<'a, V, H> Through<'a, V, H> {
    pub(super) fn new(visitor: &'a mut V) -> Self {
        Self(visitor, PhantomData)
    }
}

impl<V, M, D> Visitor<D> for Through<'_, V, M>
where
    V: Visitor<TieredHandle<M, D>>,
    M: Clone + Send + Sync + 'static,
    D: Clone + Send + Sync + 'static,
{
    async fn visit(&mut self, entries: Vec<Scanned<D>>) -> ControlFlow<()> {
        let through = |entry: Entry<D>| {
            let handle = TieredHandle(At::Slow(entry.handle().clone(), None));
            Entry::new(entry.response().clone(), handle)
        };
        self.0.visit(entries.into_iter().map(|scanned| scanned.map(through)).collect()).await
    }
}
