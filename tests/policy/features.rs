//! Which features have a test: the rows of the requirements' feature tables up to "Key", with what a
//! test cites that holds each.

use std::{collections::BTreeSet, fs, path::Path};

use super::citations::{cited, holds};

#[derive(Clone, Copy)]
enum Held {
    /// By each test that cites this.
    By(&'static str),
    /// By what is about this.
    Other(&'static str),
}

use Held::{By, Other};

type Table = (&'static str, &'static [(&'static str, Held)]);

/// Each row by its beginning.
#[rustfmt::skip]
const TABLES: [Table; 10] = [
    (
        "Freshness and age",
        &[
            ("delta-seconds: digits only, saturate at 2³¹ on overflow", By("RFC 9111 §1.2.2")),
            ("Cache-Control list parser: multi-line fields, quoted", By("Behaviour 12")),
            ("Duplicate directives: equal ones count once, different", By("RFC 9111 §4.2.1")),
            ("Malformed restrictive directive is treated as restrictive", By("Feature malformed-restriction")),
            ("Malformed lifetime ⇒ stale, not \"absent\" (no", By("Feature malformed-lifetime")),
            ("max-age", By("RFC 9111 §5.2.2.1")),
            ("s-maxage, shared only; implies proxy-revalidate", By("RFC 9111 §5.2.2.10")),
            ("Expires, minus Date; `0`/invalid = past", By("RFC 9111 §5.3")),
            ("All three date formats, 2-digit-year rule, two-digit hour", By("RFC 9110 §5.6.7")),
            ("Date missing/invalid ⇒ time of receipt", By("RFC 9110 §6.6.1")),
            ("corrected_initial_age = max(apparent, age + response_delay)", By("RFC 9111 §4.2.3")),
            ("Upstream Age obeyed", By("Behaviour 17")),
            ("Age parse: first list member, invalid ignored, negative,", By("RFC 9111 §5.1")),
            ("Age generated on every stored response", By("Behaviour 18")),
            ("Heuristic freshness 10 % of (Date − Last-Modified), cap", By("RFC 9111 §4.2.2")),
            ("Heuristic only for heuristically cacheable statuses (200", By("RFC 9110 §15.1")),
            ("No heuristic for URIs with a query (option)", By("Feature heuristic-queries")),
            ("Default TTL when no freshness info (off by default; safe", By("Feature default-ttl")),
            ("Default/negative TTL per status", By("Feature status-ttl")),
            ("TTL override per path/host/response", By("Feature ttl-override")),
            ("Min/max clamp (guaranteed lifetimes, max_ttl)", By("Feature ttl-clamp")),
            ("Clock-skew tolerance", By("Feature clock-skew")),
            ("Monotonic-safe clock (wall clock jumps) + injected clock", By("Feature injected-clock")),
            ("Age-based staleness function", By("Scenario 2.13")),
            ("TTL jitter", By("Scenario 2.14")),
        ],
    ),
    (
        "Request directives",
        &[
            ("max-age", By("RFC 9111 §5.2.1.1")),
            ("max-stale (with/without value), never beyond", By("RFC 9111 §5.2.1.2")),
            ("min-fresh", By("RFC 9111 §5.2.1.3")),
            ("no-cache (validate first)", By("RFC 9111 §5.2.1.4")),
            ("no-store (do not store *this* exchange; does not forbid", By("RFC 9111 §5.2.1.5")),
            ("no-transform", By("Feature no-transform")),
            ("only-if-cached ⇒ 504", By("RFC 9111 §5.2.1.7")),
            ("stale-if-error in request", By("Feature request-stale-if-error")),
            ("Pragma: no-cache only when Cache-Control absent", By("RFC 9111 §5.4")),
            ("Per-mode policy: honour / ignore / clamp request directives", By("Feature client-modes")),
            ("Per-request override through an extension (ttl, bypass,", By("Feature request-extensions")),
        ],
    ),
    (
        "Response directives",
        &[
            ("no-store", By("RFC 9111 §5.2.2.5")),
            ("no-cache unqualified (store, always validate)", By("RFC 9111 §5.2.2.4")),
            ("no-cache=\"f1,f2\" (strip those fields on reuse without", By("Behaviour 28")),
            ("private unqualified", By("RFC 9111 §5.2.2.7")),
            ("private=\"f1,f2\" (shared may store the rest)", By("Feature qualified-private")),
            ("public", By("RFC 9111 §5.2.2.9")),
            ("must-revalidate (⇒ never stale: the inner error or response", By("RFC 9111 §5.2.2.2")),
            ("proxy-revalidate (shared)", By("RFC 9111 §5.2.2.8")),
            ("must-understand (+ no-store) with list of understood", By("RFC 9111 §5.2.2.3")),
            ("no-transform", By("Feature no-transform")),
            ("immutable", By("RFC 8246 §2")),
            ("stale-while-revalidate", By("RFC 5861 §3")),
            ("stale-if-error", By("RFC 5861 §4")),
            ("Unknown extensions ignored, preserved to downstream", By("RFC 9111 §5.2.3")),
            ("Surrogate-Control / CDN-Cache-Control / custom targeted", By("RFC 9213 §2.2")),
            ("Downstream rewriting of Cache-Control/Age/Surrogate headers", By("Scenario 2.8")),
            ("Warning not generated", By("Behaviour 41")),
        ],
    ),
    (
        "What may be stored",
        &[
            ("Any final status with explicit freshness", By("Behaviour 1")),
            ("Unknown status ⇒ only when understood or no must-understand", By("Behaviour 4")),
            ("1xx forwarded, never stored", By("Behaviour 9")),
            ("206 and 304 need special handling, never stored as full", By("RFC 9111 §3.3")),
            ("Authorization: only with public / s-maxage /", By("RFC 9111 §3.5")),
            ("Cookie in request: option to bypass", By("Feature bypass-cookies")),
            ("Set-Cookie: do not store in shared mode (default), or", By("RFC 9111 §7.3")),
            ("Hop-by-hop and Connection-nominated fields not stored;", By("RFC 9111 §3.1")),
            ("Trailers: stored and replayed, or dropped, never merged", By("Feature trailers")),
            ("Incomplete response: store only if marked partial;", By("Feature incomplete")),
            ("Length check before commit (`Content-Length`, else the", By("Feature length-check")),
            ("GET, HEAD", By("RFC 9111 §4")),
            ("HEAD answered from stored GET; HEAD miss converted to GET", By("Feature head-miss")),
            ("POST with matching Content-Location and freshness, reused", By("RFC 9110 §9.3.3")),
            ("Redirect caching (301/302/307/308)", By("Scenario 1.1")),
            ("Negative caching (404/410/5xx) with own TTL", By("Scenario 3.9")),
            ("Body size limit (declared and while streaming), overflow", By("Feature size-limit")),
            ("Min-uses / admission before storing", By("Feature min-uses")),
            ("Content-type / size / status filter", By("Feature response-filter")),
            ("Streaming types bypass (SSE, gRPC, `Incremental: ?1`,", By("Feature streaming-types")),
        ],
    ),
    (
        "Validation (both directions)",
        &[
            ("Revalidate with ETag **and** Last-Modified", By("RFC 9111 §4.3.1")),
            ("On a variant mismatch send the validators of stored", By("Feature variant-validators")),
            ("Keep expired objects for validation (keep window)", By("Feature keep-expired")),
            ("Client conditional merged with ours; answer right for the", By("RFC 9111 §4.3.2")),
            ("If-None-Match from cache: list, `*`, weak compare, unquoted", By("RFC 9110 §13.1.2")),
            ("If-Modified-Since ignored when INM present; compare without", By("RFC 9110 §13.1.3")),
            ("If-Match / If-Unmodified-Since", By("Feature if-match")),
            ("If-Range strong compare", By("RFC 9110 §13.1.5")),
            ("304 to client carries only the right fields (Date, ETag,", By("RFC 9110 §15.4.5")),
            ("Conditional on non-200 stored response", By("RFC 9110 §13.2.1")),
            ("Weak LM is not strong unless ≥ 1 s older than Date", By("RFC 9110 §8.8.2.2")),
            ("Weakening of ETag when we transform", By("Feature no-transform")),
            ("5xx during validation ⇒ stale if allowed, else pass the 5xx", By("RFC 9111 §4.3.3")),
            ("Unexpected 304 (we sent no validator) handled", By("Feature unexpected-304")),
        ],
    ),
    (
        "Updating stored responses",
        &[
            ("304 freshens: replace all received fields, except", By("RFC 9111 §3.2")),
            ("Match rule: strong → only that; weak → most recent; no", By("RFC 9111 §4.3.4")),
            ("Vary changed in a 304 ⇒ re-index the entry", By("Feature vary-changed")),
            ("304 that adds `no-store`/`private` ⇒ removed, not served", By("Feature forbidding-304")),
            ("HEAD 200 freshens GET if validators and length agree, else", By("RFC 9111 §4.3.5")),
            ("Concurrent 304 and 200 for one key: newest by generation", By("Feature concurrent-updates")),
            ("Metadata-only update (no body rewrite)", By("Feature head-only-update")),
        ],
    ),
    (
        "Vary and variants",
        &[
            ("Match on stored request fields", By("RFC 9111 §4.1")),
            ("`Vary: *` in any member never matches", By("Behaviour 21")),
            ("Multiple Vary lines, case, OWS", By("RFC 9110 §12.5.5")),
            ("Whitespace/line-combining normalisation of values", By("Behaviour 22")),
            ("Semantic normalisation: Accept-Encoding set,", By("Feature accept-forms")),
            ("Many variants per URL kept at once", By("Behaviour 20")),
            ("Look-up cost independent of number of variants", By("Scenario 4.2")),
            ("Cap on variants per URL", By("Scenario 4.3")),
            ("Most recent Date wins among matches", By("Feature newest-variant")),
            ("Variants with differing Vary sets coexist", By("Scenario 4.6")),
            ("Very long Vary (> 128 bytes) handled", By("Feature long-vary")),
            ("Custom variance (device class, A/B cohort, geo)", By("Feature custom-variance")),
            ("Drop Vary member by config (`Origin`, `Cookie`,", By("Feature vary-drop")),
        ],
    ),
    (
        "Ranges and partial content",
        &[
            ("Single range from full entry (first-last, open, suffix)", By("Behaviour 33")),
            ("Multi-range ⇒ multipart/byteranges, bounded count", By("RFC 9110 §15.3.7.2")),
            ("416 with Content-Range", By("RFC 9110 §15.5.17")),
            ("Range on a miss: fetch full and slice / pass / fetch", By("Feature whole-for-range")),
            ("Range served while the fill is in progress (wait only until", By("Feature range-of-fill")),
            ("Store a 206, serve contained sub-ranges", By("Behaviour 34")),
            ("Combine 206 with 206/200 by strong validator; complete with", By("RFC 9111 §3.4")),
            ("Seekable stored bodies (no read of the prefix)", By("Feature seekable")),
            ("Range arithmetic is checked (overflow, huge counts)", By("Feature range-arithmetic")),
        ],
    ),
    (
        "Invalidation and purge",
        &[
            ("Non-error answer to unsafe method invalidates target URI", By("Behaviour 32")),
            ("Location and Content-Location, same origin only", By("Feature same-origin")),
            ("Unknown methods treated as unsafe", By("Behaviour 32")),
            ("Error answers (4xx/5xx) do not invalidate", By("Behaviour 32")),
            ("Purge one URL (all variants)", By("Feature purge-url")),
            ("Purge one variant", By("Feature purge-variant")),
            ("Purge by tag (Surrogate-Key / Cache-Tag / configurable)", By("Scenario 0.2")),
            ("Cache-Groups + Cache-Group-Invalidation", By("RFC 9875 §2")),
            ("Purge by URI prefix / host / namespace", By("Feature purge-selectors")),
            ("Regex/predicate purge", By("Feature purge-predicate")),
            ("Lazy bans (predicate list checked at hit + background", By("Feature lazy-bans")),
            ("Flush all, O(1) by generation", By("Feature flush")),
            ("Soft purge (mark stale, keep for SWR/SIE/validators)", By("Feature soft-purge")),
            ("Purge fences fills and background refresh in flight", By("Scenario 0.4")),
            ("Purge via HTTP method PURGE with authoriser", Other("administration")),
            ("Purge bus across nodes", Other("several nodes")),
            ("Clear-Site-Data: \"cache\" response clears origin's entries", By("Feature clear-site-data")),
            ("Purge log / audit", By("Scenario 0.7")),
            ("Cache put / push (write without origin)", By("Feature put")),
        ],
    ),
    (
        "Key",
        &[
            ("Scheme + authority + path + query by default", By("RFC 9111 §2")),
            ("Authority normalisation (lower-case, default port, IDNA", By("RFC 3986 §6.2")),
            ("Percent-encoding case, dot segments – only where", By("Feature path-forms")),
            ("Query sort / allow-list / deny-list (utm_*)", By("Scenario 0.8")),
            ("Extra headers/cookies in key", By("Feature key-fields")),
            ("Namespace / tenant / user tag", By("Scenario 0.1")),
            ("Injective encoding (length prefix) + full-key compare on hit", By("Scenario 4.5")),
            ("Keyed or cryptographic hash where attacker can choose input", By("Feature keyed-hash")),
            ("Key usable without leaking secrets (hash of tokens)", By("Feature hidden-credentials")),
            ("Key version byte in persistent form", By("Feature key-version")),
        ],
    ),
];

fn rows() -> impl Iterator<Item = (&'static str, &'static str, Held)> {
    TABLES.iter().flat_map(|(table, rows)| rows.iter().map(|(row, held)| (*table, *row, *held)))
}

/// Every row has a test that cites it, or is about something else.
#[test]
fn every_feature_has_a_test() {
    let cited = cited();
    let is_missing = |held: Held| match held {
        By(citation) => !holds(&cited, citation),
        Other(what) => what.is_empty(),
    };
    let missing: Vec<_> = rows().filter(|(.., held)| is_missing(*held)).collect();
    let missing: Vec<_> = missing.iter().map(|(table, row, _)| format!("{table}: {row}")).collect();
    assert!(missing.is_empty(), "no test cites {missing:#?}");
    let known: BTreeSet<_> = rows()
        .filter_map(|(.., held)| match held {
            By(citation) => Some(citation),
            Other(_) => None,
        })
        .collect();
    let features = cited.iter().filter(|id| id.starts_with("Feature "));
    let unknown: Vec<_> =
        features.filter(|id| !known.contains(&***id) && !FURTHER.contains(&&***id)).collect();
    assert!(unknown.is_empty(), "no row is {unknown:?}");
}

/// What no table names.
const FURTHER: [&str; 1] = ["Feature make-etag"];

/// The rows above are those of the requirements, where these lie beside the sources.
#[test]
fn the_rows_are_those_of_the_requirements() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/requirements.md");
    let Ok(text) = fs::read_to_string(path) else { return };
    let features = text.split("# Features").nth(1).expect("the features");
    let mut table = "";
    let mut rows = rows();
    for line in features.lines().take_while(|line| !line.starts_with("### Concurrency")) {
        if let Some(heading) = line.strip_prefix("### ") {
            table = heading;
        }
        let cells: Vec<_> = line.split(" | ").map(|cell| cell.trim_matches(['|', ' '])).collect();
        if !matches!(cells.last(), Some(&"P0" | &"P1")) {
            continue;
        }
        let Some((expected, row, _)) = rows.next() else { panic!("no row for {line}") };
        assert!(table == expected && cells[0].starts_with(row), "{row} is not {line}");
    }
    assert!(rows.next().is_none());
}
