use std::{
    fmt,
    future::{Future, poll_fn},
    pin::{Pin, pin},
    sync::atomic::{AtomicI64, Ordering},
    task::Poll,
    time::{Duration, Instant, SystemTime},
};

use crate::{Error, policy::Timestamp};

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
///
/// The wall clock is read once in a while and carried on by the monotonic one in between, since a
/// hit is short enough to feel a second reading: a step of the wall clock is seen a tenth of a
/// second later.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

/// What the wall clock shows beyond the monotonic one, and when that was last read.
struct Anchor {
    offset: AtomicI64,
    read_at: AtomicI64,
}

static ANCHOR: Anchor = Anchor { offset: AtomicI64::new(0), read_at: AtomicI64::new(0) };

/// A tenth of a second, in nanoseconds.
const READ_EVERY: i64 = 100_000_000;

impl Clock for SystemClock {
    #[inline]
    fn now(&self) -> Timestamp {
        let ticks = Timestamp::ticks(Instant::now());
        // First when, then what: a fresh time is never paired with an old offset.
        let unread = ticks.wrapping_sub(ANCHOR.read_at.load(Ordering::Acquire));
        let offset = ANCHOR.offset.load(Ordering::Acquire);
        let offset = match offset == 0 || !(0..=READ_EVERY).contains(&unread) {
            true => ANCHOR.read(ticks),
            false => offset,
        };
        Timestamp::from_nanos(ticks.saturating_add(offset), ticks)
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

impl Anchor {
    #[cold]
    fn read(&self, ticks: i64) -> i64 {
        let wall = Timestamp::from_wall(SystemTime::now());
        let offset = wall.nanos().saturating_sub(ticks);
        self.offset.store(offset, Ordering::Release);
        self.read_at.store(ticks, Ordering::Release);
        offset
    }
}

/// Waits for `call`, and no longer than `limit`.
pub(crate) async fn within<T>(
    clock: &dyn Clock,
    limit: Duration,
    call: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    let mut call = pin!(call);
    let mut waiting = None;
    poll_fn(|cx| {
        if let Poll::Ready(result) = call.as_mut().poll(cx) {
            return Poll::Ready(result);
        }
        let (since, timer) = waiting.get_or_insert_with(|| (clock.now(), clock.sleep(limit)));
        let rings = timer.as_mut().is_some_and(|timer| timer.as_mut().poll(cx).is_ready());
        if rings || clock.now().since(*since) >= limit {
            Poll::Ready(Err(Error::timed_out()))
        } else {
            Poll::Pending
        }
    })
    .await
}

impl fmt::Debug for dyn Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clock")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_system_clock_shows_both_clocks() {
        for _ in 0..3 {
            let now = SystemClock.now();
            let apart = |a: SystemTime, b: SystemTime| match a.duration_since(b) {
                Ok(apart) => apart,
                Err(error) => error.duration(),
            };
            assert!(apart(now.wall(), SystemTime::now()) < Duration::from_secs(1));
            assert!(SystemClock.now().since(now) < Duration::from_secs(1));
        }
    }

    /// RFC 9111 §4.2.3 asks for the time that has passed; no clock may hide it.
    /// Feature injected-clock.
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
