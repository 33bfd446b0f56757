use std::{
    ffi::OsString,
    fmt,
    os::unix::ffi::{OsStrExt, OsStringExt},
    path::{Path, PathBuf},
};

use crate::policy::{CacheKey, VariantId, VariantKey};

/// The name of a record's file: 128 bits of BLAKE3. The full key is in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Name([u8; 16]);

impl Name {
    /// Of the record under a resource's key.
    pub(super) fn resource(key: &CacheKey) -> Self {
        Self::hash(&[b"resource", key.as_bytes()])
    }

    /// Of all that is in the key's namespace and partition, for counting.
    pub(super) fn owner(key: &CacheKey) -> Self {
        Self::hash(&[b"owner...", key.owner()])
    }

    /// Of one response of the resource with this name, where it has an index.
    pub(super) fn response(self, generation: u64, variant: &VariantKey) -> Self {
        if variant.is_plain() {
            self.plain(generation)
        } else {
            self.variant(generation, variant.id())
        }
    }

    /// Of its response without `Vary`.
    pub(super) fn plain(self, generation: u64) -> Self {
        Self::hash(&[b"plain...", &self.0, &generation.to_le_bytes()])
    }

    /// Of one of its variants.
    pub(super) fn variant(self, generation: u64, id: VariantId) -> Self {
        Self::hash(&[b"variant.", &self.0, &generation.to_le_bytes(), id.as_bytes()])
    }

    fn hash(parts: &[&[u8]]) -> Self {
        let mut hasher = blake3::Hasher::new();
        for part in parts {
            hasher.update(part);
        }
        let mut name = [0; 16];
        name.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
        Self(name)
    }

    /// Where the file lies, in `files`.
    pub(super) fn path(self, files: &Path) -> PathBuf {
        let mut text = [b'/'; 34];
        let digit = |number: u8| b"0123456789abcdef"[usize::from(number)];
        for (n, byte) in self.0.into_iter().enumerate() {
            // The first two are a directory.
            let at = 1 + 2 * n + usize::from(n > 0);
            text[at..at + 2].copy_from_slice(&[digit(byte >> 4), digit(byte & 0xf)]);
        }
        // As `join` does it, in a fraction of the time.
        OsString::from_vec([files.as_os_str().as_bytes(), &text].concat()).into()
    }

    /// The name of the file `directory/file`.
    pub(super) fn parse(directory: &str, file: &str) -> Option<Self> {
        let text = format!("{directory}{file}");
        let number = u128::from_str_radix(&text, 16).ok()?;
        let name = Self(number.to_be_bytes());
        (directory.len() == 2 && name.to_string() == text).then_some(name)
    }

    pub(super) fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    pub(super) fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// A number that is spread evenly, to choose a lock by.
    pub(super) fn number(self) -> u64 {
        let [a, b, c, d, e, f, g, h, ..] = self.0;
        u64::from_be_bytes([a, b, c, d, e, f, g, h])
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}
