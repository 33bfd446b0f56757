use std::fmt;

/// The secret under which a store's variant keys hide credentials.
///
/// Whoever can read a store learns from a variant's key that two requests carried the same token,
/// and not which.
#[derive(Clone)]
pub struct Secret([u8; 32]);

impl Secret {
    /// A secret that was kept, for stores that outlive the process or are shared.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    pub(super) fn digest(&self, value: &[u8]) -> [u8; 32] {
        *blake3::keyed_hash(&self.0, value).as_bytes()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}
