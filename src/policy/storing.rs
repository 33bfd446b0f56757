use std::time::Duration;

use http::{HeaderMap, HeaderName, StatusCode, header};

use super::{
    CacheKey, Reason, ResponseMeta, age, date,
    directives::{Delta, Reach, ResponseDirectives},
    fields,
    freshness::{Freshness, is_heuristically_cacheable},
    head::{Asked, Facts, Revalidate, StoredHead, storable_fields},
    mode::Cached,
    options::{Rules, Scope, SetCookie, StoringRules, VaryOnCredentials},
    stale::Windows,
    targeted::Said,
    variants::NameSet,
};

/// A response that may be stored: its head, and what selects it.
pub(super) struct Storable {
    pub(super) head: StoredHead,
    pub(super) names: NameSet,
}

/// A complete response, as the origin sent it, as a 304 freshened it, or as it is stored.
#[derive(Clone, Copy)]
pub(super) struct Received<'a> {
    pub(super) key: &'a CacheKey,
    pub(super) asked: Asked,
    pub(super) status: StatusCode,
    pub(super) headers: &'a HeaderMap,
    pub(super) cached: Option<&'a Cached>,
    /// Of one that is stored: its `Age` is no longer there.
    pub(super) initial_age: Option<Duration>,
}

/// Whether and how a response may be stored (RFC 9111 §3).
pub(super) fn evaluate(rules: &Rules, received: &Received<'_>) -> Result<Storable, Reason> {
    let lifetimes = &rules.storing.lifetimes;
    let forced = match lifetimes.overrules.is_empty() {
        true => None,
        false => lifetimes.overruled(&received.meta(rules)),
    };
    match forced.map(|lifetime| Cached::for_duration(lifetime).public()) {
        Some(cached) => {
            let forced = Received { cached: Some(&cached), ..*received };
            // What is kept with the head is what the handler said; these rules are asked again.
            judge(rules, &forced, received.cached)
        }
        None => judge(rules, received, received.cached),
    }
}

fn judge(
    rules: &Rules,
    received: &Received<'_>,
    handler: Option<&Cached>,
) -> Result<Storable, Reason> {
    let Received { asked, status, headers, cached, .. } = *received;
    let storing = &rules.storing;
    let said = Said::of(&storing.targets, headers, cached);
    let directives = &said.directives;
    may_store(storing, asked, status, headers, &said)?;
    if nominates_rules(headers) || nominates(headers, &storing.targets) {
        return Err(Reason::ConnectionOption);
    }
    if headers.len() > MAX_FIELDS {
        return Err(Reason::TooLarge);
    }
    let names = NameSet::of(headers)?;
    if storing.vary_on_credentials == VaryOnCredentials::Bypass && names.names_credentials() {
        return Err(Reason::VaryCredentials);
    }

    let facts = received.facts(rules, &said);
    let meta = received.meta_of(&facts);
    let lifetime = storing.lifetimes.adjust(&meta, cached.is_some())?;
    let facts = Facts { lifetime, ..facts };
    let has_validator =
        headers.contains_key(header::ETAG) || headers.contains_key(header::LAST_MODIFIED);
    let is_useful = has_validator
        || (!facts.lifetime.is_zero() && facts.revalidate != Revalidate::Always)
        || facts.windows.are_open();
    if !is_useful {
        return Err(Reason::NoFreshness);
    }

    let strip = storing.set_cookie == SetCookie::Strip;
    let private = ResponseDirectives {
        private: directives.private.clone().filter(|_| storing.scope == Scope::Shared),
        ..ResponseDirectives::default()
    };
    let mut fields =
        storable_fields(headers, &private, |name| strip && *name == header::SET_COOKIE);
    if date::field(headers, &header::DATE, asked.received.wall()).is_none() {
        fields.insert(header::DATE, date::format(asked.received.wall()));
    }
    let head = StoredHead::new(status, fields, asked, facts, handler.cloned());
    Ok(Storable { head, names })
}

/// Whether `Connection` takes away a field that caching goes by (RFC 9110 §7.6.1): without it the
/// stored response would mean something else.
pub(super) fn nominates_rules(headers: &HeaderMap) -> bool {
    const RULES: [HeaderName; 7] = [
        header::CACHE_CONTROL,
        header::CONTENT_ENCODING,
        header::DATE,
        header::ETAG,
        header::EXPIRES,
        header::SET_COOKIE,
        header::VARY,
    ];
    nominates(headers, &RULES)
}

fn nominates(headers: &HeaderMap, names: &[HeaderName]) -> bool {
    fields::list(headers, &header::CONNECTION).any(|option| {
        names.iter().any(|name| option.eq_ignore_ascii_case(name.as_str().as_bytes()))
    })
}

/// A head with more fields than this is not stored.
const MAX_FIELDS: usize = 256;

impl<'a> Received<'a> {
    /// What the rules read in it.
    fn facts(&self, rules: &Rules, said: &Said<'_>) -> Facts {
        let Self { asked, headers, .. } = *self;
        let directives = &said.directives;
        let freshness = self.freshness(&rules.storing, said);
        let initial_age = || {
            let (requested, received) = (asked.requested, asked.received);
            age::initial_age(freshness.date, fields::age(headers), requested, received)
        };
        Facts {
            date: freshness.date,
            initial_age: self.initial_age.unwrap_or_else(initial_age),
            lifetime: freshness.lifetime(),
            revalidate: revalidate(&rules.storing, directives),
            immutable: directives.immutable,
            windows: Windows::of(&rules.storing, directives, said.cached()),
            withheld: match &directives.no_cache {
                Some(Reach::Fields(names)) => names.clone(),
                _ => Vec::new(),
            },
            rules: rules.fingerprint,
        }
    }

