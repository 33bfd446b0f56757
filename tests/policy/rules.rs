//! Rules that are plain to see, each by a table: the numbered behaviours and the directives.

use http::{HeaderMap, Method, Request};
use http_body::SizeHint;
use larder::policy::{Begin, Decision, Failure, Policy, StoredResponse};

use super::alone::{at, decided, fields, kept, served};

type Lines = &'static [(&'static str, &'static str)];

const DATE: (&str, &str) = ("date", "Sun, 22 Nov 2026 11:00:07 GMT");

fn both() -> [Policy; 2] {
    [Policy::shared(), Policy::private()]
}

/// For how many whole seconds a response answers without being validated; `None` if it is not kept.
fn good_for(policy: &Policy, response: &[(&str, &str)]) -> Option<u64> {
    let stored = kept(policy, &HeaderMap::new(), &fields(response))?;
    let none = HeaderMap::new();
    (0..200).find(|second| served(policy, &none, &stored, *second).is_none())
}

fn stored(policy: &Policy, response: &[(&str, &str)]) -> StoredResponse {
    kept(policy, &HeaderMap::new(), &fields(response)).expect("it is stored")
}

/// Behaviour G1; RFC 9111 §3, §4.2.
#[test]
fn what_says_nothing_of_freshness_is_validated() {
    for policy in both() {
        assert_eq!(good_for(&policy, &[DATE]), None);
        assert_eq!(good_for(&policy, &[DATE, ("etag", "\"1\"")]), Some(0));
    }
}

/// Behaviour G2; RFC 9111 §4.2.4.
#[test]
fn a_dead_origin_is_stood_in_for_only_where_that_is_allowed() {
    let window = std::time::Duration::from_secs(30);
    let answers = |policy: &Policy, response: Lines, second| {
        let stored = stored(policy, response);
        let Some(Decision::Forward(fetch)) = decided(policy, &HeaderMap::new(), &stored, second)
        else {
            panic!("it is stale")
        };
        matches!(fetch.on_error(at(second)), Failure::ServeStale(_))
    };
    let lenient = Policy::shared().stale_on_disconnect(window);
    let table: [(Lines, bool); 5] = [
        (&[DATE, ("cache-control", "max-age=10")], true),
        (&[DATE, ("cache-control", "max-age=10, must-revalidate")], false),
        (&[DATE, ("cache-control", "max-age=10, proxy-revalidate")], false),
        (&[DATE, ("cache-control", "s-maxage=10")], false),
        (&[DATE, ("etag", "\"1\""), ("cache-control", "max-age=10, no-cache")], false),
    ];
    for (response, expected) in table {
        assert!(!answers(&Policy::shared(), response, 20), "{response:?}");
        assert_eq!(answers(&lenient, response, 20), expected, "{response:?}");
        assert!(!answers(&lenient, response, 41), "{response:?}");
    }
}

/// Behaviour 5; RFC 9111 §3.5, §5.2.2.8, §5.2.2.9, §5.2.2.10.
#[test]
fn a_response_to_credentials_needs_a_word_to_be_shared() {
    for (control, expected) in [
        ("max-age=60", false),
        ("max-age=60, public", true),
        ("max-age=60, must-revalidate", true),
        ("max-age=60, s-maxage=60", true),
        ("max-age=60, proxy-revalidate", false),
        ("max-age=60, s-maxage=x", false),
        ("max-age=60, public=1", false),
        ("max-age=60, public, private", false),
    ] {
        let request = fields(&[("authorization", "Basic YQ==")]);
        let response = fields(&[DATE, ("cache-control", control)]);
        assert_eq!(kept(&Policy::shared(), &request, &response).is_some(), expected, "{control}");
        assert!(kept(&Policy::private(), &request, &response).is_some(), "{control}");
    }
}

/// Behaviour 6; RFC 9111 §5.2.2.4.
#[test]
fn no_cache_is_kept_and_validated_at_each_use() {
    for policy in both() {
        let response = &[DATE, ("cache-control", "no-cache, max-age=60"), ("etag", "\"1\"")];
        assert_eq!(good_for(&policy, response), Some(0));
    }
}

