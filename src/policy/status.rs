use std::fmt;

use http::{HeaderValue, StatusCode};

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
    /// A `Range` request (RFC 9110 §14.2).
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
    /// Part of a response (RFC 9111 §3.3).
    Partial,
    /// `Content-Length` cannot be read, or disagrees with the body.
    ContentLength,
    /// Larger than the store takes.
    TooLarge,
    /// More tags and cache groups than are kept with a response.
    TooManyTags,
    /// A stream without an end in sight: server-sent events, gRPC, `multipart/x-mixed-replace`.
    Streaming,
    /// The response to a `HEAD` request is passed on and not kept.
    Head,
    /// The 304 response does not belong to what is stored (RFC 9111 §4.3.4).
    ValidatorMismatch,
    /// The client followed a redirect inside of itself: the answer belongs to another URI.
    RedirectedInside,
    /// An unsafe request or a purge came while the response was on its way.
    Invalidated,
    /// The store failed; the request was served without it.
    StoreError,
    /// The origin answered 500, 502, 503 or 504, and what was stored was used instead (RFC 5861 §4).
    ServerError,
    /// The origin could not be asked, and what was stored was used instead (RFC 9111 §4.2.4).
    Disconnected,
    /// The origin gave no answer in time, and what was stored was used instead.
    SlowOrigin,
    /// Too many bytes are on their way from the origin already.
    Overload,
}

impl Reason {
    fn token(self) -> &'static str {
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
            Reason::TooManyTags => "too-many-tags",
            Reason::Streaming => "streaming",
            Reason::Head => "head",
            Reason::ValidatorMismatch => "validator-mismatch",
            Reason::RedirectedInside => "redirected-inside",
            Reason::Invalidated => "invalidated",
            Reason::StoreError => "store-error",
            Reason::ServerError => "server-error",
            Reason::Disconnected => "disconnected",
            Reason::SlowOrigin => "slow-origin",
            Reason::Overload => "overload",
        }
    }

    /// The `fwd` value that stands for a request forwarded for this reason (RFC 9211 §2.2).
    fn forward(self) -> Forward {
        match self {
            Reason::Method | Reason::UnsafeMethod => Forward::Method,
            Reason::UriMiss => Forward::UriMiss,
            Reason::VaryMiss => Forward::VaryMiss,
            Reason::Purged => Forward::Miss,
            Reason::Stale | Reason::NoCache => Forward::Stale,
            Reason::Reload => Forward::Request,
            Reason::StoreError => Forward::Miss,
            _ => Forward::Bypass,
        }
    }

    /// Whether the `fwd` value says all that this reason says.
    fn is_said_by_forward(self) -> bool {
        matches!(
            self,
            Reason::Method
                | Reason::UnsafeMethod
                | Reason::UriMiss
                | Reason::VaryMiss
                | Reason::Stale
                | Reason::Reload
        )
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.token())
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
}

impl Forward {
    fn token(self) -> &'static str {
        match self {
            Forward::Bypass => "bypass",
            Forward::Method => "method",
            Forward::UriMiss => "uri-miss",
            Forward::VaryMiss => "vary-miss",
            Forward::Miss => "miss",
            Forward::Request => "request",
            Forward::Stale => "stale",
        }
    }
}

/// What the cache did with a request (RFC 9211).
///
/// Read it from [`CacheBody::status`](crate::CacheBody::status), or from the response's extensions
/// where [`CacheLayer::cache_status_extension`](crate::CacheLayer::cache_status_extension) is on.
/// `Display` writes the parameters of a `Cache-Status` member.
///
/// ```
/// use larder::policy::{CacheStatus, Reason};
///
/// let status = CacheStatus::forwarded(Reason::VaryMiss);
/// assert!(!status.is_hit());
/// assert_eq!(status.to_string(), "fwd=vary-miss");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheStatus {
    how: How,
    ttl: Option<i64>,
    forward_status: Option<StatusCode>,
    stored: bool,
    collapsed: bool,
    detail: Option<Reason>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum How {
    Hit,
    Forwarded(Reason),
    /// Neither: the cache made the answer.
    Generated,
}

impl CacheStatus {
    /// Answered from the store; `ttl` is the freshness left in seconds, negative when stale.
    pub(crate) fn hit(ttl: i64) -> Self {
        Self { ttl: Some(ttl), ..Self::new(How::Hit) }
    }

    /// Sent to the origin for `reason`.
    pub fn forwarded(reason: Reason) -> Self {
        Self::new(How::Forwarded(reason))
    }

    /// Made by the cache itself for `reason`.
    pub(crate) fn generated(reason: Reason) -> Self {
        Self { detail: Some(reason), ..Self::new(How::Generated) }
    }

    fn new(how: How) -> Self {
        Self { how, ttl: None, forward_status: None, stored: false, collapsed: false, detail: None }
    }

    pub(crate) fn answered(mut self, status: StatusCode) -> Self {
        self.forward_status = Some(status);
        self
    }

