use std::{
    borrow::Cow,
    time::{Duration, SystemTime},
};

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header, response};

use super::{
    CacheStatus, Cached, Content, Outcome, Reason, Rule, Scope, Serve, StoredResponse, Update,
    about::Candidate,
    age::{self, Timestamp},
    answer,
    combining::has_same_strong_tag,
    date,
    directives::{Reach, ResponseDirectives},
    etag::EntityTag,
    explain, fields,
    head::Asked,
    index::Placement,
    kept::is_hop_by_hop,
    mode::RedirectedInside,
    others::Selection,
    reuse::seconds,
    secret::Secret,
    storing::{self, Received, Storable},
    tagging::Tagging,
    validation::Asking,
};

/// Where a stored response lies that a 304 is about.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// Where the request looks.
    Own,
    /// At another variant.
    Other,
}

impl Asking {
    /// A 304 to a request that selected nothing by itself (RFC 9111 §4.3.4).
    pub(super) fn select(
        &self,
        selection: Selection<'_>,
        head: &response::Parts,
        asked: Asked,
        cached: Option<&Cached>,
        secret: &Secret,
    ) -> Outcome {
        match selection {
            Selection::One(candidate) => {
                self.freshen(candidate, Place::Other, head, asked, cached, secret)
            }
            Selection::Unsaid(candidate) => {
                let stored = candidate.response.head();
                let resident = asked.received.since(stored.asked().received);
                let age = age::current_age(&candidate.facts, resident);
                let status = CacheStatus::forwarded(self.reason).answered(head.status);
                let status = status.detailed(Reason::ValidatorMismatch);
                let fields = Cow::Borrowed(stored.headers());
                let serve = self.serve(candidate, fields, age, asked.received, status);
                Outcome::Freshen { update: Update::Keep, serve }
            }
        }
    }

    /// RFC 9111 §3.2, §4.3.4.
    pub(super) fn freshen(
        &self,
        candidate: &Candidate,
        place: Place,
        head: &response::Parts,
        asked: Asked,
        cached: Option<&Cached>,
        secret: &Secret,
    ) -> Outcome {
        let stored = candidate.response.head();
        let status = CacheStatus::forwarded(self.reason).answered(head.status);
        let unfit = if head.extensions.get::<RedirectedInside>().is_some() {
            Some(Reason::RedirectedInside)
        } else {
            let received = asked.received.wall();
            let is_it = match stored.content_range() {
                None => selects(&head.headers, stored.headers(), received),
                Some(_) => has_same_strong_tag(stored, &head.headers),
            };
            (!is_it).then_some(Reason::ValidatorMismatch)
        };
        let nominates = storing::nominates_rules(&head.headers);
        let unfit = unfit.or(nominates.then_some(Reason::ConnectionOption));
        self.lookup.policy.rules.trail.note(Rule::Freshening, || {
            let tags = |headers| explain::show(headers, &[header::ETAG]);
            let told = match unfit {
                None => "the stored response is good again".to_owned(),
                Some(reason) => format!("good for this request alone: {reason}"),
            };
            (format!("stored {}, now {}", tags(stored.headers()), tags(&head.headers)), told)
        });
        if let Some(unfit) = unfit {
            // Somebody says that what we have is good, and at the same time that it is of another
            // tag or another URI: good for this request, and for no other.
            let age =
                age::current_age(stored.facts(), asked.received.since(stored.asked().received));
            let fields = Cow::Borrowed(stored.headers());
            let serve = self.serve(candidate, fields, age, asked.received, status.detailed(unfit));
            return Outcome::Freshen { update: Update::Remove, serve };
        }
        let (merged, cached, asked) = self.merged(candidate, head, asked, cached);
        let received = Received {
            key: &self.lookup.key,
            asked,
            status: stored.status(),
            headers: &merged,
            cached,
            tags: Some(&stored.labels().own),
            initial_age: None,
            part: stored.content_range(),
        };
        let evaluated = storing::evaluate(&self.lookup.policy.rules, &received);
        let (update, status, fields, age) = match evaluated {
            Ok(Storable { head, names }) => {
                let facts = head.facts();
                let (age, ttl) =
                    (facts.initial_age, seconds(facts.lifetime) - seconds(facts.initial_age));
                // Under another `Vary` it would be found by requests that it was not made for.
                let is_same_vary =
                    self.lookup.names_in(stored.headers()).is_ok_and(|before| before == names);
                let fields = head.headers().clone();
                let update = if is_same_vary && place == Place::Own {
                    Update::Replace(head)
                } else {
                    let selecting = self.lookup.selecting(&self.request, secret);
                    let placement =
                        Placement::new(self.lookup.key(), &selecting, names, self.bound());
                    if is_same_vary {
                        Update::Copy(placement, head)
                    } else {
                        Update::Move(placement, head)
                    }
                };
                (update, status.stored(ttl), fields, age)
            }
            Err(reason) => {
                let fields = storing::sendable(&merged);
                let received = asked.received.wall();
                let date = date::field(&merged, &header::DATE, received).unwrap_or(received);
                let said = fields::age(&merged);
                let age = age::initial_age(date, said, asked.requested, asked.received);
                let update = match reason {
                    Reason::RequestNoStore | Reason::Authorization => Update::Keep,
                    _ => Update::Remove,
                };
                (update, status.detailed(reason), fields, age)
            }
        };
        let serve = self.serve(candidate, Cow::Owned(fields), age, asked.received, status);
        Outcome::Freshen { update, serve }
    }

