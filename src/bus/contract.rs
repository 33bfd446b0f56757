use std::future::Future;

use super::PurgeMessage;
use crate::Error;

/// Carries purges between caches that do not share a store.
///
/// A layer is attached by [`CacheLayer::bus`](crate::CacheLayer::bus). From then on what is purged by
/// its handles is published, after it has taken effect here, and what others publish takes effect
/// here as if it had been purged by a handle of this layer.
///
/// # What a bus has to do
///
/// - *At least once.* A message may come twice: each node numbers its own, and a number is applied
///   once.
/// - *In order*, as each node has published. One that comes before its turn is applied at once, and
///   since what should have come between may be lost, everything stored before is taken out.
/// - *Say what is lost.* Where messages may be missing, a follower gives [`BusEvent::Lost`]: everything
///   stored before is taken out. What is lost without a word is noticed by the numbers, when the next
///   message of the same node comes.
/// - *Fail.* A follower that has heard nothing for too long, of a connection that may be dead, returns an
///   error. Until the bus can be followed again the layer counts as cut off:
///   [`CacheLayer::when_cut_off`](crate::CacheLayer::when_cut_off).
///
/// A node hears its own messages, too, and leaves them alone. Whoever can write to a bus can empty every
/// cache on it: who may is for the bus to check.
///
/// # Over Redis
///
/// A stream is such a bus, its ids are the positions:
///
/// | here | there |
/// |---|---|
/// | [`publish`](Self::publish) | `XADD purges MAXLEN ~ 10000 * line {json}` |
/// | [`follow`](Self::follow) from a position | `XRANGE purges - + COUNT 1`: if the oldest id is greater than the position, [`BusEvent::Lost`]; then `XREAD STREAMS purges {position}` |
/// | from now on | the newest id, by `XREVRANGE purges + - COUNT 1` |
/// | [`BusEvent::Current`] | the first `XREAD` that gives nothing |
/// | later | `XREAD BLOCK 1000 STREAMS purges {position}`; no answer in time is an error |
///
/// The line is that of `PurgeMessage::to_json`, so that any process can add one.
///
/// # Example
///
/// A bus over anything that can send text to all and remembers none of it:
///
/// ```
/// # #[cfg(feature = "json")]
/// # mod example {
/// use larder::{Error, bus::{BusEvent, PurgeBus, PurgeFollower, PurgeMessage}};
/// use tokio::sync::broadcast;
///
/// struct Broadcast(broadcast::Sender<String>);
///
/// struct Follower {
///     lines: broadcast::Receiver<String>,
///     is_new: bool,
///     has_missed: bool,
/// }
///
/// impl PurgeBus for Broadcast {
///     type Follower = Follower;
///
///     async fn publish(&self, message: &PurgeMessage) -> Result<(), Error> {
///         // That nobody listens is no failure.
///         let _ = self.0.send(message.to_json()?);
///         Ok(())
///     }
///
///     async fn follow(&self, after: Option<&str>) -> Result<Follower, Error> {
///         // Nothing is kept here that could be given again.
///         Ok(Follower { lines: self.0.subscribe(), is_new: true, has_missed: after.is_some() })
///     }
/// }
///
/// impl PurgeFollower for Follower {
///     async fn next(&mut self) -> Result<BusEvent, Error> {
///         if std::mem::take(&mut self.has_missed) {
///             return Ok(BusEvent::Lost);
///         }
///         if std::mem::take(&mut self.is_new) {
///             return Ok(BusEvent::Current { position: "now".to_owned() });
///         }
///         match self.lines.recv().await {
///             Ok(line) => {
///                 let message = PurgeMessage::from_json(&line)?;
///                 Ok(BusEvent::Purge { message, position: "now".to_owned() })
///             }
///             Err(broadcast::error::RecvError::Lagged(_)) => Ok(BusEvent::Lost),
///             Err(error) => Err(Error::other(error)),
///         }
///     }
/// }
/// # }
/// ```
pub trait PurgeBus: Send + Sync + 'static {
    /// Follows what is published.
    type Follower: PurgeFollower;

    /// Hands a message to the bus: when this returns, every follower will get it, or hear of a loss.
    ///
    /// The layer publishes one message after the other. It gives up after
    /// [`max_purge_lag`](crate::CacheLayer::max_purge_lag), and publishes the same message again later.
    ///
    /// # Errors
    ///
    /// If the bus may not have taken it.
    fn publish(&self, message: &PurgeMessage) -> impl Future<Output = Result<(), Error>> + Send;

    /// Follows the bus: from behind a position that a follower has given, or from now on.
    ///
    /// If what came behind that position is not all there any more, the first event is
    /// [`BusEvent::Lost`].
    ///
    /// # Errors
    ///
    /// If the bus cannot be reached. The layer tries again, at least every two seconds.
    fn follow(
        &self,
        after: Option<&str>,
    ) -> impl Future<Output = Result<Self::Follower, Error>> + Send;
}

/// Gives what comes by a [`PurgeBus`].
pub trait PurgeFollower: Send + 'static {
    /// The next event.
    ///
    /// # Errors
    ///
    /// If the bus cannot be heard any more. Then this follower is dropped, and
    /// [`PurgeBus::follow`] is called with the newest position.
    fn next(&mut self) -> impl Future<Output = Result<BusEvent, Error>> + Send;
}

/// What a follower hears.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum BusEvent {
    /// Somebody has purged.
    Purge {
        /// What, and who.
        message: PurgeMessage,
        /// The place behind it. What it looks like is up to the bus.
        position: String,
    },
    /// All that was on the bus when the follower began has been given. Until this comes, the layer
    /// counts as cut off.
    Current {
        /// The place that was reached.
        position: String,
    },
    /// Messages may be missing here.
    Lost,
}
