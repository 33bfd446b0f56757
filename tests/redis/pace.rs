//! How much of a body is on its way at a time.

use std::{cell::Cell, time::Duration};

use larder::{CacheManager, storage::EntryWriter};

use crate::{
    cut::narrow,
    nodes::eventually,
    page::{Ask, next, noise},
    peer::{Manner, Peer},
    server::{keys, namespace, options, say, shared},
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
        ask.put(&store, &[], noise(1, length)).await.unwrap();
        let found = ask.find(&store).await.unwrap();
        let (placement, head) = Ask::new("/written").place(&store, &[]);
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
        tokio::select! {
            () = working => panic!("nothing is answered"),
            () = others() => {}
        }
        assert_eq!(on_their_way(), most, "written: {is_written}");
    }
}

/// Storage, "small hits beside a large body": look-ups go first. While one is under way nothing follows what
/// is on its way, so that it is behind that only, and what comes then comes in steps of 64 KiB. They do not
/// wait for ever.
#[tokio::test]
async fn pieces_wait_for_look_ups() {
    let Some(url) = shared() else { return };
    for (is_written, at_once) in [(false, 2), (true, 1)] {
        let peer = Peer::before(url, Manner::Carry).await;
        let store = options(&namespace()).open(&peer.url).unwrap();
        let (small, large, length) = (Ask::new("/small"), Ask::new("/large"), 3 << 20);
        small.put(&store, &[], noise(1, 8 << 10)).await.unwrap();
        large.put(&store, &[], noise(2, length)).await.unwrap();
        let found = large.find(&store).await.unwrap();
        let (placement, head) = Ask::new("/written").place(&store, &[]);
        let mut writer = store.put(placement, head).await.unwrap();
        writer.write(noise(3, 256 << 10).into()).await.unwrap();
        let mut reading = store.read(&found, 0..length as u64);
        eventually(async || peer.carried() > (256 << 10) + length as u64).await;
        let _stopped = Stopped::clock();
        peer.behave(Manner::Keep);
        let mut looking = std::pin::pin!(small.find(&store));
        begins(&mut looking).await;
        let before = peer.carried();
        let mut working = std::pin::pin!(async move {
            if is_written {
                writer.write(noise(3, length).into()).await.unwrap();
                writer.finish(None).await.unwrap();
                return;
            }
            let mut read = Vec::new();
            while let Some(bytes) = next(&mut reading).await {
                read.extend_from_slice(&bytes.unwrap());
            }
            assert!(read == noise(2, length));
        });
        let (mut waited, few) = (0, 16 << 10);
        while waited < 6 || peer.carried() - before < 256 << 10 {
            tokio::select! {
                () = &mut working => panic!("it has company"),
                _ = &mut looking => panic!("it is kept back"),
                () = stands_still(&peer) => {}
            }
            let (carried, most) = (peer.carried() - before, waited * at_once * (64 << 10) + few);
            assert!(carried <= most, "written: {is_written}, {carried} of {most}");
            tokio::time::advance(Duration::from_millis(1)).await;
            waited += 1;
        }
        peer.behave(Manner::Carry);
        let (found, ()) = tokio::join!(looking, working);
        assert_eq!(found.unwrap().response().length(), 8 << 10);
        if is_written {
            let body = Ask::new("/written").body(&store).await.unwrap().unwrap();
            assert!(body == [noise(3, 256 << 10), noise(3, length)].concat());
        }
    }
}

/// A piece that is evicted when a part of it is there is not taken for whole, and what is made of the rest
/// goes by itself.
#[tokio::test]
async fn a_piece_that_is_evicted_halfway_is_an_error() {
    let Some(url) = shared() else { return };
    let (namespace, small) = (namespace(), Ask::new("/small"));
    let peer = Peer::before(url, Manner::Carry).await;
    let store = options(&namespace).open(&peer.url).unwrap();
    small.put(&store, &[], noise(1, 8 << 10)).await.unwrap();
    let (placement, head) = Ask::new("/written").place(&store, &[]);
    let mut writer = store.put(placement, head).await.unwrap();
    writer.write(noise(2, 256 << 10).into()).await.unwrap();
    eventually(async || !keys(url, &namespace, "*:0").is_empty()).await;
    let _stopped = Stopped::clock();
    peer.behave(Manner::Keep);
    let mut looking = std::pin::pin!(small.find(&store));
    begins(&mut looking).await;
    writer.write(noise(3, 256 << 10).into()).await.unwrap();
    let second = || keys(url, &namespace, "*:1");
    let comes = async || {
        tokio::time::advance(Duration::from_millis(1)).await;
        !second().is_empty()
    };
    eventually(comes).await;
    assert_eq!(say(url, &[b"UNLINK", second()[0].as_bytes()]), "1");
    eventually(comes).await;
    let left: i64 = say(url, &[b"PTTL", second()[0].as_bytes()]).parse().unwrap();
    assert!(left > 0, "{left}");
    peer.behave(Manner::Carry);
    assert!(looking.await.is_some());
    assert!(writer.finish(None).await.is_err());
}

/// Something is under way.
async fn begins(work: &mut (impl Future + Unpin)) {
    tokio::select! {
        biased;
        _ = work => panic!("it is kept back"),
        () = std::future::ready(()) => {}
    }
}

/// Whoever could do more would have: all that runs has run many times.
pub(crate) async fn others() {
    for _ in 0..1000 {
        tokio::task::yield_now().await;
    }
}

/// Nothing comes for a while.
async fn stands_still(peer: &Peer) {
    let (mut come, mut times) = (peer.carried(), 0);
    while times < 20 {
        others().await;
        times = if peer.carried() == come { times + 1 } else { 0 };
        come = peer.carried();
    }
}

/// As long as it is there the clock moves only when it is told to, also where all wait for a connection.
pub(crate) struct Stopped {
    _until: std::sync::mpsc::Sender<()>,
}

impl Stopped {
    pub(crate) fn clock() -> Self {
        tokio::time::pause();
        let (_until, end) = std::sync::mpsc::channel::<()>();
        tokio::task::spawn_blocking(move || end.recv());
        Self { _until }
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        tokio::time::resume();
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
        Ask::new(&format!("/{size}")).put(&direct, &[], noise(1, size)).await.unwrap();
    }
    large.put(&direct, &[], noise(2, 3 << 20)).await.unwrap();
    let store = options(&namespace).open(&narrow(url, 1 << 20).await).unwrap();
    let found = large.find(&store).await.unwrap();
    let mut reading = store.read(&found, 0..3 << 20);
    let (placement, head) = Ask::new("/written").place(&store, &[]);
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
