//! RFC 9111 §3.2, §4.3.3, §4.3.4, §4.3.5.

use super::{
    dates::date,
    directives::{Directives, Reach},
    freshness::{self, exceeds},
    message::{Fields, Millis, Request, Response},
    partial,
    preconditions::{etag, strongly_equal, tags, weakly_equal},
    reuse::Ask,
    serving::LENGTH,
    store::{Id, Options, Oracle, Stored},
    storing,
    tri::Tri,
    vary,
};

/// What may be done with a response.
#[derive(Debug)]
pub struct Received {
    /// To store it as it is.
    pub store: Tri,
    /// To update these by it, and to answer with them.
    pub freshen: Vec<(Id, Tri)>,
    /// A 304 that answers our own condition, and speaks of another response: these are as good as
    /// they were for this one request, and may not be updated ("MUST NOT use the new response").
    pub contradicted: Vec<Id>,
    /// To answer with these in the place of an error.
    pub stale: Vec<(Id, Tri)>,
}

impl Oracle {
    pub fn receive(
        &self,
        ask: &Ask,
        request: &Request,
        forwarded: &Fields,
        response: &Response,
        (sent_at, now): (Millis, Millis),
    ) -> Received {
        let mut freshen = match (response.status, request.method.as_str()) {
            (304, _) => self.not_modified(ask, request, forwarded, response, now),
            (200, "HEAD") => self.by_head(ask, response),
            _ => Vec::new(),
        };
        let of = |wanted: fn(&Tri) -> bool| -> Vec<(Id, Tri)> {
            freshen.iter().filter(|(_, verdict)| wanted(verdict)).copied().collect()
        };
        let contradicted = of(|verdict| *verdict == Tri::No).iter().map(|(id, _)| *id).collect();
        freshen = of(|verdict| *verdict != Tri::No);
        let error = |id: &Id| {
            let verdict = self.answers_errors(*id, request, now, Some(response.status));
            (*id, verdict.unless_odd(!ask.matches_plainly))
        };
        let kept = self.stored_as(request, response, sent_at, now);
        let as_part = partial::may_keep(request, response).unless_odd(!ask.is_alone(self, request));
        Received {
            store: storing::may_store(request, response, as_part, &self.options)
                .unless_odd(!self.is_useful(&kept)),
            freshen,
            contradicted,
            stale: ask.newest.iter().map(error).collect(),
        }
    }

    /// Whether it could ever answer anything: "some caches will not store a response that has
    /// neither a cache validator nor an explicit expiration time" (§3).
    fn is_useful(&self, stored: &Stored) -> bool {
        let said = Directives::of(&stored.fields);
        let age = freshness::age(stored, stored.received_at);
        let fresh = exceeds(freshness::lifetime(stored, &self.options), age) == Tri::Yes;
        let valid_date = |name| {
            let lines = stored.fields.lines(name);
            lines.len() == 1 && date(lines[0], stored.received_at).is_some()
        };
        fresh && said.reach("no-cache") == Reach::Nothing
            || etag(&stored.fields).is_some()
            || valid_date("last-modified")
    }

    /// Which stored responses a 304 speaks of (§4.3.4).
    fn not_modified(
        &self,
        ask: &Ask,
        request: &Request,
        forwarded: &Fields,
        response: &Response,
        now: Millis,
    ) -> Vec<(Id, Tri)> {
        let new = etag(&response.fields);
        let sent = forwarded.combined("if-none-match").unwrap_or_default();
        let (sent, _) = tags(&sent);
        let asked_by_client =
            request.fields.has("if-none-match") || request.fields.has("if-modified-since");
        let mut found = Vec::new();
        for stored in self.of(&request.uri) {
            let own = etag(&stored.fields);
            // Sent as it was received, even if it is no entity tag.
            let as_received = stored.fields.has("etag")
                && stored.fields.lines("etag") == forwarded.lines("if-none-match");
            let nominated = as_received || own.as_ref().is_some_and(|own| sent.contains(own));
            let by_time = stored.fields.has("last-modified")
                && stored.fields.lines("last-modified") == forwarded.lines("if-modified-since");
            // Stored for other request fields: only its own tag can speak for it.
            if vary::matches(stored, request) == Tri::No && !nominated {
                continue;
            }
            if !nominated && !by_time {
                // The origin was not asked about it.
                continue;
            }
            let modified = response.fields.lines("last-modified");
            let old_modified = stored.fields.lines("last-modified");
            let parsed = |lines: &[&str]| lines.first().and_then(|line| date(line, now));
            let same_time = !modified.is_empty()
                && (modified == old_modified
                    || parsed(&modified).is_some() && parsed(&modified) == parsed(&old_modified));
            // RFC 9110 §8.8.2.2.
            let strong_time = parsed(&old_modified)
                .is_some_and(|at| freshness::date_value(stored).least - at >= 1000);
            let verdict = match (&new, &own) {
                // Strong: "each of those strong validators identifies".
                (Some(new), Some(own)) if !new.weak => {
                    // Servers that weaken the tag of what they compress forget it for the 304
                    // (`policy::freshening`, against the text).
                    Tri::from(strongly_equal(new, own))
                        | Tri::from(own.weak && weakly_equal(new, own)) & Tri::May
                }
                (Some(new), None) if !new.weak => Tri::from(same_time && strong_time),
                (Some(new), Some(own)) if weakly_equal(new, own) => Tri::Yes,
                (Some(_), Some(_)) if same_time && by_time => Tri::May,
                (Some(_), Some(_)) => Tri::No,
                (Some(_), None) => Tri::from(same_time),
                (None, _) if modified.is_empty() => Tri::May,
                (None, _) => Tri::from(same_time) & if own.is_none() { Tri::Yes } else { Tri::May },
            };
            // What is no entity tag is none, or is one that matches nothing.
            if stored.part.is_some() {
                // Nothing but a strong tag is enough for a part.
                let strong = matches!((&new, &own), (Some(a), Some(b)) if strongly_equal(a, b));
                found.push((stored.id, Tri::from(strong).unless_odd(true)));
                continue;
            }
            let odd = response.fields.has("etag") && new.is_none()
                || stored.fields.has("etag") && own.is_none();
            let verdict = if odd { Tri::May } else { verdict };
            let alone = ask.matches_plainly
                && ask.newest == [stored.id]
                && ask.candidates == [stored.id]
                && self.of(&request.uri).len() == 1
                && !asked_by_client;
            found.push((stored.id, verdict.unless_odd(!alone)));
        }
        found
    }