    /// A stored response under the fields of a newer answer about it (RFC 9111 §3.2), and what the rules
    /// look at beside them.
    pub(super) fn merged<'a>(
        &self,
        candidate: &'a Candidate,
        head: &response::Parts,
        asked: Asked,
        cached: Option<&'a Cached>,
    ) -> (HeaderMap, Option<&'a Cached>, Asked) {
        let stored = candidate.response.head();
        let mut merged = merge(stored.headers(), &head.headers, asked.received);
        if self.lookup.policy.scope() == Scope::Shared {
            withdraw(&mut merged, &head.headers);
        }
        let says = |name| head.headers.contains_key(name);
        // A tag that the origin does not repeat is ours (RFC 9110 §15.4.5), and of one type of the bytes.
        if self.policy().make_etag
            && !says(header::ETAG)
            && Tagging::is_outdated(stored.headers(), &merged)
        {
            merged.remove(header::ETAG);
        }
        // What the handler once said holds until the answer says something of its own.
        let targets = &self.lookup.policy.rules.storing.targets;
        let is_silent = !says(header::CACHE_CONTROL)
            && !says(header::EXPIRES)
            && !targets.iter().any(|target| says(target.clone()));
        let cached = cached.or(stored.cached().filter(|_| is_silent));
        // Whoever had marked it as private did so for the body.
        let marked_private = asked.marked_private || stored.asked().marked_private;
        (merged, cached, Asked { marked_private, ..asked })
    }

    /// RFC 9111 §4.3.5: a 200 to HEAD freshens the stored response that it describes. If it
    /// describes another, what is stored is outdated.
    pub(super) fn compare(
        &self,
        candidate: &Candidate,
        head: &response::Parts,
        asked: Asked,
        cached: Option<&Cached>,
        secret: &Secret,
    ) -> Outcome {
        let is_fit = head.extensions.get::<RedirectedInside>().is_none()
            && !storing::nominates_rules(&head.headers);
        let is_same = is_fit && describes(&head.headers, &candidate.response);
        self.lookup.policy.rules.trail.note(Rule::Head, || {
            const TOLD: [HeaderName; 3] =
                [header::ETAG, header::LAST_MODIFIED, header::CONTENT_LENGTH];
            let told = if is_same { "freshens what is stored" } else { "describes another" };
            (explain::show(&head.headers, &TOLD), told.to_owned())
        });
        // What is only a part is no answer to HEAD: the origin's is.
        let is_part = candidate.response.head().content_range().is_some();
        if is_same && !is_part {
            return self.freshen(candidate, Place::Own, head, asked, cached, secret);
        }
        // A request that is kept out of the cache says nothing about what others get.
        let is_alone =
            asked.no_store || (asked.authorization && self.lookup.policy.scope() == Scope::Shared);
        let drop = (is_fit && !is_alone && !is_same).then_some(candidate.index);
        let status = CacheStatus::forwarded(self.reason).detailed(Reason::Head);
        Outcome::Pass { drop, status }
    }

    fn serve(
        &self,
        candidate: &Candidate,
        fields: Cow<'_, HeaderMap>,
        age: Duration,
        now: Timestamp,
        status: CacheStatus,
    ) -> Serve {
        let stored = candidate.response.head();
        let (head, content): (response::Parts, Content) = answer::answer(
            &self.lookup,
            &self.request,
            stored.status(),
            fields,
            candidate.response.extent(),
            age,
            now,
            &[],
        );
        Serve { index: candidate.index, head, content, status }
    }
}

