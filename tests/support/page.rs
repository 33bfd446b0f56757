//! Pages that are stored by way of the public policy, in a store of any kind.

use std::{
    fs,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use http::{Request, Response, header, request};
use http_body::SizeHint;
use http_body_util::BodyExt;
use larder::{
    CacheManager, Error, Policy,
    policy::{Begin, Decision, Lookup, Outcome, Placement, Stored, StoredHead, Timestamp},
    storage::{Entry, EntryWriter, StoredBody},
};

/// A request for a page.
pub(crate) struct Ask {
    policy: Policy,
    pub(crate) head: request::Parts,
}

impl Ask {
    pub(crate) fn new(path: &str) -> Self {
        let request = Request::get(format!("http://a.example{path}")).body(());
        let (head, ()) = request.expect("a request").into_parts();
        Self { policy: Policy::private(), head }
    }

    pub(crate) fn lookup(&self) -> Lookup<'_> {
        match self.policy.begin(&self.head, &SizeHint::with_exact(0)) {
            Begin::Lookup(lookup) => lookup,
            other => panic!("a GET looks up: {other:?}"),
        }
    }

    /// Where `store` keeps a page that came with `fields`, and its head.
    pub(crate) fn place(
        &self,
        store: &impl CacheManager,
        fields: &[(&'static str, &str)],
    ) -> (Placement, StoredHead) {
        let now = Timestamp::from_wall(SystemTime::UNIX_EPOCH + Duration::from_secs(1 << 30));
        let decision = self.lookup().decide(&mut self.head.clone(), Stored::Nothing, now);
        let Decision::Forward(fetch) = decision else { panic!("nothing is stored: {decision:?}") };
        let (mut head, ()) = Response::new(()).into_parts();
        head.headers.insert(header::CACHE_CONTROL, "max-age=60".parse().expect("a value"));
        for (name, value) in fields {
            head.headers.append(*name, value.parse().expect("a value"));
        }
        let began = store.purge_log().position();
        match fetch.on_response(&mut head, &SizeHint::default(), now, began, store.secret()) {
            Outcome::Store(kept) => kept.into_parts(),
            other => panic!("the page is stored: {other:?}"),
        }
    }

    pub(crate) async fn put(
        &self,
        store: &impl CacheManager,
        fields: &[(&'static str, &str)],
        body: impl Into<Bytes>,
    ) -> Result<(), Error> {
        let (placement, head) = self.place(store, fields);
        let mut writer = store.put(placement, head).await?;
        writer.write(body.into()).await?;
        writer.finish(None).await
    }

    pub(crate) async fn try_find<M: CacheManager>(
        &self,
        store: &M,
    ) -> Result<Option<Entry<M::Handle>>, Error> {
        let lookup = self.lookup();
        let found = store.get(&lookup.wanted(&self.head.headers, store.secret())).await?;
        let is_selected = !found.responses().is_empty();
        Ok(found.into_entry(0).filter(|_| is_selected))
    }

    pub(crate) async fn find<M: CacheManager>(&self, store: &M) -> Option<Entry<M::Handle>> {
        self.try_find(store).await.expect("the store is asked")
    }

    /// What is found: the whole body, or why it failed.
    pub(crate) async fn body(&self, store: &impl CacheManager) -> Option<Result<Bytes, Error>> {
        let entry = self.find(store).await?;
        let body = store.read(&entry, 0..entry.response().length());
        Some(collect(body).await)
    }
}

pub(crate) async fn collect(body: StoredBody) -> Result<Bytes, Error> {
    Ok(body.collect().await?.to_bytes())
}

/// The next piece of a body without trailers.
pub(crate) async fn next(body: &mut StoredBody) -> Option<Result<Bytes, Error>> {
    let frame = body.frame().await?;
    Some(frame.map(|frame| frame.into_data().expect("no trailers")))
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

/// How many bytes a large body has, if it is to be a really large one.
pub(crate) fn large() -> Option<u64> {
    std::env::var("LARDER_LARGE").ok()?.parse().ok()
}

/// A piece of a large body.
pub(crate) const PIECE: u64 = 64 << 10;

pub(crate) fn piece(n: u64) -> Bytes {
    noise(n, PIECE as usize).into()
}

/// A body goes in and out in so many pieces. If it is really large and the test alone, the memory is
/// that of this test only, and little.
pub(crate) async fn goes_in_and_out<M: CacheManager>(
    store: &M,
    ask: &Ask,
    pieces: u64,
) -> Entry<M::Handle> {
    let before = peak();
    let (placement, head) = ask.place(store, &[]);
    let mut writer = store.put(placement, head).await.expect("there is room");
    for n in 0..pieces {
        writer.write(piece(n)).await.expect("it is taken");
    }
    writer.finish(None).await.expect("it is in place");
    let entry = ask.find(store).await.expect("it is there");
    let length = pieces * PIECE;
    assert_eq!(entry.response().length(), length);
    let mut body = store.read(&entry, 0..length);
    let (mut at, mut buffer) = (0, Vec::new());
    while let Some(data) = next(&mut body).await {
        buffer.extend_from_slice(&data.expect("all of it"));
        while buffer.len() as u64 >= PIECE {
            assert!(buffer[..PIECE as usize] == piece(at), "piece {at}");
            buffer.drain(..PIECE as usize);
            at += 1;
        }
    }
    assert_eq!((at, buffer.len()), (pieces, 0));
    if let (Some(before), Some(after)) = (before, peak()) {
        println!("{} MiB in and out: {} KiB more", length >> 20, (after - before) >> 10);
        assert!(large().is_none() || after - before <= 32 << 20, "{}", after - before);
    }
    entry
}

/// The most memory that this process has had, in bytes.
fn peak() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? << 10)
}

/// Bodies of these lengths are read in ranges with any ends, over the borders of blocks and pieces.
pub(crate) async fn ranges_are_exact(
    store: &impl CacheManager,
    lengths: impl IntoIterator<Item = usize>,
) {
    for length in lengths {
        let (ask, body) = (Ask::new("/"), noise(7, length));
        ask.put(store, &[], body.clone()).await.expect("there is room");
        let entry = ask.find(store).await.expect("it is there");
        let edges = [0, 1, 65_535, 65_536, 65_537, 262_144, 300_000, 524_288, 699_999, length];
        for (i, start) in edges.into_iter().enumerate() {
            for end in edges[i..].iter().filter(|end| **end <= length && **end >= start) {
                let read = collect(store.read(&entry, start as u64..*end as u64)).await;
                assert!(read.expect("a body") == body[start..*end], "{start}..{end}");
            }
        }
    }
}
