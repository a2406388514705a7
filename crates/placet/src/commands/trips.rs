//! What a kill came to, and drills: `kill --report`, `kill --drill`. Owns how a report is shown and how long
//! gates are waited for; refuses to know how anything is stopped.

use crate::client::Client;
use crate::commands::ask::Ask;
use crate::commands::overrides::called;
use crate::exit::Done;
use crate::output;
use anyhow::Result;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// Between two looks at who has acknowledged.
const LOOK: Duration = Duration::from_millis(50);

/// Practises a kill, waits for the gates that were heard lately, and shows what they said.
pub(super) async fn drill(ask: &Ask, scope: &str, wait: u64) -> Done {
    let client = ask.client()?;
    let body = json!({"scope": scope});
    let begun = client.post("/api/v1/overrides:drill", &body).await?;
    let report = waited(&client, begun, Duration::from_secs(wait)).await?;
    ask.show(&report, show)
}

/// Shows what the trip or drill at a log index came to.
pub(super) async fn report(ask: &Ask, index: u64) -> Done {
    ask.get(&format!("/api/v1/overrides/{index}"), show).await
}

/// The report of the kill in the entry at a log index.
pub(super) async fn at(client: &Client, index: &Value) -> Option<Value> {
    client.get(&format!("/api/v1/overrides/{}", index.as_u64()?)).await.ok()
}

/// The report once no gate is silent, or once the time is over.
async fn waited(client: &Client, begun: Value, wait: Duration) -> Result<Value> {
    let (since, mut report) = (Instant::now(), begun);
    let index = report["index"].clone();
    while report["silent"].as_array().is_some_and(|gates| !gates.is_empty())
        && since.elapsed() < wait
    {
        tokio::time::sleep(LOOK).await;
        report = client.get(&format!("/api/v1/overrides/{index}")).await?;
    }
    Ok(report)
}

pub(super) fn show(report: &Value) {
    let count = |place: &str| report.pointer(place).and_then(Value::as_u64).unwrap_or(0);
    let drill = report["drill"] == true;
    let kind = if drill { "drill".to_owned() } else { output::plain(&report["mode"]) };
    output::line(&format!(
        "{kind} of {}, entry {}, {}",
        called(report),
        count("/index"),
        output::plain(&report["since"])
    ));
    let ended = format!(
        "{} open permits, {} held actions, {} waiting callers, {} executions",
        count("/stopped/open_permits"),
        count("/stopped/held_actions"),
        count("/stopped/waiting_callers"),
        count("/stopped/executions")
    );
    if drill {
        output::line(&format!("  would stop: {ended}"));
    } else {
        let lifted = match &report["lifted"] {
            Value::Null => "it lasts".to_owned(),
            time => format!("lifted {}", output::plain(time)),
        };
        output::line(&format!("  source {}, {lifted}", output::plain(&report["source"])));
        output::line(&format!("  stopped: {ended}"));
        output::line(&format!(
            "  out of reach, in the whole workspace: {} permits consumed before and never reported, {} of them never left",
            count("/unreached/unreported"),
            count("/unreached/overtaken")
        ));
    }
    let none = Vec::new();
    let said = report["acknowledged"].as_array().unwrap_or(&none);
    let silent = report["silent"].as_array().unwrap_or(&none);
    output::line(&format!("  gates: {} acknowledged, {} silent", said.len(), silent.len()));
    for gate in said {
        let number = |name: &str| gate[name].as_u64().unwrap_or(0);
        output::line(&format!(
            "    {} after {} ms: {} stopped, {} out of reach",
            output::plain(&gate["gate"]),
            number("latency_ms"),
            number("stopped"),
            number("unreachable")
        ));
        for name in gate["names"].as_array().unwrap_or(&none) {
            output::line(&format!("      out of reach: {}", output::plain(name)));
        }
    }
    for gate in silent {
        output::line(&format!(
            "    {}: {}, heard last {}",
            output::plain(&gate["gate"]),
            output::paint(output::YELLOW, "SILENT"),
            output::plain(&gate["heard"])
        ));
    }
    if count("/unlisted") > 0 {
        output::line("    more gates than can be remembered: some may be missing here");
    }
}
