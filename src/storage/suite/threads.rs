use std::{
    cell::RefCell,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use super::{
    fixture::{Page, Visitor, collect, read},
    run::spawn,
};
use crate::storage::{CacheManager, EntryWriter, Error};

const ROUNDS: u64 = 100;

fn visitors() -> Vec<Visitor> {
    let english = Visitor::of("/a").with("accept-language", "en");
    let german = Visitor::of("/a").with("accept-language", "de");
    vec![english, german, Visitor::of("/b")]
}

/// A page whose parts all say the same number.
fn page(visitor: usize, number: u64) -> Page {
    let text = format!("{visitor}:{number}");
    let chunk = bytes::Bytes::from(format!("{text};"));
    let page = Page::chunks(vec![chunk; 1 + (number % 64) as usize])
        .with("x-text", text.as_bytes())
        .trailer("x-text", text.as_bytes());
    if visitor < 2 { page.vary("accept-language") } else { page }
}

/// However many threads write, read, update, remove and delete, a reader finds one response whole
/// or none, and only one that was made for it.
pub async fn threads_see_whole_responses<M: CacheManager>(make: impl AsyncFn() -> M) {
    let store = make().await;
    let writer = |seed: u64| {
        let store = store.clone();
        spawn(async move {
            for round in 0..ROUNDS {
                let number = round * 2 + seed;
                for (index, visitor) in visitors().iter().enumerate() {
                    let stored = visitor.try_put(&store, &page(index, number)).await;
                    assert!(is_ok_or_refused(&stored), "{stored:?}");
                    let entry = visitor.entry(&store).await;
                    match (entry, (round + index as u64) % 5) {
                        (Some(entry), 0) => {
                            store.remove(&entry).await.expect("remove");
                        }
                        (Some(entry), 1) => {
                            let head = entry.response().head().clone();
                            store.update(&entry, head).await.expect("update");
                        }
                        (_, 2) => store.delete(visitor.lookup().key()).await.expect("delete"),
                        _ => {}
                    }
                }
            }
        })
    };
    let reader = || {
        let store = store.clone();
        spawn(async move {
            for _ in 0..ROUNDS {
                for (index, visitor) in visitors().iter().enumerate() {
                    let Some(entry) = visitor.entry(&store).await else { continue };
                    let length = entry.response().length();
                    // A body may fail if its entry goes meanwhile.
                    let Ok((bytes, trailers)) = collect(store.read(&entry, 0..length)).await else {
                        continue;
                    };
                    let text = entry.response().head().headers()["x-text"].clone();
                    let number = text.to_str().ok().and_then(|text| text.split_once(':'));
                    let (owner, number) = number.expect("the text of a page");
                    assert_eq!(owner, index.to_string(), "a response for somebody else");
                    let whole = page(index, number.parse().expect("a number"));
                    assert_eq!((bytes, trailers.as_ref()), (whole.bytes(), whole.trailers()));
                }
            }
        })
    };
    let (writers, readers) = ([writer(0), writer(1)], [reader(), reader()]);
    for thread in writers {
        thread.await;
    }
    for thread in readers {
        thread.await;
    }
}

/// What was being written when a delete was asked for is not found after the delete, in any
/// interleaving.
pub async fn threads_never_see_what_was_deleted<M: CacheManager>(make: impl AsyncFn() -> M) {
    let (store, visitor) = (make().await, Visitor::of("/"));
    let begun = Arc::new(AtomicU64::new(0));
    let writer = || {
        let (store, visitor, begun) = (store.clone(), visitor.clone(), begun.clone());
        spawn(async move {
            for _ in 0..ROUNDS {
                // The number is drawn when the writer is at work already.
                let mut writer = visitor.begin(&store, &Page::new("")).await;
                let number = begun.fetch_add(1, Ordering::SeqCst);
                writer.write(number.to_string().into()).await.expect("write");
                let finished = writer.finish(None).await;
                assert!(is_ok_or_refused(&finished), "{finished:?}");
            }
        })
    };
    let writers = [writer(), writer()];
    let deleter = {
        let (store, visitor) = (store.clone(), visitor.clone());
        spawn(async move {
            for round in 0..ROUNDS {
                let floor = begun.load(Ordering::SeqCst);
                match round % 4 {
                    0 => store.clear().await.expect("clear"),
                    _ => store.delete(visitor.lookup().key()).await.expect("delete"),
                }
                let Some(entry) = visitor.entry(&store).await else { continue };
                let length = entry.response().length();
                let Ok((bytes, _)) = collect(store.read(&entry, 0..length)).await else { continue };
                let number = std::str::from_utf8(&bytes).ok().and_then(|text| text.parse().ok());
                let number: u64 = number.expect("a number");
                assert!(number >= floor, "{number} was begun before {floor}");
            }
        })
    };
    deleter.await;
    for writer in writers {
        writer.await;
    }
    let page = Page::new("after");
    visitor.put(&store, &page).await;
    let entry = visitor.entry(&store).await.expect("the response is found");
    assert_eq!(read(&store, &entry).await.0, page.bytes());
}

/// What is stored without waiting is not found after a delete that came when it was admitted already.
pub async fn a_delete_takes_what_is_being_stored_at_once<M: CacheManager>(
    make: impl AsyncFn() -> M,
) {
    let (store, visitor) = (make().await, Visitor::of("/"));
    let page = Page::new("hello");
    let (placement, head) = visitor.place(store.secret(), &page);
    let deleter = RefCell::new(None);
    let admits = || {
        let (is_over, over) = (Arc::new(AtomicBool::new(false)), visitor.clone());
        let (store, done) = (store.clone(), is_over.clone());
        *deleter.borrow_mut() = Some(spawn(async move {
            store.delete(over.lookup().key()).await.expect("delete");
            done.store(true, Ordering::SeqCst);
        }));
        // It is to be at work before the response is there; it may have to wait for that.
        for _ in 0..10_000 {
            if is_over.load(Ordering::SeqCst) {
                break;
            }
            std::thread::yield_now();
        }
        true
    };
    let stored = store.put_now(&placement, &head, &page.bytes(), &admits);
    assert!(stored.as_ref().is_none_or(is_ok_or_refused), "{stored:?}");
    if let Some(deleter) = deleter.take() {
        deleter.await;
    }
    assert_eq!(visitor.body(&store).await, None);
}

fn is_ok_or_refused(stored: &Result<(), Error>) -> bool {
    stored.as_ref().map_or_else(Error::is_refused, |()| true)
}