/// Whether a 304 is about the stored response whose validators were sent (RFC 9111 §4.3.4).
fn selects(not_modified: &HeaderMap, stored: &HeaderMap, received: SystemTime) -> bool {
    let time = |headers| date::field(headers, &header::LAST_MODIFIED, received);
    let (theirs, ours) = (not_modified.get(header::ETAG), stored.get(header::ETAG));
    let modified = not_modified.get(header::LAST_MODIFIED);
    let same_time = modified.is_some()
        && (modified == stored.get(header::LAST_MODIFIED)
            || time(not_modified).is_some_and(|at| time(stored) == Some(at)));
    match (theirs, ours) {
        (Some(theirs), Some(ours)) => is_same_tag(theirs, ours),
        // A strong tag that nobody has seen says that it may be another version of the same second.
        (Some(theirs), None) => {
            let is_weak = EntityTag::parse(theirs.as_bytes()).is_some_and(|tag| tag.is_weak());
            same_time && (is_weak || is_strong_time(time(stored), stored, received))
        }
        (None, _) => same_time || modified.is_none(),
    }
}

fn is_same_tag(theirs: &HeaderValue, ours: &HeaderValue) -> bool {
    match (EntityTag::parse(theirs.as_bytes()), EntityTag::parse(ours.as_bytes())) {
        (Some(theirs), Some(ours)) if theirs.is_weak() => theirs.weak_eq(&ours),
        // Many servers weaken the tag of what they compress and not that of its 304.
        (Some(theirs), Some(ours)) => {
            theirs.strong_eq(&ours) || (ours.is_weak() && theirs.weak_eq(&ours))
        }
        _ => theirs == ours,
    }
}

/// Whether a modification date tells versions apart: it is a second or more before the `Date`
/// (RFC 9110 §8.8.2.2).
fn is_strong_time(modified: Option<SystemTime>, stored: &HeaderMap, received: SystemTime) -> bool {
    let date = date::field(stored, &header::DATE, received);
    modified.zip(date).is_some_and(|(modified, date)| {
        date.duration_since(modified).is_ok_and(|before| before >= Duration::from_secs(1))
    })
}

/// Takes out what the 304 says to be for one user, and what another user had brought
/// (RFC 9111 §5.2.2.7).
fn withdraw(merged: &mut HeaderMap, not_modified: &HeaderMap) {
    if let Some(Reach::Fields(names)) = ResponseDirectives::parse(merged).private {
        let brings = |name| not_modified.contains_key(name) && !nominates(not_modified, name);
        for name in names.iter().filter(|name| !brings(name)) {
            merged.remove(name);
        }
    }
}

/// Whether `Connection` keeps a field to this hop (RFC 9110 §7.6.1).
fn nominates(headers: &HeaderMap, name: &HeaderName) -> bool {
    fields::list(headers, &header::CONNECTION)
        .any(|option| option.eq_ignore_ascii_case(name.as_str().as_bytes()))
}

/// Whether a 200 to HEAD is about a stored response (RFC 9111 §4.3.5): by every validator that it
/// has, by the length of the content, and by its coding.
fn describes(head: &HeaderMap, stored: &StoredResponse) -> bool {
    let fields = stored.head().headers();
    let is_same = |name| !head.contains_key(&name) || head.get(&name) == fields.get(&name);
    let (complete, is_part) = match stored.head().content_range() {
        Some(part) => (part.complete_length(), true),
        None => (Some(stored.length()), false),
    };
    let has_length = |length: &HeaderValue| {
        let said = length.to_str().ok().and_then(|length| length.parse().ok());
        said.is_some_and(|said: u64| complete.is_none_or(|complete| complete == said))
    };
    (is_part || stored.head().status() == StatusCode::OK)
        && is_same(header::ETAG)
        && is_same(header::LAST_MODIFIED)
        && is_same(header::CONTENT_ENCODING)
        && head.get(header::CONTENT_LENGTH).is_none_or(has_length)
}

/// The stored fields with those of the 304 in their place (RFC 9111 §3.2).
fn merge(stored: &HeaderMap, not_modified: &HeaderMap, received: Timestamp) -> HeaderMap {
    let mut merged = stored.clone();
    merged.remove(header::AGE);
    for name in not_modified.keys() {
        let excluded = [header::CONTENT_LENGTH, header::CONTENT_RANGE].contains(name)
            || is_hop_by_hop(name)
            || nominates(not_modified, name);
        if excluded {
            continue;
        }
        merged.remove(name);
        for value in not_modified.get_all(name) {
            merged.append(name.clone(), value.clone());
        }
    }
    if date::field(not_modified, &header::DATE, received.wall()).is_none() {
        merged.insert(header::DATE, date::format(received.wall()));
    }
    merged
}
