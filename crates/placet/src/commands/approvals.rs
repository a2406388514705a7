//! `approvals`, `approve`, `reject`, `withdraw`: the inbox of people. Owns what is asked before a
//! decision; the digest that is sent back is that of what was shown, or the one given by hand, and no
//! other.

mod shown;
mod watch;

use crate::client::{Client, Remote, escape};
use crate::commands::ask::Ask;
use crate::exit::{self, Done, Fault};
use crate::output;
use anyhow::Result;
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use std::io::{BufRead, IsTerminal, Write};
use std::process::ExitCode;

/// What waits for approval.
#[derive(Args, Debug)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "Examples:
  placet approvals
  placet approvals --all --json
  placet approvals --watch                    # a table that keeps itself up to date
  placet approvals --watch --json             # JSON Lines: what there is, then what changes
  placet approvals --watch --json --after 812 # go on where an earlier one has ended
  placet approvals show apr_018f…             # every field of one"
)]
pub(crate) struct ApprovalsArgs {
    #[command(subcommand)]
    command: Option<ApprovalsCommand>,
    /// Also those that are resolved.
    #[arg(long)]
    all: bool,
    /// Go on until interrupted, and show what changes as it does.
    #[arg(long)]
    watch: bool,
    /// With --watch: only what follows the log entry with this index, as an earlier one printed it.
    #[arg(long, value_name = "INDEX", requires = "watch")]
    after: Option<u64>,
    #[command(flatten)]
    remote: Remote,
    /// Print one JSON document; with --watch, one on each line.
    #[arg(long)]
    json: bool,
}

#[derive(Subcommand, Debug)]
enum ApprovalsCommand {
    /// Every field of a held action with where it comes from, and all votes
    #[command(after_help = "Examples:
  placet approvals show apr_018f…
  placet approvals show job_018f… --json")]
    Show {
        /// The approval, `apr_…`, or the job or decision that waits for it, `job_…`, `dec_…`.
        id: String,
        #[command(flatten)]
        ask: Ask,
    },
}

/// Decide a held action: shows exactly what would run, and asks.
///
/// Without a terminal, --digest says which action you have looked at; --yes decides whatever is held
/// under the id without anybody looking.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  placet approve apr_018f…                            # look, then answer
  placet approve job_018f…
  placet approve --decision dec_018f…
  placet approve apr_018f… --digest sha256:… --note 'checked the invoice'
  placet approve apr_018f… --yes --json               # a program that has looked elsewhere
  placet reject apr_018f… --digest sha256:… --note 'this invoice is of last year'")]
pub(crate) struct VoteArgs {
    /// The approval, `apr_…`, or the job that waits for it, `job_…`.
    #[arg(required_unless_present = "decision", conflicts_with = "decision")]
    id: Option<String>,
    /// The held decision, `dec_…`, instead of the approval.
    #[arg(long, value_name = "ID")]
    decision: Option<String>,
    /// Digest of the action that you have looked at.
    #[arg(long, value_name = "sha256:HEX")]
    digest: Option<String>,
    /// Digest of the demand that you have looked at; needed with --digest where a stricter policy has
    /// re-opened the approval.
    #[arg(long, value_name = "sha256:HEX", requires = "digest", conflicts_with = "yes")]
    requirement: Option<String>,
    /// Why; kept with the vote. Whoever proposed is told why it was rejected.
    #[arg(long)]
    note: Option<String>,
    /// Do not ask: decide what is held now.
    #[arg(long, conflicts_with = "digest")]
    yes: bool,
    #[command(flatten)]
    ask: Ask,
}

/// Take a held action back, as the one who proposed it.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  placet withdraw dec_018f…
  placet withdraw apr_018f… --json")]
pub(crate) struct WithdrawArgs {
    /// The held decision, `dec_…`, or what it waits for: `apr_…`, `job_…`.
    id: String,
    #[command(flatten)]
    ask: Ask,
}

/// Runs `approvals`.
pub(crate) async fn list(args: ApprovalsArgs) -> Done {
    if let Some(ApprovalsCommand::Show { id, ask }) = args.command {
        let held = held(&ask.client()?, &id).await?;
        return ask
            .show(&held, |held| output::line(shown::whole(held, shown::Screen::out()).trim_end()));
    }
    let client = Client::of(&args.remote)?;
    if args.watch {
        return watch::run(client, args.all, args.json, args.after).await;
    }
    let found = all(&client, args.all).await?;
    if args.json {
        output::document(&json!({"approvals": found}));
        return Ok(ExitCode::SUCCESS);
    }
    if found.is_empty() {
        output::line("nothing waits for approval");
        return Ok(ExitCode::SUCCESS);
    }
    output::line(&shown::table(found.iter()));
    output::line("Look at one and decide it with `placet approve ID` or `placet reject ID`.");
    Ok(ExitCode::SUCCESS)
}

