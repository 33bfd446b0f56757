//! How long past its lifetime a response may be used (RFC 9111 §4.2.4, RFC 5861).

use std::time::Duration;

use super::{
    directives::{Reach, ResponseDirectives},
    head::{Facts, Revalidate},
    mode::Cached,
    options::{Scope, StoringRules},
};

/// What a response says about its own stale use. `None`: it says nothing, or forbids it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Windows {
    pub(crate) while_revalidate: Option<Duration>,
    pub(crate) if_error: Option<Duration>,
}

impl Windows {
    /// `must-revalidate`, `proxy-revalidate` and `no-cache` forbid what RFC 5861 allows. `s-maxage`
    /// implies `proxy-revalidate` (RFC 9111 §5.2.2.10), but who writes a window beside it means
    /// it: the implied directive yields, unless the rules are strict.
    pub(super) fn of(
        rules: &StoringRules,
        directives: &ResponseDirectives,
        cached: Option<&Cached>,
    ) -> Self {
        if let Some(cached) = cached {
            return cached.windows();
        }
        let shared = rules.scope == Scope::Shared;
        let forbids = directives.must_revalidate
            || directives.no_cache == Some(Reach::Whole)
            || (shared && directives.proxy_revalidate)
            || (shared && rules.strict_s_maxage && directives.s_maxage.is_some());
        if forbids {
            return Self::default();
        }
        Self {
            while_revalidate: directives.stale_while_revalidate,
            if_error: directives.stale_if_error,
        }
    }

    /// Whether there is any time in which the response may be used though it is stale.
    pub(super) fn are_open(&self) -> bool {
        [self.while_revalidate, self.if_error].into_iter().flatten().any(|w| !w.is_zero())
    }
}

/// The policy's part in stale use.
#[derive(Clone, Debug, Default)]
pub(super) struct StaleRules {
    pub(super) while_revalidate: Option<Duration>,
    pub(super) if_error: Option<Duration>,
    pub(super) on_disconnect: Option<Duration>,
    /// After how long an origin counts as slow.
    pub(super) on_slow_origin: Option<Duration>,
    pub(super) max: Option<Duration>,
}

/// Why a stale response would be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Occasion {
    /// It is being refreshed (RFC 5861 §3).
    Refresh,
    /// The origin answered 500, 502, 503 or 504 (RFC 5861 §4).
    ServerError,
    /// The origin could not be reached, or gave no answer in time.
    Disconnect,
}

impl StaleRules {
    /// How stale a response may be to be used on this `occasion`; `asked` is the request's own
    /// `stale-if-error`.
    pub(super) fn window(
        &self,
        facts: &Facts,
        occasion: Occasion,
        asked: Option<Duration>,
    ) -> Duration {
        // What the response does not say itself must not be forbidden by it either.
        let unsaid = |window: Option<Duration>| {
            window.filter(|_| facts.revalidate == Revalidate::MayBeStale)
        };
        let own = facts.windows;
        let refresh = own.while_revalidate.or(unsaid(self.while_revalidate));
        let error = || own.if_error.or(unsaid(self.if_error)).max(unsaid(asked));
        let window = match occasion {
            Occasion::Refresh => refresh,
            Occasion::ServerError => refresh.max(error()),
            Occasion::Disconnect => refresh.max(error()).max(unsaid(self.on_disconnect)),
        };
        self.bounded(window.unwrap_or_default())
    }

    pub(super) fn bounded(&self, window: Duration) -> Duration {
        self.max.map_or(window, |max| window.min(max))
    }
}

/// Whether what has been stale for `staleness` is inside of `window`. A window of no length holds
/// nothing.
pub(super) fn is_within(staleness: Duration, window: Duration) -> bool {
    !window.is_zero() && staleness <= window
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue, header};

    use super::*;
    use crate::policy::Policy;

    fn windows(policy: &Policy, value: &'static str) -> (Option<u64>, Option<u64>) {
        let headers =
            HeaderMap::from_iter([(header::CACHE_CONTROL, HeaderValue::from_static(value))]);
        let directives = ResponseDirectives::parse(&headers);
        let windows = Windows::of(&policy.rules.storing, &directives, None);
        let seconds = |window: Option<Duration>| window.map(|window| window.as_secs());
        (seconds(windows.while_revalidate), seconds(windows.if_error))
    }

    /// RFC 5861 §3, §4, RFC 9111 §4.2.4; Decision 1, scenario 2.4.
    #[test]
    fn literal_restrictions_close_the_windows_and_implied_ones_yield() {
        const BOTH: (Option<u64>, Option<u64>) = (Some(5), Some(9));
        const NONE: (Option<u64>, Option<u64>) = (None, None);
        let table = [
            ("max-age=1", NONE, NONE, NONE),
            ("stale-while-revalidate=5, stale-if-error=9", BOTH, BOTH, BOTH),
            ("s-maxage=1, stale-while-revalidate=5, stale-if-error=9", BOTH, NONE, BOTH),
            ("must-revalidate, stale-while-revalidate=5, stale-if-error=9", NONE, NONE, NONE),
            ("proxy-revalidate, stale-while-revalidate=5, stale-if-error=9", NONE, NONE, BOTH),
            ("no-cache, stale-while-revalidate=5, stale-if-error=9", NONE, NONE, NONE),
            ("no-cache=\"a\", stale-while-revalidate=5, stale-if-error=9", BOTH, BOTH, BOTH),
        ];
        for (value, shared, strict, private) in table {
            assert_eq!(windows(&Policy::shared(), value), shared, "{value}");
            assert_eq!(windows(&Policy::shared().strict_s_maxage(true), value), strict, "{value}");
            assert_eq!(windows(&Policy::private(), value), private, "{value}");
        }
    }

    #[test]
    fn a_window_of_no_length_is_closed() {
        let second = Duration::from_secs(1);
        assert!(!is_within(Duration::ZERO, Duration::ZERO));
        assert!(is_within(Duration::ZERO, second));
        assert!(is_within(second, second));
        assert!(!is_within(second + Duration::from_nanos(1), second));
    }
}
