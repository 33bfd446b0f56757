use std::time::{Duration, Instant, SystemTime};

use super::head::Facts;

/// A moment on two clocks: the wall's, that HTTP dates are about, and the monotonic one.
#[derive(Clone, Copy, Debug)]
pub struct Timestamp {
    wall: SystemTime,
    monotonic: Option<Instant>,
}

impl Timestamp {
    /// A moment read from both clocks at once.
    #[inline]
    pub fn new(wall: SystemTime, monotonic: Instant) -> Self {
        Self { wall, monotonic: Some(monotonic) }
    }

    /// A moment of another process, of which only the wall time is known.
    pub fn from_wall(wall: SystemTime) -> Self {
        Self { wall, monotonic: None }
    }

    /// The time of day.
    #[inline]
    pub fn wall(&self) -> SystemTime {
        self.wall
    }

    /// The time that has passed since `earlier`, never less than either clock says.
    ///
    /// A wall clock that is set back must not make an old response young; a monotonic clock that
    /// stands still while the machine sleeps must not either.
    #[inline]
    pub fn since(&self, earlier: Timestamp) -> Duration {
        let wall = self.wall.duration_since(earlier.wall).unwrap_or_default();
        match (self.monotonic, earlier.monotonic) {
            (Some(now), Some(then)) => wall.max(now.saturating_duration_since(then)),
            _ => wall,
        }
    }
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
