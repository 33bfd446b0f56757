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
        Value::SimpleString(text) => Some(text.as_bytes()),
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

/// An answer that cannot be used.
pub(super) fn failed(value: &Value) -> Error {
    match value {
        Value::ServerError(error) => {
            Error::other(format!("{} {}", error.code(), error.details().unwrap_or_default()))
        }
        _ => Error::other("Redis gave an unexpected answer"),
    }
}
