use std::fmt;

use http::StatusCode;

use super::{CacheStatus, Forward, Reason, status::How};

/// What a request was answered with, in one word: what counters are kept by.
///
/// Its `Display` is the word.
///
/// ```
/// use larder::policy::{CacheStatus, Reason, Served};
///
/// assert_eq!(CacheStatus::forwarded(Reason::VaryMiss).served(), Served::Miss);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Served {
    /// A fresh stored response.
    Hit,
    /// A stale stored response, without waiting for the origin (RFC 9111 §4.2.4, RFC 5861 §3).
    Stale,
    /// A stored response in place of an answer that the origin failed to give (RFC 5861 §4).
    StaleOnError,
    /// A stored response that the origin has just said to be good (RFC 9111 §4.3).
    Validated,
    /// What another request has brought (RFC 9211 §2.6).
    Collapsed,
    /// The origin's answer, since nothing stored could be used.
    Miss,
    /// The origin's answer to a request that does not look into the store.
    Bypass,
    /// An answer of the cache's own: 504 to `only-if-cached` (RFC 9111 §5.2.1.7).
    Generated,
}

impl Served {
    /// All of them, in their order.
    pub const ALL: [Self; 8] = [
        Self::Hit,
        Self::Stale,
        Self::StaleOnError,
        Self::Validated,
        Self::Collapsed,
        Self::Miss,
        Self::Bypass,
        Self::Generated,
    ];

    /// The word, as labels and logs have it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Stale => "stale",
            Self::StaleOnError => "stale-on-error",
            Self::Validated => "validated",
            Self::Collapsed => "collapsed",
            Self::Miss => "miss",
            Self::Bypass => "bypass",
            Self::Generated => "generated",
        }
    }

    /// Whether the body came from the store.
    pub fn is_from_store(self) -> bool {
        matches!(self, Self::Hit | Self::Stale | Self::StaleOnError | Self::Validated)
    }
}

impl fmt::Display for Served {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl CacheStatus {
    /// What the request was answered with, in one word.
    #[inline]
    pub fn served(&self) -> Served {
        let reason = match self.how {
            How::Hit if self.ttl.is_some_and(|ttl| ttl <= 0) => return Served::Stale,
            How::Hit => return Served::Hit,
            How::Generated => return Served::Generated,
            How::Forwarded(reason) => reason,
        };
        let is_instead = matches!(
            self.detail,
            Some(Reason::ServerError | Reason::Disconnected | Reason::SlowOrigin)
        );
        if is_instead {
            Served::StaleOnError
        } else if self.forward_status == Some(StatusCode::NOT_MODIFIED) {
            Served::Validated
        } else if self.collapsed {
            Served::Collapsed
        } else if matches!(reason.forward(), Forward::Bypass | Forward::Method) {
            Served::Bypass
        } else {
            Served::Miss
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Design, "Three questions": the word and the field are of one status, and cannot disagree.
    #[test]
    fn each_status_has_one_word() {
        let miss = CacheStatus::forwarded(Reason::UriMiss);
        let stale = CacheStatus::forwarded(Reason::Stale);
        let table = [
            (CacheStatus::hit(30), Served::Hit, "hit; ttl=30"),
            (CacheStatus::hit(0), Served::Stale, "hit; ttl=0"),
            (CacheStatus::hit(-30), Served::Stale, "hit; ttl=-30"),
            (miss.stored(60), Served::Miss, "fwd=uri-miss; ttl=60; stored"),
            (miss.collapsed(), Served::Collapsed, "fwd=uri-miss; collapsed"),
            (
                stale.answered(StatusCode::NOT_MODIFIED).stored(60),
                Served::Validated,
                "fwd=stale; fwd-status=304; ttl=60; stored",
            ),
            (
                stale.answered(StatusCode::BAD_GATEWAY).detailed(Reason::ServerError).with_ttl(-9),
                Served::StaleOnError,
                "fwd=stale; fwd-status=502; ttl=-9; detail=server-error",
            ),
            (CacheStatus::forwarded(Reason::Range), Served::Bypass, "fwd=bypass; detail=range"),
            (CacheStatus::forwarded(Reason::UnsafeMethod), Served::Bypass, "fwd=method"),
            (
                CacheStatus::forwarded(Reason::StoreError),
                Served::Miss,
                "fwd=miss; detail=store-error",
            ),
            (CacheStatus::forwarded(Reason::Reload), Served::Miss, "fwd=request"),
            (
                CacheStatus::generated(Reason::OnlyIfCached),
                Served::Generated,
                "detail=only-if-cached",
            ),
        ];
        for (status, served, text) in table {
            assert_eq!((status.served(), status.to_string().as_str()), (served, text));
        }
    }
}
