//! Cache-Control in responses and requests, and Pragma (RFC 9111 §5.2, §5.4).

use std::borrow::Cow;
use std::time::Duration;

use http::header::{CACHE_CONTROL, HeaderMap, HeaderName, PRAGMA};

use super::fields;

/// How many bytes of a field are read. A longer one counts as the strictest there is.
pub(super) const MAX_BYTES: usize = 64 * 1024;
/// How many names a qualified directive may list; with more it counts as unqualified.
const MAX_NAMES: usize = 64;
/// The length of `stale-while-revalidate`, the longest name that is known.
const LONGEST: usize = 22;

/// A number of seconds that a directive gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Delta {
    Valid(Duration),
    /// Not digits, or two different ones: the response counts as stale.
    Malformed,
}

impl Delta {
    /// RFC 9111 §4.2.1: what is malformed makes the response stale.
    pub(crate) fn lifetime(self) -> Duration {
        match self {
            Self::Valid(lifetime) => lifetime,
            Self::Malformed => Duration::ZERO,
        }
    }
}

/// How far `no-cache` or `private` reaches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    Whole,
    Fields(Vec<HeaderName>),
}

/// RFC 9111 §5.2.2, RFC 5861, RFC 8246. A malformed restriction restricts, a malformed permission
/// permits nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ResponseDirectives {
    pub(crate) max_age: Option<Delta>,
    pub(crate) s_maxage: Option<Delta>,
    pub(crate) no_store: bool,
    pub(crate) no_cache: Option<Reach>,
    pub(crate) private: Option<Reach>,
    pub(crate) public: bool,
    pub(crate) must_revalidate: bool,
    pub(crate) proxy_revalidate: bool,
    pub(crate) must_understand: bool,
    pub(crate) no_transform: bool,
    pub(crate) immutable: bool,
    pub(crate) stale_while_revalidate: Option<Duration>,
    pub(crate) stale_if_error: Option<Duration>,
}

impl ResponseDirectives {
    /// RFC 9111 §5.2.2: the directives in all lines of Cache-Control.
    pub(crate) fn parse(headers: &HeaderMap) -> Self {
        let mut found = Self::default();
        let (mut while_revalidate, mut if_error) = (None, None);
        let mut understood = true;
        let read = scan(headers, &CACHE_CONTROL, |name, argument| match name {
            b"max-age" => agree(&mut found.max_age, argument.delta()),
            b"s-maxage" => agree(&mut found.s_maxage, argument.delta()),
            b"no-store" => found.no_store = true,
            b"no-cache" => widen(&mut found.no_cache, argument),
            b"private" => widen(&mut found.private, argument),
            b"public" => found.public |= argument.is_absent(),
            b"must-revalidate" => found.must_revalidate = true,
            b"proxy-revalidate" => found.proxy_revalidate = true,
            b"must-understand" if argument.is_absent() => found.must_understand = true,
            b"must-understand" => understood = false,
            b"no-transform" => found.no_transform = true,
            b"immutable" => found.immutable |= argument.is_absent(),
            b"stale-while-revalidate" => narrow(&mut while_revalidate, argument.seconds()),
            b"stale-if-error" => narrow(&mut if_error, argument.seconds()),
            _ => {}
        });
        if !read || !understood {
            found.no_store = true;
            found.must_understand = false; // it would lift no-store (§5.2.2.3)
        }
        found.stale_while_revalidate = while_revalidate.flatten();
        found.stale_if_error = if_error.flatten();
        found
    }
}

/// RFC 9111 §5.2.1.2: how stale a response the client takes. The order is that of leniency.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum MaxStale {
    For(Duration),
    Any,
}

/// RFC 9111 §5.2.1, RFC 5861 §4. Of different values the strictest counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct RequestDirectives {
    pub(crate) max_age: Option<Duration>,
    pub(crate) max_stale: Option<MaxStale>,
    pub(crate) min_fresh: Option<Duration>,
    pub(crate) no_cache: bool,
    pub(crate) no_store: bool,
    pub(crate) no_transform: bool,
    pub(crate) only_if_cached: bool,
    pub(crate) stale_if_error: Option<Duration>,
}

