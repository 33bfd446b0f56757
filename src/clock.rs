use std::{
    fmt,
    future::Future,
    pin::Pin,
    time::{Duration, Instant, SystemTime},
};

use crate::policy::Timestamp;

/// A boxed future without a borrow, as tasks and timers are.
pub type BoxFuture<T = ()> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Where the time comes from. Tests give their own.
pub trait Clock: Send + Sync + 'static {
    /// Wall and monotonic time, read together.
    fn now(&self) -> Timestamp;

    /// A future that is ready after `duration`. `None`: this clock cannot wake anybody, and limits
    /// are checked whenever something is polled.
    fn sleep(&self, duration: Duration) -> Option<BoxFuture>;
}

/// The system's clocks. With the feature `tokio` and inside of its runtime, [`Clock::sleep`] works.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::new(SystemTime::now(), Instant::now())
    }

    fn sleep(&self, duration: Duration) -> Option<BoxFuture> {
        #[cfg(feature = "tokio")]
        if tokio::runtime::Handle::try_current().is_ok() {
            return Some(Box::pin(tokio::time::sleep(duration)));
        }
        let _ = duration;
        None
    }
}

impl fmt::Debug for dyn Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clock")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 9111 §4.2.3 asks for the time that has passed; no clock may hide it.
    #[test]
    fn neither_clock_alone_can_make_time_stand_still() {
        let wall = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        let monotonic = Instant::now();
        let second = Duration::from_secs(1);
        let start = Timestamp::new(wall, monotonic);
        let set_back = Timestamp::new(wall - 100 * second, monotonic + 10 * second);
        assert_eq!(set_back.since(start), 10 * second);
        let slept = Timestamp::new(wall + 3600 * second, monotonic + second);
        assert_eq!(slept.since(start), 3600 * second);
    }
}
