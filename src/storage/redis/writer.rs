use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::HeaderMap;
use redis::{Cmd, Pipeline};
use tokio::{task::JoinHandle, time::Instant};

use super::{
    Inner,
    layout::{
        BLOCK, CHUNK, INLINE, Place, Record, Resource, Stamp, decode_index, encode_index, field,
        field_of, random, seal,
    },
    link::{Failure, Lanes, run, send},
    purges::is_comparable,
    reply, scripts,
    store::Store,
    turns::Company,
};
use crate::{
    Error,
    policy::{Index, Placement, StoredHead},
    storage::EntryWriter,
};

/// What was begun, and not finished, goes after so long,
const UNFINISHED: Duration = Duration::from_secs(30 * 60);
/// unless it is still being written: then it is kept for longer as often as this.
const HOLD_EVERY: Duration = Duration::from_secs(10 * 60);
/// So many pieces are kept at a time: between two commands Redis turns to others.
const GROUP: u64 = 64;
/// What nobody can find any more goes after so long: somebody may be reading it.
pub(super) const GRACE: Duration = Duration::from_secs(60);
/// How long one piece may take.
const WRITE_TIMEOUT: Duration = Duration::from_secs(5);
/// The index changes under who commits as often as others commit.
const MAX_TRIES: usize = 32;
/// What is behind a full piece.
const SUMS: usize = 4 * (CHUNK / BLOCK);
/// The most variants of one resource.
const MAX_FIELDS: usize = 1 << 14;

/// Writes one response into a [`RedisManager`](super::RedisManager).
pub struct RedisWriter {
    inner: Arc<Inner>,
    placement: Placement,
    head: StoredHead,
    resource: Resource,
    stamp: Stamp,
    /// The resource has it as long as it is not deleted.
    fence: String,
    /// When the fence and the pieces were last kept for longer.
    held: Instant,
    /// The index as it was, encoded.
    index: Bytes,
    /// The piece that is not full yet.
    piece: Vec<u8>,
    chunks: u64,
    length: u64,
    /// The piece before it. Not more than one: a body and Redis work by turns, so that a large one leaves
    /// room for others on a machine with two cores, and in Redis.
    sent: Option<Sent>,
    company: Company,
}

/// A piece on its way. Dropped, it may not arrive.
struct Sent(JoinHandle<Result<Vec<u8>, Error>>);

impl Drop for Sent {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl RedisWriter {
    pub(super) async fn begin(
        inner: Arc<Inner>,
        placement: Placement,
        head: StoredHead,
    ) -> Result<Self, Error> {
        if !is_comparable(head.began()) {
            return Err(Error::refused());
        }
        let store = &inner.store;
        let resource = store.link.names.resource(placement.key());
        let held = Instant::now();
        let entered = store.link.within(store.options.connect_timeout, async {
            let lanes = store.link.lanes().await.map_err(Failure::Link)?;
            let stamp = Stamp::new(store.mirror.position())?;
            let (fence, index) = enter(store, &lanes, &resource).await?;
            Ok((stamp, fence, index))
        });
        let (stamp, fence, index) = entered.await?;
        let (piece, sent) = (Vec::new(), None);
        let company = store.link.turns.company();
        let (chunks, length) = (0, 0);
        Ok(Self {
            inner,
            placement,
            head,
            resource,
            stamp,
            fence,
            held,
            index,
            piece,
            chunks,
            length,
            sent,
            company,
        })
    }

    /// Has Redis keep what there is of a body that takes long.
    async fn hold(&mut self) -> Result<(), Error> {
        let now = Instant::now();
        let store = &self.inner.store;
        let limit = WRITE_TIMEOUT.min(store.options.body_timeout);
        let entered = store.link.within(limit, async {
            let lanes = store.link.lanes().await.map_err(Failure::Link)?;
            enter(store, &lanes, &self.resource).await
        });
        if entered.await?.0 != self.fence {
            return Err(Error::refused());
        }
        for first in (0..self.chunks).step_by(GROUP as usize) {
            let numbers = first..self.chunks.min(first + GROUP);
            let mut commands = Pipeline::with_capacity(GROUP as usize);
            for number in numbers {
                let key = self.resource.chunk(&self.stamp, number);
                commands.cmd("PEXPIRE").arg(key).arg(UNFINISHED.as_millis() as u64);
            }
            let kept = store.link.within(limit, async {
                let lanes = store.link.lanes().await.map_err(Failure::Link)?;
                store.link.turns.give_way().await;
                send(&lanes.bulk, &commands).await
            });
            if kept.await?.iter().any(|kept| *kept != redis::Value::Int(1)) {
                return Err(lost());
            }
        }
        self.held = now;
        Ok(())
    }