impl RequestDirectives {
    /// RFC 9111 §5.2.1: the directives in all lines of Cache-Control. Where there is none,
    /// `Pragma: no-cache` counts (§5.4).
    pub(crate) fn parse(headers: &HeaderMap) -> Self {
        let mut found = Self::default();
        let (mut max_age, mut max_stale, mut if_error) = (None, None, None);
        let read = scan(headers, &CACHE_CONTROL, |name, argument| match name {
            b"max-age" => narrow(&mut max_age, argument.delta().lifetime()),
            b"max-stale" if argument.is_absent() => narrow(&mut max_stale, Some(MaxStale::Any)),
            b"max-stale" => narrow(&mut max_stale, argument.seconds().map(MaxStale::For)),
            b"min-fresh" => match argument.delta() {
                Delta::Valid(least) => found.min_fresh = found.min_fresh.max(Some(least)),
                Delta::Malformed => found.no_cache = true,
            },
            b"no-cache" => found.no_cache = true,
            b"no-store" => found.no_store = true,
            b"no-transform" => found.no_transform = true,
            b"only-if-cached" => found.only_if_cached = true,
            b"stale-if-error" => narrow(&mut if_error, argument.seconds()),
            _ => {}
        });
        found.no_cache |= !read;
        found.no_store |= !read;
        if !headers.contains_key(CACHE_CONTROL) {
            let read = scan(headers, &PRAGMA, |name, _| found.no_cache |= name == b"no-cache");
            found.no_cache |= !read;
        }
        found.max_age = max_age;
        found.max_stale = max_stale.flatten();
        found.stale_if_error = if_error.flatten();
        found
    }
}

/// RFC 9111 §5.2: what follows the name of a directive.
#[derive(Clone, Copy)]
enum Argument<'a> {
    Absent,
    Token(&'a [u8]),
    /// With its escapes, without its quotes.
    Quoted(&'a [u8]),
    Malformed,
}

impl<'a> Argument<'a> {
    fn parse(rest: &'a [u8]) -> Self {
        match rest {
            [] => Self::Absent,
            [b'=', token @ ..] if fields::is_token(token) => Self::Token(token),
            [b'=', b'"', text @ .., b'"'] if is_quotable(text) => Self::Quoted(text),
            _ => Self::Malformed,
        }
    }

    fn is_absent(self) -> bool {
        matches!(self, Self::Absent)
    }

    fn text(self) -> Option<Cow<'a, [u8]>> {
        match self {
            Self::Token(text) => Some(Cow::Borrowed(text)),
            Self::Quoted(text) if !text.contains(&b'\\') => Some(Cow::Borrowed(text)),
            Self::Quoted(text) => {
                let mut escaped = false;
                let kept = text.iter().copied().filter(|byte| {
                    escaped = !escaped && *byte == b'\\';
                    !escaped
                });
                Some(kept.collect())
            }
            Self::Absent | Self::Malformed => None,
        }
    }

    fn seconds(self) -> Option<Duration> {
        fields::delta_seconds(&self.text()?)
    }

    fn delta(self) -> Delta {
        self.seconds().map_or(Delta::Malformed, Delta::Valid)
    }
}

/// Calls `each` with the name, in lower case, and the argument of every directive. False if the
/// field is too long to be read.
fn scan(
    headers: &HeaderMap,
    field: &HeaderName,
    mut each: impl FnMut(&[u8], Argument<'_>),
) -> bool {
    let mut left = MAX_BYTES;
    let mut buffer = [0; LONGEST];
    for line in headers.get_all(field) {
        let Some(rest) = left.checked_sub(line.len()) else {
            return false;
        };
        left = rest;
        let mut line = line.as_bytes();
        while let Some((name, argument, rest)) = usual(line) {
            each(lower(name, &mut buffer), argument);
            line = rest;
        }
        for member in fields::members(line) {
            let (name, rest) = split_name(member);
            let argument = Argument::parse(rest);
            each(lower(name, &mut buffer), argument);
            if name.is_empty() || matches!(argument, Argument::Malformed) {
                hidden(name, rest)
                    .for_each(|name| each(lower(name, &mut buffer), Argument::Malformed));
            }
        }
    }
    true
}

/// The first member of a line, if it is a name with or without a token, as nearly all are, and what
/// follows its comma.
fn usual(line: &[u8]) -> Option<(&[u8], Argument<'_>, &[u8])> {
    let (name, rest) = split_name(skip(line, |byte| b" \t,".contains(&byte)));
    if name.is_empty() {
        return None;
    }
    let (argument, rest) = match rest {
        [b'=', rest @ ..] => {
            let (token, rest) = split_name(rest);
            if token.is_empty() {
                return None;
            }
            (Argument::Token(token), rest)
        }
        _ => (Argument::Absent, rest),
    };
    match skip(rest, |byte| b" \t".contains(&byte)) {
        [] => Some((name, argument, &[])),
        [b',', rest @ ..] => Some((name, argument, rest)),
        _ => None,
    }
}

/// The names that a malformed member may hide behind its own: an open or misplaced quote, or a
/// semicolon meant as a comma, has swallowed what follows. One look, whatever it finds.
fn hidden<'a>(name: &[u8], rest: &'a [u8]) -> impl Iterator<Item = &'a [u8]> + use<'a> {
    let text = match skip(rest, |byte| b" \t=".contains(&byte)) {
        // Closed, though not in its place: text like that of any quoted argument. Without a name it
        // is nobody's argument.
        [b'"', text @ .., b'"'] if !name.is_empty() && is_quotable(text) => &[],
        _ if name.is_empty() => rest,
        _ => skip(rest, |byte| !b"\";".contains(&byte)),
    };
    let pieces = text.split(|byte| b",;".contains(byte));
    pieces.map(|piece| split_name(skip(piece, |byte| !fields::is_tchar(byte))).0)
}

