//! Reading a body that is in several pieces.

use std::{collections::VecDeque, ops::Range, sync::Arc, time::Duration};

use bytes::Bytes;
use http_body::Frame;
use redis::{Pipeline, Value};
use tokio::{
    task::JoinHandle,
    time::{Instant, sleep},
};

use super::{
    Inner,
    entry::Located,
    layout::{BLOCK, CHUNK, check},
    link::{Failure, send},
    reply,
    store::Store,
    turns::Company,
};
use crate::{Error, storage::BodyReader};

/// So many pieces are asked for before they are wanted: more of them only stand in each other's way, and
/// in that of others.
const AHEAD: usize = 1;
/// How often a Redis that has gone away is asked again.
const RETRY_EVERY: Duration = Duration::from_millis(50);

/// Reads a range of a body piece by piece.
pub(super) struct RedisReader {
    inner: Arc<Inner>,
    located: Arc<Located>,
    /// What has not been asked for yet.
    range: Range<u64>,
    asked: VecDeque<Asked>,
    ends: bool,
    company: Company,
}

/// A piece that was asked for. Dropped, it is not waited for.
struct Asked(JoinHandle<Result<Bytes, Error>>);

impl Drop for Asked {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl RedisReader {
    pub(super) fn new(inner: Arc<Inner>, located: Arc<Located>, range: Range<u64>) -> Self {
        let ends = range.end == located.length();
        let company = inner.store.link.turns.company();
        Self { inner, located, range, asked: VecDeque::new(), ends, company }
    }

    fn ask(&mut self) -> Result<(), Error> {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return Err(Error::other("a store in Redis needs a tokio runtime"));
        };
        self.inner.keep();
        while self.asked.len() <= AHEAD && !self.range.is_empty() {
            let number = self.range.start / CHUNK as u64;
            let chunk = self.located.chunk(number);
            let end = match self.company.is_there(&self.inner.store.link.turns) {
                true => (self.range.start / BLOCK as u64 + 1) * BLOCK as u64,
                false => chunk.end,
            };
            let wanted = self.range.start..self.range.end.min(chunk.end).min(end);
            self.range.start = wanted.end;
            let (store, located) = (self.inner.store.clone(), self.located.clone());
            let read = async move { store.read_chunk(&located, number, wanted).await };
            self.asked.push_back(Asked(runtime.spawn(read)));
        }
        Ok(())
    }
}

impl BodyReader for RedisReader {
    async fn next(&mut self) -> Result<Option<Frame<Bytes>>, Error> {
        self.ask()?;
        if let Some(mut asked) = self.asked.pop_front() {
            let bytes = (&mut asked.0).await.map_err(Error::other)??;
            return Ok(Some(Frame::data(bytes)));
        }
        if std::mem::take(&mut self.ends) {
            return Ok(self.located.record.trailers.clone().map(Frame::trailers));
        }
        Ok(None)
    }
}

impl Store {
    /// Bytes of one piece. A Redis that has gone away is waited for: the pieces do not change.
    async fn read_chunk(
        &self,
        located: &Located,
        number: u64,
        wanted: Range<u64>,
    ) -> Result<Bytes, Error> {
        let patience = self.options.body_timeout;
        let began = Instant::now();
        loop {
            let left = patience.saturating_sub(began.elapsed());
            let read = self.link.within(left, async {
                let lanes = self.link.lanes().await.map_err(Failure::Link)?;
                self.link.turns.give_way().await;
                self.try_chunk(&lanes.bulk, located, number, wanted.clone()).await
            });
            match read.await {
                Ok(Some(bytes)) => return Ok(bytes),
                Ok(None) => {
                    self.is_damaged();
                    let _ = self.remove(located).await;
                    return Err(Error::corrupt("a piece of a body is not there, or damaged"));
                }
                Err(error) if began.elapsed() >= patience => return Err(error),
                Err(_) => sleep(RETRY_EVERY).await,
            }
        }
    }

    /// `None`: it is not there, or damaged.
    async fn try_chunk(
        &self,
        connection: &redis::aio::MultiplexedConnection,
        located: &Located,
        number: u64,
        wanted: Range<u64>,
    ) -> Result<Option<Bytes>, Failure> {
        let chunk = located.chunk(number);
        let key = located.resource.chunk(&located.record.stamp, number);
        if wanted == chunk {
            let mut commands = Pipeline::with_capacity(1);
            commands.cmd("GET").arg(key);
            let piece = send(connection, &commands).await?.pop().and_then(reply::into_bytes);
            return Ok(piece.and_then(|piece| open_chunk(located, number, piece)));
        }
        let within = |at: u64| usize::try_from(at - chunk.start).unwrap_or(usize::MAX);
        let (start, end, length) = (within(wanted.start), within(wanted.end), within(chunk.end));
        let (first, last) = (start / BLOCK, (end - 1) / BLOCK);
        let blocks = first * BLOCK..((last + 1) * BLOCK).min(length);
        let sums = length + 4 * first..length + 4 * (last + 1);
        let mut commands = Pipeline::with_capacity(2);
        for range in [&blocks, &sums] {
            commands.cmd("GETRANGE").arg(&key).arg(range.start).arg(range.end - 1);
        }
        let mut values: VecDeque<Value> = send(connection, &commands).await?.into();
        let (bytes, sums) = (values.pop_front(), values.pop_front());
        let bytes = bytes.and_then(reply::into_bytes).filter(|bytes| bytes.len() == blocks.len());
        let sums = sums.and_then(reply::into_bytes);
        let (Some(bytes), Some(sums)) = (bytes, sums) else { return Ok(None) };
        let is_good = check(&located.record.stamp, number, first, &bytes, &sums).is_some();
        Ok(is_good.then(|| bytes.slice(start - blocks.start..end - blocks.start)))
    }
}

/// The bytes of a whole piece, if they have their sums.
pub(super) fn open_chunk(located: &Located, number: u64, piece: Bytes) -> Option<Bytes> {
    let chunk = located.chunk(number);
    let length = usize::try_from(chunk.end - chunk.start).ok()?;
    let (bytes, sums) = piece.split_at_checked(length)?;
    check(&located.record.stamp, number, 0, bytes, sums)?;
    Some(piece.slice(..length))
}
