//! The store that many nodes share.
//!
//! # Keys
//!
//! Braces stand round what a cluster has to keep in one slot.
//!
//! ```text
//! NS:{KH}:i          hash: g fence, i index, p the response without Vary, vID one for each variant
//! NS:{KH}:b:STAMP:N  256 KiB of a body, with a CRC-32 for each 64 KiB of them behind
//! NS:{purge}         the log of purges, a stream; NS:{purge}:id its name; NS:{purge}:wake a channel
//! ```
//!
//! `KH` is 128 bits of BLAKE3 over the key; the full key is in the index and in each record, and
//! compared. Bodies of up to 16 KiB lie in their record: one command finds them. Larger ones lie in
//! pieces that never change, written as they come, under a stamp that no other response has.
//!
//! # Turns
//!
//! Look-ups go before bodies: a piece is not sent, or asked for, while a look-up of this node is under way,
//! for a millisecond or two at most, and not where look-ups never cease. Where there were any lately bodies
//! go in steps of 64 KiB, so that a small hit is behind one of them, or two of a body that is read. A body that
//! is alone goes in whole pieces.
//!
//! # Order
//!
//! Whoever begins to write draws the fence of the resource, and makes it if there is none. A script
//! makes the response visible, if the fence is the same and the index is the one that the new index was
//! made from. A deletion forgets the fence with all the rest, so that who began before it is refused,
//! however late, and nothing has to be kept of what was deleted.
//!
//! # Purges
//!
//! A look-up asks in one breath for the records of a resource and for what is new in the log: what it
//! finds has been compared with all purges before. A faster tier hears of them by the channel, and by
//! looking several times in `max_purge_lag`. Each record says which one is before it: where one is
//! missing, and where the log has another name or ends too early, all that is older is gone. Each
//! response carries the position at which it was begun, and the name of the log.

mod body;
mod breaker;
mod change;
mod entry;
mod keeper;
mod known;
mod layout;
mod link;
mod lookup;
mod manager;
mod options;
mod purges;
mod reply;
mod scan;
mod scripts;
mod store;
mod turns;
mod writer;

use std::{
    fmt,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

pub use self::{entry::RedisHandle, options::RedisOptions, writer::RedisWriter};
use self::{
    layout::random,
    link::{Link, State},
    purges::Mirror,
    store::Store,
};
use super::Error;
use crate::policy::Secret;

/// A store in Redis or Valkey: for many nodes that share what they have.
///
/// Clones are the same store, and so are all stores over one Redis with one
/// [namespace](RedisOptions::namespace). Whoever can write there can change what is served: responses
/// are checked against damage, not against forgery. They lie there as they came.
///
/// ```no_run
/// use larder::{CacheLayer, MemoryManager, RedisManager, storage::Tiered};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), larder::Error> {
/// let redis = RedisManager::open("redis://10.0.0.5/")?;
/// let cache = CacheLayer::new(Tiered::new(MemoryManager::new(64 << 20), redis));
/// # Ok(())
/// # }
/// ```
///
/// [`storage`](super#two-nodes) has a recipe for two nodes.
///
/// It needs a tokio runtime, with I/O and time, wherever it is used. The tasks that keep its connections
/// run on the one that first uses it.
///
/// # When Redis is away
///
/// Requests are served as misses, and go on. A look-up takes no longer than
/// [`lookup_timeout`](RedisOptions::lookup_timeout); after five failures in a row, or in half of twenty
/// calls, Redis is not asked at all until it answers a probe, which is sent once a second.
/// [`state`](Self::state) tells. A body that is being sent waits for Redis to come back
/// ([`body_timeout`](RedisOptions::body_timeout)). A store opens where there is no Redis yet.
///
/// # Purges
///
/// A purge is in Redis before [`CacheHandle::purge`](crate::CacheHandle::purge) returns, and no node finds
/// what it selects there afterwards. A memory tier of another node hears of it within milliseconds. If
/// Redis could not be told, `purge` is an error: it holds in this process at once, and Redis is told as
/// soon as that can be, unless the process ends before. A node that has missed purges, also because the
/// log was lost or cut, forgets all that it cannot vouch for.
///
/// - Of a node that is cut off, a memory tier serves what others purge for
///   [`max_purge_lag`](RedisOptions::max_purge_lag) at most, and then does what
///   [`when_cut_off`](RedisOptions::when_cut_off) says.
/// - A [predicate](crate::Purge::matching) is known to the node alone that it was given to: it takes
///   out what is in Redis, and in that node's own memory tier.
/// - Of a [single variant](crate::Purge::variant) the others take out the URL with all of its variants.
/// - An invalidation by an unsafe method is in the log, too, for the memory tiers of other nodes. It
///   takes the resource in all namespaces and partitions.
///
/// # Settings of the server
///
/// Every key but two has a time to live, so `volatile-lru` and the like evict responses only;
/// `allkeys-lru` may evict the log of purges, and then every response is gone. A restart from an old
/// snapshot brings back what was purged since, unless a node that knows better is running: keep no
/// snapshots, or an append-only file. Commands are those of Redis 6.2, and no other database than the
/// one in the URL is touched.
///
/// It is one server, with replicas or not: all keys have to be where the URL leads. Of a Redis Cluster
/// a single shard that has all slots will do, or a proxy that passes on scripts, transactions and subscriptions. One shard of several
/// is refused when it is connected to ([`ready`](Self::ready) and [`state`](Self::state) say so), and a user
/// who may not ask for that (`CLUSTER INFO`) meets errors, not misses, where keys are elsewhere.
/// Keys are laid out for a cluster all the same: whatever one command or script needs lies in one slot.
#[derive(Clone)]
pub struct RedisManager {
    inner: Arc<Inner>,
}

/// What is shared by who uses a store: its clones, and the bodies that are read from it and written to it.
/// The connections end with the last of them.
struct Inner {
    store: Arc<Store>,
    secret: Secret,
}

/// How a [`RedisManager`] gets on with its server.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RedisState {
    /// It is about to connect.
    Connecting,
    /// All is well.
    Connected,
    /// It is connected, but calls failed too often: it is not asked until it answers a probe.
    Suspended,
    /// There is no connection; why.
    Away(String),
}

