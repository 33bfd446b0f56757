//! Leads a case through the policy and through the oracle, and says where they part.

mod answers;
pub mod origin;

use std::{
    collections::{BTreeMap, HashMap},
    time::{Duration, Instant},
};

use http::request;
use http_body::SizeHint;
use larder::policy::{
    Begin, CacheKey, ClientMaxStale, ClientReload, Decision, Fetch, Index, Lookup, Policy, Secret,
    SetCookie, Stored, StoredResponse, Unsafe, VariantKey, VaryOnCredentials,
};

use super::{
    generate::{Case, Step},
    oracle::{self, Ask, Id, Method, Millis, Options, Oracle, Reload, Request, Tri},
    wire,
};

/// How often each thing happened.
pub type Tally = BTreeMap<&'static str, u64>;

/// Runs the case. `Err` says where the two disagree.
pub fn run(case: &Case, tally: &mut Tally) -> Result<(), String> {
    let policy = policy(&case.options);
    let mut pair = Pair {
        policy: &policy,
        oracle: Oracle::new(case.options.clone()),
        store: HashMap::new(),
        began: (case.steps[0].at, Instant::now()),
        follower: None,
        tally,
    };
    for (number, step) in case.steps.iter().enumerate() {
        pair.follower = case.steps.get(number + 1).map(|next| next.request.clone());
        pair.step(step).and_then(|()| pair.same_store()).map_err(|problem| {
            let stored = &pair.oracle.stored;
            format!("step {number}: {problem}\nthe oracle's store: {stored:?}")
        })?;
    }
    Ok(())
}

pub fn policy(options: &Options) -> Policy {
    let policy = if options.shared { Policy::shared() } else { Policy::private() };
    let policy = match options.default_ttl {
        Some(ttl) => policy.default_ttl(Duration::from_millis(ttl as u64)),
        None => policy,
    };
    let policy = match options.stale_on_disconnect {
        Some(window) => policy.stale_on_disconnect(Duration::from_millis(window as u64)),
        None => policy,
    };
    policy
        .set_cookie(match options.set_cookie {
            oracle::SetCookie::Store => SetCookie::Store,
            oracle::SetCookie::Strip => SetCookie::Strip,
            oracle::SetCookie::Bypass => SetCookie::Bypass,
        })
        .vary_on_credentials(match options.vary_on_credentials {
            true => VaryOnCredentials::Store,
            false => VaryOnCredentials::Bypass,
        })
        .heuristic_errors(options.heuristic_errors)
        .client_max_stale(match options.client_max_stale {
            true => ClientMaxStale::Honour,
            false => ClientMaxStale::Ignore,
        })
        .immutable(options.immutable)
        .strict_s_maxage(options.strict_s_maxage)
        .client_reload(match options.reload {
            Reload::Honour => ClientReload::Honour,
            Reload::Collapse(within) => {
                ClientReload::Collapse(Duration::from_millis(within as u64))
            }
            Reload::Ignore => ClientReload::Ignore,
        })
}

struct Pair<'a> {
    policy: &'a Policy,
    oracle: Oracle,
    store: HashMap<CacheKey, Resource>,
    began: (Millis, Instant),
    /// The next request, as if it waited for what is just being fetched.
    follower: Option<Request>,
    tally: &'a mut Tally,
}

/// What a store would hold for the policy.
struct Resource {
    index: Index,
    records: Vec<Record>,
}

#[derive(Clone)]
struct Record {
    variant: VariantKey,
    id: Id,
    response: StoredResponse,
}

const SECRET: [u8; 32] = [7; 32];

