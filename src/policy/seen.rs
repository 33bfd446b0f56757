//! What a request has of the fields that matter.

use http::{HeaderMap, header};

/// Fields that matter, some of them in one word.
#[derive(Clone, Copy)]
pub(super) enum Field {
    Authorization,
    /// One of the conditions that are answered from the store.
    Conditional,
    Connection,
    Cookie,
    /// `Cache-Control` or `Pragma`.
    Directives,
    Host,
    /// One of the conditions that are the origin's to answer.
    Precondition,
    Range,
    Upgrade,
}

/// Which of the fields that matter a request has: found in one pass, since most requests have few
/// fields and none of these.
#[derive(Clone, Copy)]
pub(super) struct Fields(u16);

impl Fields {
    #[inline]
    pub(super) fn scan(headers: &HeaderMap) -> Self {
        let mut seen = 0;
        for name in headers.keys() {
            let field = match *name {
                _ if name == header::CACHE_CONTROL || name == header::PRAGMA => Field::Directives,
                _ if name == header::HOST => Field::Host,
                _ if name == header::COOKIE => Field::Cookie,
                _ if name == header::CONNECTION => Field::Connection,
                _ if name == header::IF_NONE_MATCH || name == header::IF_MODIFIED_SINCE => {
                    Field::Conditional
                }
                _ if name == header::AUTHORIZATION => Field::Authorization,
                _ if name == header::RANGE => Field::Range,
                _ if name == header::IF_MATCH || name == header::IF_UNMODIFIED_SINCE => {
                    Field::Precondition
                }
                _ if name == header::UPGRADE => Field::Upgrade,
                _ => continue,
            };
            seen |= 1 << field as u16;
        }
        Self(seen)
    }

    #[inline]
    pub(super) fn has(self, field: Field) -> bool {
        self.0 & (1 << field as u16) != 0
    }
}
