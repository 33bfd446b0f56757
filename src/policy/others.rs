//! Variants that a request does not select, and what they are still good for (RFC 9111 §4.1, §4.3.1).

use http::{HeaderMap, HeaderValue, header};

use super::{
    CacheMode, Lookup, StoredResponse,
    about::Candidate,
    age::Timestamp,
    chosen::Chosen,
    etag::EntityTag,
    fields,
    normal::{self, Languages},
    variants::NameSet,
};

impl Lookup<'_> {
    /// What of the other variants may be used as it is: one in the language that the request rates
    /// best, where languages are normalised.
    pub(super) fn choose_other(
        &self,
        request: &HeaderMap,
        others: &[StoredResponse],
        now: Timestamp,
    ) -> Option<Chosen> {
        if self.policy.rules.forms.languages != Languages::ByWeight {
            return None;
        }
        let best = normal::best_language(request)?;
        let speaks = |response: &StoredResponse| {
            if response.head().content_range().is_some() {
                return false;
            }
            let headers = response.head().headers();
            let mut languages = fields::list(headers, &header::CONTENT_LANGUAGE);
            let is_one = languages.next().is_some_and(|own| own.eq_ignore_ascii_case(&best));
            is_one && languages.next().is_none() && varies_by_language(headers)
        };
        let spoken = others.iter().enumerate().filter(|(_, response)| speaks(response));
        self.choose_best(request, spoken, now)
    }

    /// Those that the origin may be asked about: with a strong tag that no other of them has, in a
    /// coding that the request takes. A client with a condition of its own keeps it.
    pub(super) fn askable(
        &self,
        request: &HeaderMap,
        others: &[StoredResponse],
        now: Timestamp,
    ) -> Vec<Candidate> {
        if self.is_conditional || self.is_head || self.mode == CacheMode::Reload {
            return Vec::new();
        }
        let is_single = |tag: &EntityTag<'_>| {
            let tags = others.iter().filter_map(|other| tag_of(other.head().headers()));
            tags.filter(|other| other.weak_eq(tag)).count() == 1
        };
        let takes = |headers: &HeaderMap| {
            fields::list(headers, &header::CONTENT_ENCODING)
                .all(|coding| normal::accepts_coding(request, coding))
        };
        let asked = others.iter().enumerate().filter_map(|(index, response)| {
            let headers = response.head().headers();
            let tag = tag_of(headers).filter(|tag| !tag.is_weak())?;
            let is_part = response.head().content_range().is_some();
            if is_part || !is_single(&tag) || !takes(headers) {
                return None;
            }
            let facts = self.facts_of(response)?.into_owned();
            Some(Candidate::other(index, response.clone(), facts, now))
        });
        asked.collect()
    }
}

fn varies_by_language(headers: &HeaderMap) -> bool {
    NameSet::of(headers, &[])
        .is_ok_and(|names| names.iter().any(|name| *name == header::ACCEPT_LANGUAGE))
}

fn tag_of(headers: &HeaderMap) -> Option<EntityTag<'_>> {
    EntityTag::parse(headers.get(header::ETAG)?.as_bytes())
}

/// Asks which of these is still good (RFC 9110 §13.1.2).
pub(super) fn set_conditions(request: &mut HeaderMap, others: &[Candidate]) {
    let tags = others.iter().filter_map(|other| other.response.head().headers().get(header::ETAG));
    let tags: Vec<&[u8]> = tags.map(HeaderValue::as_bytes).collect();
    if let Ok(list) = HeaderValue::from_bytes(&tags.join(&b", "[..]))
        && !tags.is_empty()
    {
        request.insert(header::IF_NONE_MATCH, list);
    }
}

/// Which of those that were asked about a 304 has selected (RFC 9111 §4.3.4).
pub(super) enum Selection<'a> {
    One(&'a Candidate),
    /// It does not say which. The most recent one is good for this request, and nothing is known
    /// of the next.
    Unsaid(&'a Candidate),
}

pub(super) fn selected<'a>(
    not_modified: &HeaderMap,
    others: &'a [Candidate],
) -> Option<Selection<'a>> {
    let newest = others.iter().max_by_key(|other| other.facts.date)?;
    if others.len() == 1 && !not_modified.contains_key(header::ETAG) {
        return Some(Selection::One(newest));
    }
    let theirs = tag_of(not_modified);
    let is_named = |other: &&Candidate| {
        let own = tag_of(other.response.head().headers());
        matches!((theirs, own), (Some(theirs), Some(own)) if theirs.weak_eq(&own))
    };
    Some(others.iter().find(is_named).map_or(Selection::Unsaid(newest), Selection::One))
}
