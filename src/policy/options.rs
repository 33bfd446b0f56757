use std::{borrow::Cow, fmt, sync::Arc, time::Duration};

use http::{Extensions, HeaderName, Uri, request};

use super::{labels::usual_tag_fields, query::QueryKey, stale::StaleRules};

/// For whom responses are kept (RFC 9111 §1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scope {
    /// Many users: `private` responses and those with `Set-Cookie` are not kept.
    Shared,
    /// One user, as in a browser or an API client.
    Private,
}

/// What a shared cache does with a response that sets a cookie (RFC 9111 §7.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SetCookie {
    /// Store it as it is: every user gets the same cookie.
    Store,
    /// Store it without its `Set-Cookie` fields.
    Strip,
    /// Pass it on unstored.
    Bypass,
}

/// Whether a shared cache stores responses whose `Vary` names `Cookie` or `Authorization`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum VaryOnCredentials {
    /// One variant for each value; the store keeps a keyed digest of it.
    Store,
    /// Pass them on unstored.
    Bypass,
}

/// What a request's `no-cache` and `max-age` do (RFC 9111 §5.2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ClientReload {
    /// Exactly as asked.
    Honour,
    /// As asked, but what was received or validated less than this ago is young enough for
    /// anybody, so that clients cannot make the origin work at will.
    Collapse(Duration),
    /// Not at all.
    Ignore,
}

/// What a request's `max-stale` does (RFC 9111 §5.2.1.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ClientMaxStale {
    /// Stale responses are served as far as it allows and the response does not forbid.
    Honour,
    /// Nothing.
    Ignore,
}

type Target = dyn Fn(&request::Parts) -> Option<Uri> + Send + Sync;
type Partition = dyn Fn(&request::Parts) -> Option<String> + Send + Sync;
type RefreshRequest = dyn Fn(&mut request::Parts) + Send + Sync;
type Pass = dyn Fn(&Extensions) -> bool + Send + Sync;

/// The rules of one cache: RFC 9111 with its choices made.
///
/// A policy is a value: each method returns it changed, and a clone is cheap. What the rules decide
/// is asked in three questions: [`begin`](Policy::begin), [`Lookup::decide`](super::Lookup::decide)
/// and [`Fetch::on_response`](super::Fetch::on_response).
///
/// ```
/// use std::time::Duration;
/// use larder::{Policy, policy::SetCookie};
///
/// let policy = Policy::shared()
///     .default_ttl(Duration::from_secs(5))
///     .set_cookie(SetCookie::Strip);
/// ```
#[derive(Clone)]
#[must_use]
pub struct Policy {
    pub(super) rules: Arc<Rules>,
}

#[derive(Clone)]
pub(super) struct Rules {
    pub(super) storing: StoringRules,
    pub(super) client_reload: ClientReload,
    pub(super) client_max_stale: ClientMaxStale,
    pub(super) immutable: bool,
    pub(super) bypass_cookies: bool,
    pub(super) pass: Option<Arc<Pass>>,
    pub(super) default_scheme: String,
    pub(super) default_authority: Option<String>,
    pub(super) namespace: Option<String>,
    pub(super) query: QueryKey,
    pub(super) target: Option<Arc<Target>>,
    pub(super) partition: Option<Arc<Partition>>,
    pub(super) max_variants: usize,
    pub(super) collapse: bool,
    pub(super) stale: StaleRules,
    pub(super) refresh_request: Option<Arc<RefreshRequest>>,
    /// Names these rules inside a stored head, so that other rules read its fields again.
    pub(super) fingerprint: u64,
}

/// The rules that a stored head was evaluated by.
#[derive(Clone, Hash)]
pub(super) struct StoringRules {
    pub(super) scope: Scope,
    pub(super) set_cookie: SetCookie,
    pub(super) vary_on_credentials: VaryOnCredentials,
    pub(super) heuristic_errors: bool,
    pub(super) heuristic_max: Duration,
    pub(super) negative_max: Duration,
    pub(super) default_ttl: Option<Duration>,
    pub(super) strict_s_maxage: bool,
    pub(super) tag_fields: Arc<[HeaderName]>,
}

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

impl Policy {
    /// A cache for many users, on a server or in a proxy.
    ///
    /// Set-Cookie and `private` are not stored, a client's reload is honoured at most once a second
    /// for each response, `max-stale` is ignored, and a URL has at most 64 variants.
    pub fn shared() -> Self {
        Self::new(
            Scope::Shared,
            SetCookie::Bypass,
            VaryOnCredentials::Bypass,
            ClientReload::Collapse(Duration::from_secs(1)),
            ClientMaxStale::Ignore,
        )
    }

    /// A cache for one user, in a client.
    ///
    /// `private` and Set-Cookie are stored, `s-maxage` and `proxy-revalidate` mean nothing, and
    /// the client's directives are honoured to the letter.
    pub fn private() -> Self {
        Self::new(
            Scope::Private,
            SetCookie::Store,
            VaryOnCredentials::Store,
            ClientReload::Honour,
            ClientMaxStale::Honour,
        )
    }

