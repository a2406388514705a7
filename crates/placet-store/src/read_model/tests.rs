//! The read model against a filter written down a second time, over random entries of several
//! workspaces and every combination of conditions.

use super::*;
use crate::{Create, DataDir, MasterKey};
use placet_runtime::ports::{Indexed, Journal, ReadModel, ReadModelWriter, WorkspaceNo};
use placet_types::Digest;
use placet_types::event::{
    BundleArmed, DecisionEvent, Differing, KillEvent, KillScope, KillSource, OutcomeReported,
    OverrideMode, ReportedResult, Would,
};
use placet_types::ids::{TimeMs, WorkspaceName};
use placet_types::json::Object;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};

const RULES: [&str; 4] = ["allow-small", "deny-large", "hold", "agent:a"];
const ACTORS: [&str; 3] = ["agent:a", "agent:b", "service:c"];

fn decision_id(n: u8) -> DecisionId {
    // The same high half for neighbours, so that the low half must be compared, too.
    let mut bytes = [1; 16];
    bytes[7] = n / 4;
    bytes[15] = n % 4;
    DecisionId::from_bytes(bytes)
}

fn decision() -> impl Strategy<Value = Event> {
    (
        0..16_u8,
        select(&ACTORS[..]),
        select(&["a.b", "c.d"][..]),
        proptest::option::of(select(&["t1", "t2"][..])),
        0..3_u8,
        select(&Outcome::ALL[..]),
        subsequence(&RULES[..], 0..3),
    )
        .prop_map(|(id, actor, surface, trace, tag, outcome, rules)| {
            Event::Decision(std::sync::Arc::new(DecisionEvent {
                decision: decision_id(id),
                action_commitment: Digest([1; 32]),
                request_commitment: Digest([2; 32]),
                facts_commitment: Digest([3; 32]),
                actor: ActorRef::parse(actor).unwrap(),
                key: None,
                environment: "production".into(),
                surface: surface.into(),
                action: "create".into(),
                topic: None,
                target: None,
                subjects: (0..tag).map(|at| [at; 16]).collect(),
                trace: trace.map(Into::into),
                idempotency: [tag; 16],
                window_ms: 1,
                previous: None,
                on_behalf_of: Vec::new(),
                policy: None,
                language: 1,
                surface_known: true,
                outcome,
                reasons: Vec::new(),
                rules: rules.into_iter().map(Into::into).collect(),
                matched: Vec::new(),
                matched_all: None,
                constraints: Object::new(),
                approval: None,
                retry_after_ms: None,
                permit: None,
                deadline: TimeMs(0),
                // On half of the decisions a shadow says something, on some of those something else.
                exception: None,
                retroactive: None,
                would_outcome: None,
                would: match (id % 2, tag) {
                    (0, 0) => Some(Would::Skipped),
                    (0, _) => Some(Would::Differ(Differing {
                        policy: Digest([4; 32]),
                        outcome: Outcome::Deny,
                        aspects: Vec::new(),
                        rules: Vec::new(),
                    })),
                    _ => None,
                },
                under: Vec::new(),
                leads_to: Vec::new(),
            }))
        })
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        6 => decision(),
        2 => (0..16_u8, select(&ACTORS[..])).prop_map(|(id, by)| {
            Event::OutcomeReported(OutcomeReported {
                decision: decision_id(id),
                by: ActorRef::parse(by).unwrap(),
                index: 0,
                result: ReportedResult::Failed,
                surface: None,
            })
        }),
        1 => proptest::option::of(select(&ACTORS[..])).prop_map(|by| {
            Event::KillTripped(KillEvent {
                scope: KillScope::Workspace,
                mode: OverrideMode::Kill,
                source: KillSource::Api,
                by: by.map(|by| ActorRef::parse(by).unwrap()),
                not_before: None,
            waiting: 0,
            })
        }),
        1 => Just(Event::BundleArmed(BundleArmed::seed(Digest([4; 32]), 1))),
    ]
}

