//! What is known of a cache, as JSON.

use std::time::{SystemTime, UNIX_EPOCH};

use http::{HeaderMap, header};
use serde_json::{Value, json};

use crate::{
    CacheKey, Purge,
    handle::{Inspected, Inspection, Listed, Page},
    policy::{Served, StoredHead, Timestamp},
    purge::PurgeRecord,
    stats::Stats,
};

pub(super) fn purge(purge: &Purge) -> Value {
    // A predicate cannot be written, but named.
    let object = purge.to_object().map_or(Value::Null, Value::Object);
    json!({ "text": purge.to_string(), "purge": object })
}

pub(super) fn record(record: &PurgeRecord) -> Value {
    let mut shown = purge(record.purge());
    shown["seq"] = record.seq().into();
    shown["at_ms"] = millis(record.at());
    shown
}

fn millis(at: SystemTime) -> Value {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX).into()
}

/// Each number under the name of its accessor.
pub(super) fn stats(stats: &Stats, position: Option<String>) -> Value {
    let usage = stats.usage();
    let served =
        Served::ALL.map(|served| (served.as_str().to_owned(), stats.served(served).into()));
    json!({
        "records": usage.map(|usage| usage.records()),
        "bytes": usage.map(|usage| usage.bytes()),
        "evicted": usage.map(|usage| usage.evicted()),
        "variants_evicted": usage.map(|usage| usage.variants_evicted()),
        "variants_refused": usage.map(|usage| usage.variants_refused()),
        "served": Value::Object(served.into_iter().collect()),
        "hits": stats.hits(),
        "stale": stats.stale(),
        "validated": stats.validated(),
        "collapsed": stats.collapsed(),
        "forwarded": stats.forwarded(),
        "generated": stats.generated(),
        "origin_requests": stats.origin_requests(),
        "waits": stats.waits(),
        "stored": stats.stored(),
        "not_stored": stats.not_stored(),
        "body_failures": stats.body_failures(),
        "store_failures": stats.store_failures(),
        "store_timeouts": stats.store_timeouts(),
        "refreshes": stats.refreshes(),
        "refreshes_refused": stats.refreshes_refused(),
        "refreshes_failed": stats.refreshes_failed(),
        "purges": stats.purges(),
        "selectors": stats.selectors(),
        "bus_position": position,
    })
}

pub(super) fn page(page: &Page, now: Timestamp) -> Value {
    let entries: Vec<Value> = page.entries().iter().map(|listed| entry(listed, now)).collect();
    json!({ "entries": entries, "next": page.next().map(ToString::to_string) })
}

fn entry(listed: &Listed, now: Timestamp) -> Value {
    let head = listed.head();
    let mut shown = key(listed.key());
    shown["status"] = head.status().as_u16().into();
    shown["length"] = listed.length().into();
    shown["age"] = head.age(now).as_secs().into();
    shown["lifetime"] = head.lifetime().as_secs().into();
    shown["is_softly_purged"] = listed.is_softly_purged().into();
    labels(&mut shown, head);
    shown
}

pub(super) fn inspection(inspection: &Inspection) -> Value {
    let mut shown = key(inspection.key());
    shown["would_be"] = inspection.status().to_string().into();
    shown["entries"] = inspection.entries().iter().map(inspected).collect();
    let step = |step: &crate::policy::Step| {
        let rule = step.rule();
        json!({
            "rule": rule.name(),
            "section": rule.section(),
            "inputs": step.inputs(),
            "result": step.result(),
        })
    };
    shown["explanation"] = inspection.steps().iter().map(step).collect();
    shown
}

fn inspected(entry: &Inspected) -> Value {
    let head = entry.response().head();
    let mut shown = json!({
        "text": entry.to_string(),
        "status": head.status().as_u16(),
        "length": entry.response().length(),
        "age": entry.age().as_secs(),
        "lifetime": entry.lifetime().as_secs(),
        "is_purged": entry.is_purged(),
        "is_softly_purged": entry.is_softly_purged(),
        "fields": fields(head.headers()),
    });
    labels(&mut shown, head);
    shown
}

/// What a response carries, but for what is somebody's secret.
fn fields(headers: &HeaderMap) -> Vec<[String; 2]> {
    let value = |name, value: &http::HeaderValue| match name {
        _ if name == header::SET_COOKIE || value.is_sensitive() => "(not shown)".to_owned(),
        _ => String::from_utf8_lossy(value.as_bytes()).into_owned(),
    };
    headers.iter().map(|(name, line)| [name.to_string(), value(name, line)]).collect()
}

fn key(key: &CacheKey) -> Value {
    json!({
        "url": format!("{}://{}{}", key.scheme(), key.authority(), key.path_and_query()),
        "namespace": key.namespace(),
        "partition": key.partition(),
    })
}

fn labels(shown: &mut Value, head: &StoredHead) {
    shown["tags"] = head.tags().collect();
    shown["groups"] = head.groups().collect();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{purge::PurgeLog, stats::Counters, storage::Usage};

    /// The accessors of a type without arguments, by its source.
    fn accessors<'a>(source: &'a str, name: &str) -> Vec<&'a str> {
        let (_, rest) = source.split_once(&format!("\nimpl {name} {{")).unwrap();
        let (body, _) = rest.split_once("\n}").unwrap();
        let named = body.split("pub fn ").filter_map(|text| text.split_once("(&self) -> u"));
        named.map(|(name, _)| name).filter(|name| !name.contains('(')).collect()
    }

    /// What can be asked of a handle can be asked over HTTP.
    #[test]
    fn no_number_is_left_out() {
        let usage = Usage::new(11, 12).with_evicted(13).with_variants(14, 15);
        let counters = Counters::default();
        Served::ALL.into_iter().for_each(|served| counters.served(served));
        let shown = stats(&counters.stats(Some(usage), &PurgeLog::default()), None);
        let of_stats = accessors(include_str!("../stats.rs"), "Stats");
        let of_usage = accessors(include_str!("../storage/scan.rs"), "Usage");
        assert!(of_stats.len() >= 18 && of_usage.len() >= 5, "{of_stats:?} {of_usage:?}");
        for name in of_stats.into_iter().chain(of_usage) {
            assert!(shown[name].is_u64(), "`{name}` is missing in {shown}");
        }
        for served in Served::ALL {
            assert_eq!(shown["served"][served.as_str()], 1, "{shown}");
        }
        let numbers = ["records", "bytes", "evicted", "variants_evicted", "variants_refused"];
        assert_eq!(numbers.map(|name| shown[name].as_u64()), [11, 12, 13, 14, 15].map(Some));
    }
}
