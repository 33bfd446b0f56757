use std::ops::Deref;

use http::{HeaderMap, Method, header, request};
use http_body::SizeHint;

use super::{
    CacheKey, CacheMode, Policy, Reason, Rule, Scope, StoredResponse, Unsafe,
    directives::RequestDirectives,
    explain, fields,
    hooks::Apart,
    index::{By, VariantBound, Wanted},
    invalidation::Post,
    range::Ranges,
    secret::Secret,
    seen::Fields,
    variants::{NameSet, Selecting},
};

/// The answer to the first question: what a request has to do with the cache.
#[derive(Debug)]
#[must_use]
pub enum Begin<'p> {
    /// Nothing: hand it to the origin, and its response to the client, as they are.
    Bypass(Reason),
    /// It is written through, and its response may invalidate (RFC 9111 §4.4).
    Invalidate(Unsafe),
    /// Look for [`Lookup::key`] in the store.
    Lookup(Lookup<'p>),
}

/// A request that may be answered from the store.
///
/// It borrows the policy, since a hit in memory is over before anything else happens;
/// [`detach`](Self::detach) makes it independent.
#[derive(Debug)]
#[must_use]
pub struct Lookup<'p> {
    pub(super) policy: Borrowed<'p>,
    pub(super) key: CacheKey,
    /// What tells the request apart beside what `Vary` names.
    pub(super) apart: Option<Box<[u8]>>,
    pub(super) mode: CacheMode,
    /// Whether nobody can vouch for what is stored.
    pub(super) is_doubted: bool,
    pub(super) is_head: bool,
    pub(super) authorization: bool,
    pub(super) is_conditional: bool,
    /// What of it is asked for, if not all.
    pub(super) ranges: Option<Ranges>,
    pub(super) directives: RequestDirectives,
}

#[derive(Debug)]
pub(super) enum Borrowed<'p> {
    Policy(&'p Policy),
    Own(Policy),
}

impl Deref for Borrowed<'_> {
    type Target = Policy;

    #[inline]
    fn deref(&self) -> &Policy {
        match self {
            Borrowed::Policy(policy) => policy,
            Borrowed::Own(policy) => policy,
        }
    }
}

