use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use redis::{Cmd, Pipeline, Value};
use tokio::{sync::Semaphore, task::JoinHandle, time::Instant};

use super::{
    Inner, RedisOptions,
    keeper::Kept,
    known::Known,
    layout::random,
    link::{Failure, Lanes, Link, run, send},
    purges::{MAX_RECORDS, Mirror, PAGE},
    reply, scripts,
};
use crate::{
    Error,
    bus::WhenCutOff,
    clock::BoxFuture,
    pending::Pending,
    policy::StoredHead,
    purge::{Persist, Purge, PurgeLog},
};

/// What the clones of a [`RedisManager`](super::RedisManager) share.
pub(super) struct Store {
    pub(super) link: Link,
    pub(super) mirror: Arc<Mirror>,
    pub(super) purges: PurgeLog,
    pub(super) known: Known,
    pub(super) options: RedisOptions,
    /// Bytes that may be on their way to Redis.
    pub(super) room: Arc<Semaphore>,
    pub(super) dropped: AtomicU64,
    pub(super) damaged: AtomicU64,
    pub(super) pending: Pending,
    /// One at a time tells Redis what was purged.
    telling: tokio::sync::Mutex<()>,
    /// Keeps the connections.
    task: Mutex<Option<JoinHandle<()>>>,
}

impl Store {
    /// `users` are those whose purges Redis is told of.
    pub(super) fn new(
        link: Link,
        options: RedisOptions,
        mirror: Mirror,
        users: Weak<Inner>,
    ) -> Arc<Self> {
        let mirror = Arc::new(mirror);
        let keeper = Keeper { users, mirror: mirror.clone() };
        Arc::new(Self {
            purges: PurgeLog::restored(Default::default(), keeper),
            link,
            mirror,
            known: Known::default(),
            room: Arc::new(Semaphore::new(options.max_unwritten)),
            options,
            dropped: AtomicU64::new(0),
            damaged: AtomicU64::new(0),
            pending: Pending::default(),
            telling: tokio::sync::Mutex::default(),
            task: Mutex::default(),
        })
    }

    /// Has a task keep the connections, if there is a runtime. They are kept until somebody
    /// [leaves](Self::leave), who is the last one to need them.
    pub(super) fn keep(self: &Arc<Self>) {
        if !self.link.is_idle() {
            return;
        }
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        // Held until the task has its place: one that ends at once must not take that of the next.
        let mut task = self.task();
        if self.link.begin() {
            *task = Some(runtime.spawn(Kept::new(self.clone()).run()));
        }
    }

    /// Nobody needs the connections any more.
    pub(super) fn leave(&self) {
        if let Some(task) = self.task().take() {
            task.abort();
        }
    }

    fn task(&self) -> MutexGuard<'_, Option<JoinHandle<()>>> {
        self.task.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks for what is new in the log.
    pub(super) fn news(&self) -> Cmd {
        let mut command = redis::cmd("XRANGE");
        let after = format!("({}", self.mirror.newest().text());
        command.arg(self.link.names.stream()).arg(after).arg("+").arg("COUNT").arg(PAGE);
        command
    }

    /// Takes in the answer to that, and asks again while there is more.
    pub(super) async fn hear(
        &self,
        lanes: &Lanes,
        asked: Instant,
        reply: &Value,
    ) -> Result<(), Failure> {
        let count = self.mirror.apply(&self.purges, reply).inspect_err(|_| {
            self.link.failed.notify_one();
        })?;
        if count < PAGE {
            self.mirror.hear(asked);
            return Ok(());
        }
        self.catch_up(lanes).await
    }

    /// Takes in what is new.
    pub(super) async fn catch_up(&self, lanes: &Lanes) -> Result<(), Failure> {
        loop {
            let asked = Instant::now();
            let mut commands = Pipeline::with_capacity(2);
            commands.add_command(self.news());
            commands.cmd("GET").arg(self.link.names.log_name());
            let values = send(&lanes.quick, &commands).await?;
            let name = reply::text(&values[1]).unwrap_or_default();
            if !self.mirror.is_named(name) {
                return Err(Failure::Answer(Error::corrupt("the log of purges is another one")));
            }
            if self.mirror.apply(&self.purges, &values[0])? < PAGE {
                self.mirror.hear(asked);
                return Ok(());
            }
        }
    }

    /// Finds the log of purges, and takes in all that is in it.
    pub(super) async fn open_log(&self, lanes: &Lanes) -> Result<(), Failure> {
        let newest = self.mirror.newest_ever();
        let names = &self.link.names;
        let (stream, name, channel) = (names.stream(), names.log_name(), names.channel());
        let (new, ms, seq) = (random()?, newest.ms.to_string(), newest.seq.to_string());
        let arguments = [&new, &channel, &ms, &seq].map(String::as_bytes);
        let keys = [stream.as_str(), name.as_str()];
        let opened = run(&lanes.quick, &scripts::OPEN, &keys, &arguments, &Pipeline::new()).await?;
        let found = reply::array(&opened.0).and_then(|values| reply::text(values.first()?));
        let found = found.ok_or_else(|| reply::failed(&opened.0))?;
        self.mirror.open(found);
        self.catch_up(lanes).await
    }

