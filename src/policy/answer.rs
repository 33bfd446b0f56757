//! The head of an answer that is made of a stored response.

use std::{borrow::Cow, ops::Range, time::Duration};

use http::{HeaderMap, Response, StatusCode, header, response};

use super::{
    Lookup, Rule, StoredHead,
    age::Timestamp,
    content_range::Extent,
    downstream, explain,
    multipart::{self, Piece},
    options::Rules,
    precondition,
    range::{self, Part},
    usual,
};

/// What of a stored body is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// All of it.
    Whole,
    /// From one byte up to another of those that are stored: the answer to a range request
    /// (RFC 9110 §14.2).
    Part {
        /// The first byte.
        start: u64,
        /// The one behind the last.
        end: u64,
    },
    /// These pieces, one after the other: the answer to a request for several ranges, at most 16 of
    /// them (RFC 9110 §15.3.7.2).
    Parts(Box<[Piece]>),
    /// Nothing: the answer to a HEAD request, a 304, or a 416.
    Nothing,
}

/// The answers that nearly all are.
#[derive(Clone, Copy)]
pub(crate) enum Usual {
    /// All of what is stored.
    Whole,
    /// A 304.
    NotModified,
}

impl Lookup<'_> {
    /// The head of an answer made of a stored response that may be used as it is.
    #[inline]
    pub(super) fn answer(
        &self,
        request: &HeaderMap,
        stored: &StoredHead,
        extent: Option<Extent>,
        age: Duration,
        now: Timestamp,
    ) -> (response::Parts, Content) {
        // Who has conditions looks at them first, and may get few of them.
        let fields = match self.is_conditional || self.ranges.is_some() {
            true => Cow::Borrowed(stored.headers()),
            false => Cow::Owned(stored.fields()),
        };
        let withheld = &stored.facts().withheld;
        answer(self, request, stored.status(), fields, extent, age, now, withheld)
    }

    /// Whether the answer is one of the two that nearly all are; and which.
    #[inline]
    pub(crate) fn usual(
        &self,
        request: &HeaderMap,
        stored: &StoredHead,
        now: Timestamp,
    ) -> Option<Usual> {
        let is_part = self.ranges.is_some() || stored.content_range().is_some();
        if self.is_head || is_part || !stored.facts().withheld.is_empty() {
            return None;
        }
        let is_not_modified = self.is_conditional
            && precondition::is_not_modified(
                request,
                stored.status(),
                stored.headers(),
                now.wall(),
            );
        Some(if is_not_modified { Usual::NotModified } else { Usual::Whole })
    }

    /// The fields of that answer, with a slot for `Cache-Status` if the client is told, and nothing else
    /// comes before that.
    #[inline]
    pub(crate) fn usual_fields(
        &self,
        usual: Usual,
        stored: &StoredHead,
        age: Duration,
        is_told: bool,
    ) -> HeaderMap {
        let is_rewritten = self.policy.rules.downstream.has_changes() || self.is_partitioned();
        let mut headers = match usual {
            Usual::Whole if is_told && !is_rewritten => stored.told_fields(),
            Usual::Whole => stored.fields(),
            Usual::NotModified => stored.not_modified_fields(),
        };
        self.rewrite(&mut headers);
        set_age(&mut headers, age);
        headers
    }

    /// What the client sees of a response that is stored, or comes from the store.
    #[inline]
    pub(super) fn rewrite(&self, headers: &mut HeaderMap) {
        let rules = &*self.policy.rules;
        if rules.downstream.has_changes() {
            rules.downstream.rewrite(headers);
        }
        if self.is_partitioned() {
            downstream::make_private(headers, &rules.storing.targets);
        }
    }

    /// What the client sees of a response that was not kept.
    pub(super) fn rewrite_unkept(&self, headers: &mut HeaderMap) {
        self.policy.rules.rewrite_unkept(self.is_partitioned(), headers);
    }
}

