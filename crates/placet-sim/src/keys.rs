//! Keys that come and go while everything else goes on: API keys made and revoked, the signing key
//! handed over. Owns what may be expected of them at rest; refuses to know how logs are checked.

use crate::checkers::{Held, Logs, violated};
use crate::disk::Disk;
use crate::edge::Ask;
use crate::workload::{ADMIN, roles};
use crate::world::World;
use placet_runtime::crypto::MemorySigner;
use placet_runtime::ports::Signer;
use placet_runtime::{HandOn, KeySpec, Plane};
use placet_types::event::Event;
use placet_types::ids::{ActorId, WorkspaceName};
use placet_types::policy::Outcome;
use std::rc::Rc;
use std::sync::Arc;

const NAME: &str = "keys";
/// How long a caller waits.
const PATIENCE_MS: u64 = 10_000;

/// What somebody knows of an API key that was handed out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Known {
    /// It opens.
    Good,
    /// Its revocation was asked for, and nobody said what became of it.
    Unsure,
    /// Its revocation was acknowledged.
    Revoked,
}

/// The API keys that were handed out, with what is known of them.
#[derive(Default)]
pub(crate) struct Keys(Vec<(String, Known)>);

impl Keys {
    fn say(&mut self, key: &str, known: Known) {
        match self.0.iter_mut().find(|(text, _)| text == key) {
            Some((_, before)) if *before != Known::Revoked => *before = known,
            Some(_) => {}
            None => self.0.push((key.to_owned(), known)),
        }
    }

