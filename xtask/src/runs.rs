//! Executions of the crash test: how they are asked for, and whether they have a place. Judges nothing.

use crate::control::is_queue;
use crate::http::{Client, got, sent};
use anyhow::{Result, bail};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// Until what waited for a place has to have it.
const PLACE: Duration = Duration::from_secs(30);

/// Of those whose turn it is to wait, each number has a capability of its own.
fn capability_of(number: u64) -> String {
    if is_queue(number) { format!("narrow-{number}") } else { "crash".to_owned() }
}

/// Asks for one; `None` where nobody answers.
pub(crate) fn begin(
    client: &mut Client,
    seed: u64,
    number: u64,
    which: &str,
) -> Result<Option<Value>> {
    let key = format!("{seed}-{which}-{number}");
    let body = json!({"capability": capability_of(number), "idempotency_key": key});
    sent(client, "/api/v1/executions", &body, &[201])
}

/// A request that is a step of it.
pub(crate) fn step_of(number: u64, execution: &str) -> Value {
    json!({"surface": "control.stop.any", "action": "step", "capability": capability_of(number),
           "execution": execution})
}

/// Where it stands.
pub(crate) fn state_of(client: &mut Client, execution: &str) -> Result<String> {
    let found = got(client, &format!("/api/v1/executions/{execution}"))?;
    Ok(found["state"].as_str().unwrap_or_default().to_owned())
}

/// Waits until what waited for a place has it; false where the server does not answer any more.
pub(crate) fn has_place(client: &mut Client, execution: &str) -> Result<bool> {
    let path = format!("/api/v1/executions/{execution}");
    let began = Instant::now();
    loop {
        let Ok(response) = client.request("GET", &path, None) else { return Ok(false) };
        match (response.status, response.json()?["state"].as_str()) {
            (200, Some("running")) => return Ok(true),
            (200, Some("queued")) if began.elapsed() < PLACE => {
                std::thread::sleep(Duration::from_millis(2));
            }
            (429 | 503, _) => return Ok(false),
            (status, state) => bail!("{execution} has no place: {status}, {state:?}"),
        }
    }
}
