//! Starting, ending and looking at executions. Refuses to know what a step may do.

use crate::error::PlaneError;
use crate::plane::{MOVED_MAX, Plane, Principal, decision_of};
use crate::workspace::Workspace;
use placet_engine::{Command, EXECUTION, EndExecution, Execution, ExecutionState, StartExecution};
use placet_types::event::EndState;
use placet_types::ids::{DecisionId, ExecutionId};
use placet_types::json::{Object, Value};
use std::sync::Arc;

/// An execution to be started.
#[derive(Clone, Debug)]
pub struct ExecutionSpec {
    /// What runs.
    pub capability: String,
    /// In which variant.
    pub branch: Option<String>,
    /// The execution that it is a part of.
    pub parent: Option<ExecutionId>,
    /// Decisions that may name it, where that is to be fewer than its manifest says.
    pub max_steps: Option<u64>,
    /// Seconds that it may run, where that is to be less than its permit says.
    pub max_runtime_sec: Option<u64>,
}

/// Which executions a look is about.
#[derive(Clone, Debug, Default)]
pub struct ExecutionFilter {
    /// Those in this state.
    pub state: Option<ExecutionState>,
    /// Those after this one.
    pub after: Option<ExecutionId>,
    /// At most so many.
    pub limit: usize,
}

impl Plane {
    /// The request that stands for the start of an execution.
    #[must_use]
    pub fn execution_request(
        spec: &ExecutionSpec,
        idempotency_key: String,
        nonce: String,
    ) -> Value {
        let arguments = Object::new()
            .with_opt("max_runtime_sec", spec.max_runtime_sec)
            .with_opt("max_steps", spec.max_steps)
            .with_opt("parent", spec.parent.map(|parent| parent.to_string()));
        let arguments = (!arguments.is_empty()).then_some(arguments);
        let request = Object::new()
            .with("surface", EXECUTION.0)
            .with("action", EXECUTION.1)
            .with("idempotency_key", idempotency_key)
            .with("attempt_nonce", nonce)
            .with("capability", spec.capability.as_str())
            .with_opt("arguments", arguments.map(Value::Object))
            .with_opt("branch", spec.branch.as_deref());
        Value::Object(request)
    }

    /// Starts an execution under the permit of `decision`; one permit starts one.
    ///
    /// # Errors
    /// [`PlaneError`].
    pub async fn start_execution(
        &self,
        workspace: &Arc<Workspace>,
        principal: &Principal,
        decision: DecisionId,
        spec: &ExecutionSpec,
    ) -> Result<Execution, PlaneError> {
        let index = self.locate(workspace, decision)?;
        let (entry, _) = self.entry(workspace, index)?;
        let prior = decision_of(&entry)?;
        for _ in 0..MOVED_MAX {
            // The bound of the manifest belongs to the bundle in force when it starts.
            let bundle = workspace.bundle();
            let most = bundle.as_ref().and_then(|bundle| bundle.max_steps(&spec.capability));
            let command = Command::StartExecution(Box::new(StartExecution {
                by: self.who(workspace, principal),
                index,
                prior: prior.clone(),
                parent: spec.parent,
                max_steps: most.into_iter().chain(spec.max_steps).min(),
                max_runtime_sec: spec.max_runtime_sec,
                policy: bundle.map(|bundle| bundle.digest()),
            }));
            let payload = self.actor_payload(Some(principal))?;
            match self.submit(workspace.no, command, payload).await {
                Err(PlaneError::PolicyMoved) => {}
                Err(error) => return Err(error),
                Ok(_) => {
                    let id = ExecutionId::from_bytes(*decision.bytes());
                    let known = self.known_execution(workspace, id).await?;
                    return known.ok_or(PlaneError::NotFound("execution"));
                }
            }
        }
        Err(PlaneError::PolicyMoved)
    }

    /// Says how an execution ended.
    ///
    /// # Errors
    /// [`PlaneError`].
    pub async fn end_execution(
        &self,
        workspace: &Arc<Workspace>,
        principal: &Principal,
        execution: ExecutionId,
        state: EndState,
    ) -> Result<Execution, PlaneError> {
        let by = self.who(workspace, principal);
        let command = Command::EndExecution(EndExecution { execution, by, state });
        let payload = self.actor_payload(Some(principal))?;
        self.submit(workspace.no, command, payload).await?;
        let found = self.known_execution(workspace, execution).await?;
        found.ok_or(PlaneError::NotFound("execution"))
    }

    /// An execution, as long as it is remembered.
    ///
    /// # Errors
    /// [`PlaneError`].
    pub async fn known_execution(
        &self,
        workspace: &Workspace,
        id: ExecutionId,
    ) -> Result<Option<Execution>, PlaneError> {
        self.look(workspace.no, move |state| state.execution(id).cloned()).await
    }

    /// Executions that a caller may see, oldest first: all of them, or those that it runs.
    ///
    /// # Errors
    /// [`PlaneError`].
    pub async fn executions(
        &self,
        workspace: &Workspace,
        principal: &Principal,
        oversees: bool,
        filter: ExecutionFilter,
    ) -> Result<Vec<Execution>, PlaneError> {
        let who = self.who(workspace, principal);
        self.look(workspace.no, move |state| {
            let all = state.executions(filter.after);
            let all = all.filter(|it| oversees || state.runs(it, &who));
            let all = all.filter(|it| filter.state.is_none_or(|wanted| it.state() == wanted));
            all.take(filter.limit).cloned().collect()
        })
        .await
    }

    /// Whether a caller goes on in an execution.
    ///
    /// # Errors
    /// [`PlaneError`].
    pub async fn runs(
        &self,
        workspace: &Workspace,
        principal: &Principal,
        execution: ExecutionId,
    ) -> Result<bool, PlaneError> {
        let who = self.who(workspace, principal);
        self.look(workspace.no, move |state| {
            state.execution(execution).is_some_and(|it| state.runs(it, &who))
        })
        .await
    }
}
