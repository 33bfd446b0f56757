use std::borrow::Cow;

use http::{HeaderMap, Method, header, request};
use http_body::SizeHint;

use super::{
    CacheKey, CacheMode, Lookup, Policy, Reason, Rule, Unsafe,
    directives::RequestDirectives,
    explain, fields,
    hooks::Apart,
    invalidation::Post,
    kept::Kept,
    key,
    lookup::Key,
    range::Ranges,
    seen::{Field, Fields},
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

impl Policy {
    /// The first question. `body` is the size hint of the request's body.
    pub fn begin(&self, head: &request::Parts, body: &SizeHint) -> Begin<'_> {
        let mut room = CacheKey::BLANK;
        match self.begin_in(&mut room, head, body) {
            Begin::Lookup(lookup) => Begin::Lookup(lookup.of(Cow::Borrowed(self))),
            Begin::Bypass(reason) => Begin::Bypass(reason),
            Begin::Invalidate(request) => Begin::Invalidate(request),
        }
    }

    /// The same, with a place for the key.
    #[inline]
    pub(crate) fn begin_in<'p>(
        &'p self,
        room: &'p mut CacheKey,
        head: &request::Parts,
        body: &SizeHint,
    ) -> Begin<'p> {
        match self.rules.trail.is_kept() {
            true => self.begin_aloud(room, head, body),
            false => self.begin_by_method(room, head, body),
        }
    }

    #[cold]
    fn begin_aloud<'p>(
        &'p self,
        room: &'p mut CacheKey,
        head: &request::Parts,
        body: &SizeHint,
    ) -> Begin<'p> {
        let begun = self.begin_by_method(room, head, body);
        self.rules.trail.note(Rule::Request, || {
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
    fn begin_by_method<'p>(
        &'p self,
        room: &'p mut CacheKey,
        head: &request::Parts,
        body: &SizeHint,
    ) -> Begin<'p> {
        let method = |told: &str| {
            self.rules.trail.note(Rule::Method, || (head.method.to_string(), told.to_owned()));
        };
        match head.method {
            Method::GET | Method::HEAD => {
                method("may be answered from the store");
                self.lookup(room, head, body)
            }
            Method::CONNECT => Begin::Bypass(Reason::Upgrade),
            Method::OPTIONS | Method::TRACE => {
                method("safe, and its responses are not kept");
                Begin::Bypass(Reason::Method)
            }
            // A method that nobody has registered may be unsafe, and is taken to be.
            _ => {
                method("unsafe");
                if let Err(reason) = self.write_key(room, head) {
                    return Begin::Bypass(reason);
                }
                let post = match head.method {
                    Method::POST => self.post(head, room).ok(),
                    _ => None,
                };
                Begin::Invalidate(Unsafe::new(room.clone(), self).writing(post))
            }
        }
    }

    /// Writes the key where it was told to.
    #[cold]
    fn write_key(&self, room: &mut CacheKey, head: &request::Parts) -> Result<(), Reason> {
        let host = key::single_host(&head.headers);
        let written = host.and_then(|host| room.write(&self.rules, head, host));
        self.rules.trail.note(Rule::Key, || {
            let told = match &written {
                Ok(()) => format!("{room:?}"),
                Err(reason) => format!("none: {reason}"),
            };
            (explain::show(&head.headers, &[header::HOST]), told)
        });
        written
    }

    /// In one place to the end: a hit feels each time that its look-up is moved.
    #[inline]
    fn lookup<'p>(
        &'p self,
        room: &'p mut CacheKey,
        head: &request::Parts,
        body: &SizeHint,
    ) -> Begin<'p> {
        let (fields, mode) = (Fields::scan(&head.headers), CacheMode::of(&head.extensions));
        let ranges = match self.may_look(head, fields, mode, body) {
            Ok(ranges) => ranges,
            Err(reason) => return Begin::Bypass(reason),
        };
        let has_host = fields.has(Field::Host);
        if (self.rules.trail.is_kept() || !room.write_usual(&self.rules, head, has_host))
            && let Err(reason) = self.write_key(room, head)
        {
            return Begin::Bypass(reason);
        }
        let apart = match Apart::all(&self.rules.apart, head) {
            Ok(apart) => apart,
            Err(bypass) => return Begin::Bypass(bypass.into()),
        };
        let mut begun = Begin::Lookup(Lookup {
            policy: Cow::Borrowed(self),
            key: Key::There(room),
            apart,
            mode,
            is_doubted: false,
            is_head: head.method == Method::HEAD,
            authorization: fields.has(Field::Authorization),
            is_conditional: fields.has(Field::Conditional),
            ranges,
            directives: RequestDirectives::default(),
        });
        if let Begin::Lookup(lookup) = &mut begun
            && fields.has(Field::Directives)
        {
            lookup.directives = RequestDirectives::parse(&head.headers);
        }
        begun
    }

    /// What of it a request asks for, if it may be answered from the store.
    #[inline]
    fn may_look(
        &self,
        head: &request::Parts,
        fields: Fields,
        mode: CacheMode,
        body: &SizeHint,
    ) -> Result<Option<Ranges>, Reason> {
        self.admit(head, fields, mode)?;
        // A cache that ignores the body of a GET answers with what another body brought.
        if body.exact() != Some(0) {
            return Err(Reason::RequestBody);
        }
        // RFC 9110 §14.2: of no meaning but with GET.
        let ranges = match fields.has(Field::Range) && head.method == Method::GET {
            true => Some(Ranges::parse(&head.headers).ok_or(Reason::Range)?),
            false => None,
        };
        if fields.has(Field::Precondition) { Err(Reason::Precondition) } else { Ok(ranges) }
    }

    /// What is kept of a POST whose response may be kept (RFC 9110 §9.3.3).
    fn post(&self, head: &request::Parts, key: &CacheKey) -> Result<Post, Reason> {
        let (fields, mode) = (Fields::scan(&head.headers), CacheMode::of(&head.extensions));
        self.admit(head, fields, mode)?;
        let lookup = Lookup {
            policy: Cow::Owned(self.clone()),
            key: Key::Own(Box::new(key.clone())),
            apart: Apart::all(&self.rules.apart, head)?,
            mode,
            is_doubted: false,
            is_head: false,
            authorization: fields.has(Field::Authorization),
            is_conditional: false,
            ranges: None,
            directives: match fields.has(Field::Directives) {
                true => RequestDirectives::parse(&head.headers),
                false => RequestDirectives::default(),
            },
        };
        Ok(Post { lookup, request: Kept::of(&head.headers) })
    }

    /// Whether the cache has a part in requests like this one, whatever their method.
    #[inline]
    fn admit(&self, head: &request::Parts, fields: Fields, mode: CacheMode) -> Result<(), Reason> {
        let rules = &*self.rules;
        if mode == CacheMode::NoStore {
            return Err(Reason::Mode);
        }
        if fields.has(Field::Upgrade) {
            return Err(Reason::Upgrade);
        }
        if fields.has(Field::Connection) && nominates_more_than_the_connection(&head.headers) {
            return Err(Reason::ConnectionOption);
        }
        if rules.bypass_cookies && fields.has(Field::Cookie) {
            return Err(Reason::Cookie);
        }
        if rules.pass.as_ref().is_some_and(|pass| pass(&head.extensions)) {
            return Err(Reason::Extension);
        }
        rules.on_request.iter().try_for_each(|hook| hook(head))?;
        Ok(())
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
