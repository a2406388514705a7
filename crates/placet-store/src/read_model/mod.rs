//! Searchable rows of the log in `read.db`, derived and rebuilt at will. Owns what of an entry can
//! be searched and how it is stored; refuses to be the truth about anything.
//!
//! Trace ids, idempotency tags and subjects are stored as 64-bit hashes. A [`query`](SqliteReadModel) may
//! therefore, very rarely, name an entry with another trace or tag; whoever reads the entries
//! checks them again with [`matches`], drops what does not match and continues from the last
//! index named, whether or not it was dropped.

#[cfg(not(test))]
macro_rules! segment_bits {
    () => {
        16
    };
}
/// Short ones in tests, so that searches cross them.
#[cfg(test)]
macro_rules! segment_bits {
    () => {
        3
    };
}
/// The segment of a row of `event`, as the indexes and the searches spell it.
macro_rules! segment {
    () => {
        concat!("id >> ", segment_bits!())
    };
}

mod query;
mod runs;
mod write;

use crate::sqlite::Schema;
use placet_runtime::crypto::Fast;
use placet_runtime::ports::AuditFilter;
use placet_types::Hasher;
use placet_types::event::{ActorRef, Entry, Event, Tag};
use placet_types::ids::DecisionId;
use placet_types::policy::Outcome;
use std::sync::{Arc, RwLock};

/// Counts the files that have stood at the path. Readers hold it as long as they read, so that none
/// opens a file while another takes its place.
#[derive(Clone, Debug, Default)]
pub(crate) struct Models(Arc<RwLock<u64>>);

pub use query::SqliteReadModel;
pub use write::SqliteReadModelWriter;

/// Ids of rows are `workspace << 40 | index`, and so every index below ends with workspace and
/// log index: one range per workspace, in log order, whatever is searched.
///
/// What takes many values in any order (traces, tags, actors, rules) is indexed by segments of the
/// log: inserting touches the pages of the newest segment alone, however long the log is, and a
/// search looks into one segment after another. A trace is looked for in runs of many segments
/// where they are old enough ([`runs`]): `trace_run` has its keys, `gathered` how many runs are
/// whole. `by_outcome` and `by_rare` serve the searches that
/// auditors make most, refusals and acts of administration, and cost nothing for the many rows
/// that are neither.
///
/// `tile` holds the leaf hashes of whole tiles, 32 bytes for each entry of the log; its ids are
/// `workspace << 40 | number`.
const SCHEMA: Schema = Schema {
    application: 0x504c_5231,
    version: 4,
    tables: concat!(
        "CREATE TABLE event(id INTEGER PRIMARY KEY, time_ms INTEGER NOT NULL, \
         kind INTEGER NOT NULL, rare INTEGER, decision INTEGER, decision_low INTEGER, \
         outcome INTEGER, actor INTEGER, surface INTEGER, trace INTEGER, \
         idempotency INTEGER) STRICT; \
         CREATE INDEX by_decision ON event(decision) WHERE decision IS NOT NULL; \
         CREATE INDEX by_trace ON event(",
        segment!(),
        ", trace) WHERE trace IS NOT NULL; \
         CREATE INDEX by_idempotency ON event(",
        segment!(),
        ", idempotency) WHERE idempotency IS NOT NULL; \
         CREATE INDEX by_actor ON event(",
        segment!(),
        ", actor) WHERE actor IS NOT NULL; \
         CREATE INDEX by_surface ON event(surface) WHERE surface IS NOT NULL; \
         CREATE INDEX by_outcome ON event(outcome) WHERE outcome <> 1; \
         CREATE INDEX by_rare ON event(kind) WHERE rare = 1; \
         CREATE TABLE rule_hit(segment INTEGER NOT NULL, rule INTEGER NOT NULL, \
         id INTEGER NOT NULL, PRIMARY KEY (segment, rule, id)) STRICT, WITHOUT ROWID; \
         CREATE TABLE subject_hit(segment INTEGER NOT NULL, subject INTEGER NOT NULL, \
         id INTEGER NOT NULL, PRIMARY KEY (segment, subject, id)) STRICT, WITHOUT ROWID; \
         CREATE TABLE trace_run(run INTEGER NOT NULL, trace INTEGER NOT NULL, \
         id INTEGER NOT NULL, PRIMARY KEY (run, trace, id)) STRICT, WITHOUT ROWID; \
         CREATE TABLE gathered(workspace INTEGER NOT NULL, level INTEGER NOT NULL, \
         runs INTEGER NOT NULL, PRIMARY KEY (workspace, level)) STRICT, WITHOUT ROWID; \
         CREATE TABLE tile(id INTEGER PRIMARY KEY, leaves BLOB NOT NULL) STRICT; \
         CREATE TABLE name(id INTEGER PRIMARY KEY, text TEXT NOT NULL UNIQUE) STRICT; \
         CREATE TABLE written(boot TEXT NOT NULL) STRICT;"
    ),
    writer: "PRAGMA synchronous=OFF; PRAGMA wal_autocheckpoint=8192; PRAGMA cache_size=-65536;",
    page_size: 4096,
};

