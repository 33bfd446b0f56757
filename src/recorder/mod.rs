mod queue;
mod record;

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::Bytes;
use http::HeaderMap;

pub(crate) use self::record::Record;
use self::{
    queue::{Event, Queue},
    record::{Now, take_out},
};
use crate::{
    Error,
    clock::{BoxFuture, Clock, within},
    executor::Executor,
    observe::{Event as Told, Operation},
    pending::Pending,
    policy::{Reason, Timestamp},
    storage::CacheManager,
    witness::{Witness, reason_of},
};

/// Writes one response into the store behind the readers' backs: what comes is queued, and a single
/// future carries it over, polled by whoever reads.
pub(crate) struct Recorder {
    queue: Arc<Queue>,
    pump: Pump,
    room: u64,
    /// Since when the readers wait for the store, and what wakes them.
    waiting: Option<(Timestamp, Option<BoxFuture>)>,
    waited: Duration,
}

type Pump = BoxFuture;

/// A store that is so many bytes behind is waited for,
const MAX_LAG: u64 = 4 << 20;
/// so long for all of a body, and then given up.
const MAX_WAIT: Duration = Duration::from_millis(250);
/// What was handed to the executor is given up after so long.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);

impl Recorder {
    pub(crate) fn new<M: CacheManager>(manager: M, record: Record<M>, witness: Witness) -> Self {
        let queue = Arc::new(Queue::default());
        let room = manager.max_entry_bytes();
        let events = queue.clone();
        let pump = Box::pin(async move {
            let fate = Fate { witness, queue: Some(events.clone()), is_told: false };
            fate.tell(record.pump(&manager, events).await, &manager);
        });
        Self { queue, pump, room, waiting: None, waited: Duration::ZERO }
    }

    /// Gives up, since nothing is to be stored.
    pub(crate) fn give_up(self, reason: Reason) {
        self.queue.give_up(reason);
    }

    /// Queues a chunk. `false`: the store does not take that much.
    pub(crate) fn write(&mut self, chunk: Bytes) -> bool {
        let Some(room) = self.room.checked_sub(chunk.len() as u64) else { return false };
        self.room = room;
        self.queue.push(Event::Chunk(chunk));
        true
    }

    /// Lets the store go on. `false`: it has failed.
    pub(crate) fn go_on(&mut self, cx: &mut Context<'_>) -> bool {
        self.pump.as_mut().poll(cx).is_pending()
    }

    /// Whether the store can take more. One that is behind is waited for, so that a burst does not
    /// outrun it, but no longer than [`MAX_WAIT`] for all of a body: then it is given up, `false`.
    pub(crate) fn poll_room(&mut self, clock: &dyn Clock, cx: &mut Context<'_>) -> Poll<bool> {
        if self.queue.lag() <= MAX_LAG {
            return Poll::Ready(true);
        }
        if !self.go_on(cx) {
            return Poll::Ready(false);
        }
        let left = MAX_WAIT.saturating_sub(self.waited);
        let (since, timer) = self.waiting.get_or_insert_with(|| (clock.now(), clock.sleep(left)));
        let is_room = self.queue.lag() <= MAX_LAG;
        // Without a timer nobody might wake who waits.
        let is_patient = timer.as_mut().is_some_and(|timer| timer.as_mut().poll(cx).is_pending());
        if !is_room && is_patient {
            return Poll::Pending;
        }
        self.waited += clock.now().since(*since);
        self.waiting = None;
        Poll::Ready(is_room)
    }

    /// States the end. The store has to [go on](Self::go_on) to hear of it.
    pub(crate) fn end(&mut self, trailers: Option<Box<HeaderMap>>) {
        self.queue.push(Event::End(trailers));
    }

    /// Lets the executor write the rest. Without one that does, waits until the store has it, or
    /// `patience` is over.
    pub(crate) async fn hand_over(
        self,
        clock: &Arc<dyn Clock>,
        executor: &dyn Executor,
        patience: Duration,
        pending: &Pending,
    ) {
        let (queue, mut pump) = (self.queue, self.pump);
        let late = queue.clone();
        let limit = clock.clone();
        let entered = Arc::new(pending.enter());
        let accepted = entered.clone();
        let task = async move {
            let _accepted = accepted;
            if !is_done(pump.as_mut(), &*limit, WRITE_TIMEOUT).await {
                queue.is_late();
            }
        };
        if let Err(mut task) = executor.execute(Box::pin(task)) {
            // Whoever reads writes it, and may be who waits for all that is pending.
            entered.leave();
            if !is_done(task.as_mut(), &**clock, patience).await {
                late.is_late();
            }
        }
    }
}

/// What has come of a response whose body is there in one piece.
pub(crate) enum Storing {
    /// It is stored, or this is why it is not.
    Over(Option<Reason>),
    /// The store makes whoever writes wait.
    Late(Recorder),
}

/// Stores a response whose `body` is there in one piece, as far as nobody has to wait for that.
pub(crate) fn store<M: CacheManager>(
    manager: &M,
    record: Record<M>,
    body: Bytes,
    witness: Witness,
) -> Storing {
    let mut fate = Fate { witness, queue: None, is_told: false };
    let mut storing: Pin<Box<dyn Future<Output = Result<u64, Error>> + Send>> =
        match record.store_now(manager, &body) {
            Now::Over(written) => return Storing::Over(fate.tell(written, manager)),
            Now::Missed(admission) => Box::pin(take_out(manager.clone(), admission)),
            Now::No(record) => Box::pin(record.store(manager.clone(), body)),
        };
    // Whoever goes on with it polls it again.
    if let Poll::Ready(written) = storing.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        return Storing::Over(fate.tell(written, manager));
    }
    let (queue, manager) = (Arc::<Queue>::default(), manager.clone());
    fate.queue = Some(queue.clone());
    let pump = Box::pin(async move {
        fate.tell(storing.await, &manager);
    });
    Storing::Late(Recorder { queue, pump, room: 0, waiting: None, waited: Duration::ZERO })
}

/// Whether `task` is over before the limit.
async fn is_done(
    task: Pin<&mut (dyn Future<Output = ()> + Send)>,
    clock: &dyn Clock,
    limit: Duration,
) -> bool {
    let write = async {
        task.await;
        Ok(())
    };
    within(clock, limit, write).await.is_ok()
}

/// Tells what became of a response, also of one that is given up before its end.
struct Fate {
    witness: Witness,
    /// Where it may be said why it is given up.
    queue: Option<Arc<Queue>>,
    is_told: bool,
}

impl Fate {
    /// Why it is not stored, if it is not: that is all that there is to do about it.
    fn tell(mut self, written: Result<u64, Error>, manager: &impl CacheManager) -> Option<Reason> {
        self.is_told = true;
        match written {
            Ok(bytes) => {
                self.witness.stored(bytes, manager);
                None
            }
            Err(error) => {
                self.witness.not_stored(&error, manager);
                Some(reason_of(&error))
            }
        }
    }
}

impl Drop for Fate {
    fn drop(&mut self) {
        if !self.is_told {
            let given_up = self.queue.as_ref().and_then(|queue| queue.given_up());
            let reason = given_up.unwrap_or(Reason::Abandoned);
            if reason == Reason::StoreTimeout {
                let (operation, error) = (Operation::Put, &Error::timed_out());
                self.witness.tell_at_the_end(&Told::StoreFailed { operation, error });
            }
            self.witness.tell_at_the_end(&Told::NotStored { reason });
        }
    }
}
