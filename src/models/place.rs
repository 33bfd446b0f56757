use std::sync::Arc;

use super::{model, spawn};
use crate::{
    place::{Marks, Place},
    sync::{Mutex, lock},
};

/// One record, in a store of one, before which a thread keeps what it finds.
#[derive(Default)]
struct Store {
    record: Mutex<Option<Record>>,
    places: [Place<Record>; 2],
}

#[derive(Clone)]
struct Record {
    version: u32,
    marks: Arc<Marks>,
}

impl Store {
    fn of(version: u32) -> Arc<Self> {
        let store = Self::default();
        store.put(version);
        Arc::new(store)
    }

    /// As a store in memory does: from the thread's own place, else from the store.
    fn get(&self, stripe: usize) -> Option<u32> {
        let place = &self.places[stripe];
        if let Some(kept) = place.find(|_| true) {
            return Some(kept.version);
        }
        let found = lock(&self.record).clone()?;
        place.keep(0, || found.marks.enter(stripe).then(|| found.clone()));
        Some(found.version)
    }

    /// What was there goes under the lock of the store, as in an eviction.
    fn put(&self, version: u32) {
        let mut record = lock(&self.record);
        if let Some(old) = record.replace(Record { version, marks: Arc::default() }) {
            for stripe in old.marks.leave() {
                self.places[stripe].take(|kept| kept.version == old.version);
            }
        }
    }
}

/// Whoever has seen the new record, or comes when it is there, finds nothing older, whoever keeps
/// what meanwhile.
#[test]
fn loom_no_thread_keeps_what_the_store_has_let_go_of() {
    for stripes in [[0, 0], [0, 1]] {
        model(move || {
            let store = Store::of(1);
            let others = stripes.map(|stripe| {
                let store = store.clone();
                spawn(move || {
                    let seen = [(); 2].map(|()| store.get(stripe).unwrap());
                    assert!(seen.is_sorted(), "{seen:?}");
                })
            });
            store.put(2);
            for stripe in stripes {
                assert_eq!(store.get(stripe), Some(2));
            }
            others.into_iter().for_each(|other| other.join().unwrap());
            for stripe in stripes {
                assert_eq!(store.get(stripe), Some(2));
            }
        });
    }
}
