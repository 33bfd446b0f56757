use std::fmt::{self, Write};

use super::{
    prefix::Prefix,
    selector::{Purge, Selector, Within},
};

impl fmt::Display for Purge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.selector {
            Selector::Everything => f.write_str("everything"),
            Selector::Namespace(namespace) => write!(f, "namespace {}", Plain(namespace)),
            Selector::Host(host) => write!(f, "host {}", Plain(host)),
            Selector::Url(url) => write!(f, "url {url}"),
            Selector::Tag { within, origin, tag } => {
                write!(f, "tag {}", Plain(tag))?;
                origin.iter().try_for_each(|origin| write!(f, " of {origin}"))?;
                within.fmt(f)
            }
            Selector::Group { within, origin, group } => {
                write!(f, "group {} of {origin}", Plain(group))?;
                within.fmt(f)
            }
            Selector::Prefix(Prefix { origin, path }) => write!(f, "prefix {origin}{path}"),
            Selector::Variant { url, .. } => write!(f, "variant of {url}"),
            Selector::Where(_) => f.write_str("predicate"),
        }
    }
}

impl fmt::Display for Within {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Within::Layer | Within::One(None) => Ok(()),
            Within::Every => f.write_str(" everywhere"),
            Within::One(Some(namespace)) => write!(f, " in namespace {}", Plain(namespace)),
        }
    }
}

/// A text that begins no line of a log, and tells a terminal nothing.
struct Plain<'a>(&'a str);

impl fmt::Display for Plain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|char| match char.is_control() {
            true => write!(f, "{}", char.escape_default()),
            false => f.write_char(char),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whoever may purge chooses the text, and others read it in their logs.
    #[test]
    fn a_purge_is_one_line() {
        let odd = "é\"\r\nINFO\u{1b}[31m\u{0}";
        let shown = "é\"\\r\\nINFO\\u{1b}[31m\\u{0}";
        assert_eq!(Purge::tag(odd).to_string(), format!("tag {shown}"));
        let group = Purge::group("http://a.example", odd).unwrap().in_namespace(odd);
        let expected = format!("group {shown} of http://a.example in namespace {shown}");
        assert_eq!(group.to_string(), expected);
        for purge in [Purge::namespace(odd), Purge::host(odd)] {
            assert!(!purge.to_string().contains(char::is_control), "{purge:?}");
        }
    }
}
