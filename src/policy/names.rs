//! The usual names of fields, and which of them some fields have.

use std::ops::BitOr;

use http::{HeaderMap, HeaderName};

/// The usual names, and the place of each.
macro_rules! names {
    ($($name:ident $text:literal $place:literal)*) => {
        static NAMES: [HeaderName; [$($place),*].len()] = [$(HeaderName::from_static($text)),*];

        /// Where a usual name stands among them.
        pub(super) fn place(name: &HeaderName) -> Option<u8> {
            match name.as_str() {
                $($text => Some($place),)*
                _ => None,
            }
        }

        #[allow(dead_code, reason = "not all are asked for")]
        impl Names {
            $(pub(super) const $name: Self = Self(1 << $place);)*
        }
    };
}

// Their order is of no meaning outside of a process.
names! {
    CONTENT_TYPE "content-type" 0
    CACHE_CONTROL "cache-control" 1
    ETAG "etag" 2
    DATE "date" 3
    CONTENT_LENGTH "content-length" 4
    LAST_MODIFIED "last-modified" 5
    SERVER "server" 6
    VARY "vary" 7
    CONTENT_ENCODING "content-encoding" 8
    EXPIRES "expires" 9
    ACCEPT_RANGES "accept-ranges" 10
    ACCESS_CONTROL_ALLOW_ORIGIN "access-control-allow-origin" 11
    STRICT_TRANSPORT_SECURITY "strict-transport-security" 12
    X_CONTENT_TYPE_OPTIONS "x-content-type-options" 13
    X_FRAME_OPTIONS "x-frame-options" 14
    CONTENT_SECURITY_POLICY "content-security-policy" 15
    REFERRER_POLICY "referrer-policy" 16
    SET_COOKIE "set-cookie" 17
    LINK "link" 18
    VIA "via" 19
    LOCATION "location" 20
    ALT_SVC "alt-svc" 21
    CONTENT_DISPOSITION "content-disposition" 22
    CONTENT_LANGUAGE "content-language" 23
    CONTENT_LOCATION "content-location" 24
    CONTENT_RANGE "content-range" 25
    ACCESS_CONTROL_ALLOW_CREDENTIALS "access-control-allow-credentials" 26
    ACCESS_CONTROL_ALLOW_HEADERS "access-control-allow-headers" 27
    ACCESS_CONTROL_ALLOW_METHODS "access-control-allow-methods" 28
    ACCESS_CONTROL_EXPOSE_HEADERS "access-control-expose-headers" 29
    ACCESS_CONTROL_MAX_AGE "access-control-max-age" 30
    ALLOW "allow" 31
    PRAGMA "pragma" 32
    RETRY_AFTER "retry-after" 33
    TRAILER "trailer" 34
    UPGRADE_INSECURE_REQUESTS "upgrade-insecure-requests" 35
    WARNING "warning" 36
    WWW_AUTHENTICATE "www-authenticate" 37
    X_DNS_PREFETCH_CONTROL "x-dns-prefetch-control" 38
    X_XSS_PROTECTION "x-xss-protection" 39
    AGE "age" 40
    CACHE_GROUPS "cache-groups" 41
    CACHE_TAG "cache-tag" 42
    CONNECTION "connection" 43
    INCREMENTAL "incremental" 44
    SURROGATE_KEY "surrogate-key" 45
    X_REQUEST_ID "x-request-id" 46
    CACHE_GROUP_INVALIDATION "cache-group-invalidation" 47
}

/// The name that stands there.
pub(super) fn at(place: u8) -> Option<&'static HeaderName> {
    NAMES.get(usize::from(place))
}

/// Which names some fields have: those of a response are found in one pass, since most of the fields that
/// the rules ask for are not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Names(u64);

impl Names {
    pub(super) const NONE: Self = Self(0);
    /// All that are not usual.
    const OTHERS: Self = Self(1 << 63);

    pub(super) fn of(headers: &HeaderMap) -> Self {
        Self::all(headers.keys())
    }

    pub(super) fn all<'a>(names: impl IntoIterator<Item = &'a HeaderName>) -> Self {
        names.into_iter().fold(Self::NONE, |all, name| all | Self::one(place(name)))
    }

    /// The one that stands there.
    pub(super) fn one(place: Option<u8>) -> Self {
        place.map_or(Self::OTHERS, |place| Self(1 << place))
    }

    pub(super) const fn to_bytes(self) -> [u8; 8] {
        self.0.to_le_bytes()
    }

    pub(super) fn from_bytes(bytes: [u8; 8]) -> Self {
        Self(u64::from_le_bytes(bytes))
    }

    /// Whether any of these may be there. `false`: none of them is.
    #[inline]
    pub(super) fn may_have(self, any: Self) -> bool {
        self.0 & any.0 != 0
    }
}

impl BitOr for Names {
    type Output = Self;

    #[inline]
    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderValue, header};

    use super::*;

    #[test]
    fn each_usual_name_has_a_place_of_its_own() {
        assert!(NAMES.len() < 63);
        for (at, name) in NAMES.iter().enumerate() {
            assert_eq!(place(name).map(usize::from), Some(at), "{name}");
            assert_eq!(super::at(at as u8), Some(name));
        }
        assert_eq!(at(NAMES.len() as u8), None);
    }

    /// What is said not to be there is not: a rule that is not asked for that reason has nothing to say.
    #[test]
    fn no_name_is_missed() {
        let mut headers = HeaderMap::new();
        assert!(!Names::of(&headers).may_have(Names::VARY | Names::OTHERS));
        headers.insert(header::VARY, HeaderValue::from_static("*"));
        headers.append(header::ETAG, HeaderValue::from_static("\"1\""));
        let names = Names::of(&headers);
        assert!(names.may_have(Names::VARY) && names.may_have(Names::ETAG | Names::DATE));
        assert!(!names.may_have(Names::DATE | Names::SURROGATE_KEY));
        let own = HeaderName::from_static("x-tags");
        assert!(!names.may_have(Names::all([&own])));
        headers.insert(own.clone(), HeaderValue::from_static("a"));
        assert!(Names::of(&headers).may_have(Names::all([&own])));
    }
}
