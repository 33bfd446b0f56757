//! What a response can be purged by beside its URL: tags and cache groups.

use http::{HeaderMap, HeaderName};

use super::{Reason, names::Names, options::StoringRules, structured};

/// `Cache-Groups` (RFC 9875 §2).
const CACHE_GROUPS: HeaderName = HeaderName::from_static("cache-groups");
/// `Cache-Group-Invalidation` (RFC 9875 §3).
const CACHE_GROUP_INVALIDATION: HeaderName = HeaderName::from_static("cache-group-invalidation");

/// More than these and a response is not stored: it would be purged by anything, and everybody who
/// purges would pay for it.
const MAX_LABELS: usize = 256;
const MAX_BYTES: usize = 16 << 10;

/// The fields that tags are read from unless a policy names others.
pub(super) fn usual_tag_fields() -> [HeaderName; 2] {
    [HeaderName::from_static("surrogate-key"), HeaderName::from_static("cache-tag")]
}

/// The tags and groups of a response, read once when it is stored.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Labels {
    /// Those that its fields name.
    pub(crate) tags: Texts,
    pub(crate) groups: Texts,
    /// Those that the handler gave beside the fields.
    pub(crate) own: Texts,
}

impl Labels {
    pub(super) const fn none() -> Self {
        Self { tags: Texts::none(), groups: Texts::none(), own: Texts::none() }
    }

    /// Those of a response, if they are not too many.
    pub(super) fn of(
        rules: &StoringRules,
        headers: &HeaderMap,
        has: Names,
        own: Option<&Texts>,
    ) -> Result<Self, Reason> {
        let mut labels = Self { own: own.cloned().unwrap_or_default(), ..Self::default() };
        let mut bounds = Bounds::default();
        for tag in labels.own.iter() {
            bounds.admit(tag)?;
        }
        let has_tags = has.may_have(Names::all(rules.tag_fields.iter()));
        for name in rules.tag_fields.iter().filter(|_| has_tags) {
            let lines = headers.get_all(name).iter();
            // A tag that is no text cannot be named by a purge.
            for line in lines.filter_map(|line| std::str::from_utf8(line.as_bytes()).ok()) {
                let separators = |c: char| c == ',' || c.is_ascii_whitespace();
                for tag in line.split(separators).filter(|tag| !tag.is_empty()) {
                    bounds.admit(tag)?;
                    labels.tags.push(tag);
                }
            }
        }
        let groups =
            has.may_have(Names::CACHE_GROUPS).then(|| structured::strings(headers, &CACHE_GROUPS));
        for group in groups.flatten().unwrap_or_default() {
            bounds.admit(&group)?;
            labels.groups.push(&group);
        }
        Ok(labels)
    }

    /// What they take of memory beside their own size.
    pub(super) fn weight(&self) -> usize {
        self.tags.weight() + self.groups.weight() + self.own.weight()
    }
}

/// The groups that a response to an unsafe request invalidates (RFC 9875 §3); none if the field is
/// not a list of strings.
pub(super) fn invalidated_groups(headers: &HeaderMap, has: Names) -> Vec<String> {
    if !has.may_have(Names::CACHE_GROUP_INVALIDATION) {
        return Vec::new();
    }
    let mut groups = structured::strings(headers, &CACHE_GROUP_INVALIDATION).unwrap_or_default();
    groups.truncate(MAX_LABELS);
    groups
}

#[derive(Default)]
struct Bounds {
    count: usize,
    bytes: usize,
}

impl Bounds {
    fn admit(&mut self, label: &str) -> Result<(), Reason> {
        self.count += 1;
        self.bytes += label.len();
        let fits = self.count <= MAX_LABELS && self.bytes <= MAX_BYTES;
        if fits { Ok(()) } else { Err(Reason::TooManyTags) }
    }
}

/// Texts in one allocation, each behind its length. To be compared whole, never as part of a joined
/// string.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Texts(Vec<u8>);

/// Of a length.
const BEFORE: usize = 4;

impl Texts {
    const fn none() -> Self {
        Self(Vec::new())
    }

