//! `approvals`, `approve`, `reject`: the inbox of people. Owns what is shown before a decision; the
//! digest that is sent back is the one that was shown, or the one given by hand, and no other.

use crate::client::{Client, Remote, escape};
use crate::exit::{Done, Fault};
use crate::output;
use anyhow::Result;
use clap::Args;
use serde_json::{Value, json};
use std::io::{BufRead, IsTerminal, Write};
use std::process::ExitCode;

/// Approvals asked for at a time.
const PAGE: usize = 200;
/// Pages at most: the queue itself is bounded.
const PAGES_MAX: usize = 500;

/// What waits for approval.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  placet approvals
  placet approvals --all --json")]
pub(crate) struct ApprovalsArgs {
    /// Also those that are resolved.
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    remote: Remote,
    /// Print one JSON document.
    #[arg(long)]
    json: bool,
}

/// Decide a held action: shows exactly what would run, and asks.
///
/// Without a terminal, --digest is required: it says which action you have looked at.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  placet approve apr_018f…                            # look, then answer
  placet approve --decision dec_018f…
  placet approve apr_018f… --digest sha256:… --note 'checked the invoice'
  placet reject apr_018f… --digest sha256:…")]
pub(crate) struct VoteArgs {
    /// The approval, `apr_…`.
    #[arg(required_unless_present = "decision", conflicts_with = "decision")]
    id: Option<String>,
    /// The held decision, `dec_…`, instead of the approval.
    #[arg(long, value_name = "ID")]
    decision: Option<String>,
    /// Digest of the action that you have looked at.
    #[arg(long, value_name = "sha256:HEX")]
    digest: Option<String>,
    /// Why; kept with the vote.
    #[arg(long)]
    note: Option<String>,
    #[command(flatten)]
    remote: Remote,
    /// Print one JSON document.
    #[arg(long)]
    json: bool,
}

/// Runs `approvals`.
pub(crate) async fn list(args: ApprovalsArgs) -> Done {
    let client = Client::of(&args.remote)?;
    let found = all(&client, args.all).await?;
    if args.json {
        output::document(&json!({"approvals": found}));
        return Ok(ExitCode::SUCCESS);
    }
    if found.is_empty() {
        output::line("nothing waits for approval");
        return Ok(ExitCode::SUCCESS);
    }
    let rows: Vec<Vec<String>> = found
        .iter()
        .map(|one| {
            let cell = |key: &str| output::plain(&one[key]);
            let what = format!("{} {}", cell("surface"), cell("action"));
            vec![
                cell("id"),
                cell("state"),
                what,
                cell("requested_by"),
                cell("missing"),
                cell("expires"),
            ]
        })
        .collect();
    output::line(&output::table(
        &["approval", "state", "action", "asked by", "missing", "until"],
        &rows,
    ));
    output::line("Look at one and decide it with `placet approve ID` or `placet reject ID`.");
    Ok(ExitCode::SUCCESS)
}

async fn all(client: &Client, include_resolved: bool) -> Result<Vec<Value>> {
    let mut found = Vec::new();
    let mut cursor = String::new();
    for _ in 0..PAGES_MAX {
        let path =
            format!("/api/v1/approvals?include_resolved={include_resolved}&limit={PAGE}{cursor}");
        let mut page = client.get(&path).await?;
        if let Value::Array(items) = page["approvals"].take() {
            found.extend(items);
        }
        let Some(next) = page["next_cursor"].as_str() else { break };
        cursor = format!("&cursor={}", escape(next));
    }
    Ok(found)
}

/// Runs `approve` or `reject`.
pub(crate) async fn vote(args: VoteArgs, approve: bool) -> Done {
    let client = Client::of(&args.remote)?;
    let id = match (&args.id, &args.decision) {
        (Some(id), _) => id.clone(),
        (None, Some(decision)) => approval_of(&client, decision).await?,
        (None, None) => return Err(Fault::usage("name an approval or a --decision").into()),
    };
    let digest = match &args.digest {
        Some(digest) => digest.clone(),
        None => look(&client, &id, approve, args.json).await?,
    };
    let mut body = json!({"action_digest": digest});
    if let Some(note) = &args.note {
        body["note"] = note.as_str().into();
    }
    let verb = if approve { "approve" } else { "reject" };
    let voted = client.post(&format!("/api/v1/approvals/{}/{verb}", escape(&id)), &body).await?;
    if args.json {
        output::document(&voted);
        return Ok(ExitCode::SUCCESS);
    }
    let style = if approve { output::GREEN } else { output::RED };
    let word = if approve { "approved" } else { "rejected" };
    output::line(&format!("{}: {}", output::paint(style, word), output::safe(&id)));
    let missing = voted["missing"].as_object().is_some_and(|missing| !missing.is_empty());
    if approve && missing {
        output::field("missing", &output::plain(&voted["missing"]));
    }
    Ok(ExitCode::SUCCESS)
}

