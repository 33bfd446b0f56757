//! tower-http's `ServeDir` and `CompressionLayer` inside of the cache: never a wrong coding.

use std::{
    collections::HashSet,
    convert::Infallible,
    fs,
    path::Path,
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, header};
use http_body_util::{BodyExt, Full};
use larder::{CacheLayer, CacheService, MemoryManager, Policy};
use tower::{
    Layer, ServiceExt,
    util::{AndThenLayer, BoxCloneService},
};
use tower_http::{
    compression::{CompressionBody, CompressionLayer},
    services::{ServeDir, fs::ServeFileSystemResponseBody},
};

use crate::{
    net::{Version, curl, serve},
    support::{self, Answer, TestBody, TestClock, get, ok, scratch::Scratch, status, with},
};

/// A directory with the file that is served.
struct Directory(Scratch);

impl Directory {
    fn new() -> Self {
        let scratch = Scratch::new();
        fs::create_dir_all(scratch.path()).unwrap();
        Self(scratch)
    }

    /// Writes the file that is served; `version` is in its text and in its time.
    fn write(&self, version: u64) {
        let lines = (0..400).map(|line| format!("version {version} line {line}\n"));
        let path = self.path().join("page.txt");
        fs::write(&path, lines.collect::<String>()).unwrap();
        let modified = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000 + version * 1000);
        fs::File::options().write(true).open(path).unwrap().set_modified(modified).unwrap();
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

const ENCODINGS: [Option<&str>; 6] =
    [Some("gzip"), Some("br"), None, Some("gzip, br"), Some("gzip;q=0, br"), Some("identity")];

fn request(encoding: Option<&str>, fields: &[(&str, &str)]) -> Request<Full<Bytes>> {
    let request = with(get("/page.txt"), fields);
    match encoding {
        Some(encoding) => with(request, &[("accept-encoding", encoding)]),
        None => request,
    }
}

type Inner = BoxCloneService<Request<Full<Bytes>>, Response<TestBody>, Infallible>;

/// What an origin has made: coding, tag and bytes. A compressor flushes when its file lets it wait,
/// so that its bytes are not the same each time.
#[derive(Clone, Default)]
struct Made(Arc<Mutex<HashSet<Coded>>>);

type Coded = (Option<HeaderValue>, Option<HeaderValue>, Bytes);

impl Made {
    fn key(headers: &HeaderMap, body: &Bytes) -> Coded {
        let field = |name| headers.get(name).cloned();
        (field(header::CONTENT_ENCODING), field(header::ETAG), body.clone())
    }

    fn add(&self, headers: &HeaderMap, body: &Bytes) {
        self.0.lock().unwrap().insert(Self::key(headers, body));
    }

