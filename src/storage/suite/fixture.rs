//! Visitors who ask for pages, by way of the public policy.

use std::{
    future::poll_fn,
    ops::Range,
    pin::Pin,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, header, request};
use http_body::{Body, SizeHint};

use crate::{
    policy::{
        Begin, Decision, Lookup, Outcome, Placement, Policy, Reason, Secret, Stored, StoredHead,
        Timestamp,
    },
    storage::{CacheManager, Entry, EntryWriter, Error, Found, StoredBody},
};

/// So many seconds after the pages were made, which are fresh for a minute.
pub(super) fn at(seconds: u64) -> Timestamp {
    const MADE: Duration = Duration::from_secs(1_767_225_600);
    Timestamp::from_wall(SystemTime::UNIX_EPOCH + MADE + Duration::from_secs(seconds))
}

/// A response of an origin.
#[derive(Clone, Debug)]
pub(super) struct Page {
    status: StatusCode,
    headers: HeaderMap,
    chunks: Vec<Bytes>,
    trailers: Option<HeaderMap>,
}

impl Page {
    pub(super) fn new(body: &str) -> Self {
        Self::chunks([Bytes::copy_from_slice(body.as_bytes())])
    }

    pub(super) fn chunks(chunks: impl IntoIterator<Item = Bytes>) -> Self {
        Self {
            status: StatusCode::OK,
            headers: HeaderMap::new(),
            chunks: chunks.into_iter().collect(),
            trailers: None,
        }
        .with("cache-control", b"max-age=60")
    }

    /// With another line of the field `name`.
    pub(super) fn with(mut self, name: &'static str, value: &[u8]) -> Self {
        append(&mut self.headers, name, value);
        self
    }

    pub(super) fn vary(self, names: &str) -> Self {
        self.with("vary", names.as_bytes())
    }

    pub(super) fn status(mut self, status: u16) -> Self {
        self.status = StatusCode::from_u16(status).expect("a status");
        self
    }

    /// With another line of the trailer `name`.
    pub(super) fn trailer(mut self, name: &'static str, value: &[u8]) -> Self {
        append(self.trailers.get_or_insert_default(), name, value);
        self
    }

    pub(super) fn bytes(&self) -> Bytes {
        self.chunks.concat().into()
    }

    pub(super) fn trailers(&self) -> Option<&HeaderMap> {
        self.trailers.as_ref()
    }

    /// Writes the whole body.
    pub(super) async fn write_to(&self, writer: &mut impl EntryWriter) -> Result<(), Error> {
        for chunk in &self.chunks {
            writer.write(chunk.clone()).await?;
        }
        Ok(())
    }
}

fn append(headers: &mut HeaderMap, name: &'static str, value: &[u8]) {
    let value = HeaderValue::from_bytes(value).expect("a field value");
    headers.append(HeaderName::from_static(name), value);
}

/// Who asks for a page.
#[derive(Clone, Debug)]
pub(super) struct Visitor {
    policy: Policy,
    head: request::Parts,
}

impl Visitor {
    /// Of a URI, or of a path on `http://a.example`, with the policy of a shared cache.
    pub(super) fn of(uri: &str) -> Self {
        let uri = match uri.strip_prefix('/') {
            Some(_) => format!("http://a.example{uri}"),
            None => uri.to_owned(),
        };
        let (head, ()) = Request::get(uri).body(()).expect("a request").into_parts();
        Self { policy: Policy::shared(), head }
    }

    /// Who sends the field `name`.
    pub(super) fn with(mut self, name: &'static str, value: &str) -> Self {
        append(&mut self.head.headers, name, value.as_bytes());
        self
    }

    /// Who is served by `policy`.
    pub(super) fn by(self, policy: Policy) -> Self {
        Self { policy, ..self }
    }