    pub(crate) fn push(&mut self, text: &str) {
        let Ok(length) = u32::try_from(text.len()) else { return };
        self.0.reserve_exact(BEFORE + text.len());
        self.0.extend_from_slice(&length.to_le_bytes());
        self.0.extend_from_slice(text.as_bytes());
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &str> {
        let mut rest = self.0.as_slice();
        std::iter::from_fn(move || {
            let (text, behind) = split(rest)?;
            rest = behind;
            Some(text)
        })
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn weight(&self) -> usize {
        self.0.capacity()
    }
}

#[cfg(feature = "codec")]
impl Texts {
    /// The encoding.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The texts that `bytes` encode, if they are not more than are kept.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (mut rest, mut bounds) = (bytes, Bounds::default());
        while !rest.is_empty() {
            let (text, behind) = split(rest)?;
            bounds.admit(text).ok()?;
            rest = behind;
        }
        Some(Self(bytes.to_vec()))
    }
}

fn split(bytes: &[u8]) -> Option<(&str, &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<BEFORE>()?;
    let (text, rest) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
    Some((std::str::from_utf8(text).ok()?, rest))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;
    use crate::Policy;

    type Lines<'a> = &'a [(&'static str, &'a str)];

    fn labels(policy: &Policy, lines: Lines<'_>) -> Result<[Vec<String>; 2], Reason> {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        let labels = Labels::of(&policy.rules.storing, &headers, Names::of(&headers), None)?;
        let texts = |texts: &Texts| texts.iter().map(str::to_owned).collect();
        Ok([texts(&labels.tags), texts(&labels.groups)])
    }

    /// Scenario 0.2, 0.3: whole tags, by space or by comma, from all lines.
    #[test]
    fn tags_are_read_from_the_usual_fields() {
        let table: [(Lines<'_>, &[&str]); 6] = [
            (&[], &[]),
            (&[("surrogate-key", "u-proj u-proj2\tx")], &["u-proj", "u-proj2", "x"]),
            (&[("cache-tag", "a, b ,,c")], &["a", "b", "c"]),
            (
                &[("surrogate-key", "a"), ("cache-tag", "b"), ("surrogate-key", "c")],
                &["a", "c", "b"],
            ),
            (&[("x-tags", "a")], &[]),
            (&[("cache-tag", " , ")], &[]),
        ];
        for (lines, expected) in table {
            assert_eq!(labels(&Policy::shared(), lines).unwrap()[0], expected, "{lines:?}");
        }
        let policy = Policy::shared().tag_fields([HeaderName::from_static("x-tags")]);
        let lines = [("x-tags", "a"), ("cache-tag", "b")];
        assert_eq!(labels(&policy, &lines).unwrap()[0], ["a"]);
    }

    /// RFC 9875 §2: a list of strings, at least 32 of 32 characters; what is none names no group.
    #[test]
    fn groups_are_a_list_of_strings() {
        let table: [(&[&str], &[&str]); 7] = [
            (&[r#""scripts""#], &["scripts"]),
            (&[r#""a", "b b";x=1 , "c\"\\""#], &["a", "b b", "c\"\\"]),
            (&[r#""a""#, r#""b""#], &["a", "b"]),
            (&["scripts"], &[]),
            (&[r#""a", b"#], &[]),
            (&[r#""a","#], &[]),
            (&[r#""a"#], &[]),
        ];
        for (values, expected) in table {
            let lines: Vec<_> = values.iter().map(|value| ("cache-groups", *value)).collect();
            assert_eq!(labels(&Policy::shared(), &lines).unwrap()[1], expected, "{values:?}");
        }
        let many: Vec<_> = (0..32).map(|n| format!("\"{n:032}\"")).collect();
        let found = labels(&Policy::shared(), &[("cache-groups", &many.join(", "))]).unwrap();
        assert_eq!(found[1].len(), 32);
    }

    /// Security, "Tag bombs".
    #[test]
    fn too_many_tags_are_not_stored() {
        let tags = |count: usize, length: usize| vec!["t".repeat(length); count].join(" ");
        for (count, length, fits) in [
            (256, 64, true),
            (257, 1, false),
            (2, 8 << 10, true),
            (256, 65, false),
            (100_000, 1, false),
        ] {
            let found = labels(&Policy::shared(), &[("surrogate-key", &tags(count, length))]);
            assert_eq!(found.is_ok(), fits, "{count} of {length}");
            assert!(fits || found == Err(Reason::TooManyTags));
        }
        let (tags, groups) = (tags(200, 1), vec!["\"g\""; 57].join(","));
        let lines = [("cache-tag", &*tags), ("cache-groups", &groups)];
        assert_eq!(labels(&Policy::shared(), &lines), Err(Reason::TooManyTags));
    }
}
