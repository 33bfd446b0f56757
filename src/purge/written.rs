//! Selectors as text: what a table looks them up by, and what a file keeps.

use std::{
    fmt::Write,
    slice,
    time::{Duration, SystemTime},
};

use super::{
    prefix::Prefix,
    selector::{Effect, Purge, Selector, Within},
};
use crate::policy::{CacheKey, StoredHead};

/// What kind of selector a text is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Kind {
    Everything,
    Namespace,
    Host,
    Url,
    Tag,
    TagEverywhere,
    TagOfOrigin,
    TagOfOriginEverywhere,
    Group,
    GroupEverywhere,
    Prefix,
}

pub(super) const KINDS: usize = Kind::Prefix as usize + 1;

/// The text of a selector with its kind behind it.
pub(super) fn with_kind(mut text: String, kind: Kind) -> String {
    text.push(char::from(kind as u8));
    text
}

/// Gives `found` each selector that an entry can be selected by and that is found by its text, with
/// its kind behind it. `asks` says which kinds are of interest.
pub(super) fn texts_of(
    key: &CacheKey,
    head: Option<&StoredHead>,
    asks: impl Fn(Kind) -> bool,
    mut found: impl FnMut(&str),
) {
    let mut text = String::with_capacity(128);
    let mut look = |kind, write: &dyn Fn(&mut String)| {
        if asks(kind) {
            text.clear();
            write(&mut text);
            text.push(char::from(kind as u8));
            found(&text);
        }
    };
    let namespace = key.namespace();
    let origin = [key.scheme(), "://", key.authority()];
    let authority = key.authority();
    look(Kind::Host, &|text| text.push_str(authority));
    let port = authority.rsplit_once(':').map(|(_, port)| port);
    if port.is_none_or(|port| !port.bytes().all(|b| b.is_ascii_digit())) {
        // As one may have named it; the scheme's own port is not part of an authority.
        look(Kind::Host, &|text| text.extend([authority, ":80"]));
        look(Kind::Host, &|text| text.extend([authority, ":443"]));
    }
    look(Kind::Url, &|text| {
        text.extend(origin);
        text.push_str(key.path_and_query());
    });
    if let Some(namespace) = namespace {
        look(Kind::Namespace, &|text| text.push_str(namespace));
    }
    let labels = [
        [Kind::Tag, Kind::TagEverywhere, Kind::TagOfOrigin, Kind::TagOfOriginEverywhere].as_slice(),
        &[Kind::Group, Kind::GroupEverywhere],
    ];
    let [tags, groups] = labels.map(|kinds| kinds.iter().any(|kind| asks(*kind)));
    let Some(head) = head.filter(|_| tags || groups) else { return };
    for tag in head.tags().take_while(|_| tags) {
        look(Kind::Tag, &|text| label(text, Some(namespace), None, tag));
        look(Kind::TagEverywhere, &|text| label(text, None, None, tag));
        look(Kind::TagOfOrigin, &|text| label(text, Some(namespace), Some(&origin), tag));
        look(Kind::TagOfOriginEverywhere, &|text| label(text, None, Some(&origin), tag));
    }
    for group in head.groups().take_while(|_| groups) {
        look(Kind::Group, &|text| label(text, Some(namespace), Some(&origin), group));
        look(Kind::GroupEverywhere, &|text| label(text, None, Some(&origin), group));
    }
}

/// A tag or group behind its scope, each part of which is behind its length.
fn label(text: &mut String, namespace: Option<Option<&str>>, origin: Option<&[&str]>, label: &str) {
    match namespace {
        Some(Some(namespace)) => part(text, &["=", namespace]),
        Some(None) => part(text, &[]),
        None => {}
    }
    if let Some(origin) = origin {
        part(text, origin);
    }
    text.push_str(label);
}

fn part(text: &mut String, pieces: &[&str]) {
    let length: usize = pieces.iter().map(|piece| piece.len()).sum();
    // A `String` takes all.
    let _ = write!(text, "{length}:");
    pieces.iter().for_each(|piece| text.push_str(piece));
}

fn read_part(text: &str) -> Option<(&str, &str)> {
    let (length, rest) = text.split_once(':')?;
    rest.split_at_checked(length.parse().ok()?)
}

impl Selector {
    /// `None`: it cannot be written.
    pub(super) fn written(&self) -> Option<(Kind, String)> {
        let mut text = String::new();
        let kind = match self {
            Selector::Everything => Kind::Everything,
            Selector::Namespace(own) | Selector::Host(own) | Selector::Url(own) => {
                text.push_str(own);
                match self {
                    Selector::Namespace(_) => Kind::Namespace,
                    Selector::Host(_) => Kind::Host,
                    _ => Kind::Url,
                }
            }
            Selector::Tag { within, origin, tag } => {
                let origin = origin.as_deref();
                let pieces = origin.as_ref().map(slice::from_ref);
                label(&mut text, within.written(), pieces, tag);
                match (within, origin) {
                    (Within::Every, None) => Kind::TagEverywhere,
                    (Within::Every, Some(_)) => Kind::TagOfOriginEverywhere,
                    (_, None) => Kind::Tag,
                    (_, Some(_)) => Kind::TagOfOrigin,
                }
            }
            Selector::Group { within, origin, group } => {
                label(&mut text, within.written(), Some(&[origin]), group);
                if *within == Within::Every { Kind::GroupEverywhere } else { Kind::Group }
            }
            Selector::Prefix(Prefix { origin, path }) => {
                part(&mut text, &[origin]);
                text.push_str(path);
                Kind::Prefix
            }
            Selector::Variant { .. } | Selector::Where(_) => return None,
        };
        Some((kind, text))
    }