    fn new(
        scope: Scope,
        set_cookie: SetCookie,
        vary_on_credentials: VaryOnCredentials,
        client_reload: ClientReload,
        client_max_stale: ClientMaxStale,
    ) -> Self {
        let storing = StoringRules {
            scope,
            set_cookie,
            vary_on_credentials,
            heuristic_errors: false,
            heuristic_max: DAY,
            negative_max: Duration::from_secs(60),
            default_ttl: None,
            strict_s_maxage: false,
            tag_fields: Arc::new(usual_tag_fields()),
        };
        let fingerprint = storing.fingerprint();
        Self {
            rules: Arc::new(Rules {
                storing,
                client_reload,
                client_max_stale,
                immutable: false,
                bypass_cookies: false,
                pass: None,
                default_scheme: "http".to_owned(),
                default_authority: None,
                namespace: None,
                query: QueryKey::whole(),
                target: None,
                partition: None,
                max_variants: 64,
                collapse: true,
                stale: StaleRules::default(),
                refresh_request: None,
                fingerprint,
            }),
        }
    }

    /// For whom this cache keeps responses.
    pub fn scope(&self) -> Scope {
        self.rules.storing.scope
    }

    /// How long a response is fresh that says nothing about it. Default: it is never reused
    /// (RFC 9111 §4.2.2).
    ///
    /// Applies to the status codes that may be kept by default (RFC 9110 §15.1) but 206 and the
    /// errors of [`heuristic_errors`](Self::heuristic_errors), to a handler's answer as to an
    /// origin's, and never where `no-cache`, an invalid lifetime or an `Expires` is present. 404
    /// and 410 are kept for at most [`negative_max`](Self::negative_max).
    pub fn default_ttl(self, ttl: Duration) -> Self {
        self.storing(|storing| storing.default_ttl = Some(ttl))
    }

    /// The longest heuristic lifetime (RFC 9111 §4.2.2). Default: 24 hours.
    pub fn heuristic_max(self, max: Duration) -> Self {
        self.storing(|storing| storing.heuristic_max = max)
    }

    /// The longest lifetime of a 404 or 410 that did not ask for one. Default: 60 seconds.
    pub fn negative_max(self, max: Duration) -> Self {
        self.storing(|storing| storing.negative_max = max)
    }

    /// Whether 405, 414 and 501 may have heuristic freshness, as RFC 9110 §15.1 allows. Default:
    /// `false`, since such an answer is often about one odd request.
    pub fn heuristic_errors(self, allow: bool) -> Self {
        self.storing(|storing| storing.heuristic_errors = allow)
    }

    /// What to do with responses that set a cookie (RFC 9111 §7.3). Default: `Bypass` when shared,
    /// `Store` when private.
    pub fn set_cookie(self, choice: SetCookie) -> Self {
        self.storing(|storing| storing.set_cookie = choice)
    }

    /// Whether responses are stored whose `Vary` names `Cookie`, `Authorization` or
    /// `Proxy-Authorization`. Default: `Bypass` when shared, `Store` when private.
    pub fn vary_on_credentials(self, choice: VaryOnCredentials) -> Self {
        self.storing(|storing| storing.vary_on_credentials = choice)
    }

    /// The response fields that [tags](crate::Purge::tag) are read from, apart by commas and white
    /// space. Default: `Surrogate-Key` and `Cache-Tag`.
    ///
    /// A response with more than 256 tags and cache groups, or more than 16 KiB of them, is not
    /// stored.
    ///
    /// ```
    /// use http::HeaderName;
    /// use larder::Policy;
    ///
    /// let policy = Policy::shared().tag_fields([HeaderName::from_static("edge-cache-tag")]);
    /// ```
    pub fn tag_fields(self, names: impl IntoIterator<Item = HeaderName>) -> Self {
        let names = names.into_iter().collect();
        self.storing(|storing| storing.tag_fields = names)
    }

    /// What a request's `no-cache` and `max-age` do (RFC 9111 §5.2.1). Default: `Collapse` over one
    /// second when shared, `Honour` when private.
    pub fn client_reload(self, choice: ClientReload) -> Self {
        self.rules(|rules| rules.client_reload = choice)
    }

    /// What a request's `max-stale` does (RFC 9111 §5.2.1.2). Default: `Ignore` when shared,
    /// `Honour` when private.
    pub fn client_max_stale(self, choice: ClientMaxStale) -> Self {
        self.rules(|rules| rules.client_max_stale = choice)
    }

    /// Whether a fresh response with `immutable` is used although the request asks for validation
    /// (RFC 8246 §2). Default: `false`.
    pub fn immutable(self, trust: bool) -> Self {
        self.rules(|rules| rules.immutable = trust)
    }

