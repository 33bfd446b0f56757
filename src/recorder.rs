use std::{
    collections::VecDeque,
    future::poll_fn,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
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
    pending::Pending,
    policy::{Placement, StoredHead, Tagging, Timestamp},
    storage::{CacheManager, EntryWriter},
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

/// An error means that nothing is stored, which is all that there is to do about it.
type Pump = Pin<Box<dyn Future<Output = Result<(), Error>> + Send>>;

/// A store that is so many bytes behind is waited for,
const MAX_LAG: u64 = 4 << 20;
/// so long for all of a body, and then given up.
const MAX_WAIT: Duration = Duration::from_millis(250);
/// What was handed to the executor is given up after so long.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);

impl Recorder {
    pub(crate) fn new<M: CacheManager>(
        manager: M,
        placement: Placement,
        head: StoredHead,
        tagging: Option<Tagging>,
        fetching: Fetching,
    ) -> Self {
        let queue = Arc::new(Queue::default());
        let room = manager.max_entry_bytes();
        let pump = Box::pin(pump(manager, (placement, head), tagging, fetching, queue.clone()));
        Self { queue, pump, room, waiting: None, waited: Duration::ZERO }
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
        let pump = self.pump;
        let limit = clock.clone();
        let entered = Arc::new(pending.enter());
        let accepted = entered.clone();
        let task = async move {
            let _accepted = accepted;
            let _ = within(&*limit, WRITE_TIMEOUT, pump).await;
        };
        if let Err(task) = executor.execute(Box::pin(task)) {
            // Whoever reads writes it, and may be who waits for all that is pending.
            entered.leave();
            let write = async {
                task.await;
                Ok(())
            };
            let _ = within(&**clock, patience, write).await;
        }
    }
}

async fn pump<M: CacheManager>(
    manager: M,
    (placement, head): (Placement, StoredHead),
    mut tagging: Option<Tagging>,
    fetching: Fetching,
    events: Arc<Queue>,
) -> Result<(), Error> {
    let own = head.clone();
    let admission = Admission::new(fetching, manager.purge_log().clone());
    let mut writer = manager.put(placement, head).await?;
    loop {
        match poll_fn(|_| events.poll_next()).await {
            Event::Chunk(chunk) => {
                if let Some(tagging) = &mut tagging {
                    tagging.update(&chunk);
                }
                writer.write(chunk).await?;
            }
            Event::End(_) if !admission.admits(&own) => return Err(Error::refused()),
            Event::End(trailers) => {
                let trailers = trailers.map(|trailers| *trailers);
                match tagging {
                    Some(tagging) => writer.finish_with(tagging.finish(own), trailers).await?,
                    None => {
                        // The store is to have the only one.
                        drop(own);
                        writer.finish(trailers).await?;
                    }
                }
                let missed = admission.has_missed();
                return if missed { manager.delete(admission.key()).await } else { Ok(()) };
            }
        }
    }
}

enum Event {
    Chunk(Bytes),
    // Boxed: seldom there, and large beside a chunk.
    End(Option<Box<HeaderMap>>),
}

#[derive(Default)]
struct Queue(Mutex<Queued>);

#[derive(Default)]
struct Queued {
    events: VecDeque<Event>,
    bytes: u64,
}

impl Queue {
    fn push(&self, event: Event) {
        let mut queued = self.lock();
        if let Event::Chunk(chunk) = &event {
            queued.bytes += chunk.len() as u64;
        }
        queued.events.push_back(event);
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
