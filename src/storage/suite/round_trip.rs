use bytes::Bytes;
use http::header;

use super::fixture::{Page, Visitor, collect, kept_fields, read, read_range};
use crate::{
    policy::{Content, Decision},
    storage::{CacheManager, StoredBody},
};

/// Status, fields, bytes and length of a response are what was given.
pub async fn a_response_comes_back_as_it_was_given<M: CacheManager>(make: impl AsyncFn() -> M) {
    let (store, visitor) = (make().await, Visitor::of("/"));
    let page = Page::new("hello").with("content-type", b"text/plain").with("etag", b"\"1\"");
    visitor.put(&store, &page).await;
    let entry = visitor.entry(&store).await.expect("the response is found");
    let head = entry.response().head();
    assert_eq!(head.status(), 200);
    assert_eq!(kept_fields(head), kept_fields(&visitor.head_of(&store, &page)));
    assert_eq!(head.headers()[header::CONTENT_LENGTH], "5");
    assert_eq!(entry.response().length(), 5);
    assert_eq!(read(&store, &entry).await, (Bytes::from("hello"), None));
}

/// All lines of a field come back in their order, with every octet that a field may have.
pub async fn fields_keep_their_lines_and_octets<M: CacheManager>(make: impl AsyncFn() -> M) {
    let (store, visitor) = (make().await, Visitor::of("/"));
    let octets: Vec<u8> = (b' '..=b'~').chain(0x80..=0xff).chain([b'\t', b'!']).collect();
    let page = Page::new("")
        .with("link", b"<b>")
        .with("x-octets", octets.trim_ascii())
        .with("x-empty", b"")
        .with("link", b"<a>, <c>")
        .with("x-latin", b"caf\xe9")
        .with("link", b"<a>");
    visitor.put(&store, &page).await;
    let entry = visitor.entry(&store).await.expect("the response is found");
    let (fields, given) =
        (kept_fields(entry.response().head()), kept_fields(&visitor.head_of(&store, &page)));
    let links: Vec<_> = fields.get_all(header::LINK).iter().collect();
    assert_eq!(links, ["<b>", "<a>, <c>", "<a>"]);
    assert_eq!(fields, given);
}

/// Trailers come back in their order with every octet, and a response without has none.
pub async fn trailers_come_back<M: CacheManager>(make: impl AsyncFn() -> M) {
    let store = make().await;
    for (path, body) in [("/", "hello"), ("/empty", "")] {
        let visitor = Visitor::of(path);
        let page = Page::new(body)
            .trailer("x-sum", b"b")
            .trailer("x-latin", b"caf\xe9")
            .trailer("x-sum", b"a");
        visitor.put(&store, &page).await;
        let entry = visitor.entry(&store).await.expect("the response is found");
        assert_eq!(read(&store, &entry).await, (page.bytes(), page.trailers().cloned()));
    }
}

/// A body without bytes is a body: found, of length 0.
pub async fn an_empty_body_is_kept<M: CacheManager>(make: impl AsyncFn() -> M) {
    let store = make().await;
    let empty_chunks = Page::chunks([Bytes::new(), Bytes::new()]);
    for (path, page) in [("/none", Page::chunks([])), ("/some", empty_chunks)] {
        let visitor = Visitor::of(path);
        visitor.put(&store, &page).await;
        let entry = visitor.entry(&store).await.expect("the response is found");
        assert_eq!(entry.response().length(), 0);
        assert_eq!(read(&store, &entry).await, (Bytes::new(), None));
    }
}

/// A body comes back byte for byte, however it was cut when it came.
pub async fn a_large_body_in_many_chunks_is_kept<M: CacheManager>(make: impl AsyncFn() -> M) {
    let (store, visitor) = (make().await, Visitor::of("/"));
    let length = store.max_entry_bytes().min(100_000) as usize;
    let bytes: Vec<u8> = (0..length).map(|n| (n * n % 251) as u8).collect();
    let mut chunks: Vec<Bytes> = Vec::new();
    let (mut rest, mut size) = (bytes.as_slice(), 0);
    while !rest.is_empty() {
        let (chunk, behind) = rest.split_at(size.min(rest.len()));
        chunks.push(Bytes::copy_from_slice(chunk));
        (rest, size) = (behind, (size * 2 + 1) % 4099);
    }
    visitor.put(&store, &Page::chunks(chunks)).await;
    let entry = visitor.entry(&store).await.expect("the response is found");
    assert_eq!(entry.response().length(), length as u64);
    assert!(read(&store, &entry).await.0 == bytes, "other bytes than were given");
}

/// A store keeps what it is given, whatever its status.
pub async fn any_status_is_kept<M: CacheManager>(make: impl AsyncFn() -> M) {
    let store = make().await;
    for status in [200, 203, 204, 299, 301, 308, 404, 410, 500, 599] {
        let visitor = Visitor::of(&format!("/{status}"));
        let page = Page::new(if status == 204 { "" } else { "body" }).status(status);
        visitor.put(&store, &page).await;
        let entry = visitor.entry(&store).await.expect("the response is found");
        assert_eq!(entry.response().head().status(), status);
        assert_eq!(read(&store, &entry).await.0, page.bytes());
    }
}

