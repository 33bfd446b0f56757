//! Random `Range` fields over stored responses of random length, and what must hold of each answer.

use std::cell::Cell;

use http::{HeaderMap, HeaderValue, Response, header, response};
use http_body::SizeHint;
use larder::policy::{
    Begin, Content, Decision, Outcome, Piece, Policy, Secret, Stored, StoredResponse,
};

use super::{
    alone::{at, decided, fields, get, kept},
    run,
    tape::Tape,
};

/// A range as it is written, and its first and last byte in a body of `length` bytes: `None` if
/// it has none there, an error if it is no range.
fn spec(tape: &mut Tape, length: u64) -> (String, Result<Option<(u64, u64)>, ()>) {
    let position = |tape: &mut Tape| match tape.below(5) {
        0 | 1 => tape.below(40) as u64,
        2 => (tape.below(4000) as u64).min(length * 2),
        3 => length.saturating_sub(tape.below(3) as u64),
        _ => u64::MAX - tape.below(2) as u64,
    };
    let clip = |first, last: u64| (first < length).then(|| (first, last.min(length - 1)));
    match tape.below(7) {
        0 => {
            let first = position(tape);
            (format!("{first}-"), Ok(clip(first, u64::MAX)))
        }
        1 => {
            let count = position(tape);
            let is_some = count > 0 && length > 0;
            (format!("-{count}"), Ok(is_some.then(|| (length.saturating_sub(count), length - 1))))
        }
        2 if tape.once_in(12) => {
            let broken = ["x", "-", "1", "2-1", "1-x", "+1-2", "1--2", "1 -2"];
            (tape.pick(&broken).to_owned(), Err(()))
        }
        _ => {
            let (one, other) = (position(tape), position(tape));
            let (first, last) = (one.min(other), one.max(other));
            (format!("{first}-{last}"), Ok(clip(first, last)))
        }
    }
}

fn stored(length: u64) -> StoredResponse {
    let response = [("cache-control", "max-age=60"), ("content-type", "text/plain")];
    let response = kept(&Policy::shared(), &HeaderMap::new(), &fields(&response)).unwrap();
    StoredResponse::new(response.head().clone(), length)
}

/// RFC 9110 §14.1.2, §14.2, §15.3.7, §15.5.17: whatever ranges are asked for, what comes is exactly
/// what they name of the body, each byte once and in the order asked for, in at most 16 parts that are
/// shorter than the whole together; else it is the whole.
/// Feature range-arithmetic.
#[test]
fn ranges_get_what_they_name_and_never_more_than_the_whole() {
    let (several, wholes) = (Cell::new(0_u64), Cell::new(0_u64));
    let cases = run("LARDER_CASES", 20_000, |tape| {
        let length = [0, 1, 40, 4000, 1 << 20][tape.below(5)];
        let most = if tape.one_of(8) { 40 } else { 6 };
        let count = 1 + tape.below(most);
        let specs: Vec<_> = (0..count).map(|_| spec(tape, length)).collect();
        let written: Vec<&str> = specs.iter().map(|(text, _)| &**text).collect();
        let value = format!("bytes={}", written.join(tape.pick(&[",", ", ", " ,, "])));
        let mut request = HeaderMap::new();
        request.insert(header::RANGE, HeaderValue::from_str(&value).unwrap());
        let problem = |what: &str| Err(format!("{what}: {value} of {length}"));

        let decision = decided(&Policy::shared(), &request, &stored(length), 1);
        let asked: Result<Vec<_>, ()> = specs.into_iter().map(|(_, spec)| spec).collect();
        let Ok(asked) = asked else {
            return if decision.is_none() { Ok(()) } else { problem("no range") };
        };
        let asked: Vec<(u64, u64)> = asked.into_iter().flatten().collect();
        let Some(Decision::Serve(serve)) = decision else { return problem("not served") };
        let (status, headers) = (serve.head.status.as_u16(), &serve.head.headers);
        let place = headers.get(header::CONTENT_RANGE).map(|value| value.to_str().unwrap());
        let told = headers[header::CONTENT_LENGTH].to_str().unwrap().parse::<u64>().unwrap();

        let mut named = asked.clone();
        named.sort_unstable();
        let joined = named.iter().fold(Vec::<(u64, u64)>::new(), |mut joined, (first, last)| {
            match joined.last_mut() {
                Some((_, end)) if *first <= *end + 1 => *end = (*end).max(*last),
                _ => joined.push((*first, *last)),
            }
            joined
        });
        let is_right = match &serve.content {
            Content::Nothing => {
                let expected = format!("bytes */{length}");
                joined.is_empty() && status == 416 && place == Some(&*expected)
            }
            Content::Part { start, end } => {
                let expected = format!("bytes {start}-{}/{length}", end - 1);
                let is_it = joined == [(*start, end - 1)] && told == end - start;
                is_it && status == 206 && place == Some(&*expected)
            }
            Content::Parts(pieces) => {
                several.set(several.get() + 1);
                let mut sent = 0;
                let mut parts = Vec::new();
                for piece in pieces {
                    match piece {
                        Piece::Text(text) => sent += text.len() as u64,
                        Piece::Body(range) => {
                            sent += range.end - range.start;
                            parts.push((range.start, range.end - 1));
                        }
                    }
                }
                let asked_at = |(first, last): &(u64, u64)| {
                    asked.iter().position(|(from, to)| first <= from && to <= last)
                };
                let is_in_order = parts.is_sorted_by_key(asked_at);
                parts.sort_unstable();
                let is_it = parts == joined && is_in_order && (2..=16).contains(&parts.len());
                is_it && sent == told && sent < length && status == 206 && place.is_none()
            }
            Content::Whole => {
                wholes.set(wholes.get() + 1);
                // What a part costs beside its bytes is less than 200.
                let content: u64 = joined.iter().map(|(first, last)| last - first + 201).sum();
                let is_too_much = joined.len() > 1 && (asked.len() > 16 || content + 200 > length);
                is_too_much && status == 200
            }
        };
        if is_right { Ok(()) } else { problem(&format!("{status} {place:?} {:?}", serve.content)) }
    });
    assert!(several.get() * 100 > cases && wholes.get() * 100 > cases, "{several:?} {wholes:?}");
}

