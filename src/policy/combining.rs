//! Parts of a representation: which are kept, what they answer, and how they become more
//! (RFC 9111 §3.3, §3.4).

use std::ops::Range;

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header, request, response};
use http_body::SizeHint;

use super::{
    CacheStatus, Cached, ContentRange, Lookup, Outcome, Reason, Rule, Store, StoredHead,
    StoredResponse,
    age::Timestamp,
    content_range::Extent,
    etag::EntityTag,
    head::Asked,
    range,
    reuse::{About, Candidate, Chosen, Use},
    storing::{self, Storable},
    validation::{Asking, RedirectedInside, length_of},
    variants::Secret,
};

/// A stored part, and what came beside it: one body (RFC 9111 §3.4).
///
/// All ranges are of the stored body. The client gets [`first`](Self::first), what came, and
/// [`last`](Self::last); the store gets [`before`](Self::before), what the client gets, and
/// [`after`](Self::after).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Joint {
    index: usize,
    before: Range<u64>,
    first: Range<u64>,
    fetched: u64,
    last: Range<u64>,
    after: Range<u64>,
}

impl Joint {
    /// Which of the stored responses it is.
    pub fn index(&self) -> usize {
        self.index
    }

    /// What is stored before what the client gets.
    pub fn before(&self) -> Range<u64> {
        self.before.clone()
    }

    /// What the client gets before what came.
    pub fn first(&self) -> Range<u64> {
        self.first.clone()
    }

    /// How many bytes must come: more or less, and nothing of it is right.
    pub fn fetched(&self) -> u64 {
        self.fetched
    }

    /// What the client gets after what came.
    pub fn last(&self) -> Range<u64> {
        self.last.clone()
    }

    /// What is stored after what the client gets.
    pub fn after(&self) -> Range<u64> {
        self.after.clone()
    }

    /// Of `stored`, beside what came of it at `fetched`, where the client is to get `wanted`.
    fn of(index: usize, stored: Range<u64>, fetched: &Range<u64>, wanted: &Range<u64>) -> Self {
        let place = |start: u64, end: u64| {
            let (start, end) = (start.max(stored.start), end.min(stored.end));
            if start < end { start - stored.start..end - stored.start } else { 0..0 }
        };
        Self {
            index,
            before: place(stored.start, wanted.start),
            first: place(wanted.start, fetched.start),
            fetched: fetched.end - fetched.start,
            last: place(fetched.end, wanted.end),
            after: place(wanted.end, stored.end),
        }
    }

    /// Whether it is worth it to store the stored bytes once more that nobody reads: as long as they
    /// are few, or not many more than what came.
    fn is_cheap(&self, wanted: u64) -> bool {
        const FEW: u64 = 16 << 20;
        const TIMES: u64 = 8;
        let length = |range: &Range<u64>| range.end - range.start;
        let copied = length(&self.before) + length(&self.after);
        copied <= FEW || copied / TIMES <= wanted
    }
}

/// A stored part that does not have all that is asked for.
#[derive(Debug)]
pub(super) struct Base {
    pub(super) candidate: Candidate,
    /// What to ask for, if that completes it.
    pub(super) gap: Option<Gap>,
}

/// What is missing of what is asked for.
#[derive(Clone, Debug)]
pub(super) struct Gap {
    missing: Range<u64>,
    wanted: Range<u64>,
    /// The client wants all, and knows nothing of ranges.
    is_whole: bool,
}

impl Gap {
    /// What of `wanted` lies on one side of what is stored. A hole on either side is not filled: what
    /// is asked for then comes as a whole.
    fn of(stored: &ContentRange, wanted: Range<u64>, is_whole: bool) -> Option<Self> {
        let stored = stored.range();
        let starts_inside = stored.start <= wanted.start && wanted.start < stored.end;
        let ends_inside = stored.start < wanted.end && wanted.end <= stored.end;
        let missing = match (starts_inside, ends_inside) {
            (true, false) => stored.end..wanted.end,
            (false, true) => wanted.start..stored.start,
            _ => return None,
        };
        Some(Self { missing, wanted, is_whole })
    }
}