/// Row ids share a segment when they are equal above these bits.
const SEGMENT_BITS: u32 = segment_bits!();

/// The number of PERMIT in column `outcome`; `by_outcome` leaves it out.
const PERMIT: i64 = 1;

fn outcome_number(outcome: Outcome) -> i64 {
    match outcome {
        Outcome::Silence => 0,
        Outcome::Permit => PERMIT,
        Outcome::RequireApproval => 2,
        Outcome::Throttle => 3,
        Outcome::Deny => 4,
    }
}

/// Whether events of this type are few enough for an index of their own.
fn is_rare(event_type: &str) -> bool {
    !matches!(event_type, "decision" | "outcome.reported") && !event_type.starts_with("permit.")
}

/// High and low half of an id. The high half begins with the time of a UUIDv7, so an index on it
/// grows at its end.
fn halves(id: DecisionId) -> (i64, i64) {
    let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = *id.bytes();
    (i64::from_be_bytes([a, b, c, d, e, f, g, h]), i64::from_be_bytes([i, j, k, l, m, n, o, p]))
}

fn trace_hash(trace: &str) -> i64 {
    let [a, b, c, d, e, f, g, h, ..] = Fast::sha256(&[trace.as_bytes()]);
    i64::from_be_bytes([a, b, c, d, e, f, g, h])
}

fn tag_hash(tag: &Tag) -> i64 {
    let [a, b, c, d, e, f, g, h, ..] = *tag;
    i64::from_be_bytes([a, b, c, d, e, f, g, h])
}

/// Stands among the rules of decisions on which a shadow bundle came to something else: no rule has such an
/// id, and an index of its own would need another form of the file.
const WOULD_DIFFER: &str = "would:differ";

/// What of an entry can be searched.
#[derive(Default)]
struct Facts<'a> {
    decision: Option<DecisionId>,
    outcome: Option<Outcome>,
    actor: Option<&'a ActorRef>,
    surface: Option<&'a str>,
    trace: Option<&'a str>,
    idempotency: Option<Tag>,
    rules: &'a [String],
    would_differ: bool,
    subjects: &'a [Tag],
}

