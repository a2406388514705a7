//! Releases and aliases, seen from outside: what the log has of the papers that somebody names, and the
//! requests that stand for registering and changing. Refuses to know when a lineage is complete.

use crate::crypto::Fast;
use crate::error::PlaneError;
use crate::plane::{Plane, Principal, decision_of};
use crate::proposal::reread;
use crate::sequencer::Outstanding;
use crate::workspace::Workspace;
use placet_engine::{
    Alias, ChangeAlias, Command, HeldState, Lineage, LinkedApproval, LinkedChange, RegisterRelease,
    Release,
};
use placet_types::event::ReleaseRegistered;
use placet_types::ids::{ApprovalId, DecisionId, EvidenceId, is_name};
use placet_types::json::{Object, Value};
use placet_types::policy::Outcome;
use placet_types::{Digest, Request};
use std::collections::BTreeSet;
use std::sync::Arc;

/// Surface and action on which releases are registered.
pub const RELEASE_REGISTER: (&str, &str) = ("release.register", "register");
/// Surface and action on which aliases are changed.
pub const ALIAS_CHANGE: (&str, &str) = ("alias.change", "set");

/// The papers of a release, as somebody names them.
#[derive(Clone, Debug, PartialEq)]
pub struct ReleaseSpec {
    /// Its name.
    pub name: String,
    /// What is released.
    pub subject: Digest,
    /// The decision on the change.
    pub change: Option<DecisionId>,
    /// Evidence about it.
    pub evaluations: Vec<EvidenceId>,
    /// Approvals of it.
    pub approvals: Vec<ApprovalId>,
}

impl ReleaseSpec {
    /// What a request on [`RELEASE_REGISTER`] names; `None` for any other.
    #[must_use]
    pub fn read(request: &Request) -> Option<Self> {
        if request.surface != RELEASE_REGISTER.0 {
            return None;
        }
        let arguments = request.arguments.as_ref()?;
        let texts = |key: &str| match arguments.get(key) {
            None => Some(Vec::new()),
            Some(value) => {
                let all = value.as_array().filter(|it| it.len() <= ReleaseRegistered::LINKS_MAX)?;
                all.iter().map(Value::as_str).collect::<Option<Vec<_>>>()
            }
        };
        Some(Self {
            name: request.target.clone().filter(|it| is_name(it))?,
            subject: Digest::parse(arguments.get("subject")?.as_str()?)?,
            change: match arguments.get("change") {
                None => None,
                Some(change) => Some(DecisionId::parse(change.as_str()?)?),
            },
            evaluations: texts("evaluations")?
                .into_iter()
                .map(EvidenceId::parse)
                .collect::<Option<_>>()?,
            approvals: texts("approvals")?
                .into_iter()
                .map(ApprovalId::parse)
                .collect::<Option<_>>()?,
        })
    }

    /// The request that stands for registering it.
    #[must_use]
    pub fn request(&self, idempotency_key: String, nonce: String) -> Value {
        let list = |items: Vec<String>| items.into_iter().map(Value::from).collect::<Vec<_>>();
        let evaluations: Vec<String> = self.evaluations.iter().map(ToString::to_string).collect();
        let evidence: Vec<Value> =
            evaluations.iter().map(|id| Object::new().with("id", id.as_str()).into()).collect();
        let arguments = Object::new()
            .with("subject", self.subject.to_string())
            .with_opt("change", self.change.map(|id| id.to_string()))
            .with("evaluations", list(evaluations))
            .with("approvals", list(self.approvals.iter().map(ToString::to_string).collect()));
        let request = Object::new()
            .with("surface", RELEASE_REGISTER.0)
            .with("action", RELEASE_REGISTER.1)
            .with("target", self.name.as_str())
            .with("arguments", arguments)
            .with_opt("evidence", (!evidence.is_empty()).then_some(evidence))
            .with("idempotency_key", idempotency_key)
            .with("attempt_nonce", nonce);
        Value::Object(request)
    }
}

/// The request that stands for changing where a name leads.
#[must_use]
pub fn alias_request(alias: &str, to: &str, idempotency_key: String, nonce: String) -> Value {
    let request = Object::new()
        .with("surface", ALIAS_CHANGE.0)
        .with("action", ALIAS_CHANGE.1)
        .with("target", alias)
        .with("arguments", Object::new().with("to", to))
        .with("idempotency_key", idempotency_key)
        .with("attempt_nonce", nonce);
    Value::Object(request)
}

/// What the papers of a release are of.
struct Papers {
    change: Option<String>,
    approvals: BTreeSet<String>,
    evaluations: BTreeSet<String>,
}

/// The fact with what a policy asks of the papers.
fn with_papers(fact: Object, papers: Papers) -> Object {
    let list = |all: BTreeSet<String>| all.into_iter().map(Value::from).collect::<Vec<_>>();
    fact.with_opt("change_surface", papers.change)
        .with("approval_surfaces", list(papers.approvals))
        .with("evaluation_types", list(papers.evaluations))
}

