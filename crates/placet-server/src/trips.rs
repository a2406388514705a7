//! Overrides over HTTP: the stream that gates hear them on, their acknowledgements, reports and drills.
//! Refuses to know what an override stops.

use crate::auth::{Act, OVERSEERS, session};
use crate::call::Call;
use crate::document;
use crate::names::Names;
use crate::overrides::scope;
use crate::problem::Problem;
use axum::body::Bytes;
use axum::http::StatusCode;
use axum::response::Response;
use placet_api::{
    GateAcknowledgement, Instant, OverrideReportDocument, OverrideStopped, OverrideTold,
    OverrideUnreached, SilentGate,
};
use placet_engine::TripRecord;
use placet_runtime::{PlaneError, TripReport, Workspace};
use placet_types::event::OverrideMode;
use placet_types::json::{Object, Value};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc::{Sender, channel};
use tokio::sync::watch;

/// Most actions that a gate names as out of reach, and the longest name.
const UNREACHABLE_MAX: usize = 256;
const NAME_MAX: usize = 200;
/// Silence after which a comment is sent; the key is looked at again as often.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// A look at the state that failed is repeated after this.
const AGAIN: Duration = Duration::from_millis(500);

/// `POST /api/v1/overrides:drill`
pub(crate) async fn drill(mut call: Call) -> Result<Response, Problem> {
    let session = call.session(Act::Oversee)?;
    let mut fields = call.object(&["scope", "value"]).await?;
    let scope = scope(&session.workspace, &mut fields)?;
    if !scope.takes(OverrideMode::Kill) {
        let text = "a role is revoked and not killed: no kill of it is practised";
        return Err(Problem::invalid("/scope", text));
    }
    let plane = &call.server.plane;
    let index = plane.drill(&session.workspace, scope, &session.principal).await?;
    let report = plane.trip_report(&session.workspace, index).await?;
    document::answer(StatusCode::OK, &built(&report, &Names::overseen(&call.server, &session)))
}

/// `GET /api/v1/overrides/{index}`
pub(crate) async fn get(call: Call) -> Result<Response, Problem> {
    let session = call.session(Act::Propose)?;
    session.demand(&OVERSEERS)?;
    let index = index(&call)?;
    let report = call.server.plane.trip_report(&session.workspace, index).await?;
    document::answer(StatusCode::OK, &built(&report, &Names::overseen(&call.server, &session)))
}

/// `POST /api/v1/overrides/{index}/acknowledge`
pub(crate) async fn acknowledge(mut call: Call) -> Result<Response, Problem> {
    let session = call.session(Act::Propose)?;
    let index = index(&call)?;
    let mut fields = call.object(&["stopped", "unreachable"]).await?;
    let stopped = match fields.remove("stopped") {
        None => 0,
        Some(value) => value
            .as_i64()
            .and_then(|count| u64::try_from(count).ok())
            .ok_or_else(|| Problem::invalid("/stopped", "expected how many, 0 or more"))?,
    };
    let unreachable = names(&mut fields)?;
    let plane = &call.server.plane;
    let (workspace, principal) = (&session.workspace, &session.principal);
    let report = plane.acknowledge(workspace, principal, index, stopped, unreachable).await?;
    // A gate learns what it has said itself; the rest is for those who oversee.
    let own = workspace.actor_ref(&principal.caller.actor);
    let said = report.trip.acknowledged.get(&own);
    let said = said.ok_or_else(|| Problem::internal("an acknowledgement is not there"))?;
    let document = GateAcknowledgement {
        gate: own.as_str().to_owned(),
        time: Instant(said.time),
        latency_ms: said.time.0.saturating_sub(report.trip.since.0),
        stopped: said.stopped,
        unreachable: said.unreachable,
        names: report.unreachable.get(&own).cloned(),
    };
    document::answer(StatusCode::OK, &document)
}

