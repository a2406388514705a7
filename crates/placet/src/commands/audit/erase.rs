//! `audit erase`: what it would come to first, then a question, then the request. Owns the words;
//! refuses to know what may be erased.

use crate::client::succeeded;
use crate::commands::ask::Governed;
use crate::exit::{Done, Fault};
use crate::output;
use anyhow::Result;
use clap::Args;
use hyper::Method;
use serde_json::{Value, json};
use std::io::{BufRead, IsTerminal, Write};
use std::process::ExitCode;

/// Erase payloads for good; entries and proofs stay.
///
/// First it says how many payloads there are and what a legal hold or retention keeps; then it
/// asks. An admin erases; with two admins, the other one has to approve it.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  placet audit erase --subject customer-4711 --dry-run
  placet audit erase --subject customer-4711 --reason gdpr.art17
  placet audit erase --decision dec_018f… --yes
  placet audit erase --before 365d --yes --json")]
pub(crate) struct EraseArgs {
    #[command(flatten)]
    what: What,
    /// Code of the legal basis; no names, it stands in the log for good.
    #[arg(long, default_value = "request", value_name = "CODE")]
    reason: String,
    /// Only say what it would come to.
    #[arg(long)]
    dry_run: bool,
    /// Do not ask.
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    governed: Governed,
}

#[derive(Args, Debug)]
#[group(required = true, multiple = false)]
struct What {
    /// Payloads of all decisions whose request names this subject.
    #[arg(long, value_name = "NAME")]
    subject: Option<String>,
    /// Payloads of this decision: request, notes of votes, detail of the report.
    #[arg(long, value_name = "ID")]
    decision: Option<String>,
    /// Payloads of all decisions before then: RFC 3339, Unix milliseconds, or an age such as 90d.
    #[arg(long, value_name = "TIME")]
    before: Option<String>,
}

/// Runs it.
pub(crate) async fn run(args: EraseArgs) -> Done {
    let (governed, json) = (&args.governed, args.governed.ask.json);
    let client = governed.ask.client()?;
    let mut body = json!({"reason": args.reason, "dry_run": true});
    let members = [
        ("subject", &args.what.subject),
        ("decision", &args.what.decision),
        ("before", &args.what.before),
    ];
    for (name, value) in members {
        if let Some(value) = value {
            body[name] = value.as_str().into();
        }
    }
    let plan = client.post("/api/v1/audit/erase", &body).await?;
    if args.dry_run {
        return governed.ask.show(&plan, |plan| output::line(&planned(plan, "would be erased")));
    }
    if !json {
        output::line(&planned(&plan, "would be erased"));
    }
    if plan["payloads"] != json!(0) && !args.yes {
        confirm(json)?;
    }
    // An age means another instant when it is asked again after the approval.
    if !plan["before"].is_null() {
        body["before"] = plan["before"].clone();
    }
    let key = governed.key();
    body["dry_run"] = false.into();
    body["idempotency_key"] = key.as_str().into();
    let sent = client.send(Method::POST, "/api/v1/audit/erase", &[], Some(&body)).await?;
    let reply = succeeded(sent)?;
    let mut erased = reply.json()?;
    if reply.status == 202 {
        erased["before"] = body["before"].clone();
        let before = match &erased["before"] {
            Value::Null => String::new(),
            time => format!("--before {} ", output::plain(time)),
        };
        return governed.waits(&mut erased, &key, &before);
    }
    if json {
        output::document(&erased);
    } else {
        output::line(&planned(&erased, "erased"));
        for (count, what) in
            [("withdrawn", "held actions withdrawn"), ("revoked", "permits revoked")]
        {
            if erased[count] != json!(0) {
                output::line(&format!("{} {what}", output::plain(&erased[count])));
            }
        }
        if erased["payloads"] != json!(0) {
            output::field("entries", &output::plain(&erased["entries"]));
        }
    }
    if erased["destroyed"] == json!(false) {
        let detail = "the log says that they are erased, and the keys could not be destroyed yet";
        return Err(Fault::new("keys_not_destroyed", detail)
            .next("the server tries again by itself; run this again until it succeeds")
            .into());
    }
    Ok(ExitCode::SUCCESS)
}

fn planned(plan: &Value, verb: &str) -> String {
    let count = |name: &str| plan[name].as_u64().unwrap_or(0);
    let mut text =
        format!("{} payloads of {} decisions {verb}", count("payloads"), count("decisions"));
    for (name, why) in [
        ("legal_hold", "kept by a legal hold"),
        ("retention", "kept by retention"),
        ("erased_before", "erased before"),
    ] {
        if count(name) > 0 {
            text.push_str(&format!(", {} {why}", count(name)));
        }
    }
    text
}

fn confirm(json: bool) -> Result<()> {
    if json || !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
        let fault = Fault::usage("without a terminal to ask on, --yes is required");
        return Err(fault.next("look with --dry-run first").into());
    }
    eprint!("Nobody can bring them back. Erase? Type yes: ");
    std::io::stderr().flush()?;
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer)?;
    if answer.trim() == "yes" {
        return Ok(());
    }
    Err(Fault::new("failed", "nothing was erased").into())
}
