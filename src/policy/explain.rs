//! Why the rules have decided what they did.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use http::{HeaderMap, HeaderName};

use super::Policy;

/// A policy that writes down its steps, and what it has written.
///
/// The questions are asked as always, of [`policy`](Self::policy), and the answers are the same: it is
/// the same evaluation. A policy that is not asked to explain itself writes nothing and allocates
/// nothing.
///
/// ```
/// use http::{Request, Response};
/// use http_body::SizeHint;
/// use larder::policy::{self, Begin, Decision, Policy, Secret, Stored, Timestamp};
///
/// let explained = policy::explain(&Policy::shared());
/// let (mut request, ()) = Request::get("http://a.example/").body(())?.into_parts();
/// let now = Timestamp::from_wall(std::time::SystemTime::UNIX_EPOCH);
/// let Begin::Lookup(lookup) = explained.policy().begin(&request, &SizeHint::with_exact(0)) else { panic!() };
/// let Decision::Forward(fetch) = lookup.decide(&mut request, Stored::Nothing, now) else { panic!() };
/// let (mut response, ()) = Response::builder().header("cache-control", "private").body(())?.into_parts();
/// let _ = fetch.on_response(&mut response, &SizeHint::default(), now, 0, &Secret::from_bytes([0; 32]));
///
/// let steps = explained.steps();
/// let last = steps.last().expect("there is always a step");
/// assert_eq!((last.rule().name(), last.rule().section()), ("private", "RFC 9111 §5.2.2.7"));
/// assert_eq!((last.inputs(), last.result()), ("cache-control: private", "not stored: private"));
/// # Ok::<(), http::Error>(())
/// ```
#[derive(Debug)]
#[must_use]
pub struct Explanation {
    policy: Policy,
    steps: Arc<Mutex<Vec<Step>>>,
}

/// A copy of `policy` that writes down which rules have led to its decisions.
pub fn explain(policy: &Policy) -> Explanation {
    let steps = Arc::default();
    let trail = Trail(Some(Arc::clone(&steps)));
    let policy = policy.clone().rules(|rules| rules.trail = trail);
    Explanation { policy, steps }
}

impl Explanation {
    /// The policy to ask.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// The steps since this was last asked, in order.
    pub fn steps(&self) -> Vec<Step> {
        std::mem::take(&mut lock(&self.steps))
    }
}

/// A rule that was applied, to what, and what came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    rule: Rule,
    inputs: String,
    result: String,
}

impl Step {
    /// The rule.
    pub fn rule(&self) -> Rule {
        self.rule
    }

    /// What it looked at.
    pub fn inputs(&self) -> &str {
        &self.inputs
    }

    /// What it said.
    pub fn result(&self) -> &str {
        &self.result
    }
}

/// `section name: inputs -> result`.
impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: ", self.rule.section(), self.rule.name())?;
        if !self.inputs.is_empty() {
            write!(f, "{} -> ", self.inputs)?;
        }
        f.write_str(&self.result)
    }
}

/// Where steps are written down, if anybody wants them.
#[derive(Clone, Default)]
pub(super) struct Trail(Option<Arc<Mutex<Vec<Step>>>>);

impl Trail {
    /// Whether anybody asks.
    #[inline]
    pub(super) fn is_kept(&self) -> bool {
        self.0.is_some()
    }

    /// Writes down a step: what the rule looked at, and what it said. On the way of a hit only behind
    /// [`is_kept`](Self::is_kept), and of copies: what is lent to `told` has to lie in memory.
    #[inline]
    pub(super) fn note(&self, rule: Rule, told: impl FnOnce() -> (String, String)) {
        // Most policies are not asked, and a hit comes by here many times.
        if let Some(steps) = &self.0 {
            push(steps, rule, told);
        }
    }
}

#[cold]
#[inline(never)]
fn push(steps: &Mutex<Vec<Step>>, rule: Rule, told: impl FnOnce() -> (String, String)) {
    let (inputs, result) = told();
    lock(steps).push(Step { rule, inputs, result });
}

fn lock(steps: &Mutex<Vec<Step>>) -> MutexGuard<'_, Vec<Step>> {
    steps.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The lines of these fields, as an input of a step. Credentials are not shown.