    /// §4.3.5: it may update what it agrees with.
    fn by_head(&self, ask: &Ask, response: &Response) -> Vec<(Id, Tri)> {
        let agrees = |stored: &Stored| {
            ["etag", "last-modified", "content-length"].iter().all(|name| {
                let new = response.fields.lines(name);
                let mut old = stored.fields.lines(name);
                if old.is_empty() && *name == "content-length" {
                    old.push(LENGTH);
                }
                new.is_empty() || new == old
            })
        };
        ask.candidates
            .iter()
            .filter(|id| agrees(self.get(**id)))
            .map(|id| (*id, Tri::May))
            .collect()
    }
}

/// What a stored response is after a 304, or a HEAD (§3.2).
pub fn updated(
    old: &Stored,
    request: &Request,
    response: &Response,
    requested_at: Millis,
    received_at: Millis,
    options: &Options,
) -> Stored {
    let provided = storing::stored_fields(&response.fields, received_at, options);
    let mut new = old.clone();
    new.fields = replaced(&old.fields, &provided);
    // The new Cache-Control may except fields that were stored before it.
    for name in storing::excepted(&new.fields, options) {
        new.fields.remove(&name);
    }
    new.age_is_old = !response.fields.has("age") && old.fields.has("age");
    new.authorized |= request.fields.has("authorization");
    new.date_is_ours = !storing::is_dated(&response.fields, received_at);
    if new.fields.members("vary") != old.fields.members("vary") {
        new.validated_by = Some(request.clone());
    }
    new.requested_at = requested_at;
    new.received_at = received_at;
    new
}

/// The fields of both, those of the newer in place of the older.
fn replaced(old: &Fields, provided: &Fields) -> Fields {
    let mut fields = old.clone();
    for name in provided.names() {
        // "The Content-Length header field" is excepted, and Content-Range may be.
        if ["content-length", "content-range"].contains(&&*name) {
            continue;
        }
        fields.remove(&name);
        for line in provided.lines(&name) {
            fields.0.push((name.clone(), line.to_string()));
        }
    }
    fields
}

/// The same as it is sent to whoever has asked for the newer one.
pub fn merged(old: &Fields, new: &Fields, received_at: Millis) -> Fields {
    let mut provided = new.clone();
    storing::hop_by_hop(new).iter().for_each(|name| provided.remove(name));
    replaced(old, &storing::dated(provided, received_at))
}

impl Oracle {
    /// Whether the answer to this request says nothing about what others get: it may not be stored
    /// for the request's own sake (§3.5, §5.2.1.5).
    pub fn is_apart(&self, request: &Request) -> bool {
        let asked = Directives::of(&request.fields);
        asked.odd
            || asked.has("no-store")
            || self.options.shared && request.fields.has("authorization")
    }

    /// Whether what a 304 made of it may still be stored (§3), by the request that it answered.
    pub fn keeps(&self, updated: &Stored, request: &Request, by: &Response) -> Tri {
        let response = Response { status: updated.status, fields: updated.fields.clone() };
        let request = Request { method: updated.request.method.clone(), ..request.clone() };
        let as_part = Tri::from(updated.part.is_some());
        storing::may_store(&request, &response, as_part, &self.options)
            .unless_odd(!self.is_useful(updated))
            // A cookie that the 304 brings and that is not to be stored with it.
            .unless_odd(by.fields.has("set-cookie") && !updated.fields.has("set-cookie"))
    }
}
