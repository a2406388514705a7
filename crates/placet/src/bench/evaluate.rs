//! Evaluating one request: thread CPU time, least of many batches, from 10 to 10,000 rules of
//! the fixed generator, and of what else must not grow; beside it the time of SHA-256 over 1 KiB.

use super::report::{Report, Row};
use super::timed::{Timed, in_turn, nanos};
use anyhow::{Context, Result};
use clap::Args;
use placet_policy::generate::{Shape, Workload, surfaces, workload};
use placet_policy::{Bundle, Scratch};
use placet_runtime::crypto::Fast;
use placet_types::hash::Hasher;
use placet_types::ids::{ActorId, WorkspaceName};
use placet_types::json::{Limits, parse};
use placet_types::policy::{Velocity, combine};
use placet_types::{Caller, Request};
use std::hint::black_box;
use std::rc::Rc;

const SIZES: [usize; 4] = [10, 100, 1000, 10_000];
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
        let mut timed = Vec::new();
        for rules in SIZES {
            let work = Rc::new(Work::of(workload(rules, 512, shape, SEED))?);
            // Every rule is a candidate there: the cost is linear by design, so fewer calls suffice.
            let linear = if shape == Shape::OnlyWhen { rules / 10 } else { 1 };
            timed.push(work.clone().evaluating(args.requests / linear));
            if shape == Shape::Condition {
                timed.push(work.clone().explaining(args.requests / rules));
                timed.push(work.explaining_near(args.requests / 10));
            }
        }
        let spent = in_turn(&mut timed);
        let each = spent.len() / SIZES.len();
        for (spent, rules) in spent.chunks(each).zip(SIZES) {
            let row = Row::new(format!("{name}, {rules} rules"), spent[0], "ns");
            rows.push(match bar {
                Some(bar) => row.at_most(bar),
                None => row,
            });
            if let [evaluate, explain, near] = spent {
                let mut told = |name: &str, spent: f64, bar: Option<f64>| {
                    explained.push(Row::new(format!("{name}, {rules} rules"), spent, "ns"));
                    let name = format!("{name} beside evaluate, {rules} rules");
                    let ratio = Row::new(name, spent / evaluate, "x");
                    explained.push(match bar {
                        Some(bar) => ratio.at_most(bar),
                        None => ratio,
                    });
                };
                told("explain", *explain, None);
                told("explain what is near", *near, Some(3.0));
            }
        }
        if bar.is_some() {
            rows.push(growth(&format!("{name}, growth 10 to 10,000"), &spent, each));
        }
    }
    let mut timed = Vec::new();
    for count in SIZES {
        timed.push(Rc::new(Work::of(surfaces(count, 512, SEED))?).evaluating(args.requests));
    }
    let spent = in_turn(&mut timed);
    for (spent, count) in spent.iter().zip(SIZES) {
        let name = format!("with a contract, {count} surfaces");
        rows.push(Row::new(name, *spent, "ns").at_most(3000.0));
    }
    rows.push(growth("with a contract, growth 10 to 10,000", &spent, 1));
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

/// How much longer the last takes than the first, of every so many.
fn growth(name: &str, spent: &[f64], each: usize) -> Row {
    let ends = (spent.first(), spent.len().checked_sub(each).and_then(|at| spent.get(at)));
    let growth = if let (Some(first), Some(last)) = ends { last / first } else { f64::NAN };
    Row::new(name, growth, "x").at_most(1.3)
}

/// A bundle and requests to it.
struct Work {
    bundle: Bundle,
    requests: Vec<(Request, Caller)>,
}

impl Work {
    fn of(generated: Option<Workload>) -> Result<Self> {
        let Workload { sources, requests } = generated.context("the generator's bundle")?;
        let compiled = Bundle::compile::<Fast>(&sources);
        let bundle = compiled.map_err(|errors| anyhow::anyhow!("{} findings", errors.len()))?;
        Ok(Self { bundle, requests })
    }

    fn timed(
        self: Rc<Self>,
        count: usize,
        mut call: impl FnMut(&Bundle, &Request, &Caller) + 'static,
    ) -> Timed {
        Timed::new(count.max(5), move |at| {
            let (request, caller) = &self.requests[at % self.requests.len()];
            call(&self.bundle, request, caller);
        })
    }

    fn evaluating(self: Rc<Self>, count: usize) -> Timed {
        let mut scratch = Scratch::default();
        self.timed(count, move |bundle, request, caller| {
            let verdict = bundle.evaluate(request, caller, &mut scratch);
            black_box(combine(&verdict, |_| Velocity::Open));
        })
    }

    fn explaining(self: Rc<Self>, count: usize) -> Timed {
        self.timed(count, |bundle, request, caller| {
            black_box(bundle.explain(request, caller));
        })
    }

    fn explaining_near(self: Rc<Self>, count: usize) -> Timed {
        let mut scratch = Scratch::default();
        self.timed(count, move |bundle, request, caller| {
            black_box(bundle.explain_near(request, caller, &mut scratch));
        })
    }
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
