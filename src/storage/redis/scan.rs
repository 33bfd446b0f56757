//! Walks through all that is stored.

use std::{
    collections::{HashSet, VecDeque},
    ops::ControlFlow,
};

use bytes::Bytes;
use redis::{Pipeline, Value};

use super::{
    RedisHandle,
    entry::Located,
    layout::Record,
    link::{Failure, send},
    reply, scripts,
    store::Store,
};
use crate::{
    Error,
    storage::{Scanned, Visitor},
};

/// About so many keys are looked at in one step.
const STEP: usize = 200;

/// The keys of a pattern, some at a time.
struct Keys {
    pattern: String,
    cursor: String,
    is_over: bool,
}

impl Keys {
    fn new(pattern: String) -> Self {
        Self { pattern, cursor: "0".to_owned(), is_over: false }
    }

    async fn next(&mut self, store: &Store) -> Result<Option<Vec<String>>, Error> {
        if self.is_over {
            return Ok(None);
        }
        let mut commands = Pipeline::with_capacity(1);
        let scan = commands.cmd("SCAN").arg(&self.cursor);
        scan.arg("MATCH").arg(&self.pattern).arg("COUNT").arg(STEP);
        let values = store.ask(&commands).await?;
        let (cursor, keys) = page(&values[0]).ok_or_else(|| reply::failed(&values[0]))?;
        self.is_over = cursor == "0";
        self.cursor = cursor.to_owned();
        Ok(Some(keys.iter().filter_map(reply::text).map(str::to_owned).collect()))
    }
}

/// A cursor, and what there is.
fn page(value: &Value) -> Option<(&str, &[Value])> {
    let [cursor, items] = reply::array(value)? else { return None };
    Some((reply::text(cursor)?, reply::array(items)?))
}

impl Store {
    pub(super) async fn scan(&self, visitor: &mut impl Visitor<RedisHandle>) -> Result<(), Error> {
        let mut keys = Keys::new(self.link.names.pattern("i"));
        let mut seen = HashSet::new();
        while let Some(mut some) = keys.next(self).await? {
            // A key may be shown twice.
            some.retain(|key| seen.insert(blake3::hash(key.as_bytes())));
            let mut open: VecDeque<_> = some.into_iter().map(|key| (key, "0".to_owned())).collect();
            while !open.is_empty() {
                let now: Vec<_> = open.drain(..open.len().min(32)).collect();
                let mut commands = Pipeline::with_capacity(now.len());
                for (key, cursor) in &now {
                    commands.cmd("HSCAN").arg(key).arg(cursor).arg("COUNT").arg(STEP);
                }
                let values = self.ask(&commands).await?;
                let mut found = Vec::new();
                for ((key, _), value) in now.into_iter().zip(values) {
                    // Another program's key is no record.
                    let Some((cursor, fields)) = page(&value) else { continue };
                    found.extend(fields.chunks_exact(2).filter_map(|pair| self.scanned(pair)));
                    if cursor != "0" {
                        open.push_back((key, cursor.to_owned()));
                    }
                }
                if !found.is_empty() && visitor.visit(found).await == ControlFlow::Break(()) {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    fn scanned(&self, pair: &[Value]) -> Option<Scanned<RedisHandle>> {
        let field = reply::bytes(&pair[0])?;
        if !field.starts_with(b"p") && !field.starts_with(b"v") {
            return None;
        }
        let bytes = Bytes::copy_from_slice(reply::bytes(&pair[1])?);
        let record = Record::decode_any(&bytes).filter(|record| self.vouches_for(record))?;
        let (key, variant) = (record.key.clone(), record.variant.clone());
        let resource = self.link.names.resource(&key);
        Some(Scanned::new(key, variant, Located::new(resource, record).into_entry()))
    }

    /// Frees the room of what is older than the floor.
    pub(super) async fn expel(&self) -> Result<(), Error> {
        let floor = self.floor();
        let mut keys = Keys::new(self.link.names.pattern("i"));
        while let Some(some) = keys.next(self).await? {
            let mut commands = Pipeline::with_capacity(1 + some.len());
            commands.cmd("SCRIPT").arg("LOAD").arg(scripts::EXPEL.source);
            for key in &some {
                let expel = commands.cmd("EVALSHA").arg(scripts::EXPEL.sum());
                expel.arg(1).arg(key).arg(&floor);
            }
            // Another program's key is an error among the answers, and stays.
            self.ask(&commands).await?;
        }
        let mut keys = Keys::new(self.link.names.pattern("b:*"));
        while let Some(some) = keys.next(self).await? {
            let position = |key: &String| self.link.names.position_of_chunk(key.as_bytes());
            let is_old = |key: &&String| position(key).is_some_and(|at| at < self.purges.floor());
            let mut commands = Pipeline::new();
            for key in some.iter().filter(is_old) {
                commands.cmd("UNLINK").arg(key);
            }
            if !commands.is_empty() {
                self.ask(&commands).await?;
            }
        }
        Ok(())
    }

    async fn ask(&self, commands: &Pipeline) -> Result<Vec<Value>, Error> {
        let asking = self.link.within(self.options.connect_timeout, async {
            let lanes = self.link.lanes().await.map_err(Failure::Link)?;
            send(&lanes.bulk, commands).await
        });
        asking.await
    }
}
