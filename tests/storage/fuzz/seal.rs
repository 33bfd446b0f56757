//! Makes the sums of damaged bytes right again, so that what is behind them is read. Written by the
//! documentation of the formats, and not by what the store does.

use crc32fast::Hasher;

const PIECE: usize = 64 << 10;

fn number(bytes: &[u8], at: usize) -> Option<usize> {
    let bytes = bytes.get(at..at + 4)?;
    Some(u32::from_le_bytes(bytes.try_into().ok()?) as usize)
}

fn sum(parts: &[&[u8]]) -> [u8; 4] {
    let mut hasher = Hasher::new();
    parts.iter().for_each(|part| hasher.update(part));
    hasher.finalize().to_le_bytes()
}

/// A record of the codec: version, kind, length 4, …, CRC-32.
pub fn record(bytes: &mut [u8]) {
    let length = (bytes.len() as u32).to_le_bytes();
    if let Some((sealed, crc)) = bytes.split_last_chunk_mut::<4>() {
        if let Some(stated) = sealed.get_mut(2..6) {
            stated.copy_from_slice(&length);
        }
        *crc = sum(&[sealed]);
    }
}

/// A file, as far as its lengths lead.
pub fn file(bytes: &mut [u8]) -> Option<()> {
    const FIXED: usize = 44;
    let (key, variant, part) = (number(bytes, 12)?, number(bytes, 16)?, number(bytes, 20)?);
    let keys = FIXED + key + variant;
    let header = sum(&[bytes.get(..FIXED - 4)?, bytes.get(FIXED..keys)?]);
    bytes[FIXED - 4..FIXED].copy_from_slice(&header);
    if bytes[10] == 2 {
        record(bytes.get_mut(keys..keys + part)?);
        return Some(());
    }
    for start in [keys, keys + part] {
        slot(bytes.get_mut(start..start + part)?);
    }
    footer(bytes, keys + 2 * part)
}

/// Number 8, length 4, CRC-32, head.
fn slot(slot: &mut [u8]) -> Option<()> {
    let length = number(slot, 8)?;
    record(slot.get_mut(16..16 + length)?);
    let crc = sum(&[&slot[..8], slot.get(16..16 + length)?]);
    slot[12..16].copy_from_slice(&crc);
    Some(())
}

/// Body, table, trailers; then length 8, trailers 4, version 2, kind 2, id 8, CRC-32, magic 8.
fn footer(bytes: &mut [u8], prefix: usize) -> Option<()> {
    let start = bytes.len().checked_sub(36)?;
    let id = u64::from_le_bytes(bytes.get(start + 16..start + 24)?.try_into().ok()?);
    let crc = sum(&[&bytes[start..start + 24]]);
    bytes[start + 24..start + 28].copy_from_slice(&crc);
    let (length, trailers) = (number(bytes, start)?, number(bytes, start + 8)?);
    let table = prefix.checked_add(length)?;
    let end = start.checked_sub(trailers)?;
    if table + length.div_ceil(PIECE) * 4 != end {
        return None;
    }
    for (n, from) in (prefix..table).step_by(PIECE).enumerate() {
        let whose = (id ^ (n as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15)).to_le_bytes();
        let mut crc = Hasher::new_with_initial(crc32fast::hash(&whose));
        crc.update(&bytes[from..(from + PIECE).min(table)]);
        bytes[table + 4 * n..][..4].copy_from_slice(&crc.finalize().to_le_bytes());
    }
    record(&mut bytes[end..start]);
    Some(())
}
