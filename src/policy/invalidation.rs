use http::{HeaderMap, HeaderName, StatusCode, Uri, header, response};

use http_body::SizeHint;

use super::{
    CacheKey, Cached, Lookup, Policy, Reason, Rule, Store, Timestamp, about::About, clearing, date,
    explain, kept::Kept, labels, names::Names, path::without_dot_segments, secret::Secret,
    validation::Asking,
};

/// A request with an unsafe method, on its way to the origin.
#[derive(Debug)]
#[must_use]
pub struct Unsafe {
    key: CacheKey,
    policy: Policy,
    post: Option<Box<Post>>,
}

/// What is kept of a POST until its response comes.
#[derive(Debug)]
pub(super) struct Post {
    pub(super) lookup: Lookup<'static>,
    pub(super) request: Kept,
}

impl Unsafe {
    pub(super) fn new(key: CacheKey, policy: &Policy) -> Self {
        Self { key, policy: policy.clone(), post: None }
    }

    pub(super) fn writing(self, post: Option<Post>) -> Self {
        Self { post: post.map(Box::new), ..self }
    }

    /// The resource that is written to.
    pub fn key(&self) -> &CacheKey {
        &self.key
    }

    /// Whether [`store`](Self::store) may have an answer.
    pub fn may_be_kept(&self) -> bool {
        self.post.is_some()
    }

    /// What later GET requests may get of the response to a POST (RFC 9110 §9.3.3): all of it, if it
    /// says how long it is fresh, and by `Content-Location` that it is what a GET of the same URI
    /// would bring. To be stored after what [`on_response`](Self::on_response) names is gone.
    ///
    /// `times` are when the request went out and when its response came; the rest is as for
    /// [`Fetch::on_response`](super::Fetch::on_response). Any response gets a `Date` if it has none
    /// (RFC 9110 §6.6.1).
    pub fn store(
        &mut self,
        head: &mut response::Parts,
        size: &SizeHint,
        times: (Timestamp, Timestamp),
        began: u64,
        secret: &Secret,
    ) -> Option<Store> {
        date::append(&mut head.headers, times.1.wall());
        let post = self.post.take()?;
        let has = Names::of(&head.headers);
        if !self.policy.rules.trail.is_kept() && !has.may_have(Names::CONTENT_LOCATION) {
            return None;
        }
        let is_content =
            matches!(head.status, StatusCode::OK | StatusCode::NON_AUTHORITATIVE_INFORMATION);
        let mut lines = head.headers.get_all(header::CONTENT_LOCATION).iter();
        let is_one = lines.next().is_some() && lines.next().is_none();
        let named = self.named_by(&head.headers, &header::CONTENT_LOCATION);
        let is_named = is_content && is_one && named.as_ref() == Some(&self.key);
        self.policy.rules.trail.note(Rule::Post, || {
            let told = if is_named { "what a GET would bring" } else { "not stored" };
            (explain::show(&head.headers, &[header::CONTENT_LOCATION]), told.to_owned())
        });
        if !is_named {
            return None;
        }
        let (requested, now) = times;
        let asking = Asking {
            lookup: post.lookup,
            is_head: false,
            is_for_whole: false,
            request: post.request,
            requested,
            reason: Reason::UnsafeMethod,
            about: About::Nothing,
        };
        let cached = head.extensions.remove::<Cached>();
        let asked = asking.asked(head, now, began);
        if !asking.received(head, asked, cached.as_ref()).says_how_long(&self.policy.rules) {
            return None;
        }
        let store = asking.store(head, size, asked, cached.as_ref(), secret).ok()?;
        asking.lookup.rewrite(&mut head.headers);
        Some(store)
    }

    /// What its response invalidates (RFC 9111 §4.4): after a success or a redirect the target URI,
    /// and what `Location` and `Content-Location` name on the same origin; after an error nothing.
    ///
    /// The cache groups that `Cache-Group-Invalidation` lists go in either case, as they are named
    /// one by one (RFC 9875 §3). Their members' other groups do not: nothing cascades (§2.2.1).
    pub fn on_response(self, head: &response::Parts) -> Invalidated {
        let has = Names::of(&head.headers);
        let invalidated = Invalidated {
            keys: self.invalidated(head, has),
            groups: labels::invalidated_groups(&head.headers, has),
            clears_origin: clearing::clears(&self.policy.rules, &self.key, &head.headers),
            target: self.key,
        };
        self.policy.rules.trail.note(Rule::Invalidation, || {
            let Invalidated { keys, groups, .. } = &invalidated;
            (head.status.to_string(), format!("{keys:?}, groups {groups:?}"))
        });
        invalidated
    }

    fn invalidated(&self, head: &response::Parts, has: Names) -> Vec<CacheKey> {
        if !head.status.is_success() && !head.status.is_redirection() {
            return Vec::new();
        }
        let mut keys = Vec::new();
        if has.may_have(Names::LOCATION | Names::CONTENT_LOCATION) {
            for name in [header::LOCATION, header::CONTENT_LOCATION] {
                keys.extend(self.named_by(&head.headers, &name));
            }
        }
        keys.retain(|key| *key != self.key);
        keys.dedup();
        keys.push(self.key.clone());
        keys
    }

    fn named_by(&self, headers: &HeaderMap, name: &HeaderName) -> Option<CacheKey> {
        resolve(&self.key, &self.policy, headers.get(name)?.to_str().ok()?)
    }
}