impl Lookup<'_> {
    /// Whether a stored response has all that is asked for: it is complete, or "the request is partial
    /// and specifies a range wholly within" (RFC 9111 §3.3).
    pub(super) fn is_there(
        &self,
        request: &HeaderMap,
        response: &StoredResponse,
        now: Timestamp,
    ) -> bool {
        let Some(part) = response.head().content_range() else { return true };
        let Some(ranges) = self.ranges.as_ref().filter(|_| !self.is_head) else { return false };
        ranges.within(part).is_some()
            && range::is_wanted_of(request, response.head().headers(), now.wall())
    }

    /// What a stored part is good for that does not have all that is asked for.
    pub(super) fn beyond<'a>(
        &self,
        request: &HeaderMap,
        (index, response): (usize, &'a StoredResponse),
        now: Timestamp,
    ) -> Option<Chosen<'a>> {
        let facts = self.facts_of(response)?.into_owned();
        let candidate = Candidate::unasked(index, response.clone(), facts, now);
        let (age, resident) = candidate.times(now);
        let reason = match self.may_use(&candidate.facts, age, resident) {
            Ok(Use::AsItIs) => Reason::Partial,
            Ok(Use::Refreshing) => Reason::Stale,
            Err(reason) => reason,
        };
        // An origin that has promised nothing may have something else by now, and there are those that
        // send a part of it whatever `If-Range` says.
        let gap = match reason {
            Reason::Partial => self.gap(request, response.head(), now),
            _ => None,
        };
        self.policy.rules.trail.note(Rule::Partial, || {
            let stored = response.head().content_range().map(|part| part.to_string());
            let told = match &gap {
                Some(Gap { missing, .. }) => {
                    format!("bytes {}-{} are missing", missing.start, missing.end - 1)
                }
                None => "not what is asked for".to_owned(),
            };
            (stored.unwrap_or_default(), told)
        });
        let about = About::Part(Box::new(Base { candidate, gap }));
        Some(Chosen::Ask { reason, about })
    }

    /// What to ask for to complete a part (RFC 9111 §3.3): by a strong tag alone, and for one range.
    fn gap(&self, request: &HeaderMap, stored: &StoredHead, now: Timestamp) -> Option<Gap> {
        let part = stored.content_range()?;
        let complete = part.complete_length()?;
        let is_for_us = !self.is_head && !self.is_conditional;
        if !is_for_us || strong_tag(stored.headers()).is_none() {
            return None;
        }
        match &self.ranges {
            None => Gap::of(&part, 0..complete, true),
            Some(ranges) if range::is_wanted_of(request, stored.headers(), now.wall()) => {
                Gap::of(&part, ranges.single(complete)?, false)
            }
            Some(_) => None,
        }
    }
}

/// Asks for what is missing, if it is still of the same representation (RFC 9110 §13.1.5).
pub(super) fn ask_for_the_rest(request: &mut request::Parts, base: &Base) {
    let Some(Gap { missing, .. }) = &base.gap else { return };
    let tag = base.candidate.response.head().headers().get(header::ETAG);
    let range = format!("bytes={}-{}", missing.start, missing.end - 1);
    if let (Ok(range), Some(tag)) = (HeaderValue::from_str(&range), tag) {
        request.headers.insert(header::RANGE, range);
        request.headers.insert(header::IF_RANGE, tag.clone());
    }
}

/// What a 206 comes to.
struct Part {
    fields: HeaderMap,
    storable: Result<Storable, Reason>,
    /// What is stored of the representation.
    range: ContentRange,
    joint: Option<Joint>,
}