    fn freshness<'f>(&self, rules: &'f StoringRules, said: &'f Said<'f>) -> Freshness<'f>
    where
        'a: 'f,
    {
        let Self { key, status, headers, .. } = *self;
        let received = self.asked.received.wall();
        let date = date::field(headers, &header::DATE, received).unwrap_or(received);
        let last_modified = date::field(headers, &header::LAST_MODIFIED, received);
        Freshness { rules, key, status, headers, said, date, last_modified }
    }

    /// Whether it says by itself how long it is fresh (RFC 9111 §4.2.1).
    pub(super) fn says_how_long(&self, rules: &Rules) -> bool {
        let said = Said::of(&rules.storing.targets, self.headers, self.cached);
        let lifetime = self.freshness(&rules.storing, &said).explicit();
        lifetime.is_some_and(|lifetime| !lifetime.is_zero())
    }

    fn meta(&self, rules: &Rules) -> ResponseMeta<'a> {
        let said = Said::of(&rules.storing.targets, self.headers, self.cached);
        self.meta_of(&self.facts(rules, &said))
    }

    fn meta_of(&self, facts: &Facts) -> ResponseMeta<'a> {
        let Self { key, status, headers, asked, .. } = *self;
        let (lifetime, age, received) = (facts.lifetime, facts.initial_age, asked.received.wall());
        ResponseMeta { key, status, headers, lifetime, age, received }
    }
}

/// The facts of a stored head by other rules than those that stored it, or why these rules would
/// not have stored it.
pub(super) fn evaluate_again(
    rules: &Rules,
    key: &CacheKey,
    head: &StoredHead,
) -> Result<Facts, Reason> {
    let again = evaluate(
        rules,
        &Received {
            key,
            asked: head.asked(),
            status: head.status(),
            headers: head.headers(),
            cached: head.cached(),
            initial_age: Some(head.facts().initial_age),
        },
    )?;
    // What other rules have kept, these may have to hold back.
    let withheld = &again.head.facts().withheld;
    let is_shown = |name| !head.facts().withheld.contains(name);
    if again.head.headers().len() < head.headers().len() || withheld.iter().any(is_shown) {
        return Err(Reason::Private);
    }
    Ok(again.head.facts().clone())
}

fn may_store(
    rules: &StoringRules,
    asked: Asked,
    status: StatusCode,
    headers: &HeaderMap,
    said: &Said<'_>,
) -> Result<(), Reason> {
    let directives = &said.directives;
    let shared = rules.scope == Scope::Shared;
    match status.as_u16() {
        206 => return Err(Reason::Partial),
        304 | ..200 => return Err(Reason::Status),
        _ => {}
    }
    if asked.no_store {
        return Err(Reason::RequestNoStore);
    }
    if is_stream(headers) {
        return Err(Reason::Streaming);
    }
    // §5.2.2.3: who understands the status code stores in spite of no-store, who does not must not.
    if directives.must_understand && rules.understood.binary_search(&status).is_err() {
        return Err(Reason::Status);
    }
    if directives.no_store && !directives.must_understand {
        return Err(Reason::NoStore);
    }
    if shared && (asked.marked_private || directives.private == Some(Reach::Whole)) {
        return Err(Reason::Private);
    }
    if shared && asked.authorization && !is_for_everybody(headers, said) {
        return Err(Reason::Authorization);
    }
    if rules.set_cookie == SetCookie::Bypass && headers.contains_key(header::SET_COOKIE) {
        return Err(Reason::SetCookie);
    }
    let allowed = directives.public
        || (!shared && directives.private.is_some())
        || said.cached().is_some()
        || directives.max_age.is_some()
        || (shared && directives.s_maxage.is_some())
        || (said.hears_expires() && headers.contains_key(header::EXPIRES))
        || is_heuristically_cacheable(rules, status)
        || rules.lifetimes.of_status(status).is_some();
    if allowed { Ok(()) } else { Err(Reason::Status) }
}

/// RFC 9111 §3.5. A malformed directive restricts, but it permits nothing.
fn is_for_everybody(headers: &HeaderMap, said: &Said<'_>) -> bool {
    let directives = &said.directives;
    said.cached().is_some_and(Cached::is_public)
        || directives.public
        || matches!(directives.s_maxage, Some(Delta::Valid(_)))
        || said.must_revalidate_properly(headers)
}

fn revalidate(rules: &StoringRules, directives: &ResponseDirectives) -> Revalidate {
    let shared = rules.scope == Scope::Shared;
    if directives.no_cache == Some(Reach::Whole) {
        Revalidate::Always
    } else if directives.must_revalidate
        || (shared && (directives.proxy_revalidate || directives.s_maxage.is_some()))
    {
        Revalidate::WhenStale
    } else {
        Revalidate::MayBeStale
    }
}

fn is_stream(headers: &HeaderMap) -> bool {
    const STREAMS: [&str; 3] =
        ["text/event-stream", "application/grpc", "multipart/x-mixed-replace"];
    let Some(content_type) = headers.get(header::CONTENT_TYPE) else { return false };
    STREAMS.iter().any(|stream| {
        content_type
            .as_bytes()
            .get(..stream.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(stream.as_bytes()))
    })
}

/// The fields of a freshened response that is served once and not stored again.
pub(super) fn sendable(headers: &HeaderMap) -> HeaderMap {
    storable_fields(headers, &ResponseDirectives::default(), |_| false)
}
