use std::time::{Duration, SystemTime};

use proptest::{collection::vec, prelude::*};

use super::*;

fn time() -> impl Strategy<Value = SystemTime> {
    (-40_000_000_000_i64..40_000_000_000, 0..1_000_000_000_u32).prop_map(|(seconds, nanos)| {
        let whole = Duration::from_secs(seconds.unsigned_abs());
        let start = SystemTime::UNIX_EPOCH;
        let time = if seconds < 0 { start - whole } else { start + whole };
        time + Duration::from_nanos(nanos.into())
    })
}

fn duration() -> impl Strategy<Value = Duration> {
    (any::<u64>(), 0..1_000_000_000_u32).prop_map(|(s, n)| Duration::new(s, n))
}

fn fields(max: usize) -> impl Strategy<Value = HeaderMap> {
    let name = "[a-z][a-z0-9-]{0,8}|age|link|set-cookie|content-type";
    let octet = prop_oneof![0x20..=0x7e_u8, 0x80..=0xff_u8, Just(b'\t')];
    vec((name, vec(octet, 0..40), any::<bool>()), 0..max).prop_map(|lines| {
        let mut fields = HeaderMap::new();
        for (name, value, is_sensitive) in lines {
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            let mut value = HeaderValue::from_bytes(&value).unwrap();
            value.set_sensitive(is_sensitive);
            fields.append(name, value);
        }
        fields
    })
}

fn windows() -> impl Strategy<Value = Windows> {
    let window = || proptest::option::of(duration());
    (window(), window())
        .prop_map(|(while_revalidate, if_error)| Windows { while_revalidate, if_error })
}

fn texts() -> impl Strategy<Value = Texts> {
    vec(".{0,6}", 0..4).prop_map(|texts| {
        let mut all = Texts::default();
        texts.iter().for_each(|text| all.push(text));
        all
    })
}

fn head() -> impl Strategy<Value = StoredHead> {
    let revalidate = prop_oneof![
        Just(Revalidate::MayBeStale),
        Just(Revalidate::WhenStale),
        Just(Revalidate::Always)
    ];
    let asked = (any::<[bool; 3]>(), time(), time(), any::<u64>());
    let facts =
        (time(), duration(), duration(), revalidate, any::<bool>(), windows(), any::<u64>());
    let withheld = vec("[a-z]{1,8}", 0..5);
    let cached = proptest::option::of((duration(), windows(), any::<bool>()));
    let texts = [texts(), texts(), texts()];
    (100..1000_u16, fields(30), asked, facts, withheld, cached, texts, part()).prop_map(
        |(status, mut headers, asked, facts, withheld, cached, texts, part)| {
            let [tags, groups, own] = texts;
            headers.insert(header::AGE, HeaderValue::from_static("0"));
            let ([authorization, no_store, marked_private], requested, received, began) = asked;
            let (date, initial_age, lifetime, revalidate, immutable, windows, rules) = facts;
            let asked = Asked {
                authorization,
                no_store,
                marked_private,
                requested: Timestamp::from_wall(requested),
                received: Timestamp::from_wall(received),
                began,
            };
            let withheld = withheld.iter().map(|name| name.parse().unwrap()).collect();
            let facts = Facts {
                date,
                initial_age,
                lifetime,
                revalidate,
                immutable,
                windows,
                withheld,
                rules,
            };
            let cached = cached.map(|(lifetime, windows, is_public)| {
                let cached = Cached::for_duration(lifetime).with_windows(windows);
                if is_public { cached.public() } else { cached }
            });
            let status = StatusCode::from_u16(status).unwrap();
            let labels = Labels { tags, groups, own };
            StoredHead::restored(status, headers, asked, facts, cached, labels, part)
        },
    )
}

fn part() -> impl Strategy<Value = Option<ContentRange>> {
    (any::<bool>(), any::<u64>(), any::<u64>(), proptest::option::of(any::<u64>())).prop_map(
        |(is_some, start, end, complete)| {
            if is_some { ContentRange::new(start..end, complete) } else { None }
        },
    )
}

fn index() -> impl Strategy<Value = Index> {
    let set = proptest::collection::btree_set("[a-z]{1,8}", 0..17).prop_map(|names| {
        NameSet::restored(names.iter().map(|name| name.parse().unwrap()).collect()).unwrap()
    });
    let ring = vec(any::<[u8; 16]>().prop_map(VariantId::from_bytes), 0..70);
    let recent = vec((any::<proptest::sample::Index>(), vec(any::<u8>(), 0..200)), 0..5);
    (any::<u64>(), vec(set, 0..5), ring, recent).prop_map(|(generation, sets, ring, recent)| {
        let recent = recent.into_iter().filter(|_| !sets.is_empty());
        let recent = recent.map(|(set, variant)| Recent {
            names: set.get(&sets).clone(),
            variant: VariantKey::restored(variant),
        });
        let recent = recent.collect();
        Index::restored(generation, sets, ring, recent).unwrap()
    })
}

/// All that a head has, the order of its lines and what is sensitive included.
fn shown(head: &StoredHead) -> String {
    let lines: Vec<_> =
        head.headers().iter().map(|(n, v)| (n, v.as_bytes(), v.is_sensitive())).collect();
    let (asked, facts) = (head.asked(), head.facts());
    let (status, cached, labels) = (head.status(), head.cached(), head.labels());
    let part = head.content_range();
    format!("{status} {lines:?} {asked:?} {facts:?} {cached:?} {labels:?} {part:?}")
}

