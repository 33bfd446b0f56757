//! Taking responses out: what to purge, and the log that says what was.

use std::{
    collections::HashMap,
    fmt,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
};

use http::Uri;

use crate::{
    Error,
    clock::BoxFuture,
    inflight::Inflight,
    policy::{CacheKey, Policy, StoredHead},
};

/// What to take out of a cache.
///
/// ```
/// use larder::Purge;
///
/// let page = Purge::url("https://a.example/report?y=2026")?;
/// let site = Purge::host("a.example");
/// # Ok::<(), larder::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Purge(Selector);

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Selector {
    Everything,
    Namespace(Box<str>),
    /// An authority in the form of [`CacheKey::authority`].
    Host(Box<str>),
    Url(Box<str>),
}

impl Purge {
    /// One URL with all of its variants, in every namespace and partition.
    ///
    /// # Errors
    ///
    /// If it is not absolute ([`Error::is_invalid`]).
    pub fn url(url: &str) -> Result<Self, Error> {
        let uri: Uri = url.parse().map_err(Error::invalid)?;
        let (Some(scheme), Some(_)) = (uri.scheme_str(), uri.authority()) else {
            return Err(Error::invalid(format!("`{url}` is not an absolute URL")));
        };
        let scheme = scheme.to_ascii_lowercase();
        if uri.port().is_some() && uri.port_u16().is_none() {
            return Err(Error::invalid(format!("`{url}` has an impossible port")));
        }
        let authority = normal_authority(&uri);
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        let slash = if path.starts_with('/') { "" } else { "/" };
        Ok(Self(Selector::Url(format!("{scheme}://{authority}{slash}{path}").into())))
    }

    /// Everything of one host. `host` may have a port; without one it means the scheme's own, and so
    /// do 80 and 443, over `http` and `https` alike.
    pub fn host(host: &str) -> Self {
        let host = host.to_ascii_lowercase();
        Self(Selector::Host(host.strip_suffix('.').unwrap_or(&host).into()))
    }

    /// The same purge where `policy` leaves parameters of the query out of the key.
    pub(crate) fn by(self, policy: &Policy) -> Self {
        match self.0 {
            Selector::Url(url) => {
                let (path, query) = match url.split_once('?') {
                    Some((path, query)) => (path, Some(query)),
                    None => (&*url, None),
                };
                let url = match policy.keyed_query(query) {
                    Some(query) => format!("{path}?{query}"),
                    None => path.to_owned(),
                };
                Self(Selector::Url(url.into()))
            }
            other => Self(other),
        }
    }

    /// Everything of one [namespace](crate::Policy::namespace).
    pub fn namespace(namespace: &str) -> Self {
        Self(Selector::Namespace(namespace.into()))
    }

    /// One resource, in every namespace and partition.
    pub(crate) fn resource(key: &CacheKey) -> Self {
        let (scheme, authority, path) = (key.scheme(), key.authority(), key.path_and_query());
        Self(Selector::Url(format!("{scheme}://{authority}{path}").into()))
    }

    /// Everything.
    pub fn everything() -> Self {
        Self(Selector::Everything)
    }
}

fn normal_authority(uri: &Uri) -> String {
    let host = uri.host().unwrap_or_default();
    let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    let usual = match uri.scheme_str() {
        Some("https") => 443,
        _ => 80,
    };
    match uri.port_u16() {
        Some(port) if port != usual => format!("{host}:{port}"),
        _ => host,
    }
}

impl fmt::Display for Purge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Selector::Everything => f.write_str("everything"),
            Selector::Namespace(namespace) => write!(f, "namespace {namespace}"),
            Selector::Host(host) => write!(f, "host {host}"),
            Selector::Url(url) => write!(f, "url {url}"),
        }
    }
}

/// A purge that has taken effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Purged {
    seq: u64,
}

impl Purged {
    /// Its position in the log.
    pub fn seq(&self) -> u64 {
        self.seq
    }
}

/// The ordered log of purges. Every stored response carries the position at which its fill began:
/// what a later record selects is not served.
///
/// Clones are the same log. It holds the newest record of each selector, and at most 4 096 of them:
/// beyond that the oldest half becomes "everything older". It also knows what is on its way from
/// the origin, for all layers over one store.
#[derive(Clone, Default)]
pub struct PurgeLog(Arc<Log>);

