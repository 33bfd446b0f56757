//! Heads, indexes and trailers as bytes, for stores that keep them outside of memory.
//!
//! ```
//! use larder::{
//!     policy::{StoredHead, StoredResponse},
//!     storage::codec,
//! };
//!
//! fn keep(head: &StoredHead) -> Result<Vec<u8>, larder::Error> {
//!     codec::encode_head(head)
//! }
//!
//! fn found(kept: &[u8], length: u64) -> Option<StoredResponse> {
//!     // What is damaged is a miss.
//!     Some(StoredResponse::new(codec::decode_head(kept)?, length))
//! }
//! ```
//!
//! # Format
//!
//! Every record is `version, kind, length (4) | content | zeros | CRC-32 (4)`, little endian. The CRC
//! is looked at first, then version, kind and length; a record of another version is not read. The head of
//! a part has a flag that versions without parts do not know, and so do not read: to them it is a miss.
//! Decoding is total: whatever the bytes, it gives a record or `None`, and allocates at most four
//! times their length and 4 KiB. A field in memory is larger than a short field in bytes, so that a
//! record of many short ones is padded with zeros up to where this holds.
//!
//! Names and values are validated again: what was damaged or written by others does not become a
//! field that could not have been received.

mod fields;
mod wire;

#[cfg(test)]
mod tests;

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};

use self::{
    fields::{read_fields, write_fields},
    wire::{In, Out},
};
use super::Error;
use crate::policy::{
    Asked, Cached, ContentRange, Facts, Index, Labels, NameSet, Recent, Revalidate, StoredHead,
    Texts, Timestamp, VariantId, VariantKey, Windows,
};

const HEAD: u8 = 1;
const INDEX: u8 = 2;
const TRAILERS: u8 = 3;

/// As many as a qualified directive may list.
const MAX_WITHHELD: usize = 64;

mod flag {
    pub(super) const AUTHORIZATION: u8 = 1;
    pub(super) const NO_STORE: u8 = 1 << 1;
    pub(super) const MARKED_PRIVATE: u8 = 1 << 2;
    pub(super) const IMMUTABLE: u8 = 1 << 3;
    pub(super) const CACHED: u8 = 1 << 4;
    pub(super) const CACHED_PUBLIC: u8 = 1 << 5;
    /// Versions that know nothing of parts read no head with this.
    pub(super) const PART: u8 = 1 << 6;
    pub(super) const ALL: u8 = (1 << 7) - 1;
}

/// A head as bytes: all that [`StoredHead`] has.
///
/// # Errors
///
/// If it has more than 256 fields: [`Error::is_too_large`].
pub fn encode_head(head: &StoredHead) -> Result<Vec<u8>, Error> {
    let (asked, facts, cached) = (head.asked(), head.facts(), head.cached());
    let mut flags = 0;
    for (is_set, bit) in [
        (asked.authorization, flag::AUTHORIZATION),
        (asked.no_store, flag::NO_STORE),
        (asked.marked_private, flag::MARKED_PRIVATE),
        (facts.immutable, flag::IMMUTABLE),
        (cached.is_some(), flag::CACHED),
        (cached.is_some_and(Cached::is_public), flag::CACHED_PUBLIC),
        (head.content_range().is_some(), flag::PART),
    ] {
        flags |= if is_set { bit } else { 0 };
    }
    let mut out = Out::new(HEAD);
    out.u16(head.status().as_u16());
    out.u8(flags);
    out.u8(match facts.revalidate {
        Revalidate::MayBeStale => 0,
        Revalidate::WhenStale => 1,
        Revalidate::Always => 2,
    });
    out.time(asked.requested.wall());
    out.time(asked.received.wall());
    out.u64(asked.began);
    out.time(facts.date);
    out.duration(facts.initial_age);
    out.duration(facts.lifetime);
    out.u64(facts.rules);
    write_windows(&mut out, facts.windows);
    out.duration(cached.map(Cached::lifetime).unwrap_or_default());
    write_windows(&mut out, cached.map(Cached::windows).unwrap_or_default());
    if let Some(part) = head.content_range() {
        out.u64(part.range().start);
        out.u64(part.range().end);
        out.u8(u8::from(part.complete_length().is_some()));
        out.u64(part.complete_length().unwrap_or_default());
    }
    write_names(&mut out, &facts.withheld, MAX_WITHHELD)?;
    write_fields(&mut out, head.headers())?;
    let Labels { tags, groups, own } = head.labels();
    write_texts(&mut out, [tags, groups, own])?;
    Ok(out.seal())
}

