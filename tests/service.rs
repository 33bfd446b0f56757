//! The layer over a scripted origin, by an injected clock.

#![cfg(feature = "memory")]

mod support;

#[cfg(feature = "admin")]
#[path = "service/admin.rs"]
mod admin;
#[path = "service/basics.rs"]
mod basics;
#[path = "service/bodies.rs"]
mod bodies;
#[path = "service/bus.rs"]
mod bus;
#[path = "service/bus_faults.rs"]
mod bus_faults;
#[path = "service/cache_status.rs"]
mod cache_status;
#[path = "service/clearing.rs"]
mod clearing;
#[path = "service/collapse.rs"]
mod collapse;
#[path = "service/combining.rs"]
mod combining;
#[path = "service/completing.rs"]
mod completing;
#[path = "service/conditions.rs"]
mod conditions;
#[path = "service/directives.rs"]
mod directives;
#[path = "service/discovery.rs"]
mod discovery;
#[path = "service/downstream.rs"]
mod downstream;
#[path = "service/edges.rs"]
mod edges;
#[path = "service/failing.rs"]
mod failing;
#[path = "service/fencing.rs"]
mod fencing;
#[path = "service/fill.rs"]
mod fill;
#[path = "service/freshness.rs"]
mod freshness;
#[path = "service/gate.rs"]
mod gate;
#[path = "service/groups.rs"]
mod groups;
#[path = "service/handle.rs"]
mod handle;
#[path = "service/head_as_get.rs"]
mod head_as_get;
#[path = "service/hooks.rs"]
mod hooks;
#[path = "service/interleavings.rs"]
mod interleavings;
#[path = "service/invalidation.rs"]
mod invalidation;
#[path = "service/key.rs"]
mod key;
#[path = "service/leaders.rs"]
mod leaders;
#[path = "service/mixed.rs"]
mod mixed;
#[path = "service/modes.rs"]
mod modes;
#[path = "service/notes.rs"]
mod notes;
#[cfg(feature = "metrics")]
#[path = "service/numbers.rs"]
mod numbers;
#[path = "service/observing.rs"]
mod observing;
#[path = "service/observing_store.rs"]
mod observing_store;
#[path = "service/outdating.rs"]
mod outdating;
#[path = "service/partial.rs"]
mod partial;
#[path = "service/posting.rs"]
mod posting;
#[path = "service/purging.rs"]
mod purging;
#[path = "service/query.rs"]
mod query;
#[path = "service/quota.rs"]
mod quota;
#[path = "service/ranges.rs"]
mod ranges;
#[path = "service/refresh.rs"]
mod refresh;
#[path = "service/requests.rs"]
mod requests;
#[path = "service/second_opinion.rs"]
mod second_opinion;
#[path = "service/security.rs"]
mod security;
#[path = "service/selecting.rs"]
mod selecting;
#[path = "service/sharing.rs"]
mod sharing;
#[path = "service/slow_store.rs"]
mod slow_store;
#[path = "service/soft.rs"]
mod soft;
#[cfg(feature = "tracing")]
#[path = "service/spans.rs"]
mod spans;
#[path = "service/spy.rs"]
mod spy;
#[path = "service/stale.rs"]
mod stale;
#[path = "service/storing.rs"]
mod storing;
#[path = "service/sweeping.rs"]
mod sweeping;
#[path = "service/tagging.rs"]
mod tagging;
#[path = "service/tags.rs"]
mod tags;
#[path = "service/targeted.rs"]
mod targeted;
#[path = "service/tiered.rs"]
mod tiered;
#[path = "service/users.rs"]
mod users;
#[path = "service/uses.rs"]
mod uses;
#[path = "service/validation.rs"]
mod validation;
#[path = "service/variants.rs"]
mod variants;
#[path = "service/versions.rs"]
mod versions;
#[path = "service/whole.rs"]
mod whole;
#[path = "service/whole_for_range.rs"]
mod whole_for_range;