    pub(super) fn lookup(&self) -> Lookup<'_> {
        match self.policy.begin(&self.head, &SizeHint::with_exact(0)) {
            Begin::Lookup(lookup) => lookup,
            other => panic!("the suite's requests look up: {other:?}"),
        }
    }

    pub(super) async fn find<M: CacheManager>(&self, store: &M) -> Found<M::Handle> {
        let lookup = self.lookup();
        store.get(&lookup.wanted(&self.head.headers, store.secret())).await.expect("get")
    }

    /// What the store says without waiting, if it can.
    pub(super) fn find_now<M: CacheManager>(&self, store: &M) -> Option<Found<M::Handle>> {
        let lookup = self.lookup();
        let found = store.get_now(&lookup.wanted(&self.head.headers, store.secret()))?;
        Some(found.expect("get_now"))
    }

    /// The first entry that is found.
    pub(super) async fn entry<M: CacheManager>(&self, store: &M) -> Option<Entry<M::Handle>> {
        let found = self.find(store).await;
        let is_selected = !found.responses().is_empty();
        found.into_entry(0).filter(|_| is_selected)
    }

    /// The body of the first entry that is found.
    pub(super) async fn body<M: CacheManager>(&self, store: &M) -> Option<Bytes> {
        let entry = self.entry(store).await?;
        Some(read(store, &entry).await.0)
    }

    /// The bodies of all entries that are found.
    pub(super) async fn bodies<M: CacheManager>(&self, store: &M) -> Vec<Bytes> {
        let found = self.find(store).await;
        let mut bodies = Vec::new();
        for index in 0..found.responses().len() {
            let entry = found.clone().into_entry(index).expect("an entry for each response");
            bodies.push(read(store, &entry).await.0);
        }
        bodies
    }

    /// Asks the policy what to do with what is found, so many seconds after the pages were made.
    pub(super) fn decide<H>(&self, found: &Found<H>, seconds: u64) -> Decision {
        self.lookup().decide(&mut self.head.clone(), found.as_stored(), at(seconds))
    }

    /// Why the store has no answer.
    pub(super) fn reason<H>(&self, found: &Found<H>) -> Reason {
        match self.decide(found, 0) {
            Decision::Forward(fetch) => fetch.reason(),
            other => panic!("nothing should be found: {other:?}"),
        }
    }

    /// Where the policy puts `page`, made for this visitor, and under which head.
    pub(super) fn place(&self, secret: &Secret, page: &Page) -> (Placement, StoredHead) {
        let decision = self.lookup().decide(&mut self.head.clone(), Stored::Nothing, at(0));
        let Decision::Forward(fetch) = decision else { panic!("nothing is stored: {decision:?}") };
        let (mut head, ()) = Response::new(()).into_parts();
        head.status = page.status;
        head.headers = page.headers.clone();
        let length = page.chunks.iter().map(|chunk| chunk.len() as u64).sum();
        match fetch.on_response(&mut head, &SizeHint::with_exact(length), at(0), 0, secret) {
            Outcome::Store(store) => store.into_parts(),
            other => panic!("the suite's pages are stored: {other:?}"),
        }
    }

    /// The head that `page` would be stored with.
    pub(super) fn head_of<M: CacheManager>(&self, store: &M, page: &Page) -> StoredHead {
        self.place(store.secret(), page).1
    }

    /// Begins to store `page`, and writes nothing of it yet.
    pub(super) async fn begin<M: CacheManager>(&self, store: &M, page: &Page) -> M::Writer {
        let (placement, head) = self.place(store.secret(), page);
        store.put(placement, head).await.expect("put")
    }

    /// Stores `page`.
    pub(super) async fn try_put<M: CacheManager>(
        &self,
        store: &M,
        page: &Page,
    ) -> Result<(), Error> {
        let (placement, head) = self.place(store.secret(), page);
        let mut writer = store.put(placement, head).await?;
        page.write_to(&mut writer).await?;
        writer.finish(page.trailers.clone()).await
    }

    /// Stores `page`, which must succeed.
    pub(super) async fn put<M: CacheManager>(&self, store: &M, page: &Page) {
        self.try_put(store, page).await.expect("the response is stored");
    }
}

/// The fields that a store has to give back. `Age` is a slot, and `Content-Length` may have come
/// with the end of the body.
pub(super) fn kept_fields(head: &StoredHead) -> HeaderMap {
    let mut headers = head.headers().clone();
    headers.remove(header::AGE);
    headers.remove(header::CONTENT_LENGTH);
    headers
}

/// The whole body of an entry, and its trailers.
pub(super) async fn read<M: CacheManager>(
    store: &M,
    entry: &Entry<M::Handle>,
) -> (Bytes, Option<HeaderMap>) {
    read_range(store, entry, 0..entry.response().length()).await
}

pub(super) async fn read_range<M: CacheManager>(
    store: &M,
    entry: &Entry<M::Handle>,
    range: Range<u64>,
) -> (Bytes, Option<HeaderMap>) {
    let body = store.read(entry, range.clone());
    assert_eq!(body.size_hint().exact(), Some(range.end - range.start), "the announced length");
    collect(body).await.expect("the body can be read")
}

/// Reads to the end.
pub(super) async fn collect(mut body: StoredBody) -> Result<(Bytes, Option<HeaderMap>), Error> {
    let (mut bytes, mut trailers) = (Vec::new(), None);
    while let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        match frame?.into_data() {
            Ok(data) => {
                assert!(trailers.is_none(), "trailers are the last frame");
                bytes.extend_from_slice(&data);
            }
            Err(frame) => trailers = frame.into_trailers().ok(),
        }
    }
    Ok((bytes.into(), trailers))
}
