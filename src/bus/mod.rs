//! Purges of other caches: a bus carries them, each cache publishes its own and applies those of the
//! others.
//!
//! ```
//! use larder::{CacheLayer, MemoryManager, Purge, bus::LocalBus};
//!
//! # async fn example() -> Result<(), larder::Error> {
//! let bus = LocalBus::new();
//! let one = CacheLayer::new(MemoryManager::new(64 << 20)).bus(bus.connect());
//! let two = CacheLayer::new(MemoryManager::new(64 << 20)).bus(bus.connect());
//!
//! one.handle().purge(Purge::tag("reports")).await?; // and `two` hears of it
//! bus.send(Purge::tag("site-1"))?; // both do
//! # Ok(())
//! # }
//! ```
//!
//! [`LocalBus`] stays inside of one process; [`PurgeBus`] is the trait for one of your own, and says how a
//! Redis stream is one. The example `reverse_proxy --peer URL` has one over HTTP. What goes over it is
//! [`PurgeMessage`], one line of JSON with the feature `json`.
//!
//! # What is promised
//!
//! | | of what is purged elsewhere |
//! |---|---|
//! | while the bus is heard | nothing is served once the bus has brought it, be it stored or on its way from the origin |
//! | while it is not, up to [`max_purge_lag`](crate::CacheLayer::max_purge_lag) | what is stored here is served |
//! | for longer | as [`when_cut_off`](crate::CacheLayer::when_cut_off) says: by default only what the origin has just validated |
//! | when it is heard again | nothing is served: what was missed takes effect first, and if the bus cannot say what that was, all that was stored before goes |
//!
//! A purge that returns has taken effect in its own cache, and the bus has taken it. If it has not, the
//! error says so ([`is_unpublished`](crate::Error::is_unpublished)), and it is tried again in the
//! background; the 1 025th that waits stands for all of them, and takes out everything elsewhere.
//!
//! A soft purge makes stale from when it is heard. Of a single variant, which only the fields of its
//! request can name, others take out the whole URL. A predicate is code: purging by one is refused, unless
//! it is for [one cache only](crate::Purge::only_here).
//!
//! What an origin invalidates goes to others if it is a cache group; see
//! [`CacheLayer::bus`](crate::CacheLayer::bus).

mod contract;
mod driver;
mod erased;
mod link;
mod local;
mod message;
mod outbox;
mod senders;

pub use self::{
    contract::{BusEvent, PurgeBus, PurgeFollower},
    link::WhenCutOff,
    local::{LocalBus, LocalFollower},
    message::PurgeMessage,
};
pub(crate) use self::{
    driver::Sink,
    link::{Attached, CutOff, Trust},
};