async fn all(client: &Client, include_resolved: bool) -> Result<Vec<Value>> {
    let path = format!("/api/v1/approvals?include_resolved={include_resolved}");
    client.all(&path, "approvals").await
}

/// The approval under an id of its own, of its job or of its decision.
async fn held(client: &Client, id: &str) -> Result<Value> {
    let id = match id.starts_with("dec_") {
        true => approval_of(client, id).await?,
        false => id.to_owned(),
    };
    client.get(&format!("/api/v1/approvals/{}", escape(&id))).await
}

async fn approval_of(client: &Client, decision: &str) -> Result<String> {
    let document = client.get(&format!("/api/v1/decisions/{}", escape(decision))).await?;
    let id = document["approval"]["id"].as_str();
    Ok(id.map(str::to_owned).ok_or_else(|| {
        Fault::new("not_found", format!("{decision} does not wait for an approval"))
    })?)
}

/// Runs `approve` or `reject`.
pub(crate) async fn vote(args: VoteArgs, approve: bool) -> Done {
    let client = args.ask.client()?;
    let id = match (&args.id, &args.decision) {
        (Some(id), _) | (None, Some(id)) if id.starts_with("dec_") => {
            approval_of(&client, id).await?
        }
        (Some(id), _) | (None, Some(id)) => id.clone(),
        (None, None) => return Err(Fault::usage("name an approval or a --decision").into()),
    };
    let mut body = match &args.digest {
        Some(digest) => match &args.requirement {
            Some(seen) => json!({"action_digest": digest, "requirement": seen}),
            None => json!({"action_digest": digest}),
        },
        None => look(&client, &id, approve, &args).await?,
    };
    if let Some(note) = &args.note {
        body["note"] = note.as_str().into();
    }
    let verb = if approve { "approve" } else { "reject" };
    let voted = client.post(&format!("/api/v1/approvals/{}/{verb}", escape(&id)), &body).await?;
    args.ask.show(&voted, |voted| {
        let style = if approve { output::GREEN } else { output::RED };
        let word = if approve { "approved" } else { "rejected" };
        output::line(&format!("{}: {}", output::paint(style, word), output::safe(&id)));
        let missing = voted["missing"].as_object().is_some_and(|missing| !missing.is_empty());
        if approve && missing {
            output::field("missing", &shown::roles(&voted["missing"]));
        }
    })?;
    let problem = &voted["not_in_force"];
    if !problem.is_object() {
        return Ok(ExitCode::SUCCESS);
    }
    let why = ["detail", "code"].map(|key| output::plain(&problem[key]));
    eprintln!("placet: approved, and not in force: {} ({})", output::safe(&why[0]), why[1]);
    Ok(ExitCode::from(exit::FAILURE))
}

/// Shows what would run and asks; the digests of what was shown: the action, and what it demands.
async fn look(client: &Client, id: &str, approve: bool, args: &VoteArgs) -> Result<Value> {
    let asks = std::io::stdin().is_terminal() && std::io::stderr().is_terminal();
    if !args.yes && (args.ask.json || !asks) {
        let fault = Fault::usage("without a terminal to ask on, --digest or --yes is required");
        return Err(fault
            .next("look with `placet approvals show ID` and pass the digest that you have seen")
            .into());
    }
    let held = held(client, id).await?;
    let digest = held["rendering"]["action_digest"].as_str();
    let digest = digest.filter(|digest| held["action_digest"] == **digest).ok_or_else(|| {
        Fault::new("payload_erased", "what would run was erased, so nobody can look at it")
    })?;
    let seen = json!({"action_digest": digest, "requirement": held["requirement"]});
    if args.yes {
        return Ok(seen);
    }
    eprint!("{}", shown::whole(&held, shown::Screen::err()));
    let verb = if approve { "Approve" } else { "Reject" };
    eprint!("{verb} exactly this? Type yes: ");
    std::io::stderr().flush()?;
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer)?;
    if answer.trim() != "yes" {
        return Err(Fault::new("failed", "nothing was decided").into());
    }
    Ok(seen)
}

/// Runs `withdraw`.
pub(crate) async fn withdraw(args: WithdrawArgs) -> Done {
    let client = args.ask.client()?;
    let decision = match args.id.starts_with("dec_") {
        true => args.id.clone(),
        false => {
            let held = held(&client, &args.id).await?;
            held["decision"].as_str().unwrap_or_default().to_owned()
        }
    };
    let path = format!("/api/v1/decisions/{}/withdraw", escape(&decision));
    let withdrawn = client.post(&path, &json!({})).await?;
    args.ask.show(&withdrawn, |_| {
        output::line(&format!("withdrawn: {}", output::safe(&decision)));
    })
}
