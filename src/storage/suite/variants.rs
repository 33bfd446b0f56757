use super::fixture::{Page, Visitor, read};
use crate::{
    policy::{Policy, Reason},
    storage::CacheManager,
};

fn speaker(language: &str) -> Visitor {
    Visitor::of("/").with("accept-language", language)
}

fn page(body: &str) -> Page {
    Page::new(body).vary("accept-language")
}

/// Each request finds the variant that was made for its fields.
pub async fn variants_lie_side_by_side<M: CacheManager>(make: impl AsyncFn() -> M) {
    let store = make().await;
    let languages = ["en", "de", "en, de", "de, en", "e", "n"];
    for language in languages {
        speaker(language).put(&store, &page(language)).await;
    }
    for language in languages {
        assert_eq!(speaker(language).bodies(&store).await, [language]);
    }
    assert_eq!(speaker("fr").body(&store).await, None);
    assert_eq!(Visitor::of("/").body(&store).await, None);
}

/// A new response for one variant leaves the others as they are.
pub async fn a_variant_replaces_only_itself<M: CacheManager>(make: impl AsyncFn() -> M) {
    let store = make().await;
    for (language, body) in [("en", "hello"), ("de", "hallo"), ("en", "good day")] {
        speaker(language).put(&store, &page(body)).await;
    }
    assert_eq!(speaker("en").bodies(&store).await, ["good day"]);
    assert_eq!(speaker("de").bodies(&store).await, ["hallo"]);
}

/// A request without a field, with an empty one, and with two whose text runs together are three
/// variants.
pub async fn absent_is_not_empty<M: CacheManager>(make: impl AsyncFn() -> M) {
    let store = make().await;
    let asks = |a: Option<&str>, b: Option<&str>| {
        let visitor = Visitor::of("/");
        let visitor = if let Some(a) = a { visitor.with("x-a", a) } else { visitor };
        if let Some(b) = b { visitor.with("x-b", b) } else { visitor }
    };
    let visitors = [
        asks(None, None),
        asks(Some(""), None),
        asks(None, Some("")),
        asks(Some(""), Some("")),
        asks(Some("x"), Some("yz")),
        asks(Some("xy"), Some("z")),
        asks(Some("xyz"), None),
    ];
    for (n, visitor) in visitors.iter().enumerate() {
        visitor.put(&store, &Page::new(&n.to_string()).vary("x-a, x-b")).await;
    }
    for (n, visitor) in visitors.iter().enumerate() {
        assert_eq!(visitor.bodies(&store).await, [n.to_string()]);
    }
}

/// A resource whose `Vary` changes keeps what was stored under the one before.
pub async fn older_name_sets_are_still_found<M: CacheManager>(make: impl AsyncFn() -> M) {
    let store = make().await;
    let visitor = |a: &str, b: &str| Visitor::of("/").with("x-a", a).with("x-b", b);
    for round in 0..3 {
        visitor("1", "1").put(&store, &Page::new(&format!("a{round}")).vary("x-a")).await;
        visitor("2", "2").put(&store, &Page::new(&format!("b{round}")).vary("x-b")).await;
        assert_eq!(visitor("1", "3").bodies(&store).await, [format!("a{round}")]);
        assert_eq!(visitor("3", "2").bodies(&store).await, [format!("b{round}")]);
        assert_eq!(visitor("3", "3").body(&store).await, None);
    }
}

/// If a request selects several responses by several name sets, the set that was stored last is the
/// first of them.
pub async fn the_newest_name_set_comes_first<M: CacheManager>(make: impl AsyncFn() -> M) {
    let store = make().await;
    let visitor = Visitor::of("/").with("x-a", "1").with("x-b", "1");
    visitor.put(&store, &Page::new("a").vary("x-a")).await;
    visitor.put(&store, &Page::new("b").vary("x-b")).await;
    assert_eq!(visitor.bodies(&store).await, ["b", "a"]);
    visitor.put(&store, &Page::new("a again").vary("x-a")).await;
    assert_eq!(visitor.bodies(&store).await, ["a again", "b"]);
}

