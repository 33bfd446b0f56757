//! Requests and responses for a store that is asked without a layer.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{Request, Response, request, response};
use http_body::SizeHint;
use larder::{
    CacheManager, Error, Policy,
    policy::{Begin, Decision, Lookup, Outcome, Placement, Stored, StoredHead, Timestamp},
    storage::{Entry, EntryWriter, Found, suite::block_on},
};

/// A policy and a request that it lets into the cache.
#[derive(Clone)]
pub struct Visitor {
    policy: Policy,
    head: request::Parts,
}

impl Visitor {
    pub fn of(path: &str) -> Self {
        let request = Request::get(format!("http://a.example{path}")).body(());
        let (head, ()) = request.unwrap().into_parts();
        Self { policy: Policy::shared(), head }
    }

    pub fn by(self, policy: Policy) -> Self {
        Self { policy, ..self }
    }

    pub fn with(mut self, name: &'static str, value: &str) -> Self {
        self.head.headers.append(name, value.parse().unwrap());
        self
    }

    pub fn lookup(&self) -> Lookup<'_> {
        match self.policy.begin(&self.head, &SizeHint::with_exact(0)) {
            Begin::Lookup(lookup) => lookup,
            other => panic!("{other:?}"),
        }
    }

    pub fn find<M: CacheManager>(&self, manager: &M) -> Found<M::Handle> {
        let lookup = self.lookup();
        let wanted = lookup.wanted(&self.head.headers, manager.secret());
        let found = manager.get_now(&wanted).unwrap_or_else(|| block_on(manager.get(&wanted)));
        found.unwrap()
    }

    pub fn entry<M: CacheManager>(&self, manager: &M) -> Option<Entry<M::Handle>> {
        let found = self.find(manager);
        let is_selected = !found.responses().is_empty();
        found.into_entry(0).filter(|_| is_selected)
    }

    pub fn place<M: CacheManager>(
        &self,
        manager: &M,
        response: response::Builder,
    ) -> (Placement, StoredHead) {
        let now = Timestamp::from_wall(SystemTime::UNIX_EPOCH + Duration::from_secs(1_767_225_600));
        let decision = self.lookup().decide(&mut self.head.clone(), Stored::Nothing, now);
        let Decision::Forward(fetch) = decision else { panic!("{decision:?}") };
        let (mut head, ()) = response.body(()).unwrap().into_parts();
        let size = SizeHint::default();
        match fetch.on_response(&mut head, &size, now, 0, manager.secret()) {
            Outcome::Store(store) => store.into_parts(),
            other => panic!("{other:?}"),
        }
    }

    pub async fn put<M: CacheManager>(
        &self,
        manager: &M,
        response: response::Builder,
        body: impl Into<Bytes>,
    ) -> Result<(), Error> {
        let (placement, head) = self.place(manager, response);
        let mut writer = manager.put(placement, head).await?;
        writer.write(body.into()).await?;
        writer.finish(None).await
    }
}

pub fn ok() -> response::Builder {
    Response::builder().header("cache-control", "max-age=60")
}