pub(super) fn show(headers: &HeaderMap, names: &[HeaderName]) -> String {
    let mut shown = String::new();
    for name in names {
        for value in headers.get_all(name) {
            let separator = if shown.is_empty() { "" } else { ", " };
            shown.push_str(&format!("{separator}{name}: {}", value.as_bytes().escape_ascii()));
        }
    }
    shown
}

macro_rules! rules {
    ($($variant:ident, $name:literal, $section:literal, $about:literal;)*) => {
        /// A rule that the policy goes by.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Rule {
            $(#[doc = $about] $variant,)*
        }

        impl Rule {
            /// All of them, in the order in which they are asked.
            pub const ALL: &[Rule] = &[$(Rule::$variant),*];

            /// Its name.
            pub fn name(self) -> &'static str {
                match self {
                    $(Rule::$variant => $name,)*
                }
            }

            /// Where it is written down.
            pub fn section(self) -> &'static str {
                match self {
                    $(Rule::$variant => $section,)*
                }
            }
        }
    };
}

rules! {
    Method, "method", "RFC 9111 §4", "Which methods a cache answers, and which only write through.";
    Request, "request", "RFC 9110 §7.6", "Which requests pass by.";
    Key, "key", "RFC 9111 §2", "What a response is kept under.";
    Selection, "selection", "RFC 9111 §4.1", "Which stored response the request selects.";
    Age, "age", "RFC 9111 §4.2.3", "How old it is.";
    Fresh, "fresh", "RFC 9111 §4.2", "Whether it is still fresh.";
    Stale, "stale", "RFC 9111 §4.2.4", "Whether it may be used although it is stale.";
    NoCache, "no-cache", "RFC 9111 §5.2.2.4", "Whether it has to be validated at each use.";
    RequestDirectives, "request-directives", "RFC 9111 §5.2.1", "What the request wants of a stored response.";
    OnlyIfCached, "only-if-cached", "RFC 9111 §5.2.1.7", "Whether the origin may be asked.";
    Range, "range", "RFC 9110 §14", "Which part of the stored response is sent.";
    Partial, "partial", "RFC 9111 §3.3", "What a stored part is good for.";
    Validation, "validation", "RFC 9111 §4.3.1", "What the origin is asked about a stored response.";
    ServerError, "server-error", "RFC 5861 §4", "Whether a stored response replaces an error.";
    Freshening, "freshening", "RFC 9111 §4.3.4", "Which stored response a 304 freshens.";
    Head, "head", "RFC 9111 §4.3.5", "What the answer to HEAD says about a stored GET.";
    Combining, "combining", "RFC 9111 §3.4", "Which part is stored, and with what.";
    Length, "length", "RFC 9110 §8.6", "How long the content must be.";
    Targeted, "targeted", "RFC 9213 §2.2", "Which field's directives count.";
    Status, "status", "RFC 9111 §3", "Which status codes are stored.";
    RequestNoStore, "request-no-store", "RFC 9111 §5.2.1.5", "Whether the request lets its response be stored.";
    Streaming, "streaming", "RFC 9111 §3", "Whether the response has an end.";
    MustUnderstand, "must-understand", "RFC 9111 §5.2.2.3", "Whether the status code must be understood, and is.";
    NoStore, "no-store", "RFC 9111 §5.2.2.5", "Whether the response lets itself be stored.";
    Private, "private", "RFC 9111 §5.2.2.7", "Whether the response is for one user.";
    Authorization, "authorization", "RFC 9111 §3.5", "Whether the answer to one user may be shared.";
    SetCookie, "set-cookie", "RFC 9111 §7.3", "Whether a response that sets a cookie is stored.";
    Permission, "permission", "RFC 9111 §3", "Whether anything allows the response to be stored.";
    Connection, "connection", "RFC 9110 §7.6.1", "Whether the fields that count are for this hop only.";
    Vary, "vary", "RFC 9111 §4.1", "By which request fields the response is selected.";
    Groups, "groups", "RFC 9875 §2", "By which tags and cache groups the response can be purged.";
    Lifetime, "lifetime", "RFC 9111 §4.2.1", "How long the response is fresh.";
    Policy, "policy", "RFC 9111 §4.2.1", "What the cache's own rules make of the lifetime.";
    Use, "use", "RFC 9111 §3", "Whether the response could be used again.";
    Fields, "fields", "RFC 9111 §3.1", "Which of its fields are stored.";
    Post, "post", "RFC 9110 §9.3.3", "Whether a response to POST is what a GET would bring.";
    Invalidation, "invalidation", "RFC 9111 §4.4", "What an unsafe request invalidates.";
}

