//! `policy shadow`: a second bundle beside the one in force. Owns how it is asked for and shown.

use super::diff::load;
use crate::commands::ask::Governed;
use crate::exit::Done;
use crate::output;
use clap::Args;
use serde_json::{Value, json};
use std::path::PathBuf;

/// Make every decision a second time under another bundle, for the record alone
///
/// What it would have decided is recorded with the decision where it is something else, and counted where it
/// is not; it changes nothing else. Setting and clearing are governed acts on surface `policy.shadow`.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  placet policy shadow --bundle policy-next/
  placet policy shadow --status
  placet audit query --would-differ
  placet policy shadow --clear")]
pub(super) struct ShadowArgs {
    #[command(flatten)]
    what: What,
    #[command(flatten)]
    governed: Governed,
}

#[derive(Args, Debug)]
#[group(required = true, multiple = false)]
struct What {
    /// Set this bundle: a directory of YAML documents, or a file with its normal form.
    #[arg(long, value_name = "DIR")]
    bundle: Option<PathBuf>,
    /// Clear it.
    #[arg(long)]
    clear: bool,
    /// Show it, and how often it would have decided otherwise.
    #[arg(long)]
    status: bool,
}

const PATH: &str = "/api/v1/policies/shadow";

/// Runs it.
pub(super) async fn run(args: &ShadowArgs) -> Done {
    let governed = &args.governed;
    match &args.what.bundle {
        Some(path) => {
            let bundle = load(path)?;
            let normal: Value = serde_json::from_slice(bundle.normalised())?;
            governed.post(PATH, json!({"bundle": normal}), print).await
        }
        None if args.what.clear => governed.delete(PATH, print).await,
        None => governed.ask.get(PATH, print).await,
    }
}

fn print(document: &Value) {
    let shadow = &document["shadow"];
    output::field("in force", &output::plain(&document["enforced"]));
    if shadow.is_null() {
        output::line("there is no shadow bundle");
        return;
    }
    output::field("shadow", &output::plain(&shadow["policy"]));
    output::field("since entry", &output::plain(&shadow["index"]));
    output::line(&format!(
        "{} decisions compared, {} would differ, {} skipped",
        output::plain(&shadow["compared"]),
        output::plain(&shadow["differed"]),
        output::plain(&shadow["skipped"])
    ));
}
