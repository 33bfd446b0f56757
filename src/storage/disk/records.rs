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
    /// Goes round and takes what was not used since it last came by.
    hand: usize,
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
    uses: u8,
}

/// What files are counted in.
const BLOCK: u64 = 4096;
/// As often does the hand pass by what is used much.
const MAX_USES: u8 = 3;

impl Records {
    /// Enters a file of so many bytes that is now in place.
    pub(super) fn insert(&self, name: Name, bytes: u64, resource: Option<Name>) {
        // The hand passes by once: what is removed leaves its place, right under the hand, to the
        // newest.
        let item = Item { name, resource: tag(resource), blocks: blocks(bytes), uses: 1 };
        let table = &mut *lock(&self.table);
        table.remove(name);
        table.insert(item);
    }

    /// Enters a file that was there already.
    pub(super) fn discover(&self, name: Name, bytes: u64) {
        let table = &mut *lock(&self.table);
        if !table.places.contains_key(&name) {
            table.insert(Item { name, resource: 0, blocks: blocks(bytes), uses: 0 });
        }
    }

    pub(super) fn remove(&self, name: Name) {
        lock(&self.table).remove(name);
    }

    pub(super) fn touch(&self, name: Name) {
        let table = &mut *lock(&self.table);
        if let Some(place) = table.places.get(&name) {
            let item = &mut table.items[*place as usize];
            item.uses = (item.uses + 1).min(MAX_USES);
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
        loop {
            if table.items.is_empty() {
                return None;
            }
            table.hand %= table.items.len();
            let item = &mut table.items[table.hand];
            if item.uses == 0 {
                let name = item.name;
                table.remove(name);
                return Some(name);
            }
            item.uses -= 1;
            table.hand += 1;
        }
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
