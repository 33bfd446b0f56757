use http::{HeaderValue, Response, StatusCode, header};
use serde_json::json;

use super::{AdminBody, authorise::Authorise, respond};
use crate::Error;

/// Why a request gets nothing, in one sentence.
#[derive(Debug)]
pub(super) struct Refusal {
    status: StatusCode,
    sentence: String,
    field: Option<(header::HeaderName, HeaderValue)>,
}

impl Refusal {
    fn new(status: StatusCode, sentence: impl Into<String>) -> Self {
        Self { status, sentence: sentence.into(), field: None }
    }

    pub(super) fn invalid(sentence: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, sentence)
    }

    pub(super) fn unauthenticated(authoriser: &dyn Authorise) -> Self {
        let sentence = "This needs an Authorization field that is known here.";
        let field = Some((header::WWW_AUTHENTICATE, authoriser.challenge()));
        Self { field, ..Self::new(StatusCode::UNAUTHORIZED, sentence) }
    }

    pub(super) fn forbidden() -> Self {
        Self::new(StatusCode::FORBIDDEN, "You may not do that.")
    }

    pub(super) fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, "There is no such route.")
    }

    pub(super) fn method(allowed: &'static str) -> Self {
        let field = Some((header::ALLOW, HeaderValue::from_static(allowed)));
        let sentence = format!("This route takes {allowed}.");
        Self { field, ..Self::new(StatusCode::METHOD_NOT_ALLOWED, sentence) }
    }

    pub(super) fn media_type() -> Self {
        let sentence = "Send JSON, and say so: Content-Type: application/json.";
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, sentence)
    }

    pub(super) fn too_large(limit: usize) -> Self {
        let sentence = format!("The body is larger than {limit} bytes.");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, sentence)
    }

    pub(super) fn too_many(limit: usize) -> Self {
        let sentence = format!("{limit} clients follow the events already.");
        Self::new(StatusCode::SERVICE_UNAVAILABLE, sentence)
    }

    pub(super) fn into_response(self) -> Response<AdminBody> {
        let mut response = respond(self.status, &json!({ "error": self.sentence }));
        if let Some((name, value)) = self.field {
            response.headers_mut().insert(name, value);
        }
        response
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        let status = if error.is_invalid() {
            StatusCode::BAD_REQUEST
        } else if error.is_unsupported() {
            StatusCode::NOT_IMPLEMENTED
        } else if error.is_unpublished() {
            StatusCode::BAD_GATEWAY
        } else {
            StatusCode::INTERNAL_SERVER_ERROR
        };
        Self::new(status, error.to_string())
    }
}
