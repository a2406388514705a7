//! `kill` and `lift`: the human override, through the server or beside it. Owns the local kill
//! file's name; refuses to lift anything locally.

use crate::commands::ask::Ask;
use crate::commands::overrides::{self, Which};
use crate::commands::trips;
use crate::exit::{Done, Fault, of_outcome};
use crate::output;
use anyhow::{Context, Result};
use clap::Args;
use serde_json::{Value, json};
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Stop everything that is being permitted, now.
///
/// With --local it works when the server does not answer: it puts a file KILL into the data
/// directory, which a running server obeys within a tenth of a second and a starting one before it
/// serves. Where no file can be made, it sets the armed certificate aside, which does the same.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  placet kill                                 # this workspace
  placet kill --everything                    # every workspace of the server
  placet kill --capability crm-writer         # one unit of automation
  placet kill --actor agent:bot               # one actor, whoever it acts for
  placet kill --local --data ./placet-data    # without asking the server
  placet kill --drill                         # who would have stopped, and how soon
  placet kill --drill --capability crm-writer # the same of one unit of automation
  placet kill --report 42                     # what the kill in entry 42 came to")]
pub(crate) struct KillArgs {
    #[command(flatten)]
    which: Which,
    /// Put the kill file into the data directory instead of asking the server; stops everything.
    #[arg(long)]
    local: bool,
    /// Data directory (with --local).
    #[arg(long, default_value = "./placet-data", value_name = "DIR")]
    data: PathBuf,
    /// Practise: gates acknowledge it, it counts what would stop, and nothing does.
    #[arg(long, conflicts_with = "local")]
    drill: bool,
    /// Seconds that a drill waits for the gates that were heard within a day.
    #[arg(long, default_value_t = 5, value_name = "SECONDS", requires = "drill")]
    wait: u64,
    /// Show what the kill or drill at this log index came to.
    #[arg(long, value_name = "INDEX", conflicts_with_all = ["local", "drill", "everything"])]
    report: Option<u64>,
    #[command(flatten)]
    ask: Ask,
}

/// Lift a kill, freeze, disable or revocation of a role; it takes two people, so the second one runs it again.
///
/// Exit codes: 0 lifted, 10 a second person has to run it as well, 1 failure, 2 usage.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  PLACET_KEY=$ANN placet lift; PLACET_KEY=$BOB placet lift
  placet lift --everything
  placet lift --capability crm-writer
  placet lift --entry 42                      # whatever entry 42 has stopped, as `placet overrides` lists it")]
pub(crate) struct LiftArgs {
    #[command(flatten)]
    which: Which,
    /// A role that `placet revoke role` took away.
    #[arg(long, value_name = "NAME", conflicts_with_all = ["Which", "entry"])]
    role: Option<String>,
    /// What the entry at this log index has stopped.
    #[arg(long, value_name = "INDEX", conflicts_with = "Which")]
    entry: Option<u64>,
    #[command(flatten)]
    ask: Ask,
}

/// Runs `kill`.
pub(crate) async fn kill(args: KillArgs) -> Done {
    if args.local {
        let scope = args.which.scope();
        if !is_wide(&scope) {
            let detail = format!("--local stops everything, and cannot stop {scope} alone");
            let next = "leave out --local and ask the server, or say --everything";
            return Err(Fault::usage(detail).next(next).into());
        }
        let way = kill_locally(&args.data, make)?;
        let (name, note) = match way {
            Way::Made => ("KILL", "written"),
            Way::There => ("KILL", "there already"),
            Way::Unarmed => ("armed", "out of force, as no file KILL could be made"),
        };
        let file = args.data.join(name);
        let document = json!({"killed": true, "file": file, "made": way == Way::Made});
        return args.ask.show(&document, |_| {
            output::line(&format!(
                "{}: {} is {note}",
                output::paint(output::RED, "killed"),
                file.display()
            ));
            output::line("Two people lift it with `placet lift --everything`.");
        });
    }
    if let Some(index) = args.report {
        return trips::report(&args.ask, index).await;
    }
    let scope = args.which.scope();
    if args.drill {
        return trips::drill(&args.ask, &scope, args.wait).await;
    }
    if !is_wide(&scope) {
        return overrides::stop(&args.ask, &scope, "kill").await;
    }
    let client = args.ask.client()?;
    let mut document = client.post("/api/v1/kill", &json!({"scope": scope})).await?;
    // It is done; that its report cannot be had makes it no failure.
    let report = trips::at(&client, &document[&scope]["index"]).await;
    document["report"] = report.unwrap_or_default();
    args.ask.show(&document, |document| {
        output::line(&format!("{}: {scope}", output::paint(output::RED, "killed")));
        if !document["report"].is_null() {
            trips::show(&document["report"]);
        }
    })
}

