//! The property run: the index against the reference evaluator over generated bundles and
//! requests, with the spread asserted, deliberate mistakes caught, and order proven irrelevant.

use crate::generated::{Generated, document, request, rules};
use crate::support::{Sha2, render, source};
use placet_policy::generate::SplitMix;
use placet_policy::naive::{self, Mutant};
use placet_policy::{Bundle, Code, Scratch, Source};
use placet_types::json::{Object, Value};
use placet_types::policy::{
    ApprovalSpec, Combined, Constraints, Effect, Force, Hit, Layer, Outcome, Velocity, Verdict,
    combine,
};
use std::collections::{BTreeMap, BTreeSet};

/// Whether the window of a limit is full: any answer will do, as long as it is always the same.
fn window(hit: &Hit) -> Velocity {
    let key = format!("{:?}{:?}", hit.rule.id, hit.limit_key);
    let sum =
        key.bytes().fold(7_u64, |sum, byte| sum.wrapping_mul(31).wrapping_add(u64::from(byte)));
    if SplitMix(sum).percent(60) {
        Velocity::Full { retry_after_ms: sum % 9000 }
    } else {
        Velocity::Open
    }
}

/// A mistake in combining, as [`Mutant`] is one in matching.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Slip {
    ThrottleBelowApproval,
    MeetIsMax,
    WindowIgnored,
    ErringAllowGrants,
    FloorGrants,
    AdviceCounts,
    AnyOutcome,
    RefusedIsSilence,
}

const SLIPS: [Slip; 8] = [
    Slip::ThrottleBelowApproval,
    Slip::MeetIsMax,
    Slip::WindowIgnored,
    Slip::ErringAllowGrants,
    Slip::FloorGrants,
    Slip::AdviceCounts,
    Slip::AnyOutcome,
    Slip::RefusedIsSilence,
];

/// What the combination has to come to, told another way: outcome, deciding ids, constraints,
/// approval and wait as text.
fn expected(verdict: &Verdict, slip: Option<Slip>) -> String {
    let told = strictest(verdict, slip);
    let outcome = told.split(' ').next().unwrap();
    let refusing = verdict.hits.iter().filter(|hit| {
        let allowed = hit.rule.outcomes.as_ref();
        !["DENY", "SILENCE"].contains(&outcome)
            && allowed.is_some_and(|all| !all.iter().any(|it| it.as_str() == outcome))
    });
    let refusing: Vec<&str> = refusing.map(|hit| hit.rule.id.as_str()).collect();
    match slip {
        _ if refusing.is_empty() => told,
        Some(Slip::AnyOutcome) => told,
        Some(Slip::RefusedIsSilence) => "SILENCE".to_owned(),
        _ => format!("DENY {}", refusing.join(" ")),
    }
}

