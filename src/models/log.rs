use std::{future::poll_fn, sync::Arc, task::Poll};

use bytes::Bytes;

use super::{block_on, flight, model, spawn};
use crate::{
    executor::NoExecutor,
    flight::{Disconnect, Passenger},
    log::{Budget, Cursor, Demand, Log, Next, Writer},
};

const PIECES: [&str; 2] = ["ab", "cd"];

/// A body that is written only as far as somebody wants it; and its first reader.
fn body(ends: bool, keep: u64) -> (Log, Cursor, Passenger) {
    let passenger = flight(Arc::new(NoExecutor), Disconnect::Abandon);
    let budget = Arc::new(Budget::new(1 << 20));
    let log = Log::new(passenger.flight().board().bell(), budget, None, keep);
    let cursor = log.read().unwrap();
    let writer = Writer::new(log.clone());
    passenger.flight().begin(Box::pin(async move {
        for piece in PIECES {
            wanted(&writer).await;
            writer.write(Bytes::from(piece));
        }
        wanted(&writer).await;
        match ends {
            true => writer.finish(None),
            false => writer.fail("broken".into()),
        }
    }));
    (log, cursor, passenger)
}

async fn wanted(writer: &Writer) {
    poll_fn(|_| match writer.demand() {
        Demand::More => Poll::Ready(()),
        Demand::Nothing | Demand::HeldUp => Poll::Pending,
    })
    .await;
}

/// What it reads, and whether the end is clean.
fn read(mut cursor: Cursor, passenger: Option<Passenger>) -> (String, bool) {
    let mut text = String::new();
    loop {
        let next = match &passenger {
            Some(passenger) => block_on(poll_fn(|cx| passenger.poll(cx, || cursor.next()))),
            None => cursor.next().expect("all of it is there"),
        };
        match next {
            Next::Data(data) => text.push_str(std::str::from_utf8(&data).unwrap()),
            Next::End => return (text, true),
            Next::Error(_) => return (text, false),
            Next::Trailers(_) => unreachable!("there are none"),
        }
    }
}

/// Two read at their own pace, and the writer waits for either.
#[test]
fn loom_two_readers_both_see_the_end() {
    for ends in [true, false] {
        model(move || {
            let (log, cursor, first) = body(ends, 1 << 20);
            let second = first.flight().join().unwrap();
            let other = log.read().unwrap();
            let other = spawn(move || assert_eq!(read(other, Some(second)), ("abcd".into(), ends)));
            assert_eq!(read(cursor, Some(first)), ("abcd".into(), ends));
            other.join().unwrap();
        });
    }
}

/// The same where nothing is kept for others, so that they pace each other.
#[test]
fn loom_readers_who_wait_for_each_other_get_on() {
    model(|| {
        let (log, cursor, first) = body(true, 1);
        let second = first.flight().join().unwrap();
        let other = log.read().unwrap();
        let other = spawn(move || assert_eq!(read(other, Some(second)), ("abcd".into(), true)));
        assert_eq!(read(cursor, Some(first)), ("abcd".into(), true));
        other.join().unwrap();
    });
}

/// One takes what the other waits for it to take, and then nothing more.
#[test]
fn loom_a_reader_who_takes_lets_the_other_on() {
    fn take(cursor: &mut Cursor, passenger: &Passenger, piece: &'static str) {
        match block_on(poll_fn(|cx| passenger.poll(cx, || cursor.next()))) {
            Next::Data(data) => assert_eq!(data, piece),
            _ => unreachable!("there is more to come"),
        }
    }
    model(|| {
        let (log, mut cursor, first) = body(true, 1);
        let second = first.flight().join().unwrap();
        let mut other = log.read().unwrap();
        let other = spawn(move || {
            take(&mut other, &second, PIECES[0]);
            (other, second)
        });
        take(&mut cursor, &first, PIECES[0]);
        take(&mut cursor, &first, PIECES[1]);
        drop(other.join().unwrap());
    });
}

/// One comes while the body ends: it reads all of it, and sees how it ended, or does not begin.
#[test]
fn loom_a_reader_who_comes_at_the_end_sees_the_end() {
    for ends in [true, false] {
        model(move || {
            let (log, cursor, first) = body(ends, 1 << 20);
            let flight = first.flight().clone();
            let other = spawn(move || {
                let second = flight.join();
                if second.is_none() && !log.is_whole() {
                    return;
                }
                match log.read() {
                    Some(cursor) => assert_eq!(read(cursor, second), ("abcd".into(), ends)),
                    None => assert!(!ends),
                }
            });
            assert_eq!(read(cursor, Some(first)), ("abcd".into(), ends));
            other.join().unwrap();
        });
    }
}

/// The first reader leaves while another comes: what has been joined is not cut short.
#[test]
fn loom_a_reader_who_comes_as_the_last_leaves_gets_all_or_does_not_begin() {
    model(|| {
        let (log, cursor, first) = body(true, 1 << 20);
        let flight = first.flight().clone();
        let other = spawn(move || {
            if let Some(second) = flight.join()
                && let Some(cursor) = log.read()
            {
                assert_eq!(read(cursor, Some(second)), ("abcd".into(), true));
            }
        });
        drop(cursor);
        drop(first);
        other.join().unwrap();
    });
}
