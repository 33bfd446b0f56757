use std::{error, fmt};

/// What went wrong in a store, or in a call to one.
///
/// The layer never lets it reach a client: a store that fails is a miss.
pub struct Error {
    kind: Kind,
    source: Option<Box<dyn error::Error + Send + Sync>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Corrupt,
    TooLarge,
    Refused,
    Unsupported,
    Invalid,
    TimedOut,
    Unpublished,
    Other,
}

impl Error {
    /// The bytes in storage cannot be read back as an entry.
    pub fn corrupt(source: impl Into<Box<dyn error::Error + Send + Sync>>) -> Self {
        Self { kind: Kind::Corrupt, source: Some(source.into()) }
    }

    /// The entry is larger than the store takes.
    pub fn too_large() -> Self {
        Self { kind: Kind::TooLarge, source: None }
    }

    /// The resource was deleted or the store emptied while the entry was being written.
    pub fn refused() -> Self {
        Self { kind: Kind::Refused, source: None }
    }

    /// The store cannot do this.
    pub fn unsupported() -> Self {
        Self { kind: Kind::Unsupported, source: None }
    }

    /// What was asked for makes no sense.
    pub(crate) fn invalid(source: impl Into<Box<dyn error::Error + Send + Sync>>) -> Self {
        Self { kind: Kind::Invalid, source: Some(source.into()) }
    }

    /// The store did not answer in time.
    pub fn timed_out() -> Self {
        Self { kind: Kind::TimedOut, source: None }
    }

    /// What was purged is gone here, and the bus has not taken it.
    pub(crate) fn unpublished(source: Self) -> Self {
        let source = if source.is_timed_out() {
            Self::other("the bus gave no answer in time")
        } else {
            source
        };
        Self { kind: Kind::Unpublished, source: Some(source.into()) }
    }

    /// Anything else.
    pub fn other(source: impl Into<Box<dyn error::Error + Send + Sync>>) -> Self {
        Self { kind: Kind::Other, source: Some(source.into()) }
    }

    /// Whether the bytes in storage could not be read back as an entry.
    pub fn is_corrupt(&self) -> bool {
        self.kind == Kind::Corrupt
    }

    /// Whether the entry was larger than the store takes.
    pub fn is_too_large(&self) -> bool {
        self.kind == Kind::TooLarge
    }

    /// Whether the entry was outdated before it was whole.
    pub fn is_refused(&self) -> bool {
        self.kind == Kind::Refused
    }

    /// Whether the store did not answer in time.
    pub fn is_timed_out(&self) -> bool {
        self.kind == Kind::TimedOut
    }

    /// Whether a purge took effect here, and other caches could not be told.
    pub fn is_unpublished(&self) -> bool {
        self.kind == Kind::Unpublished
    }

    /// Whether the arguments of the call made no sense.
    pub fn is_invalid(&self) -> bool {
        self.kind == Kind::Invalid
    }

    /// Whether the store cannot do what was asked at all.
    pub fn is_unsupported(&self) -> bool {
        self.kind == Kind::Unsupported
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error").field("kind", &self.kind).field("source", &self.source).finish()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self.kind {
            Kind::Corrupt => "stored entry cannot be read back",
            Kind::TooLarge => "entry is larger than the store takes",
            Kind::Refused => "entry was outdated before it was whole",
            Kind::Unsupported => "not supported by this store",
            Kind::Invalid => "invalid argument",
            Kind::TimedOut => "the store took too long",
            Kind::Unpublished => "purged here, but other caches could not be told",
            Kind::Other => "store failed",
        };
        match &self.source {
            Some(source) => write!(f, "{text}: {source}"),
            None => f.write_str(text),
        }
    }
}

impl error::Error for Error {
    // What lies under the source: the source itself is part of the text.
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        self.source.as_ref()?.source()
    }
}
