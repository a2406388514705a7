//! `decide`: one request or many, by the server or locally against a bundle. Owns how a decision is
//! shown and which exit it gives; refuses to exit with success unless the action may execute.

use crate::client::{Client, Remote, escape, succeeded};
use crate::commands::ask;
use crate::exit::{self, Done, Fault};
use crate::local::{self, CallerArgs};
use crate::output;
use anyhow::Result;
use clap::Args;
use hyper::Method;
use placet_policy::Bundle;
use placet_types::duration::duration_ms;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// The longest question of one call while an approval is waited for: less than servers and proxies bear.
const QUESTION: Duration = Duration::from_secs(25);
/// The least time between two of them.
const PAUSE: Duration = Duration::from_secs(1);
/// The longest that an approval may take.
const WAIT_MAX_MS: u64 = 30 * 86_400_000;

/// Decide one execution request; the exit code is the outcome.
///
/// Exit codes: 0 PERMIT, 10 REQUIRE_APPROVAL while people may still approve it, 11 THROTTLE, 12 DENY and approvals
/// that are rejected, withdrawn, expired or invalidated, 13 SILENCE, 1 failure, 2 usage.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  placet decide request.json                     # the server decides and records
  placet decide request.json --wait 25s          # and waits while it is held
  placet decide request.json --bundle policy/ --role support --json   # locally, nothing recorded
  echo '{\"surface\":\"crm.record\",\"action\":\"read\",\"idempotency_key\":\"r1\"}' | placet decide -")]
pub(crate) struct DecideArgs {
    /// File with the request, `-` for standard input.
    #[arg(default_value = "-")]
    file: String,
    /// Decide locally against this bundle; nothing is recorded and no permit is given.
    #[arg(long, value_name = "DIR")]
    bundle: Option<PathBuf>,
    #[command(flatten)]
    caller: CallerArgs,
    #[command(flatten)]
    remote: Remote,
    /// The file holds one request per line (JSON Lines).
    #[arg(long)]
    lines: bool,
    /// Also show why each rule matched or not (with --bundle).
    #[arg(long, requires = "bundle", conflicts_with_all = ["receipt", "wait"])]
    explain: bool,
    /// Save the receipt to this file.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["bundle", "lines"])]
    receipt: Option<PathBuf>,
    /// While it is held, wait this long for the approval, and fetch its permit: `25s`, `3m`. Where the request has no
    /// `attempt_nonce`, one is drawn and printed: the permit is for whoever knows it.
    #[arg(long, value_name = "TIME", value_parser = wait, conflicts_with_all = ["bundle", "lines"])]
    wait: Option<Duration>,
    /// Print the decision document and nothing else.
    #[arg(long)]
    json: bool,
}

/// Runs it.
pub(crate) async fn run(args: DecideArgs) -> Done {
    let bytes = local::read_input(&args.file)?;
    let bundle = args.bundle.as_deref().map(local::compile_in_force).transpose()?;
    if bundle.is_none() && args.caller.said().is_some() {
        let fault = Fault::usage("a server decides for the caller that the key names");
        return Err(fault
            .next("leave --actor, --role and --environment out, or name a --bundle")
            .into());
    }
    if !args.lines {
        let document = match &bundle {
            Some(bundle) => locally(&args, bundle, &bytes)?,
            None => remotely(&args, &Client::of(&args.remote)?, &bytes).await?,
        };
        show(&args, &document);
        return Ok(leave(&document));
    }
    let client = Client::of(&args.remote)?;
    let mut last = ExitCode::SUCCESS;
    for line in bytes.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty()) {
        let document = match &bundle {
            Some(bundle) => locally(&args, bundle, line)?,
            None => remotely(&args, &client, line).await?,
        };
        if args.json {
            output::json_line(&document);
        } else {
            output::line(&summary(&document));
        }
        let code = leave(&document);
        // The first that may not execute decides the exit of them all.
        if last == ExitCode::SUCCESS {
            last = code;
        }
    }
    Ok(last)
}

fn locally(args: &DecideArgs, bundle: &Bundle, bytes: &[u8]) -> Result<Value> {
    let mut caller = args.caller.caller(args.remote.workspace.as_deref())?;
    let request = local::request(bytes, &mut caller)?;
    let trace = args.explain.then(|| bundle.explain(&request, &caller));
    let decision = local::decide(bundle, &request, caller)?;
    let mut document = decision.document();
    if let Some(mut trace) = trace {
        trace.settle(decision.time(), decision.event());
        if args.json {
            document["trace"] = serde_json::from_str(&trace.to_value().to_text())?;
        } else {
            output::line(output::safe(&trace.to_string()).trim_end());
        }
    }
    Ok(document)
}

