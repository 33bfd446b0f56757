//! Changes of an entry, in both tiers.

use super::{Inner, now};
use crate::{
    Error,
    policy::{CacheKey, StoredHead, StoredResponse, VariantKey, Wanted},
    storage::{CacheManager, Entry},
};

/// What the slow tier has where the fast one has an entry.
enum Below<H> {
    /// The same response.
    Same(Entry<H>),
    /// One that it could not be told to replace.
    Older(Entry<H>),
    /// One that somebody else has stored.
    Newer,
    Nothing,
}

impl<M: CacheManager, D: CacheManager> Inner<M, D> {
    /// Gives an entry of the fast tier another head, and the slow tier's with it.
    pub(super) async fn update_fast(
        &self,
        entry: &Entry<M::Handle>,
        head: StoredHead,
    ) -> Result<bool, Error> {
        let Some((key, variant)) = self.fast.locate(entry) else {
            // Found in the slow tier the next time.
            now(self.fast.remove(entry));
            return Ok(false);
        };
        // A copy on its way may have the old head.
        let updated = self.fences.delete(&key, || now(self.fast.update(entry, head.clone())));
        if !matches!(updated, Some(Ok(true))) {
            if !matches!(updated, Some(Ok(false))) {
                self.forget(&key);
            }
            return Ok(false);
        }
        let is_still_it = match self.below(&key, &variant, entry.response()).await {
            // The fast tier serves it though the slow one is away.
            Err(_) | Ok(Below::Nothing) => true,
            Ok(Below::Same(below)) => {
                let updated = self.within(self.slow.update(&below, head.clone())).await;
                updated.unwrap_or(true)
            }
            Ok(Below::Older(below)) => {
                let _ = self.within(self.slow.remove(&below)).await;
                true
            }
            Ok(Below::Newer) => false,
        };
        // Something else may have come in place of what the fast tier let go meanwhile.
        let wanted = Wanted::exactly(&key, &variant);
        let has_other = now(self.fast.get(&wanted)).and_then(Result::ok).is_some_and(|found| {
            let updated = StoredResponse::new(head, entry.response().length());
            found.responses().iter().any(|response| !is_same(response, &updated))
        });
        if !is_still_it || has_other {
            self.forget(&key);
        }
        Ok(is_still_it)
    }

    /// Gives an entry of the slow tier another head. A copy of it in the fast one goes.
    pub(super) async fn update_slow(
        &self,
        entry: &Entry<D::Handle>,
        head: StoredHead,
    ) -> Result<bool, Error> {
        let key = self.slow.locate(entry).map(|(key, _)| key);
        let _forgotten = key.as_ref().map(|key| self.forgetting(key));
        self.within(self.slow.update(entry, head)).await
    }

    /// Removes an entry of the fast tier, and the slow tier's with it.
    pub(super) async fn remove_fast(&self, entry: &Entry<M::Handle>) -> Result<bool, Error> {
        let Some((key, variant)) = self.fast.locate(entry) else {
            return now(self.fast.remove(entry)).unwrap_or(Ok(false));
        };
        match self.fences.delete(&key, || now(self.fast.remove(entry))) {
            Some(Ok(true)) => {}
            Some(other) => return other,
            None => return Ok(false),
        }
        // What was copied again meanwhile goes too.
        let _forgotten = self.forgetting(&key);
        match self.below(&key, &variant, entry.response()).await? {
            Below::Same(below) | Below::Older(below) => {
                self.slow.remove(&below).await?;
            }
            Below::Newer | Below::Nothing => {}
        }
        Ok(true)
    }

    /// Removes an entry of the slow tier. A copy of it in the fast one goes.
    pub(super) async fn remove_slow(&self, entry: &Entry<D::Handle>) -> Result<bool, Error> {
        let key = self.slow.locate(entry).map(|(key, _)| key);
        let _forgotten = key.as_ref().map(|key| self.forgetting(key));
        self.slow.remove(entry).await
    }

    async fn below(
        &self,
        key: &CacheKey,
        variant: &VariantKey,
        above: &StoredResponse,
    ) -> Result<Below<D::Handle>, Error> {
        let Some(below) = self.find_slow(key, variant).await? else { return Ok(Below::Nothing) };
        let received = |response: &StoredResponse| response.head().asked().received.wall();
        Ok(if is_same(below.response(), above) {
            Below::Same(below)
        } else if received(below.response()) < received(above) {
            Below::Older(below)
        } else {
            Below::Newer
        })
    }
}

/// Whether both are one response with one head, by what a store keeps of it.
fn is_same(one: &StoredResponse, other: &StoredResponse) -> bool {
    let (a, b) = (one.head(), other.head());
    let times = |head: &StoredHead| (head.asked().requested.wall(), head.asked().received.wall());
    one.length() == other.length()
        && a.status() == b.status()
        && a.content_range() == b.content_range()
        && a.began() == b.began()
        && times(a) == times(b)
        && a.headers() == b.headers()
}
