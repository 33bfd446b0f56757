use super::fixture::{Page, Visitor, kept_fields, read};
use crate::storage::{CacheManager, Entry};

fn speaker(language: &str) -> Visitor {
    Visitor::of("/").with("accept-language", language)
}

fn versioned(body: &str, version: &str) -> Page {
    Page::new(body).with("x-version", version.as_bytes())
}

async fn found<M: CacheManager>(store: &M, visitor: &Visitor) -> Entry<M::Handle> {
    visitor.entry(store).await.expect("the response is found")
}

/// Gives `entry` a head of this version.
async fn update<M: CacheManager>(
    store: &M,
    visitor: &Visitor,
    entry: &Entry<M::Handle>,
    version: &str,
) -> bool {
    let vary = entry.response().head().headers().contains_key("vary");
    let page = versioned("", version);
    let page = if vary { page.vary("accept-language") } else { page };
    store.update(entry, visitor.head_of(store, &page)).await.expect("update")
}

async fn version<M: CacheManager>(store: &M, visitor: &Visitor) -> Option<String> {
    let entry = visitor.entry(store).await?;
    let value = entry.response().head().headers().get("x-version")?.clone();
    Some(value.to_str().expect("a version").to_owned())
}

/// An updated entry has the new head and no field of the old, and the body and trailers it had.
/// Feature head-only-update.
pub async fn update_replaces_the_head_only<M: CacheManager>(make: impl AsyncFn() -> M) {
    let (store, visitor) = (make().await, Visitor::of("/"));
    let page = versioned("hello", "1").with("x-old", b"1").trailer("x-sum", b"1");
    visitor.put(&store, &page).await;
    let new = visitor.head_of(&store, &versioned("", "2").with("x-new", b"2"));
    let entry = found(&store, &visitor).await;
    assert!(store.update(&entry, new.clone()).await.expect("update"));
    let entry = found(&store, &visitor).await;
    assert_eq!(kept_fields(entry.response().head()), kept_fields(&new));
    assert_eq!(entry.response().length(), 5);
    assert_eq!(read(&store, &entry).await, (page.bytes(), page.trailers().cloned()));
    assert!(update(&store, &visitor, &entry, "3").await, "what was just found is there");
    assert_eq!(version(&store, &visitor).await.as_deref(), Some("3"));
}

/// An updated variant leaves the other variants, and the response without `Vary`, as they are.
pub async fn update_of_a_variant_leaves_its_siblings<M: CacheManager>(make: impl AsyncFn() -> M) {
    let (store, plain) = (make().await, Visitor::of("/"));
    plain.put(&store, &versioned("plain", "1")).await;
    for language in ["en", "de"] {
        let page = versioned(language, "1").vary("accept-language");
        speaker(language).put(&store, &page).await;
    }
    let english = speaker("en");
    assert!(update(&store, &english, &found(&store, &english).await, "2").await);
    assert_eq!(version(&store, &english).await.as_deref(), Some("2"));
    assert_eq!(english.bodies(&store).await, ["en", "plain"]);
    assert_eq!(version(&store, &speaker("de")).await.as_deref(), Some("1"));
    assert!(update(&store, &plain, &found(&store, &plain).await, "3").await);
    assert_eq!(version(&store, &plain).await.as_deref(), Some("3"));
    assert_eq!(version(&store, &english).await.as_deref(), Some("2"));
    assert_eq!(english.bodies(&store).await, ["en", "plain"]);
}

/// An entry that another response has replaced is not updated.
/// Feature concurrent-updates.
pub async fn update_is_refused_after_another_put<M: CacheManager>(make: impl AsyncFn() -> M) {
    let (store, visitor) = (make().await, Visitor::of("/"));
    visitor.put(&store, &versioned("hello", "1")).await;
    let old = found(&store, &visitor).await;
    visitor.put(&store, &versioned("hello", "2")).await;
    assert!(!update(&store, &visitor, &old, "3").await);
    assert_eq!(version(&store, &visitor).await.as_deref(), Some("2"));
}

