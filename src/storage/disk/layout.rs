//! What the bytes of a file mean. Nothing here reads or writes one.

use std::ops::Range;

use super::super::codec;
use crate::policy::StoredHead;

/// The body is summed, and read, in pieces of so many bytes.
pub(super) const PIECE: u64 = 64 << 10;

const MAGIC: [u8; 8] = *b"\x89LARDER\n";
const VERSION: u16 = 1;
const RESPONSE: u16 = 1;
const INDEX: u16 = 2;

/// The fixed part of a header.
pub(super) const FIXED: usize = 44;
const SLOT_HEAD: usize = 16;
/// The footer of a response.
pub(super) const FOOTER: usize = 36;
/// A key, a slot, or what is written of trailers is never larger.
pub(super) const MAX_PART: u32 = 1 << 20;

/// What a file says of itself at its beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) kind: Kind,
    pub(super) generation: u64,
    /// Drawn for each response; its sums begin with it.
    pub(super) id: u64,
    key: u32,
    variant: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// With two slots for the head, each of so many bytes.
    Response { slot: u32 },
    /// With so many bytes of index, up to the end of the file.
    Index { length: u32 },
}

/// A record that cannot be read back.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Damaged;

impl Header {
    pub(super) fn new(
        kind: Kind,
        generation: u64,
        id: u64,
        key: &[u8],
        variant: &[u8],
    ) -> Option<Self> {
        let length = |part: &[u8]| u32::try_from(part.len()).ok().filter(|n| *n <= MAX_PART);
        let (Kind::Response { slot: part } | Kind::Index { length: part }) = kind;
        let (key, variant) = (length(key)?, length(variant)?);
        (part <= MAX_PART).then_some(Self { kind, generation, id, key, variant })
    }

    /// The header with its keys, as long as [`keys`](Self::keys) says.
    pub(super) fn write(&self, out: &mut Vec<u8>, key: &[u8], variant: &[u8]) {
        let start = out.len();
        let (kind, part) = match self.kind {
            Kind::Response { slot } => (RESPONSE, slot),
            Kind::Index { length } => (INDEX, length),
        };
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.extend_from_slice(&kind.to_le_bytes());
        for part in [self.key, self.variant, part] {
            out.extend_from_slice(&part.to_le_bytes());
        }
        out.extend_from_slice(&self.id.to_le_bytes());
        out.extend_from_slice(&self.generation.to_le_bytes());
        let mut sum = crc32fast::Hasher::new();
        for part in [&out[start..], key, variant] {
            sum.update(part);
        }
        out.extend_from_slice(&sum.finalize().to_le_bytes());
        out.extend_from_slice(key);
        out.extend_from_slice(variant);
    }

    /// Reads the fixed part. Its sum is looked at by [`check`](Self::check), when the keys are there.
    pub(super) fn parse(fixed: &[u8]) -> Result<Self, Damaged> {
        let mut fields = Fields(fixed);
        let (magic, version) = (fields.array::<8>()?, fields.u16()?);
        let (kind, key, variant, part) =
            (fields.u16()?, fields.u32()?, fields.u32()?, fields.u32()?);
        let (id, generation) = (fields.u64()?, fields.u64()?);
        let kind = match kind {
            RESPONSE => Kind::Response { slot: part },
            INDEX => Kind::Index { length: part },
            _ => return Err(Damaged),
        };
        let is_ours = magic == MAGIC && version == VERSION;
        let is_small = [key, variant, part].iter().all(|part| *part <= MAX_PART);
        if is_ours && is_small {
            Ok(Self { kind, generation, id, key, variant })
        } else {
            Err(Damaged)
        }
    }

    /// The keys that follow the fixed part, if the sum over both is right.
    pub(super) fn check<'a>(&self, bytes: &'a [u8]) -> Result<(&'a [u8], &'a [u8]), Damaged> {
        let (fixed, rest) = bytes.split_at_checked(FIXED).ok_or(Damaged)?;
        let (key, rest) = rest.split_at_checked(self.key as usize).ok_or(Damaged)?;
        let variant = rest.get(..self.variant as usize).ok_or(Damaged)?;
        let (summed, sum) = fixed.split_last_chunk::<4>().ok_or(Damaged)?;
        let mut own = crc32fast::Hasher::new();
        for part in [summed, key, variant] {
            own.update(part);
        }
        if own.finalize() == u32::from_le_bytes(*sum) { Ok((key, variant)) } else { Err(Damaged) }
    }

    /// The length of the header with its keys.
    pub(super) fn keys(&self) -> usize {
        FIXED + self.key as usize + self.variant as usize
    }

    /// What lies before the body, or the length of the whole file of an index.
    pub(super) fn prefix(&self) -> usize {
        self.keys()
            + match self.kind {
                Kind::Response { slot } => 2 * slot as usize,
                Kind::Index { length } => length as usize,
            }
    }

    /// Where slot `n` lies in the file.
    pub(super) fn slot(&self, n: u64) -> Range<usize> {
        let Kind::Response { slot } = self.kind else { return 0..0 };
        let start = self.keys() + (n % 2) as usize * slot as usize;
        start..start + slot as usize
    }

    /// The newer of the two heads, and its number, from all that lies before the body.
    pub(super) fn head(&self, prefix: &[u8]) -> Result<(u64, StoredHead), Damaged> {
        let slots = [0, 1].map(|n| prefix.get(self.slot(n)).and_then(read_slot));
        let newest = slots.into_iter().flatten().max_by_key(|(seq, _)| *seq).ok_or(Damaged)?;
        Ok((newest.0, codec::decode_head(newest.1).ok_or(Damaged)?))
    }
}