#[cfg(test)]
mod tests {
    use http::{Request, Response};
    use http_body::SizeHint;

    use super::*;
    use crate::policy::{
        Begin, Decision, Outcome, Reason, Secret, Stored, StoredResponse, Timestamp,
    };

    /// The rows of the table in the crate docs: sections, and names of rules.
    fn coverage() -> Vec<(Vec<&'static str>, Vec<&'static str>)> {
        let docs = include_str!("../lib.rs");
        let docs = docs.split("//! # Coverage").nth(1).unwrap().split("//! # ").next().unwrap();
        let rows = docs.lines().filter_map(|line| line.strip_prefix("//! | ")).skip(1);
        rows.map(|row| {
            let mut cells = row.split('|');
            let sections = cells.next().unwrap().trim().split([',', '–']);
            let names = cells.next().unwrap().split('`').skip(1).step_by(2);
            (sections.map(str::trim).collect(), names.collect())
        })
        .collect()
    }

    /// The table in the crate docs names every rule, at its section, and nothing else.
    #[test]
    fn the_crate_docs_cover_every_rule() {
        let rows = coverage();
        for rule in Rule::ALL {
            let section = rule.section();
            let section = section.strip_prefix("RFC 9111 §").unwrap_or(section);
            let is_covered = rows.iter().any(|(sections, names)| {
                sections.contains(&section) && names.contains(&rule.name())
            });
            assert!(is_covered, "{} at {section}", rule.name());
        }
        let named: Vec<_> = rows.iter().flat_map(|(_, names)| names).collect();
        for name in &named {
            assert!(Rule::ALL.iter().any(|rule| rule.name() == **name), "{name} is no rule");
        }
        assert_eq!(named.len(), Rule::ALL.len(), "each once");
    }

    struct Asked {
        explained: Explanation,
        request: &'static [(&'static str, &'static str)],
    }

    impl Asked {
        fn request(&self) -> http::request::Parts {
            let request = Request::get("http://a.example/");
            let request = self
                .request
                .iter()
                .fold(request, |request, (name, value)| request.header(*name, *value));
            request.body(()).unwrap().into_parts().0
        }

        fn fetch(&self, response: &[(&str, &str)]) -> Outcome {
            let mut request = self.request();
            let Begin::Lookup(lookup) =
                self.explained.policy().begin(&request, &SizeHint::with_exact(0))
            else {
                panic!()
            };
            let Decision::Forward(fetch) = lookup.decide(&mut request, Stored::Nothing, at(0))
            else {
                panic!()
            };
            let head = response
                .iter()
                .fold(Response::builder(), |head, (name, value)| head.header(*name, *value));
            let mut head = head.body(()).unwrap().into_parts().0;
            let secret = Secret::from_bytes([0; 32]);
            fetch.on_response(&mut head, &SizeHint::with_exact(0), at(0), 0, &secret)
        }
    }

    fn at(seconds: u64) -> Timestamp {
        let start = std::time::SystemTime::UNIX_EPOCH;
        Timestamp::from_wall(start + std::time::Duration::from_secs(1_767_225_600 + seconds))
    }

    /// "Why was this not cached?" has an answer, and it is the one that was given.
    #[test]
    fn the_last_step_is_the_one_that_refused() {
        type Lines = &'static [(&'static str, &'static str)];
        const PAIRS: &[[u8; 2]] = &[*b"t "; 300];
        const TAGS: &str = match str::from_utf8(PAIRS.as_flattened()) {
            Ok(tags) => tags,
            Err(_) => "",
        };
        let table: [(Lines, Lines, Rule, Reason); 10] = [
            (&[], &[("cache-control", "no-store")], Rule::NoStore, Reason::NoStore),
            (&[], &[("cache-control", "private")], Rule::Private, Reason::Private),
            (&[], &[("set-cookie", "a"), ("expires", "0")], Rule::SetCookie, Reason::SetCookie),
            (&[], &[("vary", "*")], Rule::Vary, Reason::VaryStar),
            (&[], &[("vary", "cookie")], Rule::Vary, Reason::VaryCredentials),
            (&[], &[("cache-tag", TAGS)], Rule::Groups, Reason::TooManyTags),
            (&[], &[], Rule::Use, Reason::NoFreshness),
            (
                &[("authorization", "x")],
                &[("expires", "0")],
                Rule::Authorization,
                Reason::Authorization,
            ),
            (&[("cache-control", "no-store")], &[], Rule::RequestNoStore, Reason::RequestNoStore),
            (&[], &[("content-length", "x")], Rule::Length, Reason::ContentLength),
        ];
        for (request, response, rule, reason) in table {
            let asked = Asked { explained: explain(&Policy::shared()), request };
            let Outcome::Pass { status, .. } = asked.fetch(response) else { panic!("{reason}") };
            let steps = asked.explained.steps();
            let last = steps.last().unwrap();
            assert_eq!((last.rule(), status.reason()), (rule, Some(reason)));
            assert_eq!(last.result(), format!("not stored: {reason}"));
            let secret = steps.iter().any(|step| step.inputs().contains("authorization: x"));
            assert!(!secret, "{steps:?}");
            assert!(asked.explained.steps().is_empty(), "each is told once");
        }
    }