fn strictest(verdict: &Verdict, slip: Option<Slip>) -> String {
    let mut applied: Vec<&Hit> = Vec::new();
    for hit in &verdict.hits {
        let open = hit.rule.limit.is_some()
            && slip != Some(Slip::WindowIgnored)
            && window(hit) == Velocity::Open;
        let advice = hit.rule.advice && slip != Some(Slip::AdviceCounts);
        let failed = hit.error.is_some()
            && hit.rule.effect == Effect::Allow
            && slip != Some(Slip::ErringAllowGrants);
        if !open && !advice && !failed && hit.rule.outcomes.is_none() {
            applied.push(hit);
        }
    }
    let granted = applied.iter().any(|hit| {
        let clean = hit.error.is_none() || slip == Some(Slip::ErringAllowGrants);
        let layer = hit.rule.layer == Layer::Rules || slip == Some(Slip::FloorGrants);
        clean && layer && hit.rule.limit.is_none() && hit.rule.effect <= Effect::RequireApproval
    });
    let mut order = vec![
        Effect::Deny,
        Effect::Throttle,
        Effect::RequireApproval,
        Effect::AllowWithConstraints,
        Effect::Allow,
    ];
    if slip == Some(Slip::ThrottleBelowApproval) {
        order.swap(1, 2);
    }
    let strictest =
        order.into_iter().find(|effect| applied.iter().any(|hit| hit.rule.effect == *effect));
    let Some(strictest) = strictest.filter(|effect| granted || *effect == Effect::Deny) else {
        return "SILENCE".to_owned();
    };
    let deciding: BTreeSet<&str> = applied
        .iter()
        .filter(|hit| hit.rule.effect == strictest)
        .map(|hit| hit.rule.id.as_str())
        .collect();
    let deciding = deciding.into_iter().collect::<Vec<_>>().join(" ");
    match strictest {
        Effect::Deny => format!("DENY {deciding}"),
        Effect::Throttle => {
            let waits = applied.iter().filter(|hit| hit.rule.effect == Effect::Throttle).map(
                |hit| match (hit.rule.limit, window(hit)) {
                    (Some(_), Velocity::Full { retry_after_ms }) => retry_after_ms,
                    _ => hit.rule.retry_after_ms.unwrap_or(1000),
                },
            );
            format!("THROTTLE {deciding} {}", waits.max().unwrap_or(0))
        }
        _ => match united(&applied, slip) {
            None => "DENY by conflict".to_owned(),
            Some(constraints) if strictest == Effect::RequireApproval => {
                format!("REQUIRE_APPROVAL {deciding} {constraints} {}", approval(&applied))
            }
            Some(constraints) => format!("PERMIT {deciding} {constraints}"),
        },
    }
}

/// The meet of all constraints, over their JSON; `None` when it is empty.
fn united(applied: &[&Hit], slip: Option<Slip>) -> Option<Value> {
    let mut out: BTreeMap<String, Value> = BTreeMap::new();
    let objects =
        applied.iter().filter_map(|hit| hit.rule.constraints.as_ref()).map(Constraints::to_object);
    for (key, theirs) in objects.flatten() {
        let met = match out.remove(&key) {
            None => theirs,
            Some(ours) => meet(&key, &ours, &theirs, slip)?,
        };
        out.insert(key, met);
    }
    let mut object = Object::new();
    for (key, value) in out {
        object.set(key, value);
    }
    Some(Value::Object(object))
}

fn meet(key: &str, ours: &Value, theirs: &Value, slip: Option<Slip>) -> Option<Value> {
    let set = |value: &Value| -> BTreeSet<String> {
        value.as_array().unwrap().iter().map(|item| item.as_str().unwrap().to_owned()).collect()
    };
    let list = |items: BTreeSet<String>| Value::Array(items.into_iter().map(Value::from).collect());
    Some(match key {
        "read_only" => Value::from(true),
        "redaction" => {
            let rank = |value: &Value| {
                ["none", "secrets", "personal", "full"]
                    .iter()
                    .position(|it| Some(*it) == value.as_str())
            };
            if rank(ours) > rank(theirs) { ours.clone() } else { theirs.clone() }
        }
        "denied_paths" => list(&set(ours) | &set(theirs)),
        "arguments" => {
            let bound = |value: &Value, key: &str| {
                value.get("/n").unwrap().get(key).unwrap().as_i64().unwrap()
            };
            let max = bound(ours, "max").min(bound(theirs, "max"));
            let min = bound(ours, "min").max(bound(theirs, "min"));
            if min > max {
                return None;
            }
            Value::Object(Object::new().with("/n", Object::new().with("max", max).with("min", min)))
        }
        _ if key.starts_with("max_") => {
            let (a, b) = (ours.as_i64().unwrap(), theirs.as_i64().unwrap());
            Value::from(if slip == Some(Slip::MeetIsMax) { a.max(b) } else { a.min(b) })
        }
        _ => list(&set(ours) & &set(theirs)),
    })
}