    /// Whether requests with a `Cookie` pass by the cache. Default: `false`.
    ///
    /// The line to add where a session cookie says who the user is.
    pub fn bypass_cookies(self, bypass: bool) -> Self {
        self.rules(|rules| rules.bypass_cookies = bypass)
    }

    /// Lets requests pass by that have an extension of type `T`, such as the user that an
    /// authentication layer outside of the cache has put there.
    pub fn bypass_if_extension<T: Send + Sync + 'static>(self) -> Self {
        self.rules(|rules| {
            let before = rules.pass.take();
            rules.pass = Some(Arc::new(move |extensions| {
                extensions.get::<T>().is_some()
                    || before.as_ref().is_some_and(|before| before(extensions))
            }));
        })
    }

    /// Keeps a cache of its own for each value that `partition` gives, such as the user's id.
    /// `None` is the common part.
    ///
    /// The parts know nothing of each other: an unsafe request invalidates its own part only, as if
    /// each user had a browser's cache.
    pub fn partition(
        self,
        partition: impl Fn(&request::Parts) -> Option<String> + Send + Sync + 'static,
    ) -> Self {
        self.rules(|rules| rules.partition = Some(Arc::new(partition)))
    }

    /// Keeps this cache's responses apart from those of other namespaces in the same store.
    pub fn namespace(self, namespace: impl Into<String>) -> Self {
        self.rules(|rules| rules.namespace = Some(namespace.into()))
    }

    /// Which parameters of the query belong to the key. Default: all of them, as they stand.
    pub fn query(self, query: QueryKey) -> Self {
        self.rules(|rules| rules.query = query)
    }

    /// Where to find the URI that the client asked for, if the request no longer says it: an axum
    /// layer inside of `nest` sees a URI without its prefix.
    ///
    /// `None` means the request's own.
    ///
    /// ```
    /// use axum::extract::OriginalUri;
    /// use larder::Policy;
    ///
    /// let policy = Policy::shared()
    ///     .target(|head| head.extensions.get::<OriginalUri>().map(|uri| uri.0.clone()));
    /// ```
    pub fn target(
        self,
        target: impl Fn(&request::Parts) -> Option<Uri> + Send + Sync + 'static,
    ) -> Self {
        self.rules(|rules| rules.target = Some(Arc::new(target)))
    }

    /// The scheme of requests whose URI is only a path. Default: `http`.
    ///
    /// Behind TLS say `https`: an HTTP/2 request names its scheme and an HTTP/1 request does not, and
    /// both must have one key.
    pub fn default_scheme(self, scheme: impl Into<String>) -> Self {
        self.rules(|rules| rules.default_scheme = scheme.into().to_ascii_lowercase())
    }

    /// The authority of requests that name none. Default: they pass by the cache.
    pub fn default_authority(self, authority: impl Into<String>) -> Self {
        self.rules(|rules| rules.default_authority = Some(authority.into()))
    }

    /// How many variants of one URL a shared cache keeps, oldest replaced. Default: 64.
    pub fn max_variants(self, count: usize) -> Self {
        self.rules(|rules| rules.max_variants = count.max(1))
    }

    /// Whether requests for the same thing wait for one another, so that the origin sees one of them
    /// (RFC 9111 §4). Default: `true`. A single request says no by the extension
    /// [`Uncollapsed`](crate::Uncollapsed).
    pub fn collapse(self, collapse: bool) -> Self {
        self.rules(|rules| rules.collapse = collapse)
    }

    pub(crate) fn own_namespace(&self) -> Option<&str> {
        self.rules.namespace.as_deref()
    }

    /// What of a query is part of the key.
    pub(crate) fn keyed_query<'a>(&self, query: Option<&'a str>) -> Option<Cow<'a, str>> {
        self.rules.query.apply(query)
    }

    pub(super) fn rules(mut self, change: impl FnOnce(&mut Rules)) -> Self {
        change(Arc::make_mut(&mut self.rules));
        self
    }

    pub(super) fn storing(self, change: impl FnOnce(&mut StoringRules)) -> Self {
        self.rules(|rules| {
            change(&mut rules.storing);
            rules.fingerprint = rules.storing.fingerprint();
        })
    }
}

impl StoringRules {
    /// FNV-1a over the rules. Where it differs between builds, stored heads are read again.
    fn fingerprint(&self) -> u64 {
        struct Fnv(u64);
        impl std::hash::Hasher for Fnv {
            fn write(&mut self, bytes: &[u8]) {
                for byte in bytes {
                    self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
                }
            }
            fn finish(&self) -> u64 {
                self.0
            }
        }
        let mut hasher = Fnv(0xcbf2_9ce4_8422_2325);
        std::hash::Hash::hash(self, &mut hasher);
        std::hash::Hasher::finish(&hasher)
    }
}

impl Default for Policy {
    /// [`Policy::shared`].
    fn default() -> Self {
        Self::shared()
    }
}

impl fmt::Debug for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Policy").field("scope", &self.scope()).finish_non_exhaustive()
    }
}