impl Policy {
    /// The first question. `body` is the size hint of the request's body.
    #[inline]
    pub fn begin(&self, head: &request::Parts, body: &SizeHint) -> Begin<'_> {
        let trail = &self.rules.trail;
        let begun = self.begin_by_method(head, body);
        trail.note(Rule::Request, || {
            let told = match &begun {
                Begin::Bypass(reason) => format!("passes by: {reason}"),
                Begin::Invalidate(_) => "is written through".to_owned(),
                Begin::Lookup(_) => "is looked up".to_owned(),
            };
            (format!("{} {}", head.method, head.uri), told)
        });
        begun
    }

    #[inline]
    fn begin_by_method(&self, head: &request::Parts, body: &SizeHint) -> Begin<'_> {
        let method = |told: &str| {
            self.rules.trail.note(Rule::Method, || (head.method.to_string(), told.to_owned()));
        };
        match head.method {
            Method::GET | Method::HEAD => {
                method("may be answered from the store");
                self.lookup(head, body)
            }
            Method::CONNECT => Begin::Bypass(Reason::Upgrade),
            Method::OPTIONS | Method::TRACE => {
                method("safe, and its responses are not kept");
                Begin::Bypass(Reason::Method)
            }
            // A method that nobody has registered may be unsafe, and is taken to be.
            _ => {
                method("unsafe");
                let key = match self.key_of(head, true) {
                    Ok(key) => key,
                    Err(reason) => return Begin::Bypass(reason),
                };
                let post = match head.method {
                    Method::POST => self.post(head, &key).ok(),
                    _ => None,
                };
                Begin::Invalidate(Unsafe::new(key, self).writing(post))
            }
        }
    }

    #[inline]
    fn key_of(&self, head: &request::Parts, has_host: bool) -> Result<CacheKey, Reason> {
        let key = match has_host {
            true => CacheKey::of(&self.rules, head),
            false => CacheKey::without_host(&self.rules, head),
        };
        self.rules.trail.note(Rule::Key, || {
            let told = match &key {
                Ok(key) => format!("{key:?}"),
                Err(reason) => format!("none: {reason}"),
            };
            (explain::show(&head.headers, &[header::HOST]), told)
        });
        key
    }

    /// In one place to the end: a hit feels each time that its look-up is moved.
    #[inline]
    fn lookup(&self, head: &request::Parts, body: &SizeHint) -> Begin<'_> {
        let fields = Fields::scan(&head.headers);
        let ranges = match self.may_look(head, &fields, body) {
            Ok(ranges) => ranges,
            Err(reason) => return Begin::Bypass(reason),
        };
        let key = match self.key_of(head, fields.host) {
            Ok(key) => key,
            Err(reason) => return Begin::Bypass(reason),
        };
        let apart = match Apart::all(&self.rules.apart, head) {
            Ok(apart) => apart,
            Err(bypass) => return Begin::Bypass(bypass.into()),
        };
        Begin::Lookup(Lookup {
            policy: Borrowed::Policy(self),
            key,
            apart,
            mode: CacheMode::of(&head.extensions),
            is_doubted: false,
            is_head: head.method == Method::HEAD,
            authorization: fields.authorization,
            is_conditional: fields.conditional,
            ranges,
            directives: fields.directives(&head.headers),
        })
    }

    /// What of it a request asks for, if it may be answered from the store.
    #[inline]
    fn may_look(
        &self,
        head: &request::Parts,
        fields: &Fields,
        body: &SizeHint,
    ) -> Result<Option<Ranges>, Reason> {
        self.admit(head, fields)?;
        // A cache that ignores the body of a GET answers with what another body brought.
        if body.exact() != Some(0) {
            return Err(Reason::RequestBody);
        }
        // RFC 9110 §14.2: of no meaning but with GET.
        let ranges = match fields.range && head.method == Method::GET {
            true => Some(Ranges::parse(&head.headers).ok_or(Reason::Range)?),
            false => None,
        };
        if fields.precondition { Err(Reason::Precondition) } else { Ok(ranges) }
    }

    /// What is kept of a POST whose response may be kept (RFC 9110 §9.3.3).
    fn post(&self, head: &request::Parts, key: &CacheKey) -> Result<Post, Reason> {
        let fields = Fields::scan(&head.headers);
        self.admit(head, &fields)?;
        let lookup = Lookup {
            policy: Borrowed::Own(self.clone()),
            key: key.clone(),
            apart: Apart::all(&self.rules.apart, head)?,
            mode: CacheMode::of(&head.extensions),
            is_doubted: false,
            is_head: false,
            authorization: fields.authorization,
            is_conditional: false,
            ranges: None,
            directives: fields.directives(&head.headers),
        };
        Ok(Post { lookup, request: head.headers.clone() })
    }

    /// Whether the cache has a part in requests like this one, whatever their method.
    #[inline]
    fn admit(&self, head: &request::Parts, fields: &Fields) -> Result<(), Reason> {
        let rules = &*self.rules;
        if CacheMode::of(&head.extensions) == CacheMode::NoStore {
            return Err(Reason::Mode);
        }
        if fields.upgrade {
            return Err(Reason::Upgrade);
        }
        if fields.connection && nominates_more_than_the_connection(&head.headers) {
            return Err(Reason::ConnectionOption);
        }
        if rules.bypass_cookies && fields.cookie {
            return Err(Reason::Cookie);
        }
        if rules.pass.as_ref().is_some_and(|pass| pass(&head.extensions)) {
            return Err(Reason::Extension);
        }
        rules.on_request.iter().try_for_each(|hook| hook(head))?;
        Ok(())
    }
}

impl Lookup<'_> {
    /// The same question, for a store that has to be waited for.
    pub fn detach(self) -> Lookup<'static> {
        let policy = Borrowed::Own(self.policy.clone());
        Lookup {
            policy,
            key: self.key,
            apart: self.apart,
            mode: self.mode,
            is_doubted: self.is_doubted,
            is_head: self.is_head,
            authorization: self.authorization,
            is_conditional: self.is_conditional,
            ranges: self.ranges,
            directives: self.directives,
        }
    }

    /// The same question where what is stored may have been purged elsewhere, unheard: it is validated
    /// before it is used, however fresh (RFC 9111 §4.3).
    pub fn doubting(self) -> Self {
        Self { is_doubted: true, ..self }
    }

    /// The resource that is asked for.
    #[inline]
    pub fn key(&self) -> &CacheKey {
        &self.key
    }

    /// What to get from the store, for the request with these `headers`.
    #[inline]
    pub fn wanted<'a>(&'a self, headers: &'a HeaderMap, secret: &'a Secret) -> Wanted<'a> {
        Wanted { key: &self.key, by: By::Request(self.selecting(headers, secret), self.bound()) }
    }

    /// How many variants of the resource may be kept.
    #[inline]
    pub(super) fn bound(&self) -> VariantBound {
        let quota = self.policy.rules.partition_quota;
        if let (Some(quota), Some(_)) = (quota, self.key.partition()) {
            VariantBound::Quota(quota)
        } else if self.policy.scope() == Scope::Shared && self.key.partition().is_none() {
            VariantBound::Count(self.policy.rules.max_variants)
        } else {
            VariantBound::Share
        }
    }

    /// What of the request with these `headers` selects among variants.
    #[inline]
    pub(super) fn selecting<'a>(
        &'a self,
        request: &'a HeaderMap,
        secret: &'a Secret,
    ) -> Selecting<'a> {
        let (rules, apart) = (&*self.policy.rules, self.apart.as_deref());
        let (forms, unvaried) = (rules.forms, &*rules.storing.unvaried);
        Selecting { request, secret, forms, unvaried, apart }
    }

    /// What a stored response's `Vary` names, as far as it counts here.
    pub(super) fn names_of(&self, stored: &StoredResponse) -> Result<NameSet, Reason> {
        self.names_in(stored.head().headers())
    }

    pub(super) fn names_in(&self, headers: &HeaderMap) -> Result<NameSet, Reason> {
        NameSet::of(headers, &self.policy.rules.storing.unvaried)
    }
}

