//! Names and records, as bytes. Nothing here asks Redis.

use bytes::Bytes;
use http::HeaderMap;

use crate::{
    Error,
    policy::{CacheKey, Index, StoredHead, VariantId, VariantKey},
    storage::codec,
};

/// Bodies up to so many bytes lie in their record.
pub(super) const INLINE: usize = 16 << 10;
/// Larger ones lie in pieces of so many bytes, each under a key of its own,
pub(super) const CHUNK: usize = 256 << 10;
/// with a sum for each so many bytes of them behind.
pub(super) const BLOCK: usize = 64 << 10;
/// A record may have so many fields, trailers and keys.
const MAX_PART: usize = 1 << 20;

/// What is under a namespace, by its keys. Braces stand round what belongs together, so that a
/// cluster keeps it in one slot.
#[derive(Debug)]
pub(super) struct Names {
    namespace: Box<str>,
}

impl Names {
    pub(super) fn new(namespace: &str) -> Result<Self, Error> {
        let is_fine = !namespace.is_empty()
            && namespace.len() <= 64
            && namespace.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.:".contains(&b));
        if !is_fine {
            let text = format!("`{namespace}`: a namespace is of letters, digits and `-_.:`");
            return Err(Error::invalid(text));
        }
        Ok(Self { namespace: namespace.into() })
    }

    pub(super) fn resource(&self, key: &CacheKey) -> Resource {
        let hash = blake3::hash(key.as_bytes());
        let mut id = [0; 16];
        id.copy_from_slice(&hash.as_bytes()[..16]);
        let mut hex = String::with_capacity(32);
        push_hex(&mut hex, &id);
        let prefix = format!("{}:{{{hex}}}:", self.namespace);
        Resource { id, record: format!("{prefix}i"), chunks: format!("{prefix}b:") }
    }

    /// The log of purges.
    pub(super) fn stream(&self) -> String {
        format!("{}:{{purge}}", self.namespace)
    }

    pub(super) fn log_name(&self) -> String {
        format!("{}:{{purge}}:id", self.namespace)
    }

    pub(super) fn channel(&self) -> String {
        format!("{}:{{purge}}:wake", self.namespace)
    }

    /// What a walk looks for: the records of resources, or pieces of bodies.
    pub(super) fn pattern(&self, suffix: &str) -> String {
        let mut pattern = String::new();
        for c in self.namespace.chars() {
            if !c.is_ascii_alphanumeric() {
                pattern.push('\\');
            }
            pattern.push(c);
        }
        pattern + ":{????????????????????????????????}:" + suffix
    }

    /// When the response was begun that a piece is of.
    pub(super) fn position_of_chunk(&self, key: &[u8]) -> Option<u64> {
        let key = std::str::from_utf8(key).ok()?;
        let stamp = key.split_once("}:b:")?.1;
        u64::from_str_radix(stamp.get(..16)?, 16).ok()
    }
}

/// The keys of one resource.
#[derive(Clone, Debug)]
pub(super) struct Resource {
    pub(super) id: [u8; 16],
    pub(super) record: String,
    /// The beginning of the keys of pieces.
    pub(super) chunks: String,
}

impl Resource {
    pub(super) fn chunk(&self, stamp: &Stamp, number: u64) -> String {
        format!("{}{}:{number}", self.chunks, stamp.as_str())
    }
}

/// The field of a variant.
pub(super) fn field(variant: &VariantKey) -> Vec<u8> {
    if variant.is_plain() { b"p".to_vec() } else { field_of(&variant.id()) }
}

pub(super) fn field_of(id: &VariantId) -> Vec<u8> {
    [b"v", id.as_bytes().as_slice()].concat()
}

pub(super) const INDEX: &[u8] = b"i";

/// Tells a response from all others: the position of the log of purges when it was begun, and chance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stamp(Box<str>);

impl Stamp {
    pub(super) fn new(position: u64) -> Result<Self, Error> {
        let mut text = hex_of(position);
        text.push_str(&random()?);
        Ok(Self(text.into()))
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    pub(super) fn position(&self) -> u64 {
        u64::from_str_radix(&self.0[..16], 16).unwrap_or_default()
    }

    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let is_hex = bytes.len() == 32 && bytes.iter().all(u8::is_ascii_hexdigit);
        is_hex.then(|| Some(Self(std::str::from_utf8(bytes).ok()?.into())))?
    }
}