impl Asking {
    /// What a response is where a part was to be completed. `None`: it is to be looked at as any other.
    pub(super) fn complete(
        &self,
        base: &Base,
        head: &mut response::Parts,
        size: &SizeHint,
        asked: Asked,
        cached: Option<&Cached>,
        secret: &Secret,
    ) -> Option<Outcome> {
        let Gap { missing, wanted, is_whole } = base.gap.as_ref()?;
        let status = CacheStatus::forwarded(self.reason);
        if !matches!(head.status, StatusCode::PARTIAL_CONTENT | StatusCode::RANGE_NOT_SATISFIABLE) {
            return None;
        }
        let Candidate { index, response, .. } = &base.candidate;
        let is_same = is_fit(head) && has_same_strong_tag(response.head(), &head.headers);
        let part = self.single_part(head, size).ok().filter(|part| part.range() == *missing);
        let union = part.zip(response.head().content_range());
        let union = union.and_then(|(part, stored)| stored.union(&part)).filter(|_| is_same);
        self.policy().trail.note(Rule::Combining, || {
            let told = match &union {
                Some(union) => format!("makes {union}"),
                None => "not what was asked for".to_owned(),
            };
            (super::explain::show(&head.headers, &COMBINED_BY), told)
        });
        let Some(union) = union else {
            let unfit = if is_same { Reason::Partial } else { Reason::ValidatorMismatch };
            let (drop, detailed) = (Some(*index), status.detailed(unfit));
            return match () {
                // The client knows nothing of parts, and the request cannot be made again.
                () if *is_whole => {
                    let status = detailed.answered(head.status);
                    Some(Outcome::BadGateway { drop, status })
                }
                () if is_same && head.status == StatusCode::PARTIAL_CONTENT => None,
                () => Some(Outcome::Pass { drop, status: detailed }),
            };
        };
        let joint = Joint::of(*index, response_range(response), missing, wanted);
        let part = self.renewed(&base.candidate, head, union, joint.clone(), asked, cached);
        let length = wanted.end - wanted.start;
        let status = match is_whole {
            true => status.answered(head.status),
            false => status,
        };
        let age = head.headers.get(header::AGE).cloned();
        head.headers = storing::sendable(&part.fields);
        if let Some(age) = age {
            head.headers.insert(header::AGE, age);
        }
        if *is_whole {
            head.status = StatusCode::OK;
            head.headers.insert(header::CONTENT_LENGTH, length.into());
        } else {
            range::set_fields(&mut head.headers, wanted, Extent::Part(union));
        }
        Some(match part.storable {
            Err(reason) => Outcome::Complete { joint, status: status.detailed(reason) },
            Ok(_) if !joint.is_cheap(length) => {
                Outcome::Complete { joint, status: status.detailed(Reason::Partial) }
            }
            Ok(storable) => {
                let placed = self.placed(storable, secret);
                Outcome::Store(placed.of_part(&union, Some(length), Some(joint), status))
            }
        })
    }

    /// How one part of a representation is stored, or why it is not.
    pub(super) fn store_part(
        &self,
        head: &mut response::Parts,
        size: &SizeHint,
        asked: Asked,
        cached: Option<&Cached>,
        secret: &Secret,
    ) -> Result<Store, Reason> {
        let part = self.part(head, size, asked, cached);
        self.policy().trail.note(Rule::Combining, || {
            let told = match &part {
                Ok(Part { joint: Some(_), range, .. }) => format!("makes {range}"),
                Ok(Part { range, .. }) => format!("{range} by itself"),
                Err(reason) => format!("not stored: {reason}"),
            };
            (super::explain::show(&head.headers, &COMBINED_BY), told)
        });
        let Part { storable, range, joint, .. } = part?;
        let length = length_of(&head.headers, size)?;
        let placed = self.placed(storable?, secret);
        let status = CacheStatus::forwarded(self.reason);
        Ok(placed.of_part(&range, length, joint, status))
    }

    fn part(
        &self,
        head: &response::Parts,
        size: &SizeHint,
        asked: Asked,
        cached: Option<&Cached>,
    ) -> Result<Part, Reason> {
        if self.lookup.ranges.is_none() {
            return Err(Reason::Partial); // which nobody has asked for
        }
        let range = self.single_part(head, size)?;
        if let Some(known) = self.known() {
            let stored = known.response.head();
            let is_same = is_fit(head) && has_same_strong_tag(stored, &head.headers);
            match stored.content_range() {
                Some(before) if is_same => {
                    let joint = || {
                        let (own, came) = (response_range(&known.response), range.range());
                        Joint::of(known.index, own, &came, &came)
                    };
                    let union = before.union(&range).map(|union| (union, joint()));
                    if let Some((union, joint)) = union
                        && joint.is_cheap(range.length())
                    {
                        return Ok(self.renewed(known, head, union, joint, asked, cached));
                    }
                    if before.length() > range.length() {
                        return Err(Reason::Partial); // of two that lie apart the larger stays
                    }
                }
                Some(_) => {}
                None if !is_another(stored, &head.headers) => return Err(Reason::Partial),
                None => {}
            }
        }
        let is_asked_in_short =
            self.request.contains_key(header::IF_RANGE) || self.is_asked_for_the_rest();
        if is_asked_in_short {
            // It need not have the fields that the client knows already (RFC 9110 §15.3.7).
            return Err(Reason::Partial);
        }
        let mut fields = head.headers.clone();
        OF_THE_PART.iter().for_each(|name| drop(fields.remove(name)));
        let (status, part) = stored_as(&range);
        let received = self.received(head, asked, cached);
        let received = storing::Received { status, headers: &fields, part, ..received };
        let storable = storing::evaluate(self.policy(), &received);
        Ok(Part { fields, storable, range, joint: None })
    }

