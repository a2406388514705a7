//! The fixed generator of the benches: rules and requests, the same for the same seed. Owns the mix
//! that the published figures are measured on: 40 % wildcard topics, 20 % tags only, 10 % below one
//! prefix, 30 % near misses that share all keys of a request but one.

use crate::Source;
use placet_types::ids::{ActorId, WorkspaceName};
use placet_types::json::{Object, Value};
use placet_types::{Caller, Request};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

/// Pseudo-random numbers (splitmix64): small, and the same everywhere.
#[derive(Clone, Debug)]
pub struct SplitMix(pub u64);

impl SplitMix {
    /// The next 64 bits.
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`; 0 when that is 0.
    pub fn below(&mut self, bound: usize) -> usize {
        let bound = u64::try_from(bound).unwrap_or(u64::MAX).max(1);
        usize::try_from(self.next_u64() % bound).unwrap_or(0)
    }

    /// True so many times in a hundred.
    pub fn percent(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    /// One of `items`; `None` when there are none.
    pub fn pick<'a, T>(&mut self, items: &'a [T]) -> Option<&'a T> {
        items.get(self.below(items.len()))
    }
}

/// Which rules carry conditions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// None.
    Plain,
    /// Those found by topic, so that each request evaluates exactly one.
    Condition,
    /// All, and they have no other key: every rule is a candidate for every request.
    OnlyWhen,
}

/// Rules and requests that match some of them.
#[derive(Clone, Debug)]
pub struct Workload {
    /// One document.
    pub sources: Vec<Source>,
    /// Requests with their callers.
    pub requests: Vec<(Request, Caller)>,
}

/// Generates `rules` rules and `requests` requests. Each request is found by one topic rule and, in
/// three cases of four, by one tag rule, however many rules there are. `None` never happens: names
/// are fixed and legal.
#[must_use]
pub fn workload(rules: usize, requests: usize, shape: Shape, seed: u64) -> Option<Workload> {
    let mut text = String::from("version: v1\nrules:\n");
    let mut topics = Vec::new();
    let mut tags = Vec::new();
    for number in 0..rules {
        rule(number, shape, &mut text, &mut topics, &mut tags);
    }
    let mut random = SplitMix(seed);
    let requests = (0..requests).map(|number| request(number, &topics, &tags, &mut random));
    Some(Workload {
        requests: requests.collect::<Option<_>>()?,
        sources: vec![Source { name: "generated.yaml".to_owned(), text }],
    })
}

/// Most surfaces of one generated document.
const SURFACES_A_FILE: usize = 4000;

/// A hundred rules, `count` surfaces with contracts, and requests that meet them. `None` never happens.
#[must_use]
pub fn surfaces(count: usize, requests: usize, seed: u64) -> Option<Workload> {
    let mut work = workload(100, requests, Shape::Plain, seed)?;
    let numbers: Vec<usize> = (0..count).collect();
    for (at, chunk) in numbers.chunks(SURFACES_A_FILE).enumerate() {
        let mut text = String::from("version: v1\nsurfaces:\n");
        for number in chunk {
            let evidence = match number % 4 {
                0 => ", evidence: [{ type: review, max_age: 4h, issuers: [\"service:ci\"] }]",
                _ => "",
            };
            let _ = writeln!(
                text,
                "  bench.part-{number}: {{ required: [target, topic], arguments: {{ type: object, required: [amount], properties: {{ amount: {{ type: integer, minimum: 0, maximum: {} }}, country: {{ type: string, minLength: 2, maxLength: 2 }} }}, additionalProperties: false }}, outcomes: [PERMIT, REQUIRE_APPROVAL, THROTTLE]{evidence} }}",
                4000 + number
            );
        }
        work.sources.push(Source { name: format!("surfaces-{at}.yaml"), text });
    }
    let mut random = SplitMix(seed);
    let piece = Object::new()
        .with("type", "review")
        .with("digest", format!("sha256:{}", "0".repeat(64)))
        .with("issuer", "service:ci")
        .with("issued", "2026-11-20T12:00:00Z");
    for (request, _) in &mut work.requests {
        let number = random.below(count);
        request.surface = format!("bench.part-{number}");
        if number.is_multiple_of(4) {
            request.evidence = vec![Value::Object(piece.clone())];
        }
    }
    Some(work)
}

fn rule(
    number: usize,
    shape: Shape,
    text: &mut String,
    topics: &mut Vec<String>,
    tags: &mut Vec<String>,
) {
    let mut keys = String::new();
    let by_topic = matches!(number % 10, 0..=3 | 6);
    match number % 10 {
        0 | 1 => {
            keys = format!("topics: [\"job.agent-{number}.write.*\"], risk_tags: [\"prod\"]");
            topics.push(format!("job.agent-{number}.write.ticket"));
        }
        2 => {
            keys = format!("topics: [\"job.tool-{number}.**\"], environments: [\"production\"]");
            topics.push(format!("job.tool-{number}.exec.deep.run"));
        }
        3 => {
            keys = format!("topics: [\"*.queue-{number}.*.run\"], surfaces: [\"job\"]");
            topics.push(format!("batch.queue-{number}.night.run"));
        }
        4 | 5 => {
            keys = format!("risk_tags: [\"tag-{number}\"]");
            tags.push(format!("tag-{number}"));
        }
        6 => {
            keys = format!("topics: [\"org.unit.division.shared.part-{number}.*\"]");
            topics.push(format!("org.unit.division.shared.part-{number}.step"));
        }
        // All keys of every request, except the last one.
        near => {
            keys.push_str("surfaces: [\"job\"], actions: [\"dispatch\"], actor_kinds: [\"agent\"], environments: [\"production\"], risk_tags: [\"prod\"], ");
            let _ = match near {
                7 => write!(keys, "teams: [\"team-{number}\"]"),
                8 => write!(keys, "labels: {{ project: [\"project-{number}\"] }}"),
                _ => write!(keys, "actors: [\"agent:worker-{number}/*\"]"),
            };
        }
    }
    match shape {
        Shape::Plain => {}
        Shape::Condition if by_topic => {
            let _ = write!(
                keys,
                ", when: 'request.arguments.amount > {} && \"prod\" in request.risk_tags'",
                number % 10 * 100 + number / 10 % 100
            );
        }
        Shape::Condition => {}
        Shape::OnlyWhen => keys = format!("when: \"request.arguments.amount > {number}\""),
    }
    let effect = match number % 7 {
        0 => "require_approval",
        1 => "allow_with_constraints, constraints: { max_runtime_sec: 45, max_retries: 1 }",
        2 => "throttle, retry_after: 5s",
        3 => "deny",
        _ => "allow",
    };
    let _ = writeln!(text, "  - {{ id: rule-{number}, match: {{ {keys} }}, decision: {effect} }}");
}

fn request(
    number: usize,
    topics: &[String],
    tags: &[String],
    random: &mut SplitMix,
) -> Option<(Request, Caller)> {
    let mut risk_tags = BTreeSet::from(["prod".to_owned()]);
    if random.percent(75) {
        risk_tags.extend(random.pick(tags).cloned());
    }
    let amount = i64::try_from(random.below(4000)).unwrap_or(0);
    let labels = [("project", "apollo"), ("mcp.action", "write")];
    let arguments = Object::new().with("amount", amount).with("country", "DE");
    let request = Request {
        surface: "job".to_owned(),
        action: "dispatch".to_owned(),
        idempotency_key: format!("key-{number}"),
        topic: random.pick(topics).cloned(),
        target: Some("/srv/data/tickets/42".to_owned()),
        arguments: Some(Value::Object(arguments)),
        context: None,
        risk_tags,
        labels: labels.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
        capability: Some("triage".to_owned()),
        branch: None,
        team: Some("support".to_owned()),
        execution: None,
        step: None,
        parent_decision: None,
        trace_id: None,
        model: None,
        estimate: BTreeMap::new(),
        change: None,
        evidence: Vec::new(),
        found: placet_types::evidence::Found::default(),
        on_behalf_of: Vec::new(),
        audience: None,
        attempt_nonce: None,
        subjects: BTreeSet::new(),
        retroactive: false,
    };
    let caller = Caller {
        workspace: WorkspaceName::parse("default")?,
        environment: "production".to_owned(),
        actor: ActorId::parse("agent:worker/one")?,
        roles: BTreeSet::from(["agent".to_owned(), "support".to_owned()]),
        chain: Vec::new(),
    };
    Some((request, caller))
}
