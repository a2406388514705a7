//! What must not grow: evaluating a request while the bundle describes ever more capabilities and roles,
//! while ever more workspaces have a state of their own, and while ever more windows of limits are open.

use super::report::Row;
use super::timed::{Timed, in_turn};
use anyhow::{Context, Result, anyhow};
use placet_engine::{Bounds, Command, Decide, Passing, Plan, State, Who, step};
use placet_policy::generate::SplitMix;
use placet_policy::{Bundle, Scratch, Source};
use placet_runtime::Pseudonyms;
use placet_runtime::crypto::Fast;
use placet_runtime::ports::Secret;
use placet_types::event::{Entry, Event, Genesis};
use placet_types::hash::Hasher;
use placet_types::ids::{ActorId, ApprovalId, DecisionId, PermitId, TimeMs, WorkspaceName};
use placet_types::json::{Limits, parse};
use placet_types::policy::{Velocity, combine};
use placet_types::{Caller, Digest, Request};
use std::fmt::Write as _;
use std::hint::black_box;
use std::ops::Range;

const SEED: u64 = 0x0070_1ace_7001;
const SIZES: [usize; 4] = [10, 100, 1000, 10_000];
pub(super) const NOW: TimeMs = TimeMs(1_800_000_000_000);

/// The rows, for so many requests per batch.
pub(super) fn rows(requests: usize, smoke: bool) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    let sizes = if smoke { &SIZES[..2] } else { &SIZES[..] };
    grow(&mut rows, "capabilities", sizes, |size| described(size, requests, capabilities))?;
    grow(&mut rows, "roles", sizes, |size| described(size, requests, roles))?;
    grow(&mut rows, "workspaces", sizes, |size| workspaces(size, requests))?;
    let windows = if smoke { &[10, 100][..] } else { &[10, 10_000, 1_000_000][..] };
    grow(&mut rows, "velocity keys", windows, |size| velocity(size, requests))?;
    Ok(rows)
}

pub(super) fn grow(
    rows: &mut Vec<Row>,
    what: &str,
    sizes: &[usize],
    mut prepare: impl FnMut(usize) -> Result<Timed>,
) -> Result<()> {
    let mut timed = sizes.iter().map(|size| prepare(*size)).collect::<Result<Vec<_>>>()?;
    let spent = in_turn(&mut timed);
    for (size, spent) in sizes.iter().zip(&spent) {
        rows.push(Row::new(format!("{size} {what}"), *spent, "ns"));
    }
    let (first, last) = spent.first().zip(spent.last()).context("a size")?;
    rows.push(Row::new(format!("{what}, growth"), last / first, "x").at_most(1.3));
    Ok(())
}

/// The document that describes these numbers.
type Described = fn(Range<usize>) -> String;

/// A mapping holds no more than 4,096 keys.
const KEYS_A_FILE: usize = 4000;

fn capabilities(numbers: Range<usize>) -> String {
    let mut text = "version: v1\n".to_owned();
    if numbers.start == 0 {
        text.push_str("models: { allow: [small, large] }\n");
    }
    text.push_str("capabilities:\n");
    for number in numbers {
        let _ = writeln!(
            text,
            "  cap-{number}: {{ allowed_roles: [role-{number}, operator], surfaces: [\"job\", \"crm.**\"], models: [small], branches: [v1, v2] }}"
        );
    }
    text
}

fn roles(numbers: Range<usize>) -> String {
    let mut text = "version: v1\nroles:\n".to_owned();
    for number in numbers {
        // All of them may propose the one action of the requests, and each one of its own.
        let _ = writeln!(
            text,
            "  role-{number}: {{ may: [\"propose:job/dispatch\", \"propose:area-{number}.**\", \"read:area-{number}.*/read\"], must_not_alone: [{{ id: x, permission: \"propose:area-{number}.last\", approvers: {{ operator: 1 }} }}] }}"
        );
    }
    text
}

const RULES: &str = "version: v1\nrules:\n  - { id: dispatch, match: { surfaces: [job], actions: [dispatch] }, decision: allow }\n";

