use super::fixture::{Page, Visitor};
use crate::{
    policy::{Policy, Reason},
    storage::CacheManager,
};

/// Responses whose keys differ in any part never answer for each other.
pub async fn resources_are_kept_apart<M: CacheManager>(make: impl AsyncFn() -> M) {
    let store = make().await;
    let mut visitors: Vec<Visitor> = [
        "http://a.example/",
        "https://a.example/",
        "http://b.example/",
        "http://a.example:8080/",
        "http://a.example/?",
        "http://a.example/?q",
        "http://a.example/q",
        "http://a.example/Q",
        "http://a.example//",
        "http://a.example/%71",
        "http://a.example/a.example/",
    ]
    .map(Visitor::of)
    .into();
    for policy in [
        Policy::shared().namespace(""),
        Policy::shared().namespace("n"),
        Policy::shared().namespace("a.example"),
        Policy::shared().partition(|_| Some(String::new())),
        Policy::shared().partition(|_| Some("n".to_owned())),
        Policy::shared().namespace("n").partition(|_| Some("n".to_owned())),
    ] {
        visitors.push(Visitor::of("/").by(policy));
    }
    let pages: Vec<Page> = (0..visitors.len()).map(|n| Page::new(&n.to_string())).collect();
    for (visitor, page) in visitors.iter().zip(&pages) {
        assert_eq!(visitor.body(&store).await, None, "{visitor:?}");
        visitor.put(&store, page).await;
    }
    for (visitor, page) in visitors.iter().zip(&pages) {
        assert_eq!(visitor.body(&store).await, Some(page.bytes()), "{visitor:?}");
    }
}

/// Where there is no index there is nothing: not before the first response, not after a delete.
pub async fn an_empty_store_has_nothing<M: CacheManager>(make: impl AsyncFn() -> M) {
    let (store, visitor) = (make().await, Visitor::of("/"));
    assert_eq!(visitor.reason(&visitor.find(&store).await), Reason::UriMiss);
    visitor.put(&store, &Page::new("hello")).await;
    let other = Visitor::of("/other");
    assert_eq!(other.reason(&other.find(&store).await), Reason::UriMiss);
    store.delete(visitor.lookup().key()).await.expect("delete");
    assert_eq!(visitor.reason(&visitor.find(&store).await), Reason::UriMiss);
    let writer = visitor.begin(&store, &Page::new("hello")).await;
    assert_eq!(visitor.reason(&visitor.find(&store).await), Reason::UriMiss);
    drop(writer);
    assert_eq!(visitor.reason(&visitor.find(&store).await), Reason::UriMiss);
}

/// A resource of which only other variants are stored is told from one of which nothing is.
pub async fn another_variant_is_not_nothing<M: CacheManager>(make: impl AsyncFn() -> M) {
    let store = make().await;
    let english = Visitor::of("/").with("accept-language", "en");
    let german = Visitor::of("/").with("accept-language", "de");
    english.put(&store, &Page::new("hello").vary("accept-language")).await;
    assert_eq!(german.reason(&german.find(&store).await), Reason::VaryMiss);
}
