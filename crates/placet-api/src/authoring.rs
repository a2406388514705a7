//! Writing policy, on the wire: linting, trying and explaining documents that are not in force. Refuses to
//! know who publishes them.

use crate::text::{Instant, JsonObject, Sha};
use serde::Serialize;
use std::collections::BTreeMap;
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
    /// A decision of the log, in place of a request: it is explained under the bundle that it was made under.
    pub decision: Option<String>,
    /// An execution request.
    #[schema(value_type = Option<Object>)]
    pub request: Option<()>,
    /// Who asks, in place of the caller: actor, environment and roles.
    #[schema(value_type = Option<Object>)]
    pub caller: Option<()>,
    /// When it is asked, in UTC; now without it.
    pub at: Option<String>,
    /// What was decided before: a list of `{ago, request, caller?, times?}` as in cases.
    #[schema(value_type = Option<Vec<Object>>)]
    pub history: Option<()>,
    /// Tell only of rules that matched or failed.
    pub matched: Option<bool>,
    /// Tell only of the rules with these ids.
    pub rules: Option<Vec<String>>,
}

/// Compare two bundles.
#[derive(Serialize, ToSchema)]
pub struct DiffRequest {
    /// All documents of the bundle before; the one in force without them.
    pub before: Option<Vec<SourceDocument>>,
    /// All documents of the bundle after.
    pub after: Vec<SourceDocument>,
    /// Where not every request can be looked at: most that are generated, up to 20,000. 5,000.
    pub samples: Option<u32>,
    /// Witnesses of each kind of change, 1 to 20. 3.
    pub witnesses: Option<u32>,
}

/// What two bundles say differently.
#[derive(Serialize, ToSchema)]
pub struct DiffDocument<'a> {
    /// Whether both compile; without it there is nothing but findings.
    pub ok: bool,
    /// Whether it was left to look at all that it was to look at; it ends early where it takes too long, and then
    /// proves nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub complete: Option<bool>,
    /// What `placet policy diff --json` prints: digests, coverage, changes with witnesses, parts that differ, and
    /// those of which nothing was seen.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub diff: Option<JsonObject<'a>>,
    /// Why one does not compile.
    pub findings: Vec<FindingDocument<'a>>,
}

/// Decide the log of the workspace again.
#[derive(Serialize, ToSchema)]
pub struct BacktestRequest {
    /// All documents of the bundle.
    pub sources: Vec<SourceDocument>,
    /// Decisions from then on: RFC 3339, Unix milliseconds, or an age such as 30d or 1h.
    pub since: Option<String>,
    /// Decisions before then.
    pub until: Option<String>,
    /// On this surface alone.
    pub surface: Option<String>,
    /// Samples of each kind of change, 1 to 100. 5.
    pub samples: Option<u32>,
}

/// What deciding again came to.
#[derive(Serialize, ToSchema)]
pub struct BacktestDocument<'a> {
    /// Whether the documents compile; without it there is nothing but findings.
    pub ok: bool,
    /// Whether all of the range was looked at: a call has bounds of time and entries, which
    /// `placet policy backtest` on the data directory or a back-up has not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub complete: Option<bool>,
    /// Entries of the log that were read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entries: Option<u64>,
    /// Digest of the bundle.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub policy: Option<Sha>,
    /// What `placet policy backtest --json` prints: counts, changes and samples.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub report: Option<JsonObject<'a>>,
    /// Why the documents do not compile.
    pub findings: Vec<FindingDocument<'a>>,
}

/// Write documents as the formatter does.
#[derive(Serialize, ToSchema)]
pub struct FormatRequest {
    /// Documents; each is looked at by itself.
    pub sources: Vec<SourceDocument>,
}

/// Documents as the formatter writes them.
#[derive(Serialize, ToSchema)]
pub struct FormatDocument<'a> {
    /// Whether all of them can be read; only those that can are in `sources`.
    pub ok: bool,
    /// In the order in which they came.
    pub sources: Vec<FormattedDocument<'a>>,
    /// Why the others cannot be read.
    pub findings: Vec<FindingDocument<'a>>,
}

/// One document as the formatter writes it.
#[derive(Serialize, ToSchema)]
pub struct FormattedDocument<'a> {
    /// Its name.
    pub name: &'a str,
    /// YAML.
    pub text: &'a str,
    /// Whether it was written otherwise.
    pub changed: bool,
}

/// Turn a file of the job gateway's format into a document.
#[derive(Serialize, ToSchema)]
pub struct ImportRequest {
    /// The file.
    pub source: SourceDocument,
    /// What `*` in its topics means: `segment` (one, as in documents) or `any` (any text). `segment`.
    pub star: Option<String>,
}

/// What importing came to.
#[derive(Serialize, ToSchema)]
pub struct ImportDocument<'a> {
    /// Whether it is such a file; without it there is nothing but findings.
    pub ok: bool,
    /// The document, as YAML.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub document: Option<&'a str>,
    /// What was changed or left out, with its place in the file.
    pub notes: Vec<FindingDocument<'a>>,
    /// Requests that the first rule in the file would have decided otherwise.
    pub differences: Vec<OrderDocument<'a>>,
    /// Why it is no such file.
    pub findings: Vec<FindingDocument<'a>>,
}

/// A request on which the order of the rules would have decided.
#[derive(Serialize, ToSchema)]
pub struct OrderDocument<'a> {
    /// The first rule of the file that matches.
    pub first: &'a str,
    /// What it says.
    pub first_match: &'static str,
    /// The rules that decide here.
    pub deciding: &'a [String],
    /// What they say.
    pub strictest_wins: &'static str,
    /// The request.
    #[schema(value_type = Object)]
    pub request: JsonObject<'a>,
    /// Who asks.
    #[schema(value_type = Object)]
    pub caller: JsonObject<'a>,
}

/// JSON Schemas of policy documents, for editors.
#[derive(Serialize, ToSchema)]
pub struct SchemaDocument<'a> {
    /// Of a document of any kind.
    #[schema(value_type = Object)]
    pub policy: JsonObject<'a>,
    /// By kind.
    #[schema(value_type = Object)]
    pub kinds: BTreeMap<&'static str, JsonObject<'a>>,
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

/// A decision of the log that is explained.
#[derive(Serialize, ToSchema)]
pub struct RecordedDocument {
    /// Its id, `dec_…`.
    pub decision: String,
    /// Log index.
    pub index: u64,
    /// When it was made.
    #[schema(value_type = String)]
    pub time: Instant,
    /// What of it was erased, in words. Then the trace tells of the rules that the entry names, and of nothing else.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub erased: Option<&'static str>,
    /// Whether evaluating it again finds every rule that the entry names; absent where it cannot be evaluated.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agrees: Option<bool>,
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
    /// Where a decision of the log was asked about: when it was made, and what can be said of it today.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recorded: Option<RecordedDocument>,
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
