//! Exceptions seen from outside: asking for one, opening, closing and reviewing it, and what passed under it.
//! Owns that the bounds are those of the bundle in force; refuses to know who may see which.

use crate::error::PlaneError;
use crate::plane::{MOVED_MAX, Plane, Principal, decision_of};
use crate::ports::AuditFilter;
use crate::reading::LogEntry;
use crate::sequencer::Outstanding;
use crate::workspace::Workspace;
use placet_engine::{
    BREAK_GLASS, Command, EXCEPTION, Exception, ExceptionBounds, OPEN, OpenException,
};
use placet_policy::{ExceptionAllowed, ExceptionPolicy};
use placet_types::event::{ActorRef, Control, ExceptionScope, Waives, exception_rule};
use placet_types::ids::{ActorId, DecisionId, ExceptionId, TimeMs};
use placet_types::json::{Object, Value};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// An exception as it is asked for.
#[derive(Clone, Debug)]
pub struct ExceptionSpec {
    /// A surface, or `*`.
    pub surface: String,
    /// Who may pass.
    pub actor: ActorId,
    /// The action.
    pub action: Option<String>,
    /// The environment.
    pub environment: Option<String>,
    /// The capability.
    pub capability: Option<String>,
    /// The target.
    pub target: Option<String>,
    /// The execution.
    pub execution: Option<String>,
    /// What it waives.
    pub waives: Waives,
    /// What makes up for it.
    pub controls: Vec<Control>,
    /// Code of the reason.
    pub reason: String,
    /// The reason in words.
    pub note: Option<String>,
    /// Who answers for it.
    pub owner: ActorId,
    /// How long it lasts.
    pub duration_ms: u64,
    /// How long after its end its review is due.
    pub review_ms: u64,
    /// One person alone, in an emergency.
    pub break_glass: bool,
    /// Filed afterwards: from when to when.
    pub retroactive: Option<(TimeMs, TimeMs)>,
}

impl ExceptionSpec {
    fn arguments(&self) -> Object {
        let texts = |all: Vec<String>| all.into_iter().map(Value::from).collect::<Vec<_>>();
        let retroactive = self
            .retroactive
            .map(|(from, to)| Object::new().with("from", from.rfc3339()).with("to", to.rfc3339()));
        Object::new()
            .with("actor", self.actor.as_str())
            .with_opt("action", self.action.as_deref())
            .with_opt("capability", self.capability.as_deref())
            .with("controls", texts(self.controls.iter().map(Control::text).collect()))
            .with("duration_ms", self.duration_ms)
            .with_opt("environment", self.environment.as_deref())
            .with_opt("execution", self.execution.as_deref())
            .with_opt("note", self.note.as_deref())
            .with("owner", self.owner.as_str())
            .with("reason", self.reason.as_str())
            .with_opt("retroactive", retroactive)
            .with("review_ms", self.review_ms)
            .with("surface", self.surface.as_str())
            .with_opt("target", self.target.as_deref())
            .with("waives", texts(self.waives.texts()))
    }
}

/// An exception and what lies beside its entry; nothing once that is erased.
pub type ExceptionView = (Exception, Option<Object>);

impl Plane {
    /// What the bundle in force allows of an exception.
    #[must_use]
    pub fn exception_allowed(
        &self,
        workspace: &Workspace,
        surface: &str,
        environment: Option<&str>,
        break_glass: bool,
    ) -> ExceptionAllowed {
        let one = (surface != placet_types::event::ANY_SURFACE).then_some(surface);
        match workspace.bundle() {
            Some(bundle) => bundle.exceptions().allowed(one, environment, break_glass),
            None => ExceptionPolicy::default().allowed(one, environment, break_glass),
        }
    }

    /// The request that stands for opening an exception, as the constitution governs it.
    #[must_use]
    pub fn exception_request(
        spec: &ExceptionSpec,
        idempotency_key: String,
        nonce: Option<String>,
    ) -> Value {
        let action = if spec.break_glass { BREAK_GLASS } else { OPEN };
        let request = Object::new()
            .with("surface", EXCEPTION)
            .with("action", action)
            .with("target", spec.surface.as_str())
            .with("idempotency_key", idempotency_key)
            .with("arguments", spec.arguments())
            .with_opt("attempt_nonce", nonce);
        Value::Object(request)
    }

    /// Opens an exception under the permit of `decision`; one permit opens one.
    ///
    /// # Errors
    /// [`PlaneError`].
    pub async fn open_exception(
        &self,
        workspace: &Arc<Workspace>,
        principal: &Principal,
        spec: &ExceptionSpec,
        decision: DecisionId,
    ) -> Result<Exception, PlaneError> {
        let _counted = Outstanding::new(&self.gauges);
        let index = self.locate(workspace, decision)?;
        let (entry, _) = self.entry(workspace, index)?;
        let prior = decision_of(&entry)?;
        let names = workspace.names();
        for _ in 0..MOVED_MAX {
            let policy = workspace.bundle().map(|bundle| bundle.digest());
            let environment = spec.environment.as_deref();
            let allowed =
                self.exception_allowed(workspace, &spec.surface, environment, spec.break_glass);
            let exception: ExceptionId = self.id(self.clock.wall());
            let command = Command::OpenException(Box::new(OpenException {
                exception,
                by: self.who(workspace, principal),
                index,
                prior: prior.clone(),
                scope: ExceptionScope {
                    surface: spec.surface.clone(),
                    actor: workspace.actor_ref(&spec.actor),
                    action: spec.action.clone(),
                    environment: spec.environment.clone(),
                    capability: spec.capability.clone(),
                    target: spec.target.as_deref().map(|it| names.of("target", it)),
                    execution: spec.execution.as_deref().map(|it| names.of("execution", it)),
                },
                waives: spec.waives.clone(),
                controls: spec.controls.clone(),
                reason: spec.reason.clone(),
                owner: workspace.actor_ref(&spec.owner),
                duration_ms: spec.duration_ms,
                review_ms: spec.review_ms,
                retroactive: spec.retroactive,
                policy,
                bounds: ExceptionBounds {
                    max_ms: allowed.max_ms,
                    review_ms_max: allowed.review_ms,
                    roles: allowed.roles,
                },
            }));
            let plain = Object::new()
                .with("opened_by", principal.caller.actor.as_str())
                .with("asked", spec.arguments());
            match self.submit(workspace.no, command, self.payload(plain)?).await {
                Err(PlaneError::PolicyMoved) => {}
                Err(error) => return Err(error),
                Ok(_) => return self.exception(workspace, exception).await,
            }
        }
        Err(PlaneError::PolicyMoved)
    }

