//! The head of an answer that is made of a stored response.

use std::{borrow::Cow, time::Duration};

use http::{HeaderMap, HeaderValue, Response, StatusCode, header, response};

use super::{Lookup, StoredHead, age::Timestamp, downstream, precondition, range};

/// What of a stored body is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// All of it.
    Whole,
    /// From one byte up to another: the answer to a range request (RFC 9110 §14.2).
    Part {
        /// The first byte.
        start: u64,
        /// The one behind the last.
        end: u64,
    },
    /// Nothing: the answer to a HEAD request, a 304, or a 416.
    Nothing,
}

impl Lookup<'_> {
    /// The head of an answer made of a stored response that may be used as it is.
    pub(super) fn answer(
        &self,
        request: &HeaderMap,
        stored: &StoredHead,
        length: Option<u64>,
        age: Duration,
        now: Timestamp,
    ) -> (response::Parts, Content) {
        let fields = Cow::Borrowed(stored.headers());
        let withheld = &stored.facts().withheld;
        answer(self, request, stored.status(), fields, length, age, now, withheld)
    }

    /// What the client sees of a response that is stored, or comes from the store.
    pub(super) fn rewrite(&self, headers: &mut HeaderMap) {
        let rules = &*self.policy.rules;
        rules.downstream.rewrite(headers);
        if self.key.partition().is_some() {
            downstream::make_private(headers, &rules.storing.targets);
        }
    }

    /// What the client sees of a response that was not kept.
    pub(super) fn rewrite_unkept(&self, headers: &mut HeaderMap) {
        let rules = &*self.policy.rules;
        rules.downstream.rewrite_unkept(headers);
        if self.key.partition().is_some() {
            downstream::make_private(headers, &rules.storing.targets);
        }
    }
}

/// The head of an answer made of a stored response whose body has `length` bytes, the client's own
/// conditions heard, in the order of RFC 9110 §13.2.2.
#[expect(clippy::too_many_arguments, reason = "each is a fact of its own, and two callers differ")]
pub(super) fn answer(
    lookup: &Lookup<'_>,
    request: &HeaderMap,
    status: StatusCode,
    stored: Cow<'_, HeaderMap>,
    length: Option<u64>,
    age: Duration,
    now: Timestamp,
    withheld: &[header::HeaderName],
) -> (response::Parts, Content) {
    let (mut head, ()) = Response::new(()).into_parts();
    let content;
    if lookup.is_conditional && precondition::is_not_modified(request, status, &stored, now.wall())
    {
        head.status = StatusCode::NOT_MODIFIED;
        head.headers = precondition::not_modified_fields(&stored);
        content = Content::Nothing;
    } else if let Some(range) = lookup.range
        && let Some(length) = length
        && status == StatusCode::OK
        && range::is_wanted_of(request, &stored, now.wall())
    {
        let Some(range) = range.of(length) else {
            return (range::not_satisfiable(length, now), Content::Nothing);
        };
        head.status = StatusCode::PARTIAL_CONTENT;
        head.headers = stored.into_owned();
        range::set_fields(&mut head.headers, &range, length);
        content = Content::Part { start: range.start, end: range.end };
    } else {
        head.status = status;
        head.headers = stored.into_owned();
        content = if lookup.is_head { Content::Nothing } else { Content::Whole };
    }
    for name in withheld {
        head.headers.remove(name);
    }
    lookup.rewrite(&mut head.headers);
    set_age(&mut head.headers, age);
    (head, content)
}

/// Exactly one `Age`, in its slot (RFC 9111 §5.1).
fn set_age(headers: &mut HeaderMap, age: Duration) {
    const MAX: u64 = 1 << 31; // RFC 9111 §1.2.2
    let mut digits = [0; 10];
    let mut rest = age.as_secs().min(MAX);
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    // Digits are always a value; `from_bytes` allocates once where `From<u64>` does twice.
    if let Ok(value) = HeaderValue::from_bytes(&digits[at..]) {
        headers.insert(header::AGE, value);
    }
}
