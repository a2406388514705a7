//! Stops, exceptions, evidence and executions of the crash test: made and taken back under load, looked at after
//! each kill. Owns what was acknowledged of each and what may have become of it; knows neither processes nor rounds.

use crate::http::{Client, got, sent};
use crate::load::Random;
use crate::runs::{begin, has_place, state_of, step_of};
use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};

/// The rules for what is made here.
pub(crate) const BUNDLE: &str = r#"version: v1
rules:
  - { id: stoppable, match: { surfaces: ["control.stop.**"] }, decision: allow }
  - { id: no-deviation, match: { surfaces: ["control.deviate.**"] }, decision: deny }
  - { id: runs, match: { surfaces: [execution] }, decision: allow }
  - id: one-by-one
    match: { surfaces: [execution], when: "request.capability.startsWith('narrow-')" }
    decision: allow_with_constraints
    constraints: { max_concurrent: 1 }
"#;

/// Scopes that are stopped at a time, so that a workspace has room for more.
const STOPS_MAX: usize = 60;
/// Things of earlier rounds that are looked at after each restart.
const EARLIER_MAX: usize = 40;

/// What is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    Stop,
    Exception,
    Evidence,
    Execution,
    /// An execution that waits for the place of the one made before it.
    Queued,
}

/// One thing: in force, or over for good; a stop may come back.
#[derive(Clone, Debug)]
struct Thing {
    what: What,
    /// Its number: everything about it follows from it.
    number: u64,
    /// Scope or id.
    name: String,
    /// Whether it is in force, as was acknowledged.
    lives: bool,
    /// Asked to become so, and not answered: it happened, or it did not.
    open: Option<bool>,
    /// A kill of everything has ended it.
    killed: bool,
}

/// Everything that was made.
#[derive(Default)]
pub(crate) struct Control {
    things: Vec<Thing>,
    next: u64,
    asked: u64,
    /// What is at hand when an answer should not be.
    wrong: Option<String>,
    /// Looks at what is there after a restart.
    pub(crate) looks: u64,
}

/// Kinds of things that are made in turn.
const KINDS: u64 = 5;

/// Kinds of scopes that are stopped, and how: the ways differ in what they leave alone, none of them lets a new
/// action pass.
const STOPS: [(&str, &str); 13] = [
    ("surface", "kill"),
    ("surface", "freeze"),
    ("surface", "disable"),
    ("capability", "kill"),
    ("capability", "freeze"),
    ("capability", "disable"),
    ("branch", "kill"),
    ("model", "disable"),
    ("alias", "kill"),
    ("job", "kill"),
    ("execution", "kill"),
    ("actor", "freeze"),
    ("role", "revoke"),
];

/// Whether a number is of a thing of which one may run at a time.
pub(crate) fn is_queue(number: u64) -> bool {
    number % KINDS == 3
}

fn stop_of(number: u64) -> (&'static str, &'static str, String) {
    let at = usize::try_from(number / KINDS).unwrap_or(0) % STOPS.len();
    let (kind, mode) = STOPS.get(at).copied().unwrap_or(("surface", "kill"));
    let value = match kind {
        "surface" => format!("control.stop.s{number}"),
        "actor" => format!("agent:ghost{number}"),
        _ => format!("name{number}"),
    };
    (kind, mode, value)
}

impl Thing {
    /// Whether what the server says can be after what was acknowledged and what was not.
    fn admits(&self, lives: bool) -> bool {
        lives == self.lives || self.open == Some(lives)
    }
}

/// The server does not answer any more.
struct Gone;

impl Control {
    /// Makes and takes back until the server dies.
    pub(crate) fn drive(&mut self, address: &str, seed: u64, dead: &AtomicBool) {
        let mut client = Client::new(address);
        while !dead.load(Ordering::Acquire) {
            let number = self.next;
            self.next += 1;
            let made = match number % KINDS {
                0 => self.stop(&mut client, seed, number),
                1 => self.deviate(&mut client, seed, number),
                2 => self.prove(&mut client, number),
                3 => self.queue(&mut client, seed, number),
                _ => self.execute(&mut client, seed, number),
            };
            match made {
                Ok(Ok(())) => {}
                Ok(Err(Gone)) => return,
                Err(error) => {
                    self.wrong = Some(format!("{error:#}"));
                    return;
                }
            }
        }
    }

