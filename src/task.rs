//! A future that belongs to all who wait for what it does.
//!
//! Nobody spawns it. Whoever wants something of it and does not find it polls it; the others are
//! woken when it has done something, or when it can go on and nobody is at it. When the last one
//! leaves it is over, or goes on in the background.

use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    task::{Context, Poll, Wake, Waker},
};

use smallvec::SmallVec;

use crate::{
    clock::BoxFuture,
    sync::{AtomicU8, Mutex, Ordering, lock},
};

/// Wakes all who wait.
#[derive(Default)]
pub(crate) struct Bell {
    state: Polling,
    seats: Mutex<Seats>,
}

/// Who is at the future.
struct Polling(AtomicU8);

const NOBODY: u8 = 0;
const SOMEBODY: u8 = 1;
/// Somebody, and it has to be polled again: another came who wanted to.
const AGAIN: u8 = 2;

/// How often in a row it is polled for others by whoever is at it.
const TIMES: usize = 8;

impl Default for Polling {
    fn default() -> Self {
        Self(AtomicU8::new(NOBODY))
    }
}

impl Polling {
    /// Whether the caller is the one to poll. If not, whoever is at it rings afterwards.
    fn begin(&self) -> bool {
        let begin = |state| Some(if state == NOBODY { SOMEBODY } else { AGAIN });
        let before = self.0.fetch_update(Ordering::AcqRel, Ordering::Acquire, begin);
        matches!(before, Ok(NOBODY))
    }

    /// Whether whoever is at it has to poll it again.
    fn has_to_come_again(&self) -> bool {
        self.0.swap(SOMEBODY, Ordering::AcqRel) == AGAIN
    }

    /// Whether somebody has to come again.
    fn end(&self) -> bool {
        self.0.swap(NOBODY, Ordering::AcqRel) == AGAIN
    }
}

#[derive(Default)]
struct Seats {
    wakers: SmallVec<[Option<Waker>; 1]>,
    free: Vec<usize>,
    taken: usize,
    rung: u64,
}

impl Bell {
    /// Whether more than one wait.
    pub(crate) fn is_shared(&self) -> bool {
        lock(&self.seats).taken > 1
    }

    /// Wakes all who wait.
    pub(crate) fn ring(&self) {
        // Woken outside of the lock: a waker may do anything.
        let mut seats = lock(&self.seats);
        seats.rung += 1;
        if seats.wakers.iter().all(Option::is_none) {
            return;
        }
        let woken: SmallVec<[Waker; 1]> =
            seats.wakers.iter_mut().filter_map(Option::take).collect();
        drop(seats);
        woken.into_iter().for_each(Waker::wake);
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // Whoever is at the future sees that it was rung meanwhile, and comes again.
        Bell::ring(self);
    }
}

/// The future, and those who wait for it.
pub(crate) struct Task {
    bell: Arc<Bell>,
    work: Mutex<Work>,
}

enum Work {
    NotBegun,
    /// Not polled yet.
    Made(BoxFuture),
    Begun(BoxFuture),
    /// Being polled.
    Away,
    /// With what it panicked with, if it did.
    Over(Option<Panic>),
}

/// What a panic carries.
pub(crate) type Panic = Box<dyn Any + Send>;

/// A place among those who wait. Whoever has one gives it up: what happens when the last one goes is
/// not for the seat to know.
pub(crate) struct Seat {
    bell: Arc<Bell>,
    number: usize,
}

impl Task {
    /// A task that has not begun, and its first seat.
    pub(crate) fn new(bell: Arc<Bell>) -> (Self, Seat) {
        let seat = Seat { bell: bell.clone(), number: lock(&bell.seats).take() };
        (Self { bell, work: Mutex::new(Work::NotBegun) }, seat)
    }

    pub(crate) fn begin(&self, future: BoxFuture) {
        *lock(&self.work) = Work::Made(future);
        self.bell.ring();
    }

    /// A seat beside others; `None` if all have gone.
    pub(crate) fn join(&self) -> Option<Seat> {
        let mut seats = lock(&self.bell.seats);
        let number = (seats.taken > 0).then(|| seats.take())?;
        drop(seats);
        Some(Seat { bell: self.bell.clone(), number })
    }

