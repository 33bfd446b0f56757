//! What makes a lifetime shorter than what a response says, and the one thing that makes it longer.

use std::{
    hash::{Hash, Hasher},
    time::Duration,
};

use http::{HeaderName, StatusCode};

use super::{
    CacheKey, Reason, ResponseMeta, date, fields,
    hooks::{Keep, OnResponse, Overrule},
};

/// What a policy makes of lifetimes.
#[derive(Clone, Default, Hash)]
pub(super) struct Lifetimes {
    /// For those that do not say it themselves. Sorted by status.
    pub(super) by_status: Vec<(StatusCode, Duration)>,
    pub(super) max: Option<Duration>,
    pub(super) min: Option<Duration>,
    /// The field that tells how old an item is, by which its lifetime is cut short.
    pub(super) aged_by: Option<HeaderName>,
    pub(super) jitter: Fraction,
    pub(super) hooks: Vec<OnResponse>,
    pub(super) overrules: Vec<Overrule>,
    pub(super) only_marked: bool,
}

impl Lifetimes {
    pub(super) fn of_status(&self, status: StatusCode) -> Option<Duration> {
        let at = self.by_status.binary_search_by_key(&status, |(status, _)| *status).ok()?;
        self.by_status.get(at).map(|(_, lifetime)| *lifetime)
    }

    pub(super) fn set_status(&mut self, status: StatusCode, lifetime: Duration) {
        match self.by_status.binary_search_by_key(&status, |(status, _)| *status) {
            Ok(at) => self.by_status[at].1 = lifetime,
            Err(at) => self.by_status.insert(at, (status, lifetime)),
        }
    }

    /// What somebody wants for this response in place of what it says.
    pub(super) fn overruled(&self, meta: &ResponseMeta<'_>) -> Option<Duration> {
        self.overrules.iter().rev().find_map(|overrule| overrule.ask(meta))
    }

    /// How long the response is fresh, or why it is not kept. `is_marked`: its handler wants it kept.
    pub(super) fn adjust(
        &self,
        meta: &ResponseMeta<'_>,
        is_marked: bool,
    ) -> Result<Duration, Reason> {
        let mut lifetime = meta.lifetime().max(self.min.unwrap_or_default());
        let mut keep = Keep::as_it_says();
        for hook in &self.hooks {
            keep = keep.and(hook.ask(meta)?);
        }
        if self.only_marked && !is_marked && !keep.is_marked() {
            return Err(Reason::NotOptedIn);
        }
        let by_age = self.aged_by.as_ref().and_then(|field| {
            let made = date::field(meta.headers(), field, meta.received())?;
            Some(age_curve(meta.received().duration_since(made).unwrap_or_default()))
        });
        for limit in [keep.limit(), by_age, self.max].into_iter().flatten() {
            lifetime = lifetime.min(limit);
        }
        Ok(self.jitter.off(lifetime, meta.key()))
    }
}

/// How long a page may be kept that was last changed so long ago: a minute for one that is a minute
/// old, an hour for two and a half days, a day for eleven. What changed just now is likely to change
/// again, and what has not changed for weeks is not.
///
/// 60 s · (log₂(age in minutes + 1) + (age in days)³), at most 2³¹ seconds.
///
/// ```
/// use std::time::Duration;
/// use larder::policy::age_curve;
///
/// let hour = Duration::from_secs(60 * 60);
/// assert_eq!(age_curve(hour).as_secs(), 355);
/// assert!(age_curve(24 * 7 * hour) > 5 * hour);
/// ```
pub fn age_curve(age: Duration) -> Duration {
    let (minutes, days) = (age.as_secs_f64() / 60.0, age.as_secs_f64() / 86_400.0);
    let seconds = 60.0 * ((minutes + 1.0).log2() + days.powi(3));
    Duration::try_from_secs_f64(seconds.min(fields::FOREVER as f64)).unwrap_or_default()
}

/// A part of one, in thousandths.
#[derive(Clone, Copy, Default, Hash)]
pub(super) struct Fraction(u16);

impl Fraction {
    pub(super) fn of(fraction: f64) -> Self {
        Self((fraction.clamp(0.0, 1.0) * 1000.0) as u16)
    }

    /// `lifetime` without a part of it that is at most this great, evenly spread over the keys and
    /// always the same for one.
    fn off(self, lifetime: Duration, key: &CacheKey) -> Duration {
        if self.0 == 0 {
            return lifetime;
        }
        let [a, b, c, d, ..] = *blake3::hash(key.as_bytes()).as_bytes();
        let place = f64::from(u32::from_be_bytes([a, b, c, d])) / f64::from(u32::MAX);
        let most = lifetime.as_secs_f64() * f64::from(self.0) / 1000.0;
        lifetime.saturating_sub(Duration::try_from_secs_f64(most * place).unwrap_or_default())
    }
}

impl Hash for OnResponse {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.kind().hash(state);
    }
}

impl Hash for Overrule {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.kind().hash(state);
    }
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;
    use crate::Policy;

    /// Scenario 2.13.
    #[test]
    fn the_curve_is_the_one_that_was_asked_for() {
        const HOUR: f64 = 3600.0;
        let table = [
            (60, 60.0),
            (600, 208.0),
            (3600, 356.0),
            (86_400, 690.0),
            (2 * 86_400, 1170.0),
            (3 * 86_400, 2345.0),
            (7 * 86_400, 5.9 * HOUR),
            (14 * 86_400, 1.9 * 24.0 * HOUR),
            (21 * 86_400, 6.4 * 24.0 * HOUR),
        ];
        for (age, expected) in table {
            let found = age_curve(Duration::from_secs(age)).as_secs_f64();
            let tolerance = if expected > HOUR { 0.03 } else { 0.01 }; // two digits were given
            assert!((found / expected - 1.0).abs() < tolerance, "{age}: {found}, not {expected}");
        }
        assert_eq!(age_curve(Duration::ZERO), Duration::ZERO);
        assert_eq!(age_curve(Duration::MAX).as_secs(), fields::FOREVER);
    }

    /// Scenario 2.14: 10 000 entries stored at once.
    #[test]
    fn jitter_spreads_what_was_stored_at_once() {
        let jitter = Fraction::of(0.1);
        let mut seconds = [0; 61];
        for n in 0..10_000 {
            let uri = format!("http://a.example/{n}");
            let (head, ()) = Request::get(uri).body(()).unwrap().into_parts();
            let key = CacheKey::of(&Policy::shared().rules, &head).unwrap();
            let whole = Duration::from_secs(60);
            let lifetime = jitter.off(whole, &key);
            assert_eq!(lifetime, jitter.off(whole, &key), "the same each time");
            assert!(lifetime <= whole && lifetime >= Duration::from_secs(54));
            assert_eq!(Fraction::default().off(whole, &key), whole);
            seconds[lifetime.as_secs() as usize] += 1;
        }
        assert!(seconds.iter().all(|count| *count <= 2 * 10_000 / 6), "{seconds:?}");
    }
}
