//! Purges of other nodes: a bus carries them, each cache publishes its own and applies those of the
//! others.

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
