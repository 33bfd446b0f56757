//! Purges as JSON objects: the form that crosses processes.

use std::collections::BTreeMap;

use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::{Map, Value};

use super::{
    prefix::Prefix,
    selector::{Purge, Selector, Within},
};
use crate::Error;

/// No response carries a longer tag or group, and no URL is longer.
const MAX_TEXT: usize = 16 << 10;

const SELECTORS: [&str; 8] =
    ["url", "variant", "tag", "group", "prefix", "host", "namespace", "everything"];

impl Purge {
    /// This purge as one line of JSON.
    ///
    /// An object has one selector and perhaps details, each called like the method that it stands for:
    ///
    /// ```json
    /// {"tag": "reports"}
    /// {"tag": "reports", "in_namespace": "shop", "of_origin": "https://a.example", "soft": true}
    /// {"group": "news", "origin": "https://a.example", "everywhere": true}
    /// {"url": "https://a.example/report?y=2026", "by": "upload of report 7"}
    /// {"variant": "https://a.example/report", "fields": {"accept-language": "de"}}
    /// {"prefix": "https://a.example/docs"}
    /// {"host": "a.example"}
    /// {"namespace": "shop"}
    /// {"everything": true, "dry_run": true}
    /// ```
    ///
    /// A tag or a group is one of the namespace of the layer that is asked, unless there is
    /// `everywhere` or `in_namespace`, which is `null` for what has no namespace.
    ///
    /// # Errors
    ///
    /// For a [predicate](Self::matching), which cannot be written, and for a [variant](Self::variant) with
    /// a field that is no text ([`Error::is_invalid`]).
    pub fn to_json(&self) -> Result<String, Error> {
        self.to_object().map(|object| Value::Object(object).to_string())
    }

    /// Reads a purge from an object as [`to_json`](Self::to_json) describes it.
    ///
    /// ```
    /// # use larder::Purge;
    /// let purge = Purge::from_json(r#"{"tag": "reports", "soft": true}"#)?;
    /// assert_eq!(purge, Purge::tag("reports").soft());
    /// # Ok::<(), larder::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// With a sentence about what is wrong ([`Error::is_invalid`]); a member that is not known is.
    pub fn from_json(line: &str) -> Result<Self, Error> {
        Self::from_object(parse_object(line)?)
    }

    pub(crate) fn to_object(&self) -> Result<Map<String, Value>, Error> {
        let mut object = Map::new();
        let mut put = |name: &str, value: Value| {
            object.insert(name.to_owned(), value);
        };
        match &self.selector {
            Selector::Everything => put("everything", true.into()),
            Selector::Namespace(namespace) => put("namespace", (**namespace).into()),
            Selector::Host(host) => put("host", (**host).into()),
            Selector::Url(url) => put("url", (**url).into()),
            Selector::Prefix(Prefix { origin, path }) => {
                put("prefix", format!("{origin}{path}").into());
            }
            Selector::Tag { within, origin, tag } => {
                put("tag", (**tag).into());
                if let Some(origin) = origin {
                    put("of_origin", (**origin).into());
                }
                within.to_member().into_iter().for_each(|(name, value)| put(name, value));
            }
            Selector::Group { within, origin, group } => {
                put("group", (**group).into());
                put("origin", (**origin).into());
                within.to_member().into_iter().for_each(|(name, value)| put(name, value));
            }
            Selector::Variant { url, fields } => {
                put("variant", url.to_string().into());
                put("fields", Value::Object(to_fields(fields)?));
            }
            Selector::Where(_) => {
                return Err(Error::invalid("a predicate is code, and cannot be written"));
            }
        }
        for (name, is_so) in [("soft", self.is_soft()), ("dry_run", self.is_dry_run())] {
            if is_so {
                put(name, true.into());
            }
        }
        if let Some(label) = self.label() {
            put("by", label.into());
        }
        Ok(object)
    }

    pub(crate) fn from_object(object: Map<String, Value>) -> Result<Self, Error> {
        let mut object = Members(object);
        let named: Vec<_> = SELECTORS.into_iter().filter(|name| object.has(name)).collect();
        let selector = match named[..] {
            [one] => one,
            [] => return Err(object.without_selector()),
            [one, other, ..] => {
                return Err(invalid(format!("`{one}` and `{other}` are two selectors: say one")));
            }
        };
        let purge = match selector {
            "url" => Self::url(&object.text("url")?)?,
            "prefix" => Self::prefix(&object.text("prefix")?)?,
            "host" => Self::host(&object.name("host")?),
            "namespace" => Self::namespace(&object.text("namespace")?),
            "tag" => Self::tag(object.name("tag")?),
            "group" => {
                let group = object.text("group")?;
                if !object.has("origin") {
                    return Err(invalid("a group needs the `origin` that it is of".to_owned()));
                }
                Self::group(&object.text("origin")?, group)?
            }
            "variant" => {
                let fields = object.0.remove("fields").map(from_fields).transpose()?;
                Self::variant(&object.text("variant")?, fields.unwrap_or_default())?
            }
            _ => match object.flag("everything")? {
                true => Self::everything(),
                false => return Err(invalid("`everything` can only be true".to_owned())),
            },
        };
        let purge = if matches!(selector, "tag" | "group") { object.scope(purge)? } else { purge };
        let purge = match (object.flag("soft")?, object.flag("dry_run")?) {
            (true, true) => {
                return Err(invalid("`soft` and `dry_run` exclude each other".to_owned()));
            }
            (true, false) if selector == "variant" => {
                return Err(invalid("a variant cannot be purged softly".to_owned()));
            }
            (true, false) => purge.soft(),
            (false, true) => purge.dry_run(),
            (false, false) => purge,
        };
        let purge = if object.has("by") { purge.by(object.text("by")?) } else { purge };
        match object.0.keys().next() {
            Some(name) => Err(invalid(format!("`{name}` is nothing that `{selector}` has"))),
            None => Ok(purge),
        }
    }
}