    /// What went wrong under load.
    pub(crate) fn wrong(&mut self) -> Option<String> {
        self.wrong.take()
    }

    /// How many there are, in words.
    pub(crate) fn counts(&self) -> String {
        let count = |what| self.things.iter().filter(|it| it.what == what).count();
        format!(
            "{} scopes stopped, {} exceptions, {} pieces of evidence, {} executions, {} that waited, {} looks at them",
            count(What::Stop),
            count(What::Exception),
            count(What::Evidence),
            count(What::Execution),
            count(What::Queued),
            self.looks
        )
    }

    fn add(&mut self, what: What, number: u64, name: &str, open: bool) -> usize {
        let name = name.to_owned();
        let (lives, open) = (!open, open.then_some(true));
        self.things.push(Thing { what, number, name, lives, open, killed: false });
        self.things.len() - 1
    }

    fn became(&mut self, at: usize, lives: bool) {
        if let Some(thing) = self.things.get_mut(at) {
            (thing.lives, thing.open) = (lives, None);
        }
    }

    fn asks(&mut self, at: usize, lives: bool) {
        if let Some(thing) = self.things.get_mut(at) {
            thing.open = Some(lives);
        }
    }

    fn stop(&mut self, client: &mut Client, seed: u64, number: u64) -> Result<Result<(), Gone>> {
        let (kind, mode, value) = stop_of(number);
        let body = json!({"scope": kind, "value": value, "mode": mode});
        let at = self.add(What::Stop, number, &value, true);
        let Some(stopped) = sent(client, "/api/v1/overrides", &body, &[200])? else {
            return Ok(Err(Gone));
        };
        if let (Some(scope), Some(thing)) = (stopped["scope"].as_str(), self.things.get_mut(at)) {
            scope.clone_into(&mut thing.name);
        }
        self.became(at, true);
        if let Some(passes) = self.passes(client, seed, number)? {
            ensure!(!passes, "{kind} {value} is stopped by {mode}, and an action of it passes");
        }
        let stops = self.things.iter().filter(|it| it.what == What::Stop && it.lives).count();
        if number.is_multiple_of(3) && stops <= STOPS_MAX {
            return Ok(Ok(()));
        }
        self.asks(at, false);
        let body = json!({"scope": kind, "value": value});
        let Some(lifted) = sent(client, "/api/v1/overrides:lift", &body, &[200])? else {
            return Ok(Err(Gone));
        };
        ensure!(lifted["lifted"] == true, "{kind} {value} is not lifted: {lifted}");
        self.became(at, false);
        if let Some(passes) = self.passes(client, seed, number)? {
            // An execution that was killed is over for good; one of another name is not ours.
            ensure!(passes, "{kind} {value} is lifted, and an action of it does not pass");
        }
        Ok(Ok(()))
    }

    /// Whether an action of a scope is let pass; `None` where nobody answers, or it has no action of its own.
    fn passes(&mut self, client: &mut Client, seed: u64, number: u64) -> Result<Option<bool>> {
        let (kind, _, value) = stop_of(number);
        let mut body = json!({"surface": "control.stop.any", "action": "run"});
        match kind {
            "surface" => body["surface"] = value.into(),
            "capability" | "branch" | "model" | "execution" => body[kind] = value.into(),
            "alias" => body["capability"] = value.into(),
            "job" => body["labels"] = json!({"job": value}),
            _ => return Ok(None),
        }
        self.decides(client, seed, body)
    }

    fn decides(&mut self, client: &mut Client, seed: u64, mut body: Value) -> Result<Option<bool>> {
        self.asked += 1;
        body["idempotency_key"] = format!("{seed}-control-{}", self.asked).into();
        let Some(decided) = sent(client, "/api/v1/decisions", &body, &[200])? else {
            return Ok(None);
        };
        Ok(Some(decided["outcome"] == "PERMIT"))
    }

