//! `exception`: narrow deviations from policy that somebody owns. Refuses to know what the policy allows of
//! them; the server holds the bounds.

use crate::client::escape;
use crate::commands::ask::{Ask, Governed};
use crate::exit::{Done, Fault};
use crate::output;
use clap::{Args, Subcommand};
use serde_json::{Value, json};

/// Exceptions from policy: narrow, owned by a person, short, and reviewed by another.
///
/// Nothing else lets an action pass that the policy refuses. An exception waives no kill switch and nothing
/// of the constitution; every passage under it is a decision in the log that names it.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  placet exception open --surface git.change --actor agent:bot --waives rule:no-git --reason incident-7 --for 30m
  placet exception open --surface '*' --actor agent:bot --waives governance --break-glass --reason incident-7 --for 15m
  placet exception list
  placet exception show exc_018f…
  placet exception close exc_018f…
  placet exception review exc_018f… --justified yes --note 'two transfers, both to the ministry'")]
pub(crate) struct ExceptionArgs {
    #[command(subcommand)]
    command: ExceptionCommand,
}

#[derive(Subcommand, Debug)]
enum ExceptionCommand {
    /// Open one. Where there is another admin, they have to approve it; with --break-glass one person suffices.
    Open(Box<Open>),
    /// End one before its time: its owner, who opened it, an admin or an operator.
    Close {
        /// `exc_…`
        id: String,
        #[command(flatten)]
        ask: Ask,
    },
    /// Review one that is over: another person than its owner and who opened it.
    Review {
        /// `exc_…`
        id: String,
        /// Whether it was right to open it.
        #[arg(long, value_parser = ["yes", "no"])]
        justified: String,
        /// What was found.
        #[arg(long, value_name = "TEXT")]
        note: String,
        #[command(flatten)]
        ask: Ask,
    },
    /// List them, newest first. Exits with 1 where a review is overdue.
    List {
        #[command(flatten)]
        ask: Ask,
    },
    /// Show one, with everything that passed under it.
    Show {
        /// `exc_…`
        id: String,
        #[command(flatten)]
        ask: Ask,
    },
}

#[derive(Args, Debug)]
struct Open {
    /// The surface that it covers, or `*` for every surface.
    #[arg(long, value_name = "SURFACE")]
    surface: String,
    /// Who may pass.
    #[arg(long, value_name = "ACTOR")]
    actor: String,
    /// What it waives: floor, rules, contract, evidence, access, models, approvals, governance (all of these),
    /// or rule:ID; may be repeated.
    #[arg(long, required = true, value_name = "WHAT")]
    waives: Vec<String>,
    /// Code of the reason; no names, it stands in the log for good.
    #[arg(long, value_name = "CODE")]
    reason: String,
    /// The reason in words; it lies beside the log and can be erased.
    #[arg(long, value_name = "TEXT")]
    note: Option<String>,
    /// The person who answers for it; you, where it is left out.
    #[arg(long, value_name = "ACTOR")]
    owner: Option<String>,
    /// How long: `30m`; the default of the policy where it is left out.
    #[arg(long = "for", value_name = "TIME")]
    duration: Option<String>,
    /// How long after its end it is reviewed at the latest: `8h`.
    #[arg(long, value_name = "TIME")]
    review_within: Option<String>,
    /// What makes up for it: second_person, evidence:TYPE, max_uses:N, 'constraint:{…}', or notify:CHANNEL of
    /// the policy, which is told when it opens, is used first, ends and is not reviewed in time; may be repeated.
    #[arg(long = "control", value_name = "CONTROL")]
    controls: Vec<String>,
    /// Only this action.
    #[arg(long, value_name = "ACTION")]
    action: Option<String>,
    /// Only in this environment.
    #[arg(long, value_name = "NAME")]
    environment: Option<String>,
    /// Only for this capability.
    #[arg(long, value_name = "NAME")]
    capability: Option<String>,
    /// Only this target.
    #[arg(long, value_name = "TARGET")]
    target: Option<String>,
    /// Only in this execution.
    #[arg(long, value_name = "ID")]
    execution: Option<String>,
    /// Alone, in an emergency, within the narrower bounds of the policy.
    #[arg(long)]
    break_glass: bool,
    /// Filed afterwards for what was done from then on (RFC 3339): it permits nothing.
    #[arg(long, value_name = "TIME", requires = "done_to")]
    done_from: Option<String>,
    /// To when.
    #[arg(long, value_name = "TIME", requires = "done_from")]
    done_to: Option<String>,
    #[command(flatten)]
    governed: Governed,
}

/// Runs it.
pub(crate) async fn run(args: ExceptionArgs) -> Done {
    let path = |id: &str| format!("/api/v1/exceptions/{}", escape(id));
    match args.command {
        ExceptionCommand::Open(open) => {
            let body = body(&open);
            open.governed.post("/api/v1/exceptions", body, |opened| print("opened", opened)).await
        }
        ExceptionCommand::Close { id, ask } => {
            let path = format!("{}/close", path(&id));
            ask.post(&path, &json!({}), |closed| print("closed", closed)).await
        }
        ExceptionCommand::Review { id, justified, note, ask } => {
            let path = format!("{}/review", path(&id));
            let body = json!({"justified": justified == "yes", "note": note});
            ask.post(&path, &body, |reviewed| print("reviewed", reviewed)).await
        }
        ExceptionCommand::List { ask } => list(&ask).await,
        ExceptionCommand::Show { id, ask } => {
            ask.get(&path(&id), |shown| print("exception", shown)).await
        }
    }
}