    /// A stored part under the fields of a newer one, as both together are stored (RFC 9111 §3.4).
    fn renewed(
        &self,
        known: &Candidate,
        head: &response::Parts,
        union: ContentRange,
        joint: Joint,
        asked: Asked,
        cached: Option<&Cached>,
    ) -> Part {
        let (mut fields, handler, asked) = self.merged(known, head, asked, cached);
        OF_THE_PART.iter().for_each(|name| drop(fields.remove(name)));
        let (status, part) = stored_as(&union);
        let received = storing::Received {
            status,
            headers: &fields,
            part,
            tags: Some(&known.response.head().labels().own),
            ..self.received(head, asked, handler)
        };
        let storable = storing::evaluate(self.policy(), &received);
        Part { fields, storable, range: union, joint: Some(joint) }
    }

    /// What of the representation a 206 has, if it is one part and says so.
    fn single_part(&self, head: &response::Parts, size: &SizeHint) -> Result<ContentRange, Reason> {
        let range = ContentRange::of(&head.headers).ok_or(Reason::Partial)?;
        if is_multipart(&head.headers) {
            return Err(Reason::Partial);
        }
        match length_of(&head.headers, size)? {
            Some(length) if length != range.length() => Err(Reason::ContentLength),
            _ => Ok(range),
        }
    }

    fn is_asked_for_the_rest(&self) -> bool {
        matches!(&self.about, About::Part(base) if base.gap.is_some())
    }
}

impl StoredHead {
    /// Whether this, where it is stored, makes room for a part that has come: the larger of two parts
    /// stays, and a complete response for all that is not known to be newer.
    pub(crate) fn yields_to(&self, part: &StoredHead) -> bool {
        let is_newer = self.asked().received.wall() <= part.asked().requested.wall();
        let is_same = has_same_strong_tag(self, part.headers());
        match (self.content_range(), part.content_range()) {
            (_, None) => true,
            (Some(own), Some(part)) if is_same => own.length() <= part.length(),
            (Some(_), Some(_)) => true,
            (None, Some(_)) => is_newer && is_another(self, part.headers()),
        }
    }
}

/// What is of a part, and not of the representation.
const OF_THE_PART: [HeaderName; 3] =
    [header::CONTENT_RANGE, header::CONTENT_LENGTH, range::CONTENT_DIGEST];

const COMBINED_BY: [HeaderName; 2] = [header::CONTENT_RANGE, header::ETAG];

/// All of a representation is a complete response, however it came (RFC 9110 §15.3.7.3).
fn stored_as(range: &ContentRange) -> (StatusCode, Option<ContentRange>) {
    match range.is_whole() {
        true => (StatusCode::OK, None),
        false => (StatusCode::PARTIAL_CONTENT, Some(*range)),
    }
}

fn response_range(response: &StoredResponse) -> Range<u64> {
    match response.head().content_range() {
        Some(part) => part.range(),
        None => 0..response.length(),
    }
}

fn is_fit(head: &response::Parts) -> bool {
    head.extensions.get::<RedirectedInside>().is_none() && !storing::nominates_rules(&head.headers)
}

fn is_multipart(headers: &HeaderMap) -> bool {
    const MULTIPART: &[u8] = b"multipart/byteranges";
    headers.get_all(header::CONTENT_TYPE).iter().any(|value| {
        let start = value.as_bytes().get(..MULTIPART.len());
        start.is_some_and(|start| start.eq_ignore_ascii_case(MULTIPART))
    })
}

/// The one strong tag of a response.
pub(super) fn strong_tag(headers: &HeaderMap) -> Option<EntityTag<'_>> {
    let mut lines = headers.get_all(header::ETAG).iter();
    let (line, None) = (lines.next()?, lines.next()) else { return None };
    EntityTag::parse(line.as_bytes()).filter(|tag| !tag.is_weak())
}

/// Whether both are of one representation for sure (RFC 9110 §8.8.1).
pub(super) fn has_same_strong_tag(stored: &StoredHead, headers: &HeaderMap) -> bool {
    let tags = strong_tag(stored.headers()).zip(strong_tag(headers));
    tags.is_some_and(|(ours, theirs)| ours.strong_eq(&theirs))
}

/// Whether both are of two representations for sure.
fn is_another(stored: &StoredHead, headers: &HeaderMap) -> bool {
    let tags = strong_tag(stored.headers()).zip(strong_tag(headers));
    tags.is_some_and(|(ours, theirs)| !ours.strong_eq(&theirs))
}
