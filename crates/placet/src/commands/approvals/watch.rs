//! `approvals --watch`: what waits, kept up to date by the stream of log entries. Owns when what is
//! fetched again; goes on after a lost connection where it was, and misses nothing.

use super::{all, shown};
use crate::client::{Client, escape};
use crate::exit::{Done, Fault, code, passes};
use crate::output;
use crate::stream::Entries;
use anyhow::Result;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::time::Duration;

/// How often a table on a terminal is drawn anew: its expiries count down.
const TICK: Duration = Duration::from_secs(1);
/// How often approvals are asked for where the stream may not be read.
const POLL: Duration = Duration::from_secs(2);
/// Longest pause between two attempts to connect again.
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// Watches until interrupted.
pub(super) async fn run(client: Client, resolved: bool, json: bool, after: Option<u64>) -> Done {
    let mut view = View { approvals: BTreeMap::new(), resolved, how: How::of(json) };
    // What follows this entry comes by the stream; what stands before is asked for once it is open.
    let (mut last, mut asked) = match after {
        Some(after) => (Some(after), true),
        None => (newest(&client).await?, false),
    };
    let mut pause = Duration::from_secs(1);
    let mut connected = false;
    loop {
        match client.entries_after(last).await {
            Ok(stream) => {
                connected = true;
                if !asked {
                    view.replace(all(&client, resolved).await?, last);
                    view.draw();
                    asked = true;
                }
                let before = last;
                let ended = follow(&client, stream, &mut view, &mut last).await;
                if last != before {
                    pause = Duration::from_secs(1);
                }
                let why = ended.err().map_or_else(|| "the stream ended".into(), |e| e.to_string());
                eprintln!("connection lost, trying again: {}", output::safe(&why));
            }
            Err(error) if code(&error) == Some("role_missing") => {
                if after.is_some() && !connected {
                    let detail = "this key may not read the log, so --after cannot be honoured";
                    let fault = Fault::new("role_missing", detail);
                    return Err(fault.next("leave --after out, or watch as an auditor").into());
                }
                return poll(&client, view).await;
            }
            Err(error) if !connected || !passes(&error) => return Err(error),
            Err(_) => {}
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

/// The index of the newest entry.
async fn newest(client: &Client) -> Result<Option<u64>> {
    let checkpoint = client.get_text("/api/v1/checkpoint").await?;
    let size = checkpoint.lines().nth(1).and_then(|line| line.parse::<u64>().ok());
    let size = size.ok_or_else(|| Fault::new("failed", "the server's checkpoint has no size"))?;
    Ok(size.checked_sub(1))
}

/// Reads the stream until it ends.
async fn follow(
    client: &Client,
    mut stream: Entries,
    view: &mut View,
    last: &mut Option<u64>,
) -> Result<()> {
    let mut tick = tokio::time::interval(TICK);
    loop {
        let entry = tokio::select! {
            entry = stream.next() => entry?,
            _ = tick.tick() => {
                view.draw();
                continue;
            }
        };
        let Some(entry) = entry else { return Ok(()) };
        let index = entry["index"].as_u64();
        if let Some(id) = entry["approval"]["id"].as_str() {
            let found = client.get(&format!("/api/v1/approvals/{}", escape(id))).await;
            match found {
                Ok(held) => view.change(&entry, held),
                // Final for so long that the server has forgotten it.
                Err(error) if code(&error) == Some("not_found") => view.forget(id),
                Err(error) => return Err(error),
            }
        }
        *last = index.or(*last);
    }
}

/// Asks again and again, for those who may not read the log.
async fn poll(client: &Client, mut view: View) -> Done {
    eprintln!("this key may not read the log; asking every {} seconds instead", POLL.as_secs());
    loop {
        match look(client, &mut view).await {
            Err(error) if !passes(&error) => return Err(error),
            _ => {}
        }
        view.draw();
        tokio::time::sleep(POLL).await;
    }
}

/// What there is now, and what became of that which is listed no more.
async fn look(client: &Client, view: &mut View) -> Result<()> {
    for id in view.replace(all(client, view.resolved).await?, None) {
        match client.get(&format!("/api/v1/approvals/{}", escape(&id))).await {
            Ok(held) => view.tell(None, kind(&held), &held),
            Err(error) if code(&error) == Some("not_found") => {}
            Err(error) => return Err(error),
        }
        view.approvals.remove(&id);
    }
    Ok(())
}

/// The type of the entry that has brought an approval into its state.
fn kind(held: &Value) -> &'static str {
    match held["state"].as_str() {
        Some("pending") => "snapshot",
        Some("approved" | "rejected") => "approval.voted",
        Some("consumed") => "permit.collected",
        _ => "approval.closed",
    }
}

/// How changes are shown.
#[derive(Clone, Copy, PartialEq, Eq)]
enum How {
    /// JSON Lines.
    Json,
    /// A table that is drawn anew.
    Table,
    /// A line for each change.
    Lines,
}

impl How {
    fn of(json: bool) -> Self {
        match (json, std::io::stdout().is_terminal()) {
            (true, _) => Self::Json,
            (false, true) => Self::Table,
            (false, false) => Self::Lines,
        }
    }
}

struct View {
    /// By id, which is the order in which they were held.
    approvals: BTreeMap<String, Value>,
    resolved: bool,
    how: How,
}

impl View {
    /// Takes what there is now; what is new or has changed is told. The ids of what is listed no more.
    fn replace(&mut self, found: Vec<Value>, index: Option<u64>) -> Vec<String> {
        let mut gone: Vec<String> = self.approvals.keys().cloned().collect();
        for held in found {
            let id = held["id"].as_str().unwrap_or_default().to_owned();
            gone.retain(|other| *other != id);
            let known = self.approvals.get(&id);
            if known != Some(&held) {
                self.tell(index, known.map_or("snapshot", |_| kind(&held)), &held);
                self.approvals.insert(id, held);
            }
        }
        gone
    }

    /// Takes what an entry has changed.
    fn change(&mut self, entry: &Value, held: Value) {
        let kind = entry["type"].as_str().unwrap_or_default();
        self.tell(entry["index"].as_u64(), kind, &held);
        let id = held["id"].as_str().unwrap_or_default().to_owned();
        if self.resolved || held["state"] == "pending" {
            self.approvals.insert(id, held);
        } else {
            self.approvals.remove(&id);
        }
        self.draw();
    }

    fn forget(&mut self, id: &str) {
        self.approvals.remove(id);
        self.draw();
    }

    fn tell(&self, index: Option<u64>, kind: &str, held: &Value) {
        match self.how {
            How::Json => {
                output::json_line(&json!({"index": index, "type": kind, "approval": held}));
            }
            How::Lines => output::line(&shown::line(held)),
            How::Table => {}
        }
    }

    fn draw(&self) {
        if self.how != How::Table {
            return;
        }
        let body = match self.approvals.is_empty() {
            true => "nothing waits for approval".to_owned(),
            false => shown::table(self.approvals.values()),
        };
        // From the upper left corner, and nothing of what stood there before.
        output::line(&format!("\u{1b}[H\u{1b}[2J{body}\n\nInterrupt to end."));
    }
}
