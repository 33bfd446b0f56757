use http::{HeaderMap, HeaderName, StatusCode, header};

use super::{
    Reason, age, date,
    directives::{Delta, Reach, ResponseDirectives},
    fields,
    freshness::{Freshness, is_heuristically_cacheable},
    head::{Asked, Facts, Revalidate, StoredHead, storable_fields},
    labels::Labels,
    mode::Cached,
    options::{Rules, Scope, SetCookie, StoringRules, VaryOnCredentials},
    stale::Windows,
    variants::NameSet,
};

/// A response that may be stored: its head, and what selects it.
pub(super) struct Storable {
    pub(super) head: StoredHead,
    pub(super) names: NameSet,
}

/// Whether and how a response may be stored (RFC 9111 §3).
///
/// `status` and `headers` are those of a complete response, as the origin sent it or as a 304
/// freshened it.
pub(super) fn evaluate(
    rules: &Rules,
    asked: Asked,
    status: StatusCode,
    headers: &HeaderMap,
    cached: Option<&Cached>,
) -> Result<Storable, Reason> {
    let storing = &rules.storing;
    let directives = match cached {
        // As with a targeted field, Cache-Control is then not looked at (RFC 9213 §2.1).
        Some(_) => ResponseDirectives::default(),
        None => ResponseDirectives::parse(headers),
    };
    may_store(storing, asked, status, headers, &directives, cached)?;
    if nominates_rules(headers) {
        return Err(Reason::ConnectionOption);
    }
    if headers.len() > MAX_FIELDS {
        return Err(Reason::TooLarge);
    }
    let names = NameSet::of(headers)?;
    if storing.vary_on_credentials == VaryOnCredentials::Bypass && names.names_credentials() {
        return Err(Reason::VaryCredentials);
    }

    let labels = Labels::of(storing, headers, cached)?;
    let facts = facts(rules, asked, status, headers, &directives, cached);
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
    let head = StoredHead::new(status, fields, asked, facts, cached.cloned(), labels);
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
    fields::list(headers, &header::CONNECTION).any(|option| {
        RULES.iter().any(|name| option.eq_ignore_ascii_case(name.as_str().as_bytes()))
    })
}

/// A head with more fields than this is not stored.
const MAX_FIELDS: usize = 256;

/// What the rules read in a head, for a new response and for one stored under other rules.
pub(super) fn facts(
    rules: &Rules,
    asked: Asked,
    status: StatusCode,
    headers: &HeaderMap,
    directives: &ResponseDirectives,
    cached: Option<&Cached>,
) -> Facts {
    let received = asked.received.wall();
    let date = date::field(headers, &header::DATE, received).unwrap_or(received);
    let last_modified = date::field(headers, &header::LAST_MODIFIED, received);
    let storing = &rules.storing;
    let freshness =
        Freshness { rules: storing, status, headers, directives, cached, date, last_modified };
    Facts {
        date,
        initial_age: age::initial_age(date, fields::age(headers), asked.requested, asked.received),
        lifetime: freshness.lifetime(),
        revalidate: revalidate(storing, directives),
        immutable: directives.immutable,
        windows: Windows::of(storing, directives, cached),
        withheld: match &directives.no_cache {
            Some(Reach::Fields(names)) => names.clone(),
            _ => Vec::new(),
        },
        rules: rules.fingerprint,
    }
}

/// The facts of a stored head by other rules than those that stored it, or why these rules would
/// not have stored it.
pub(super) fn evaluate_again(rules: &Rules, head: &StoredHead) -> Result<Facts, Reason> {
    let again = evaluate(rules, head.asked(), head.status(), head.headers(), head.cached())?;
    // What other rules have kept, these may have to hold back.
    if again.head.headers().len() < head.headers().len() {
        return Err(Reason::Private);
    }
    // The `Age` that came is no longer there; what it said is in the initial age.
    let initial_age = head.facts().initial_age;
    Ok(Facts { initial_age, ..again.head.facts().clone() })
}

fn may_store(
    rules: &StoringRules,
    asked: Asked,
    status: StatusCode,
    headers: &HeaderMap,
    directives: &ResponseDirectives,
    cached: Option<&Cached>,
) -> Result<(), Reason> {
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
    if directives.must_understand && !is_understood(status) {
        return Err(Reason::Status);
    }
    if directives.no_store && !directives.must_understand {
        return Err(Reason::NoStore);
    }
    if shared && (asked.marked_private || directives.private == Some(Reach::Whole)) {
        return Err(Reason::Private);
    }
    if shared && asked.authorization && !is_for_everybody(headers, directives, cached) {
        return Err(Reason::Authorization);
    }
    if rules.set_cookie == SetCookie::Bypass && headers.contains_key(header::SET_COOKIE) {
        return Err(Reason::SetCookie);
    }
    let allowed = directives.public
        || (!shared && directives.private.is_some())
        || cached.is_some()
        || directives.max_age.is_some()
        || (shared && directives.s_maxage.is_some())
        || headers.contains_key(header::EXPIRES)
        || is_heuristically_cacheable(rules, status);
    if allowed { Ok(()) } else { Err(Reason::Status) }
}

/// RFC 9111 §3.5. A malformed directive restricts, but it permits nothing.
fn is_for_everybody(
    headers: &HeaderMap,
    directives: &ResponseDirectives,
    cached: Option<&Cached>,
) -> bool {
    if let Some(cached) = cached {
        return cached.is_public();
    }
    let must_revalidate = || {
        fields::list(headers, &header::CACHE_CONTROL)
            .any(|member| member.eq_ignore_ascii_case(b"must-revalidate"))
    };
    directives.public
        || matches!(directives.s_maxage, Some(Delta::Valid(_)))
        || (directives.must_revalidate && must_revalidate())
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

/// The status codes whose caching rules this cache knows.
fn is_understood(status: StatusCode) -> bool {
    matches!(
        status.as_u16(),
        200 | 203 | 204 | 300 | 301 | 302 | 303 | 307 | 308 | 404 | 405 | 410 | 414 | 451 | 501
    )
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
