//! `policy explain`: why a request is decided as it is, by a bundle here, by the one that a server has in force, or as
//! a decision of its log was made. Owns what is shown first and what is left out; the trace comes from the policy crate.

use crate::client::{Client, Remote};
use crate::exit::{Done, Fault};
use crate::local::{self, CallerArgs};
use crate::output;
use anyhow::Result;
use clap::Args;
use placet_policy::Earlier;
use placet_types::ids::TimeMs;
use placet_types::json::{self, Limits};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::process::ExitCode;

/// Most rules that nearly matched and are shown.
const NEAR_MAX: usize = 20;

/// Show why each rule matched a request or not, whether it applies, and what is decided
///
/// Rules that matched or failed come first, then one line for each that nearly did; the rest is counted. Without
/// --bundle the server is asked, which explains what it has in force, or with --decision one of its log: one's own, or
/// any for those who oversee.
#[derive(Args, Debug)]
pub(super) struct ExplainArgs {
    /// File with the request, `-` for standard input.
    #[arg(required_unless_present = "decision")]
    request: Option<String>,
    /// A decision of the server's log, in place of a request: explained under the bundle it was made under.
    #[arg(long, value_name = "dec_…", conflicts_with_all = ["request", "bundle", "at", "history", "actor", "roles", "environment"])]
    decision: Option<String>,
    /// Directory of YAML documents; left out, the bundle in force on the server.
    #[arg(long, value_name = "DIR")]
    bundle: Option<PathBuf>,
    #[command(flatten)]
    caller: CallerArgs,
    #[command(flatten)]
    remote: Remote,
    /// When it is asked, in UTC: 2026-01-01T00:00:00Z. Now, if left out.
    #[arg(long, value_name = "TIME")]
    at: Option<String>,
    /// File with what was decided before: a list of {ago, request, caller, times} as in cases, in JSON.
    #[arg(long, value_name = "FILE")]
    history: Option<String>,
    /// Only what matched or failed.
    #[arg(long, conflicts_with = "all")]
    matched: bool,
    /// Only this rule; repeat for more.
    #[arg(long = "rule", value_name = "ID")]
    rules: Vec<String>,
    /// Every rule in full.
    #[arg(long)]
    all: bool,
    /// Print one JSON document.
    #[arg(long)]
    json: bool,
}

/// Runs it.
pub(super) async fn run(args: &ExplainArgs) -> Done {
    let document = match (&args.bundle, &args.request, &args.decision) {
        (_, _, Some(id)) => recorded(args, id).await?,
        (Some(_), Some(request), None) => locally(args, request)?,
        (_, request, None) => remotely(args, request.as_deref().unwrap_or("-")).await?,
    };
    let known = |id: &String| {
        document["trace"]["rules"].as_array().into_iter().flatten().any(|it| it["id"] == **id)
    };
    if let Some(id) = args.rules.iter().find(|id| !known(id)) {
        let fault = Fault::usage(format!("no rule {id} is asked about this request"));
        return Err(fault.next("--all shows every rule with its id").into());
    }
    if args.json {
        output::document(&document);
    } else {
        print(args, &document);
    }
    Ok(ExitCode::SUCCESS)
}

fn instant(args: &ExplainArgs) -> Result<Option<TimeMs>> {
    let Some(text) = &args.at else { return Ok(None) };
    let at = TimeMs::parse_rfc3339(text).ok_or_else(|| {
        Fault::usage(format!("{text:?} is no instant in UTC such as 2026-01-01T00:00:00Z"))
    })?;
    Ok(Some(at))
}