/// The release that a request on [`ALIAS_CHANGE`] leads to.
fn released(request: &Request) -> Option<&str> {
    let to = request.arguments.as_ref()?.get("to")?.as_str()?;
    to.strip_prefix("release:").filter(|_| request.surface == ALIAS_CHANGE.0)
}

impl Plane {
    /// Registers a release under the permit of `decision` on [`RELEASE_REGISTER`].
    ///
    /// # Errors
    /// [`PlaneError`].
    pub async fn register_release(
        &self,
        workspace: &Arc<Workspace>,
        principal: &Principal,
        spec: &ReleaseSpec,
        decision: DecisionId,
    ) -> Result<(Release, Vec<String>), PlaneError> {
        let _counted = Outstanding::new(&self.gauges);
        let command = RegisterRelease {
            name: spec.name.clone(),
            by: self.who(workspace, principal),
            decision,
            lineage: self.lineage(workspace, spec).await?,
            complete: self.rests_on_complete(workspace, decision)?,
        };
        let payload = self.actor_payload(Some(principal))?;
        let command = Command::RegisterRelease(Box::new(command));
        self.submit(workspace.no, command, payload).await?;
        self.release_of(workspace, spec.name.clone()).await
    }

    /// The release of this name, and what is missing of its papers today.
    ///
    /// # Errors
    /// [`PlaneError`].
    pub async fn release_of(
        &self,
        workspace: &Workspace,
        name: String,
    ) -> Result<(Release, Vec<String>), PlaneError> {
        let now = self.clock.wall();
        let found = self.look(workspace.no, move |state| {
            state.release(&name).map(|it| (it.clone(), state.release_gaps(it, now)))
        });
        found.await?.ok_or(PlaneError::NotFound("release"))
    }

    /// Releases with what is missing of their papers, newest first.
    ///
    /// # Errors
    /// [`PlaneError`].
    pub async fn releases(
        &self,
        workspace: &Workspace,
        before: Option<u64>,
        limit: usize,
    ) -> Result<Vec<(Release, Vec<String>)>, PlaneError> {
        let now = self.clock.wall();
        self.look(workspace.no, move |state| {
            let page = state.releases(before).take(limit);
            page.map(|it| (it.clone(), state.release_gaps(it, now))).collect()
        })
        .await
    }

    /// Changes where a name leads under the permit of `decision` on [`ALIAS_CHANGE`].
    ///
    /// # Errors
    /// [`PlaneError`].
    pub async fn change_alias(
        &self,
        workspace: &Arc<Workspace>,
        principal: &Principal,
        alias: String,
        to: String,
        decision: DecisionId,
    ) -> Result<Alias, PlaneError> {
        let _counted = Outstanding::new(&self.gauges);
        let by = self.who(workspace, principal);
        let payload = self.actor_payload(Some(principal))?;
        let complete = self.rests_on_complete(workspace, decision)?;
        let change = ChangeAlias { alias: alias.clone(), to, by, decision, complete };
        let command = Command::ChangeAlias(Box::new(change));
        self.submit(workspace.no, command, payload).await?;
        self.alias_of(workspace, alias).await
    }

    /// Whether a decision was told that the papers of its release were complete. Where that was erased it is
    /// taken to have been.
    fn rests_on_complete(
        &self,
        workspace: &Workspace,
        decision: DecisionId,
    ) -> Result<bool, PlaneError> {
        let index = self.locate(workspace, decision)?;
        let Ok(opened) = self.open_or_entry(workspace, index)? else { return Ok(true) };
        let (request, _) = reread(&opened.payload)?;
        let release = request.found.facts.get("release");
        Ok(release.and_then(|it| it.get("complete")).and_then(Value::as_bool).unwrap_or(false))
    }

    /// Where a name leads.
    ///
    /// # Errors
    /// [`PlaneError`].
    pub async fn alias_of(&self, workspace: &Workspace, name: String) -> Result<Alias, PlaneError> {
        let found = self.look(workspace.no, move |state| state.alias(&name).cloned());
        found.await?.ok_or(PlaneError::NotFound("alias"))
    }

    /// All names that lead somewhere, in their order.
    ///
    /// # Errors
    /// [`PlaneError`].
    pub async fn aliases(&self, workspace: &Workspace) -> Result<Vec<Alias>, PlaneError> {
        self.look(workspace.no, |state| state.aliases().cloned().collect()).await
    }

