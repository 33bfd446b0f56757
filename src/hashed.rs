//! A key with its hash, so that the hash is made once for all of the tables that know the key.

use std::{
    collections::HashMap,
    hash::{BuildHasher, BuildHasherDefault, Hash, Hasher},
};

pub(crate) use foldhash::fast::RandomState;

use crate::policy::CacheKey;

/// A table of such keys.
pub(crate) type Map<V> = HashMap<Hashed, V, BuildHasherDefault<Given>>;

/// A key and its hash, under a random key of the table's owner.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Hashed {
    hash: u64,
    key: CacheKey,
}

impl Hashed {
    pub(crate) fn new(hasher: &impl BuildHasher, key: &CacheKey) -> Self {
        Self { hash: hasher.hash_one(key), key: key.clone() }
    }

    pub(crate) fn hash(&self) -> u64 {
        self.hash
    }

    pub(crate) fn key(&self) -> &CacheKey {
        &self.key
    }

    /// Which of so many parts it belongs to.
    pub(crate) fn part(&self, parts: usize) -> usize {
        part(self.hash, parts)
    }
}

/// Which of so many parts a key with this hash belongs to.
pub(crate) fn part(hash: u64, parts: usize) -> usize {
    hash as usize % parts
}

impl Hash for Hashed {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash);
    }
}

/// Hands on the hash that it is given.
#[derive(Default)]
pub(crate) struct Given(u64);

impl Hasher for Given {
    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.0 = self.0.rotate_left(8) ^ u64::from(*byte));
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }

    fn finish(&self) -> u64 {
        // All of a part have the lowest bits in common; a table goes by the lowest and the highest.
        self.0.rotate_right(16)
    }
}