fn filter() -> impl Strategy<Value = AuditFilter> {
    let maybe = |names: &'static [&'static str]| {
        proptest::option::weighted(0.25, select(names).prop_map(String::from))
    };
    let types = ["decision", "outcome.reported", "kill.tripped", "bundle.armed", "gap", "nonsense"];
    let types = proptest::option::weighted(0.25, select(types.to_vec()).prop_map(String::from));
    let time = || proptest::option::weighted(0.2, (0..60_u64).prop_map(TimeMs));
    (
        (
            proptest::option::weighted(0.2, (0..16_u8).prop_map(decision_id)),
            maybe(&["t1", "t2", "t3"]),
            maybe(&["agent:a", "agent:b", "human:x"]),
            maybe(&["allow-small", "deny-large", "agent:a", "nobody"]),
            maybe(&["a.b", "c.d", "e.f"]),
            proptest::option::weighted(0.25, select(&Outcome::ALL[..])),
        ),
        types,
        (time(), time()),
        (
            proptest::option::weighted(0.2, (0..4_u8).prop_map(|tag| [tag; 16])),
            proptest::option::weighted(0.2, (0..4_u8).prop_map(|tag| [tag; 16])),
            proptest::bool::weighted(0.3),
        ),
        proptest::option::weighted(0.3, 0..70_u64),
        any::<bool>(),
        select(&[0_usize, 1, 3, 1000][..]),
    )
        .prop_map(
            |(
                names,
                event_type,
                (since, until),
                (idempotency, subject, would_differ),
                cursor,
                ascending,
                limit,
            )| {
                let (decision, trace, actor, rule, surface, outcome) = names;
                AuditFilter {
                    decision,
                    trace,
                    actor,
                    rule,
                    surface,
                    outcome,
                    would_differ,
                    event_type,
                    since,
                    until,
                    idempotency,
                    subject,
                    cursor,
                    ascending,
                    limit,
                }
            },
        )
}

/// The meaning of a filter, written independently of the code under test.
fn naive(filter: &AuditFilter, entry: &Entry) -> bool {
    let (mut about, mut by, mut of) = (None, None, None);
    match &entry.event {
        Event::Decision(event) => {
            (about, by, of) = (Some(event.decision), Some(&event.actor), Some(event));
        }
        Event::OutcomeReported(event) => (about, by) = (Some(event.decision), Some(&event.by)),
        Event::KillTripped(event) => by = event.by.as_ref(),
        _ => {}
    }
    let decision = |holds: &dyn Fn(&DecisionEvent) -> bool| of.is_some_and(|event| holds(event));
    filter.decision.is_none_or(|id| about == Some(id))
        && filter.actor.as_ref().is_none_or(|actor| by.is_some_and(|by| by.as_str() == actor))
        && filter.trace.as_ref().is_none_or(|trace| decision(&|e| e.trace.as_ref() == Some(trace)))
        && filter.rule.as_ref().is_none_or(|rule| decision(&|e| e.rules.contains(rule)))
        && filter.surface.as_ref().is_none_or(|surface| decision(&|e| e.surface == *surface))
        && filter.outcome.is_none_or(|outcome| decision(&|e| e.outcome == outcome))
        && filter.idempotency.is_none_or(|tag| decision(&|e| e.idempotency == tag))
        && filter.subject.is_none_or(|tag| decision(&|e| e.subjects.contains(&tag)))
        && (!filter.would_differ || decision(&|e| matches!(e.would, Some(Would::Differ(_)))))
        && filter.event_type.as_ref().is_none_or(|kind| entry.event.type_name() == kind)
        && filter.since.is_none_or(|since| entry.time.0 >= since.0)
        && filter.until.is_none_or(|until| entry.time.0 < until.0)
}

fn expected(filter: &AuditFilter, log: &[Entry]) -> Vec<u64> {
    let mut all: Vec<u64> = (0..)
        .zip(log)
        .filter(|(index, entry)| {
            naive(filter, entry)
                && filter.cursor.is_none_or(|cursor| (*index < cursor) != filter.ascending)
        })
        .map(|(index, _)| index)
        .collect();
    if !filter.ascending {
        all.reverse();
    }
    all.truncate(filter.limit);
    all
}

