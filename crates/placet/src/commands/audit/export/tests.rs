//! Every form against what it is documented to be.

use super::{Format, Record, append};
use placet_types::Digest;
use placet_types::event::{
    ActorRef, DecisionEvent, Entry, Event, ExceptionOpened, ExceptionOverdue, ExceptionScope,
    KillEvent, KillScope, KillSource, Matched, OutcomeReported, OverrideMode, PayloadErased,
    PermitIssued, Pseudonym, ReportedResult, Waives,
};
use placet_types::ids::{DecisionId, ExceptionId, PermitId, TimeMs, WorkspaceName};
use placet_types::json::Object;
use placet_types::policy::{Effect, Layer, Outcome, Reason};
use std::sync::Arc;

const ORIGIN: &str = "placet/0123456789abcdef/acme";
const DECISION: DecisionId = DecisionId::from_bytes([1; 16]);

fn actor(text: &str) -> ActorRef {
    ActorRef::parse(text).unwrap()
}

fn entry(event: Event) -> Entry {
    Entry {
        time: TimeMs(1_790_000_000_123),
        workspace: WorkspaceName::parse("acme").unwrap(),
        epoch: 1,
        dev: false,
        solo: false,
        name: DECISION.to_string(),
        commitment: Digest([2; 32]),
        payload: Digest([3; 32]),
        event,
    }
}

fn decision(outcome: Outcome, trace: &str) -> Event {
    let permit = PermitIssued {
        id: PermitId::from_bytes([4; 16]),
        audience: actor("agent:support"),
        expires: TimeMs(1_790_000_060_123),
        nonce: None,
        consumed: false,
    };
    let deny = outcome == Outcome::Deny;
    Event::Decision(Arc::new(DecisionEvent {
        decision: DECISION,
        action_commitment: Digest([5; 32]),
        request_commitment: Digest([6; 32]),
        facts_commitment: Digest([7; 32]),
        actor: actor("agent:support"),
        key: None,
        environment: "production".into(),
        surface: "payments.refund".into(),
        action: if deny { "delete".into() } else { "issue".into() },
        topic: None,
        target: Some(Pseudonym([8; 32])),
        trace: Some(trace.into()),
        idempotency: [9; 16],
        subjects: Vec::new(),
        window_ms: 86_400_000,
        previous: None,
        on_behalf_of: Vec::new(),
        policy: Some(Digest([10; 32])),
        language: 1,
        surface_known: true,
        outcome,
        reasons: if deny { vec![Reason::Rule] } else { Vec::new() },
        rules: vec!["bank.small".into(), "bank.tagged".into()],
        matched: vec![Matched {
            rule: "bank.small".into(),
            layer: Layer::Rules,
            effect: if deny { Effect::Deny } else { Effect::Allow },
            error: None,
            window: None,
            advice: false,
        }],
        matched_all: None,
        constraints: Object::new(),
        approval: None,
        retry_after_ms: None,
        permit: (!deny).then_some(permit),
        deadline: TimeMs(1_790_000_002_000),
        would: None,
        exception: None,
        retroactive: None,
        would_outcome: None,
        under: Vec::new(),
        leads_to: Vec::new(),
    }))
}

