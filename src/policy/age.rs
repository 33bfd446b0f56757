use std::{
    sync::OnceLock,
    time::{Duration, Instant, SystemTime},
};

use super::head::Facts;

/// A moment on two clocks: the wall's, that HTTP dates are about, and the monotonic one.
///
/// Years beyond 2262 count as that one.
#[derive(Clone, Copy, Debug)]
pub struct Timestamp {
    /// Both are numbers of nanoseconds, since a hit reckons with them: from the epoch of Unix on,
    wall: i64,
    /// and from a moment of this process on.
    monotonic: Option<i64>,
}

impl Timestamp {
    /// A moment read from both clocks at once.
    #[inline]
    pub fn new(wall: SystemTime, monotonic: Instant) -> Self {
        Self { wall: nanos(wall), monotonic: Some(Self::ticks(monotonic)) }
    }

    /// A moment of another process, of which only the wall time is known.
    pub fn from_wall(wall: SystemTime) -> Self {
        Self { wall: nanos(wall), monotonic: None }
    }

    /// The same of what [`ticks`](Self::ticks) gives.
    #[inline]
    pub(crate) fn from_nanos(wall: i64, ticks: i64) -> Self {
        Self { wall, monotonic: Some(ticks) }
    }

    /// Nanoseconds from the first moment of the monotonic clock on that anybody asked about.
    #[inline]
    pub(crate) fn ticks(moment: Instant) -> i64 {
        static FIRST: OnceLock<Instant> = OnceLock::new();
        let first = *FIRST.get_or_init(|| moment);
        match moment.checked_duration_since(first) {
            Some(after) => whole(after),
            None => -whole(first.saturating_duration_since(moment)),
        }
    }

    /// The time of day, in nanoseconds.
    pub(crate) fn nanos(&self) -> i64 {
        self.wall
    }

    /// The time of day.
    #[inline]
    pub fn wall(&self) -> SystemTime {
        let distance = Duration::from_nanos(self.wall.unsigned_abs());
        let wall = match self.wall < 0 {
            true => SystemTime::UNIX_EPOCH.checked_sub(distance),
            false => SystemTime::UNIX_EPOCH.checked_add(distance),
        };
        wall.unwrap_or(SystemTime::UNIX_EPOCH)
    }

    /// The time that has passed since `earlier`, never less than either clock says.
    ///
    /// A wall clock that is set back must not make an old response young; a monotonic clock that
    /// stands still while the machine sleeps must not either.
    #[inline]
    pub fn since(&self, earlier: Timestamp) -> Duration {
        let wall = self.wall.saturating_sub(earlier.wall);
        let passed = match (self.monotonic, earlier.monotonic) {
            (Some(now), Some(then)) => wall.max(now.saturating_sub(then)),
            _ => wall,
        };
        Duration::from_nanos(u64::try_from(passed).unwrap_or_default())
    }
}

/// Since 1970, less than nothing before.
fn nanos(wall: SystemTime) -> i64 {
    match wall.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(after) => whole(after),
        Err(before) => -whole(before.duration()),
    }
}

#[inline]
fn whole(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}

/// The age of a response at the moment it was received (RFC 9111 §4.2.3,
/// `corrected_initial_age`).
pub(crate) fn initial_age(
    date: SystemTime,
    age_value: Option<Duration>,
    requested: Timestamp,
    received: Timestamp,
) -> Duration {
    let apparent = received.wall().duration_since(date).unwrap_or_default();
    let response_delay = received.since(requested);
    let corrected = age_value.unwrap_or_default().saturating_add(response_delay);
    apparent.max(corrected)
}

/// The age of a response that has been stored for `resident` (RFC 9111 §4.2.3, `current_age`).
#[inline]
pub(crate) fn current_age(facts: &Facts, resident: Duration) -> Duration {
    facts.initial_age.saturating_add(resident)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_wall(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds))
    }

    #[test]
    fn a_moment_keeps_its_time_of_day() {
        let second = Duration::from_secs(1);
        let epoch = SystemTime::UNIX_EPOCH;
        for wall in [epoch, epoch + second / 3, epoch - second / 3, epoch + second * 4_000_000_000]
        {
            assert_eq!(Timestamp::from_wall(wall).wall(), wall);
        }
        let years = Duration::from_secs(400 * 365 * 86_400);
        let (late, later) =
            (Timestamp::from_wall(epoch + years), Timestamp::from_wall(epoch + 2 * years));
        assert_eq!(later.since(late), Duration::ZERO);
        assert!(later.since(at(0)) > Duration::from_secs(292 * 365 * 86_400));
        assert_eq!(at(0).since(later), Duration::ZERO);
    }

    /// RFC 9111 §4.2.3: a slow or fast clock at the origin never makes an aged response young.
    #[test]
    fn initial_age_is_the_greater_of_both_ways_to_measure() {
        // (Date, Age, request sent, response received) -> age
        let table = [
            (1000, None, 1000, 1000, 0),
            (990, None, 1000, 1000, 10),
            (1010, None, 1000, 1000, 0),
            (1010, Some(7), 1000, 1002, 9),
            (990, Some(3), 1000, 1002, 12),
            (1000, Some(30), 1000, 1005, 35),
            (1000, Some(u64::MAX), 1000, 1005, u64::MAX),
        ];
        for (date, age, requested, received, expected) in table {
            let age = initial_age(
                at(date).wall(),
                age.map(Duration::from_secs),
                at(requested),
                at(received),
            );
            assert_eq!(age.as_secs(), expected, "Date {date} received {received}");
        }
    }
}
