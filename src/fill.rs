use std::{
    collections::VecDeque,
    fmt,
    future::poll_fn,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::HeaderMap;
use http_body::Frame;

use crate::{
    BoxError, Error,
    clock::{BoxFuture, Clock, within},
    executor::Executor,
    inflight::Fetching,
    policy::{Placement, StoredHead, Timestamp, owned_fields},
    storage::{CacheManager, EntryWriter},
};

/// Follows one origin body to its end and writes it into the store on the way.
///
/// The end is stated, never inferred from a drop: by the number of bytes, by the end of the stream,
/// by trailers. Dropped before it, nothing is stored.
pub(crate) struct Fill {
    /// The bytes that must come, if that is known.
    length: Option<u64>,
    seen: u64,
    announces_trailers: bool,
    recorder: Option<Recorder>,
    held: Option<Held>,
    /// Since when the reader waits for the store, and what wakes it.
    waiting: Option<(Timestamp, Option<BoxFuture>)>,
    waited: Duration,
}

/// What a fill needs of its surroundings.
pub(crate) struct Means {
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) executor: Arc<dyn Executor>,
    /// How long the last frame waits for the store where nobody else can finish it.
    pub(crate) store_timeout: Duration,
}

type Polled = Poll<Option<Result<Frame<Bytes>, BoxError>>>;

impl Fill {
    pub(crate) fn new(length: Option<u64>, announces_trailers: bool, recorder: Recorder) -> Self {
        Self {
            length,
            seen: 0,
            announces_trailers,
            recorder: Some(recorder),
            held: None,
            waiting: None,
            waited: Duration::ZERO,
        }
    }

    /// Whether the body has ended before all of its bytes came.
    pub(crate) fn is_short(&self) -> bool {
        self.length.is_some_and(|length| self.seen < length)
    }

    /// Whether nothing is to come at all.
    pub(crate) fn is_empty(&self) -> bool {
        self.length == Some(0) && !self.announces_trailers
    }

    /// Whether nothing is left to be done for the store.
    pub(crate) fn is_settled(&self) -> bool {
        self.recorder.is_none() && self.held.is_none()
    }

    /// The bytes of the frame that waits for the store.
    pub(crate) fn held_bytes(&self) -> u64 {
        let frame = self.held.as_ref().and_then(|held| held.frame.as_ref());
        frame.and_then(Frame::data_ref).map_or(0, |data| data.len() as u64)
    }

    /// Lets the store go on while the origin has nothing to give: whoever waits for the one may be
    /// woken by the other.
    pub(crate) fn drive(&mut self, cx: &mut Context<'_>) {
        if let Some(recorder) = &mut self.recorder
            && recorder.pump.as_mut().poll(cx).is_ready()
        {
            self.recorder = None;
        }
    }

    /// Whether the store can take more. One that is behind is waited for, so that a burst does not
    /// outrun it, but no longer than [`MAX_WAIT`] for all of a body: then it is given up.
    pub(crate) fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(recorder) = &mut self.recorder else { return Poll::Ready(()) };
        if recorder.queue.lag() <= MAX_LAG {
            return Poll::Ready(());
        }
        if recorder.pump.as_mut().poll(cx).is_ready() {
            self.recorder = None;
            return Poll::Ready(());
        }
        let clock = &recorder.means.clock;
        let left = MAX_WAIT.saturating_sub(self.waited);
        let (since, timer) = self.waiting.get_or_insert_with(|| (clock.now(), clock.sleep(left)));
        let is_room = recorder.queue.lag() <= MAX_LAG;
        // Without a timer nobody might wake who waits.
        let is_patient = timer.as_mut().is_some_and(|timer| timer.as_mut().poll(cx).is_pending());
        if !is_room && is_patient {
            return Poll::Pending;
        }
        self.waited += clock.now().since(*since);
        self.waiting = None;
        if !is_room {
            self.recorder = None;
        }
        Poll::Ready(())
    }

    /// The frame that waits for the store, if there is one. To be asked before the origin.
    pub(crate) fn poll_held(&mut self, cx: &mut Context<'_>) -> Option<Polled> {
        let held = self.held.as_mut()?;
        if held.poll(cx).is_pending() {
            return Some(Poll::Pending);
        }
        let frame = self.held.take()?.frame;
        Some(Poll::Ready(frame.map(Ok)))
    }

    /// Takes what the origin's body gave, and gives what the client gets. `is_last`: the body says
    /// that nothing follows.
    pub(crate) fn observe(
        &mut self,
        frame: Option<Result<Frame<Bytes>, BoxError>>,
        is_last: bool,
        cx: &mut Context<'_>,
    ) -> Polled {
        let frame = match frame {
            Some(Ok(frame)) => Some(frame),
            Some(Err(error)) => return self.fail(error),
            None => None,
        };
        if let Some(data) = frame.as_ref().and_then(Frame::data_ref) {
            self.seen = self.seen.saturating_add(data.len() as u64);
            if self.length.is_some_and(|length| self.seen > length) {
                return self.fail(Box::new(WrongLength));
            }
            let is_whole = match self.length {
                Some(length) => self.seen == length && (is_last || !self.announces_trailers),
                None => is_last,
            };
            if let Some(recorder) = &mut self.recorder
                && !recorder.write(data.clone(), cx)
            {
                self.recorder = None;
            }
            return if is_whole {
                self.finish(frame, None, cx)
            } else {
                Poll::Ready(frame.map(Ok))
            };
        }
        if self.is_short() {
            return self.fail(Box::new(WrongLength));
        }
        let trailers = frame.as_ref().and_then(Frame::trailers_ref);
        let trailers = trailers.map(|trailers| owned_fields(trailers, 0));
        self.finish(frame, trailers, cx)
    }

    fn fail(&mut self, error: BoxError) -> Polled {
        self.recorder = None;
        Poll::Ready(Some(Err(error)))
    }

    fn finish(
        &mut self,
        frame: Option<Frame<Bytes>>,
        trailers: Option<HeaderMap>,
        cx: &mut Context<'_>,
    ) -> Polled {
        let Some(recorder) = self.recorder.take() else { return Poll::Ready(frame.map(Ok)) };
        let Some(unfinished) = recorder.finish(trailers, cx) else {
            return Poll::Ready(frame.map(Ok));
        };
        self.held = Some(Held { unfinished, frame });
        self.poll_held(cx).unwrap_or(Poll::Pending)
    }
}

