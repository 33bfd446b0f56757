use bytes::Bytes;

use super::{
    fixture::{Page, Visitor, read},
    run::cancel,
};
use crate::storage::{CacheManager, EntryWriter};

/// A `put` that is dropped while it waits leaves nothing, and stands in nobody's way.
pub async fn a_cancelled_put_leaves_nothing<M: CacheManager>(make: impl AsyncFn() -> M) {
    let (store, visitor) = (make().await, Visitor::of("/"));
    let page = Page::new("hello");
    for _ in 0..3 {
        let (placement, head) = visitor.place(store.secret(), &page);
        drop(cancel(store.put(placement, head)));
        cancel(visitor.find(&store));
    }
    assert_eq!(visitor.body(&store).await, None);
    visitor.put(&store, &page).await;
    assert_eq!(visitor.bodies(&store).await, ["hello"]);
}

/// A `write` that is dropped while it waits leaves nothing once its writer is dropped too.
pub async fn a_cancelled_write_leaves_nothing<M: CacheManager>(make: impl AsyncFn() -> M) {
    let (store, visitor) = (make().await, Visitor::of("/"));
    let (old, new) = (Page::new("old"), Page::new("new"));
    for before in [None, Some(old.bytes())] {
        let mut writer = visitor.begin(&store, &new).await;
        writer.write(Bytes::from("ne")).await.expect("write");
        cancel(writer.write(Bytes::from("w")));
        drop(writer);
        assert_eq!(visitor.body(&store).await, before);
        visitor.put(&store, &old).await;
    }
    visitor.put(&store, &new).await;
    assert_eq!(visitor.bodies(&store).await, ["new"]);
}

/// After a `finish` that is dropped while it waits, what was there is found, or the new response
/// whole.
pub async fn a_cancelled_finish_is_all_or_nothing<M: CacheManager>(make: impl AsyncFn() -> M) {
    let (store, visitor) = (make().await, Visitor::of("/"));
    let (old, new) = (Page::new("old"), Page::new("new and longer").trailer("x-sum", b"1"));
    for before in [None, Some(old.bytes())] {
        let mut writer = visitor.begin(&store, &new).await;
        new.write_to(&mut writer).await.expect("write");
        let finished = cancel(writer.finish(new.trailers().cloned()));
        match visitor.entry(&store).await {
            None => assert!(finished.is_none() && before.is_none(), "{finished:?}"),
            Some(entry) => {
                let (bytes, trailers) = read(&store, &entry).await;
                if Some(&bytes) != before.as_ref() || finished.is_some() {
                    assert_eq!((bytes, trailers.as_ref()), (new.bytes(), new.trailers()));
                }
            }
        }
        visitor.put(&store, &old).await;
        assert_eq!(visitor.bodies(&store).await, ["old"]);
    }
}

/// After an `update`, a `remove` or a `delete` that is dropped while it waits, the change has
/// happened or it has not, and the store works on.
pub async fn a_cancelled_change_is_all_or_nothing<M: CacheManager>(make: impl AsyncFn() -> M) {
    let (store, visitor) = (make().await, Visitor::of("/"));
    let version = |version: &[u8]| Page::new("hello").with("x-version", version);
    for change in 0..4 {
        visitor.put(&store, &version(b"1")).await;
        let entry = visitor.entry(&store).await.expect("the response is found");
        let lookup = visitor.lookup();
        let is_done = match change {
            0 => {
                let head = visitor.head_of(&store, &version(b"2"));
                cancel(store.update(&entry, head)).is_some()
            }
            1 => cancel(store.remove(&entry)).is_some(),
            2 => cancel(store.delete(lookup.key())).is_some(),
            _ => cancel(store.clear()).is_some(),
        };
        match visitor.entry(&store).await {
            None => assert_ne!(change, 0, "an update removes nothing"),
            Some(entry) => {
                assert!(change == 0 || !is_done, "what was removed is not found");
                let version = &entry.response().head().headers()["x-version"];
                assert!(version == "2" || (version == "1" && !is_done), "{version:?}");
                assert_eq!(read(&store, &entry).await.0, "hello");
            }
        }
    }
    visitor.put(&store, &version(b"3")).await;
    assert_eq!(visitor.bodies(&store).await, ["hello"]);
}