impl Within {
    fn to_member(&self) -> Option<(&'static str, Value)> {
        match self {
            Within::Layer => None,
            Within::Every => Some(("everywhere", true.into())),
            Within::One(namespace) => Some(("in_namespace", namespace.as_deref().into())),
        }
    }
}

/// One object and nothing else. Of two members by one name the last counts.
pub(crate) fn parse_object(text: &str) -> Result<Map<String, Value>, Error> {
    let value: Value = serde_json::from_str(text)
        .map_err(|error| invalid(format!("this is not one JSON object: {error}")))?;
    let Value::Object(object) = value else {
        return Err(invalid(
            "this is JSON, but not an object such as {\"tag\": \"reports\"}".to_owned(),
        ));
    };
    Ok(object)
}

fn invalid(text: String) -> Error {
    Error::invalid(text)
}

fn to_fields(fields: &HeaderMap) -> Result<Map<String, Value>, Error> {
    let mut lines = BTreeMap::<&str, Vec<Value>>::new();
    for (name, value) in fields {
        let text = value.to_str().map_err(|_| invalid(format!("the field `{name}` is no text")))?;
        lines.entry(name.as_str()).or_default().push(text.into());
    }
    Ok(lines.into_iter().map(|(name, lines)| (name.to_owned(), lines.into())).collect())
}

/// Fields of a request: each with one value, or a list of them.
pub(crate) fn from_fields(fields: Value) -> Result<HeaderMap, Error> {
    let wanted =
        || invalid("`fields` takes an object such as {\"accept\": \"text/html\"}".to_owned());
    let Value::Object(fields) = fields else { return Err(wanted()) };
    let mut headers = HeaderMap::new();
    for (name, values) in fields {
        let lines = match values {
            Value::Array(lines) => lines,
            line => vec![line],
        };
        let field: HeaderName =
            name.parse().map_err(|_| invalid(format!("`{name}` is not the name of a field")))?;
        for line in lines {
            let line = line.as_str().ok_or_else(wanted)?;
            let value = HeaderValue::from_str(line)
                .map_err(|_| invalid(format!("the field `{name}` cannot be {line:?}")))?;
            // A map of fields has a limit, which is not ours to run into.
            headers.try_append(field.clone(), value).map_err(Error::invalid)?;
        }
    }
    Ok(headers)
}

/// What of an object has not been looked at yet.
struct Members(Map<String, Value>);

impl Members {
    fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    fn text(&mut self, name: &str) -> Result<String, Error> {
        match self.0.remove(name) {
            Some(Value::String(text)) if text.len() <= MAX_TEXT => Ok(text),
            Some(Value::String(_)) => {
                Err(invalid(format!("`{name}` is longer than {MAX_TEXT} bytes")))
            }
            _ => Err(invalid(format!("`{name}` takes a text"))),
        }
    }

    /// A text that is not empty: an empty one is a variable that was not set.
    fn name(&mut self, name: &str) -> Result<String, Error> {
        let text = self.text(name)?;
        if text.is_empty() { Err(invalid(format!("`{name}` is empty"))) } else { Ok(text) }
    }

    fn flag(&mut self, name: &str) -> Result<bool, Error> {
        match self.0.remove(name) {
            None => Ok(false),
            Some(Value::Bool(flag)) => Ok(flag),
            Some(_) => Err(invalid(format!("`{name}` takes true or false"))),
        }
    }

    fn scope(&mut self, mut purge: Purge) -> Result<Purge, Error> {
        if matches!(purge.selector, Selector::Tag { .. }) && self.has("of_origin") {
            purge = purge.of_origin(&self.text("of_origin")?)?;
        }
        let within = match (self.flag("everywhere")?, self.0.remove("in_namespace")) {
            (false, None) => return Ok(purge),
            (true, None) => Within::Every,
            (true, Some(_)) => {
                let text = "`everywhere` and `in_namespace` exclude each other";
                return Err(invalid(text.to_owned()));
            }
            (false, Some(Value::Null)) => Within::One(None),
            (false, Some(Value::String(namespace))) => Within::One(Some(namespace.into())),
            (false, Some(_)) => {
                return Err(invalid("`in_namespace` takes a text or null".to_owned()));
            }
        };
        Ok(purge.within(within))
    }

