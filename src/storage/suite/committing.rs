use std::cell::Cell;

use bytes::Bytes;

use super::fixture::{Page, Visitor, kept_fields, read};
use crate::storage::{CacheManager, EntryWriter};

/// A response is not found before its writer has finished.
pub async fn nothing_is_found_before_the_end<M: CacheManager>(make: impl AsyncFn() -> M) {
    let (store, visitor) = (make().await, Visitor::of("/"));
    let page = Page::new("hello");
    let mut writer = visitor.begin(&store, &page).await;
    assert_eq!(visitor.body(&store).await, None);
    page.write_to(&mut writer).await.expect("write");
    assert_eq!(visitor.body(&store).await, None);
    writer.finish(None).await.expect("finish");
    assert_eq!(visitor.body(&store).await, Some(page.bytes()));
}

/// A writer that is dropped leaves nothing, however much it has written.
pub async fn a_dropped_writer_leaves_nothing<M: CacheManager>(make: impl AsyncFn() -> M) {
    let (store, visitor) = (make().await, Visitor::of("/"));
    let page = Page::new("hello");
    drop(visitor.begin(&store, &page).await);
    let mut writer = visitor.begin(&store, &page).await;
    page.write_to(&mut writer).await.expect("write");
    drop(writer);
    assert_eq!(visitor.body(&store).await, None);
    visitor.put(&store, &Page::new("again")).await;
    assert_eq!(visitor.body(&store).await.as_deref(), Some(&b"again"[..]));
}

/// As long as a new response is not whole, the one that it will replace is found.
pub async fn an_unfinished_put_leaves_what_was_there<M: CacheManager>(make: impl AsyncFn() -> M) {
    let (store, visitor) = (make().await, Visitor::of("/"));
    let (old, new) = (Page::new("old"), Page::new("new and longer"));
    visitor.put(&store, &old).await;
    let mut dropped = visitor.begin(&store, &new).await;
    let mut finished = visitor.begin(&store, &new).await;
    new.write_to(&mut dropped).await.expect("write");
    new.write_to(&mut finished).await.expect("write");
    assert_eq!(visitor.body(&store).await, Some(old.bytes()));
    drop(dropped);
    assert_eq!(visitor.body(&store).await, Some(old.bytes()));
    finished.finish(None).await.expect("finish");
    assert_eq!(visitor.body(&store).await, Some(new.bytes()));
}

/// Two writers of one response, writing by turns, leave one of both and no mixture.
pub async fn two_writers_never_mix<M: CacheManager>(make: impl AsyncFn() -> M) {
    let (store, visitor) = (make().await, Visitor::of("/"));
    let pages = [
        Page::new("aaaaaa").with("x-name", b"a").trailer("x-name", b"a"),
        Page::new("bbb").with("x-name", b"b").trailer("x-name", b"b"),
    ];
    let mut a = visitor.begin(&store, &pages[0]).await;
    let mut b = visitor.begin(&store, &pages[1]).await;
    for _ in 0..3 {
        a.write(Bytes::from("aa")).await.expect("write");
        b.write(Bytes::from("b")).await.expect("write");
    }
    let finished = [
        a.finish(pages[0].trailers().cloned()).await,
        b.finish(pages[1].trailers().cloned()).await,
    ];
    assert!(finished.iter().any(Result::is_ok), "{finished:?}");
    let entry = visitor.entry(&store).await.expect("one of both is found");
    let name = entry.response().head().headers()["x-name"].clone();
    let page = &pages[usize::from(name == "b")];
    let (bytes, trailers) = read(&store, &entry).await;
    assert_eq!((bytes, trailers.as_ref()), (page.bytes(), page.trailers()));
}

/// Of two writers, the one that finishes last has written what is found, whoever began first.
pub async fn the_last_to_finish_wins<M: CacheManager>(make: impl AsyncFn() -> M) {
    let (store, visitor) = (make().await, Visitor::of("/"));
    let (first, second) = (Page::new("first"), Page::new("second"));
    let mut a = visitor.begin(&store, &first).await;
    let mut b = visitor.begin(&store, &second).await;
    first.write_to(&mut a).await.expect("write");
    second.write_to(&mut b).await.expect("write");
    b.finish(None).await.expect("finish");
    a.finish(None).await.expect("finish");
    assert_eq!(visitor.body(&store).await, Some(first.bytes()));
}

