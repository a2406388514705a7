//! Evaluating one request: thread CPU time, minimum of fifteen batches, from 10 to 10,000 rules of
//! the fixed generator, and of what else must not grow; beside it the time of SHA-256 over 1 KiB.

use super::report::{Report, Row};
use anyhow::{Context, Result};
use clap::Args;
use placet_policy::generate::{Shape, surfaces, workload};
use placet_policy::{Bundle, Scratch};
use placet_runtime::crypto::Fast;
use placet_types::hash::Hasher;
use placet_types::ids::{ActorId, WorkspaceName};
use placet_types::json::{Limits, parse};
use placet_types::policy::{Velocity, combine};
use placet_types::{Caller, Request};
use std::hint::black_box;

const BATCHES: usize = 15;
const SEED: u64 = 0x0070_1ace_7000;

/// Arguments of `bench evaluate`.
#[derive(Args, Debug)]
pub(super) struct Evaluate {
    /// Requests per batch
    #[arg(long, default_value_t = 20_000)]
    requests: usize,
    #[arg(skip)]
    smoke: bool,
}

impl Evaluate {
    pub(super) fn smoke(self) -> Self {
        Self { requests: 50, smoke: true }
    }
}

pub(super) fn run(args: &Evaluate) -> Result<Report> {
    let block = [7_u8; 1024];
    let hash = nanos(args.requests, |_| {
        black_box(Fast::sha256(&[black_box(&block)]));
    });
    let (mut rows, mut explained) = (Vec::new(), Vec::new());
    for (shape, name, bar) in [
        (Shape::Plain, "no condition", Some(2000.0)),
        (Shape::Condition, "one condition", Some(3000.0)),
        (Shape::OnlyWhen, "rules with only `when`", None),
    ] {
        let mut first = None;
        for rules in [10, 100, 1000, 10_000] {
            let work = workload(rules, 512, shape, SEED).context("the generator's bundle")?;
            let bundle = Bundle::compile::<Fast>(&work.sources)
                .map_err(|errors| anyhow::anyhow!("{}", errors.len()))?;
            let mut scratch = Scratch::default();
            // Every rule is a candidate there: the cost is linear by design, so fewer calls suffice.
            let linear = if shape == Shape::OnlyWhen { rules / 10 } else { 1 };
            let spent = nanos((args.requests / linear).max(5), |at| {
                let (request, caller) = &work.requests[at % work.requests.len()];
                let verdict = bundle.evaluate(request, caller, &mut scratch);
                black_box(combine(&verdict, |_| Velocity::Open));
            });
            if shape == Shape::Condition {
                let asked = nanos((args.requests / rules).max(5), |at| {
                    let (request, caller) = &work.requests[at % work.requests.len()];
                    black_box(bundle.explain(request, caller));
                });
                explained.push(Row::new(format!("explain, {rules} rules"), asked, "ns"));
                let ratio =
                    Row::new(format!("explain beside evaluate, {rules} rules"), asked / spent, "x");
                explained.push(ratio);
                let near = nanos((args.requests / 10).max(5), |at| {
                    let (request, caller) = &work.requests[at % work.requests.len()];
                    black_box(bundle.explain_near(request, caller, &mut scratch));
                });
                explained.push(Row::new(
                    format!("explain what is near, {rules} rules"),
                    near,
                    "ns",
                ));
                let name = format!("explain what is near beside evaluate, {rules} rules");
                explained.push(Row::new(name, near / spent, "x").at_most(3.0));
            }
            let row = Row::new(format!("{name}, {rules} rules"), spent, "ns");
            rows.push(match bar {
                Some(bar) => row.at_most(bar),
                None => row,
            });
            let base = *first.get_or_insert(spent);
            if rules == 10_000 && bar.is_some() {
                let growth = Row::new(format!("{name}, growth 10 to 10,000"), spent / base, "x");
                rows.push(growth.at_most(1.3));
            }
        }
    }
    let mut first = None;
    for count in [10, 100, 1000, 10_000] {
        let work = surfaces(count, 512, SEED).context("the generator's bundle")?;
        let bundle = Bundle::compile::<Fast>(&work.sources)
            .map_err(|errors| anyhow::anyhow!("{}", errors.len()))?;
        let mut scratch = Scratch::default();
        let spent = nanos(args.requests, |at| {
            let (request, caller) = &work.requests[at % work.requests.len()];
            let verdict = bundle.evaluate(request, caller, &mut scratch);
            black_box(combine(&verdict, |_| Velocity::Open));
        });
        rows.push(
            Row::new(format!("with a contract, {count} surfaces"), spent, "ns").at_most(3000.0),
        );
        let base = *first.get_or_insert(spent);
        if count == 10_000 {
            let growth = Row::new("with a contract, growth 10 to 10,000", spent / base, "x");
            rows.push(growth.at_most(1.3));
        }
    }
    rows.extend(explained);
    rows.extend(super::layers::rows(args.requests, args.smoke)?);
    rows.extend(super::exceptions::rows(args.requests, args.smoke)?);
    rows.extend(super::evidence::rows(args.requests, args.smoke)?);
    rows.push(Row::new("compile 10,000 rules with conditions", compile(10_000)?, "s").at_most(2.0));
    rows.push(
        Row::new("canonicalise and digest a 1 KiB request", digest(args.requests)?, "ns")
            .at_most(12_000.0),
    );
    Ok(Report { bench: "evaluate", floor: vec![("SHA-256 over 1 KiB".into(), hash, "ns")], rows })
}

