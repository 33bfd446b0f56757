use std::{future::poll_fn, sync::Arc, time::Duration};

use http::Request;
use http_body::SizeHint;

use super::{block_on, flight, model, now, spawn};
use crate::{
    executor::NoExecutor,
    flight::{Disconnect, Landing, Passenger, Pilot},
    inflight::{Asker, Entered, Fetching, Inflight},
    policy::{Begin, CacheKey, NameSet, Policy, Role, VariantKey},
    sync::{Mutex, lock},
};

fn key() -> CacheKey {
    key_of("/")
}

fn key_of(path: &str) -> CacheKey {
    let uri = format!("http://a.example{path}");
    let (head, ()) = Request::get(uri).body(()).unwrap().into_parts();
    match Policy::shared().begin(&head, &SizeHint::with_exact(0)) {
        Begin::Lookup(lookup) => lookup.key().clone(),
        _ => unreachable!("a plain GET is looked up"),
    }
}

fn no_variant(_: &NameSet) -> VariantKey {
    unreachable!("nothing varies here")
}

fn asker<'a>(key: &'a CacheKey, ended: Option<u64>, waited_for: &'a [u64]) -> Asker<'a> {
    Asker {
        key,
        began: 0,
        role: Role::Either,
        now: now(),
        tried: &[],
        waited_for,
        patience: Duration::from_secs(10),
        ended,
        names: None,
        variant: &no_variant,
    }
}

fn enter(inflight: &Arc<Inflight>, key: &CacheKey, ended: u64) -> Entered {
    let begin = || flight(Arc::new(NoExecutor), Disconnect::Abandon);
    inflight.enter(&asker(key, Some(ended), &[]), begin)
}

