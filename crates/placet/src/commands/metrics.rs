//! `metrics`: how governance goes, in figures. Refuses to know how they are counted.

use crate::client::escape;
use crate::commands::ask::Ask;
use crate::exit::Done;
use crate::output;
use clap::Args;
use serde_json::Value;

/// How governance goes: approval latency, rejected changes, expired evidence, exception use, missing owners,
/// violations, complete lineage.
///
/// docs/reference/metrics.md says what each figure counts, and what it does not.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  placet metrics
  placet metrics --window 24h
  placet metrics --window 7d --json | jq .approval_latency")]
pub(crate) struct MetricsArgs {
    /// Only the last while, from the full hour in which it begins: `24h`, `30d`. Else since the log began.
    #[arg(long, value_name = "TIME")]
    window: Option<String>,
    #[command(flatten)]
    ask: Ask,
}

/// Runs it.
pub(crate) async fn run(args: MetricsArgs) -> Done {
    let window = args.window.map(|window| format!("?window={}", escape(&window)));
    let path = format!("/api/v1/metrics/governance{}", window.unwrap_or_default());
    args.ask.get(&path, print).await
}

fn print(found: &Value) {
    let plain = |pointer: &str| output::plain(found.pointer(pointer).unwrap_or(&Value::Null));
    output::line(&format!("since {}, {} entries of the log", plain("/since"), plain("/size")));
    let waited = &found["approval_latency"];
    let latency = match waited["count"].as_u64() {
        None | Some(0) => "nothing was decided".to_owned(),
        Some(count) => format!(
            "{count} decided, half within {}, nine of ten within {}, the longest {}",
            span(&waited["p50_within_ms"]),
            span(&waited["p90_within_ms"]),
            span(&waited["max_ms"]),
        ),
    };
    row("approval latency", &latency);
    let ends = &found["rejected_changes"];
    let of = ["rejected", "approved", "expired", "invalidated", "withdrawn"];
    let all: u64 = of.iter().filter_map(|name| ends[*name].as_u64()).sum();
    row("rejected changes", &format!("{} of {all}", plain("/rejected_changes/rejected")));
    let evidence = format!(
        "{} denied, {} ended while held; {} denied for a missing piece",
        plain("/expired_evidence/expired"),
        plain("/expired_evidence/lapsed"),
        plain("/expired_evidence/missing")
    );
    row("expired evidence", &evidence);
    let exceptions = format!(
        "{} opened, {} decisions rest on one; {} live, {} not reviewed in time",
        plain("/exception_use/opened"),
        plain("/exception_use/passages"),
        plain("/exception_use/live"),
        plain("/exception_use/overdue")
    );
    row("exception use", &exceptions);
    let owners = match found["missing_owners"].as_object() {
        None => "no policy is in force".to_owned(),
        Some(_) => format!(
            "{} of {} entries, {} of them because the owner has left",
            plain("/missing_owners/total"),
            plain("/missing_owners/entries"),
            plain("/missing_owners/left")
        ),
    };
    row("missing owners", &owners);
    let stopped = plain("/policy_violations/stopped");
    let violations = format!(
        "{} denied; {stopped} more were stopped by people",
        plain("/policy_violations/denied")
    );
    row("policy violations", &violations);
    if let Some(reasons) = found.pointer("/policy_violations/by_reason").and_then(Value::as_object)
    {
        for (reason, count) in reasons {
            row(&format!("  {}", output::safe(reason)), &output::plain(count));
        }
    }
    let lineage = match found.pointer("/lineage_share/percent").and_then(Value::as_u64) {
        None => "nothing was released".to_owned(),
        Some(percent) => format!(
            "{} of {} releases, {percent} %",
            plain("/lineage_share/complete"),
            plain("/lineage_share/releases")
        ),
    };
    row("complete lineage", &lineage);
}

fn row(label: &str, value: &str) {
    output::line(&format!("  {label:<24} {value}"));
}

/// Milliseconds for people.
fn span(ms: &Value) -> String {
    let Some(ms) = ms.as_u64() else { return "-".to_owned() };
    let (seconds, rest) = (ms / 1000, ms % 1000);
    match seconds {
        0 => format!("{rest}ms"),
        1..60 => format!("{seconds}s"),
        60..3600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        _ => format!("{}h{:02}m", seconds / 3600, seconds / 60 % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::span;
    use serde_json::{Value, json};

    #[test]
    fn spans_are_short() {
        let read = [json!(7), json!(9_999), json!(61_000), json!(90_000_000), Value::Null];
        assert_eq!(read.map(|it| span(&it)), ["7ms", "9s", "1m01s", "25h00m", "-"]);
    }
}