fn approval(applied: &[&Hit]) -> String {
    let mut roles: BTreeMap<String, u32> = BTreeMap::new();
    let (mut expires, mut within) = (u64::MAX, u64::MAX);
    let (mut steps, mut remind) = (Vec::new(), None);
    for hit in applied.iter().filter(|hit| hit.rule.effect == Effect::RequireApproval) {
        let spec = hit.rule.approval.clone().unwrap_or_default();
        for (role, count) in spec.roles {
            let most = roles.entry(role).or_default();
            *most = count.max(*most);
        }
        expires = expires.min(spec.expires_ms);
        within = within.min(spec.use_within_ms);
        // Rules have neither; rows of `approvals:` are tried elsewhere.
        steps.extend(spec.steps);
        remind = remind.or(spec.remind_ms);
    }
    format!("{roles:?} {expires} {within} {steps:?} {remind:?}")
}

fn told(combined: &Combined) -> String {
    let deciding: Vec<&str> = combined.deciding.iter().map(|rule| rule.id.as_str()).collect();
    let deciding = deciding.join(" ");
    match combined.outcome {
        Outcome::Silence => "SILENCE".to_owned(),
        Outcome::Deny
            if combined.reasons.iter().any(|it| it.as_str() == "constraints_conflict") =>
        {
            "DENY by conflict".to_owned()
        }
        Outcome::Deny => format!("DENY {deciding}"),
        Outcome::Throttle => format!("THROTTLE {deciding} {}", combined.retry_after_ms.unwrap()),
        Outcome::RequireApproval => {
            let ApprovalSpec { roles, expires_ms, use_within_ms, steps, remind_ms } =
                combined.approval.clone().unwrap();
            format!(
                "REQUIRE_APPROVAL {deciding} {} {roles:?} {expires_ms} {use_within_ms} {steps:?} {remind_ms:?}",
                combined.constraints
            )
        }
        Outcome::Permit => format!("PERMIT {deciding} {}", combined.constraints),
    }
}

/// The bundle. A condition that contradicts the schema of a surface that its rule names does not compile:
/// such rules are left out.
pub(crate) fn compiled(generated: &mut Generated) -> Bundle {
    loop {
        let rules = document(generated.lines.iter());
        let mut sources = vec![source("generated.yaml", &rules)];
        sources.extend(surfaces(&generated.surfaces));
        sources.extend(beside(generated));
        let found = match Bundle::compile::<Sha2>(&sources) {
            Ok(bundle) => return bundle,
            Err(found) => found,
        };
        let text = sources.iter().map(|source| source.text.as_str()).collect::<String>();
        let typing = found.iter().all(|it| it.code == Code::ConditionType);
        assert!(typing && !generated.surfaces.is_empty(), "{}\n{text}", render(&found));
        let wrong: BTreeSet<&str> =
            found.iter().filter_map(|it| rules.lines().nth(it.line as usize - 1)).collect();
        generated.lines.retain(|(_, line)| !wrong.contains(line.trim_end_matches('\n')));
    }
}

/// The document of the surfaces, if there is one.
fn surfaces(lines: &[String]) -> Option<Source> {
    let text = format!("version: v1\nsurfaces:\n{}", lines.join(""));
    (!lines.is_empty()).then(|| source("surfaces.yaml", &text))
}

/// The documents of other kinds.
fn beside(generated: &Generated) -> impl Iterator<Item = Source> {
    generated.documents.iter().zip(0..).map(|(text, at)| source(&format!("more-{at}.yaml"), text))
}

#[derive(Default)]
struct Spread {
    requests: u32,
    erring: u32,
    candidates: u64,
    outcomes: BTreeMap<&'static str, u32>,
    keys: BTreeMap<&'static str, u32>,
    constraints: BTreeMap<&'static str, u32>,
    layers: BTreeMap<Layer, u32>,
    causes: BTreeMap<&'static str, u32>,
    mutants: BTreeMap<String, u32>,
}

impl Spread {
    fn add(&mut self, other: Self) {
        self.requests += other.requests;
        self.erring += other.erring;
        self.candidates += other.candidates;
        for (mine, theirs) in [
            (&mut self.outcomes, other.outcomes),
            (&mut self.keys, other.keys),
            (&mut self.constraints, other.constraints),
            (&mut self.causes, other.causes),
        ] {
            for (name, count) in theirs {
                *mine.entry(name).or_default() += count;
            }
        }
        for (name, count) in other.mutants {
            *self.mutants.entry(name).or_default() += count;
        }
    }