/// An entry that was deleted is not updated, also if the same was stored again.
pub async fn update_is_refused_after_a_delete<M: CacheManager>(make: impl AsyncFn() -> M) {
    let store = make().await;
    for (visitor, page) in [
        (Visitor::of("/"), versioned("hello", "1")),
        (speaker("en"), versioned("hello", "1").vary("accept-language")),
    ] {
        visitor.put(&store, &page).await;
        let old = found(&store, &visitor).await;
        store.delete(visitor.lookup().key()).await.expect("delete");
        assert!(!update(&store, &visitor, &old, "2").await);
        assert_eq!(version(&store, &visitor).await, None);
        visitor.put(&store, &page).await;
        assert!(!update(&store, &visitor, &old, "2").await);
        assert_eq!(version(&store, &visitor).await.as_deref(), Some("1"));
        let old = found(&store, &visitor).await;
        store.clear().await.expect("clear");
        assert!(!update(&store, &visitor, &old, "2").await);
        assert_eq!(version(&store, &visitor).await, None);
    }
}

/// Of two updates of one entry, the second is refused.
pub async fn update_is_refused_after_another_update<M: CacheManager>(make: impl AsyncFn() -> M) {
    let (store, visitor) = (make().await, Visitor::of("/"));
    visitor.put(&store, &versioned("hello", "1")).await;
    let (one, two) = (found(&store, &visitor).await, found(&store, &visitor).await);
    assert!(update(&store, &visitor, &one, "2").await);
    assert!(!update(&store, &visitor, &two, "3").await);
    assert_eq!(version(&store, &visitor).await.as_deref(), Some("2"));
    assert_eq!(visitor.bodies(&store).await, ["hello"]);
}

/// A removed entry is gone, and its siblings are not.
pub async fn remove_takes_one_entry<M: CacheManager>(make: impl AsyncFn() -> M) {
    let (store, plain) = (make().await, Visitor::of("/"));
    plain.put(&store, &Page::new("plain")).await;
    for language in ["en", "de"] {
        speaker(language).put(&store, &Page::new(language).vary("accept-language")).await;
    }
    let english = speaker("en");
    assert!(store.remove(&found(&store, &english).await).await.expect("remove"));
    assert_eq!(english.bodies(&store).await, ["plain"]);
    assert_eq!(speaker("de").bodies(&store).await, ["de", "plain"]);
    assert!(store.remove(&found(&store, &plain).await).await.expect("remove"));
    assert_eq!(plain.body(&store).await, None);
    assert_eq!(speaker("de").bodies(&store).await, ["de"]);
    plain.put(&store, &Page::new("again")).await;
    assert_eq!(plain.bodies(&store).await, ["again"]);
    let alone = Visitor::of("/alone");
    alone.put(&store, &Page::new("alone")).await;
    assert!(store.remove(&found(&store, &alone).await).await.expect("remove"));
    assert_eq!(alone.body(&store).await, None);
    alone.put(&store, &Page::new("again")).await;
    assert_eq!(alone.bodies(&store).await, ["again"]);
}

/// An entry that is no longer the one that was found is not removed: not after another response,
/// an update, a delete or a remove.
pub async fn remove_is_refused_for_another_entry<M: CacheManager>(make: impl AsyncFn() -> M) {
    let (store, visitor) = (make().await, speaker("en"));
    for page in [versioned("hello", "1"), versioned("hello", "1").vary("accept-language")] {
        visitor.put(&store, &page).await;
        let old = found(&store, &visitor).await;
        visitor.put(&store, &page).await;
        assert!(!store.remove(&old).await.expect("remove"), "after another put");
        let old = found(&store, &visitor).await;
        assert!(update(&store, &visitor, &old, "2").await);
        assert!(!store.remove(&old).await.expect("remove"), "after an update");
        assert_eq!(version(&store, &visitor).await.as_deref(), Some("2"));
        let old = found(&store, &visitor).await;
        assert!(store.remove(&old).await.expect("remove"));
        assert!(!store.remove(&old).await.expect("remove"), "after a remove");
        visitor.put(&store, &page).await;
        let old = found(&store, &visitor).await;
        store.delete(visitor.lookup().key()).await.expect("delete");
        assert!(!store.remove(&old).await.expect("remove"), "after a delete");
        visitor.put(&store, &page).await;
        assert!(!store.remove(&old).await.expect("remove"), "after a delete and another put");
        assert_eq!(visitor.bodies(&store).await, ["hello"]);
        store.clear().await.expect("clear");
    }
}