async fn remotely(args: &DecideArgs, client: &Client, bytes: &[u8]) -> Result<Value> {
    let inline = if args.receipt.is_some() { "?receipt=inline" } else { "" };
    let path = format!("/api/v1/decisions{inline}");
    let body = trimmed(bytes);
    // The nonce of the request is the attempt's: with it the permit is collected as well.
    let given = args.wait.and_then(|_| serde_json::from_slice::<Value>(&body).ok());
    let given = given.and_then(|request| request["attempt_nonce"].as_str().map(str::to_owned));
    let drawn = args.wait.filter(|_| given.is_none()).map(|_| ask::fresh());
    // Said before anything is asked: whatever ends this in between, the permit is not lost with it.
    if let Some(nonce) = &drawn {
        eprintln!("placet: the permit is fetched with attempt_nonce {nonce}");
    }
    let nonce = given.as_ref().or(drawn.as_ref());
    let headers: Vec<(&str, &str)> =
        nonce.iter().map(|nonce| ("Placet-Attempt-Nonce", nonce.as_str())).collect();
    let reply = client.send_bytes(Method::POST, &path, &headers, true, body).await?;
    let mut document = succeeded(reply)?.json()?;
    if let Some(time) = args.wait {
        document = wait_for(client, document, time, &headers).await?;
    }
    if let Some(nonce) = drawn {
        document["attempt_nonce"] = nonce.into();
    }
    if let Some(file) = &args.receipt {
        save_receipt(client, &document, file).await?;
    }
    Ok(document)
}

/// A held decision once it is held no more, or as it stands when the time is over. A server that is away for a while
/// is waited for as well.
async fn wait_for(
    client: &Client,
    mut document: Value,
    time: Duration,
    headers: &[(&str, &str)],
) -> Result<Value> {
    let end = Instant::now() + time;
    let id = document["id"].as_str().map(escape).unwrap_or_default();
    while is_open(&document) {
        let asked = Instant::now();
        let left = end.saturating_duration_since(asked);
        let path = format!("/api/v1/decisions/{id}?wait={}ms", left.min(QUESTION).as_millis());
        match client.expect(Method::GET, &path, headers, None).await {
            Ok(reply) => document = reply.json()?,
            Err(error) if exit::passes(&error) && !left.is_zero() => {}
            Err(error) => return Err(error),
        }
        if left.is_zero() {
            break;
        }
        if is_open(&document) {
            tokio::time::sleep(PAUSE.saturating_sub(asked.elapsed()).min(left)).await;
        }
    }
    Ok(document)
}

/// Whether people may still approve it.
fn is_open(document: &Value) -> bool {
    document["outcome"] == "REQUIRE_APPROVAL" && document["approval"]["state"] == "pending"
}

fn wait(text: &str) -> Result<Duration, String> {
    let seconds = || text.parse::<u64>().ok()?.checked_mul(1000);
    let ms = duration_ms(text).or_else(seconds).filter(|ms| *ms <= WAIT_MAX_MS);
    ms.map(Duration::from_millis)
        .ok_or_else(|| "expected a time up to 30d such as 25s or 3m".into())
}

fn trimmed(bytes: &[u8]) -> Vec<u8> {
    bytes.trim_ascii().to_vec()
}

async fn save_receipt(client: &Client, document: &Value, file: &PathBuf) -> Result<()> {
    let text = match (document["receipt"].as_str(), document["id"].as_str()) {
        (Some(text), _) => text.to_owned(),
        (None, Some(id)) => {
            let path = format!("/api/v1/receipts/{}", escape(id));
            client.expect(Method::GET, &path, &[("accept", "text/plain")], None).await?.text()
        }
        (None, None) => return Err(Fault::new("not_found", "the answer has no id").into()),
    };
    std::fs::write(file, text)
        .map_err(|error| anyhow::anyhow!("{} cannot be written: {error}", file.display()))
}

