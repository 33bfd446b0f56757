use std::{collections::HashMap, sync::Mutex};

use super::{name::Name, pool::lock};

/// What is on the disk, as far as is known: which files, and how much they take. It decides what
/// goes; what is found is decided by the files.
#[derive(Default)]
pub(super) struct Records {
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    places: HashMap<Name, u32>,
    items: Vec<Item>,
    /// Counts uses; wraps round.
    now: u32,
    /// Chooses whom to compare.
    random: u64,
    blocks: u64,
    /// By resource, what its variants take that are bounded by bytes.
    shares: HashMap<u64, u64>,
    /// All files have been seen.
    is_complete: bool,
}

struct Item {
    name: Name,
    /// Of a variant that counts towards its resource's share, else 0.
    resource: u64,
    blocks: u32,
    used_at: u32,
}

/// What files are counted in.
const BLOCK: u64 = 4096;
/// The one of so many that was used longest ago goes: near enough to the very oldest, and found at
/// once.
const SAMPLE: usize = 16;

impl Records {
    /// Enters a file of so many bytes that is now in place.
    pub(super) fn insert(&self, name: Name, bytes: u64, resource: Option<Name>) {
        let table = &mut *lock(&self.table);
        table.remove(name);
        let used_at = table.tick();
        table.insert(Item { name, resource: tag(resource), blocks: blocks(bytes), used_at });
    }

    /// Enters a file that was there already.
    pub(super) fn discover(&self, name: Name, bytes: u64) {
        let table = &mut *lock(&self.table);
        if !table.places.contains_key(&name) {
            let used_at = table.now;
            table.insert(Item { name, resource: 0, blocks: blocks(bytes), used_at });
        }
    }

    pub(super) fn remove(&self, name: Name) {
        lock(&self.table).remove(name);
    }

    pub(super) fn touch(&self, name: Name) {
        let table = &mut *lock(&self.table);
        if let Some(place) = table.places.get(&name).copied() {
            table.items[place as usize].used_at = table.tick();
        }
    }

    /// Whether it is certain that there is no such file.
    pub(super) fn rules_out(&self, name: Name) -> bool {
        let table = lock(&self.table);
        table.is_complete && !table.places.contains_key(&name)
    }

    /// All files have been discovered.
    pub(super) fn complete(&self) {
        lock(&self.table).is_complete = true;
    }

    /// Forgets all files; there are none.
    pub(super) fn clear(&self) {
        *lock(&self.table) = Table { is_complete: true, ..Table::default() };
    }

    /// Takes out what has not been used for long.
    pub(super) fn evict(&self) -> Option<Name> {
        let table = &mut *lock(&self.table);
        let (count, now) = (table.items.len(), table.now);
        let mut oldest: Option<(u32, usize)> = None;
        for n in 0..count.min(SAMPLE) {
            let place = if count <= SAMPLE { n } else { table.any() % count };
            let unused = now.wrapping_sub(table.items[place].used_at);
            oldest = oldest.max(Some((unused, place)));
        }
        let (_, oldest) = oldest?;
        let name = table.items[oldest].name;
        table.remove(name);
        Some(name)
    }

    pub(super) fn bytes(&self) -> u64 {
        lock(&self.table).blocks * BLOCK
    }

    pub(super) fn len(&self) -> u64 {
        lock(&self.table).items.len() as u64
    }

    /// What the variants of a resource take, but for `name`.
    pub(super) fn share_without(&self, resource: Name, name: Name) -> u64 {
        let table = lock(&self.table);
        let all = table.shares.get(&tag(Some(resource))).copied().unwrap_or_default();
        let own = table.places.get(&name).map(|place| &table.items[*place as usize]);
        let own = own.filter(|item| item.resource != 0).map_or(0, |item| item.blocks.into());
        all.saturating_sub(own) * BLOCK
    }
}

impl Table {
    fn tick(&mut self) -> u32 {
        self.now = self.now.wrapping_add(1);
        self.now
    }