    /// Appends a record, and takes in all that is there then.
    pub(super) async fn append(&self, lanes: &Lanes, line: &Line<'_>) -> Result<(), Failure> {
        let names = &self.link.names;
        let (stream, own, channel) = (names.stream(), names.log_name(), names.channel());
        for _ in 0..2 {
            let Some(name) = self.mirror.name() else {
                self.open_log(lanes).await?;
                continue;
            };
            let (most, event) = (MAX_RECORDS.to_string(), if line.is_event { "1" } else { "0" });
            let (node, Line { kind, text, label, .. }) = (&*self.mirror.node, line);
            let arguments = [&*name, &channel, &most, node, event, kind, text, label];
            let arguments = arguments.map(str::as_bytes);
            let asked = Instant::now();
            let mut behind = Pipeline::with_capacity(1);
            behind.add_command(self.news());
            let keys = [stream.as_str(), own.as_str()];
            let (id, values) =
                run(&lanes.quick, &scripts::APPEND, &keys, &arguments, &behind).await?;
            if reply::bytes(&id).is_none() {
                self.open_log(lanes).await?;
                continue;
            }
            if self.mirror.apply(&self.purges, &values[0])? < PAGE {
                self.mirror.hear(asked);
                return Ok(());
            }
            return self.catch_up(lanes).await;
        }
        Err(Failure::Answer(Error::other("the log of purges in Redis goes away again and again")))
    }

    /// Tells Redis what was purged here, in its order.
    pub(super) async fn tell(&self, lanes: &Lanes) -> Result<(), Failure> {
        let _alone = self.telling.lock().await;
        for one in self.mirror.untold() {
            let (kind, text) = one.purge.as_parts();
            let (kind, label) = (kind.to_string(), one.purge.label().unwrap_or_default());
            let line = Line { is_event: true, kind: &kind, text: &text, label };
            self.append(lanes, &line).await?;
            self.mirror.told(&[one]);
        }
        Ok(())
    }

    /// How long Redis keeps a response: while it is fresh, or of use when it is not.
    pub(super) fn time_to_live(&self, head: &StoredHead) -> Duration {
        let facts = head.facts();
        let cached = head.cached();
        let lifetime =
            cached.map_or(facts.lifetime, |cached| cached.lifetime().max(facts.lifetime));
        let windows = [Some(facts.windows), cached.map(|cached| cached.windows())];
        let window = windows.into_iter().flatten();
        let window = window.flat_map(|windows| [windows.while_revalidate, windows.if_error]);
        let window = window.flatten().max().unwrap_or_default();
        let stale = self.options.revalidation.saturating_add(window);
        let fresh = lifetime.saturating_sub(facts.initial_age);
        fresh.saturating_add(stale).clamp(Duration::from_secs(1), self.options.max_ttl)
    }

    pub(super) fn is_damaged(&self) {
        self.damaged.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn is_dropped(&self) {
        self.dropped.fetch_add(1, Ordering::Relaxed);
    }
}

/// A record to be appended.
pub(super) struct Line<'a> {
    /// Whether it is told to who follows the log.
    pub(super) is_event: bool,
    pub(super) kind: &'a str,
    pub(super) text: &'a str,
    pub(super) label: &'a str,
}

/// Has Redis keep a log.
struct Keeper {
    users: Weak<Inner>,
    mirror: Arc<Mirror>,
}

impl Persist for Keeper {
    fn persist(&self, _: &PurgeLog) -> BoxFuture<Result<(), Error>> {
        let (users, mirror) = (self.users.clone(), self.mirror.clone());
        Box::pin(async move {
            if !mirror.has_untold() {
                return Ok(());
            }
            let gone = || Error::other("the store of this log is gone");
            let inner = users.upgrade().ok_or_else(gone)?;
            let Ok(runtime) = tokio::runtime::Handle::try_current() else {
                return Err(Error::other("a store in Redis needs a tokio runtime"));
            };
            inner.keep();
            // A task of its own: whoever waits for it may stop at any point, and then holds up nobody.
            let telling = async move {
                let store = &inner.store;
                let telling = store.link.within(store.options.connect_timeout, async {
                    let lanes = store.link.lanes().await.map_err(Failure::Link)?;
                    store.tell(&lanes).await
                });
                telling.await
            };
            runtime.spawn(telling).await.map_err(Error::other)?
        })
    }

    fn is_current(&self) -> bool {
        self.mirror.cut_off == WhenCutOff::Serve || self.mirror.is_heard()
    }

    fn allows_validation(&self) -> bool {
        self.mirror.cut_off == WhenCutOff::Revalidate
    }

    fn note(&self, purge: &Purge, at: std::time::SystemTime) {
        self.mirror.note(purge, at);
    }
}
