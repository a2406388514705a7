//! Executions: runs of a capability.

use crate::text::{IdText, Instant};
use placet_types::ids::{Decision, Execution};
use serde::Serialize;
use utoipa::ToSchema;

/// An execution to be started.
#[derive(Serialize, ToSchema)]
pub struct ExecutionRequest {
    /// What runs.
    pub capability: String,
    /// In which variant.
    pub branch: Option<String>,
    /// The execution that it is a part of, `exe_…`; it is the caller's and runs.
    pub parent: Option<String>,
    /// Decisions that may name it, 1 to 1,000,000,000: one more ends it as `terminated_budget`. The manifest of
    /// its capability may say less.
    pub max_steps: Option<u64>,
    /// Seconds that it may run, 1 to 2,592,000 (thirty days), from its place on: then it ends as
    /// `terminated_budget`. Left out, as long as the permit's constraint `max_runtime_sec` says, or a week where
    /// it says nothing; the constraint may say less.
    pub max_runtime_sec: Option<u64>,
    /// Key of this action for retries.
    pub idempotency_key: Option<String>,
}

/// How an execution ended.
#[derive(Serialize, ToSchema)]
pub struct ExecutionEndRequest {
    /// `succeeded` or `failed`.
    pub state: String,
}

/// An execution.
#[derive(Serialize, ToSchema)]
pub struct ExecutionDocument {
    /// Id, `exe_…`: steps name it in `execution`, with its capability and branch.
    #[schema(value_type = String)]
    pub id: IdText<Execution>,
    /// `queued` (it waits for a place), `running`, `waiting_approval`, `succeeded`, `failed`, `rejected`,
    /// `terminated_budget`, `killed` or `kill_switch_tampered`.
    pub state: &'static str,
    /// What runs.
    pub capability: String,
    /// In which variant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub branch: Option<String>,
    /// The execution that it is a part of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent: Option<String>,
    /// Who runs it.
    pub by: String,
    /// The decision that permitted it.
    #[schema(value_type = String)]
    pub decision: IdText<Decision>,
    /// Log index of its start; of its acceptance while it is queued.
    pub index: u64,
    /// Since when it runs, or is queued.
    #[schema(value_type = String)]
    pub since: Instant,
    /// When the plane ends it, if nobody does before; once it runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub until: Option<Instant>,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub ended: Option<Instant>,
    /// Decisions that name it.
    pub steps: u64,
    /// Those of them that are held and not released.
    pub waiting: u64,
    /// Decisions that may name it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_steps: Option<u64>,
    /// Executions of its capability that may run at a time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_concurrent: Option<u64>,
    /// Seconds that it may run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_runtime_sec: Option<u64>,
    /// Where its steps are listed, those that have no other trace.
    pub trace: String,
}

/// A page of executions, oldest first.
#[derive(Serialize, ToSchema)]
pub struct ExecutionList {
    /// The executions.
    pub executions: Vec<ExecutionDocument>,
    /// `cursor` of the next page, if there may be one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
}
