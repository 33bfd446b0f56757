use std::{sync::Arc, time::Duration};

use http::{HeaderName, response};

use crate::{
    Clock, Error, Executor, Policy, clock::within, fill::Means, policy::CacheStatus,
    purge::PurgeLog,
};

/// All that a layer's services share.
#[derive(Clone)]
pub(crate) struct Core<M> {
    pub(crate) policy: Policy,
    pub(crate) manager: M,
    pub(crate) purges: PurgeLog,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) executor: Arc<dyn Executor>,
    pub(crate) emit: Emit,
    pub(crate) store_timeout: Duration,
}

impl<M> Core<M> {
    /// Waits for the store, as long as a request may.
    pub(crate) async fn within<T>(
        &self,
        call: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        within(&*self.clock, self.store_timeout, call).await
    }

    pub(crate) fn means(&self) -> Means {
        Means {
            clock: self.clock.clone(),
            executor: self.executor.clone(),
            store_timeout: self.store_timeout,
        }
    }
}

/// How a response tells what the cache did.
#[derive(Clone, Debug, Default)]
pub(crate) struct Emit {
    pub(crate) header: Option<Arc<str>>,
    pub(crate) extension: bool,
}

impl Emit {
    pub(crate) fn emit(&self, head: &mut response::Parts, status: CacheStatus) {
        if let Some(member) = self.header.as_deref().and_then(|name| status.to_member(name)) {
            head.headers.append(HeaderName::from_static("cache-status"), member);
        }
        if self.extension {
            head.extensions.insert(status);
        }
    }
}
