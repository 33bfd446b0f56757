//! The layer over a scripted origin, by an injected clock.

mod support;
#[path = "service/basics.rs"]
mod basics;
