//! Bounds of the store in memory.

use bytes::Bytes;
use larder::{CacheManager, MemoryManager, Policy, storage::suite::block_on};

use crate::{
    counting::{allocations, live},
    exchange::{Visitor, ok},
    support,
};

const MIB: u64 = 1 << 20;

/// Scenario 0.13, through the layer.
/// Scenario 3.11.
#[tokio::test]
async fn ten_thousand_large_responses_never_exceed_the_limit() {
    let manager = MemoryManager::new(100 * MIB);
    let cache = support::cache_over(manager.clone(), Policy::shared());
    let body = Bytes::from(vec![b'x'; MIB as usize]);
    cache.origin.on(move |_| {
        support::ok().cache_control("max-age=60").body(http_body_util::Full::new(body.clone()))
    });
    let before = live();
    let mut most = 0;
    for n in 0..10_000 {
        let path = format!("/{n}");
        cache.get(&path).await.assert_forwarded();
        assert!(manager.weight() <= 100 * MIB, "{}", manager.weight());
        assert!(live() - before <= 101 * MIB as isize + (n << 10), "{}", live() - before);
        most = most.max(manager.len());
    }
    assert!(most >= 95, "{most} of 100 fit");
}

/// Scenario 4.3, shared.
#[test]
fn a_shared_cache_counts_variants() {
    let manager = MemoryManager::new(64 * MIB);
    block_on(async {
        for n in 0..10_000 {
            let visitor = Visitor::of("/").with("accept", &n.to_string());
            visitor.put(&manager, ok().header("vary", "accept"), "hello").await.unwrap();
        }
    });
    assert_eq!((manager.len(), manager.variants_evicted()), (1 + 64, 10_000 - 64));
    for n in 0..10_000 {
        let entry = Visitor::of("/").with("accept", &n.to_string()).entry(&manager);
        assert_eq!(entry.is_some(), n >= 10_000 - 64, "{n}");
    }
}

fn user(n: usize) -> Visitor {
    Visitor::of("/user").by(Policy::private()).with("authorization", &format!("Bearer {n}"))
}

async fn put_user(manager: &MemoryManager, n: usize) -> Result<(), larder::Error> {
    user(n).put(manager, ok().header("vary", "authorization"), vec![b'x'; 4096]).await
}

/// Scenario 4.3, private: a quarter of the store is the bound, not a number.
#[test]
fn a_private_cache_keeps_a_variant_for_each_user() {
    let manager = MemoryManager::new(256 * MIB);
    block_on(async {
        for n in 0..10_000 {
            put_user(&manager, n).await.unwrap();
        }
    });
    assert!((0..10_000).all(|n| user(n).entry(&manager).is_some()));
    assert_eq!((manager.variants_evicted(), manager.variants_refused()), (0, 0));
}

#[test]
fn variants_over_their_share_are_refused_and_counted() {
    let manager = MemoryManager::new(4 * MIB);
    block_on(async {
        let mut kept = 0;
        for n in 0..1000 {
            match put_user(&manager, n).await {
                Ok(()) => kept += 1,
                Err(error) => assert!(error.is_refused(), "{error}"),
            }
        }
        assert!((150..=256).contains(&kept), "{kept} of 4 KiB in 1 MiB");
        assert!(manager.weight() <= MIB + MIB / 16, "{}", manager.weight());
        assert_eq!(manager.variants_refused(), 1000 - kept as u64);
        for n in 0..1000 {
            assert_eq!(user(n).entry(&manager).is_some(), n < kept, "{n}");
        }
        // One that is there already takes the place of its own, at the bound too.
        for n in 0..kept {
            put_user(&manager, n).await.unwrap();
        }
        // What is removed gives its share back.
        let gone = user(0).entry(&manager).unwrap();
        assert!(manager.remove(&gone).await.unwrap());
        drop(gone);
        put_user(&manager, 1000).await.unwrap();
        assert!(put_user(&manager, 1001).await.unwrap_err().is_refused());
        // Other resources have the rest.
        Visitor::of("/").put(&manager, ok(), vec![b'x'; 4096]).await.unwrap();
        // A resource that was deleted begins anew.
        manager.delete(user(0).lookup().key()).await.unwrap();
        for n in 0..kept {
            put_user(&manager, n).await.unwrap();
        }
    });
}