pub(super) fn compile(texts: &[String]) -> Result<Bundle> {
    let sources: Vec<Source> = texts
        .iter()
        .zip(0..)
        .map(|(text, at)| Source { name: format!("{at}.yaml"), text: text.clone() })
        .collect();
    Bundle::compile::<Fast>(&sources).map_err(|found| match found.first() {
        Some(first) => anyhow!("{first}"),
        None => anyhow!("the bench's bundle does not compile"),
    })
}

/// A request of the capability and role with this number.
pub(super) fn asked(number: usize, workspace: &str) -> Result<(Request, Caller)> {
    let body = format!(
        r#"{{"surface":"job","action":"dispatch","idempotency_key":"k-{number}","capability":"cap-{number}","branch":"v1","model":"small","arguments":{{"amount":1250}}}}"#
    );
    let caller = Caller {
        workspace: WorkspaceName::parse(workspace).context("name")?,
        environment: "production".into(),
        actor: ActorId::parse("agent:worker").context("actor")?,
        roles: [format!("role-{number}"), "agent".to_owned()].into(),
        chain: Vec::new(),
    };
    let request = Request::read(parse(body.as_bytes(), Limits::REQUEST)?, &caller)?;
    Ok((request, caller))
}

/// Evaluating requests that each name another of the things described; all are permitted.
fn described(size: usize, requests: usize, describe: Described) -> Result<Timed> {
    let mut texts = vec![RULES.to_owned()];
    texts.extend((0..size).step_by(KEYS_A_FILE).map(|at| describe(at..size.min(at + KEYS_A_FILE))));
    let bundle = compile(&texts)?;
    let mut random = SplitMix(SEED);
    let work: Vec<_> =
        (0..512).map(|_| asked(random.below(size), "bench")).collect::<Result<_>>()?;
    let mut scratch = Scratch::default();
    for (request, caller) in &work {
        let hits = bundle.evaluate(request, caller, &mut scratch).hits;
        anyhow::ensure!(hits.len() == 1, "one rule matches, not {}", hits.len());
    }
    Ok(Timed::new(requests, move |at| {
        let (request, caller) = &work[at % work.len()];
        let verdict = bundle.evaluate(request, caller, &mut scratch);
        black_box(combine(&verdict, |_| Velocity::Open));
    }))
}

/// The command of a request, as a server would give it.
pub(super) fn command(bundle: &Bundle, number: usize, workspace: &str) -> Result<Decide> {
    let (mut request, caller) = asked(number, workspace)?;
    request.target = Some(format!("/t/{number}"));
    let verdict = bundle.evaluate(&request, &caller, &mut Scratch::default());
    let names = Pseudonyms::new(&Secret::new([0; 32]));
    let id = (number as u128).to_be_bytes();
    let under = names.scopes(&request);
    Ok(Decide {
        ids: (DecisionId::from_bytes(id), ApprovalId::from_bytes(id), PermitId::from_bytes(id)),
        who: Who { actor: names.actor_ref(&caller.actor), key: None, roles: caller.roles },
        on_behalf_of: Vec::new(),
        audience: None,
        environment: caller.environment,
        surface: request.surface,
        action: request.action,
        topic: None,
        target: request.target.as_deref().map(|target| names.of("target", target)),
        subjects: names.subject_tags(&request.subjects),
        trace: None,
        action_commitment: Digest([3; 32]),
        request_commitment: Digest([4; 32]),
        facts_commitment: Digest([5; 32]),
        idempotency: names.idempotency_tag(&caller.actor, &request.idempotency_key),
        window_ms: 86_400_000,
        nonce: None,
        deadline: NOW.plus(3_600_000),
        permit_ms: 60_000,
        approval_ms: None,
        windows: verdict.hits.iter().map(|hit| names.window_tag(hit)).collect(),
        verdict,
        shadow: None,
        passing: Passing::default(),
        retroactive: false,
        under,
    })
}

