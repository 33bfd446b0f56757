//! What a request has of the fields that matter.

use http::{HeaderMap, header};

use super::directives::RequestDirectives;

/// Which of the fields that matter a request has: found in one pass, since most requests have few
/// fields and none of these.
#[derive(Default)]
pub(super) struct Fields {
    pub(super) authorization: bool,
    pub(super) conditional: bool,
    pub(super) connection: bool,
    pub(super) cookie: bool,
    pub(super) directives: bool,
    pub(super) host: bool,
    pub(super) precondition: bool,
    pub(super) range: bool,
    pub(super) upgrade: bool,
}

impl Fields {
    #[inline]
    pub(super) fn scan(headers: &HeaderMap) -> Self {
        let mut fields = Self::default();
        for name in headers.keys() {
            let mark = match *name {
                _ if name == header::CACHE_CONTROL || name == header::PRAGMA => {
                    &mut fields.directives
                }
                _ if name == header::HOST => &mut fields.host,
                _ if name == header::COOKIE => &mut fields.cookie,
                _ if name == header::CONNECTION => &mut fields.connection,
                _ if name == header::IF_NONE_MATCH || name == header::IF_MODIFIED_SINCE => {
                    &mut fields.conditional
                }
                _ if name == header::AUTHORIZATION => &mut fields.authorization,
                _ if name == header::RANGE => &mut fields.range,
                _ if name == header::IF_MATCH || name == header::IF_UNMODIFIED_SINCE => {
                    &mut fields.precondition
                }
                _ if name == header::UPGRADE => &mut fields.upgrade,
                _ => continue,
            };
            *mark = true;
        }
        fields
    }

    #[inline]
    pub(super) fn directives(&self, headers: &HeaderMap) -> RequestDirectives {
        if self.directives {
            RequestDirectives::parse(headers)
        } else {
            RequestDirectives::default()
        }
    }
}
