use std::{
    fmt,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use http::StatusCode;

use crate::{
    Error,
    policy::{CacheKey, CacheStatus, Reason},
    purge::PurgeEvent,
    storage::Usage,
};

/// Something that a cache has done. Times are those of the layer's [`Clock`](crate::Clock).
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// A request has its answer: the head is there, and the body may be read.
    #[non_exhaustive]
    Answered {
        /// What the cache did; [`served`](CacheStatus::served) says it in one word.
        status: CacheStatus,
        /// The answer's status code.
        code: StatusCode,
        /// How many bytes the body has, if that is known before its end. A client that leaves early
        /// gets fewer.
        bytes: Option<u64>,
        /// Since the request came.
        took: Duration,
    },
    /// The inner service failed, and nothing could stand in for its answer.
    #[non_exhaustive]
    Failed {
        /// Since the request came.
        took: Duration,
    },
    /// The client left before its answer was there.
    #[non_exhaustive]
    Left {
        /// Since the request came.
        took: Duration,
    },
    /// The inner service is asked.
    #[non_exhaustive]
    OriginAsked {
        /// Which request to the origin this is.
        id: OriginId,
        /// What is asked for, where others may want the same.
        key: Option<&'a CacheKey>,
        /// Why.
        reason: Reason,
        /// Whether it goes on behind an answer that has been given (RFC 5861 §3).
        is_refresh: bool,
    },
    /// The inner service has answered, or failed.
    #[non_exhaustive]
    OriginAnswered {
        /// See [`OriginAsked`](Self::OriginAsked).
        id: OriginId,
        /// The answer's status code, `None` for an error.
        code: Option<StatusCode>,
        /// Since it was asked.
        took: Duration,
    },
    /// Nothing more comes of a request to the origin: the body that was being stored has ended, or
    /// everybody has left, or the answer was handed on as it is.
    #[non_exhaustive]
    OriginDone {
        /// See [`OriginAsked`](Self::OriginAsked).
        id: OriginId,
        /// Since it was asked.
        took: Duration,
    },
    /// A request that waited for another to bring the same waits no longer.
    #[non_exhaustive]
    Waited {
        /// What has come of it.
        outcome: Wait,
        /// Since it began to wait.
        took: Duration,
    },
    /// A response is in place.
    #[non_exhaustive]
    Stored {
        /// The length of its body.
        bytes: u64,
    },
    /// A response of the origin is not kept.
    #[non_exhaustive]
    NotStored {
        /// Why not.
        reason: Reason,
    },
    /// A body that was being stored broke off: by an error of the origin's, or since it had another
    /// length than announced. All who read it got an error.
    BodyFailed,
    /// The store failed, or took too long ([`Error::is_timed_out`]). No request does because of it.
    #[non_exhaustive]
    StoreFailed {
        /// What it was to do.
        operation: Operation,
        /// What it says.
        error: &'a Error,
    },
    /// A refresh in the background (RFC 5861 §3).
    #[non_exhaustive]
    Refresh {
        /// What is new of it.
        step: Refreshing,
    },
    /// A purge has taken effect, or has been swept: of any layer over the same store.
    Purge(&'a PurgeEvent),
    /// A store's contents have changed: after a response was stored, if the store
    /// [knows](crate::CacheManager::usage).
    #[non_exhaustive]
    Usage {
        /// What it holds now.
        usage: Usage,
        /// How many records have gone since the last such event to make room.
        evicted: u64,
        /// How many variants, because their resource had too many.
        variants_evicted: u64,
        /// How many variants were not stored, because those of their resource took too much.
        variants_refused: u64,
    },
}

/// A request to the origin. Unique in a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct OriginId(u64);

impl OriginId {
    /// For a request that nobody hears of: who counts along writes to what all threads write to.
    pub(crate) const UNHEARD: Self = Self(0);

    /// One that nobody has had.
    pub(crate) fn next() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

impl fmt::Display for OriginId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// How a wait for another request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Wait {
    /// With what the other has brought.
    Shared,
    /// With a look into the store, where it is now.
    Stored,
    /// What came was not for this request, which goes on by itself.
    Released,
    /// The other has failed.
    Failed,
    /// The origin was slow, and something stale was good enough.
    Stale,
    /// The other gave no sign of life: this one asks as well, and the rest wait for either
    /// ([`CacheLayer::collapse_timeout`](crate::CacheLayer::collapse_timeout)).
    HandedOver,
    /// The other gave no sign of life, and nobody can wait for this one: so did several, and everybody
    /// asks for itself for a while; or what this one asks for is of no use to others.
    GivenUp,
}

impl Wait {
    /// All of them, in their order.
    pub const ALL: [Self; 7] = [
        Self::Shared,
        Self::Stored,
        Self::Released,
        Self::Failed,
        Self::Stale,
        Self::HandedOver,
        Self::GivenUp,
    ];

    /// In a word, as labels and logs have it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Shared => "shared",
            Self::Stored => "stored",
            Self::Released => "released",
            Self::Failed => "failed",
            Self::Stale => "stale",
            Self::HandedOver => "handed-over",
            Self::GivenUp => "given-up",
        }
    }
}

/// What a store was to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Operation {
    /// Find a response.
    Get,
    /// Read a body that was found.
    Read,
    /// Store a response.
    Put,
    /// Give a response another head.
    Update,
    /// Remove a response.
    Remove,
    /// Forget a resource.
    Delete,
    /// Walk through all there is.
    Scan,
    /// Keep the log of purges.
    Log,
}

impl Operation {
    /// In a word, as labels and logs have it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::Read => "read",
            Self::Put => "put",
            Self::Update => "update",
            Self::Remove => "remove",
            Self::Delete => "delete",
            Self::Scan => "scan",
            Self::Log => "log",
        }
    }
}

/// What becomes of a refresh. One that begins comes to one of the ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Refreshing {
    /// It has begun, or waits for others to end
    /// ([`CacheLayer::refresh_limits`](crate::CacheLayer::refresh_limits)).
    Begun,
    /// It was not begun: too many wait already, or the cache is shut down.
    Refused,
    /// The origin has answered.
    #[non_exhaustive]
    Done {
        /// Since it began.
        took: Duration,
    },
    /// The origin has failed, or answered that it has.
    #[non_exhaustive]
    Failed {
        /// Since it began.
        took: Duration,
    },
    /// It took too long ([`CacheLayer::refresh_timeout`](crate::CacheLayer::refresh_timeout)).
    #[non_exhaustive]
    TimedOut {
        /// Since it began.
        took: Duration,
    },
}

impl Refreshing {
    /// In a word, as labels and logs have it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Begun => "begun",
            Self::Refused => "refused",
            Self::Done { .. } => "done",
            Self::Failed { .. } => "failed",
            Self::TimedOut { .. } => "timed-out",
        }
    }
}
