//! Evaluating a request that names verified evidence, from 10 to 1,000,000 pieces in the store: looking them
//! up, finding out whether they count, and the verdict. Owns the store that is looked in.

use super::report::Row;
use super::timed::{Timed, in_turn};
use anyhow::{Context, Result};
use placet_engine::{Bounds, Evidence, State, evidence_id};
use placet_policy::{Bundle, Scratch, Source};
use placet_runtime::crypto::Fast;
use placet_runtime::ports::Secret;
use placet_runtime::{Pseudonyms, find_evidence};
use placet_types::event::{ActorRef, Entry, Event, EvidenceAdded, Genesis};
use placet_types::ids::{ActorId, TimeMs, WorkspaceName};
use placet_types::json::{Limits, parse};
use placet_types::{Caller, Digest, Request};
use std::hint::black_box;
use std::rc::Rc;

const POLICY: &str = r#"
version: v1
surfaces:
  infra.apply: { evidence: [{ type: review, max_age: 30d, issuers: ["service:ci"], verified: true }] }
rules:
  - { id: a, match: { surfaces: [infra.apply] }, decision: allow }
"#;
const START: u64 = 1_800_000_000_000;
/// Different requests, so that not all of them hit the same memory.
const REQUESTS: usize = 4096;

/// The rows.
pub(super) fn rows(count: usize, smoke: bool) -> Result<Vec<Row>> {
    let source = Source { name: "bench.yaml".into(), text: POLICY.into() };
    let bundle = Bundle::compile::<Fast>(&[source])
        .map_err(|errors| anyhow::anyhow!("{} findings", errors.len()))?;
    let caller = Caller {
        workspace: WorkspaceName::parse("bench").context("name")?,
        environment: "production".into(),
        actor: ActorId::parse("agent:deployer").context("actor")?,
        roles: ["support".to_owned()].into(),
        chain: Vec::new(),
    };
    let names = Pseudonyms::new(&Secret::new([7; 32]));
    let (bundle, names) = (Rc::new(bundle), Rc::new(names));
    let most = if smoke { 1000 } else { 1_000_000 };
    let sizes = [10, 1000, most];
    let mut timed = Vec::new();
    for pieces in sizes {
        let store = filled(pieces)?;
        let mut requests = Vec::with_capacity(REQUESTS);
        for at in 0..REQUESTS.min(count) as u64 {
            // Spread over the whole store.
            let piece = at.wrapping_mul(2_654_435_761) % pieces;
            requests.push(request(piece, &caller)?);
        }
        let (bundle, names, caller) = (bundle.clone(), names.clone(), caller.clone());
        let mut scratch = Scratch::default();
        timed.push(Timed::new(count, move |at| {
            let Some(request) = requests.get(at % requests.len()) else { return };
            let found = find_evidence(&store, &names, Some(&bundle), request, &caller);
            let request = Request { found, ..request.clone() };
            black_box(bundle.evaluate(&request, &caller, &mut scratch));
        }));
    }
    let spent = in_turn(&mut timed);
    let mut out: Vec<Row> = sizes
        .iter()
        .zip(&spent)
        .map(|(pieces, spent)| {
            Row::new(format!("with verified evidence, {pieces} pieces"), *spent, "ns")
        })
        .collect();
    let (first, last) = spent.first().zip(spent.last()).context("a size")?;
    let name = format!("with verified evidence, growth 10 to {most}");
    out.push(Row::new(name, last / first, "x").at_most(1.3));
    Ok(out)
}

fn subject(number: u64) -> Digest {
    let mut digest = [7; 32];
    digest[..8].copy_from_slice(&number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
    Digest(digest)
}

fn request(piece: u64, caller: &Caller) -> Result<Request> {
    let id = evidence_id(TimeMs(START + piece), piece + 1);
    let body = format!(
        r#"{{"surface":"infra.apply","action":"apply","idempotency_key":"bench","target":"image@{}","evidence":[{{"id":"{id}"}}]}}"#,
        subject(piece)
    );
    Ok(Request::read(parse(body.as_bytes(), Limits::REQUEST)?, caller)?)
}

/// A store with so many pieces, as the log of a workspace folds into it.
fn filled(pieces: u64) -> Result<Evidence> {
    let mut state = State::new(Bounds::default());
    let workspace = WorkspaceName::parse("bench").context("name")?;
    let issuer = ActorRef::parse("service:ci").context("issuer")?;
    let zero = Digest([0; 32]);
    let mut apply = |time, event| {
        let entry = Entry {
            time,
            workspace: workspace.clone(),
            epoch: 1,
            dev: false,
            solo: false,
            name: String::new(),
            commitment: zero,
            payload: zero,
            event,
        };
        state.apply(&entry)
    };
    let genesis = Genesis {
        instance: "0".repeat(16),
        origin: "placet/0000000000000000/bench".into(),
        vkeys: Vec::new(),
        principals: Vec::new(),
        bundle: None,
        constitution: placet_engine::CONSTITUTION,
    };
    apply(TimeMs(START), Event::Genesis(genesis))?;
    for number in 0..pieces {
        let time = TimeMs(START + number);
        let added = EvidenceAdded {
            evidence: evidence_id(time, number + 1),
            by: issuer.clone(),
            digest: subject(number ^ 0xffff),
            expires: time.plus(86_400_000_000),
            issued: time,
            issuer: issuer.clone(),
            key: None,
            kind: "review".into(),
            subject: subject(number),
        };
        apply(time, Event::EvidenceAdded(added))?;
    }
    anyhow::ensure!(state.evidence().len() as u64 == pieces, "the store is filled");
    Ok(state.evidence().clone())
}