pub(super) fn entry(workspace: &WorkspaceName, number: usize, event: Event) -> Entry {
    Entry {
        time: NOW,
        workspace: workspace.clone(),
        epoch: 1,
        dev: false,
        solo: false,
        name: DecisionId::from_bytes((number as u128).to_be_bytes()).to_string(),
        commitment: Digest([1; 32]),
        payload: Digest([2; 32]),
        event,
    }
}

/// A state after its first entry.
pub(super) fn begun(workspace: &WorkspaceName) -> Result<State> {
    let mut state = State::new(Bounds::default());
    let genesis = Genesis {
        instance: "0123456789abcdef".to_owned(),
        origin: format!("placet/0123456789abcdef/{workspace}"),
        vkeys: Vec::new(),
        principals: Vec::new(),
        bundle: None,
        constitution: placet_engine::CONSTITUTION,
    };
    state.apply(&entry(workspace, 0, Event::Genesis(genesis)))?;
    Ok(state)
}

/// Evaluating and stepping, each time for another workspace with a state of its own.
fn workspaces(size: usize, requests: usize) -> Result<Timed> {
    let bundle = compile(&[RULES.to_owned()])?;
    let mut states = Vec::with_capacity(size);
    for number in 0..size {
        let name = WorkspaceName::parse(&format!("w-{number}")).context("name")?;
        states.push(begun(&name)?);
    }
    let mut random = SplitMix(SEED);
    let work: Vec<_> = (0..512)
        .map(|_| {
            let at = random.below(size);
            let workspace = format!("w-{at}");
            let (request, caller) = asked(at, &workspace)?;
            Ok((at, Command::Decide(Box::new(command(&bundle, at, &workspace)?)), request, caller))
        })
        .collect::<Result<_>>()?;
    let mut scratch = Scratch::default();
    Ok(Timed::new(requests, move |turn| {
        let (at, command, request, caller) = &work[turn % work.len()];
        black_box(bundle.evaluate(request, caller, &mut scratch));
        black_box(step::<Fast>(&states[*at], command, NOW).is_ok());
    }))
}

/// Stepping while so many windows are open, each request in another of them.
fn velocity(size: usize, requests: usize) -> Result<Timed> {
    let limit = "version: v1\nrules:\n  - { id: dispatch, match: { surfaces: [job] }, decision: allow }\n  - { id: slow, match: { surfaces: [job] }, decision: throttle, limit: { count: 5, per: 24h, key: [target] } }\n";
    let bundle = compile(&[limit.to_owned()])?;
    let name = WorkspaceName::parse("bench").context("name")?;
    let mut state = begun(&name)?;
    let mut template = command(&bundle, 0, "bench")?;
    // The window of the limit is the last of the hits' windows; each number opens another.
    let at = template.windows.iter().position(Option::is_some).context("a limit")?;
    let tag = |number: usize| {
        let hash = Fast::sha256(&[&number.to_be_bytes()]);
        let mut tag = [0; 16];
        tag.copy_from_slice(&hash[..16]);
        tag
    };
    for number in 0..size {
        let id = (number as u128 + 1).to_be_bytes();
        template.ids = (DecisionId::from_bytes(id), template.ids.1, PermitId::from_bytes(id));
        template.windows[at] = Some(tag(number));
        template.idempotency = tag(number + (1 << 40));
        let command = Command::Decide(Box::new(template));
        let Plan::Append(events) = step::<Fast>(&state, &command, NOW)? else {
            anyhow::bail!("nothing was decided");
        };
        for event in events {
            state.apply(&entry(&name, number + 1, event))?;
        }
        let Command::Decide(back) = command else { anyhow::bail!("a decision") };
        template = *back;
    }
    let mut random = SplitMix(SEED);
    let work: Vec<Command> = (0..4096)
        .map(|turn| {
            let mut command = command(&bundle, turn, "bench")?;
            command.windows[at] = Some(tag(random.below(size)));
            command.idempotency = tag(turn + (1 << 41));
            Ok(Command::Decide(Box::new(command)))
        })
        .collect::<Result<_>>()?;
    Ok(Timed::new(requests, move |turn| {
        black_box(step::<Fast>(&state, &work[turn % work.len()], NOW).is_ok());
    }))
}
