//! The way of a request through the cache, read downwards: what is stored, what others are asking
//! for, the origin. What to do is the policy's to say; here it is done.

mod alone;
mod answer;
mod ask;
mod brought;
mod change;
mod collapse;
mod errand;
mod filling;
mod refresh;
mod timer;
mod whole;
mod write;

use std::sync::Arc;

use http::{Request, Response, request};

pub(crate) use self::{
    alone::ask_alone,
    answer::{Answer, answer, answer_at, hit, pass, send},
    brought::Leading,
    collapse::SetOut,
    refresh::Refreshment,
    write::write_through,
};
use crate::{
    CacheBody, Error,
    policy::{Fetch, Lookup},
    shared::Core,
    storage::{CacheManager, Found},
};

/// A request that was not answered in a moment.
pub(crate) struct Exchange<S, M: CacheManager, B> {
    pub(crate) core: Arc<Core<M>>,
    pub(crate) inner: S,
    pub(crate) request: Request<B>,
    pub(crate) known: Known<M::Handle>,
    pub(crate) since: Since,
}

/// What is known of a request.
pub(crate) enum Known<H> {
    /// The store has not been asked.
    Nothing(Lookup<'static>),
    /// It has to go to the origin.
    Miss(Ask<H>),
}

/// A request for the origin, and what was found for it.
pub(crate) struct Ask<H> {
    pub(crate) fetch: Fetch,
    pub(crate) found: Found<H>,
}

/// Where the logs were when a request came.
#[derive(Clone, Copy)]
pub(crate) struct Since {
    /// That of the purges.
    pub(crate) purges: u64,
    /// How many fetches had ended.
    pub(crate) ended: u64,
}

impl Since {
    pub(crate) fn now<M>(core: &Core<M>) -> Self {
        // Read before the store is, so that what comes meanwhile is noticed.
        Self { purges: core.purges.position(), ended: core.purges.inflight().ended() }
    }

    /// The store has been asked, which may have heard of purges. What it found is not judged yet.
    pub(crate) fn hear<M>(&mut self, core: &Core<M>) {
        self.purges = core.purges.position();
        core.purges.tell();
    }
}

/// Asks the store, as long as a request may wait for it.
async fn find<M: CacheManager>(
    core: &Core<M>,
    lookup: &Lookup<'_>,
    head: &request::Parts,
) -> Result<Found<M::Handle>, Error> {
    let wanted = lookup.wanted(&head.headers, core.manager.secret());
    match core.manager.get_now(&wanted) {
        Some(found) => found,
        None => core.no_longer(core.manager.get(&wanted)).await,
    }
}

type Answered<ResB, E> = Result<Response<CacheBody<ResB>>, E>;