/// What a slot holds for a head of so many bytes, with room to grow.
pub(super) fn slot_for(head: usize) -> u32 {
    let slot = (SLOT_HEAD + head + head / 8 + 64).next_multiple_of(64);
    u32::try_from(slot).unwrap_or(u32::MAX)
}

/// Whether a head of so many bytes fits into such a slot.
pub(super) fn fits(slot: u32, head: usize) -> bool {
    SLOT_HEAD + head <= slot as usize
}

/// The bytes of a slot; `None` if the head does not fit into it.
pub(super) fn write_slot(slot: u32, seq: u64, head: &[u8]) -> Option<Vec<u8>> {
    if !fits(slot, head.len()) {
        return None;
    }
    let mut out = Vec::with_capacity(SLOT_HEAD + head.len());
    out.extend_from_slice(&seq.to_le_bytes());
    out.extend_from_slice(&u32::try_from(head.len()).ok()?.to_le_bytes());
    out.extend_from_slice(&slot_sum(seq, head).to_le_bytes());
    out.extend_from_slice(head);
    Some(out)
}

/// What lies before a body: header, keys and a head with this number, in slots of this size.
pub(super) fn write_prefix(
    generation: u64,
    id: u64,
    key: &[u8],
    variant: &[u8],
    (seq, slot): (u64, u32),
    head: &[u8],
) -> Option<Vec<u8>> {
    let header = Header::new(Kind::Response { slot }, generation, id, key, variant)?;
    let mut bytes = Vec::with_capacity(header.prefix());
    header.write(&mut bytes, key, variant);
    bytes.resize(header.prefix(), 0);
    let written = write_slot(slot, seq, head)?;
    let start = header.slot(seq).start;
    bytes[start..start + written.len()].copy_from_slice(&written);
    Some(bytes)
}

fn read_slot(slot: &[u8]) -> Option<(u64, &[u8])> {
    let mut fields = Fields(slot);
    let (seq, length, sum) = (fields.u64().ok()?, fields.u32().ok()?, fields.u32().ok()?);
    let head = fields.0.get(..length as usize)?;
    (seq > 0 && slot_sum(seq, head) == sum).then_some((seq, head))
}

fn slot_sum(seq: u64, head: &[u8]) -> u32 {
    let mut sum = crc32fast::Hasher::new();
    sum.update(&seq.to_le_bytes());
    sum.update(head);
    sum.finalize()
}

/// The sum of piece `n` of the body. It begins with whose piece it is, so that another response's
/// bytes, or another piece's, are not taken for it.
pub(super) fn piece_sum(id: u64, n: u64) -> crc32fast::Hasher {
    let whose = (id ^ n.wrapping_mul(0x9e37_79b9_7f4a_7c15)).to_le_bytes();
    crc32fast::Hasher::new_with_initial(crc32fast::hash(&whose))
}

/// What lies behind a body: the table of sums, the trailers, the footer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Footer {
    pub(super) length: u64,
    pub(super) trailers: u32,
    pub(super) id: u64,
}

impl Footer {
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&self.length.to_le_bytes());
        out.extend_from_slice(&self.trailers.to_le_bytes());
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.extend_from_slice(&RESPONSE.to_le_bytes());
        out.extend_from_slice(&self.id.to_le_bytes());
        let sum = crc32fast::hash(&out[start..]);
        out.extend_from_slice(&sum.to_le_bytes());
        out.extend_from_slice(&MAGIC);
    }

    /// Reads the last bytes of a file of so many bytes, of which so many lie before the body.
    pub(super) fn parse(bytes: &[u8], id: u64, prefix: u64, file: u64) -> Result<Self, Damaged> {
        let (summed, rest) = bytes.split_at_checked(FOOTER - 12).ok_or(Damaged)?;
        let (sum, magic) = rest.split_first_chunk::<4>().ok_or(Damaged)?;
        if *magic != MAGIC || crc32fast::hash(summed) != u32::from_le_bytes(*sum) {
            return Err(Damaged);
        }
        let mut fields = Fields(summed);
        let (length, trailers, _) = (fields.u64()?, fields.u32()?, fields.u32()?);
        let footer = Self { length, trailers, id: fields.u64()? };
        let whole = footer
            .table_length()
            .checked_add(length)
            .and_then(|sum| sum.checked_add(u64::from(trailers)))
            .and_then(|sum| sum.checked_add(prefix + FOOTER as u64));
        let is_ours = footer.id == id && footer.trailers <= MAX_PART;
        if is_ours && whole == Some(file) { Ok(footer) } else { Err(Damaged) }
    }

    pub(super) fn table_length(&self) -> u64 {
        self.length.div_ceil(PIECE) * 4
    }

    /// The table, if all of it is in these last bytes of the file.
    pub(super) fn table<'a>(&self, last: &'a [u8]) -> Option<&'a [u8]> {
        let table = usize::try_from(self.table_length()).ok()?;
        let end = last.len().checked_sub(self.trailers as usize + FOOTER)?;
        last.get(end.checked_sub(table)?..end)
    }
}

struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn array<const N: usize>(&mut self) -> Result<[u8; N], Damaged> {
        let (taken, rest) = self.0.split_first_chunk::<N>().ok_or(Damaged)?;
        self.0 = rest;
        Ok(*taken)
    }

    fn u16(&mut self) -> Result<u16, Damaged> {
        self.array().map(u16::from_le_bytes)
    }

    fn u32(&mut self) -> Result<u32, Damaged> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64, Damaged> {
        self.array().map(u64::from_le_bytes)
    }
}
