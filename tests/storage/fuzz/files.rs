use std::{
    fs,
    ops::Range,
    path::{Path, PathBuf},
};

use bytes::Bytes;
use http::HeaderMap;
use larder::{
    CacheManager, DiskManager,
    policy::{CacheKey, Index, VariantKey},
    storage::{
        EntryWriter,
        codec::{decode_index, encode_head},
        probe::{Probe, read, read_now},
        suite::block_on,
    },
};

use super::{
    bounded, cases,
    mutate::{Numbers, ODD, mutate, overwrite},
    seal,
};
use crate::{
    exchange::{Visitor, ok},
    support::scratch::Scratch,
};

/// More are not written to a disk.
const MANY: u64 = 100_000;

/// A file of a store, and all that may be read from it.
pub struct Sample {
    pub bytes: Vec<u8>,
    pub key: Vec<u8>,
    pub variant: Vec<u8>,
    index: Option<Index>,
    pub heads: Vec<Vec<u8>>,
    body: Vec<u8>,
    trailers: HeaderMap,
}

impl Sample {
    fn number(&self, at: usize) -> usize {
        u32::from_le_bytes(self.bytes[at..at + 4].try_into().unwrap()) as usize
    }

    /// The two places for a head; none in an index.
    pub fn slots(&self) -> Range<usize> {
        let start = 44 + self.key.len() + self.variant.len();
        if self.index.is_some() { start..start } else { start..start + 2 * self.number(20) }
    }

    pub fn body(&self) -> Range<usize> {
        let start = self.slots().end;
        if self.index.is_some() { start..start } else { start..start + self.body.len() }
    }

    fn outcome(&self, probe: Probe) -> Outcome {
        match probe {
            Probe::Absent => Outcome::Absent,
            Probe::Index(index) if self.index.as_ref() == Some(&index) => Outcome::Same,
            Probe::Index(_) => Outcome::Other,
            Probe::Response { head, rest } => {
                assert!(head.headers().len() <= 257, "{} fields", head.headers().len());
                let is_ours = encode_head(&head).is_ok_and(|head| self.heads.contains(&head));
                match rest {
                    _ if !is_ours => Outcome::Other,
                    None => Outcome::Broken,
                    Some((pieces, trailers)) => {
                        let is_same = pieces.concat() == self.body
                            && trailers.unwrap_or_default() == self.trailers;
                        if is_same { Outcome::Same } else { Outcome::Other }
                    }
                }
            }
        }
    }
}

/// A directory for files; for many of them in memory, if there is one. It cannot be read there as a hit
/// reads.
pub fn scratch() -> Scratch {
    let memory = Path::new("/dev/shm");
    let scratch =
        if cases() > MANY && memory.is_dir() { Scratch::below(memory) } else { Scratch::new() };
    fs::create_dir_all(scratch.path()).unwrap();
    scratch
}

/// The one file that is there and has not been seen.
fn new_files(directory: &Path, seen: &mut Vec<PathBuf>) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    for part in fs::read_dir(directory.join("files")).unwrap() {
        for file in fs::read_dir(part.unwrap().path()).unwrap() {
            let path = file.unwrap().path();
            if !seen.contains(&path) {
                found.push(fs::read(&path).unwrap());
                seen.push(path);
            }
        }
    }
    found
}

/// Responses with and without `Vary`, small and large, one with a head that was updated; and an
/// index.
pub fn samples(directory: &Path) -> Vec<Sample> {
    let store = DiskManager::open(directory).unwrap();
    let mut seen = Vec::new();
    let mut samples = Vec::new();
    for (n, length) in [0, 10, 3000, 40_000, 132_000, 40_000].into_iter().enumerate() {
        let visitor = Visitor::of(&format!("/{n}"));
        let body: Vec<u8> = (0..length).map(|at: usize| ((at * at + n) % 251) as u8).collect();
        let (placement, head) = visitor.place(&store, ok().header("x-number", n));
        let mut heads = vec![encode_head(&head).unwrap()];
        let mut trailers = HeaderMap::new();
        if n % 2 == 0 {
            trailers.insert("x-sum", n.into());
        }
        let (key, variant) = (placement.key().clone(), placement.variant().clone());
        block_on(async {
            let mut writer = store.put(placement, head).await.unwrap();
            writer.write(Bytes::from(body.clone())).await.unwrap();
            writer.finish((n % 2 == 0).then(|| trailers.clone())).await.unwrap();
        });
        if n == 2 {
            let entry = visitor.entry(&store).unwrap();
            let (_, newer) = visitor.place(&store, ok().header("x-number", "newer"));
            heads.push(encode_head(&newer).unwrap());
            assert!(block_on(store.update(&entry, newer)).unwrap());
        }
        let [bytes] = &new_files(directory, &mut seen)[..] else { panic!("one file") };
        let sample = |bytes: &Vec<u8>| sample(bytes, &key, &variant, &heads, &body, &trailers);
        samples.push(sample(bytes));
    }
    let visitor = Visitor::of("/vary").with("accept-language", "en");
    let response = || ok().header("vary", "accept-language");
    let (placement, head) = visitor.place(&store, response());
    let heads = [encode_head(&head).unwrap()];
    block_on(visitor.put(&store, response(), "hello")).unwrap();
    for bytes in new_files(directory, &mut seen) {
        let variant = placement.variant();
        samples.push(sample(&bytes, placement.key(), variant, &heads, b"hello", &HeaderMap::new()));
    }
    assert_eq!(samples.len(), 8);
    samples
}