/// What no request can find any more takes no room for ever.
#[test]
fn a_response_without_vary_goes_with_its_name_set() {
    let manager = MemoryManager::new(MIB);
    block_on(async {
        Visitor::of("/").put(&manager, ok(), vec![b'x'; 64 << 10]).await.unwrap();
        assert!(manager.weight() > 64 << 10);
        for name in ["a", "b", "c", "d"] {
            Visitor::of("/").put(&manager, ok().header("vary", name), "").await.unwrap();
        }
    });
    assert!(manager.weight() < 16 << 10, "{}", manager.weight());
}

/// A variant that nothing leads to any more is no entry, although it may still lie in memory.
#[test]
fn a_variant_of_a_deleted_resource_is_not_updated() {
    let manager = MemoryManager::new(MIB);
    block_on(async {
        put_user(&manager, 0).await.unwrap();
        let entry = user(0).entry(&manager).unwrap();
        manager.delete(user(0).lookup().key()).await.unwrap();
        let head = entry.response().head().clone();
        assert!(!manager.update(&entry, head).await.unwrap());
        assert!(!manager.remove(&entry).await.unwrap());
    });
}

#[test]
fn no_capacity_is_too_small_or_too_large() {
    block_on(async {
        for capacity in [0, 1, 2, 100, 500] {
            for max_entry in [0, 1, capacity, u64::MAX] {
                let manager = MemoryManager::with_max_entry_bytes(capacity, max_entry);
                assert!(manager.max_entry_bytes() <= capacity / 2);
                for vary in ["", "accept"] {
                    let response = ok().header("vary", vary);
                    let error = Visitor::of("/").put(&manager, response, "").await.unwrap_err();
                    assert!(error.is_too_large(), "{capacity}: {error}");
                    assert!(manager.is_empty() && manager.weight() == 0);
                }
            }
        }
        for (capacity, max_entry) in [(u64::MAX, u64::MAX), (u64::MAX, 0), (u64::MAX, 1 << 40)] {
            let manager = MemoryManager::with_max_entry_bytes(capacity, max_entry);
            Visitor::of("/").put(&manager, ok(), "").await.unwrap();
            assert!(Visitor::of("/").entry(&manager).is_some());
        }
    });
}

/// Fields count as well as bytes: what the store could not hold changes nothing.
#[test]
fn a_head_that_is_too_large_leaves_what_was_there() {
    let large = || ok().header("x-large", "x".repeat(60_000)).header("x-version", "2");
    let manager = MemoryManager::new(50_000);
    block_on(async {
        for vary in ["accept", ""] {
            let visitor = Visitor::of("/");
            let small = ok().header("x-version", "1").header("vary", vary);
            visitor.put(&manager, small, "hello").await.unwrap();
            let large = || large().header("vary", vary);
            assert!(visitor.put(&manager, large(), "").await.unwrap_err().is_too_large());
            let entry = visitor.entry(&manager).unwrap();
            let (_, head) = visitor.place(&manager, large());
            assert!(manager.update(&entry, head).await.unwrap_err().is_too_large());
            let entry = visitor.entry(&manager).unwrap();
            assert_eq!(entry.response().head().headers()["x-version"], "1");
        }
    });
}

/// A writer whose bytes were refused cannot finish without them.
#[test]
fn a_writer_that_was_refused_stays_refused() {
    use larder::storage::EntryWriter;

    let manager = MemoryManager::with_max_entry_bytes(MIB, 10);
    block_on(async {
        let (placement, head) = Visitor::of("/").place(&manager, ok());
        let mut writer = manager.put(placement, head).await.unwrap();
        writer.write(Bytes::from_static(b"12345")).await.unwrap();
        assert!(writer.write(Bytes::from_static(b"678901")).await.unwrap_err().is_too_large());
        assert!(writer.finish(None).await.unwrap_err().is_too_large());
    });
    assert!(manager.is_empty());
}

/// Design: a hit is found without an allocation, but for the keys of variants and for what is unpacked
/// at the first uses.
#[test]
fn a_look_allocates_for_the_keys_of_variants_only() {
    let manager = MemoryManager::new(64 * MIB);
    let at = |n: usize| Visitor::of("/vary").with("accept", &format!("text/{n}"));
    block_on(async {
        Visitor::of("/").put(&manager, ok(), vec![b'x'; 100_000]).await.unwrap();
        for n in 0..60 {
            at(n).put(&manager, ok().header("vary", "accept"), "hello").await.unwrap();
        }
    });
    // What a visitor allocates to ask is the same where nothing is found.
    let other = |n: usize| Visitor::of("/other").with("accept", &format!("text/{n}"));
    for (visitor, other, most) in [(Visitor::of("/"), Visitor::of("/x"), 0), (at(30), other(30), 2)]
    {
        let (nothing, found) = allocations(|| other.find(&manager));
        assert_eq!(found.responses().len(), 0);
        for _ in 0..2 {
            visitor.find(&manager);
        }
        let (count, found) = allocations(|| visitor.find(&manager));
        assert_eq!(found.responses().len(), 1);
        assert!(count <= nothing + most, "{count} allocations, {nothing} for nothing");
    }
}

