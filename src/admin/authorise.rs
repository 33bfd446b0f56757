use http::{HeaderValue, header, request};

use crate::Error;

/// Says who may do what with an [`AdminService`](super::AdminService).
///
/// A closure is one. What has to wait for an answer belongs into a layer outside of the service, which
/// puts what it has found into the request's extensions; here that is looked at:
///
/// ```
/// use http::request;
/// use larder::admin::{Access, Action, AdminService};
/// # #[derive(Clone)] struct Operator { name: String, may_purge: bool }
/// # fn example(handle: larder::CacheHandle<larder::MemoryManager>) {
///
/// let admin = AdminService::new(handle, |head: &request::Parts, action: Action| {
///     match (head.extensions.get::<Operator>(), action) {
///         (None, _) => Access::Unauthenticated,
///         (Some(operator), Action::Purge) if !operator.may_purge => Access::Forbidden,
///         (Some(operator), _) => Access::GrantedTo(operator.name.clone()),
///     }
/// });
/// # }
/// ```
///
/// One that goes by a cookie lets any page that an operator visits ask in his name; one that goes by
/// `Authorization` does not.
pub trait Authorise: Send + Sync + 'static {
    /// Whether a request may do what it asks for. Its body has not been read.
    fn authorise(&self, request: &request::Parts, action: Action) -> Access;

    /// What `WWW-Authenticate` says to who has not said who he is (RFC 9110 §11.6.1). Default:
    /// `Bearer`.
    fn challenge(&self) -> HeaderValue {
        HeaderValue::from_static("Bearer")
    }
}

/// What a request to an [`AdminService`](super::AdminService) wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Action {
    /// To look: lists, entries, statistics, events, dry runs, and whatever does not exist.
    Read,
    /// To purge.
    Purge,
}

/// What it gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Access {
    /// It may.
    Granted,
    /// It may, and everybody who follows the purges sees who it was ([`Purge::by`](crate::Purge::by)).
    GrantedTo(String),
    /// It does not say who asks, or not in a way that is believed: 401.
    Unauthenticated,
    /// Who asks may not do that: 403.
    Forbidden,
}

impl<F> Authorise for F
where
    F: Fn(&request::Parts, Action) -> Access + Send + Sync + 'static,
{
    fn authorise(&self, request: &request::Parts, action: Action) -> Access {
        self(request, action)
    }
}

/// Lets in who knows a secret: `Authorization: Bearer SECRET` (RFC 6750 §2.1).
///
/// Secrets are compared in constant time. Take long random ones, such as of `openssl rand -hex 32`, and
/// send them over TLS or inside of one machine only.
#[derive(Clone)]
pub struct BearerToken {
    // Of equal length whatever the secrets' is, and not the secrets.
    tokens: Vec<(blake3::Hash, Scope)>,
}

#[derive(Clone, Copy)]
enum Scope {
    All,
    Reading,
}

impl BearerToken {
    /// Who knows `token` may do everything.
    ///
    /// # Errors
    ///
    /// If it is empty, or cannot stand in a field: only visible ASCII can ([`Error::is_invalid`]).
    pub fn new(token: &str) -> Result<Self, Error> {
        Self { tokens: Vec::new() }.with(token, Scope::All)
    }

    /// Who knows this one may look, and not purge.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new).
    pub fn reading(self, token: &str) -> Result<Self, Error> {
        self.with(token, Scope::Reading)
    }

    fn with(mut self, token: &str, scope: Scope) -> Result<Self, Error> {
        if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(Error::invalid("a token is visible ASCII, and not empty"));
        }
        self.tokens.push((blake3::hash(token.as_bytes()), scope));
        Ok(self)
    }
}

impl Authorise for BearerToken {
    fn authorise(&self, request: &request::Parts, action: Action) -> Access {
        let Some(given) = token(request) else { return Access::Unauthenticated };
        let given = blake3::hash(given);
        // Whichever it is, all are compared, each in constant time as `blake3::Hash` does.
        let mut access = Access::Unauthenticated;
        for (known, scope) in &self.tokens {
            access = match (*known == given, scope, action) {
                (false, ..) => access,
                (true, Scope::Reading, Action::Purge) if access != Access::Granted => {
                    Access::Forbidden
                }
                (true, ..) => Access::Granted,
            };
        }
        access
    }
}

impl std::fmt::Debug for BearerToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BearerToken").finish_non_exhaustive()
    }
}

/// The one token that a request has.
fn token(request: &request::Parts) -> Option<&[u8]> {
    let mut lines = request.headers.get_all(header::AUTHORIZATION).iter();
    let (Some(line), None) = (lines.next(), lines.next()) else { return None };
    let (scheme, rest) = line.as_bytes().split_at_checked("Bearer".len())?;
    let is_bearer = scheme.eq_ignore_ascii_case(b"Bearer") && rest.first() == Some(&b' ');
    is_bearer.then_some(rest.trim_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn access(lines: &[&str], action: Action) -> Access {
        let authoriser = BearerToken::new("all").unwrap().reading("look").unwrap();
        let request = http::Request::get("/");
        let request =
            lines.iter().fold(request, |request, line| request.header("authorization", *line));
        authoriser.authorise(&request.body(()).unwrap().into_parts().0, action)
    }

    #[test]
    fn a_token_is_one_whole_line() {
        for line in ["Bearer all", "bearer all", "BEARER   all "] {
            assert_eq!(access(&[line], Action::Purge), Access::Granted, "{line}");
        }
        for lines in [
            [].as_slice(),
            &[""],
            &["Bearer"],
            &["Bearer "],
            &["Bearerall"],
            &["Bearer al"],
            &["Bearer alll"],
            &["Bearer ALL"],
            &["Basic all"],
            &["all"],
            &["Bearer all", "Bearer all"],
            &["Bearer look, Bearer all"],
        ] {
            assert_eq!(access(lines, Action::Purge), Access::Unauthenticated, "{lines:?}");
        }
        assert_eq!(access(&["Bearer look"], Action::Read), Access::Granted);
        assert_eq!(access(&["Bearer look"], Action::Purge), Access::Forbidden);
    }

    /// Such as an environment variable that is not set.
    #[test]
    fn an_empty_token_is_none() {
        for token in ["", " ", "a b", "a\n", "é"] {
            assert!(BearerToken::new(token).unwrap_err().is_invalid(), "{token:?}");
        }
        let both = BearerToken::new("a").unwrap().reading("a").unwrap();
        let request = http::Request::get("/").header("authorization", "Bearer a");
        let (head, ()) = request.body(()).unwrap().into_parts();
        assert_eq!(both.authorise(&head, Action::Purge), Access::Granted);
    }
}
