//! What is found in either tier.

use std::{
    pin::pin,
    task::{Context, Poll, Waker},
};

use super::{Inner, TieredHandle};
use crate::{
    Error,
    policy::{CacheKey, VariantKey, Wanted},
    storage::{CacheManager, Entry, Found},
};

impl<M: CacheManager, D: CacheManager> Inner<M, D> {
    /// What the request selects in the fast tier, unless purges may have been missed.
    #[inline]
    pub(super) fn find_fast(
        &self,
        wanted: &Wanted<'_>,
    ) -> Option<Found<TieredHandle<M::Handle, D::Handle>>> {
        if !self.hearing.is_current(self.slow.purge_log()) {
            return None;
        }
        self.look_fast(wanted)
    }

    /// The same while the slow tier cannot be asked for purges: if its log allows it, to be validated.
    pub(super) fn find_unheard(
        &self,
        wanted: &Wanted<'_>,
    ) -> Option<Found<TieredHandle<M::Handle, D::Handle>>> {
        if !self.slow.purge_log().allows_validation() {
            return None;
        }
        self.look_fast(wanted).map(Found::unvouched)
    }

    #[inline]
    fn look_fast(&self, wanted: &Wanted<'_>) -> Option<Found<TieredHandle<M::Handle, D::Handle>>> {
        match self.fast.get_now(wanted).or_else(|| now(self.fast.get(wanted))) {
            Some(Ok(found)) if !found.responses().is_empty() => Some(found.map(TieredHandle::fast)),
            _ => None,
        }
    }

    /// An entry of this variant in the slow tier.
    pub(super) async fn find_slow(
        &self,
        key: &CacheKey,
        variant: &VariantKey,
    ) -> Result<Option<Entry<D::Handle>>, Error> {
        let wanted = Wanted::exactly(key, variant);
        let found = self.within(self.slow.get(&wanted)).await?;
        let is_there = !found.responses().is_empty();
        Ok(if is_there { found.into_entry(0) } else { None })
    }
}

/// What `call` gives when it is asked once.
pub(super) fn now<T>(call: impl Future<Output = T>) -> Option<T> {
    match pin!(call).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => Some(value),
        Poll::Pending => None,
    }
}
