//! What requests would come to if they were made now: the same evaluation and the same step as for a
//! decision, of which nothing is kept.

use crate::crypto::Fast;
use crate::error::PlaneError;
use crate::frame::SlotKeys;
use crate::plane::{DEADLINE_MS, PERMIT_MS, Plane, Principal, WINDOW_MS};
use crate::ports::Secret;
use crate::proposal::{Given, Proposal, approval_ms, evaluate};
use crate::workspace::Workspace;
use placet_engine::{Command, Plan, step};
use placet_types::Request;
use placet_types::event::{DecisionEvent, Event};
use placet_types::ids::{ApprovalId, DecisionId, PermitId};
use std::sync::Arc;

impl Plane {
    /// The decisions that `requests` would be now, one by one and each as if it were the only one.
    /// Their idempotency keys must be fresh: a bound one has no preview.
    ///
    /// # Errors
    /// [`PlaneError`]; a refusal by policy is an outcome, not an error.
    pub async fn preview(
        &self,
        workspace: &Arc<Workspace>,
        principal: &Principal,
        requests: &[Request],
    ) -> Result<Vec<Arc<DecisionEvent>>, PlaneError> {
        let caller = &principal.caller;
        let now = self.now();
        let bundle = workspace.bundle();
        // Nothing is sealed and nothing committed to is shown, so the keys need not be secret.
        let keys = SlotKeys::new(&Secret::default());
        let commands: Vec<Command> = requests
            .iter()
            .map(|request| {
                let digests = request.digests::<Fast>(caller);
                let proposal = Proposal {
                    names: workspace.names(),
                    caller,
                    key: principal.key,
                    request,
                    digests: &digests,
                };
                let contract = bundle.as_ref().map(|bundle| bundle.surface(&request.surface));
                let (deadline_ms, window_ms) = contract.map_or((DEADLINE_MS, WINDOW_MS), |it| {
                    (it.deadline_ms, it.idempotency_window_ms)
                });
                let given = Given {
                    ids: (
                        DecisionId::from_bytes([0; 16]),
                        ApprovalId::from_bytes([0; 16]),
                        PermitId::from_bytes([0; 16]),
                    ),
                    nonce: None,
                    window_ms,
                    deadline: now.plus(deadline_ms),
                    permit_ms: PERMIT_MS,
                    approval_ms: approval_ms(request),
                };
                let verdict = evaluate(bundle.as_deref(), request, caller);
                Command::Decide(Box::new(proposal.command(&keys, (verdict, None), given)))
            })
            .collect();
        let plans = self.look(workspace.no, move |state| {
            commands.iter().map(|command| step::<Fast>(state, command, now)).collect::<Vec<_>>()
        });
        plans.await?.into_iter().map(|plan| decision(plan.map_err(PlaneError::Rejected)?)).collect()
    }
}

fn decision(plan: Plan) -> Result<Arc<DecisionEvent>, PlaneError> {
    let none = || PlaneError::Internal("a preview is no decision".to_owned());
    match plan {
        Plan::Append(events) => match events.into_iter().next() {
            Some(Event::Decision(event)) => Ok(event),
            _ => Err(none()),
        },
        Plan::Bound { .. } | Plan::Nothing => Err(none()),
    }
}
