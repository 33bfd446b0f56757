use std::{future::poll_fn, sync::Arc, task::Poll};

use super::{Later, Signal, block_on, flight, model, spawn};
use crate::{
    executor::NoExecutor,
    flight::{Disconnect, Flight, Landing, Passenger, Pilot},
    sync::{Mutex, lock},
};

/// Lands when `signal` is given.
fn begin(flight: &Flight, signal: Arc<Signal>) {
    let pilot = Pilot::new(flight.board().clone());
    flight.begin(Box::pin(async move {
        signal.given().await;
        pilot.land(Landing::Alone);
    }));
}

/// Sees the request land.
fn land(passenger: &Passenger) {
    let landing = block_on(poll_fn(|cx| passenger.poll_landing(cx)));
    assert!(matches!(landing, Landing::Alone));
}

/// Two who wait for a request that lands when the signal is given.
fn two() -> (Arc<Signal>, Passenger, Passenger) {
    let signal = Arc::new(Signal::default());
    let first = flight(Arc::new(NoExecutor), Disconnect::Abandon);
    let second = first.flight().join().unwrap();
    begin(first.flight(), signal.clone());
    (signal, first, second)
}

/// Nobody sleeps while the request can go on, whoever polls it.
#[test]
fn loom_all_who_wait_see_a_request_land() {
    model(|| {
        let (signal, first, second) = two();
        let other = spawn(move || land(&second));
        let origin = spawn(move || signal.give());
        land(&first);
        other.join().unwrap();
        origin.join().unwrap();
    });
}

/// What is found by a poll that nobody was woken for, as the end of a wait by a clock that wakes
/// nobody, is told to the others.
#[test]
fn loom_what_one_finds_unasked_wakes_the_others() {
    model(|| {
        let is_ready = Arc::new(Mutex::new(false));
        let first = flight(Arc::new(NoExecutor), Disconnect::Abandon);
        let second = first.flight().join().unwrap();
        let pilot = Pilot::new(first.flight().board().clone());
        let looking = is_ready.clone();
        first.flight().begin(Box::pin(async move {
            poll_fn(|_| if *lock(&looking) { Poll::Ready(()) } else { Poll::Pending }).await;
            pilot.land(Landing::Alone);
        }));
        let other = spawn(move || land(&second));
        *lock(&is_ready) = true;
        land(&first);
        other.join().unwrap();
    });
}

/// Who polls leaves, and another has to go on in its place.
#[test]
fn loom_who_is_left_goes_on() {
    model(|| {
        let (signal, first, second) = two();
        let other = spawn(move || land(&second));
        let leaving = spawn(move || {
            block_on(poll_fn(|cx| Poll::Ready(first.poll_landing(cx).is_ready())));
            drop(first);
        });
        signal.give();
        other.join().unwrap();
        leaving.join().unwrap();
    });
}

/// The last one leaves while another joins: it joins a request that goes on, or none.
#[test]
fn loom_who_joins_a_last_one_s_request_sees_it_land() {
    model(|| {
        let signal = Arc::new(Signal::default());
        signal.give();
        let first = flight(Arc::new(NoExecutor), Disconnect::Abandon);
        let flight = first.flight().clone();
        begin(&flight, signal);
        let other = spawn(move || {
            if let Some(second) = flight.join() {
                land(&second);
            }
        });
        drop(first);
        other.join().unwrap();
    });
}

/// The same where an executor takes it over; and nothing is left of it then.
#[test]
fn loom_what_the_last_one_leaves_is_finished() {
    model(|| {
        let (signal, executor) = (Arc::new(Signal::default()), Arc::new(Later::default()));
        let first = flight(executor.clone(), Disconnect::Finish);
        let flight = first.flight().clone();
        begin(&flight, signal.clone());
        // It is on its way.
        block_on(poll_fn(|cx| Poll::Ready(first.poll_landing(cx).is_pending())));
        signal.give();
        let joining = flight.clone();
        let other = spawn(move || {
            if let Some(second) = joining.join() {
                land(&second);
            }
        });
        drop(first);
        executor.run();
        other.join().unwrap();
        executor.run();
        assert!(matches!(flight.landing(), Some(Landing::Alone)));
        assert!(flight.join().is_none(), "somebody is still in it");
    });
}
