//! The way to Redis: some connections, kept by one task, and a limit for each call.

use std::{sync::Arc, time::Duration};

use redis::{Client, Pipeline, RedisError, Value, aio::MultiplexedConnection};
use tokio::{
    sync::{Notify, watch},
    time::{Instant, timeout},
};

use super::{breaker::Breaker, layout::Names, reply, scripts::Script, turns::Turns};
use crate::Error;

pub(super) struct Link {
    pub(super) client: Client,
    pub(super) names: Names,
    state: watch::Sender<State>,
    breaker: Breaker,
    /// Rings when a connection has failed.
    pub(super) failed: Notify,
    pub(super) turns: Turns,
    pub(super) connect_timeout: Duration,
}

/// What there is of connections.
#[derive(Clone)]
pub(super) enum State {
    /// No task keeps any: whoever needs one has to have them kept first.
    Idle,
    Connecting,
    Up(Lanes),
    /// With why.
    Away(Arc<str>),
}

/// What is waited for goes another way than what is large, so that it is never behind it.
#[derive(Clone)]
pub(super) struct Lanes {
    /// Records, and all that changes them.
    pub(super) quick: MultiplexedConnection,
    /// Bodies of one piece, which a look-up brings.
    pub(super) whole: MultiplexedConnection,
    /// Pieces of larger ones.
    pub(super) bulk: MultiplexedConnection,
}

impl Link {
    pub(super) fn new(client: Client, names: Names, connect_timeout: Duration) -> Self {
        Self {
            client,
            names,
            state: watch::Sender::new(State::Idle),
            breaker: Breaker::default(),
            failed: Notify::new(),
            turns: Turns::default(),
            connect_timeout,
        }
    }

    pub(super) fn set(&self, state: State) {
        match &state {
            State::Up(_) => self.breaker.close(),
            State::Away(_) => self.breaker.open(),
            State::Idle | State::Connecting => {}
        }
        self.state.send_replace(state);
    }

    /// Whether the caller is the one to keep the connections from now on.
    pub(super) fn begin(&self) -> bool {
        self.is_idle()
            && self.state.send_if_modified(|state| {
                let is_idle = matches!(state, State::Idle);
                if is_idle {
                    *state = State::Connecting;
                }
                is_idle
            })
    }

    /// Whether no task keeps any connections.
    pub(super) fn is_idle(&self) -> bool {
        matches!(*self.state.borrow(), State::Idle)
    }

    pub(super) fn state(&self) -> State {
        self.state.borrow().clone()
    }

    pub(super) fn is_broken(&self) -> bool {
        self.breaker.is_open()
    }

    /// A probe was not answered.
    pub(super) fn suspect(&self) {
        self.breaker.failed();
    }

    pub(super) fn probe_timeout(&self) -> Duration {
        self.connect_timeout.min(Duration::from_millis(500))
    }

    pub(super) fn mend(&self) {
        self.breaker.close();
    }

    /// Waits until there are connections, or it is known that there are none: as long as the task that
    /// keeps them takes to connect, or to end.
    pub(super) async fn lanes(&self) -> Result<Lanes, Error> {
        let nobody = || Error::other("the task that kept the connection has ended");
        let mut state = self.state.subscribe();
        loop {
            match &*state.borrow_and_update() {
                State::Up(lanes) => return Ok(lanes.clone()),
                State::Away(why) => return Err(Error::other(format!("no connection: {why}"))),
                State::Idle => return Err(nobody()),
                State::Connecting => {}
            }
            state.changed().await.map_err(|_| nobody())?;
        }
    }

    /// Waits for the first outcome, whatever was before.
    pub(super) async fn outcome(&self) -> Result<(), Error> {
        self.lanes().await.map(|_| ())
    }

