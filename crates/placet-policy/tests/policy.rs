//! The integration tests of policy: samples, diagnostics, and the property run against the
//! reference evaluator and the `cel` crate.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "policy/support.rs"]
mod support;

#[path = "policy/access.rs"]
mod access;
#[path = "policy/cases.rs"]
mod cases;
#[path = "policy/contract.rs"]
mod contract;
#[path = "policy/corpus.rs"]
mod corpus;
#[path = "policy/derive.rs"]
mod derive;
#[path = "policy/diagnostics.rs"]
mod diagnostics;
#[path = "policy/diff.rs"]
mod diff;
#[path = "policy/diff_mutants.rs"]
mod diff_mutants;
#[path = "policy/evidence.rs"]
mod evidence;
#[path = "policy/exceptions.rs"]
mod exceptions;
#[path = "policy/format.rs"]
mod format;
#[path = "policy/generated.rs"]
mod generated;
#[path = "policy/generated_surfaces.rs"]
mod generated_surfaces;
#[path = "policy/hostile.rs"]
mod hostile;
#[path = "policy/identity.rs"]
mod identity;
#[path = "policy/import.rs"]
mod import;
#[path = "policy/import_property.rs"]
mod import_property;
#[path = "policy/language.rs"]
mod language;
#[path = "policy/modes.rs"]
mod modes;
#[path = "policy/notify.rs"]
mod notify;
#[path = "policy/oracle.rs"]
mod oracle;
#[path = "policy/property.rs"]
mod property;
#[path = "policy/samples.rs"]
mod samples;
#[path = "policy/schema.rs"]
mod schema;
#[path = "policy/search.rs"]
mod search;
#[path = "policy/typed.rs"]
mod typed;