/// Runs `lift`.
pub(crate) async fn lift(args: LiftArgs) -> Done {
    if let Some(index) = args.entry {
        return overrides::lift_entry(&args.ask, index).await;
    }
    let scope = args.role.map_or_else(|| args.which.scope(), |role| format!("role:{role}"));
    if !is_wide(&scope) {
        return overrides::lift(&args.ask, &scope).await;
    }
    let command = match scope.as_str() {
        "everything" => "placet lift --everything",
        _ => "placet lift",
    };
    let state = args.ask.client()?.post("/api/v1/lift", &json!({"scope": scope})).await?;
    show_lift(&args.ask, &state, &scope, command)
}

/// Shows what came of asking for a lift: one that waits for a second person exits like whatever waits for people.
pub(super) fn show_lift(ask: &Ask, state: &Value, what: &str, command: &str) -> Done {
    let lifted = state["lifted"] == json!(true);
    ask.show(state, |state| {
        output::line(&if lifted {
            format!("{}: {what}", output::paint(output::GREEN, "lifted"))
        } else {
            not_yet(what, command, &state["override"])
        });
    })?;
    Ok(if lifted { ExitCode::SUCCESS } else { ExitCode::from(of_outcome("REQUIRE_APPROVAL")) })
}

/// What is missing for a lift that was asked for, and who has to do it.
fn not_yet(scope: &str, command: &str, kill: &Value) -> String {
    let head = output::paint(output::YELLOW, "NOT LIFTED YET");
    let by = output::plain(&kill["lift_requested_by"]);
    let next = match &kill["not_before"] {
        Value::Null => format!(
            "another person, with a key of their own and the role admin or operator, runs `{command}`"
        ),
        time => format!(
            "solo mode: the same person runs `{command}` again after {}",
            output::plain(time)
        ),
    };
    format!("{head}: {scope} stays stopped; the lift is asked for by {by}\nnext: {next}")
}

fn is_wide(scope: &str) -> bool {
    ["everything", "workspace"].contains(&scope)
}

/// What only a data directory has.
const PARTS: [&str; 4] = ["FORMAT", "journal.db", "identity.db", "keys.db"];

/// How everything was stopped beside the server.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Made,
    There,
    Unarmed,
}

/// Makes the kill file durably.
fn kill_locally(data: &Path, make: impl Fn(&Path) -> io::Result<File>) -> Result<Way> {
    if !data.is_dir() {
        let detail = format!("{} is no data directory", data.display());
        return Err(Fault::new("data_dir_missing", detail).next("name it with --data").into());
    }
    // One of them is enough: whatever else is wrong with the directory, it can be stopped.
    if !PARTS.iter().any(|name| data.join(name).exists()) {
        let detail = format!("{} is no data directory: nothing was stopped", data.display());
        return Err(Fault::new("data_dir_foreign", detail).next("name it with --data").into());
    }
    let path = data.join("KILL");
    let made = match make(&path) {
        Ok(file) => {
            // A kill that is only in memory would be gone after a power cut.
            file.sync_all().with_context(|| format!("{} is not durable", path.display()))?;
            Way::Made
        }
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Way::There,
        // A full disk still lets go of a file, and without its certificate nothing is permitted.
        // Set aside like by any other kill: what starts next takes it for one, not for tampering.
        Err(error) => {
            let armed = data.join("armed").exists();
            if !armed || placet_store::kill::disarm(data).is_err() {
                return Err(error).with_context(|| format!("{} cannot be made", path.display()));
            }
            Way::Unarmed
        }
    };
    File::open(data)
        .and_then(|dir| dir.sync_all())
        .with_context(|| format!("{} is not durable", data.display()))?;
    Ok(made)
}

fn make(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_lets_its_certificate_be_set_aside() {
        let full = |_: &Path| Err(ErrorKind::StorageFull.into());
        let dir = tempfile::tempdir().unwrap();
        assert!(kill_locally(dir.path(), make).is_err(), "it is no data directory");
        assert!(!dir.path().join("KILL").exists());
        std::fs::write(dir.path().join("journal.db"), "").unwrap();
        assert!(kill_locally(dir.path(), full).is_err(), "nothing was stopped");
        std::fs::write(dir.path().join("armed"), [b'}'; 200]).unwrap();
        assert!(kill_locally(dir.path(), full).unwrap() == Way::Unarmed);
        assert!(!dir.path().join("armed").exists());
        let aside = placet_store::kill::read_disarmed(dir.path()).unwrap().unwrap();
        assert_eq!(aside.len(), 200 - placet_store::kill::CUT_BYTES);
        assert!(kill_locally(dir.path(), make).unwrap() == Way::Made);
        assert!(kill_locally(dir.path(), make).unwrap() == Way::There);
    }
}
