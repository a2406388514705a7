//! What authors of policy use: `policy lint | test | fmt | schema | import`. Owns flags, output and exit codes; refuses to know
//! how anything is found.

mod cases;
mod files;
mod import;
mod junit;
mod lint;

use crate::exit::Done;
use clap::{Args, Subcommand, ValueEnum};
use std::path::PathBuf;

/// The part of `placet policy` that needs no server.
#[derive(Subcommand, Debug)]
pub(crate) enum Authoring {
    /// Look for what compiles and is still wrong.
    #[command(
        after_help = "Exit codes: 0 nothing to say, or less than --deny; 1 an error, or a finding \
of the severity of --deny; 2 usage.
Each code has a page in docs/lint/."
    )]
    Lint(LintArgs),
    /// Run the cases of `tests:` with the code that the server runs.
    #[command(after_help = "Exit codes: 0 all passed, 1 one failed or none was run, 2 usage.")]
    Test(TestArgs),
    /// Give documents the one layout: comments and meaning stay.
    #[command(
        after_help = "Exit codes: 0 done, or nothing to do with --check; 1 a file would change \
with --check, or is no document; 2 usage."
    )]
    Fmt(FmtArgs),
    /// Print the JSON Schemas of policy documents, for editors.
    Schema(SchemaArgs),
    /// Make a bundle from a first-match rule file, and show where the order of its rules decided.
    #[command(
        after_help = "Exit codes: 0 imported, differences or not; 1 it is no such file; 2 usage."
    )]
    Import(ImportArgs),
}

#[derive(Args, Debug)]
pub(crate) struct ImportArgs {
    /// The file, `-` for standard input.
    #[arg(value_name = "FILE")]
    file: String,
    /// Write the bundle into this directory, which does not exist yet; to standard output without it.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// What `*` in topics means: one segment, or any text as in the engine the format comes from.
    #[arg(long, value_name = "MEANING", default_value = "segment")]
    star: StarMeaning,
    /// Print one JSON document.
    #[arg(long)]
    json: bool,
}

/// What `*` in topics means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum StarMeaning {
    Segment,
    Any,
}

#[derive(Args, Debug)]
pub(crate) struct FmtArgs {
    /// Files, or directories of YAML documents; `-` for standard input to standard output.
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// Change nothing; say which files would change.
    #[arg(long)]
    check: bool,
    /// Print one JSON document: each file, whether it changes, and why it is no document.
    #[arg(long)]
    json: bool,
}

#[derive(Args, Debug)]
pub(crate) struct SchemaArgs {
    /// What stands under this top key alone; the whole document without it.
    #[arg(value_name = "KIND")]
    kind: Option<String>,
    /// Write a file for each kind, and one for the whole document, into this directory.
    #[arg(long, value_name = "DIR", conflicts_with = "kind")]
    out: Option<PathBuf>,
    /// Print one JSON document: the schema, as without it, or with --out the files that were written.
    #[arg(long)]
    json: bool,
}

#[derive(Args, Debug)]
pub(crate) struct LintArgs {
    /// Directory of YAML documents.
    #[arg(long, value_name = "DIR", default_value = ".")]
    bundle: PathBuf,
    /// Print one JSON document.
    #[arg(long, conflicts_with = "sarif")]
    json: bool,
    /// Print SARIF 2.1.0.
    #[arg(long)]
    sarif: bool,
    /// Fail on findings of this severity, and on worse ones.
    #[arg(long, value_name = "SEVERITY", default_value = "errors")]
    deny: Deny,
}

/// From which severity on a finding fails the command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Deny {
    Errors,
    Warnings,
    Info,
}

#[derive(Args, Debug)]
pub(crate) struct TestArgs {
    /// Directory of YAML documents.
    #[arg(long, value_name = "DIR", default_value = ".")]
    bundle: PathBuf,
    /// Run only cases whose id contains this.
    #[arg(long, value_name = "TEXT")]
    filter: Option<String>,
    /// Write the results as JUnit XML to this file.
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// Print one JSON document.
    #[arg(long)]
    json: bool,
    /// Say which rules and which terms of conditions no case touches.
    #[arg(long)]
    coverage: bool,
}

/// Runs it.
pub(crate) fn run(command: Authoring) -> Done {
    match command {
        Authoring::Lint(args) => lint::run(&args),
        Authoring::Test(args) => cases::run(&args),
        Authoring::Fmt(args) => files::format(&args),
        Authoring::Schema(args) => files::schema(&args),
        Authoring::Import(args) => import::run(&args),
    }
}