    fn count(&mut self, generated: &Generated, verdict: &Verdict, combined: &Combined) {
        self.requests += 1;
        self.erring += u32::from(verdict.hits.iter().any(|hit| hit.error.is_some()));
        self.candidates += verdict.hits.len() as u64;
        *self.outcomes.entry(combined.outcome.as_str()).or_default() += 1;
        for hit in &verdict.hits {
            *self.layers.entry(hit.rule.layer).or_default() += 1;
            if hit.rule.layer == Layer::Contract {
                *self.causes.entry(hit.rule.cause.as_str()).or_default() += 1;
            }
            // Markers stand in no line.
            let Some(info) = generated.info.get(&hit.rule.id) else { continue };
            for key in &info.keys {
                *self.keys.entry(key).or_default() += 1;
            }
            for key in &info.constraints {
                *self.constraints.entry(key).or_default() += 1;
            }
        }
    }

    fn assert(&self) {
        println!(
            "{} requests, {} hits, {} with an erring condition",
            self.requests, self.candidates, self.erring
        );
        println!(
            "outcomes {:?}\nkeys {:?}\nconstraints {:?}\nlayers {:?}\nmutants {:?}",
            self.outcomes, self.keys, self.constraints, self.layers, self.mutants
        );
        assert!(self.requests >= 1_000_000);
        assert!(self.erring * 20 >= self.requests);
        for outcome in Outcome::ALL {
            let count = self.outcomes.get(outcome.as_str()).copied().unwrap_or(0);
            assert!(
                count * 20 >= self.requests,
                "{} of {} are {}",
                count,
                self.requests,
                outcome.as_str()
            );
        }
        for layer in [Layer::Access, Layer::Floor, Layer::Rules, Layer::Models, Layer::Approvals] {
            assert!(self.layers.get(&layer).is_some_and(|count| *count >= 2000), "{layer:?}");
        }
        assert_eq!(self.keys.len(), 19);
        assert!(self.keys.values().all(|count| *count >= 2000));
        println!("causes {:?}", self.causes);
        assert_eq!(self.causes.len(), 6);
        assert!(self.causes.values().all(|count| *count >= 1000));
        assert_eq!(self.constraints.len(), 15);
        assert!(self.constraints.values().all(|count| *count >= 1000));
    }
}

const BUNDLES: u64 = 5000;
const REQUESTS: usize = 210;
/// Bundles of which one is also tried with every mistake.
const MISTAKEN: u64 = 50;

#[test]
fn the_index_agrees_with_the_reference() {
    let spread = std::thread::scope(|scope| {
        let other = scope.spawn(|| agree(1));
        let mut spread = agree(0);
        spread.add(other.join().unwrap());
        spread
    });
    spread.assert();
    for name in
        Mutant::ALL.map(|it| format!("{it:?}")).into_iter().chain(SLIPS.map(|it| format!("{it:?}")))
    {
        assert!(spread.mutants.get(&name).copied().unwrap_or(0) >= 10, "{name} survives");
    }
}

/// The bundles of every other seed.
fn agree(first: u64) -> Spread {
    let mut spread = Spread::default();
    let mut scratch = Scratch::default();
    for seed in (first..BUNDLES).step_by(2) {
        let mut random = SplitMix(seed);
        let mut generated = rules(&mut random);
        let bundle = compiled(&mut generated);
        for number in 0..REQUESTS {
            let (request, caller) = request(&mut random);
            let verdict = bundle.evaluate(&request, &caller, &mut scratch);
            let reference = naive::evaluate(&bundle, &request, &caller, None);
            assert_eq!(verdict, reference, "seed {seed} request {number}");
            let combined = combine(&verdict, window);
            assert_eq!(told(&combined), expected(&verdict, None), "seed {seed} request {number}");
            if number % 16 == 0 {
                let trace = bundle.explain(&request, &caller);
                assert_eq!(trace.verdict(), verdict, "seed {seed} request {number}");
            }
            spread.count(&generated, &verdict, &combined);
            if seed % MISTAKEN < 2 {
                for mutant in Mutant::ALL {
                    if naive::evaluate(&bundle, &request, &caller, Some(mutant)) != verdict {
                        *spread.mutants.entry(format!("{mutant:?}")).or_default() += 1;
                    }
                }
                for slip in SLIPS {
                    if expected(&verdict, Some(slip)) != told(&combined) {
                        *spread.mutants.entry(format!("{slip:?}")).or_default() += 1;
                    }
                }
            }
        }
    }
    spread
}

