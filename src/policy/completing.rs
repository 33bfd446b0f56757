//! Parts that do not have all that is asked for, and how the rest is asked for (RFC 9111 §3.3).

use std::ops::Range;

use http::{HeaderMap, HeaderValue, StatusCode, header, response};
use http_body::SizeHint;

use super::{
    CacheStatus, Cached, ContentRange, Joint, Lookup, Outcome, Reason, Rule, StoredHead,
    StoredResponse,
    about::{About, Candidate},
    age::Timestamp,
    chosen::{Chosen, Use},
    combining::{COMBINED_BY, is_of, response_range, strong_tag},
    content_range::Extent,
    explain,
    head::Asked,
    range,
    secret::Secret,
    storing,
    validation::Asking,
};

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
    #[inline]
    pub(super) fn is_there(
        &self,
        request: &HeaderMap,
        response: &StoredResponse,
        now: Timestamp,
    ) -> bool {
        let head = response.head();
        head.content_range().is_none_or(|part| self.is_within(request, part, head, now))
    }

    fn is_within(
        &self,
        request: &HeaderMap,
        part: ContentRange,
        stored: &StoredHead,
        now: Timestamp,
    ) -> bool {
        let Some(ranges) = self.ranges.as_ref().filter(|_| !self.is_head) else { return false };
        ranges.within(part).is_some() && range::is_wanted_of(request, stored.headers(), now.wall())
    }

    /// What a stored part is good for that does not have all that is asked for.
    pub(super) fn beyond(
        &self,
        request: &HeaderMap,
        (index, response): (usize, &StoredResponse),
        now: Timestamp,
    ) -> Option<Chosen> {
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
            Reason::Partial if candidate.is_fresh => self.gap(request, response.head(), now),
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
pub(super) fn ask_for_the_rest(request: &mut HeaderMap, base: &Base) {
    let Some(Gap { missing, .. }) = &base.gap else { return };
    let tag = base.candidate.response.head().headers().get(header::ETAG);
    let range = format!("bytes={}-{}", missing.start, missing.end - 1);
    if let (Ok(range), Some(tag)) = (HeaderValue::from_str(&range), tag) {
        request.insert(header::RANGE, range);
        request.insert(header::IF_RANGE, tag.clone());
    }
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
        let is_same = is_of(response.head(), head);
        let part = self.single_part(head, size).ok().filter(|part| part.range() == *missing);
        let union = part.zip(response.head().content_range());
        let union = union.and_then(|(part, stored)| stored.union(&part)).filter(|_| is_same);
        self.policy().trail.note(Rule::Combining, || {
            let told = match &union {
                Some(union) => format!("makes {union}"),
                None => "not what was asked for".to_owned(),
            };
            (explain::show(&head.headers, &COMBINED_BY), told)
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

    /// Whether another range went out than the client's.
    pub(super) fn is_asked_for_the_rest(&self) -> bool {
        matches!(&self.about, About::Part(base) if base.gap.is_some())
    }
}
