use std::{fmt, sync::Arc, time::SystemTime};

use http::{HeaderMap, Uri};

use super::prefix::{Prefix, absolute};
use crate::{
    Error,
    policy::{CacheKey, Policy, StoredHead},
};

/// What to take out of a cache, how, and who says so.
///
/// ```
/// use larder::Purge;
///
/// let page = Purge::url("https://a.example/report?y=2026")?;
/// let section = Purge::prefix("https://a.example/docs")?.soft();
/// let tag = Purge::tag("reports").by("upload of report 7");
/// let how_many = Purge::host("a.example").dry_run();
/// # Ok::<(), larder::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Purge {
    pub(super) selector: Selector,
    pub(super) effect: Effect,
    pub(super) by: Option<Arc<str>>,
    pub(super) reach: Reach,
}

/// Which caches are to hear of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    All,
    ThisOne,
}

/// What becomes of what is selected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    Hard,
    /// Stale since then, or since the purge is appended.
    Soft(Option<SystemTime>),
    DryRun,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Selector {
    Everything,
    Namespace(Box<str>),
    /// An authority in the form of [`CacheKey::authority`].
    Host(Box<str>),
    Url(Box<str>),
    Tag {
        within: Within,
        origin: Option<Box<str>>,
        tag: Box<str>,
    },
    /// RFC 9875 §2.1.
    Group {
        within: Within,
        origin: Box<str>,
        group: Box<str>,
    },
    Prefix(Prefix),
    Variant {
        url: Uri,
        fields: HeaderMap,
    },
    Where(Predicate),
}

/// The namespaces in which a tag or a group means something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Within {
    /// That of the layer whose handle is asked.
    Layer,
    Every,
    One(Option<Box<str>>),
}

#[derive(Clone)]
pub(super) struct Predicate(Arc<Selects>);

type Selects = dyn Fn(&CacheKey, &StoredHead) -> bool + Send + Sync;

impl Purge {
    /// One URL with all of its variants, in every namespace and partition.
    ///
    /// # Errors
    ///
    /// If it is not absolute ([`Error::is_invalid`]).
    pub fn url(url: &str) -> Result<Self, Error> {
        let (origin, uri) = absolute(url)?;
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        let slash = if path.starts_with('/') { "" } else { "/" };
        Ok(Self::of(Selector::Url(format!("{origin}{slash}{path}").into())))
    }

    /// Of one URL the variant that a GET with these fields is answered with, in the namespace of the
    /// layer whose handle is asked and in the partition of such a request.
    ///
    /// Other variants stay. One that the origin says to be good for such a request, too, may take its
    /// place (RFC 9111 §4.3.4).
    ///
    /// It goes before [`CacheHandle::purge`](crate::CacheHandle::purge) returns, for good: it cannot
    /// be [`soft`](Self::soft).
    ///
    /// # Errors
    ///
    /// If `url` is not absolute ([`Error::is_invalid`]).
    pub fn variant(url: &str, fields: HeaderMap) -> Result<Self, Error> {
        let (_, url) = absolute(url)?;
        Ok(Self::of(Selector::Variant { url, fields }))
    }

    /// All that carries a tag, of all origins in the namespace of the layer whose handle is asked.
    ///
    /// A response gets its tags by the fields that [`Policy::tag_fields`] names and by
    /// [`Cached::tag`](crate::Cached::tag). They are compared whole, letter by letter.
    pub fn tag(tag: impl Into<String>) -> Self {
        let tag = tag.into().into();
        Self::of(Selector::Tag { within: Within::Layer, origin: None, tag })
    }

    /// A cache group of an origin (RFC 9875), in the namespace of the layer whose handle is asked:
    /// all responses of this origin whose `Cache-Groups` lists it.
    ///
    /// # Errors
    ///
    /// If `origin` is not an absolute URL ([`Error::is_invalid`]); its path is not looked at.
    pub fn group(origin: &str, group: impl Into<String>) -> Result<Self, Error> {
        let (origin, group) = (absolute(origin)?.0.into(), group.into().into());
        Ok(Self::of(Selector::Group { within: Within::Layer, origin, group }))
    }