    pub(super) fn read(kind: u8, text: &str) -> Option<Self> {
        let scoped = |kind: Kind, text| {
            let mut rest = text;
            let within = if matches!(kind, Kind::Tag | Kind::TagOfOrigin | Kind::Group) {
                let (namespace, behind) = read_part(rest)?;
                rest = behind;
                let is_fine = namespace.is_empty() || namespace.starts_with('=');
                is_fine.then_some(())?;
                Within::One(namespace.strip_prefix('=').map(Into::into))
            } else {
                Within::Every
            };
            let mut origin = None;
            if !matches!(kind, Kind::Tag | Kind::TagEverywhere) {
                let (own, behind) = read_part(rest)?;
                (origin, rest) = (Some(Box::<str>::from(own)), behind);
            }
            Some((within, origin, Box::<str>::from(rest)))
        };
        let kind = Kind::read(kind)?;
        Some(match kind {
            Kind::Everything => Selector::Everything,
            Kind::Namespace => Selector::Namespace(text.into()),
            Kind::Host => Selector::Host(text.into()),
            Kind::Url => Selector::Url(text.into()),
            Kind::Tag | Kind::TagEverywhere | Kind::TagOfOrigin | Kind::TagOfOriginEverywhere => {
                let (within, origin, tag) = scoped(kind, text)?;
                Selector::Tag { within, origin, tag }
            }
            Kind::Group | Kind::GroupEverywhere => {
                let (within, origin, group) = scoped(kind, text)?;
                Selector::Group { within, origin: origin?, group }
            }
            Kind::Prefix => {
                let (origin, path) = read_part(text)?;
                Selector::Prefix(Prefix { origin: origin.into(), path: path.into() })
            }
        })
    }
}

impl Kind {
    fn read(number: u8) -> Option<Self> {
        const ALL: [Kind; KINDS] = [
            Kind::Everything,
            Kind::Namespace,
            Kind::Host,
            Kind::Url,
            Kind::Tag,
            Kind::TagEverywhere,
            Kind::TagOfOrigin,
            Kind::TagOfOriginEverywhere,
            Kind::Group,
            Kind::GroupEverywhere,
            Kind::Prefix,
        ];
        ALL.into_iter().find(|kind| *kind as u8 == number)
    }
}

impl Within {
    /// Nobody has said which layer's: then it is what has none.
    fn written(&self) -> Option<Option<&str>> {
        match self {
            Within::Every => None,
            Within::Layer => Some(None),
            Within::One(namespace) => Some(namespace.as_deref()),
        }
    }
}

/// Marks the kind of a soft purge; its text begins with when that was.
const SOFT: u8 = 0x80;

#[cfg_attr(not(any(feature = "disk", feature = "redis")), allow(dead_code))]
impl Purge {
    /// A number and a text that say all that outlives the process: what is selected, and how. What
    /// cannot be written counts as everything.
    pub(crate) fn as_parts(&self) -> (u8, String) {
        let everything = || (Kind::Everything, String::new());
        let (kind, text) = self.selector.written().unwrap_or_else(everything);
        match self.effect {
            Effect::Soft(Some(at)) => {
                let since = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
                (kind as u8 | SOFT, format!("{} {text}", since.as_millis()))
            }
            _ => (kind as u8, text),
        }
    }

    pub(crate) fn from_parts(kind: u8, text: &str) -> Option<Self> {
        if kind & SOFT == 0 {
            return Some(Self::of(Selector::read(kind, text)?));
        }
        let (millis, text) = text.split_once(' ')?;
        let since = Duration::from_millis(millis.parse().ok()?);
        let at = SystemTime::UNIX_EPOCH.checked_add(since)?;
        let selector = Selector::read(kind & !SOFT, text)?;
        Some(Self { effect: Effect::Soft(Some(at)), ..Self::of(selector) })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn namespaces() -> impl Strategy<Value = Within> {
        prop_oneof![
            Just(Within::Every),
            proptest::option::of(".{0,8}").prop_map(|name| Within::One(name.map(Into::into)))
        ]
    }

    fn selectors() -> impl Strategy<Value = Selector> {
        let text = || ".{0,12}".prop_map(Box::<str>::from);
        prop_oneof![
            Just(Selector::Everything),
            text().prop_map(Selector::Namespace),
            text().prop_map(Selector::Host),
            text().prop_map(Selector::Url),
            (namespaces(), proptest::option::of(text()), text())
                .prop_map(|(within, origin, tag)| Selector::Tag { within, origin, tag }),
            (namespaces(), text(), text()).prop_map(|(within, origin, group)| Selector::Group {
                within,
                origin,
                group
            }),
            (text(), text()).prop_map(|(origin, path)| Selector::Prefix(Prefix { origin, path })),
        ]
    }

    proptest! {
        #[test]
        fn what_was_written_is_read(
            selector in selectors(),
            soft in proptest::option::of(0..u64::MAX >> 20),
        ) {
            let at = |millis| SystemTime::UNIX_EPOCH + Duration::from_millis(millis);
            let effect = soft.map_or(Effect::Hard, |millis| Effect::Soft(Some(at(millis))));
            let purge = Purge { effect, ..Purge::of(selector) };
            let (kind, text) = purge.as_parts();
            prop_assert_eq!(Purge::from_parts(kind, &text), Some(purge));
        }

        /// No two selectors have one text: a scope cannot be shaped to look like another.
        #[test]
        fn different_selectors_have_different_texts(a in selectors(), b in selectors()) {
            let (one, other) = (a.written().unwrap(), b.written().unwrap());
            prop_assert_eq!(one == other, a == b);
        }

        #[test]
        fn reading_is_total(kind: u8, text: String) {
            let _ = Purge::from_parts(kind, &text);
        }
    }
}