    fn deviate(&mut self, client: &mut Client, seed: u64, number: u64) -> Result<Result<(), Gone>> {
        let surface = format!("control.deviate.d{number}");
        let body = json!({
            "surface": surface, "actor": "service:local", "waives": ["rule:no-deviation"],
            "reason": "crash-test", "duration": "2h",
            "idempotency_key": format!("{seed}-deviate-{number}"),
        });
        let Some(opened) = sent(client, "/api/v1/exceptions", &body, &[201])? else {
            return Ok(Err(Gone));
        };
        let id = id_of(&opened)?;
        let at = self.add(What::Exception, number, &id, false);
        let action = json!({"surface": surface, "action": "run"});
        if let Some(passes) = self.decides(client, seed, action.clone())? {
            ensure!(passes, "{id} is open, and nothing passes under it");
        }
        if number.is_multiple_of(3) {
            return Ok(Ok(()));
        }
        self.asks(at, false);
        let path = format!("/api/v1/exceptions/{id}/close");
        if sent(client, &path, &json!({}), &[200])?.is_none() {
            return Ok(Err(Gone));
        }
        self.became(at, false);
        if let Some(passes) = self.decides(client, seed, action)? {
            ensure!(!passes, "{id} is closed, and an action passes under it");
        }
        Ok(Ok(()))
    }

    fn prove(&mut self, client: &mut Client, number: u64) -> Result<Result<(), Gone>> {
        let mut random = Random(number);
        let hex: String = (0..32).map(|_| format!("{:02x}", random.below(256))).collect();
        let digest = format!("sha256:{hex}");
        let body = json!({"type": "review", "digest": digest, "subject": digest});
        let Some(added) = sent(client, "/api/v1/evidence", &body, &[201])? else {
            return Ok(Err(Gone));
        };
        let id = id_of(&added)?;
        let at = self.add(What::Evidence, number, &id, false);
        if number.is_multiple_of(3) {
            return Ok(Ok(()));
        }
        self.asks(at, false);
        let path = format!("/api/v1/evidence/{id}/revoke");
        if sent(client, &path, &json!({"reason": "mistaken"}), &[200])?.is_none() {
            return Ok(Err(Gone));
        }
        self.became(at, false);
        Ok(Ok(()))
    }

    fn execute(&mut self, client: &mut Client, seed: u64, number: u64) -> Result<Result<(), Gone>> {
        let Some(begun) = begin(client, seed, number, "execute")? else { return Ok(Err(Gone)) };
        let id = id_of(&begun)?;
        let at = self.add(What::Execution, number, &id, false);
        let step = step_of(number, &id);
        if let Some(passes) = self.decides(client, seed, step.clone())? {
            ensure!(passes, "{id} runs, and no step of it passes");
        }
        if number.is_multiple_of(3) {
            return Ok(Ok(()));
        }
        self.asks(at, false);
        let path = format!("/api/v1/executions/{id}/end");
        if sent(client, &path, &json!({"state": end_of(number)}), &[200])?.is_none() {
            return Ok(Err(Gone));
        }
        self.became(at, false);
        if let Some(passes) = self.decides(client, seed, step)? {
            ensure!(!passes, "{id} has ended, and a step of it passes");
        }
        Ok(Ok(()))
    }

    /// Two executions where one may run: the second has its place once the first has ended.
    fn queue(&mut self, client: &mut Client, seed: u64, number: u64) -> Result<Result<(), Gone>> {
        let Some(first) = begin(client, seed, number, "first")? else { return Ok(Err(Gone)) };
        let ahead = self.add(What::Execution, number, &id_of(&first)?, false);
        let Some(second) = begin(client, seed, number, "second")? else { return Ok(Err(Gone)) };
        let states = [&first["state"], &second["state"]];
        ensure!(states == ["running", "queued"], "where one may run, two are {states:?}");
        let id = id_of(&second)?;
        self.add(What::Queued, number, &id, false);
        let step = step_of(number, &id);
        if let Some(passes) = self.decides(client, seed, step.clone())? {
            ensure!(!passes, "{id} waits, and a step of it passes");
        }
        if number.is_multiple_of(3) {
            return Ok(Ok(()));
        }
        self.asks(ahead, false);
        let path = format!("/api/v1/executions/{}/end", id_of(&first)?);
        if sent(client, &path, &json!({"state": end_of(number)}), &[200])?.is_none() {
            return Ok(Err(Gone));
        }
        self.became(ahead, false);
        if !has_place(client, &id)? {
            return Ok(Err(Gone));
        }
        if let Some(passes) = self.decides(client, seed, step)? {
            ensure!(passes, "{id} has its place, and no step of it passes");
        }
        Ok(Ok(()))
    }

