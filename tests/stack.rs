//! The layer in real servers and round real clients, over loopback.

#![cfg(all(feature = "memory", feature = "reqwest", feature = "tokio"))]

#[cfg(feature = "admin")]
#[path = "stack/admin.rs"]
mod admin;
#[path = "stack/clients.rs"]
mod clients;
#[path = "stack/codings.rs"]
mod codings;
#[path = "stack/cut.rs"]
mod cut;
#[path = "stack/net.rs"]
mod net;
#[cfg(feature = "admin")]
#[path = "../examples/support/peers.rs"]
mod peers;
#[path = "stack/raw.rs"]
mod raw;
#[path = "stack/servers.rs"]
mod servers;
#[cfg(feature = "admin")]
#[path = "../examples/support/stop.rs"]
mod stop;
mod support;
