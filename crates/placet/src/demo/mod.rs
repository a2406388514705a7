//! `demo`: the main job, live: a real server in a scratch directory, driven over HTTP alone. Every
//! step says what it expects, and a deviation fails the demo.

mod proof;
mod story;
mod world;

use crate::commands::audit::{replay_dir, replay_document};
use crate::exit::{Done, Fault};
use crate::output;
use anyhow::Result;
use clap::Args;
use placet_runtime::replay::Report;
use proof::Receipts;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;
use story::Story;
use world::World;

/// Watch the main job, live, in a scratch directory
///
/// A support agent of a small bank and a coding agent ask; policy answers; people approve, stop and
/// lift; receipts are verified, altered ones refused; the log is replayed. Takes a few seconds.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  placet demo
  placet demo --stay      # and leave the server running
  placet demo --json")]
pub(crate) struct DemoArgs {
    /// Leave the server running until Ctrl-C.
    #[arg(long, conflicts_with = "json")]
    stay: bool,
    /// Address to listen on; without it port 8081, or a free one when that is in use.
    #[arg(long, value_name = "ADDR")]
    listen: Option<SocketAddr>,
    /// Print one JSON document.
    #[arg(long)]
    json: bool,
}

/// One line of the closing table.
#[derive(Debug)]
pub(crate) struct Step {
    action: String,
    outcome: String,
    rules: Vec<String>,
    latency_ms: f64,
    index: Option<u64>,
}

/// What happens is not what must happen.
pub(crate) fn deviation(what: impl Into<String>) -> anyhow::Error {
    let fault = Fault::new("demo_deviation", what);
    fault.next("this is a defect: report it with the output of `placet demo --json`").into()
}

/// Says one line of the story, unless a program listens.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Teller {
    json: bool,
}

impl Teller {
    /// A heading.
    pub(crate) fn part(self, text: &str) {
        if !self.json {
            output::line(&format!("\n{}", output::paint(output::BOLD, text)));
        }
    }

    /// A line.
    pub(crate) fn say(self, text: &str) {
        if !self.json {
            output::line(&format!("  {text}"));
        }
    }
}

/// Runs it.
pub(crate) async fn run(args: DemoArgs) -> Done {
    let teller = Teller { json: args.json };
    let world = World::open(args.listen, teller).await?;
    let data = world.data();
    // Whatever the story comes to, the server is stopped in order.
    let told = tell(&world, teller).await;
    if args.stay && told.is_ok() {
        let replay = replayed(&data, teller);
        if let (Ok((steps, _)), Ok(_)) = (&told, &replay) {
            close(steps, &world);
            world.stay().await?;
        }
        world.stop().await?;
        return replay.and(told).map(|_| ExitCode::SUCCESS);
    }
    let scratch = world.scratch();
    let url = world.url.clone();
    world.stop().await?;
    let ended = told.and_then(|(steps, receipts)| {
        teller.part("Afterwards, offline: the server is stopped, the log is derived again");
        Ok((steps, receipts, replayed(&data, teller)?))
    });
    let result = ended.map(|(steps, receipts, replay)| {
        if args.json {
            output::document(&document(&steps, &receipts, &replay));
        } else {
            table(&steps);
            further(&data, &url);
        }
    });
    if args.json || result.is_err() {
        // What stays behind is a nuisance and no failure.
        let _ = std::fs::remove_dir_all(&scratch);
    }
    result.map(|()| ExitCode::SUCCESS)
}

async fn tell(world: &World, teller: Teller) -> Result<(Vec<Step>, Receipts)> {
    let mut story = Story::new(world, teller);
    story.bank().await?;
    story.approval().await?;
    story.ledger().await?;
    story.coder().await?;
    story.limits().await?;
    story.stop_everything().await?;
    let receipts = proof::receipts(world, &story.decided, teller).await?;
    Ok((story.steps, receipts))
}

fn replayed(data: &Path, teller: Teller) -> Result<Report> {
    let report = replay_dir(data, None)?;
    if report.differences > 0 || report.re_evaluated != report.decisions {
        return Err(deviation(format!("the replay says {}", replay_document(&report))));
    }
    teller.say(&format!(
        "{} decisions, {} re-evaluated under the recorded policy, {} differences",
        report.decisions, report.re_evaluated, report.differences
    ));
    Ok(report)
}

fn document(steps: &[Step], receipts: &Receipts, replay: &Report) -> Value {
    let steps: Vec<Value> = steps
        .iter()
        .map(|step| {
            json!({
                "action": step.action,
                "outcome": step.outcome,
                "rules": step.rules,
                "latency_ms": step.latency_ms,
                "index": step.index,
            })
        })
        .collect();
    json!({
        "steps": steps,
        "receipts": {"verified": receipts.verified, "refused": receipts.refused},
        "replay": replay_document(replay),
    })
}

fn table(steps: &[Step]) {
    let rows: Vec<Vec<String>> = steps
        .iter()
        .map(|step| {
            vec![
                step.action.clone(),
                step.outcome.clone(),
                if step.rules.is_empty() { "-".to_owned() } else { step.rules.join(", ") },
                format!("{:.1} ms", step.latency_ms),
                step.index.map_or("-".to_owned(), |index| index.to_string()),
            ]
        })
        .collect();
    output::line("");
    output::line(&output::table(&["action", "outcome", "rule", "latency", "log index"], &rows));
}

fn further(data: &Path, url: &str) {
    let data = data.display();
    output::line("\nLook further:");
    for (command, what) in [
        (format!("placet audit verify --data {data}"), "every hash, seal and entry of this log"),
        (format!("placet audit replay --data {data}"), "every decision, derived again"),
        (format!("placet audit export --data {data}"), "the log as JSON Lines"),
        (
            "placet policy explain examples/bank/requests/refund-large.json --bundle examples/bank"
                .to_owned(),
            "why (in a clone of the repository)",
        ),
        ("placet demo --stay".to_owned(), "the same, and the server stays"),
    ] {
        output::line(&format!(
            "  {command}   {}",
            output::paint(output::DIM, &format!("# {what}"))
        ));
    }
    output::line(&format!("\nThe server at {url} is stopped; its log stays in {data}."));
}

fn close(steps: &[Step], world: &World) {
    table(steps);
    output::line(&format!("\nThe server stays at {}. Its keys:", world.url));
    output::line(&world.keys_line());
    output::line("Look further:");
    output::line(&format!("  PLACET_URL={} PLACET_KEY=… placet audit query", world.url));
    output::line(&format!("  placet audit verify --data {}", world.data().display()));
    output::line("Ctrl-C stops it.");
}