struct Store {
    _temp: tempfile::TempDir,
    path: std::path::PathBuf,
    dir: DataDir,
    logs: [WorkspaceNo; 2],
}

/// A store whose logs are as long as the journal is told they are.
fn store() -> Store {
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("data");
    let key = MasterKey::parse(&"11".repeat(32), "test").unwrap();
    let dir = DataDir::open_with_key(&path, Create::Yes, Some(key)).unwrap();
    let mut journal = dir.journal().unwrap();
    let logs = ["bank", "shop"].map(|name| {
        let no = journal.create_workspace(&WorkspaceName::parse(name).unwrap()).unwrap();
        let (frames, tree_state) = (vec![1], vec![]);
        let batch = placet_runtime::ports::Batch {
            workspace: no,
            first_index: 0,
            count: 1000,
            epoch: 1,
            frames,
            tree_state,
        };
        journal.append(&[batch]).unwrap();
        no
    });
    Store { _temp: temp, path, dir, logs }
}

fn entry(time: u64, event: Event) -> Entry {
    Entry {
        time: TimeMs(time),
        workspace: WorkspaceName::parse("bank").unwrap(),
        epoch: 1,
        dev: false,
        solo: false,
        name: "x".into(),
        commitment: Digest([5; 32]),
        payload: Digest([6; 32]),
        event,
    }
}

fn logs() -> impl Strategy<Value = [Vec<Entry>; 2]> {
    let log = || {
        proptest::collection::vec((0..3_u64, event()), 0..60).prop_map(|steps| {
            let mut now = 0;
            let mut next = |(step, event)| {
                now += step;
                entry(now, event)
            };
            steps.into_iter().map(&mut next).collect::<Vec<_>>()
        })
    };
    [log(), log()]
}

fn indexed(workspace: WorkspaceNo, log: &[Entry], from: usize) -> Vec<Indexed<'_>> {
    let with_index = (0..).zip(log).skip(from);
    with_index.map(|(index, entry)| Indexed { workspace, index, entry }).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn queries_agree_with_a_naive_filter(
        logs in logs(),
        cut in 0..60_usize,
        filters in proptest::collection::vec(filter(), 60),
    ) {
        let store = store();
        let mut writer = store.dir.read_model_writer().unwrap();
        for (no, log) in store.logs.into_iter().zip(&logs) {
            // In two parts that overlap: repeating is harmless.
            let cut = cut.min(log.len());
            writer.index(&indexed(no, &log[..cut], 0)).unwrap();
            writer.index(&indexed(no, log, cut.saturating_sub(5))).unwrap();
            prop_assert_eq!(writer.position(no).unwrap(), log.len() as u64);
        }
        let model = store.dir.read_model().unwrap();
        for (no, log) in store.logs.into_iter().zip(&logs) {
            prop_assert_eq!(model.position(no).unwrap(), log.len() as u64);
            for filter in &filters {
                prop_assert_eq!(model.query(no, filter).unwrap(), expected(filter, log), "{:?}", filter);
                for entry in log {
                    prop_assert_eq!(matches(filter, entry), naive(filter, entry));
                }
            }
            for id in (0..16).map(decision_id) {
                let at = (0..).zip(log).find(|(_, entry)| {
                    matches!(&entry.event, Event::Decision(event) if event.decision == id)
                });
                prop_assert_eq!(model.locate(no, id).unwrap(), at.map(|(index, _)| index));
            }
        }
    }
}

fn armed(count: u64) -> Vec<Entry> {
    let event = || Event::BundleArmed(BundleArmed::seed(Digest([4; 32]), 1));
    (0..count).map(|time| entry(time, event())).collect()
}

#[test]
fn holes_are_refused_and_change_nothing() {
    let store = store();
    let [bank, _] = store.logs;
    let mut writer = store.dir.read_model_writer().unwrap();
    assert!(writer.index(&indexed(bank, &armed(9), 4)).is_err());
    assert_eq!(writer.position(bank).unwrap(), 0);
    writer.index(&indexed(bank, &armed(4), 0)).unwrap();
    let log = armed(9);
    let mut hole = indexed(bank, &log, 4);
    hole.remove(2);
    assert!(writer.index(&hole).is_err());
    assert_eq!(store.dir.read_model().unwrap().position(bank).unwrap(), 4);
    writer.index(&indexed(bank, &armed(9), 4)).unwrap();
    assert_eq!(writer.position(bank).unwrap(), 9);
}

