//! The store in Redis: by the public suite, and what only it promises.

mod away;
mod cut;
mod damage;
mod large;
mod nodes;
#[path = "../support/page.rs"]
mod page;
#[path = "../support/pair.rs"]
mod pair;
mod processes;
mod server;
#[path = "../support/mod.rs"]
mod support;
mod users;

use std::time::Duration;

use larder::{BoxManager, MemoryManager, storage::Tiered, storage_suite};

use self::{
    pair::Pair,
    server::{namespace, options, shared, store},
};

/// In the place of a store in Redis where there is none; the test has said so.
fn nothing() -> BoxManager {
    BoxManager::new(MemoryManager::new(1 << 20))
}

storage_suite!(redis, async || store().map_or_else(nothing, BoxManager::new));
storage_suite!(by_turns, async || {
    shared().map_or_else(nothing, |url| {
        let namespace = namespace();
        let open = || options(&namespace).open(url).expect("the URL is fine");
        BoxManager::new(Pair::of([open(), open()]))
    })
});
storage_suite!(tiered, async || {
    let tiered = |slow| {
        // Other jobs hold the machine.
        Tiered::new(MemoryManager::new(1 << 20), slow).slow_timeout(Duration::from_secs(10))
    };
    store().map_or_else(nothing, |slow| BoxManager::new(tiered(slow)))
});
