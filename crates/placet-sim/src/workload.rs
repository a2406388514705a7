//! What callers do: propose, wait, consume, report, vote, erase, hold, look; what they stop, deviate from,
//! prove and run is drawn in files of its own. Drawn from the seed; refuses to know what is checked.

use crate::edge::Ask;
use crate::excepting::deviate;
use crate::keys::{hand_on_and_close, make_and_revoke, rotate};
use crate::proving::prove;
use crate::running::execute;
use crate::stopping::stop_and_lift;
use crate::world::{Person, World};
use placet_runtime::ports::AuditFilter;
use placet_runtime::{EraseSpec, KeySpec, Plane, PlaneError, Principal, Selection, Workspace};
use placet_types::Caller;
use placet_types::event::HoldScope;
use placet_types::ids::{ActorId, DecisionId, KeyId, WorkspaceName};
use placet_types::json::{Object, Value};
use placet_types::policy::Outcome;
use std::collections::BTreeSet;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// The bundle of a seed.
pub(crate) const BUNDLE: &str = r#"
version: v1
rules:
  - id: small
    match: { surfaces: ["pay.small"] }
    decision: allow_with_constraints
    constraints: { max_retries: 1 }
  - id: held
    match: { surfaces: ["pay.held"] }
    decision: require_approval
    approval: { roles: { approver: 1 }, expires: 10m, use_within: 5m }
  - id: held-twice
    match: { surfaces: ["pay.held"], risk_tags: ["huge"] }
    decision: require_approval
    approval: { roles: { approver: 2 } }
  - id: late
    match: { surfaces: ["pay.late"] }
    decision: allow
  - id: never
    match: { surfaces: ["pay.never"] }
    decision: deny
  - id: slow
    match: { surfaces: ["pay.slow"] }
    decision: throttle
    retry_after: 5s
  - id: burst
    match: { surfaces: ["pay.burst"] }
    decision: allow
  - id: burst-bound
    match: { surfaces: ["pay.burst"] }
    decision: throttle
    limit: { count: 2, per: 1m, key: [actor, surface] }
approvals:
  - id: late
    match: { surfaces: ["pay.late"] }
    roles: { approver: 2 }
    expires: 5m
    escalate: [{ after: 1s, roles: { operator: 1 } }, { after: 20s, roles: { admin: 1 } }]
    remind: 4m
"#;

/// Another one, which asks for an approval where the first permits.
pub(crate) const STRICTER: &str = r#"
version: v1
rules:
  - id: small
    match: { surfaces: ["pay.small", "pay.burst"] }
    decision: require_approval
    approval: { roles: { approver: 1 } }
  - id: held
    match: { surfaces: ["pay.held"] }
    decision: require_approval
    approval: { roles: { approver: 1, operator: 1 }, expires: 10m, use_within: 5m }
  - id: late
    match: { surfaces: ["pay.late"] }
    decision: allow_with_constraints
    constraints: { max_retries: 1 }
  - id: never
    match: { surfaces: ["pay.never", "pay.slow"] }
    decision: deny
approvals:
  - id: late
    match: { surfaces: ["pay.late"] }
    roles: { approver: 2 }
    expires: 5m
    escalate: [{ after: 1s, roles: { operator: 1 } }]
"#;

/// Beside either of them: what runs, what needs proof, and how far anybody may deviate.
pub(crate) const BESIDE: &str = r#"
version: v1
models: { allow: [m1, m2] }
capabilities:
  payer: { allowed_roles: ["*"], surfaces: [execution, "pay.**"], models: [m1] }
surfaces:
  execution: {}
  mail.send: {}
  pay.small: {}
  pay.held: {}
  pay.late: {}
  pay.never: {}
  pay.slow: {}
  pay.burst: {}
  pay.proved: { evidence: [{ type: review, max_age: 1h, issuers: ["service:gate"], verified: true }] }
exceptions:
  max: 2m
  review: 30s
  break_glass: { roles: [admin, operator], max: 1m, review: 10s }
rules:
  - { id: run, match: { surfaces: [execution] }, decision: allow_with_constraints, constraints: { max_concurrent: 1 } }
  - { id: mail, match: { surfaces: ["mail.send"] }, decision: allow }
  - { id: proved, match: { surfaces: ["pay.proved"] }, decision: allow }
"#;

