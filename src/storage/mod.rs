//! Where responses are kept: the contract, and the stores that keep it.
//!
//! A store knows nothing of HTTP. It keeps two kinds of records:
//!
//! - under a resource's [`CacheKey`] an [`Index`]: which name sets its `Vary` had, and the
//!   generation that all of its variants belong to;
//! - under (key, generation, [`VariantKey`]) one response: head, body,
//!   trailers.
//!
//! A look-up reads the index, asks [`Wanted::select`] which variants the request wants, and reads
//! the heads of those, never all of them. Where none of them is there it gives what is left of
//! [`Wanted::others`], at most four, as [`Found::others`]. What an index becomes when a response is stored is
//! [`Index::admit`], a pure function; the store applies it under a lock or a compare-and-set of its
//! own. To delete a resource is to forget its index: a new one has another generation, and what
//! the old generation kept is never found again.
//!
//! What a store promises:
//!
//! 1. **Whole or not at all.** A response is found only after [`EntryWriter::finish`] has returned,
//!    and then with the same bytes, fields and trailers that were given. A writer that is dropped
//!    leaves nothing.
//! 2. **No mixing.** Two writers of one variant leave one of both, never parts of each.
//! 3. **No return of the dead.** After [`delete`](CacheManager::delete) or
//!    [`clear`](CacheManager::clear) has returned, nothing is found that was put before, and a
//!    writer that was at work then is refused by `finish`.
//! 4. **Compare and set.** [`update`](CacheManager::update) and [`remove`](CacheManager::remove) do
//!    nothing if the entry is no longer the one that was found.
//! 5. **An open body ends well or fails.** An entry that is deleted while it is read gives its
//!    bytes to the end, or an error; never a short body with a clean end.
//! 6. **Damage is a miss.** What cannot be read back is not found.
//! 7. **Cancelling leaves no trace.** Any future may be dropped at any point.
//!
//! The layer treats every error as a miss. `storage_suite!` (feature `test-suite`) tests all of it
//! for any manager, and the example `custom_manager` is a store in one short file.
#![cfg_attr(feature = "disk", doc = include_str!("small_server.md"))]
#![cfg_attr(feature = "redis", doc = include_str!("two_nodes.md"))]
#![cfg_attr(feature = "codec", doc = include_str!("backend.md"))]
#![cfg_attr(feature = "codec", doc = concat!("```\n", include_str!("../../tests/storage/key_value.rs"), "```"))]

mod body;
mod buffered;
#[cfg(feature = "codec")]
pub mod codec;
#[cfg(feature = "disk")]
mod disk;
mod erased;
mod fence;
mod found;
#[cfg(feature = "memory")]
mod memory;
#[cfg(feature = "redis")]
mod redis;
mod scan;
mod secret;
#[cfg(feature = "test-suite")]
pub mod suite;
mod tiered;

use std::{
    future::{Future, ready},
    ops::Range,
};

use bytes::Bytes;
use http::HeaderMap;

#[cfg(all(feature = "disk", feature = "test-suite"))]
#[doc(hidden)]
pub use self::disk::probe;
#[cfg(feature = "disk")]
pub use self::disk::{DiskManager, DiskOptions, Durability};
#[cfg(feature = "memory")]
pub use self::memory::{MemoryHandle, MemoryManager, MemoryWriter};
#[cfg(feature = "redis")]
pub use self::redis::{RedisHandle, RedisManager, RedisOptions, RedisState, RedisWriter};
pub use self::{
    body::{BodyReader, StoredBody},
    buffered::BufferedWriter,
    erased::{BoxHandle, BoxManager, BoxWriter},
    fence::{Fences, Ticket},
    found::{Entry, Found},
    scan::{Scanned, Usage, Visitor},
    tiered::{Tiered, TieredHandle, TieredWriter},
};
pub use crate::error::Error;
#[cfg(doc)]
use crate::policy::{Index, VariantId};
use crate::{
    policy::{CacheKey, Placement, Secret, StoredHead, VariantKey, Wanted},
    purge::PurgeLog,
};

