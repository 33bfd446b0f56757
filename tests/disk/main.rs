//! The store on disk: by the public suite, and what only it promises.

#![cfg(all(feature = "disk", feature = "test-suite", feature = "tokio"))]

mod ahead;
mod bounds;
mod catalog;
mod damage;
mod full;
mod guests;
mod killed;
mod large;
mod many;
mod opening;
#[path = "../support/page.rs"]
mod page;
#[path = "../support/pair.rs"]
mod pair;
mod power;
mod processes;
mod purges;
mod read_only;
mod reads;
mod restarts;
#[path = "../support/scratch.rs"]
mod scratch;
mod selectors;
mod site;

use larder::{
    BoxManager, DiskManager, MemoryManager,
    storage::{DiskOptions, Durability, Tiered},
    storage_suite,
};

use self::{pair::Pair, site::scratch};

fn small(durability: Durability) -> DiskManager {
    let options = DiskOptions::new().max_bytes(8 << 20).durability(durability);
    options.open(scratch()).expect("the store opens")
}

storage_suite!(relaxed, async || small(Durability::Relaxed));
storage_suite!(strict, async || small(Durability::Strict));
storage_suite!(boxed, async || BoxManager::new(small(Durability::Relaxed)));
storage_suite!(owner_and_guest, async || {
    let path = scratch();
    let open = || DiskOptions::new().max_bytes(8 << 20).open(&path).expect("the store opens");
    let stores = [open(), open()];
    assert!(!stores[0].is_guest() && stores[1].is_guest());
    Pair::of(stores)
});
storage_suite!(tiered, async || {
    let tiered = Tiered::new(MemoryManager::new(1 << 20), small(Durability::Relaxed));
    // Other jobs hold the machine.
    tiered.slow_timeout(std::time::Duration::from_secs(10))
});
storage_suite!(boxed_tiered, async || {
    let fast = BoxManager::new(MemoryManager::new(1 << 20));
    let tiered = Tiered::new(fast, BoxManager::new(small(Durability::Relaxed)));
    BoxManager::new(tiered.slow_timeout(std::time::Duration::from_secs(10)))
});