pub(crate) const ADMIN: &str = "human:ann";
pub(crate) const OPERATORS: [&str; 2] = ["human:otto", "human:olga"];
pub(crate) const AGENTS: [&str; 2] = ["agent:bot1", "agent:bot2"];
pub(crate) const GATE: &str = "service:gate";
pub(crate) const CAPABILITY: &str = "payer";
pub(crate) const BRANCH: &str = "blue";
pub(crate) const MODEL: &str = "m1";
pub(crate) const JOB: &str = "nightly";
/// Somebody who approves in the right of others alone.
const DELEGATE: &str = "human:vera";

pub(crate) fn roles(of: &[&str]) -> BTreeSet<String> {
    of.iter().map(|role| (*role).to_owned()).collect()
}

fn person(workspace: &Workspace, actor: &ActorId, of: &[&str], key: Option<KeyId>) -> Person {
    let caller = Caller {
        workspace: workspace.name.clone(),
        environment: "production".to_owned(),
        actor: actor.clone(),
        roles: roles(of),
        chain: Vec::new(),
    };
    Person { workspace: workspace.name.clone(), principal: Principal { caller, key } }
}

/// Makes the workspaces and the keys of who works there, before any fault.
///
/// # Errors
/// What the plane said.
pub(crate) async fn set_up(world: Rc<World>, plane: Arc<Plane>) -> Result<(), PlaneError> {
    let parse = |actor: &str| ActorId::parse(actor).ok_or(PlaneError::NotFound("actor"));
    let admin = parse(ADMIN)?;
    for at in 0..world.below(3) {
        let name = WorkspaceName::parse(["left", "right"][usize::try_from(at).unwrap_or(0) % 2]);
        let name = name.ok_or(PlaneError::NotFound("name"))?;
        plane.create_workspace(name, admin.clone()).await?;
    }
    for workspace in plane.all_workspaces() {
        let key = plane.keys_of(&workspace).first().map(|record| record.key);
        let ann = person(&workspace, &admin, &["admin", "operator"], key);
        world.people.borrow_mut().push(ann.clone());
        for actor in OPERATORS {
            let of = ["operator", "approver"];
            let key = match world.dev {
                true => None,
                false => Some(make_key(&plane, &workspace, &ann, actor, &of).await?),
            };
            world.people.borrow_mut().push(person(&workspace, &parse(actor)?, &of, key));
        }
        let key = match world.dev {
            true => None,
            false => Some(make_key(&plane, &workspace, &ann, DELEGATE, &["reader"]).await?),
        };
        world.people.borrow_mut().push(person(&workspace, &parse(DELEGATE)?, &["reader"], key));
        for actor in [AGENTS[0], AGENTS[1], GATE] {
            world.people.borrow_mut().push(person(&workspace, &parse(actor)?, &["runner"], None));
        }
    }
    Ok(())
}

async fn make_key(
    plane: &Plane,
    workspace: &Arc<Workspace>,
    admin: &Person,
    actor: &str,
    of: &[&str],
) -> Result<KeyId, PlaneError> {
    let spec = KeySpec {
        actor: ActorId::parse(actor).ok_or(PlaneError::NotFound("actor"))?,
        environment: "production".to_owned(),
        roles: roles(of),
    };
    let body = Plane::key_request(&spec, format!("key-{actor}"), Some("n".repeat(20)));
    let request = placet_types::Request::read(body, &admin.principal.caller)
        .map_err(|error| PlaneError::Internal(error.code().to_owned()))?;
    let decided = plane.decide(workspace, &admin.principal, &request).await?;
    let decision = decided.answer.event.decision;
    Ok(plane.create_key(workspace, &admin.principal, spec, decision).await?.id)
}

/// One caller's life: some acts, one after another.
pub(crate) async fn client(world: Rc<World>, number: u64, acts: u64) {
    let mut known: Vec<(Ask, DecisionId)> = Vec::new();
    for act in 0..acts {
        if world.is_calm() {
            return;
        }
        let pause = world.below(world.pace_ms + 1);
        world.sleep(pause).await;
        let names: BTreeSet<WorkspaceName> =
            world.people.borrow().iter().map(|person| person.workspace.clone()).collect();
        let at = usize::try_from(world.below(names.len().max(1) as u64)).unwrap_or(0);
        let Some(name) = names.into_iter().nth(at) else { return };
        let label = format!("c{number}a{act}");
        match world.below(100) {
            0..50 => propose(&world, &name, &label, &mut known).await,
            50..63 => {
                let who = usize::try_from(world.below(7)).unwrap_or(0);
                let who = if who == 6 { DELEGATE } else { OPERATORS[who % 2] };
                let Some(who) = world.person(&name, who) else { continue };
                let approve = world.below(5) > 0;
                world.vote(&who, approve).await;
            }
            63..70 => stop_and_lift(&world, &name).await,
            70..72 => delegate(&world, &name).await,
            72..76 => erase(&world, &name, &label, &known).await,
            76..79 => hold(&world, &name, &label, &known).await,
            79..86 => again(&world, &known).await,
            86..88 => make_and_revoke(&world, &name, &label).await,
            88..89 => rotate(&world, &label).await,
            89..91 => hand_on_and_close(&world, &name, &label).await,
            91..94 => deviate(&world, &name, &label).await,
            94..96 => prove(&world, &name, &label).await,
            96..99 => execute(&world, &name, &label).await,
            _ => look(&world, &name).await,
        }
    }
}