    /// Ends an exception before its time.
    ///
    /// # Errors
    /// [`PlaneError`].
    pub async fn close_exception(
        &self,
        workspace: &Arc<Workspace>,
        principal: &Principal,
        exception: ExceptionId,
    ) -> Result<Exception, PlaneError> {
        let _counted = Outstanding::new(&self.gauges);
        let by = self.who(workspace, principal);
        let payload = self.actor_payload(Some(principal))?;
        let command = Command::CloseException { exception, by };
        self.submit(workspace.no, command, payload).await?;
        self.exception(workspace, exception).await
    }

    /// Records that another person has looked at what passed under an exception.
    ///
    /// # Errors
    /// [`PlaneError`].
    pub async fn review_exception(
        &self,
        workspace: &Arc<Workspace>,
        principal: &Principal,
        exception: ExceptionId,
        justified: bool,
        note: &str,
    ) -> Result<Exception, PlaneError> {
        let _counted = Outstanding::new(&self.gauges);
        let by = self.who(workspace, principal);
        let plain = Object::new().with("actor", principal.caller.actor.as_str()).with("note", note);
        let command = Command::ReviewException { exception, justified, by };
        self.submit(workspace.no, command, self.payload(plain)?).await?;
        self.exception(workspace, exception).await
    }

    /// One exception, as long as state remembers it.
    ///
    /// # Errors
    /// [`PlaneError`].
    pub async fn exception(
        &self,
        workspace: &Workspace,
        id: ExceptionId,
    ) -> Result<Exception, PlaneError> {
        let found = self.look(workspace.no, move |state| state.exception(id).cloned()).await?;
        found.ok_or(PlaneError::NotFound("exception"))
    }

    /// Those of the named exceptions that state remembers.
    ///
    /// # Errors
    /// [`PlaneError`].
    pub async fn exceptions_of(
        &self,
        workspace: &Workspace,
        ids: BTreeSet<ExceptionId>,
    ) -> Result<BTreeMap<ExceptionId, Exception>, PlaneError> {
        self.look(workspace.no, move |state| {
            let known = ids.into_iter().filter_map(|id| Some((id, state.exception(id)?.clone())));
            known.collect()
        })
        .await
    }

    /// Whether any exception that nobody has reviewed yet names a channel to be told.
    ///
    /// # Errors
    /// [`PlaneError`].
    pub async fn exceptions_promise(&self, workspace: &Workspace) -> Result<bool, PlaneError> {
        self.look(workspace.no, |state| {
            let mut open = state.exceptions().filter(|it| it.reviewed.is_none());
            open.any(|it| it.opened.notifies().next().is_some())
        })
        .await
    }

    /// Exceptions, newest first: all of them, or those that `party` owns, has opened or passes under.
    ///
    /// # Errors
    /// [`PlaneError`].
    pub async fn exceptions(
        &self,
        workspace: &Workspace,
        party: Option<ActorRef>,
        before: Option<ExceptionId>,
        limit: usize,
    ) -> Result<Vec<Exception>, PlaneError> {
        self.look(workspace.no, move |state| {
            let seen = |it: &&Exception| {
                before.is_none_or(|before| it.id() < before)
                    && party.as_ref().is_none_or(|party| is_party(it, party))
            };
            state.exceptions().rev().filter(seen).take(limit).cloned().collect()
        })
        .await
    }

    /// How many reviews of exceptions are overdue.
    ///
    /// # Errors
    /// [`PlaneError`].
    pub async fn overdue_reviews(&self, workspace: &Workspace) -> Result<usize, PlaneError> {
        let now = self.clock.wall();
        self.look(workspace.no, move |state| {
            state.exception_reviews().take_while(|due| *due <= now).count()
        })
        .await
    }

    /// The decisions that passed under an exception, newest first. Reads the store.
    ///
    /// # Errors
    /// [`PlaneError`].
    pub fn passages(
        &self,
        workspace: &Workspace,
        id: ExceptionId,
        before: Option<u64>,
        limit: usize,
    ) -> Result<Vec<LogEntry>, PlaneError> {
        let filter = AuditFilter {
            rule: Some(exception_rule(id)),
            event_type: Some("decision".to_owned()),
            cursor: before,
            limit,
            ..AuditFilter::default()
        };
        self.audit_now(workspace, &filter)
    }

    /// Live exceptions in all workspaces that waive all of policy.
    #[must_use]
    pub fn ungoverned(&self) -> u64 {
        self.workspaces.load().all.iter().map(|workspace| workspace.ungoverned()).sum()
    }
}

/// Whether somebody owns an exception, has opened it, or passes under it.
#[must_use]
pub fn is_party(exception: &Exception, actor: &ActorRef) -> bool {
    let opened = &exception.opened;
    [&opened.owner, &opened.by, &opened.scope.actor].contains(&actor)
}