/// What a client gets of a miss that has fetched all, `length` bytes, and what is stored of it.
fn cut(
    policy: &Policy,
    request: &HeaderMap,
    length: u64,
) -> Option<(response::Parts, Content, StoredResponse)> {
    let mut parts = get(request);
    let Begin::Lookup(lookup) = policy.begin(&parts, &SizeHint::with_exact(0)) else { return None };
    let Decision::Forward(fetch) = lookup.decide(&mut parts, Stored::Nothing, at(0)) else {
        return None;
    };
    let is_asked = |name| parts.headers.contains_key(name);
    if is_asked(header::RANGE) || is_asked(header::IF_RANGE) {
        return None;
    }
    let (mut head, ()) = Response::new(()).into_parts();
    let lines =
        [("cache-control", "max-age=60"), ("content-type", "text/plain"), ("etag", "\"1\"")];
    head.headers = fields(&lines);
    let (size, secret) = (SizeHint::with_exact(length), Secret::from_bytes([3; 32]));
    let Outcome::Store(store) = fetch.on_response(&mut head, &size, at(0), 0, &secret) else {
        return None;
    };
    let (head, content) = store.cut(head);
    Some((head, content, StoredResponse::new(store.into_parts().1, length)))
}

/// RFC 9110 §13.1.5, §14.2: who has asked for one range gets of what comes what the next one gets of
/// what is stored, and of several the whole.
/// Feature whole-for-range.
#[test]
fn a_range_is_cut_from_what_comes_as_from_what_is_stored() {
    let policy = Policy::shared().whole_for_range(true);
    let parts = Cell::new(0_u64);
    let cases = run("LARDER_CASES", 20_000, |tape| {
        let length = [0, 1, 40, 4000, 1 << 20][tape.below(5)];
        let count = if tape.once_in(6) { 2 } else { 1 };
        let specs: Vec<_> = (0..count).map(|_| spec(tape, length)).collect();
        let written: Vec<&str> = specs.iter().map(|(text, _)| &**text).collect();
        let value = format!("bytes={}", written.join(","));
        let mut request = HeaderMap::new();
        request.insert(header::RANGE, HeaderValue::from_str(&value).unwrap());
        if let Some(tag) = [None, Some("\"1\""), Some("\"2\""), Some("W/\"1\"")][tape.below(4)] {
            request.insert(header::IF_RANGE, HeaderValue::from_static(tag));
        }
        let problem = |what: &str| Err(format!("{what}: {request:?} of {length}"));

        let cut = cut(&policy, &request, length);
        if specs.iter().any(|(_, spec)| spec.is_err()) {
            return if cut.is_none() { Ok(()) } else { problem("no range") };
        }
        let Some((head, content, stored)) = cut else { return problem("not stored") };
        let place = head.headers.get(header::CONTENT_RANGE);
        if count > 1 {
            let is_whole = head.status == 200 && place.is_none() && content == Content::Whole;
            return if is_whole { Ok(()) } else { problem("not the whole") };
        }
        let Some(Decision::Serve(serve)) = decided(&policy, &request, &stored, 0) else {
            return problem("not served");
        };
        let later = &serve.head;
        let is_same = (head.status, &content) == (later.status, &serve.content)
            && place == later.headers.get(header::CONTENT_RANGE)
            && (content == Content::Whole
                || head.headers[header::CONTENT_LENGTH] == later.headers[header::CONTENT_LENGTH]);
        parts.set(parts.get() + u64::from(head.status == 206));
        if is_same { Ok(()) } else { problem(&format!("{head:?} {content:?} not {later:?}")) }
    });
    assert!(parts.get() * 10 > cases, "{parts:?}");
}
