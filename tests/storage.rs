//! The stores: all of them by the public suite, and what only the one in memory promises.

#![cfg(all(feature = "memory", feature = "test-suite"))]

#[path = "support/counting.rs"]
mod counting;
#[allow(dead_code, reason = "nobody runs its `main` here")]
#[path = "../examples/custom_manager.rs"]
mod custom_manager;
#[path = "storage/exchange.rs"]
mod exchange;
#[cfg(feature = "disk")]
#[path = "storage/fuzz/mod.rs"]
mod fuzz;
#[cfg(feature = "codec")]
#[path = "storage/key_value.rs"]
mod key_value;
#[path = "storage/memory.rs"]
mod memory_manager;
mod support;
#[path = "storage/threads.rs"]
mod threads;
#[path = "storage/weight.rs"]
mod weight;

use larder::{BoxManager, MemoryManager, storage::Tiered, storage_suite};

use self::custom_manager::MapManager;
#[cfg(feature = "codec")]
use self::key_value::KeyValueManager;

storage_suite!(memory, async || MemoryManager::new(1 << 20));
storage_suite!(small_entries, async || MemoryManager::with_max_entry_bytes(1 << 20, 1 << 10));
storage_suite!(boxed, async || BoxManager::new(MemoryManager::new(1 << 20)));
storage_suite!(custom, async || MapManager::default());
#[cfg(feature = "codec")]
storage_suite!(key_value_map, async || KeyValueManager::new());
storage_suite!(boxed_custom, async || BoxManager::new(BoxManager::new(MapManager::default())));
storage_suite!(tiered, async || {
    Tiered::new(MemoryManager::new(1 << 20), MemoryManager::new(1 << 20))
});
storage_suite!(tiered_by_size, async || {
    let fast = MemoryManager::with_max_entry_bytes(1 << 20, 1 << 10);
    BoxManager::new(Tiered::new(fast, MemoryManager::new(1 << 20)).fast_entry_bytes(64))
});