    /// RFC 9110 §14.2, §13.1.5: which ranges are sent, and that `If-Range` is why none is.
    #[test]
    fn a_range_is_explained() {
        let response = [("cache-control", "max-age=60"), ("etag", "\"1\"")];
        for (request, told) in [
            (&[("range", "bytes=2-3")][..], "range: bytes=2-3 -> bytes 2-3/9"),
            (&[("range", "bytes=2-3,5-")], "range: bytes=2-3,5- -> 2 parts of 9 bytes"),
            (&[("range", "bytes=9-")], "range: bytes=9- -> nothing of 9 bytes"),
            (&[("range", "bytes=2-3"), ("if-range", "\"2\"")], "-> does not count"),
        ] {
            let asked = Asked { explained: explain(&Policy::shared()), request: &[] };
            let Outcome::Store(store) = asked.fetch(&response) else { panic!() };
            let stored = [StoredResponse::new(store.into_parts().1, 9)];
            let asked = Asked { request, ..asked };
            let (mut request, policy) = (asked.request(), asked.explained.policy());
            let Begin::Lookup(lookup) = policy.begin(&request, &SizeHint::with_exact(0)) else {
                panic!()
            };
            let _ = lookup.decide(&mut request, Stored::Responses(&stored), at(1));
            let last = asked.explained.steps().last().unwrap().to_string();
            assert!(last.starts_with("RFC 9110 §14 range: ") && last.ends_with(told), "{last}");
        }
    }

    /// Steps come in the order of the rules, and a policy that explains itself decides the same.
    #[test]
    fn a_stored_response_is_explained_from_the_method_to_the_age() {
        let plain = Policy::shared().max_ttl(std::time::Duration::from_secs(30));
        let asked = Asked { explained: explain(&plain), request: &[] };
        let Outcome::Store(store) = asked.fetch(&[("cache-control", "max-age=60")]) else {
            panic!()
        };
        let told: Vec<_> = asked.explained.steps().iter().map(Step::to_string).collect();
        assert_eq!(
            told.first().unwrap(),
            "RFC 9111 §4 method: GET -> may be answered from the store"
        );
        for line in [
            "RFC 9111 §2 key: http://a.example/",
            "RFC 9111 §4.2.1 lifetime: cache-control: max-age=60 -> 60 s, by max-age",
            "RFC 9111 §4.2.1 policy: 60 s -> 30 s",
        ] {
            assert!(told.iter().any(|step| step == line), "{line}: {told:#?}");
        }
        let stored = [StoredResponse::new(store.into_parts().1, 0)];
        for (seconds, rules) in [
            (29, [Rule::Selection, Rule::Age, Rule::Fresh, Rule::RequestDirectives].as_slice()),
            (30, [Rule::Selection, Rule::Age, Rule::Fresh, Rule::Stale].as_slice()),
        ] {
            let mut request = asked.request();
            let policy = asked.explained.policy();
            let Begin::Lookup(lookup) = policy.begin(&request, &SizeHint::with_exact(0)) else {
                panic!()
            };
            asked.explained.steps();
            let decision = lookup.decide(&mut request, Stored::Responses(&stored), at(seconds));
            let steps = asked.explained.steps();
            let told: Vec<_> = steps.iter().map(Step::rule).take(4).collect();
            assert_eq!(told, rules, "{steps:#?}");
            assert_eq!(matches!(decision, Decision::Serve(_)), seconds == 29);
        }
    }
}