impl Rules {
    pub(super) fn rewrite_unkept(&self, is_partitioned: bool, headers: &mut HeaderMap) {
        self.downstream.rewrite_unkept(headers);
        if is_partitioned {
            downstream::make_private(headers, &self.storing.targets);
        }
    }
}

/// The head of an answer made of a stored response with these bytes, the client's own conditions
/// heard, in the order of RFC 9110 §13.2.2.
#[expect(clippy::too_many_arguments, reason = "each is a fact of its own, and two callers differ")]
pub(super) fn answer(
    lookup: &Lookup<'_>,
    request: &HeaderMap,
    status: StatusCode,
    stored: Cow<'_, HeaderMap>,
    extent: Option<Extent>,
    age: Duration,
    now: Timestamp,
    withheld: &[header::HeaderName],
) -> (response::Parts, Content) {
    let (mut head, ()) = Response::new(()).into_parts();
    let is_not_modified = lookup.is_conditional
        && precondition::is_not_modified(request, status, &stored, now.wall());
    let wanted = match (&lookup.ranges, extent) {
        _ if is_not_modified => None,
        (Some(ranges), Some(extent @ Extent::Whole(length)))
            if status == StatusCode::OK && range::is_wanted_of(request, &stored, now.wall()) =>
        {
            Some((ranges.of(length), extent))
        }
        // It was chosen since it has them. Whatever else may be meant, a part never looks whole.
        (ranges, Some(extent @ Extent::Part(part))) => {
            let wanted = ranges.as_ref().and_then(|ranges| ranges.within(part));
            Some((wanted.unwrap_or(Part::One(part.range())), extent))
        }
        _ => None,
    };
    if lookup.ranges.is_some() {
        lookup.policy.rules.trail.note(Rule::Range, || {
            let told = match &wanted {
                None => "does not count".to_owned(),
                Some((Part::Nothing, extent)) => format!("nothing of {extent}"),
                Some((Part::One(range), extent)) => extent.show(range),
                Some((Part::Several(parts), extent)) => {
                    format!("{} parts of {extent}", parts.len())
                }
                Some((Part::Whole, _)) => "too many, and so all of it".to_owned(),
            };
            (explain::show(request, &[header::RANGE, header::IF_RANGE]), told)
        });
    }
    head.status = status;
    head.headers = if is_not_modified {
        head.status = StatusCode::NOT_MODIFIED;
        precondition::not_modified_fields(&stored)
    } else {
        stored.into_owned()
    };
    for name in withheld {
        head.headers.remove(name);
    }
    let mut content = match lookup.is_head || is_not_modified {
        true => Content::Nothing,
        false => Content::Whole,
    };
    match wanted {
        None | Some((Part::Whole, _) | (Part::Nothing, Extent::Part(_))) => {}
        Some((Part::Nothing, Extent::Whole(length))) => {
            return (range::not_satisfiable(length, now), Content::Nothing);
        }
        Some((Part::One(range), extent)) => {
            head.status = StatusCode::PARTIAL_CONTENT;
            range::set_fields(&mut head.headers, &range, extent);
            let Range { start, end } = extent.place(range);
            content = Content::Part { start, end };
        }
        Some((Part::Several(parts), extent)) => {
            if let Some(pieces) = multipart::byteranges(&mut head.headers, &parts, extent) {
                head.status = StatusCode::PARTIAL_CONTENT;
                content = Content::Parts(pieces);
            }
        }
    }
    lookup.rewrite(&mut head.headers);
    set_age(&mut head.headers, age);
    (head, content)
}

/// Exactly one `Age`, in its slot (RFC 9111 §5.1).
#[inline]
fn set_age(headers: &mut HeaderMap, age: Duration) {
    const MAX: u64 = 1 << 31; // RFC 9111 §1.2.2
    let value = usual::number(age.as_secs().min(MAX));
    // The slot comes first, so that nothing is searched for.
    match headers.iter_mut().next() {
        Some((name, slot)) if *name == header::AGE => *slot = value,
        _ => drop(headers.insert(header::AGE, value)),
    }
}
