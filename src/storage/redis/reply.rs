//! What Redis answers.

use bytes::Bytes;
use redis::Value;

use crate::Error;

pub(super) fn array(value: &Value) -> Option<&[Value]> {
    match value {
        Value::Array(values) => Some(values),
        _ => None,
    }
}

pub(super) fn bytes(value: &Value) -> Option<&[u8]> {
    match value {
        Value::BulkString(bytes) => Some(bytes),
        Value::SimpleString(text) | Value::VerbatimString { text, .. } => Some(text.as_bytes()),
        _ => None,
    }
}

/// Without copying.
pub(super) fn into_bytes(value: Value) -> Option<Bytes> {
    match value {
        Value::BulkString(bytes) => Some(bytes.into()),
        _ => None,
    }
}

pub(super) fn text(value: &Value) -> Option<&str> {
    std::str::from_utf8(bytes(value)?).ok()
}

/// What stands behind a name, in an answer that is of names and values.
pub(super) fn named<'a>(value: &'a Value, name: &str) -> Option<&'a str> {
    let find = |(own, value): (&Value, &'a Value)| (text(own)? == name).then(|| text(value))?;
    match value {
        Value::Array(values) => values.chunks_exact(2).find_map(|pair| find((&pair[0], &pair[1]))),
        Value::Map(pairs) => pairs.iter().find_map(|(own, value)| find((own, value))),
        _ => None,
    }
}

/// An answer that cannot be used.
pub(super) fn failed(value: &Value) -> Error {
    match value {
        Value::ServerError(error) => {
            Error::other(format!("{} {}", error.code(), error.details().unwrap_or_default()))
        }
        _ => Error::other("Redis gave an unexpected answer"),
    }
}
