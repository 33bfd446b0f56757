use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use redis::{Cmd, Pipeline, Value};
use tokio::{sync::Semaphore, time::Instant};

use super::{
    RedisOptions,
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
    pub(super) link: Arc<Link>,
    pub(super) mirror: Arc<Mirror>,
    pub(super) purges: PurgeLog,
    pub(super) known: Known,
    pub(super) options: RedisOptions,
    /// Bytes that may be on their way to Redis.
    pub(super) room: Arc<Semaphore>,
    pub(super) dropped: AtomicU64,
    pub(super) damaged: AtomicU64,
    pub(super) pending: Pending,
    teller: Arc<Teller>,
}

/// Tells Redis what was purged, one at a time.
#[derive(Default)]
struct Teller(tokio::sync::Mutex<()>);

impl Store {
    pub(super) fn new(link: Link, options: RedisOptions) -> Result<Self, Error> {
        let (link, teller) = (Arc::new(link), Arc::new(Teller::default()));
        let mirror = Arc::new(Mirror::new(random()?, options.max_purge_lag, options.cut_off));
        let keeper = Keeper { link: link.clone(), mirror: mirror.clone(), teller: teller.clone() };
        Ok(Self {
            purges: PurgeLog::restored(Default::default(), keeper),
            link,
            mirror,
            known: Known::default(),
            room: Arc::new(Semaphore::new(options.max_unwritten)),
            options,
            dropped: AtomicU64::new(0),
            damaged: AtomicU64::new(0),
            pending: Pending::default(),
            teller,
        })
    }

    /// Has a task keep the connections, if there is a runtime.
    pub(super) fn keep(self: &Arc<Self>, task: &Mutex<Option<tokio::task::JoinHandle<()>>>) {
        if self.link.is_kept() {
            return;
        }
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let mut task = task.lock().unwrap_or_else(PoisonError::into_inner);
        if !self.link.is_kept.swap(true, Ordering::AcqRel) {
            *task = Some(runtime.spawn(Kept::new(self.clone()).run()));
        }
    }

    /// Finds the log of purges, and takes in all that is in it.
    pub(super) async fn open_log(&self, lanes: &Lanes) -> Result<(), Failure> {
        open_log(&self.link, &self.mirror, &self.purges, lanes).await
    }

    /// Takes in what is new.
    pub(super) async fn catch_up(&self, lanes: &Lanes) -> Result<(), Failure> {
        catch_up(&self.link, &self.mirror, &self.purges, lanes).await
    }

    pub(super) async fn tell(&self, lanes: &Lanes) -> Result<(), Failure> {
        self.teller.tell(&self.link, &self.mirror, &self.purges, lanes).await
    }