/// A part of a representation comes back as that part, and as nothing else: it answers the ranges
/// within it (RFC 9111 §3.3).
pub async fn a_part_stays_a_part<M: CacheManager>(make: impl AsyncFn() -> M) {
    let store = make().await;
    for (path, shown, complete) in
        [("/known", "bytes 20-24/100", Some(100)), ("/unknown", "bytes 20-24/*", None)]
    {
        let visitor = Visitor::of(path).with("range", "bytes=20-24");
        let page = Page::new("hello").status(206).with("content-range", shown.as_bytes());
        visitor.put(&store, &page).await;
        let entry = visitor.entry(&store).await.expect("the part is found");
        assert_eq!(read(&store, &entry).await.0, "hello");
        let part = entry.response().head().content_range().expect("it is a part");
        assert_eq!((part.range(), part.complete_length()), (20..25, complete));
        let found = visitor.find(&store).await;
        let within = Visitor::of(path).with("range", "bytes=21-22");
        match within.decide(&found, 1) {
            Decision::Serve(serve) => {
                assert_eq!(serve.content, Content::Part { start: 1, end: 3 });
            }
            other => panic!("a range within a part is served: {other:?}"),
        }
        let decision = Visitor::of(path).decide(&found, 1);
        assert!(matches!(decision, Decision::Forward(_)), "a part is not the whole: {decision:?}");
    }
}

/// What the policy has read in a head is kept with it: a fresh response is served with its age,
/// and a stale one is not.
pub async fn the_age_goes_on_in_the_store<M: CacheManager>(make: impl AsyncFn() -> M) {
    let (store, visitor) = (make().await, Visitor::of("/"));
    visitor.put(&store, &Page::new("hello").with("age", b"10")).await;
    let found = visitor.find(&store).await;
    match visitor.decide(&found, 49) {
        Decision::Serve(serve) => assert_eq!(serve.head.headers[header::AGE], "59"),
        other => panic!("a fresh response is served: {other:?}"),
    }
    let decision = visitor.decide(&found, 50);
    assert!(matches!(decision, Decision::Forward(_)), "{decision:?}");
}

/// What one clone stores, another finds.
pub async fn clones_are_the_same_store<M: CacheManager>(make: impl AsyncFn() -> M) {
    let (store, visitor) = (make().await, Visitor::of("/"));
    let clone = store.clone();
    visitor.put(&clone, &Page::new("hello")).await;
    drop(clone);
    assert_eq!(visitor.body(&store).await.as_deref(), Some(&b"hello"[..]));
    store.clone().delete(visitor.lookup().key()).await.expect("delete");
    assert_eq!(visitor.body(&store).await, None);
}

/// A range of a body is its bytes from start to end.
pub async fn a_range_gives_its_bytes<M: CacheManager>(make: impl AsyncFn() -> M) {
    let (store, visitor) = (make().await, Visitor::of("/"));
    let chunks = ["01", "234", "", "56789"].map(Bytes::from);
    visitor.put(&store, &Page::chunks(chunks)).await;
    let entry = visitor.entry(&store).await.expect("the response is found");
    for start in 0..=10 {
        for end in start..=10 {
            let (bytes, trailers) = read_range(&store, &entry, start..end).await;
            assert_eq!(bytes, b"0123456789"[start as usize..end as usize], "{start}..{end}");
            assert_eq!(trailers, None);
        }
    }
}

/// Trailers belong to a range that has the last byte, and to no other.
pub async fn trailers_follow_the_last_byte_only<M: CacheManager>(make: impl AsyncFn() -> M) {
    let (store, visitor) = (make().await, Visitor::of("/"));
    let page = Page::new("0123456789").trailer("x-sum", b"45");
    visitor.put(&store, &page).await;
    let entry = visitor.entry(&store).await.expect("the response is found");
    for (range, has_trailers) in [(0..10, true), (9..10, true), (0..9, false), (0..0, false)] {
        let (_, trailers) = read_range(&store, &entry, range.clone()).await;
        assert_eq!(trailers.as_ref(), page.trailers().filter(|_| has_trailers), "{range:?}");
    }
}

/// One entry gives any number of bodies, each from its own beginning.
pub async fn a_body_is_read_as_often_as_one_likes<M: CacheManager>(make: impl AsyncFn() -> M) {
    let (store, visitor) = (make().await, Visitor::of("/"));
    visitor.put(&store, &Page::new("hello")).await;
    let entry = visitor.entry(&store).await.expect("the response is found");
    let bodies: Vec<StoredBody> = (0..3).map(|_| store.read(&entry, 0..5)).collect();
    drop(store.read(&entry, 0..5));
    for body in bodies.into_iter().rev() {
        assert_eq!(collect(body).await.expect("the body can be read").0, "hello");
    }
}

/// `get_now`, where a store has it, finds what `get` finds.
pub async fn a_look_without_waiting_says_the_same<M: CacheManager>(make: impl AsyncFn() -> M) {
    let store = make().await;
    let english = Visitor::of("/").with("accept-language", "en");
    let german = Visitor::of("/").with("accept-language", "de");
    for step in 0..3 {
        for visitor in [&english, &german] {
            let Some(now) = visitor.find_now(&store) else { return };
            let waited = visitor.find(&store).await;
            assert_eq!(now.responses().len(), waited.responses().len());
            if now.responses().is_empty() {
                assert_eq!(visitor.reason(&now), visitor.reason(&waited));
            }
        }
        match step {
            0 => english.put(&store, &Page::new("hello").vary("accept-language")).await,
            _ => store.delete(english.lookup().key()).await.expect("delete"),
        }
    }
}