    /// Everything was killed: what ran, or waited to run, is over for good.
    pub(crate) fn all_killed(&mut self) {
        let runs = |it: &&mut Thing| matches!(it.what, What::Execution | What::Queued) && it.lives;
        for thing in self.things.iter_mut().filter(runs) {
            (thing.lives, thing.killed) = (false, true);
        }
    }

    /// How many there are: what comes after is of the next round.
    pub(crate) fn len(&self) -> usize {
        self.things.len()
    }

    /// Looks at everything that was made from `first` on and at some of what was before: nothing was lost, and
    /// nothing that was over is back. What was under way is known from then on.
    ///
    /// # Errors
    /// What is wrong.
    pub(crate) fn check(
        &mut self,
        client: &mut Client,
        seed: u64,
        first: usize,
        random: &mut Random,
    ) -> Result<()> {
        let listed = got(client, "/api/v1/overrides")?;
        let scopes = listed["overrides"].as_array().context("no list of what is stopped")?;
        let stopped: BTreeSet<&str> = scopes.iter().filter_map(|it| it["scope"].as_str()).collect();
        for at in 0..self.things.len() {
            let thing = self.thing(at)?;
            if thing.what == What::Stop {
                let (kind, ..) = stop_of(thing.number);
                // A scope whose stop was not answered is known by what was sent.
                let text = match thing.name.starts_with(kind) {
                    true => thing.name.clone(),
                    false => format!("{kind}:{}", thing.name),
                };
                let unknown = !thing.name.starts_with(kind) && ["job", "execution"].contains(&kind);
                let lives = match unknown {
                    // Shown by a pseudonym that nobody was told.
                    true => !self.passes(client, seed, thing.number)?.unwrap_or(true),
                    false => stopped.contains(text.as_str()),
                };
                self.settle(at, lives)?;
            }
        }
        let mut which: Vec<usize> = (first..self.things.len()).collect();
        for _ in 0..EARLIER_MAX.min(first) {
            which.push(usize::try_from(random.below(first as u64)).unwrap_or(0));
        }
        for at in which {
            self.look(client, seed, at).with_context(|| format!("{:?}", self.things.get(at)))?;
            self.looks += 1;
        }
        Ok(())
    }

    fn thing(&self, at: usize) -> Result<Thing> {
        self.things.get(at).cloned().context("no such thing")
    }

    fn settle(&mut self, at: usize, lives: bool) -> Result<()> {
        let thing = self.thing(at)?;
        if !thing.admits(lives) {
            bail!("{thing:?} is {} after the restart", if lives { "in force" } else { "over" });
        }
        self.became(at, lives);
        Ok(())
    }

    fn look(&mut self, client: &mut Client, seed: u64, at: usize) -> Result<()> {
        let thing = self.thing(at)?;
        let Thing { what, number, name, .. } = &thing;
        let passes = match what {
            What::Stop => self.passes(client, seed, *number)?.map(|passes| !passes),
            What::Exception => {
                let found = got(client, &format!("/api/v1/exceptions/{name}"))?;
                self.settle(at, is_one(&found, "live", "closed")?)?;
                let surface = format!("control.deviate.d{number}");
                self.decides(client, seed, json!({"surface": surface, "action": "run"}))?
            }
            What::Evidence => {
                let found = got(client, &format!("/api/v1/evidence/{name}"))?;
                self.settle(at, is_one(&found, "in_force", "revoked")?)?;
                None
            }
            What::Execution => {
                let found = got(client, &format!("/api/v1/executions/{name}"))?;
                let over = if thing.killed { "killed" } else { end_of(*number) };
                self.settle(at, is_one(&found, "running", over)?)?;
                self.decides(client, seed, step_of(*number, name))?
            }
            What::Queued => {
                let (now, ahead) = (state_of(client, name)?, self.thing(at - 1)?.name);
                let passes = match (thing.killed, state_of(client, &ahead)?.as_str()) {
                    (true, _) => {
                        ensure!(now == "killed", "it was killed, and is {now}");
                        false
                    }
                    (false, "running") => {
                        ensure!(now == "queued", "{ahead} has its place, and it is {now}");
                        false
                    }
                    (false, _) => has_place(client, name)?,
                };
                let step = self.decides(client, seed, step_of(*number, name))?;
                ensure!(step == Some(passes), "it has a place: {passes}; its step: {step:?}");
                return Ok(());
            }
        };
        let lives = self.thing(at)?.lives;
        if let Some(passes) = passes
            && passes != lives
        {
            bail!("it is in force: {lives}, and what is asked of it says otherwise");
        }
        Ok(())
    }
}