    /// The fact about the release that a request is to register or to lead a name to.
    pub(crate) async fn release_fact(
        &self,
        workspace: &Workspace,
        request: &Request,
    ) -> Result<Option<Object>, PlaneError> {
        let now = self.clock.wall();
        let fact = |name: &str, complete: bool| {
            Object::new().with("name", name).with("complete", complete)
        };
        if let Some(spec) = ReleaseSpec::read(request) {
            let lineage = self.lineage(workspace, &spec).await?;
            let papers = self.papers(workspace, &lineage);
            let gaps = self.look(workspace.no, move |state| lineage.gaps(state, now)).await?;
            return Ok(Some(with_papers(fact(&spec.name, gaps.is_empty()), papers)));
        }
        let Some(name) = released(request) else { return Ok(None) };
        match self.release_of(workspace, name.to_owned()).await {
            Ok((release, gaps)) => {
                let event = release.event;
                let spec = ReleaseSpec {
                    name: event.name,
                    subject: event.subject,
                    change: event.change,
                    evaluations: event.evaluations,
                    approvals: event.approvals,
                };
                let papers = self.papers(workspace, &self.lineage(workspace, &spec).await?);
                Ok(Some(with_papers(fact(name, gaps.is_empty()), papers)))
            }
            Err(PlaneError::NotFound(_)) => Ok(Some(fact(name, false))),
            Err(error) => Err(error),
        }
    }

    /// What the papers of a release are of: the surface of the change, the surfaces of the approvals, and the
    /// types of the evidence. What state has forgotten is not among them.
    fn papers(&self, workspace: &Workspace, lineage: &Lineage) -> Papers {
        let store = self.evidence(workspace);
        let kinds = lineage.evaluations.iter().filter_map(|id| Some(store.get(id)?.kind));
        let approvals = lineage.approvals.iter().filter_map(|(_, found)| found.as_ref());
        let change = lineage.change.as_ref().and_then(|(_, found)| found.as_ref());
        Papers {
            change: change.map(|it| it.surface.clone()),
            approvals: approvals.map(|it| it.surface.clone()).collect(),
            evaluations: kinds.collect(),
        }
    }

    /// What the log has of the papers that are named.
    async fn lineage(
        &self,
        workspace: &Workspace,
        spec: &ReleaseSpec,
    ) -> Result<Lineage, PlaneError> {
        let change = match spec.change {
            None => None,
            Some(id) => Some((id, self.linked_change(workspace, id).await?)),
        };
        let mut approvals = Vec::with_capacity(spec.approvals.len());
        for id in &spec.approvals {
            approvals.push((*id, self.linked_approval(workspace, *id).await?));
        }
        let (subject, evaluations) = (spec.subject, spec.evaluations.clone());
        Ok(Lineage { subject, change, evaluations, approvals })
    }

    async fn linked_change(
        &self,
        workspace: &Workspace,
        id: DecisionId,
    ) -> Result<Option<LinkedChange>, PlaneError> {
        let index = match self.locate(workspace, id) {
            Ok(index) => index,
            Err(PlaneError::NotFound(_)) => return Ok(None),
            Err(error) => return Err(error),
        };
        let (entry, _) = self.entry(workspace, index)?;
        let event = decision_of(&entry)?;
        let (status, held) = self
            .look(workspace.no, move |state| {
                (state.status(id, index, &[], None), state.approval_of(id).cloned())
            })
            .await?;
        let approved = held
            .is_some_and(|it| matches!(it.state, HeldState::Approved(_) | HeldState::Consumed(_)));
        Ok(Some(LinkedChange {
            index,
            subject: self.subject_at(workspace, index)?,
            permitted: !status.revoked && (event.outcome == Outcome::Permit || approved),
            proposers: std::iter::once(&event.actor).chain(&event.on_behalf_of).cloned().collect(),
            surface: event.surface.clone(),
        }))
    }

    async fn linked_approval(
        &self,
        workspace: &Workspace,
        id: ApprovalId,
    ) -> Result<Option<LinkedApproval>, PlaneError> {
        let held = self.look(workspace.no, move |state| state.approval(id).cloned()).await?;
        let Some(held) = held else { return Ok(None) };
        let approved = matches!(held.state, HeldState::Approved(_) | HeldState::Consumed(_));
        let given = match approved {
            true => {
                let votes = self.course(workspace, held.decision)?.votes;
                votes.iter().filter(|vote| vote.event.approve).map(|vote| vote.index).max()
            }
            false => None,
        };
        Ok(Some(LinkedApproval {
            subject: self.subject_at(workspace, held.index)?,
            given,
            voters: held.votes.iter().map(|cast| cast.by.clone()).collect(),
            surface: held.surface.clone(),
        }))
    }

    /// What the request of a decision is about; unknown once its payload is erased.
    fn subject_at(&self, workspace: &Workspace, index: u64) -> Result<Option<Digest>, PlaneError> {
        let Ok(opened) = self.open_or_entry(workspace, index)? else { return Ok(None) };
        Ok(reread(&opened.payload)?.0.subject::<Fast>())
    }
}