/// The body had another length than the head said.
#[derive(Debug)]
struct WrongLength;

impl fmt::Display for WrongLength {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the body's length is not the one that was announced")
    }
}

impl std::error::Error for WrongLength {}

/// The last frame, kept back until the store has finished or had time enough.
struct Held {
    unfinished: Unfinished,
    frame: Option<Frame<Bytes>>,
}

impl Held {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Unfinished { pump, timer, clock, since, timeout } = &mut self.unfinished;
        if pump.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        if let Some(timer) = timer
            && timer.as_mut().poll(cx).is_ready()
        {
            return Poll::Ready(());
        }
        if clock.now().since(*since) >= *timeout { Poll::Ready(()) } else { Poll::Pending }
    }
}

struct Unfinished {
    pump: BoxFuture,
    timer: Option<BoxFuture>,
    clock: Arc<dyn Clock>,
    since: Timestamp,
    timeout: Duration,
}

/// Writes into the store behind the body's back: what comes is queued, and a single future carries
/// it over, polled by whoever reads.
pub(crate) struct Recorder {
    queue: Arc<Queue>,
    pump: BoxFuture,
    means: Means,
    room: u64,
}

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
        fetching: Fetching,
        means: Means,
    ) -> Self {
        let queue = Arc::new(Queue::default());
        let room = manager.max_entry_bytes();
        let events = queue.clone();
        let pump = Box::pin(async move {
            // An error means that nothing is stored, which is all that there is to do about it.
            let _: Result<(), Error> = pump(manager, placement, head, fetching, events).await;
        });
        Self { queue, pump, means, room }
    }

    /// Queues a chunk. `false`: the store has failed, or does not take that much.
    fn write(&mut self, chunk: Bytes, cx: &mut Context<'_>) -> bool {
        let Some(room) = self.room.checked_sub(chunk.len() as u64) else { return false };
        self.room = room;
        self.queue.push(Event::Chunk(chunk));
        self.pump.as_mut().poll(cx).is_pending()
    }

    /// States the end. Gives back what is still to be waited for, if nobody else can do that.
    fn finish(mut self, trailers: Option<HeaderMap>, cx: &mut Context<'_>) -> Option<Unfinished> {
        self.queue.push(Event::End(trailers));
        if self.pump.as_mut().poll(cx).is_ready() {
            return None;
        }
        let Means { clock, executor, store_timeout } = self.means;
        let (pump, limit) = (self.pump, clock.clone());
        let task = async move {
            let write = async {
                pump.await;
                Ok(())
            };
            let _ = within(&*limit, WRITE_TIMEOUT, write).await;
        };
        let pump = executor.execute(Box::pin(task)).err()?;
        let (since, timer) = (clock.now(), clock.sleep(store_timeout));
        Some(Unfinished { pump, timer, clock, since, timeout: store_timeout })
    }
}

async fn pump<M: CacheManager>(
    manager: M,
    placement: Placement,
    head: StoredHead,
    fetching: Fetching,
    events: Arc<Queue>,
) -> Result<(), Error> {
    let mut writer = manager.put(placement, head).await?;
    loop {
        match poll_fn(|_| events.poll_next()).await {
            Event::Chunk(chunk) => writer.write(chunk).await?,
            // From here on it is the store that refuses what was deleted meanwhile.
            Event::End(_) if fetching.is_invalidated() => return Err(Error::refused()),
            Event::End(trailers) => return writer.finish(trailers).await,
        }
    }
}

enum Event {
    Chunk(Bytes),
    End(Option<HeaderMap>),
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

/// A [`Fill`] that a body can hold and still be small and `Sync`: it is polled through `&mut` alone.
pub(crate) struct Shared(Box<Mutex<Fill>>);

impl Shared {
    pub(crate) fn new(fill: Fill) -> Self {
        Self(Box::new(Mutex::new(fill)))
    }

    pub(crate) fn get_mut(&mut self) -> &mut Fill {
        self.0.get_mut().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn get(&self) -> MutexGuard<'_, Fill> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
