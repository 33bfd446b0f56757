//! How much of a body is on its way at a time.

use std::cell::Cell;

use larder::{CacheManager, storage::EntryWriter};

use crate::{
    cut::narrow,
    nodes::eventually,
    page::{Ask, next, noise},
    peer::{Manner, Peer},
    server::{namespace, options, shared},
};

/// What is in the way of others is bounded by pieces, whatever the length of a body: one that is written,
/// and while one is read the next. Here nothing is answered, so that all that would be sent is.
#[tokio::test]
async fn a_large_body_has_few_pieces_on_their_way() {
    let Some(url) = shared() else { return };
    for (is_written, most) in [(false, 2), (true, 1)] {
        let peer = Peer::before(url, Manner::Carry).await;
        let store = options(&namespace()).open(&peer.url).unwrap();
        store.ready().await.unwrap();
        let (ask, length) = (Ask::new("/"), 3 << 20);
        ask.put(&store, noise(1, length)).await.unwrap();
        let found = ask.find(&store).await.unwrap();
        let (placement, head) = Ask::new("/written").place(&store);
        let mut writer = store.put(placement, head).await.unwrap();
        let (before, come) = (peer.pieces(), Cell::new(0));
        let on_their_way = || peer.pieces() - before - come.get();
        let mut reading = store.read(&found, 0..length as u64);
        if !is_written {
            next(&mut reading).await.unwrap().unwrap();
            come.set(1);
        }
        peer.behave(Manner::Half(0));
        let mut working = std::pin::pin!(async {
            if is_written {
                let _ = writer.write(noise(2, length).into()).await;
            } else {
                while let Some(Ok(_)) = next(&mut reading).await {
                    come.set(come.get() + 1);
                }
            }
        });
        tokio::select! {
            () = &mut working => panic!("nothing is answered"),
            _ = eventually(async || on_their_way() == most) => {}
        }
        // Whoever could send more would have: all that runs has run many times.
        let others = async {
            for _ in 0..1000 {
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            () = working => panic!("nothing is answered"),
            () = others => {}
        }
        assert_eq!(on_their_way(), most, "written: {is_written}");
    }
}

/// What a look-up brings does not wait behind pieces of larger bodies, which have a connection of their
/// own: here it stands still, and hits of both kinds, in their record and in one piece, go on.
#[tokio::test]
async fn hits_do_not_wait_for_larger_bodies() {
    let Some(url) = shared() else { return };
    let (namespace, large) = (namespace(), Ask::new("/large"));
    let direct = options(&namespace).open(url).unwrap();
    let sizes = [8 << 10, 100 << 10];
    for size in sizes {
        Ask::new(&format!("/{size}")).put(&direct, noise(1, size)).await.unwrap();
    }
    large.put(&direct, noise(2, 3 << 20)).await.unwrap();
    let store = options(&namespace).open(&narrow(url, 1 << 20).await).unwrap();
    let found = large.find(&store).await.unwrap();
    let mut reading = store.read(&found, 0..3 << 20);
    let (placement, head) = Ask::new("/written").place(&store);
    let mut writer = store.put(placement, head).await.unwrap();
    let stuck = async { while let Some(Ok(_)) = next(&mut reading).await {} };
    let written = async { writer.write(noise(3, 3 << 20).into()).await };
    let hits = async {
        for _ in 0..5 {
            for size in sizes {
                let body = Ask::new(&format!("/{size}")).body(&store).await.unwrap().unwrap();
                assert!(body == noise(1, size));
            }
        }
    };
    tokio::select! {
        () = stuck => panic!("the body that is read is on its way, or this shows nothing"),
        _ = written => panic!("the body that is written is on its way, or this shows nothing"),
        () = hits => {}
    }
}
