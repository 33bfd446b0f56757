use http_body::SizeHint;
use larder::policy::{
    Begin, CacheKey, Failure, Fetch, Index, Join, Outcome, Placement, Reason, Secret, Serve, Store,
    StoredHead, StoredResponse, Update,
};

use super::{
    super::{
        generate::Step,
        oracle::{self, Ask, Fields, Id, Millis, Part, Response, Tri},
        wire,
    },
    Pair, Record, Resource, SECRET,
    origin::{length, origin, passed_on, same_stored},
};

impl Pair<'_> {
    pub(super) fn answer(
        &mut self,
        fetch: Fetch,
        key: CacheKey,
        selected: &[Record],
        (ask, forwarded): (&Ask, &Fields),
        step: &Step,
    ) -> Result<(), String> {
        let now = step.at + step.delay;
        if step.fails {
            return self.fail(fetch, selected, ask, step);
        }
        let response = origin(step, forwarded);
        let times = (step.at, now);
        let allowed = self.oracle.receive(ask, &step.request, forwarded, &response, times);
        let mut head = wire::response(&response);
        let size = SizeHint::default();
        let secret = Secret::from_bytes(SECRET);
        let at = wire::timestamp(now, self.began);
        let is_for_a_gap = forwarded.lines("range") != step.request.fields.lines("range");
        let about = |what: &str| format!("{what}: {response:?}\n{allowed:?}");
        match fetch.on_response(&mut head, &size, at, 0, &secret) {
            Outcome::Store(store) if response.status == 206 => {
                if allowed.store == Tri::No && !is_for_a_gap {
                    return Err(about("stored"));
                }
                self.check_sent(&head, &response, (ask, forwarded), step)?;
                self.keep_part(store, key, selected, forwarded, step, &response)
            }
            Outcome::Complete { .. } => {
                self.count("completed for one");
                if !is_for_a_gap || !self.oracle.completes(&step.request, forwarded, &response) {
                    return Err(about("completed"));
                }
                self.check_sent(&head, &response, (ask, forwarded), step)
            }
            Outcome::BadGateway { drop, .. } => {
                self.count("502");
                let is_right = self.oracle.completes(&step.request, forwarded, &response);
                let is_told = step.request.fields.has("range");
                if !is_for_a_gap || is_right || is_told || ![206, 416].contains(&response.status) {
                    return Err(about("502"));
                }
                if let Some(index) = drop {
                    self.forget(&key, selected[index].id);
                }
                Ok(())
            }
            Outcome::Store(store) if allowed.store != Tri::No => {
                passed_on(&head, &response, now)?;
                self.count("stored");
                self.keep(store, key, step, &response)
            }
            Outcome::Store(_) => Err(about("stored")),
            Outcome::Freshen { update, serve } => {
                let record = &selected[serve.index];
                let verdict = allowed.freshen.iter().find(|(id, _)| *id == record.id);
                let contradicted = match verdict {
                    None if !allowed.contradicted.contains(&record.id) => {
                        return Err(about("freshened"));
                    }
                    Some((_, Tri::Yes)) => false,
                    _ => true,
                };
                let stored = self.oracle.get(record.id);
                if contradicted
                    && matches!(update, Update::Remove)
                    && self.check_served(stored, step, &serve, now, Some(&response.fields)).is_ok()
                {
                    self.count("contradicted");
                    self.forget(&key, record.id);
                    return Ok(());
                }
                if verdict.is_none() {
                    return Err(about("freshened"));
                }
                self.freshen(update, serve, key, record.id, step, &response)
            }
            Outcome::ServeStale(serve) => {
                let id = selected[serve.index].id;
                if !allowed.stale.iter().any(|(other, sure)| *other == id && *sure != Tri::No) {
                    return Err(about("served stale"));
                }
                self.count("served in place of an error");
                self.check_served(self.oracle.get(id), step, &serve, now, None)
            }
            Outcome::Pass { drop, status } => {
                passed_on(&head, &response, now)?;
                self.count("passed on");
                if allowed.store == Tri::Yes
                    || allowed.freshen.iter().any(|(_, sure)| *sure == Tri::Yes)
                    || allowed.stale.len() == 1 && allowed.stale[0].1 == Tri::Yes
                {
                    return Err(about(&format!("passed on, {status}")));
                }
                if let Some(index) = drop {
                    if response.status >= 500 {
                        return Err(about("an error emptied the store"));
                    }
                    self.count("dropped");
                    self.forget(&key, selected[index].id);
                }
                Ok(())
            }
        }
    }

    /// The origin cannot be reached (RFC 9111 §4.2.4).
    fn fail(
        &mut self,
        fetch: Fetch,
        selected: &[Record],
        ask: &Ask,
        step: &Step,
    ) -> Result<(), String> {
        let now = step.at + step.delay;
        let verdict = |id| {
            let verdict = self.oracle.answers_errors(id, &step.request, now, None);
            verdict.unless_odd(!ask.matches_plainly)
        };
        match fetch.on_error(wire::timestamp(now, self.began)) {
            Failure::Fail => match ask.newest.as_slice() {
                [id] if verdict(*id) == Tri::Yes => Err(format!("{id} was not served stale")),
                _ => Ok(()),
            },
            Failure::ServeStale(serve) => {
                let id = selected[serve.index].id;
                if !ask.newest.contains(&id) || verdict(id) == Tri::No {
                    return Err(format!("{id} was served without an origin: {ask:?}"));
                }
                self.count("served without an origin");
                self.check_served(self.oracle.get(id), step, &serve, now, None)
            }
        }
    }

    fn keep(
        &mut self,
        store: Store,
        key: CacheKey,
        step: &Step,
        response: &Response,
    ) -> Result<(), String> {
        let now = step.at + step.delay;
        let id = self.oracle.keep(&step.request, response, step.at, now);
        self.share(&store, &key, id, now)?;
        let (placement, head) = store.into_parts();
        same_stored(&wire::fields(head.headers()), &self.oracle.get(id).fields)?;
        self.enter(placement, head, key, id)
    }

    fn enter(
        &mut self,
        placement: Placement,
        head: StoredHead,
        key: CacheKey,
        id: Id,
    ) -> Result<(), String> {
        if placement.key() != &key {
            return Err("stored under another key".to_string());
        }
        let resource = self
            .store
            .entry(key)
            .or_insert_with(|| Resource { index: Index::new(1), records: Vec::new() });
        if !resource.index.admit(&placement).is_empty() {
            return Err("a variant was evicted".to_string());
        }
        let variant = placement.variant().clone();
        let replaced = resource.records.iter().find(|record| record.variant == variant);
        let replaced = replaced.map(|record| record.id);
        resource.records.retain(|record| record.variant != variant);
        let response = StoredResponse::new(head.clone(), length(&head));
        resource.records.push(Record { variant, id, response });
        match replaced {
            Some(old) if !self.oracle.may_replace(old, id) => Err(format!("{old} was replaced")),
            Some(old) => {
                self.oracle.drop(old);
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// What the client gets where a 206 came: that, or what it completes.
    fn check_sent(
        &mut self,
        head: &http::response::Parts,
        response: &Response,
        (_, forwarded): (&Ask, &Fields),
        step: &Step,
    ) -> Result<(), String> {
        let now = step.at + step.delay;
        if forwarded.lines("range") == step.request.fields.lines("range")
            || !self.oracle.completes(&step.request, forwarded, response)
        {
            return passed_on(head, response, now);
        }
        self.count("completed");
        let (fields, times) = (wire::fields(&head.headers), (step.at, now));
        let sent = (head.status.as_u16(), &fields);
        self.oracle.check_completed(&step.request, response, sent, times)
    }

    /// RFC 9111 §3.3, §3.4: a part by itself, or with what was there.
    fn keep_part(
        &mut self,
        store: Store,
        key: CacheKey,
        selected: &[Record],
        forwarded: &Fields,
        step: &Step,
        response: &Response,
    ) -> Result<(), String> {
        let now = step.at + step.delay;
        let joint = store.joint().cloned();
        self.count(if joint.is_some() { "combined" } else { "part stored" });
        let due = store.due();
        let (placement, head) = store.into_parts();
        let range = head.content_range();
        let part = range.map(|range| Part {
            first: range.range().start,
            last: range.range().end - 1,
            total: range.complete_length(),
        });
        let fields = wire::fields(head.headers());
        let without_length = |fields: &Fields| {
            let mut fields = fields.clone();
            fields.remove("content-length");
            fields
        };
        let allowed = self.oracle.kept_of(&step.request, forwarded, response, (step.at, now));
        let is_it = |other: &&oracle::Stored| {
            other.part == part
                && other.status == head.status().as_u16()
                && same_stored(&without_length(&fields), &other.fields).is_ok()
        };
        let Some(kept) = allowed.iter().find(is_it).cloned() else {
            return Err(format!("kept {part:?} {fields:?}, not one of {allowed:?}"));
        };
        if fields.lines("content-length") != [due.unwrap_or_default().to_string()] {
            return Err(format!("{due:?} bytes are {fields:?}"));
        }
        if let Some(joint) = &joint {
            let length = |range: std::ops::Range<u64>| range.end - range.start;
            let stored = [joint.before(), joint.first(), joint.last(), joint.after()];
            let sum = stored.map(length).iter().sum::<u64>() + joint.fetched();
            if Some(sum) != due {
                return Err(format!("{sum} bytes of {due:?}: {joint:?}"));
            }
            // It takes the place of what it was made of.
            self.forget(&key, selected[joint.index()].id);
        }
        let mut kept = kept;
        kept.fields.set("content-length", due.unwrap_or_default().to_string());
        let id = self.oracle.keep_as(kept);
        self.enter(placement, head, key, id)
    }

    /// RFC 9111 §4, "collapse": who waits gets what it would get from the store.
    fn share(&mut self, store: &Store, key: &CacheKey, id: Id, now: Millis) -> Result<(), String> {
        let Some(request) = self.follower.clone() else { return Ok(()) };
        let head = wire::request(&request);
        let Begin::Lookup(lookup) = self.policy.begin(&head, &SizeHint::with_exact(0)) else {
            return Ok(());
        };
        if lookup.key() != key {
            return Ok(());
        }
        let stored = self.oracle.get(id).clone();
        let ask = self.oracle.alone_with(&stored).ask(&request, now);
        let (secret, at) = (Secret::from_bytes(SECRET), wire::timestamp(now, self.began));
        match lookup.join(&head.headers, &store.running(), Reason::UriMiss, &secret, at) {
            // Of a length that nobody knows no range can be told.
            Join::Alone(_) if request.fields.has("range") => Ok(()),
            Join::Alone(why) if ask.must_serve && ask.fresh == [id] => {
                Err(format!("{request:?} does not share it, {why}: {ask:?}"))
            }
            Join::Alone(_) => Ok(()),
            Join::Share { .. } if ask.serve != [id] => Err(format!("shared with {request:?}")),
            Join::Share { head, .. } => {
                self.count("shared");
                let fields = wire::fields(&head.headers);
                let sent = (head.status.as_u16(), &fields);
                self.oracle.check_served(&stored, &request, sent, now, None)
            }
        }
    }

    fn freshen(
        &mut self,
        update: Update,
        serve: Serve,
        key: CacheKey,
        id: Id,
        step: &Step,
        response: &Response,
    ) -> Result<(), String> {
        let now = step.at + step.delay;
        let updated = self.oracle.updated(id, &step.request, response, step.at, now);
        let keeps = self.oracle.keeps(&updated, &step.request, response);
        self.check_served(&updated, step, &serve, now, Some(&response.fields))?;
        match update {
            Update::Replace(head) => {
                self.count("freshened");
                if keeps == Tri::No {
                    return Err(format!("kept after a 304: {updated:?}"));
                }
                same_stored(&wire::fields(head.headers()), &updated.fields)?;
                self.oracle.replace(id, updated);
                for record in self.store.get_mut(&key).into_iter().flat_map(|r| &mut r.records) {
                    if record.id == id {
                        record.response = StoredResponse::new(head.clone(), length(&head));
                    }
                }
                Ok(())
            }
            Update::Copy(..) => Err("copied what the request had selected".to_string()),
            Update::Move(_, head) => {
                self.count("moved");
                if keeps == Tri::No {
                    return Err(format!("moved after a 304: {updated:?}"));
                }
                same_stored(&wire::fields(head.headers()), &updated.fields)?;
                // This store does not keep the copy, which is a miss and never wrong.
                self.forget(&key, id);
                Ok(())
            }
            Update::Keep if keeps == Tri::Yes => Err("a 304 updated nothing".to_string()),
            Update::Keep if !self.oracle.is_apart(&step.request) => {
                Err("left as it was after a 304".to_string())
            }
            Update::Remove if keeps == Tri::Yes && updated.validated_by.is_none() => {
                Err("removed after a 304".to_string())
            }
            Update::Keep => {
                self.count("left as it was");
                Ok(())
            }
            Update::Remove => {
                self.count("removed");
                self.forget(&key, id);
                Ok(())
            }
        }
    }

    fn forget(&mut self, key: &CacheKey, id: Id) {
        self.oracle.drop(id);
        if let Some(resource) = self.store.get_mut(key) {
            resource.records.retain(|record| record.id != id);
        }
    }

    pub(super) fn check_served(
        &self,
        stored: &oracle::Stored,
        step: &Step,
        serve: &Serve,
        now: Millis,
        validation: Option<&Fields>,
    ) -> Result<(), String> {
        let fields = wire::fields(&serve.head.headers);
        let sent = (serve.head.status.as_u16(), &fields);
        self.oracle
            .check_served(stored, &step.request, sent, now, validation)
            .map_err(|problem| format!("{} was served: {problem}: {fields:?}", stored.id))
    }
}
