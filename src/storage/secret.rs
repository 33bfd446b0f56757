use crate::policy::Secret;

impl Secret {
    /// A secret that nobody else has, for stores that end with the process.
    ///
    /// # Panics
    ///
    /// If the system gives no randomness; a `HashMap` could not be made there either.
    pub fn random() -> Self {
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes).expect("the system gives randomness");
        Self::from_bytes(bytes)
    }
}
