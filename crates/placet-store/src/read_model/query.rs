//! Searching the read model: the most selective condition picks the index, the others are checked
//! on the rows, and row ids give order, workspace, cursor and time.

use super::runs::{self, Counts};
use super::{
    Models, PERMIT, SCHEMA, SEGMENT_BITS, WOULD_DIFFER, halves, is_rare, outcome_number, tag_hash,
    trace_hash,
};
use crate::error::OpenError;
use crate::sqlite::{Pool, index_of, row_id, row_range};
use placet_runtime::ports::{AuditFilter, PortError, ReadModel, WorkspaceNo};
use placet_types::ids::{DecisionId, TimeMs};
use rusqlite::{Connection, OptionalExtension, params_from_iter};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

/// The reading end of the read model.
pub struct SqliteReadModel {
    path: PathBuf,
    models: Models,
    /// Connections to the file that was there as the count was this.
    pool: Mutex<(u64, Arc<Pool>)>,
}

impl std::fmt::Debug for SqliteReadModel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SqliteReadModel")
    }
}

impl SqliteReadModel {
    pub(crate) fn open(path: PathBuf, models: Models) -> Result<Self, OpenError> {
        let generation = models.0.read().unwrap_or_else(PoisonError::into_inner);
        let pool = Arc::new(Pool::open(path.clone(), &SCHEMA)?);
        let pool = Mutex::new((*generation, pool));
        drop(generation);
        Ok(Self { path, models, pool })
    }

    /// Reads what stands at the path now.
    fn with<T>(
        &self,
        read: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, PortError> {
        // Held to the end: a file is not exchanged under whoever reads it.
        let generation = self.models.0.read().unwrap_or_else(PoisonError::into_inner);
        let pool = {
            let mut pool = self.pool.lock().unwrap_or_else(PoisonError::into_inner);
            if pool.0 != *generation {
                let fresh = Pool::open(self.path.clone(), &SCHEMA).map_err(PortError::new)?;
                *pool = (*generation, Arc::new(fresh));
            }
            pool.1.clone()
        };
        pool.with(read)
    }
}

impl ReadModel for SqliteReadModel {
    fn position(&self, workspace: WorkspaceNo) -> Result<u64, PortError> {
        self.with(|conn| super::write::position(conn, workspace))
    }

    fn locate(&self, workspace: WorkspaceNo, id: DecisionId) -> Result<Option<u64>, PortError> {
        let (high, low) = halves(id);
        let (first, end) = row_range(workspace);
        self.with(|conn| {
            let row: Option<i64> = conn
                .prepare_cached(
                    "SELECT id FROM event INDEXED BY by_decision WHERE decision = ?1 \
                     AND decision_low = ?2 AND id >= ?3 AND id < ?4 AND outcome IS NOT NULL \
                     ORDER BY id LIMIT 1",
                )?
                .query_row([high, low, first, end], |row| row.get(0))
                .optional()?;
            Ok(row.map(index_of))
        })
    }

    fn tile_leaves(
        &self,
        workspace: WorkspaceNo,
        tile: u64,
    ) -> Result<Option<Vec<[u8; 32]>>, PortError> {
        let Some(id) = row_id(workspace, tile) else { return Ok(None) };
        self.with(|conn| {
            let bytes: Option<Vec<u8>> = conn
                .prepare_cached("SELECT leaves FROM tile WHERE id = ?1")?
                .query_row([id], |row| row.get(0))
                .optional()?;
            Ok(bytes.and_then(|bytes| match bytes.as_chunks::<32>() {
                (leaves, []) => Some(leaves.to_vec()),
                _ => None,
            }))
        })
    }

    fn query(&self, workspace: WorkspaceNo, filter: &AuditFilter) -> Result<Vec<u64>, PortError> {
        self.with(|conn| {
            // One read transaction: what is read belongs together.
            let tx = conn.unchecked_transaction()?;
            let found = search(&tx, workspace, filter)?;
            tx.commit()?;
            Ok(found)
        })
    }
}

/// Where a search looks.
#[derive(Clone, Copy)]
struct Source {
    /// `FROM`, with the index.
    tables: &'static str,
    /// The column that row ids are read from.
    id: &'static str,
    /// The segment of a row, for an index that begins with it.
    segment: Option<&'static str>,
}

impl Source {
    const fn whole(tables: &'static str) -> Self {
        Self { tables, id: "e.id", segment: None }
    }

    const fn segmented(tables: &'static str) -> Self {
        Self { tables, id: "e.id", segment: Some(concat!("e.", segment!())) }
    }

    const TRACE: Self = Self::segmented("event e INDEXED BY by_trace");

    const TRACE_RUN: Self = Self {
        tables: "trace_run t CROSS JOIN event e NOT INDEXED",
        id: "t.id",
        segment: Some("t.run"),
    };