/// The head that [`encode_head`] was given; `None` if the bytes are damaged, or another version's.
pub fn decode_head(bytes: &[u8]) -> Option<StoredHead> {
    let mut input = In::open(bytes, HEAD)?;
    let status = StatusCode::from_u16(input.u16()?).ok()?;
    let flags = input.u8()?;
    let is_set = |bit| flags & bit != 0;
    if flags & !flag::ALL != 0 {
        return None;
    }
    let revalidate = match input.u8()? {
        0 => Revalidate::MayBeStale,
        1 => Revalidate::WhenStale,
        2 => Revalidate::Always,
        _ => return None,
    };
    let asked = Asked {
        authorization: is_set(flag::AUTHORIZATION),
        no_store: is_set(flag::NO_STORE),
        marked_private: is_set(flag::MARKED_PRIVATE),
        requested: Timestamp::from_wall(input.time()?),
        received: Timestamp::from_wall(input.time()?),
        began: input.u64()?,
    };
    let (date, initial_age, lifetime) = (input.time()?, input.duration()?, input.duration()?);
    let rules = input.u64()?;
    let windows = read_windows(&mut input)?;
    let (cached_for, cached_windows) = (input.duration()?, read_windows(&mut input)?);
    let cached = is_set(flag::CACHED).then(|| {
        let cached = Cached::for_duration(cached_for).with_windows(cached_windows);
        if is_set(flag::CACHED_PUBLIC) { cached.public() } else { cached }
    });
    let part = match is_set(flag::PART) {
        true => Some(read_part(&mut input)?),
        false => None,
    };
    let withheld = read_names(&mut input, MAX_WITHHELD)?;
    let mut headers = read_fields(&mut input)?;
    let [tags, groups, own] = read_texts(&mut input)?;
    input.end()?;
    headers.entry(header::AGE).or_insert(HeaderValue::from_static("0"));
    let immutable = is_set(flag::IMMUTABLE);
    let facts =
        Facts { date, initial_age, lifetime, revalidate, immutable, windows, withheld, rules };
    let labels = Labels { tags, groups, own };
    Some(StoredHead::restored(status, headers, asked, facts, cached, labels, part))
}

fn read_part(input: &mut In<'_>) -> Option<ContentRange> {
    let range = input.u64()?..input.u64()?;
    let (is_known, complete) = (input.u8()?, input.u64()?);
    let complete = match is_known {
        0 => None,
        1 => Some(complete),
        _ => return None,
    };
    ContentRange::new(range, complete)
}

fn write_windows(out: &mut Out, windows: Windows) {
    for window in [windows.while_revalidate, windows.if_error] {
        out.u8(u8::from(window.is_some()));
        out.duration(window.unwrap_or_default());
    }
}

fn read_windows(input: &mut In<'_>) -> Option<Windows> {
    let mut window = || {
        let (is_some, window) = (input.u8()?, input.duration()?);
        match is_some {
            0 => Some(None),
            1 => Some(Some(window)),
            _ => None,
        }
    };
    Some(Windows { while_revalidate: window()?, if_error: window()? })
}

/// An index as bytes.
///
/// # Errors
///
/// None of an index that was made by [`Index::admit`].
pub fn encode_index(index: &Index) -> Result<Vec<u8>, Error> {
    let mut out = Out::new(INDEX);
    out.u64(index.generation());
    out.u8(u8::try_from(index.sets().len()).map_err(|_| Error::too_large())?);
    for set in index.sets() {
        let names: Vec<HeaderName> = set.iter().cloned().collect();
        write_names(&mut out, &names, usize::from(u8::MAX))?;
    }
    out.u32(u32::try_from(index.ring().len()).map_err(|_| Error::too_large())?);
    for id in index.ring() {
        out.bytes(id.as_bytes());
    }
    out.u8(u8::try_from(index.recent().len()).map_err(|_| Error::too_large())?);
    for Recent { names, variant } in index.recent() {
        let set = index.sets().iter().position(|set| set == names);
        out.u8(set.and_then(|set| u8::try_from(set).ok()).ok_or_else(Error::too_large)?);
        let variant = variant.as_bytes();
        out.takes(RECENT + variant.len());
        out.u16(u16::try_from(variant.len()).map_err(|_| Error::too_large())?);
        out.bytes(variant);
    }
    Ok(out.seal())
}