/// Behaviours 11, 12 and 13; RFC 9111 §5.2.2.1, §5.2.2.10, §5.2.3: the private reading after the
/// shared one.
#[test]
fn a_lifetime_is_that_of_the_first_rule_that_applies() {
    const TAG: (&str, &str) = ("etag", "\"1\"");
    let table: [(&str, u64, u64); 17] = [
        ("max-age=60", 60, 60),
        ("max-age=60, s-maxage=10", 10, 60),
        ("s-maxage=100, max-age=60", 100, 60),
        ("MAX-AGE=\"60\"", 60, 60),
        ("max-age=0060", 60, 60),
        ("max-age=60, max-age=60", 60, 60),
        ("max-age=60, max-age=61", 0, 0),
        ("max-age=-1", 0, 0),
        ("max-age=1.5", 0, 0),
        ("max-age='60'", 0, 0),
        ("max-age=60s", 0, 0),
        ("max-age", 0, 0),
        ("x=\"max-age=1, no-store\", max-age=60", 60, 60),
        ("x=\"a\\\", no-cache\", max-age=60", 60, 60),
        ("community=\"UCI\", max-age=60", 60, 60),
        ("x-max-age=10, max-age=60, no-storex", 60, 60),
        ("max-age=60, s-maxage=0", 0, 60),
    ];
    for (control, shared, private) in table {
        let response = [DATE, TAG, ("cache-control", control)];
        let found = both().map(|policy| good_for(&policy, &response));
        assert_eq!(found, [Some(shared), Some(private)], "{control}");
    }
    for seconds in ["2147483648", "4294967296", "99999999999999999999"] {
        let response = fields(&[DATE, ("cache-control", &format!("max-age={seconds}"))]);
        for policy in both() {
            let stored = kept(&policy, &HeaderMap::new(), &response).expect("it is stored");
            assert!(served(&policy, &HeaderMap::new(), &stored, 2_000_000_000).is_some());
        }
    }
}

/// Behaviours 14 and 15; RFC 9110 §5.6.7, RFC 9111 §5.3.
#[test]
fn expires_is_one_of_three_forms_to_the_letter() {
    let table: [(&str, u64); 15] = [
        ("Sun, 22 Nov 2026 11:01:07 GMT", 60),
        ("Sunday, 22-Nov-26 11:01:07 GMT", 60),
        ("Sun Nov 22 11:01:07 2026", 60),
        ("sun, 22 nov 2026 11:01:07 gmt", 60),
        ("Sun, 22 Nov 2026 11:01:07 UTC", 0),
        ("Sun, 22 Nov 2026 11:01:07 +0000", 0),
        ("Sun, 22 Nov 2026 11:01:07", 0),
        ("Sun, 22 Nov 2026 1:01:07 GMT", 0),
        ("Sun,  22 Nov 2026 11:01:07 GMT", 0),
        ("Sun, 22-Nov-2026 11:01:07 GMT", 0),
        ("Sun, 22 Nov 26 11:01:07 GMT", 0),
        ("Sun, 22 Nov 2026 11:00:07 GMT", 0),
        // That is 2066, which has no such day.
        ("Sunday, 29-Feb-66 12:02:42 GMT", 0),
        ("0", 0),
        ("", 0),
    ];
    for (expires, seconds) in table {
        let response = [DATE, ("etag", "\"1\""), ("expires", expires)];
        for policy in both() {
            assert_eq!(good_for(&policy, &response), Some(seconds), "{expires}");
        }
    }
}

/// Behaviour 19; RFC 9111 §2, §4.
#[test]
fn the_whole_target_is_the_key_and_nothing_else() {
    let policy = Policy::shared();
    let key = |method: Method, uri: &str, line: Option<(&str, &str)>| {
        let request = Request::builder().method(method).uri(uri);
        let request = line.into_iter().fold(request, |it, (name, value)| it.header(name, value));
        let (head, ()) = request.body(()).unwrap().into_parts();
        match policy.begin(&head, &SizeHint::with_exact(0)) {
            Begin::Lookup(lookup) => lookup.key().clone(),
            other => panic!("{other:?}"),
        }
    };
    const URI: &str = "http://a.example/x?q=1";
    let this = key(Method::GET, URI, None);
    assert_eq!(this, key(Method::HEAD, URI, Some(("accept", "text/plain"))));
    assert_eq!(this, key(Method::GET, "http://A.example:80/x?q=1", None));
    for other in ["https://a.example/x?q=1", "http://b.example/x?q=1", "http://a.example/x?q=2"] {
        assert_ne!(this, key(Method::GET, other, None), "{other}");
    }
    for other in ["http://a.example/x", "http://a.example/X?q=1", "http://a.example:81/x?q=1"] {
        assert_ne!(this, key(Method::GET, other, None), "{other}");
    }
}

