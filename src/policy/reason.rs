use std::fmt;

/// Why a request was not answered from the cache, or its answer not kept.
///
/// The one list that `Cache-Status`, logs and counters draw from, so that they never disagree. Its
/// `Display` is the token that `Cache-Status` shows as `detail`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Reason {
    /// The method is safe, but its responses are not kept (RFC 9110 §9.2.3).
    Method,
    /// An unsafe method: written through (RFC 9111 §4).
    UnsafeMethod,
    /// `CONNECT`, or a request that asks for another protocol (RFC 9110 §7.8, §9.3.6).
    Upgrade,
    /// The request has a body that the key does not see.
    RequestBody,
    /// A `Range` request that the cache cannot answer (RFC 9110 §14.2).
    Range,
    /// `If-Match` or `If-Unmodified-Since`: the origin's to evaluate (RFC 9110 §13.1.1).
    Precondition,
    /// Neither the URI, nor `Host`, nor the policy names an authority.
    NoAuthority,
    /// The URI and `Host` name different authorities, or `Host` cannot be read (RFC 9110 §7.2).
    Authority,
    /// `Connection` nominates a field that matters to the cache (RFC 9110 §7.6.1).
    ConnectionOption,
    /// The policy lets requests with a `Cookie` pass by.
    Cookie,
    /// The policy lets requests with this extension pass by.
    Extension,
    /// [`CacheMode`](crate::CacheMode) of the request.
    Mode,
    /// Nothing is stored for this URI.
    UriMiss,
    /// Something is stored for this URI, but not for these request fields (RFC 9111 §4.1).
    VaryMiss,
    /// What was stored was purged.
    Purged,
    /// Stored, but no longer fresh (RFC 9111 §4.2).
    Stale,
    /// Stored with `no-cache`: validated at each use (RFC 9111 §5.2.2.4).
    NoCache,
    /// The request asks for validation (RFC 9111 §5.2.1).
    Reload,
    /// `only-if-cached`, and nothing suits (RFC 9111 §5.2.1.7).
    OnlyIfCached,
    /// The request says `no-store` (RFC 9111 §5.2.1.5).
    RequestNoStore,
    /// The response says `no-store` (RFC 9111 §5.2.2.5).
    NoStore,
    /// The response is for one user (RFC 9111 §5.2.2.7).
    Private,
    /// The request has `Authorization`, and the response does not allow sharing (RFC 9111 §3.5).
    Authorization,
    /// The response sets a cookie, and the policy does not share those (RFC 9111 §7.3).
    SetCookie,
    /// `Vary: *`, or a `Vary` that cannot be read (RFC 9111 §4.1).
    VaryStar,
    /// `Vary` names `Cookie` or `Authorization` in a shared cache.
    VaryCredentials,
    /// `Vary` names too many fields.
    VaryTooLong,
    /// Neither freshness nor a validator: it could never be used again (RFC 9111 §3).
    NoFreshness,
    /// The status code is not one that may be stored here (RFC 9111 §3).
    Status,
    /// Part of a response (RFC 9111 §3.3): what is stored has not all that is asked for, or what came
    /// is not kept.
    Partial,
    /// `Content-Length` cannot be read, or disagrees with the body.
    ContentLength,
    /// Larger than the store takes.
    TooLarge,
    /// Not asked for often enough to be kept.
    FewUses,
    /// More tags and cache groups than are kept with a response.
    TooManyTags,
    /// A stream without an end in sight: server-sent events, gRPC, `multipart/x-mixed-replace`.
    Streaming,
    /// The response to a `HEAD` request is passed on and not kept.
    Head,
    /// The 304 or 206 response does not belong to what is stored (RFC 9111 §3.4, §4.3.4).
    ValidatorMismatch,
    /// The client followed a redirect inside of itself: the answer belongs to another URI.
    RedirectedInside,
    /// An unsafe request or a purge came while the response was on its way.
    Invalidated,
    /// The store failed; the request was served without it.
    StoreError,
    /// The store did not answer in time; the request was served without it.
    StoreTimeout,
    /// The origin answered 500, 502, 503 or 504, and what was stored was used instead (RFC 5861 §4).
    ServerError,
    /// The origin could not be asked, and what was stored was used instead (RFC 9111 §4.2.4).
    Disconnected,
    /// The origin gave no answer in time, and what was stored was used instead.
    SlowOrigin,
    /// What other caches purge cannot be heard, so that what is stored cannot be vouched for.
    CutOff,
    /// Too many bytes are on their way from the origin already.
    Overload,
    /// The body broke off before its end.
    Incomplete,
    /// Nobody was left to read the body to its end.
    Abandoned,
    /// Only marked responses are stored, and this one is not marked.
    NotOptedIn,
    /// A hook of the policy said so, for a reason of its own ([`Bypass`](super::Bypass)).
    Hook(&'static str),
}

