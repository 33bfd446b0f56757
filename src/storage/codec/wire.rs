use std::time::{Duration, SystemTime};

const VERSION: u8 = 2;
/// Version, kind, length.
const BEFORE: usize = 6;
const CRC: usize = 4;

/// A record that is being written.
pub(super) struct Out {
    bytes: Vec<u8>,
    memory: usize,
}

impl Out {
    pub(super) fn new(kind: u8) -> Self {
        let mut bytes = Vec::with_capacity(1024);
        bytes.extend_from_slice(&[VERSION, kind, 0, 0, 0, 0]);
        Self { bytes, memory: 0 }
    }

    /// To decode what was written takes so many bytes of memory.
    pub(super) fn takes(&mut self, bytes: usize) {
        self.memory += bytes;
    }

    pub(super) fn seal(mut self) -> Vec<u8> {
        let length = (self.bytes.len() + CRC).max(least_length(self.memory));
        self.bytes.resize(length - CRC, 0);
        let stated = u32::try_from(length).unwrap_or(u32::MAX);
        self.bytes[2..BEFORE].copy_from_slice(&stated.to_le_bytes());
        let crc = crc32fast::hash(&self.bytes);
        self.u32(crc);
        self.bytes
    }

    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    pub(super) fn u8(&mut self, value: u8) {
        self.bytes.push(value);
    }

    pub(super) fn u16(&mut self, value: u16) {
        self.bytes(&value.to_le_bytes());
    }

    pub(super) fn u32(&mut self, value: u32) {
        self.bytes(&value.to_le_bytes());
    }

    pub(super) fn u64(&mut self, value: u64) {
        self.bytes(&value.to_le_bytes());
    }

    pub(super) fn duration(&mut self, duration: Duration) {
        self.u64(duration.as_secs());
        self.u32(duration.subsec_nanos());
    }

    /// Seconds since 1970, rounded down, and nanoseconds.
    pub(super) fn time(&mut self, time: SystemTime) {
        let (seconds, nanos) = match time.duration_since(SystemTime::UNIX_EPOCH) {
            Ok(after) => (i64::try_from(after.as_secs()).unwrap_or(i64::MAX), after.subsec_nanos()),
            Err(before) => {
                let before = before.duration();
                let seconds = i64::try_from(before.as_secs()).unwrap_or(i64::MAX);
                match before.subsec_nanos() {
                    0 => (-seconds, 0),
                    nanos => (-seconds - 1, NANOS - nanos),
                }
            }
        };
        self.bytes(&seconds.to_le_bytes());
        self.u32(nanos);
    }
}

const NANOS: u32 = 1_000_000_000;

/// A record that is being read.
pub(super) struct In<'a> {
    rest: &'a [u8],
    budget: usize,
}

impl<'a> In<'a> {
    /// The content of a record of this kind, if that is what `bytes` are.
    pub(super) fn open(bytes: &'a [u8], kind: u8) -> Option<Self> {
        let (sealed, crc) = bytes.split_last_chunk::<CRC>()?;
        if crc32fast::hash(sealed) != u32::from_le_bytes(*crc) {
            return None;
        }
        let (before, rest) = sealed.split_first_chunk::<BEFORE>()?;
        let [version, own_kind, length @ ..] = *before;
        let is_whole = usize::try_from(u32::from_le_bytes(length)) == Ok(bytes.len());
        let is_ours = version == VERSION && own_kind == kind && is_whole;
        is_ours.then(|| Self { rest, budget: allowance(bytes.len()) })
    }

    /// Only padding may be left.
    pub(super) fn end(self) -> Option<()> {
        self.rest.iter().all(|byte| *byte == 0).then_some(())
    }

    /// Asks whether so many bytes may be allocated.
    pub(super) fn spend(&mut self, bytes: usize) -> Option<()> {
        self.budget = self.budget.checked_sub(bytes)?;
        Some(())
    }

    pub(super) fn remaining(&self) -> usize {
        self.rest.len()
    }

    /// The same place, to look ahead from.
    pub(super) fn ahead(&self) -> In<'a> {
        In { rest: self.rest, budget: self.budget }
    }

    pub(super) fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        Some(taken)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.rest.split_first_chunk::<N>()?;
        self.rest = rest;
        Some(*taken)
    }

    pub(super) fn u8(&mut self) -> Option<u8> {
        self.array().map(u8::from_le_bytes)
    }

    pub(super) fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_le_bytes)
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    pub(super) fn duration(&mut self) -> Option<Duration> {
        let (seconds, nanos) = (self.u64()?, self.u32()?);
        (nanos < NANOS).then(|| Duration::new(seconds, nanos))
    }

    pub(super) fn time(&mut self) -> Option<SystemTime> {
        let (seconds, nanos) = (self.array().map(i64::from_le_bytes)?, self.u32()?);
        if nanos >= NANOS {
            return None;
        }
        let whole = Duration::from_secs(seconds.unsigned_abs());
        let time = if seconds < 0 {
            SystemTime::UNIX_EPOCH.checked_sub(whole)
        } else {
            SystemTime::UNIX_EPOCH.checked_add(whole)
        };
        time?.checked_add(Duration::from_nanos(nanos.into()))
    }
}

/// What the names and fields of a record of `length` bytes may take of memory; the rest of four
/// times its length and 4 KiB is for what has a fixed size.
fn allowance(length: usize) -> usize {
    length.saturating_mul(4).saturating_add(2048)
}

/// The least length of a record whose names and fields take `bytes`.
fn least_length(bytes: usize) -> usize {
    bytes.saturating_sub(2048).div_ceil(4)
}
