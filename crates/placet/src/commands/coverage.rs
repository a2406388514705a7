//! `coverage`: what is governed and what is not; ends otherwise than with 0 where there is a hole. Refuses
//! to know what makes a hole.

use crate::client::escape;
use crate::commands::ask::Ask;
use crate::exit::{Done, HOLES};
use crate::output;
use clap::Args;
use serde_json::Value;
use std::process::ExitCode;

/// Kinds of holes, as `docs/reference/coverage.md` lists them.
const KINDS: [&str; 15] = [
    "exception_ungoverned",
    "fail_open",
    "gate_never_heard",
    "gate_silent",
    "no_policy",
    "not_told_apart",
    "outcome_unknown",
    "owner_missing",
    "review_overdue",
    "rule_never_matched",
    "shadowed",
    "surface_never_heard",
    "surface_silent",
    "surface_unknown",
    "ungoverned_passage",
];

/// What is governed and what is not: surfaces, their gates, rules, and the holes between them.
///
/// Ends with 16 where there is a hole of a kind that is not allowed; docs/reference/coverage.md lists the kinds.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  placet coverage
  placet coverage --since 24h                            # gates that were not heard for a day are holes
  placet coverage --allow rule_never_matched --json      # in CI")]
pub(crate) struct CoverageArgs {
    /// Surfaces and gates that were not heard for so long are silent: `24h`, `7d`.
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// A kind of hole that may be there; may be repeated.
    #[arg(long, value_name = "KIND", value_parser = clap::builder::PossibleValuesParser::new(KINDS))]
    allow: Vec<String>,
    #[command(flatten)]
    ask: Ask,
}

/// Runs it.
pub(crate) async fn run(args: CoverageArgs) -> Done {
    let since = args.since.map(|since| format!("?since={}", escape(&since)));
    let path = format!("/api/v1/coverage{}", since.unwrap_or_default());
    let mut found = args.ask.client()?.get(&path).await?;
    let is_allowed = |kind: &str| args.allow.iter().any(|allowed| allowed == kind);
    // Fail closed: a kind that this program does not know is a hole.
    let forbidden: u64 = match found["holes_by_kind"].as_object() {
        Some(kinds) => {
            let counts = kinds.iter().filter(|(kind, _)| !is_allowed(kind));
            counts.map(|(_, count)| count.as_u64().unwrap_or(1)).sum()
        }
        None => 1,
    };
    found["forbidden_holes"] = forbidden.into();
    args.ask.show(&found, |found| print(found, &is_allowed, forbidden))?;
    Ok(if forbidden == 0 { ExitCode::SUCCESS } else { ExitCode::from(HOLES) })
}

fn print(found: &Value, is_allowed: &impl Fn(&str) -> bool, forbidden: u64) {
    let list = |name: &str| found[name].as_array().into_iter().flatten();
    let rows: Vec<_> = list("surfaces").map(row).collect();
    if !rows.is_empty() {
        let head = ["surface", "decisions", "used", "unknown", "passages", "gates", "heard last"];
        output::line(&output::table(&head, &rows));
    }
    if let Some(rules) = found["rules"].as_object() {
        let whole =
            if rules["whole"] == true { "" } else { " (at least: not every match is listed)" };
        output::line(&format!(
            "{} of {} rules have matched since {}{whole}",
            output::plain(&rules["matched"]),
            output::plain(&rules["declared"]),
            output::plain(&rules["since"]),
        ));
    }
    let mut listed = 0;
    for hole in list("holes") {
        listed += 1;
        let kind = output::plain(&hole["kind"]);
        let mark = if is_allowed(&kind) { "allowed" } else { "hole" };
        let surface = hole["surface"].as_str().map(|name| format!("{}: ", output::safe(name)));
        let detail = output::plain(&hole["detail"]);
        output::line(&format!("{mark:<8} {kind}  {}{detail}", surface.unwrap_or_default()));
    }
    let kinds = found["holes_by_kind"].as_object();
    let all: u64 = kinds.into_iter().flatten().filter_map(|(_, count)| count.as_u64()).sum();
    if all > listed {
        output::line(&format!("and {} more holes", all - listed));
    }
    output::line(&match forbidden {
        0 => "no holes but those that are allowed".to_owned(),
        count => format!("holes: {count}"),
    });
}

fn row(it: &Value) -> Vec<String> {
    let sum = |value: &Value| {
        let counts = value.as_object().into_iter().flatten();
        counts.filter_map(|(_, count)| count.as_u64()).sum::<u64>().to_string()
    };
    let gates: Vec<String> = it["gates"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|gate| output::plain(&gate["actor"]))
        .collect();
    let passages = ["open", "forbidden"].map(|name| it["passages"][name].as_u64().unwrap_or(0));
    vec![
        output::plain(&it["name"]),
        sum(&it["decisions"]),
        output::plain(&it["consumed"]),
        output::plain(&it["outcome_unknown"]),
        passages.iter().sum::<u64>().to_string(),
        if gates.is_empty() { "-".to_owned() } else { gates.join(", ") },
        output::plain(&it["heard_last"]),
    ]
}
