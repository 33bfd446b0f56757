use http_body::SizeHint;
use larder::policy::{
    Begin, CacheKey, Failure, Fetch, Index, Join, Outcome, Reason, Secret, Serve, Store,
    StoredResponse, Update,
};

use super::{
    super::{
        generate::Step,
        oracle::{self, Ask, Fields, Id, Millis, Response, Tri},
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
        let about = |what: &str| format!("{what}: {response:?}\n{allowed:?}");
        match fetch.on_response(&mut head, &size, at, 0, &secret) {
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
            Outcome::Complete { .. } | Outcome::BadGateway { .. } => Err(about("completed")),
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
