//! How much of a store one user may take.

use larder::{BoxManager, CacheManager, MemoryManager, storage::Tiered};

use super::users::{by_user, of};
use crate::support::{Cache, cache_over, get, ok, request};

const QUOTA: u64 = 1 << 20;

/// An origin whose answers are as large as their path says, and say whose they are.
fn cache<M: CacheManager>(manager: M) -> Cache<M> {
    let cache = cache_over(manager, by_user().partition_quota(QUOTA));
    cache.origin.on(|request| {
        let user = request.extensions().get::<super::users::User>().map_or("nobody", |user| user.0);
        let path = request.uri().path();
        let size = if path.starts_with("/large") { 20 << 10 } else { 100 };
        let reply = ok().cache_control("max-age=600");
        let reply = if path.contains("vary") { reply.header("vary", "x-a") } else { reply };
        reply.text(format!("{user} {path} {}", "x".repeat(size)))
    });
    cache
}

async fn ask<M: CacheManager>(cache: &Cache<M>, user: &'static str, path: &str) -> bool {
    let answer = cache.send(of(user, get(path))).await;
    assert!(answer.text().starts_with(&format!("{user} {path} ")), "{user} {path}");
    assert_eq!(answer.field("cache-control"), Some("private, max-age=600"));
    answer.cache.is_hit()
}

async fn two_users<M: CacheManager>(manager: M) {
    let cache = cache(manager.clone());
    for page in 0..100 {
        for user in ["ada", "bob"] {
            assert!(!ask(&cache, user, &format!("/{page}")).await);
        }
    }
    // Ada fills up what is hers, and more than that.
    for page in 0..200 {
        ask(&cache, "ada", &format!("/large/{page}")).await;
    }
    manager.sync().await.unwrap();
    let asked = cache.origin.calls();
    for page in 0..100 {
        assert!(ask(&cache, "bob", &format!("/{page}")).await, "{page}");
        assert!(ask(&cache, "ada", &format!("/{page}")).await, "{page}");
    }
    assert_eq!(cache.origin.calls(), asked);
    let mut hits = 0;
    for page in 0..200 {
        hits += usize::from(ask(&cache, "ada", &format!("/large/{page}")).await);
    }
    // A file takes whole blocks.
    assert!((20..=50).contains(&hits), "{hits} of 20 KiB each");
}

/// Scenario 2.17: two users, a hundred pages each, no crossing; whoever is over the quota gets nothing
/// new stored, and takes nothing from anybody.
#[tokio::test]
async fn a_user_over_the_quota_hurts_nobody() {
    let memory = || MemoryManager::new(64 << 20);
    let manager = memory();
    two_users(manager.clone()).await;
    assert!(manager.quota_refused() >= 300, "{}", manager.quota_refused());
    two_users(BoxManager::new(memory())).await;
    two_users(Tiered::new(memory(), memory())).await;
    #[cfg(feature = "disk")]
    {
        let scratch = crate::support::scratch::Scratch::new();
        two_users(larder::DiskManager::open(scratch.path()).expect("a directory")).await;
    }
}

/// What has gone counts no more: replaced, invalidated with all its variants, purged, or evicted.
#[tokio::test]
async fn what_has_gone_gives_its_room_back() {
    let manager = MemoryManager::with_max_entry_bytes(16 << 20, 1 << 20);
    let cache = cache(manager.clone());
    for round in 0..20 {
        for variant in 0..20 {
            let mut request = of("ada", get("/large/vary"));
            request.headers_mut().append("x-a", variant.to_string().parse().unwrap());
            cache.send(request).await;
            ask(&cache, "ada", &format!("/large/{variant}")).await;
        }
        assert_eq!(manager.quota_refused(), 0, "round {round}");
        // Each fourth round leaves it to the clock to make all of it stale, and to be replaced.
        match round % 4 {
            0 => cache.clock.advance_secs(601),
            1 => cache.layer.handle().clear().await.map(drop).unwrap(),
            _ => {
                cache.send(of("ada", request("POST", "/large/vary"))).await;
                for page in 0..20 {
                    cache.send(of("ada", request("POST", &format!("/large/{page}")))).await;
                }
            }
        }
    }
    // Others push out what she has: then she may store again.
    let small = cache_over(MemoryManager::new(4 << 20), by_user().partition_quota(QUOTA));
    small.origin.on(|_| ok().cache_control("max-age=600").text("x".repeat(20 << 10)));
    for page in 0..40 {
        small.send(of("ada", get(&format!("/{page}")))).await;
    }
    for page in 0..2000 {
        small.send(get(&format!("/{page}"))).await;
        small.send(get(&format!("/{page}"))).await;
    }
    for page in 100..120 {
        small.send(of("ada", get(&format!("/{page}")))).await.cache.is_stored();
    }
    small.send(of("ada", get("/119"))).await.assert_hit();
}