/// A store of responses. Clones are the same store.
///
/// See the [module](self) for what it promises. Implementations may write `async fn`.
pub trait CacheManager: Clone + Send + Sync + 'static {
    /// What the store needs to find an entry's body again: an id, a path, a pointer.
    type Handle: Clone + Send + Sync + 'static;
    /// Writes one response.
    type Writer: EntryWriter;

    /// The secret that hides credentials in this store's keys. As long-lived as its entries.
    fn secret(&self) -> &Secret;

    /// The largest body that is worth putting here. Default: no limit.
    fn max_entry_bytes(&self) -> u64 {
        u64::MAX
    }

    /// Whether a writer holds in memory all that it is given before [`EntryWriter::finish`]. Such
    /// bytes count towards [`CacheLayer::inflight_bytes`](crate::CacheLayer::inflight_bytes). A short body
    /// that is there in one piece is put here before its head goes on, unless that has to be waited for.
    /// Default: `false`.
    fn is_in_memory(&self) -> bool {
        false
    }

    /// Looks up without waiting, if this store can: then a hit needs no task switch and no
    /// allocation. Default: `None`, it cannot.
    fn get_now(&self, wanted: &Wanted<'_>) -> Option<Result<Found<Self::Handle>, Error>> {
        let _ = wanted;
        None
    }

    /// Finds the responses that a request selects: reads the index and at most one head for each of
    /// its name sets, and no body.
    ///
    /// # Errors
    ///
    /// If the store cannot be asked. What cannot be read back is not found.
    fn get(
        &self,
        wanted: &Wanted<'_>,
    ) -> impl Future<Output = Result<Found<Self::Handle>, Error>> + Send;

    /// Which resource and variant an entry is of, if the store can tell without asking anybody: a
    /// [`Tiered`] store finds the same response in its other tier by it. Default: `None`.
    fn locate(&self, entry: &Entry<Self::Handle>) -> Option<(CacheKey, VariantKey)> {
        let _ = entry;
        None
    }

    /// The bytes of `range` of an entry's body, and its trailers if the range reaches the end.
    /// Nothing is read before the body is polled, and nothing but the range.
    fn read(&self, entry: &Entry<Self::Handle>, range: Range<u64>) -> StoredBody;

    /// Begins to store a response. Nothing of it is found before [`EntryWriter::finish`].
    ///
    /// # Errors
    ///
    /// If the store cannot take it.
    fn put(
        &self,
        placement: Placement,
        head: StoredHead,
    ) -> impl Future<Output = Result<Self::Writer, Error>> + Send;

    /// Stores without waiting a response whose `body` is there in one piece, if this store can: then a
    /// short response costs no future and no task switch. Asked of stores [in memory](Self::is_in_memory) only.
    /// Default: `None`, it cannot, and is asked to [`put`](Self::put) it.
    ///
    /// `admits` is asked at most once, when no [`delete`](Self::delete) of the resource can come between
    /// its answer and the response. `false`: it is [refused](Error::is_refused). It must not be asked under
    /// a lock that a look-up takes.
    fn put_now(
        &self,
        placement: &Placement,
        head: &StoredHead,
        body: &Bytes,
        admits: &dyn Fn() -> bool,
    ) -> Option<Result<(), Error>> {
        let _ = (placement, head, body, admits);
        None
    }

    /// Gives an entry another head; its body stays. `false`: it is no longer the entry that was
    /// found, and nothing has changed.
    ///
    /// # Errors
    ///
    /// If the store cannot be asked.
    fn update(
        &self,
        entry: &Entry<Self::Handle>,
        head: StoredHead,
    ) -> impl Future<Output = Result<bool, Error>> + Send;

    /// Removes one entry. `false`: it is no longer the entry that was found.
    ///
    /// # Errors
    ///
    /// If the store cannot be asked.
    fn remove(
        &self,
        entry: &Entry<Self::Handle>,
    ) -> impl Future<Output = Result<bool, Error>> + Send;

    /// Forgets a resource with all of its variants, at a cost that does not depend on their number.
    ///
    /// # Errors
    ///
    /// If the store cannot be asked.
    fn delete(&self, key: &CacheKey) -> impl Future<Output = Result<(), Error>> + Send;

    /// Forgets everything.
    ///
    /// # Errors
    ///
    /// If the store cannot be asked.
    fn clear(&self) -> impl Future<Output = Result<(), Error>> + Send;

    /// Waits until all that was accepted is in place: every response that
    /// [`EntryWriter::finish`] was called for, every change. What a store keeps in the background
    /// of this, it also brings to an end. Default: nothing is in the background.
    ///
    /// # Errors
    ///
    /// If the store cannot be asked.
    fn sync(&self) -> impl Future<Output = Result<(), Error>> + Send {
        ready(Ok(()))
    }

    /// The log of purges that all layers over this store share. As long-lived as its entries, each
    /// of which carries the position at which its fill began.
    fn purge_log(&self) -> &PurgeLog;

    /// Walks through the store: shows `visitor` the heads of all responses that a look-up could find,
    /// some at a time and in any order, and lets others go on in between. What is there from the
    /// beginning to the end is shown; what comes or goes meanwhile may be. Bodies are not read.
    ///
    /// This is how purged responses are counted and their room is freed, and how a cache is listed.
    /// Default: [`Error::unsupported`]. Purges are as effective without.
    ///
    /// # Errors
    ///
    /// If not everything could be shown.
    fn scan(
        &self,
        visitor: &mut impl Visitor<Self::Handle>,
    ) -> impl Future<Output = Result<(), Error>> + Send {
        let _ = visitor;
        ready(Err(Error::unsupported()))
    }

    /// How much is stored, if that costs nothing to know. Default: `None`.
    fn usage(&self) -> Option<Usage> {
        None
    }
}

/// Writes one response into a store. Dropped before [`finish`](Self::finish), it leaves nothing.
pub trait EntryWriter: Send + 'static {
    /// Appends `chunk` to the body. All of it is kept, or this is an error.
    ///
    /// # Errors
    ///
    /// If the store cannot take it; the writer is then dropped.
    fn write(&mut self, chunk: Bytes) -> impl Future<Output = Result<(), Error>> + Send;

    /// Makes the response visible, with the trailers that ended it.
    ///
    /// # Errors
    ///
    /// If it cannot be stored, or must not be: [`Error::is_refused`].
    fn finish(self, trailers: Option<HeaderMap>) -> impl Future<Output = Result<(), Error>> + Send;

    /// The same under another head than the one that was [put](CacheManager::put): with a field that
    /// only the whole body tells. The status is the same, and the other fields are.
    ///
    /// Default: the head that was put stays, as it may where the other one has no room.
    ///
    /// # Errors
    ///
    /// Those of [`finish`](Self::finish).
    fn finish_with(
        self,
        head: StoredHead,
        trailers: Option<HeaderMap>,
    ) -> impl Future<Output = Result<(), Error>> + Send
    where
        Self: Sized,
    {
        drop(head);
        self.finish(trailers)
    }
}