impl fmt::Display for RedisState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RedisState::Connecting => f.write_str("connecting"),
            RedisState::Connected => f.write_str("connected"),
            RedisState::Suspended => f.write_str("suspended"),
            RedisState::Away(why) => write!(f, "away: {why}"),
        }
    }
}

impl RedisManager {
    /// Opens the store at a URL with the defaults of [`RedisOptions`].
    ///
    /// # Errors
    ///
    /// See [`RedisOptions::open`].
    pub fn open(url: &str) -> Result<Self, Error> {
        RedisOptions::new().open(url)
    }

    fn with_link(link: Link, mut options: RedisOptions) -> Result<Self, Error> {
        let secret = options.secret.take().unwrap_or_else(Secret::random);
        let mirror = Mirror::new(random()?, options.max_purge_lag, options.cut_off);
        let inner = Arc::new_cyclic(|users| Inner {
            store: Store::new(link, options, mirror, users.clone()),
            secret,
        });
        inner.keep();
        Ok(Self { inner })
    }

    /// Waits until it is known whether Redis can be used.
    ///
    /// # Errors
    ///
    /// Why it cannot, in Redis's own words where it has said so: a wrong password, no permission. The
    /// store goes on trying.
    pub async fn ready(&self) -> Result<(), Error> {
        self.inner.keep();
        if self.inner.store.link.is_idle() {
            return Err(Error::other("a store in Redis needs a tokio runtime"));
        }
        self.inner.store.link.outcome().await
    }

    /// How it gets on with its server.
    pub fn state(&self) -> RedisState {
        let link = &self.inner.store.link;
        match link.state() {
            State::Idle | State::Connecting => RedisState::Connecting,
            State::Up(_) if link.is_broken() => RedisState::Suspended,
            State::Up(_) => RedisState::Connected,
            State::Away(why) => RedisState::Away(why.as_ref().to_owned()),
        }
    }

    /// How long ago all purges of all nodes were known here. `None`: they are not.
    pub fn purge_lag(&self) -> Option<Duration> {
        self.inner.store.mirror.lag()
    }

    /// How many responses were not stored because too much was on its way to Redis.
    pub fn dropped(&self) -> u64 {
        self.inner.store.dropped.load(Ordering::Relaxed)
    }

    /// How many records and bodies were found that could not be read: damaged, or evicted in part.
    pub fn damaged(&self) -> u64 {
        self.inner.store.damaged.load(Ordering::Relaxed)
    }
}

impl Inner {
    fn keep(&self) {
        self.store.keep();
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.store.leave();
    }
}

impl fmt::Debug for RedisManager {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisManager").field("state", &self.state()).finish_non_exhaustive()
    }
}