    /// Waits until `look` finds what it looks for, and polls the future if nobody else does.
    pub(crate) fn poll<T>(
        &self,
        seat: &Seat,
        cx: &mut Context<'_>,
        mut look: impl FnMut() -> Option<T>,
    ) -> Poll<T> {
        // Who finds something is not woken for it; so the waker comes last, unless somebody has rung.
        for _ in 0..2 {
            if let Some(found) = look() {
                return Poll::Ready(found);
            }
            let rung = lock(&self.bell.seats).rung;
            self.go_on();
            if let Some(found) = look() {
                return Poll::Ready(found);
            }
            if seat.register(cx.waker(), Some(rung)) {
                return Poll::Pending;
            }
        }
        seat.register(cx.waker(), None);
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Whether there is nothing left to be done.
    pub(crate) fn is_over(&self) -> bool {
        matches!(*lock(&self.work), Work::Over(_))
    }

    /// Whether something has been done, and more is to be.
    pub(crate) fn is_under_way(&self) -> bool {
        matches!(*lock(&self.work), Work::Begun(_) | Work::Away)
    }

    /// What it panicked with. Whoever polled it then need not be the one whom it is for.
    pub(crate) fn take_panic(&self) -> Option<Panic> {
        match &mut *lock(&self.work) {
            Work::Over(panic) => panic.take(),
            _ => None,
        }
    }

    /// Takes the future away. Nobody must have a seat any more.
    pub(crate) fn stop(&self) -> Option<BoxFuture> {
        self.take(Work::Over(None))
    }

    fn take(&self, left: Work) -> Option<BoxFuture> {
        let mut work = lock(&self.work);
        if !matches!(*work, Work::Made(_) | Work::Begun(_)) {
            return None;
        }
        match std::mem::replace(&mut *work, left) {
            Work::Made(future) | Work::Begun(future) => Some(future),
            _ => None,
        }
    }

    fn go_on(&self) {
        if !self.bell.state.begin() {
            return;
        }
        let mut left = self.take(Work::Away);
        let had_begun = left.is_some();
        let mut panic = None;
        // Whoever came meanwhile has it polled again, rather than that all who wait are woken.
        for _ in 0..TIMES {
            let Some(mut future) = left.take() else { break };
            let waker = Waker::from(self.bell.clone());
            let polled = catch_unwind(AssertUnwindSafe(move || {
                let is_pending =
                    future.as_mut().poll(&mut Context::from_waker(&waker)).is_pending();
                is_pending.then_some(future)
            }));
            match polled {
                Ok(pending) => left = pending,
                Err(carried) => panic = Some(carried),
            }
            if left.is_none() || !self.bell.state.has_to_come_again() {
                break;
            }
        }
        let has_panicked = panic.is_some();
        if had_begun {
            *lock(&self.work) = left.map_or(Work::Over(panic), Work::Begun);
        }
        if self.bell.state.end() || has_panicked {
            self.bell.ring();
        }
    }
}

impl Seat {
    /// Leaves a waker; but not if the bell has been rung since it was `rung` so often: `false`.
    fn register(&self, waker: &Waker, rung: Option<u64>) -> bool {
        let mut seats = lock(&self.bell.seats);
        if rung.is_some_and(|rung| rung != seats.rung) {
            return false;
        }
        let before = match seats.wakers.get_mut(self.number) {
            Some(Some(before)) if before.will_wake(waker) => None,
            Some(place) => place.replace(waker.clone()),
            None => None,
        };
        drop(seats);
        // Not under the lock: the last of a waker may take with it whoever has a seat here.
        drop(before);
        true
    }

    /// Gives the seat up if others are left. `false`: this is the last one, and is kept.
    pub(crate) fn leave_unless_last(&self) -> bool {
        let mut seats = lock(&self.bell.seats);
        if seats.taken <= 1 {
            return false;
        }
        let waker = seats.give_up(self.number);
        drop(seats);
        drop(waker);
        true
    }

    /// Gives the seat up. Whether it was the last: then nobody joins any more.
    pub(crate) fn leave(self) -> bool {
        let mut seats = lock(&self.bell.seats);
        let waker = seats.give_up(self.number);
        let is_last = seats.taken == 0;
        drop(seats);
        drop(waker);
        is_last
    }
}

impl Seats {
    fn take(&mut self) -> usize {
        self.taken += 1;
        self.free.pop().unwrap_or_else(|| {
            self.wakers.push(None);
            self.wakers.len() - 1
        })
    }

    #[must_use = "not to be dropped under the lock"]
    fn give_up(&mut self, number: usize) -> Option<Waker> {
        self.taken -= 1;
        // When the last one leaves, nobody comes any more.
        if self.taken > 0 {
            self.free.push(number);
        }
        self.wakers.get_mut(number)?.take()
    }
}
