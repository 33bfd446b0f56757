use std::{
    collections::VecDeque,
    future::{Future, poll_fn},
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::Bytes;
use http::HeaderMap;

use crate::{
    Error,
    admission::Admission,
    clock::{BoxFuture, Clock, within},
    executor::Executor,
    inflight::Fetching,
    observe::{Event as Told, Operation},
    pending::Pending,
    policy::{Placement, Reason, StoredHead, StoredResponse, Tagging, Timestamp, Wanted},
    splice::{Splice, append},
    storage::{CacheManager, EntryWriter},
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
        self.queue.lock().given_up = Some(reason);
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

/// One response on its way into the store.
pub(crate) struct Record<M: CacheManager> {
    pub(crate) placement: Placement,
    pub(crate) head: StoredHead,
    pub(crate) tagging: Option<Tagging>,
    pub(crate) fetching: Fetching,
    /// The bytes that it must have, where the body does not know.
    pub(crate) due: Option<u64>,
    pub(crate) splice: Option<Splice<M::Handle>>,
}

/// What has come of storing a response without waiting.
enum Now<M: CacheManager> {
    /// How many bytes are stored.
    Over(Result<u64, Error>),
    /// It is there, and has to go.
    Missed(Admission),
    /// This store cannot.
    No(Box<Record<M>>),
}

/// Takes out what was stored beside a purge that has not seen it.
async fn take_out<M: CacheManager>(manager: M, admission: Admission) -> Result<u64, Error> {
    manager.delete(admission.key()).await?;
    Err(Error::refused())
}

impl<M: CacheManager> Record<M> {
    /// Stores it if that is the work of a moment.
    fn store_now(self, manager: &M, body: &Bytes) -> Now<M> {
        let Self { placement, head, fetching, .. } = self;
        let admission = Admission::new(fetching, manager.purge_log().clone());
        let admits = || admission.admits(&head);
        match manager.put_now(&placement, &head, body, &admits) {
            None => Now::No(Box::new(Self {
                placement,
                head,
                fetching: admission.into_fetching(),
                tagging: None,
                due: None,
                splice: None,
            })),
            Some(Ok(())) if admission.has_missed() => Now::Missed(admission),
            Some(written) => Now::Over(written.map(|()| body.len() as u64)),
        }
    }

    /// What is to become of a response that is stored as it comes: of no others it is made, and nothing
    /// is to be added. How many bytes are stored then.
    fn store(self, manager: M, body: Bytes) -> impl Future<Output = Result<u64, Error>> + Send {
        let Self { placement, head, fetching, .. } = self;
        let (own, length) = (head.clone(), body.len() as u64);
        let admission = Admission::new(fetching, manager.purge_log().clone());
        async move {
            let mut writer = manager.put(placement, head).await?;
            writer.write(body).await?;
            if !admission.admits(&own) {
                return Err(Error::refused());
            }
            // The store is to have the only one.
            drop(own);
            writer.finish(None).await?;
            if !admission.has_missed() {
                return Ok(length);
            }
            take_out(manager, admission).await
        }
    }

    /// How many bytes are stored then.
    async fn pump(self, manager: &M, events: Arc<Queue>) -> Result<u64, Error> {
        let Self { placement, head, mut tagging, fetching, due, splice } = self;
        let own = head.clone();
        let admission = Admission::new(fetching, manager.purge_log().clone());
        let variant = due.map(|_| placement.variant().clone());
        let mut writer = manager.put(placement, head).await?;
        let mut seen = 0;
        if let Some(Splice { entry, joint }) = &splice {
            seen += append(manager, entry, joint.before(), &mut writer).await?.0;
        }
        let trailers = loop {
            match poll_fn(|_| events.poll_next()).await {
                Event::Chunk(chunk) => {
                    seen += chunk.len() as u64;
                    if let Some(tagging) = &mut tagging {
                        tagging.update(&chunk);
                    }
                    writer.write(chunk).await?;
                }
                Event::End(trailers) => break trailers,
            }
        };
        if let Some(Splice { entry, joint }) = &splice {
            seen += append(manager, entry, joint.after(), &mut writer).await?.0;
        }
        let (stored, began) =
            (splice.as_ref().map(|splice| splice.entry.response().head()), own.began());
        let is_admitted = match stored {
            Some(stored) => admission.admits_again(stored, &own),
            None => admission.admits(&own),
        };
        if !is_admitted || due.is_some_and(|due| due != seen) {
            return Err(Error::refused());
        }
        match (&splice, &variant) {
            // It takes the place of what it was made of, and of nothing else.
            (Some(Splice { entry, .. }), _) if !manager.remove(entry).await? => {
                return Err(Error::refused());
            }
            (None, Some(variant)) if own.content_range().is_some() => {
                let there = manager.get(&Wanted::exactly(admission.key(), variant)).await?;
                let yields = |there: &StoredResponse| there.head().yields_to(&own);
                if !there.responses().iter().all(yields) {
                    return Err(Error::refused());
                }
            }
            _ => {}
        }
        // Those of a part are not those of the whole.
        let trailers = trailers.filter(|_| due.is_none()).map(|trailers| *trailers);
        match tagging {
            Some(tagging) => writer.finish_with(tagging.finish(own), trailers).await?,
            None => {
                // The store is to have the only one.
                drop(own);
                writer.finish(trailers).await?;
            }
        }
        let missed = match stored {
            Some(stored) => admission.has_missed_again(stored, began),
            None => admission.has_missed(),
        };
        if !missed {
            return Ok(seen);
        }
        manager.delete(admission.key()).await?;
        Err(Error::refused())
    }
}

enum Event {
    Chunk(Bytes),
    // Boxed: seldom there, and large beside a chunk.
    End(Option<Box<HeaderMap>>),
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
            let given_up = self.queue.as_ref().and_then(|queue| queue.lock().given_up);
            let reason = given_up.unwrap_or(Reason::Abandoned);
            if reason == Reason::StoreTimeout {
                let (operation, error) = (Operation::Put, &Error::timed_out());
                self.witness.tell_at_the_end(&Told::StoreFailed { operation, error });
            }
            self.witness.tell_at_the_end(&Told::NotStored { reason });
        }
    }
}

#[derive(Default)]
struct Queue(Mutex<Queued>);

#[derive(Default)]
struct Queued {
    events: VecDeque<Event>,
    bytes: u64,
    given_up: Option<Reason>,
}

impl Queue {
    fn push(&self, event: Event) {
        let mut queued = self.lock();
        if let Event::Chunk(chunk) = &event {
            queued.bytes += chunk.len() as u64;
        }
        queued.events.push_back(event);
    }

    /// The store has taken too long.
    fn is_late(&self) {
        self.lock().given_up = Some(Reason::StoreTimeout);
    }

    fn lag(&self) -> u64 {
        self.lock().bytes
    }

    /// Nobody is woken: whoever pushes polls the pump next, and the last event comes before the pump
    /// goes elsewhere.
    fn poll_next(&self) -> Poll<Event> {
        let mut queued = self.lock();
        match queued.events.pop_front() {
            Some(event) => {
                if let Event::Chunk(chunk) = &event {
                    queued.bytes -= chunk.len() as u64;
                }
                Poll::Ready(event)
            }
            None => Poll::Pending,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Queued> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