async fn approval_of(client: &Client, decision: &str) -> Result<String> {
    let document = client.get(&format!("/api/v1/decisions/{}", escape(decision))).await?;
    let id = document["approval"]["id"].as_str();
    Ok(id.map(str::to_owned).ok_or_else(|| {
        Fault::new("not_found", format!("{decision} does not wait for an approval"))
    })?)
}

/// Shows what would run and asks; the digest of what was shown.
async fn look(client: &Client, id: &str, approve: bool, json: bool) -> Result<String> {
    if json || !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
        let fault = Fault::usage("without a terminal to ask on, --digest is required");
        return Err(fault
            .next(
                "look with `placet approvals --json` and pass the action_digest that you have seen",
            )
            .into());
    }
    let found = all(client, true).await?;
    let held = found.iter().find(|one| one["id"] == *id);
    let held = held.ok_or_else(|| {
        Fault::new("not_found", format!("no approval {id}"))
            .next("list them with `placet approvals`")
    })?;
    let digest = held["action_digest"].as_str();
    let digest = digest.ok_or_else(|| {
        Fault::new("payload_erased", "what would run was erased, so nobody can look at it")
    })?;
    eprint!("{}", shown(held));
    let verb = if approve { "Approve" } else { "Reject" };
    eprint!("{verb} exactly this? Type yes: ");
    std::io::stderr().flush()?;
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer)?;
    if answer.trim() != "yes" {
        return Err(Fault::new("failed", "nothing was decided").into());
    }
    Ok(digest.to_owned())
}

/// Everything that a person needs to decide, with nothing hidden in it.
fn shown(held: &Value) -> String {
    let mut out = String::new();
    let mut field = |label: &str, value: &Value| {
        if !value.is_null() {
            let label = output::err_paint(output::DIM, &format!("{label:<12}"));
            out.push_str(&format!("  {label} {}\n", output::plain(value)));
        }
    };
    field("surface", &held["surface"]);
    field("action", &held["action"]);
    field("topic", &held["topic"]);
    field("target", &held["target"]);
    field("environment", &held["environment"]);
    field("asked by", &held["requested_by"]);
    field("risk tags", &held["risk_tags"]);
    field("constraints", &held["constraints"]);
    field("rules", &held["rules"]);
    for reason in held["reasons"].as_array().into_iter().flatten() {
        field("because", &reason["text"]);
    }
    field("missing", &held["missing"]);
    field("expires", &held["expires"]);
    field("policy", &held["policy"]);
    field("digest", &held["action_digest"]);
    if let Some(arguments) = held.get("arguments").filter(|arguments| !arguments.is_null()) {
        let pretty = serde_json::to_string_pretty(arguments).unwrap_or_default();
        out.push_str(&format!("  {}\n", output::err_paint(output::DIM, "arguments")));
        for line in pretty.lines() {
            out.push_str(&format!("    {}\n", output::safe(line)));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::shown;
    use serde_json::json;

    #[test]
    fn what_would_run_is_shown_whole_and_nothing_in_it_hides() {
        let held = json!({
            "surface": "payments.refund", "action": "create", "target": "order \u{1b}[8m42",
            "requested_by": "agent:support", "constraints": {"max_retries": 1},
            "rules": ["bank.refund-large"], "action_digest": "sha256:00", "expires": "soon",
            "arguments": {"amount_cents": 125_000, "memo": "x\u{202e}y"},
        });
        let text = shown(&held);
        for part in ["payments.refund", "agent:support", "bank.refund-large", "sha256:00", "125000"]
        {
            assert!(text.contains(part), "{part} in {text}");
        }
        assert!(text.contains("order \\u{1b}[8m42") && text.contains("x\\u{202e}y"), "{text}");
    }
}
