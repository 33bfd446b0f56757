//! The table of what is on the disk.

use std::collections::{HashMap, HashSet};

use super::{catalog::Line, name::Name};

#[derive(Default)]
pub(super) struct Table {
    places: HashMap<Name, u32>,
    pub(super) items: Vec<Item>,
    /// Counts uses; wraps round.
    pub(super) now: u32,
    /// Chooses whom to compare.
    random: u64,
    pub(super) blocks: u64,
    /// By resource, what its variants take that are bounded by bytes.
    pub(super) shares: HashMap<u64, u64>,
    /// All files have been seen.
    pub(super) is_complete: bool,
    /// Not there where no catalog is kept.
    pub(super) news: Option<News>,
    /// While the catalog is being read: what has changed since, of which it knows nothing.
    pub(super) loading: Option<HashSet<Name>>,
}

/// What the catalog has not been told yet.
#[derive(Default)]
pub(super) struct News {
    pub(super) changes: Vec<Change>,
    /// It has to be written anew.
    pub(super) is_lost: bool,
    /// Uses up to here have been told.
    pub(super) used_at: u32,
}

#[derive(Clone, Copy)]
pub(super) enum Change {
    There(Name),
    Gone(Name),
    Used(Name),
}

pub(super) struct Item {
    pub(super) name: Name,
    /// Of a variant that counts towards its resource's share, else 0.
    pub(super) resource: u64,
    pub(super) extent: Extent,
    pub(super) used_at: u32,
}

/// The blocks of a file, and whether it has yet to be seen.
#[derive(Clone, Copy)]
pub(super) struct Extent(u32);

const UNSEEN: u32 = 1 << 31;

/// What files are counted in.
pub(super) const BLOCK: u64 = 4096;
/// The one of so many that was used longest ago goes: near enough to the very oldest, and found at
/// once.
const SAMPLE: usize = 16;
/// The catalog is not told more changes than this; it is written anew instead.
const MAX_CHANGES: usize = 1 << 18;

impl Table {
    /// Of which a catalog is kept, or none.
    pub(super) fn new(news: Option<News>, loading: Option<HashSet<Name>>) -> Self {
        Self { news, loading, ..Self::default() }
    }

    /// Of a directory that was emptied.
    pub(super) fn cleared(&self) -> Self {
        let news = self.news.is_some().then(|| News { is_lost: true, ..News::default() });
        // Others may fill it behind the back of who keeps no catalog.
        Self { is_complete: news.is_some(), now: self.now, ..Self::new(news, None) }
    }

    pub(super) fn note(&mut self, change: Change) {
        if let (Some(changed), Change::There(name) | Change::Gone(name)) =
            (&mut self.loading, change)
        {
            changed.insert(name);
        }
        let Some(news) = &mut self.news else { return };
        if news.changes.len() < MAX_CHANGES {
            news.changes.push(change);
        } else {
            news.is_lost = true;
        }
    }

    pub(super) fn get(&self, name: Name) -> Option<&Item> {
        self.places.get(&name).map(|place| &self.items[*place as usize])
    }

    /// Notes that a file is used. `false`: it is not known.
    pub(super) fn touch(&mut self, name: Name) -> bool {
        let Some(place) = self.places.get(&name).copied() else { return false };
        self.items[place as usize].used_at = self.tick();
        true
    }

    /// What has not been used for long.
    pub(super) fn oldest(&mut self) -> Option<Name> {
        let count = self.items.len();
        let mut oldest: Option<(u32, usize)> = None;
        for n in 0..count.min(SAMPLE) {
            let place = if count <= SAMPLE { n } else { self.any() % count };
            let unused = self.now.wrapping_sub(self.items[place].used_at);
            oldest = oldest.max(Some((unused, place)));
        }
        oldest.map(|(_, place)| self.items[place].name)
    }

    pub(super) fn tick(&mut self) -> u32 {
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

    pub(super) fn discover(&mut self, name: Name, extent: Extent) {
        let known = self.places.get(&name).map(|place| &mut self.items[*place as usize]);
        let (resource, used_at) = match known {
            Some(item) if item.extent.blocks() == extent.blocks() => {
                item.extent = extent;
                return;
            }
            Some(item) => (item.resource, item.used_at),
            None => (0, self.now),
        };
        self.remove(name);
        self.insert(Item { name, resource, extent, used_at });
        self.note(Change::There(name));
    }

    pub(super) fn insert(&mut self, item: Item) {
        let Ok(place) = u32::try_from(self.items.len()) else { return };
        let blocks = item.extent.blocks();
        self.blocks += blocks;
        if item.resource != 0 {
            *self.shares.entry(item.resource).or_default() += blocks;
        }
        self.places.insert(item.name, place);
        self.items.push(item);
    }

    pub(super) fn remove(&mut self, name: Name) {
        let Some(place) = self.places.remove(&name) else { return };
        let item = self.items.swap_remove(place as usize);
        if let Some(moved) = self.items.get(place as usize) {
            self.places.insert(moved.name, place);
        }
        let blocks = item.extent.blocks();
        self.blocks -= blocks;
        if let Some(share) = self.shares.get_mut(&item.resource) {
            *share -= blocks.min(*share);
            if *share == 0 {
                self.shares.remove(&item.resource);
            }
        }
    }
}

impl Item {
    pub(super) fn line(&self) -> Line {
        let Self { name, resource, extent, used_at } = *self;
        Line::There { name, resource, blocks: extent.0 & !UNSEEN, used_at }
    }
}

impl Extent {
    /// Of a file of so many bytes, which has been seen.
    pub(super) fn of(bytes: u64) -> Self {
        Self(u32::try_from(bytes.div_ceil(BLOCK)).unwrap_or(UNSEEN).min(UNSEEN - 1))
    }

    pub(super) fn blocks(self) -> u64 {
        u64::from(self.0 & !UNSEEN)
    }

    /// As a catalog says, which may be outdated.
    pub(super) fn told(blocks: u32) -> Self {
        Self(blocks | UNSEEN)
    }

    pub(super) fn doubt(&mut self) {
        self.0 |= UNSEEN;
    }

    pub(super) fn is_seen(self) -> bool {
        self.0 & UNSEEN == 0
    }
}
