use std::time::{Duration, SystemTime};

use http::{Request, Response};
use http_body::SizeHint;

use super::{
    table::{MAX_BROAD, MAX_EXACT, Table},
    *,
};
use crate::policy::{
    Begin, CacheKey, Decision, Outcome, Policy, Secret, Stored, StoredHead, Timestamp,
};

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

/// A response that began at a position, as the policy would have it stored.
fn stored(url: &str, fields: &[(&str, &str)], began: u64) -> (CacheKey, StoredHead) {
    let policy = Policy::shared().namespace("n");
    let (mut request, ()) = Request::get(url).body(()).unwrap().into_parts();
    let now = Timestamp::from_wall(at(0));
    let Begin::Lookup(lookup) = policy.begin(&request, &SizeHint::with_exact(0)) else { panic!() };
    let decision = lookup.decide(&mut request, Stored::Nothing, now);
    let Decision::Forward(fetch) = decision else { panic!("{decision:?}") };
    let response = Response::builder().header("cache-control", "max-age=60");
    let response =
        fields.iter().fold(response, |response, (name, value)| response.header(*name, *value));
    let (mut head, ()) = response.body(()).unwrap().into_parts();
    let (size, secret) = (SizeHint::with_exact(0), Secret::from_bytes([0; 32]));
    match fetch.on_response(&mut head, &size, now, began, &secret) {
        Outcome::Store(store) => {
            let (placement, head) = store.into_parts();
            (placement.key().clone(), head)
        }
        other => panic!("{other:?}"),
    }
}

fn page(began: u64) -> (CacheKey, StoredHead) {
    let fields = [("cache-tag", "t,u"), ("cache-groups", "\"g\"")];
    stored("http://a.example/docs/x?q", &fields, began)
}

fn verdict(purges: &[(u64, Purge)], began: u64) -> Verdict {
    let mut table = Table::default();
    purges.iter().for_each(|(seq, purge)| table.append(*seq, purge, at(*seq)));
    let (key, head) = page(began);
    table.judge(&key, &head, began)
}

/// What a selector names is selected, if it began before, and nothing beside it.
#[test]
fn a_selector_selects_what_it_names() {
    let url = |url: &str| Purge::url(url).unwrap();
    let prefix = |url: &str| Purge::prefix(url).unwrap();
    let group = |origin: &str, name: &str| Purge::group(origin, name).unwrap();
    let table = [
        (url("http://a.example/docs/x?q"), true),
        (url("http://A.example.:80/docs/x?q#f"), true),
        (url("http://a.example/docs/x"), false),
        (url("https://a.example/docs/x?q"), false),
        (prefix("http://a.example"), true),
        (prefix("http://a.example/"), true),
        (prefix("http://a.example/docs"), true),
        (prefix("http://a.example/docs/"), true),
        (prefix("http://a.example/docs/x"), true),
        (prefix("http://a.example/docs/x/"), false),
        (prefix("http://a.example/doc"), false),
        (prefix("https://a.example/docs"), false),
        (prefix("http://a.example:81/docs"), false),
        (Purge::host("a.example"), true),
        (Purge::host("A.example.:80"), true),
        (Purge::host("a.example:443"), true),
        (Purge::host("a.example:81"), false),
        (Purge::namespace("n"), true),
        (Purge::namespace(""), false),
        (Purge::tag("t").in_namespace("n"), true),
        (Purge::tag("u").everywhere(), true),
        (Purge::tag("t"), false), // nobody has said in which namespace
        (Purge::tag("t,u").everywhere(), false),
        (Purge::tag("").everywhere(), false),
        (Purge::tag("g").everywhere(), false),
        (group("http://a.example", "g").in_namespace("n"), true),
        (group("http://a.example/path?", "g").everywhere(), true),
        (group("http://a.example", "t").everywhere(), false),
        (group("http://b.example", "g").everywhere(), false),
        (Purge::matching(|_, head| head.tags().any(|tag| tag == "u")), true),
        (Purge::everything(), true),
    ];
    for (purge, selects) in table {
        let [gone, stale] = [Verdict::Gone, Verdict::Stale(at(3))]
            .map(|verdict| if selects { verdict } else { Verdict::Good });
        assert_eq!(verdict(&[(3, purge.clone())], 2), gone, "{purge}");
        assert_eq!(verdict(&[(3, purge.clone().soft())], 2), stale, "{purge}");
        for began in [3, 4] {
            assert_eq!(verdict(&[(3, purge.clone())], began), Verdict::Good, "{purge}");
        }
    }
}

#[test]
fn what_is_no_url_is_no_selector() {
    for text in ["/x", "a.example", "http://", "x y", "", "http://a.example:99999/"] {
        assert!(Purge::url(text).unwrap_err().is_invalid(), "{text}");
        assert!(Purge::prefix(text).unwrap_err().is_invalid(), "{text}");
        assert!(Purge::group(text, "g").unwrap_err().is_invalid(), "{text}");
        assert!(Purge::tag("t").of_origin(text).unwrap_err().is_invalid(), "{text}");
    }
    assert!(Purge::prefix("http://a.example/x?q").unwrap_err().is_invalid());
}

