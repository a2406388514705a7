//! Traces of old segments, gathered into runs: eight segments into one, eight of those into the next, so that a
//! search looks into few places however long the log is. Gathering goes along with indexing, a bounded part of
//! it with each call. Owns which runs there are; what is in them is derived from `by_trace`, which stays.

use super::SEGMENT_BITS;
use crate::sqlite::row_range;
use placet_runtime::ports::WorkspaceNo;
use rusqlite::{Connection, OptionalExtension, Row, params};
use std::collections::{BTreeSet, HashMap};

/// Runs of one level become one of the next when there are so many, as a power of two.
#[cfg(not(test))]
pub(super) const FAN_BITS: u32 = 3;
#[cfg(test)]
pub(super) const FAN_BITS: u32 = 1;
/// Levels above the segments: with segments of 2^16 entries, runs of 2^19 and 2^22.
pub(super) const LEVELS: usize = 2;
/// Rows that are read from each part of a run at a time.
#[cfg(not(test))]
const ROWS: i64 = 1024;
#[cfg(test)]
const ROWS: i64 = 2;
/// Where the level stands in the key of a run, above the numbers of segments.
const LEVEL_SHIFT: u32 = 48;

/// So many runs of each level are whole, from the beginning of a log on.
pub(super) type Counts = [u64; LEVELS];

/// Sorts before every trace and row.
const START: (i64, i64) = (i64::MIN, i64::MIN);

/// The key of the run of this level (from 1) that holds a segment; of level 0, the segment.
pub(super) fn key(level: usize, segment: i64) -> i64 {
    let number = segment >> (FAN_BITS * level as u32);
    number | (level as i64) << LEVEL_SHIFT
}

/// The segments of the run of this level that holds a segment: the first, and the last.
pub(super) fn span(level: usize, segment: i64) -> (i64, i64) {
    let bits = FAN_BITS * level as u32;
    let first = segment >> bits << bits;
    (first, first + (1 << bits) - 1)
}

/// The highest level on which a segment is in a whole run; 0 where it is in none.
pub(super) fn level_of(counts: Counts, workspace: WorkspaceNo, segment: i64) -> usize {
    let own = u64::try_from(segment - first_segment(workspace)).unwrap_or(u64::MAX);
    let whole = |level: &usize| own >> (FAN_BITS * *level as u32) < counts[*level - 1];
    (1..=LEVELS).rev().find(whole).unwrap_or(0)
}

/// The runs that are whole.
pub(super) fn counts(conn: &Connection, workspace: WorkspaceNo) -> rusqlite::Result<Counts> {
    let mut counts = [0; LEVELS];
    let mut read =
        conn.prepare_cached("SELECT runs FROM gathered WHERE workspace = ?1 AND level = ?2")?;
    for (level, count) in (1_i64..).zip(&mut counts) {
        let runs: Option<i64> =
            read.query_row([i64::from(workspace.0), level], |row| row.get(0)).optional()?;
        *count = runs.and_then(|runs| u64::try_from(runs).ok()).unwrap_or(0);
    }
    Ok(counts)
}

fn first_segment(workspace: WorkspaceNo) -> i64 {
    row_range(workspace).0 >> SEGMENT_BITS
}

/// What is gathered, and how far.
#[derive(Default)]
pub(super) struct Gathering {
    counts: HashMap<WorkspaceNo, Counts>,
    /// Logs that may have something to gather.
    due: BTreeSet<WorkspaceNo>,
    /// A run that is begun is finished before another. A restart begins it again, and finds what is there.
    under_way: Option<UnderWay>,
}

struct UnderWay {
    workspace: WorkspaceNo,
    level: usize,
    /// The last trace and row that it has.
    after: (i64, i64),
}

impl Gathering {
    /// A log has so many entries.
    pub(super) fn has_grown(&mut self, workspace: WorkspaceNo, entries: u64) {
        let known = self.counts.get(&workspace).map_or(0, |counts| counts[0]);
        if entries >> (SEGMENT_BITS + FAN_BITS) > known {
            self.due.insert(workspace);
        }
    }

    /// Gathers what so many new entries call for.
    pub(super) fn go_on(
        &mut self,
        conn: &mut Connection,
        indexed: usize,
        length: impl Fn(WorkspaceNo) -> Option<u64>,
    ) -> rusqlite::Result<()> {
        // An entry is gathered once on each level; a little more, so that a short call gets on as well.
        let wanted = indexed * LEVELS + 1;
        let mut gathered = 0;
        while gathered < wanted {
            let run = match self.under_way.take() {
                Some(run) => Some(run),
                None => self.pick(conn, &length)?,
            };
            let Some(run) = run else { return Ok(()) };
            // One without traces counts, too.
            gathered += self.gather(conn, run)?.max(1);
        }
        Ok(())
    }