impl Reason {
    /// The token. There are as many of them as reasons, and those of the policy's own hooks.
    pub fn as_str(self) -> &'static str {
        match self {
            Reason::Method => "method",
            Reason::UnsafeMethod => "unsafe-method",
            Reason::Upgrade => "upgrade",
            Reason::RequestBody => "request-body",
            Reason::Range => "range",
            Reason::Precondition => "precondition",
            Reason::NoAuthority => "no-authority",
            Reason::Authority => "conflicting-authority",
            Reason::ConnectionOption => "connection-option",
            Reason::Cookie => "cookie",
            Reason::Extension => "extension",
            Reason::Mode => "mode",
            Reason::UriMiss => "uri-miss",
            Reason::VaryMiss => "vary-miss",
            Reason::Purged => "purged",
            Reason::Stale => "stale",
            Reason::NoCache => "no-cache",
            Reason::Reload => "reload",
            Reason::OnlyIfCached => "only-if-cached",
            Reason::RequestNoStore => "request-no-store",
            Reason::NoStore => "no-store",
            Reason::Private => "private",
            Reason::Authorization => "authorization",
            Reason::SetCookie => "set-cookie",
            Reason::VaryStar => "vary-star",
            Reason::VaryCredentials => "vary-credentials",
            Reason::VaryTooLong => "vary-too-long",
            Reason::NoFreshness => "no-freshness",
            Reason::Status => "status",
            Reason::Partial => "partial",
            Reason::ContentLength => "content-length",
            Reason::TooLarge => "too-large",
            Reason::FewUses => "few-uses",
            Reason::TooManyTags => "too-many-tags",
            Reason::Streaming => "streaming",
            Reason::Head => "head",
            Reason::ValidatorMismatch => "validator-mismatch",
            Reason::RedirectedInside => "redirected-inside",
            Reason::Invalidated => "invalidated",
            Reason::StoreError => "store-error",
            Reason::StoreTimeout => "store-timeout",
            Reason::ServerError => "server-error",
            Reason::Disconnected => "disconnected",
            Reason::SlowOrigin => "slow-origin",
            Reason::CutOff => "cut-off",
            Reason::Overload => "overload",
            Reason::Incomplete => "incomplete",
            Reason::Abandoned => "abandoned",
            Reason::NotOptedIn => "not-opted-in",
            Reason::Hook(reason) => reason,
        }
    }

    /// The `fwd` value that stands for a request forwarded for this reason (RFC 9211 §2.2).
    pub(super) fn forward(self) -> Forward {
        match self {
            Reason::Method | Reason::UnsafeMethod => Forward::Method,
            Reason::UriMiss => Forward::UriMiss,
            Reason::VaryMiss => Forward::VaryMiss,
            Reason::Purged => Forward::Miss,
            Reason::Stale | Reason::NoCache => Forward::Stale,
            Reason::Reload => Forward::Request,
            Reason::Partial => Forward::Partial,
            Reason::StoreError | Reason::StoreTimeout | Reason::CutOff => Forward::Miss,
            _ => Forward::Bypass,
        }
    }

    /// Whether the `fwd` value says all that this reason says.
    pub(super) fn is_said_by_forward(self) -> bool {
        matches!(
            self,
            Reason::Method
                | Reason::UnsafeMethod
                | Reason::UriMiss
                | Reason::VaryMiss
                | Reason::Stale
                | Reason::Reload
                | Reason::Partial
        )
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why a request went to the origin: the `fwd` parameter of RFC 9211 §2.2.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Forward {
    /// The cache was told not to handle the request.
    Bypass,
    /// The method requires the request to be forwarded.
    Method,
    /// Nothing was stored for the URI.
    UriMiss,
    /// Nothing was stored for the fields that `Vary` names.
    VaryMiss,
    /// Nothing that could be used was stored.
    Miss,
    /// What was stored was fresh, but the request did not allow its use.
    Request,
    /// What was stored was stale.
    Stale,
    /// What was stored was a part that did not have all that was asked for.
    Partial,
}

impl Forward {
    pub(super) fn token(self) -> &'static str {
        match self {
            Forward::Bypass => "bypass",
            Forward::Method => "method",
            Forward::UriMiss => "uri-miss",
            Forward::VaryMiss => "vary-miss",
            Forward::Miss => "miss",
            Forward::Request => "request",
            Forward::Stale => "stale",
            Forward::Partial => "partial",
        }
    }
}