fn lines(fields: &HeaderMap) -> Vec<(&HeaderName, &[u8], bool)> {
    fields.iter().map(|(n, v)| (n, v.as_bytes(), v.is_sensitive())).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn a_head_comes_back_as_it_was(head in head()) {
        let bytes = encode_head(&head).unwrap();
        prop_assert_eq!(shown(&decode_head(&bytes).unwrap()), shown(&head));
    }

    /// RFC 9111 §3.3: "recorded as being incomplete". Whoever does not know parts, as earlier versions, must not
    /// read one; all else is as it was.
    #[test]
    fn a_part_is_marked(head in head()) {
        let flags = encode_head(&head).unwrap()[8];
        prop_assert_eq!(flags & flag::PART != 0, head.content_range().is_some());
        prop_assert_eq!(flags & !(flag::PART | ((1 << 6) - 1)), 0);
    }

    #[test]
    fn an_index_comes_back_as_it_was(index in index()) {
        let bytes = encode_index(&index).unwrap();
        prop_assert_eq!(decode_index(&bytes), Some(index));
    }

    #[test]
    fn trailers_come_back_as_they_were(fields in fields(256)) {
        let bytes = encode_trailers(&fields).unwrap();
        let decoded = decode_trailers(&bytes).unwrap();
        prop_assert_eq!(lines(&decoded), lines(&fields));
    }

    /// Whatever the bytes are, they are no record, and nothing panics.
    #[test]
    fn decoding_is_total(bytes: Vec<u8>) {
        prop_assert!(decode_head(&bytes).is_none());
        prop_assert!(decode_index(&bytes).is_none());
        prop_assert!(decode_trailers(&bytes).is_none());
    }

    /// The same behind a sum that is right: what is read is in the bounds of what is there.
    #[test]
    fn decoding_what_somebody_sealed_is_total(bytes: Vec<u8>, kind in 1..4_u8) {
        let mut out = Out::new(kind);
        out.bytes(&bytes);
        let bytes = out.seal();
        let _ = (decode_head(&bytes), decode_index(&bytes), decode_trailers(&bytes));
    }

    /// Bytes exchanged inside of a record, sealed again.
    #[test]
    fn decoding_a_forged_head_is_total(head in head(), at: prop::sample::Index, byte: u8) {
        let mut bytes = encode_head(&head).unwrap();
        let sealed = bytes.len() - 4;
        let at = at.index(sealed);
        bytes[at] = byte;
        let sum = crc32fast::hash(&bytes[..sealed]);
        bytes[sealed..].copy_from_slice(&sum.to_le_bytes());
        let _ = decode_head(&bytes);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]

    #[test]
    fn a_byte_flipped_or_missing_is_no_record(head in head(), index in index()) {
        let (head, index) = (encode_head(&head).unwrap(), encode_index(&index).unwrap());
        for bit in [0x01, 0x80] {
            for bytes in [&head, &index] {
                for at in 0..bytes.len() {
                    let mut flipped = bytes.clone();
                    flipped[at] ^= bit;
                    prop_assert!(decode_head(&flipped).is_none() && decode_index(&flipped).is_none());
                    let cut = &bytes[..at];
                    prop_assert!(decode_head(cut).is_none() && decode_index(cut).is_none());
                }
            }
        }
    }
}

#[test]
fn a_record_of_another_version_or_kind_is_not_read() {
    let bytes = encode_trailers(&HeaderMap::new()).unwrap();
    for at in [0, 1] {
        let mut other = bytes.clone();
        other[at] += 1;
        let sealed = other.len() - 4;
        let sum = crc32fast::hash(&other[..sealed]);
        other[sealed..].copy_from_slice(&sum.to_le_bytes());
        assert!(decode_trailers(&other).is_none() && decode_head(&other).is_none());
    }
}

#[test]
fn more_than_256_fields_are_not_kept() {
    let mut fields = HeaderMap::new();
    for n in 0..256 {
        fields.append("x", HeaderValue::from(n));
    }
    let bytes = encode_trailers(&fields).unwrap();
    assert_eq!(decode_trailers(&bytes), Some(fields.clone()));
    fields.append("x", HeaderValue::from_static(""));
    assert!(encode_trailers(&fields).unwrap_err().is_too_large());
}

/// Many short fields take more memory than bytes: the record is padded up to a quarter of it.
#[test]
fn a_record_of_short_fields_is_as_long_as_their_memory_asks() {
    let mut fields = HeaderMap::new();
    for n in 0..256_u16 {
        let name = format!("x{n}").parse::<HeaderName>().unwrap();
        fields.append(name, HeaderValue::from_static(""));
    }
    let bytes = encode_trailers(&fields).unwrap();
    // A bucket of the map and its position, with the room that the map leaves.
    assert!(4 * bytes.len() + 4096 >= 384 * 104 + 512 * 4, "{}", bytes.len());
    assert_eq!(decode_trailers(&bytes), Some(fields.clone()));
    let content = &bytes[6..bytes.len() - 4];
    let padding = content.iter().rev().take_while(|byte| **byte == 0).count();
    let mut unpadded = Out::new(TRAILERS);
    unpadded.bytes(&content[..content.len() - padding + 4]);
    assert_eq!(decode_trailers(&unpadded.seal()), None, "it would take more than it may");
}
