//! Pages that are stored by way of the public policy.

use std::{
    future::poll_fn,
    pin::Pin,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use http::{Request, Response, header, request};
use http_body::{Body, SizeHint};
use larder::{
    CacheManager, Error, Policy, RedisManager,
    policy::{Begin, Decision, Lookup, Outcome, Placement, Stored, StoredHead, Timestamp},
    storage::{Entry, EntryWriter, RedisHandle, StoredBody},
};

/// A request for a page.
pub(crate) struct Ask {
    policy: Policy,
    head: request::Parts,
}

impl Ask {
    pub(crate) fn new(path: &str) -> Self {
        let request = Request::get(format!("http://a.example{path}")).body(());
        let (head, ()) = request.expect("a request").into_parts();
        Self { policy: Policy::private(), head }
    }

    fn lookup(&self) -> Lookup<'_> {
        match self.policy.begin(&self.head, &SizeHint::with_exact(0)) {
            Begin::Lookup(lookup) => lookup,
            other => panic!("a GET looks up: {other:?}"),
        }
    }

    pub(crate) fn place(&self, store: &RedisManager) -> (Placement, StoredHead) {
        let now = Timestamp::from_wall(SystemTime::UNIX_EPOCH + Duration::from_secs(1 << 30));
        let decision = self.lookup().decide(&mut self.head.clone(), Stored::Nothing, now);
        let Decision::Forward(fetch) = decision else { panic!("nothing is stored: {decision:?}") };
        let (mut head, ()) = Response::new(()).into_parts();
        head.headers.insert(header::CACHE_CONTROL, "max-age=60".parse().expect("a value"));
        let began = store.purge_log().position();
        match fetch.on_response(&mut head, &SizeHint::default(), now, began, store.secret()) {
            Outcome::Store(kept) => kept.into_parts(),
            other => panic!("the page is stored: {other:?}"),
        }
    }

    pub(crate) async fn put(
        &self,
        store: &RedisManager,
        body: impl Into<Bytes>,
    ) -> Result<(), Error> {
        let (placement, head) = self.place(store);
        let mut writer = store.put(placement, head).await?;
        writer.write(body.into()).await?;
        writer.finish(None).await
    }

    pub(crate) async fn try_find(
        &self,
        store: &RedisManager,
    ) -> Result<Option<Entry<RedisHandle>>, Error> {
        let lookup = self.lookup();
        let found = store.get(&lookup.wanted(&self.head.headers, store.secret())).await?;
        let is_selected = !found.responses().is_empty();
        Ok(found.into_entry(0).filter(|_| is_selected))
    }

    pub(crate) async fn find(&self, store: &RedisManager) -> Option<Entry<RedisHandle>> {
        self.try_find(store).await.expect("Redis is asked")
    }

    /// What is found: the whole body, or why it failed.
    pub(crate) async fn body(&self, store: &RedisManager) -> Option<Result<Bytes, Error>> {
        let entry = self.find(store).await?;
        Some(collect(store.read(&entry, 0..entry.response().length())).await)
    }
}

pub(crate) async fn next(body: &mut StoredBody) -> Option<Result<Bytes, Error>> {
    let frame = poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx)).await?;
    frame.map(|frame| frame.into_data().ok()).transpose()
}

pub(crate) async fn collect(mut body: StoredBody) -> Result<Bytes, Error> {
    let mut bytes = Vec::new();
    while let Some(data) = next(&mut body).await {
        bytes.extend_from_slice(&data?);
    }
    Ok(bytes.into())
}

/// Bytes that are nowhere the same.
pub(crate) fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}
