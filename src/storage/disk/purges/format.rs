//! The bytes of the file. Nothing here reads or writes one.

use crate::purge::{Purge, Records};

const MAGIC: &[u8; 8] = b"LARDERPL";
const VERSION: u32 = 1;
pub(super) const HEADER: usize = 40;

pub(super) fn header(of: &Records, length: u64) -> [u8; HEADER] {
    let mut bytes = [0; HEADER];
    bytes[..8].copy_from_slice(MAGIC);
    bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
    bytes[12..20].copy_from_slice(&of.position.to_le_bytes());
    bytes[20..28].copy_from_slice(&of.floor.to_le_bytes());
    bytes[28..36].copy_from_slice(&length.to_le_bytes());
    let sum = crc32fast::hash(&bytes[..36]);
    bytes[36..].copy_from_slice(&sum.to_le_bytes());
    bytes
}

pub(super) fn write_record(out: &mut Vec<u8>, seq: u64, purge: &Purge) {
    let start = out.len();
    let (kind, text) = purge.as_parts();
    out.extend_from_slice(&seq.to_le_bytes());
    out.push(kind);
    out.extend_from_slice(&u32::try_from(text.len()).unwrap_or(u32::MAX).to_le_bytes());
    out.extend_from_slice(text.as_bytes());
    let sum = crc32fast::hash(&out[start..]);
    out.extend_from_slice(&sum.to_le_bytes());
}

/// What a file vouches for, and the length of its records.
pub(super) fn decode(bytes: &[u8]) -> Option<(Records, u64)> {
    let (head, rest) = bytes.split_first_chunk::<HEADER>()?;
    let number = |at: usize| head[at..at + 8].try_into().map(u64::from_le_bytes).ok();
    let (position, floor, length) = (number(12)?, number(20)?, number(28)?);
    let stated = Records { position, floor, records: Vec::new() };
    if *head != header(&stated, length) {
        return None;
    }
    let mut rest = rest.get(..usize::try_from(length).ok()?)?;
    let mut records = Vec::new();
    while !rest.is_empty() {
        let (seq, behind) = rest.split_first_chunk::<8>()?;
        let (&kind, behind) = behind.split_first()?;
        let (size, behind) = behind.split_first_chunk::<4>()?;
        let (text, behind) = behind.split_at_checked(u32::from_le_bytes(*size) as usize)?;
        let (sum, behind) = behind.split_first_chunk::<4>()?;
        let summed = rest.len() - behind.len() - sum.len();
        if crc32fast::hash(&rest[..summed]) != u32::from_le_bytes(*sum) {
            return None;
        }
        let purge = Purge::from_parts(kind, std::str::from_utf8(text).ok()?)?;
        records.push((u64::from_le_bytes(*seq), purge));
        rest = behind;
    }
    // What a later purge of everything has made superfluous.
    records.retain(|(seq, _)| *seq > floor);
    Some((Records { position, floor, records }, length))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn file(records: &Records) -> Vec<u8> {
        let mut body = Vec::new();
        records.records.iter().for_each(|(seq, purge)| write_record(&mut body, *seq, purge));
        let mut bytes = header(records, body.len() as u64).to_vec();
        bytes.extend_from_slice(&body);
        bytes
    }

    fn some() -> Records {
        let records = vec![
            (3, Purge::host("a.example")),
            (5, Purge::url("http://a.example/x").unwrap()),
            (6, Purge::namespace("")),
        ];
        Records { position: 6, floor: 2, records }
    }

    #[test]
    fn a_log_comes_back() {
        for records in [some(), Records::default()] {
            let bytes = file(&records);
            let length = (bytes.len() - HEADER) as u64;
            assert_eq!(decode(&bytes), Some((records, length)));
        }
    }

    /// What was lost may have been any purge, so that a log in part is no log.
    #[test]
    fn a_log_that_is_cut_or_flipped_anywhere_vouches_for_nothing() {
        let bytes = file(&some());
        for cut in 0..bytes.len() {
            assert_eq!(decode(&bytes[..cut]), None, "cut at {cut}");
            let mut flipped = bytes.clone();
            flipped[cut] ^= 1;
            assert_eq!(decode(&flipped), None, "flipped at {cut}");
        }
    }

    proptest! {
        #[test]
        fn decoding_is_total(bytes: Vec<u8>) {
            prop_assert_eq!(decode(&bytes), None);
        }
    }
}
