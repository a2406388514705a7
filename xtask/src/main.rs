//! The repository's own commands: the checks of CI, the layer rule and its companions, the crash
//! test, the fault test and the flush trace. Owns how the product is checked. Refuses to be part of it: no crate of
//! the product is a dependency, everything is reached through its command line and HTTP.

mod approvals;
mod args;
mod attacks;
mod ci;
mod control;
mod crash;
mod faults;
mod fuzz;
mod http;
mod ledger;
mod letters;
mod load;
mod outputs;
mod receiver;
mod rules;
mod runs;
mod server;
mod sim;
mod source;
mod tidy;
mod trace;

use anyhow::{Result, bail};
use args::Args;
use std::path::PathBuf;
use std::process::ExitCode;

const USAGE: &str = "\
cargo xtask COMMAND

  ci [--quick]      every check, with a time budget for each; --quick leaves out the end-to-end ones
  tidy              rules of the repository that the compiler does not know
  crash [--kills N] [--seed S] [--seconds-max S] [--connections N] [--binary FILE] [--keep]
                    kills the server under load, again and again, and counts what was lost
  faults [--full [--skip N] | --seconds S] [--seed S] [--jobs N] [--point 'START CALL FILE N MODE'] [--binary FILE]
                    lets each call that changes a file fail in turn, and looks what is left
  fuzz [--seconds N] [--jobs N] [FORMAT ...]
                    each parser under a coverage-guided fuzzer (needs cargo-fuzz and a C++ compiler)
  sim [--seeds N] [--seconds S] [--from SEED] [--threads N] [--mutant NAME] | --seed SEED
                    runs the real driver over simulated disks, clock and network, seed after seed;
                    a failing seed is printed with the command that shows it again
  trace [--requests N] [--binary FILE]
                    shows from system calls that an answer follows the flush of its batch
";

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let mut args = Args::from_env();
    let root = root()?;
    match args.command().as_deref() {
        Some("ci") => {
            let quick = args.flag("--quick");
            args.finish()?;
            ci::run(&root, quick)
        }
        Some("tidy") => {
            args.finish()?;
            tidy::run(&root)
        }
        Some("crash") => {
            let options = crash::Options {
                kills: args.value("--kills")?.unwrap_or(20),
                seed: args.value("--seed")?,
                seconds_max: args.value("--seconds-max")?,
                connections: args.value("--connections")?.unwrap_or(16),
                binary: binary(&mut args, &root)?,
                keep: args.flag("--keep"),
            };
            args.finish()?;
            crash::run(&root, &options)
        }
        Some("faults") => {
            let point = args.value::<String>("--point")?;
            let options = faults::Options {
                full: args.flag("--full"),
                skip: args.value("--skip")?.unwrap_or(0),
                seconds: args.value("--seconds")?.unwrap_or(90),
                seed: args.value("--seed")?,
                point: point.as_deref().map(faults::point).transpose()?,
                jobs: args.value("--jobs")?.unwrap_or(2),
                binary: binary(&mut args, &root)?,
            };
            args.finish()?;
            faults::run(&options).map(drop)
        }
        Some("fuzz") => {
            let options = fuzz::Options {
                seconds: args.value("--seconds")?.unwrap_or(60),
                jobs: args.value("--jobs")?.unwrap_or(2),
                formats: args.rest(),
            };
            fuzz::run(&root, &options)
        }
        Some("sim") => sim::run(&root, &args.rest()),
        Some("trace") => {
            let requests = args.value("--requests")?.unwrap_or(10);
            let binary = binary(&mut args, &root)?;
            args.finish()?;
            trace::run(&binary, requests)
        }
        Some("help" | "--help" | "-h") => {
            print!("{USAGE}");
            Ok(())
        }
        _ => bail!("which command?\n\n{USAGE}"),
    }
}

/// The repository: the parent of this crate.
fn root() -> Result<PathBuf> {
    let own = std::env::var_os("CARGO_MANIFEST_DIR")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    match own.parent() {
        Some(root) => Ok(root.to_owned()),
        None => bail!("{} has no parent directory", own.display()),
    }
}

fn binary(args: &mut Args, root: &std::path::Path) -> Result<PathBuf> {
    Ok(match args.value::<PathBuf>("--binary")? {
        Some(binary) => binary,
        None => ci::build(root)?.join("placet"),
    })
}
