//! Cache-Control in responses and requests, and Pragma (RFC 9111 §5.2, §5.4).

use std::borrow::Cow;
use std::time::Duration;

use http::header::{CACHE_CONTROL, HeaderMap, HeaderName, PRAGMA};

use super::fields;

/// How many bytes of a field are read. A longer one counts as the strictest there is.
const MAX_BYTES: usize = 64 * 1024;
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
        for member in fields::members(line.as_bytes()) {
            let (name, rest) = split_name(member);
            let argument = Argument::parse(rest);
            each(lower(name, &mut buffer), argument);
            if let Argument::Malformed = argument {
                hidden(rest).for_each(|name| each(lower(name, &mut buffer), Argument::Malformed));
            }
        }
    }
    true
}

/// The names that a malformed member may hide behind its own: an open or misplaced quote, or a
/// semicolon meant as a comma, has swallowed what follows. One look, whatever it finds.
fn hidden(rest: &[u8]) -> impl Iterator<Item = &[u8]> {
    let text = match skip(rest, |byte| b" \t=".contains(&byte)) {
        // Closed, though not in its place: text like that of any quoted argument.
        [b'"', text @ .., b'"'] if is_quotable(text) => &[],
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
mod tests {
    use http::HeaderValue;

    use super::*;

    /// One field line for each line of text.
    fn headers(field: &HeaderName, text: &str) -> HeaderMap {
        let value = |line: &str| HeaderValue::from_bytes(line.as_bytes()).unwrap();
        text.split('\n').map(|line| (field.clone(), value(line))).collect()
    }

    fn response(text: &str) -> ResponseDirectives {
        ResponseDirectives::parse(&headers(&CACHE_CONTROL, text))
    }

    fn request(text: &str) -> RequestDirectives {
        RequestDirectives::parse(&headers(&CACHE_CONTROL, text))
    }

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn valid(lifetime: u64) -> Option<Delta> {
        Some(Delta::Valid(seconds(lifetime)))
    }

    fn only(names: &[&'static str]) -> Option<Reach> {
        Some(Reach::Fields(names.iter().copied().map(HeaderName::from_static).collect()))
    }

    /// RFC 9111 §5.2: names in any case, several lines, empty and unknown members.
    #[test]
    fn every_directive_is_found() {
        let text = "Max-Age=60,, S-MAXAGE=\"9\", NO-store\n\nno-Cache , PRIVATE, x, y=1,public,\n\
            Must-Revalidate,proxy-revalidate, must-understand, no-transform, immutable\n\
            Stale-While-Revalidate=30, stale-if-error=\"4\\0\"";
        let expected = ResponseDirectives {
            max_age: valid(60),
            s_maxage: valid(9),
            no_store: true,
            no_cache: Some(Reach::Whole),
            private: Some(Reach::Whole),
            public: true,
            must_revalidate: true,
            proxy_revalidate: true,
            must_understand: true,
            no_transform: true,
            immutable: true,
            stale_while_revalidate: Some(seconds(30)),
            stale_if_error: Some(seconds(40)),
        };
        assert_eq!(response(text), expected);
        for text in "|,|x|x=1, y=\"z\"|x-no-store-hint|no-store-x|no-stores".split('|') {
            assert_eq!(response(text), ResponseDirectives::default(), "{text}");
        }
        let found = ResponseDirectives::parse(&HeaderMap::new());
        assert_eq!(found, ResponseDirectives::default());
    }

    /// A restriction holds whatever stands behind its name, here between bars.
    #[test]
    fn a_malformed_restriction_restricts() {
        let unquoted = "|=|=x y|==x|=x=y|=;|;|;x=1|; foo|:|: x| =x|= x|\t| x|(x)|/x|=/|=(x)|=[x]|={x}\
            |=x;y|@|=@|\\|=\\x|;, x| public|=\u{e9}|\u{a0}|=a;b=c|=?1;x|=:eA==:|?0|>|<x>|{|}|[";
        let quoted = r#"=""|=","|=" "|="x y"|="x, y z"|="|="x|="x\"|="x"y|="x" y|="x""y"|=x"y"
            |=""x|=x"| ="x"|= "x"| = "x"| "x"|"x"|="x";y="z"|="\""|="x;y"|="x=y"|="é"|="a\\ b"|"|""|"="#;
        let restricted = |name: &str, found: ResponseDirectives| match name {
            "no-store" => found.no_store,
            "no-cache" => found.no_cache == Some(Reach::Whole),
            "private" => found.private == Some(Reach::Whole),
            "must-revalidate" => found.must_revalidate,
            _ => found.proxy_revalidate,
        };
        for name in "no-store|no-cache|private|must-revalidate|proxy-revalidate".split('|') {
            for form in unquoted.split('|').chain(quoted.split('|')) {
                let form = form.trim_end_matches(['\n', ' ']);
                let upper = name.to_uppercase();
                for text in [
                    format!("{name}{form}"),
                    format!("public, max-age=9 , {upper}{form}"),
                    format!("{name}{form}\nmax-age=9, public"),
                    format!("x=a; {name}{form}"),
                ] {
                    assert!(restricted(name, response(&text)), "{text}");
                }
            }
            for form in unquoted.split('|') {
                let text = format!("x=\"a, {name}{form}"); // the quote is nowhere closed
                assert!(restricted(name, response(&text)), "{text}");
            }
            for form in ["=0", "=1", "=\"0\"", "=false"] {
                let qualifies = ["no-cache", "private"].contains(&name); // a list of one field
                let text = format!("{name}{form}");
                assert!(qualifies || restricted(name, response(&text)), "{text}");
            }
        }
    }

    /// RFC 9111 §5.2.2.4, §5.2.2.7.
    #[test]
    fn a_list_of_fields_qualifies() {
        let whole = || Some(Reach::Whole);
        let many: String = (0..=MAX_NAMES).map(|i| format!("f{i},")).collect();
        let cases = [
            ("=\"Set-Cookie\"", only(&["set-cookie"])),
            ("=set-cookie", only(&["set-cookie"])),
            ("=\" a ,,\tb,\"", only(&["a", "b"])),
            ("=\"\\a\"", only(&["a"])),
            ("=\"a,A\", NAME=A, NAME=\"b\"", only(&["a", "b"])),
            ("=\"a\"\nNAME=\"c\"", only(&["a", "c"])),
            ("=\"a\", NAME", whole()),
            (", NAME=\"a\"", whole()),
            ("=\"a\", NAME=\"\", NAME=b", whole()),
            ("=\"a, \\\"b\\\"\"", whole()),
            (&format!("=\"{many}\""), whole()),
        ];
        for (form, expected) in cases {
            for name in ["no-cache", "private"] {
                let found = response(&format!("{name}{}", form.replace("NAME", name)));
                let (this, other) = match name {
                    "private" => (found.private, found.no_cache),
                    _ => (found.no_cache, found.private),
                };
                assert_eq!((this, other), (expected.clone(), None), "{name}{form}");
            }
        }
    }

    /// RFC 9111 §1.2.2, §4.2.1.
    #[test]
    fn a_malformed_lifetime_is_stale() {
        let cases = [
            ("NAME=60", valid(60)),
            ("NAME=\"60\"", valid(60)),
            ("NAME=\"6\\0\"", valid(60)),
            ("NAME=0060", valid(60)),
            ("NAME=99999999999999999999", valid(1 << 31)),
            ("NAME=60, NAME=\"060\"\nNAME=60", valid(60)),
            ("NAME=60, x=\"a", valid(60)),
        ];
        let malformed = "NAME|NAME=|NAME=\"\"|NAME=-1|NAME=+1|NAME=1.5|NAME='60'|NAME=60s|NAME=1e3\
            |NAME=0x1|NAME = 60|NAME =60|NAME= 60|NAME=60 60|NAME=60;x|NAME:60|NAME==60|NAME=\"60\
            |NAME=60\"|NAME=\" 60\"|NAME=\"60\"0|NAME=60, NAME=61|NAME=60, NAME|NAME, NAME=60\
            |x=\"a, NAME=60|x; NAME=60|NAME=60, x=\"a, NAME=60";
        let malformed = malformed.split('|').map(|it| (it, Some(Delta::Malformed)));
        for (text, expected) in cases.into_iter().chain(malformed) {
            let max_age = response(&text.replace("NAME", "max-age"));
            let s_maxage = response(&text.replace("NAME", "S-MaxAge"));
            assert_eq!([max_age.max_age, max_age.s_maxage], [expected, None], "{text}");
            assert_eq!([s_maxage.max_age, s_maxage.s_maxage], [None, expected], "{text}");
        }
        assert_eq!(Delta::Malformed.lifetime(), Duration::ZERO);
        assert_eq!(Delta::Valid(seconds(9)).lifetime(), seconds(9));
    }

    /// RFC 5861 §3, §4.
    #[test]
    fn a_malformed_permission_permits_nothing() {
        let cases = [
            ("NAME=9", Some(9)),
            ("NAME=\"9\"", Some(9)),
            ("NAME=9, NAME=5, NAME=7", Some(5)),
            ("NAME", None),
            ("NAME=", None),
            ("NAME=-1", None),
            ("NAME = 9", None),
            ("NAME=9, NAME=x, NAME=9", None),
            ("NAME=9, x=\"a, NAME=9", None),
            ("x=\"a, NAME=9", None),
        ];
        for (text, expected) in cases {
            let expected = expected.map(seconds);
            let found = response(&text.replace("NAME", "stale-while-revalidate"));
            assert_eq!(found.stale_while_revalidate, expected, "{text}");
            let text = text.replace("NAME", "stale-if-error");
            assert_eq!(response(&text).stale_if_error, expected, "{text}");
            assert_eq!(request(&text).stale_if_error, expected, "{text}");
        }
        for form in ["=", "=1", "=\"\"", " x", ";x", "=\""] {
            let text = "public~\nimmutable~\nmust-understand~".replace('~', form);
            let found = response(&text);
            assert!(found.no_store && !found.must_understand, "{text}");
            assert!(!found.public && !found.immutable, "{text}");
            assert!(!response(&format!("must-understand, must-understand{form}")).must_understand);
        }
        let found = response("x=\"a, public, immutable");
        assert_eq!(found, ResponseDirectives::default());
    }

    /// RFC 9111 §5.2: the argument of an unknown directive is text.
    #[test]
    fn quoted_text_is_no_directive() {
        let quoted = [
            r#"x="no-store""#,
            r#"x="a, no-store, private, max-age=0""#,
            r#"x="a\", no-store""#,
            r#"x="\\\", private; no-cache""#,
            r#"x = "no-store, private""#,
            r#""private", "no-store, max-age=1""#,
        ];
        for text in quoted {
            assert_eq!(response(text), ResponseDirectives::default(), "{text}");
            assert_eq!(request(text), RequestDirectives::default(), "{text}");
        }
        for text in [
            r#"x="a, no-store"#,
            r#"x="a\", no-store"#,
            r#"x="a\\", no-store"#,
            r#"x="a, "no-store"#,
            r#""no-store"#,
            r#"x=a"b, no-store""#,
            r#"x="a"b", no-store""#,
            "x=\"a\nno-store",
        ] {
            assert!(response(text).no_store && request(text).no_store, "{text}");
        }
    }

    /// RFC 9111 §5.2.1.
    #[test]
    fn the_stricter_request_counts() {
        type Change = fn(&mut RequestDirectives);
        let cases: &[(&str, Change)] = &[
            ("max-age=9", |it| it.max_age = Some(seconds(9))),
            ("MAX-AGE=\"9\", max-age=5", |it| it.max_age = Some(seconds(5))),
            ("max-age=x, max-age=5", |it| it.max_age = Some(seconds(0))),
            ("max-age", |it| it.max_age = Some(seconds(0))),
            ("max-stale", |it| it.max_stale = Some(MaxStale::Any)),
            ("max-stale, max-stale=5, max-stale=9", |it| {
                it.max_stale = Some(MaxStale::For(seconds(5)))
            }),
            ("max-stale=x, max-stale", |_| ()),
            ("max-stale=", |_| ()),
            ("min-fresh=5, min-fresh=9", |it| it.min_fresh = Some(seconds(9))),
            ("min-fresh=x", |it| it.no_cache = true),
            ("min-fresh", |it| it.no_cache = true),
            ("no-cache=1", |it| it.no_cache = true),
            ("No-Store=\"x\"", |it| it.no_store = true),
            ("only-if-cached=", |it| it.only_if_cached = true),
            ("no-transform", |it| it.no_transform = true),
            ("no-cachex, public", |_| ()),
        ];
        for (text, set) in cases {
            let mut expected = RequestDirectives::default();
            set(&mut expected);
            assert_eq!(request(text), expected, "{text}");
        }
    }

    /// RFC 9111 §5.4.
    #[test]
    fn pragma_counts_where_cache_control_is_absent() {
        for (text, expected) in [("No-Cache", true), ("x, no-cache", true), ("x=no-cache", false)] {
            let mut headers = headers(&PRAGMA, text);
            let found = RequestDirectives::parse(&headers);
            assert_eq!(found.no_cache, expected, "{text}");
            assert!(ResponseDirectives::parse(&headers).no_cache.is_none());
            headers.insert(CACHE_CONTROL, HeaderValue::from_static(""));
            assert!(!RequestDirectives::parse(&headers).no_cache, "{text}");
        }
    }

    #[test]
    fn a_field_that_is_too_long_forbids() {
        let longest = "x,".repeat(MAX_BYTES / 2);
        assert!(!response(&longest).no_store && !request(&longest).no_cache);
        for text in [
            format!("must-understand, max-age=9\n{longest}"),
            "x,".repeat(1 << 19),
            "x=\"".repeat(1 << 18),
        ] {
            let (response, request) = (response(&text), request(&text));
            assert!(response.no_store && !response.must_understand && request.no_cache);
            assert!(RequestDirectives::parse(&headers(&PRAGMA, &text)).no_cache);
        }
    }
}
