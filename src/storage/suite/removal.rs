use super::fixture::{Page, Visitor, collect};
use crate::storage::{CacheManager, EntryWriter, Error};

fn speaker(language: &str) -> Visitor {
    Visitor::of("/").with("accept-language", language)
}

async fn delete<M: CacheManager>(store: &M, visitor: &Visitor) {
    store.delete(visitor.lookup().key()).await.expect("delete");
}

#[track_caller]
fn assert_refused(finished: Result<(), Error>) {
    match finished {
        Ok(()) => panic!("what was begun before is refused"),
        Err(error) => assert!(error.is_refused(), "{error}"),
    }
}

/// To delete a resource is to forget all of its variants at once.
pub async fn delete_takes_all_variants<M: CacheManager>(make: impl AsyncFn() -> M) {
    let store = make().await;
    Visitor::of("/").put(&store, &Page::new("plain")).await;
    for language in ["en", "de"] {
        speaker(language).put(&store, &Page::new(language).vary("accept-language")).await;
    }
    delete(&store, &Visitor::of("/")).await;
    for visitor in [Visitor::of("/"), speaker("en"), speaker("de")] {
        assert_eq!(visitor.body(&store).await, None);
    }
    // A new index leads to nothing of the old.
    speaker("en").put(&store, &Page::new("new").vary("accept-language")).await;
    assert_eq!(speaker("en").bodies(&store).await, ["new"]);
    assert_eq!(speaker("de").body(&store).await, None);
}

/// To delete a resource leaves every other one, and deleting nothing is no error.
pub async fn delete_takes_nothing_else<M: CacheManager>(make: impl AsyncFn() -> M) {
    let store = make().await;
    for path in ["/a", "/a?q", "/b"] {
        Visitor::of(path).put(&store, &Page::new(path)).await;
    }
    delete(&store, &Visitor::of("/a")).await;
    delete(&store, &Visitor::of("/a")).await;
    delete(&store, &Visitor::of("/never")).await;
    assert_eq!(Visitor::of("/a").body(&store).await, None);
    for path in ["/a?q", "/b"] {
        assert_eq!(Visitor::of(path).bodies(&store).await, [path]);
    }
}

/// What is stored after a delete is found, also while a writer from before it is still at work.
pub async fn what_is_put_after_a_delete_is_found<M: CacheManager>(make: impl AsyncFn() -> M) {
    let (store, visitor) = (make().await, Visitor::of("/"));
    visitor.put(&store, &Page::new("old")).await;
    let before = visitor.begin(&store, &Page::new("old")).await;
    delete(&store, &visitor).await;
    visitor.put(&store, &Page::new("new")).await;
    assert_eq!(visitor.bodies(&store).await, ["new"]);
    assert_refused(before.finish(None).await);
    assert_eq!(visitor.bodies(&store).await, ["new"]);
}

/// A delete refuses the response that is being written over one that was stored.
pub async fn delete_refuses_whoever_is_writing<M: CacheManager>(make: impl AsyncFn() -> M) {
    let (store, visitor) = (make().await, Visitor::of("/"));
    let page = Page::new("hello");
    visitor.put(&store, &page).await;
    let mut writer = visitor.begin(&store, &page).await;
    page.write_to(&mut writer).await.expect("write");
    delete(&store, &visitor).await;
    assert_refused(writer.finish(None).await);
    assert_eq!(visitor.body(&store).await, None);
}

/// A delete refuses the response that is being written where none was stored.
pub async fn delete_refuses_the_first_writer<M: CacheManager>(make: impl AsyncFn() -> M) {
    let (store, visitor) = (make().await, Visitor::of("/"));
    let page = Page::new("hello");
    let mut writers = [visitor.begin(&store, &page).await, visitor.begin(&store, &page).await];
    delete(&store, &visitor).await;
    delete(&store, &visitor).await;
    for writer in &mut writers {
        page.write_to(writer).await.expect("write");
    }
    for writer in writers {
        assert_refused(writer.finish(None).await);
        assert_eq!(visitor.body(&store).await, None);
    }
}

/// A delete refuses no writer of another resource.
pub async fn delete_refuses_nobody_else<M: CacheManager>(make: impl AsyncFn() -> M) {
    let store = make().await;
    // Many, since a store may keep resources in parts.
    let visitors: Vec<_> = (0..100).map(|n| Visitor::of(&format!("/{n}"))).collect();
    let mut writers = Vec::new();
    for visitor in &visitors {
        writers.push(visitor.begin(&store, &Page::new("")).await);
    }
    delete(&store, &Visitor::of("/b")).await;
    for (visitor, writer) in visitors.iter().zip(writers) {
        writer.finish(None).await.expect("finish");
        assert_eq!(visitor.bodies(&store).await, [""]);
    }
}

/// To clear a store is to forget every resource, and what is stored then is found.
pub async fn clear_takes_everything<M: CacheManager>(make: impl AsyncFn() -> M) {
    let store = make().await;
    store.clear().await.expect("clear");
    let visitors = [Visitor::of("/a"), Visitor::of("/b"), speaker("en")];
    for visitor in &visitors {
        visitor.put(&store, &Page::new("old").vary("accept-language")).await;
    }
    store.clear().await.expect("clear");
    for visitor in &visitors {
        assert_eq!(visitor.body(&store).await, None);
        visitor.put(&store, &Page::new("new")).await;
        assert_eq!(visitor.bodies(&store).await, ["new"]);
    }
}

/// To clear a store refuses every response that is being written.
pub async fn clear_refuses_whoever_is_writing<M: CacheManager>(make: impl AsyncFn() -> M) {
    let store = make().await;
    let (stored, new) = (Visitor::of("/stored"), Visitor::of("/new"));
    stored.put(&store, &Page::new("old")).await;
    let writers =
        [stored.begin(&store, &Page::new("")).await, new.begin(&store, &Page::new("")).await];
    store.clear().await.expect("clear");
    for writer in writers {
        assert_refused(writer.finish(None).await);
    }
    for visitor in [stored, new] {
        assert_eq!(visitor.body(&store).await, None);
    }
}

/// A body that is open when its entry is deleted, replaced or cleared away gives all of its bytes,
/// or an error, and never a short body with a clean end.
pub async fn an_open_body_ends_well_or_fails<M: CacheManager>(make: impl AsyncFn() -> M) {
    let (store, visitor) = (make().await, Visitor::of("/"));
    let length = store.max_entry_bytes().min(60_000) as usize;
    let page = |byte: u8| Page::chunks([vec![byte; length].into()]);
    let old = page(b'o');
    for change in 0..4 {
        visitor.put(&store, &old).await;
        let entry = visitor.entry(&store).await.expect("the response is found");
        let bodies = [0, length as u64 / 2]
            .map(|start| (length - start as usize, store.read(&entry, start..length as u64)));
        match change {
            0 => delete(&store, &visitor).await,
            1 => visitor.put(&store, &page(b'n')).await,
            2 => store.clear().await.expect("clear"),
            _ => assert!(store.remove(&entry).await.expect("remove")),
        }
        // Found before, and read only now.
        let late = (length, store.read(&entry, 0..length as u64));
        for (expected, body) in bodies.into_iter().chain([late]) {
            if let Ok((bytes, _)) = collect(body).await {
                assert_eq!(bytes.len(), expected);
                assert!(bytes.iter().all(|byte| *byte == b'o'), "bytes of another entry");
            }
        }
    }
}
