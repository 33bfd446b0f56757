use std::{
    fs, io,
    os::unix::fs::FileExt,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use super::{
    super::codec,
    access::Absent,
    catalog::Catalog,
    directory::{Directory, read_write},
    draft::Temporary,
    entry::{self, Located, Record, Response, Wants},
    fence::Fences,
    keeper::Bell,
    layout::{Header, Kind, slot_for, write_prefix, write_slot},
    name::Name,
    options::DiskOptions,
    pool::{Waiting, lock},
    purges::PurgeFile,
    recent::Recent,
    records::{Known, Records, allocated},
    spare::Spares,
};
use crate::{
    Error,
    policy::{CacheKey, Index, StoredHead, VariantKey},
    purge::{Purge, PurgeLog},
};

/// What the clones of a [`DiskManager`](super::DiskManager) share. All of it waits for the disk, and
/// is called by the I/O threads only.
pub(super) struct Store {
    pub(super) directory: Arc<Directory>,
    pub(super) spares: Spares,
    pub(super) fences: Arc<Fences>,
    pub(super) records: Records,
    /// The owner's. A guest has none.
    pub(super) catalog: Option<Mutex<Catalog>>,
    pub(super) options: DiskOptions,
    pub(super) purges: PurgeLog,
    pub(super) purge_file: Arc<PurgeFile>,
    pub(super) bell: Arc<Bell>,
    /// What files take that are being written.
    pub(super) reserved: Arc<AtomicU64>,
    /// The disk is full: nothing is written until there is space again.
    pub(super) is_paused: AtomicBool,
    pub(super) damaged: AtomicU64,
    /// What is to be synced in the background.
    pub(super) recent: Recent,
}

impl Store {
    /// The record under a resource's key.
    pub(super) fn find(&self, key: &CacheKey) -> Result<Option<Record>, Error> {
        self.purge_file.refresh(&self.purges)?;
        let resource = Name::resource(key);
        self.look(resource, resource, Wants { key: key.as_bytes(), variant: &[] })
    }

    /// A response of a resource that has an index.
    pub(super) fn find_response(
        &self,
        key: &CacheKey,
        generation: u64,
        variant: &VariantKey,
    ) -> Result<Option<Box<Response>>, Error> {
        let resource = Name::resource(key);
        let name = resource.response(generation, variant);
        let wants = Wants { key: key.as_bytes(), variant: variant.as_bytes() };
        match self.look(resource, name, wants)? {
            Some(Record::Response(response)) if response.generation == generation => {
                Ok(Some(response))
            }
            _ => Ok(None),
        }
    }

    fn look(&self, resource: Name, name: Name, wants: Wants<'_>) -> Result<Option<Record>, Error> {
        match entry::open(&self.directory.path(name), wants) {
            Ok(record) => {
                if let Record::Response(response) = &record
                    && !self.is_vouched_for(&response.head)
                {
                    return Ok(None);
                }
                self.records.touch(name, record.length());
                Ok(Some(record))
            }
            Err(Absent::Missing) => Ok(None),
            Err(Absent::Damaged) => {
                self.remove_damaged(resource, name, wants);
                Ok(None)
            }
            Err(Absent::Failed(error)) => Err(Error::other(error)),
        }
    }

    /// As [`find`](Self::find), on any thread, as it does not wait. `None`: that cannot be done.
    pub(super) fn find_now(&self, resource: Name, key: &CacheKey) -> Option<Option<Record>> {
        if !self.purge_file.is_current() {
            return None;
        }
        self.look_now(resource, Wants { key: key.as_bytes(), variant: &[] })
    }

    /// As [`find_response`](Self::find_response), the same way.
    pub(super) fn find_response_now(
        &self,
        resource: Name,
        key: &CacheKey,
        generation: u64,
        variant: &VariantKey,
    ) -> Option<Option<Box<Response>>> {
        let name = resource.response(generation, variant);
        let wants = Wants { key: key.as_bytes(), variant: variant.as_bytes() };
        Some(match self.look_now(name, wants)? {
            Some(Record::Response(found)) if found.generation == generation => Some(found),
            _ => None,
        })
    }

    fn look_now(&self, name: Name, wants: Wants<'_>) -> Option<Option<Record>> {
        let known = self.records.known(name);
        if known == Known::Absent && !self.directory.has_guests() {
            return Some(None);
        }
        match entry::open_now(&self.directory.path(name), wants, known.bytes()) {
            Ok(Record::Response(found)) if found.head.began() > self.purges.position() => None,
            Ok(record) => {
                self.records.touch(name, record.length());
                Some(Some(record))
            }
            Err(Absent::Missing) => Some(None),
            Err(Absent::Damaged | Absent::Failed(_)) => None,
        }
    }

    /// Whether the purge log goes as far as a head says. One that does not has lost purges: what
    /// they took may be anything.
    fn is_vouched_for(&self, head: &StoredHead) -> bool {
        let is_known = || head.began() <= self.purges.position();
        // Another process may just have written both.
        if is_known() || (self.purge_file.refresh(&self.purges).is_ok() && is_known()) {
            return true;
        }
        self.damaged.fetch_add(1, Ordering::Relaxed);
        self.fences.raise_all();
        let _ = self.clear(None);
        false
    }

    /// It may have been replaced since it was read.
    fn remove_damaged(&self, resource: Name, name: Name, wants: Wants<'_>) {
        let Ok(_lock) = self.fences.lock(resource) else { return };
        if let Err(Absent::Damaged) = entry::open(&self.directory.path(name), wants) {
            self.damaged.fetch_add(1, Ordering::Relaxed);
            let _ = self.unlink(name);
        }
    }

    /// The body of an entry turned out to be damaged.
    pub(super) fn remove_damaged_body(&self, located: &Located) {
        self.damaged.fetch_add(1, Ordering::Relaxed);
        let _ = self.remove(located);
    }

    /// An entry that was found, if it is there as it was. The caller holds the lock.
    fn current(&self, located: &Located) -> Result<Option<(Name, Box<Response>)>, Error> {
        let Located { resource, key, variant, .. } = located;
        let wants = |variant| Wants { key: key.as_bytes(), variant };
        let (name, found) = match self.peek(*resource, wants(&[]))? {
            Some(Record::Response(response)) if variant.is_plain() => (*resource, response),
            Some(Record::Index { index, .. }) if index.generation() == located.generation => {
                let name = resource.response(index.generation(), variant);
                match self.peek(name, wants(variant.as_bytes()))? {
                    Some(Record::Response(response)) => (name, response),
                    _ => return Ok(None),
                }
            }
            _ => return Ok(None),
        };
        let is_same = found.generation == located.generation
            && found.body.id() == located.body.id()
            && found.seq == located.seq;
        Ok(is_same.then_some((name, found)))
    }

    /// As [`look`](Self::look), for who holds the lock: what is damaged will be replaced, or stays.
    pub(super) fn peek(&self, name: Name, wants: Wants<'_>) -> Result<Option<Record>, Error> {
        if self.rules_out(name) {
            return Ok(None);
        }
        match entry::open(&self.directory.path(name), wants) {
            Ok(record) => Ok(Some(record)),
            Err(Absent::Missing | Absent::Damaged) => Ok(None),
            Err(Absent::Failed(error)) => Err(Error::other(error)),
        }
    }

    /// Whether it is certain that there is no such file.
    fn rules_out(&self, name: Name) -> bool {
        self.records.known(name) == Known::Absent && !self.directory.has_guests()
    }

    /// Whether other processes use the directory.
    fn is_shared(&self) -> bool {
        self.catalog.is_none() || self.directory.has_guests()
    }

    pub(super) fn update(&self, located: &Located, head: &StoredHead) -> Result<bool, Error> {
        self.allow_writing()?;
        let _lock = self.fences.lock(located.resource)?;
        let Some((name, found)) = self.current(located)? else { return Ok(false) };
        self.purge_file.reach(head.began(), &self.purges)?;
        let (head, seq) = (codec::encode_head(head)?, found.seq + 1);
        let header = found.body.header();
        let room = u32::try_from(header.slot(seq).len()).unwrap_or(0);
        let path = self.directory.path(name);
        let changed = match write_slot(room, seq, &head) {
            Some(slot) => read_write(&path).and_then(|file| {
                file.write_all_at(&slot, header.slot(seq).start as u64)?;
                self.settle(name, &file)
            }),
            None => self.rewrite(located, name, &found, &head),
        };
        changed.map_err(|error| self.failed(error))?;
        Ok(true)
    }

    /// The head has outgrown its slots: the file is written again with larger ones.
    fn rewrite(
        &self,
        located: &Located,
        name: Name,
        found: &Response,
        head: &[u8],
    ) -> io::Result<()> {
        const AT_ONCE: u64 = 256 << 10;
        let body = &found.body;
        let mut prefix = prefix(located.generation, body.id(), located, found.seq + 1, head)
            .ok_or_else(|| io::Error::other("the head is too large"))?;
        let temporary = Temporary::new(self.directory.clone())?;
        let (start, length) = body.rest();
        let mut at = prefix.len() as u64;
        let whole = at + length;
        temporary.file().write_all_at(&prefix, 0)?;
        for done in (0..length).step_by(AT_ONCE as usize) {
            let size = (length - done).min(AT_ONCE) as usize;
            prefix.resize(size, 0);
            body.file().read_exact_at(&mut prefix, start + done)?;
            temporary.file().write_all_at(&prefix, at)?;
            at += size as u64;
        }
        self.settle(name, temporary.file())?;
        temporary.place(&self.directory.path(name))?;
        // It counts for what it did.
        self.records.discover(name, whole);
        self.settle_directory(name)
    }

    pub(super) fn remove(&self, located: &Located) -> Result<bool, Error> {
        let _lock = self.fences.lock(located.resource)?;
        let Some((name, _)) = self.current(located)? else { return Ok(false) };
        self.unlink(name).map_err(Error::other)?;
        self.settle_directory(name).map_err(Error::other)?;
        Ok(true)
    }

    /// Forgets a resource. Who was writing it has been refused already.
    pub(super) fn delete(&self, key: &CacheKey, waiting: &Waiting<'_>) -> Result<(), Error> {
        let resource = Name::resource(key);
        let _lock = self.fences.lock(resource)?;
        waiting.check()?;
        let wants = Wants { key: key.as_bytes(), variant: &[] };
        let index = match self.peek(resource, wants) {
            Ok(Some(Record::Index { index, .. })) => Some(index),
            _ => None,
        };
        self.unlink(resource).map_err(Error::other)?;
        self.settle_directory(resource).map_err(Error::other)?;
        // Nothing leads to its variants any more. Those that it does not count go with time.
        if let Some(index) = index {
            let counted = index.ring().iter().map(|id| resource.variant(index.generation(), *id));
            for name in counted.chain([resource.plain(index.generation())]) {
                self.records.remove(name);
                self.directory.discard(&self.directory.path(name));
            }
        }
        self.tell_others(|| Purge::resource(key))
    }

    /// Writers in other processes are not refused: what they put in place is older than this.
    fn tell_others(&self, purge: impl FnOnce() -> Purge) -> Result<(), Error> {
        if !self.is_shared() {
            return Ok(());
        }
        self.purges.append(purge());
        self.purge_file.persist(&self.purges)
    }

    /// Forgets everything, if somebody still waits for it.
    pub(super) fn clear(&self, waiting: Option<&Waiting<'_>>) -> Result<(), Error> {
        let _locks = self.fences.lock_all()?;
        waiting.map_or(Ok(()), Waiting::check)?;
        self.directory.clear().map_err(Error::other)?;
        self.records.clear();
        self.tell_others(Purge::everything)
    }

    /// Removes a file, if it is there.
    pub(super) fn unlink(&self, name: Name) -> io::Result<()> {
        let removed = fs::remove_file(self.directory.path(name));
        match removed {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => {
                self.records.remove(name);
                Ok(())
            }
        }
    }

    pub(super) fn write_index(&self, key: &CacheKey, index: &Index) -> Result<(), Error> {
        let (resource, content) = (Name::resource(key), codec::encode_index(index)?);
        let length = u32::try_from(content.len()).map_err(|_| Error::too_large())?;
        let kind = Kind::Index { length };
        let header = Header::new(kind, index.generation(), 0, key.as_bytes(), &[])
            .ok_or_else(Error::too_large)?;
        let mut bytes = Vec::with_capacity(header.prefix());
        header.write(&mut bytes, key.as_bytes(), &[]);
        bytes.extend_from_slice(&content);
        let write = || {
            let temporary = Temporary::new(self.directory.clone())?;
            temporary.file().write_all_at(&bytes, 0)?;
            self.settle(resource, temporary.file())?;
            temporary.place(&self.directory.path(resource))
        };
        write().map_err(|error| self.failed(error))?;
        self.records.insert(resource, bytes.len() as u64, None);
        self.settle_directory(resource).map_err(|error| self.failed(error))
    }

    /// Whether there is room to write at all.
    pub(super) fn allow_writing(&self) -> Result<(), Error> {
        if self.is_paused.load(Ordering::Acquire) {
            return Err(Error::other("the disk is full"));
        }
        let above = |used: u64, max: u64| used > max.saturating_add(max / 10);
        let (used, entries) = (self.used(), self.records.len());
        let (max_bytes, max_entries) = (self.options.max_bytes, self.options.max_entries);
        if above(used, max_bytes) || above(entries, max_entries) {
            self.bell.ring();
            return Err(Error::other("the store is full, and makes room"));
        }
        Ok(())
    }

    /// Has room made, if more is there than should be.
    pub(super) fn make_room(&self) {
        let is_full =
            self.used() > self.options.max_bytes || self.records.len() > self.options.max_entries;
        if is_full || self.records.has_many_changes() {
            self.bell.ring();
        }
    }

    /// Brings the catalog up to date, if there is one.
    pub(super) fn flush_catalog(&self, with_uses: bool) {
        if let Some(catalog) = &self.catalog {
            lock(catalog).flush(&self.records, self.purge_file.position(), with_uses);
        }
    }

    /// What all files take, also those that are being written.
    pub(super) fn used(&self) -> u64 {
        self.records.bytes() + allocated(self.reserved.load(Ordering::Relaxed))
    }

    /// Looks at an error: a full disk stops all writing for a while.
    pub(super) fn failed(&self, error: io::Error) -> Error {
        if matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) {
            self.is_paused.store(true, Ordering::Release);
            self.bell.ring();
        }
        Error::other(error)
    }
}

/// What lies before a body.
fn prefix(generation: u64, id: u64, located: &Located, seq: u64, head: &[u8]) -> Option<Vec<u8>> {
    let (key, variant) = (located.key.as_bytes(), located.variant.as_bytes());
    write_prefix(generation, id, key, variant, (seq, slot_for(head.len())), head)
}