    /// Everything of one host. `host` may have a port; without one it means the scheme's own, and so
    /// do 80 and 443, over `http` and `https` alike.
    pub fn host(host: &str) -> Self {
        let host = host.to_ascii_lowercase();
        let (name, port) = match host.rfind(':') {
            Some(at) if host[at + 1..].bytes().all(|b| b.is_ascii_digit()) => host.split_at(at),
            _ => (&*host, ""),
        };
        let name = name.strip_suffix('.').unwrap_or(name);
        Self::of(Selector::Host(format!("{name}{port}").into()))
    }

    /// All URLs below one, in every namespace and partition. The path counts in whole segments:
    /// `/docs` selects itself, `/docs?q`, `/docs/` and `/docs/x`, and not `/docs2`; `/docs/` selects
    /// what is behind the slash.
    ///
    /// # Errors
    ///
    /// If it is not absolute, or has a query ([`Error::is_invalid`]).
    pub fn prefix(url: &str) -> Result<Self, Error> {
        let (origin, uri) = absolute(url)?;
        if uri.query().is_some() {
            return Err(Error::invalid(format!("`{url}` has a query, and is no prefix")));
        }
        let path = if uri.path().is_empty() { "/" } else { uri.path() }.into();
        Ok(Self::of(Selector::Prefix(Prefix { origin: origin.into(), path })))
    }

    /// Everything of one [namespace](crate::Policy::namespace).
    pub fn namespace(namespace: &str) -> Self {
        Self::of(Selector::Namespace(namespace.into()))
    }

    /// All that `predicate` says yes to. It sees keys and heads, and is asked on the way of requests:
    /// it should be quick, and must not panic.
    ///
    /// Where the log of purges outlives the process, a predicate cannot be kept in it: there the
    /// whole store is walked before [`CacheHandle::purge`](crate::CacheHandle::purge) returns.
    ///
    /// ```
    /// use larder::Purge;
    ///
    /// let errors = Purge::matching(|_, head| head.status().is_client_error());
    /// let pictures = Purge::matching(|key, _| key.path_and_query().ends_with(".png"));
    /// ```
    pub fn matching(
        predicate: impl Fn(&CacheKey, &StoredHead) -> bool + Send + Sync + 'static,
    ) -> Self {
        Self::of(Selector::Where(Predicate(Arc::new(predicate))))
    }

    /// Everything.
    pub fn everything() -> Self {
        Self::of(Selector::Everything)
    }

    /// What is selected stays and is stale from now on: it is asked about again, and served only
    /// where a stale response may be (RFC 9111 §4.2.4). Default: it is gone for everybody.
    pub fn soft(self) -> Self {
        Self { effect: Effect::Soft(None), ..self }
    }

    /// Nothing happens, but [`Purged::swept`](crate::Purged::swept) says how many would have gone.
    pub fn dry_run(self) -> Self {
        Self { effect: Effect::DryRun, ..self }
    }

    /// Who purges, or why, for whoever reads
    /// [`CacheHandle::purges`](crate::CacheHandle::purges).
    pub fn by(self, label: impl Into<String>) -> Self {
        Self { by: Some(label.into().into()), ..self }
    }

    /// Nobody else is told, although the layer is attached to a [bus](crate::CacheLayer::bus).
    pub fn only_here(self) -> Self {
        Self { reach: Reach::ThisOne, ..self }
    }

    /// A tag or a group of every namespace. Says nothing about other selectors.
    pub fn everywhere(self) -> Self {
        self.within(Within::Every)
    }

    /// A tag or a group of this namespace instead of the layer's own. Says nothing about other
    /// selectors.
    pub fn in_namespace(self, namespace: &str) -> Self {
        self.within(Within::One(Some(namespace.into())))
    }

    /// A tag of one origin only, such as `https://a.example`. Says nothing about other selectors.
    ///
    /// # Errors
    ///
    /// If it is not an absolute URL ([`Error::is_invalid`]); its path is not looked at.
    pub fn of_origin(mut self, url: &str) -> Result<Self, Error> {
        if let Selector::Tag { origin, .. } = &mut self.selector {
            *origin = Some(absolute(url)?.0.into());
        }
        Ok(self)
    }

    /// Whether what is selected stays, and is stale.
    pub fn is_soft(&self) -> bool {
        matches!(self.effect, Effect::Soft(_))
    }