    pub(crate) fn stored(mut self, ttl: i64) -> Self {
        self.stored = true;
        self.ttl = Some(ttl);
        self
    }

    pub(crate) fn with_ttl(mut self, ttl: i64) -> Self {
        self.ttl = Some(ttl);
        self
    }

    /// Answered with what another request has brought (RFC 9211 §2.6).
    pub(crate) fn collapsed(mut self) -> Self {
        self.collapsed = true;
        self
    }

    pub(crate) fn detailed(mut self, reason: Reason) -> Self {
        self.stored = false;
        self.ttl = None;
        self.detail = Some(reason);
        self
    }

    /// Whether the response came from the store without asking the origin.
    pub fn is_hit(&self) -> bool {
        self.how == How::Hit
    }

    /// Why the request was forwarded, `None` for a hit (RFC 9211 §2.2).
    pub fn forward(&self) -> Option<Forward> {
        match self.how {
            How::Forwarded(reason) => Some(reason.forward()),
            How::Hit | How::Generated => None,
        }
    }

    /// The status that the origin answered with, if it is not the response's (RFC 9211 §2.3).
    pub fn forward_status(&self) -> Option<StatusCode> {
        self.forward_status
    }

    /// The freshness left in seconds, negative when stale (RFC 9211 §2.4).
    pub fn ttl(&self) -> Option<i64> {
        self.ttl
    }

    /// Whether the response is being stored (RFC 9211 §2.5). It is kept only if it arrives whole.
    pub fn is_stored(&self) -> bool {
        self.stored
    }

    /// Whether the request waited for another's answer and got it (RFC 9211 §2.6).
    pub fn is_collapsed(&self) -> bool {
        self.collapsed
    }

    /// The reason that tells most: why the response was not kept, else why the request was
    /// forwarded, `None` for a plain hit.
    pub fn reason(&self) -> Option<Reason> {
        match self.how {
            How::Forwarded(reason) => Some(self.detail.unwrap_or(reason)),
            How::Hit | How::Generated => self.detail,
        }
    }

    /// This status as a member of the `Cache-Status` field, made by the cache called `name`.
    ///
    /// A name that is not a token is written as a string (RFC 9211 §2); `None` if it has bytes that
    /// neither can hold.
    pub fn to_member(&self, name: &str) -> Option<HeaderValue> {
        let is_token = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '*')
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~:/".contains(&b));
        let text = if is_token {
            format!("{name}; {self}")
        } else {
            let quoted = name.replace('\\', "\\\\").replace('"', "\\\"");
            format!("\"{quoted}\"; {self}")
        };
        HeaderValue::try_from(text).ok()
    }
}

impl fmt::Display for CacheStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        let mut parameter = |f: &mut fmt::Formatter<'_>, text: fmt::Arguments<'_>| {
            let result = write!(f, "{separator}{text}");
            separator = "; ";
            result
        };
        let mut detail = self.detail;
        match self.how {
            How::Hit => parameter(f, format_args!("hit"))?,
            How::Forwarded(reason) => {
                parameter(f, format_args!("fwd={}", reason.forward().token()))?;
                if detail.is_none() && !reason.is_said_by_forward() {
                    detail = Some(reason);
                }
            }
            How::Generated => {}
        }
        if let Some(status) = self.forward_status {
            parameter(f, format_args!("fwd-status={}", status.as_u16()))?;
        }
        if let Some(ttl) = self.ttl {
            parameter(f, format_args!("ttl={ttl}"))?;
        }
        if self.stored {
            parameter(f, format_args!("stored"))?;
        }
        if self.collapsed {
            parameter(f, format_args!("collapsed"))?;
        }
        if let Some(reason) = detail {
            parameter(f, format_args!("detail={reason}"))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 9211 §2.
    #[test]
    fn members_are_items_with_parameters() {
        let table: [(CacheStatus, &str, &str); 6] = [
            (CacheStatus::hit(30), "larder", "larder; hit; ttl=30"),
            (CacheStatus::hit(-3), "larder", "larder; hit; ttl=-3"),
            (
                CacheStatus::forwarded(Reason::Stale).answered(StatusCode::NOT_MODIFIED),
                "Front Door",
                "\"Front Door\"; fwd=stale; fwd-status=304",
            ),
            (
                CacheStatus::forwarded(Reason::UriMiss).stored(60),
                "larder",
                "larder; fwd=uri-miss; ttl=60; stored",
            ),
            (
                CacheStatus::forwarded(Reason::UriMiss).detailed(Reason::SetCookie),
                "larder",
                "larder; fwd=uri-miss; detail=set-cookie",
            ),
            (CacheStatus::forwarded(Reason::Range), "larder", "larder; fwd=bypass; detail=range"),
        ];
        for (status, name, member) in table {
            assert_eq!(status.to_member(name).unwrap(), member);
        }
        assert_eq!(CacheStatus::hit(1).to_member("a\nb"), None);
    }
}
