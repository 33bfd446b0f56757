use std::{collections::BTreeSet, ops::ControlFlow};

use bytes::Bytes;

use super::fixture::{Page, Visitor as Asker, read};
use crate::storage::{CacheManager, Scanned, Visitor};

/// Keeps what it is shown, and ends the walk when it has so much.
struct Seeing<H> {
    found: Vec<Scanned<H>>,
    enough: usize,
}

impl<H: Send> Visitor<H> for Seeing<H> {
    async fn visit(&mut self, entries: Vec<Scanned<H>>) -> ControlFlow<()> {
        self.found.extend(entries);
        if self.found.len() < self.enough {
            ControlFlow::Continue(())
        } else {
            ControlFlow::Break(())
        }
    }
}

/// What a walk shows, until it is enough. `None`: the store cannot be walked.
async fn walk<M: CacheManager>(store: &M, enough: usize) -> Option<Vec<Scanned<M::Handle>>> {
    let mut seeing = Seeing { found: Vec::new(), enough };
    match store.scan(&mut seeing).await {
        Ok(()) => Some(seeing.found),
        Err(error) => {
            assert!(error.is_unsupported(), "{error}");
            None
        }
    }
}

/// A store that can be walked shows all that a look-up could find, each once, with its key, its head
/// and a way to its body; and nothing that was removed.
pub async fn a_walk_shows_what_is_there<M: CacheManager>(make: impl AsyncFn() -> M) {
    let store = make().await;
    let Some(found) = walk(&store, usize::MAX).await else { return };
    assert_eq!(found.len(), 0);
    let mut expected = BTreeSet::new();
    for number in 0..50 {
        let path = format!("/{number}");
        Asker::of(&path).put(&store, &Page::new(&path).with("cache-tag", b"t")).await;
        expected.insert(path);
    }
    for (path, language) in [("/v", "en"), ("/v", "de"), ("/w", "en")] {
        let page = Page::new(&format!("{path} {language}")).vary("accept-language");
        Asker::of(path).with("accept-language", language).put(&store, &page).await;
        expected.insert(format!("{path} {language}"));
    }
    // A response without `Vary` beside variants, and resources that were deleted or replaced.
    Asker::of("/v").put(&store, &Page::new("/v plain")).await;
    expected.insert("/v plain".to_owned());
    for path in ["/0", "/w"] {
        store.delete(Asker::of(path).lookup().key()).await.expect("delete");
    }
    expected.retain(|body| body != "/0" && body != "/w en");
    Asker::of("/1").put(&store, &Page::new("/1 new")).await;
    expected.remove("/1");
    expected.insert("/1 new".to_owned());

    let found = walk(&store, usize::MAX).await.expect("it could be walked before");
    assert_eq!(found.len(), expected.len());
    for scanned in &found {
        let (body, _) = read(&store, scanned.entry()).await;
        let body = String::from_utf8(body.to_vec()).expect("text");
        let path = body.split(' ').next().unwrap_or_default();
        assert_eq!(scanned.key(), Asker::of(path).lookup().key());
        assert_eq!(scanned.variant().is_plain(), !body.ends_with("en") && !body.ends_with("de"));
        assert_eq!(scanned.entry().response().length(), body.len() as u64);
        let tags: Vec<_> = scanned.entry().response().head().tags().collect();
        assert_eq!(tags.is_empty(), !body[1..].bytes().all(|b| b.is_ascii_digit()), "{body}");
        assert!(expected.remove(&body), "{body} is there once");
    }
}

/// What a walk has shown can be removed by it, if it is still there; a walk ends when it is told to.
pub async fn what_a_walk_shows_can_be_removed<M: CacheManager>(make: impl AsyncFn() -> M) {
    let store = make().await;
    for path in ["/a", "/b"] {
        Asker::of(path).put(&store, &Page::new("old")).await;
    }
    let Some(found) = walk(&store, usize::MAX).await else { return };
    Asker::of("/b").put(&store, &Page::new("new")).await;
    for scanned in &found {
        let removed = store.remove(scanned.entry()).await.expect("remove");
        assert_eq!(removed, scanned.key() == Asker::of("/a").lookup().key());
    }
    assert_eq!(Asker::of("/a").body(&store).await, None);
    assert_eq!(Asker::of("/b").body(&store).await, Some(Bytes::from("new")));
    for number in 0..1000 {
        Asker::of(&format!("/{number}")).put(&store, &Page::new("")).await;
    }
    let some = walk(&store, 1).await.expect("it could be walked before");
    assert!((1..1000).contains(&some.len()), "{}", some.len());
}
