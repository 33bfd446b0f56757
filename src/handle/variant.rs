use http::{HeaderMap, Request, Uri, request};
use http_body::SizeHint;

use super::CacheHandle;
use crate::{
    BoxFuture, Error,
    policy::{Begin, Lookup, Policy},
    purge::{Purge, Purged},
    storage::{CacheManager, Found},
};

/// The head of a GET.
pub(crate) fn get(url: &Uri, fields: &HeaderMap) -> request::Parts {
    let (mut head, ()) = Request::new(()).into_parts();
    head.uri = url.clone();
    head.headers = fields.clone();
    head
}

/// What a request has to do with a cache that goes by `policy`, if it looks there.
pub(super) fn lookup(policy: &Policy, head: &request::Parts) -> Result<Lookup<'static>, Error> {
    match policy.begin(head, &SizeHint::with_exact(0)) {
        Begin::Lookup(lookup) => Ok(lookup.detach()),
        Begin::Bypass(reason) => {
            Err(Error::invalid(format!("such a request passes by the cache: {reason}")))
        }
        Begin::Invalidate(_) => {
            Err(Error::invalid(format!("{} does not look into the cache", head.method)))
        }
    }
}

impl<M: CacheManager> CacheHandle<M> {
    /// What a request has to do with this cache, if it looks there.
    pub(super) fn lookup(&self, head: &request::Parts) -> Result<Lookup<'static>, Error> {
        lookup(&self.core.policy, head)
    }

    /// What a request is looked up by.
    #[cfg(feature = "admin")]
    pub(crate) fn key(&self, head: &request::Parts) -> Result<crate::CacheKey, Error> {
        Ok(self.lookup(head)?.key().clone())
    }

    pub(super) async fn find(
        &self,
        lookup: &Lookup<'_>,
        head: &request::Parts,
    ) -> Result<Found<M::Handle>, Error> {
        let manager = &self.core.manager;
        let wanted = lookup.wanted(&head.headers, manager.secret());
        match manager.get_now(&wanted) {
            Some(found) => found,
            None => manager.get(&wanted).await,
        }
    }

    /// Which variant a request selects is known by looking: so it goes at once, and is no record that
    /// anything is compared with.
    pub(super) async fn purge_variant(&self, purge: Purge) -> Result<Purged, Error> {
        let Some((url, fields)) = purge.as_variant() else { return Err(Error::unsupported()) };
        let head = get(url, fields);
        let (lookup, core) = (self.lookup(&head)?, &self.core);
        if purge.is_dry_run() {
            let count = self.find(&lookup, &head).await?.responses().len() as u64;
            return Ok(counted(core.purges.position(), count));
        }
        // First those on their way: what they have not put there yet they will not.
        core.purges.inflight().invalidate(lookup.key());
        let mut count = 0;
        loop {
            let found = self.find(&lookup, &head).await?;
            let mut has_changed = false;
            for index in 0..found.responses().len() {
                let Some(entry) = found.clone().into_entry(index) else { continue };
                match core.manager.remove(&entry).await? {
                    true => count += 1,
                    false => has_changed = true,
                }
            }
            if !has_changed {
                break;
            }
        }
        let seq = core.purges.append_done(purge, core.clock.now().wall(), count);
        Ok(counted(seq, count))
    }
}

fn counted(seq: u64, count: u64) -> Purged {
    Purged::new(seq, move || -> BoxFuture<_> { Box::pin(std::future::ready(Ok(count))) })
}