fn body(open: &Open) -> Value {
    let mut body = json!({
        "surface": open.surface, "actor": open.actor, "waives": open.waives, "reason": open.reason,
    });
    let texts = [
        ("note", &open.note),
        ("owner", &open.owner),
        ("duration", &open.duration),
        ("review_within", &open.review_within),
        ("action", &open.action),
        ("environment", &open.environment),
        ("capability", &open.capability),
        ("target", &open.target),
        ("execution", &open.execution),
    ];
    for (name, text) in texts {
        if let Some(text) = text {
            body[name] = text.as_str().into();
        }
    }
    if !open.controls.is_empty() {
        body["controls"] = json!(open.controls);
    }
    if open.break_glass {
        body["break_glass"] = true.into();
    }
    if let (Some(from), Some(to)) = (&open.done_from, &open.done_to) {
        body["retroactive"] = json!({"from": from, "to": to});
    }
    body
}

/// Most exceptions that are listed.
const LISTED: usize = 200;

async fn list(ask: &Ask) -> Done {
    let listed = ask.client()?.get(&format!("/api/v1/exceptions?limit={LISTED}")).await?;
    let all = listed["exceptions"].as_array().cloned().unwrap_or_default();
    let overdue = all.iter().filter(|it| it["review_overdue"] == json!(true)).count();
    ask.show(&listed, |_| {
        if all.is_empty() {
            output::line("no exceptions");
            return;
        }
        let rows: Vec<Vec<String>> = all.iter().map(row).collect();
        let head =
            ["id", "state", "surface", "actor", "waives", "owner", "expires", "uses", "review"];
        output::line(&output::table(&head, &rows));
    })?;
    if overdue > 0 {
        let text = format!("{overdue} reviews are overdue; their owners open no other exception");
        let next = "another person reviews with `placet exception review`";
        return Err(Fault::new("review_overdue", text).next(next).into());
    }
    Ok(std::process::ExitCode::SUCCESS)
}

/// How a review stands.
fn reviewed(it: &Value) -> String {
    match (&it["review"], &it["review_overdue"]) {
        (Value::Object(review), _) if review["justified"] == json!(true) => "justified".to_owned(),
        (Value::Object(_), _) => "unjustified".to_owned(),
        (_, Value::Bool(true)) => "OVERDUE".to_owned(),
        _ => format!("due {}", output::plain(&it["review_due"])),
    }
}

fn row(it: &Value) -> Vec<String> {
    let cell = |name: &str| output::plain(&it[name]);
    let mut row = vec![cell("id"), cell("state"), cell("surface"), cell("actor"), cell("waives")];
    row.extend([cell("owner"), cell("expires"), cell("uses"), reviewed(it)]);
    row
}

fn print(what: &str, it: &Value) {
    let cell = |name: &str| output::plain(&it[name]);
    let state = match it["state"].as_str() {
        Some("live") => output::paint(output::RED, "live"),
        _ => cell("state"),
    };
    output::line(&format!("{what} {}  {state}", cell("id")));
    if it["governance"] == json!(true) {
        output::field("WAIVES", &output::paint(output::RED, "all of policy"));
    }
    let optional = ["action", "environment", "capability", "target", "execution", "note"];
    for name in ["surface", "actor", "waives", "reason"].iter().chain(&optional) {
        if !it[*name].is_null() {
            output::field(name, &cell(name));
        }
    }
    for control in it["controls"].as_array().into_iter().flatten() {
        let sent =
            if control["checked"] == json!(true) { "" } else { "  (told, see placet outbox)" };
        output::field("control", &format!("{}{sent}", output::plain(&control["control"])));
    }
    if it["break_glass"] == json!(true) {
        output::field("opened by", &format!("{} alone, in an emergency", cell("opened_by")));
    } else {
        output::field("opened by", &cell("opened_by"));
    }
    output::field("owner", &cell("owner"));
    if it["retroactive"].is_object() {
        let span = &it["retroactive"];
        let text = format!("{} to {}", output::plain(&span["from"]), output::plain(&span["to"]));
        output::field("RETROACTIVE", &format!("{text}; it permits nothing"));
    } else {
        output::field("expires", &cell("expires"));
    }
    // What is held has passed nothing yet, and counts against the bound all the same.
    output::field("used by", &format!("{} decisions, those that are held included", cell("uses")));
    output::field("review", &reviewed(it));
    for passage in it["passages"].as_array().into_iter().flatten() {
        let cell = |name: &str| output::plain(&passage[name]);
        output::line(&format!(
            "  {}  {}  {}  {} {}  over {}",
            cell("time"),
            cell("decision"),
            cell("outcome"),
            cell("surface"),
            cell("action"),
            cell("waived")
        ));
    }
}