#[derive(Default)]
struct Log {
    newest: AtomicU64,
    inflight: Arc<Inflight>,
    table: RwLock<Table>,
    keeper: Option<Box<dyn Persist>>,
}

/// Keeps a log's records where they outlive the process.
pub(crate) trait Persist: Send + Sync {
    /// Is ready when all that is in `log` now is kept.
    fn persist(&self, log: &PurgeLog) -> BoxFuture<Result<(), Error>>;

    /// Whether nobody else has kept a record there that the log does not have.
    fn is_current(&self) -> bool;
}

#[derive(Default)]
struct Table {
    /// The newest record that selects by this selector.
    records: HashMap<Selector, u64>,
    /// What began before this position is gone.
    floor: u64,
}

const MAX_RECORDS: usize = 4096;

impl PurgeLog {
    /// An empty log.
    pub fn new() -> Self {
        Self::default()
    }

    /// The position of the newest record.
    pub fn position(&self) -> u64 {
        self.0.newest.load(Ordering::Acquire)
    }

    /// Appends a record. When this returns, nothing that it selects is served to a request that
    /// comes later, and what is being fetched now will not be served to one either. A log that outlives the
    /// process has the record when [`sync`](Self::sync) has returned.
    pub fn append(&self, purge: Purge) -> Purged {
        let mut table = self.0.table.write().unwrap_or_else(PoisonError::into_inner);
        let seq = self.position() + 1;
        table.append(seq, purge);
        // Under the lock and last: who sees the position sees the record.
        self.0.newest.store(seq, Ordering::Release);
        Purged { seq }
    }

    /// Whether it is kept where others may keep records, too.
    pub(crate) fn is_kept(&self) -> bool {
        self.0.keeper.is_some()
    }

    /// Whether it has all records that others have kept where it is kept. If not, a look into the
    /// store takes them in.
    pub(crate) fn is_current(&self) -> bool {
        self.0.keeper.as_ref().is_none_or(|keeper| keeper.is_current())
    }

    pub(crate) fn inflight(&self) -> &Arc<Inflight> {
        &self.0.inflight
    }

    /// Waits until all records are where they outlive the process, if they have such a place.
    ///
    /// # Errors
    ///
    /// If they could not be put there. They hold for as long as the process runs.
    pub async fn sync(&self) -> Result<(), Error> {
        match &self.0.keeper {
            Some(keeper) => keeper.persist(self).await,
            None => Ok(()),
        }
    }

    /// Whether a response that is stored under `key` may still be served.
    pub(crate) fn allows(&self, key: &CacheKey, head: &StoredHead) -> bool {
        let newest = self.position();
        if head.good_at() >= newest {
            return true;
        }
        let table = self.0.table.read().unwrap_or_else(PoisonError::into_inner);
        let allowed = !table.selects(key, head.began());
        if allowed {
            head.found_good_at(newest);
        }
        allowed
    }
}

/// A part of a log that is kept, or was.
#[cfg(feature = "disk")]
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Records {
    /// Of the newest record.
    pub(crate) position: u64,
    /// What began before is gone.
    pub(crate) floor: u64,
    /// In their order.
    pub(crate) records: Vec<(u64, Purge)>,
}

#[cfg(feature = "disk")]
impl PurgeLog {
    /// A log that was kept, and is kept again by `keeper`.
    pub(crate) fn restored(kept: Records, keeper: impl Persist + 'static) -> Self {
        let records = kept.records.into_iter().map(|(seq, purge)| (purge.0, seq)).collect();
        let mut table = Table { records, floor: kept.floor };
        table.shrink();
        Self(Arc::new(Log {
            newest: AtomicU64::new(kept.position),
            inflight: Arc::default(),
            table: RwLock::new(table),
            keeper: Some(Box::new(keeper)),
        }))
    }

    /// Whether a record newer than `position` selects the resource.
    pub(crate) fn has_taken(&self, key: &CacheKey, position: u64) -> bool {
        self.position() > position && {
            let table = self.0.table.read().unwrap_or_else(PoisonError::into_inner);
            table.selects(key, position)
        }
    }