/// 64 bits of chance, as text.
pub(super) fn random() -> Result<String, Error> {
    Ok(hex_of(getrandom::u64().map_err(Error::other)?))
}

pub(super) fn hex_of(number: u64) -> String {
    format!("{number:016x}")
}

fn push_hex(out: &mut String, bytes: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for byte in bytes {
        out.push(char::from(DIGITS[usize::from(byte >> 4)]));
        out.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
}

/// The index of a resource, behind its key: to be compared in full.
pub(super) fn encode_index(key: &CacheKey, index: &Index) -> Result<Vec<u8>, Error> {
    let mut out = vec![VERSION];
    push_part(&mut out, key.as_bytes())?;
    out.extend_from_slice(&codec::encode_index(index)?);
    Ok(out)
}

/// `None`: it is damaged, or of another resource.
pub(super) fn decode_index(bytes: &[u8], key: &CacheKey) -> Option<Index> {
    let (&version, rest) = bytes.split_first()?;
    let (own, rest) = take_part(rest)?;
    (version == VERSION && own == key.as_bytes()).then(|| codec::decode_index(rest))?
}

const VERSION: u8 = 1;
/// What scripts look at: version, kind, stamp, revision, number of pieces; all but the first as text.
const FIXED: usize = 2 + 32 + 16 + 8;

/// A response but for what lies in pieces.
#[derive(Clone, Debug)]
pub(super) struct Record {
    pub(super) stamp: Stamp,
    /// Changes with each update.
    pub(super) revision: Box<str>,
    /// The name of the log of purges.
    pub(super) log: Box<str>,
    pub(super) key: CacheKey,
    pub(super) variant: VariantKey,
    pub(super) head: StoredHead,
    pub(super) trailers: Option<HeaderMap>,
    pub(super) body: Place,
}

/// Where a body is.
#[derive(Clone, Debug)]
pub(super) enum Place {
    Inline(Bytes),
    Chunks { length: u64 },
}

impl Place {
    pub(super) fn length(&self) -> u64 {
        match self {
            Place::Inline(bytes) => bytes.len() as u64,
            Place::Chunks { length } => *length,
        }
    }

    pub(super) fn chunks(&self) -> u64 {
        match self {
            Place::Inline(_) => 0,
            Place::Chunks { length } => length.div_ceil(CHUNK as u64),
        }
    }
}

impl Record {
    pub(super) fn encode(&self) -> Result<Vec<u8>, Error> {
        let head = codec::encode_head(&self.head)?;
        let trailers = match &self.trailers {
            Some(trailers) => codec::encode_trailers(trailers)?,
            None => Vec::new(),
        };
        let (kind, inline) = match &self.body {
            Place::Inline(bytes) => (b'i', bytes.as_ref()),
            Place::Chunks { .. } => (b'c', [].as_slice()),
        };
        let chunks = self.body.chunks();
        if chunks > 99_999_999 {
            return Err(Error::too_large());
        }
        let mut out = Vec::with_capacity(FIXED + 512 + head.len() + inline.len());
        out.extend_from_slice(&[VERSION, kind]);
        out.extend_from_slice(self.stamp.as_str().as_bytes());
        out.extend_from_slice(self.revision.as_bytes());
        out.extend_from_slice(format!("{chunks:08}").as_bytes());
        out.extend_from_slice(&self.body.length().to_le_bytes());
        for part in [
            self.log.as_bytes(),
            self.key.as_bytes(),
            self.variant.as_bytes(),
            &head,
            &trailers,
            inline,
        ] {
            push_part(&mut out, part)?;
        }
        let sum = crc32fast::hash(&out);
        out.extend_from_slice(&sum.to_le_bytes());
        Ok(out)
    }

    /// `None`: it is damaged, or another version's, or not of this variant.
    pub(super) fn decode(bytes: &Bytes, key: &CacheKey, variant: &VariantKey) -> Option<Self> {
        let opened = Opened::read(bytes)?;
        let is_it = opened.key == key.as_bytes() && opened.variant == variant.as_bytes();
        if !is_it {
            return None;
        }
        opened.record(bytes, key.clone(), variant.clone())
    }

    /// The same, whatever it is of.
    pub(super) fn decode_any(bytes: &Bytes) -> Option<Self> {
        let opened = Opened::read(bytes)?;
        let key = CacheKey::from_bytes(bytes.slice_ref(opened.key))?;
        let variant = VariantKey::restored(opened.variant.to_vec());
        opened.record(bytes, key, variant)
    }
}

/// The parts of a record.
struct Opened<'a> {
    kind: u8,
    stamp: &'a [u8],
    revision: &'a [u8],
    length: u64,
    log: &'a [u8],
    key: &'a [u8],
    variant: &'a [u8],
    head: &'a [u8],
    trailers: &'a [u8],
    inline: &'a [u8],
}

