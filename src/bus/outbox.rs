use std::{
    collections::VecDeque,
    future::poll_fn,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Poll, Waker},
    time::Duration,
};

use super::{Attached, PurgeMessage, driver::Pause, link::Link};
use crate::{
    Error, Purge,
    clock::{Clock, within},
    executor::{Executor, Persistent},
};

/// What is to be published, in its order.
#[derive(Default)]
pub(super) struct Outbox(Mutex<Queue>);

#[derive(Default)]
struct Queue {
    messages: VecDeque<PurgeMessage>,
    /// The number of the newest message, and of the newest that was published.
    newest: u64,
    published: u64,
    is_sending: bool,
    is_retrying: bool,
    waiting: Vec<Waker>,
}

/// More messages than this wait for nobody: one takes their place that takes out everything.
const MAX_WAITING: usize = 1024;

impl Attached {
    /// Puts a purge where it goes to others from. Gives its number, or that of the same purge that waits
    /// already: it will take out what is there when it is heard.
    pub(crate) fn post(&self, purge: Purge) -> u64 {
        let link = self.link();
        let mut queue = link.outbox.lock();
        // The first one may be on its way, and be heard too early.
        let mut waiting = queue.messages.iter().skip(1);
        if let Some(seq) = waiting.find_map(|sent| sent.seq().filter(|_| *sent.purge() == purge)) {
            return seq;
        }
        queue.newest += 1;
        let seq = queue.newest;
        let message = if queue.messages.len() < MAX_WAITING {
            PurgeMessage::from_node(purge, link.node, seq)
        } else {
            queue.messages.clear();
            PurgeMessage::from_node(Purge::everything(), link.node, seq)
        };
        queue.messages.push_back(message);
        seq
    }

    /// Sends what was posted, however many call: one is at it. Where an executor does that nobody waits,
    /// and what the bus does not take is tried again; else it is tried once, for no longer than `limit`.
    pub(crate) async fn announce(
        &self,
        clock: &Arc<dyn Clock>,
        executor: &dyn Executor,
        limit: Duration,
    ) {
        let link = self.link();
        let Some(retrying) = Retrying::begin(link.clone()) else { return };
        if executor.execute(Box::pin(send_all(retrying, clock.clone(), limit))).is_err()
            && let Some(_retrying) = Retrying::begin(link.clone())
        {
            let once = send_up_to(link, u64::MAX, &**clock, limit);
            let _ = within(&**clock, limit, once).await;
        }
    }

    /// Waits until the bus has taken what was posted up to `seq`, and no longer than `limit`. What it
    /// has not taken by then is tried again where an executor does, else with what is posted next.
    pub(crate) async fn deliver(
        &self,
        seq: u64,
        clock: &Arc<dyn Clock>,
        executor: &Arc<dyn Executor>,
        limit: Duration,
    ) -> Result<(), Error> {
        let failure = Arc::new(Mutex::new(None));
        let task = keep_sending(self.link().clone(), seq, clock.clone(), limit, failure.clone());
        let mut task = Persistent::new(Box::pin(task), executor.clone());
        let first = poll_fn(|cx| {
            let ended = Pin::new(&mut task).poll(cx);
            match failure.lock().unwrap_or_else(PoisonError::into_inner).take() {
                Some(error) => Poll::Ready(Err(error)),
                None => ended.map(Ok),
            }
        });
        within(&**clock, limit, first).await.map_err(Error::unpublished)
    }
}

/// Sends what there is until all is sent.
async fn send_all(retrying: Retrying, clock: Arc<dyn Clock>, limit: Duration) {
    let (link, mut pause) = (&retrying.0, Pause::new());
    let _ = send_up_to(link, u64::MAX, &*clock, limit).await;
    while !link.is_closed() && !link.outbox.has_sent_all() {
        pause.wait(&*clock).await;
        let _ = send_up_to(link, u64::MAX, &*clock, limit).await;
    }
}

/// Sends what there is up to `seq`. If that fails, says so, and tries again unless somebody does.
async fn keep_sending(
    link: Arc<Link>,
    seq: u64,
    clock: Arc<dyn Clock>,
    limit: Duration,
    failure: Arc<Mutex<Option<Error>>>,
) {
    let Err(error) = send_up_to(&link, seq, &*clock, limit).await else { return };
    *failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
    let Some(retrying) = Retrying::begin(link) else { return };
    Pause::new().wait(&*clock).await;
    send_all(retrying, clock, limit).await;
}

async fn send_up_to(
    link: &Arc<Link>,
    seq: u64,
    clock: &dyn Clock,
    limit: Duration,
) -> Result<(), Error> {
    let _turn = Turn::take(link.clone()).await;
    while let Some(message) = link.outbox.next(seq) {
        within(clock, limit, link.bus.publish(&message)).await?;
        link.outbox.is_sent(&message);
    }
    Ok(())
}

impl Outbox {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The oldest message, if there is something to be published up to `seq`.
    fn next(&self, seq: u64) -> Option<PurgeMessage> {
        let queue = self.lock();
        queue.messages.front().filter(|_| queue.published < seq).cloned()
    }

    fn is_sent(&self, message: &PurgeMessage) {
        let mut queue = self.lock();
        queue.published = queue.published.max(message.seq().unwrap_or_default());
        let published = queue.published;
        queue.messages.retain(|waiting| waiting.seq().is_some_and(|seq| seq > published));
    }

    /// Whether nothing waits. Then whoever tries again need not.
    fn has_sent_all(&self) -> bool {
        let mut queue = self.lock();
        let is_empty = queue.messages.is_empty();
        queue.is_retrying &= !is_empty;
        is_empty
    }
}

/// One publishes at a time, so that the order holds.
struct Turn(Arc<Link>);

impl Turn {
    async fn take(link: Arc<Link>) -> Self {
        poll_fn(|cx| {
            let mut queue = link.outbox.lock();
            if !queue.is_sending {
                queue.is_sending = true;
                return Poll::Ready(());
            }
            if !queue.waiting.iter().any(|waker| waker.will_wake(cx.waker())) {
                queue.waiting.push(cx.waker().clone());
            }
            Poll::Pending
        })
        .await;
        Self(link)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut queue = self.0.outbox.lock();
        queue.is_sending = false;
        let waiting = std::mem::take(&mut queue.waiting);
        drop(queue);
        waiting.into_iter().for_each(Waker::wake);
    }
}

/// One tries again for all.
struct Retrying(Arc<Link>);

impl Retrying {
    fn begin(link: Arc<Link>) -> Option<Self> {
        let was = std::mem::replace(&mut link.outbox.lock().is_retrying, true);
        (!was).then_some(Self(link))
    }
}

impl Drop for Retrying {
    fn drop(&mut self) {
        self.0.outbox.lock().is_retrying = false;
    }
}
