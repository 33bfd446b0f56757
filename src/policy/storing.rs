use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};

use super::{
    CacheKey, ContentRange, Reason, ResponseMeta, Rule, age, date,
    directives::{Delta, Reach, ResponseDirectives},
    explain::{self, Trail},
    fields,
    freshness::{Freshness, is_heuristically_cacheable},
    head::{Asked, Facts, Revalidate, StoredHead},
    kept::storable_fields,
    labels::{Labels, Texts},
    mode::Cached,
    names::Names,
    options::{Rules, Scope, SetCookie, StoringRules, VaryOnCredentials},
    stale::Windows,
    structured,
    targeted::Said,
    variants::NameSet,
};

/// A response that may be stored: its head, and what selects it.
pub(super) struct Storable {
    pub(super) head: StoredHead,
    pub(super) names: NameSet,
    /// Its `Date`, where that is not the one that it came with.
    pub(super) date: Option<HeaderValue>,
    pub(super) announces_trailers: bool,
}

/// A response, as the origin sent it, as a 304 freshened it, or as it is stored.
#[derive(Clone, Copy)]
pub(super) struct Received<'a> {
    pub(super) key: &'a CacheKey,
    pub(super) asked: Asked,
    pub(super) status: StatusCode,
    pub(super) headers: &'a HeaderMap,
    pub(super) cached: Option<&'a Cached>,
    /// Of one that is stored: the tags that the handler gave it.
    pub(super) tags: Option<&'a Texts>,
    /// Of one that is stored: its `Age` is no longer there.
    pub(super) initial_age: Option<Duration>,
    /// What of the representation it has: all, or one part.
    pub(super) part: Option<ContentRange>,
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
    let Received { asked, status, headers, cached, part, .. } = *received;
    let storing = &rules.storing;
    let has = Names::of(headers);
    let said = Said::of(&storing.targets, headers, cached);
    let directives = &said.directives;
    may_store(rules, received, has, &said)?;
    let check = Check { trail: &rules.trail, headers };
    let is_for_hop = has.may_have(Names::CONNECTION)
        && (nominates_rules(headers) || nominates(headers, &storing.targets));
    check.refuse(Rule::Connection, is_for_hop, Reason::ConnectionOption, &[header::CONNECTION])?;
    check.refuse(Rule::Fields, headers.len() > MAX_FIELDS, Reason::TooLarge, &[])?;
    let names = match has.may_have(Names::VARY) {
        true => NameSet::of(headers, &storing.unvaried),
        false => Ok(NameSet::none()),
    };
    let is_bypassed = |names: &NameSet| {
        storing.vary_on_credentials == VaryOnCredentials::Bypass && names.names_credentials()
    };
    let names = names.and_then(|names| match is_bypassed(&names) {
        true => Err(Reason::VaryCredentials),
        false => Ok(names),
    });
    let reason = names.as_ref().err().copied();
    check.refuse(
        Rule::Vary,
        reason.is_some(),
        reason.unwrap_or(Reason::VaryStar),
        &[header::VARY],
    )?;
    let names = names?;

    let given = handler.map(Cached::own_tags).filter(|tags| !tags.is_empty());
    let labels = Labels::of(storing, headers, has, given.or(received.tags));
    check.refuse(Rule::Groups, labels.is_err(), Reason::TooManyTags, &storing.tag_fields)?;
    let labels = labels?;
    let facts = received.facts(rules, has, &said);
    let meta = received.meta_of(&facts);
    let lifetime = storing.lifetimes.adjust(&meta, cached.is_some());
    received.explain_lifetime(rules, &said, lifetime);
    let facts = Facts { lifetime: lifetime?, ..facts };
    let has_validator = has.may_have(Names::ETAG | Names::LAST_MODIFIED);
    let is_useful = has_validator
        || (!facts.lifetime.is_zero() && facts.revalidate != Revalidate::Always)
        || facts.windows.are_open();
    const VALIDATORS: [HeaderName; 2] = [header::ETAG, header::LAST_MODIFIED];
    check.refuse(Rule::Use, !is_useful, Reason::NoFreshness, &VALIDATORS)?;

    let private = match &directives.private {
        Some(Reach::Fields(names)) if storing.scope == Scope::Shared => names.as_slice(),
        _ => &[],
    };
    let (strip, received) = (storing.set_cookie == SetCookie::Strip, asked.received.wall());
    let is_dated =
        has.may_have(Names::DATE) && date::field(headers, &header::DATE, received).is_some();
    let date = (!is_dated).then(|| date::format(received));
    let fields = storable_fields(headers, has, private).filter(|(name, _)| {
        !(strip && **name == header::SET_COOKIE || date.is_some() && **name == header::DATE)
    });
    let fields = fields.chain(date.as_ref().map(|date| (&header::DATE, date)));
    let cached = handler.map(Cached::untagged);
    let head = StoredHead::new(status, fields, asked, facts, cached, labels, part);
    Ok(Storable { head, names, date, announces_trailers: has.may_have(Names::TRAILER) })
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
    fn facts(&self, rules: &Rules, has: Names, said: &Said<'_>) -> Facts {
        let Self { asked, headers, .. } = *self;
        let directives = &said.directives;
        let freshness = self.freshness(&rules.storing, has, said);
        let initial_age = || {
            let (requested, received) = (asked.requested, asked.received);
            let age = has.may_have(Names::AGE).then(|| fields::age(headers)).flatten();
            age::initial_age(freshness.date, age, requested, received)
        };
        Facts {
            date: freshness.date,
            initial_age: self.initial_age.unwrap_or_else(initial_age),
            lifetime: freshness.lifetime().0,
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

    fn freshness<'f>(
        &self,
        rules: &'f StoringRules,
        has: Names,
        said: &'f Said<'f>,
    ) -> Freshness<'f>
    where
        'a: 'f,
    {
        let Self { key, status, headers, .. } = *self;
        let received = self.asked.received.wall();
        let date = match has.may_have(Names::DATE) {
            true => date::field(headers, &header::DATE, received).unwrap_or(received),
            false => received,
        };
        Freshness { rules, key, status, headers, said, date, received }
    }

    /// Whether it says by itself how long it is fresh (RFC 9111 §4.2.1).
    pub(super) fn says_how_long(&self, rules: &Rules) -> bool {
        let said = Said::of(&rules.storing.targets, self.headers, self.cached);
        let explicit = self.freshness(&rules.storing, Names::of(self.headers), &said).explicit();
        explicit.is_some_and(|(lifetime, _)| !lifetime.is_zero())
    }

    fn explain_lifetime(&self, rules: &Rules, said: &Said<'_>, adjusted: Result<Duration, Reason>) {
        let freshness = || self.freshness(&rules.storing, Names::of(self.headers), said);
        let lifetime = || freshness().lifetime();
        rules.trail.note(Rule::Lifetime, || {
            const FIELDS: [HeaderName; 3] = [header::DATE, header::EXPIRES, header::LAST_MODIFIED];
            let (length, source) = lifetime();
            let fields: Vec<_> = said.field().into_iter().chain(FIELDS).collect();
            (explain::show(self.headers, &fields), format!("{} s, by {source}", length.as_secs()))
        });
        rules.trail.note(Rule::Policy, || {
            let told = match adjusted {
                Ok(length) => format!("{} s", length.as_secs()),
                Err(reason) => format!("not stored: {reason}"),
            };
            (format!("{} s", lifetime().0.as_secs()), told)
        });
    }

    fn meta(&self, rules: &Rules) -> ResponseMeta<'a> {
        let said = Said::of(&rules.storing.targets, self.headers, self.cached);
        self.meta_of(&self.facts(rules, Names::of(self.headers), &said))
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
            tags: Some(&head.labels().own),
            initial_age: Some(head.facts().initial_age),
            part: head.content_range(),
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

/// Why a response with this status code is not stored, whatever it says.
pub(super) fn unfit(status: StatusCode, is_part: bool) -> Option<Reason> {
    match status.as_u16() {
        206 if !is_part => Some(Reason::Partial),
        304 | ..200 => Some(Reason::Status),
        _ => None,
    }
}

fn may_store(
    rules: &Rules,
    received: &Received<'_>,
    has: Names,
    said: &Said<'_>,
) -> Result<(), Reason> {
    let Received { asked, status, headers, part, .. } = *received;
    let check = Check { trail: &rules.trail, headers };
    let rules = &rules.storing;
    let directives = &said.directives;
    let shared = rules.scope == Scope::Shared;
    let spoken = said.field();
    let spoken = spoken.as_slice();
    check.trail.note(Rule::Targeted, || (explain::show(headers, &rules.targets), said.to_string()));
    let unfit = unfit(status, part.is_some());
    check.refuse(Rule::Status, unfit.is_some(), unfit.unwrap_or(Reason::Status), &[])?;
    check.refuse(Rule::RequestNoStore, asked.no_store, Reason::RequestNoStore, &[])?;
    let content_type = [header::CONTENT_TYPE];
    check.refuse(Rule::Streaming, is_stream(headers, has), Reason::Streaming, &content_type)?;
    // Who understands the status code stores in spite of no-store, who does not must not.
    let is_foreign = directives.must_understand && rules.understood.binary_search(&status).is_err();
    check.refuse(Rule::MustUnderstand, is_foreign, Reason::Status, spoken)?;
    let no_store = directives.no_store && !directives.must_understand;
    check.refuse(Rule::NoStore, no_store, Reason::NoStore, spoken)?;
    let private = shared && (asked.marked_private || directives.private == Some(Reach::Whole));
    check.refuse(Rule::Private, private, Reason::Private, spoken)?;
    let is_alone = shared && asked.authorization && !is_for_everybody(headers, said);
    check.refuse(Rule::Authorization, is_alone, Reason::Authorization, spoken)?;
    let cookie = rules.set_cookie == SetCookie::Bypass && has.may_have(Names::SET_COOKIE);
    check.refuse(Rule::SetCookie, cookie, Reason::SetCookie, &[])?;
    let is_allowed = directives.public
        || (!shared && directives.private.is_some())
        || said.cached().is_some()
        || directives.max_age.is_some()
        || (shared && directives.s_maxage.is_some())
        || (said.hears_expires() && has.may_have(Names::EXPIRES))
        || is_heuristically_cacheable(rules, status)
        || rules.lifetimes.of_status(status).is_some();
    check.refuse(Rule::Permission, !is_allowed, Reason::Status, spoken)
}

/// Asks one rule after the other, and writes down what each says.
struct Check<'a> {
    trail: &'a Trail,
    headers: &'a HeaderMap,
}

impl Check<'_> {
    fn refuse(
        &self,
        rule: Rule,
        is_refused: bool,
        reason: Reason,
        fields: &[HeaderName],
    ) -> Result<(), Reason> {
        self.trail.note(rule, || {
            let refused = || format!("not stored: {reason}");
            let told = if is_refused { refused() } else { "no objection".to_owned() };
            (explain::show(self.headers, fields), told)
        });
        if is_refused { Err(reason) } else { Ok(()) }
    }
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

/// Says that its parts are to be sent on as they come (draft-ietf-httpbis-incremental).
const INCREMENTAL: HeaderName = HeaderName::from_static("incremental");

fn is_stream(headers: &HeaderMap, has: Names) -> bool {
    const STREAMS: [&str; 3] =
        ["text/event-stream", "application/grpc", "multipart/x-mixed-replace"];
    if has.may_have(Names::INCREMENTAL) && structured::is_true(headers, &INCREMENTAL) {
        return true;
    }
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
    let mut sendable = HeaderMap::try_with_capacity(headers.keys_len()).unwrap_or_default();
    for (name, value) in storable_fields(headers, Names::of(headers), &[]) {
        sendable.append(name.clone(), value.clone());
    }
    sendable
}
