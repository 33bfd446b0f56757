//! What the layer promises to the services round it and inside of it, without a socket.

#![cfg(all(feature = "memory", feature = "reqwest", feature = "tokio"))]

#[path = "layering/axum_app.rs"]
mod axum_app;
#[path = "layering/bounds.rs"]
mod bounds;
#[path = "layering/dropping.rs"]
mod dropping;
#[path = "layering/inside_axum.rs"]
mod inside_axum;
#[path = "layering/limits.rs"]
mod limits;
#[path = "layering/readiness.rs"]
mod readiness;
#[path = "layering/services.rs"]
mod services;
#[path = "layering/sources.rs"]
mod sources;
#[path = "layering/steps.rs"]
mod steps;
mod support;