    const RULE: Self = Self {
        tables: "rule_hit r CROSS JOIN event e NOT INDEXED",
        id: "r.id",
        segment: Some("r.segment"),
    };

    const SUBJECT: Self = Self {
        tables: "subject_hit s CROSS JOIN event e NOT INDEXED",
        id: "s.id",
        segment: Some("s.segment"),
    };
}

/// A statement as it grows.
struct Sql {
    source: Source,
    conditions: String,
    values: Vec<i64>,
}

impl Sql {
    fn and(&mut self, condition: &str, value: i64) {
        self.values.push(value);
        self.conditions.push_str(" AND ");
        self.conditions.push_str(&condition.replace('?', &format!("?{}", self.values.len())));
    }

    /// The whole statement. Behind its own values it takes the first row id and the one behind the last, the most
    /// rows, and the segment where the source has such.
    fn text(&self, ascending: bool) -> String {
        let Self { source: Source { tables, id, segment }, conditions, values } = self;
        let at = values.len();
        let segment = segment.map(|segment| format!("{segment} = ?{} AND ", at + 4));
        let order = if ascending { "ASC" } else { "DESC" };
        format!(
            "SELECT {id} FROM {tables} WHERE {}{id} >= ?{} AND {id} < ?{}{conditions} \
             ORDER BY {id} {order} LIMIT ?{}",
            segment.as_deref().unwrap_or_default(),
            at + 1,
            at + 2,
            at + 3
        )
    }
}

fn search(
    conn: &Connection,
    workspace: WorkspaceNo,
    filter: &AuditFilter,
) -> rusqlite::Result<Vec<u64>> {
    let Some((from, to)) = rows_of(conn, workspace, filter)? else { return Ok(Vec::new()) };
    let Some(sql) = statement(conn, filter, false)? else { return Ok(Vec::new()) };
    // Old traces are looked for in runs.
    let by_trace = sql.source.tables == Source::TRACE.tables;
    let counts = if by_trace { runs::counts(conn, workspace)? } else { Counts::default() };
    let in_runs = if by_trace { statement(conn, filter, true)? } else { None };
    let mut found = Vec::new();
    // `to` is at least 1: the range is not empty.
    let (mut low, mut high) = (from >> SEGMENT_BITS, (to - 1) >> SEGMENT_BITS);
    while low <= high && found.len() < filter.limit {
        let segment = if filter.ascending { low } else { high };
        let level = runs::level_of(counts, workspace, segment);
        let sql = in_runs.as_ref().filter(|_| level > 0).unwrap_or(&sql);
        let rest = filter.limit - found.len();
        let mut values = sql.values.clone();
        values.extend([from, to, i64::try_from(rest).unwrap_or(i64::MAX)]);
        let (first, last) = runs::span(level, segment);
        match (sql.source.segment, filter.ascending) {
            (None, _) => high = low - 1,
            (Some(_), true) => low = last + 1,
            (Some(_), false) => high = first - 1,
        }
        if sql.source.segment.is_some() {
            values.push(runs::key(level, segment));
        }
        let mut statement = conn.prepare_cached(&sql.text(filter.ascending))?;
        let rows = statement.query_map(params_from_iter(values), |row| row.get(0).map(index_of))?;
        for row in rows {
            found.push(row?);
        }
    }
    Ok(found)
}

/// The first row id and the one behind the last that cursor and time allow.
fn rows_of(
    conn: &Connection,
    workspace: WorkspaceNo,
    filter: &AuditFilter,
) -> rusqlite::Result<Option<(i64, i64)>> {
    let size = super::write::position(conn, workspace)?;
    let (mut from, mut to) = (0, size);
    match filter.cursor {
        Some(cursor) if filter.ascending => from = cursor,
        Some(cursor) => to = to.min(cursor),
        None => {}
    }
    if let Some(since) = filter.since {
        from = from.max(first_at(conn, workspace, size, since)?);
    }
    if let Some(until) = filter.until {
        to = to.min(first_at(conn, workspace, size, until)?);
    }
    if from >= to || filter.limit == 0 {
        return Ok(None);
    }
    Ok(row_id(workspace, from).zip(row_id(workspace, to)))
}

/// The first index at or after `time`. INVARIANT: rows have no holes and time never goes back.
fn first_at(
    conn: &Connection,
    workspace: WorkspaceNo,
    size: u64,
    time: TimeMs,
) -> rusqlite::Result<u64> {
    let wanted = i64::try_from(time.0).unwrap_or(i64::MAX);
    let mut at = conn.prepare_cached("SELECT time_ms FROM event WHERE id = ?1")?;
    let (mut low, mut high) = (0, size);
    while low < high {
        let middle = low + (high - low) / 2;
        let have: i64 = at.query_row([row_id(workspace, middle)], |row| row.get(0))?;
        if have < wanted {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    Ok(low)
}

/// Source and conditions; `None` when a name was never seen, so that nothing can match. A trace is looked for in
/// runs, or else in segments.
fn statement(
    conn: &Connection,
    filter: &AuditFilter,
    in_runs: bool,
) -> rusqlite::Result<Option<Sql>> {
    let numbers = (
        number(conn, filter.actor.as_deref())?,
        number(conn, filter.surface.as_deref())?,
        number(conn, filter.rule.as_deref())?,
        number(conn, filter.event_type.as_deref())?,
    );
    let (Some(actor), Some(surface), Some(rule), Some(kind)) = numbers else { return Ok(None) };
    let differs = filter.would_differ.then_some(WOULD_DIFFER);
    let Some(differs) = number(conn, differs)? else { return Ok(None) };
    // The one gives the index, the other is asked of its rows.
    let (rule, other) = if rule.is_some() { (rule, differs) } else { (differs, None) };
    let outcome = filter.outcome.map(outcome_number);
    let rare = filter.event_type.as_deref().is_some_and(is_rare);
    let refusal = outcome.is_some_and(|outcome| outcome != PERMIT);
    // From the most selective to the least; the first that is asked for gives the index.
    let source = match () {
        () if filter.decision.is_some() => Source::whole("event e INDEXED BY by_decision"),
        () if filter.idempotency.is_some() => {
            Source::segmented("event e INDEXED BY by_idempotency")
        }
        () if filter.trace.is_some() && in_runs => Source::TRACE_RUN,
        () if filter.trace.is_some() => Source::TRACE,
        () if filter.subject.is_some() => Source::SUBJECT,
        () if rare => Source::whole("event e INDEXED BY by_rare"),
        () if rule.is_some() => Source::RULE,
        () if actor.is_some() => Source::segmented("event e INDEXED BY by_actor"),
        () if refusal => Source::whole("event e INDEXED BY by_outcome"),
        () if surface.is_some() => Source::whole("event e INDEXED BY by_surface"),
        () => Source::whole("event e NOT INDEXED"),
    };
    let mut sql = Sql { source, conditions: String::new(), values: Vec::new() };
    if let Some((high, low)) = filter.decision.map(halves) {
        sql.and("e.decision = ?", high);
        sql.and("e.decision_low = ?", low);
    }
    if let Some(tag) = &filter.idempotency {
        sql.and("e.idempotency = ?", tag_hash(tag));
    }
    match filter.trace.as_deref().map(trace_hash) {
        Some(trace) if source.id == Source::TRACE_RUN.id => {
            sql.and("e.id = t.id AND t.trace = ?", trace);
        }
        Some(trace) => sql.and("e.trace = ?", trace),
        None => {}
    }
    match filter.subject.as_ref().map(tag_hash) {
        Some(tag) if source.id == Source::SUBJECT.id => {
            sql.and("e.id = s.id AND s.subject = ?", tag);
        }
        Some(tag) => sql.and(
            concat!(
                "EXISTS (SELECT 1 FROM subject_hit s WHERE s.segment = (e.",
                segment!(),
                ") AND s.subject = ? AND s.id = e.id)"
            ),
            tag,
        ),
        None => {}
    }
    let hit = concat!(
        "EXISTS (SELECT 1 FROM rule_hit x WHERE x.segment = (e.",
        segment!(),
        ") AND x.rule = ? AND x.id = e.id)"
    );
    match rule {
        Some(rule) if source.id == Source::RULE.id => sql.and("e.id = r.id AND r.rule = ?", rule),
        Some(rule) => sql.and(hit, rule),
        None => {}
    }
    if let Some(other) = other {
        sql.and(hit, other);
    }
    if let Some(kind) = kind {
        sql.and(if rare { "e.rare = 1 AND e.kind = ?" } else { "e.kind = ?" }, kind);
    }
    if let Some(outcome) = outcome {
        // The first half is the condition of the partial index, word for word.
        sql.and(
            if refusal { "e.outcome <> 1 AND e.outcome = ?" } else { "e.outcome = ?" },
            outcome,
        );
    }
    if let Some(actor) = actor {
        sql.and("e.actor = ?", actor);
    }
    if let Some(surface) = surface {
        sql.and("e.surface = ?", surface);
    }
    Ok(Some(sql))
}

/// `Some(None)` when nothing is asked for, `None` when the name was never seen.
fn number(conn: &Connection, text: Option<&str>) -> rusqlite::Result<Option<Option<i64>>> {
    let Some(text) = text else { return Ok(Some(None)) };
    let number: Option<i64> = conn
        .prepare_cached("SELECT id FROM name WHERE text = ?1")?
        .query_row([text], |row| row.get(0))
        .optional()?;
    Ok(number.map(Some))
}