/// Seconds from text to bundle, the least of three: wall time, since it has a thread of its own.
fn compile(rules: usize) -> Result<f64> {
    let work = workload(rules, 1, Shape::Condition, SEED).context("the generator's bundle")?;
    let mut least = f64::INFINITY;
    for _ in 0..3 {
        let start = std::time::Instant::now();
        let bundle = Bundle::compile::<Fast>(&work.sources);
        least = least.min(start.elapsed().as_secs_f64());
        anyhow::ensure!(bundle.is_ok_and(|it| it.rule_count() == rules), "the bundle compiles");
    }
    Ok(least)
}

/// Both digests of a parsed request of 1 KiB.
fn digest(count: usize) -> Result<f64> {
    let body = format!(
        r#"{{"surface":"payments.refund","action":"create","idempotency_key":"bench-1","target":"account/4711","arguments":{{"amount":1250,"currency":"EUR","memo":"{}","lines":[{{"sku":"a-1","qty":2}},{{"sku":"b-2","qty":1}}]}},"context":{{"ticket":"T-1","channel":"chat"}},"risk_tags":["prod","medium"],"labels":{{"team":"support"}},"trace_id":"trace-1"}}"#,
        "x".repeat(700)
    );
    let caller = Caller {
        workspace: WorkspaceName::parse("bench").context("name")?,
        environment: "production".into(),
        actor: ActorId::parse("agent:support").context("actor")?,
        roles: ["support".to_owned()].into(),
        chain: Vec::new(),
    };
    let value = parse(body.as_bytes(), Limits::REQUEST)?;
    let request = Request::read(value, &caller)?;
    Ok(nanos(count, |_| {
        black_box(black_box(&request).digests::<Fast>(&caller));
    }))
}

/// Thread CPU nanoseconds per call: the minimum of fifteen batches.
pub(super) fn nanos(count: usize, mut call: impl FnMut(usize)) -> f64 {
    (0..BATCHES)
        .map(|_| {
            let before = thread_nanos();
            (0..count).for_each(&mut call);
            (thread_nanos() - before) / count as f64
        })
        .fold(f64::INFINITY, f64::min)
}

fn thread_nanos() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    time.tv_sec as f64 * 1e9 + time.tv_nsec as f64
}