fn locally(args: &ExplainArgs, request: &str) -> Result<Value> {
    let Some(dir) = &args.bundle else { return Ok(Value::Null) };
    let bundle = local::compile(dir)?;
    let caller = args.caller.caller(args.remote.workspace.as_deref())?;
    let request = local::question(&local::read_input(request)?, &caller)?;
    let at = instant(args)?.unwrap_or_else(local::now);
    let history = match &args.history {
        None => Vec::new(),
        Some(file) => {
            let value = json::parse(&local::read_input(file)?, Limits::DOCUMENT)
                .map_err(|error| Fault::new("json_malformed", format!("{file}: {error}")))?;
            Earlier::list(&value, &caller, at).map_err(|(pointer, why)| {
                Fault::new("field_invalid", format!("{file}: {pointer}: {why}"))
            })?
        }
    };
    let mut trace = bundle.explain(&request, &caller);
    let decision = local::decide_at(&bundle, &request, caller, &history, at)?;
    trace.settle(at, decision.event());
    trace.rules.retain(|rule| {
        (!args.matched || rule.matched)
            && (args.rules.is_empty() || args.rules.contains(&rule.rule.id))
    });
    let trace: Value = serde_json::from_str(&trace.to_value().to_text())?;
    Ok(json!({"at": at.rfc3339(), "decision": decision.document(), "trace": trace}))
}

async fn remotely(args: &ExplainArgs, request: &str) -> Result<Value> {
    let at = instant(args)?;
    let read = |file: &str| -> Result<Value> {
        let bytes = local::read_input(file)?;
        serde_json::from_slice(&bytes)
            .map_err(|error| Fault::new("json_malformed", format!("{file}: {error}")).into())
    };
    let mut body = json!({"request": read(request)?});
    if let Some(at) = at {
        body["at"] = at.rfc3339().into();
    }
    if let Some(file) = &args.history {
        body["history"] = read(file)?;
    }
    if args.matched {
        body["matched"] = true.into();
    }
    if !args.rules.is_empty() {
        body["rules"] = args.rules.clone().into();
    }
    if let Some(said) = args.caller.said() {
        body["caller"] = said;
    }
    asked(args, &body, at.map(TimeMs::rfc3339).into()).await
}

/// A decision of the log. Whoever asks is who the key says.
async fn recorded(args: &ExplainArgs, id: &str) -> Result<Value> {
    let mut body = json!({"decision": id});
    if args.matched {
        body["matched"] = true.into();
    }
    if !args.rules.is_empty() {
        body["rules"] = args.rules.clone().into();
    }
    asked(args, &body, Value::Null).await
}

async fn asked(args: &ExplainArgs, body: &Value, at: Value) -> Result<Value> {
    let client = Client::of(&args.remote)?;
    let answer = client.post("/api/v1/policies/explain", body).await?;
    let reasons = answer["reasons"].as_array().into_iter().flatten();
    let reasons: Vec<Value> = reasons.map(|code| json!({"code": code, "text": code})).collect();
    let mut document = json!({
        "at": if at.is_null() { answer["recorded"]["time"].clone() } else { at },
        "decision": {
            "outcome": answer["outcome"],
            "rules": answer["rules"],
            "reasons": reasons,
            "policy": answer["trace"]["policy"],
        },
        "trace": answer["trace"],
    });
    if answer["recorded"].is_object() {
        document["recorded"] = answer["recorded"].clone();
    }
    Ok(document)
}

fn print(args: &ExplainArgs, document: &Value) {
    let trace = &document["trace"];
    if trace["surface_known"] == false {
        let hint = trace["did_you_mean"].as_str();
        let hint = hint.map_or(String::new(), |it| format!("; did you mean {it}?"));
        output::line(&output::safe(&format!(
            "the policy does not know this surface: no rule is asked{hint}"
        )));
    }
    let rules: Vec<&Value> = trace["rules"]
        .as_array()
        .into_iter()
        .flatten()
        // What only remembers an action for another rule was written by nobody.
        .filter(|rule| args.all || !rule["id"].as_str().unwrap_or_default().starts_with("after:"))
        .collect();
    let named = args.all || !args.rules.is_empty();
    let first: Vec<Vec<String>> =
        rules.iter().filter(|it| named || speaks(it)).map(|it| row(it)).collect();
    if !first.is_empty() {
        output::line(&output::table(&["layer", "rule", "decision", "applies", "why"], &first));
    }
    let rest: Vec<&&Value> = rules.iter().filter(|it| !named && !speaks(it)).collect();
    let near: Vec<&&&Value> = rest.iter().filter(|it| is_near(it)).collect();
    for rule in near.iter().take(NEAR_MAX) {
        output::line(&output::safe(&format!(
            "near  {}: {}",
            output::plain(&rule["id"]),
            missed(rule)
        )));
    }
    let silent = rest.len() - near.len().min(NEAR_MAX);
    if silent > 0 {
        output::line(&format!("{silent} more do not concern this request; --all shows them"));
    }
    let decision = &document["decision"];
    let outcome = output::plain(&decision["outcome"]);
    output::line(&format!("{}  {}", output::outcome(&outcome), output::plain(&decision["rules"])));
    for reason in decision["reasons"].as_array().into_iter().flatten() {
        output::field("because", &output::plain(&reason["text"]));
    }
    output::field("policy", &output::plain(&decision["policy"]));
    let recorded = &document["recorded"];
    if recorded.is_object() {
        let at = ["index", "time"].map(|key| output::plain(&recorded[key]));
        output::field("recorded", &format!("entry {} at {}", at[0], at[1]));
        if let Some(what) = recorded["erased"].as_str() {
            output::field("erased", &output::paint(output::YELLOW, what));
        }
        if recorded["agrees"] == false {
            let text = "evaluating it again does not find every rule that the entry names";
            output::field("DIFFERS", &output::paint(output::RED, text));
        }
    }
}

