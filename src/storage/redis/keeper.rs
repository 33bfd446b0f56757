//! The task that keeps the connections, and hears of purges.

use std::{any::Any, panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures_util::{FutureExt, StreamExt, future::try_join3};
use redis::{AsyncConnectionConfig, Pipeline, RedisError, aio::PubSub};
use tokio::time::{Instant, sleep, timeout};

use super::{
    link::{Failure, Lanes, State, send},
    reply,
    store::Store,
};
use crate::Error;

/// How often an open breaker is tried, and a server that is away is looked for.
const PROBE_EVERY: Duration = Duration::from_secs(1);
/// After so many probes without an answer the connection is made anew.
const MAX_PROBES: u32 = 3;
/// A connection that fails at once is made again at once, but not for ever.
const FIRST_PAUSE: Duration = Duration::from_millis(20);

/// Keeps the connections of a store until it is dropped.
pub(super) struct Kept(Arc<Store>);

impl Kept {
    pub(super) fn new(store: Arc<Store>) -> Self {
        Self(store)
    }

    pub(super) async fn run(self) {
        let store = &*self.0;
        let mut pause = FIRST_PAUSE;
        loop {
            let began = Instant::now();
            // TLS that is not set up panics.
            let connected = AssertUnwindSafe(connect(store)).catch_unwind().await;
            match connected.unwrap_or_else(|panic| Err(panicked(&*panic))) {
                Ok((lanes, wakes)) => {
                    store.link.set(State::Up(lanes.clone()));
                    watch(store, &lanes, wakes).await;
                    store.link.set(State::Connecting);
                }
                Err(error) => {
                    store.link.set(State::Away(error.to_string().into()));
                    pause = PROBE_EVERY;
                }
            }
            if began.elapsed() > PROBE_EVERY {
                pause = FIRST_PAUSE;
            }
            sleep(pause).await;
            pause = (pause * 2).min(PROBE_EVERY);
        }
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.0.link.set(State::Idle);
    }
}

/// With what it said.
fn panicked(panic: &(dyn Any + Send)) -> Error {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
    Error::other(format!("connecting panicked: {}", text.unwrap_or_default().trim()))
}

/// Connects, and hears of all purges.
async fn connect(store: &Store) -> Result<(Lanes, PubSub), Error> {
    let limit = store.link.connect_timeout;
    let work = async {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(limit))
            // Each call has a limit of its own.
            .set_response_timeout(Some(Duration::from_secs(60)));
        let client = &store.link.client;
        let lane = || client.get_multiplexed_async_connection_with_config(&config);
        let (quick, whole, bulk) = try_join3(lane(), lane(), lane()).await?;
        let mut wakes = client.get_async_pubsub().await?;
        wakes.subscribe(store.link.names.channel()).await?;
        Ok::<_, RedisError>((Lanes { quick, whole, bulk }, wakes))
    };
    let (lanes, wakes) =
        timeout(limit, work).await.map_err(|_| Error::timed_out())?.map_err(Error::other)?;
    let opened = timeout(limit, async {
        has_all_keys(&lanes).await?;
        store.open_log(&lanes).await
    });
    opened.await.map_err(|_| Error::timed_out())?.map_err(Failure::into_error)?;
    Ok((lanes, wakes))
}

/// Sees that a server is not one of several that have a part of the keys each.
async fn has_all_keys(lanes: &Lanes) -> Result<(), Failure> {
    let mut commands = Pipeline::with_capacity(1);
    commands.cmd("HELLO");
    let hello = send(&lanes.quick, &commands).await?;
    if reply::named(&hello[0], "mode") != Some("cluster") {
        return Ok(());
    }
    let mut commands = Pipeline::with_capacity(1);
    commands.cmd("CLUSTER").arg("INFO");
    let info = send(&lanes.quick, &commands).await?;
    let size = reply::text(&info[0]).and_then(|info| {
        info.lines().find_map(|line| line.strip_prefix("cluster_size:")?.trim().parse().ok())
    });
    // Who may not ask finds out by the answers to other commands.
    match size {
        Some(2_u64..) => Err(Failure::Answer(Error::other(
            "this is one shard of a cluster: a store needs a server that has all keys",
        ))),
        _ => Ok(()),
    }
}

/// Hears of purges, and tells them, until the connection fails.
async fn watch(store: &Store, lanes: &Lanes, wakes: PubSub) {
    let mut wakes = wakes.into_on_message();
    let every = (store.mirror.max_lag / 4).clamp(Duration::from_millis(20), PROBE_EVERY);
    let mut unanswered = 0;
    loop {
        if store.mirror.has_untold() && !store.link.is_broken() {
            let told = timeout(store.link.connect_timeout, store.tell(lanes)).await;
            if !matches!(told, Ok(Ok(()))) && is_gone(store, lanes, &mut unanswered).await {
                return;
            }
        }
        let pause = if store.link.is_broken() { PROBE_EVERY } else { every };
        let is_awake = tokio_select(&mut wakes, store, pause).await;
        if !is_awake {
            // The subscription has ended.
            return;
        }
        if is_gone(store, lanes, &mut unanswered).await {
            return;
        }
    }
}

/// Waits for whatever comes first. `false`: the subscription has ended.
async fn tokio_select(
    wakes: &mut (impl futures_util::Stream + Unpin),
    store: &Store,
    pause: Duration,
) -> bool {
    use futures_util::future::{Either, select};
    let told = std::pin::pin!(store.mirror.bell.notified());
    let failed = std::pin::pin!(store.link.failed.notified());
    let timer = std::pin::pin!(sleep(pause));
    match select(wakes.next(), select(select(told, failed), timer)).await {
        Either::Left((message, _)) => message.is_some(),
        Either::Right(_) => true,
    }
}

/// Sees what is new, and whether there is anybody to say so.
async fn is_gone(store: &Store, lanes: &Lanes, unanswered: &mut u32) -> bool {
    let is_broken = store.link.is_broken();
    let looked = timeout(store.link.probe_timeout(), async {
        if is_broken {
            let mut ping = Pipeline::with_capacity(1);
            ping.cmd("PING");
            send(&lanes.quick, &ping).await?;
        }
        store.catch_up(lanes).await
    });
    match looked.await {
        Ok(Ok(())) => {
            *unanswered = 0;
            if is_broken {
                store.link.mend();
            }
            false
        }
        // The log is another one, or is no log: it is opened again with the connection.
        Ok(Err(Failure::Answer(_))) => true,
        Ok(Err(Failure::Link(_))) => true,
        Err(_) => {
            *unanswered += 1;
            store.link.suspect();
            *unanswered >= MAX_PROBES
        }
    }
}