    /// Does `work` within `limit`, if Redis is worth asking.
    pub(super) async fn within<T>(
        &self,
        limit: Duration,
        work: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Error> {
        if self.breaker.is_open() {
            return Err(match self.state() {
                State::Away(why) => Error::other(format!("no connection: {why}")),
                _ => Error::other("Redis fails too often to be asked"),
            });
        }
        if tokio::runtime::Handle::try_current().is_err() {
            return Err(Error::other("a store in Redis needs a tokio runtime"));
        }
        let began = Instant::now();
        let failure = match timeout(limit, work).await {
            Ok(Ok(value)) => {
                self.breaker.succeeded();
                return Ok(value);
            }
            Ok(Err(Failure::Answer(error))) => {
                self.breaker.succeeded();
                return Err(error);
            }
            Ok(Err(Failure::Link(error))) => error,
            Err(_) => Error::timed_out(),
        };
        let is_late = began.elapsed() >= limit;
        if self.breaker.failed() || !is_late {
            self.failed.notify_one();
        }
        Err(failure)
    }
}

/// Why a call came to nothing.
#[derive(Debug)]
pub(super) enum Failure {
    /// Redis did not answer.
    Link(Error),
    /// It did.
    Answer(Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Failure::Answer(error)
    }
}

impl Failure {
    pub(super) fn of(error: RedisError) -> Self {
        let code = error.code();
        let is_answer = code.is_some_and(|code| {
            !["LOADING", "MASTERDOWN", "BUSY", "CLUSTERDOWN", "TRYAGAIN"].contains(&code)
        });
        let error = Error::other(error);
        if is_answer { Failure::Answer(error) } else { Failure::Link(error) }
    }

    pub(super) fn into_error(self) -> Error {
        match self {
            Failure::Link(error) | Failure::Answer(error) => error,
        }
    }
}

/// Sends commands in one piece. Of each there is an answer, which may be an error.
pub(super) async fn send(
    connection: &MultiplexedConnection,
    commands: &Pipeline,
) -> Result<Vec<Value>, Failure> {
    let count = commands.len();
    let sent = connection.clone().send_packed_commands(commands, 0, count).await;
    let values = sent.map_err(Failure::of)?;
    if values.len() != count {
        return Err(Failure::Link(Error::other("Redis gave an unexpected number of answers")));
    }
    let is_busy = |value: &&Value| match value {
        Value::ServerError(error) => {
            ["LOADING", "MASTERDOWN", "BUSY", "CLUSTERDOWN"].contains(&error.code())
        }
        _ => false,
    };
    if let Some(busy) = values.iter().find(is_busy) {
        return Err(Failure::Link(reply::failed(busy)));
    }
    // One server of several, which has not got this key: no answer, and no miss either.
    let is_elsewhere = |value: &&Value| match value {
        Value::ServerError(error) => ["MOVED", "ASK", "CROSSSLOT"].contains(&error.code()),
        _ => false,
    };
    match values.iter().find(is_elsewhere) {
        Some(elsewhere) => Err(Failure::Answer(reply::failed(elsewhere))),
        None => Ok(values),
    }
}

/// Runs a script with other commands behind it. Gives its answer and theirs.
pub(super) async fn run(
    connection: &MultiplexedConnection,
    script: &Script,
    keys: &[&str],
    arguments: &[&[u8]],
    behind: &Pipeline,
) -> Result<(Value, Vec<Value>), Failure> {
    let with = |command: &str, body: &str| {
        let mut commands = Pipeline::with_capacity(1 + behind.len());
        commands.cmd(command).arg(body).arg(keys.len());
        for key in keys {
            commands.arg(*key);
        }
        for argument in arguments {
            commands.arg(*argument);
        }
        for command in behind.cmd_iter() {
            commands.add_command(command.clone());
        }
        commands
    };
    let mut values = send(connection, &with("EVALSHA", script.sum())).await?;
    if matches!(&values[0], Value::ServerError(error) if error.code() == "NOSCRIPT") {
        values = send(connection, &with("EVAL", script.source)).await?;
    }
    let own = values.remove(0);
    match own {
        Value::ServerError(_) => Err(Failure::Answer(reply::failed(&own))),
        own => Ok((own, values)),
    }
}
