//! Layers round layers, and what belongs to one user: scenarios 2.9 and 2.16.

use std::time::Duration;

use larder::{CacheLayer, MemoryManager, Policy};
use tower::{Layer, Service};

use crate::{
    server::{keys, namespace, options, shared},
    support::{Answer, Origin, cache_over, get, ok},
};

/// Scenario 2.9: a layer with memory before a handler that asks another service through a layer with
/// Redis. `Cache-Status` has one member for each, the one next to the origin first.
#[tokio::test]
async fn two_layers_say_so_in_order() {
    let Some(url) = shared() else { return };
    let store = options(&namespace()).open(url).unwrap();
    let origin = Origin::new();
    origin.on(|_| ok().cache_control("max-age=60").text("hello"));
    let patient = Duration::from_secs(10);
    let upstream = CacheLayer::new(store.clone())
        .policy(Policy::shared())
        .store_timeout(patient)
        .cache_status_header("upstream");
    let server = CacheLayer::new(MemoryManager::new(1 << 20))
        .policy(Policy::shared())
        .cache_status_header("server");
    let answers = async |server: &CacheLayer<MemoryManager>| {
        let mut service = server.layer(upstream.layer(origin.clone()));
        Answer::of(service.call(get("/")).await.unwrap()).await
    };
    let cold = answers(&server).await;
    upstream.handle().sync().await.unwrap();
    let status = cold.lines("cache-status").concat();
    assert!(status.starts_with(b"upstream; fwd=uri-miss"), "{}", status.escape_ascii());
    let members = |answer: &Answer| {
        let lines = answer
            .lines("cache-status")
            .iter()
            .map(|line| String::from_utf8_lossy(line).into_owned())
            .collect::<Vec<_>>();
        let all = lines.join(", ");
        all.split(", ")
            .map(|member| member.split(';').take(2).collect::<String>())
            .collect::<Vec<_>>()
    };
    assert_eq!(members(&cold), ["upstream fwd=uri-miss", "server fwd=uri-miss"]);
    assert_eq!(members(&answers(&server).await), ["upstream fwd=uri-miss", "server hit"]);
    server.handle().clear().await.unwrap();
    assert_eq!(members(&answers(&server).await), ["upstream hit", "server fwd=uri-miss"]);
    assert_eq!(origin.calls(), 1);
}

/// Scenario 2.16: what is for one user is not in Redis, by whatever it says so, and another user of
/// another node gets an answer of their own.
#[tokio::test]
async fn what_is_for_one_user_is_not_in_redis() {
    let Some(url) = shared() else { return };
    let namespace = namespace();
    let nodes = [(); 2].map(|()| {
        let cache = cache_over(options(&namespace).open(url).unwrap(), Policy::shared());
        cache.origin.on(|request| {
            let user = request.headers()["x-user"].to_str().unwrap().to_owned();
            let reply = match request.uri().path() {
                "/private" => ok().cache_control("private, max-age=60"),
                "/cookie" => ok().cache_control("max-age=60").header("set-cookie", &user),
                "/malformed" => ok().cache_control("private=, max-age=60"),
                "/vary" => ok().cache_control("max-age=60").header("vary", "cookie"),
                _ => ok().cache_control("max-age=60"),
            };
            reply.text(user)
        });
        cache.layered(|layer| layer.store_timeout(Duration::from_secs(10)))
    });
    for path in ["/private", "/cookie", "/malformed", "/vary", "/token"] {
        for (n, user) in ["ann", "bob", "ann", "eve"].into_iter().enumerate() {
            let node = &nodes[n % 2];
            let token = format!("Bearer {user}");
            let cookie = format!("session={user}");
            let fields = match path {
                "/token" => [("x-user", user), ("authorization", &token)],
                _ => [("x-user", user), ("cookie", &cookie)],
            };
            let answer = node.get_with(path, &fields).await;
            assert_eq!(answer.text(), user, "{path}");
            node.layer.handle().sync().await.unwrap();
        }
    }
    assert!(keys(url, &namespace, "*:i").is_empty(), "nothing of it is stored");
    nodes[0].get_with("/public", &[("x-user", "ann")]).await;
    nodes[0].layer.handle().sync().await.unwrap();
    assert_eq!(nodes[1].get_with("/public", &[("x-user", "bob")]).await.assert_hit().text(), "ann");
}
