use std::borrow::Cow;

/// Which parameters of a query belong to the key. Default: all of them, as they stand.
///
/// The inner service is then asked, by the request's URI, for exactly what the key says, so that cache
/// and origin do not read two different queries. What a framework has copied elsewhere is not
/// rewritten: a handler must not use axum's `OriginalUri` for a parameter that is left out. Parameters are parted by `&` alone, and compared as they are
/// written, without decoding.
///
/// ```
/// use larder::{Policy, policy::QueryKey};
///
/// let policy = Policy::shared().query(QueryKey::without(["utm_*", "fbclid"]).sorted());
/// ```
#[derive(Clone, Debug, Default)]
pub struct QueryKey {
    keep: Keep,
    sorted: bool,
}

#[derive(Clone, Debug, Default)]
enum Keep {
    #[default]
    All,
    None,
    Only(Vec<String>),
    Without(Vec<String>),
}

impl QueryKey {
    /// The whole query.
    pub fn whole() -> Self {
        Self::default()
    }

    /// No query at all.
    pub fn ignored() -> Self {
        Self { keep: Keep::None, sorted: false }
    }

    /// Only the parameters with these names. A name that ends in `*` stands for all that begin so.
    pub fn only(names: impl IntoIterator<Item = impl Into<String>>) -> Self {
        let names = names.into_iter().map(Into::into).collect();
        Self { keep: Keep::Only(names), sorted: false }
    }

    /// All parameters but those with these names. A name that ends in `*` stands for all that begin
    /// so.
    pub fn without(names: impl IntoIterator<Item = impl Into<String>>) -> Self {
        let names = names.into_iter().map(Into::into).collect();
        Self { keep: Keep::Without(names), sorted: false }
    }

    /// The parameters in the order of their names; those of one name stay in theirs.
    pub fn sorted(mut self) -> Self {
        self.sorted = true;
        self
    }

    /// Whether every query is keyed as it is.
    pub(super) fn is_whole(&self) -> bool {
        matches!(self.keep, Keep::All) && !self.sorted
    }

    /// The query to key and to ask for.
    #[inline]
    pub(super) fn apply<'a>(&self, query: Option<&'a str>) -> Option<Cow<'a, str>> {
        let query = query?;
        let keeps = |pair: &&str| match &self.keep {
            Keep::All => true,
            Keep::None => false,
            Keep::Only(names) => names.iter().any(|pattern| matches(pattern, name(pair))),
            Keep::Without(names) => !names.iter().any(|pattern| matches(pattern, name(pair))),
        };
        if self.is_whole() {
            return Some(Cow::Borrowed(query));
        }
        let mut pairs: Vec<&str> = query.split('&').filter(keeps).collect();
        if self.sorted {
            pairs.sort_by_key(|pair| name(pair));
        }
        let is_empty = pairs.is_empty() || (pairs == [""] && !query.is_empty());
        (!is_empty).then(|| Cow::Owned(pairs.join("&")))
    }
}

fn name(pair: &str) -> &str {
    pair.split('=').next().unwrap_or_default()
}

fn matches(pattern: &str, name: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(start) => name.starts_with(start),
        None => name == pattern,
    }
}

#[cfg(test)]
mod tests {
    use http::Uri;

    use super::*;
    use crate::Policy;

    /// Scenario 0.8.
    #[test]
    fn the_key_has_the_parameters_that_were_chosen() {
        let table: [(QueryKey, Option<&str>, Option<&str>); 15] = [
            (QueryKey::whole(), Some("b=1&a=2"), Some("b=1&a=2")),
            (QueryKey::whole(), Some(""), Some("")),
            (QueryKey::whole(), None, None),
            (QueryKey::ignored(), Some("a=1"), None),
            (QueryKey::ignored(), None, None),
            (QueryKey::only(["a"]), Some("b=1&a=2&ab=3&a"), Some("a=2&a")),
            (QueryKey::only(["a"]), Some("b=1"), None),
            (QueryKey::without(["x"]), Some("x=1"), None),
            (QueryKey::without(["x"]), Some("x=1&y=2&x&xx=3"), Some("y=2&xx=3")),
            (QueryKey::without(["utm_*"]), Some("utm_a=1&q=2&utm_=3"), Some("q=2")),
            // No second way to part parameters, and no decoding: the origin sees what is keyed.
            (QueryKey::without(["x"]), Some("a=1;x=2"), Some("a=1;x=2")),
            (QueryKey::without(["x"]), Some("%78=2"), Some("%78=2")),
            (QueryKey::whole().sorted(), Some("b=2&a=2&a=1&b"), Some("a=2&a=1&b=2&b")),
            (QueryKey::without(["b"]).sorted(), Some("c&b&a"), Some("a&c")),
            (QueryKey::without(["b"]), Some("b&"), None),
        ];
        for (query_key, query, expected) in table {
            assert_eq!(query_key.apply(query).as_deref(), expected, "{query_key:?} {query:?}");
            let path = query.map_or("/p".to_owned(), |query| format!("/p?{query}"));
            for origin in ["", "http://a.example"] {
                let mut uri: Uri = format!("{origin}{path}").parse().unwrap();
                Policy::shared().query(query_key.clone()).rules.rewrite(&mut uri);
                assert_eq!((uri.path(), uri.query()), ("/p", expected), "{query_key:?} {uri}");
            }
        }
    }
}
