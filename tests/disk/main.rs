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
mod pair;
mod power;
mod processes;
mod purges;
mod read_only;
mod reads;
mod restarts;
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
storage_suite!(owner_and_guest, async || Pair::new());
storage_suite!(tiered, async || {
    Tiered::new(MemoryManager::new(1 << 20), small(Durability::Relaxed))
});
storage_suite!(boxed_tiered, async || {
    let fast = BoxManager::new(MemoryManager::new(1 << 20));
    BoxManager::new(Tiered::new(fast, BoxManager::new(small(Durability::Relaxed))))
});
