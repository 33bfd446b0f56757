//! Parts of a representation: which are kept, and how they become larger ones (RFC 9111 §3.3, §3.4).

use std::ops::Range;

use http::{HeaderMap, HeaderName, StatusCode, header, response};
use http_body::SizeHint;

use super::{
    CacheStatus, Cached, ContentRange, Joint, Reason, Rule, Store, StoredHead, StoredResponse,
    about::Candidate,
    etag::EntityTag,
    explain, fields,
    head::Asked,
    length::length_of,
    mode::RedirectedInside,
    range,
    secret::Secret,
    storing::{self, Storable},
    validation::Asking,
};

/// What a 206 comes to.
pub(super) struct Part {
    pub(super) fields: HeaderMap,
    pub(super) storable: Result<Storable, Reason>,
    /// What is stored of the representation.
    range: ContentRange,
    joint: Option<Joint>,
}

impl Asking {
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
            (explain::show(&head.headers, &COMBINED_BY), told)
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
        if self.lookup.ranges.is_none() || self.is_for_whole {
            return Err(Reason::Partial); // which nobody has asked for
        }
        let range = self.single_part(head, size)?;
        if let Some(known) = self.known() {
            let stored = known.response.head();
            let is_same = is_of(stored, head);
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
        let received = self.received(head, asked, cached);
        let storable = self.judge(storing::Received { headers: &fields, ..received }, &range);
        Ok(Part { fields, storable, range, joint: None })
    }

    /// A stored part under the fields of a newer one, as both together are stored (RFC 9111 §3.4).
    pub(super) fn renewed(
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
        let received = storing::Received {
            headers: &fields,
            tags: Some(&known.response.head().labels().own),
            ..self.received(head, asked, handler)
        };
        let storable = self.judge(received, &union);
        Part { fields, storable, range: union, joint: Some(joint) }
    }

    /// Whether a 206 may be stored as this range: as what it is, and as what it is stored as. All of a
    /// representation is a complete response, however it came (RFC 9110 §15.3.7.3).
    fn judge(
        &self,
        received: storing::Received<'_>,
        range: &ContentRange,
    ) -> Result<Storable, Reason> {
        let part = storing::Received { part: Some(*range), ..received };
        let storable = storing::evaluate(self.policy(), &part)?;
        if !range.is_whole() {
            return Ok(storable);
        }
        let whole = storing::Received { status: StatusCode::OK, part: None, ..received };
        storing::evaluate(self.policy(), &whole)
    }

    /// What of the representation a 206 has, if it is one part and says so.
    pub(super) fn single_part(
        &self,
        head: &response::Parts,
        size: &SizeHint,
    ) -> Result<ContentRange, Reason> {
        let range = ContentRange::of(&head.headers).ok_or(Reason::Partial)?;
        if is_multipart(&head.headers) {
            return Err(Reason::Partial);
        }
        match length_of(&head.headers, size)? {
            Some(length) if length != range.length() => Err(Reason::ContentLength),
            _ => Ok(range),
        }
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

pub(super) const COMBINED_BY: [HeaderName; 2] = [header::CONTENT_RANGE, header::ETAG];

pub(super) fn response_range(response: &StoredResponse) -> Range<u64> {
    match response.head().content_range() {
        Some(part) => part.range(),
        None => 0..response.length(),
    }
}

/// Whether a part that has come is of the stored representation, and may be put beside what is stored.
pub(super) fn is_of(stored: &StoredHead, part: &response::Parts) -> bool {
    let is_fit = part.extensions.get::<RedirectedInside>().is_none()
        && !storing::nominates_rules(&part.headers);
    is_fit
        && has_same_strong_tag(stored, &part.headers)
        && is_of_one_coding(stored.headers(), &part.headers)
}

/// There are origins that compress and leave the tag as it was (RFC 9110 §8.8.3.3). A part that was
/// asked for by `If-Range` need not name its coding.
fn is_of_one_coding(stored: &HeaderMap, part: &HeaderMap) -> bool {
    let codings = |headers| fields::list(headers, &header::CONTENT_ENCODING);
    !part.contains_key(header::CONTENT_ENCODING)
        || codings(stored)
            .map(<[u8]>::to_ascii_lowercase)
            .eq(codings(part).map(<[u8]>::to_ascii_lowercase))
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
