//! One request on its way to the origin, and all who wait for what it brings.

use std::{
    panic::resume_unwind,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use http::StatusCode;

use crate::{
    clock::BoxFuture,
    executor::Executor,
    log::Log,
    policy::{Running, Timestamp},
    sync::{Mutex, lock},
    task::{Bell, Seat, Task},
};

/// What happens to a request to the origin, and to the response that is being stored, when the last
/// client that waits for it has gone.
///
/// In a store [in memory](crate::CacheManager::is_in_memory), a short body that comes in one piece with its
/// head is stored before anybody has the head.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub enum Disconnect {
    /// It goes on in the background, so that the next client finds it stored. Without an executor
    /// it ends, and so does what will not be stored.
    #[default]
    Finish,
    /// It ends, and nothing is stored.
    Abandon,
    /// It goes on if this share of a body of known length is there already, from 0 to 1.
    FinishFrom(f64),
}

/// What came of a request, for those who did not make it.
#[derive(Clone)]
pub(crate) enum Landing {
    /// It is being stored, and may be read as it comes.
    Shared(Arc<Sharing>),
    /// The store may have the answer now.
    LookAgain,
    /// It is for the one who asked alone.
    Alone,
    /// No answer came, or one that says that there is none.
    Failed(Option<StatusCode>),
}

/// A response on its way into the store.
pub(crate) struct Sharing {
    pub(crate) running: Running,
    pub(crate) log: Log,
}

/// Where a request's outcome is announced.
#[derive(Default)]
pub(crate) struct Board {
    bell: Arc<Bell>,
    landing: Mutex<Option<Landing>>,
    /// What comes goes into the store by way of this.
    log: Mutex<Option<Log>>,
}

impl Board {
    pub(crate) fn bell(&self) -> Arc<Bell> {
        self.bell.clone()
    }

    pub(crate) fn landing(&self) -> Option<Landing> {
        lock(&self.landing).clone()
    }

    /// Whether somebody else waits for what comes than the one who asked.
    pub(crate) fn is_waited_for(&self) -> bool {
        self.bell.is_shared()
    }

    /// What comes goes into the store from now on, by way of `log`.
    pub(crate) fn record(&self, log: Log) {
        *lock(&self.log) = Some(log);
    }

    /// The body that is being stored, if one is.
    fn log(&self) -> Option<Log> {
        lock(&self.log).clone()
    }

    fn land(&self, landing: Landing) {
        lock(&self.landing).get_or_insert(landing);
        self.bell.ring();
    }
}

/// The one who announces. Dropped without it, the request has failed.
pub(crate) struct Pilot(Arc<Board>);

impl Pilot {
    pub(crate) fn new(board: Arc<Board>) -> Self {
        Self(board)
    }

    pub(crate) fn land(self, landing: Landing) {
        self.0.land(landing);
    }
}

impl Drop for Pilot {
    fn drop(&mut self) {
        self.0.land(Landing::Failed(None));
    }
}

/// A request on its way.
pub(crate) struct Flight {
    task: Task,
    board: Arc<Board>,
    executor: Arc<dyn Executor>,
    disconnect: Disconnect,
    began: Timestamp,
}

impl Flight {
    /// The first passenger of a request that is about to be made.
    pub(crate) fn prepare(
        executor: Arc<dyn Executor>,
        disconnect: Disconnect,
        began: Timestamp,
    ) -> Passenger {
        let board = Arc::<Board>::default();
        let (task, seat) = Task::new(board.bell());
        Passenger::new(Arc::new(Self { task, board, executor, disconnect, began }), seat)
    }

    /// Makes the request by `future`, and announces on the [`board`](Self::board) what comes of it.
    pub(crate) fn begin(&self, future: BoxFuture) {
        self.task.begin(future);
    }

    /// Where it is announced.
    pub(crate) fn board(&self) -> &Arc<Board> {
        &self.board
    }

    /// When it began.
    pub(crate) fn began(&self) -> Timestamp {
        self.began
    }

    /// Another passenger; `None` if all have left.
    pub(crate) fn join(self: &Arc<Self>) -> Option<Passenger> {
        Some(Passenger::new(self.clone(), self.task.join()?))
    }

    /// What has come of it.
    pub(crate) fn landing(&self) -> Option<Landing> {
        self.board.landing()
    }

    /// Whether it goes on when the last one leaves.
    fn goes_on(&self) -> bool {
        if !self.task.is_under_way() {
            return false;
        }
        let log = self.board.log();
        // What nobody has asked for yet may still be worth it; what is not stored is not.
        if log.as_ref().map_or(self.landing().is_some(), |log| !log.is_recorded()) {
            return false;
        }
        match self.disconnect {
            Disconnect::Finish => true,
            Disconnect::Abandon => false,
            Disconnect::FinishFrom(share) => log.is_some_and(|log| {
                let come = log.end() as f64;
                log.length().is_some_and(|length| come >= share * length as f64)
            }),
        }
    }
}

/// Somebody who waits for a request, or reads what it brings.
pub(crate) struct Passenger {
    flight: Arc<Flight>,
    /// Until it is given up.
    seat: Option<Seat>,
    is_in_background: bool,
}

impl Passenger {
    fn new(flight: Arc<Flight>, seat: Seat) -> Self {
        Self { flight, seat: Some(seat), is_in_background: false }
    }

    pub(crate) fn flight(&self) -> &Arc<Flight> {
        &self.flight
    }

    /// Waits until `look` finds something. What it looks at is changed only by the flight.
    pub(crate) fn poll<T>(&self, cx: &mut Context<'_>, look: impl FnMut() -> Option<T>) -> Poll<T> {
        match &self.seat {
            Some(seat) => self.flight.task.poll(seat, cx, look),
            None => Poll::Pending,
        }
    }

    pub(crate) fn poll_landing(&self, cx: &mut Context<'_>) -> Poll<Landing> {
        self.poll(cx, || self.flight.landing())
    }

    /// Waits until `look` finds what the flight brings to the one who began it; panics if the
    /// flight did, whoever polled it then.
    pub(crate) fn poll_own<T>(
        &self,
        cx: &mut Context<'_>,
        mut look: impl FnMut() -> Option<T>,
    ) -> Poll<T> {
        self.poll(cx, || {
            let found = look();
            if found.is_none()
                && let Some(panic) = self.flight.task.take_panic()
            {
                resume_unwind(panic);
            }
            found
        })
    }

    /// Sees the flight to its end, wanted or not.
    pub(crate) fn in_background(mut self) -> impl Future<Output = ()> + Send + 'static {
        self.is_in_background = true;
        Background(self)
    }
}

impl Drop for Passenger {
    fn drop(&mut self) {
        let Some(seat) = self.seat.take() else { return };
        if seat.leave_unless_last() {
            return;
        }
        if self.is_in_background || !self.flight.goes_on() {
            // Whoever has joined since goes on with it.
            if seat.leave() {
                drop(self.flight.task.stop());
            }
            return;
        }
        let last = Self { flight: self.flight.clone(), seat: Some(seat), is_in_background: true };
        // Without an executor it ends here, as its docs say.
        let _ = self.flight.executor.execute(Box::pin(Background(last)));
    }
}

struct Background(Passenger);

impl Future for Background {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Passenger { flight, .. } = &self.0;
        self.0.poll(cx, || {
            if let Some(log) = flight.board.log() {
                log.want_all(true);
            }
            flight.task.is_over().then_some(())
        })
    }
}
