//! Failures as problem documents: every error of the plane, of a body and of the framework ends
//! here. Owns the mapping to codes and headers; refuses to know what was asked.

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use placet_api::ProblemDocument;
use placet_engine::Rejection;
use placet_runtime::{KeyError, PlaneError};
use placet_types::json::{ParseError, ParseErrorKind, Value};
use placet_types::request::RequestError;
use serde_json::value::RawValue;

/// A failure on its way out. Boxed: results stay small where nothing fails.
#[derive(Debug)]
pub(crate) struct Problem(Box<ProblemDocument>);

/// When to come back where the failure itself does not say.
pub(crate) const RETRY_MS: u64 = 1000;

impl Problem {
    pub(crate) fn new(code: &str, detail: impl Into<String>) -> Self {
        Self(Box::new(ProblemDocument::new(code, detail)))
    }

    /// A field or `?parameter` that is not accepted.
    pub(crate) fn invalid(field: &str, detail: impl Into<String>) -> Self {
        Self::new("field_invalid", detail).at(field)
    }

    /// A header that is not accepted; it is no field of the body.
    pub(crate) fn header(name: &str, why: &str) -> Self {
        Self::new("field_invalid", format!("header {name}: {why}"))
    }

    pub(crate) fn missing(field: &str, detail: impl Into<String>) -> Self {
        Self::new("field_missing", detail).at(field)
    }

    pub(crate) fn role_missing(detail: &str) -> Self {
        Self::new("role_missing", detail)
    }

    /// The same words for an unknown workspace and for somebody else's.
    pub(crate) fn workspace() -> Self {
        Self::new("workspace_not_found", "there is no such workspace, or the key is of another one")
    }

    /// Too much at once; nothing was done.
    pub(crate) fn overloaded(detail: &str) -> Self {
        Self::new("overloaded", detail).retry(RETRY_MS)
    }

    pub(crate) fn internal(what: &str) -> Self {
        eprintln!("placet: defect: {what}");
        Self::new("internal", "a defect of the server; its standard error says more")
    }

    pub(crate) fn at(mut self, field: &str) -> Self {
        self.0.field = Some(field.to_owned());
        self
    }

    pub(crate) fn retry(mut self, after_ms: u64) -> Self {
        self.0.retry_after_ms = Some(after_ms);
        self
    }

    pub(crate) fn decision(mut self, document: Box<RawValue>) -> Self {
        self.0.decision = Some(document);
        self
    }

    /// The document itself, for answers that hold several.
    pub(crate) fn document(&self) -> &ProblemDocument {
        &self.0
    }
}

impl From<PlaneError> for Problem {
    fn from(error: PlaneError) -> Self {
        let code = error.code();
        match &error {
            PlaneError::Internal(what) => Self::internal(what),
            PlaneError::BundleRefused(refusal) => {
                let mut problem = Self::new(code, error.to_string());
                let raw = |value: &Value| RawValue::from_string(value.to_text()).ok();
                problem.0.diagnostics = refusal.diagnostics().iter().filter_map(raw).collect();
                problem
            }
            PlaneError::Overloaded { retry_after_ms }
            | PlaneError::TooManyRequests { retry_after_ms } => {
                Self::new(code, error.to_string()).retry(*retry_after_ms)
            }
            PlaneError::NotFound("workspace") => Self::workspace(),
            PlaneError::Rejected(Rejection::StaleDigest | Rejection::DigestMissing) => {
                Self::new(code, error.to_string()).at("/action_digest")
            }
            // What the store said may name files of the machine; the operator reads it there.
            PlaneError::StoreFailed(why) => {
                eprintln!("placet: the store failed: {why}");
                Self::new(code, "nothing can be recorded, so nothing is decided").retry(RETRY_MS)
            }
            PlaneError::StopUnrecorded { why, .. } | PlaneError::LiftUnfinished(why) => {
                eprintln!("placet: the store failed: {why}");
                Self::new(code, error.stands().unwrap_or_default())
            }
            PlaneError::Damaged(_) => {
                eprintln!("placet: {error}");
                Self::new(code, error.to_string())
            }
            PlaneError::Rejected(Rejection::IdempotencyFull | Rejection::SessionsFull)
            | PlaneError::ClockUnsure
            | PlaneError::Indexing { .. }
            | PlaneError::PolicyMoved
            | PlaneError::ShuttingDown => Self::new(code, error.to_string()).retry(RETRY_MS),
            _ => Self::new(code, error.to_string()),
        }
    }
}

impl From<KeyError> for Problem {
    fn from(error: KeyError) -> Self {
        match error {
            KeyError::Unknown => Self::new("key_unknown", "the API key opens nothing here"),
            KeyError::Revoked => Self::new("key_revoked", "the API key is revoked; use another"),
            KeyError::SessionClosed => {
                Self::new("session_closed", "the session is closed; sign in again")
            }
            KeyError::SessionEnded => {
                Self::new("session_ended", "the session has ended; sign in again")
            }
        }
    }
}

impl From<RequestError> for Problem {
    fn from(error: RequestError) -> Self {
        if error.code() == "workspace_mismatch" {
            return Self::workspace();
        }
        Self::new(error.code(), error.to_string()).at(error.field())
    }
}

impl From<ParseError> for Problem {
    fn from(error: ParseError) -> Self {
        if matches!(error.kind(), ParseErrorKind::TooLarge) {
            return Self::new("body_too_large", error.to_string());
        }
        let problem = Self::new("json_malformed", error.to_string());
        if error.path().is_empty() { problem } else { problem.at(error.path()) }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let document = self.0;
        let body = serde_json::to_vec(&document).unwrap_or_default();
        let mut response = Response::new(Body::from(body));
        *response.status_mut() =
            StatusCode::from_u16(document.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let headers = response.headers_mut();
        let kind = HeaderValue::from_static("application/problem+json");
        headers.insert(header::CONTENT_TYPE, kind);
        if let Some(after_ms) = document.retry_after_ms {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(after_ms.div_ceil(1000)));
        }
        if document.status == 401 {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if document.status == 413 || document.status == 408 {
            // The rest of the body was not read.
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}
