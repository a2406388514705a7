//! Why a body is no execution request.

use alloc::borrow::ToOwned;
use alloc::string::String;
use core::fmt;

/// Why a body is no execution request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestError {
    code: &'static str,
    field: String,
    expected: String,
}

impl RequestError {
    pub(super) fn new(code: &'static str, field: &str, expected: impl Into<String>) -> Self {
        Self { code, field: field.to_owned(), expected: expected.into() }
    }

    /// `field_missing`, `field_invalid`, `field_unknown`, `actor_mismatch` or
    /// `workspace_mismatch`.
    #[must_use]
    pub fn code(&self) -> &'static str {
        self.code
    }

    /// JSON pointer of the field.
    #[must_use]
    pub fn field(&self) -> &str {
        &self.field
    }
}

impl fmt::Display for RequestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.field.as_str() {
            // The whole body.
            "" => f.write_str(&self.expected),
            field => write!(f, "{field}: {}", self.expected),
        }
    }
}

impl core::error::Error for RequestError {}
