use std::{future::poll_fn, pin::pin, sync::Arc, task::Poll, time::Duration};

use super::{BusEvent, PurgeMessage, link::Link, senders::News};
use crate::{Error, Purge, clock::Clock, policy::Policy, purge::PurgeLog};

/// Where purges of others take effect.
pub(crate) struct Sink {
    pub(crate) log: PurgeLog,
    pub(crate) policy: Policy,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) sweep: Box<dyn Fn() + Send + Sync>,
}

impl Sink {
    async fn apply(&self, purge: Purge) -> Result<(), Error> {
        self.log.append_counted(purge.resolved(&self.policy), self.clock.now().wall());
        let kept = self.log.sync().await;
        (self.sweep)();
        kept
    }

    /// Takes out what nobody vouches for: all that was stored until now.
    async fn flush(&self, why: &str) -> Result<(), Error> {
        self.apply(Purge::everything().by(why)).await
    }
}

/// How long to wait before trying again: at first, and at most.
const SHORTEST: Duration = Duration::from_millis(50);
const LONGEST: Duration = Duration::from_secs(2);

/// The next pause after one of this length.
pub(super) struct Pause(Duration);

impl Pause {
    pub(super) fn new() -> Self {
        Self(SHORTEST)
    }

    pub(super) async fn wait(&mut self, clock: &dyn Clock) {
        let (duration, began) = (self.0, clock.now());
        self.0 = (duration * 2).min(LONGEST);
        let mut timer = clock.sleep(duration);
        poll_fn(|cx| {
            let rings = timer.as_mut().is_some_and(|timer| timer.as_mut().poll(cx).is_ready());
            match rings || clock.now().since(began) >= duration {
                true => Poll::Ready(()),
                false => Poll::Pending,
            }
        })
        .await;
    }
}

/// Follows the bus until nobody is attached to it any more.
pub(super) fn follow(link: Arc<Link>, sink: Sink) -> impl Future<Output = ()> + Send {
    let following = Following { link, clock: sink.clock.clone() };
    async move {
        let link = &*following.link;
        let mut heard = pin!(keep_following(link, &sink));
        poll_fn(|cx| match link.is_over(cx) {
            true => Poll::Ready(()),
            false => heard.as_mut().poll(cx),
        })
        .await;
    }
}

/// Somebody follows the bus, until this is dropped, be it with the runtime that did.
struct Following {
    link: Arc<Link>,
    clock: Arc<dyn Clock>,
}

impl Drop for Following {
    fn drop(&mut self) {
        self.link.is_left(self.clock.now());
    }
}

async fn keep_following(link: &Link, sink: &Sink) {
    link.is_cut_off(sink.clock.now());
    let mut pause = Pause::new();
    loop {
        // Whatever has gone wrong, the next attempt begins at the last place that is sure.
        let _ = hear(link, sink, &mut pause).await;
        link.is_cut_off(sink.clock.now());
        pause.wait(&*sink.clock).await;
    }
}

/// Hears what there is until the bus cannot be heard any more.
async fn hear(link: &Link, sink: &Sink, pause: &mut Pause) -> Result<(), Error> {
    let position = link.lock().position.clone();
    let mut follower = link.bus.follow(position.as_deref()).await?;
    if position.is_none() {
        sink.flush("the bus is followed from here on").await?;
    }
    loop {
        let (reached, kept) = match follower.next().await? {
            BusEvent::Purge { message, position } => {
                (Some(position), take(link, sink, message).await)
            }
            BusEvent::Current { position } => {
                *pause = Pause::new();
                link.is_current_now();
                (Some(position), Ok(()))
            }
            BusEvent::Lost => {
                // From here on each node is heard anew: its numbers go on somewhere.
                link.lock().senders = Default::default();
                (None, sink.flush("messages of the bus are missing").await)
            }
        };
        // After a restart, what is not kept has to be heard again.
        if let (Some(reached), Ok(())) = (reached, kept) {
            link.lock().position = Some(reached);
        }
    }
}

async fn take(link: &Link, sink: &Sink, message: PurgeMessage) -> Result<(), Error> {
    let sender = message.sender();
    if sender.is_some_and(|sender| sender.node == link.node) || message.purge().is_dry_run() {
        return Ok(());
    }
    let news = sender.map_or(News::Next, |sender| link.lock().senders.hear(sender));
    if news == News::Known {
        return Ok(());
    }
    // What cannot be told may have meant anything.
    let purge = message.into_purge().for_others().unwrap_or_else(|_| Purge::everything());
    let applied = sink.apply(purge).await;
    match news {
        News::Gap => sink.flush("messages of another node are missing").await,
        News::Next | News::Known => applied,
    }
}