/// A response without `Vary` is one more name set, and neither hides nor replaces variants.
pub async fn a_response_without_vary_lies_beside_variants<M: CacheManager>(
    make: impl AsyncFn() -> M,
) {
    let store = make().await;
    Visitor::of("/").put(&store, &Page::new("plain")).await;
    speaker("en").put(&store, &page("hello")).await;
    assert_eq!(speaker("en").bodies(&store).await, ["hello", "plain"]);
    assert_eq!(speaker("de").bodies(&store).await, ["plain"]);
    Visitor::of("/").put(&store, &Page::new("plainer")).await;
    assert_eq!(speaker("en").bodies(&store).await, ["plainer", "hello"]);
}

/// Over the number that the policy allows, the variant that was stored longest ago goes.
pub async fn too_many_variants_evict_the_oldest<M: CacheManager>(make: impl AsyncFn() -> M) {
    let store = make().await;
    let speaker = |language| speaker(language).by(Policy::shared().max_variants(3));
    // Storing it again makes `en` the newest.
    for language in ["en", "de", "fr", "en", "it", "es"] {
        speaker(language).put(&store, &page(language)).await;
    }
    for language in ["en", "it", "es"] {
        assert_eq!(speaker(language).bodies(&store).await, [language]);
    }
    for language in ["de", "fr"] {
        assert_eq!(speaker(language).body(&store).await, None, "{language}");
    }
}

/// A store's key tells one user's credentials from another's, and contains neither.
pub async fn credentials_are_not_in_the_key<M: CacheManager>(make: impl AsyncFn() -> M) {
    let store = make().await;
    let user = |token: &str| {
        Visitor::of("/").by(Policy::private()).with("authorization", &format!("Bearer {token}"))
    };
    let page = |body: &str| Page::new(body).vary("authorization");
    for token in ["token-of-ann", "token-of-bob"] {
        let (placement, _) = user(token).place(store.secret(), &page(token));
        let holds = |key: &[u8]| key.windows(token.len()).any(|part| part == token.as_bytes());
        assert!(!holds(placement.variant().as_bytes()) && !holds(placement.key().as_bytes()));
        user(token).put(&store, &page(token)).await;
    }
    assert_eq!(user("token-of-ann").bodies(&store).await, ["token-of-ann"]);
    assert_eq!(user("token-of-bob").bodies(&store.clone()).await, ["token-of-bob"]);
    assert_eq!(user("token-of-eve").body(&store).await, None);
}

/// Where a request selects nothing, what was stored last for others is found as such, if it may
/// still be good.
pub async fn other_variants_are_found_as_others<M: CacheManager>(make: impl AsyncFn() -> M) {
    let store = make().await;
    for language in ["en", "de", "fr", "it", "nl"] {
        let tagged = page(language).with("etag", format!("\"{language}\"").as_bytes());
        speaker(language).put(&store, &tagged).await;
    }
    let found = speaker("sv").find(&store).await;
    assert!(found.responses().is_empty(), "the request selects none");
    assert_eq!(speaker("sv").reason(&found), Reason::VaryMiss);
    for (index, language) in ["nl", "it", "fr", "de"].into_iter().enumerate() {
        let entry = found.clone().into_entry(index).expect("the last four are known");
        assert_eq!(read(&store, &entry).await.0, language);
    }
    assert!(found.into_entry(4).is_none());
    // Whoever has its own variant is shown no other.
    assert_eq!(speaker("nl").bodies(&store).await, ["nl"]);
}

/// A request that the policy tells apart selects neither what is for all nor what is for others.
pub async fn who_is_told_apart_selects_its_own<M: CacheManager>(make: impl AsyncFn() -> M) {
    let store = make().await;
    let class = |class: &'static str| {
        Visitor::of("/").by(Policy::shared().key(move |_| Ok(Some(class.to_owned()))))
    };
    Visitor::of("/").put(&store, &Page::new("for all")).await;
    assert_eq!(class("a").body(&store).await, None);
    class("a").put(&store, &Page::new("for a")).await;
    assert_eq!(class("b").body(&store).await, None);
    class("b").put(&store, &Page::new("for b")).await;
    for (name, body) in [("a", "for a"), ("b", "for b")] {
        assert_eq!(class(name).bodies(&store).await, [body]);
    }
    assert_eq!(Visitor::of("/").bodies(&store).await, ["for all"]);
    store.delete(Visitor::of("/").lookup().key()).await.expect("delete");
    assert_eq!(class("a").body(&store).await, None);
}