    /// Takes in what other processes have kept, where this one knows what was kept up to `known`.
    /// `false`: what is kept has to be written anew.
    ///
    /// Positions that were given in two processes are given again, behind all others: what began
    /// after the one record may have begun before the other.
    pub(crate) fn merge(&self, kept: &Records, known: u64) -> bool {
        let table = &mut *self.0.table.write().unwrap_or_else(PoisonError::into_inner);
        let position = self.position();
        let is_exchanged = kept.position < known;
        if position == known && !is_exchanged {
            table.floor = table.floor.max(kept.floor);
            let newer = kept.records.iter().filter(|(seq, _)| *seq > known);
            table.records.extend(newer.map(|(seq, purge)| (purge.0.clone(), *seq)));
            let floor = table.floor;
            table.records.retain(|_, seq| *seq > floor);
            self.0.newest.store(kept.position, Ordering::Release);
            return true;
        }
        if kept.position == known {
            return true;
        }
        let is_new = |seq: u64| seq > known || is_exchanged;
        let mut again = Vec::new();
        if table.floor > known || (kept.floor > 0 && is_new(kept.floor)) {
            again.push(Purge::everything());
        }
        again.extend(table.since(known).into_iter().map(|(_, purge)| purge));
        again.extend(kept.records.iter().filter(|(seq, _)| is_new(*seq)).map(|(_, p)| p.clone()));
        let mut newest = position.max(kept.position);
        for purge in again {
            newest += 1;
            table.append(newest, purge);
        }
        self.0.newest.store(newest, Ordering::Release);
        false
    }

    /// What is newer than `position`.
    pub(crate) fn since(&self, position: u64) -> Records {
        let table = self.0.table.read().unwrap_or_else(PoisonError::into_inner);
        let records = table.since(position);
        Records { position: self.position(), floor: table.floor, records }
    }
}

#[cfg(feature = "disk")]
impl Purge {
    /// What kind of selector, and what it selects by.
    pub(crate) fn as_parts(&self) -> (u8, &str) {
        match &self.0 {
            Selector::Everything => (0, ""),
            Selector::Namespace(namespace) => (1, namespace),
            Selector::Host(host) => (2, host),
            Selector::Url(url) => (3, url),
        }
    }

    pub(crate) fn from_parts(kind: u8, text: &str) -> Option<Self> {
        Some(Self(match kind {
            0 => Selector::Everything,
            1 => Selector::Namespace(text.into()),
            2 => Selector::Host(text.into()),
            3 => Selector::Url(text.into()),
            _ => return None,
        }))
    }
}

impl Table {
    fn append(&mut self, seq: u64, purge: Purge) {
        if purge.0 == Selector::Everything {
            self.floor = seq;
            self.records.clear();
            return;
        }
        if let Selector::Host(host) = &purge.0
            && let Some((name, "80" | "443")) = host.rsplit_once(':')
        {
            let name = name.strip_suffix('.').unwrap_or(name);
            self.records.insert(Selector::Host(name.into()), seq);
        }
        self.records.insert(purge.0, seq);
        self.shrink();
    }

    /// What is newer than `position`, in its order.
    #[cfg(feature = "disk")]
    fn since(&self, position: u64) -> Vec<(u64, Purge)> {
        let newer = self.records.iter().filter(|(_, seq)| **seq > position);
        let mut records: Vec<_> =
            newer.map(|(selector, seq)| (*seq, Purge(selector.clone()))).collect();
        records.sort_unstable_by_key(|(seq, _)| *seq);
        records
    }

    fn selects(&self, key: &CacheKey, began: u64) -> bool {
        if began < self.floor {
            return true;
        }
        if self.records.is_empty() {
            return false;
        }
        let newer =
            |selector: Selector| self.records.get(&selector).is_some_and(|seq| *seq > began);
        newer(Selector::Host(key.authority().into()))
            || newer(Purge::resource(key).0)
            || key.namespace().is_some_and(|namespace| newer(Selector::Namespace(namespace.into())))
    }

    fn shrink(&mut self) {
        if self.records.len() <= MAX_RECORDS {
            return;
        }
        let mut positions: Vec<u64> = self.records.values().copied().collect();
        let (_, middle, _) = positions.select_nth_unstable(MAX_RECORDS / 2);
        self.floor = self.floor.max(*middle);
        let floor = self.floor;
        self.records.retain(|_, seq| *seq > floor);
    }
}

impl fmt::Debug for PurgeLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PurgeLog").field("position", &self.position()).finish_non_exhaustive()
    }
}
