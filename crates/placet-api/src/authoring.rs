//! Writing policy, on the wire: linting, trying and explaining documents that are not in force. Refuses to
//! know who publishes them.

use crate::text::{JsonObject, Sha};
use serde::Serialize;
use utoipa::ToSchema;

/// One policy document.
#[derive(Serialize, ToSchema)]
pub struct SourceDocument {
    /// File name, for messages alone.
    pub name: String,
    /// YAML.
    pub text: String,
}

/// Look for what is wrong with documents.
#[derive(Serialize, ToSchema)]
pub struct LintRequest {
    /// All documents of the bundle.
    pub sources: Vec<SourceDocument>,
}

/// Run the cases of `tests:`.
#[derive(Serialize, ToSchema)]
pub struct TestRequest {
    /// All documents of the bundle.
    pub sources: Vec<SourceDocument>,
    /// Run only cases whose id contains this.
    pub filter: Option<String>,
}

/// Say why a request is decided as it is.
#[derive(Serialize, ToSchema)]
pub struct ExplainRequest {
    /// All documents of the bundle; the one in force without them.
    pub sources: Option<Vec<SourceDocument>>,
    /// An execution request.
    #[schema(value_type = Object)]
    pub request: (),
    /// Who asks, in place of the caller: actor, environment and roles.
    #[schema(value_type = Option<Object>)]
    pub caller: Option<()>,
}

/// One finding of the compiler or the linter.
#[derive(Serialize, ToSchema)]
pub struct FindingDocument<'a> {
    /// Stable code; each has a page under docs/lint.
    pub code: &'static str,
    /// `error`, `warning` or `info`.
    pub severity: &'static str,
    /// Name of the document.
    pub file: &'a str,
    /// Line, from 1.
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
    /// How many characters are meant.
    pub width: u32,
    /// What is wrong.
    pub message: &'a str,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<&'a str>,
}

/// What the linter found.
#[derive(Serialize, ToSchema)]
pub struct LintDocument<'a> {
    /// Whether the documents compile.
    pub ok: bool,
    /// Digest of the bundle that they make.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub digest: Option<Sha>,
    /// By file, line and column.
    pub findings: Vec<FindingDocument<'a>>,
}

/// Something that came out otherwise than a case expects.
#[derive(Serialize, ToSchema)]
pub struct DifferenceDocument<'a> {
    /// What differs.
    pub what: &'a str,
    /// What the case wants.
    pub expected: &'a str,
    /// What came of it.
    pub found: &'a str,
}

/// One case that was run.
#[derive(Serialize, ToSchema)]
pub struct CaseDocument<'a> {
    /// Its id.
    pub id: &'a str,
    /// Whether everything came out as expected.
    pub passed: bool,
    /// Whether no server arms itself with a bundle that fails it.
    pub must_deny: bool,
    /// The decision.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outcome: Option<&'static str>,
    /// The rules that decided.
    pub rules: &'a [String],
    /// What differs.
    pub differences: Vec<DifferenceDocument<'a>>,
}

/// What running the cases came to.
#[derive(Serialize, ToSchema)]
pub struct TestDocument<'a> {
    /// Whether the documents compile, there are cases, and all of them passed.
    pub ok: bool,
    /// Digest of the bundle; absent when it does not compile.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub digest: Option<Sha>,
    /// The cases, sorted by id.
    pub cases: Vec<CaseDocument<'a>>,
    /// How many failed.
    pub failed: usize,
    /// Why the documents do not compile.
    pub findings: Vec<FindingDocument<'a>>,
}

/// Why a request would be decided as it is. Nothing is recorded.
#[derive(Serialize, ToSchema)]
pub struct ExplainDocument<'a> {
    /// Whether the documents compile; without it there is nothing but findings.
    pub ok: bool,
    /// What would be decided on an empty log.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outcome: Option<&'static str>,
    /// The rules that decide.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rules: Option<&'a [String]>,
    /// Codes of reasons.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reasons: Option<Vec<&'static str>>,
    /// Every rule, with every key and condition.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub trace: Option<JsonObject<'a>>,
    /// The same as nodes and edges, to be drawn.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub graph: Option<JsonObject<'a>>,
    /// Why the documents do not compile.
    pub findings: Vec<FindingDocument<'a>>,
}