/// The exit of a decision. A PERMIT whose permit this caller may not use is a failure.
pub(crate) fn leave(document: &Value) -> ExitCode {
    let outcome = document["outcome"].as_str().unwrap_or_default();
    let code = exit::of_outcome(outcome);
    let dry = document["dry_run"] == json!(true);
    let state = document["permit"]["state"].as_str();
    let usable = matches!(state, Some("granted" | "open"));
    // An approved action keeps the outcome it was held with; its permit is what counts.
    if outcome == "REQUIRE_APPROVAL" {
        return match document["approval"]["state"].as_str() {
            _ if usable => ExitCode::SUCCESS,
            // Asking again changes nothing any more.
            Some("rejected" | "expired" | "withdrawn" | "invalidated") => {
                ExitCode::from(exit::of_outcome("DENY"))
            }
            Some("approved" | "consumed") if state.is_some() => {
                eprintln!(
                    "placet: it was approved, but the permit is {}: do not execute",
                    state.unwrap_or_default()
                );
                ExitCode::from(exit::FAILURE)
            }
            Some("approved") => {
                eprintln!(
                    "placet: it is approved; repeat it with --wait, which fetches the permit"
                );
                ExitCode::from(code)
            }
            _ => ExitCode::from(code),
        };
    }
    if code == 0 && !dry && !usable {
        eprintln!(
            "placet: it was permitted, but the permit is {}: do not execute",
            state.unwrap_or("missing")
        );
        return ExitCode::from(exit::FAILURE);
    }
    ExitCode::from(code)
}

fn summary(document: &Value) -> String {
    let rules = output::plain(&document["rules"]);
    let what =
        format!("{} {}", output::plain(&document["surface"]), output::plain(&document["action"]));
    let outcome = document["outcome"].as_str().unwrap_or("?");
    format!("{}  {what}  {rules}", output::outcome(outcome))
}

fn show(args: &DecideArgs, document: &Value) {
    if args.json {
        output::document(document);
    } else {
        print(document);
    }
}

/// Shows a decision to people.
pub(crate) fn print(document: &Value) {
    output::line(&summary(document));
    for reason in document["reasons"].as_array().into_iter().flatten() {
        output::field("because", &output::plain(&reason["text"]));
    }
    let present = |key: &str| document.get(key).filter(|value| !value.is_null());
    if let Some(exception) = present("exception") {
        let text = format!(
            "{} waives {}",
            output::plain(&exception["id"]),
            output::plain(&exception["waived"])
        );
        output::field("EXCEPTION", &output::paint(output::RED, &text));
    }
    if let Some(was) = present("retroactive") {
        let text = format!("filed afterwards; the policy says {}", output::plain(was));
        output::field("RETROACTIVE", &output::paint(output::YELLOW, &text));
    }
    if let Some(would) = present("would_outcome") {
        let text = format!("nothing is enforced here; it would be {}", output::plain(would));
        output::field("MODE shadow", &output::paint(output::YELLOW, &text));
    }
    if let Some(constraints) =
        present("constraints").filter(|it| it.as_object().is_some_and(|it| !it.is_empty()))
    {
        output::field("constraints", &output::plain(constraints));
    }
    if let Some(approval) = present("approval") {
        let (id, state) = (output::plain(&approval["id"]), output::plain(&approval["state"]));
        output::field("approval", &format!("{id} {state}"));
        if approval["note"].is_string() {
            output::field("note", &output::plain(&approval["note"]));
        }
        output::field("missing", &output::plain(&approval["missing"]));
        output::field("until", &output::plain(&approval["expires"]));
    }
    if let Some(wait) = present("retry_after_ms") {
        output::field("retry after", &format!("{wait} ms"));
    }
    if let Some(permit) = present("permit") {
        let until = permit.get("expires").map(|at| format!(" until {}", output::plain(at)));
        let state = output::plain(&permit["state"]);
        output::field("permit", &format!("{state}{}", until.unwrap_or_default()));
    }
    if let Some(nonce) = present("attempt_nonce") {
        output::field("nonce", &output::plain(nonce));
    }
    output::field("digest", &output::plain(&document["action_digest"]));
    output::field("policy", &output::plain(&document["policy"]));
    match present("log") {
        Some(log) => {
            output::field("decision", &output::plain(&document["id"]));
            output::field(
                "log",
                &format!("{} at {}", output::plain(&log["index"]), output::plain(&log["origin"])),
            );
        }
        None => output::field("dry run", "nothing was recorded, no permit was given"),
    }
}