    /// Any number (splitmix64).
    fn any(&mut self) -> usize {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) as usize
    }

    fn insert(&mut self, item: Item) {
        let Ok(place) = u32::try_from(self.items.len()) else { return };
        self.blocks += u64::from(item.blocks);
        if item.resource != 0 {
            *self.shares.entry(item.resource).or_default() += u64::from(item.blocks);
        }
        self.places.insert(item.name, place);
        self.items.push(item);
    }

    fn remove(&mut self, name: Name) {
        let Some(place) = self.places.remove(&name) else { return };
        let item = self.items.swap_remove(place as usize);
        if let Some(moved) = self.items.get(place as usize) {
            self.places.insert(moved.name, place);
        }
        self.blocks -= u64::from(item.blocks);
        if let Some(share) = self.shares.get_mut(&item.resource) {
            *share -= u64::from(item.blocks).min(*share);
            if *share == 0 {
                self.shares.remove(&item.resource);
            }
        }
    }
}

fn tag(resource: Option<Name>) -> u64 {
    resource.map_or(0, |resource| resource.number().max(1))
}

/// What a file of so many bytes takes.
pub(super) fn allocated(bytes: u64) -> u64 {
    u64::from(blocks(bytes)) * BLOCK
}

fn blocks(bytes: u64) -> u32 {
    u32::try_from(bytes.div_ceil(BLOCK)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(n: u8) -> Name {
        Name::parse("00", &format!("{n:030x}")).unwrap()
    }

    #[test]
    fn what_is_used_stays_longer() {
        let records = Records::default();
        for n in 0..10 {
            records.insert(name(n), 5000, None);
        }
        assert_eq!((records.len(), records.bytes()), (10, 10 * 8192));
        for n in 0..5 {
            records.touch(name(n));
        }
        let mut gone: Vec<Name> = (0..5).filter_map(|_| records.evict()).collect();
        gone.sort_by_key(Name::to_string);
        assert!(gone == (5..10).map(name).collect::<Vec<_>>());
        assert_eq!(records.bytes(), 5 * 8192);
        assert_eq!((0..9).filter_map(|_| records.evict()).count(), 5);
        assert_eq!((records.len(), records.bytes()), (0, 0));
    }

    /// Whatever takes its place, the newest stays while there is anything else to choose from.
    #[test]
    fn the_newest_do_not_go() {
        let records = Records::default();
        let named = |n: u32| Name::parse("00", &format!("{n:030x}")).unwrap();
        for n in 0..5000 {
            records.insert(named(n), 12_000, None);
            if n >= 167 {
                let gone = records.evict().unwrap();
                assert!((n.saturating_sub(20)..=n).all(|newest| named(newest) != gone), "{n}");
            }
        }
    }

    #[test]
    fn only_a_complete_table_rules_a_file_out() {
        let records = Records::default();
        assert!(!records.rules_out(name(1)));
        records.complete();
        assert!(records.rules_out(name(1)));
        records.discover(name(1), 1);
        assert!(!records.rules_out(name(1)));
    }

    #[test]
    fn shares_follow_what_is_there() {
        let (records, resource) = (Records::default(), name(100));
        records.insert(name(1), 4096, Some(resource));
        records.insert(name(2), 4096, Some(resource));
        records.insert(name(3), 4096, None);
        assert_eq!(records.share_without(resource, name(3)), 8192);
        assert_eq!(records.share_without(resource, name(2)), 4096);
        records.remove(name(1));
        assert_eq!(records.share_without(resource, name(3)), 4096);
    }

    /// What `DiskOptions::max_entries` says.
    #[test]
    fn an_entry_takes_at_most_150_bytes() {
        // A table and a list are at worst twice as large as what is in them.
        let table = 8 * (size_of::<(Name, u32)>() + 1) * 2 / 7;
        assert!(table + 2 * size_of::<Item>() <= 150);
    }
}
