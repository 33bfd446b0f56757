use std::{
    collections::{HashMap, HashSet},
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use super::{
    name::Name,
    pool::lock,
    table::{BLOCK, Change, Extent, Item, News, Table},
};
use crate::storage::Usage;

/// What is on the disk, as far as is known: which files, and how much they take. It decides what
/// goes; what is found is decided by the files.
#[derive(Default)]
pub(super) struct Records {
    pub(super) table: Mutex<Table>,
    /// How many have gone to make room,
    evicted: AtomicU64,
    /// how many variants did since there were too many,
    variants_evicted: AtomicU64,
    /// and how many did not come, since they took too much.
    variants_refused: AtomicU64,
    /// By share, what is about to count towards it.
    claims: Mutex<HashMap<u64, u64>>,
}

/// Bytes of a share. Given back when it is dropped: the file is in the table by then, or never is.
pub(super) struct Claim<'a> {
    records: &'a Records,
    whose: u64,
    bytes: u64,
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        let claims = &mut *lock(&self.records.claims);
        if let Some(claimed) = claims.get_mut(&self.whose) {
            *claimed = claimed.saturating_sub(self.bytes);
            if *claimed == 0 {
                claims.remove(&self.whose);
            }
        }
    }
}

/// What is known of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Known {
    /// It took so many bytes when it was last seen.
    Takes(u64),
    /// It is certain that there is none.
    Absent,
    Nothing,
}

impl Known {
    pub(super) fn bytes(self) -> Option<u64> {
        if let Self::Takes(bytes) = self { Some(bytes) } else { None }
    }
}

/// So many items are looked at while others wait.
const SLICE: usize = 4096;

impl Records {
    /// Records of which a catalog is kept, which is still to be read.
    pub(super) fn cataloged() -> Self {
        let table = Table::new(Some(News::default()), Some(HashSet::new()));
        Self { table: Mutex::new(table), ..Self::default() }
    }

    /// Enters a file of so many bytes that is now in place.
    pub(super) fn insert(&self, name: Name, bytes: u64, resource: Option<Name>) {
        let table = &mut *lock(&self.table);
        table.remove(name);
        let (extent, used_at) = (Extent::of(bytes), table.tick());
        table.insert(Item { name, resource: tag(resource), extent, used_at });
        table.note(Change::There(name));
    }

    /// Enters a file that was there already, with what it takes now.
    pub(super) fn discover(&self, name: Name, bytes: u64) {
        lock(&self.table).discover(name, Extent::of(bytes));
    }

    /// A file was found, and is used.
    pub(super) fn touch(&self, name: Name, bytes: u64) {
        let table = &mut *lock(&self.table);
        let is_known = table.touch(name);
        if table.loading.is_some() {
            // It will be known soon; a short program ends before.
            table.note(Change::Used(name));
        } else if !is_known && table.is_complete {
            // Another process has put it there.
            table.discover(name, Extent::of(bytes));
        }
    }

    pub(super) fn remove(&self, name: Name) {
        let table = &mut *lock(&self.table);
        table.remove(name);
        table.note(Change::Gone(name));
    }

    pub(super) fn known(&self, name: Name) -> Known {
        let table = lock(&self.table);
        match table.get(name) {
            Some(item) => Known::Takes(item.extent.blocks() * BLOCK),
            None if table.is_complete => Known::Absent,
            None => Known::Nothing,
        }
    }

    /// Whether all files have been discovered.
    pub(super) fn set_complete(&self, is_complete: bool) {
        lock(&self.table).is_complete = is_complete;
    }

    /// Forgets all files; there are none.
    pub(super) fn clear(&self) {
        let table = &mut *lock(&self.table);
        *table = table.cleared();
    }

    /// Takes out what has not been used for long.
    pub(super) fn evict(&self) -> Option<Name> {
        let table = &mut *lock(&self.table);
        let name = table.oldest()?;
        table.remove(name);
        table.note(Change::Gone(name));
        self.evicted.fetch_add(1, Ordering::Relaxed);
        Some(name)
    }