    /// The next run of a log that has one due.
    fn pick(
        &mut self,
        conn: &Connection,
        length: impl Fn(WorkspaceNo) -> Option<u64>,
    ) -> rusqlite::Result<Option<UnderWay>> {
        while let Some(workspace) = self.due.first().copied() {
            let counts = match self.counts.get(&workspace) {
                Some(counts) => *counts,
                None => *self.counts.entry(workspace).or_insert(counts(conn, workspace)?),
            };
            if let Some(level) = length(workspace).and_then(|entries| next(counts, entries)) {
                return Ok(Some(UnderWay { workspace, level, after: START }));
            }
            self.due.remove(&workspace);
        }
        Ok(None)
    }

    /// Adds a part to the run that is under way: so many rows.
    fn gather(&mut self, conn: &mut Connection, run: UnderWay) -> rusqlite::Result<usize> {
        let UnderWay { workspace, level, after } = run;
        let counts = self.counts.entry(workspace).or_default();
        let run = i64::try_from(counts[level - 1]).unwrap_or(i64::MAX);
        let segment = first_segment(workspace) + (run << (FAN_BITS * level as u32));
        let tx = conn.transaction()?;
        let (rows, rest) = part(&tx, level, segment, after)?;
        let mut insert =
            tx.prepare_cached("INSERT OR IGNORE INTO trace_run VALUES (?1, ?2, ?3)")?;
        for (trace, id) in &rows {
            insert.execute([key(level, segment), *trace, *id])?;
        }
        drop(insert);
        if !rest {
            tx.prepare_cached("INSERT OR REPLACE INTO gathered VALUES (?1, ?2, ?3)")?
                .execute(params![workspace.0, level as i64, run + 1])?;
        }
        tx.commit()?;
        match rows.last() {
            Some(last) if rest => {
                self.under_way = Some(UnderWay { workspace, level, after: *last })
            }
            _ => counts[level - 1] += 1,
        }
        Ok(rows.len())
    }
}

/// The level that the next run is due on, the lowest first: the next one is made of it.
fn next(counts: Counts, entries: u64) -> Option<usize> {
    let mut whole = entries >> SEGMENT_BITS;
    for (level, count) in (1..).zip(counts) {
        if whole >> FAN_BITS > count {
            return Some(level);
        }
        whole = count;
    }
    None
}

/// The next rows of a run in order, and whether there are more.
fn part(
    conn: &Connection,
    level: usize,
    segment: i64,
    after: (i64, i64),
) -> rusqlite::Result<(Vec<(i64, i64)>, bool)> {
    let mut rows = Vec::new();
    // Rows behind the last one of a part that has more may have others before them.
    let mut bound: Option<(i64, i64)> = None;
    let (first, last) = span(level, segment);
    let step = 1 << (FAN_BITS * (level - 1) as u32);
    for below in (first..=last).step_by(step) {
        let begun = rows.len();
        rows_after(conn, level - 1, below, after, &mut rows)?;
        if (rows.len() - begun) as i64 == ROWS {
            bound = match (bound, rows.last()) {
                (Some(bound), Some(last)) => Some(bound.min(*last)),
                (None, last) => last.copied(),
                (bound, None) => bound,
            };
        }
    }
    rows.sort_unstable();
    if let Some(bound) = bound {
        rows.truncate(rows.partition_point(|row| *row <= bound));
    }
    Ok((rows, bound.is_some()))
}

/// Up to [`ROWS`] rows behind `after` of one segment, or of a run, in order: first the rest of its trace, then the
/// traces behind it. A comparison of both at once would not use the index.
fn rows_after(
    conn: &Connection,
    level: usize,
    segment: i64,
    (trace, id): (i64, i64),
    out: &mut Vec<(i64, i64)>,
) -> rusqlite::Result<()> {
    let (same, next) = match level {
        0 => (
            concat!(
                "SELECT trace, id FROM event INDEXED BY by_trace WHERE ",
                segment!(),
                " = ?1 AND trace = ?2 AND id > ?4 ORDER BY id LIMIT ?3"
            ),
            concat!(
                "SELECT trace, id FROM event INDEXED BY by_trace WHERE ",
                segment!(),
                " = ?1 AND trace > ?2 ORDER BY trace, id LIMIT ?3"
            ),
        ),
        _ => (
            "SELECT trace, id FROM trace_run WHERE run = ?1 AND trace = ?2 AND id > ?4 \
             ORDER BY id LIMIT ?3",
            "SELECT trace, id FROM trace_run WHERE run = ?1 AND trace > ?2 \
             ORDER BY trace, id LIMIT ?3",
        ),
    };
    let (begun, run) = (out.len(), key(level, segment));
    let row = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?));
    let mut same = conn.prepare_cached(same)?;
    for found in same.query_map([run, trace, ROWS, id], row)? {
        out.push(found?);
    }
    let rest = ROWS - (out.len() - begun) as i64;
    let mut next = conn.prepare_cached(next)?;
    for found in next.query_map([run, trace, rest], row)? {
        out.push(found?);
    }
    Ok(())
}
