use http::HeaderMap;
use larder::{
    MemoryManager,
    policy::{Index, Placement, StoredHead},
    storage::codec::{
        decode_head, decode_index, decode_trailers, encode_head, encode_index, encode_trailers,
    },
};

use super::{
    bounded, cases,
    mutate::{Numbers, ODD, mutate, overwrite},
    seal,
};
use crate::exchange::{Visitor, ok};

/// A response of a site with many fields, few, or odd ones.
fn stored(n: usize) -> (Placement, StoredHead) {
    let mut response = ok().header("vary", "accept-language").header("etag", "\"1\"");
    for field in 0..[0, 3, 40, 130, 200][n % 5] {
        response = match n % 3 {
            0 => response.header(format!("x-{field}"), ""),
            1 => response.header("link", format!("</{field}>; rel=preload")),
            _ => response.header(format!("x-{field}"), "v".repeat(field)),
        };
    }
    let visitor = Visitor::of("/").with("accept-language", &n.to_string());
    visitor.place(&MemoryManager::new(1 << 20), response)
}

/// What is kept of heads, an index and trailers.
fn samples() -> Vec<Vec<u8>> {
    let mut index = Index::new(7);
    let mut samples = Vec::new();
    for n in 0..15 {
        let (placement, head) = stored(n);
        let _ = index.admit(&placement);
        samples.push(encode_head(&head).unwrap());
        samples.push(encode_trailers(head.headers()).unwrap());
        samples.push(encode_index(&index).unwrap());
    }
    samples.push(encode_trailers(&HeaderMap::new()).unwrap());
    samples
}

/// What bytes are as each kind of record. What is accepted is as small as was promised, and is itself
/// when it is written again.
fn decode(bytes: &[u8]) -> bool {
    let head = bounded(bytes.len(), || decode_head(bytes));
    let index = bounded(bytes.len(), || decode_index(bytes));
    let trailers = bounded(bytes.len(), || decode_trailers(bytes));
    let kinds = [head.is_some(), index.is_some(), trailers.is_some()];
    assert!(kinds.iter().filter(|is_one| **is_one).count() <= 1, "a record is of one kind");
    if let Some(head) = head {
        // `Age` has a slot in every head, also in one that was kept without.
        assert!(head.headers().len() <= 257, "{} fields", head.headers().len());
    }
    if let Some(index) = index {
        let again = encode_index(&index).unwrap();
        assert_eq!(decode_index(&again), Some(index));
    }
    if let Some(trailers) = trailers {
        assert!(trailers.len() <= 256, "{} fields", trailers.len());
        let again = encode_trailers(&trailers).unwrap();
        assert_eq!(decode_trailers(&again), Some(trailers));
    }
    kinds.contains(&true)
}

/// Every small number and many large ones in the place of every byte, with sums that are right.
#[test]
fn records_with_odd_numbers() {
    let mut accepted = 0;
    for sample in samples().iter().filter(|sample| sample.len() < 1000) {
        assert!(decode(sample));
        for at in 0..sample.len() {
            for (odd, width) in ODD.iter().flat_map(|odd| [(odd, 1), (odd, 2), (odd, 4)]) {
                let mut bytes = sample.clone();
                overwrite(&mut bytes, at, &odd.to_le_bytes()[..width]);
                assert!(bytes == *sample || !decode(&bytes), "its sum is wrong");
                seal::record(&mut bytes);
                accepted += usize::from(decode(&bytes));
            }
        }
    }
    assert!(accepted > 1000, "what is sealed is read: {accepted}");
}

#[test]
fn damaged_records() {
    let samples = samples();
    let mut numbers = Numbers::new(1);
    let (mut accepted, mut sealed) = (0, 0);
    for n in 0..cases() {
        let mut bytes = samples[numbers.below(samples.len())].clone();
        let other = &samples[numbers.below(samples.len())];
        let before = bytes.clone();
        mutate(&mut numbers, &mut bytes, other);
        if n % 4 == 0 {
            assert!(!decode(&bytes) || bytes == before || samples.contains(&bytes), "case {n}");
        } else {
            sealed += 1;
            seal::record(&mut bytes);
            accepted += u64::from(decode(&bytes));
        }
    }
    println!("{} cases, {accepted} of {sealed} with right sums were records", cases());
    assert!(accepted * 50 > sealed && accepted < sealed, "{accepted} of {sealed} are records");
}

#[test]
fn noise() {
    let mut numbers = Numbers::new(2);
    for _ in 0..cases() {
        let mut bytes: Vec<u8> = (0..numbers.below(300)).map(|_| numbers.next() as u8).collect();
        assert!(!decode(&bytes), "noise has no sum");
        for kind in 1..=3 {
            overwrite(&mut bytes, 0, &[1, kind]);
            seal::record(&mut bytes);
            decode(&bytes);
        }
    }
}

/// However many fields a record says it has, no more than 256 are made of it.
#[test]
fn a_record_of_more_than_256_fields_is_not_read() {
    let record = |count: u16| {
        let mut bytes = encode_trailers(&HeaderMap::new()).unwrap();
        // Version, kind and length; then the number of fields.
        bytes.truncate(6);
        bytes.extend_from_slice(&count.to_le_bytes());
        for _ in 0..count {
            // Flags 1, lengths of name 2 and value 4.
            bytes.extend_from_slice(&[0, 1, 0, 1, 0, 0, 0, b'x', b'1']);
        }
        // Memory for all of them, and the sum.
        bytes.resize(bytes.len() + 40_000, 0);
        seal::record(&mut bytes);
        bytes
    };
    assert_eq!(decode_trailers(&record(256)).unwrap().len(), 256);
    assert_eq!(decode_trailers(&record(257)), None);
    assert_eq!(decode_trailers(&record(u16::MAX)), None);
}