/// Behaviour 24; RFC 9111 §4.3.2, RFC 9110 §13.1.2, §13.1.3.
#[test]
fn a_clients_condition_is_answered_from_the_store() {
    const EARLY: &str = "Sun, 22 Nov 2026 10:00:00 GMT";
    let policy = Policy::shared();
    let control = ("cache-control", "max-age=60");
    let stored = stored(&policy, &[DATE, control, ("etag", "W/\"1\""), ("last-modified", EARLY)]);
    let table: [(Lines, u16); 7] = [
        (&[("if-none-match", "\"1\"")], 304),
        (&[("if-none-match", "\"2\", W/\"1\"")], 304),
        (&[("if-none-match", "*")], 304),
        (&[("if-none-match", "\"2\""), ("if-modified-since", EARLY)], 200),
        (&[("if-modified-since", "Sunday, 22-Nov-26 10:00:00 GMT")], 304),
        (&[("if-modified-since", "Sun Nov 22 09:59:59 2026")], 200),
        (&[("if-modified-since", EARLY), ("if-modified-since", EARLY)], 200),
    ];
    for (request, status) in table {
        let Some(Decision::Serve(serve)) = decided(&policy, &fields(request), &stored, 1) else {
            panic!("{request:?}")
        };
        assert_eq!(serve.head.status.as_u16(), status, "{request:?}");
        assert_eq!(serve.head.headers["age"], "1");
    }
}

/// Behaviours 30 and 41; RFC 5861 §3, RFC 9111 §5.5.
#[test]
fn stale_is_served_inside_its_window_and_refreshed() {
    for policy in both() {
        let control = ("cache-control", "max-age=10, stale-while-revalidate=20");
        let stored = stored(&policy, &[DATE, control]);
        for (second, serves, refreshes) in
            [(9, true, false), (10, true, true), (30, true, true), (31, false, false)]
        {
            let (head, refresh) = match decided(&policy, &HeaderMap::new(), &stored, second) {
                Some(Decision::Serve(serve)) => (Some(serve.head), false),
                Some(Decision::Refresh(serve, _)) => (Some(serve.head), true),
                _ => (None, false),
            };
            assert_eq!((head.is_some(), refresh), (serves, refreshes), "{second}");
            assert!(head.is_none_or(|head| !head.headers.contains_key("warning")));
        }
    }
}

/// Behaviour 39; RFC 9111 §5.2.1.1, §5.2.1.2, §5.2.1.3, §5.2.1.4, §5.2.1.7, §5.4: by the letter, as
/// a private cache takes it.
#[test]
fn the_clients_directives_are_heard() {
    let policy = Policy::private();
    let stored = stored(&policy, &[DATE, ("cache-control", "max-age=60")]);
    let table: [(Lines, u64, bool); 16] = [
        (&[("cache-control", "max-age=30")], 30, true),
        (&[("cache-control", "max-age=30")], 31, false),
        (&[("cache-control", "max-age=0")], 0, false),
        (&[("cache-control", "min-fresh=10")], 50, true),
        (&[("cache-control", "min-fresh=10")], 51, false),
        (&[("cache-control", "max-stale=10")], 70, true),
        (&[("cache-control", "max-stale=10")], 71, false),
        (&[("cache-control", "max-stale")], 9_999, true),
        (&[("cache-control", "no-cache")], 1, false),
        (&[("cache-control", "no-store")], 1, true),
        (&[("cache-control", "only-if-cached")], 59, true),
        (&[("cache-control", "only-if-cached")], 60, false),
        (&[("pragma", "no-cache")], 1, false),
        (&[("pragma", "no-cache"), ("cache-control", "max-age=60")], 1, true),
        (&[("cache-control", "x=\"no-cache\"")], 1, true),
        (&[], 60, false),
    ];
    for (request, second, expected) in table {
        let found = served(&policy, &fields(request), &stored, second).is_some();
        assert_eq!(found, expected, "{request:?} after {second}");
    }
    let request = fields(&[("cache-control", "only-if-cached")]);
    let decision = decided(&policy, &request, &stored, 60);
    assert!(matches!(decision, Some(Decision::GatewayTimeout(_))));
}