fn index(call: &Call) -> Result<u64, Problem> {
    let missing = || Problem::from(PlaneError::NotFound("override"));
    call.segment(3)?.parse().map_err(|_| missing())
}

fn names(fields: &mut Object) -> Result<Vec<String>, Problem> {
    let expected = || {
        let text =
            format!("expected a list of up to {UNREACHABLE_MAX} names of up to {NAME_MAX} bytes");
        Problem::invalid("/unreachable", text)
    };
    let items = match fields.remove("unreachable") {
        None => return Ok(Vec::new()),
        Some(Value::Array(items)) if items.len() <= UNREACHABLE_MAX => items,
        Some(_) => return Err(expected()),
    };
    let text = |item| match item {
        Value::String(text) if (1..=NAME_MAX).contains(&text.len()) => Ok(text),
        _ => Err(expected()),
    };
    items.into_iter().map(text).collect()
}

fn built(report: &TripReport, names: &Names<'_>) -> OverrideReportDocument {
    let trip = &report.trip;
    let said = || trip.acknowledged.iter();
    let sum = |count: fn(&placet_engine::Acknowledgement) -> u64| {
        said().fold(0_u64, |sum, (_, said)| sum.saturating_add(count(said)))
    };
    OverrideReportDocument {
        index: trip.index,
        scope: trip.scope.to_string(),
        name: names.scope(&trip.scope),
        mode: trip.mode.as_str(),
        source: trip.source.map(|source| source.as_str()),
        drill: trip.source.is_none(),
        by: trip.by.as_ref().map(|by| names.get(by.as_str())),
        since: Instant(trip.since),
        lifted: trip.lifted.map(|(time, _)| Instant(time)),
        stopped: OverrideStopped {
            open_permits: trip.permits_ended,
            held_actions: trip.approvals_barred,
            waiting_callers: trip.waiting_told,
            executions: trip.executions_ended,
            by_gates: sum(|said| said.stopped),
        },
        unreached: OverrideUnreached {
            unreported: trip.unreported,
            overtaken: trip.overtaken,
            by_gates: sum(|said| said.unreachable),
        },
        acknowledged: said()
            .map(|(gate, said)| GateAcknowledgement {
                gate: gate.as_str().to_owned(),
                time: Instant(said.time),
                latency_ms: said.time.0.saturating_sub(trip.since.0),
                stopped: said.stopped,
                unreachable: said.unreachable,
                names: match said.unreachable {
                    0 => Some(Vec::new()),
                    _ => report.unreachable.get(gate).cloned(),
                },
            })
            .collect(),
        silent: report
            .silent
            .iter()
            .map(|(gate, heard)| SilentGate {
                gate: gate.as_str().to_owned(),
                heard: Instant(*heard),
            })
            .collect(),
        unlisted: report.unlisted,
    }
}

/// `GET /api/v1/overrides/stream`: what stops here, for every gate. A kill is told as it takes effect and
/// once more, with its index, when it is recorded.
pub(crate) async fn stream(call: Call) -> Result<Response, Problem> {
    let session = call.session(Act::Propose)?;
    call.query(&[])?;
    let last = match call.header("last-event-id")? {
        None => None,
        Some(text) => {
            let expected = "expected the index of an entry";
            let last = text.trim().parse::<u64>();
            Some(last.map_err(|_| Problem::header("Last-Event-ID", expected))?)
        }
    };
    let workspace = session.workspace;
    let (stops, overrides) = (workspace.watch_stops(), workspace.watch_overrides());
    let (sender, receiver) = channel(4);
    let teller = Teller { call, workspace, sender, stops, overrides };
    tokio::spawn(teller.run(last));
    Ok(document::event_stream(receiver))
}

struct Teller {
    call: Call,
    workspace: Arc<Workspace>,
    sender: Sender<Bytes>,
    stops: watch::Receiver<u64>,
    overrides: watch::Receiver<u64>,
}

/// What the teller has to do next.
enum Turn {
    Stop,
    Told(Result<Vec<(u64, TripRecord)>, PlaneError>),
    Look,
    Heartbeat,
    End,
}