fn sample(
    bytes: &[u8],
    key: &CacheKey,
    variant: &VariantKey,
    heads: &[Vec<u8>],
    body: &[u8],
    trailers: &HeaderMap,
) -> Sample {
    let is_index = bytes[10] == 2;
    let variant = if is_index { &[] } else { variant.as_bytes() };
    let index = decode_index(&bytes[44 + key.as_bytes().len() + variant.len()..]);
    assert_eq!(index.is_some(), is_index);
    Sample {
        index,
        bytes: bytes.to_vec(),
        key: key.as_bytes().to_vec(),
        variant: variant.to_vec(),
        heads: heads.to_vec(),
        body: body.to_vec(),
        trailers: trailers.clone(),
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// As it was stored.
    Same,
    /// Found, and then an error of the body.
    Broken,
    Absent,
    /// Found with something else.
    Other,
}

/// What the file is to a store, and to a hit, whatever the store's index says of its size.
pub fn probe(path: &Path, sample: &Sample, bytes: &[u8]) -> Outcome {
    // What is written over is on the disk when it is closed, on some systems.
    let _ = fs::remove_file(path);
    fs::write(path, bytes).unwrap();
    let outcome = sample.outcome(bounded(bytes.len(), || read(path, &sample.key, &sample.variant)));
    for takes in [0, u64::MAX] {
        let now = sample.outcome(read_now(path, &sample.key, &sample.variant, takes));
        assert!(now == outcome || now == Outcome::Absent, "{now:?} at once, and then {outcome:?}");
    }
    outcome
}

/// Every odd number at every place of a header, a slot's beginning and a footer.
#[test]
fn files_with_odd_numbers() {
    let scratch = scratch();
    let path = scratch.path().join("file");
    let mut seen = [0; 4];
    for sample in samples(&scratch.path().join("store")) {
        assert_eq!(probe(&path, &sample, &sample.bytes), Outcome::Same);
        if sample.body.len() > 10_000 {
            continue; // without optimisation, the sums of each take a millisecond
        }
        let length = sample.bytes.len();
        let slots = 44 + sample.key.len() + sample.variant.len();
        let places = (0..44).chain(slots..slots + 60).chain(length - 60..length);
        for at in places.filter(|at| *at < length) {
            for (odd, width) in ODD.iter().flat_map(|odd| [(odd, 2), (odd, 4)]) {
                let mut bytes = sample.bytes.clone();
                overwrite(&mut bytes, at, &odd.to_le_bytes()[..width]);
                let outcome = probe(&path, &sample, &bytes);
                assert_ne!(outcome, Outcome::Other, "{odd} at {at} of {length}");
                let _ = seal::file(&mut bytes);
                seen[probe(&path, &sample, &bytes) as usize] += 1;
            }
        }
    }
    assert!(seen[Outcome::Other as usize] > 100, "what is sealed is read: {seen:?}");
}

#[test]
fn damaged_files() {
    let scratch = scratch();
    let path = scratch.path().join("file");
    let samples = samples(&scratch.path().join("store"));
    let mut numbers = Numbers::new(3);
    let mut seen = [[0_u64; 4]; 2];
    let mut bytes = Vec::new();
    for n in 0..cases() {
        // The small ones more often: they are quicker.
        let small = numbers.below(8) > 0;
        let sample =
            &samples[if small { [0, 1, 2, 6, 7][numbers.below(5)] } else { numbers.below(8) }];
        let other = &samples[numbers.below(samples.len())].bytes;
        bytes.clear();
        bytes.extend_from_slice(&sample.bytes);
        mutate(&mut numbers, &mut bytes, other);
        let is_sealed = numbers.below(2) == 0;
        if is_sealed {
            let _ = seal::file(&mut bytes);
        }
        let outcome = probe(&path, sample, &bytes);
        seen[usize::from(is_sealed)][outcome as usize] += 1;
        assert!(is_sealed || outcome != Outcome::Other, "case {n}: wrong bytes");
    }
    println!("{} cases, same, broken, absent, other: {:?}, sealed {:?}", cases(), seen[0], seen[1]);
    let [[same, _, absent, _], [_, _, _, other]] = seen;
    assert!(same > 0 && absent > 0 && other > 0, "{seen:?}");
}
