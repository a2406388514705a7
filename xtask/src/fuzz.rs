//! `fuzz`: each parser under a coverage-guided fuzzer for so many seconds, over what the last runs have
//! gathered. Owns nothing of what must hold: that is `crates/placet-fuzz`.

use anyhow::{Context, Result, bail, ensure};
use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::{fs, thread};

/// Inputs longer than this say nothing that shorter ones do not.
const BYTES_MAX: u32 = 16_384;
/// Megabytes that one input may cost.
const MEGABYTES_MAX: u32 = 2_048;
/// Seconds that one input may take.
const SECONDS_MAX: u32 = 10;

pub(crate) struct Options {
    /// For each format.
    pub(crate) seconds: u64,
    /// Formats at a time.
    pub(crate) jobs: usize,
    /// Names of formats; all of them where none is named.
    pub(crate) formats: Vec<String>,
}

/// What one format came to.
struct Run {
    format: String,
    inputs: u64,
    gathered: usize,
    found: Option<PathBuf>,
}

/// Fuzzes, and prints a line for each format.
///
/// # Errors
/// It does not build, or something was found; the line says where the input lies.
pub(crate) fn run(root: &Path, options: &Options) -> Result<()> {
    let (corpus, artifacts) = (root.join("fuzz/corpus"), root.join("fuzz/artifacts"));
    let known = write_seeds(root, &corpus)?;
    let formats = match options.formats.as_slice() {
        [] => known.clone(),
        named => named.to_vec(),
    };
    if let Some(name) = formats.iter().find(|name| !known.contains(name)) {
        bail!("there is no format {name}; there are {}", known.join(", "));
    }
    let binary = build(root)?;
    let waiting = Mutex::new(VecDeque::from(formats));
    let runs: Mutex<Vec<Result<Run>>> = Mutex::default();
    thread::scope(|scope| {
        for _ in 0..options.jobs.max(1) {
            scope.spawn(|| {
                let next = || waiting.lock().ok()?.pop_front();
                while let Some(format) = next() {
                    let run = one(&binary, &corpus, &artifacts, &format, options.seconds);
                    if let Ok(run) = &run {
                        println!("{}", line(run));
                    }
                    if let Ok(mut runs) = runs.lock() {
                        runs.push(run);
                    }
                }
            });
        }
    });
    let runs = runs.into_inner().unwrap_or_default();
    let runs = runs.into_iter().collect::<Result<Vec<Run>>>()?;
    let found = runs.iter().filter(|run| run.found.is_some()).count();
    ensure!(found == 0, "{found} of {} formats do not hold", runs.len());
    println!("fuzz: {} formats hold, {} s each", runs.len(), options.seconds);
    Ok(())
}

/// Good inputs of every format, beside what was gathered before. Returns the names.
fn write_seeds(root: &Path, corpus: &Path) -> Result<Vec<String>> {
    let writer = crate::ci::build(root)?.join("placet-fuzz");
    let done = Command::new(&writer).arg(corpus).output();
    let done = done.with_context(|| format!("{} cannot be started", writer.display()))?;
    ensure!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    Ok(String::from_utf8_lossy(&done.stdout).lines().map(str::to_owned).collect())
}

/// With the instrumentation of coverage, and without a sanitizer: there is no unsafe code to look for.
fn build(root: &Path) -> Result<PathBuf> {
    let words = ["fuzz", "build", "--sanitizer", "none", "parser"];
    let status = Command::new("cargo").args(words).current_dir(root).status()?;
    ensure!(status.success(), "no fuzzer: `cargo install cargo-fuzz`, and a C++ compiler");
    let target = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    Ok(root.join("fuzz/target").join(target).join("release/parser"))
}

fn one(binary: &Path, corpus: &Path, artifacts: &Path, format: &str, seconds: u64) -> Result<Run> {
    let (gathered, found) = (corpus.join(format), artifacts.join(format));
    fs::create_dir_all(&found)?;
    let before = entries(&found)?;
    let done = Command::new(binary)
        .env("PLACET_FORMAT", format)
        .arg(format!("-max_total_time={seconds}"))
        .arg(format!("-max_len={BYTES_MAX}"))
        .arg(format!("-rss_limit_mb={MEGABYTES_MAX}"))
        .arg(format!("-timeout={SECONDS_MAX}"))
        .arg(format!("-dict={}", corpus.join("words.dict").display()))
        .arg(format!("-artifact_prefix={}/", found.display()))
        .arg("-print_final_stats=1")
        .arg(&gathered)
        .stdin(Stdio::null())
        .output()?;
    let said = String::from_utf8_lossy(&done.stderr);
    let stat = "stat::number_of_executed_units:";
    let inputs = said.lines().find_map(|line| line.strip_prefix(stat)?.trim().parse().ok());
    let new = entries(&found)?.into_iter().find(|path| !before.contains(path));
    if !done.status.success() && new.is_none() {
        bail!("{format} ended with {}: {}", done.status, tail(&said));
    }
    if new.is_some() {
        println!("{}", tail(&said));
    }
    let gathered = entries(&gathered)?.len();
    Ok(Run { format: format.to_owned(), inputs: inputs.unwrap_or(0), gathered, found: new })
}

fn entries(dir: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(dir)?.map(|entry| Ok(entry?.path()));
    entries.collect()
}

/// The last lines, as far as they are text.
fn tail(said: &str) -> String {
    let lines: Vec<&str> = said.lines().collect();
    lines[lines.len().saturating_sub(30)..].join("\n")
}

fn line(run: &Run) -> String {
    let Run { format, inputs, gathered, found } = run;
    let verdict = match found {
        None => "holds".to_owned(),
        Some(path) => format!("DOES NOT HOLD: {}", path.display()),
    };
    format!("{format:14} {inputs:>12} inputs, {gathered:>6} kept  {verdict}")
}