/// Hard beats soft in any order; of soft ones the first after it began counts.
#[test]
fn records_add_up() {
    let (tag, host) = (Purge::tag("t").everywhere(), Purge::host("a.example"));
    let soft = |purge: &Purge| purge.clone().soft();
    let all =
        [(1, soft(&tag)), (2, soft(&host)), (3, tag.clone()), (4, soft(&tag)), (5, soft(&host))];
    for (began, expected) in [
        (0, Verdict::Gone),
        (2, Verdict::Gone),
        (3, Verdict::Stale(at(4))),
        (4, Verdict::Stale(at(5))),
        (5, Verdict::Good),
    ] {
        assert_eq!(verdict(&all, began), expected, "{began}");
    }
    assert_eq!(verdict(&all[..2], 0), Verdict::Stale(at(1)));
    assert_eq!(verdict(&all[..2], 1), Verdict::Stale(at(2)));
    // Everything, softly and then for good.
    let all = [(1, soft(&tag)), (2, soft(&Purge::everything())), (3, Purge::everything())];
    assert_eq!(verdict(&all[..2], 1), Verdict::Stale(at(2)));
    assert_eq!(verdict(&all, 2), Verdict::Gone);
    assert_eq!(verdict(&all, 3), Verdict::Good);
}

/// Many soft purges by one selector take bounded room; what they select is never stale later than it
/// should be.
#[test]
fn many_soft_purges_are_never_forgotten() {
    let records: Vec<_> = (1..=100).map(|seq| (seq, Purge::tag("t").everywhere().soft())).collect();
    for began in 0..100 {
        let Verdict::Stale(since) = verdict(&records, began) else { panic!("{began}") };
        assert!(since <= at(began + 1), "{began}");
        assert!(began < 93 || since == at(began + 1), "{began}");
    }
    assert_eq!(verdict(&records, 100), Verdict::Good);
}

/// Beyond its bounds a table purges too much, and never too little.
#[test]
fn a_full_table_forgets_nothing() {
    let (key, head) = page(0);
    let mut table = Table::default();
    let url = |number| Purge::url(&format!("http://b.example/{number}")).unwrap();
    for seq in 1..=MAX_EXACT as u64 {
        table.append(seq, &url(seq), at(seq));
    }
    assert_eq!(table.judge(&key, &head, 0), Verdict::Good);
    let last = MAX_EXACT as u64 + 1;
    table.append(last, &url(last), at(last));
    assert!(table.len() <= MAX_EXACT);
    assert_eq!(table.judge(&key, &head, 0), Verdict::Gone);
    let (key, head) = stored(&format!("http://b.example/{last}"), &[], 0);
    assert_eq!(table.judge(&key, &head, last - 1), Verdict::Gone);
    assert_eq!(table.judge(&key, &head, last), Verdict::Good);

    let mut table = Table::default();
    let (key, head) = page(0);
    for seq in 1..=MAX_BROAD as u64 + 1 {
        let purge = Purge::prefix(&format!("http://b.example/{seq}")).unwrap().soft();
        assert_eq!(table.judge(&key, &head, 0), Verdict::Good);
        table.append(seq, &purge, at(seq));
    }
    assert_eq!(table.judge(&key, &head, 0), Verdict::Stale(at(1)));
    assert_eq!(table.judge(&key, &head, 1), Verdict::Good);
}

/// An entry is compared with a record once.
#[test]
fn a_hit_looks_only_at_what_is_new() {
    let log = PurgeLog::new();
    let (key, head) = page(0);
    log.append(Purge::host("b.example"));
    assert_eq!(log.judge(&key, &head), Verdict::Good);
    assert_eq!(head.good_at(), log.position());
    log.append(Purge::host("a.example").soft());
    assert!(matches!(log.judge(&key, &head), Verdict::Stale(_)));
    assert_eq!((head.good_at(), head.spared_at()), (1, 2));
    log.append(Purge::host("a.example"));
    assert_eq!(log.judge(&key, &head), Verdict::Gone);
    assert_eq!((head.good_at(), head.spared_at()), (1, 2));
}

/// What outlives the process comes back as it was, softness and all.
#[cfg(feature = "disk")]
#[test]
fn a_log_that_was_kept_judges_the_same() {
    use std::future::ready;

    use crate::{BoxFuture, Error};

    struct Nowhere;

    impl Persist for Nowhere {
        fn persist(&self, _: &PurgeLog) -> BoxFuture<Result<(), Error>> {
            Box::pin(ready(Ok(())))
        }

        fn is_current(&self) -> bool {
            true
        }
    }

    let (key, _) = page(0);
    for purge in [
        Purge::tag("t").in_namespace("n"),
        Purge::group("http://a.example", "g").unwrap().everywhere(),
        Purge::prefix("http://a.example/docs").unwrap(),
        Purge::everything(),
    ] {
        for soft in [false, true] {
            let log = PurgeLog::restored(Records::default(), Nowhere);
            log.append(if soft { purge.clone().soft() } else { purge.clone() });
            let kept = log.since(0);
            assert_eq!(log.since(1).records, []);
            let log = PurgeLog::restored(kept.clone(), Nowhere);
            assert_eq!(log.since(0), kept);
            let (_, again) = page(0);
            let verdict = log.judge(&key, &again);
            assert_eq!(matches!(verdict, Verdict::Stale(_)), soft, "{purge}");
            assert_eq!(verdict == Verdict::Gone, !soft, "{purge}");
        }
    }
}
