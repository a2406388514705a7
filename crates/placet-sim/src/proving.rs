//! Evidence: brought by its issuer, rested on, taken back or run out. Owns what its checkers are told.

use crate::checkers::control::Told;
use crate::edge::Ask;
use crate::workload::{ADMIN, AGENTS, GATE};
use crate::world::{Person, World};
use placet_runtime::{AddSpec, Plane, PlaneError};
use placet_types::Digest;
use placet_types::ids::{EvidenceId, WorkspaceName};
use placet_types::json::{Object, Value};
use placet_types::policy::Outcome;
use std::rc::Rc;
use std::sync::Arc;

/// How long a caller waits.
const PATIENCE_MS: u64 = 10_000;

/// A gate vouches for something, an agent acts on it, some of the time it is taken back, and the agent tries again.
pub(crate) async fn prove(world: &Rc<World>, name: &WorkspaceName, label: &str) {
    let agent = AGENTS[usize::try_from(world.below(2)).unwrap_or(0)];
    let (Some(gate), Some(bot)) = (world.person(name, GATE), world.person(name, agent)) else {
        return;
    };
    let subject = Digest(std::array::from_fn(|_| u8::try_from(world.below(256)).unwrap_or(0)));
    let lasts_ms = [300, 5_000, 3_600_000][usize::try_from(world.below(3)).unwrap_or(0)];
    let Some(piece) = world.add_piece(&gate, subject, lasts_ms).await else { return };
    for attempt in 0..=world.below(4) {
        let pause = world.below(world.pace_ms + 1);
        world.sleep(pause).await;
        let named = Object::new().with("id", piece.to_string());
        let body = Object::new()
            .with("surface", "pay.proved")
            .with("action", "create")
            .with("target", format!("image@{subject}"))
            .with("evidence", vec![Value::from(named)]);
        let key = format!("prove-{label}-{attempt}");
        let ask = Ask::new(&bot, key, format!("nonce-of-proving-{label}-{attempt}"), body);
        let Some(answer) = world.propose(&ask, 3).await else { continue };
        if answer.event.outcome == Outcome::Permit
            && let Some(workspace) = world.plane().and_then(|plane| plane.workspace(name))
        {
            let told = Told::Rests(answer.event.decision, piece);
            world.checkers.borrow_mut().control.told(workspace.no.0, told);
            world.totals.borrow_mut().proved += 1;
        }
        if attempt == 1 && world.per_mille(500) {
            let by = if world.per_mille(500) { GATE } else { ADMIN };
            if let Some(by) = world.person(name, by) {
                world.take_back(&by, piece).await;
            }
        }
    }
}

impl World {
    async fn add_piece(
        self: &Rc<Self>,
        who: &Person,
        subject: Digest,
        lasts_ms: u64,
    ) -> Option<EvidenceId> {
        let who = who.clone();
        let run = move |world: Rc<Self>, plane: Arc<Plane>| {
            let who = who.clone();
            async move {
                let (workspace, principal) = world.reach(&plane, &who)?;
                let spec = AddSpec::Own {
                    kind: "review".to_owned(),
                    digest: subject,
                    subject,
                    issued: None,
                    expires: Some(plane.now().plus(lasts_ms)),
                    note: None,
                };
                let added = plane.add_evidence(&workspace, &principal, spec).await;
                let said = added.as_ref().map_or_else(PlaneError::code, |_| "added");
                world.say(format_args!("answer: evidence about {subject}: {said}"));
                match added {
                    Ok(piece) => {
                        world.acknowledged(&plane, &workspace, piece.index);
                        world.totals.borrow_mut().evidence += 1;
                        Some(piece.id)
                    }
                    Err(error) => {
                        world.trouble(&error);
                        None
                    }
                }
            }
        };
        self.call("add", PATIENCE_MS, run).await.flatten()
    }

    async fn take_back(self: &Rc<Self>, who: &Person, id: EvidenceId) {
        let who = who.clone();
        let run = move |world: Rc<Self>, plane: Arc<Plane>| {
            let who = who.clone();
            async move {
                let Some((workspace, principal)) = world.reach(&plane, &who) else { return };
                let reason = "mistaken".to_owned();
                match plane.revoke_evidence(&workspace, &principal, id, reason, None).await {
                    Ok(_) => {
                        world.say(format_args!("answer: {id} is taken back"));
                        let told = Told::Revoked(id, workspace.head().head.size());
                        world.checkers.borrow_mut().control.told(workspace.no.0, told);
                    }
                    Err(error) => drop(world.trouble(&error)),
                }
            }
        };
        self.call("take back", PATIENCE_MS, run).await;
    }
}