/// A variant that is known, but for the bytes of its key.
const RECENT: usize = 2 * size_of::<Recent>() + 64;

/// The index that [`encode_index`] was given; `None` if the bytes are damaged, or another version's.
pub fn decode_index(bytes: &[u8]) -> Option<Index> {
    /// As many as a `Vary` may name.
    const MAX_NAMES: usize = 16;
    let mut input = In::open(bytes, INDEX)?;
    let generation = input.u64()?;
    let mut sets = Vec::new();
    for _ in 0..input.u8()?.min(8) {
        sets.push(NameSet::restored(read_names(&mut input, MAX_NAMES)?)?);
    }
    let count = input.u32()? as usize;
    if count > input.remaining() / size_of::<VariantId>() {
        return None;
    }
    let mut ring = Vec::with_capacity(count);
    for _ in 0..count {
        ring.push(VariantId::from_bytes(input.array()?));
    }
    let mut recent = Vec::new();
    for _ in 0..input.u8()? {
        let names = sets.get(usize::from(input.u8()?))?.clone();
        let length = usize::from(input.u16()?);
        input.spend(RECENT + length)?;
        let variant = VariantKey::restored(input.take(length)?.to_vec());
        recent.push(Recent { names, variant });
    }
    input.end()?;
    Index::restored(generation, sets, ring, recent)
}

/// Trailers, or any other fields, as bytes.
///
/// # Errors
///
/// If there are more than 256: [`Error::is_too_large`].
pub fn encode_trailers(trailers: &HeaderMap) -> Result<Vec<u8>, Error> {
    let mut out = Out::new(TRAILERS);
    write_fields(&mut out, trailers)?;
    Ok(out.seal())
}

/// The fields that [`encode_trailers`] was given; `None` if the bytes are damaged, or another
/// version's.
pub fn decode_trailers(bytes: &[u8]) -> Option<HeaderMap> {
    let mut input = In::open(bytes, TRAILERS)?;
    let trailers = read_fields(&mut input)?;
    input.end()?;
    Some(trailers)
}

/// Lists of texts, each list behind its length. Nothing at all if there are none: then the record is
/// as one was before there were any.
fn write_texts(out: &mut Out, lists: [&Texts; 3]) -> Result<(), Error> {
    if lists.iter().all(|list| list.is_empty()) {
        return Ok(());
    }
    for list in lists {
        out.takes(list.as_bytes().len());
        out.u32(u32::try_from(list.as_bytes().len()).map_err(|_| Error::too_large())?);
        out.bytes(list.as_bytes());
    }
    Ok(())
}

/// What is padding reads as no texts.
fn read_texts(input: &mut In<'_>) -> Option<[Texts; 3]> {
    let mut lists = [const { None }; 3];
    for list in &mut lists {
        let length = if input.remaining() < 4 { 0 } else { input.u32()? as usize };
        input.spend(length)?;
        *list = Some(Texts::from_bytes(input.take(length)?)?);
    }
    let [tags, groups, own] = lists;
    Some([tags?, groups?, own?])
}

/// A name in a list, which may be copied once.
const NAME: usize = 2 * size_of::<HeaderName>();

fn write_names(out: &mut Out, names: &[HeaderName], max: usize) -> Result<(), Error> {
    if names.len() > max {
        return Err(Error::too_large());
    }
    out.u8(u8::try_from(names.len()).map_err(|_| Error::too_large())?);
    for name in names {
        out.takes(NAME + name.as_str().len());
        out.u16(u16::try_from(name.as_str().len()).map_err(|_| Error::too_large())?);
        out.bytes(name.as_str().as_bytes());
    }
    Ok(())
}

fn read_names(input: &mut In<'_>, max: usize) -> Option<Vec<HeaderName>> {
    let count = usize::from(input.u8()?);
    if count > max || 2 * count > input.remaining() {
        return None;
    }
    let mut names = Vec::with_capacity(count);
    for _ in 0..count {
        let length = usize::from(input.u16()?);
        input.spend(NAME + length)?;
        names.push(HeaderName::from_bytes(input.take(length)?).ok()?);
    }
    Some(names)
}
