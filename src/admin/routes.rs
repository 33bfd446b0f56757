//! Which request means what. A path is compared letter by letter.

use http::{Method, request};
use serde_json::{Map, Value};

use super::{authorise::Action, refusal::Refusal};
use crate::{
    Purge,
    handle::{Cursor, List},
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Route {
    /// `PURGE` of a URL.
    Url,
    Purge,
    DryRun,
    Entries,
    Inspect,
    Stats,
    Events,
}

impl Route {
    pub(super) fn of(head: &request::Parts) -> Result<Self, Refusal> {
        if head.method.as_str() == "PURGE" {
            return Ok(Self::Url);
        }
        let (route, method) = match head.uri.path() {
            "/purge" => (Self::Purge, Method::POST),
            "/dry-run" => (Self::DryRun, Method::POST),
            "/entries" => (Self::Entries, Method::GET),
            "/inspect" => (Self::Inspect, Method::POST),
            "/stats" => (Self::Stats, Method::GET),
            "/events" => (Self::Events, Method::GET),
            _ => return Err(Refusal::not_found()),
        };
        match method {
            method if head.method == method => Ok(route),
            Method::POST => Err(Refusal::method("POST")),
            _ => Err(Refusal::method("GET")),
        }
    }

    pub(super) fn action(self) -> Action {
        match self {
            Self::Url | Self::Purge => Action::Purge,
            _ => Action::Read,
        }
    }

    /// Refuses what would be ignored: a `dry_run` in the query of a purge must not purge.
    pub(super) fn check_query(self, head: &request::Parts) -> Result<(), Refusal> {
        let takes_one = matches!(self, Self::Url | Self::Entries);
        match head.uri.query().is_some_and(|_| !takes_one) {
            true => Err(Refusal::invalid("This route takes no query.")),
            false => Ok(()),
        }
    }
}

const MAX_LISTED: usize = 1000;

/// What `GET /entries` asks for: `limit`, `after`, and the members of a purge's object.
pub(super) fn list(query: &str) -> Result<List, Refusal> {
    let (mut list, mut selector) = (List::all(), Map::new());
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let (name, value) = (decode(name)?, decode(value)?);
        match &*name {
            "limit" => {
                let limit = value.parse().ok().filter(|limit| (1..=MAX_LISTED).contains(limit));
                let sentence = format!("`limit` takes a number from 1 to {MAX_LISTED}.");
                list = list.limit(limit.ok_or_else(|| Refusal::invalid(sentence))?);
            }
            "after" => list = list.after(value.parse::<Cursor>()?),
            _ => {
                let value = match (&*name, &*value) {
                    ("everywhere" | "everything", "true") => Value::Bool(true),
                    _ => Value::String(value),
                };
                if let Some(_twice) = selector.insert(name, value) {
                    return Err(Refusal::invalid("The query says something twice."));
                }
            }
        }
    }
    if selector.is_empty() {
        return Ok(list);
    }
    Ok(list.selected_by(Purge::from_object(selector)?))
}

/// Percent-decoding, as forms have it.
fn decode(text: &str) -> Result<String, Refusal> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, behind)) = rest.split_first() {
        rest = behind;
        decoded.push(match first {
            b'+' => b' ',
            b'%' => {
                let digits = rest.split_at_checked(2).and_then(|(digits, behind)| {
                    rest = behind;
                    std::str::from_utf8(digits).ok().filter(|digits| !digits.starts_with('+'))
                });
                let byte = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
                byte.ok_or_else(|| Refusal::invalid(format!("`{text}` has a wrong escape.")))?
            }
            other => *other,
        });
    }
    String::from_utf8(decoded).map_err(|_| Refusal::invalid("The query is not UTF-8."))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn escapes_are_read() {
        for (text, expected) in [("a%20b+c", Some("a b c")), ("%C3%A9", Some("é")), ("", Some(""))]
        {
            assert_eq!(decode(text).ok().as_deref(), expected);
        }
        for wrong in ["%", "%a", "%zz", "%+1", "%ff", "%é"] {
            assert!(decode(wrong).is_err(), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn reading_a_query_is_total(query: String) {
            let _ = list(&query);
        }
    }
}
