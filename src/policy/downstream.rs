//! What the client sees of the fields that caches go by. The stored head stays as it came.

use http::{HeaderMap, HeaderName, HeaderValue, header};

use super::{
    directives::{Reach, ResponseDirectives},
    fields,
};

/// What becomes of the fields for caches on the way to the client.
///
/// It applies to responses that are stored or answered from the store; `Age` is always the true one.
/// A response that was not kept goes on with the `Cache-Control`, `Expires` and `Pragma` that it
/// came with, and without the other fields that are stripped: what an origin has forbidden stays forbidden. What
/// passes by the cache, and the answers to unsafe requests, go on untouched.
///
/// ```
/// use http::{HeaderName, HeaderValue, header};
/// use larder::{Policy, policy::Downstream};
///
/// // Kept here as the origin says, and validated by browsers at each use.
/// let browsers = Downstream::keep()
///     .replace(header::CACHE_CONTROL, HeaderValue::from_static("max-age=0, must-revalidate"))
///     .strip(HeaderName::from_static("surrogate-control"));
/// let policy = Policy::shared().downstream(browsers);
///
/// // What was said to this cache alone is not said to the next.
/// let quiet = Downstream::keep().without_directives(["s-maxage", "stale-while-revalidate"]);
/// ```
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct Downstream {
    changes: Vec<Change>,
}

#[derive(Clone, Debug)]
enum Change {
    Strip(HeaderName),
    Replace(HeaderName, HeaderValue),
    WithoutDirectives(Vec<Box<str>>),
}

impl Downstream {
    /// Everything goes on as it came. The default.
    pub fn keep() -> Self {
        Self::default()
    }

    /// Removes a field.
    pub fn strip(self, name: HeaderName) -> Self {
        self.with(Change::Strip(name))
    }

    /// Gives a field this value in place of its own, also where it had none.
    pub fn replace(self, name: HeaderName, value: HeaderValue) -> Self {
        self.with(Change::Replace(name, value))
    }

    /// Removes these directives from `Cache-Control`; without any left the field goes, too.
    pub fn without_directives(self, names: impl IntoIterator<Item = impl Into<String>>) -> Self {
        let names = names.into_iter().map(|name| name.into().into()).collect();
        self.with(Change::WithoutDirectives(names))
    }

    fn with(mut self, change: Change) -> Self {
        self.changes.push(change);
        self
    }

    #[inline]
    pub(super) fn has_changes(&self) -> bool {
        !self.changes.is_empty()
    }

    /// The fields of a response that is stored, or comes from the store.
    pub(super) fn rewrite(&self, headers: &mut HeaderMap) {
        for change in &self.changes {
            match change {
                Change::Strip(name) => {
                    headers.remove(name);
                }
                Change::Replace(name, value) => {
                    headers.insert(name, value.clone());
                }
                Change::WithoutDirectives(names) => retain_directives(headers, |name| {
                    !names.iter().any(|other| name.eq_ignore_ascii_case(other.as_bytes()))
                }),
            }
        }
    }

    /// The fields of a response that was not kept.
    pub(super) fn rewrite_unkept(&self, headers: &mut HeaderMap) {
        const RULES: [HeaderName; 3] = [header::CACHE_CONTROL, header::EXPIRES, header::PRAGMA];
        for change in &self.changes {
            if let Change::Strip(name) = change
                && !RULES.contains(name)
            {
                headers.remove(name);
            }
        }
    }
}

/// Makes a response of one user's part of the cache `private` to those behind it, and takes away
/// what may say otherwise.
pub(super) fn make_private(headers: &mut HeaderMap, targets: &[HeaderName]) {
    for name in ["cdn-cache-control", "surrogate-control"] {
        headers.remove(name);
    }
    for name in targets {
        headers.remove(name);
    }
    let directives = ResponseDirectives::parse(headers);
    if directives.no_store || directives.private == Some(Reach::Whole) {
        return;
    }
    const SHARED: [&str; 4] = ["public", "s-maxage", "private", "proxy-revalidate"];
    retain_directives(headers, |name| {
        !SHARED.iter().any(|other| name.eq_ignore_ascii_case(other.as_bytes()))
    });
    let value = match headers.get(header::CACHE_CONTROL) {
        Some(rest) => HeaderValue::from_bytes(&[b"private, ", rest.as_bytes()].concat()),
        None => Ok(PRIVATE),
    };
    // A value with a token before it is a value.
    headers.insert(header::CACHE_CONTROL, value.unwrap_or(PRIVATE));
}

