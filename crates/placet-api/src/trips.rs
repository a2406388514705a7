//! Overrides as gates are told them, acknowledge them and as they are reported. Refuses to know what they stop.

use crate::text::Instant;
use serde::Serialize;
use utoipa::ToSchema;

/// Practise a kill.
#[derive(Serialize, ToSchema)]
pub struct DrillRequest {
    /// The kind: `workspace`, `everything`, `capability` and so on; or kind and value, `capability:crm-writer`.
    pub scope: String,
    /// Which one; absent for `everything`, for `workspace`, and where the scope says it.
    pub value: Option<String>,
}

/// What a gate has done about an override.
#[derive(Serialize, ToSchema)]
pub struct AcknowledgeRequest {
    /// Actions that it stopped, or would have stopped.
    pub stopped: Option<u64>,
    /// Actions that it could not stop any more, by whatever name the gate has for them: at most 256 of at
    /// most 200 bytes.
    pub unreachable: Option<Vec<String>>,
}

/// An override as the stream tells it.
#[derive(Serialize)]
pub struct OverrideTold {
    /// Log index of the trip or drill: what is acknowledged.
    pub index: u64,
    /// What it stops.
    pub scope: String,
    /// `kill`, `freeze`, `disable`, `revoke`.
    pub mode: &'static str,
    /// `api`, `file`, `signal`, `certificate`, `manifest`, `seal`, `interrupted`; absent for a drill.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<&'static str>,
    /// Nothing stops: it is practised.
    pub drill: bool,
    /// Since when.
    pub since: Instant,
    /// When it was lifted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lifted: Option<Instant>,
}

/// What became of a trip or drill.
#[derive(Serialize, ToSchema)]
pub struct OverrideReportDocument {
    /// Log index of the trip or drill.
    pub index: u64,
    /// What it stops, as the log names it.
    pub scope: String,
    /// The same with the name of the person; absent where it says nothing more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// `kill`, `freeze`, `disable`, `revoke`.
    pub mode: &'static str,
    /// `api`, `file`, `signal`, `certificate`, `manifest`, `seal`, `interrupted`; null for a drill.
    pub source: Option<&'static str>,
    /// Nothing was stopped: it was practised.
    pub drill: bool,
    /// Who, where it was a person; by name.
    pub by: Option<String>,
    /// When it was recorded.
    #[schema(value_type = String)]
    pub since: Instant,
    /// When it was lifted; null while it lasts.
    #[schema(value_type = Option<String>)]
    pub lifted: Option<Instant>,
    /// What it stopped; of a drill, what it would have.
    pub stopped: OverrideStopped,
    /// What it could not reach.
    pub unreached: OverrideUnreached,
    /// Gates that have acknowledged it.
    pub acknowledged: Vec<GateAcknowledgement>,
    /// Gates that were heard within a day before it, or since, and have not acknowledged it.
    pub silent: Vec<SilentGate>,
    /// How often a gate was heard and there was no room to remember it: it may be silent and missing here.
    pub unlisted: u64,
}

/// What an override stopped, counted where it was recorded.
#[derive(Serialize, ToSchema)]
pub struct OverrideStopped {
    /// Open permits that it ended.
    pub open_permits: u64,
    /// Held actions that cannot be released while it lasts.
    pub held_actions: u64,
    /// Callers that waited for an approval when it took effect, and were told.
    pub waiting_callers: u64,
    /// Executions that it ended.
    pub executions: u64,
    /// What gates say that they stopped, added up.
    pub by_gates: u64,
}

/// What an override could not reach.
#[derive(Serialize, ToSchema)]
pub struct OverrideUnreached {
    /// Permits that gates had consumed before it and whose outcome nobody had reported, in the whole workspace.
    pub unreported: u64,
    /// Of these, permits whose answer it overtook: they never left.
    pub overtaken: u64,
    /// What gates say that they could not stop, added up.
    pub by_gates: u64,
}

/// What a gate said of an override.
#[derive(Serialize, ToSchema)]
pub struct GateAcknowledgement {
    /// The gate.
    pub gate: String,
    /// When.
    #[schema(value_type = String)]
    pub time: Instant,
    /// Milliseconds between the records of the trip and of this.
    pub latency_ms: u64,
    /// Actions that it stopped.
    pub stopped: u64,
    /// Actions that it could not stop any more.
    pub unreachable: u64,
    /// Its names for these; null once erased, and beyond the first gates of a report.
    pub names: Option<Vec<String>>,
}

/// A gate that has not acknowledged.
#[derive(Serialize, ToSchema)]
pub struct SilentGate {
    /// The gate.
    pub gate: String,
    /// When it was heard last.
    #[schema(value_type = String)]
    pub heard: Instant,
}