async fn propose(
    world: &Rc<World>,
    name: &WorkspaceName,
    label: &str,
    known: &mut Vec<(Ask, DecisionId)>,
) {
    let agent = AGENTS[usize::try_from(world.below(2)).unwrap_or(0)];
    let (Some(who), Some(gate)) = (world.person(name, agent), world.person(name, GATE)) else {
        return;
    };
    let surface = match world.below(20) {
        0..7 => "pay.small",
        7..11 => "pay.held",
        11..13 => "pay.late",
        13 => "pay.never",
        14 => "pay.slow",
        15..18 => "pay.burst",
        _ => "pay.unknown",
    };
    let mut body = Object::new()
        .with("surface", surface)
        .with("action", "create")
        .with("arguments", Object::new().with("amount", i64::try_from(world.below(3)).unwrap_or(0)))
        .with("trace_id", format!("t-{}", world.below(4)));
    if world.per_mille(250) {
        body = body.with("risk_tags", vec![Value::from("huge")]);
    }
    if world.per_mille(500) {
        let subject = format!("customer-{}", world.below(3));
        body = body.with("subjects", vec![Value::from(subject)]);
    }
    body = under(world, body);
    let delegated = world.per_mille(300);
    if delegated {
        body = body.with("audience", GATE);
    }
    // Now and then two callers use the same key: for the same request, or for another one.
    let key = match world.per_mille(200) {
        true => format!("shared-{}", world.below(3)),
        false => format!("key-{label}"),
    };
    let ask = Ask::new(&who, key, format!("nonce-of-attempt-{label}"), body);
    if world.per_mille(150) {
        // A second caller races with the same request and a nonce of its own.
        let nonce = format!("nonce-of-another-{label}");
        let rival = Ask::new(&who, ask.key.clone(), nonce, ask.body.clone());
        let racing = world.clone();
        world.spawn(crate::executor::Group::Outside, async move {
            racing.propose(&rival, 2).await;
        });
    }
    let Some(answer) = world.propose(&ask, 5).await else { return };
    let id = answer.event.decision;
    known.push((ask.clone(), id));
    match answer.event.outcome {
        Outcome::Permit if delegated => {
            if world.per_mille(300) {
                let (rival, gate, nonce) = (world.clone(), gate.clone(), format!("rival-{label}"));
                world.spawn(crate::executor::Group::Outside, async move {
                    rival.consume(&gate, id, nonce).await;
                });
            }
            world.consume(&gate, id, format!("gate-{label}")).await;
            world.report(&gate, id).await;
        }
        Outcome::Permit if world.per_mille(700) => world.report(&who, id).await,
        Outcome::RequireApproval => {
            world.wait_for(&ask, id).await;
        }
        _ => {}
    }
}

/// Now and then a request names what it could be stopped by.
fn under(world: &World, body: Object) -> Object {
    if !world.per_mille(300) {
        return body;
    }
    let mut body = body.with("capability", CAPABILITY);
    if world.per_mille(400) {
        body = body.with("branch", BRANCH);
    }
    if world.per_mille(300) {
        body = body.with("model", MODEL);
    }
    if world.per_mille(300) {
        body = body.with("labels", Object::new().with("job", JOB));
    }
    body
}

/// An operator lets somebody approve in their place, and takes it back now and then.
async fn delegate(world: &Rc<World>, name: &WorkspaceName) {
    let who = OPERATORS[usize::try_from(world.below(2)).unwrap_or(0)];
    let Some(who) = world.person(name, who) else { return };
    let lasts_ms = [1_000, 60_000, 3_600_000][usize::try_from(world.below(3)).unwrap_or(0)];
    let Some(delegation) = world.delegate(&who, DELEGATE, lasts_ms).await else { return };
    if let Some(delegate) = world.person(name, DELEGATE) {
        world.vote(&delegate, true).await;
    }
    let pause = world.below(world.pace_ms * 5 + 1);
    world.sleep(pause).await;
    if world.per_mille(500) {
        world.end_delegation(&who, delegation).await;
    }
}

