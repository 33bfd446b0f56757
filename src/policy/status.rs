use std::fmt;

use http::{HeaderName, HeaderValue, StatusCode};

use super::{Forward, Reason, fields};

/// Where it is told.
pub(crate) const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");

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
    pub(super) how: How,
    pub(super) ttl: Option<i64>,
    pub(super) forward_status: Option<StatusCode>,
    stored: bool,
    pub(super) collapsed: bool,
    pub(super) detail: Option<Reason>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum How {
    Hit,
    Forwarded(Reason),
    /// Neither: the cache made the answer.
    Generated,
}

impl CacheStatus {
    /// Answered from the store; `ttl` is the freshness left in seconds, negative when stale.
    #[inline]
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

    #[inline]
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
    #[inline]
    pub fn is_hit(&self) -> bool {
        self.how == How::Hit
    }

    /// Why the request was forwarded, `None` for a hit. [`forward`](Self::forward) says it in the
    /// words of RFC 9211.
    #[inline]
    pub fn forward_reason(&self) -> Option<Reason> {
        match self.how {
            How::Forwarded(reason) => Some(reason),
            How::Hit | How::Generated => None,
        }
    }

    /// Why the request was forwarded, `None` for a hit (RFC 9211 §2.2).
    pub fn forward(&self) -> Option<Forward> {
        self.forward_reason().map(Reason::forward)
    }

    /// The status that the origin answered with, if it is not the response's (RFC 9211 §2.3).
    #[inline]
    pub fn forward_status(&self) -> Option<StatusCode> {
        self.forward_status
    }

    /// The freshness left in seconds, negative when stale (RFC 9211 §2.4).
    #[inline]
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
        self.member(name, None)
    }

    /// The same, with what the request was looked up under (RFC 9211 §2.7).
    #[inline]
    pub(crate) fn member(self, name: &str, key: Option<&str>) -> Option<HeaderValue> {
        match key {
            None => self.hit_member(name).or_else(|| self.any_member(name, None)),
            Some(_) => self.any_member(name, key),
        }
    }

    fn any_member(self, name: &str, key: Option<&str>) -> Option<HeaderValue> {
        if name.chars().any(|c| !matches!(c, ' '..='~')) {
            return None;
        }
        let member = match key {
            Some(key) => format!("{}; {self}; key={}", Item(name), Text(key)),
            None => format!("{}; {self}", Item(name)),
        };
        HeaderValue::try_from(member).ok()
    }
}

impl CacheStatus {
    /// The member for a hit, which costs no more than its digits.
    fn hit_member(&self, name: &str) -> Option<HeaderValue> {
        const SAYS: &[u8] = b"; hit; ttl=";
        let is_plain = *self == Self::hit(self.ttl?);
        if !is_plain || !is_token(name) {
            return None;
        }
        let mut out = [0; 96];
        let (mut at, mut rest) = (out.len(), self.ttl?.unsigned_abs());
        let mut put = |bytes: &[u8]| {
            let start = at.checked_sub(bytes.len())?;
            out.get_mut(start..at)?.copy_from_slice(bytes);
            at = start;
            Some(())
        };
        // From the end, as digits come.
        loop {
            put(&[b'0' + (rest % 10) as u8])?;
            rest /= 10;
            if rest == 0 {
                break;
            }
        }
        if self.ttl? < 0 {
            put(b"-")?;
        }
        put(SAYS)?;
        put(name.as_bytes())?;
        HeaderValue::from_bytes(out.get(at..)?).ok()
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
            parameter(f, format_args!("detail={}", Item(reason.as_str())))?;
        }
        Ok(())
    }
}

/// RFC 9651 §3.3.4.
fn is_token(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '*')
        && text.bytes().all(|b| fields::is_tchar(b) || b":/".contains(&b))
}

/// A text as a Token, or else as a String (RFC 9651 §4.1.6, §4.1.7).
struct Item<'a>(&'a str);

impl fmt::Display for Item<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(text) = self;
        if is_token(text) { f.write_str(text) } else { Text(text).fmt(f) }
    }
}

/// A text as a String. What that cannot hold shows as `?`.
struct Text<'a>(&'a str);

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("\"")?;
        for c in self.0.chars() {
            match c {
                '"' | '\\' => write!(f, "\\{c}")?,
                ' '..='~' => write!(f, "{c}")?,
                _ => f.write_str("?")?,
            }
        }
        f.write_str("\"")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 9211 §2.
    #[test]
    fn members_are_items_with_parameters() {
        let table: [(CacheStatus, &str, &str); 12] = [
            (CacheStatus::hit(0), "larder", "larder; hit; ttl=0"),
            (CacheStatus::hit(7), "a b", "\"a b\"; hit; ttl=7"),
            (CacheStatus::hit(7).collapsed(), "larder", "larder; hit; ttl=7; collapsed"),
            (
                CacheStatus::hit(i64::MIN),
                "a-cache/of.some:length",
                "a-cache/of.some:length; hit; ttl=-9223372036854775808",
            ),
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
            (
                CacheStatus::forwarded(Reason::Hook("admin")),
                r#"a "b" \"#,
                r#""a \"b\" \\"; fwd=bypass; detail=admin"#,
            ),
            (
                CacheStatus::forwarded(Reason::Hook("no \"way\", \u{e9}")),
                "larder",
                r#"larder; fwd=bypass; detail="no \"way\", ?""#,
            ),
            (CacheStatus::forwarded(Reason::Range), "larder", "larder; fwd=bypass; detail=range"),
        ];
        for (status, name, member) in table {
            assert_eq!(status.to_member(name).unwrap(), member);
        }
        assert_eq!(CacheStatus::hit(1).to_member("a\nb"), None);
        // A key is a String, also where it could be a Token (RFC 9211 §2.7).
        let member = CacheStatus::hit(1).member("larder", Some("http://a.example/\"")).unwrap();
        assert_eq!(member, r#"larder; hit; ttl=1; key="http://a.example/\"""#);
        let long = "a".repeat(100);
        let member = CacheStatus::hit(1).to_member(&long).unwrap();
        assert_eq!(member, format!("{long}; hit; ttl=1"));
    }
}