fn shuffle<T>(random: &mut SplitMix, items: &mut [T]) {
    for at in (1..items.len()).rev() {
        items.swap(at, random.below(at + 1));
    }
}

#[test]
fn no_order_of_rules_or_files_matters() {
    let mut scratch = Scratch::default();
    for seed in 0..60 {
        let mut random = SplitMix(seed + 5000);
        let mut generated = rules(&mut random);
        let bundle = compiled(&mut generated);
        let asked: Vec<_> = (0..10).map(|_| request(&mut random)).collect();
        for _ in 0..10 {
            shuffle(&mut random, &mut generated.lines);
            let files = 1 + random.below(3);
            let mut sources: Vec<Source> = (0..files)
                .map(|file| {
                    let lines = generated
                        .lines
                        .iter()
                        .enumerate()
                        .filter(move |(at, _)| at % files == file)
                        .map(|(_, line)| line);
                    source(&format!("{}-{file}.yaml", random.below(99)), &document(lines))
                })
                .collect();
            sources.extend(beside(&generated));
            shuffle(&mut random, &mut generated.surfaces);
            sources.extend(surfaces(&generated.surfaces));
            shuffle(&mut random, &mut sources);
            let other = Bundle::compile::<Sha2>(&sources).unwrap();
            assert_eq!(other.normalised(), bundle.normalised());
            assert_eq!(other.digest(), bundle.digest());
            for (request, caller) in &asked {
                let verdict = bundle.evaluate(request, caller, &mut scratch);
                assert_eq!(other.evaluate(request, caller, &mut scratch), verdict);
                let (a, b) = (bundle.explain(request, caller), other.explain(request, caller));
                assert_eq!(a.to_value().to_canonical(), b.to_value().to_canonical());
                assert_eq!(a.to_string(), b.to_string());
            }
        }
        let again = Bundle::from_normalised::<Sha2>(bundle.normalised()).unwrap();
        assert_eq!(again.digest(), bundle.digest());
    }
}

#[test]
fn the_bench_generator_agrees_with_the_reference() {
    use placet_policy::generate::{Shape, surfaces, workload};
    let load = surfaces(60, 300, 7).unwrap();
    let bundle = Bundle::compile::<Sha2>(&load.sources).unwrap();
    for (request, caller) in &load.requests {
        let verdict = bundle.evaluate(request, caller, &mut Scratch::default());
        assert_eq!(verdict, naive::evaluate(&bundle, request, caller, None));
        // Evidence dates from a fixed day; nothing else about a request fails its contract.
        let failed = verdict.hits.iter().filter(|hit| hit.rule.layer == Layer::Contract);
        assert!(
            failed.clone().all(|hit| hit.force != Force::Always || hit.rule.outcomes.is_some())
        );
        assert!(failed.count() >= 1);
    }
    for shape in [Shape::Plain, Shape::Condition, Shape::OnlyWhen] {
        let load = workload(120, 200, shape, 7).unwrap();
        let bundle = Bundle::compile::<Sha2>(&load.sources).unwrap();
        let mut scratch = Scratch::default();
        for (request, caller) in &load.requests {
            let verdict = bundle.evaluate(request, caller, &mut scratch);
            assert_eq!(verdict, naive::evaluate(&bundle, request, caller, None));
            assert!(!verdict.hits.is_empty() || shape == Shape::Condition);
        }
    }
}
