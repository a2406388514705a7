//! Policy: YAML documents in, one immutable [`Bundle`] out, a [`Verdict`] for each request.
//!
//! Owns the language (documents, patterns, conditions), its diagnostics and the index. Refuses to
//! know state: windows, budgets, approvals and the combination of hits live elsewhere.
#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)
)]

mod access;
mod bundle;
mod cases;
mod census;
mod condition;
mod contract;
mod coverage;
mod derive;
mod diagnostic;
pub mod diff;
mod documents;
mod exceptions;
mod explain;
mod format;
#[doc(hidden)]
pub mod generate;
mod graph;
mod history;
mod identity;
mod import;
mod index;
mod layers;
mod lint;
mod model;
mod modes;
#[doc(hidden)]
pub mod naive;
mod notify;
mod pattern;
mod provenance;
mod read;
mod references;
mod schema;
mod search;
mod shape;
mod source;
mod standing;
mod syntax;
mod values;

pub use bundle::{Bundle, Scratch, SurfaceContract};
pub use cases::{Case, Earlier, Expectation};
pub use census::{Census, Owned, Shadowed};
pub use contract::evidence_of;
pub use coverage::{Coverage, RuleCoverage, TermCoverage};
pub use diagnostic::{Code, Diagnostic, Severity, Totals};
pub use documents::{document_schema, roles::built_in_roles, schemas};
pub use exceptions::{ExceptionAllowed, ExceptionPolicy};
pub use explain::{ClauseTrace, ConditionTrace, Finding, Findings, RuleTrace, Trace};
pub use format::format;
pub use identity::{Claims, Issuer, TokenAlgorithm, claim};
pub use import::{Imported, OrderDifference, Star, import};
pub use lint::{Linted, lint, sarif};
pub use model::Retention;
pub use notify::{Channel, ChannelKind, Notification, Notify, Told};
pub use search::{Sought, Unlisted};
pub use standing::{Hinge, Standing};

pub use provenance::Grant;

pub use placet_types::policy::{LANGUAGE, RuleEffect, Verdict};
pub use source::{Source, is_document, read_dir};