/// What is finished under another head has that one, or the one that it was begun with; all else of
/// it is as ever.
pub async fn a_head_may_come_with_the_end<M: CacheManager>(make: impl AsyncFn() -> M) {
    let (store, visitor) = (make().await, Visitor::of("/"));
    let page = Page::new("hello").with("x-name", b"a").trailer("x-end", b"1");
    let tagged = visitor.head_of(&store, &page.clone().with("etag", b"\"0123456789abcdef\""));
    let mut writer = visitor.begin(&store, &page).await;
    page.write_to(&mut writer).await.expect("write");
    writer.finish_with(tagged, page.trailers().cloned()).await.expect("finish");
    let entry = visitor.entry(&store).await.expect("it is found");
    let headers = entry.response().head().headers();
    assert_eq!(headers["x-name"], "a");
    assert!(headers.get("etag").is_none_or(|tag| tag == "\"0123456789abcdef\""), "{headers:?}");
    let (bytes, trailers) = read(&store, &entry).await;
    assert_eq!((bytes, trailers.as_ref()), (page.bytes(), page.trailers()));
}

/// A body over the store's limit is refused as too large, and changes nothing.
pub async fn what_is_too_large_leaves_what_was_there<M: CacheManager>(make: impl AsyncFn() -> M) {
    let (store, visitor) = (make().await, Visitor::of("/"));
    let limit = store.max_entry_bytes();
    // A store without a limit, or with one that no test can reach.
    if limit > 64 << 20 {
        return;
    }
    let chunk = Bytes::from(vec![b'x'; usize::try_from(limit / 4 + 1).expect("fits")]);
    let large = Page::chunks(vec![chunk; 4]);
    let error = visitor.try_put(&store, &large).await.expect_err("it is too large");
    assert!(error.is_too_large(), "{error}");
    assert_eq!(visitor.body(&store).await, None);
    let small = Page::new("small");
    visitor.put(&store, &small).await;
    let error = visitor.try_put(&store, &large).await.expect_err("it is too large");
    assert!(error.is_too_large(), "{error}");
    assert_eq!(visitor.body(&store).await, Some(small.bytes()));
}

/// What is stored without waiting, by a store that can, is whole, takes the place of what was there, and is
/// not stored if it is not admitted. Whether it is, is asked once.
pub async fn what_is_stored_at_once_is_whole<M: CacheManager>(make: impl AsyncFn() -> M) {
    let (store, visitor) = (make().await, Visitor::of("/").with("accept-language", "en"));
    for (round, page) in [
        Page::new("hello").with("x-name", b"a"),
        Page::new("").with("x-name", b"b"),
        Page::new("hallo").with("x-name", b"c").vary("accept-language"),
    ]
    .iter()
    .enumerate()
    {
        let (placement, head) = visitor.place(store.secret(), page);
        let asked = Cell::new(0);
        let put = |is_admitted| {
            let admits = || {
                asked.set(asked.get() + 1);
                is_admitted
            };
            store.put_now(&placement, &head, &page.bytes(), &admits)
        };
        let before = visitor.body(&store).await;
        let Some(refused) = put(false) else { return };
        assert!(refused.is_err_and(|error| error.is_refused()));
        assert_eq!(visitor.body(&store).await, before, "{round}");
        put(true).expect("it can").expect("it is stored");
        assert_eq!(asked.get(), 2);
        let entry = visitor.entry(&store).await.expect("it is found");
        assert_eq!(kept_fields(entry.response().head()), kept_fields(&head));
        assert_eq!(read(&store, &entry).await, (page.bytes(), None));
    }
    store.delete(visitor.lookup().key()).await.expect("delete");
    assert_eq!(visitor.body(&store).await, None);
}
