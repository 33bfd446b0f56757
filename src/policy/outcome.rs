use super::{CacheStatus, Joint, Placement, Serve, Store, StoredHead};

/// The answer to the third question.
#[derive(Debug)]
#[must_use]
pub enum Outcome {
    /// Send the response on, or what [`Store::cut`] leaves of it, and store it as it streams by.
    Store(Store),
    /// The stored response is good again (RFC 9111 §4.3.4): change the store and answer from it.
    Freshen {
        /// What happens to the stored response.
        update: Update,
        /// The answer.
        serve: Serve,
    },
    /// The origin failed, and the stored response may be used in place of its answer (RFC 5861 §4).
    ServeStale(Serve),
    /// Send it on between the stored bytes that belong to it, and store nothing (RFC 9111 §3.3).
    Complete {
        /// What is sent.
        joint: Joint,
        /// How it came about.
        status: CacheStatus,
    },
    /// The rest of a stored part was asked for, and something came that is neither that nor all of
    /// it: answer 502 (RFC 9110 §15.6.3).
    BadGateway {
        /// The stored part, which is not to be asked about again.
        drop: Option<usize>,
        /// How it came about.
        status: CacheStatus,
    },
    /// Send the response on and store nothing.
    Pass {
        /// A stored response that this one has outdated.
        drop: Option<usize>,
        /// How it came about.
        status: CacheStatus,
    },
}

/// What a 304 does to the stored response.
#[derive(Debug)]
pub enum Update {
    /// Its head is replaced; the body stays.
    Replace(StoredHead),
    /// The same, and a copy of it is stored for requests like this one, which did not select it.
    Copy(Placement, StoredHead),
    /// It goes, and a copy of it is stored where it is found by its new `Vary` (RFC 9111 §4.1).
    Move(Placement, StoredHead),
    /// Nothing: it is as good as it was, but this exchange may not be kept (§3.5, §5.2.1.5).
    Keep,
    /// It goes: under its new fields it may not be stored, or not there.
    Remove,
}