    async fn send_piece(&mut self) -> Result<(), Error> {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return Err(Error::other("a store in Redis needs a tokio runtime"));
        };
        self.inner.keep();
        let empty = self.arrived().await?;
        if self.held.elapsed() >= HOLD_EVERY {
            self.hold().await?;
        }
        let mut piece = std::mem::replace(&mut self.piece, empty);
        let number = self.chunks;
        self.chunks += 1;
        seal(&self.stamp, number, &mut piece);
        let store = self.inner.store.clone();
        let bytes = u32::try_from(piece.len()).map_err(|_| Error::too_large())?;
        let Ok(room) = store.room.clone().try_acquire_many_owned(bytes) else {
            store.is_dropped();
            return Err(Error::other("too much is on its way to Redis"));
        };
        let key = self.resource.chunk(&self.stamp, number);
        // Where others wait a piece goes in parts. Bodies of one piece always go in one.
        let part = match self.company.is_there(&store.link.turns) && number > 0 {
            true => BLOCK + SUMS,
            false => piece.len(),
        };
        let write = async move {
            let _room = room;
            let limit = WRITE_TIMEOUT.min(store.options.body_timeout);
            let written = store.link.within(limit, async {
                let lanes = store.link.lanes().await.map_err(Failure::Link)?;
                let mut there = 0;
                for part in piece.chunks(part) {
                    let commands = append(&key, there, part);
                    there += part.len();
                    store.link.turns.give_way().await;
                    let values = send(&lanes.bulk, &commands).await?;
                    // What stands behind an error says that there was one.
                    let is_error =
                        |value: &&redis::Value| matches!(value, redis::Value::ServerError(_));
                    let answer = values.iter().find(is_error).or(values.last());
                    let answer = answer.unwrap_or(&redis::Value::Nil);
                    match answer {
                        redis::Value::Okay => {}
                        redis::Value::Array(values) if is_length(values.first(), there) => {}
                        redis::Value::Array(_) => return Err(lost().into()),
                        other => return Err(reply::failed(other).into()),
                    }
                }
                Ok(())
            });
            written.await?;
            piece.clear();
            Ok(piece)
        };
        self.sent = Some(Sent(runtime.spawn(write)));
        Ok(())
    }

    /// Waits until the piece before is there. Gives what it was in, to be filled again.
    async fn arrived(&mut self) -> Result<Vec<u8>, Error> {
        let Some(mut sent) = self.sent.take() else { return Ok(Vec::new()) };
        (&mut sent.0).await.map_err(Error::other)?
    }

    async fn commit(self, trailers: Option<HeaderMap>) -> Result<(), Error> {
        let Self { inner, placement, head, resource, stamp, fence, index, piece, length, .. } =
            self;
        inner.keep();
        let store = &inner.store;
        let body = match self.chunks {
            0 => Place::Inline(piece.into()),
            _ => Place::Chunks { length },
        };
        let (key, variant) = (placement.key().clone(), placement.variant().clone());
        let ttl = store.time_to_live(&head);
        let (revision, log) = (random()?.into(), store.mirror.name().unwrap_or_default());
        let record = Record { stamp, revision, log, key, variant, head, trailers, body };
        let encoded = record.encode()?;
        let chunks = record.body.chunks();
        let committing = store.link.within(store.options.connect_timeout, async {
            let lanes = store.link.lanes().await.map_err(Failure::Link)?;
            let mut before = index;
            for _ in 0..MAX_TRIES {
                if !store.vouches_for(&record) {
                    return Err(Failure::Answer(Error::refused()));
                }
                let known = decode_index(&before, &record.key);
                let mut index = match known {
                    Some(index) => index,
                    None => Index::new(getrandom::u64().map_err(Error::other)?),
                };
                let evicted = index.admit(&placement);
                let own = field(&record.variant);
                let evicted: Vec<Vec<u8>> =
                    evicted.iter().map(field_of).filter(|field| *field != own).collect();
                let after = encode_index(&record.key, &index)?;
                let numbers = [
                    ttl.as_millis().to_string(),
                    GRACE.as_millis().to_string(),
                    MAX_FIELDS.to_string(),
                    chunks.to_string(),
                ];
                let [ttl, grace, most, count] = numbers.each_ref().map(String::as_bytes);
                let (prefix, stamp) =
                    (resource.chunks.as_bytes(), record.stamp.as_str().as_bytes());
                let mut arguments: Vec<&[u8]> = vec![
                    fence.as_bytes(),
                    &before,
                    &after,
                    &own,
                    &encoded,
                    ttl,
                    grace,
                    most,
                    prefix,
                    stamp,
                    count,
                ];
                arguments.extend(evicted.iter().map(Vec::as_slice));
                let keys = [resource.record.as_str()];
                let mut behind = Pipeline::with_capacity(1);
                behind.add_command(store.news());
                let asked = tokio::time::Instant::now();
                let (answer, values) =
                    run(&lanes.quick, &scripts::COMMIT, &keys, &arguments, &behind).await?;
                let answer = reply::array(&answer).unwrap_or_default();
                match answer.first().and_then(reply::text) {
                    Some("done") => {
                        store.hear(&lanes, asked, &values[0]).await?;
                        let is_good = store.vouches_for(&record);
                        return if is_good { Ok(()) } else { Err(Error::refused().into()) };
                    }
                    Some("changed") => {
                        let now = answer.get(1).and_then(reply::bytes).unwrap_or_default();
                        before = Bytes::copy_from_slice(now);
                    }
                    Some("lost") => {
                        return Err(lost().into());
                    }
                    _ => return Err(Error::refused().into()),
                }
            }
            Err(Error::other("the resource changes all the time").into())
        });
        committing.await
    }
}

