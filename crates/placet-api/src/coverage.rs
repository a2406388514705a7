//! What is governed and what is not. Refuses to know how it is counted: `docs/reference/coverage.md` says.

use crate::text::{Instant, Sha};
use serde::Serialize;
use std::collections::BTreeMap;
use utoipa::ToSchema;

/// Surfaces, gates and rules of a workspace as they were seen, and the holes between them.
#[derive(Serialize, ToSchema)]
pub struct CoverageDocument {
    /// When it was read.
    #[schema(value_type = String)]
    pub as_of: Instant,
    /// Entries of the log that it covers.
    pub size: u64,
    /// When the log began.
    #[schema(value_type = String)]
    pub began: Instant,
    /// What was not heard since this instant counts as silent; absent where nobody asked for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub since: Option<Instant>,
    /// The bundle in force.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub policy: Option<Sha>,
    /// Whether only surfaces that the policy lists are known.
    pub closed: bool,
    /// Surfaces by name: those that the policy lists and those that were seen.
    pub surfaces: Vec<CoveredSurface>,
    /// What was seen of surfaces that are not told apart; absent where there is nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub others: Option<CoveredSurface>,
    /// What was asked of surfaces that the policy did not know.
    pub unknown: UnknownSurfaces,
    /// Rules of the bundle in force; absent without one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rules: Option<CoveredRules>,
    /// How many holes there are of each kind.
    #[schema(value_type = Object)]
    pub holes_by_kind: BTreeMap<&'static str, u64>,
    /// The first of them.
    pub holes: Vec<HoleDocument>,
}

/// A hole.
#[derive(Serialize, ToSchema)]
pub struct HoleDocument {
    /// Its kind; `docs/reference/coverage.md` has all of them.
    pub kind: &'static str,
    /// The surface, if it is about one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub surface: Option<String>,
    /// What it is.
    pub detail: String,
}

/// What was seen of a surface.
#[derive(Serialize, ToSchema)]
pub struct CoveredSurface {
    /// Its name.
    pub name: String,
    /// Whether the policy lists it.
    pub listed: bool,
    /// Who answers for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// Decisions by outcome.
    #[schema(value_type = Object)]
    pub decisions: BTreeMap<&'static str, u64>,
    /// When something was decided last.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub decided_last: Option<Instant>,
    /// Held actions that people rejected.
    pub rejected: u64,
    /// Permits that were used.
    pub consumed: u64,
    /// Reported outcomes by result.
    #[schema(value_type = Object)]
    pub reported: BTreeMap<&'static str, u64>,
    /// Permits that were used and whose outcome nobody has reported.
    pub outcome_unknown: u64,
    /// Effects without a decision that gates reported.
    pub passages: PassagesDocument,
    /// When a gate was heard last.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub heard_last: Option<Instant>,
    /// Its gates: whom permits were made out to, and who used them or reported.
    pub gates: Vec<GateDocument>,
    /// Gates that are not told apart.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub other_gates: Option<GateDocument>,
    /// Environments in which a gate may proceed without a decision, and why.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schema(value_type = Object)]
    pub open_in: BTreeMap<String, String>,
    /// Modes by which gates proceed whatever is decided.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub shadowed_by: Vec<String>,
}

/// Effects without a decision.
#[derive(Serialize, ToSchema)]
pub struct PassagesDocument {
    /// Where the policy let the gate proceed.
    pub open: u64,
    /// Where it did not.
    pub forbidden: u64,
    /// When one was reported last.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub last: Option<Instant>,
}

/// What was seen of a gate.
#[derive(Serialize, ToSchema)]
pub struct GateDocument {
    /// Who.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub actor: Option<String>,
    /// Permits that were made out to it.
    pub permits: u64,
    /// Permits that it used.
    pub consumed: u64,
    /// Outcomes that it reported.
    pub reported: u64,
    /// Effects without a decision that it reported.
    pub passages: u64,
    /// When it was heard last; absent where it was only given permits.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub heard_last: Option<Instant>,
}

/// Decisions on surfaces that the policy did not know: SILENCE, but for those that an exception from all of policy let
/// pass. Names that only look like a surface of Placet itself are counted here as well.
#[derive(Serialize, ToSchema)]
pub struct UnknownSurfaces {
    /// How many.
    pub decisions: u64,
    /// When there was one last.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub last: Option<Instant>,
}

/// Rules of the bundle in force.
#[derive(Serialize, ToSchema)]
pub struct CoveredRules {
    /// Since when it is in force.
    #[schema(value_type = String)]
    pub since: Instant,
    /// Decisions since then.
    pub decisions: u64,
    /// Its rules.
    pub declared: u64,
    /// How many of them have matched.
    pub matched: u64,
    /// The first of those that never have.
    pub never: Vec<NeverMatched>,
    /// Whether every match was counted: false where entries list fewer rules than matched, or there are more
    /// rules than are told apart.
    pub whole: bool,
}

/// A rule that never matched.
#[derive(Serialize, ToSchema)]
pub struct NeverMatched {
    /// Its document: `floor`, `rules`, `approvals`.
    pub document: &'static str,
    /// Its id.
    pub id: String,
}

/// Report an effect that nothing permits.
#[derive(Serialize, ToSchema)]
pub struct PassageRequest {
    /// The surface.
    pub surface: String,
    /// The action on it.
    pub action: String,
    /// When it happened, RFC 3339; now, if absent.
    pub at: Option<String>,
    /// Why there was no decision, at most 1,024 bytes; kept beside the entry.
    pub reason: Option<String>,
}

/// What is recorded of a passage.
#[derive(Serialize, ToSchema)]
pub struct PassageDocument {
    /// Index of its entry.
    pub index: u64,
    /// Whether the policy lets gates of this surface proceed without a decision in that environment.
    pub open: bool,
    /// Whether the policy knows the surface.
    pub surface_known: bool,
}