impl<'a> Opened<'a> {
    fn read(bytes: &'a [u8]) -> Option<Self> {
        let (summed, sum) = bytes.split_last_chunk::<4>()?;
        if crc32fast::hash(summed) != u32::from_le_bytes(*sum) {
            return None;
        }
        let (fixed, rest) = summed.split_at_checked(FIXED)?;
        let (length, rest) = rest.split_first_chunk::<8>()?;
        if fixed[0] != VERSION {
            return None;
        }
        let (log, rest) = take_part(rest)?;
        let (key, rest) = take_part(rest)?;
        let (variant, rest) = take_part(rest)?;
        let (head, rest) = take_part(rest)?;
        let (trailers, rest) = take_part(rest)?;
        let (inline, rest) = take_part(rest)?;
        let (stamp, revision) = (&fixed[2..34], &fixed[34..50]);
        let length = u64::from_le_bytes(*length);
        let kind = fixed[1];
        let opened =
            Self { kind, stamp, revision, length, log, key, variant, head, trailers, inline };
        rest.is_empty().then_some(opened)
    }

    fn record(&self, bytes: &Bytes, key: CacheKey, variant: VariantKey) -> Option<Record> {
        let text = |bytes| Some(std::str::from_utf8(bytes).ok()?.into());
        let body = match self.kind {
            b'i' if self.inline.len() as u64 == self.length => {
                Place::Inline(bytes.slice_ref(self.inline))
            }
            b'c' if self.inline.is_empty() && self.length > 0 => {
                Place::Chunks { length: self.length }
            }
            _ => return None,
        };
        let trailers = match self.trailers {
            [] => None,
            trailers => Some(codec::decode_trailers(trailers)?),
        };
        Some(Record {
            stamp: Stamp::read(self.stamp)?,
            revision: text(self.revision)?,
            log: text(self.log)?,
            key,
            variant,
            head: codec::decode_head(self.head)?,
            trailers,
            body,
        })
    }
}

fn push_part(out: &mut Vec<u8>, part: &[u8]) -> Result<(), Error> {
    if part.len() > MAX_PART {
        return Err(Error::too_large());
    }
    let length = u32::try_from(part.len()).map_err(|_| Error::too_large())?;
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(part);
    Ok(())
}

fn take_part(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    rest.split_at_checked(u32::from_le_bytes(*length) as usize)
}

/// The sum of a block: also of whose it is, so that no block is taken for another.
pub(super) fn sum(stamp: &Stamp, chunk: u64, block: usize, bytes: &[u8]) -> u32 {
    let mut sum = crc32fast::Hasher::new();
    sum.update(stamp.as_str().as_bytes());
    sum.update(&chunk.to_le_bytes());
    sum.update(&(block as u64).to_le_bytes());
    sum.update(bytes);
    sum.finalize()
}

/// Appends the sums of a piece to it.
pub(super) fn seal(stamp: &Stamp, chunk: u64, piece: &mut Vec<u8>) {
    let sums: Vec<u32> = piece
        .chunks(BLOCK)
        .enumerate()
        .map(|(block, bytes)| sum(stamp, chunk, block, bytes))
        .collect();
    sums.iter().for_each(|sum| piece.extend_from_slice(&sum.to_le_bytes()));
}

/// The bytes of blocks from `first` on, if they have their sums.
pub(super) fn check(
    stamp: &Stamp,
    chunk: u64,
    first: usize,
    bytes: &[u8],
    sums: &[u8],
) -> Option<()> {
    let blocks = bytes.chunks(BLOCK).enumerate();
    let sums = sums.chunks(4);
    if blocks.len() != sums.len() {
        return None;
    }
    for ((at, block), expected) in blocks.zip(sums) {
        let expected = u32::from_le_bytes(expected.try_into().ok()?);
        if sum(stamp, chunk, first + at, block) != expected {
            return None;
        }
    }
    Some(())
}
