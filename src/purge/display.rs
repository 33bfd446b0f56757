use std::fmt;

use super::selector::{Prefix, Purge, Selector, Within};

impl fmt::Display for Purge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.selector {
            Selector::Everything => f.write_str("everything"),
            Selector::Namespace(namespace) => write!(f, "namespace {namespace}"),
            Selector::Host(host) => write!(f, "host {host}"),
            Selector::Url(url) => write!(f, "url {url}"),
            Selector::Tag { within, origin, tag } => {
                write!(f, "tag {tag}")?;
                origin.iter().try_for_each(|origin| write!(f, " of {origin}"))?;
                within.fmt(f)
            }
            Selector::Group { within, origin, group } => {
                write!(f, "group {group} of {origin}")?;
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
            Within::One(Some(namespace)) => write!(f, " in namespace {namespace}"),
        }
    }
}
