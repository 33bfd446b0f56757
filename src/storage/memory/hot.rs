//! The heads that are asked for again and again, as maps.

use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError, TryLockError};

use crate::{
    policy::{PackedHead, StoredHead},
    stripe,
};

/// What is stored is packed. A head that is asked for twice is unpacked and kept so, for each thread by
/// itself: then no two of them count references in the same place, which costs more than the look-up.
///
/// Each stripe is a table with one place for each packed head. A head that is there defends its place
/// against another one for as long as it is asked for more often.
pub(super) struct Hot {
    stripes: Box<[OnceLock<Box<[Place]>>]>,
    places: usize,
}

/// Its lock is that of the threads of one stripe, of which there is seldom a second one.
type Place = Mutex<Held>;

#[derive(Default)]
struct Held {
    head: Option<StoredHead>,
    /// Which head was the last to find the place taken.
    rival: usize,
    /// How often the rival has to come.
    defence: u8,
}

/// The heaviest head that is kept as a map.
const MAX_HEAD: usize = 4 << 10;
const MAX_DEFENCE: u8 = 4;

impl Hot {
    /// At most `bytes`, shared out to all stripes.
    pub(super) fn new(bytes: u64) -> Self {
        let stripes = stripe::count();
        let places = usize::try_from(bytes).unwrap_or(usize::MAX) / (stripes * MAX_HEAD);
        Self {
            stripes: (0..stripes).map(|_| OnceLock::new()).collect(),
            places: 1 << places.clamp(1, 1 << 14).ilog2(),
        }
    }

    /// The head that was packed, to be read by this thread.
    #[inline]
    pub(super) fn unpack(&self, packed: &PackedHead) -> StoredHead {
        let address = packed.address();
        let own = &self.stripes[stripe::of(self.stripes.len())];
        let places = own.get_or_init(|| (0..self.places).map(|_| Place::default()).collect());
        let at = spread(address) & (self.places - 1);
        let mut held = match places[at].try_lock() {
            Ok(held) => held,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return packed.unpack(),
        };
        match &held.head {
            Some(head) if packed.is_of(head) => {
                let head = head.clone();
                held.defence = MAX_DEFENCE;
                head
            }
            _ => held.admit(address, packed.unpack()),
        }
    }

    pub(super) fn clear(&self) {
        let lock = |place| Mutex::lock(place).unwrap_or_else(PoisonError::into_inner);
        for place in self.stripes.iter().filter_map(OnceLock::get).flatten() {
            let mut held: MutexGuard<'_, Held> = lock(place);
            *held = Held::default();
        }
    }
}

impl Held {
    #[cold]
    fn admit(&mut self, address: usize, head: StoredHead) -> StoredHead {
        if self.rival != address {
            self.rival = address;
        } else if self.defence > 0 {
            self.defence -= 1;
        } else if head.weight() <= MAX_HEAD {
            // Weighing it has made the map.
            self.head = Some(head.clone());
        }
        head
    }
}

/// Addresses are multiples of what is allocated; their upper bits tell them apart.
fn spread(address: usize) -> usize {
    ((address as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{policy::StoredResponse, storage::memory::record::tests::packed};

    #[test]
    fn a_head_is_kept_as_a_map_from_its_second_use_on() {
        let (hot, head) = (Hot::new(0), packed("/a"));
        let uses: Vec<_> = (0..4).map(|_| hot.unpack(&head)).collect();
        assert!(!uses[0].is(&uses[1]));
        assert!(uses[1].is(&uses[2]) && uses[2].is(&uses[3]));
        hot.clear();
        assert!(!hot.unpack(&head).is(&uses[3]));
    }

    /// A walk over many heads takes no place from one that is in use.
    #[test]
    fn a_head_in_use_keeps_its_place() {
        let (hot, head) = (Hot::new(0), packed("/a"));
        hot.unpack(&head);
        let kept = hot.unpack(&head);
        let others: Vec<_> = (0..100).map(|n| packed(&format!("/{n}"))).collect();
        for other in &others {
            hot.unpack(other);
            assert!(hot.unpack(&head).is(&kept));
        }
        // It makes room for one that comes again and again.
        let uses: Vec<_> = (0..8).map(|_| hot.unpack(&others[0])).collect();
        assert!(uses[6].is(&uses[7]));
        assert!(!hot.unpack(&head).is(&kept));
    }

    /// Heads are told apart by what they share, which is all but the fields.
    #[test]
    fn a_head_that_got_a_field_is_another_one() {
        let head = packed("/a");
        let longer = StoredResponse::new(head.unpack(), 5);
        assert!(head.is_of(&head.unpack()));
        assert!(!head.is_of(longer.head()));
    }

    #[test]
    fn threads_share_no_head() {
        let (hot, head) = (Hot::new(0), packed("/a"));
        let twice = || (hot.unpack(&head), hot.unpack(&head)).1;
        let (here, there) = std::thread::scope(|scope| {
            let there = scope.spawn(twice);
            (twice(), there.join().unwrap())
        });
        assert_eq!(here.headers(), there.headers());
        assert!(stripe::count() == 1 || !here.is(&there));
    }
}
