//! `policy diff`: which decisions change between two bundles. Owns how that is shown; the comparison is
//! that of the policy crate.

use super::backtest::{Log, open_log};
use crate::exit::{self, Done, Fault};
use crate::local;
use crate::output;
use anyhow::Result;
use clap::Args;
use placet_policy::Bundle;
use placet_policy::diff::{Coverage, Diff, Extent, Group, Side, Witness, diff_while};
use placet_runtime::backtest::requests;
use placet_runtime::crypto::Fast;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Show which decisions change from one bundle to another: exit 0 when none does, 14 when some do, 15 when
/// something differs and nothing was seen of it
///
/// Where the partition of requests is finite, one request of every cell is decided under both
/// (`enumerated`): then 0 is a proof. Elsewhere requests made from the constants of all documents are
/// (`sampled`), and those of a log with `--data`; what differs, may decide, and was not seen to decide any
/// of them otherwise is named, and 0 only means that no such part differs. Limits, sequences and schedules are
/// compared as they are declared.
#[derive(Args, Debug)]
pub(super) struct DiffArgs {
    /// The bundle before: a directory of YAML documents, or a file with its normal form.
    #[arg(value_name = "BEFORE")]
    before: PathBuf,
    /// The bundle after.
    #[arg(value_name = "AFTER")]
    after: PathBuf,
    /// Where it is sampled: take the requests of this data directory or back-up as well.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Where it is sampled: most requests that are generated.
    #[arg(long, default_value_t = 20_000, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=1_000_000))]
    samples: u32,
    /// Witnesses of each kind of change.
    #[arg(long, default_value_t = 3, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100))]
    witnesses: u32,
    /// Print one JSON document.
    #[arg(long)]
    json: bool,
}

/// Runs it.
pub(super) fn run(args: &DiffArgs) -> Done {
    let (before, after) = (load(&args.before)?, load(&args.after)?);
    let extent = Extent {
        samples: args.samples,
        witnesses: usize::try_from(args.witnesses)?,
        ..Extent::default()
    };
    let log = args.data.as_deref().map(|data| open_log(data, None)).transpose()?;
    let mut failed = None;
    let bar = output::working("comparing");
    let goes_on = || {
        bar.inc(1);
        true
    };
    let mut given = |look: &mut dyn FnMut(&placet_types::Request, &placet_types::Caller)| {
        failed = log.as_ref().and_then(|log| read(log, look).err());
    };
    let found = diff_while(&before, &after, &extent, &mut given, &goes_on);
    bar.finish_and_clear();
    if let Some(error) = failed {
        return Err(error);
    }
    if args.json {
        output::document(&serde_json::from_str(&found.to_value().to_text())?);
    } else {
        print(&found);
    }
    Ok(ExitCode::from(match (found.is_same(), found.unseen.is_empty()) {
        (true, true) => 0,
        (true, false) => exit::UNSEEN,
        (false, _) => exit::CHANGES,
    }))
}

fn read(
    log: &Log,
    look: &mut dyn FnMut(&placet_types::Request, &placet_types::Caller),
) -> Result<()> {
    Ok(requests(&log.sources(), &log.range(), look)?)
}

/// A bundle from documents, or from its normal form.
pub(super) fn load(path: &Path) -> Result<Bundle> {
    if !path.is_file() {
        return local::compile(path);
    }
    let bytes = local::read_input(&path.to_string_lossy())?;
    Bundle::from_normalised::<Fast>(&bytes).map_err(|found| {
        let first = found.first().map(ToString::to_string).unwrap_or_default();
        let detail = format!("{} is no normal form of a bundle: {first}", path.display());
        let fault = Fault::new("bundle_invalid", detail);
        fault.next("name a directory of documents, or what `policy compile --out` wrote").into()
    })
}

fn print(found: &Diff) {
    let [before, after] = &found.digests;
    output::field("before", &before.to_string());
    output::field("after", &after.to_string());
    match &found.coverage {
        Coverage::Identical => output::line("identical: the bundles have one digest"),
        Coverage::Enumerated { cells } => {
            output::line(&format!(
                "enumerated: {cells} cells, and every request is in one of them"
            ));
        }
        Coverage::Sampled { generated, given, not_covered } => {
            output::line(&format!(
                "{}: {generated} generated requests, {given} of the log; not every request was looked at, because",
                output::paint(output::YELLOW, "sampled")
            ));
            for why in not_covered {
                output::line(&format!("  - {}", output::safe(why)));
            }
        }
    }
    output::line("");
    if found.is_same() {
        let (color, said) = match found.coverage {
            _ if !found.unseen.is_empty() => {
                (output::YELLOW, "nothing was seen to change, and that is no proof: see below")
            }
            Coverage::Sampled { .. } => (output::GREEN, "nothing differs that decides a request"),
            _ => (output::GREEN, "no decision changes"),
        };
        output::line(&output::paint(color, said));
    } else {
        let rows: Vec<Vec<String>> = found.groups.iter().map(row).collect();
        output::line(&output::table(&["change", "count", "rules", "for example"], &rows));
    }
    if !found.unseen.is_empty() {
        output::line("");
        output::line(&output::paint(output::YELLOW, "changed, and not seen to decide otherwise:"));
        for element in &found.unseen {
            output::line(&format!("  - {}: {}", output::safe(&element.text()), element.why()));
        }
    }
    if !found.parts.is_empty() {
        let rows: Vec<Vec<String>> = found
            .parts
            .iter()
            .map(|part| {
                let cells = [part.section.as_str(), &part.name, part.how.as_str()];
                let mut row: Vec<String> = cells.map(output::safe).to_vec();
                row.push(output::safe(&part.members.join(", ")));
                row
            })
            .collect();
        output::line("");
        output::line(&output::table(&["document", "name", "how", "members"], &rows));
    }
}

fn row(group: &Group) -> Vec<String> {
    let rules: Vec<&str> = group.rules.iter().map(String::as_str).take(8).collect();
    let example = group
        .witnesses
        .first()
        .map(|witness| example(witness, group.transition.from == group.transition.to));
    vec![
        group.transition.to_string(),
        group.count.to_string(),
        output::safe(&rules.join("\n")),
        output::safe(&example.unwrap_or_default()),
    ]
}

/// The request in a few lines, with both decisions where their outcomes say nothing.
fn example(witness: &Witness, both: bool) -> String {
    let mut lines = Vec::new();
    let request: Value = serde_json::from_str(&witness.request.to_text()).unwrap_or_default();
    lines.push(format!(
        "{} {}",
        output::plain(&request["surface"]),
        output::plain(&request["action"])
    ));
    for (name, value) in request.as_object().into_iter().flatten() {
        if !matches!(name.as_str(), "surface" | "action" | "idempotency_key") {
            lines.push(format!("{name}: {value}"));
        }
    }
    let facts = |name: &str| witness.facts.get(name).map(ToString::to_string).unwrap_or_default();
    lines.push(format!(
        "by {} with {} in {}",
        facts("actor"),
        facts("roles"),
        facts("environment")
    ));
    if let Some(at) = witness.at {
        lines.push(format!("at {}", at.rfc3339()));
    }
    if both {
        let side = |side: &Side| side.to_value().to_text();
        lines.push(format!("before {}", side(&witness.before)));
        lines.push(format!("after  {}", side(&witness.after)));
    }
    lines.join("\n")
}
