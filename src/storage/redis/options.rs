use std::time::Duration;

use super::{RedisManager, layout::Names, link::Link};
use crate::{Error, bus::WhenCutOff, policy::Secret};

/// How a [`RedisManager`] is opened.
///
/// ```no_run
/// use larder::{policy::Secret, storage::RedisOptions};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), larder::Error> {
/// let secret = Secret::from_bytes([7; 32]); // from the configuration of all nodes
/// let store = RedisOptions::new().namespace("site").secret(secret).open("redis://10.0.0.5/")?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct RedisOptions {
    namespace: String,
    pub(super) secret: Option<Secret>,
    pub(super) max_entry_bytes: u64,
    pub(super) max_unwritten: usize,
    pub(super) budget: Duration,
    pub(super) connect_timeout: Duration,
    pub(super) body_timeout: Duration,
    pub(super) revalidation: Duration,
    pub(super) max_ttl: Duration,
    pub(super) max_purge_lag: Duration,
    pub(super) cut_off: WhenCutOff,
}

impl RedisOptions {
    /// The defaults that each method names.
    pub fn new() -> Self {
        Self {
            namespace: "larder".to_owned(),
            secret: None,
            max_entry_bytes: 64 << 20,
            max_unwritten: 16 << 20,
            budget: Duration::from_millis(50),
            connect_timeout: Duration::from_secs(1),
            body_timeout: Duration::from_secs(10),
            revalidation: Duration::from_secs(60 * 60),
            max_ttl: Duration::from_secs(30 * 24 * 60 * 60),
            max_purge_lag: Duration::from_secs(5),
            cut_off: WhenCutOff::default(),
        }
    }

    /// What all keys in Redis begin with: letters, digits and `-_.:`, at most 64. Stores with one
    /// namespace are one store. Default: `larder`.
    pub fn namespace(self, namespace: impl Into<String>) -> Self {
        Self { namespace: namespace.into(), ..self }
    }

    /// The secret that hides credentials in keys, the same for all nodes. Default: one that no other
    /// node has, so that nodes do not share responses that vary by credentials.
    pub fn secret(self, secret: Secret) -> Self {
        Self { secret: Some(secret), ..self }
    }

    /// The largest body that is stored. Default: 64 MiB. What is stored, changed or removed in one step has
    /// a time to live for every 256 KiB, so that Redis does nothing else meanwhile: for 64 MiB a third
    /// of a millisecond, for 1 GiB six.
    pub fn max_entry_bytes(self, bytes: u64) -> Self {
        Self { max_entry_bytes: bytes, ..self }
    }

    /// How many bytes may be on their way to Redis. A response that has no room there is not stored,
    /// and [counted](RedisManager::dropped). Default: 16 MiB.
    pub fn max_unwritten_bytes(self, bytes: usize) -> Self {
        Self { max_unwritten: bytes.clamp(1 << 20, 1 << 40), ..self }
    }

    /// How long a look-up may take. Late is a miss. Default: 50 milliseconds.
    pub fn lookup_timeout(self, timeout: Duration) -> Self {
        Self { budget: timeout, ..self }
    }

    /// How long it may take to connect, and to tell Redis of a purge. Default: one second.
    pub fn connect_timeout(self, timeout: Duration) -> Self {
        Self { connect_timeout: timeout, ..self }
    }

    /// How long a body that is being sent waits for a Redis that has gone away, until it fails. One that
    /// is being stored waits as long for each 256 KiB, but not more than five seconds. Default: 10 seconds.
    pub fn body_timeout(self, timeout: Duration) -> Self {
        Self { body_timeout: timeout, ..self }
    }

    /// How long Redis keeps a response for its validators, after it can no longer be served without
    /// asking the origin. Default: one hour.
    pub fn keep_for_validation(self, time: Duration) -> Self {
        Self { revalidation: time, ..self }
    }

    /// How long Redis keeps a response at most, however long it is fresh. Default: 30 days.
    pub fn max_ttl(self, time: Duration) -> Self {
        Self { max_ttl: time.max(Duration::from_secs(1)), ..self }
    }

    /// How long a faster tier serves what it has without hearing of purges. A node that is cut off
    /// serves what others purge for as long, and not longer unless [`WhenCutOff::Serve`] says so. Default:
    /// 5 seconds.
    pub fn max_purge_lag(self, lag: Duration) -> Self {
        Self { max_purge_lag: lag, ..self }
    }

    /// What becomes then of responses in a faster tier: [`Serve`](WhenCutOff::Serve) them,
    /// [`Revalidate`](WhenCutOff::Revalidate), the default, or look past them, so that every request goes
    /// to the origin, [`Bypass`](WhenCutOff::Bypass).
    pub fn when_cut_off(self, cut_off: WhenCutOff) -> Self {
        Self { cut_off, ..self }
    }

    /// Opens the store at `redis://[USER:PASSWORD@]HOST[:PORT][/DATABASE]`, or at the path of
    /// `unix://PATH`. It connects in the background, and need not be there yet:
    /// [`RedisManager::ready`] tells.
    ///
    /// `rediss://` is for a server behind TLS, and needs a crate `redis` that was built with it:
    /// [`storage`](crate::storage#two-nodes) says how.
    ///
    /// # Errors
    ///
    /// If the URL or the namespace makes no sense, or the URL asks for TLS and there is none
    /// ([`Error::is_invalid`]).
    pub fn open(self, url: &str) -> Result<RedisManager, Error> {
        let info: redis::ConnectionInfo =
            redis::IntoConnectionInfo::into_connection_info(url).map_err(Error::invalid)?;
        let tcp = info.tcp_settings().clone().set_nodelay(true);
        let info = info.set_tcp_settings(tcp);
        self.open_client(redis::Client::open(info).map_err(Error::invalid)?)
    }

    /// The same with a client of the crate `redis`, for what a URL does not say, such as certificates.
    /// Its version is part of this crate's promise only as far as the feature `redis` is.
    ///
    /// # Errors
    ///
    /// If the namespace makes no sense ([`Error::is_invalid`]).
    pub fn open_client(self, client: redis::Client) -> Result<RedisManager, Error> {
        let names = Names::new(&self.namespace)?;
        RedisManager::with_link(Link::new(client, names, self.connect_timeout), self)
    }
}

impl Default for RedisOptions {
    fn default() -> Self {
        Self::new()
    }
}
