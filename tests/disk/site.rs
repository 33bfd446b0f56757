//! A site whose pages are stored by way of the public policy, and a directory to store them in.

use std::{
    cell::RefCell,
    fs,
    future::poll_fn,
    path::{Path, PathBuf},
    pin::Pin,
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::{Duration, Instant, SystemTime},
};

use bytes::Bytes;
use http::{HeaderMap, Request, Response, header, request};
use http_body::{Body, SizeHint};
use larder::{
    CacheManager, Error, Policy,
    policy::{Begin, Decision, Lookup, Outcome, Placement, Stored, StoredHead, Timestamp},
    storage::{DiskManager, Entry, EntryWriter, StoredBody},
};

/// A directory that is removed with its content.
struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

thread_local! {
    static KEPT: RefCell<Vec<Scratch>> = const { RefCell::new(Vec::new()) };
}

/// A directory that is not there yet, and goes with the thread of the test.
pub(crate) fn scratch() -> PathBuf {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let name = format!("disk-{}-{number}", std::process::id());
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = fs::remove_dir_all(&path);
    KEPT.with_borrow_mut(|kept| kept.push(Scratch(path.clone())));
    path
}

pub(crate) type Found = Entry<<DiskManager as CacheManager>::Handle>;

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

    pub(crate) fn with(mut self, name: &'static str, value: &str) -> Self {
        self.head.headers.append(name, value.parse().expect("a field value"));
        self
    }

    pub(crate) fn lookup(&self) -> Lookup<'_> {
        match self.policy.begin(&self.head, &SizeHint::with_exact(0)) {
            Begin::Lookup(lookup) => lookup,
            other => panic!("a GET looks up: {other:?}"),
        }
    }

    pub(crate) fn place(
        &self,
        store: &DiskManager,
        fields: &[(&'static str, &str)],
        began: u64,
    ) -> (Placement, StoredHead) {
        let now = Timestamp::from_wall(SystemTime::UNIX_EPOCH + Duration::from_secs(1 << 30));
        let decision = self.lookup().decide(&mut self.head.clone(), Stored::Nothing, now);
        let Decision::Forward(fetch) = decision else { panic!("nothing is stored: {decision:?}") };
        let (mut head, ()) = Response::new(()).into_parts();
        head.headers.insert(header::CACHE_CONTROL, "max-age=60".parse().expect("a value"));
        for (name, value) in fields {
            head.headers.append(*name, value.parse().expect("a value"));
        }
        match fetch.on_response(&mut head, &SizeHint::default(), now, began, store.secret()) {
            Outcome::Store(kept) => kept.into_parts(),
            other => panic!("the page is stored: {other:?}"),
        }
    }

    pub(crate) async fn put(
        &self,
        store: &DiskManager,
        fields: &[(&'static str, &str)],
        body: impl Into<Bytes>,
    ) -> Result<(), Error> {
        let (placement, head) = self.place(store, fields, 0);
        let mut writer = store.put(placement, head).await?;
        writer.write(body.into()).await?;
        writer.finish(None).await
    }

    pub(crate) async fn find(&self, store: &DiskManager) -> Option<Found> {
        let lookup = self.lookup();
        let wanted = lookup.wanted(&self.head.headers, store.secret());
        let found = store.get(&wanted).await.ok()?;
        let is_selected = !found.responses().is_empty();
        found.into_entry(0).filter(|_| is_selected)
    }

    /// What is found: the whole body, or why it failed.
    pub(crate) async fn body(&self, store: &DiskManager) -> Option<Result<Bytes, Error>> {
        let entry = self.find(store).await?;
        let body = store.read(&entry, 0..entry.response().length());
        Some(collect(body).await.map(|(bytes, _)| bytes))
    }
}

pub(crate) async fn collect(mut body: StoredBody) -> Result<(Bytes, Option<HeaderMap>), Error> {
    let (mut bytes, mut trailers) = (Vec::new(), None);
    while let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        match frame?.into_data() {
            Ok(data) => bytes.extend_from_slice(&data),
            Err(frame) => trailers = frame.into_trailers().ok(),
        }
    }
    Ok((bytes.into(), trailers))
}

/// Waits for what is done in the background.
#[track_caller]
pub(crate) fn eventually(is_done: impl Fn() -> bool) {
    let start = Instant::now();
    while !is_done() {
        assert!(start.elapsed() < Duration::from_secs(30), "it never comes to that");
        thread::yield_now();
    }
}

/// All files below a directory.
pub(crate) fn files(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found
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