fn entries() -> Vec<Entry> {
    let person = format!("human:{}", "ab".repeat(32));
    let kill = KillEvent {
        scope: KillScope::Everything,
        mode: OverrideMode::Kill,
        source: KillSource::Api,
        by: Some(actor(&person)),
        not_before: None,
        waiting: 0,
    };
    let reported = OutcomeReported {
        decision: DECISION,
        index: 7,
        by: actor("agent:support"),
        result: ReportedResult::Failed,
        surface: None,
    };
    // The entries it names stay in every export; there is nothing in them that erasing takes away.
    let erased = PayloadErased {
        by: Some(actor(&person)),
        decision: None,
        indices: vec![7, 9],
        policy: None,
        reason: "gdpr.art17".into(),
        early: false,
    };
    let mut waives = Waives::default();
    assert!(waives.add("floor"));
    let opened = ExceptionOpened {
        exception: ExceptionId::from_bytes([11; 16]),
        scope: ExceptionScope {
            surface: "data.export".into(),
            actor: actor("agent:support"),
            action: None,
            environment: None,
            capability: None,
            target: None,
            execution: None,
        },
        waives,
        controls: Vec::new(),
        reason: "incident-7".into(),
        owner: actor(&person),
        by: actor(&person),
        key: None,
        decision: DECISION,
        break_glass: true,
        ends: TimeMs(1_790_000_900_123),
        review_ms: 28_800_000,
        retroactive: None,
        policy: None,
    };
    let overdue = ExceptionOverdue { exception: opened.exception, due: TimeMs(1_790_029_700_123) };
    vec![
        entry(decision(Outcome::Permit, "trace-1")),
        entry(decision(Outcome::Deny, "=HYPERLINK(\"x\"),\n1")),
        entry(Event::OutcomeReported(reported)),
        entry(Event::KillTripped(kill)),
        entry(Event::PayloadErased(erased)),
        entry(Event::ExceptionOpened(Arc::new(opened))),
        entry(Event::ExceptionOverdue(overdue)),
    ]
}

fn golden(format: Format, wanted: &str) {
    let mut out = format.header().as_bytes().to_vec();
    for (entry, index) in entries().iter().zip(7..) {
        append(format, ("acme", ORIGIN, index), &entry.to_bytes(), &mut out).unwrap();
    }
    let text = String::from_utf8(out).unwrap();
    if std::env::var_os("PLACET_GOLDEN").is_some() {
        let name = format!("{format:?}").to_lowercase();
        let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/src/commands/audit/export/golden");
        std::fs::create_dir_all(dir).unwrap();
        std::fs::write(format!("{dir}/{name}.txt"), text).unwrap();
        return;
    }
    assert_eq!(text, wanted, "PLACET_GOLDEN=1 writes the files anew");
    // Each record says where it stands, so that a file can be continued.
    let records = text.lines().skip(usize::from(format == Format::Csv));
    let places: Vec<u64> = records.map(|line| format.held(line).unwrap().index).collect();
    assert_eq!(places, [7, 8, 9, 10, 11, 12, 13]);
}

#[test]
fn jsonl() {
    golden(Format::Jsonl, include_str!("golden/jsonl.txt"));
}

#[test]
fn csv() {
    golden(Format::Csv, include_str!("golden/csv.txt"));
}

#[test]
fn cloudevents() {
    golden(Format::Cloudevents, include_str!("golden/cloudevents.txt"));
}

#[test]
fn ocsf() {
    golden(Format::Ocsf, include_str!("golden/ocsf.txt"));
}

/// The attributes that `CloudEvents` 1.0 and the class of OCSF demand, in every record.
#[test]
fn what_the_schemas_require_is_there() {
    for entry in &entries() {
        let statement = serde_json::from_slice(&entry.to_bytes()).unwrap();
        let record = Record { workspace: "acme", origin: ORIGIN, index: 7, entry, statement };
        let event = super::cloudevents::event(&record);
        for name in ["specversion", "id", "source", "type"] {
            assert!(event[name].as_str().is_some_and(|text| !text.is_empty()), "{name}");
        }
        let event = super::ocsf::event(&record);
        for path in [
            "/activity_id",
            "/actor",
            "/api/operation",
            "/category_uid",
            "/class_uid",
            "/metadata/product",
            "/metadata/version",
            "/severity_id",
            "/src_endpoint/svc_name",
            "/time",
            "/type_uid",
        ] {
            assert!(event.pointer(path).is_some_and(|value| !value.is_null()), "{path}");
        }
        let number = |name: &str| event[name].as_u64().unwrap();
        assert_eq!(number("type_uid"), number("class_uid") * 100 + number("activity_id"));
        assert_eq!(number("category_uid"), number("class_uid") / 1000);
    }
}