fn any(world: &World, known: &[(Ask, DecisionId)]) -> Option<(Ask, DecisionId)> {
    let at = usize::try_from(world.below(known.len().max(1) as u64)).unwrap_or(0);
    known.get(at).cloned()
}

async fn erase(world: &Rc<World>, name: &WorkspaceName, label: &str, known: &[(Ask, DecisionId)]) {
    let Some(ann) = world.person(name, ADMIN) else { return };
    let own = known.iter().filter(|(ask, _)| ask.who.workspace == *name).cloned();
    let own: Vec<_> = own.collect();
    let selection = match (any(world, &own), world.plane()) {
        (Some((_, id)), _) if world.per_mille(600) => Selection::Decision(id),
        (_, Some(plane)) => {
            let Some(workspace) = plane.workspace(name) else { return };
            let subject = format!("customer-{}", world.below(3));
            Selection::Subject(workspace.names().subject_tag(&subject))
        }
        _ => return,
    };
    let spec = EraseSpec { selection, reason: "gdpr".to_owned() };
    let (key, nonce) = (format!("erase-{label}"), format!("nonce-of-erasing-{label}"));
    let request = Plane::erase_request(&spec, key.clone(), nonce.clone());
    let ask = Ask::governed(&ann, key, nonce, request);
    let Some(answer) = world.propose(&ask, 4).await else { return };
    if answer.event.outcome == Outcome::Permit {
        world.erase(&ann, spec, answer.event.decision).await;
    }
}

async fn hold(world: &Rc<World>, name: &WorkspaceName, label: &str, known: &[(Ask, DecisionId)]) {
    let Some(ann) = world.person(name, ADMIN) else { return };
    let own = known.iter().filter(|(ask, _)| ask.who.workspace == *name).cloned();
    let own: Vec<_> = own.collect();
    let scope = match any(world, &own) {
        Some((_, id)) => HoldScope::Decision(id),
        None => HoldScope::Workspace,
    };
    let Some(hold) = world.place_hold(&ann, scope).await else { return };
    let pause = world.below(world.pace_ms * 5 + 1);
    world.sleep(pause).await;
    let (key, nonce) = (format!("release-{label}"), format!("nonce-of-release-{label}"));
    let request = Plane::release_request(hold, key.clone(), nonce.clone());
    let ask = Ask::governed(&ann, key, nonce, request);
    let Some(answer) = world.propose(&ask, 4).await else { return };
    if answer.event.outcome == Outcome::Permit {
        world.release_hold(&ann, hold, answer.event.decision).await;
    }
}

/// The same request again: as it was, with another nonce, or with something else under its key.
async fn again(world: &Rc<World>, known: &[(Ask, DecisionId)]) {
    let Some((ask, id)) = any(world, known) else { return };
    match world.below(4) {
        0 => drop(world.wait_for(&ask, id).await),
        1 => {
            let nonce = format!("{}-again", ask.nonce);
            let other = Ask::new(&ask.who, ask.key.clone(), nonce, ask.body.clone());
            world.propose(&other, 3).await;
        }
        2 => {
            let body = ask.body.clone().with("arguments", Object::new().with("amount", 77_i64));
            let other = Ask::new(&ask.who, ask.key.clone(), ask.nonce.clone(), body);
            world.propose(&other, 3).await;
        }
        _ => drop(world.propose(&ask, 3).await),
    }
}

/// An auditor looks at the newest entries, waiting for one that may never come.
async fn look(world: &Rc<World>, name: &WorkspaceName) {
    let name = name.clone();
    let ahead = world.below(3);
    let run = move |_: Rc<World>, plane: Arc<Plane>| {
        let name = name.clone();
        async move {
            let Some(workspace) = plane.workspace(&name) else { return };
            let size = *workspace.watch_size().borrow();
            let filter = AuditFilter { limit: 10, ..AuditFilter::default() };
            let wait = Duration::from_secs(5);
            let min_index = Some((size + ahead).saturating_sub(1));
            // Too late is an answer as well.
            drop(plane.audit(&workspace, &filter, min_index, wait).await);
        }
    };
    world.call("audit", 10_000, run).await;
}