const PRIVATE: HeaderValue = HeaderValue::from_static("private");

/// Leaves one line with the members of `Cache-Control` whose name is wanted, if any.
fn retain_directives(headers: &mut HeaderMap, is_wanted: impl Fn(&[u8]) -> bool) {
    let mut kept = Vec::new();
    let mut has_lost = false;
    for member in fields::list(headers, &header::CACHE_CONTROL) {
        let end = member.iter().position(|byte| !fields::is_tchar(*byte));
        let (name, _) = member.split_at(end.unwrap_or(member.len()));
        if !is_wanted(name) {
            has_lost = true;
            continue;
        }
        if !kept.is_empty() {
            kept.extend_from_slice(b", ");
        }
        kept.extend_from_slice(member);
    }
    let is_several = headers.get_all(header::CACHE_CONTROL).iter().nth(1).is_some();
    if !has_lost && !is_several {
        return;
    }
    match HeaderValue::from_bytes(&kept) {
        Ok(value) if !kept.is_empty() => {
            headers.insert(header::CACHE_CONTROL, value);
        }
        _ => {
            headers.remove(header::CACHE_CONTROL);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in lines {
            map.append(*name, HeaderValue::from_static(value));
        }
        map
    }

    type Lines = &'static [(&'static str, &'static str)];
    const CC: &str = "cache-control";

    #[test]
    fn directives_go_one_by_one() {
        let table: [(Lines, Lines); 7] = [
            (&[(CC, "s-maxage=1, max-age=2")], &[(CC, "max-age=2")]),
            (&[(CC, "max-age=2"), (CC, "S-MaxAge=1 ,public")], &[(CC, "max-age=2, public")]),
            (&[(CC, "s-maxage=\"1,2\"")], &[]),
            (&[(CC, "x=\"s-maxage=1, b\",s-maxage")], &[(CC, "x=\"s-maxage=1, b\"")]),
            (&[(CC, "max-age=2 ,public")], &[(CC, "max-age=2 ,public")]),
            (&[(CC, "x-s-maxage=1")], &[(CC, "x-s-maxage=1")]),
            (&[], &[]),
        ];
        for (before, after) in table {
            let mut fields = headers(before);
            Downstream::keep().without_directives(["s-maxage"]).rewrite(&mut fields);
            assert_eq!(fields, headers(after), "{before:?}");
        }
    }

    /// What was not kept keeps what the origin has forbidden.
    #[test]
    fn a_response_that_was_not_kept_loses_only_what_is_for_this_cache() {
        let rules = Downstream::keep()
            .replace(header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=60"))
            .strip(header::CACHE_CONTROL)
            .strip(header::EXPIRES)
            .without_directives(["no-store"])
            .strip(HeaderName::from_static("surrogate-control"));
        let mut fields =
            headers(&[(CC, "no-store"), ("expires", "0"), ("surrogate-control", "max-age=1")]);
        rules.rewrite_unkept(&mut fields);
        assert_eq!(fields, headers(&[(CC, "no-store"), ("expires", "0")]));
    }

    /// Scenario 2.17.
    #[test]
    fn what_is_one_users_is_private_to_all_behind() {
        let targets = [HeaderName::from_static("my-cache-control")];
        let table: [(Lines, Lines); 8] = [
            (&[], &[(CC, "private")]),
            (&[(CC, "max-age=1")], &[(CC, "private, max-age=1")]),
            (&[(CC, "public, s-maxage=9, max-age=1")], &[(CC, "private, max-age=1")]),
            (&[(CC, "max-age=1"), (CC, "public")], &[(CC, "private, max-age=1")]),
            (&[(CC, "private=\"x-a\", max-age=1")], &[(CC, "private, max-age=1")]),
            (&[(CC, "private")], &[(CC, "private")]),
            (&[(CC, "no-store")], &[(CC, "no-store")]),
            (
                &[("cdn-cache-control", "max-age=9"), ("my-cache-control", "public")],
                &[(CC, "private")],
            ),
        ];
        for (before, after) in table {
            let mut fields = headers(before);
            make_private(&mut fields, &targets);
            assert_eq!(fields, headers(after), "{before:?}");
        }
    }
}