#[test]
fn it_is_kept_when_good_and_made_anew_otherwise() {
    let store = store();
    let [bank, shop] = store.logs;
    let read = store.path.join("read.db");
    let fill = || {
        let mut writer = store.dir.read_model_writer().unwrap();
        if writer.position(bank).unwrap() == 0 {
            writer.index(&indexed(bank, &armed(9), 0)).unwrap();
        }
    };
    let position = || store.dir.read_model_writer().unwrap().position(bank).unwrap();
    assert!(store.dir.read_model().is_err(), "there is none yet");
    fill();
    assert_eq!(position(), 9);

    let alter = |sql: &str| {
        rusqlite::Connection::open(&read).unwrap().execute_batch(sql).unwrap();
    };
    // Not closed before the machine went down.
    alter("UPDATE written SET boot = 'another boot'");
    assert_eq!(position(), 0);
    fill();
    // Of another version, the next or the one before.
    for version in [SCHEMA.version + 1, SCHEMA.version - 1] {
        alter(&format!("PRAGMA user_version={version}"));
        assert_eq!(position(), 0);
        fill();
    }
    // Ahead of the log.
    alter("INSERT INTO event(id, time_ms, kind) VALUES ((1 << 40) + 1000, 1, 1)");
    assert_eq!((shop, position()), (WorkspaceNo(1), 0));
    fill();
    // No database at all.
    std::fs::write(&read, b"this is no database, although it is long enough").unwrap();
    assert_eq!(position(), 0);
    fill();
    assert_eq!(store.dir.read_model().unwrap().position(bank).unwrap(), 9);
}

#[test]
fn clearing_leaves_readers_usable() {
    let store = store();
    let [bank, _] = store.logs;
    let mut writer = store.dir.read_model_writer().unwrap();
    let model = store.dir.read_model().unwrap();
    let all = AuditFilter { limit: 100, ..AuditFilter::default() };
    writer.index(&indexed(bank, &armed(9), 0)).unwrap();
    assert_eq!(model.query(bank, &all).unwrap().len(), 9);
    writer.clear().unwrap();
    assert_eq!(model.query(bank, &all).unwrap(), []);
    assert_eq!(writer.position(bank).unwrap(), 0);
    writer.index(&indexed(bank, &armed(3), 0)).unwrap();
    assert_eq!(model.query(bank, &all).unwrap(), [2, 1, 0]);
}

#[test]
fn damage_met_while_indexing_empties_it() {
    let store = store();
    let [bank, _] = store.logs;
    let read = store.path.join("read.db");
    drop(store.dir.read_model_writer().unwrap());
    // The root page of the table of events: everything but the header page is overwritten.
    let mut bytes = std::fs::read(&read).unwrap();
    bytes[4096..].fill(0xee);
    std::fs::write(&read, bytes).unwrap();
    let mut writer = store.dir.read_model_writer().unwrap();
    let _ = writer.index(&indexed(bank, &armed(9), 0));
    writer.index(&indexed(bank, &armed(9), 0)).unwrap();
    assert_eq!(store.dir.read_model().unwrap().position(bank).unwrap(), 9);
}