fn skip(text: &[u8], junk: impl Fn(u8) -> bool) -> &[u8] {
    let start = text.iter().position(|byte| !junk(*byte));
    start.and_then(|start| text.get(start..)).unwrap_or_default()
}

/// The token at the start, even an empty one, and the rest.
fn split_name(member: &[u8]) -> (&[u8], &[u8]) {
    let end = member.iter().position(|byte| !fields::is_tchar(*byte));
    member.split_at(end.unwrap_or(member.len()))
}

/// `name` in lower case; empty if it is longer than any that is known.
fn lower<'a>(name: &[u8], buffer: &'a mut [u8; LONGEST]) -> &'a [u8] {
    let Some(copy) = buffer.get_mut(..name.len()) else {
        return b"";
    };
    copy.copy_from_slice(name);
    copy.make_ascii_lowercase();
    copy
}

/// RFC 9110 §5.6.4: whether `text` with quotes around it is one quoted-string.
fn is_quotable(text: &[u8]) -> bool {
    let mut escaped = false;
    let closes_early = text.iter().any(|byte| {
        let closes = !escaped && *byte == b'"';
        escaped = !escaped && *byte == b'\\';
        closes
    });
    !closes_early && !escaped
}

/// RFC 9111 §4.2.1: repeats of a lifetime count if they agree.
fn agree(lifetime: &mut Option<Delta>, delta: Delta) {
    *lifetime = Some(match *lifetime {
        Some(other) if other != delta => Delta::Malformed,
        _ => delta,
    });
}

/// Of repeats the least counts. That of an option is `None`: malformed once, absent for good.
fn narrow<T: Ord>(least: &mut Option<T>, value: T) {
    *least = Some(match least.take() {
        Some(other) => other.min(value),
        None => value,
    });
}

/// RFC 9111 §5.2.2.4, §5.2.2.7: repeats add their fields; without a proper list it is the whole.
fn widen(reach: &mut Option<Reach>, argument: Argument<'_>) {
    let mut names = match reach.replace(Reach::Whole) {
        None => Vec::new(),
        Some(Reach::Fields(names)) => names,
        Some(Reach::Whole) => return,
    };
    let text = argument.text().unwrap_or_default();
    if add_names(&mut names, &text) {
        *reach = Some(Reach::Fields(names));
    }
}

/// How far a qualified directive reaches whose argument is `text`.
pub(super) fn reach_of(text: &[u8]) -> Reach {
    let mut names = Vec::new();
    if add_names(&mut names, text) { Reach::Fields(names) } else { Reach::Whole }
}

/// Adds the field names that `text` lists. False if there are none or too many, or one is no name.
fn add_names(names: &mut Vec<HeaderName>, text: &[u8]) -> bool {
    let mut members = fields::members(text).peekable();
    members.peek().is_some()
        && members.all(|member| match HeaderName::from_bytes(member) {
            Ok(name) if fields::is_token(member) && names.len() < MAX_NAMES => {
                if !names.contains(&name) {
                    names.push(name);
                }
                true
            }
            _ => false,
        })
}

#[cfg(test)]
mod tests;