/// A store of one response: its generation, and what is there.
#[derive(Default)]
struct Store(Mutex<(u64, Option<&'static str>)>);

impl Store {
    fn get(&self) -> Option<&'static str> {
        lock(&self.0).1
    }

    fn generation(&self) -> u64 {
        lock(&self.0).0
    }

    fn put(&self, generation: u64, response: &'static str) {
        let mut state = lock(&self.0);
        if state.0 == generation {
            state.1 = Some(response);
        }
    }

    /// Nothing is deleted between the two.
    fn put_now(&self, response: &'static str, admits: impl FnOnce() -> bool) {
        let mut state = lock(&self.0);
        if admits() {
            state.1 = Some(response);
        }
    }

    fn delete(&self) {
        let mut state = lock(&self.0);
        *state = (state.0 + 1, None);
    }
}

/// Asks as the driver does, until there is a response; how often the origin was asked for it.
fn ask(inflight: &Arc<Inflight>, key: &CacheKey, store: &Arc<Store>) -> usize {
    loop {
        let ended = inflight.ended();
        if store.get().is_some() {
            return 0;
        }
        match enter(inflight, key, ended) {
            Entered::Asking(fetching, passenger) => {
                let pilot = Pilot::new(passenger.flight().board().clone());
                let store = store.clone();
                passenger.flight().begin(Box::pin(async move {
                    store.put(store.generation(), "new");
                    drop(fetching);
                    pilot.land(Landing::LookAgain);
                }));
                block_on(poll_fn(|cx| passenger.poll_landing(cx)));
                return 1;
            }
            Entered::Waiting(_, passenger) => {
                let landing = block_on(poll_fn(|cx| passenger.poll_landing(cx)));
                assert!(matches!(landing, Landing::LookAgain));
            }
            Entered::LookAgain => {}
            Entered::Arrived(..) | Entered::KeepWaiting => unreachable!("nothing is shared here"),
        }
    }
}

/// A look-up that finds nothing, and a response that comes into the store meanwhile: the origin is
/// asked once.
#[test]
fn loom_what_has_just_come_is_not_asked_for_again() {
    model(|| {
        let (inflight, store, key) = (Arc::new(Inflight::default()), Arc::default(), key());
        let other = spawn({
            let (inflight, store, key) = (inflight.clone(), Arc::clone(&store), key.clone());
            move || ask(&inflight, &key, &store)
        });
        let here = ask(&inflight, &key, &store);
        assert_eq!(here + other.join().unwrap(), 1);
    });
}

fn asking(inflight: &Arc<Inflight>, key: &CacheKey) -> (Fetching, Passenger) {
    match enter(inflight, key, inflight.ended()) {
        Entered::Asking(fetching, passenger) => (fetching, passenger),
        _ => unreachable!("nobody else asks"),
    }
}

/// RFC 9111 §4.4: what was asked for before an unsafe request changed it is not in the store
/// afterwards, and nobody who comes later waits for it.
#[test]
fn loom_what_is_older_than_an_invalidation_is_not_stored() {
    model(|| {
        let (inflight, store, key) =
            (Arc::new(Inflight::default()), Arc::new(Store::default()), key());
        let (fetching, _passenger) = asking(&inflight, &key);
        let fetch = spawn({
            let store = store.clone();
            move || {
                let generation = store.generation();
                if !fetching.is_invalidated() {
                    store.put(generation, "old");
                }
            }
        });
        inflight.invalidate(&key);
        store.delete();
        assert!(!matches!(enter(&inflight, &key, inflight.ended()), Entered::Waiting(..)));
        fetch.join().unwrap();
        assert_eq!(store.get(), None);
    });
}

/// The same of what is stored without waiting, where it is deleted as where what is found is removed, and there
/// may be nothing yet.
#[test]
fn loom_what_is_stored_at_once_is_not_older_than_an_invalidation() {
    for is_deleted in [true, false] {
        model(move || {
            let (inflight, store, key) =
                (Arc::new(Inflight::default()), Arc::new(Store::default()), key());
            let (fetching, _passenger) = asking(&inflight, &key);
            let fetch = spawn({
                let store = store.clone();
                move || {
                    store.put_now("old", || !fetching.is_invalidated());
                    if fetching.is_invalidated() {
                        store.delete();
                    }
                }
            });
            inflight.invalidate(&key);
            if is_deleted || store.get().is_some() {
                store.delete();
            }
            fetch.join().unwrap();
            assert_eq!(store.get(), None);
        });
    }
}

/// One refresh at a time, however many want it; and one that has just ended is not begun again.
#[test]
fn loom_one_of_two_refreshes_is_made() {
    model(|| {
        let (inflight, store, key) =
            (Arc::new(Inflight::default()), Arc::new(Store::default()), key());
        let refresh = |inflight: &Arc<Inflight>, store: &Store, key: &CacheKey| {
            let ended = inflight.ended();
            if store.get().is_some() {
                return 0;
            }
            let begin = || flight(Arc::new(NoExecutor), Disconnect::Abandon);
            let begun = inflight.enter_refresh(&asker(key, Some(ended), &[]), begin);
            let Some((fetching, _passenger)) = begun else { return 0 };
            store.put(store.generation(), "new");
            drop(fetching);
            1
        };
        let other = spawn({
            let (inflight, store, key) = (inflight.clone(), store.clone(), key.clone());
            move || refresh(&inflight, &store, &key)
        });
        let here = refresh(&inflight, &store, &key);
        assert_eq!(here + other.join().unwrap(), 1);
        assert_eq!(inflight.len(), 0);
    });
}

/// What ends for others is no reason to look again, or a slow store would be asked for ever.
#[cfg(not(larder_loom))]
#[test]
fn what_ends_for_others_keeps_nobody() {
    let inflight = Arc::new(Inflight::default());
    let ended = inflight.ended();
    for n in 0..200 {
        drop(asking(&inflight, &key_of(&format!("/other/{n}"))));
    }
    let looks_again = |n| {
        let entered = enter(&inflight, &key_of(&format!("/own/{n}")), ended);
        matches!(entered, Entered::LookAgain)
    };
    let kept = (0..50).filter(|n| looks_again(*n)).count();
    assert!(kept < 10, "{kept} of 50");
    assert!(matches!(enter(&inflight, &key_of("/other/0"), ended), Entered::LookAgain));
}
