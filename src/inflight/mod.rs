//! Who is asking the origin for what.

mod asker;
mod fetching;
mod group;
mod table;

pub(crate) use self::{
    asker::{Asker, Entered, Rechecks},
    fetching::{Fetching, Lapse},
    table::Inflight,
};
