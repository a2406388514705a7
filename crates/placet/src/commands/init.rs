//! `init`: a directory with a policy to start from. Owns what is asked on a terminal; refuses to write over
//! anything.

use crate::exit::{Done, Fault};
use crate::output;
use crate::presets::{self, Preset};
use anyhow::{Context, Result};
use clap::Args;
use placet_policy::is_document;
use serde_json::json;
use std::fs::OpenOptions;
use std::io::{BufRead, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Write a policy to start from into a directory.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  placet init                              # asks which
  placet init --preset starter policy
  placet policy presets                    # what there is

Nothing is written over: a file that is there already ends it before the first is written.")]
pub(crate) struct InitArgs {
    /// Directory to write into; made where it is missing.
    #[arg(default_value = "policy", value_name = "DIR")]
    dir: PathBuf,
    /// Which preset.
    #[arg(long, value_name = "NAME")]
    preset: Option<String>,
    /// Print one JSON document.
    #[arg(long)]
    json: bool,
}

/// Runs it.
pub(crate) fn run(args: &InitArgs) -> Done {
    let preset = match &args.preset {
        Some(name) => named(name)?,
        None => ask()?,
    };
    let files = write(preset, &args.dir)?;
    let dir = args.dir.display();
    if args.json {
        output::document(&json!({
            "preset": preset.name,
            "dir": dir.to_string(),
            "files": files,
        }));
        return Ok(ExitCode::SUCCESS);
    }
    for file in &files {
        output::line(&format!("{} {dir}/{file}", output::paint(output::GREEN, "written")));
    }
    output::line("");
    output::line(&format!("next: placet policy compile --bundle {dir}"));
    output::line(&format!("      placet up --dev --bundle {dir}"));
    Ok(ExitCode::SUCCESS)
}

fn named(name: &str) -> Result<&'static Preset> {
    let names: Vec<&str> = presets::ALL.iter().map(|preset| preset.name).collect();
    presets::find(name).ok_or_else(|| {
        let near = placet_types::nearest::nearest(name, &names);
        let fault = Fault::usage(format!("{name:?} is no preset"));
        let next = near.map_or_else(
            || format!("presets are {}", names.join(", ")),
            |near| format!("did you mean {near}?"),
        );
        fault.next(next).into()
    })
}

/// Asks on the terminal. Where nobody can answer there is no default: which policy is in force is chosen.
fn ask() -> Result<&'static Preset> {
    if !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
        let fault = Fault::usage("--preset is missing, and there is no terminal to ask on");
        return Err(fault.next("placet policy presets lists them").into());
    }
    let mut terminal = std::io::stderr();
    for (preset, number) in presets::ALL.iter().zip(1..) {
        writeln!(terminal, "  {number}  {:<10} {}", preset.name, preset.about)?;
    }
    loop {
        write!(terminal, "Which preset (1 to {}, or its name)? ", presets::ALL.len())?;
        terminal.flush()?;
        let mut answer = String::new();
        if std::io::stdin().lock().read_line(&mut answer)? == 0 {
            return Err(Fault::usage("no preset was chosen").into());
        }
        let answer = answer.trim();
        let by_number = answer.parse::<usize>().ok().and_then(|at| at.checked_sub(1));
        let found = by_number.and_then(|at| presets::ALL.get(at));
        if let Some(preset) = found.or_else(|| presets::find(answer)) {
            return Ok(preset);
        }
        writeln!(terminal, "{answer:?} is none of them.")?;
    }
}

fn write(preset: &Preset, dir: &Path) -> Result<Vec<&'static str>> {
    let shown = dir.display();
    std::fs::create_dir_all(dir).with_context(|| format!("{shown} cannot be made"))?;
    // Whatever compiles together with the preset would be part of the policy, so nothing may be there.
    for entry in std::fs::read_dir(dir).with_context(|| format!("{shown} cannot be read"))? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if is_document(&name) {
            let fault = Fault::new("target_exists", format!("{shown} holds {name} already"));
            return Err(fault.next("name another directory: nothing is written over").into());
        }
    }
    for (name, text) in preset.files {
        let path = dir.join(name);
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(&path)
            .with_context(|| format!("{} cannot be written", path.display()))?;
        file.write_all(text.as_bytes())
            .with_context(|| format!("{} cannot be written", path.display()))?;
    }
    Ok(preset.files.iter().map(|(name, _)| *name).collect())
}
