//! RFC 9111 once more, written from its text alone: slow, obvious, and without a line of the crate.
//!
//! What the text leaves open is a set of allowed answers ([`Tri`], or several stored responses);
//! where our documentation decides it, the decision is named beside the rule.

pub mod dates;
mod directives;
mod freshness;
mod message;
mod partial;
mod preconditions;
mod reuse;
mod serving;
mod stale;
mod store;
mod storing;
mod tri;
mod unsafety;
mod updating;
mod uri;
mod vary;

pub use self::{
    dates::{asctime, imf, rfc850},
    message::{Fields, Millis, Request, Response},
    partial::Part,
    reuse::Ask,
    serving::LENGTH,
    store::{Id, Options, Oracle, Reload, SetCookie, Stored},
    storing::dated,
    tri::Tri,
    unsafety::{Method, method},
};