    fn has(&self, headers: &HeaderMap, body: &Bytes) -> bool {
        self.0.lock().unwrap().contains(&Self::key(headers, body))
    }
}

/// The origin without a cache. `freshness` is what it says of it, if anything.
fn origin(directory: &Directory, freshness: Option<&'static str>) -> (Inner, Made) {
    let files = CompressionLayer::new().layer(ServeDir::new(directory.path()));
    let made = Made::default();
    let makes = made.clone();
    let finish = move |response: Response<CompressionBody<ServeFileSystemResponseBody>>| async move {
        let (mut head, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        makes.add(&head.headers, &body);
        if let Some(freshness) = freshness {
            head.headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(freshness));
        }
        let body = Full::new(body).map_err(Into::into).boxed_unsync();
        Ok::<_, Infallible>(Response::from_parts(head, body))
    };
    (BoxCloneService::new(AndThenLayer::new(finish).layer(files)), made)
}

fn cached(origin: &Inner, clock: &TestClock) -> CacheService<Inner, MemoryManager> {
    CacheLayer::new(MemoryManager::new(1 << 20)).clock(clock.clone()).layer(origin.clone())
}

/// The answer has the coding that the origin gives to this client without a cache, and the bytes of
/// that coding and version.
async fn assert_right(
    (origin, made): &(Inner, Made),
    answer: &Answer,
    encoding: Option<&str>,
    at: &str,
) {
    assert!(made.has(&answer.headers, &answer.body), "{at}: bytes of another coding");
    let (right, _) = origin.clone().oneshot(request(encoding, &[])).await.unwrap().into_parts();
    assert_eq!(answer.status, right.status, "{at}");
    for name in ["content-encoding", "etag", "last-modified", "vary", "content-type"] {
        let right = right.headers.get(name).map(|value| value.to_str().unwrap());
        assert_eq!(answer.field(name), right, "{at}: {name}");
    }
    if let Some(length) = answer.field("content-length") {
        assert_eq!(length, answer.body.len().to_string(), "{at}");
    }
}

/// Scenario 0.9: clients with gzip, br and nothing; fresh, stale and replaced.
#[tokio::test]
async fn each_client_gets_a_coding_that_it_can_read() {
    // Explicit and heuristic freshness (the file is from 2023, RFC 9111 §4.2.2).
    for (name, freshness) in [("explicit", Some("max-age=60")), ("heuristic", None)] {
        let (directory, clock) = (Directory::new(), TestClock::new());
        directory.write(1);
        let origin = origin(&directory, freshness);
        let cache = cached(&origin.0, &clock);
        let ask = async |encoding, fields: &[(&str, &str)]| {
            Answer::of(cache.clone().oneshot(request(encoding, fields)).await.unwrap()).await
        };
        let lifetime = if freshness.is_some() { 60 } else { 24 * 60 * 60 };
        for round in 0..4 {
            let at = |encoding| format!("{name}, round {round}, {encoding:?}");
            if round == 2 {
                directory.write(2);
            }
            for encoding in ENCODINGS {
                let answer = ask(encoding, &[]).await;
                assert_right(&origin, &answer, encoding, &at(encoding)).await;
                match round {
                    0 => answer.assert_forwarded(),
                    1 => answer.assert_revalidated(),
                    2 => answer.assert_forwarded(),
                    _ => answer.assert_revalidated(),
                };
            }
            for encoding in ENCODINGS.into_iter().rev() {
                let answer = ask(encoding, &[]).await;
                assert_right(&origin, &answer, encoding, &at(encoding)).await;
                answer.assert_hit();
            }
            clock.advance_secs(lifetime);
        }
    }
}

/// `CompressionLayer` gives all codings of a file the same `ETag`, and its 304 has no `Vary`: a
/// client's own conditional request never turns one coding into another.
#[tokio::test]
async fn conditional_requests_do_not_mix_codings() {
    let (directory, clock) = (Directory::new(), TestClock::new());
    directory.write(1);
    let origin = origin(&directory, Some("max-age=60"));
    let cache = cached(&origin.0, &clock);
    let ask = async |encoding, fields: &[(&str, &str)]| {
        Answer::of(cache.clone().oneshot(request(encoding, fields)).await.unwrap()).await
    };
    let (head, _) = origin.0.clone().oneshot(request(None, &[])).await.unwrap().into_parts();
    let tag = head.headers["etag"].to_str().unwrap();
    let modified = head.headers["last-modified"].to_str().unwrap();
    let matching = [("if-none-match", tag), ("if-modified-since", modified)];
    let mismatched =
        [("if-none-match", "\"another\""), ("if-modified-since", "Thu, 01 Jan 1970 00:00:00 GMT")];
    // A 304 to a client's own condition brings nothing to keep, before and after gzip is there.
    for _ in 0..2 {
        for field in matching {
            let answer = ask(Some("br"), &[field]).await;
            answer.assert_forwarded();
            assert_eq!((answer.status.as_u16(), answer.text()), (304, ""), "{field:?}");
        }
        ask(Some("gzip"), &[]).await;
    }
    for _ in 0..3 {
        for encoding in ENCODINGS {
            for field in mismatched {
                let answer = ask(encoding, &[field]).await;
                assert_right(&origin, &answer, encoding, &format!("{encoding:?} {field:?}")).await;
            }
            for field in matching {
                let answer = ask(encoding, &[field]).await;
                assert_eq!(answer.status, 304, "{encoding:?} {field:?}");
                assert_eq!(answer.field("etag"), Some(tag));
                assert!(answer.body.is_empty());
            }
            let answer = ask(encoding, &[]).await;
            assert_right(&origin, &answer, encoding, &format!("{encoding:?} afterwards")).await;
            answer.assert_hit();
        }
        clock.advance_secs(60);
    }
    // The file changes while all are stale, and clients come with the old validators.
    directory.write(2);
    for encoding in ENCODINGS {
        for field in matching {
            let answer = ask(encoding, &[field]).await;
            assert_right(&origin, &answer, encoding, &format!("{encoding:?} {field:?} replaced"))
                .await;
        }
    }
}

/// The codings are whole: curl can decode what comes from the store.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn curl_decodes_what_is_stored() {
    let directory = Directory::new();
    directory.write(1);
    let files = CompressionLayer::new().layer(ServeDir::new(directory.path()));
    let cache = CacheLayer::new(MemoryManager::new(1 << 20)).default_ttl(Duration::from_secs(600));
    let address = serve(Version::Http1, cache.layer(files)).await;
    let text = fs::read_to_string(directory.path().join("page.txt")).unwrap();
    for coding in ["gzip", "br", "identity", "gzip", "br", "identity"] {
        let field = format!("accept-encoding: {coding}");
        let url = format!("http://{address}/page.txt");
        let arguments = ["-sS", "--compressed", "--max-time", "10", "-H", &field, &url];
        let Some(output) = curl(arguments).await else { return };
        assert_eq!(output, text, "{coding}");
    }
    assert_eq!(cache.handle().manager().len(), 4, "an index and three codings");
}

/// RFC 9111 §4.3.4: a 304 with another validator than the stored response has, and with another
/// coding, changes neither what is served nor what is kept.
#[tokio::test]
async fn a_304_of_another_version_freshens_nothing() {
    let cache = support::cache(Policy::shared());
    cache.origin.on(|request| {
        if request.headers().contains_key("if-none-match") {
            let reply = status(304).cache_control("max-age=60").header("etag", "\"other\"");
            return reply.header("content-encoding", "br").text("");
        }
        let reply = ok().cache_control("max-age=60").header("vary", "accept-encoding");
        match request.headers().contains_key("accept-encoding") {
            true => reply.header("etag", "\"z\"").header("content-encoding", "gzip").text("zzz"),
            false => reply.header("etag", "\"i\"").text("iii"),
        }
    });
    for (encoding, coding, text) in [(Some("gzip"), Some("gzip"), "zzz"), (None, None, "iii")] {
        // Filled, then validated in vain, then asked for anew since nothing is left.
        for is_stored in [true, false, true] {
            let answer = cache.send(request(encoding, &[])).await;
            answer.assert_forwarded();
            assert_eq!((answer.status.as_u16(), answer.text()), (200, text));
            assert_eq!(
                (answer.field("content-encoding"), answer.cache.is_stored()),
                (coding, is_stored)
            );
            cache.clock.advance_secs(60);
        }
    }
}