#[test]
fn readers_see_the_old_one_until_the_new_one_takes_its_place() {
    let store = store();
    let [bank, _] = store.logs;
    let mut writer = store.dir.read_model_writer().unwrap();
    let model = store.dir.read_model().unwrap();
    let all = AuditFilter { limit: 100, ..AuditFilter::default() };
    let seen = || model.query(bank, &all).unwrap().len();
    writer.index(&indexed(bank, &armed(9), 0)).unwrap();
    for round in 0..3 {
        writer.begin_anew().unwrap();
        assert_eq!((writer.position(bank).unwrap(), seen()), (0, 9));
        writer.index(&indexed(bank, &armed(5), 0)).unwrap();
        // Begun again, it begins at the beginning.
        writer.begin_anew().unwrap();
        assert_eq!((writer.position(bank).unwrap(), seen()), (0, 9));
        writer.index(&indexed(bank, &armed(9), 0)).unwrap();
        writer.finish_anew().unwrap();
        assert_eq!((writer.position(bank).unwrap(), seen()), (9, 9), "round {round}");
        writer.index(&indexed(bank, &armed(11), 0)[9..]).unwrap();
        assert_eq!((writer.position(bank).unwrap(), seen()), (11, 11));
        writer.clear().unwrap();
        writer.index(&indexed(bank, &armed(9), 0)).unwrap();
        assert!(writer.finish_anew().is_err());
    }
    writer.begin_anew().unwrap();
    writer.index(&indexed(bank, &armed(2), 0)).unwrap();
    writer.abandon_anew();
    assert_eq!((writer.position(bank).unwrap(), seen()), (9, 9));
    writer.begin_anew().unwrap();
    drop(writer);
    assert_eq!(store.dir.read_model_writer().unwrap().position(bank).unwrap(), 9, "kept as it was");
    assert!(!store.path.join("read.new.db").exists());
}

/// The traces of a log, each entry with one of so many.
fn traced(entries: u64, traces: u64) -> Vec<Entry> {
    use proptest::strategy::ValueTree;
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let some = decision().new_tree(&mut runner).unwrap().current();
    let Event::Decision(some) = some else { unreachable!() };
    let with = |at: u64| {
        let mut event = (*some).clone();
        event.trace = Some(format!("t{}", at % traces));
        entry(at, Event::Decision(std::sync::Arc::new(event)))
    };
    (0..entries).map(with).collect()
}

#[test]
fn old_traces_are_gathered_into_runs_and_found_there() {
    for traces in [1, 3, 200] {
        let store = store();
        let [bank, shop] = store.logs;
        let log = traced(200, traces);
        let mut writer = store.dir.read_model_writer().unwrap();
        // A few at a time, in two logs at once, and with a new start now and then.
        for (round, from) in (0..200).step_by(5).enumerate() {
            for no in [bank, shop] {
                writer.index(&indexed(no, &log[..from + 5], from)).unwrap();
            }
            if round % 7 == 6 {
                drop(writer);
                writer = store.dir.read_model_writer().unwrap();
            }
        }
        // What was gathered last may be behind by a few calls.
        for _ in 0..400 {
            writer.index(&[]).unwrap();
        }
        let read = rusqlite::Connection::open(store.path.join("read.db")).unwrap();
        for no in [bank, shop] {
            let counts = runs::counts(&read, no).unwrap();
            assert_eq!(counts, [12, 6], "runs of 16 and 32 entries among 200");
        }
        let model = store.dir.read_model().unwrap();
        let filters = |trace: u64, ascending, cursor, limit| AuditFilter {
            trace: Some(format!("t{trace}")),
            ascending,
            cursor,
            limit,
            ..AuditFilter::default()
        };
        for trace in 0..traces.min(5) {
            for ascending in [false, true] {
                for (cursor, limit) in [(None, 1000), (Some(77), 1000), (Some(161), 4)] {
                    let filter = filters(trace, ascending, cursor, limit);
                    assert_eq!(
                        model.query(bank, &filter).unwrap(),
                        expected(&filter, &log),
                        "{filter:?}"
                    );
                }
            }
        }
        // A run answers for its segments: without its rows they are not found.
        let key = runs::key(2, first_segment(bank));
        assert_eq!(read.execute("DELETE FROM trace_run WHERE run = ?1", [key]).unwrap(), 32);
        let all = filters(0, true, None, 1000);
        let behind: Vec<u64> = expected(&all, &log).into_iter().filter(|at| *at >= 32).collect();
        assert_eq!(model.query(bank, &all).unwrap(), behind);
        assert_eq!(model.query(shop, &all).unwrap(), expected(&all, &log));
    }
}

fn first_segment(no: WorkspaceNo) -> i64 {
    crate::sqlite::row_range(no).0 >> SEGMENT_BITS
}