impl Teller {
    /// Ends when the gate goes, its key is revoked, or the server stops.
    async fn run(mut self, last: Option<u64>) {
        let server = self.call.server.clone();
        if !self.send(Bytes::from_static(b": placet\n\n")).await {
            return;
        }
        // Who comes without a mark is told what is in force, and from there on what is new.
        let mut fresh = last.is_none();
        let mut last = last;
        if self.workspace.is_killed() && !self.send(stopped(&self.workspace)).await {
            return;
        }
        let mut look = true;
        loop {
            let (plane, workspace) = (server.plane.clone(), self.workspace.clone());
            let turn = tokio::select! {
                biased;
                () = server.stopped() => Turn::End,
                () = self.sender.closed() => Turn::End,
                stop = self.stops.changed() => if stop.is_ok() { Turn::Stop } else { Turn::End },
                told = async { plane.trips_after(&workspace, last).await }, if look => Turn::Told(told),
                more = self.overrides.changed(), if !look => {
                    if more.is_ok() { Turn::Look } else { Turn::End }
                }
                () = tokio::time::sleep(HEARTBEAT) => Turn::Heartbeat,
            };
            let going = match turn {
                Turn::End => false,
                // It waits for no look at the state: the store may be what is stuck. What stops less than
                // all of the workspace is told as it is recorded.
                Turn::Stop if !self.workspace.is_killed() => true,
                Turn::Stop => self.may_hear() && self.send(stopped(&self.workspace)).await,
                Turn::Look => {
                    look = true;
                    true
                }
                Turn::Heartbeat => {
                    self.may_hear() && self.send(Bytes::from_static(b": still here\n\n")).await
                }
                Turn::Told(Ok(told)) => {
                    look = false;
                    last = told.last().map(|(index, _)| *index).or(last);
                    let told = told.iter().filter(|(index, trip)| {
                        let in_force = trip.source.is_some() && trip.lifted.is_none();
                        !fresh || (in_force && *index == trip.index)
                    });
                    let text: String = told.map(|(index, trip)| event(*index, trip)).collect();
                    fresh = false;
                    self.may_hear() && (text.is_empty() || self.send(text.into()).await)
                }
                Turn::Told(Err(_)) => {
                    tokio::time::sleep(AGAIN).await;
                    true
                }
            };
            if !going {
                return;
            }
        }
    }

    fn may_hear(&self) -> bool {
        session(&self.call.server.plane, &self.call.parts, Act::Propose).is_ok()
    }

    async fn send(&self, bytes: Bytes) -> bool {
        tokio::select! {
            () = self.call.server.stopped() => false,
            sent = self.sender.send(bytes) => sent.is_ok(),
        }
    }
}

/// A kill that has taken effect: there is nothing to acknowledge yet, and everything to stop.
fn stopped(workspace: &Workspace) -> Bytes {
    let text = format!(
        "event: override.stopped\ndata: {{\"recorded\":false,\"workspace\":\"{}\"}}\n\n",
        workspace.name
    );
    text.into()
}

fn event(index: u64, trip: &TripRecord) -> String {
    let kind = match (trip.source, trip.lifted) {
        (None, _) => "kill.drilled",
        (Some(_), Some((_, lifted))) if lifted == index => "kill.lifted",
        (Some(_), _) => "kill.tripped",
    };
    let told = OverrideTold {
        index: trip.index,
        scope: trip.scope.to_string(),
        mode: trip.mode.as_str(),
        source: trip.source.map(|source| source.as_str()),
        drill: trip.source.is_none(),
        since: Instant(trip.since),
        lifted: trip.lifted.map(|(time, _)| Instant(time)),
    };
    let data = serde_json::to_string(&told).unwrap_or_else(|_| "{}".to_owned());
    format!("id: {index}\nevent: {kind}\ndata: {data}\n\n")
}
