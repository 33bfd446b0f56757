use std::{borrow::Cow, sync::Arc};

use http::{HeaderName, Uri, request, uri::PathAndQuery};

use super::{Policy, Rules};
use crate::policy::{QueryKey, hooks::Apart, normal::Languages, path};

/// What responses are kept under.
impl Policy {
    /// Keeps a cache of its own for each value that `partition` gives, such as the user's id.
    /// `None` is the common part.
    ///
    /// The parts know nothing of each other: an unsafe request invalidates its own part only, as if
    /// each user had a browser's cache. A response of such a part goes on to its user as `private`.
    pub fn partition(
        self,
        partition: impl Fn(&request::Parts) -> Option<String> + Send + Sync + 'static,
    ) -> Self {
        self.rules(|rules| rules.partition = Some(Arc::new(partition)))
    }

    /// How many bytes of a store one [partition](Self::partition) may take, heads and keys included:
    /// over it nothing new of that part is stored, so that no user takes another's room. Default: as
    /// much as there is.
    ///
    /// Each store counts by itself: `MemoryManager` what it holds in memory, and says how often it has
    /// refused; `DiskManager` whole blocks, and variants that were invalidated until their files are
    /// gone; `RedisManager` does not count, as no node knows all that others store. One of your own finds the number in
    /// [`Placement::bound`](crate::policy::Placement::bound).
    pub fn partition_quota(self, bytes: u64) -> Self {
        self.rules(|rules| rules.partition_quota = Some(bytes))
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

    /// Whether `Accept-Language` selects by weight instead of by its text, where `Vary` names it: a
    /// request for `de, en` then gets what was stored for `en, de`, and one that rates a single
    /// language best may get a response whose `Content-Language` is that language, whoever asked for it
    /// first, if it is among the last four that were stored (RFC 9111 §4.1, RFC 9110 §12.5.4).
    /// Default: `false`; white space and letter case never count.
    pub fn normalise_language(self, normalise: bool) -> Self {
        let languages = if normalise { Languages::ByWeight } else { Languages::InOrder };
        self.rules(|rules| rules.forms.languages = languages)
    }

    /// Whether `Accept` selects by its media ranges and their weights, where `Vary` names it, whatever
    /// their order, letter case and white space (RFC 9111 §4.1, RFC 9110 §12.5.1). One with parameters
    /// is compared as it is written. Default: `false`.
    pub fn normalise_accept(self, normalise: bool) -> Self {
        self.rules(|rules| rules.forms.accept = normalise)
    }

    /// Whether forms of a path that certainly name the same have one key: escapes in either case, or of
    /// what needs none, and dot segments (RFC 3986 §6.2.2). Default: `false`, the path counts as it
    /// stands.
    ///
    /// The inner service is then asked, by the request's URI, for exactly what the key says.
    pub fn normalise_path(self, normalise: bool) -> Self {
        self.rules(|rules| rules.normal_paths = normalise)
    }

    /// Keeps responses apart by these request fields, as if each `Vary` named them.
    ///
    /// All that is kept apart so belongs to one URL: it is invalidated and purged together, and
    /// bounded by [`max_variants`](Self::max_variants). Stores keep only a digest of the values.
    pub fn key_fields(self, names: impl IntoIterator<Item = HeaderName>) -> Self {
        self.rules(|rules| rules.apart.extend(names.into_iter().map(Apart::Field)))
    }

    /// Keeps responses apart by the values of these cookies, as
    /// [`key_fields`](Self::key_fields) does by fields. Other cookies stay what they are: a response
    /// that depends on one of them must say so.
    pub fn key_cookies(self, names: impl IntoIterator<Item = impl Into<String>>) -> Self {
        let cookie = |name: String| Apart::Cookie(name.into());
        self.rules(|rules| rules.apart.extend(names.into_iter().map(|name| cookie(name.into()))))
    }

    pub(crate) fn own_namespace(&self) -> Option<&str> {
        self.rules.namespace.as_deref()
    }

    /// What of a path and a query is part of the key.
    pub(crate) fn keyed(&self, path: &str, query: Option<&str>) -> String {
        let path = self.rules.keyed_path(path);
        match self.rules.query.apply(query) {
            Some(query) => format!("{path}?{query}"),
            None => path.into_owned(),
        }
    }
}

impl Rules {
    pub(in crate::policy) fn keyed_path<'a>(&self, path: &'a str) -> Cow<'a, str> {
        if self.normal_paths { path::normal(path) } else { Cow::Borrowed(path) }
    }

    /// Whether what came is all of a key.
    #[inline]
    pub(in crate::policy) fn keys_as_it_came(&self) -> bool {
        let is_as_it_came = !self.normal_paths && self.query.is_whole();
        is_as_it_came
            && self.target.is_none()
            && self.namespace.is_none()
            && self.partition.is_none()
    }

    /// Makes `uri` ask for what is keyed.
    pub(in crate::policy) fn rewrite(&self, uri: &mut Uri) {
        let (path, query) = (self.keyed_path(uri.path()), self.query.apply(uri.query()));
        if path == uri.path() && query.as_deref() == uri.query() {
            return;
        }
        let path = match query {
            Some(query) => format!("{path}?{query}"),
            None => path.into_owned(),
        };
        // A part of a query that was one is one, and so is another form of a path.
        let Ok(path) = PathAndQuery::try_from(path) else { return };
        let mut parts = uri.clone().into_parts();
        parts.path_and_query = Some(path);
        if let Ok(rewritten) = Uri::from_parts(parts) {
            *uri = rewritten;
        }
    }
}