/// What a response to an unsafe request invalidates.
#[derive(Debug)]
pub struct Invalidated {
    target: CacheKey,
    keys: Vec<CacheKey>,
    groups: Vec<String>,
    clears_origin: bool,
}

impl Invalidated {
    /// The resource that the request was for. The groups are those of its origin and namespace.
    pub fn target(&self) -> &CacheKey {
        &self.target
    }

    /// The resources (RFC 9111 §4.4).
    pub fn keys(&self) -> &[CacheKey] {
        &self.keys
    }

    /// The cache groups (RFC 9875 §3).
    pub fn groups(&self) -> &[String] {
        &self.groups
    }

    /// Whether all that is stored of the target's origin is to go
    /// ([`Policy::clear_site_data`](super::Policy::clear_site_data)).
    pub fn clears_origin(&self) -> bool {
        self.clears_origin
    }
}

/// The key that a URI reference in a response names (RFC 3986 §5.2), if it is of the same origin.
///
/// A reference that cannot be read names nothing.
fn resolve(base: &CacheKey, policy: &Policy, reference: &str) -> Option<CacheKey> {
    let reference = reference.split('#').next()?;
    let (path, query) = match reference.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (reference, None),
    };
    let base_path = base.path_and_query().split('?').next()?;
    let base_query = base.path_and_query().split_once('?').map(|(_, query)| query);
    let scheme_ends = path.find([':', '/']);
    let absolute = scheme_ends.is_some_and(|at| path.as_bytes()[at] == b':');
    let (path, query) = if absolute || path.starts_with("//") {
        let absolute =
            if absolute { reference.to_owned() } else { format!("{}:{reference}", base.scheme()) };
        let uri: Uri = absolute.parse().ok()?;
        if !base.is_origin_of(&uri) {
            return None;
        }
        let path = if uri.path().is_empty() { "/" } else { uri.path() };
        (without_dot_segments(path), uri.query().map(str::to_owned))
    } else if path.is_empty() {
        (base_path.to_owned(), query.or(base_query).map(str::to_owned))
    } else if path.starts_with('/') {
        (without_dot_segments(path), query.map(str::to_owned))
    } else {
        let directory = &base_path[..=base_path.rfind('/')?];
        (without_dot_segments(&format!("{directory}{path}")), query.map(str::to_owned))
    };
    Some(base.sibling(&policy.keyed(&path, query.as_deref())))
}

#[cfg(test)]
mod tests {
    use http::{Request, Response};

    use super::*;
    fn key(uri: &str) -> CacheKey {
        let (head, ()) = Request::get(uri).body(()).unwrap().into_parts();
        CacheKey::of(&Policy::shared().rules, &head).unwrap()
    }

    /// RFC 3986 §5.4, and the same-origin test of RFC 9111 §4.4.
    /// Feature same-origin.
    #[test]
    fn references_resolve_within_the_origin() {
        let base = key("http://a.example/b/c/d;p?q");
        let table = [
            ("g", "/b/c/g"),
            ("./g", "/b/c/g"),
            ("g/", "/b/c/g/"),
            ("/g", "/g"),
            ("?y", "/b/c/d;p?y"),
            ("g?y", "/b/c/g?y"),
            ("#s", "/b/c/d;p?q"),
            ("g#s", "/b/c/g"),
            ("", "/b/c/d;p?q"),
            (".", "/b/c/"),
            ("..", "/b/"),
            ("../g", "/b/g"),
            ("../../../../g", "/g"),
            ("g;x=1/../y", "/b/c/y"),
            ("/a/./b/../c", "/a/c"),
            ("http://a.example/x?y", "/x?y"),
            ("HTTP://A.example:80/x", "/x"),
            ("//a.example/x", "/x"),
            ("//a.example?y", "/?y"),
        ];
        for (reference, path) in table {
            let resolved = resolve(&base, &Policy::shared(), reference)
                .map(|key| key.path_and_query().to_owned());
            assert_eq!(resolved.as_deref(), Some(path), "{reference}");
        }
        for elsewhere in [
            "https://a.example/x",
            "http://b.example/x",
            "http://a.example:81/x",
            "//b.example/x",
            "http://u@a.example/x",
            "mailto:a",
            "http://",
            "://",
            "http:x",
        ] {
            assert_eq!(resolve(&base, &Policy::shared(), elsewhere), None, "{elsewhere}");
        }
    }

    /// RFC 9111 §4.4.
    #[test]
    fn only_what_succeeded_invalidates() {
        let invalidated = |status: u16, lines: &[(&str, &str)]| {
            let mut response = Response::builder().status(status);
            for (name, value) in lines {
                response = response.header(*name, *value);
            }
            let (head, ()) = response.body(()).unwrap().into_parts();
            let request = Unsafe::new(key("http://a.example/x"), &Policy::shared());
            request
                .on_response(&head)
                .keys()
                .iter()
                .map(|key| key.path_and_query().to_owned())
                .collect::<Vec<_>>()
        };
        for status in [200, 201, 204, 299, 301, 303, 304, 399] {
            assert_eq!(invalidated(status, &[]), ["/x"], "{status}");
        }
        for status in [400, 404, 412, 500, 599] {
            assert_eq!(invalidated(status, &[("location", "/y")]), [""; 0], "{status}");
        }
        let both = [("location", "/y"), ("content-location", "http://a.example/z")];
        assert_eq!(invalidated(201, &both), ["/y", "/z", "/x"]);
        assert_eq!(invalidated(201, &[("location", "http://b.example/y")]), ["/x"]);
        assert_eq!(invalidated(201, &[("location", "/x")]), ["/x"]);
    }
}