/// Whether a document is in this state, or over in the other.
fn is_one(found: &Value, lives: &str, over: &str) -> Result<bool> {
    match found["state"].as_str() {
        Some(state) if state == lives => Ok(true),
        Some(state) if state == over => Ok(false),
        state => bail!("it is {state:?}, which is neither {lives} nor {over}"),
    }
}

fn end_of(number: u64) -> &'static str {
    if number.is_multiple_of(2) { "succeeded" } else { "failed" }
}

fn id_of(document: &Value) -> Result<String> {
    document["id"].as_str().map(str::to_owned).with_context(|| format!("no id in {document}"))
}

/// Stops the whole workspace. Whether it was acknowledged.
///
/// # Errors
/// An answer that should not be.
pub(crate) fn kill(client: &mut Client) -> Result<bool> {
    Ok(sent(client, "/api/v1/kill", &json!({"scope": "workspace"}), &[200])?.is_some())
}

/// After a restart: what was acknowledged as stopped is stopped, and nothing passes; then it is lifted. Whether
/// anything was stopped.
///
/// # Errors
/// The stop is gone, or something passes.
pub(crate) fn check_kill(
    client: &mut Client,
    key: &str,
    acknowledged: bool,
) -> Result<Option<u64>> {
    let state = got(client, "/api/v1/kill")?;
    let tripped: Vec<&str> =
        ["everything", "workspace"].into_iter().filter(|scope| !state[*scope].is_null()).collect();
    if acknowledged && tripped.is_empty() {
        bail!("a kill of the workspace was acknowledged, and is gone: {state}");
    }
    let ask = |client: &mut Client, key: String| -> Result<Value> {
        let body = json!({"surface": "control.stop.any", "action": "run", "idempotency_key": key});
        let decided = sent(client, "/api/v1/decisions", &body, &[200])?;
        decided.context("a decision after the restart is not answered")
    };
    let decided = ask(client, format!("{key}-killed"))?;
    if tripped.is_empty() != (decided["outcome"] == "PERMIT") {
        bail!("{state}, and a decision says {decided}");
    }
    for scope in &tripped {
        let lifted = sent(client, "/api/v1/lift", &json!({"scope": scope}), &[200])?;
        let lifted = lifted.context("a lift is not answered")?;
        ensure!(lifted["lifted"] == true, "the kill of {scope} is not lifted: {lifted}");
    }
    let decided = ask(client, format!("{key}-lifted"))?;
    ensure!(decided["outcome"] == "PERMIT", "lifted, and a decision says {decided}");
    let index = |scope: &&str| state[*scope]["index"].as_u64();
    let indices: Option<Vec<u64>> = tripped.iter().map(index).collect();
    Ok(indices.context("a kill without its index")?.into_iter().max())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_acknowledged_stays_and_what_was_not_may_be_either() {
        let thing = |lives, open| Thing {
            what: What::Stop,
            number: 0,
            name: "surface:x".into(),
            lives,
            open,
            killed: false,
        };
        let rows = [
            (thing(true, None), [true, false]),
            (thing(false, None), [false, true]),
            (thing(true, Some(false)), [true, true]),
            (thing(false, Some(true)), [true, true]),
        ];
        for (thing, [alive, over]) in rows {
            assert_eq!((thing.admits(true), thing.admits(false)), (alive, over), "{thing:?}");
        }
    }

    #[test]
    fn every_kind_of_scope_and_every_way_is_taken() {
        let seen: BTreeSet<_> =
            (0..500).step_by(5).map(|it| (stop_of(it).0, stop_of(it).1)).collect();
        assert_eq!(seen.len(), STOPS.len());
    }
}
