//! Deciding while ever more exceptions are live, each over an actor of its own: finding the one that a request passes
//! under, and that none does. Owns the exceptions; the policy denies what they let pass.

use super::layers::{NOW, asked, begun, command, compile, entry, grow};
use super::report::Row;
use super::timed::Timed;
use anyhow::{Context, Result, bail, ensure};
use placet_engine::{Command, Plan, State, step};
use placet_policy::Scratch;
use placet_policy::generate::SplitMix;
use placet_runtime::crypto::Fast;
use placet_types::event::{ActorRef, Event, ExceptionOpened, ExceptionScope, Waives};
use placet_types::ids::{DecisionId, ExceptionId, WorkspaceName};
use placet_types::policy::Outcome;
use std::hint::black_box;
use std::sync::Arc;

const SEED: u64 = 0x0070_1ace_7002;
const POLICY: &str =
    "version: v1\nrules:\n  - { id: closed, match: { surfaces: [job] }, decision: deny }\n";

/// The rows, for so many requests per batch.
pub(super) fn rows(requests: usize, smoke: bool) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    let sizes = if smoke { &[10, 100][..] } else { &[10, 1000, 10_000][..] };
    grow(&mut rows, "live exceptions, under one of them", sizes, |size| {
        deciding(size, requests, true)
    })?;
    grow(&mut rows, "live exceptions, under none", sizes, |size| deciding(size, requests, false))?;
    Ok(rows)
}

fn agent(number: usize) -> Result<ActorRef> {
    ActorRef::parse(&format!("agent:worker-{number}")).context("an agent")
}

/// Evaluating and stepping requests of agents of whom each has an exception, or of others.
fn deciding(size: usize, requests: usize, under: bool) -> Result<Timed> {
    let bundle = compile(&[POLICY.to_owned()])?;
    let name = WorkspaceName::parse("bench").context("name")?;
    let mut state = begun(&name)?;
    for number in 0..size {
        let opened = Event::ExceptionOpened(Arc::new(exception(number)?));
        state.apply(&entry(&name, number + 1, opened))?;
    }
    ensure!(state.exception_counts().0 == size, "all of them are live");
    let mut random = SplitMix(SEED);
    let work = (0..512)
        .map(|turn| {
            let at = random.below(size);
            let (request, caller) = asked(turn, "bench")?;
            let mut decide = command(&bundle, turn, "bench")?;
            decide.who.actor = agent(if under { at } else { size + at })?;
            Ok((Command::Decide(Box::new(decide)), request, caller))
        })
        .collect::<Result<Vec<_>>>()?;
    for (command, ..) in &work {
        check(&state, command, under)?;
    }
    let mut scratch = Scratch::default();
    Ok(Timed::new(requests, move |turn| {
        let Some((command, request, caller)) = work.get(turn % work.len()) else { return };
        black_box(bundle.evaluate(request, caller, &mut scratch));
        black_box(step::<Fast>(&state, command, NOW).is_ok());
    }))
}

/// Each of them passes under an exception, or none does: what is measured is what is said.
fn check(state: &State, command: &Command, under: bool) -> Result<()> {
    let Plan::Append(events) = step::<Fast>(state, command, NOW)? else {
        bail!("nothing was decided");
    };
    let Some(Event::Decision(event)) = events.first() else { bail!("no decision") };
    let passes = event.outcome == Outcome::Permit && event.exception.is_some();
    ensure!(passes == under, "{:?} under {:?}", event.outcome, event.exception);
    Ok(())
}

fn exception(number: usize) -> Result<ExceptionOpened> {
    let mut waives = Waives::default();
    ensure!(waives.add("rule:closed"), "it waives the rule");
    let owner = ActorRef::parse("human:ann").context("an owner")?;
    let id = (number as u128 + 1).to_be_bytes();
    Ok(ExceptionOpened {
        exception: ExceptionId::from_bytes(id),
        scope: ExceptionScope {
            surface: "job".to_owned(),
            actor: agent(number)?,
            action: None,
            environment: None,
            capability: None,
            target: None,
            execution: None,
        },
        waives,
        controls: Vec::new(),
        reason: "bench".to_owned(),
        owner: owner.clone(),
        by: owner,
        key: None,
        decision: DecisionId::from_bytes(id),
        break_glass: false,
        ends: NOW.plus(86_400_000),
        review_ms: 86_400_000,
        retroactive: None,
        policy: None,
    })
}
