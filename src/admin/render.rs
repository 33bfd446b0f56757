//! What is known of a cache, as JSON.

use std::time::{SystemTime, UNIX_EPOCH};

use http::{HeaderMap, header};
use serde_json::{Value, json};

use crate::{
    CacheKey, Purge,
    handle::{Inspected, Inspection, Listed, Page},
    policy::{StoredHead, Timestamp},
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

pub(super) fn stats(stats: &Stats, position: Option<String>) -> Value {
    let usage = stats.usage();
    json!({
        "records": usage.map(|usage| usage.records()),
        "bytes": usage.map(|usage| usage.bytes()),
        "hits": stats.hits(),
        "stale": stats.stale(),
        "validated": stats.validated(),
        "forwarded": stats.forwarded(),
        "generated": stats.generated(),
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