    /// Whether the instance opens for whom it should.
    pub(crate) fn hold(&self, plane: &Plane) -> Held {
        for (key, known) in &self.0 {
            let opens = plane.authenticate(key).is_ok();
            let name = key.split('.').next().unwrap_or_default();
            match known {
                Known::Good if !opens => {
                    return violated(NAME, format!("{name} was handed out and opens nothing"));
                }
                Known::Revoked if opens => {
                    return violated(NAME, format!("{name} was revoked and still opens"));
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// Makes a key for somebody new, and often revokes it again.
pub(crate) async fn make_and_revoke(world: &Rc<World>, name: &WorkspaceName, label: &str) {
    let (Some(ann), Some(actor)) =
        (world.person(name, ADMIN), ActorId::parse(&format!("agent:{label}")))
    else {
        return;
    };
    let spec = KeySpec { actor, environment: "production".to_owned(), roles: roles(&[]) };
    let (key, nonce) = (format!("make-{label}"), format!("nonce-of-making-{label}"));
    let request = Plane::key_request(&spec, key.clone(), Some(nonce.clone()));
    let ask = Ask::governed(&ann, key, nonce, request);
    let Some(answer) = world.propose(&ask, 4).await else { return };
    if answer.event.outcome != Outcome::Permit {
        return;
    }
    let (who, permit) = (ann.clone(), answer.event.decision);
    let run = move |world: Rc<World>, plane: Arc<Plane>| {
        let (who, spec) = (who.clone(), spec.clone());
        async move {
            let (workspace, principal) = world.reach(&plane, &who)?;
            match plane.create_key(&workspace, &principal, spec, permit).await {
                Ok(key) => {
                    let text = key.reveal().to_string();
                    world.say(format_args!("answer: key {} is made", key.id));
                    world.checkers.borrow_mut().keys.say(&text, Known::Good);
                    let held = world.checkers.borrow().keys.hold(&plane);
                    world.hold(held);
                    Some((key.id, text))
                }
                Err(error) => {
                    world.trouble(&error);
                    None
                }
            }
        }
    };
    let made = world.call("make key", PATIENCE_MS, run).await.flatten();
    let Some((id, text)) = made.filter(|_| world.per_mille(700)) else { return };
    let run = move |world: Rc<World>, plane: Arc<Plane>| {
        let (who, text) = (ann.clone(), text.clone());
        async move {
            let Some((workspace, principal)) = world.reach(&plane, &who) else { return };
            world.checkers.borrow_mut().keys.say(&text, Known::Unsure);
            match plane.revoke_key(&workspace, &principal, id).await {
                Ok(()) => {
                    world.say(format_args!("answer: key {id} is revoked"));
                    world.checkers.borrow_mut().keys.say(&text, Known::Revoked);
                    let held = world.checkers.borrow().keys.hold(&plane);
                    world.hold(held);
                }
                Err(error) => drop(world.trouble(&error)),
            }
        }
    };
    world.call("revoke key", PATIENCE_MS, run).await;
}

/// How long a session lives that is handed on: longer than any run.
const SESSION_MS: u64 = 3650 * 86_400_000;

/// Hands rights of the admin on to somebody new, and often takes them back.
pub(crate) async fn hand_on_and_close(world: &Rc<World>, name: &WorkspaceName, label: &str) {
    let (Some(ann), Some(actor)) =
        (world.person(name, ADMIN), ActorId::parse(&format!("agent:{label}")))
    else {
        return;
    };
    // In development mode there is no key that rights could come from.
    if ann.principal.key.is_none() {
        return;
    }
    let who = ann.clone();
    let run = move |world: Rc<World>, plane: Arc<Plane>| {
        let (who, actor) = (who.clone(), actor.clone());
        async move {
            let (workspace, principal) = world.reach(&plane, &who)?;
            let expires = plane.now().plus(SESSION_MS);
            let spec = HandOn { actor, roles: roles(&["operator"]), expires };
            match plane.hand_on(&workspace, &principal, spec).await {
                Ok((id, key)) => {
                    let text = key.reveal().to_string();
                    world.say(format_args!("answer: session {id} is open"));
                    world.checkers.borrow_mut().keys.say(&text, Known::Good);
                    let held = world.checkers.borrow().keys.hold(&plane);
                    world.hold(held);
                    Some((id, text))
                }
                Err(error) => {
                    world.trouble(&error);
                    None
                }
            }
        }
    };
    let made = world.call("hand on", PATIENCE_MS, run).await.flatten();
    let Some((id, text)) = made.filter(|_| world.per_mille(700)) else { return };
    let run = move |world: Rc<World>, plane: Arc<Plane>| {
        let (who, text) = (ann.clone(), text.clone());
        async move {
            let Some((workspace, principal)) = world.reach(&plane, &who) else { return };
            world.checkers.borrow_mut().keys.say(&text, Known::Unsure);
            match plane.close_session(&workspace, &principal, id).await {
                Ok(()) => {
                    world.say(format_args!("answer: session {id} is closed"));
                    world.checkers.borrow_mut().keys.say(&text, Known::Revoked);
                    let held = world.checkers.borrow().keys.hold(&plane);
                    world.hold(held);
                }
                Err(error) => drop(world.trouble(&error)),
            }
        }
    };
    world.call("close session", PATIENCE_MS, run).await;
}

/// Hands every log over to a new signing key.
pub(crate) async fn rotate(world: &Rc<World>, label: &str) {
    let main = WorkspaceName::parse("main");
    let Some(ann) = main.and_then(|main| world.person(&main, ADMIN)) else { return };
    let (key, nonce) = (format!("rotate-{label}"), format!("nonce-of-rotating-{label}"));
    let request = Plane::rotate_request(key.clone(), nonce.clone());
    let ask = Ask::governed(&ann, key, nonce, request);
    let Some(answer) = world.propose(&ask, 4).await else { return };
    if answer.event.outcome != Outcome::Permit {
        return;
    }
    let permit = answer.event.decision;
    let run = move |world: Rc<World>, plane: Arc<Plane>| {
        let who = ann.clone();
        async move {
            let Some((_, principal)) = world.reach(&plane, &who) else { return };
            match plane.rotate_signer(&principal, permit).await {
                Ok(changes) => {
                    world.totals.borrow_mut().rotations += 1;
                    world.say(format_args!("answer: {} logs are handed over", changes.len()));
                }
                Err(error) => drop(world.trouble(&error)),
            }
        }
    };
    world.call("rotate", PATIENCE_MS, run).await;
}

/// The keys that sign the logs, each once.
pub(crate) fn signing(logs: &Logs) -> Vec<String> {
    let mut keys: Vec<String> = Vec::new();
    for log in logs.values().filter(|log| !log.is_empty()) {
        let vkey = log.iter().rev().find_map(|stored| match &stored.entry.event {
            Event::SignerRotated(rotated) => Some(rotated.new.clone()),
            Event::Genesis(genesis) => genesis.vkeys.last().cloned(),
            _ => None,
        });
        // What follows the name and its id is the key itself.
        keys.extend(vkey.and_then(|vkey| vkey.splitn(3, '+').nth(2).map(str::to_owned)));
    }
    keys.dedup();
    keys
}

/// At rest all logs are signed by one key, and it is the only one that there is.
pub(crate) fn one_signer(disk: &Disk, logs: &Logs) -> Held {
    let keys = signing(logs);
    if keys.len() > 1 {
        return violated(NAME, format!("logs are signed by {} keys at rest", keys.len()));
    }
    let seeds = &disk.seeds;
    if seeds.len() != 1 {
        return violated(NAME, format!("there are {} signing keys at rest", seeds.len()));
    }
    Ok(())
}

/// The signing keys on the disk.
pub(crate) fn signer(seed: &[u8; 32]) -> Arc<dyn Signer> {
    match MemorySigner::from_seed(seed) {
        Some(signer) => Arc::new(signer),
        None => unreachable!("any 32 bytes are a seed"),
    }
}