    pub(super) fn variant_evicted(&self) {
        self.variants_evicted.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn variant_refused(&self) {
        self.variants_refused.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn usage(&self) -> Usage {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Usage::new(self.len(), self.bytes())
            .with_evicted(read(&self.evicted))
            .with_variants(read(&self.variants_evicted), read(&self.variants_refused))
    }

    pub(super) fn bytes(&self) -> u64 {
        lock(&self.table).blocks.saturating_mul(BLOCK)
    }

    pub(super) fn len(&self) -> u64 {
        lock(&self.table).items.len() as u64
    }

    /// Claims room in a share for the file under `name`, in place of the one that is there. `None`:
    /// it would take more than the `limit`, with all that others are about to put there.
    pub(super) fn claim(
        &self,
        whose: Name,
        name: Name,
        bytes: u64,
        limit: u64,
    ) -> Option<Claim<'_>> {
        let bytes = allocated(bytes);
        let claims = &mut *lock(&self.claims);
        let others = self.share_without(whose, name);
        let whose = tag(Some(whose));
        let claimed = claims.get(&whose).copied().unwrap_or_default();
        let others = others.saturating_add(claimed);
        if others.saturating_add(bytes) > limit {
            return None;
        }
        *claims.entry(whose).or_default() += bytes;
        Some(Claim { records: self, whose, bytes })
    }

    /// What is in a share, but for `name`.
    pub(super) fn share_without(&self, whose: Name, name: Name) -> u64 {
        let (whose, table) = (tag(Some(whose)), lock(&self.table));
        let all = table.shares.get(&whose).copied().unwrap_or_default();
        let own = table.get(name).filter(|item| item.resource == whose);
        all.saturating_sub(own.map_or(0, |item| item.extent.blocks())) * BLOCK
    }

    /// Nothing counts as seen any more.
    pub(super) fn doubt_all(&self) {
        self.for_each(|item| item.extent.doubt());
    }

    /// What has not been seen since.
    pub(super) fn doubted(&self) -> Vec<Name> {
        let mut doubted = Vec::new();
        self.for_each(|item| doubted.extend((!item.extent.is_seen()).then_some(item.name)));
        doubted
    }

    fn for_each(&self, mut look: impl FnMut(&mut Item)) {
        let mut end = usize::MAX;
        while end > 0 {
            end = self.slice(end, &mut look);
        }
    }

    /// Looks at the items before `end`, not all at once: gives the next end. To begin at the end and
    /// go down to 0 is to look at all that are there the whole time, at some perhaps twice.
    pub(super) fn slice(&self, end: usize, look: impl FnMut(&mut Item)) -> usize {
        let table = &mut *lock(&self.table);
        let end = end.min(table.items.len());
        let start = end.saturating_sub(SLICE);
        table.items[start..end].iter_mut().for_each(look);
        start
    }
}

fn tag(resource: Option<Name>) -> u64 {
    resource.map_or(0, |resource| resource.number().max(1))
}

/// What a file of so many bytes takes.
pub(super) fn allocated(bytes: u64) -> u64 {
    Extent::of(bytes).blocks() * BLOCK
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
            records.touch(name(n), 5000);
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
        assert_eq!(records.known(name(1)), Known::Nothing);
        records.set_complete(true);
        assert_eq!(records.known(name(1)), Known::Absent);
        records.discover(name(1), 1);
        assert_eq!(records.known(name(1)), Known::Takes(4096));
    }

    #[test]
    fn shares_follow_what_is_there() {
        let (records, resource) = (Records::default(), name(100));
        let taken = |but| records.share_without(resource, but);
        records.insert(name(1), 4096, Some(resource));
        records.insert(name(2), 4096, Some(resource));
        records.insert(name(3), 4096, None);
        assert_eq!(taken(name(3)), 8192);
        assert_eq!(taken(name(2)), 4096);
        // What counts elsewhere gives nothing back here.
        records.insert(name(4), 4096, Some(Name::from_bytes([7; 16])));
        assert_eq!(taken(name(4)), 8192);
        records.remove(name(1));
        assert_eq!(taken(name(3)), 4096);
    }

    /// What `Policy::partition_quota` says, also where two threads store for one partition at once.
    #[test]
    fn two_at_once_do_not_get_the_same_room() {
        let (records, owner) = (Records::default(), name(100));
        let claim = |n, bytes| records.claim(owner, name(n), bytes, 10_000);
        let first = claim(1, 5000).unwrap();
        assert!(claim(2, 1).is_none(), "whole blocks, and none is left");
        drop(first);
        let second = claim(2, 4000).unwrap();
        records.insert(name(2), 4000, Some(owner));
        drop(second);
        assert!(claim(3, 4097).is_none());
        assert!(claim(2, 8192).is_some(), "in place of what is there");
        records.remove(name(2));
        assert!(claim(3, 8192).is_some());
        assert!(lock(&records.claims).is_empty());
    }

    /// What `DiskOptions::max_entries` says.
    #[test]
    fn an_entry_takes_at_most_150_bytes() {
        // A table and a list are at worst twice as large as what is in them.
        let table = 8 * (size_of::<(Name, u32)>() + 1) * 2 / 7;
        assert!(table + 2 * size_of::<Item>() <= 150);
    }
}
