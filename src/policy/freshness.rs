use std::time::{Duration, SystemTime};

use http::{HeaderMap, StatusCode, header};

use super::{
    CacheKey, date,
    directives::Delta,
    options::{Scope, StoringRules},
    targeted::Said,
};

/// What a response says about its lifetime, gathered once.
pub(super) struct Freshness<'a> {
    pub(super) rules: &'a StoringRules,
    pub(super) key: &'a CacheKey,
    pub(super) status: StatusCode,
    pub(super) headers: &'a HeaderMap,
    pub(super) said: &'a Said<'a>,
    pub(super) date: SystemTime,
    pub(super) received: SystemTime,
}

impl Freshness<'_> {
    /// The freshness lifetime (RFC 9111 §4.2.1), and what it comes from: the first rule that applies.
    pub(super) fn lifetime(&self) -> (Duration, &'static str) {
        self.explicit()
            .or_else(|| Some((self.by_status()?, "status_ttl")))
            .or_else(|| Some((self.heuristic()?, "heuristic")))
            .or_else(|| Some((self.default()?, "default_ttl")))
            .unwrap_or((Duration::ZERO, "nothing said"))
    }

    /// The lifetime that the origin gave, if it gave one (RFC 9111 §4.2.1).
    pub(super) fn explicit(&self) -> Option<(Duration, &'static str)> {
        if let Some(cached) = self.said.cached() {
            return Some((cached.lifetime(), "the handler"));
        }
        let directives = &self.said.directives;
        let shared = match self.rules.scope {
            Scope::Shared => directives.s_maxage, // §5.2.2.10
            Scope::Private => None,
        };
        let of = |delta: Option<Delta>, name| Some((delta?.lifetime(), name));
        of(shared, "s-maxage")
            .or_else(|| of(directives.max_age, "max-age"))
            .or_else(|| Some((self.expires()?, "expires")))
    }

    /// `Expires` minus `Date`. One in the past, or one that is no date, is a lifetime of zero and
    /// not the absence of one (RFC 9111 §5.3).
    fn expires(&self) -> Option<Duration> {
        if !self.said.hears_expires() || !self.headers.contains_key(header::EXPIRES) {
            return None;
        }
        let at = date::field(self.headers, &header::EXPIRES, self.date);
        Some(at.and_then(|at| at.duration_since(self.date).ok()).unwrap_or_default())
    }

    /// What the policy says for this status code.
    fn by_status(&self) -> Option<Duration> {
        let lifetime = self.rules.lifetimes.of_status(self.status)?;
        self.said.directives.no_cache.is_none().then_some(lifetime)
    }

    /// A tenth of the time since the last modification (RFC 9111 §4.2.2).
    fn heuristic(&self) -> Option<Duration> {
        if !self.said.directives.public && !is_heuristically_cacheable(self.rules, self.status) {
            return None;
        }
        if !self.rules.heuristic_queries && self.key.path_and_query().contains('?') {
            return None;
        }
        let last_modified = date::field(self.headers, &header::LAST_MODIFIED, self.received)?;
        let unchanged = self.date.duration_since(last_modified).ok()?;
        Some(self.capped((unchanged / 10).min(self.rules.heuristic_max)))
    }

    fn default(&self) -> Option<Duration> {
        let ttl = self.rules.default_ttl?;
        (self.said.directives.no_cache.is_none()
            && is_heuristically_cacheable(self.rules, self.status))
        .then(|| self.capped(ttl))
    }

    /// What vanished once may be back soon.
    fn capped(&self, lifetime: Duration) -> Duration {
        if self.status.is_client_error() || self.status.is_server_error() {
            lifetime.min(self.rules.negative_max)
        } else {
            lifetime
        }
    }
}