type Change = (&'static str, fn(&MemoryManager));

fn again(manager: &MemoryManager, vary: &str) {
    let newer = ok().header("x-version", "2").header("vary", vary);
    block_on(Visitor::of("/").put(manager, newer, "newer")).unwrap();
}

/// Promises 1 and 2 of the store's contract: a thread keeps what it asks for again and again, and no
/// change waits for that.
#[test]
fn what_a_thread_keeps_goes_with_its_record() {
    let entry = |manager: &MemoryManager| Visitor::of("/").entry(manager);
    let changes: [Change; 7] = [
        ("put again", |manager| again(manager, "")),
        ("put with Vary", |manager| again(manager, "accept")),
        ("update", |manager| {
            let (_, head) = Visitor::of("/").place(manager, ok().header("x-version", "2"));
            let entry = Visitor::of("/").entry(manager).unwrap();
            assert!(block_on(manager.update(&entry, head)).unwrap());
        }),
        ("remove", |manager| {
            let entry = Visitor::of("/").entry(manager).unwrap();
            assert!(block_on(manager.remove(&entry)).unwrap());
        }),
        ("delete", |manager| {
            block_on(manager.delete(Visitor::of("/").lookup().key())).unwrap();
        }),
        ("clear", |manager| block_on(manager.clear()).unwrap()),
        ("evict", |manager| {
            for n in 0..2000 {
                let other = Visitor::of(&format!("/{n}"));
                block_on(other.put(manager, ok(), vec![b'x'; 2 << 10])).unwrap();
                // What nobody asks for would go instead.
                assert!((0..2).all(|_| other.entry(manager).is_some()));
            }
        }),
    ];
    for (name, change) in changes {
        let before = live();
        let manager = MemoryManager::new(MIB);
        // Another thread keeps it, too.
        let ask = |times: usize| {
            let ask = || (0..times).fold(None, |_, _| entry(&manager));
            std::thread::scope(|scope| (scope.spawn(ask).join().unwrap(), ask()))
        };
        let body = vec![b'x'; 100 << 10];
        block_on(Visitor::of("/").put(&manager, ok().header("x-version", "1"), body)).unwrap();
        let (there, here) = ask(4);
        assert!(there.is_some() && here.is_some());
        drop((there, here));
        let kept = live();
        change(&manager);
        let (there, here) = ask(1);
        for found in [there, here].into_iter().flatten() {
            let version = &found.response().head().headers()["x-version"];
            assert!(version == "2" && name != "remove", "{name}: {version:?}");
        }
        if matches!(name, "remove" | "delete" | "clear") {
            assert!(
                live() < kept - (100 << 10),
                "{name}: {} of {}",
                live() - before,
                kept - before
            );
        }
    }
}

/// What else there is of a resource is not hidden by what a thread keeps of it.
#[test]
fn a_response_with_vary_is_found_beside_one_without() {
    let manager = MemoryManager::new(MIB);
    let find = || Visitor::of("/").find(&manager).responses().len();
    block_on(Visitor::of("/").put(&manager, ok(), "plain")).unwrap();
    assert_eq!([find(), find(), find()], [1, 1, 1]);
    again(&manager, "accept");
    assert_eq!([find(), find(), find()], [2, 2, 2]);
}

/// Scenario 3.11: what is asked for is used, though the thread that asks has kept it.
#[test]
fn what_a_thread_keeps_is_not_evicted() {
    let manager = MemoryManager::new(4 * MIB);
    block_on(async {
        for n in 0..20 {
            let visitor = Visitor::of(&format!("/hot/{n}"));
            visitor.put(&manager, ok(), vec![b'x'; 4 << 10]).await.unwrap();
        }
        for n in 0..20_000 {
            let hot = Visitor::of(&format!("/hot/{}", n % 20));
            assert!(hot.entry(&manager).is_some(), "{n}");
            let cold = Visitor::of(&format!("/cold/{n}"));
            cold.put(&manager, ok(), vec![b'x'; 4 << 10]).await.unwrap();
            if n > 4000 {
                assert!(cold.entry(&manager).is_some() && cold.entry(&manager).is_some());
            }
        }
    });
}