    fn without_selector(&self) -> Error {
        let known = SELECTORS.map(|name| format!("`{name}`")).join(", ");
        let details = [
            "in_namespace",
            "everywhere",
            "of_origin",
            "origin",
            "fields",
            "soft",
            "dry_run",
            "by",
        ];
        match self.0.keys().find(|name| !details.contains(&&***name)) {
            Some(name) => invalid(format!("`{name}` is no selector; there are {known}")),
            None => invalid(format!("this selects nothing; selectors are {known}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<Purge, Error> {
        Purge::from_json(line)
    }

    #[test]
    fn what_was_written_is_read() {
        let mut fields = HeaderMap::new();
        fields.append("accept-language", "de".parse().unwrap());
        fields.append("accept-language", "en".parse().unwrap());
        let purges = [
            Purge::everything(),
            Purge::everything().dry_run(),
            Purge::tag("a \"b\" é\n"),
            Purge::tag("t").everywhere().soft().by("me"),
            Purge::tag("t").in_namespace("n").of_origin("https://A.example:443/x").unwrap(),
            Purge::tag("t").within(Within::One(None)),
            Purge::group("http://a.example:81", "g").unwrap(),
            Purge::group("http://a.example", "").unwrap().within(Within::One(None)),
            Purge::url("http://a.example/x?q=%22").unwrap(),
            Purge::prefix("http://a.example/x/").unwrap().soft(),
            Purge::host("A.example."),
            Purge::namespace(""),
            Purge::variant("http://a.example/x", fields).unwrap(),
        ];
        for purge in purges {
            let line = purge.to_json().unwrap();
            assert!(!line.contains('\n'), "{line}");
            assert_eq!(read(&line).unwrap(), purge, "{line}");
        }
        assert_eq!(
            Purge::tag("t").soft().by("me").to_json().unwrap(),
            r#"{"by":"me","soft":true,"tag":"t"}"#
        );
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_a_sentence() {
        let table = [
            ("", "not one JSON object"),
            ("site-1", "not one JSON object"),
            ("[]", "not an object"),
            ("\"tag\"", "not an object"),
            ("{\"tag\":\"a\"} {\"tag\":\"b\"}", "not one JSON object"),
            ("{}", "selects nothing"),
            ("{\"soft\":true}", "selects nothing"),
            ("{\"tga\":\"a\"}", "`tga` is no selector"),
            ("{\"regex\":\"(a+)+$\"}", "`regex` is no selector"),
            ("{\"tag\":\"a\",\"url\":\"http://a.example/\"}", "two selectors"),
            ("{\"tag\":\"a\",\"namespace\":\"n\"}", "two selectors"),
            ("{\"tag\":\"a\",\"sotf\":true}", "`sotf` is nothing that `tag` has"),
            ("{\"host\":\"a\",\"everywhere\":true}", "`everywhere` is nothing that `host` has"),
            ("{\"tag\":1}", "`tag` takes a text"),
            ("{\"tag\":[\"a\"]}", "`tag` takes a text"),
            ("{\"tag\":\"\"}", "`tag` is empty"),
            ("{\"host\":\"\"}", "`host` is empty"),
            ("{\"tag\":\"a\",\"soft\":\"yes\"}", "`soft` takes true or false"),
            ("{\"tag\":\"a\",\"soft\":true,\"dry_run\":true}", "exclude each other"),
            ("{\"tag\":\"a\",\"everywhere\":true,\"in_namespace\":\"n\"}", "exclude each other"),
            ("{\"tag\":\"a\",\"in_namespace\":1}", "takes a text or null"),
            ("{\"group\":\"g\"}", "needs the `origin`"),
            ("{\"group\":\"g\",\"origin\":\"a.example\"}", "absolute"),
            ("{\"url\":\"/x\"}", "absolute"),
            ("{\"prefix\":\"http://a.example/?q\"}", "has a query"),
            ("{\"everything\":false}", "can only be true"),
            ("{\"variant\":\"http://a.example/\",\"soft\":true}", "cannot be purged softly"),
            ("{\"variant\":\"http://a.example/\",\"fields\":{\"a b\":\"\"}}", "name of a field"),
            ("{\"variant\":\"http://a.example/\",\"fields\":{\"a\":\"\\n\"}}", "cannot be"),
            ("{\"variant\":\"http://a.example/\",\"fields\":[]}", "takes an object"),
        ];
        for (line, sentence) in table {
            let error = read(line).unwrap_err();
            assert!(error.is_invalid() && error.to_string().contains(sentence), "{line}: {error}");
        }
        let bomb = format!("{{\"tag\":\"{}\"}}", "a".repeat(MAX_TEXT + 1));
        assert!(read(&bomb).unwrap_err().to_string().contains("longer than"));
        let deep = "{\"tag\":".repeat(100_000);
        assert!(read(&deep).unwrap_err().is_invalid());
        assert!(Purge::matching(|_, _| true).to_json().unwrap_err().is_invalid());
    }
}