/// `Connection` may take a field away from the origin that the cache has looked at, such as
/// `Authorization`: then both see different requests.
fn nominates_more_than_the_connection(headers: &HeaderMap) -> bool {
    const HARMLESS: [&str; 6] =
        ["close", "keep-alive", "te", "trailer", "transfer-encoding", "proxy-connection"];
    fields::list(headers, &header::CONNECTION)
        .any(|option| !HARMLESS.iter().any(|name| option.eq_ignore_ascii_case(name.as_bytes())))
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn begin(policy: &Policy, request: http::request::Builder, length: u64) -> Begin<'_> {
        let (head, ()) = request.body(()).unwrap().into_parts();
        policy.begin(&head, &SizeHint::with_exact(length))
    }

    fn get() -> http::request::Builder {
        Request::get("http://a.example/")
    }

    #[track_caller]
    fn assert_bypass(begin: Begin<'_>, expected: Reason) {
        assert!(
            matches!(begin, Begin::Bypass(reason) if reason == expected),
            "{begin:?} {expected}"
        );
    }

    /// Feature if-match; RFC 9110 §13.1.1.
    #[test]
    fn requests_that_pass_by_the_cache_say_why() {
        let policy = Policy::shared();
        let with = |name: &str, value: &str| get().header(name, value);
        // RFC 9110 §9.2.3, §9.3.6, §7.8
        assert_bypass(begin(&policy, get().method("OPTIONS"), 0), Reason::Method);
        assert_bypass(begin(&policy, get().method("TRACE"), 0), Reason::Method);
        assert_bypass(begin(&policy, get().method("CONNECT"), 0), Reason::Upgrade);
        assert_bypass(begin(&policy, with("upgrade", "websocket"), 0), Reason::Upgrade);
        assert_bypass(begin(&policy, get(), 1), Reason::RequestBody);
        for unknown in ["items=0-1", "bytes=2-1", "bytes=0-1,4-3"] {
            assert_bypass(begin(&policy, with("range", unknown), 0), Reason::Range);
        }
        assert_bypass(begin(&policy, with("if-match", "\"a\""), 0), Reason::Precondition);
        // RFC 9110 §7.6.1
        for option in ["authorization", "close, Cookie", "cache-control", "x-a", "host"] {
            assert_bypass(begin(&policy, with("connection", option), 0), Reason::ConnectionOption);
        }
        for option in ["close", "Keep-Alive", "TE, close"] {
            assert!(matches!(begin(&policy, with("connection", option), 0), Begin::Lookup(_)));
        }
        assert_bypass(begin(&policy, with("host", "b.example"), 0), Reason::Authority);
        assert_bypass(begin(&policy, get().extension(CacheMode::NoStore), 0), Reason::Mode);
    }

    #[test]
    fn a_body_of_unknown_size_counts_as_one() {
        let (head, ()) = get().body(()).unwrap().into_parts();
        assert_bypass(Policy::shared().begin(&head, &SizeHint::default()), Reason::RequestBody);
    }

    #[test]
    fn who_the_user_is_may_stand_outside_of_the_fields() {
        #[derive(Clone)]
        struct User;
        #[derive(Clone)]
        struct Admin;
        let policy = Policy::shared()
            .bypass_cookies(true)
            .bypass_if_extension::<User>()
            .bypass_if_extension::<Admin>();
        assert_bypass(begin(&policy, get().header("cookie", "a=b"), 0), Reason::Cookie);
        assert_bypass(begin(&policy, get().extension(User), 0), Reason::Extension);
        assert_bypass(begin(&policy, get().extension(Admin), 0), Reason::Extension);
        assert!(matches!(begin(&policy, get(), 0), Begin::Lookup(_)));
        let cookie = get().header("cookie", "a=b");
        assert!(matches!(begin(&Policy::shared(), cookie, 0), Begin::Lookup(_)), "Behaviour 7");
    }

    /// RFC 9111 §4: unsafe methods are written through, unknown ones among them.
    #[test]
    fn unsafe_methods_invalidate() {
        for method in ["POST", "PUT", "DELETE", "PATCH", "FROB", "PROPFIND"] {
            let policy = Policy::shared();
            let begun = begin(&policy, get().method(method), 3);
            assert!(matches!(begun, Begin::Invalidate(_)), "{method}");
        }
    }
}