impl Pair<'_> {
    fn count(&mut self, what: &'static str) {
        *self.tally.entry(what).or_default() += 1;
    }

    fn step(&mut self, step: &Step) -> Result<(), String> {
        let head = wire::request(&step.request);
        match (
            oracle::method(&step.request.method),
            self.policy.begin(&head, &SizeHint::with_exact(0)),
        ) {
            (Method::Get, Begin::Lookup(lookup)) => self.look_up(lookup, step),
            (Method::Safe | Method::Unknown, Begin::Bypass(_)) => {
                self.count("passed by");
                Ok(())
            }
            (Method::Unsafe | Method::Unknown, Begin::Invalidate(request)) => {
                self.invalidate(request, step)
            }
            // Conditions that only an origin may evaluate (RFC 9111 §4.3.2).
            (Method::Get, Begin::Bypass(_))
                if ["if-match", "if-unmodified-since"]
                    .iter()
                    .any(|name| step.request.fields.has(name)) =>
            {
                self.count("passed by");
                Ok(())
            }
            (_, begin) => Err(format!("{}: {begin:?}", step.request.method)),
        }
    }

    fn invalidate(&mut self, request: Unsafe, step: &Step) -> Result<(), String> {
        if step.fails {
            return Ok(());
        }
        let invalidated = request.on_response(&wire::response(&step.response));
        let expected = self.oracle.invalidated(&step.request, &step.response);
        let mut gone = Vec::new();
        for key in invalidated.keys() {
            gone.extend(self.store.remove(key).into_iter().flat_map(|r| r.records));
        }
        let gone: Vec<Id> = gone.iter().map(|record| record.id).collect();
        for id in &gone {
            if !expected.iter().any(|(other, _)| other == id) {
                return Err(format!("{id} was invalidated"));
            }
            self.oracle.drop(*id);
            self.count("invalidated");
        }
        match expected.iter().find(|(id, sure)| *sure == Tri::Yes && !gone.contains(id)) {
            Some((id, _)) => Err(format!("{id} was not invalidated")),
            None => Ok(()),
        }
    }

    /// The records that the request selects.
    fn selected(&self, lookup: &Lookup<'_>, request: &Request) -> Vec<Record> {
        let (headers, secret) = (wire::headers(&request.fields), Secret::from_bytes(SECRET));
        let Some(resource) = self.store.get(lookup.key()) else { return Vec::new() };
        lookup
            .wanted(&headers, &secret)
            .select(&resource.index)
            .filter_map(|variant| resource.records.iter().find(|r| r.variant == variant))
            .cloned()
            .collect()
    }

    fn look_up(&mut self, lookup: Lookup<'_>, step: &Step) -> Result<(), String> {
        let ask = self.oracle.ask(&step.request, step.at);
        let selected = self.selected(&lookup, &step.request);
        let responses: Vec<StoredResponse> =
            selected.iter().map(|record| record.response.clone()).collect();
        let known = self.store.get(lookup.key()).is_some_and(|r| !r.records.is_empty());
        let stored = match (known, responses.is_empty()) {
            (false, _) => Stored::Nothing,
            (true, true) => Stored::OtherVariants,
            (true, false) => Stored::Responses(&responses),
        };
        let key = lookup.key().clone();
        let mut head = wire::request(&step.request);
        match lookup.decide(&mut head, stored, wire::timestamp(step.at, self.began)) {
            Decision::Serve(serve) => {
                let id = selected[serve.index].id;
                if !ask.serve.contains(&id) {
                    return Err(format!("{id} was served: {ask:?}"));
                }
                self.count("served");
                self.check_served(self.oracle.get(id), step, &serve, step.at, None)
            }
            Decision::Refresh(serve, refresh) => {
                let id = selected[serve.index].id;
                if !ask.serve.contains(&id) || ask.fresh.contains(&id) {
                    return Err(format!("{id} was served and refreshed: {ask:?}"));
                }
                self.count("served while it is refreshed");
                self.check_served(self.oracle.get(id), step, &serve, step.at, None)?;
                let fetch = refresh.into_fetch(&mut head, wire::timestamp(step.at, self.began));
                self.refresh(fetch, key, (&selected, id), &head, step)
            }
            Decision::GatewayTimeout(_) if ask.must_serve || ask.only_if_cached == Tri::No => {
                Err(format!("504: {ask:?}"))
            }
            Decision::GatewayTimeout(_) => {
                self.count("504");
                Ok(())
            }
            Decision::Forward(fetch) => {
                if ask.must_serve || ask.only_if_cached == Tri::Yes {
                    return Err(format!("forwarded, {}: {ask:?}", fetch.reason()));
                }
                self.count("forwarded");
                let forwarded = wire::fields(&head.headers);
                self.oracle.check_forwarded(&ask, &step.request, &forwarded)?;
                self.answer(fetch, key, &selected, (&ask, &forwarded), step)
            }
        }
    }

    /// The request in the background is one of our own.
    fn refresh(
        &mut self,
        fetch: Fetch,
        key: CacheKey,
        (selected, id): (&[Record], Id),
        head: &request::Parts,
        step: &Step,
    ) -> Result<(), String> {
        let forwarded = wire::fields(&head.headers);
        let mut request = Request { fields: forwarded.clone(), ..step.request.clone() };
        request.method = head.method.to_string();
        for name in ["if-none-match", "if-modified-since"] {
            request.fields.remove(name);
        }
        // It is about this one, whatever else such a request might select.
        let ask = Ask { newest: vec![id], ..self.oracle.ask(&request, step.at) };
        let known = |(name, value): &(String, String)| {
            step.request.fields.lines(name).contains(&value.as_str())
        };
        if request.method != "GET" || !request.fields.0.iter().all(known) {
            return Err(format!("refreshed by {request:?}"));
        }
        self.oracle.check_refresh(id, &request, &step.request)?;
        self.oracle.check_forwarded(&ask, &request, &forwarded)?;
        let step = Step { request, ..step.clone() };
        self.answer(fetch, key, selected, (&ask, &forwarded), &step)
    }

    /// Both keep the same.
    fn same_store(&self) -> Result<(), String> {
        let mut ours: Vec<Id> =
            self.store.values().flat_map(|r| &r.records).map(|record| record.id).collect();
        let mut theirs: Vec<Id> = self.oracle.stored.iter().map(|stored| stored.id).collect();
        ours.sort();
        theirs.sort();
        if ours == theirs { Ok(()) } else { Err(format!("{ours:?} are stored, not {theirs:?}")) }
    }
}