    /// Asks for what is new in the log.
    pub(super) fn news(&self) -> Cmd {
        news(&self.link, &self.mirror)
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

    /// Appends a record that is no event, and takes in all that is there then.
    pub(super) async fn append(
        &self,
        lanes: &Lanes,
        kind: &str,
        text: &str,
    ) -> Result<(), Failure> {
        append(
            &self.link,
            &self.mirror,
            &self.purges,
            lanes,
            &Line { event: "0", kind, text, label: "" },
        )
        .await
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

fn news(link: &Link, mirror: &Mirror) -> Cmd {
    let mut command = redis::cmd("XRANGE");
    let after = format!("({}", mirror.newest().text());
    command.arg(link.names.stream()).arg(after).arg("+").arg("COUNT").arg(PAGE);
    command
}

async fn catch_up(
    link: &Link,
    mirror: &Mirror,
    log: &PurgeLog,
    lanes: &Lanes,
) -> Result<(), Failure> {
    loop {
        let asked = Instant::now();
        let mut commands = Pipeline::with_capacity(2);
        commands.add_command(news(link, mirror));
        commands.cmd("GET").arg(link.names.log_name());
        let values = send(&lanes.quick, &commands).await?;
        let name = reply::text(&values[1]).unwrap_or_default();
        if !mirror.is_named(name) {
            return Err(Failure::Answer(Error::corrupt("the log of purges is another one")));
        }
        if mirror.apply(log, &values[0])? < PAGE {
            mirror.hear(asked);
            return Ok(());
        }
    }
}

async fn open_log(
    link: &Link,
    mirror: &Mirror,
    log: &PurgeLog,
    lanes: &Lanes,
) -> Result<(), Failure> {
    let newest = mirror.newest_ever();
    let (stream, name, channel) =
        (link.names.stream(), link.names.log_name(), link.names.channel());
    let (new, ms, seq) = (random()?, newest.ms.to_string(), newest.seq.to_string());
    let arguments = [&new, &channel, &ms, &seq].map(String::as_bytes);
    let keys = [stream.as_str(), name.as_str()];
    let opened = run(&lanes.quick, &scripts::OPEN, &keys, &arguments, &Pipeline::new()).await?;
    let found = reply::array(&opened.0).and_then(|values| reply::text(values.first()?));
    let found = found.ok_or_else(|| reply::failed(&opened.0))?;
    mirror.open(found);
    catch_up(link, mirror, log, lanes).await
}

/// A record to be appended.
struct Line<'a> {
    /// Whether it is told to who follows the log: `1`.
    event: &'a str,
    kind: &'a str,
    text: &'a str,
    label: &'a str,
}

async fn append(
    link: &Link,
    mirror: &Mirror,
    log: &PurgeLog,
    lanes: &Lanes,
    line: &Line<'_>,
) -> Result<(), Failure> {
    let (stream, own, channel) = (link.names.stream(), link.names.log_name(), link.names.channel());
    for _ in 0..2 {
        let Some(name) = mirror.name() else {
            open_log(link, mirror, log, lanes).await?;
            continue;
        };
        let most = MAX_RECORDS.to_string();
        let arguments =
            [&*name, &channel, &most, &mirror.node, line.event, line.kind, line.text, line.label];
        let arguments = arguments.map(str::as_bytes);
        let asked = Instant::now();
        let mut behind = Pipeline::with_capacity(1);
        behind.add_command(news(link, mirror));
        let keys = [stream.as_str(), own.as_str()];
        let (id, values) = run(&lanes.quick, &scripts::APPEND, &keys, &arguments, &behind).await?;
        if reply::bytes(&id).is_none() {
            open_log(link, mirror, log, lanes).await?;
            continue;
        }
        if mirror.apply(log, &values[0])? < PAGE {
            mirror.hear(asked);
            return Ok(());
        }
        return catch_up(link, mirror, log, lanes).await;
    }
    Err(Failure::Answer(Error::other("the log of purges in Redis goes away again and again")))
}

impl Teller {
    async fn tell(
        &self,
        link: &Link,
        mirror: &Mirror,
        log: &PurgeLog,
        lanes: &Lanes,
    ) -> Result<(), Failure> {
        let _alone = self.0.lock().await;
        let untold = mirror.untold();
        for (at, one) in untold.iter().enumerate() {
            let (kind, text) = one.purge.as_parts();
            let kind = kind.to_string();
            let label = one.purge.label().unwrap_or_default();
            let line = Line { event: "1", kind: &kind, text: &text, label };
            append(link, mirror, log, lanes, &line).await?;
            mirror.told(&untold[at..=at]);
        }
        Ok(())
    }
}

/// Has Redis keep a log.
struct Keeper {
    link: Arc<Link>,
    mirror: Arc<Mirror>,
    teller: Arc<Teller>,
}

impl Persist for Keeper {
    fn persist(&self, log: &PurgeLog) -> BoxFuture<Result<(), Error>> {
        let (link, mirror, teller) = (self.link.clone(), self.mirror.clone(), self.teller.clone());
        let log = log.clone();
        Box::pin(async move {
            if !mirror.has_untold() {
                return Ok(());
            }
            let told = link.within(link.connect_timeout, async {
                let lanes = link.lanes().await.map_err(Failure::Link)?;
                teller.tell(&link, &mirror, &log, &lanes).await
            });
            told.await
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
