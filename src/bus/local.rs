use std::{
    collections::VecDeque,
    fmt,
    future::poll_fn,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Waker},
};

use super::{BusEvent, PurgeBus, PurgeFollower, PurgeMessage};
use crate::Error;

/// A bus inside of one process: for several caches in it, for tests, and as what a server keeps to hand
/// out to others.
///
/// Clones share one connection; [`connect`](Self::connect) makes another to the same bus, which can be
/// cut by itself.
///
/// ```
/// use larder::{CacheLayer, MemoryManager, bus::LocalBus};
///
/// let bus = LocalBus::new();
/// let one = CacheLayer::new(MemoryManager::new(64 << 20)).bus(bus.connect());
/// let two = CacheLayer::new(MemoryManager::new(64 << 20)).bus(bus.connect());
/// // What `one.handle()` purges goes from `two`, too.
/// ```
#[derive(Clone)]
pub struct LocalBus {
    hub: Arc<Hub>,
    is_cut: Arc<AtomicBool>,
}

struct Hub {
    /// Tells its positions from those of a bus in another process.
    id: u64,
    kept: usize,
    messages: Mutex<Messages>,
}

#[derive(Default)]
struct Messages {
    /// The number of the oldest that is kept.
    first: u64,
    messages: VecDeque<PurgeMessage>,
    waiting: Vec<Waker>,
}

impl Default for LocalBus {
    fn default() -> Self {
        Self::new()
    }
}

impl LocalBus {
    /// A bus that keeps the last 1 024 messages for followers that were cut off.
    pub fn new() -> Self {
        Self::keeping(1024)
    }

    /// A bus that keeps so many messages, at least one. A follower that comes back later than that has lost some.
    pub fn keeping(messages: usize) -> Self {
        let mut id = [0; 8];
        // Without randomness positions of two processes might be taken for one another's: then by time.
        if getrandom::fill(&mut id).is_err() {
            let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
            let nanos = now.unwrap_or_default().as_nanos().to_le_bytes();
            id.copy_from_slice(&nanos[..8]);
        }
        let (id, kept) = (u64::from_le_bytes(id), messages.max(1));
        let hub = Hub { id, kept, messages: Mutex::default() };
        Self { hub: Arc::new(hub), is_cut: Arc::default() }
    }

    /// Another connection to the same bus.
    pub fn connect(&self) -> Self {
        Self { hub: self.hub.clone(), is_cut: Arc::default() }
    }

    /// Cuts this connection and its clones: until [`mend`](Self::mend) nothing can be published, and
    /// followers get an error.
    pub fn cut(&self) {
        self.is_cut.store(true, Ordering::Release);
        self.hub.wake();
    }

    /// Ends a [`cut`](Self::cut). Followers come back by themselves.
    pub fn mend(&self) {
        self.is_cut.store(false, Ordering::Release);
    }

    /// Publishes a message, also one from a process that is no cache.
    ///
    /// # Errors
    ///
    /// If the connection is cut.
    pub fn send(&self, message: impl Into<PurgeMessage>) -> Result<(), Error> {
        self.check()?;
        let mut messages = self.hub.lock();
        messages.messages.push_back(message.into());
        if messages.messages.len() > self.hub.kept {
            messages.messages.pop_front();
            messages.first += 1;
        }
        drop(messages);
        self.hub.wake();
        Ok(())
    }

    fn check(&self) -> Result<(), Error> {
        match self.is_cut.load(Ordering::Acquire) {
            true => Err(Error::other("the connection is cut")),
            false => Ok(()),
        }
    }
}

impl Hub {
    fn lock(&self) -> MutexGuard<'_, Messages> {
        self.messages.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wake(&self) {
        let waiting = std::mem::take(&mut self.lock().waiting);
        waiting.into_iter().for_each(Waker::wake);
    }

    fn position(&self, number: u64) -> String {
        format!("{:016x}-{number}", self.id)
    }

    fn read_position(&self, text: &str) -> Option<u64> {
        let (id, number) = text.split_once('-')?;
        (u64::from_str_radix(id, 16).ok()? == self.id).then_some(())?;
        number.parse().ok()
    }
}

impl Messages {
    fn end(&self) -> u64 {
        self.first + self.messages.len() as u64
    }
}

impl PurgeBus for LocalBus {
    type Follower = LocalFollower;

    async fn publish(&self, message: &PurgeMessage) -> Result<(), Error> {
        self.send(message.clone())
    }

    async fn follow(&self, after: Option<&str>) -> Result<LocalFollower, Error> {
        self.check()?;
        let place = after.map(|position| self.hub.read_position(position));
        let end = self.hub.lock().end();
        let (next, is_lost) = match place {
            None => (end, false),
            Some(Some(next)) if next <= end => (next, false),
            Some(_) => (end, true),
        };
        Ok(LocalFollower { bus: self.clone(), next, behind: Some(end), is_lost })
    }
}

/// Follows a [`LocalBus`].
pub struct LocalFollower {
    bus: LocalBus,
    next: u64,
    /// What was there in the beginning, while not all of it is given.
    behind: Option<u64>,
    is_lost: bool,
}

impl LocalFollower {
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<BusEvent, Error>> {
        let hub = self.bus.hub.clone();
        let mut messages = hub.lock();
        self.bus.check()?;
        if self.next < messages.first {
            (self.next, self.is_lost) = (messages.end(), true);
        }
        if std::mem::take(&mut self.is_lost) {
            return Poll::Ready(Ok(BusEvent::Lost));
        }
        if self.behind.is_some_and(|behind| behind <= self.next) {
            self.behind = None;
            return Poll::Ready(Ok(BusEvent::Current { position: hub.position(self.next) }));
        }
        let at = usize::try_from(self.next - messages.first).unwrap_or(usize::MAX);
        if let Some(message) = messages.messages.get(at).cloned() {
            self.next += 1;
            return Poll::Ready(Ok(BusEvent::Purge { message, position: hub.position(self.next) }));
        }
        if !messages.waiting.iter().any(|waker| waker.will_wake(cx.waker())) {
            messages.waiting.push(cx.waker().clone());
        }
        Poll::Pending
    }
}

impl Drop for LocalFollower {
    fn drop(&mut self) {
        // What would wake it is not kept until the next message.
        self.bus.hub.wake();
    }
}

impl PurgeFollower for LocalFollower {
    async fn next(&mut self) -> Result<BusEvent, Error> {
        poll_fn(|cx| self.poll_next(cx)).await
    }
}

impl fmt::Debug for LocalBus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalBus").finish_non_exhaustive()
    }
}

impl fmt::Debug for LocalFollower {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalFollower").field("next", &self.next).finish_non_exhaustive()
    }
}
