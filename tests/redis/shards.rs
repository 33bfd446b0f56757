//! Redis Cluster: keys are laid out for it, one shard that has all of them is a server like others, and
//! one of several is told.

use larder::{CacheManager, Policy, Purge};

use crate::{
    nodes::eventually,
    page::{Ask, noise},
    server::{Port, Server, keys, options, own, say, user},
    support::{cache_over, ok},
};

const SLOTS: u64 = 16_384;

/// A server that is a part of a cluster, and the port at which the others reach it.
fn shard() -> Option<(Server, Port)> {
    let port = Port::free();
    let number = port.number.to_string();
    Some((own(&[("cluster-enabled", "yes"), ("cluster-port", &number)])?, port))
}

/// So many, each with its part of the keys.
async fn cluster(count: u64) -> Option<Vec<(Server, Port)>> {
    let mut shards = Vec::new();
    for n in 0..count {
        let (server, bus) = shard()?;
        let (first, last) = (SLOTS * n / count, SLOTS * (n + 1) / count - 1);
        let (first, last) = (first.to_string(), last.to_string());
        let url = server.url();
        say(&url, &[b"CLUSTER", b"ADDSLOTSRANGE", first.as_bytes(), last.as_bytes()]);
        shards.push((server, bus));
    }
    let port = |url: &str| url.trim_end_matches('/').rsplit(':').next().unwrap().to_owned();
    let first = shards[0].0.url();
    for (server, bus) in &shards[1..] {
        let (port, bus) = (port(&server.url()), bus.number.to_string());
        say(&first, &[b"CLUSTER", b"MEET", b"127.0.0.1", port.as_bytes(), bus.as_bytes()]);
    }
    for (server, _) in &shards {
        let (url, size) = (server.url(), format!("cluster_size:{count}\r"));
        eventually(async || {
            let info = say(&url, &[b"CLUSTER", b"INFO"]);
            info.contains("cluster_state:ok") && info.contains(&size)
        })
        .await;
    }
    Some(shards)
}

fn slot(url: &str, key: &str) -> u64 {
    say(url, &[b"CLUSTER", b"KEYSLOT", key.as_bytes()]).parse().expect("a number")
}

/// All keys of a response are in one slot, also those of a body in many pieces, and so are those of the
/// log: no command needs keys of two.
#[tokio::test]
async fn one_shard_with_all_keys_is_a_server_like_others() {
    let Some(shards) = cluster(1).await else { return };
    let url = shards[0].0.url();
    let (a, b) = (options("site").open(&url).unwrap(), options("site").open(&url).unwrap());
    a.ready().await.unwrap();
    for size in [8 << 10, 100 << 10, 700 << 10] {
        let (path, body) = (format!("/{size}"), noise(1, size));
        Ask::new(&path).put(&a, &[], body.clone()).await.unwrap();
        assert!(Ask::new(&path).body(&b).await.unwrap().unwrap() == body);
        let [record] = &keys(&url, "site", "{*}:i")[..] else { panic!("one record") };
        let all = keys(&url, "site", "{????????????????????????????????}*");
        assert_eq!(all.len(), if size < 16 << 10 { 1 } else { 1 + size.div_ceil(256 << 10) });
        assert!(all.iter().all(|key| slot(&url, key) == slot(&url, record)), "{all:?}");
        let found = Ask::new(&path).find(&b).await.unwrap();
        assert!(b.update(&found, found.response().head().clone()).await.unwrap());
        let found = Ask::new(&path).find(&a).await.unwrap();
        assert!(a.remove(&found).await.unwrap());
        Ask::new(&path).put(&b, &[], body).await.unwrap();
        b.delete(&b.locate(&found).unwrap().0).await.unwrap();
        assert!(Ask::new(&path).find(&a).await.is_none());
        // What somebody may still be reading.
        for key in keys(&url, "site", "{????????????????????????????????}*") {
            say(&url, &[b"DEL", key.as_bytes()]);
        }
    }
    let log = keys(&url, "site", "{purge}*");
    assert_eq!(log.len(), 2, "{log:?}");
    assert_eq!(slot(&url, &log[0]), slot(&url, &log[1]));
    Ask::new("/").put(&a, &[], "x").await.unwrap();
    a.purge_log().append(Purge::everything());
    a.purge_log().sync().await.unwrap();
    assert!(Ask::new("/").find(&b).await.is_none());
    Ask::new("/").put(&a, &[], "x").await.unwrap();
    b.clear().await.unwrap();
    assert!(Ask::new("/").find(&a).await.is_none());
}

/// One of several shards has a part of the keys: that is an error at start, and where a user may not be
/// told of the cluster an error for each key that is elsewhere, and never taken for a miss.
#[tokio::test]
async fn one_shard_of_several_is_told() {
    let Some(shards) = cluster(3).await else { return };
    for (shard, _) in &shards {
        let store = options("site").open(&shard.url()).unwrap();
        let error = store.ready().await.unwrap_err().to_string();
        assert!(error.contains("shard of a cluster"), "{error}");
        assert!(store.state().to_string().contains("shard of a cluster"), "{}", store.state());
        assert!(Ask::new("/").try_find(&store).await.is_err());
    }
    let place = slot(&shards[0].0.url(), "site:{purge}");
    let url = shards[usize::try_from(place * 3 / SLOTS).unwrap()].0.url();
    let store = options("site").open(&user(&url)).unwrap();
    store.ready().await.unwrap();
    let (mut here, mut elsewhere) = (0, 0);
    for n in 0..30 {
        let (path, body) = (format!("/{n}"), noise(n, 300 << 10));
        let ask = Ask::new(&path);
        match ask.put(&store, &[], body.clone()).await {
            Ok(()) => {
                assert!(ask.body(&store).await.unwrap().unwrap() == body);
                here += 1;
            }
            Err(error) => {
                assert!(error.to_string().contains("MOVED"), "{error}");
                let error = ask.try_find(&store).await.err().unwrap().to_string();
                assert!(error.contains("MOVED"), "{error}");
                elsewhere += 1;
            }
        }
    }
    assert!(here > 0 && elsewhere > 0, "{here} here, {elsewhere} elsewhere");
    // To a client each is a page like others: a store that fails is a miss.
    let cache = cache_over(store, Policy::shared());
    cache.origin.on(|request| ok().cache_control("max-age=600").text(request.uri().path()));
    let mut hits = 0;
    for n in 0..30 {
        let path = format!("/page/{n}");
        for _ in 0..2 {
            let answer = cache.get(&path).await;
            assert_eq!(answer.text(), path);
            cache.layer.handle().sync().await.unwrap();
            hits += u32::from(answer.cache.is_hit());
        }
    }
    assert!(0 < hits && hits < 30, "{hits} hits");
}