impl<'a> Facts<'a> {
    fn of(event: &'a Event) -> Self {
        let about = |decision| Self { decision: Some(decision), ..Self::default() };
        let by = |actor| Self { actor, ..Self::default() };
        match event {
            Event::Decision(event) => Self {
                decision: Some(event.decision),
                outcome: Some(event.outcome),
                actor: Some(&event.actor),
                surface: Some(&event.surface),
                trace: event.trace.as_deref(),
                idempotency: Some(event.idempotency),
                rules: &event.rules,
                would_differ: event.would.as_ref().is_some_and(|it| it.differing().is_some()),
                subjects: &event.subjects,
            },
            Event::PermitCollected(event) => about(event.decision),
            Event::PermitConsumed(event) => {
                Self { actor: Some(&event.by), ..about(event.decision) }
            }
            Event::PermitExpired(event) | Event::PermitRevoked(event) => about(event.decision),
            Event::OutcomeReported(event) => {
                Self { actor: Some(&event.by), ..about(event.decision) }
            }
            Event::PassageReported(event) => by(Some(&event.by)),
            Event::ApprovalVoted(event) => Self { actor: Some(&event.by), ..about(event.decision) },
            Event::ApprovalClosed(event) => about(event.decision),
            Event::ApprovalReopened(event) => about(event.decision),
            Event::ApprovalEscalated(event) => about(event.decision),
            Event::ApprovalReminded(event) => about(event.decision),
            Event::DelegationGranted(event) => by(Some(&event.by)),
            Event::DelegationEnded(event) => by(event.by.as_ref()),
            Event::ExceptionOpened(event) => {
                Self { actor: Some(&event.by), ..about(event.decision) }
            }
            Event::ExceptionEnded(event) | Event::ExceptionClosed(event) => by(event.by.as_ref()),
            Event::ExceptionReviewed(event) => by(Some(&event.by)),
            Event::KillTripped(event)
            | Event::KillLiftRequested(event)
            | Event::KillLifted(event) => by(event.by.as_ref()),
            Event::ExecutionStarted(event) | Event::ExecutionQueued(event) => {
                Self { actor: Some(&event.by), ..about(event.decision()) }
            }
            Event::ExecutionEnded(event) => by(Some(&event.by)),
            Event::KillDrilled(event) => by(Some(&event.by)),
            Event::OverrideAcknowledged(event) => by(Some(&event.by)),
            Event::KeyCreated(event) => by(Some(&event.by)),
            Event::KeyRevoked(event) => by(Some(&event.by)),
            Event::SessionOpened(event) => by(Some(&event.principal.actor)),
            Event::SessionNarrowed(_) | Event::LogSucceeded(_) => Self::default(),
            Event::SessionClosed(event) => by(Some(&event.by)),
            Event::PayloadErased(event) => by(event.by.as_ref()),
            Event::HoldPlaced(event) => by(Some(&event.by)),
            Event::HoldReleased(event) => by(Some(&event.by)),
            Event::SignerRotated(event) => {
                Self { actor: event.by.as_ref(), decision: event.decision, ..Self::default() }
            }
            Event::BundleShadowed(event) => {
                Self { actor: Some(&event.by), decision: event.decision, ..Self::default() }
            }
            Event::SignerRevoked(event) => {
                Self { actor: Some(&event.by), decision: event.decision, ..Self::default() }
            }
            Event::BundleDrafted(event) => by(Some(&event.by)),
            Event::BundleArmed(event) => {
                Self { actor: event.by.as_ref(), decision: event.decision, ..Self::default() }
            }
            Event::BundleWithdrawn(event) => by(Some(&event.by)),
            Event::ReviewClosed(event) => Self { actor: Some(&event.by), ..about(event.decision) },
            Event::AuthorTrusted(event) | Event::AuthorRevoked(event) => {
                Self { actor: Some(&event.by), decision: event.decision, ..Self::default() }
            }
            Event::EvidenceAdded(event) => by(Some(&event.by)),
            Event::EvidenceRevoked(event) => by(Some(&event.by)),
            Event::ReleaseRegistered(event) => {
                Self { actor: Some(&event.by), ..about(event.decision) }
            }
            Event::AliasChanged(event) => Self { actor: Some(&event.by), ..about(event.decision) },
            Event::IssuerTrusted(event) | Event::IssuerRevoked(event) => {
                Self { actor: Some(&event.by), decision: event.decision, ..Self::default() }
            }
            Event::Genesis(_)
            | Event::ExceptionOverdue(_)
            | Event::ExecutionTerminated(_)
            | Event::Gap(_)
            | Event::AdmissionRefused(_) => Self::default(),
        }
    }
}

/// Whether `entry` is what `filter` asks for; cursor and limit are not looked at. An event has the
/// actor who caused it; surface, trace, rules, outcome, subjects and idempotency tag belong to the
/// event `decision` alone.
#[must_use]
pub fn matches(filter: &AuditFilter, entry: &Entry) -> bool {
    fn holds<T: PartialEq>(wanted: Option<T>, have: Option<T>) -> bool {
        wanted.is_none() || wanted == have
    }
    let facts = Facts::of(&entry.event);
    holds(filter.decision, facts.decision)
        && holds(filter.outcome, facts.outcome)
        && holds(filter.actor.as_deref(), facts.actor.map(ActorRef::as_str))
        && holds(filter.surface.as_deref(), facts.surface)
        && holds(filter.trace.as_deref(), facts.trace)
        && holds(filter.idempotency, facts.idempotency)
        && holds(filter.event_type.as_deref(), Some(entry.event.type_name()))
        && filter.subject.is_none_or(|tag| facts.subjects.contains(&tag))
        && (!filter.would_differ || facts.would_differ)
        && filter.rule.as_ref().is_none_or(|rule| facts.rules.contains(rule))
        && filter.since.is_none_or(|since| entry.time >= since)
        && filter.until.is_none_or(|until| entry.time < until)
}

#[cfg(test)]
mod tests;