    /// Who purges, if somebody [said so](Self::by).
    pub fn label(&self) -> Option<&str> {
        self.by.as_deref()
    }

    pub(super) fn of(selector: Selector) -> Self {
        Self { selector, effect: Effect::Hard, by: None, reach: Reach::All }
    }

    pub(super) fn within(mut self, scope: Within) -> Self {
        if let Selector::Tag { within, .. } | Selector::Group { within, .. } = &mut self.selector {
            *within = scope;
        }
        self
    }

    /// One resource, in every namespace and partition.
    pub(crate) fn resource(key: &CacheKey) -> Self {
        let (scheme, authority, path) = (key.scheme(), key.authority(), key.path_and_query());
        Self::of(Selector::Url(format!("{scheme}://{authority}{path}").into()))
    }

    /// All of a resource's host.
    pub(crate) fn host_of(key: &CacheKey) -> Self {
        Self::of(Selector::Host(key.authority().into()))
    }

    /// A group of the origin and the namespace of a resource.
    pub(crate) fn group_of(key: &CacheKey, group: &str) -> Self {
        let origin = format!("{}://{}", key.scheme(), key.authority()).into();
        let within = Within::One(key.namespace().map(Into::into));
        Self::of(Selector::Group { within, origin, group: group.into() })
    }

    /// The same purge as a layer with this policy means it: in its namespace, and where parameters of
    /// the query are left out of the key, without them.
    pub(crate) fn resolved(self, policy: &Policy) -> Self {
        let selector = match self.selector {
            Selector::Url(url) => {
                let (path, query) = match url.split_once('?') {
                    Some((path, query)) => (path, Some(query)),
                    None => (&*url, None),
                };
                // Of an absolute URL, the path begins at the third slash.
                let start = path.match_indices('/').nth(2).map_or(path.len(), |(at, _)| at);
                let (origin, path) = path.split_at(start);
                Selector::Url(format!("{origin}{}", policy.keyed(path, query)).into())
            }
            Selector::Prefix(Prefix { origin, path }) => {
                Selector::Prefix(Prefix { origin, path: policy.keyed(&path, None).into() })
            }
            Selector::Tag { within: Within::Layer, origin, tag } => {
                let within = Within::One(policy.own_namespace().map(Into::into));
                Selector::Tag { within, origin, tag }
            }
            Selector::Group { within: Within::Layer, origin, group } => {
                let within = Within::One(policy.own_namespace().map(Into::into));
                Selector::Group { within, origin, group }
            }
            other => other,
        };
        Self { selector, ..self }
    }

    /// The same purge as it took effect then.
    #[cfg(feature = "redis")]
    pub(crate) fn since(self, at: SystemTime) -> Self {
        match self.effect {
            Effect::Soft(None) => Self { effect: Effect::Soft(Some(at)), ..self },
            _ => self,
        }
    }

    pub(crate) fn is_dry_run(&self) -> bool {
        self.effect == Effect::DryRun
    }

    /// The request that is answered with the variant to purge, if that is what this is about.
    pub(crate) fn as_variant(&self) -> Option<(&Uri, &HeaderMap)> {
        match &self.selector {
            Selector::Variant { url, fields } => Some((url, fields)),
            _ => None,
        }
    }

    pub(crate) fn is_only_here(&self) -> bool {
        self.reach == Reach::ThisOne
    }

    /// The same purge for caches that know nothing of this one. Which variant is meant is said by
    /// fields that are nobody else's business: others take out the URL with all of its variants.
    pub(crate) fn for_others(self) -> Result<Self, Error> {
        let selector = match self.selector {
            Selector::Variant { url, .. } => Self::url(&url.to_string())?.selector,
            Selector::Where(_) => {
                let text =
                    "a predicate cannot be told to other caches; `only_here` purges in this one";
                return Err(Error::invalid(text));
            }
            other => other,
        };
        Ok(Self { selector, ..self })
    }

    /// Whether it can be written down.
    pub(crate) fn is_closure(&self) -> bool {
        matches!(self.selector, Selector::Where(_))
    }
}

impl Predicate {
    pub(super) fn selects(&self, key: &CacheKey, head: &StoredHead) -> bool {
        (self.0)(key, head)
    }
}

impl PartialEq for Predicate {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl fmt::Debug for Predicate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Predicate")
    }
}
