//! Counters of HTTP answers and the Prometheus text of everything that is counted. Labels are
//! bounded; refuses to know single decisions.

mod governance;

use crate::operations::OPERATIONS;
use crate::server::Server;
use placet_engine::Tally;
use placet_runtime::{PlaneError, Summary, Workspace};
use placet_types::event::OverrideMode;
use placet_types::ids::TimeMs;
use placet_types::policy::Outcome;
use std::fmt::Write;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

/// Statuses counted apart; any other counts as 500.
const STATUSES: [u16; 17] =
    [200, 201, 202, 204, 400, 401, 403, 404, 405, 408, 409, 410, 413, 415, 429, 500, 503];
/// Workspaces with a label of their own.
const WORKSPACES_MAX: usize = 100;

/// What the server itself counts.
pub(crate) struct Counters {
    /// By operation (one more for what is none) and status.
    answers: Vec<[AtomicU64; STATUSES.len()]>,
    /// By code: not on the path of what succeeds.
    refused: Mutex<Vec<(&'static str, u64)>>,
    /// Checkpoints that a witness cosigned, and those that one did not.
    pub(crate) cosigned: AtomicU64,
    pub(crate) unwitnessed: AtomicU64,
}

impl Counters {
    pub(crate) fn new(operations: usize) -> Self {
        let answers = (0..=operations).map(|_| Default::default()).collect();
        Self {
            answers,
            refused: Mutex::default(),
            cosigned: AtomicU64::new(0),
            unwitnessed: AtomicU64::new(0),
        }
    }