/// Draws the fence of a resource, and its index.
async fn enter(
    store: &Store,
    lanes: &Lanes,
    resource: &Resource,
) -> Result<(String, Bytes), Failure> {
    let new = Stamp::new(store.mirror.position())?;
    let (ttl, floor) = (UNFINISHED.as_millis().to_string(), store.floor());
    let arguments = [new.as_str(), &ttl, &floor].map(str::as_bytes);
    let keys = [resource.record.as_str()];
    let none = Pipeline::new();
    let (found, _) = run(&lanes.quick, &scripts::ENTER, &keys, &arguments, &none).await?;
    let values = reply::array(&found).unwrap_or_default();
    let fence = values.first().and_then(reply::text).ok_or_else(|| reply::failed(&found))?;
    let index = values.get(1).and_then(reply::bytes).unwrap_or_default();
    Ok((fence.to_owned(), Bytes::copy_from_slice(index)))
}

/// Puts `part` behind the bytes that are there: of a piece that was evicted meanwhile, what this makes
/// goes by itself, too.
fn append(key: &str, there: usize, part: &[u8]) -> Pipeline {
    let ttl = UNFINISHED.as_millis() as u64;
    // Of the right size at once: what grows is copied.
    let mut bytes = Cmd::with_capacity(5, key.len() + part.len() + 32);
    if there == 0 {
        bytes.arg("SET").arg(key).arg(part).arg("PX").arg(ttl);
        let mut commands = Pipeline::with_capacity(1);
        commands.add_command(bytes);
        return commands;
    }
    bytes.arg("APPEND").arg(key).arg(part);
    let mut commands = Pipeline::with_capacity(4);
    commands.cmd("MULTI").add_command(bytes).cmd("PEXPIRE").arg(key).arg(ttl).cmd("EXEC");
    commands
}

fn is_length(value: Option<&redis::Value>, length: usize) -> bool {
    let Some(redis::Value::Int(there)) = value else { return false };
    usize::try_from(*there) == Ok(length)
}

fn lost() -> Error {
    Error::other("a piece of a body was evicted before all of it was there")
}

impl EntryWriter for RedisWriter {
    async fn write(&mut self, chunk: Bytes) -> Result<(), Error> {
        self.length = self.length.saturating_add(chunk.len() as u64);
        if self.length > self.inner.store.options.max_entry_bytes {
            return Err(Error::too_large());
        }
        let mut rest = &chunk[..];
        while !rest.is_empty() {
            let room = CHUNK - self.piece.len();
            let (now, later) = rest.split_at(rest.len().min(room));
            if self.piece.len() + now.len() > INLINE {
                self.piece.reserve_exact(CHUNK + SUMS - self.piece.len());
            }
            self.piece.extend_from_slice(now);
            rest = later;
            if self.piece.len() == CHUNK {
                self.send_piece().await?;
            }
        }
        Ok(())
    }

    async fn finish(mut self, trailers: Option<HeaderMap>) -> Result<(), Error> {
        if self.length > self.inner.store.options.max_entry_bytes {
            return Err(Error::too_large());
        }
        let _entered = self.inner.store.pending.enter();
        let is_inline = self.chunks == 0 && self.piece.len() <= INLINE;
        if !is_inline && !self.piece.is_empty() {
            self.send_piece().await?;
        }
        self.arrived().await?;
        self.commit(trailers).await
    }

    async fn finish_with(self, head: StoredHead, trailers: Option<HeaderMap>) -> Result<(), Error> {
        Self { head, ..self }.finish(trailers).await
    }
}