/// RFC 9110 §15.1, but errors that are about one odd
/// request rather than about the resource.
pub(super) fn is_heuristically_cacheable(rules: &StoringRules, status: StatusCode) -> bool {
    match status.as_u16() {
        200 | 203 | 204 | 206 | 300 | 301 | 308 | 404 | 410 => true,
        405 | 414 | 501 => rules.heuristic_errors,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;
    use crate::Policy;

    const DATE: &str = "Thu, 01 Jan 2026 00:00:00 GMT";

    struct Case {
        status: u16,
        lines: Vec<(&'static str, &'static str)>,
    }

    fn lifetime(lines: &[(&'static str, &'static str)]) -> Case {
        Case { status: 200, lines: lines.to_vec() }
    }

    fn status(status: u16, lines: &[(&'static str, &'static str)]) -> Case {
        Case { status, lines: lines.to_vec() }
    }

    impl Case {
        fn by(&self, policy: &Policy) -> u64 {
            let mut headers = HeaderMap::new();
            for (name, value) in &self.lines {
                headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
            }
            let date = date::parse(DATE.as_bytes(), SystemTime::UNIX_EPOCH).unwrap();
            let (head, ()) = http::Request::get("http://a.example/").body(()).unwrap().into_parts();
            Freshness {
                rules: &policy.rules.storing,
                key: &CacheKey::of(&policy.rules, &head).unwrap(),
                status: StatusCode::from_u16(self.status).unwrap(),
                headers: &headers,
                said: &Said::of(&[], &headers, None),
                date,
                received: date,
            }
            .lifetime()
            .0
            .as_secs()
        }

        #[track_caller]
        fn shared(&self, expected: u64) -> &Self {
            assert_eq!(self.by(&Policy::shared()), expected, "shared {:?}", self.lines);
            self
        }

        #[track_caller]
        fn private(&self, expected: u64) -> &Self {
            assert_eq!(self.by(&Policy::private()), expected, "private {:?}", self.lines);
            self
        }

        #[track_caller]
        fn both(&self, expected: u64) -> &Self {
            self.shared(expected).private(expected)
        }
    }

    type Lines = &'static [(&'static str, &'static str)];

    const CC: &str = "cache-control";

    /// RFC 9111 §4.2.1, first rule that applies.
    #[test]
    fn lifetime_takes_the_first_rule_that_applies() {
        const EXPIRES: (&str, &str) = ("expires", "Thu, 01 Jan 2026 00:01:00 GMT");
        lifetime(&[(CC, "max-age=60, s-maxage=10")]).shared(10).private(60);
        lifetime(&[(CC, "s-maxage=600"), (CC, "max-age=60")]).shared(600).private(60);
        lifetime(&[(CC, "s-maxage=x, max-age=60")]).shared(0).private(60);
        lifetime(&[EXPIRES]).both(60);
        lifetime(&[(CC, "max-age=5"), EXPIRES]).both(5);
        lifetime(&[(CC, "max-age=500"), EXPIRES]).both(500);
        lifetime(&[(CC, "max-age=x"), EXPIRES]).both(0);
        lifetime(&[(CC, "max-age=5"), ("expires", "0")]).both(5);
        lifetime(&[(CC, "max-age=1, max-age=1")]).both(1);
        lifetime(&[(CC, "max-age=1, max-age=2")]).both(0);
        lifetime(&[(CC, "max-age=99999999999999999999")]).both(2_147_483_648); // §1.2.2
    }

    /// RFC 9111 §5.3: an invalid `Expires` is a time in the past.
    #[test]
    fn expires_that_cannot_be_read_is_past() {
        const LM: (&str, &str) = ("last-modified", "Wed, 31 Dec 2025 00:00:00 GMT");
        for past in ["0", "-1", "", "Thu, 01 Jan 2026", "Wed, 31 Dec 2025 00:00:00 GMT", DATE] {
            lifetime(&[("expires", past), LM]).both(0);
        }
        lifetime(&[("expires", "Thu Jan  1 00:00:09 2026")]).both(9);
        lifetime(&[("expires", "Thursday, 01-Jan-26 00:00:09 GMT")]).both(9);
        lifetime(&[("expires", "Fri, 01 Jan 2100 00:00:00 GMT")]).both(2_335_219_200);
    }

    /// RFC 9111 §4.2.2, RFC 9110 §15.1.
    #[test]
    fn heuristics_need_last_modified_and_the_right_status() {
        const TEN_MINUTES: (&str, &str) = ("last-modified", "Wed, 31 Dec 2025 23:50:00 GMT");
        const YEARS: (&str, &str) = ("last-modified", "Thu, 01 Jan 2015 00:00:00 GMT");
        const AHEAD: (&str, &str) = ("last-modified", "Thu, 01 Jan 2026 00:00:01 GMT");
        lifetime(&[TEN_MINUTES]).both(60);
        lifetime(&[YEARS]).both(86_400);
        lifetime(&[AHEAD]).both(0);
        lifetime(&[]).both(0);
        for code in [203, 204, 300, 301, 308, 404, 410] {
            status(code, &[TEN_MINUTES]).both(60);
        }
        for code in [201, 202, 302, 303, 307, 400, 403, 405, 414, 451, 500, 501, 503, 599] {
            status(code, &[TEN_MINUTES]).both(0);
            status(code, &[TEN_MINUTES, (CC, "public")]).both(60);
            status(code, &[TEN_MINUTES, (CC, "max-age=7")]).both(7);
        }
        let errors = Policy::shared().heuristic_errors(true);
        for code in [405, 414, 501] {
            assert_eq!(status(code, &[TEN_MINUTES]).by(&errors), 60);
        }
        status(404, &[YEARS]).both(60); // negative_max
    }

    #[test]
    fn a_default_lifetime_is_for_those_that_say_nothing() {
        let policy = Policy::shared().default_ttl(Duration::from_secs(100));
        let table: [(u16, Lines, u64); 10] = [
            (200, &[], 100),
            (204, &[], 100),
            (301, &[], 100),
            (404, &[], 60),
            (302, &[], 0),
            (500, &[], 0),
            (200, &[(CC, "no-cache")], 0),
            (200, &[(CC, "max-age=x")], 0),
            (200, &[("expires", "0")], 0),
            (200, &[(CC, "max-age=5")], 5),
        ];
        for (code, lines, expected) in table {
            assert_eq!(
                Case { status: code, lines: lines.to_vec() }.by(&policy),
                expected,
                "{code} {lines:?}"
            );
        }
    }
}
