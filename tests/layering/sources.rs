//! Design, "Three questions" and "Layout", held over the sources: the rules are pure, the driver has
//! no header name and no number, and dependencies go one way.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

fn source_dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// The code of a file: without comments, without the tests at its end.
fn code(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap();
    let text = text.split("\n#[cfg(test)]\nmod tests").next().unwrap_or_default();
    text.lines().map(without_comment).collect::<Vec<_>>().join("\n")
}

/// Strings with slashes in them, such as URLs, are not comments.
fn without_comment(line: &str) -> &str {
    let mut in_string = false;
    let bytes = line.as_bytes();
    for (at, byte) in bytes.iter().enumerate() {
        match byte {
            b'"' if at == 0 || bytes[at - 1] != b'\\' => in_string = !in_string,
            b'/' if !in_string && bytes.get(at + 1) == Some(&b'/') => return &line[..at],
            _ => {}
        }
    }
    line
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found.sort();
    assert!(!found.is_empty());
    found
}

fn words(code: &str) -> impl Iterator<Item = &str> {
    code.split(|c: char| !(c.is_alphanumeric() || c == '_')).filter(|word| !word.is_empty())
}

/// `policy/` has no `async`, no clock, no storage.
#[test]
fn the_policy_is_pure() {
    const FORBIDDEN: [&str; 11] = [
        ".await",
        "SystemTime::now",
        "Instant::now",
        "tokio::",
        "std::thread",
        "std::fs",
        "std::env",
        "std::net",
        "std::task",
        "Future",
        "println!",
    ];
    let mut found = Vec::new();
    for path in files(&source_dir().join("policy")) {
        let code = code(&path);
        for (number, line) in code.lines().enumerate() {
            let is_async = words(line).any(|word| word == "async");
            if is_async || FORBIDDEN.iter().any(|word| line.contains(word)) {
                found.push(format!("{}:{}: {line}", path.display(), number + 1));
            }
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

/// `exchange/` has no header name and no number: but for the start of a range.
#[test]
fn the_driver_has_no_header_name_and_no_number() {
    let mut found = Vec::new();
    for path in files(&source_dir().join("exchange")) {
        found.extend(names_and_numbers(&path));
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

fn names_and_numbers(path: &Path) -> Vec<String> {
    let code = code(path);
    let mut found = Vec::new();
    for (number, line) in code.lines().enumerate() {
        let names_a_field = ["header::", "HeaderName", "HeaderValue", "HeaderMap", "\""]
            .iter()
            .any(|word| line.contains(word));
        let line_without_start = line.replace("0..", "..");
        let has_number = words(&line_without_start)
            .any(|word| word.starts_with(|first: char| first.is_ascii_digit()));
        if names_a_field || has_number {
            found.push(format!("{}:{}: {line}", path.display(), number + 1));
        }
    }
    found
}

/// The parts in the order of the design, lowest first. A part may use itself and those before it.
const ORDER: [&str; 43] = [
    "policy",
    "hashed",
    "error",
    "sync",
    "stripe",
    "place",
    "clock",
    "executor",
    "pending",
    "task",
    "log",
    "flight",
    "memo",
    "positions",
    "inflight",
    "models",
    "purge",
    "bus",
    "admission",
    "storage",
    "observe",
    "metrics",
    "trace",
    "stats",
    "witness",
    "sweep",
    "splice",
    "recorder",
    "fill",
    "background",
    "joined",
    "body",
    "emit",
    "shared",
    "copying",
    "exchange",
    "future",
    "service",
    "handle",
    "layer",
    "admin",
    "reqwest",
    "lib",
];

/// Names at the crate's root, and the part that each is of.
const RE_EXPORTED: [(&str, &str); 29] = [
    ("BoxError", "error"),
    ("Error", "error"),
    ("BoxFuture", "clock"),
    ("Clock", "clock"),
    ("SystemClock", "clock"),
    ("Executor", "executor"),
    ("NoExecutor", "executor"),
    ("TokioExecutor", "executor"),
    ("CacheKey", "policy"),
    ("CacheMode", "policy"),
    ("CacheStatus", "policy"),
    ("Cached", "policy"),
    ("Policy", "policy"),
    ("Private", "policy"),
    ("Purge", "purge"),
    ("PurgeLog", "purge"),
    ("Purged", "purge"),
    ("BoxManager", "storage"),
    ("CacheManager", "storage"),
    ("MemoryManager", "storage"),
    ("RedisManager", "storage"),
    ("CacheBody", "body"),
    ("Disconnect", "flight"),
    ("Uncollapsed", "policy"),
    ("ResponseFuture", "future"),
    ("CacheService", "service"),
    ("CacheHandle", "handle"),
    ("CacheLayer", "layer"),
    ("ReqwestService", "reqwest"),
];

/// policy -> storage -> fill -> body -> exchange -> service -> layer.
#[test]
fn dependencies_go_one_way() {
    let rank = |part: &str| ORDER.iter().position(|known| *known == part);
    let exported: BTreeMap<_, _> = RE_EXPORTED.into_iter().collect();
    let mut found = Vec::new();
    for path in files(&source_dir()) {
        let inside = path.strip_prefix(source_dir()).unwrap();
        let part = inside.iter().next().unwrap().to_str().unwrap().trim_end_matches(".rs");
        let Some(own) = rank(part) else {
            found.push(format!("{}: a part without a place in the order", inside.display()));
            continue;
        };
        for used in used_from_crate(&code(&path)) {
            let used_part = exported.get(used.as_str()).copied().unwrap_or(&used);
            if rank(used_part).is_none_or(|rank| rank > own) {
                found.push(format!("{}: uses {used}", inside.display()));
            }
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

/// The first path segments behind each `crate::`, also of a list in braces.
fn used_from_crate(code: &str) -> Vec<String> {
    let mut used = Vec::new();
    for (at, found) in code.match_indices("crate::") {
        // `$crate::` in a macro is somebody else's crate.
        if code[..at].ends_with('$') {
            continue;
        }
        let rest = &code[at + found.len()..];
        let Some(list) = rest.strip_prefix('{') else {
            used.extend(words(rest).next().map(str::to_owned));
            continue;
        };
        let mut depth = 0;
        let mut segment = String::new();
        for c in list.chars() {
            match c {
                '{' => depth += 1,
                '}' if depth == 0 => break,
                '}' => depth -= 1,
                ',' if depth == 0 => {
                    used.extend(words(&segment).next().map(str::to_owned));
                    segment.clear();
                }
                c => segment.push(c),
            }
        }
        used.extend(words(&segment).next().map(str::to_owned));
    }
    used
}

/// Scenario 3.14: whoever adds an option says here whether it can make a cache keep or share what a
/// response forbids; one that can has `dangerous_` in its name.
#[test]
fn options_that_lift_what_a_response_forbids_are_named_dangerous() {
    const HARMLESS: &[&str] = &[
        "shared",
        "private",
        "scope",
        "understood",
        "set_cookie",
        "vary_on_credentials",
        "tag_fields",
        "targets",
        "downstream",
        "default_ttl",
        "heuristic_max",
        "negative_max",
        "heuristic_errors",
        "heuristic_queries",
        "status_ttl",
        "max_ttl",
        "jitter",
        "shorten_by_age",
        "store_only_marked",
        "client_reload",
        "client_max_stale",
        "immutable",
        "bypass_cookies",
        "clear_site_data",
        "head_as_get",
        "whole_for_range",
        "make_etag",
        "partition_quota",
        "normalise_accept",
        "normalise_path",
        "bypass_if_extension",
        "collapse",
        "partition",
        "namespace",
        "query",
        "target",
        "default_scheme",
        "default_authority",
        "max_variants",
        "normalise_language",
        "key_fields",
        "key_cookies",
        "request",
        "key",
        "response",
        "revision",
        "stale_while_revalidate",
        "stale_if_error",
        "stale_on_disconnect",
        "stale_on_slow_origin",
        "max_staleness",
        "strict_s_maxage",
        "refresh_request",
    ];
    let mut found = Vec::new();
    for path in files(&source_dir().join("policy").join("options")) {
        let code = code(&path);
        for declared in code.split("pub fn ").skip(1) {
            let name = words(declared).next().unwrap_or_default().to_owned();
            if !name.starts_with("dangerous_") && !HARMLESS.contains(&name.as_str()) {
                found.push(name);
            }
        }
    }
    assert!(found.is_empty(), "{found:?}");
}
