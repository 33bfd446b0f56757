//! Taking responses out: what to purge, and the log that says what was.
//!
//! A purge is a record in an ordered log. Every stored response carries the position at which its
//! fill began: what a later record selects is not served, at once and whatever the number of
//! entries. The sweeper comes behind, frees memory and counts.

mod display;
mod events;
mod index;
#[cfg(feature = "json")]
pub(crate) mod json;
#[cfg(any(feature = "disk", feature = "redis"))]
mod keeping;
mod log;
mod prefix;
mod selector;
mod sweeps;
mod table;
mod written;

#[cfg(test)]
mod tests;

#[cfg(feature = "redis")]
pub(crate) use self::keeping::Heard;
#[cfg(feature = "disk")]
pub(crate) use self::keeping::Records;
#[cfg(any(feature = "disk", feature = "redis"))]
pub(crate) use self::log::Persist;
pub(crate) use self::{
    events::Callback,
    sweeps::{Counting, Tally, Turn},
    table::Verdict,
};
pub use self::{
    events::{PurgeEvent, PurgeRecord, PurgeStream},
    log::PurgeLog,
    selector::Purge,
    sweeps::Purged,
};