    pub(crate) fn answered(&self, operation: usize, status: u16) {
        let at = STATUSES.iter().position(|known| *known == status).unwrap_or(STATUSES.len() - 2);
        if let Some(count) = self.answers.get(operation).and_then(|row| row.get(at)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(crate) fn refused(&self, code: &str) {
        let known = placet_api::CODES.iter().find(|(known, ..)| *known == code);
        let Some((code, ..)) = known else { return };
        let mut refused = self.refused.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        match refused.iter_mut().find(|(known, _)| known == code) {
            Some((_, count)) => *count += 1,
            None => refused.push((code, 1)),
        }
    }

    fn write(&self, out: &mut String) {
        head(out, "placet_http_requests_total", "counter", "Answers by path and status.");
        for (at, row) in self.answers.iter().enumerate() {
            let path = OPERATIONS.get(at).map_or("other", |operation| operation.path);
            let method = OPERATIONS.get(at).map_or("ANY", |operation| operation.method);
            for (status, count) in STATUSES.iter().zip(row) {
                let count = count.load(Ordering::Relaxed);
                if count > 0 {
                    let labels = format!("method=\"{method}\",path=\"{path}\",status=\"{status}\"");
                    line(out, "placet_http_requests_total", &labels, count);
                }
            }
        }
        head(out, "placet_refused_total", "counter", "Problems by code.");
        let refused = self.refused.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        for (code, count) in refused.iter() {
            line(out, "placet_refused_total", &format!("code=\"{code}\""), *count);
        }
        head(out, "placet_cosignatures_total", "counter", "Answers of witnesses by result.");
        for (result, count) in [("good", &self.cosigned), ("none", &self.unwitnessed)] {
            let labels = format!("result=\"{result}\"");
            line(out, "placet_cosignatures_total", &labels, count.load(Ordering::Relaxed));
        }
    }
}

/// What one workspace shows.
#[derive(Default)]
struct Figures {
    decisions: [u64; 5],
    pending: u64,
    /// That run, and that wait for a place.
    executions: [u64; 2],
    oldest: Option<TimeMs>,
    killed: [bool; 2],
    /// Stops in force by mode.
    overrides: [u64; 4],
    unknown: u64,
    lag: u64,
    waiting: u64,
    measured: Tally,
    /// Entries of the policy without an owner, and with one that has left.
    unowned: Option<(u64, u64)>,
    exceptions: [u64; 4],
}

impl Figures {
    async fn of(server: &Server, workspace: &Arc<Workspace>) -> Result<Self, PlaneError> {
        let indexed = server.plane.indexed(workspace)?;
        let size = *workspace.watch_size().borrow();
        let Summary {
            counters,
            held_open,
            executions,
            oldest_held,
            killed,
            overrides,
            measured,
            exceptions,
            reviews_open,
            ..
        } = server.plane.summary(workspace.no).await?;
        let (live, ungoverned, passages) = exceptions;
        let overdue = match reviews_open {
            0 => 0,
            _ => server.plane.overdue_reviews(workspace).await?,
        };
        Ok(Self {
            decisions: counters.decisions,
            pending: held_open as u64,
            executions: [executions.0 as u64, executions.1 as u64],
            oldest: oldest_held,
            killed,
            overrides,
            unknown: counters.unreported(),
            lag: size.saturating_sub(indexed),
            waiting: workspace.waiting_callers() as u64,
            measured,
            unowned: crate::measures::unowned(server, workspace).await.unwrap_or_default(),
            exceptions: [live as u64, ungoverned as u64, overdue as u64, passages],
        })
    }

    /// Adds the figures of a workspace that has no label of its own.
    fn add(&mut self, other: &Self) {
        for (mine, theirs) in self.decisions.iter_mut().zip(other.decisions) {
            *mine += theirs;
        }
        self.pending += other.pending;
        for (mine, theirs) in self.executions.iter_mut().zip(other.executions) {
            *mine += theirs;
        }
        self.oldest = match (self.oldest, other.oldest) {
            (Some(mine), Some(theirs)) => Some(mine.min(theirs)),
            (mine, theirs) => mine.or(theirs),
        };
        self.killed = [self.killed[0] | other.killed[0], self.killed[1] | other.killed[1]];
        for (mine, theirs) in self.overrides.iter_mut().zip(other.overrides) {
            *mine += theirs;
        }
        self.unknown += other.unknown;
        self.lag = self.lag.max(other.lag);
        self.waiting += other.waiting;
        self.measured.add(&other.measured);
        self.unowned = match (self.unowned, other.unowned) {
            (Some(mine), Some(theirs)) => Some((mine.0 + theirs.0, mine.1 + theirs.1)),
            (mine, theirs) => mine.or(theirs),
        };
        for (mine, theirs) in self.exceptions.iter_mut().zip(other.exceptions) {
            *mine += theirs;
        }
    }
}

/// The Prometheus text.
pub(crate) async fn text(server: &Server) -> String {
    let mut rows: Vec<(String, Figures)> = Vec::new();
    for (at, workspace) in server.plane.all_workspaces().iter().enumerate() {
        // A workspace that cannot be looked at now is left out; the others still show.
        let Ok(figures) = Figures::of(server, workspace).await else { continue };
        if at < WORKSPACES_MAX {
            rows.push((workspace.name.to_string(), figures));
        } else if let Some((_, rest)) = rows.get_mut(WORKSPACES_MAX) {
            rest.add(&figures);
        } else {
            rows.push(("other".to_owned(), figures));
        }
    }
    let mut out = String::with_capacity(4096);
    write_workspaces(&mut out, &rows, server.plane.now());
    governance::write(&mut out, &rows);
    write_totals(&mut out, server);
    server.counters.write(&mut out);
    if let Some(channels) = &server.channels {
        channels.metrics(&server.plane, &mut out).await;
    }
    out
}

fn write_workspaces(out: &mut String, rows: &[(String, Figures)], now: TimeMs) {
    head(out, "placet_decisions_total", "counter", "Decisions by outcome, since genesis.");
    for (name, figures) in rows {
        for (outcome, count) in Outcome::ALL.iter().zip(figures.decisions) {
            let labels = format!("workspace=\"{name}\",outcome=\"{}\"", outcome.as_str());
            line(out, "placet_decisions_total", &labels, count);
        }
    }
    type Gauge = (&'static str, &'static str, fn(&Figures, TimeMs) -> u64);
    let gauges: [Gauge; 10] = [
        ("placet_read_model_lag", "Entries not searchable yet.", |f, _| f.lag),
        ("placet_approvals_pending", "Decisions waiting for people.", |f, _| f.pending),
        ("placet_approvals_oldest_seconds", "Age of the oldest of them.", |f, now| {
            f.oldest.map_or(0, |since| now.since(since) / 1000)
        }),
        ("placet_callers_waiting", "Callers that wait for an approval.", |f, _| f.waiting),
        ("placet_executions_running", "Executions that have a place.", |f, _| f.executions[0]),
        ("placet_executions_queued", "Executions that wait for one.", |f, _| f.executions[1]),
        ("placet_exceptions_live", "Exceptions that cover something.", |f, _| f.exceptions[0]),
        ("placet_exceptions_ungoverned", "Of these, those that waive all of policy.", |f, _| {
            f.exceptions[1]
        }),
        ("placet_exceptions_overdue_reviews", "Exceptions not reviewed in time.", |f, _| {
            f.exceptions[2]
        }),
        ("placet_outcome_unknown", "Permits that gates used and nobody reported.", |f, _| {
            f.unknown
        }),
    ];
    for (metric, help, value) in gauges {
        head(out, metric, "gauge", help);
        for (name, figures) in rows {
            line(out, metric, &format!("workspace=\"{name}\""), value(figures, now));
        }
    }
    let help = "Decisions that passed under an exception, since genesis.";
    head(out, "placet_exception_passages_total", "counter", help);
    for (name, figures) in rows {
        let labels = format!("workspace=\"{name}\"");
        line(out, "placet_exception_passages_total", &labels, figures.exceptions[3]);
    }
    head(out, "placet_killed", "gauge", "1 while a kill switch is tripped.");
    for (name, figures) in rows {
        for (scope, killed) in ["everything", "workspace"].iter().zip(figures.killed) {
            let labels = format!("workspace=\"{name}\",scope=\"{scope}\"");
            line(out, "placet_killed", &labels, u64::from(killed));
        }
    }
    let help = "Scopes that are stopped, by how; the two of placet_killed included.";
    head(out, "placet_overrides", "gauge", help);
    for (name, figures) in rows {
        for (mode, count) in OverrideMode::ALL.iter().zip(figures.overrides) {
            let labels = format!("workspace=\"{name}\",mode=\"{}\"", mode.as_str());
            line(out, "placet_overrides", &labels, count);
        }
    }
}

fn write_totals(out: &mut String, server: &Server) {
    let help = "1 while everything is stopped because certificate or log were tampered with.";
    head(out, "placet_kill_switch_tampered", "gauge", help);
    line(out, "placet_kill_switch_tampered", "", u64::from(server.plane.is_tampered()));
    let totals = server.plane.totals();
    let load = |value: &AtomicU64| value.load(Ordering::Relaxed);
    let saved = server.plane.snapshots();
    let idle = server.plane.idle();
    for (metric, help, value) in [
        ("placet_snapshots_total", "Saved states.", load(&saved.written)),
        ("placet_snapshots_failed_total", "States that were not saved.", load(&saved.failed)),
        ("placet_snapshot_bytes_total", "Bytes of saved states.", load(&saved.bytes)),
        ("placet_start_folded_total", "Entries folded by the start.", load(&saved.folded)),
        ("placet_revived_total", "States of idle workspaces read back.", load(&idle.revived)),
        ("placet_revive_failed_total", "Such states that could not be.", load(&idle.failed)),
        (
            "placet_read_model_rebuilds_total",
            "Times the read model was made anew.",
            server.plane.rebuilds(),
        ),
        ("placet_flushes_total", "Durable writes.", load(&totals.flushes)),
        ("placet_signatures_total", "Signed checkpoints.", load(&totals.signatures)),
        ("placet_entries_total", "Log entries written.", load(&totals.entries)),
    ] {
        head(out, metric, "counter", help);
        line(out, metric, "", value);
    }
    head(out, "placet_flush_seconds_total", "counter", "Time spent in durable writes.");
    let us = load(&totals.flush_us);
    let _ = writeln!(out, "placet_flush_seconds_total {}.{:06}", us / 1_000_000, us % 1_000_000);
    head(out, "placet_snapshot_seconds_total", "counter", "Time spent in saving states.");
    let us = load(&saved.spent_us);
    let _ = writeln!(out, "placet_snapshot_seconds_total {}.{:06}", us / 1_000_000, us % 1_000_000);
    head(out, "placet_idle_workspaces", "gauge", "Workspaces whose state is not in memory.");
    line(out, "placet_idle_workspaces", "", load(&idle.away));
    head(out, "placet_outstanding", "gauge", "Requests without an answer.");
    line(out, "placet_outstanding", "", server.plane.gauges().1 as u64);
}

fn head(out: &mut String, metric: &str, kind: &str, help: &str) {
    // Writing to a string cannot fail.
    let _ = writeln!(out, "# HELP {metric} {help}\n# TYPE {metric} {kind}");
}

fn line(out: &mut String, metric: &str, labels: &str, value: u64) {
    let _ = if labels.is_empty() {
        writeln!(out, "{metric} {value}")
    } else {
        writeln!(out, "{metric}{{{labels}}} {value}")
    };
}
