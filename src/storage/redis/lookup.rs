//! A look-up: one command where the guess is right, and a second for a body that is not small.

use bytes::Bytes;
use redis::{Pipeline, Value};
use tokio::time::Instant;

use super::{
    RedisHandle,
    body::open_chunk,
    entry::Located,
    layout::{INDEX, Record, Resource, Stamp, decode_index, field},
    link::{Failure, Lanes, send},
    reply,
    store::Store,
};
use crate::{
    Error,
    policy::{Index, NameSet, VariantKey, Wanted},
    storage::Found,
};

/// Whether pieces are there is asked of so many at a time: between two commands Redis turns to others.
const GROUP: usize = 64;

impl Store {
    pub(super) async fn find(&self, wanted: &Wanted<'_>) -> Result<Found<RedisHandle>, Error> {
        let _looking = self.link.turns.look();
        self.link.within(self.options.budget, self.find_unbounded(wanted)).await
    }

    async fn find_unbounded(&self, wanted: &Wanted<'_>) -> Result<Found<RedisHandle>, Failure> {
        let lanes = self.link.lanes().await.map_err(Failure::Link)?;
        let resource = self.link.names.resource(wanted.key());
        let guessed: Vec<VariantKey> = match self.known.guess(&resource.id) {
            Some(index) => wanted.select(&index).collect(),
            None => plain().iter().flat_map(|index| wanted.select(index)).collect(),
        };
        let Some((index, mut records)) = self.look(&lanes, wanted, &resource, &guessed).await?
        else {
            return Ok(Found::nothing());
        };
        self.known.learn(resource.id, &index);
        let selected: Vec<VariantKey> = wanted.select(&index).collect();
        let missing: Vec<VariantKey> =
            selected.iter().filter(|variant| !guessed.contains(variant)).cloned().collect();
        records.retain(|record| selected.contains(&record.variant));
        if !missing.is_empty() {
            records.extend(self.read_records(&lanes, wanted, &resource, &missing).await?);
        }
        // As the index has them: the newest name set first.
        records.sort_by_key(|record| selected.iter().position(|own| *own == record.variant));
        let found = self.with_bodies(&lanes, &resource, records).await?;
        if !found.is_empty() {
            return Ok(Found::entries(found.into_iter().map(Located::into_entry)));
        }
        let others: Vec<VariantKey> = wanted.others(&index).collect();
        if others.is_empty() {
            return Ok(Found::entries([]));
        }
        let records = self.read_records(&lanes, wanted, &resource, &others).await?;
        let found = self.with_bodies(&lanes, &resource, records).await?;
        Ok(Found::others(found.into_iter().map(Located::into_entry)))
    }

    /// Reads the index and these variants, and hears of purges in the same breath: what is found is
    /// compared with all that were made before.
    async fn look(
        &self,
        lanes: &Lanes,
        wanted: &Wanted<'_>,
        resource: &Resource,
        guessed: &[VariantKey],
    ) -> Result<Option<(Index, Vec<Record>)>, Failure> {
        let mut commands = Pipeline::with_capacity(2);
        commands.cmd("HMGET").arg(&resource.record).arg(b"g").arg(INDEX);
        for variant in guessed {
            commands.arg(field(variant));
        }
        commands.add_command(self.news());
        let asked = Instant::now();
        let mut values = send(&lanes.quick, &commands).await?;
        let news = values.pop().unwrap_or_default();
        self.hear(lanes, asked, &news).await?;
        let Some(Value::Array(values)) = values.pop() else { return Ok(None) };
        let mut values = values.into_iter();
        let (fence, index) = (values.next(), values.next());
        let fence = fence.as_ref().and_then(reply::bytes).and_then(Stamp::read);
        if fence.is_none_or(|fence| fence.position() < self.purges.floor()) {
            return Ok(None);
        }
        let Some(index) = index.and_then(reply::into_bytes) else { return Ok(None) };
        let Some(index) = decode_index(&index, wanted.key()) else {
            self.is_damaged();
            return Ok(None);
        };
        let records = guessed.iter().zip(values).filter_map(|(variant, value)| {
            self.open_record(reply::into_bytes(value)?, wanted, variant)
        });
        Ok(Some((index, records.collect())))
    }

    async fn read_records(
        &self,
        lanes: &Lanes,
        wanted: &Wanted<'_>,
        resource: &Resource,
        variants: &[VariantKey],
    ) -> Result<Vec<Record>, Failure> {
        let mut commands = Pipeline::with_capacity(1);
        commands.cmd("HMGET").arg(&resource.record);
        for variant in variants {
            commands.arg(field(variant));
        }
        let mut values = send(&lanes.quick, &commands).await?;
        let Some(Value::Array(values)) = values.pop() else { return Ok(Vec::new()) };
        let records = variants.iter().zip(values).filter_map(|(variant, value)| {
            self.open_record(reply::into_bytes(value)?, wanted, variant)
        });
        Ok(records.collect())
    }

    fn open_record(
        &self,
        bytes: Bytes,
        wanted: &Wanted<'_>,
        variant: &VariantKey,
    ) -> Option<Record> {
        let Some(record) = Record::decode(&bytes, wanted.key(), variant) else {
            self.is_damaged();
            return None;
        };
        self.vouches_for(&record).then_some(record)
    }

    /// Whether the log knows all purges that a record has to be compared with.
    pub(super) fn vouches_for(&self, record: &Record) -> bool {
        let is_known = record.stamp.position() >= self.purges.floor();
        is_known && self.mirror.is_named(&record.log)
    }

    /// Reads bodies of one piece, and sees whether those of more are whole: what was evicted is not
    /// found.
    async fn with_bodies(
        &self,
        lanes: &Lanes,
        resource: &Resource,
        records: Vec<Record>,
    ) -> Result<Vec<Located>, Failure> {
        let mut commands = Pipeline::new();
        for record in &records {
            match record.body.chunks() {
                0 => {}
                1 => {
                    commands.cmd("GET").arg(resource.chunk(&record.stamp, 0));
                }
                count => {
                    for first in (0..count).step_by(GROUP) {
                        commands.cmd("EXISTS");
                        for number in first..count.min(first + GROUP as u64) {
                            commands.arg(resource.chunk(&record.stamp, number));
                        }
                    }
                }
            }
        }
        let mut values = if commands.is_empty() {
            Vec::new().into_iter()
        } else {
            send(&lanes.whole, &commands).await?.into_iter()
        };
        let mut found = Vec::with_capacity(records.len());
        for record in records {
            let mut located = Located::new(resource.clone(), record);
            let is_whole = match located.record.body.chunks() {
                0 => true,
                1 => {
                    let piece = values.next().and_then(reply::into_bytes);
                    located.body = piece.and_then(|piece| open_chunk(&located, 0, piece));
                    located.body.is_some()
                }
                count => {
                    let there = (0..count).step_by(GROUP).map(|_| match values.next() {
                        Some(Value::Int(there)) => u64::try_from(there).unwrap_or_default(),
                        _ => 0,
                    });
                    there.sum::<u64>() == count
                }
            };
            if is_whole {
                found.push(located);
            } else {
                self.is_damaged();
            }
        }
        Ok(found)
    }
}

/// What the index of a resource without `Vary` says.
fn plain() -> Option<Index> {
    let sets = vec![NameSet::restored(Vec::new())?];
    Index::restored(0, sets, Vec::new(), Vec::new())
}