/// Whether a rule matched, or a condition of one whose keys match could not be evaluated.
fn speaks(rule: &Value) -> bool {
    rule["matched"] == true
}

/// Whether a rule is about the surface of the request, and another key or its condition kept it away.
fn is_near(rule: &Value) -> bool {
    let clauses = || rule["clauses"].as_array().into_iter().flatten();
    let on =
        |finding: &str| clauses().any(|it| it["key"] == "surfaces" && it["finding"] == finding);
    on("matched") || (!on("differs") && clauses().all(|it| it["finding"] == "matched"))
}

/// The first thing that kept a rule away.
fn missed(rule: &Value) -> String {
    let clauses = rule["clauses"].as_array().into_iter().flatten();
    if let Some(clause) = clauses.clone().find(|it| it["finding"] != "matched") {
        return clause_text(clause);
    }
    match rule["condition"]["text"].as_str() {
        Some(text) => format!("- {text} is false"),
        None => output::plain(&rule["note"]),
    }
}

fn clause_text(clause: &Value) -> String {
    let key = output::plain(&clause["key"]);
    let (found, wanted) = (output::plain(&clause["found"]), output::plain(&clause["wanted"]));
    match clause["finding"].as_str() {
        Some("matched") => format!("+ {key}: {found} among {wanted}"),
        Some("absent") => format!("- {key}: absent, wanted {wanted}"),
        _ => format!("- {key}: {found}, wanted {wanted}"),
    }
}

/// A rule: whether it applies and why, then a line per key and condition: `+` matched, `-` did not, `!` could
/// not be evaluated.
fn row(rule: &Value) -> Vec<String> {
    let mut lines = Vec::new();
    let applies = match (&rule["matched"], &rule["applies"]) {
        (Value::Bool(false), _) => "no match",
        (_, Value::Bool(true)) => "yes",
        (_, Value::Bool(false)) => "no",
        _ => "it depends",
    };
    if let Some(why) = rule["why"].as_str() {
        lines.push(why.to_owned());
    }
    lines.extend(rule["clauses"].as_array().into_iter().flatten().map(clause_text));
    let condition = &rule["condition"];
    if let Some(text) = condition["text"].as_str() {
        lines.push(match (&condition["value"], condition["error"].as_str()) {
            (_, Some(error)) => format!("! {text} is {error}"),
            (Value::Bool(true), _) => format!("+ {text} is true"),
            _ => format!("- {text} is false"),
        });
    }
    if let Some(note) = rule["note"].as_str() {
        lines.push(format!("{} {note}", if rule["matched"] == true { '!' } else { '+' }));
    }
    if lines.is_empty() {
        lines.push("+ matches everything".to_owned());
    }
    let text = |key: &str| output::plain(&rule[key]);
    vec![
        text("layer"),
        output::safe(&text("id")),
        text("decision"),
        applies.to_owned(),
        output::safe(&lines.join("\n")),
    ]
}
