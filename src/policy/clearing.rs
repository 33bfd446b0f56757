//! `Clear-Site-Data`, as a client's cache hears it.

use http::{HeaderMap, HeaderName};

use super::{CacheKey, fields, options::Rules};

const CLEAR_SITE_DATA: HeaderName = HeaderName::from_static("clear-site-data");

/// Whether the response asks to forget all that is stored of its origin: a list of quoted strings, of
/// which `"cache"` and `"*"` mean this, from an origin that nobody else can speak for.
pub(super) fn clears(rules: &Rules, key: &CacheKey, headers: &HeaderMap) -> bool {
    rules.clear_site_data
        && key.scheme() == "https"
        && fields::list(headers, &CLEAR_SITE_DATA)
            .any(|member| matches!(member, b"\"cache\"" | b"\"*\""))
}
